"""CREMA-D's published votes as a study: 7,442 clips without media in three passes, 212,000 answers of unknown raters.

H. Cao et al., CREMA-D: Crowd-sourced Emotional Multimodal Actors Dataset, 2014, doi:10.1109/TAFFC.2014.2336244. Only counts
of votes are public: an answer has a label, but no rater, no order and no time (`submitted_at` is when it was imported).
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from avemo_core.labels import EMOTIONS

from ..design import Design
from ..schema import MODALITIES, Child, Clip, Item, Rating, Study
from ..scheme import Label, Scheme
from ..store import Store, StudyError, bulk_digest, named, record
from ..studies import check_free

LETTERS = {"neutral": "N", "happiness": "H", "sadness": "S", "anger": "A", "fear": "F", "disgust": "D"}
SCHEME = Scheme("CREMA-D's six", tuple(Label(name, name, EMOTIONS[name].russian) for name in LETTERS))
KEPT = ("level", "sentence", "split", "source")
NEEDED = {"votes.parquet": ("clip", "modality", *LETTERS.values()), "manifest.csv": ("clip", "label", "speaker", *KEPT)}


def import_votes(store: Store, account_id: int | None, folder: Path, name: str = "CREMA-D") -> int:
    """The id of a new, closed study made from votes.parquet and manifest.csv in `folder`. All of it, or nothing.

    The acted emotion is kept in each clip's details, not as gold: actors do not always express what they were asked to.
    """
    name = named(name, "A study")
    votes, manifest = _read(folder)
    now = datetime.now(UTC)
    with store.write() as session:
        check_free(session, name)
        design = Design(passes=MODALITIES, replications=10, repeat_share=0, blocks=1)
        study = Study(name=name, scheme=SCHEME.to_json(), design=design.to_json(), state="closed", created_at=now)
        study.created_by = account_id
        session.add(study)
        session.flush()
        clips = _add_clips(session, study.id, manifest)
        items = _add_items(session, study.id, clips, votes)
        ratings = _answers(study.id, items, votes, now)
        session.connection().execute(insert(Rating), ratings)
        of_study = select(func.min(Rating.id), func.max(Rating.id)).join(Item).where(Item.study_id == study.id)
        first, last = session.execute(of_study).one().tuple()
        if last - first + 1 != len(ratings):  # the one writer's ids follow each other
            raise StudyError(f"{len(ratings)} votes took the ids {first} to {last}; nothing was imported, try again.")
        digest = bulk_digest(session, first, last)
        record(session, account_id, "votes imported", f"study {study.id}", ratings=[first, last], digest=digest)
        return study.id


def _read(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    found = []
    for file, columns in NEEDED.items():
        path = folder / file
        if not path.is_file():
            raise StudyError(f"{path} is missing; give the folder with CREMA-D's votes.parquet and manifest.csv.")
        try:
            table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, dtype={"speaker": str})
        except (ValueError, OSError) as error:
            raise StudyError(f"{path} cannot be read as a table; get CREMA-D's tables again.") from error
        if missing := [column for column in columns if column not in table]:
            raise StudyError(f"{path} has no column {missing[0]!r}; it needs {', '.join(columns)}.")
        found.append(table)
    votes, manifest = found
    if not votes["modality"].isin((1, 2, 3)).all():
        raise StudyError(f"{folder / 'votes.parquet'} has another modality than 1 (voice), 2 (face) and 3 (both).")
    if unknown := sorted(set(votes["clip"]) - set(manifest["clip"])):
        raise StudyError(f"{folder / 'manifest.csv'} has no row for the clip {unknown[0]!r}, which has votes.")
    return votes, manifest


def _add_clips(session: Session, study_id: int, manifest: pd.DataFrame) -> dict[str, int]:
    """Ids by name. The actors are the persons that alpha per age and sex is about."""
    actors = manifest.drop_duplicates("speaker")
    children = [
        {"study_id": study_id, "pseudonym": a.speaker, "age_months": _months(a), "sex": _sex(a), "language": "English"}
        for a in actors.itertuples()
    ]
    session.execute(insert(Child), children)
    persons = session.execute(select(Child.pseudonym, Child.id).where(Child.study_id == study_id)).tuples()
    ids: dict[str, int] = dict(persons.all())
    clips = [
        {
            "study_id": study_id,
            "child_id": ids[row["speaker"]],
            "name": row["clip"],
            "duration_s": 0.0,  # there is no media
            "peaks": [],
            "details": {"acted": row["label"]} | {key: row[key] for key in KEPT},
        }
        for row in manifest.astype(object).to_dict("records")
    ]
    session.execute(insert(Clip), clips)
    return dict(session.execute(select(Clip.name, Clip.id).where(Clip.study_id == study_id)).tuples().all())


def _add_items(session: Session, study_id: int, clips: dict[str, int], votes: pd.DataFrame) -> pd.Series:
    """The item of each row of `votes`. Nothing more is wanted than the answers that are there."""
    rows = pd.DataFrame({"clip_id": votes["clip"].map(clips), "modality": [MODALITIES[m - 1] for m in votes["modality"]]})
    wanted = votes[list(LETTERS.values())].sum(axis=1)
    new = rows.assign(study_id=study_id, wanted=wanted).astype(object).to_dict("records")
    session.execute(insert(Item), new)
    found = session.execute(select(Item.clip_id, Item.modality, Item.id).where(Item.study_id == study_id)).tuples().all()
    ids = {(clip_id, modality): item_id for clip_id, modality, item_id in found}
    return pd.Series([ids[pair] for pair in zip(rows["clip_id"], rows["modality"], strict=True)], index=votes.index)


def _answers(study_id: int, items: pd.Series, votes: pd.DataFrame, now: datetime) -> list[dict[str, Any]]:
    """One answer a vote; all of a row's votes for one emotion follow each other."""
    rows = []
    for label, letter in LETTERS.items():
        for item, votes_for in zip(items.tolist(), votes[letter].tolist(), strict=True):
            rows += [
                {
                    "item_id": item,
                    "label": label,
                    "idempotency_key": f"cremad-{study_id}-{item}-{letter}{i}",
                    "submitted_at": now,
                }
                for i in range(votes_for)
            ]
    return sorted(rows, key=lambda row: row["item_id"])


def _months(actor: Any) -> int | None:
    age = getattr(actor, "age", None)
    return None if age is None or pd.isna(age) else int(age) * 12


def _sex(actor: Any) -> str | None:
    return {"Male": "male", "Female": "female"}.get(str(getattr(actor, "sex", "")))
