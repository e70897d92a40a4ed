"""Methods on the inputs themselves, from captum: integrated gradients, and occlusion by a sliding patch.

What stands in for the input is what carries no expression: each face crop blurred until only its light is left, and the
mean spectrum of the window's own sound at every moment.
"""

import torch
from captum.attr import IntegratedGradients, Occlusion
from torch import Tensor

from ..scene import Scene, scores_of
from .maps import Maps

STEPS = 24  # of the path from the baseline to the input
BLUR = 0.35  # deviation of the blur, as a share of the crop's side
PATCH, STRIDE = 12, 6  # pixels of a face crop
BANDS, COLUMNS = 16, 20  # of the spectrogram: 200 ms
AT_ONCE = 16  # windows that go through the model together


def blurred(crops: Tensor) -> Tensor:
    """Crops [...,S,S] -> the same under a Gaussian so wide that no feature is left."""
    side = crops.shape[-1]
    places = torch.arange(side, device=crops.device, dtype=crops.dtype)
    kernel = torch.exp(-((places[:, None] - places[None]) ** 2) / (2 * (BLUR * side) ** 2))
    kernel = kernel / kernel.sum(1, keepdim=True)
    return kernel @ crops @ kernel.T


def levelled(voice: Tensor, mask: Tensor) -> Tensor:
    """Log-mel [W,1,M,L], mask [W,L] -> each band's mean over the valid columns, at every column."""
    valid = mask[:, None, None]
    mean = (voice * valid).sum(3, keepdim=True) / valid.sum(3, keepdim=True).clamp(min=1)
    return mean.expand_as(voice) * valid


def _rows(scene: Scene) -> Tensor:
    return torch.arange(len(scene.available), device=scene.available.device)


def integrated_gradients(scene: Scene) -> Maps:
    """Sundararajan et al. 2017: both inputs go their way together, so the maps sum to the score less the baseline's."""
    crops, voice = scene.given.seen(scene.given.crops), scene.given.voice
    before = blurred(crops), levelled(voice, scene.given.voice_mask)
    method = IntegratedGradients(scores_of(scene))
    by_face, by_voice = method.attribute(
        (crops, voice), before, additional_forward_args=_rows(scene), n_steps=STEPS, internal_batch_size=AT_ONCE
    )
    face, heard = by_face[:, :, 0].detach(), by_voice[:, 0].detach()
    return Maps("logits", signed=True, summed=True, face=face, voice=heard)


@torch.no_grad()
def occlusion(scene: Scene) -> Maps:
    """Zeiler and Fergus 2014: how far the score falls where a patch is replaced. Faces are covered in all frames at once."""
    rows, crops = _rows(scene), scene.given.seen(scene.given.crops)
    (faces, heard), voice = scene.maps, scene.given.voice

    def by_face(covered: Tensor, rows: Tensor) -> Tensor:
        maps = scene.model.embed_faces(covered.flatten(0, 1)).unflatten(0, covered.shape[:2])
        return scene.score(scene.fuse(maps, heard[rows], rows))

    def by_voice(covered: Tensor, rows: Tensor) -> Tensor:
        maps = scene.model.embed_voice(covered, scene.given.voice_mask[rows])
        return scene.score(scene.fuse(faces[rows], maps, rows))

    side = crops.shape[-1]
    patch, step = min(PATCH, side), min(STRIDE, side)
    face = Occlusion(by_face).attribute(
        crops,
        (crops.shape[1], 1, patch, patch),
        (crops.shape[1], 1, step, step),
        blurred(crops),
        additional_forward_args=rows,
        perturbations_per_eval=scene.copies("face"),
    )
    bands, columns = min(BANDS, voice.shape[2]), min(COLUMNS, voice.shape[3])
    sound = Occlusion(by_voice).attribute(
        voice,
        (1, bands, columns),
        (1, max(1, bands // 2), max(1, columns // 2)),
        levelled(voice, scene.given.voice_mask),
        additional_forward_args=rows,
        perturbations_per_eval=scene.copies("voice"),
    )
    return Maps("logits", signed=True, summed=False, face=face[:, :, 0], voice=sound[:, 0])
