"""The study's answers as one table of columns: what agreement, aggregation and the look at raters are computed from."""

from typing import Any

import pandas as pd
from sqlalchemy import select
from sqlalchemy.orm import Session

from .schema import Account, Child, Clip, Enrolment, Item, Rating, Study
from .scheme import Scheme
from .store import StudyError

ANSWER = ("item_id", "enrolment_id", "is_repeat", "order_index", "label", "soft", "intensity", "valence", "arousal",
          "confidence", "cannot_tell", "flag", "first_play_ended_at", "reaction_ms", "submitted_at")  # fmt: skip
OF_FIRST = {"answered_at": "submitted_at", "first_play_ended_at": "first_play_ended_at", "reaction_ms": "reaction_ms"}


def read_votes(session: Session, study_id: int) -> pd.DataFrame:
    """One row an answer that nothing supersedes, in the order of ids: rating_id, ANSWER, answered_at, what is known of its
    clip (clip_id, clip, modality, kind, gold_label, acted, duration_s), of its rater (`rater`, None where unknown) and of
    its child (age_months, sex, group, language). Practice clips are left out.

    answered_at, first_play_ended_at and reaction_ms are its first version's: a correction is quick, and is no hurry."""
    versions = (
        select(Rating.id, Rating.supersedes, *(getattr(Rating, name) for name in ANSWER))
        .join(Item, Rating.item_id == Item.id)
        .where(Item.study_id == study_id)
        .order_by(Rating.id)
    )
    raters = (
        select(Enrolment.id, Account.name)
        .join(Account, Enrolment.account_id == Account.id)
        .where(Enrolment.study_id == study_id)
    )
    votes = _table(session, versions, ("rating_id", "supersedes", *ANSWER))
    first: dict[int, int] = {}
    for rating_id, old in votes[["rating_id", "supersedes"]].dropna().itertuples(index=False):
        first[rating_id] = first.get(old, old)
    origin = [first.get(rating_id, rating_id) for rating_id in votes["rating_id"]]
    votes[list(OF_FIRST)] = votes.set_index("rating_id").loc[origin, list(OF_FIRST.values())].to_numpy()
    votes = votes[~votes["rating_id"].isin(set(votes.pop("supersedes")))]
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
