"""Logits to probabilities by hand, and frequencies that are quoted only where enough clips stand behind them."""

import json

import numpy as np
import pytest

from avemo_core.calibration import Calibration, Condition


def test_without_fitting_it_is_the_softmax():
    p = Condition().probabilities(np.log([1.0, 2, 3, 4, 5, 6, 7]))
    assert p == pytest.approx(np.arange(1, 8) / 28)


def test_temperature_bias_and_windows_by_hand():
    condition = Condition(temperature=2.0, window_temperature=0.5, bias=[0.0, np.log(3), 0, 0, 0, 0, 0])
    logits = np.array([np.log(16), 0, 0, 0, 0, 0, 0])
    assert condition.probabilities(logits) == pytest.approx(np.array([4, 3, 1, 1, 1, 1, 1]) / 12)
    assert condition.probabilities(logits, windows=True) == pytest.approx(np.array([256, 3, 1, 1, 1, 1, 1]) / 264)


def test_large_logits_stay_finite_and_rows_sum_to_one():
    p = Condition(temperature=0.1).probabilities(np.array([[1e4, -1e4, 0, 0, 0, 0, 0], [0.0] * 7]))
    assert np.isfinite(p).all() and p.sum(1) == pytest.approx([1, 1]) and p[1] == pytest.approx([1 / 7] * 7)


@pytest.mark.parametrize(
    ("confidence", "share"), [(0.1, 0.4), (0.5, 0.4), (0.6, None), (0.8, None), (0.9, 0.85), (1.0, 0.85), (1.01, None)]
)
def test_agreement_is_of_the_bin_and_only_of_full_ones(confidence, share):
    condition = Condition(curve=[[0.5, 0.4, 20], [0.8, 0.7, 19], [1.0, 0.85, 300]])
    assert condition.agreement(confidence) == share


def test_record_survives_json():
    fitted = Calibration(Condition(1.5, 0.7, [0.1] * 7, 0.42, [[1.0, 0.5, 30.0]]), personal={"voice": Condition(0.9)})
    assert Calibration.from_json(json.loads(json.dumps(fitted.to_json()))) == fitted


def test_conditions_are_told_apart_and_unknown_ones_refused():
    fitted = Calibration(Condition(1.0), Condition(2.0), Condition(3.0))
    assert [fitted.of(name).temperature for name in ("face", "voice", "both")] == [1, 2, 3]
    with pytest.raises(ValueError, match="'text'; choose one of face, voice, both"):
        fitted.of("text")


def test_a_picture_is_read_by_its_own_condition():
    fitted = Calibration(Condition(1.0), Condition(2.0), Condition(3.0), still=Condition(4.0))
    shown = fitted.of_picture()
    assert [shown.of(name).temperature for name in ("face", "voice", "both")] == [4, 2, 3]
    assert Calibration.from_json(fitted.to_json()) == fitted


def test_a_person_who_is_known_has_conditions_of_their_own_where_these_were_fitted():
    personal = {"voice": Condition(0.5), "both": Condition(0.7)}
    fitted = Calibration(Condition(1.0), Condition(2.0), Condition(3.0), personal=personal)
    known = fitted.with_baseline(("face", "voice"))
    assert [known.of(name).temperature for name in ("face", "voice", "both")] == [1, 0.5, 0.7]
    assert [fitted.of(name).temperature for name in ("face", "voice", "both")] == [1, 2, 3]
    assert Calibration(Condition(4.0)).with_baseline(("face",)).of("face").temperature == 4
