"""What if it were cut: how far the target's probability falls without what a map marks, or without a moment or a region.

What is cut is replaced by what carries no expression, as in faithfulness.py: the blurred face, the mean spectrum. The clip
itself is cut, so windows that overlap lack the same. Probabilities are those of the faithfulness curves: uncalibrated.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..sound import mel_edges_hz
from ..types import SOUND_HOP_S, AvemoError, Effect, Explanation
from .faithfulness import MODALITIES, probability
from .methods.attention import check_head
from .methods.perturbation import blurred, levelled
from .scene import Scene

ASKING = {"face_to_voice": "face_asks", "voice_to_face": "voice_asks"}  # direction of attention -> its module


@dataclass(frozen=True)
class Part:
    """A span of time, of both streams; with `box` only that part of the face, with `hz` only that part of the voice."""

    start_s: float
    end_s: float
    box: tuple[float, float, float, float] | None = None  # left, top, right, bottom as shares of the crop
    hz: tuple[float, float] | None = None  # from, to

    def __post_init__(self) -> None:
        if not 0 <= self.start_s < self.end_s:
            raise AvemoError(
                f"A span goes from an earlier to a later second of the clip: got {self.start_s:g} to {self.end_s:g}."
            )
        if self.box is not None:
            left, top, right, bottom = self.box
            if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
                said = " ".join(f"{side:g}" for side in self.box)
                raise AvemoError(f"A box is left, top, right and bottom as shares of the crop (0 0 1 0.5): got {said}.")
        if self.hz is not None and not 0 <= self.hz[0] < self.hz[1]:
            raise AvemoError(f"A band goes from a lower to a higher frequency in Hz: got {self.hz[0]:g} to {self.hz[1]:g}.")

    @property
    def modalities(self) -> tuple[str, ...]:
        """Those that it is of: both where neither box nor band is named."""
        named = {"face": self.box, "voice": self.hz}
        return tuple(name for name in MODALITIES if named[name] is not None) or MODALITIES

    @property
    def said(self) -> str:
        """ "0.50 to 1.20 s, 300 to 3400 Hz"."""
        box = "" if self.box is None else ", box " + " ".join(f"{side:g}" for side in self.box)
        return f"{self.start_s:.2f} to {self.end_s:.2f} s{box}" + (
            "" if self.hz is None else f", {self.hz[0]:g} to {self.hz[1]:g} Hz"
        )


def of_strongest(scene: Scene, explanation: Explanation, shares: Sequence[float]) -> list[Effect]:
    """Without the strongest share of the cells that were explained, for each share and modality that has a map.

    A map that is the same everywhere has no strongest part, and no effect. AvemoError for a share outside of 0 to 1.
    """
    wrong = [share for share in shares if not 0 < share <= 1]
    if wrong:
        raise AvemoError(f"A share to be cut lies above 0 and at most at 1 (0.1 is a tenth): got {wrong[0]:g}.")
    out = []
    for name in MODALITIES:
        maps = getattr(explanation, name)
        valid = _explained(scene)[name]
        if maps is None or not valid.any() or np.ptp(maps) == 0:
            continue
        ranked = np.where(valid, _fine(maps, valid), -np.inf)
        places = ranked.argsort(axis=None)[::-1]  # the strongest first, what was not explained last
        for share in shares:
            gone = np.zeros(valid.size, bool)
            gone[places[: round(share * valid.sum())]] = True
            cells = {name: gone.reshape(valid.shape)}
            out.append(_effect(scene, f"strongest {share * 100:g} % of the {name}", cells))
    return out


def of_part(scene: Scene, part: Part) -> Effect:
    """Without a span or a region of it. AvemoError where nothing that was explained lies there."""
    valid, cells = _explained(scene), {}
    if "face" in part.modalities:
        side = valid["face"].shape[-1]
        edges = np.array(part.box or (0, 0, 1, 1)) * side
        middles = np.arange(side) + 0.5
        across = (middles >= edges[0]) & (middles < edges[2])
        down = (middles >= edges[1]) & (middles < edges[3])
        times = np.zeros(0) if scene.track is None else scene.track.times_s
        when = (times >= part.start_s) & (times < part.end_s)
        cells["face"] = when[:, None, None] & down[:, None] & across & valid["face"]
    if "voice" in part.modalities:
        bands = np.ones(len(valid["voice"]), bool)
        if part.hz is not None:
            edges_hz = mel_edges_hz()
            if len(valid["voice"]) != len(edges_hz) - 1:
                raise AvemoError(
                    "The voice branch of this model reads the waveform, which has no bands; leave the band out."
                )
            bands = (edges_hz[1:] > part.hz[0]) & (edges_hz[:-1] < part.hz[1])
        heard = scene.result.sound
        times = np.zeros(0) if heard is None else heard.start_s + np.arange(heard.log_mel.shape[1]) * SOUND_HOP_S
        cells["voice"] = bands[:, None] & (times >= part.start_s) & (times < part.end_s) & valid["voice"]
    if not any(gone.any() for gone in cells.values()):
        which = " or ".join(part.modalities)
        raise AvemoError(f"Nothing that was explained of the {which} lies at {part.said}; choose another span or region.")
    return _effect(scene, part.said, cells)


def of_attention(scene: Scene, direction: str, head: int | None = None) -> Effect:
    """With one direction of cross-modal attention made uniform: every moment of the other stream, and none, weighs as much.

    Of one `head`, by its number, the others as they are, or of all. AvemoError where there is no such attention or head.
    """
    if scene.missing:
        name, reason = next(iter(scene.missing.items()))
        raise AvemoError(f"There is no attention between face and voice to cut without the {name}: {reason}.")
    model = deepcopy(scene.model)  # threads share the model
    attention = getattr(model, ASKING[direction]).attention
    if head is not None:
        check_head(head, attention.num_heads)
    even_out(attention, head)
    with torch.no_grad():
        left = replace(scene, model=model).fuse(*scene.maps).logits
    what = f"attention {direction.replace('_', ' ')}" + ("" if head is None else f", head {head}")
    share = 1.0 if head is None else 1 / attention.num_heads
    return Effect(what, share, _clip(scene, scene.output.logits), _clip(scene, left))


@torch.no_grad()
def even_out(attention: nn.MultiheadAttention, head: int | None = None) -> None:
    """Make a head, or all of them, weigh all keys that are there alike: a query of zeros prefers none."""
    width = attention.embed_dim if head is None else attention.head_dim
    rows = slice((head or 0) * width, ((head or 0) + 1) * width)  # queries come first in what is projected together
    attention.in_proj_weight[rows] = 0
    attention.in_proj_bias[rows] = 0


def _explained(scene: Scene) -> dict[str, np.ndarray]:
    """Cells of the clip that stand in a window: of the face bool [N,S,S], of the voice bool [M,T]."""
    given = scene.given
    face = np.zeros((0 if scene.track is None else len(scene.track.times_s), *given.crops.shape[-2:]), bool)
    voice = np.zeros((given.voice.shape[2], 0 if scene.result.sound is None else scene.result.sound.log_mel.shape[1]), bool)
    if scene.track is not None:
        for rows in given.frames:
            face[rows] = scene.track.present[rows][:, None, None]
    for _, columns in given.columns:
        voice[:, columns] = True
    return {name: one & (name not in scene.missing) for name, one in (("face", face), ("voice", voice))}


def _fine(maps: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """A map on the clip's axes, [N,h,w] or [F,T], at the resolution of its stream, bilinearly."""
    pictures = torch.from_numpy(maps if maps.ndim == 3 else maps[None])[:, None].float()
    return F.interpolate(pictures, size=valid.shape[-2:], mode="bilinear", align_corners=False).view(valid.shape).numpy()


