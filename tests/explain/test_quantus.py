"""Our numbers beside those of Quantus (Hedström et al. 2023) on the same maps, pictures, order and replacement.

Stated error: 1e-5 of a probability for every point of a curve and for its area, 1e-6 of a rank correlation.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from avemo_core.explain import faithfulness
from avemo_core.explain.methods import METHODS
from avemo_core.explain.scene import Scene, scene_of
from avemo_core.inputs import Inputs
from avemo_core.model.attention_cam import AttentionCAM, Output

pytestmark = pytest.mark.quantus
STEPS = 8  # 48 x 48 cells in equal steps, which Quantus asks for
QUIET = {"disable_warnings": True, "display_progressbar": False}
RAW = {"abs": False, "normalise": False}


@pytest.fixture(scope="module")
def quantus():
    import quantus  # where it is not, these tests are left out

    return quantus


def pictures(model: nn.Module, crops: torch.Tensor, label: int = 1) -> Scene:
    """Each crop [n,1,48,48] as a window of one frame, without a voice."""
    n = len(crops)
    given = Inputs(
        crops=crops,
        place=torch.arange(n)[:, None],
        face_times=torch.zeros(n, 1),
        face_mask=torch.ones(n, 1),
        voice=torch.zeros(n, 1, 80, 200),
        voice_mask=torch.zeros(n, 200),
        voice_times=torch.zeros(n, 25),
        frames=[np.array([k]) for k in range(n)],
        columns=[(0, np.zeros(0, int))] * n,
    )
    share, target = np.full(n, 1 / n), torch.eye(7)[label]
    return Scene(model, given, torch.tensor([[1.0, 0.0]]).expand(n, -1), share, target, None, None, None, {})


class OfCrops(nn.Module):
    """The scene's windows as Quantus wants them: pictures in, logits out."""

    def __init__(self, scene: Scene):
        super().__init__()
        self.scene, self.model = scene, scene.model

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        own = replace(self.scene, model=self.model)
        return own.fuse(self.model.embed_faces(crops)[:, None], own.maps[1]).logits


def explained(model: OfCrops, inputs: np.ndarray, targets: np.ndarray, **_: object) -> np.ndarray:
    crops = torch.as_tensor(inputs, dtype=torch.float32)
    scene = replace(model.scene, model=model.model, given=replace(model.scene.given, crops=crops))
    return METHODS["integrated_gradients"].maps(scene).face.numpy()


@pytest.fixture(scope="module")
def crops(analyzer, clip_of) -> torch.Tensor:
    scene = scene_of(analyzer, analyzer.analyze(clip_of("talk.mp4")), ("happiness",))
    return scene.given.crops[::8][:3].contiguous()


def small() -> AttentionCAM:
    """A network like the one that ships, but tiny and untrained."""
    torch.manual_seed(0)
    widths = (8, 8, 8, 8)
    return AttentionCAM(face_widths=widths, face_blocks=(1, 1, 1), voice_widths=widths, width=8).eval()


