"""Waveforms to log-mel, MFCC, level and voice activity, against torchaudio and by hand."""

import csv

import numpy as np
import pytest
import torch
import torchaudio

from avemo_core import media, sound, synthetic
from avemo_core.types import SAMPLE_RATE

RNG = np.random.default_rng(4)


def sine(hertz: float, seconds: float = 1.0, amplitude: float = 1.0) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * hertz * np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE)).astype(np.float32)


@pytest.mark.parametrize("hertz", [210.0, 440, 1000, 1900, 3300, 5000, 7700])
def test_a_tone_lies_in_the_band_that_the_edges_name(hertz):
    edges = sound.mel_edges_hz()
    band = int(sound.log_mel(sine(hertz))[:, 50].argmax())
    assert edges[band] <= hertz < edges[band + 1]


def test_edges_rise_over_the_whole_range():
    edges = sound.mel_edges_hz()
    assert edges.shape == (81,) and (np.diff(edges) > 0).all() and 60 <= edges[0] < 80 and 7800 < edges[-1] <= 8000


def test_log_mel_is_torchaudios():
    wave = RNG.normal(0, 0.1, 20_000).astype(np.float32)
    reference = torchaudio.transforms.MelSpectrogram(
        16_000, n_fft=1024, win_length=400, hop_length=160, f_min=60.0, n_mels=80, power=2.0, pad_mode="constant"
    )(torch.from_numpy(wave))
    assert sound.log_mel(wave).shape == (80, 125)
    assert sound.log_mel(wave) == pytest.approx(reference.clamp(min=1e-10).log().numpy()[:, :125], abs=1e-4)


def test_chunk_borders_leave_no_trace(monkeypatch):
    wave = RNG.normal(0, 0.1, 50_000).astype(np.float32)
    whole = sound.log_mel(wave)
    monkeypatch.setattr(sound, "CHUNK", 16_000)  # four pieces in place of one
    assert sound.log_mel(wave) == pytest.approx(whole, abs=1e-5)


def test_mfcc_is_torchaudios_dct_of_the_log_mel():
    wave = RNG.normal(0, 0.1, 16_000).astype(np.float32)
    found = sound.describe(wave)
    dct = torchaudio.functional.create_dct(40, 80, "ortho")
    assert found.mfcc.shape == (40, 100)
    assert found.mfcc == pytest.approx((torch.from_numpy(found.log_mel).T @ dct).T.numpy(), abs=1e-3)
    assert found.mfcc[0] == pytest.approx(found.log_mel.sum(0) / np.sqrt(80), abs=1e-3)


def test_level_of_a_full_scale_sine_is_minus_three_db():
    level = sound.level_db(sine(1000))
    assert level[5:-5] == pytest.approx(np.full(90, -3.01), abs=0.02)
    assert sound.level_db(sine(1000, amplitude=0.1))[50] == pytest.approx(-23.01, abs=0.02)
    assert sound.level_db(np.zeros(1600, np.float32)) == pytest.approx(np.full(10, -120))


def test_level_is_in_its_own_place():
    wave = np.zeros(16_000, np.float32)
    wave[8000:8800] = 0.5
    loud = np.flatnonzero(sound.level_db(wave) > -10)
    assert loud[0] in (49, 50) and loud[-1] in (54, 55)


SECONDS = np.arange(64_000) / 16_000


def tune() -> np.ndarray:
    """A plucked scale of eight notes with seven overtones each."""
    time = np.arange(8000) / 16_000
    notes = [220 * 2 ** (step / 12) for step in (0, 2, 4, 5, 7, 9, 11, 12)]
    return np.concatenate(
        [0.2 * np.exp(-6 * time) * sum(np.sin(2 * np.pi * n * h * time) / h for h in range(1, 8)) for n in notes]
    )


