"""What was done in a study, by whom and when, for its leads: the audit log, newest first."""

from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from .. import activity
from ..accounts import Caller
from ..activity import NOBODY, Wanted
from ..votes import read_study
from .access import PREFIX, Number, need, services
from .lead import csv_download
from .pages import page

router = APIRouter(prefix=PREFIX)
Lead = Annotated[Caller, Depends(need("lead"))]
Who = Annotated[str, Query(pattern=r"^\d{0,9}$")]  # a form's empty choice is an empty text
Scope = Literal["study", "all"]
ROWS = 100


@router.get("/lead/{study_id}/log")
def log(
    request: Request,
    caller: Lead,
    study_id: Number,
    who: Who = "",
    kind: str = "",
    scope: Scope = "study",
    before: Number | None = None,
) -> Response:
    wanted = _wanted(study_id, who, kind, scope, before)
    with services(request).store.read() as session:
        study, _ = read_study(session, study_id)
        found = activity.events(session, wanted, ROWS + 1)
        people, kinds = activity.people(session, wanted.study_id), activity.kinds(session, wanted.study_id)
    chosen = {"who": who, "kind": kind, "scope": scope}
    values: dict[str, Any] = {"study": study, "rows": found[:ROWS], "people": people, "kinds": kinds, "nobody": NOBODY}
    values |= {"older": found[ROWS - 1].number if len(found) > ROWS else None, "before": before}
    values |= chosen | {"query": urlencode(chosen)}
    return page(request, "lead_log.html", caller, tab="tab_lead", **values)


@router.get("/lead/{study_id}/log.csv")
def table(
    request: Request, caller: Lead, study_id: Number, who: Who = "", kind: str = "", scope: Scope = "study"
) -> Response:
    def rows() -> list[dict[str, Any]]:
        with services(request).store.read() as session:
            return [vars(event) for event in activity.events(session, _wanted(study_id, who, kind, scope))]

    return csv_download(request, caller, study_id, "log", rows)


def _wanted(study_id: int, who: str, kind: str, scope: Scope, before: int | None = None) -> Wanted:
    return Wanted(study_id if scope == "study" else None, int(who) if who else None, kind or None, before)
