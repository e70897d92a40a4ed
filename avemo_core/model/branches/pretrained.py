"""Pretrained networks in the place of the own branches, by name; the default needs none of them.

Faces: torchvision's networks of ImageNet, and facenet-pytorch's InceptionResnetV1 of VGGFace2. Voices: torchaudio's bundles
of WavLM (Chen et al. 2022) and wav2vec 2.0 (Baevski et al. 2020). Weights are random unless `pretrained` is asked for: a
checkpoint brings its own and is read without a download.
"""

import http.client
import pickle
from collections import OrderedDict
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import torchaudio
from torch import Tensor, nn

from ...types import SAMPLE_RATE, SOUND_HOP_S, AvemoError
from ..attention.spatial import SpatialAttention
from .mel_cnn import STRIDE, shrink_mask

VGGFACE2 = "vggface2"
FACES = {  # name: file of the weights, channels of the maps
    "resnet18": ("resnet18-f37072fd.pth", 512),
    "resnet50": ("resnet50-11ad3fa6.pth", 2048),
    "efficientnet_b0": ("efficientnet_b0_rwightman-7f5810bc.pth", 1280),
    "mobilenet_v3_small": ("mobilenet_v3_small-047dcff4.pth", 576),
    VGGFACE2: ("20180402-114759-vggface2.pt", 1792),
}
VOICES: dict[str, tuple[str, int, int, Callable[[], nn.Module]]] = {  # name: file, layers, channels of a layer, network
    "wavlm_base": ("wavlm_base.pth", 12, 768, torchaudio.models.wavlm_base),
    "wavlm_base_plus": ("wavlm_base_plus.pth", 12, 768, torchaudio.models.wavlm_base),
    "wav2vec2_base": ("wav2vec2_fairseq_base_ls960.pth", 12, 768, torchaudio.models.wav2vec2_base),
    "wav2vec2_xlsr53": ("wav2vec2_fairseq_large_xlsr53.pth", 24, 1024, torchaudio.models.wav2vec2_xlsr_300m),
}
OWN = {"face": "face_cnn", "voice": "mel_cnn"}  # trained from nothing: the default
FACE_NAMES, VOICE_NAMES = (OWN["face"], *FACES), (OWN["voice"], *VOICES)

HOP = int(SOUND_HOP_S * SAMPLE_RATE)  # samples of a column
FRAMES = 4  # of a voice network, which gives one every 320 samples, in a column of the maps
QUIETEST = 1e-10  # power, -100 dB: quiet recordings have -60 dB
EDGE = 40  # a frame sees 400 samples, 40 more on either side than it stands for


class FaceEncoder(nn.Module):
    """Grey crops [N,1,S,S] in 0..1 -> maps [N,channels,h,w] of a network of FACES, which may be trained further."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, name: str, pretrained: bool = False):
        super().__init__()
        file, self.channels = _listed(name, "face", FACES)
        if name == VGGFACE2:
            from facenet_pytorch.models import inception_resnet_v1 as facenet

            self.size, mean, deviation = 160, [127.5 / 255] * 3, [128 / 255] * 3
            folder = Path(facenet.get_torch_home()) / "checkpoints"
            weights = name if pretrained else None
            network = _fetched(lambda: facenet.InceptionResnetV1(weights), name, file, folder)
        else:
            from torchvision.models import get_model

            # a 48-pixel crop holds no more detail than half of ImageNet's 224 pixels, which cost a quarter
            self.size, mean, deviation = 112, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
            weights = "DEFAULT" if pretrained else None
            network = _fetched(lambda: get_model(name, weights=weights), name, file, _hub())
        layers = takewhile(lambda child: not child[0].startswith("avgpool"), network.named_children())
        self.layers = nn.Sequential(OrderedDict(layers))  # up to the last maps
        self.attention = SpatialAttention()
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor(deviation)[:, None, None], persistent=False)

    def map_layers(self) -> dict[str, nn.Module]:
        """Layers whose maps can be looked at, by the network's own names, from the first to the last."""
        return dict(self.layers.named_children())

    def forward(self, crops: Tensor) -> Tensor:
        large = F.interpolate(crops, size=(self.size, self.size), mode="bilinear", align_corners=False)
        return self.attention(self.layers((large - self.mean) / self.deviation))


