"""Scores by hand, intervals over people, and the bonus of neutral."""

import json

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, recall_score

from avemo_core.calibration import Condition
from training import calibrate, metrics

RNG = np.random.default_rng(4)


def test_uar_counts_each_class_of_the_truth_once():
    assert metrics.scores(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]))["uar"] == pytest.approx((2 / 3 + 1) / 2)
    assert metrics.scores(np.array([0, 0, 1]), np.array([5, 0, 1]))["uar"] == pytest.approx(0.75)  # nobody expressed 5


def test_scores_are_those_of_sklearn_over_the_classes_of_the_truth():
    truth, said = RNG.integers(0, 6, 300), RNG.integers(0, 8, 300)
    present = {"labels": range(6), "average": "macro"}
    wanted = accuracy_score(truth, said), recall_score(truth, said, **present), f1_score(truth, said, **present)
    assert tuple(metrics.scores(truth, said).values()) == pytest.approx(wanted)


def test_ece_by_hand():
    p = np.array([[0.6, 0.4], [0.6, 0.4], [0.9, 0.1], [0.9, 0.1]])
    # two bins: said 0.6 and half were right, said 0.9 and all were
    assert metrics.ece(p, np.array([0, 1, 0, 0]), bins=2) == pytest.approx((0.1 + 0.1) / 2)


def test_ece_excess_is_near_zero_for_who_is_right_as_often_as_said():
    p = RNG.dirichlet(np.ones(7), 800)
    truth = np.array([RNG.choice(7, p=row) for row in p])
    assert abs(metrics.ece_excess(p, truth)) < 0.02
    surer = p**3 / (p**3).sum(1, keepdims=True)
    assert metrics.ece_excess(surer, truth) > 0.1


def test_ece_excess_subtracts_the_mean_over_labels_drawn_from_the_probabilities():
    p = RNG.dirichlet(np.ones(3), 60)
    truth = RNG.integers(0, 3, 60)
    drawn = [metrics.ece(p, np.array([RNG.choice(3, p=row) for row in p])) for _ in range(100)]
    assert metrics.ece_excess(p, truth) == pytest.approx(metrics.ece(p, truth) - np.mean(drawn), abs=0.01)


def test_aurc_is_the_mean_error_over_all_coverages():
    found = metrics.aurc(np.array([0.6, 0.9, 0.7, 0.8]), np.array([1, 1, 1, 0]))
    assert found == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 4) / 4)


def test_accuracy_at_a_coverage_is_of_the_surest():
    confidence, right = np.array([0.6, 0.9, 0.7, 0.8, 0.5]), np.array([0, 1, 1, 0, 1])
    found = [metrics.accuracy_at(confidence, right, coverage) for coverage in (0.2, 0.4, 0.6, 0.61, 1)]
    assert found == pytest.approx([1, 1 / 2, 2 / 3, 1 / 2, 3 / 5])  # of 1, 2, 3, 4, 5


# ---------------------------------------------------------------- intervals


def width(interval) -> float:
    return interval[1] - interval[0]


def test_intervals_of_independent_clips_are_those_of_the_binomial():
    truth = np.repeat([0, 1], [1500, 500])
    right = RNG.random(2000) < np.repeat([0.7, 0.4], [1500, 500])
    said = np.where(right, truth, 2)
    found = metrics.intervals(truth, said, np.arange(2000))
    one, two = right[:1500].mean(), right[1500:].mean()
    spread = one * (1 - one) / 1500 + two * (1 - two) / 500  # of the sum of both recalls
    assert width(found["uar"]) == pytest.approx(2 * 1.96 * spread**0.5 / 2, rel=0.1)
    assert width(found["accuracy"]) == pytest.approx(2 * 1.96 * (right.mean() * (1 - right.mean()) / 2000) ** 0.5, rel=0.1)
    assert np.mean(found["accuracy"]) == pytest.approx(right.mean(), abs=0.005)


def test_intervals_are_as_wide_as_people_differ_not_as_clips_do():
    right = RNG.random(100) < 0.6
    said, speakers = np.repeat(~right, 20).astype(int), np.repeat(np.arange(100), 20)  # a person is always right or never
    found = metrics.intervals(np.zeros(2000, int), said, speakers)["accuracy"]
    assert width(found) == pytest.approx(2 * 1.96 * (right.mean() * (1 - right.mean()) / 100) ** 0.5, rel=0.1)


