"""The head's own class activation maps (Zhou et al. 2016): with the bias they sum to the uncalibrated logit, exactly."""

import torch

from ...types import AvemoError
from ..scene import Scene
from .maps import Maps


@torch.no_grad()
def cam(scene: Scene) -> Maps:
    out = scene.output
    if out.face_evidence is None or out.voice_evidence is None:
        raise AvemoError("This model has no head whose maps add up to the logit; choose gradcam or occlusion.")
    face = torch.einsum("bktyx,k->btyx", out.face_evidence, scene.target)
    voice = torch.einsum("bkft,k->bft", out.voice_evidence, scene.target)
    return Maps("logits", signed=True, summed=True, face=face, voice=voice)