class VoiceEncoder(nn.Module):
    """Samples [B,1,160,L] at 16 kHz, a column every 10 ms -> maps [B,channels,1,L/8] from a frozen network of VOICES.

    A learned softmax mixes the network's layers, as in SUPERB (Yang et al. 2021), and a learned projection follows.
    """

    reads_samples = True
    rows = 1
    network: Any

    def __init__(self, name: str, pretrained: bool = False, channels: int = 128):
        super().__init__()
        file, layers, width, build = _listed(name, "voice", VOICES)
        self.channels = channels
        load = getattr(torchaudio.pipelines, name.upper()).get_model if pretrained else build
        network = _fetched(load, name, file, _hub())
        # torchaudio wraps the networks that want a normalised waveform; forward does that window by window
        self.network = getattr(network, "model", network).requires_grad_(False).eval()
        self.mixture = nn.Parameter(torch.zeros(layers))
        self.projection = nn.Linear(width, channels)
        self.attention = SpatialAttention()

    def train(self, mode: bool = True) -> "VoiceEncoder":
        """The frozen network stays in eval mode: no dropout, no layer left out."""
        super().train(mode)
        self.network.eval()
        return self

    def mix(self, layers: Tensor) -> Tensor:
        """[n,B,T,D] -> [B,T,D], a weighted mean over the n layers."""
        return torch.einsum("n,nbtd->btd", torch.softmax(self.mixture, 0), layers)

    def map_layers(self) -> dict[str, nn.Module]:
        """None: the network is frozen and reads samples, which have no bands."""
        return {}

    def forward(self, samples: Tensor, mask: Tensor) -> Tensor:
        """samples [B,1,160,L], mask [B,L] of 0 and 1: what is masked is read as silence, and its columns stay zero."""
        valid = shrink_mask(mask, STRIDE)
        if not bool(mask.any()):  # nothing to hear: a clip without sound costs nothing
            return samples.new_zeros(len(mask), self.channels, 1, valid.shape[1])
        if samples.shape[2] != HOP:
            raise ValueError(f"A pretrained voice encoder reads samples [B,1,{HOP},L]; got shape {tuple(samples.shape)}.")
        wave = samples[:, 0].masked_fill(mask[:, None] == 0, 0.0).transpose(1, 2).flatten(1).float()
        # what the large networks expect; the base ones normalise in their first layer, so it changes nothing for them
        wave = F.layer_norm(wave, wave.shape[1:], eps=QUIETEST)
        wave = F.pad(wave, (EDGE, EDGE + valid.shape[1] * STRIDE * HOP - wave.shape[1]))
        with torch.no_grad(), torch.autocast(wave.device.type, enabled=False):
            frames = torch.stack(self.network.extract_features(wave)[0])  # [n,B,4 T',D]
            frames = frames.unflatten(2, (-1, FRAMES)).mean(3)
            layers = F.layer_norm(frames, frames.shape[3:])  # else the layer with the largest numbers would speak alone
        maps = torch.relu(self.projection(self.mix(layers))).transpose(1, 2)[:, :, None]
        return self.attention(maps) * valid[:, None, None].to(maps.dtype)


def _listed(name: str, modality: str, names: dict[str, Any]) -> Any:
    if name not in names:
        raise ValueError(f"Unknown {modality} encoder {name!r}; choose one of {', '.join((OWN[modality], *names))}.")
    return names[name]


def _hub() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"


def _fetched(load: Callable[[], nn.Module], name: str, file: str, folder: Path) -> nn.Module:
    """What `load` gives; AvemoError where the weights are not in `folder` and cannot be downloaded, or are damaged."""
    try:
        return load()
    except (OSError, RuntimeError, EOFError, http.client.HTTPException, pickle.UnpicklingError) as error:
        reason = str(getattr(error, "reason", error)).split("\n")[0]
        raise AvemoError(
            f"The pretrained weights of {name} could not be downloaded or read ({reason}); connect to a network, "
            f"or put the file {file} into {folder}."
        ) from error
