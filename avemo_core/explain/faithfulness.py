"""Is a map better than a random one? Deletion and insertion curves, the cascade of random weights, stability under noise.

A curve replaces the cells of one stream, the map's strongest first, and reads the target's probability (Petsiuk et al.
2018). What replaces them is what carries no expression: the blurred face, the mean spectrum (methods/perturbation.py). A
map has to beat random maps that are as smooth as it is: noise with the map's own autocorrelation, many times drawn. Else a
map of large blots would beat fine noise by its blots alone.
"""

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import spearmanr
from torch import Tensor, nn

from ..types import Explanation
from .methods import method
from .methods.perturbation import blurred, levelled
from .scene import AT_ONCE, Scene

STEPS = 10  # points of a curve after the first
DRAWS = 20  # random maps
NOISE = 0.02  # deviation of the noise: of the grey range for faces; of the range of the window's log-mel for voices
MODALITIES = ("face", "voice")
M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class Curves:
    """Probability of the target while cells go (deletion) or come (insertion), at shares 0, 1/STEPS, ... 1 of the cells.

    Of W windows: the map's own [W,S+1], and of the random maps [W,R,S+1].
    """

    deletion: np.ndarray
    insertion: np.ndarray
    random_deletion: np.ndarray
    random_insertion: np.ndarray

    @property
    def deletion_gain(self) -> np.ndarray:
        """[W] how far the area under deletion lies below the mean random one: above 0 is better than random."""
        return area(self.random_deletion).mean(1) - area(self.deletion)

    @property
    def insertion_gain(self) -> np.ndarray:
        """[W] how far the area under insertion lies above the mean random one."""
        return area(self.insertion) - area(self.random_insertion).mean(1)


def area(curve: np.ndarray) -> np.ndarray:
    """[...,S+1] -> [...] area under the curve over shares from 0 to 1, by trapezoids."""
    return (curve[..., 1:] + curve[..., :-1]).mean(-1) / 2


def alike(maps: np.ndarray, draws: int, seed: int = 0) -> np.ndarray:
    """Maps [W,...,h,w] -> random ones [W,draws,...,h,w] with the same autocorrelation: their spectrum, other phases."""
    generator = np.random.default_rng(seed)
    axes = tuple(range(1, maps.ndim))
    strength = np.abs(np.fft.fftn(maps, axes=axes))
    out = []
    for _ in range(draws):
        noise = np.fft.fftn(generator.normal(size=maps.shape), axes=axes)  # of a real array, so what comes back is real
        turned = strength * noise / np.maximum(np.abs(noise), 1e-12)
        out.append(np.fft.ifftn(turned, axes=axes).real)
    return np.stack(out, 1).astype(np.float32)