def _effect(scene: Scene, what: str, cells: dict[str, np.ndarray]) -> Effect:
    """With those cells [N,S,S] of the face and [M,T] of the voice replaced."""
    valid = _explained(scene)
    share = sum(int(gone.sum()) for gone in cells.values()) / max(1, sum(int(valid[name].sum()) for name in cells))
    given = scene.given
    if "face" in cells and cells["face"].any():
        used = np.unique(np.concatenate(given.frames)).astype(int)
        gone = torch.from_numpy(cells["face"][used])[:, None].to(given.crops.device)
        given = replace(given, crops=torch.where(gone, blurred(given.crops), given.crops))
    if "voice" in cells and cells["voice"].any():
        gone = torch.zeros_like(given.voice, dtype=torch.bool)
        for w, (first, columns) in enumerate(given.columns):
            gone[w, 0, :, first : first + len(columns)] = torch.from_numpy(cells["voice"][:, columns])
        given = replace(given, voice=torch.where(gone, levelled(given.voice, given.voice_mask), given.voice))
    without = replace(scene, given=given)
    with torch.no_grad():
        left = without.fuse(*without.embed()).logits
    return Effect(what, share, _clip(scene, scene.output.logits), _clip(scene, left))


def _clip(scene: Scene, logits: Tensor) -> float:
    """Logits of windows [W,K] -> the target's probability over all of them, weighted as in the reading."""
    return float(probability(scene, torch.from_numpy(scene.share).to(logits) @ logits))
