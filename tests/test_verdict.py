"""Shapley values, conflict and the reasons for abstaining, with numbers by hand."""

import numpy as np
import pytest

from avemo_core.calibration import Calibration, Condition
from avemo_core.labels import LABELS
from avemo_core.types import Reading
from avemo_core.verdict import conflict, hardly_known, nothing_read, shares, verdict, window_shares

CALIBRATION = Calibration(Condition(threshold=0.5), Condition(threshold=0.6), Condition(threshold=0.55))
PRIOR = np.full(7, 1 / 7)


def reading(condition: str, peaks: dict[str, float] | None, why: str = "absent") -> Reading:
    """Probabilities with these peaks, the rest spread evenly; None: not available."""
    if peaks is None:
        return Reading(condition, PRIOR, PRIOR[None], False, f"no {condition} in this clip" if why == "absent" else why)
    rest = (1 - sum(peaks.values())) / (7 - len(peaks))
    p = np.array([peaks.get(label, rest) for label in LABELS])
    return Reading(condition, p, p[None], True)


def decided(face, voice, both):
    return verdict(CALIBRATION, reading("face", face), reading("voice", voice), reading("both", both))


def test_shapley_values_by_hand():
    prior = np.array([0.1, 0.2, 0.1, 0.1, 0.2, 0.2, 0.1])
    found = shares(
        prior,
        reading("face", {"happiness": 0.5}),
        reading("voice", {"happiness": 0.3, "anger": 0.4}),
        reading("both", {"happiness": 0.8}),
    )
    # face: half of (0.5 - 0.2) + (0.8 - 0.3); voice: half of (0.3 - 0.2) + (0.8 - 0.5)
    assert found == pytest.approx({"start": 0.2, "face": 0.4, "voice": 0.2})
    assert sum(found.values()) == pytest.approx(0.8)


@pytest.mark.parametrize("name", ["talk.mp4", "voice.wav", "silent.mp4", "silence.wav"])
def test_shares_of_windows_add_up_and_what_is_missing_adds_nothing(analyzer, clip_of, name):
    result = analyzer.analyze(clip_of(name))
    found = window_shares(result)
    k = int(result.both.probabilities.argmax())
    assert found["start"] + found["face"] + found["voice"] == pytest.approx(result.both.windows[:, k])
    for modality in ("face", "voice"):
        assert getattr(result, modality).available or found[modality] == pytest.approx(0 * found[modality], abs=1e-6)


@pytest.mark.parametrize(
    ("face", "voice", "expected"),
    [
        ({"fear": 0.7}, None, {"start": 1 / 7, "face": 0.7 - 1 / 7, "voice": 0}),
        (None, {"fear": 0.7}, {"start": 1 / 7, "face": 0, "voice": 0.7 - 1 / 7}),
    ],
)
def test_a_missing_modality_has_no_share(face, voice, expected):
    found = shares(PRIOR, reading("face", face), reading("voice", voice), reading("both", {"fear": 0.7}))
    assert found == pytest.approx(expected)


def test_with_nothing_to_read_all_stays_with_the_prior():
    found = shares(PRIOR, reading("face", None), reading("voice", None), reading("both", None))
    assert found == pytest.approx({"start": 1 / 7, "face": 0, "voice": 0})


@pytest.mark.parametrize(
    ("face", "voice", "expected"),
    [
        ({"anger": 0.5}, {"fear": 0.6}, True),
        ({"anger": 0.49}, {"fear": 0.6}, False),  # the face is under its threshold of 0.5
        ({"anger": 0.5}, {"fear": 0.59}, False),  # the voice is under its own of 0.6
        ({"anger": 0.9}, {"anger": 0.9}, False),
        ({"anger": 0.9}, None, False),
        (None, {"anger": 0.9}, False),
    ],
)
def test_conflict_needs_two_sure_and_different_readings(face, voice, expected):
    assert conflict(CALIBRATION, reading("face", face), reading("voice", voice)) is expected


def test_a_sure_reading_is_a_verdict():
    said = decided({"anger": 0.5}, {"anger": 0.5}, {"anger": 0.55})
    assert (said.label, said.abstained, said.reason, said.threshold) == ("anger", False, None, 0.55)
    assert said.confidence == pytest.approx(0.55)


@pytest.mark.parametrize(
    ("face", "voice", "both", "reason"),
    [
        ({"anger": 0.7}, {"fear": 0.7}, {"anger": 0.4, "fear": 0.35}, "face and voice disagree"),
        ({"anger": 0.45}, {"fear": 0.45}, {"anger": 0.4}, "face and voice disagree"),  # each surer alone than together
        ({"anger": 0.4}, {"anger": 0.4}, {"anger": 0.4, "fear": 0.31}, "two emotions are close"),
        ({"anger": 0.4}, {"anger": 0.4}, {"anger": 0.4, "fear": 0.29}, "no emotion stands out enough"),
        (None, None, None, "no face and no voice in this clip"),
    ],
)
def test_each_reason_to_abstain(face, voice, both, reason):
    said = decided(face, voice, both)
    assert said.abstained and said.reason == reason


def test_two_reasons_make_one_sentence():
    seen = reading("face", None, "the face is seen too briefly")
    assert nothing_read(seen, reading("voice", None)) == "the face is seen too briefly, and no voice in this clip"


@pytest.mark.parametrize(
    ("face", "voice", "threshold"), [({"fear": 0.57}, None, 0.5), (None, {"fear": 0.57}, 0.6), ({"fear": 0.57}, {}, 0.55)]
)
def test_the_threshold_is_that_of_what_is_there(face, voice, threshold):
    said = decided(face, voice, {"fear": 0.57})
    assert said.threshold == threshold and said.abstained is (threshold > 0.57)


def test_a_label_that_neither_face_nor_voice_has_is_no_answer():
    found = decided({"surprise": 0.84}, {"happiness": 0.76}, {"anger": 0.68})
    assert found.abstained and found.reason == "face and voice disagree"
    assert not decided({"surprise": 0.84}, {"anger": 0.76}, {"anger": 0.78}).abstained


def test_together_less_sure_than_either_alone_of_another_is_no_answer():
    """Of real clips read so, a quarter were right, however sure the answer of both was."""
    found = decided({"surprise": 0.84}, {"anger": 0.76}, {"anger": 0.68})
    assert found.abstained and found.reason == "face and voice disagree"
    assert not decided({"anger": 0.84}, {"anger": 0.76}, {"anger": 0.68}).abstained  # of the same one


@pytest.mark.parametrize(
    ("clips", "neutral", "face", "voice", "said"),
    [
        (
            3,
            False,
            0.0,
            0.05,
            "They differ too little to tell person from emotion; add other moods, or say that they are neutral.",
        ),
        (
            1,
            False,
            0.0,
            0.0,
            "One clip hardly tells person from emotion; give clips of other moods, or say that it is neutral.",
        ),
        (1, True, 0.05, 0.0, "There is too little of the person in them to go by; give more."),
        (3, False, 0.0, 0.4, ""),
        (1, True, 0.6, 0.0, ""),
    ],
)
def test_a_baseline_that_hardly_counts_is_said(clips, neutral, face, voice, said):
    assert hardly_known({"clips": clips, "neutral": neutral, "face_trust": face, "voice_trust": voice}) == said


def test_an_eighth_class_calm_counts_as_neutral():
    calm = Reading("voice", np.array([0.1, *[0.02] * 6, 0.78]), np.full((1, 8), 1 / 8), True)
    found = verdict(CALIBRATION, reading("face", None), calm, calm)
    assert (found.label, found.confidence, found.abstained) == ("neutral", 0.78, False)
