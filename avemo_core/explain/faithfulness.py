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
from scipy.stats import t as student
from torch import Tensor, nn

from ..types import Explanation
from .methods import method
from .methods.perturbation import blurred, levelled
from .scene import AT_ONCE, Scene

STEPS = 10  # points of a curve after the first
DRAWS = 20  # random maps
ROUND = 5  # of them between two looks at whether they are enough
SURE = 0.01  # chance of a sure verdict at one look where map and random maps are alike
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
    until_sure: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Curves:
    """The curves of the maps [W,T,h,w] of the face or [W,F,C] of the voice, and of `draws` random maps of each.

    Args:
        insertion: without it, which takes half of the time, its curves are NaN.
        until_sure: no more random maps once those there are leave no doubt about deletion; see `sure`.
        progress: called with the maps done and all that there may be; may raise types.Cancelled.
    """
    own = maps.detach().float().cpu()
    rivals = torch.from_numpy(alike(own.numpy(), draws, seed))
    before, _, valid = streams(scene, modality)
    shares = np.linspace(0, 1, steps + 1)[1:-1]  # with none and with all of the cells replaced every map is alike
    kinds = 1 + insertion

    def cells() -> Iterator[Tensor]:
        yield torch.zeros_like(valid, dtype=torch.bool)
        yield valid > 0
        for one in (own, *rivals.unbind(1)):
            order = _ranks(finest(one.to(before.device), before), valid)
            for share in shares:
                yield from (order < share, order >= share)[:kinds]

    read = (probability(scene, out) for out in logits(scene, cells(), modality))
    whole, bare = islice(read, 2)
    ends, found = ((whole, bare), (bare, whole)), []  # of deletion, of insertion
    for n in range(1 + draws):
        between = np.stack(list(islice(read, kinds * len(shares)))).reshape(len(shares), kinds, -1)
        curve = np.full((2, len(own), steps + 1), np.nan, np.float32)
        for kind, (first, last) in enumerate(ends[:kinds]):
            curve[kind] = np.column_stack((first, between[:, kind].T, last))
        found.append(curve)
        progress(n + 1, 1 + draws)
        if until_sure and n and n % ROUND == 0 and sure(*(area(one[0]) for one in found)):
            break
    deleted, come = np.stack(found, 2)  # [W,R+1,S+1] each
    return Curves(deleted[:, 0], come[:, 0], deleted[:, 1:], come[:, 1:])


def sure(own: np.ndarray, *rivals: np.ndarray) -> bool:
    """Whether the mean area [W] of random maps lies on one side of the map's own, by a t-test in every window."""
    count = len(rivals)
    error = np.std(rivals, axis=0, ddof=1) / np.sqrt(count)
    return bool((np.abs(np.mean(rivals, axis=0) - own) > student.ppf(1 - SURE / 2, count - 1) * error).all())


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
def logits(scene: Scene, replaced: Iterable[Tensor], modality: str) -> Iterator[Tensor]:
    """What the model says of the windows [W,K] with these cells of one stream replaced, for each mask bool [W,...].

    Several go through the model together; the other modality's maps are the scene's.
    """
    before, instead, _ = streams(scene, modality)
    every = torch.arange(len(before), device=before.device)
    faces, heard = scene.maps
    bare = _seen(scene, instead) if modality == "face" else None
    replaced = iter(replaced)
    while few := list(islice(replaced, scene.copies(modality))):
        rows, gone = every.repeat(len(few)), torch.cat(few)
        changed = torch.where(gone, instead[rows], before[rows])
        if bare is not None:
            out = scene.fuse(_partly(scene, gone, changed, faces[rows], bare[rows]), heard[rows], rows)
        else:
            out = scene.fuse(faces[rows], scene.model.embed_voice(changed, scene.given.voice_mask[rows]), rows)
        yield from out.logits.split(len(before))


def _seen(scene: Scene, crops: Tensor) -> Tensor:
    """Crops [...,1,S,S] -> maps [...,D,h,w], a few at a time."""
    flat = crops.flatten(0, -4)
    return torch.cat([scene.model.embed_faces(some) for some in flat.split(AT_ONCE)]).unflatten(0, crops.shape[:-3])


def _partly(scene: Scene, gone: Tensor, changed: Tensor, whole: Tensor, bare: Tensor) -> Tensor:
    """Maps [B,T,D,h,w] of changed crops. The maps of a frame that is whole or wholly replaced are there already."""
    cells = gone.flatten(2)
    some, every = cells.any(2), cells.all(2)
    out = torch.where(every[..., None, None, None], bare, whole)
    mixed = some & ~every
    if mixed.any():
        out[mixed] = _seen(scene, changed[mixed])
    return out


def probability(scene: Scene, found: Tensor) -> np.ndarray:
    """Logits [...,K] -> of the target, uncalibrated [...]; of a contrast, of the first against the second."""
    contrast = bool((scene.target < 0).any())
    out = torch.sigmoid(found @ scene.target) if contrast else torch.softmax(found, -1) @ scene.target
    return out.float().cpu().numpy()


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