def curves(
    scene: Scene,
    maps: Tensor,
    modality: str,
    draws: int = DRAWS,
    steps: int = STEPS,
    seed: int = 0,
    insertion: bool = True,
) -> Curves:
    """The curves of the maps [W,T,h,w] of the face or [W,F,C] of the voice, and of `draws` random maps of each.

    Without `insertion`, which takes half of the time, its curves are NaN.
    """
    own = maps.detach().float().cpu()
    rivals = torch.from_numpy(alike(own.numpy(), draws, seed))
    before, instead, valid = streams(scene, modality)
    whole, bare = (_probabilities(scene, [one], modality)[0] for one in (before, torch.where(valid > 0, instead, before)))
    shares = np.linspace(0, 1, steps + 1)[1:-1]  # with none and with all of the cells replaced every map is alike

    def jobs() -> Iterator[Tensor]:
        for one in (own, *rivals.unbind(1)):
            order = _ranks(finest(one.to(before.device), before), valid)
            for share in shares:
                gone = order < share
                yield torch.where(gone, instead, before)
                if insertion:
                    yield torch.where(gone, before, instead)

    found = _probabilities(scene, jobs(), modality)
    kinds = 2 if insertion else 1
    between = np.stack(found).reshape(1 + draws, len(shares), kinds, len(whole)).transpose(2, 3, 0, 1)  # [kinds,W,R+1,S-1]

    def closed(middle: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
        ends = [np.broadcast_to(one[:, None, None], (*middle.shape[:2], 1)) for one in (first, last)]
        return np.concatenate((ends[0], middle, ends[1]), 2)

    deleted = closed(between[0], whole, bare)
    come = closed(between[1], bare, whole) if insertion else np.full_like(deleted, np.nan)
    return Curves(deleted[:, 0], come[:, 0], deleted[:, 1:], come[:, 1:])


def streams(scene: Scene, modality: str) -> tuple[Tensor, Tensor, Tensor]:
    """Of one stream [W,...]: the input, what stands in for it, and a mask of 0 and 1 of the cells that are there."""
    given = scene.given
    if modality == "face":
        before = given.seen(given.crops)
        return before, blurred(before), given.face_mask[:, :, None, None, None].expand_as(before)
    return given.voice, levelled(given.voice, given.voice_mask), given.voice_mask[:, None, None].expand_as(given.voice)


def finest(maps: Tensor, stream: Tensor) -> Tensor:
    """Maps [W,T,h,w] or [W,F,C] at the resolution and in the shape of the stream that they are of, bilinearly."""
    flat = maps.flatten(0, -3)[:, None] if maps.ndim == 4 else maps[:, None]
    return F.interpolate(flat, size=stream.shape[-2:], mode="bilinear", align_corners=False).view_as(stream)


def _ranks(values: Tensor, valid: Tensor) -> Tensor:
    """[W,...] -> each valid cell's rank in its window, the strongest 0, as a share below 1; of the others 1."""
    flat, counted = values.flatten(1), valid.flatten(1) > 0
    order = flat.masked_fill(~counted, -torch.inf).argsort(1, descending=True).argsort(1)
    ranks = order / counted.sum(1, keepdim=True).clamp(min=1)
    return ranks.masked_fill(~counted, 1.0).view_as(values)


@torch.no_grad()
def logits(scene: Scene, changed: Iterable[Tensor], modality: str) -> Iterator[Tensor]:
    """What the model says of the windows [W,K] with each of the changed streams in the place of that modality's own.

    Several go through the model together; the other modality's maps are the scene's.
    """
    windows = len(scene.available)
    every = torch.arange(windows, device=scene.available.device)
    changed = iter(changed)
    while few := list(islice(changed, scene.copies(modality))):
        rows = every.repeat(len(few))
        faces, heard = scene.maps
        if modality == "face":
            crops = torch.cat(few).flatten(0, 1)
            seen = torch.cat([scene.model.embed_faces(some) for some in crops.split(AT_ONCE)])
            out = scene.fuse(seen.unflatten(0, (len(rows), -1)), heard[rows], rows)
        else:
            out = scene.fuse(faces[rows], scene.model.embed_voice(torch.cat(few), scene.given.voice_mask[rows]), rows)
        yield from out.logits.split(windows)


def probability(scene: Scene, found: Tensor) -> np.ndarray:
    """Logits [...,K] -> of the target, uncalibrated [...]; of a contrast, of the first against the second."""
    contrast = bool((scene.target < 0).any())
    out = torch.sigmoid(found @ scene.target) if contrast else torch.softmax(found, -1) @ scene.target
    return out.float().cpu().numpy()


def _probabilities(scene: Scene, changed: Iterable[Tensor], modality: str) -> list[np.ndarray]:
    """[W] of the target for each of the changed streams."""
    return [probability(scene, found) for found in logits(scene, changed, modality)]


# ---------------------------------------------------------------- do the weights matter


def correlation(one: Tensor, other: Tensor) -> np.ndarray:
    """Rank correlation [W] of two maps of the same windows; 0 where one of them is flat."""
    pairs = zip(one.flatten(1).cpu().numpy(), other.flatten(1).cpu().numpy(), strict=True)
    found = [0.0 if np.ptp(a) == 0 or np.ptp(b) == 0 else spearmanr(a, b).statistic for a, b in pairs]
    return np.array(found)


def layers_of(model: nn.Module) -> list[str]:
    """Names of the modules with weights of their own, the last first."""
    return [name for name, one in model.named_modules() if name and next(one.parameters(recurse=False), None) is not None][
        ::-1
    ]


def cascade(scene: Scene, name: str, modality: str, every: int = 1, seed: int = 0) -> Iterator[tuple[str, np.ndarray]]:
    """Rank correlation [W] with the true map as layer after layer gets random weights, from the head down.

    Adebayo et al. 2018: a map that stays as it is shows the input, not what the model made of it. `every`: only each so
    many layers a map is made.
    """
    model = copy.deepcopy(scene.model)
    true = getattr(method(name).maps(scene), modality)
    named = dict(model.named_modules())
    names = layers_of(model)
    for n, layer in enumerate(names):
        reset(named[layer], seed + n)
        if n % every == 0 or n + 1 == len(names):
            yield layer, correlation(true, getattr(method(name).maps(replace(scene, model=model)), modality))


def randomised(model: M, seed: int = 0) -> M:
    """The same network, every layer untrained: where the cascade ends."""
    other = copy.deepcopy(model)
    named = dict(other.named_modules())
    for n, layer in enumerate(layers_of(other)):
        reset(named[layer], seed + n)
    return other


@torch.no_grad()
def reset(layer: nn.Module, seed: int) -> None:
    """Weights of one layer as before any training: torch's own start where it has one, else noise of the same spread.

    A running statistic of a normalisation goes too: it was learned. The random numbers of others are left alone.
    """
    start = getattr(layer, "reset_parameters", None) or getattr(layer, "_reset_parameters", None)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if start is not None:
            start()
            return
        for parameter in layer.parameters(recurse=False):
            nn.init.normal_(parameter, std=float(parameter.std()) if parameter.numel() > 1 else 1.0)


def likeness(one: Explanation, other: Explanation) -> dict[str, float]:
    """Rank correlation of two explanations' maps by modality, over the moments where either says anything."""
    out = {}
    for name, time in (("face", 0), ("voice", 1)):
        first, second = getattr(one, name), getattr(other, name)
        if first is not None and second is not None:
            place = tuple(axis for axis in range(first.ndim) if axis != time)
            there = np.flatnonzero((first.any(place)) | (second.any(place)))
            pair = (torch.from_numpy(np.take(maps, there, time))[None] for maps in (first, second))
            out[name] = float(correlation(*pair)[0]) if len(there) else 0.0
    return out


def stability(scene: Scene, name: str, modality: str, draws: int = 5, seed: int = 0) -> np.ndarray:
    """Mean rank correlation [W] of the map with those of the same input under a little noise."""
    generator = torch.Generator().manual_seed(seed)

    def noisy(values: Tensor, spread: Tensor | float) -> Tensor:
        return values + torch.randn(values.shape, generator=generator).to(values.device) * spread

    make: Callable[[Scene], Tensor] = lambda one: getattr(method(name).maps(one), modality)  # noqa: E731 - said twice
    true, found = make(scene), []
    for _ in range(draws):
        if modality == "face":
            given = replace(scene.given, crops=noisy(scene.given.crops, NOISE).clamp(0, 1))
        else:
            reach = scene.given.voice.amax((1, 2, 3), keepdim=True) - scene.given.voice.amin((1, 2, 3), keepdim=True)
            given = replace(scene.given, voice=noisy(scene.given.voice, NOISE * reach))
        found.append(correlation(true, make(replace(scene, given=given))))
    return np.mean(found, 0)
