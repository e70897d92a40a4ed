"""How far the raters of a study agree, with themselves and with each other; what cannot be said says why."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text
from scipy.stats import binomtest

from .coefficients import (
    Numbers,
    alpha_interval,
    alpha_nominal,
    alpha_ordinal,
    cohen_kappa,
    coincidences,
    fleiss_kappa,
    fleiss_sums,
    interval,
    interval_sums,
    pairs_agreeing,
    resampled,
)
from .schema import MODALITIES
from .store import Store
from .votes import first_answers, read_study, read_votes

FEWEST = 20  # clips; below it nothing is said
WANTED = {"alpha": 0.6, "repeats": 0.7, "gold": 0.7}  # marks on the lead's page, no rule of science
SCALED = ("intensity", "valence", "arousal")
MOST_POINTS = 25  # of an ordinal scale
AGES = ((0, 3, "under 3 years"), (3, 7, "3 to 6 years"), (7, 12, "7 to 11 years"), (12, 18, "12 to 17 years"),
        (18, 40, "18 to 39 years"), (40, 60, "40 to 59 years"), (60, 999, "60 years and over"))  # fmt: skip
UNKNOWN = "the raters are unknown: only counts of votes were imported"


@dataclass(frozen=True)
class Measure:
    """One number with its evidence. `value` is None exactly where `why` says in words why it is not given."""

    name: str  # alpha nominal, Fleiss' kappa, ...
    of: str  # label, intensity, valence, arousal, or one label against the rest
    modality: str
    who: str  # everyone, a group of children, a rater, two raters
    n: int  # clips
    value: float | None = None
    low: float | None = None  # 95 % interval
    high: float | None = None
    why: str | None = None
    hits: int | None = None  # of n, where the value is a share
    left_out: int | None = None  # gold clips answered without a label: "can't tell", a technical fault


# ---------------------------------------------------------------- pieces


def tabulate(votes: pd.DataFrame, column: str, values: Any) -> tuple[Numbers, Numbers]:
    """(How often each value was given [units, values], the clip of each unit). A unit is a clip in one pass."""
    found = votes[votes[column].notna()]
    units, items = pd.factorize(found["item_id"])
    codes = pd.Categorical(found[column], categories=list(values)).codes
    counts = np.bincount(units[codes >= 0] * len(values) + codes[codes >= 0], minlength=len(items) * len(values))
    clips = found.groupby(units)["clip_id"].first().to_numpy()
    return counts.reshape(len(items), len(values)).astype(float), clips


def share(name: str, of: str, modality: str, who: str, hits: int, n: int, left_out: int | None = None) -> Measure:
    """hits / n with Wilson's interval, from 20 on."""
    if n < FEWEST:
        return Measure(name, of, modality, who, n, why=_too_few(n), hits=hits, left_out=left_out)
    found = binomtest(hits, n).proportion_ci(method="wilson")
    low, high = float(found.low), float(found.high)
    return Measure(name, of, modality, who, n, hits / n, low, high, hits=hits, left_out=left_out)


def _too_few(n: int) -> str:
    return f"too few to say (n = {n})"


# ---------------------------------------------------------------- what a study's votes say


def measures(votes: pd.DataFrame, labels: tuple[str, ...], seed: int = 0) -> list[Measure]:
    """Everything that can be said of a study's agreement, in a fixed order; what cannot be said is in it with its reason."""
    found: list[Measure] = []
    answers = first_answers(votes)
    for modality in [m for m in MODALITIES if m in set(votes["modality"])]:
        of_pass = answers[answers["modality"] == modality]
        found += alpha_of_labels(of_pass, labels, modality, "everyone", seed, per_label=True)
        for column in SCALED:
            found += alpha_of_scale(of_pass, column, modality, seed)
        found += [fleiss(of_pass, labels, modality, seed)]
        for who, of_group in groups(of_pass):
            found += alpha_of_labels(of_group, labels, modality, who, seed)
        found += cohen(of_pass, labels, modality, seed)
        found += repeats(votes[votes["modality"] == modality], modality)
        found += gold(votes[votes["modality"] == modality], modality)
        found += acted(of_pass, labels, modality)
    return found


def alpha_of_labels(
    votes: pd.DataFrame, labels: tuple[str, ...], modality: str, who: str, seed: int, per_label: bool = False
) -> list[Measure]:
    """Nominal alpha, and that of each label against the rest, whose coincidences are sums of the same matrix's cells."""
    counts, clips = tabulate(votes, "label", labels)
    names = ("label", *(labels if per_label else ()))
    if why := _why_not(votes, counts):
        return [Measure("alpha nominal", of, modality, who, _paired(counts), why=why) for of in names]
    whole = coincidences(counts)
    drawn, total = resampled(whole, clips, seed), whole.sum(0)
    given = counts[counts.sum(1) >= 2].sum(0)
    found = [_measure("alpha nominal", "label", modality, who, counts, alpha_nominal, total, drawn, _only(labels, given))]
    for i, label in enumerate(labels if per_label else ()):
        why = f"nobody answered {label}" if given[i] == 0 else f"every answer is {label}"
        two, two_drawn = one_against_rest(total, i), one_against_rest(drawn, i)
        found.append(_measure("alpha nominal", label, modality, who, counts, alpha_nominal, two, two_drawn, why))
    return found


