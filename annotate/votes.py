"""The study's answers as one table of columns: what agreement, aggregation and the look at raters are computed from."""

from typing import Any

import pandas as pd
from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from .schema import Account, Child, Clip, Enrolment, Item, Rating, Study
from .scheme import Scheme
from .store import StudyError

ANSWER = ("item_id", "enrolment_id", "is_repeat", "order_index", "label", "soft", "intensity", "valence", "arousal",
          "confidence", "cannot_tell", "flag", "reaction_ms", "submitted_at")  # fmt: skip


def read_votes(session: Session, study_id: int) -> pd.DataFrame:
    """One row an answer that nothing supersedes, in the order of ids: rating_id, ANSWER, what is known of its clip
    (clip_id, clip, modality, kind, gold_label, acted, duration_s), of its rater (`rater`, None where unknown) and of its
    child (age_months, sex, group, language). Practice clips are left out."""
    later = aliased(Rating)
    answers = (
        select(Rating.id, *(getattr(Rating, name) for name in ANSWER))
        .join(Item, Rating.item_id == Item.id)
        .outerjoin(later, later.supersedes == Rating.id)
        .where(Item.study_id == study_id, later.id.is_(None))
        .order_by(Rating.id)
    )
    raters = (
        select(Enrolment.id, Account.name)
        .join(Account, Enrolment.account_id == Account.id)
        .where(Enrolment.study_id == study_id)
    )
    votes = _table(session, answers, ("rating_id", *ANSWER))
    names: dict[int, str] = {found.id: found.name for found in session.execute(raters)}
    votes["rater"] = votes.pop("enrolment_id").map(names).astype(object)
    return votes.merge(read_items(session, study_id), on="item_id").sort_values("rating_id", ignore_index=True)


def read_items(session: Session, study_id: int) -> pd.DataFrame:
    """One row a clip in one pass, with what is known of the clip and its child. Practice clips are left out."""
    query = (
        select(
            Item.id, Item.modality, Item.wanted, Clip.id, Clip.name, Clip.kind, Clip.gold_label, Clip.details,
            Clip.duration_s, Child.age_months, Child.sex, Child.group, Child.language,
        )
        .join(Clip, Item.clip_id == Clip.id)
        .outerjoin(Child, Clip.child_id == Child.id)
        .where(Item.study_id == study_id, Clip.kind != "practice")
        .order_by(Item.id)
    )  # fmt: skip
    columns = ("item_id", "modality", "wanted", "clip_id", "clip", "kind", "gold_label", "details", "duration_s",
               "age_months", "sex", "group", "language")  # fmt: skip
    items = _table(session, query, columns)
    items["acted"] = [details.get("acted") for details in items.pop("details")]
    return items


def first_answers(votes: pd.DataFrame) -> pd.DataFrame:
    """Answers that agreement is about: of main clips (gold was chosen for being clear), without repeats, with a label."""
    return votes[(votes["kind"] == "main") & ~votes["is_repeat"].astype(bool) & votes["label"].notna()]


def read_study(session: Session, study_id: int) -> tuple[Study, Scheme]:
    study = session.get(Study, study_id)
    if study is None:
        raise StudyError(f"There is no study {study_id}; see the list of studies.")
    return study, Scheme.from_json(study.scheme)


def _table(session: Session, query: Any, columns: tuple[str, ...]) -> pd.DataFrame:
    """Objects as they are: a missing number stays None, never nan that a JSON file cannot hold."""
    rows = session.connection().execute(query).all()
    values = zip(*rows, strict=True) if rows else [()] * len(columns)
    return pd.DataFrame({name: pd.Series(list(column), dtype=object) for name, column in zip(columns, values, strict=True)})
