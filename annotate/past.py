"""What a rater has done: the ratings, each as it stands now, and how far the rater is.

history(session, enrolment_id)      # Past, Past, ...: the newest first
progress(session, enrolment_id)     # Progress(done=12, total=40, ...)
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import and_, exists, func, select
from sqlalchemy.orm import Session, aliased

from .answers import Answer
from .design import Design
from .offers import RATER, again, held_as
from .schema import Clip, Draft, Enrolment, Item, Lease, Rating, Rendition, Study

_LATER = aliased(Rating)
IS_CURRENT = ~exists().where(_LATER.supersedes == Rating.id)  # of a Rating in a query: nothing supersedes it


@dataclass(frozen=True)
class Past:
    """One of a rater's own ratings, as it stands now. `later`: an answer to the same clip that came after it, from another
    tab, and was not saved but kept."""

    rating_id: int
    token: str
    number: int | None
    modality: str
    media_type: str | None
    duration_s: float
    peaks: list[Any]
    answer: Answer
    later: dict[str, Any] | None
    submitted_at: datetime


@dataclass(frozen=True)
class Progress:
    """Counts of clips, of all kinds alike: what counts differently would tell a rater which clips are gold."""

    done: int
    total: int
    skipped: int
    flagged: int
    next_break_at: int | None
    break_due: bool


def history(session: Session, enrolment_id: int, limit: int = 20, before: int | None = None) -> list[Past]:
    """This rater's own ratings, newest first, each in its current version; `before`: older than this rating id."""
    of_rating = (Draft.enrolment_id == Rating.enrolment_id, Draft.item_id == Rating.item_id)
    later = and_(*of_rating, Draft.is_repeat == Rating.is_repeat)
    query = (
        select(Rating, Item.modality, Clip.duration_s, Clip.peaks, Rendition.media_type, Draft.answer)
        .join(Item, Rating.item_id == Item.id)
        .join(Clip, Item.clip_id == Clip.id)
        .outerjoin(Rendition, and_(Rendition.clip_id == Clip.id, Rendition.modality == Item.modality))
        .outerjoin(Draft, later)
        .where(Rating.enrolment_id == enrolment_id, IS_CURRENT)
        .order_by(Rating.id.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(Rating.id < before)
    return [
        Past(
            rating_id=rating.id,
            token=rating.lease_token or "",
            number=None if rating.order_index is None else rating.order_index + 1,
            modality=modality,
            media_type=media_type,
            duration_s=duration_s,
            peaks=heard(modality, peaks),
            answer=answer_of(rating),
            later=kept,
            submitted_at=rating.submitted_at,
        )
        for rating, modality, duration_s, peaks, media_type, kept in session.execute(query)
    ]


def progress(session: Session, enrolment_id: int, now: datetime | None = None) -> Progress:
    """How far a rater is. `total` shrinks as clips fill up with the answers of others."""
    rater = {"enrolment_id": enrolment_id}
    place, planned, design_json = session.execute(_PLACE, rater).one()
    states: dict[str, int] = dict(session.execute(_STATES, rater).tuples().all())
    flagged, last = session.execute(_FLAGGED, rater).one()
    design, done = Design.from_json(design_json), states.get("answered", 0)
    every, rest = design.break_every, timedelta(minutes=design.break_minutes)
    due = every and done and done % every == 0 and (now or datetime.now(UTC)) - last < rest
    return Progress(
        done=done,
        total=done + states.get("open", 0) + planned - place,
        skipped=len(set(session.execute(_SKIPS, rater).tuples())) if states.get("skipped") else 0,
        flagged=flagged,
        next_break_at=(done // every + 1) * every if every else None,
        break_due=bool(due),
    )


def answer_of(rating: Rating) -> Answer:
    return Answer(**{name: getattr(rating, name) for name in Answer.__dataclass_fields__})


def heard(modality: str, peaks: list[Any]) -> list[Any]:
    """The loudness of a clip, which whoever only sees it is not to know."""
    return [] if modality == "face" else peaks


# ---------------------------------------------------------------- statements
# Put together once, because they run at every answer: that takes longer than the database needs for them.

_PLACE = (
    select(Enrolment.place, func.json_array_length(Enrolment.plan).label("planned"), Study.design)
    .join(Study, Enrolment.study_id == Study.id)
    .where(Enrolment.id == RATER)
)
_STATES = select(Lease.state, func.count()).where(Lease.enrolment_id == RATER).group_by(Lease.state)
_FLAGGED = select(func.count(Rating.flag), func.max(Rating.submitted_at)).where(Rating.enrolment_id == RATER, IS_CURRENT)
_SKIPS = select(Lease.item_id, Lease.is_repeat).where(*held_as(RATER, "skipped"), ~again("answered"))