def test_one_person_has_no_interval():
    nobody = {"accuracy": None, "uar": None, "macro_f1": None}
    one = np.array([0, 1, 1])
    assert metrics.intervals(one, one, np.array(["a"] * 3)) == nobody
    assert metrics.gain(one, one, one, np.array(["a"] * 3)) == {"accuracy": 0, "uar": 0, "macro_f1": 0, "intervals": nobody}


def test_a_gain_is_paired_by_clip_and_person():
    truth = np.zeros(3000, int)
    before = (RNG.random(3000) > 0.5).astype(int)
    after = np.where(RNG.random(3000) < 0.2, 0, before)  # a fifth is corrected, the others stay
    found = metrics.gain(truth, after, before, np.arange(3000))
    steps = before - after
    assert found["accuracy"] == pytest.approx(steps.mean())
    assert width(found["intervals"]["accuracy"]) == pytest.approx(2 * 1.96 * steps.std() / 3000**0.5, rel=0.1)
    same = metrics.gain(truth, before, before, np.arange(3000))
    assert same["uar"] == 0 and same["intervals"]["uar"] == (0, 0)


# ---------------------------------------------------------------- the report


def test_a_report_by_hand():
    p = np.eye(7)[[0, 1, 1, 2]] * 0.5 + 0.5 / 7
    report = metrics.report(p, np.array([0, 1, 2, 2]), np.array(["a", "a", "b", "b"]), np.array([True, True, False, True]))
    assert (report["n"], report["speakers"], report["accuracy"], report["majority"]) == (4, 2, 0.75, 0.5)
    assert report["uar"] == pytest.approx((1 + 1 + 0.5) / 3) and report["chance"] == pytest.approx(1 / 3)
    assert report["recall"] == {"neutral": 1, "happiness": 1, "sadness": 0.5}
    assert report["confusion"]["rows_truth"][2][:3] == [0, 1, 1]
    assert report["coverage"] == 0.75 and report["accuracy_answered"] == 1


@pytest.mark.parametrize("k", [6, 7, 8])
def test_a_report_names_any_number_of_classes(k):
    names = [f"class {n}" for n in range(k)]
    p = RNG.dirichlet(np.ones(k), 40)
    truth = np.arange(40) % (k - 1)  # the last is said, never true
    report = metrics.report(p, truth, np.arange(40) % 5, classes=names)
    assert list(report["recall"]) == names[:-1] and report["confusion"]["labels"] == names
    assert np.array(report["confusion"]["rows_truth"]).shape == (k, k) and report["chance"] == 1 / (k - 1)
    assert report["coverage"] == 1 and report["accuracy_answered"] == report["accuracy"]
    assert json.loads(json.dumps(report, allow_nan=False))["n"] == 40


# ---------------------------------------------------------------- calibration


def lead(label: int, by: float) -> np.ndarray:
    """Logits [7] of neutral and a label that leads it; the others are far off."""
    logits = np.full(7, -9.0)
    logits[0] = 0
    logits[label] = by
    return logits


def case(truth: int, logits: np.ndarray, corpus: str = "acted") -> calibrate.Case:
    return calibrate.Case(corpus, truth, logits, logits[None])


def test_neutral_goes_first_as_far_as_it_costs_no_recall():
    cases = [case(0, lead(1, -1.0)), case(1, lead(1, 1.25)), case(3, lead(3, 3.0))]
    assert calibrate.neutral_bias(cases, 1.0) == pytest.approx(1.2)  # 1.3 would turn the smile to neutral
    assert calibrate.neutral_bias(cases, 2.0) == pytest.approx(0.6)  # of scaled logits
    assert calibrate.neutral_bias(cases[1:], 1.0) == 0  # nobody was neutral
    assert calibrate.neutral_bias(cases[:1], 1.0) == 0  # everybody was
    other = [case(1, lead(1, 0.35), "other"), case(0, lead(1, -1.0), "other")]
    assert calibrate.neutral_bias(cases + other, 1.0) == pytest.approx(0.3)  # it costs recall in neither


def test_dev_scores_are_of_what_is_told_not_of_the_bare_logits():
    truly_neutral, smile = case(0, lead(1, 0.5)), case(1, lead(1, 3.0))
    bonus = [1.0, *[0.0] * 6]
    assert calibrate._measured([truly_neutral, smile], Condition())["acted"]["uar"] == 0.5
    found = calibrate._measured([truly_neutral, smile], Condition(bias=bonus))
    assert found == {"acted": {"n": 2, "accuracy": 1, "uar": 1}}
