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

from .agreement import UNKNOWN
from .coefficients import pairs_agreeing
from .schema import MODALITIES, Adjudication, Item
from .store import Store
from .votes import read_items, read_study, read_votes

METHODS = ("dawid_skene", "mace")
EQUAL = 1e-6  # two probabilities that differ by less are a tie, and the difference is the order of the additions


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
        votes, items = read_votes(session, study_id), read_items(session, study_id)
        settled = settled_labels(session, study_id)
    return aggregated(votes, items, scheme.names, settled)


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


def aggregated(votes: pd.DataFrame, items: pd.DataFrame, labels: tuple[str, ...], settled: dict[int, str]) -> Aggregation:
    """Gold clips too: their answers are answers. A rater's repeats are left out, so that nobody counts twice.

    An answer split evenly has fractions and no label: it is in the mean soft label, and in nothing that counts labels."""
    answers = votes[~votes["is_repeat"].astype(bool) & (votes["label"].notna() | votes["soft"].notna())]
    shown = items[items["item_id"].isin({*answers["item_id"], *settled})]
    found = Aggregation([], [], {})
    for modality in MODALITIES:
        of_pass = answers[answers["modality"] == modality]
        labelled = of_pass[of_pass["label"].notna()]
        weighed = None
        if why := None if of_pass.empty else why_not(labelled):
            found.why[modality] = why
        elif not of_pass.empty:
            weighed, reliable = weigh(labelled)
            found.raters.extend({"modality": modality, **rater} for rater in reliable)
        found.rows.extend(_rows(shown[shown["modality"] == modality], of_pass, labels, weighed, settled))
    return found


def why_not(votes: pd.DataFrame) -> str | None:
    """Why raters cannot be weighed against each other, None where they can. `votes`: those with a label."""
    if votes.empty:
        return "Dawid-Skene and MACE count labels, and every answer is split evenly between several"
    if votes["rater"].isna().any():
        return f"Dawid-Skene and MACE weigh raters, and {UNKNOWN}"
    if votes["rater"].nunique() < 2:
        return "Dawid-Skene and MACE weigh raters against each other, and only one rater has answered"
    if votes["label"].nunique() < 2:
        return "Dawid-Skene and MACE need two different labels, and every answer is the same"
    return None


def weigh(votes: pd.DataFrame) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """(item_id, each method's most probable labels, several in a tie, and their probability; each rater's reliability)."""
    from crowdkit.aggregation import MACE, DawidSkene  # seconds to import, hence only where it is needed

    class EvenMACE(MACE):
        """Starts without a favourite: crowd-kit's own start is drawn at random, and would decide a tie."""

        def _initialize(self, n_workers: int, n_labels: int) -> None:
            super()._initialize(n_workers, n_labels)
            self.spamming_[:], self.thetas_[:] = 1 / 2, 1 / n_labels

    votes = votes.sort_values("rater", kind="stable")
    labels, names = pd.factorize(votes["label"])
    workers, raters = pd.factorize(votes["rater"])
    # Numbers in the order of appearance: MACE keeps some tables in that order and some sorted, which must be the same.
    answers = pd.DataFrame({"task": votes["item_id"].astype(int).to_numpy(), "worker": workers, "label": labels})
    dawid_skene = DawidSkene(n_iter=100).fit(answers)
    mace = EvenMACE(n_restarts=1).fit(answers)
    found = pd.DataFrame({"item_id": answers["task"].unique()})
    for name, chances in zip(METHODS, (dawid_skene.probas_, mace.probas_), strict=True):
        assert chances is not None
        chances = chances.reindex(found["item_id"])
        most = chances.max(axis=1).to_numpy()
        top = chances.to_numpy() >= most[:, None] - EQUAL
        found[name] = [list(names[chances.columns[is_top]]) for is_top in top]
        found[f"{name}_p"] = most
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
    items: pd.DataFrame,
    answers: pd.DataFrame,
    labels: tuple[str, ...],
    weighed: pd.DataFrame | None,
    settled: dict[int, str],
) -> Iterator[dict[str, Any]]:
    """One row an item; without answers it is there for what was settled."""
    ids = pd.Index(items["item_id"])
    given = answers.groupby("item_id").size().reindex(ids, fill_value=0).to_numpy()
    counts = answers.groupby(["item_id", "label"]).size().unstack(fill_value=0)
    counts = counts.reindex(ids, fill_value=0).reindex(columns=list(labels), fill_value=0).to_numpy(float)
    soft = mean_soft(answers, ids, labels)
    agreeing = pairs_agreeing(counts)
    by_item = {} if weighed is None else weighed.set_index("item_id").to_dict("index")
    for i, item in enumerate(items.itertuples()):
        most = counts[i].max()
        weights = by_item.get(item.item_id, {})
        likeliest = {name: [label for label in labels if label in weights[name]] for name in METHODS if weights}
        yield {
            "item_id": int(item.item_id),
            "clip": item.clip,
            "modality": item.modality,
            "answers": int(given[i]),
            "majority": [label for label, count in zip(labels, counts[i], strict=True) if 0 < count == most],
            "share": float(most / max(given[i], 1)),
            "agreeing_pairs": None if np.isnan(agreeing[i]) else float(agreeing[i]),
            "soft": {label: round(float(part), 6) for label, part in zip(labels, soft[i], strict=True)} if given[i] else {},
            "dawid_skene": likeliest.get("dawid_skene"),
            "dawid_skene_p": weights.get("dawid_skene_p"),
            "mace": likeliest.get("mace"),
            "mace_p": weights.get("mace_p"),
            "adjudicated": settled.get(int(item.item_id)),
        }


def mean_soft(answers: pd.DataFrame, ids: pd.Index, labels: tuple[str, ...]) -> np.ndarray:
    """The mean of each item's answers as fractions over the labels; an answer without fractions is all its label's."""
    parts = (answers["label"].to_numpy()[:, None] == np.asarray(labels, object)).astype(float)
    for i in np.flatnonzero(answers["soft"].notna()):
        parts[i] = [answers["soft"].iloc[i].get(label, 0.0) for label in labels]
    units = ids.get_indexer(answers["item_id"])
    total = np.zeros((len(ids), len(labels)))
    np.add.at(total, units, parts)
    return total / np.maximum(np.bincount(units, minlength=len(ids)), 1)[:, None]
