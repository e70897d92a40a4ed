"""Calibration on dev people: temperatures, curves and thresholds of planted predictors."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from avemo_core.calibration import Calibration, Condition
from avemo_core.model.attention_cam import AttentionCAM
from avemo_core.types import FaceTrack
from tests.training.material import acted, row, tiny, write_pictures
from training import calibrate, features, recipe, voice
from training.corpora import ferplus

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


# ---------------------------------------------------------------- a whole model


def cases(logits: np.ndarray, truth: np.ndarray, corpus: str = "acted", windows: float = 1.0) -> list[calibrate.Case]:
    """One window a clip, of `windows` times the clip's logits."""
    return [calibrate.Case(corpus, int(t), one, one[None] * windows) for one, t in zip(logits, truth, strict=True)]


@pytest.mark.parametrize("wrong", [0.5, 1.0, 2.5])
def test_a_conditions_clips_and_windows_get_their_temperatures_back(wrong):
    logits, truth = planted(4000, wrong)
    found = calibrate._condition(cases(logits, truth, windows=3.0), bonus=0.0)
    assert found.temperature == pytest.approx(wrong, rel=0.1)
    assert found.window_temperature == pytest.approx(3 * wrong, rel=0.1)
    p = found.probabilities(logits)
    assert p.max(1).mean() == pytest.approx((p.argmax(1) == truth).mean(), abs=0.03)  # as often right as said


def test_clips_and_pictures_have_temperatures_of_their_own():
    (logits, truth), (easy, shown) = planted(400, 1.5), planted(400, 0.5, seed=2)
    clips, pictures = cases(logits, truth), cases(easy, shown, "ferplus")
    found = calibrate._conditions({"face": clips, "voice": clips, "both": clips}, pictures)
    assert found["still"].temperature < 0.8 < 1.2 < found["face"].temperature
    assert found["still"].bias == found["face"].bias and sum(n for _, _, n in found["face"].curve) == 400
    unseen = calibrate._conditions({"face": [], "voice": clips, "both": []}, pictures)
    assert unseen["face"] == unseen["still"] and "both" not in unseen


@pytest.fixture(scope="module")
def dev(tmp_path_factory):
    """Takes of two dev people, one of whom is seen in some, and a few dev pictures."""
    rows, sounds, labels = acted(21)
    crops = np.random.default_rng(0).integers(0, 255, (10, 48, 48), dtype=np.uint8)
    where = np.zeros((10, 4)), np.zeros((10, 5, 2))
    face = FaceTrack(0, np.arange(10) / 10, *where, crops, np.ones(10, bool), np.ones(10))
    clips = [
        calibrate.Clip(one, int(label), sound, face if n < 8 and n % 2 else None)
        for n, (one, sound, label) in enumerate(zip(rows, sounds, labels, strict=True))
    ]
    return clips, ferplus.read(write_pictures(tmp_path_factory.mktemp("pictures"), 20), "Training")


def sharp(clips, times: float) -> AttentionCAM:
    """An untrained network whose head tells these voices apart, `times` as loud as it should."""
    model = tiny().eval()
    tokens = voice.clip_tokens(model, [clip.sound for clip in clips])
    with torch.no_grad():
        model.head.voice.mul_(2 * times / (tokens @ model.head.voice.T).std(0).mean())
        model.head.bias.copy_(-(tokens @ model.head.voice.T).mean(0))
    return model


def test_a_model_that_shouts_is_calibrated_to_say_the_same(dev):
    """Labels are drawn from what the model says of each clip. Three times its logits get three times the temperature."""
    clips, pictures = dev
    said = [calibrate.read(calibrate.reader(sharp(clips, 1.0), Calibration()), clip).voice.probabilities for clip in clips]
    draw = np.random.default_rng(0)
    clips = [replace(clip, truth=int(draw.choice(7, p=p))) for clip, p in zip(clips, said, strict=True)]
    quiet, measured = calibrate.fit(sharp(clips, 1.0), clips, pictures)
    loud, _ = calibrate.fit(sharp(clips, 3.0), clips, pictures)
    assert 0.4 < quiet.voice.temperature < 2.5  # few clips, but it is right about itself
    assert loud.voice.temperature == pytest.approx(3 * quiet.voice.temperature, rel=1e-2)
    one, other = (
        calibrate.read(calibrate.reader(sharp(clips, times), fitted), clips[0]).voice.probabilities
        for times, fitted in ((1.0, quiet), (3.0, loud))
    )
    assert one == pytest.approx(other, abs=0.01)
    assert set(quiet.personal) == {"face", "voice", "both"} and quiet.still.temperature > 0
    assert set(measured) == {"none", "unlabelled"} and measured["none"]["voice"]["acted"]["n"] == 21
    assert measured["unlabelled"]["face"]["acted"]["n"] == 4 and measured["none"]["face"]["ferplus"]["n"] == len(pictures)


def test_eight_classes_are_calibrated_as_seven_are(dev):
    clips, pictures = dev
    calm = tiny(8).eval()
    with torch.no_grad():
        calm.head.bias[7] = 50.0  # says nothing but calm
    fitted, measured = calibrate.fit(calm, clips, pictures, recipe.EIGHT)
    result = calibrate.read(calibrate.reader(calm, fitted), clips[0])
    assert result.voice.probabilities.shape == (8,) and result.voice.probabilities.argmax() == 7
    assert result.verdict.label == "neutral" and measured["none"]["voice"]["acted"]["n"] == 21


def test_a_clip_is_read_from_its_features_as_from_its_file(analyzer, clip_of, tmp_path):
    path = clip_of("talk.mp4")
    clip = calibrate.Clip(
        row("happiness", "p", file=str(path)),
        1,
        features.voice(path, tmp_path),
        features.face(path, tmp_path, analyzer.detector),
    )
    result, direct = calibrate.read(analyzer, clip), analyzer.analyze(path)
    assert result.both.probabilities == pytest.approx(direct.both.probabilities, abs=0.02)  # kept in half precision
    assert result.window_start_s == pytest.approx(direct.window_start_s, abs=0.06)
