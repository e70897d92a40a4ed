"""What all tests share: the shipped model, generated clips, and the real corpora where they lie beside the project.

Tests marked `real` or `gpu` are deselected, not skipped, on a machine that lacks what they need; one line says so.
"""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from avemo_core import synthetic
from tests import media_files

DATA = Path(__file__).parents[2] / "shared" / "data"
LEFT_OUT = pytest.StashKey[list[str]]()


def _why_left_out(items: list[pytest.Item]) -> dict[str, str]:
    """Markers whose tests cannot run here, and why."""
    reasons = {}
    if not DATA.is_dir():
        reasons["real"] = f"no real clips at {DATA}"
    if any(item.get_closest_marker("gpu") for item in items):
        import torch

        if not torch.cuda.is_available():
            reasons["gpu"] = "no CUDA device here"
    return reasons


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    lines = []
    for marker, reason in _why_left_out(items).items():
        out = [item for item in items if item.get_closest_marker(marker)]
        if out:
            lines.append(f"{len(out)} tests marked {marker} are left out: {reason}.")
            config.hook.pytest_deselected(items=out)
            items[:] = [item for item in items if not item.get_closest_marker(marker)]
    config.stash[LEFT_OUT] = lines


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    return config.stash.get(LEFT_OUT, [])


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of the real corpora; only for tests marked `real`."""
    return DATA


@pytest.fixture(scope="session")
def analyzer():
    """The model that ships, on the CPU."""
    from avemo_core.analyzer import Analyzer

    return Analyzer(device="cpu")


SMALL = {"fps": 10, "size": (160, 160), "seconds": 2.4}  # one window and a bit, quick to draw
RECIPES: dict[str, Callable[[Path], object]] = {
    "talk.mp4": lambda p: synthetic.write_clip(p, "happiness", "happiness", **SMALL),
    "voice.wav": lambda p: synthetic.write_clip(p, None, "anger", picture=False, seconds=2.4),
    "silent.mp4": lambda p: synthetic.write_clip(p, "surprise", None, **SMALL),
    "nobody.mp4": lambda p: synthetic.write_clip(p, None, "sadness", **SMALL),
    "two.mp4": lambda p: synthetic.write_clip(
        p, "happiness", "neutral", person=("mara", "ivan"), **(SMALL | {"size": (320, 160)})
    ),
    "late.mp4": lambda p: synthetic.write_clip(
        p, "neutral", "anger", scene=synthetic.Scene(sound_starts=0.83), **(SMALL | {"seconds": 3.3})
    ),
    "black.mp4": lambda p: media_files.write_clip(
        p, 1.5, 10, (96, 96), audio=False, frames=[np.zeros((96, 96, 3), np.uint8)] * 15
    ),
    "silence.wav": lambda p: media_files.write_wav(p, np.zeros(24_000, np.float32)),
    "tone.wav": lambda p: media_files.write_wav(p, media_files.tone(1.5, 16_000)[0]),
    "photo.png": lambda p: Image.fromarray(synthetic.draw_face(synthetic.PEOPLE["mara"], "happiness", (160, 160))).save(p),
    "broken.mp4": lambda p: p.write_bytes(b"this is no film"),
}


@pytest.fixture(scope="session")
def clip_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The generated clip of that name in RECIPES, made once a session."""
    folder = tmp_path_factory.mktemp("clips")

    def make(name: str) -> Path:
        path = folder / name
        if not path.exists():
            RECIPES[name](path)
        return path

    return make


@pytest.fixture(scope="session")
def webcam(tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, np.ndarray]:
    """(Frames uint8 [30,240,320,3] at 15 a second, float32 [n] at 48 kHz) of a drawn face that speaks."""
    folder = tmp_path_factory.mktemp("webcam")
    synthetic.write_webcam(folder / "v.y4m", folder / "a.wav", seconds=2.0)
    with av.open(str(folder / "v.y4m")) as file:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])
    wave = np.frombuffer((folder / "a.wav").read_bytes()[44:], "<i2").astype(np.float32) / 32768
    return frames, wave


def is_one_sentence(text: str) -> bool:
    return text.endswith(".") and "\n" not in text and "Traceback" not in text and 20 < len(text) < 200
