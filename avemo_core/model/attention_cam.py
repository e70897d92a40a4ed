"""The house model: attention along channels, space and time, fusion by cross-modal attention, maps up to the logit."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .attention.temporal import TemporalAttention
from .branches.face_cnn import FaceCNN
from .branches.mel_cnn import STRIDE, MelCNN, shrink_mask
from .branches.pretrained import OWN, FaceEncoder, VoiceEncoder
from .branches.recurrent import Recurrent
from .fusion.cross_modal import CrossModalAttention
from .heads.cam import MODALITIES, CamHead, Personal


@dataclass(frozen=True)
class Output:
    """B windows. Evidence sums, bias and `usual` add to the logits, exactly; evidence is None unless asked for."""

    logits: Tensor  # [B,K]
    face_logits: Tensor  # [B,K] bias + the face's sum before the modality weight: what each modality's own loss needs
    voice_logits: Tensor  # [B,K] the same of the voice
    face_token: Tensor  # [B,Dv] mean over time by attention: what the head reads, and a personal baseline is made of
    voice_token: Tensor  # [B,Da]
    face_evidence: Tensor | None = None  # [B,K,T,h,w]
    voice_evidence: Tensor | None = None  # [B,K,F,T']
    face_attention: Tensor | None = None  # [B,T]
    voice_attention: Tensor | None = None  # [B,T']
    face_to_voice: Tensor | None = None  # [B,T,1+T'] which sounds each frame attended to, null first
    voice_to_face: Tensor | None = None  # [B,T',1+T]
    usual: Tensor | None = None  # [B,K] taken off because it is usual for this person


class LocalTime(nn.Module):
    """Depthwise convolution over five steps added to its input: a movement, not a still."""

    def __init__(self, width: int):
        super().__init__()
        self.conv = nn.Conv1d(width, width, 5, padding=2, groups=width)
        nn.init.zeros_(self.conv.weight)
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """tokens [B,T,D], mask [B,T] -> what to add [B,T,D]."""
        masked = tokens * mask[..., None]
        return self.conv(masked.transpose(1, 2)).transpose(1, 2) * mask[..., None]


class AttentionCAM(nn.Module):
    """Face crops and log-mel of a window -> logits and where they come from. Either input may be missing.

    Args:
        face_encoder, voice_encoder: a network of branches/pretrained.py in the place of the own branch, by its name. Such a
            voice encoder reads samples [B,1,160,L] where the own one reads log-mel [B,1,M,L].
        pretrained: load the weights of those networks, downloaded where they are not cached; otherwise they are random.
    """

    def __init__(
        self,
        classes: int = 7,
        face_widths: tuple[int, ...] = (32, 64, 128, 256),
        face_blocks: tuple[int, ...] = (1, 1, 2),
        voice_widths: tuple[int, ...] = (24, 48, 96, 128),
        voice_blocks: tuple[int, ...] = (1, 1, 1),
        width: int = 128,
        face_encoder: str = OWN["face"],
        voice_encoder: str = OWN["voice"],
        pretrained: bool = False,
    ):
        super().__init__()
        self.face_branch: FaceCNN | FaceEncoder = (
            FaceCNN(tuple(face_widths), tuple(face_blocks))
            if face_encoder == OWN["face"]
            else FaceEncoder(face_encoder, pretrained)
        )
        self.voice_branch: MelCNN | VoiceEncoder = (
            MelCNN(tuple(voice_widths), tuple(voice_blocks))
            if voice_encoder == OWN["voice"]
            else VoiceEncoder(voice_encoder, pretrained)
        )
        face, voice = self.face_branch.channels, self.voice_branch.channels
        self.face_time, self.voice_time = LocalTime(face), Recurrent(voice, self.voice_branch.rows)
        self.face_asks, self.voice_asks = CrossModalAttention(face, voice, width), CrossModalAttention(voice, face, width)
        self.face_pool, self.voice_pool = TemporalAttention(face), TemporalAttention(voice)
        self.head = CamHead(classes, face, voice)

    def embed_faces(self, crops: Tensor) -> Tensor:
        """Crops [N,1,S,S] in 0..1 -> maps [N,D,h,w]; frames are independent, so overlapping windows share them."""
        return self.face_branch(crops)

    def embed_voice(self, log_mel: Tensor, valid: Tensor) -> Tensor:
        """log_mel [B,1,M,L], valid [B,L] -> maps [B,D,M/8,L/8]; a pretrained encoder: samples [B,1,160,L] -> [B,D,1,L/8]."""
        return self.voice_branch(log_mel, valid.float())

    def fuse(
        self,
        faces: Tensor,
        face_times: Tensor,
        face_mask: Tensor,
        voice: Tensor,
        voice_times: Tensor,
        voice_mask: Tensor,
        available: Tensor | None = None,
        maps: bool = False,
        personal: Personal | None = None,
    ) -> Output:
        """Maps of both branches -> Output.

        faces [B,T,D,h,w], face_times [B,T] s from the window's start, face_mask [B,T]; voice [B,D,F,T'],
        voice_times [B,T'], voice_mask [B,T']; available [B,2] says which modalities count (default: those with any
        valid step). A modality that does not count changes nothing, whatever it holds.
        """
        if available is None:
            available = torch.stack((face_mask.any(1), voice_mask.any(1)), dim=1)
        available = available.to(faces.dtype)
        face_mask = face_mask.to(faces.dtype) * available[:, :1]
        voice_mask = voice_mask.to(faces.dtype) * available[:, 1:]
        faces = faces.masked_fill(face_mask[:, :, None, None, None] == 0, 0.0)
        voice = voice.masked_fill(voice_mask[:, None, None, :] == 0, 0.0)

        face_tokens = faces.mean((3, 4))
        voice_tokens = voice.mean(2).transpose(1, 2)
        face_add = self.face_time(face_tokens, face_mask)
        voice_add = self.voice_time(voice, voice_mask)
        face_tokens, voice_tokens = face_tokens + face_add, voice_tokens + voice_add
        heard, face_to_voice = self.face_asks(face_tokens, face_times, voice_tokens, voice_times, voice_mask, maps)
        seen, voice_to_face = self.voice_asks(voice_tokens, voice_times, face_tokens, face_times, face_mask, maps)
        # What was learned about a moment is added to every cell of that moment, so the head still reads maps.
        face_add, voice_add = face_add + heard, voice_add + seen
        face_tokens, voice_tokens = face_tokens + heard, voice_tokens + seen

        face_attention = self.face_pool(face_tokens, face_mask)
        voice_attention = self.voice_pool(voice_tokens, voice_mask)
        weights = self.head.modality_weights(available)
        pooled_face = torch.einsum("bt,btd->bd", face_attention, face_tokens)
        pooled_voice = torch.einsum("bt,btd->bd", voice_attention, voice_tokens)
        face_sum = self.head.sums("face", pooled_face, personal)
        voice_sum = self.head.sums("voice", pooled_voice, personal)
        bias = self.head.bias
        logits = bias + weights[:, :1] * face_sum + weights[:, 1:] * voice_sum
        if not maps:
            return Output(logits, bias + face_sum, bias + voice_sum, pooled_face, pooled_voice)
        face_maps = faces + face_add[..., None, None]
        voice_maps = voice + voice_add.transpose(1, 2)[:, :, None, :]
        usual = None
        if personal is not None:
            usual = torch.stack([self.head.usual(name, personal, weights[:, n]) for n, name in enumerate(MODALITIES)]).sum(0)
        return Output(
            logits,
            bias + face_sum,
            bias + voice_sum,
            pooled_face,
            pooled_voice,
            self.head.evidence(face_maps, face_attention, weights[:, 0], "face", personal),
            self.head.evidence(voice_maps, voice_attention, weights[:, 1], "voice", personal),
            face_attention,
            voice_attention,
            face_to_voice,
            voice_to_face,
            usual,
        )

    def forward(
        self,
        crops: Tensor,
        face_times: Tensor,
        face_mask: Tensor,
        log_mel: Tensor,
        sound_times: Tensor,
        sound_valid: Tensor,
        available: Tensor | None = None,
        maps: bool = False,
    ) -> Output:
        """crops [B,T,1,S,S] in 0..1, log_mel [B,1,M,L], times in seconds from the window's start, masks of 0 and 1."""
        batch, steps = crops.shape[:2]
        faces = self.embed_faces(crops.flatten(0, 1)).unflatten(0, (batch, steps))
        voice = self.embed_voice(log_mel, sound_valid)
        return self.fuse(
            faces, face_times, face_mask, voice, sound_times[:, ::STRIDE], shrink_mask(sound_valid, STRIDE), available, maps
        )