def one_against_rest(o: Numbers, i: int) -> Numbers:
    """The 2 x 2 coincidence matrix of label i and all others."""
    both, one = o[..., i, i], o[..., i, :].sum(-1)
    rest = o.sum((-2, -1)) - 2 * one + both
    return np.stack([np.stack([both, one - both], -1), np.stack([one - both, rest], -1)], -2)


def alpha_of_scale(votes: pd.DataFrame, column: str, modality: str, seed: int) -> Iterator[Measure]:
    """Ordinal and interval alpha; nothing where the study did not ask."""
    given = votes[votes[column].notna()]
    if given.empty:
        return
    values = sorted(given[column].unique())
    counts, clips = tabulate(given, column, values)
    why = _why_not(given, counts)
    for name, parts, statistic in (
        ("alpha ordinal", coincidences, alpha_ordinal),
        ("alpha interval", lambda counts: interval_sums(counts, values), alpha_interval),
    ):
        reason = why
        if name == "alpha ordinal" and len(values) > MOST_POINTS:
            reason = f"{len(values)} different values are too many for an ordinal scale; see the interval alpha"
        if reason:
            yield Measure(name, column, modality, "everyone", _paired(counts), why=reason)
        else:
            units = parts(counts)
            drawn = resampled(units, clips, seed)
            same = _only([f"{value:g}" for value in values], counts.sum(0))
            yield _measure(name, column, modality, "everyone", counts, statistic, units.sum(0), drawn, same)


def fleiss(votes: pd.DataFrame, labels: tuple[str, ...], modality: str, seed: int) -> Measure:
    """Over the clips that have the commonest number of answers: Fleiss' kappa needs the same number everywhere."""
    counts, clips = tabulate(votes, "label", labels)
    if why := _why_not(votes, counts):
        return Measure("Fleiss' kappa", "label", modality, "everyone", _paired(counts), why=why)
    m = counts.sum(1).astype(int)
    commonest = int(np.bincount(m[m >= 2]).argmax())
    counts, clips = counts[m == commonest], clips[m == commonest]
    who = f"clips with {commonest} answers"
    if len(counts) < FEWEST:
        return Measure("Fleiss' kappa", "label", modality, who, len(counts), why=_too_few(len(counts)))
    parts = fleiss_sums(counts)
    same = _only(labels, counts.sum(0))
    drawn = resampled(parts, clips, seed)
    return _measure("Fleiss' kappa", "label", modality, who, counts, fleiss_kappa, parts.sum(0), drawn, same)


def cohen(votes: pd.DataFrame, labels: tuple[str, ...], modality: str, seed: int) -> Iterator[Measure]:
    """One value for each two raters, over the clips that both have answered."""
    if votes["rater"].isna().any():
        yield Measure("Cohen's kappa", "label", modality, "two raters", 0, why=UNKNOWN)
        return
    for first, second, table, clips in rater_tables(votes, labels):
        who, n = f"{first} and {second}", len(table)
        if n < FEWEST:
            yield Measure("Cohen's kappa", "label", modality, who, n, why=_too_few(n))
            continue
        drawn = resampled(table, clips, seed)
        same = _only(labels, table.sum((0, 1)) + table.sum((0, 2)))
        yield _measure("Cohen's kappa", "label", modality, who, table, cohen_kappa, table.sum(0), drawn, same)


def rater_tables(votes: pd.DataFrame, labels: tuple[str, ...]) -> Iterator[tuple[str, str, Numbers, Numbers]]:
    """For each two raters with clips in common: their names, each clip's answers [clips, V, V], the clips."""
    given = votes.pivot_table(index="clip_id", columns="rater", values="label", aggfunc="first")
    codes = given.apply(lambda column: pd.Categorical(column, categories=list(labels)).codes)
    for first, second in combinations(given.columns, 2):
        common = codes[(codes[first] >= 0) & (codes[second] >= 0)]
        if len(common):
            table = np.zeros((len(common), len(labels), len(labels)))
            table[np.arange(len(common)), common[first], common[second]] = 1
            yield first, second, table, common.index.to_numpy()