@pytest.mark.parametrize(
    "wave",
    [
        sine(1000, 4.0, 0.3) * (SECONDS % 1 < 0.4),
        sine(440, 4.0, 0.3) * (0.5 + 0.5 * np.sin(2 * np.pi * 4 * SECONDS)),
        0.3 * np.sin(2 * np.pi * np.cumsum(700 + 400 * np.sin(5 * SECONDS)) / 16_000) * (SECONDS % 1 < 0.6),
        tune(),
        RNG.normal(0, 0.3, 64_000) * np.exp(-25 * (SECONDS % 0.25)),
        RNG.normal(0, 0.2, 64_000) * (0.5 + 0.5 * np.sin(2 * np.pi * 4 * SECONDS)) ** 2,
        np.where(np.arange(64_000) % 2000 == 0, 0.9, 0.0),
    ],
    ids=["beeps", "throbbing tone", "siren", "tune", "drums", "waves of noise", "clicks"],
)
def test_what_rises_and_falls_like_speech_is_not_taken_for_a_voice(wave):
    wave = wave.astype(np.float32)
    assert sound.voice_activity(sound.level_db(wave)).any()  # its level alone would pass
    assert not sound.describe(wave).voiced.any()


@pytest.mark.parametrize(
    "wave",
    [
        np.zeros(32_000),
        RNG.normal(0, 0.1, 32_000),
        RNG.normal(0, 1e-4, 32_000),
        sine(440, 2.0, 0.5),
        np.where(np.arange(32_000) == 16_000, 1.0, 0.0) + RNG.normal(0, 1e-4, 32_000),
    ],
    ids=["silence", "noise", "hiss", "tone", "click"],
)
def test_what_is_no_voice_is_not_taken_for_one(wave):
    assert not sound.describe(wave.astype(np.float32)).voiced.any()


@pytest.mark.parametrize("emotion", ["neutral", "sadness", "anger"])
def test_a_synthetic_voice_is_heard_where_it_speaks(emotion):
    quiet = RNG.normal(0, 1e-4, 8000)
    speech = synthetic.speak(emotion, 2.0, synthetic.PEOPLE["mara"], 5, np.ones(50))
    voiced = sound.describe(np.concatenate((quiet, speech, quiet)).astype(np.float32)).voiced
    assert voiced[50:250].mean() > 0.5 and not voiced[:45].any() and not voiced[-45:].any()


def test_voice_activity_bridges_pauses_and_drops_clicks():
    level = np.full(200, -60.0)
    level[50:80] = level[90:120] = -20  # a word with a pause of ten columns
    level[150:155] = -20  # five columns: a click
    voiced = sound.voice_activity(level)
    assert np.flatnonzero(voiced).tolist() == list(range(50, 120))
    level[133:160] = -20  # thirteen columns away: another word
    assert np.flatnonzero(sound.voice_activity(level)).tolist() == [*range(50, 120), *range(133, 160)]


@pytest.mark.parametrize("samples", [0, 1, 159, 160, 500])
def test_any_length_has_a_column_each_ten_milliseconds(samples):
    found = sound.describe(RNG.normal(0, 0.1, samples).astype(np.float32), 0.25)
    columns = samples // 160
    assert found.log_mel.shape == (80, columns) and found.mfcc.shape == (40, columns)
    assert found.voiced.shape == found.level_db.shape == (columns,) and found.start_s == 0.25


def test_stereo_is_refused():
    with pytest.raises(ValueError, match=r"mono sound of shape \[n\]; got shape \(2, 100\)"):
        sound.describe(np.zeros((2, 100), np.float32))


@pytest.mark.real
@pytest.mark.parametrize("corpus", ["children", "ravdess"])
def test_real_voices_are_heard(real_data, corpus):
    rows = list(csv.DictReader((real_data / corpus / "manifest.csv").open(encoding="utf-8")))
    shares = []
    for row in rows[:: len(rows) // 10]:
        wave = np.concatenate([part for part, _ in media.sound(media.decode(real_data / corpus / row["file"]))])
        shares.append(sound.describe(wave).voiced.mean())
    assert min(shares) > 0.1 and max(shares) < 0.95
