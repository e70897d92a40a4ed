"""Readings on a CUDA device beside those of the CPU. Left out on machines that have none (see conftest.py)."""

import numpy as np
import pytest

from avemo_core.analyzer import Analyzer

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def on_gpu() -> Analyzer:
    return Analyzer(device="cuda")


@pytest.mark.parametrize("name", ["talk.mp4", "voice.wav", "silent.mp4", "two.mp4", "late.mp4", "photo.png"])
def test_readings_on_the_gpu_are_those_of_the_cpu(analyzer, on_gpu, clip_of, name):
    cpu, gpu = analyzer.analyze(clip_of(name)), on_gpu.analyze(clip_of(name))
    for condition in ("face", "voice", "both"):
        one, other = getattr(cpu, condition), getattr(gpu, condition)
        assert one.reason == other.reason
        assert np.abs(one.windows - other.windows).max() < 1e-2
        assert np.abs(one.probabilities - other.probabilities).max() < 1e-2
    assert len(cpu.faces) == len(gpu.faces) and cpu.model_id == gpu.model_id


def test_auto_takes_the_gpu_and_numbers_that_are_not_there_are_refused():
    from avemo_core.types import AvemoError

    assert Analyzer().device.type == "cuda"
    with pytest.raises(AvemoError, match="is not here"):
        Analyzer(device="cuda:99")
