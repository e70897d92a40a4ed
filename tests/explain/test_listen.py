"""A map as sound: what is marked is heard, and both parts together are the original."""

import io
import wave
from dataclasses import replace

import numpy as np
import pytest

from avemo_core.explain import listen
from avemo_core.explain.explanation import explain
from avemo_core.sound import mel_edges_hz
from avemo_core.types import AvemoError

SECONDS = np.arange(32_000) / 16_000
LOW, HIGH = (0.3 * np.sin(2 * np.pi * hz * SECONDS).astype(np.float32) for hz in (300, 3000))


def test_a_band_and_a_span_are_kept_and_the_rest_is_the_rest():
    share = np.zeros((80, 200))
    edges = mel_edges_hz()
    share[edges[1:] < 1000, :100] = 1.0  # low, in the first second
    kept, rest = listen.apart(LOW + HIGH, share, edges)
    assert np.abs(kept + rest - (LOW + HIGH)).max() < 1e-5
    early, late = slice(2000, 14_000), slice(18_000, 30_000)
    assert kept[early] == pytest.approx(LOW[early], abs=0.01) and np.abs(kept[late]).max() < 0.01
    assert rest[early] == pytest.approx(HIGH[early], abs=0.01) and rest[late] == pytest.approx((LOW + HIGH)[late], abs=0.01)


@pytest.mark.parametrize("value", [0.0, 1.0, 0.25])
def test_parts_of_noise_add_up(value):
    noise = np.random.default_rng(1).normal(0, 0.1, 20_001).astype(np.float32)
    kept, rest = listen.apart(noise, np.full((10, 125), value), mel_edges_hz()[::8])
    assert np.abs(kept + rest - noise).max() < 1e-5 and kept == pytest.approx(noise * value, abs=1e-4)


def test_a_reading_is_heard_in_two_parts(analyzer, clip_of):
    result = analyzer.analyze(clip_of("talk.mp4"))
    found = explain(analyzer, result, "gradcam")
    kept, rest = listen.kept_and_rest(result, found)
    assert len(kept) == len(rest) and np.abs(kept).mean() > 0 and abs(len(kept) / 16_000 - result.clip.duration_s) < 0.2
    with wave.open(io.BytesIO(listen.encoded(kept))) as file:
        assert (file.getframerate(), file.getnchannels(), file.getnframes()) == (16_000, 1, len(kept))
    silent, everything = listen.kept_and_rest(result, replace(found, voice=np.zeros_like(found.voice)))
    assert not np.abs(silent).max() > 1e-5 and np.abs(everything).max() > 0.01
    with pytest.raises(AvemoError, match="no map of the voice to listen to: no sound in this clip"):
        listen.kept_and_rest(result, explain(analyzer, analyzer.analyze(clip_of("silent.mp4")), "gradcam"))
