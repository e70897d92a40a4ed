"""What a method of explanation looks at: some windows of one reading, the model, and the score to be explained."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor

from .. import inputs, presence, timeline
from ..analyzer import Analyzer
from ..baseline import Baseline
from ..inputs import Inputs
from ..labels import LABELS, index
from ..model.attention.channel import ChannelAttention
from ..model.attention.spatial import SpatialAttention
from ..model.attention_cam import AttentionCAM, Output
from ..model.heads.cam import Personal
from ..types import AvemoError, ClipResult, FaceTrack
from .hooks import calls_of

AT_ONCE = 64  # crops that go through the branch together: as many as the caches of a processor like
CROPS_A_VOICE = 8  # a window of voice takes the model about as long as so many crops

if TYPE_CHECKING:
    once = cached_property
else:

    class once(cached_property):  # noqa: N801 - a decorator
        """Without the lock: Python 3.11 has one for all scenes, and a pass that stands back for another would hold it."""

        def __get__(self, scene, owner=None):
            if scene is None:
                return self
            if self.attrname not in vars(scene):
                vars(scene)[self.attrname] = self.func(scene)
            return vars(scene)[self.attrname]


@dataclass(frozen=True)
class Scene:
    """W windows of a clip as tensors, and the score: logits weighted by `target`, [K] with 1 for a label, -1 for its rival.

    Where a modality counts nowhere in these windows, `missing` says why.
    """

    model: AttentionCAM
    given: Inputs
    available: Tensor  # [W,2] of 0 and 1: face, voice
    share: np.ndarray  # [W] weight of each window, together 1
    target: Tensor  # [K]
    personal: Personal | None
    result: ClipResult
    track: FaceTrack | None
    missing: dict[str, str]

    def score(self, out: Output) -> Tensor:
        """[W] what is explained of each window."""
        return out.logits @ self.target

    def embed(self) -> tuple[Tensor, Tensor]:
        """Maps of the crops, laid out by window [W,T,D,h,w], and of the voice [W,D,F,C]: one pass through either branch."""
        crops = self.given.crops
        seen = [self.model.embed_faces(few) for few in crops.split(AT_ONCE) if len(few)]
        faces = torch.cat(seen) if seen else crops.new_zeros(0, self.model.face_branch.channels, 1, 1)
        return self.given.seen(faces), self.model.embed_voice(self.given.voice, self.given.voice_mask)

    def copies(self, modality: str) -> int:
        """How many changed copies of all the windows may go through that modality's branch together."""
        crops = self.given.place.shape[1] if modality == "face" else CROPS_A_VOICE
        return max(1, AT_ONCE // (len(self.available) * crops))

    @once
    def _embedded(self) -> tuple[tuple[Tensor, Tensor], dict[str, Tensor]]:
        """The pass through the branches that every method shares: their maps, and what their attention weighed."""
        kinds = (SpatialAttention, ChannelAttention)
        # weights, not what went into them: of a long clip that would fill the memory
        with (
            torch.no_grad(),
            calls_of(self.model, kinds, lambda one, args, kwargs: one.weights(*args, **kwargs)) as weighed,
        ):
            maps = self.embed()
        return maps, {name: torch.cat(parts) for name, parts in weighed.items()}

    @property
    def maps(self) -> tuple[Tensor, Tensor]:
        """What `embed` gives."""
        return self._embedded[0]

    @property
    def weighed(self) -> dict[str, Tensor]:
        """Weights of the branches' own attention by the layer's name: [n or W,1,h,w] of places, [n or W,C] of channels."""
        return self._embedded[1]

    @once
    def _fused(self) -> tuple[tuple[Tensor, Tensor], Output]:
        """The maps as leaves of a graph, and what the model makes of them: the one fusion that every method shares."""
        faces, voice = (maps.detach().requires_grad_() for maps in self.maps)
        with torch.enable_grad():
            return (faces, voice), self.fuse(faces, voice, maps=True)

    @once
    def output(self) -> Output:
        """What the model says of the windows, with its evidence and its attention."""
        found = {one.name: getattr(self._fused[1], one.name) for one in fields(Output)}
        return replace(self._fused[1], **{name: one.detach() for name, one in found.items() if one is not None})

    @once
    def gradients(self) -> tuple[Tensor, Tensor]:
        """Of each window's score by `maps`, all windows in one pass back: they do not meet, so each has its own gradient."""
        leaves, out = self._fused
        by_face, by_voice = torch.autograd.grad(self.score(out).sum(), leaves)
        return by_face, by_voice

    def fuse(self, seen: Tensor, heard: Tensor, rows: Tensor | None = None, maps: bool = False) -> Output:
        """Face maps [B,T,D,h,w] and voice maps [B,D,F,C] of the windows `rows` [B] (all where None) -> Output."""
        every = torch.arange(len(self.available), device=self.available.device) if rows is None else rows
        given, personal = self.given, self.personal
        if personal is not None:
            pick = {name: value[every] for name, value in personal.shift.items()}
            stretch = {name: value[every] for name, value in personal.scale.items()}
            personal = replace(personal, shift=pick, scale=stretch, trust=personal.trust[every])
        return self.model.fuse(
            seen,
            given.face_times[every],
            given.face_mask[every],
            heard,
            given.voice_times[every],
            given.columns_mask[every],
            available=self.available[every],
            maps=maps,
            personal=personal,
        )


def scores_of(scene: Scene) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """The score as a function of crops [B,T,1,S,S], voice [B,1,M,L] and the windows [B] that these stand for."""

    def score(crops: Tensor, voice: Tensor, rows: Tensor) -> Tensor:
        seen = scene.model.embed_faces(crops.flatten(0, 1)).unflatten(0, crops.shape[:2])
        return scene.score(scene.fuse(seen, scene.model.embed_voice(voice, scene.given.voice_mask[rows]), rows))

    return score


def target_of(result: ClipResult, target: str | tuple[str, ...] | None) -> tuple[str, ...]:
    """The label asked for, or the two to be contrasted ("anger-disgust"); the most likely one where none is asked for."""
    if target is None:
        return (LABELS[int(result.both.probabilities.argmax())],)
    names = tuple(target.split("-")) if isinstance(target, str) else tuple(target)
    unknown = [name for name in names if name not in LABELS]
    if unknown or not 1 <= len(names) <= 2 or len(set(names)) < len(names):
        asked = "-".join(names)
        raise AvemoError(
            f"{asked!r} is no target; give a label or two different ones joined by a dash (anger-disgust), "
            f"of {', '.join(LABELS)}."
        )
    return names


def towards(target: tuple[str, ...], bias: Tensor) -> Tensor:
    """A label, or two to be contrasted -> their weights [K] in the score, on the device of the head's bias [K]."""
    weights = torch.zeros_like(bias, requires_grad=False)
    for name, weight in zip(target, (1.0, -1.0), strict=False):
        weights[index(name)] = weight
    return weights


def scene_of(
    analyzer: Analyzer,
    result: ClipResult,
    target: tuple[str, ...],
    window: int | None = None,
    baseline: Baseline | None = None,
) -> Scene:
    """The windows of `result` as this analyzer read them: one, by its number, or all. AvemoError where it is not there."""
    count = len(result.window_start_s)
    if window is not None and not 0 <= window < count:
        raise AvemoError(f"There is no window {window} in this clip; it has {count}, numbered from 0 to {count - 1}.")
    track = next((one for one in result.faces if one.track_id == result.person), None)
    starts, ends = result.window_start_s, result.window_end_s
    weights, reasons = presence.weights(result.clip, track, result.sound, starts, ends)
    chosen = slice(None) if window is None else slice(window, window + 1)
    none = np.zeros((0, timeline.FACE_INPUT, timeline.FACE_INPUT), np.uint8)
    greys = none if track is None else timeline.grey(track.crops)
    given = inputs.of(track, greys, result.sound, starts[chosen], ends[chosen], analyzer.device)
    counts = np.stack([weights[name][chosen] >= presence.SHARE_NEEDED for name in ("face", "voice")], 1)
    missing = {name: cast(str, reasons[name]) for name in ("face", "voice") if reasons[name] is not None}
    for place, name in enumerate(("face", "voice")):
        if name not in missing and not counts[:, place].any():
            missing[name] = f"too little of the {name} in this window"
    beside = track is not None and result.sound is not None
    personal = None if baseline is None else baseline.personal(len(counts), analyzer.device, beside)
    available = torch.from_numpy(counts.astype(np.float32)).to(analyzer.device)
    share = presence.normed(weights["both"][chosen])
    wanted = towards(target, analyzer.model.head.bias)
    return Scene(analyzer.model, given, available, share, wanted, personal, result, track, missing)