def repeats(votes: pd.DataFrame, modality: str) -> Iterator[Measure]:
    """How often a rater's second answer to a clip is the first one again."""
    name = "same answer on repeats"
    if votes["rater"].isna().any():
        yield Measure(name, "label", modality, "each rater", 0, why=UNKNOWN)
        return
    pairs = repeated(votes)
    if pairs.empty:
        yield Measure(name, "label", modality, "everyone", 0, why="no clip has been shown twice to the same rater yet")
        return
    yield share(name, "label", modality, "everyone", int(pairs["same"].sum()), len(pairs))
    for rater, own in pairs.groupby("rater"):
        yield share(name, "label", modality, str(rater), int(own["same"].sum()), len(own))


def repeated(votes: pd.DataFrame) -> pd.DataFrame:
    """Rater, item and whether both answers are the same (a label, or both times "can't tell")."""
    answer = votes["label"].where(votes["label"].notna(), "can't tell")
    given = votes.assign(answer=answer)[votes["label"].notna() | votes["cannot_tell"].astype(bool)]
    again = given["is_repeat"].astype(bool)
    both = given[~again].merge(given[again], on=["rater", "item_id"], suffixes=("", "_again"))
    return both.assign(same=both["answer"] == both["answer_again"])[["rater", "item_id", "modality", "same"]]


def gold(votes: pd.DataFrame, modality: str) -> Iterator[Measure]:
    """How often each rater's answers to gold clips are the known label; then by thirds of the rater's time."""
    name, answers = "gold accuracy", of_gold(votes)
    if answers.empty:
        return
    if answers["rater"].isna().any():
        yield Measure(name, "label", modality, "each rater", 0, why=UNKNOWN)
        return
    yield known(name, modality, "everyone", answers)
    for rater, own in answers.groupby("rater"):
        yield known(name, modality, str(rater), own)
    thirds = answers.assign(third=_thirds(votes).reindex(answers.index))
    for who, own in [("everyone", thirds), *((str(rater), own) for rater, own in thirds.groupby("rater"))]:
        for i, third in enumerate(("first", "middle", "last")):
            yield known(f"gold accuracy, {third} third", modality, who, own[own["third"] == i])


def of_gold(votes: pd.DataFrame) -> pd.DataFrame:
    """The first answers to gold clips, and whether each is `right`. One without a label is neither right nor wrong."""
    found = votes[(votes["kind"] == "gold") & ~votes["is_repeat"].astype(bool)]
    return found.assign(right=found["label"] == found["gold_label"])


def known(name: str, modality: str, who: str, answers: pd.DataFrame) -> Measure:
    """The share of answers to gold clips that are the known label, of those that have one."""
    given = int(answers["label"].notna().sum())
    return share(name, "label", modality, who, int(answers["right"].sum()), given, len(answers) - given)


