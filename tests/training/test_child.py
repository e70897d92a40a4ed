"""Child-shifted copies: every frequency goes up by the factor, and the time stays."""

import numpy as np
import pytest

from avemo_core.types import SAMPLE_RATE
from tests import media_files
from training import child


def sine(hz: float, seconds: float = 2.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE)).astype(np.float32)


def loudest_hz(wave: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
    return float(spectrum.argmax() * SAMPLE_RATE / len(wave))


@pytest.mark.parametrize("hz", [220, 440, 1000])
def test_every_frequency_is_raised_and_the_length_stays(hz):
    wave = sine(hz)
    out = child.shifted(wave)
    assert out.dtype == np.float32 and len(out) == pytest.approx(len(wave), rel=0.02)
    assert loudest_hz(out) == pytest.approx(hz * child.FACTOR, rel=0.01)
    assert np.abs(out).max() == pytest.approx(0.3, rel=0.2)


def test_the_moments_of_a_sound_stay_where_they_were():
    quiet = np.zeros(SAMPLE_RATE, np.float32)
    out = child.shifted(np.concatenate((quiet, sine(440, 1.0), quiet)))
    loud = np.flatnonzero(np.abs(out) > 0.1) / SAMPLE_RATE
    assert loud[0] == pytest.approx(1.0, abs=0.06) and loud[-1] == pytest.approx(2.0, abs=0.06)


def test_nothing_stays_nothing():
    assert len(child.shifted(np.zeros(0, np.float32))) == 0


def test_the_sound_of_a_file_is_shifted(tmp_path):
    path = media_files.write_wav(tmp_path / "tone.wav", sine(440))
    plain, raised = child.sound.describe(sine(440)), child.voice(path)
    assert abs(raised.log_mel.shape[1] - plain.log_mel.shape[1]) <= 4
    band = [int(one.log_mel[:, 50:150].mean(1).argmax()) for one in (plain, raised)]
    edges = child.sound.mel_edges_hz()
    assert edges[band[0]] < 440 < edges[band[0] + 2] and edges[band[1] - 1] < 550 < edges[band[1] + 2]
