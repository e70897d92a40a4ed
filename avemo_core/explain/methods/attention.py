"""What the model itself weighs: moments, places, feature maps, and each stream's moments against the other's.

Attention says where the model looked. It is the same for every target, and no proof that what was seen there counted.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ...model.attention.channel import ChannelAttention
from ...model.attention.spatial import SpatialAttention
from ...types import AvemoError
from ..hooks import calls_of
from ..scene import Scene
from .maps import Maps

UNIT = "share of attention"


def _weights(scene: Scene, kind: type[nn.Module], called: str) -> dict[str, Tensor]:
    """Weights of every such layer, by the layer's name; AvemoError where the model has none."""
    layers = dict(scene.model.named_modules())
    found = {name: weights for name, weights in scene.weighed.items() if isinstance(layers[name], kind)}
    if not found:
        raise AvemoError(f"This model has no {called} attention; choose another method.")
    return found


@torch.no_grad()
def spatial(scene: Scene) -> Maps:
    """The weight of each place on the last maps of either branch (CBAM, Woo et al. 2018)."""
    found = _weights(scene, SpatialAttention, "spatial")
    face = next((scene.given.seen(one)[:, :, 0] for name, one in found.items() if name.startswith("face")), None)
    voice = next((one[:, 0] for name, one in found.items() if name.startswith("voice")), None)
    return Maps("weight between 0 and 1", signed=False, summed=False, face=face, voice=voice)


@torch.no_grad()
def channel(scene: Scene) -> Maps:
    """The weight of each feature map, layer by layer (Hu et al. 2018); it has no place."""
    found = _weights(scene, ChannelAttention, "channel")
    why = "channel attention weighs feature maps, not places"
    return Maps("weight between 0 and 1", False, False, channels=found, missing={"face": why, "voice": why})


@torch.no_grad()
def temporal(scene: Scene) -> Maps:
    """The share of each moment in what is read (Bahdanau et al. 2015)."""
    out = scene.output
    if out.face_attention is None or out.voice_attention is None:
        raise AvemoError("This model has no attention over time; choose another method.")
    return Maps(UNIT, False, True, face=out.face_attention[:, :, None, None], voice=out.voice_attention[:, None])


@torch.no_grad()
def cross_modal(scene: Scene, head: int | None = None) -> Maps:
    """Which moments of sound each frame attended to, and the other way; as maps, how much each moment was attended to.

    Of one `head` of the attention by its number, or the mean of all.
    """
    out = scene.output
    to_voice, to_face = (out.face_to_voice, out.voice_to_face) if head is None else _of_head(scene, head)
    if to_voice is None or to_face is None:
        raise AvemoError("This model has no cross-modal attention; choose another method.")
    gone = {name: f"no {name} to attend to" for name in scene.missing}
    faces, columns = scene.given.face_mask * scene.available[:, :1], scene.given.columns_mask * scene.available[:, 1:]
    to_voice, to_face = to_voice * faces[..., None], to_face * columns[..., None]
    voice = (to_voice.sum(1) / faces.sum(1, keepdim=True).clamp(min=1))[:, None, 1:]  # without the null key
    face = (to_face.sum(1) / columns.sum(1, keepdim=True).clamp(min=1))[:, 1:, None, None]
    both = {} if gone else {"face_to_voice": to_voice, "voice_to_face": to_face}
    return Maps(UNIT, False, True, face=face, voice=voice, attention=both, missing=gone)


def check_head(head: int, heads: int) -> None:
    """AvemoError where attention with that many heads has no such one."""
    if not 0 <= head < heads:
        raise AvemoError(f"There is no head {head} in this attention; it has {heads}, numbered from 0 to {heads - 1}.")


def _of_head(scene: Scene, head: int) -> tuple[Tensor | None, Tensor | None]:
    """Cross-modal attention of one head [W,T,1+C] and [W,C,1+T]; AvemoError where there is no such head."""
    with calls_of(scene.model, nn.MultiheadAttention) as calls:
        scene.fuse(*scene.maps)
    layers, found = dict(scene.model.named_modules()), []
    for name in ("face_asks.attention", "voice_asks.attention"):
        if name not in calls:
            return None, None
        check_head(head, layers[name].num_heads)
        args, kwargs = calls[name][-1]
        each = layers[name](*args, **kwargs | {"need_weights": True, "average_attn_weights": False})[1]
        found.append(each[:, head])
    return found[0], found[1]


def rolled_out(layers: Sequence[Tensor]) -> Tensor:
    """Attention [B,T,T] of stacked layers, first to last -> how far each output rests on each input [B,T,T].

    Abnar and Zuidema 2020, eq. 1: every layer passes half of what it got straight on.
    """
    total = torch.eye(layers[0].shape[-1], device=layers[0].device).expand_as(layers[0])
    for attention in layers:
        mixed = 0.5 * attention + 0.5 * torch.eye(attention.shape[-1], device=attention.device)
        total = (mixed / mixed.sum(-1, keepdim=True)) @ total
    return total


@torch.no_grad()
def rollout(scene: Scene) -> Maps:
    """How far what is read of a stream rests on each of its moments, through all its layers of self-attention."""
    with calls_of(scene.model, nn.MultiheadAttention) as calls:
        scene.fuse(*scene.maps)
    layers, stacked = dict(scene.model.named_modules()), {"face": [], "voice": []}  # type: ignore[var-annotated]
    for name, called in calls.items():
        args, kwargs = called[-1]
        stream = name.split("_")[0]
        if stream in stacked and args[0] is args[1]:
            stacked[stream].append(layers[name](*args, **kwargs | {"need_weights": True})[1])
    if not any(stacked.values()):
        raise AvemoError("This model has no stacked attention layers to roll out; choose cross_modal or temporal.")
    means = {name: rolled_out(found).mean(1) for name, found in stacked.items() if found}
    face, voice = means.get("face"), means.get("voice")
    gone = {name: f"the model has no such layers for the {name}" for name, found in stacked.items() if not found}
    return Maps(
        UNIT,
        signed=False,
        summed=True,
        face=None if face is None else face[:, :, None, None],
        voice=None if voice is None else voice[:, None],
        missing=gone,
    )