def _thirds(votes: pd.DataFrame) -> pd.Series:
    """0, 1 or 2: the third of the rater's own answers, in time, that each answer lies in."""
    ranked = votes.sort_values("answered_at", kind="stable").groupby("rater")
    place, size = ranked.cumcount(), ranked["rating_id"].transform("size")
    return (place * 3 // size).reindex(votes.index)


def acted(votes: pd.DataFrame, labels: tuple[str, ...], modality: str) -> list[Measure]:
    """How often the plurality of votes is the emotion that was acted, where a corpus says it; ties are shared equally."""
    known = votes[votes["acted"].notna()]
    if known.empty:
        return []
    counts, clips = tabulate(known, "label", labels)
    truth = known.groupby("clip_id")["acted"].first().reindex(clips)
    top = counts == counts.max(1, keepdims=True)
    credit = (top * (np.asarray(labels) == truth.to_numpy()[:, None])).sum(1) / top.sum(1)
    n = len(credit)
    if n < FEWEST:
        return [Measure("plurality is the acted emotion", "label", modality, "everyone", n, why=_too_few(n))]
    low, high = interval(resampled(credit[:, None], clips)[:, 0] / n)
    return [Measure("plurality is the acted emotion", "label", modality, "everyone", n, float(credit.mean()), low, high)]


def groups(votes: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The votes of each age group, sex, group and language of the children, where it is known and differs."""
    years = pd.to_numeric(votes["age_months"]) / 12
    of_age = [(name, votes[(years >= first) & (years < end)]) for first, end, name in AGES]
    if sum(len(found) > 0 for _, found in of_age) > 1:
        yield from ((name, found) for name, found in of_age if len(found))
    for column in ("sex", "group", "language"):
        if votes[column].nunique() > 1:
            yield from ((f"{column} {value}", found) for value, found in votes.groupby(column))


def confusion(votes: pd.DataFrame, labels: tuple[str, ...]) -> Numbers:
    """Row: one rater's answer; column: another's to the same clip; counts of pairs, both ways. Needs no raters' names."""
    counts, _ = tabulate(first_answers(votes), "label", labels)
    return coincidences(counts).sum(0) if len(counts) else np.zeros((len(labels), len(labels)))


def pair_tables(votes: pd.DataFrame, labels: tuple[str, ...]) -> dict[str, list[list[float]]]:
    """Name of two raters -> how often the first's answer (row) met the second's (column); empty where they are unknown."""
    answers = first_answers(votes)
    if answers.empty or answers["rater"].isna().any():
        return {}
    return {f"{a} and {b}": table.sum(0).tolist() for a, b, table, _ in rater_tables(answers, labels)}


def hardest(votes: pd.DataFrame, labels: tuple[str, ...], most: int | None = 5) -> list[dict[str, Any]]:
    """Clips by the share of their raters' pairs that agree, lowest first; the one with more answers first where equal."""
    answers = first_answers(votes)
    counts, _ = tabulate(answers, "label", labels)
    if not len(counts):
        return []
    agreeing, m = pairs_agreeing(counts), counts.sum(1)
    items = answers.drop_duplicates("item_id")[["item_id", "clip_id", "clip", "modality", "duration_s"]].reset_index(
        drop=True
    )
    order = np.lexsort((items["item_id"].to_numpy(int), -m, agreeing))
    order = order[~np.isnan(agreeing[order])][:most]
    return [
        items.iloc[i].to_dict() | {"agreeing": float(agreeing[i]), "counts": _by_label(labels, counts[i])} for i in order
    ]


def _by_label(labels: tuple[str, ...], counts: Numbers) -> dict[str, int]:
    return {label: int(count) for label, count in zip(labels, counts, strict=True)}


def _measure(
    name: str,
    of: str,
    modality: str,
    who: str,
    counts: Numbers,
    statistic: Callable[[Numbers], Numbers],
    total: Numbers,
    drawn: Numbers,
    undefined: str,
) -> Measure:
    value, n = float(statistic(total)), _paired(counts)
    if np.isnan(value):
        return Measure(name, of, modality, who, n, why=f"{undefined}, so that agreement by chance cannot be estimated")
    return Measure(name, of, modality, who, n, value, *interval(statistic(drawn)))


def _paired(counts: Numbers) -> int:
    """Units with at least two answers; a table of two raters has one row a clip that both answered."""
    return len(counts) if counts.ndim == 3 else int((counts.sum(1) >= 2).sum())


def _why_not(votes: pd.DataFrame, counts: Numbers) -> str | None:
    if votes.empty:
        return "nobody has answered yet"
    n = _paired(counts)
    if n == 0:
        one = votes["rater"].notna().all() and votes["rater"].nunique() == 1
        return "only one rater has answered, and agreement needs two" if one else "no clip has two answers yet"
    return _too_few(n) if n < FEWEST else None


def _only(values: Any, counts: Numbers) -> str:
    return f"every answer is {values[int(np.argmax(counts))]}"


# ---------------------------------------------------------------- the report


def report(store: Store, study_id: int, seed: int = 0) -> dict[str, Any]:
    """The study's agreement as plain values: counts, `measures` (each a Measure), confusion of raters per pass."""
    with store.read() as session:
        study, scheme = read_study(session, study_id)
        votes = read_votes(session, study_id)
        name = study.name
    return summary(votes, scheme.names, seed) | {"study_id": study_id, "study": name}


def summary(votes: pd.DataFrame, labels: tuple[str, ...], seed: int = 0) -> dict[str, Any]:
    named = votes["rater"].dropna()
    passes = [m for m in MODALITIES if m in set(votes["modality"])]
    return {
        "labels": list(labels),
        "ratings": len(votes),
        "clips": int(votes["clip_id"].nunique()),
        "raters": int(named.nunique()),
        "anonymous": len(votes) - len(named),
        "measures": [asdict(m) for m in measures(votes, labels, seed)],
        "confusion": {m: confusion(votes[votes["modality"] == m], labels).tolist() for m in passes},
    }


def show(found: dict[str, Any], console: Console | None = None) -> None:
    """The report as a table in the terminal."""
    console = console or Console()
    raters = f"{found['raters']} raters" if found["raters"] else "raters unknown"
    anonymous = f", {found['anonymous']} votes of unknown raters" if found["anonymous"] and found["raters"] else ""
    title = f"{found['study']}: {found['ratings']:,} answers to {found['clips']:,} clips, {raters}{anonymous}"
    console.print(title, markup=False, highlight=False)
    table = Table("measure", "of", "pass", "who", "value", "95 % interval", "clips")
    for m in found["measures"]:
        value = m["why"] if m["value"] is None else f"{m['value']:.3f}"
        between = "" if m["low"] is None else f"{m['low']:.3f} to {m['high']:.3f}"
        texts = (m["name"], m["of"], m["modality"], m["who"], value, between, f"{m['n']:,}")
        table.add_row(*(_plain(text) for text in texts))
    console.print(table)


def _plain(text: str) -> Text:
    return Text(text)  # names are shown as they are, never read as markup
