"""Adjudication: who has this role sees all ratings of a clip, and a model's reading where one was written, and settles.

Who also rates the study sees nothing of the clips that are still theirs to rate. What is settled is never changed: a further
decision supersedes it.
"""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Request
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased
from starlette.responses import Response

from ..accounts import Caller
from ..offers import still_to_rate
from ..overview import asked_for
from ..schema import Account, Adjudication, Clip, Enrolment, Item, ModelReading, Rating, Rendition, Study
from ..scheme import Scheme
from ..store import StudyError, rating_digest, record
from ..votes import read_study
from .access import PREFIX, Number, Refusal, need, services
from .lead import face
from .pages import page

router = APIRouter(prefix=PREFIX)
Adjudicator = Annotated[Caller, Depends(need("adjudicator"))]
LONGEST = 2000


@router.get("/adjudicate")
def studies(request: Request, caller: Adjudicator) -> Response:
    with services(request).store.read() as session:
        found = [(s.id, s.name, len(asked_for(session, s.id))) for s in session.scalars(select(Study).order_by(Study.id))]
    return page(request, "lead_adjudicate_studies.html", caller, tab="tab_adjudicate", studies=found)


@router.get("/adjudicate/{study_id}")
def adjudicate(request: Request, caller: Adjudicator, study_id: Number, item: Number | None = None) -> Response:
    """The item asked for, else the first that waits."""
    with services(request).store.read() as session:
        study, scheme = read_study(session, study_id)
        own = _own(session, study, caller)
        asked = asked_for(session, study_id)
        waiting = [item_id for item_id in asked if item_id not in own]
        item_id = item if item is not None else (waiting[0] if waiting else None)
        _need_blind(item_id, own)
        shown = None if item_id is None else _item(session, study_id, item_id, scheme)
        settled = [one for one in _settled(session, study_id) if one["item_id"] not in own]
    values: dict[str, Any] = {"study": study, "waiting": waiting, "shown": shown, "settled": settled}
    values["own"] = len(asked) - len(waiting)
    return page(
        request, "lead_adjudicate.html", caller, tab="tab_adjudicate", labels=[face(x) for x in scheme.labels], **values
    )


@router.post("/api/adjudicate/{item_id}")
def settle(
    request: Request, caller: Adjudicator, item_id: Number, decision: Annotated[dict[str, Any], Body()]
) -> dict[str, Any]:
    """decision = {label, comment, after: id of the adjudication that was shown, or null}. 409 where another came first."""
    label, comment, after = decision.get("label"), decision.get("comment") or None, decision.get("after")
    if not isinstance(comment, str | None) or len(comment or "") > LONGEST:
        raise StudyError(f"A comment has {LONGEST} characters at most.")
    try:
        with services(request).store.write() as session:
            item = session.get(Item, item_id)
            if item is None:
                raise StudyError("There is no such clip any more.")
            study, scheme = read_study(session, item.study_id)
            own = _own(session, study, caller)
            _need_blind(item_id, own)
            if label not in scheme.names:
                raise StudyError(f"There is no label {label!r}; choose one of {', '.join(scheme.names)}.")
            latest = _latest(session, item_id)
            if (latest.id if latest else None) != after:
                raise Refusal(409, "settled", "Somebody else has settled this clip meanwhile; load the page to see how.")
            row = Adjudication(item_id=item_id, account_id=caller.account_id, settled_at=datetime.now(UTC))
            row.label, row.comment, row.supersedes = label, comment, after
            session.add(row)
            session.flush()
            record(session, caller.account_id, "settled", f"item {item_id}", adjudication=row.id, digest=rating_digest(row))
            return {"settled": row.id, "waiting": len(set(asked_for(session, item.study_id)) - own)}
    except IntegrityError as error:
        raise Refusal(409, "settled", "Somebody else has settled this clip meanwhile; load the page to see how.") from error


def _own(session: Session, study: Study, caller: Caller) -> set[int]:
    """What the caller has still to rate in this study, and so must not know the others' answers to."""
    return still_to_rate(session, study, caller.account_id, datetime.now(UTC)) if "rater" in caller.roles else set()


def _need_blind(item_id: int | None, own: set[int]) -> None:
    if item_id in own:
        raise Refusal(
            403,
            "still to rate",
            "You have still to rate this clip yourself; what others say of it is shown to you afterwards.",
        )


def _item(session: Session, study_id: int, item_id: int, scheme: Scheme) -> dict[str, Any]:
    """All that is known of a clip in one pass: its ratings with their comments, a model's reading, what was settled."""
    item = session.get(Item, item_id)
    if item is None or item.study_id != study_id:
        raise StudyError("There is no such clip in this study.")
    clip = session.get_one(Clip, item.clip_id)
    media = session.scalar(
        select(Rendition.media_type).where(Rendition.clip_id == clip.id, Rendition.modality == item.modality)
    )
    later = aliased(Rating)
    query = (
        select(Rating, Account.name)
        .outerjoin(Enrolment, Rating.enrolment_id == Enrolment.id)
        .outerjoin(Account, Enrolment.account_id == Account.id)
        .outerjoin(later, later.supersedes == Rating.id)
        .where(Rating.item_id == item_id, later.id.is_(None))
        .order_by(Rating.id)
    )
    ratings = [
        {name: getattr(r, name) for name in ("label", "soft", "intensity", "confidence", "cannot_tell", "flag", "comment")}
        | {"rater": rater, "is_repeat": r.is_repeat}
        for r, rater in session.execute(query).tuples()
    ]
    reading = session.scalars(
        select(ModelReading)
        .where(ModelReading.clip_id == clip.id, ModelReading.modality == item.modality)
        .order_by(ModelReading.id.desc())
        .limit(1)
    ).one_or_none()
    counts = {name: sum(r["label"] == name and not r["is_repeat"] for r in ratings) for name in scheme.names}
    latest = _latest(session, item_id)
    return {
        "item_id": item_id,
        "clip": clip.name,
        "modality": item.modality,
        "duration_s": clip.duration_s,
        "media_type": media,
        "ratings": ratings,
        "counts": counts,
        "reading": None if reading is None else {"model": reading.model_id, "probabilities": reading.probabilities},
        "after": latest.id if latest else None,
        "label": latest.label if latest else None,
    }


def _latest(session: Session, item_id: int) -> Adjudication | None:
    later = aliased(Adjudication)
    query = select(Adjudication).outerjoin(later, later.supersedes == Adjudication.id)
    return session.scalars(query.where(Adjudication.item_id == item_id, later.id.is_(None))).one_or_none()


def _settled(session: Session, study_id: int) -> list[dict[str, Any]]:
    """What holds now, newest first."""
    later = aliased(Adjudication)
    query = (
        select(Adjudication, Clip.name, Item.modality, Account.name)
        .join(Item, Adjudication.item_id == Item.id)
        .join(Clip, Item.clip_id == Clip.id)
        .join(Account, Adjudication.account_id == Account.id)
        .outerjoin(later, later.supersedes == Adjudication.id)
        .where(Item.study_id == study_id, later.id.is_(None), Adjudication.label.is_not(None))
        .order_by(Adjudication.id.desc())
    )
    return [
        {
            "item_id": a.item_id,
            "label": a.label,
            "comment": a.comment,
            "at": a.settled_at,
            "clip": clip,
            "modality": m,
            "by": by,
        }
        for a, clip, m, by in session.execute(query).tuples()
    ]
