"""Scores by hand, intervals over people, and the bonus of neutral."""

import numpy as np
import pytest

from avemo_core.calibration import Condition
from training import calibrate, metrics


def test_uar_counts_each_class_of_the_truth_once():
    assert metrics.uar(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])) == pytest.approx((2 / 3 + 1) / 2)
    assert metrics.uar(np.array([0, 0, 1]), np.array([5, 0, 1])) == pytest.approx(0.75)  # nobody expressed 5


def test_ece_by_hand():
    p = np.array([[0.6, 0.4], [0.6, 0.4], [0.9, 0.1], [0.9, 0.1]])
    # two bins: said 0.6 and half were right, said 0.9 and all were
    assert metrics.ece(p, np.array([0, 1, 0, 0]), bins=2) == pytest.approx((0.1 + 0.1) / 2)


def test_ece_excess_is_near_zero_for_who_is_right_as_often_as_said():
    rng = np.random.default_rng(4)
    p = rng.dirichlet(np.ones(7), 800)
    truth = np.array([rng.choice(7, p=row) for row in p])
    assert abs(metrics.ece_excess(p, truth, draws=50)) < 0.02
    surer = p**3 / (p**3).sum(1, keepdims=True)
    assert metrics.ece_excess(surer, truth, draws=50) > 0.1


def test_aurc_is_the_mean_error_over_all_coverages():
    found = metrics.aurc(np.array([0.6, 0.9, 0.7, 0.8]), np.array([1, 1, 1, 0]))
    assert found == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 4) / 4)


def test_intervals_are_as_wide_as_people_differ_not_as_clips_do():
    truth, said = np.zeros(200, int), np.repeat([0, 1], 100)
    assert metrics.interval(truth, said, np.repeat(["a", "b"], 100)) == (0, 1)  # one person always right, one never
    low, high = metrics.interval(truth, said, np.arange(200), draws=200)
    assert 0.4 < low < 0.5 < high < 0.6


def test_a_report_by_hand():
    p = np.eye(7)[[0, 1, 1, 2]] * 0.5 + 0.5 / 7
    report = metrics.report(p, np.array([0, 1, 2, 2]), np.array(["a", "a", "b", "b"]), np.array([True, True, False, True]))
    assert (report["n"], report["speakers"], report["accuracy"], report["majority"]) == (4, 2, 0.75, 0.5)
    assert report["uar"] == pytest.approx((1 + 1 + 0.5) / 3) and report["chance"] == pytest.approx(1 / 3)
    assert report["recall"] == {"neutral": 1, "happiness": 1, "sadness": 0.5}
    assert report["confusion"]["rows_truth"][2][:3] == [0, 1, 1]
    assert report["coverage"] == 0.75 and report["accuracy_answered"] == 1


def lead(label: int, by: float) -> np.ndarray:
    """Logits [7] of neutral and a label that leads it; the others are far off."""
    logits = np.full(7, -9.0)
    logits[0] = 0
    logits[label] = by
    return logits


def test_neutral_goes_first_as_far_as_it_costs_no_recall():
    logits, truth = np.array([lead(1, -1.0), lead(1, 1.25), lead(3, 3.0)]), np.array([0, 1, 3])
    assert calibrate.neutral_bias(logits, truth) == pytest.approx(1.2)  # 1.3 would turn the smile to neutral
    assert calibrate.neutral_bias(logits[1:], truth[1:]) == 0  # nobody was neutral
    assert calibrate.neutral_bias(logits[:1], truth[:1]) == 0  # everybody was


def test_dev_scores_are_of_what_is_told_not_of_the_bare_logits():
    truly_neutral = ("acted", 0, lead(1, 0.5), lead(1, 0.5)[None])
    smile = ("acted", 1, lead(1, 3.0), lead(1, 3.0)[None])
    bonus = [1.0, *[0.0] * 6]
    assert calibrate._measured([truly_neutral, smile], Condition())["acted"]["uar"] == 0.5
    found = calibrate._measured([truly_neutral, smile], Condition(bias=bonus))
    assert found == {"acted": {"n": 2, "accuracy": 1, "uar": 1}}
