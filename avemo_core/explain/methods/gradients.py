"""Methods from the gradient of the score by the last maps of each branch; written for two inputs, which the libraries lack.

A are the maps, G the gradient of a window's score by them. Face frames are pictures of their own: means over places are
taken frame by frame. A map's unit is that of the score, logits, but nothing adds up to it.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ..scene import Scene
from .maps import Maps

Weigh = Callable[[Tensor, Tensor], Tensor]  # A and G [...,D,y,x] -> map [...,y,x]


def maps_and_gradients(scene: Scene) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """A and G of the faces [W,T,D,h,w] and of the voice [W,D,F,C], all windows in one pass forth and back."""
    faces, voice = (maps.detach().clone().requires_grad_() for maps in scene.maps)
    with torch.enable_grad():
        total = scene.score(scene.fuse(faces, voice)).sum()  # windows do not meet, so each keeps its own gradient
        by_face, by_voice = torch.autograd.grad(total, (faces, voice))
    return (faces.detach(), by_face), (voice.detach(), by_voice)


def _maps(scene: Scene, weigh: Weigh) -> Maps:
    of_face, of_voice = maps_and_gradients(scene)
    return Maps("logits by gradient", signed=False, summed=False, face=weigh(*of_face), voice=weigh(*of_voice))


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


def gradcam(scene: Scene) -> Maps:
    return _maps(scene, _gradcam)


def gradcam_plus_plus(scene: Scene) -> Maps:
    return _maps(scene, _gradcam_plus_plus)


def layercam(scene: Scene) -> Maps:
    return _maps(scene, _layercam)
