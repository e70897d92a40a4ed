"""One label a clip out of several raters' answers: majority with its ties, mean soft label, Dawid-Skene, MACE.

Dawid-Skene (1979) and MACE (Hovy et al. 2013) weigh raters by how reliable they look; both come from crowd-kit, and both
need to know who answered what.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from .agreement import UNKNOWN, pairs_agreeing, tabulate
from .schema import MODALITIES, Adjudication, Item
from .store import Store
from .votes import read_study, read_votes

METHODS = ("dawid_skene", "mace")


@dataclass(frozen=True)
class Aggregation:
    """`rows`: one a clip and pass. `raters`: one a rater and pass, with what each method makes of the rater's reliability.
    `why`: pass -> the sentence that says why the two methods are missing there."""

    rows: list[dict[str, Any]]
    raters: list[dict[str, Any]]
    why: dict[str, str]


def aggregate(store: Store, study_id: int) -> Aggregation:
    with store.read() as session:
        _, scheme = read_study(session, study_id)
        votes, settled = read_votes(session, study_id), settled_labels(session, study_id)
    return aggregated(votes, scheme.names, settled)


def settled_labels(session: Session, study_id: int) -> dict[int, str]:
    """What adjudicators have settled, by item; only what nothing supersedes."""
    later = aliased(Adjudication)
    query = (
        select(Adjudication.item_id, Adjudication.label)
        .join(Item)
        .outerjoin(later, later.supersedes == Adjudication.id)
        .where(Item.study_id == study_id, later.id.is_(None), Adjudication.label.is_not(None))
    )
    return {item_id: label for item_id, label in session.execute(query).tuples() if label}


def aggregated(votes: pd.DataFrame, labels: tuple[str, ...], settled: dict[int, str]) -> Aggregation:
    """Gold clips too: their answers are answers. A rater's repeats are left out, so that nobody counts twice."""
    given = votes[~votes["is_repeat"].astype(bool) & votes["label"].notna()]
    found = Aggregation([], [], {})
    for modality in MODALITIES:
        of_pass = given[given["modality"] == modality].reset_index(drop=True)
        if of_pass.empty:
            continue
        if why := why_not(of_pass):
            found.why[modality] = why
            found.rows.extend(_rows(of_pass, labels, None, settled))
            continue
        weighed, reliable = weigh(of_pass)
        found.rows.extend(_rows(of_pass, labels, weighed, settled))
        found.raters.extend({"modality": modality, **rater} for rater in reliable)
    return found


def why_not(votes: pd.DataFrame) -> str | None:
    """Why raters cannot be weighed against each other, None where they can."""
    if votes["rater"].isna().any():
        return f"Dawid-Skene and MACE weigh raters, and {UNKNOWN}"
    if votes["rater"].nunique() < 2:
        return "Dawid-Skene and MACE weigh raters against each other, and only one rater has answered"
    if votes["label"].nunique() < 2:
        return "Dawid-Skene and MACE need two different labels, and every answer is the same"
    return None


def weigh(votes: pd.DataFrame) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """(item_id, and each method's label and its probability; each rater's reliability)."""
    from crowdkit.aggregation import MACE, DawidSkene  # seconds to import, hence only where it is needed

    votes = votes.sort_values("rater", kind="stable")
    labels, names = pd.factorize(votes["label"])
    workers, raters = pd.factorize(votes["rater"])
    # Numbers in the order of appearance: MACE keeps some tables in that order and some sorted, which must be the same.
    answers = pd.DataFrame({"task": votes["item_id"].astype(int).to_numpy(), "worker": workers, "label": labels})
    dawid_skene = DawidSkene(n_iter=100).fit(answers)
    mace = MACE(n_restarts=1, random_state=0).fit(answers)  # every restart of crowd-kit 1.4 begins in the same place
    found = pd.DataFrame({"item_id": answers["task"].unique()})
    for name, chances in zip(METHODS, (dawid_skene.probas_, mace.probas_), strict=True):
        assert chances is not None
        chances = chances.reindex(found["item_id"])
        found[name] = [names[code] for code in chances.idxmax(axis=1)]
        found[f"{name}_p"] = chances.max(axis=1).to_numpy()
    competence = mace.spamming_[:, 1] / mace.spamming_.sum(1)
    reliable = [
        {
            "rater": rater,
            "answers": int((workers == code).sum()),
            "dawid_skene": _right(dawid_skene, code),
            "mace": float(competence[code]),
        }
        for code, rater in enumerate(raters)
    ]
    return found, reliable


def _right(model: Any, worker: int) -> float:
    """The share of answers that Dawid-Skene expects to be right: the diagonal of the rater's error matrix, by the labels'
    frequencies."""
    errors = model.errors_.loc[worker]
    return float(sum(model.priors_[label] * errors.loc[label, label] for label in errors.index if label in errors.columns))


def _rows(
    votes: pd.DataFrame, labels: tuple[str, ...], weighed: pd.DataFrame | None, settled: dict[int, str]
) -> Iterator[dict[str, Any]]:
    counts, _ = tabulate(votes, "label", labels)
    soft = mean_soft(votes, labels)
    agreeing = pairs_agreeing(counts)
    by_item = {} if weighed is None else weighed.set_index("item_id").to_dict("index")
    items = votes.drop_duplicates("item_id")
    for i, item in enumerate(items.itertuples()):
        top = counts[i] == counts[i].max()
        weights = by_item.get(item.item_id, {})
        yield {
            "item_id": int(item.item_id),
            "clip": item.clip,
            "modality": item.modality,
            "answers": int(counts[i].sum()),
            "majority": [label for label, is_top in zip(labels, top, strict=True) if is_top],
            "share": float(counts[i].max() / counts[i].sum()),
            "agreeing_pairs": None if np.isnan(agreeing[i]) else float(agreeing[i]),
            "soft": {label: round(float(part), 6) for label, part in zip(labels, soft[i], strict=True)},
            "dawid_skene": weights.get("dawid_skene"),
            "dawid_skene_p": weights.get("dawid_skene_p"),
            "mace": weights.get("mace"),
            "mace_p": weights.get("mace_p"),
            "adjudicated": settled.get(int(item.item_id)),
        }


def mean_soft(votes: pd.DataFrame, labels: tuple[str, ...]) -> np.ndarray:
    """The mean of each item's answers as fractions over the labels; an answer without fractions is all its label's."""
    codes = pd.Categorical(votes["label"], categories=list(labels)).codes
    parts = np.eye(len(labels))[codes]
    for i in np.flatnonzero(votes["soft"].notna()):
        parts[i] = [votes["soft"].iloc[i].get(label, 0.0) for label in labels]
    units, _ = pd.factorize(votes["item_id"])
    total = np.zeros((units.max() + 1, len(labels)))
    np.add.at(total, units, parts)
    return total / np.bincount(units)[:, None]
