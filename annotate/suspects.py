"""Raters whose answers deserve a look, each with the evidence in words and numbers. A sign is a question, not a verdict."""

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd
from scipy.stats import binomtest

from .agreement import FEWEST, UNKNOWN, WANTED, of_gold, repeated

SMALL = 0.05  # how rarely chance alone may look like this
INSTANT_MS = 200  # no answer to what was heard comes sooner
HASTY = 0.1  # share of answers that came too soon
FAST = 0.4  # of the others' usual time to answer
ONE_KEY = 0.6  # share of one label
FEWEST_GOLD = 4


@dataclass(frozen=True)
class Sign:
    kind: str  # too fast, one key, gold failed, differs from itself
    rater: str
    sentence: str


def signs(votes: pd.DataFrame) -> list[Sign]:
    """Every sign, rater by rater; empty where nothing stands out, and where the raters are unknown (see `why_not`)."""
    if why_not(votes) is not None:
        return []
    found = [sign for look in (too_fast, one_key, gold_failed, differs_from_itself) for sign in look(votes)]
    return sorted(found, key=lambda sign: sign.rater)


def why_not(votes: pd.DataFrame) -> str | None:
    if votes.empty:
        return "nobody has answered yet"
    return UNKNOWN if votes["rater"].isna().any() else None


def too_fast(votes: pd.DataFrame) -> Iterator[Sign]:
    """Sooner than the clip lasts, sooner than anyone can press a key, or much sooner than the others.

    What a browser without a network has kept comes to the server all at once, and a clip that was begun long ago may be
    answered now: an answer came too soon only where neither clock, the server's or the browser's, gives it the time."""
    timed = votes.sort_values(["answered_at", "rating_id"])
    gaps = [
        pd.to_datetime(timed[name], utc=True).groupby(timed["rater"]).diff().dt.total_seconds()
        for name in ("answered_at", "first_play_ended_at")
    ]
    timed = timed.assign(
        gap=pd.concat(gaps, axis=1).max(axis=1),
        ms=pd.to_numeric(timed["reaction_ms"]),
        length=pd.to_numeric(timed["duration_s"]),
    )
    usual = timed.groupby("rater")["ms"].median()
    for rater, own in timed.groupby("rater"):
        sooner = int((own["gap"] < own["length"]).sum())
        instant = int((own["ms"] < INSTANT_MS).sum())
        n, measured = int(own["gap"].notna().sum()), int(own["ms"].notna().sum())
        if n >= FEWEST and sooner / n > HASTY:
            played = "" if own["first_play_ended_at"].isna().all() else "both as they were played and "
            yield Sign(
                "too fast",
                str(rater),
                f"{sooner} of {n} answers came sooner after the one before than the clip lasts, "
                f"{played}as they reached the server.",
            )
        if measured >= FEWEST and instant / measured > HASTY:
            yield Sign(
                "too fast", str(rater), f"{instant} of {measured} answers came within {INSTANT_MS} ms of the clip's end."
            )
        others = usual.drop(rater).median()
        if measured >= FEWEST and usual[rater] < FAST * others:
            yield Sign(
                "too fast",
                str(rater),
                f"Half of {measured} answers came within {usual[rater] / 1000:.1f} s of the clip's end; "
                f"the others usually take {others / 1000:.1f} s.",
            )


def one_key(votes: pd.DataFrame) -> Iterator[Sign]:
    """One label for most clips, far more often than the others chose it."""
    given = votes[votes["label"].notna()]
    for rater, own in given.groupby("rater"):
        others = given[given["rater"] != rater]
        label, k = own["label"].value_counts().index[0], int(own["label"].value_counts().iloc[0])
        if len(own) < FEWEST or k / len(own) < ONE_KEY or others.empty:
            continue
        usual = float((others["label"] == label).mean())
        if binomtest(k, len(own), usual, alternative="greater").pvalue < SMALL:
            text = f"{k} of {len(own)} answers are {label}; of the others' answers it is {100 * usual:.0f} %."
            yield Sign("one key", str(rater), text)


def gold_failed(votes: pd.DataFrame) -> Iterator[Sign]:
    for rater, own in of_gold(votes).groupby("rater"):
        named = own[own["label"].notna()]
        k, n, left = int(named["right"].sum()), len(named), len(own) - len(named)
        if n >= FEWEST_GOLD and binomtest(k, n, WANTED["gold"], alternative="less").pvalue < SMALL:
            text = f"{k} of {n} gold clips have the known label; {100 * WANTED['gold']:.0f} % are wanted."
            yield Sign("gold failed", str(rater), f"{text} Answers without a label are left out: {left}." if left else text)


def differs_from_itself(votes: pd.DataFrame) -> Iterator[Sign]:
    for rater, own in repeated(votes).groupby("rater"):
        k, n = int(own["same"].sum()), len(own)
        if n >= FEWEST_GOLD and binomtest(k, n, WANTED["repeats"], alternative="less").pvalue < SMALL:
            text = f"{k} of {n} clips shown twice got the same answer; {100 * WANTED['repeats']:.0f} % are wanted."
            yield Sign("differs from itself", str(rater), text)