@pytest.mark.parametrize("name", ["gradcam", "integrated_gradients"])
@pytest.mark.parametrize("which", ["tiny", "default"])
def test_deletion_and_insertion_are_quantus_pixel_flipping(quantus, analyzer, crops, which, name):
    scene = pictures(small() if which == "tiny" else analyzer.model, crops)
    before, instead, _ = faithfulness.streams(scene, "face")
    maps = faithfulness.finest(METHODS[name].maps(scene).face, before)[:, :, 0]
    maps = maps + 1e-4 * maps.abs().max() * torch.rand(maps.shape, generator=torch.Generator().manual_seed(1))  # no ties
    ours = faithfulness.curves(scene, maps, "face", draws=1, steps=STEPS)
    start, blank = before[:, 0].numpy(), instead[:, 0].numpy()
    for curve, first, other in ((ours.deletion, start, blank), (ours.insertion, blank, start)):

        def replaced(arr: np.ndarray, indices: np.ndarray, other: np.ndarray = other, **_: object) -> np.ndarray:
            out = arr.copy()
            np.put_along_axis(out, indices, np.take_along_axis(other.reshape(len(arr), -1), indices, 1), 1)
            return out

        metric = quantus.PixelFlipping(features_in_step=48 * 48 // STEPS, perturb_func=replaced, **RAW, **QUIET)
        labels = np.ones(len(crops), int)
        theirs = np.array(metric(OfCrops(scene).eval(), first, labels, maps.numpy(), softmax=True, device="cpu"))
        assert curve[:, 1:] == pytest.approx(theirs, abs=1e-5)
        area = np.trapezoid(np.column_stack((curve[:, 0], theirs)), dx=1 / STEPS)  # Quantus leaves out the whole picture
        assert faithfulness.area(curve) == pytest.approx(area, abs=1e-5)
    assert np.ptp(ours.deletion, 1).min() > 1e-4  # there was something to compare


class OneLayer(nn.Module):
    """The brightness of what one convolution finds."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(5)
        self.conv = nn.Conv2d(1, 3, 5, padding=2)
        self.face_branch = nn.Module()
        self.face_branch.channels = 3

    def embed_faces(self, crops):
        return torch.relu(self.conv(crops))

    def embed_voice(self, voice, mask):
        return voice

    def fuse(self, faces, face_times, face_mask, voice, *rest, **options):
        logits = (faces.mean((1, 2, 3, 4)) + 0 * voice.sum())[:, None] * torch.arange(7.0)
        return Output(*[logits] * 5)


def test_the_cascade_is_quantus_model_parameter_randomisation(quantus, crops):
    """One layer: Quantus gives every layer the same random numbers, and here each has its own."""
    scene = pictures(OneLayer().eval(), crops)
    [(layer, ours)] = faithfulness.cascade(scene, "integrated_gradients", "face", seed=3)
    wrapped = OfCrops(scene).eval()
    metric = quantus.MPRT(seed=2, layer_order="top_down", **RAW, **QUIET)  # it adds one
    maps, labels = explained(wrapped, crops.numpy(), np.ones(len(crops), int)), np.ones(len(crops), int)
    found = metric(wrapped, crops.numpy(), labels, maps, explain_func=explained, device="cpu")
    assert layer == "conv" and list(found) == ["original", "model.conv"]
    assert ours == pytest.approx(found["model.conv"], abs=1e-6) and abs(ours).max() < 0.99
    assert found["original"] == pytest.approx([1] * len(crops))


def test_stability_is_quantus_average_sensitivity_in_ranks(quantus, crops):
    scene = pictures(small(), crops)
    ours = faithfulness.stability(scene, "integrated_gradients", "face", draws=3, seed=4)
    generator = torch.Generator().manual_seed(4)

    def noisy(arr: np.ndarray, indices: np.ndarray, **_: object) -> np.ndarray:
        still = torch.from_numpy(arr).view(crops.shape)
        moved = still + torch.randn(crops.shape, generator=generator) * faithfulness.NOISE
        return moved.clamp(0, 1).flatten(1).numpy()

    metric = quantus.AvgSensitivity(
        similarity_func=lambda a, b: np.array([spearmanr(*pair).statistic for pair in zip(a, b, strict=True)]),
        norm_numerator=lambda a: a,
        norm_denominator=lambda a: np.ones(len(a)),
        nr_samples=3,
        perturb_func=noisy,
        **RAW,
        **QUIET,
    )
    wrapped, labels = OfCrops(scene).eval(), np.ones(len(crops), int)
    maps = explained(wrapped, crops.numpy(), labels)
    theirs = metric(wrapped, crops.numpy(), labels, maps, explain_func=explained, device="cpu")
    assert ours == pytest.approx(np.array(theirs), abs=1e-6) and 0 < ours.min() < 1
