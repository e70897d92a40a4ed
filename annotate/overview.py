"""How far a study is and what its lead should look at: everything the lead's page says, as plain values."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from . import suspects
from .agreement import FEWEST, WANTED, hardest, known, of_gold, pair_tables, repeats, share, summary, tabulate
from .assignment import chosen_names
from .design import ENDLESS
from .schema import MODALITIES, Adjudication, Clip, Item, ModelReading, Rating, Study
from .store import Store
from .votes import first_answers, read_items, read_study, read_votes

PAUSE = timedelta(minutes=5)  # a longer gap between two answers is a break, not work
WEEK = timedelta(days=7)


def study_list(session: Session) -> list[dict[str, Any]]:
    """All studies with their state, counts and raters (None: every rater rates it), newest first."""
    chosen = chosen_names(session)
    items = dict(session.execute(select(Item.study_id, func.count()).group_by(Item.study_id)).tuples().all())
    wanted = dict(session.execute(select(Item.study_id, func.sum(Item.wanted)).group_by(Item.study_id)).tuples().all())
    least = dict(session.execute(select(Item.study_id, func.min(Item.wanted)).group_by(Item.study_id)).tuples().all())
    query = select(Item.study_id, func.count()).join(Rating, Rating.item_id == Item.id)
    given = query.where(Rating.supersedes.is_(None), ~Rating.is_repeat).group_by(Item.study_id)
    ratings = dict(session.execute(given).tuples().all())
    return [
        {
            "id": study.id,
            "name": study.name,
            "state": study.state,
            "raters": chosen.get(study.id),
            "passes": list(study.design.get("passes", ())),
            "items": items.get(study.id, 0),
            "wanted": wanted.get(study.id, 0) or 0,
            "endless": least.get(study.id, 0) >= ENDLESS,
            "ratings": ratings.get(study.id, 0),
            "created_at": study.created_at,
        }
        for study in session.scalars(select(Study).order_by(Study.id.desc()))
    ]


def version(session: Session, study_id: int) -> tuple[Any, ...]:
    """Changes when an answer, a decision or a model's reading does: what has been computed of a study holds as long as this
    is the same."""
    query = select(func.max(Rating.id), func.count()).join(Item, Rating.item_id == Item.id).where(Item.study_id == study_id)
    wanted = select(func.sum(Item.wanted), func.count()).where(Item.study_id == study_id)
    settled = select(func.max(Adjudication.id)).join(Item, Adjudication.item_id == Item.id).where(Item.study_id == study_id)
    read = select(func.max(ModelReading.id), func.count()).join(Clip, ModelReading.clip_id == Clip.id)
    found = (query, wanted, settled, read.where(Clip.study_id == study_id))
    return tuple(value for each in found for value in session.execute(each).one())


def look(store: Store, study_id: int) -> dict[str, Any]:
    """The agreement report, the raters, the hardest clips of each pass, the signs, the flags, the progress."""
    with store.read() as session:
        return _look(session, study_id)


def _look(session: Session, study_id: int) -> dict[str, Any]:
    study, scheme = read_study(session, study_id)
    votes, items = read_votes(session, study_id), read_items(session, study_id)
    passes = [m for m in MODALITIES if m in set(items["modality"])]
    why = suspects.why_not(votes)
    return {
        "passes": passes,
        "report": summary(votes, scheme.names) | {"study_id": study_id, "study": study.name},
        "progress": progress(votes, items),
        "raters": [] if why else raters(votes),
        "raters_why": why,
        "days": days(votes),
        "gold": gold_course(votes),
        "signs": suspects.signs(votes),
        "flags": flags(votes),
        "model": {m: beside_model(session, votes[votes["modality"] == m], scheme.names, m) for m in passes},
        "pairs": {m: pair_tables(votes[votes["modality"] == m], scheme.names) for m in passes},
        "hardest": {m: hardest(votes[votes["modality"] == m], scheme.names) for m in passes},
    }


def progress(votes: pd.DataFrame, items: pd.DataFrame) -> dict[str, Any]:
    """Ratings against those wanted; a clip counts once in each of its passes."""
    first = votes[~votes["is_repeat"].astype(bool)]
    given = first.groupby("item_id").size().reindex(items["item_id"], fill_value=0).to_numpy()
    wanted = items["wanted"].to_numpy(int)
    return {
        "items": len(items),
        "full": int((given >= wanted).sum()),
        "begun": int((given > 0).sum()),
        "given": int(given.sum()),
        "wanted": int(wanted.sum()),
        "share": float(given.clip(max=wanted).sum() / wanted.sum()) if wanted.sum() else 0.0,
        "replications": sorted(set(wanted.tolist())),
        "endless": bool(len(wanted)) and int(wanted.min()) >= ENDLESS,
        "left": int((wanted - given).clip(0).sum()),
    }


def pace(session: Session, study_id: int, left: int, now: datetime | None = None) -> dict[str, Any]:
    """`this_week`: clips rated for the first time by someone in the last seven days. `finish`: when the rest is done at the
    pace since the first of these; None where that says nothing. Apart from progress(): it changes while nobody rates."""
    now = now or datetime.now(UTC)
    query = select(func.count(), func.min(Rating.submitted_at)).join(Item, Rating.item_id == Item.id)
    query = query.join(Clip, Item.clip_id == Clip.id).where(Item.study_id == study_id, Clip.kind != "practice")
    first = Rating.supersedes.is_(None), ~Rating.is_repeat, Rating.submitted_at >= now - WEEK
    given, begun = session.execute(query.where(*first)).one()
    finish = None
    if left and given >= FEWEST and left / given < 1000:
        finish = now + max(now - begun, timedelta(days=1)) * (left / given)
    return {"this_week": given, "finish": finish}


def raters(votes: pd.DataFrame) -> list[dict[str, Any]]:
    """One row a rater: answers, pace, the same answer on repeats, gold, when last seen."""
    same = {(m.who, m.modality): m for p in MODALITIES for m in repeats(votes[votes["modality"] == p], p)}
    rows = []
    for rater, own in votes.groupby("rater"):
        gaps = pd.to_datetime(own["answered_at"].sort_values(), utc=True).diff().dropna()
        gaps = gaps[gaps <= PAUSE]
        again = [m for (who, _), m in same.items() if who == rater]
        rows.append(
            {
                "rater": str(rater),
                "answers": int((~own["is_repeat"].astype(bool)).sum()),
                "cannot_tell": int(own["cannot_tell"].astype(bool).sum()),
                "flagged": int(own["flag"].notna().sum()),
                "per_hour": None if len(gaps) < FEWEST else round(3600 / gaps.dt.total_seconds().median()),
                "repeats": asdict(share("", "", "", "", sum(m.hits or 0 for m in again), sum(m.n for m in again))),
                "gold": asdict(known("", "", "", of_gold(own))),
                "last": own["submitted_at"].max(),
            }
        )
    return rows


def days(votes: pd.DataFrame) -> list[dict[str, Any]]:
    """One row a rater and day (in UTC) with answers, repeats too, in the order of raters and days; nothing where the raters
    are unknown."""
    day = pd.to_datetime(votes["answered_at"], utc=True).dt.strftime("%Y-%m-%d")
    found = votes.assign(day=day).groupby(["rater", "day"]).size()
    return [{"rater": rater, "day": day, "answers": int(count)} for (rater, day), count in found.items()]


def gold_course(votes: pd.DataFrame) -> list[dict[str, Any]]:
    """From each rater's 20th gold clip with a label on: how many of the last 20 have the known label."""
    given = of_gold(votes[votes["label"].notna()]).sort_values(["answered_at", "rating_id"])
    rows = []
    for rater, own in given.groupby("rater"):
        right = own["right"].rolling(FEWEST).sum()
        for i in range(FEWEST - 1, len(own)):
            at = own["answered_at"].iloc[i]
            rows.append({"rater": str(rater), "gold clip": i + 1, "at": at, "right": int(right.iloc[i]), "of": FEWEST})
    return rows


