"""What all tests share: the shipped model, generated clips, and the real corpora where they lie beside the project.

Tests marked `real`, `gpu` or `quantus` are deselected, not skipped, where what they need is missing; one line says so.
"""

from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError

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
    if any(item.get_closest_marker("quantus") for item in items):
        try:
            import quantus  # noqa: F401
        except ImportError as error:  # its OpenCV wants libraries of a desktop
            reasons["quantus"] = f"Quantus cannot be imported here ({error})"
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
    "leaves.mp4": lambda p: synthetic.write_clip(
        p, "happiness", "happiness", scene=synthetic.Scene(away=(1.0, 9.0)), **(SMALL | {"seconds": 4.0})
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


@pytest.fixture
def small_voice(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a wav2vec 2.0 small enough for a test, with a bundle as torchaudio's large ones are."""
    import torchaudio

    from avemo_core.model.branches import pretrained

    params = dict(torchaudio.pipelines.WAV2VEC2_XLSR53._params)
    params["extractor_conv_layer_config"] = [
        (8, kernel, stride) for _, kernel, stride in params["extractor_conv_layer_config"]
    ]
    params |= {"encoder_embed_dim": 16, "encoder_num_layers": 2, "encoder_num_heads": 2, "encoder_ff_interm_features": 16}
    params |= {"encoder_pos_conv_kernel": 8, "encoder_pos_conv_groups": 2, "encoder_dropout": 0.5}
    bundle = torchaudio.pipelines.Wav2Vec2Bundle("small_voice.pth", params, 16_000, True, "Wav2Vec2")
    monkeypatch.setattr(torchaudio.pipelines, "SMALL_VOICE", bundle, raising=False)
    entry = ("small_voice.pth", 2, 16, lambda: torchaudio.models.wav2vec2_model(**params))
    monkeypatch.setitem(pretrained.VOICES, "small_voice", entry)
    return "small_voice"


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """torch's cache in an empty folder of its own, no network: every download fails, and its file is listed here."""
    import torch
    from facenet_pytorch.models import inception_resnet_v1

    tried: list[Path] = []

    def download(url: str, file: str, *_: object, **__: object) -> None:
        tried.append(Path(file))
        raise URLError(OSError(-2, "Name or service not known"))

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    monkeypatch.setattr(inception_resnet_v1, "download_url_to_file", download)
    return tried


def is_one_sentence(text: str) -> bool:
    return text.endswith(".") and "\n" not in text and "Traceback" not in text and 20 < len(text) < 200
