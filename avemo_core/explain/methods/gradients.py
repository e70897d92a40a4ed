"""Methods from the gradient of the score by the maps of a layer; written for two inputs, which the libraries lack.

The layer is each branch's last where none is named, as in the papers. LayerCAM is made for earlier ones too, whose cells
are finer.

A are the maps, G the gradient of a window's score by them. Face frames are pictures of their own: means over places are
taken frame by frame. A map's unit is that of the score, logits, but nothing adds up to it.
"""

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from ...model.attention_cam import AttentionCAM
from ...types import AvemoError
from ..hooks import here
from ..scene import Scene
from .maps import Maps

Weigh = Callable[[Tensor, Tensor], Tensor]  # A and G [...,D,y,x] -> map [...,y,x]
Pair = tuple[Tensor, Tensor]  # A and G

WINDOWS_AT_ONCE = 16  # through whole branches with their graph


def layers_of(model: AttentionCAM) -> list[str]:
    """Names of the layers of either branch whose maps these methods can read beside the last, from the finest on."""
    return list(dict.fromkeys((*model.face_branch.map_layers(), *model.voice_branch.map_layers())))


def maps_and_gradients(scene: Scene, layer: str | None = None) -> tuple[Pair | None, Pair | None]:
    """A and G of the faces [W,T,D,h,w] and of the voice [W,D,F,C]: of the last maps, or of the branches' layer of that name.

    The last maps cost no pass through the branches; a layer before them costs one, in groups of windows. A branch without
    such a layer gives None. AvemoError where neither has it.
    """
    if layer is None:
        return (scene.maps[0], scene.gradients[0]), (scene.maps[1], scene.gradients[1])
    valid = layers_of(scene.model)
    if layer not in valid:
        said = ", ".join(valid)
        raise AvemoError(f"There is no layer {layer!r} in this model; choose one of {said}, or none for the last maps.")
    face, voice = (branch.map_layers().get(layer) for branch in (scene.model.face_branch, scene.model.voice_branch))
    rows = torch.arange(len(scene.available), device=scene.available.device)
    found = [_at(scene, face, voice, few) for few in rows.split(WINDOWS_AT_ONCE)]
    of_face, of_voice = ([one[k] for one in found] for k in (0, 1))
    return _together(of_face), _together(of_voice)


def _together(parts: Sequence[Pair | None]) -> Pair | None:
    """Of groups of windows -> of all."""
    there = [one for one in parts if one is not None]
    return (torch.cat([one[0] for one in there]), torch.cat([one[1] for one in there])) if there else None


def _at(scene: Scene, face: nn.Module | None, voice: nn.Module | None, rows: Tensor) -> tuple[Pair | None, Pair | None]:
    """A and G of the windows `rows` at one module of either branch.

    Windows share crops, but each has its own gradient: so the branch reads every window's crops apart.
    """
    leaves: dict[nn.Module, Tensor] = {}

    def cut(module: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> Tensor:
        leaves[module] = out.detach().requires_grad_()
        return leaves[module].clone()  # a network may go on in place, which a leaf forbids

    hooks = [one.register_forward_hook(here(cut)) for one in (face, voice) if one is not None]
    try:
        with torch.enable_grad():
            crops = scene.given.seen(scene.given.crops)[rows]
            seen = scene.model.embed_faces(crops.flatten(0, 1)).unflatten(0, crops.shape[:2])
            heard = scene.model.embed_voice(scene.given.voice[rows], scene.given.voice_mask[rows])
            total = scene.score(scene.fuse(seen, heard, rows)).sum()
            gradients = dict(zip(leaves, torch.autograd.grad(total, list(leaves.values())), strict=True))
    finally:
        for hook in hooks:
            hook.remove()
    pairs = {one: (leaves[one].detach(), gradients[one]) for one in leaves}
    of_face = None if face is None else tuple(half.unflatten(0, crops.shape[:2]) for half in pairs[face])
    return cast(Pair | None, of_face), None if voice is None else pairs[voice]


def _maps(scene: Scene, weigh: Weigh, layer: str | None) -> Maps:
    found = dict(zip(("face", "voice"), maps_and_gradients(scene, layer), strict=True))
    missing = {name: f"the {name} branch has no layer {layer}" for name, pair in found.items() if pair is None}
    face, voice = (None if pair is None else weigh(*pair) for pair in found.values())
    return Maps("logits by gradient", signed=False, summed=False, face=face, voice=voice, missing=missing)


def _gradcam(maps: Tensor, gradient: Tensor) -> Tensor:
    """Selvaraju et al. 2017, eq. 1 and 2: channels weigh as much as their mean gradient."""
    weights = gradient.mean((-2, -1), keepdim=True)
    return torch.relu((weights * maps).sum(-3))


def _gradcam_plus_plus(maps: Tensor, gradient: Tensor) -> Tensor:
    """Chattopadhay et al. 2018, eq. 10 and 19, for the exponential of the score, whose derivatives are powers of G."""
    square, cube = gradient**2, gradient**3
    below = 2 * square + maps.sum((-2, -1), keepdim=True) * cube
    share = square / torch.where(below.abs() > 1e-12, below, torch.ones_like(below))
    weights = (share * torch.relu(gradient)).sum((-2, -1), keepdim=True)
    return torch.relu((weights * maps).sum(-3))


def _layercam(maps: Tensor, gradient: Tensor) -> Tensor:
    """Jiang et al. 2021, eq. 5 and 6: each place weighs by its own gradient where that speaks for the target."""
    return torch.relu((torch.relu(gradient) * maps).sum(-3))


def gradcam(scene: Scene, layer: str | None = None) -> Maps:
    return _maps(scene, _gradcam, layer)


def gradcam_plus_plus(scene: Scene, layer: str | None = None) -> Maps:
    return _maps(scene, _gradcam_plus_plus, layer)


def layercam(scene: Scene, layer: str | None = None) -> Maps:
    return _maps(scene, _layercam, layer)