def beside_model(session: Session, votes: pd.DataFrame, labels: tuple[str, ...], modality: str) -> dict[str, Any] | None:
    """{name, rows}: how often clips with this majority (row) were read as that (column) by the model whose reading was
    written last; None where none was."""
    clips = {int(clip) for clip in votes["clip_id"]}
    query = select(ModelReading).where(ModelReading.modality == modality).order_by(ModelReading.id)
    readings = [r for r in session.scalars(query) if r.clip_id in clips]
    if not readings:
        return None
    last = readings[-1].model_id
    read = {r.clip_id: max(r.probabilities, key=r.probabilities.__getitem__) for r in readings if r.model_id == last}
    counts, found = tabulate(first_answers(votes), "label", labels)
    rows = [[0] * len(labels) for _ in labels]
    for clip, given in zip(found, counts, strict=True):
        top = (given == given.max()).nonzero()[0]
        if len(top) == 1 and read.get(clip) in labels:
            rows[top[0]][labels.index(read[clip])] += 1
    return {"name": last, "rows": rows}


def flags(votes: pd.DataFrame) -> list[dict[str, Any]]:
    """What raters flagged, newest first."""
    found = votes[votes["flag"].notna()].sort_values("rating_id", ascending=False)
    return [row[["item_id", "clip", "modality", "rater", "flag"]].to_dict() for _, row in found.iterrows()]


