"""Ratings as flat rows, for exports, agreement and aggregation: one row an answer, with its clip, child, rater and lease."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from .schema import Account, Child, Clip, Enrolment, Item, Rating

# In this order in every export. Times are UTC, ISO 8601.
COLUMNS = (
    "rating_id", "study_id", "clip", "clip_id", "content_hash", "clip_kind", "gold_label", "duration_s", "modality",
    "item_id", "rater", "rater_id", "order_index", "is_repeat", "label", "soft", "intensity", "valence", "arousal",
    "confidence",
    "cannot_tell", "flag", "comment", "replays", "first_play_ended_at", "reaction_ms", "submitted_at", "lease_token",
    "idempotency_key", "supersedes", "superseded_by", "child", "age_months", "sex", "group", "language", "consent",
    "retain_until",
)  # fmt: skip


def read_ratings(session: Session, study_id: int, history: bool = False) -> list[dict[str, Any]]:
    """The study's ratings by id, each a dict of COLUMNS with Python values (datetimes aware, in UTC).

    Only those that nothing supersedes, unless `history`. `rater` and `rater_id` are None where the raters are unknown;
    `rater_id` is the enrolment's.
    """
    later = aliased(Rating)
    query = (
        select(Rating, later.id, Item, Clip, Child, Enrolment.id, Account.name)
        .join(Item, Rating.item_id == Item.id)
        .join(Clip, Item.clip_id == Clip.id)
        .outerjoin(Child, Clip.child_id == Child.id)
        .outerjoin(Enrolment, Rating.enrolment_id == Enrolment.id)
        .outerjoin(Account, Enrolment.account_id == Account.id)
        .outerjoin(later, later.supersedes == Rating.id)
        .where(Item.study_id == study_id)
        .order_by(Rating.id)
    )
    if not history:
        query = query.where(later.id.is_(None))
    return [_row(study_id, *found) for found in session.execute(query)]


def _row(
    study_id: int,
    rating: Rating,
    superseded_by: int | None,
    item: Item,
    clip: Clip,
    child: Child | None,
    rater_id: int | None,
    rater: str | None,
) -> dict[str, Any]:
    own = {name: getattr(rating, name) for name in COLUMNS if hasattr(Rating, name)}
    of_clip = {"clip": clip.name, "clip_id": clip.id, "content_hash": clip.content_hash, "clip_kind": clip.kind}
    of_clip |= {name: getattr(clip, name) for name in ("gold_label", "duration_s", "consent", "retain_until")}
    of_child = {name: getattr(child, name, None) for name in ("age_months", "sex", "group", "language")}
    row = {
        **own,
        **of_clip,
        **of_child,
        "rating_id": rating.id,
        "study_id": study_id,
        "modality": item.modality,
        "item_id": item.id,
        "rater": rater,
        "rater_id": rater_id,
        "superseded_by": superseded_by,
        "child": child.pseudonym if child else None,
    }
    return {name: row[name] for name in COLUMNS}
