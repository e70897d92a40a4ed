"""Checkpoints: written and read back, and every way to be unusable said in one sentence."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from avemo_core import checkpoint
from avemo_core.calibration import Calibration, Condition
from avemo_core.systems import system
from avemo_core.types import AvemoError

FITTED = Calibration(both=Condition(1.7, 1.3, threshold=0.44, curve=[[1.0, 0.6, 50.0]]), personal={"both": Condition(1.2)})


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(3)
    return system("attention_cam").build(**system("attention_cam").settings).eval()


@pytest.fixture(scope="module")
def written(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "deep" / "er" / "house.safetensors"
    checkpoint.save(path, model, "attention_cam", FITTED, {"data": {"ravdess": 12}})
    return path


def changed(written, path, weights=None, **header):
    """The written checkpoint with some of its header, or its weights, replaced."""
    with safe_open(written, framework="pt") as file:
        full = file.metadata() | header
        kept = {key: file.get_tensor(key) for key in file.keys()} if weights is None else weights  # noqa: SIM118
    save_file(kept, path, metadata={key: value for key, value in full.items() if value is not None})
    return path


def refused(path) -> str:
    """The one sentence with which the file is refused."""
    with pytest.raises(AvemoError) as caught:
        checkpoint.load(path)
    text = str(caught.value)
    assert "\n" not in text and len(text) < 400 and text.endswith(".")
    return text


def test_what_is_saved_comes_back_in_half_precision(model, written):
    loaded = checkpoint.load(written)
    assert loaded.calibration == FITTED and loaded.card == {"data": {"ravdess": 12}} and not loaded.model.training
    for name, value in model.state_dict().items():
        back = loaded.model.state_dict()[name]
        assert back.dtype == value.dtype
        assert torch.allclose(back, value, rtol=1e-3, atol=1e-6), name
        if "running" in name:
            assert torch.equal(back, value)
    assert written.stat().st_size < 2.2 * sum(p.numel() for p in model.parameters())
    assert [p.name for p in written.parent.iterdir()] == [written.name]


def test_the_id_names_the_system_and_follows_the_bytes(model, written, tmp_path):
    first, again = checkpoint.load(written).model_id, checkpoint.load(str(written)).model_id
    assert first == again and first.startswith("attention_cam-") and len(first) == len("attention_cam-") + 8
    other = changed(written, tmp_path / "other.safetensors", card="{}")
    assert checkpoint.load(other).model_id != first


def test_equal_checkpoints_are_equal_byte_for_byte(model, written, tmp_path):
    again = tmp_path / "again.safetensors"
    for _ in range(3):  # safetensors orders five texts in one of 120 ways
        checkpoint.save(again, model, "attention_cam", FITTED, {"data": {"ravdess": 12}})
        assert again.read_bytes() == written.read_bytes()


def test_full_precision_is_exact(model, tmp_path):
    checkpoint.save(tmp_path / "full.safetensors", model, "attention_cam", FITTED, {}, half=False)
    back = checkpoint.load(tmp_path / "full.safetensors").model.state_dict()
    assert all(torch.equal(back[name], value) for name, value in model.state_dict().items())


def test_a_missing_file_is_said(tmp_path):
    assert "No checkpoint at" in refused(tmp_path / "none.safetensors")
    assert "'default'" in refused(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"\x00" * 4096, bytes(range(7, 256)) * 2])
def test_garbage_is_said(tmp_path, content):
    path = tmp_path / "garbage.safetensors"
    path.write_bytes(content)
    assert "garbage.safetensors is not a readable safetensors file" in refused(path)


@pytest.mark.parametrize("share", [0.0001, 0.3, 0.999])
def test_a_truncated_file_is_said(written, tmp_path, share):
    data = written.read_bytes()
    path = tmp_path / "cut.safetensors"
    path.write_bytes(data[: int(len(data) * share)])
    assert "cut.safetensors is not a readable safetensors file" in refused(path)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"card": None, "labels": None}, "lacks labels, card in its header"),
        ({"labels": json.dumps(["joy", "anger"])}, 'reads other labels (["joy", "anger"]); this version reads neutral'),
        ({"labels": "7"}, "reads other labels (7)"),
        ({"labels": "{"}, "has a damaged header"),
        ({"settings": "{"}, "has a damaged header"),
        ({"calibration": "{}"}, "has a damaged header"),
        ({"calibration": json.dumps({c: {} for c in ("face", "voice", "both")})}, "has a damaged header ('personal')"),
        ({"calibration": json.dumps({c: {"warmth": 1} for c in ("face", "voice", "both")})}, "has a damaged header"),
        ({"card": "nonsense"}, "has a damaged header"),
        ({"system": "resnet"}, "does not fit this version's resnet (Unknown system 'resnet'"),
        ({"settings": json.dumps({"wings": 2})}, "does not fit this version's attention_cam"),
        ({"settings": json.dumps({"width": 64})}, "does not fit this version's attention_cam"),
        ({"settings": "[]"}, "does not fit this version's attention_cam"),
    ],
)
def test_another_header_is_said(written, tmp_path, header, said):
    assert said in refused(changed(written, tmp_path / "other.safetensors", **header))


def test_other_weights_are_said(written, tmp_path):
    path = changed(written, tmp_path / "other.safetensors", weights={"head.bias": torch.zeros(7)})
    assert "does not fit this version's attention_cam" in refused(path)
