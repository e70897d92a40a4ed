"""Calibration on dev people: temperatures, curves and thresholds of planted predictors."""

import numpy as np
import pytest

from avemo_core.calibration import Condition
from training import calibrate

RNG = np.random.default_rng(8)


def planted(n: int, truth_temperature: float, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Logits and labels drawn from their softmax at a temperature: a predictor that is wrong about its confidence."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (n, 7))
    p = Condition(temperature=truth_temperature).probabilities(logits)
    return logits, np.array([rng.choice(7, p=row) for row in p])


@pytest.mark.parametrize("wrong", [0.5, 1.0, 2.5])
def test_the_temperature_of_a_miscalibrated_predictor_is_found(wrong):
    logits, truth = planted(6000, wrong)
    assert calibrate.temperature(logits, truth, np.ones(len(truth))) == pytest.approx(wrong, rel=0.08)


def test_weights_decide_whose_temperature_it_is():
    (one, first), (two, second) = planted(4000, 0.5, 1), planted(4000, 3.0, 2)
    logits, truth = np.concatenate((one, two)), np.concatenate((first, second))
    weights = np.repeat([1.0, 1e-6], 4000)
    assert calibrate.temperature(logits, truth, weights) == pytest.approx(0.5, rel=0.1)


def test_the_curve_rises_counts_everyone_and_ends_at_one():
    confidence = RNG.uniform(0.2, 1, 500)
    right = (RNG.uniform(size=500) < confidence).astype(float)
    found = calibrate.curve(confidence, right)
    uppers, shares, counts = map(list, zip(*found, strict=True))
    assert uppers == sorted(uppers) and shares == sorted(shares) and uppers[-1] == 1 and sum(counts) == 500
    assert np.average(shares, weights=counts) == pytest.approx(right.mean())
    falling = calibrate.curve(np.arange(10) / 10, np.arange(10)[::-1] > 4)
    assert falling == [[1.0, 0.5, 10.0]]  # falling bins are pooled into one


def test_the_threshold_leaves_enough_right_or_enough_answered():
    confidence = np.linspace(0.99, 0.31, 100)
    right = (np.arange(100) < 60).astype(float)  # the 60 surest are right: 75 % of the surest 80
    assert calibrate.threshold(confidence, right) == pytest.approx(confidence[79])
    assert calibrate.threshold(confidence, np.zeros(100)) == pytest.approx(confidence[59])  # 60 % answered
    assert calibrate.threshold(confidence, np.ones(100)) == pytest.approx(confidence[99])