def clip_rows(store: Store, study_id: int) -> list[dict[str, Any]]:
    """One row a clip and pass: answers against those wanted, the labels given, flags."""
    with store.read() as session:
        _, scheme = read_study(session, study_id)
        votes, items = read_votes(session, study_id), read_items(session, study_id)
    first = votes[~votes["is_repeat"].astype(bool)]
    given = first.groupby("item_id").size()
    counts = first[first["label"].notna()].groupby(["item_id", "label"]).size().unstack(fill_value=0)
    counts = counts.reindex(columns=list(scheme.names), fill_value=0)
    flagged = votes[votes["flag"].notna()].groupby("item_id").size()
    return [
        {
            "item_id": int(item.item_id),
            "clip": item.clip,
            "kind": item.kind,
            "modality": item.modality,
            "given": int(given.get(item.item_id, 0)),
            "wanted": int(item.wanted),
            "counts": counts.loc[item.item_id].to_dict() if item.item_id in counts.index else {},
            "flagged": int(flagged.get(item.item_id, 0)),
        }
        for item in items.itertuples()
    ]


def asked_for(session: Session, study_id: int) -> list[int]:
    """Items that wait for an adjudicator, in the order of asking."""
    later = aliased(Adjudication)
    query = (
        select(Adjudication.item_id)
        .join(Item, Adjudication.item_id == Item.id)
        .outerjoin(later, later.supersedes == Adjudication.id)
        .where(Item.study_id == study_id, later.id.is_(None), Adjudication.label.is_(None))
        .order_by(Adjudication.id)
    )
    return list(session.scalars(query))


def finding(look: dict[str, Any], modality: str, name: str) -> tuple[str, str]:
    """(What is true of the study's progress, what is true of its agreement), each a sentence."""
    share, given = look["progress"]["share"], look["progress"]["given"]
    strong = f"{name} is fully rated." if share >= 1 else f"{name} is {100 * share:.0f} % rated."
    if look["progress"]["endless"]:
        strong = f"{name} has {given:,} rating{'s' if given != 1 else ''}."
    of_pass = [m for m in look["report"]["measures"] if m["modality"] == modality and m["name"] == "alpha nominal"]
    found = next((m for m in of_pass if m["of"] == "label" and m["who"] == "everyone"), None)
    if found is None:
        several = len(look["passes"]) > 1
        return strong, f"Nobody has answered {f'in the pass {modality} ' if several else ''}yet."
    if found["value"] is None:
        return strong, f"Of agreement there is nothing to say yet: {found['why']}."
    least = WANTED["alpha"]
    labels = [m for m in of_pass if m["of"] in look["report"]["labels"] and m["value"] is not None]
    below = [m["of"] for m in labels if m["high"] < least]
    above = [m["of"] for m in labels if m["low"] >= least]
    if found["low"] >= least:
        return strong, f"Agreement holds{f', except for {listed(below)}' if below else ''}."
    if found["high"] < least:
        return strong, f"Agreement stays below {least}{f', except for {listed(above)}' if above else ''}."
    return strong, f"Agreement may lie on either side of {least}{f'; it is below for {listed(below)}' if below else ''}."


def listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
