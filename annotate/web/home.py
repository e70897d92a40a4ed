"""The first page: which study to go on with."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from starlette.responses import RedirectResponse, Response

from ..accounts import Caller
from ..assignment import may_rate
from ..past import progress
from ..queue import enrolment_of
from ..schema import Item, Study
from .access import PREFIX, need, services
from .pages import page
from .texts import language_of, texts

router = APIRouter(prefix=PREFIX)


@router.get("")
def without_slash(caller: Annotated[Caller, Depends(need())]) -> Response:
    return RedirectResponse(f"{PREFIX}/", 308)


@router.get("/")
def choose(request: Request, caller: Annotated[Caller, Depends(need())]) -> Response:
    t = texts(language_of(request, caller))
    studies = []
    if "rater" in caller.roles:
        with services(request).store.read() as session:
            query = select(Study).where(Study.state != "closed", may_rate(caller.account_id)).order_by(Study.id)
            studies = [_card(session, study, caller, t) for study in session.scalars(query)]
    return page(request, "home.html", caller, tab="tab_rate", studies=studies)


def _card(session: Session, study: Study, caller: Caller, t: dict[str, str]) -> dict[str, Any]:
    """What the list says of a study: its name, how far this rater is, and what the next step is called."""
    enrolment = enrolment_of(session, study.id, caller.account_id)
    done, total = 0, session.scalar(select(func.count()).where(Item.study_id == study.id)) or 0
    if enrolment is not None:
        state = progress(session, enrolment.id)
        done, total = state.done, state.total
    step = "new" if not done else "finished" if done >= total else "going"
    sentence = t["study_paused"] if study.state == "paused" else t[f"study_{step}"].format(done=done, total=total)
    share = round(100 * done / total, 1) if done else None
    return {"id": study.id, "name": study.name, "sentence": sentence, "share": share, "action": t[f"action_{step}"]}
