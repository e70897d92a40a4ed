"""Third stage: time, cross-modal attention, pooling and the head, on pairs of face and voice; the branches stay as they are.

Real pairs with pixels are few (Java-SED). Beside them stand pairs of one person and emotion from different takes, and
pairs of a FER+ picture with a voice of the same label: these teach how much to trust each modality, not how people move.
Works on pooled branch maps (a mean over the map is all that the logit needs), so it takes minutes.
"""

import copy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avemo_core.labels import LABELS, K
from avemo_core.model.attention_cam import AttentionCAM
from avemo_core.model.branches.mel_cnn import shrink_mask
from avemo_core.types import FACE_STEP_S, Sound

from . import augment, face, progress, voice
from .corpora import ferplus

FRAMES = 20


@dataclass(frozen=True)
class Settings:
    steps: int = 400
    batch: int = 64
    rate: float = 4e-4
    head_rate: float = 1e-4  # the head starts from what the branches already learned
    weight_decay: float = 0.05
    drop: float = 0.25  # of either modality: each alone stays first-class
    alone: float = 0.3  # weight of each modality's own loss
    stills: float = 0.5  # weight of single pictures as often as they occur, so that a face alone stays what it was
    smoothing: float = 0.05
    decay: float = 0.995
    saved_every: int = 100  # steps
    seed: int = 1


@dataclass(frozen=True)
class Material:
    """What pairs are made of. `clip_*` are training clips with a face track; tokens are means over the face maps."""

    pictures: Tensor  # [P,V,Dv] tokens of P pictures in V random views
    picture_labels: np.ndarray  # [P]
    clip_tokens: list[Tensor]  # [N,Dv] each
    clip_present: list[np.ndarray]  # bool [N]
    clip_sounds: list[Sound]
    clip_labels: np.ndarray
    clip_speakers: np.ndarray
    sounds: list[Sound]  # all training voices
    labels: np.ndarray
    speakers: np.ndarray
    weights: Tensor  # sampling weights of `sounds`
    stills: Tensor  # [S,Dv] tokens of single pictures
    still_votes: Tensor  # [S,K] their vote distributions


@torch.inference_mode()
def face_tokens(model: AttentionCAM, greys: np.ndarray) -> Tensor:
    """Grey crops uint8 [n,48,48] -> [n,Dv]."""
    model.eval()
    parts = [
        model.embed_faces(torch.from_numpy(greys[i : i + 128])[:, None].float() / 255).mean((2, 3))
        for i in range(0, len(greys), 128)
    ]
    return torch.cat(parts) if parts else torch.zeros(0, model.face_branch.channels)


@torch.inference_mode()
def pictures(model: AttentionCAM, rows: ferplus.Faces, each: int, views: int, seed: int) -> tuple[Tensor, np.ndarray]:
    """Up to `each` pictures a label with a clear majority -> tokens [P,V,Dv] of augmented views, labels [P]."""
    model.eval()
    order = np.random.default_rng(seed).permutation(len(rows))
    chosen: list[int] = []
    for label in LABELS:
        fits = [int(i) for i in order if rows.majority[i] == label and rows.agreed[i] >= 6]
        chosen += fits[:each]
    labels = np.array([LABELS.index(rows.majority[i]) for i in chosen])
    generator = torch.Generator().manual_seed(seed)
    crops = torch.from_numpy(rows.pixels[chosen])[:, None].float() / 255
    out = []
    for _ in range(views):
        parts = [
            model.embed_faces(augment.faces(crops[i : i + 128], generator)).mean((2, 3)) for i in range(0, len(crops), 128)
        ]
        out.append(torch.cat(parts))
    return torch.stack(out, 1), labels


def stills(model: AttentionCAM, rows: ferplus.Faces, most: int, seed: int) -> tuple[Tensor, Tensor]:
    """At most `most` pictures, each label as often as it occurs -> tokens [S,Dv], vote distributions [S,K]."""
    votes = face.targets(rows.votes)[:, :K]
    told = np.flatnonzero(votes.sum(1) > 0.5)
    chosen = np.random.default_rng(seed).permutation(told)[:most]
    kept = votes[chosen]
    return face_tokens(model, rows.pixels[chosen]), torch.from_numpy(kept / kept.sum(1, keepdims=True))


class Pairs:
    """Draws batches of pairs: a quarter real clips, a quarter the same person's other takes, half pictures with voices."""

    def __init__(self, material: Material, settings: Settings):
        self.m, self.batch = material, settings.batch
        self.generator = torch.Generator().manual_seed(settings.seed)
        self.by_label = [np.flatnonzero(material.picture_labels == k) for k in range(K)]
        self.same = {
            (speaker, int(label)): np.flatnonzero((material.speakers == speaker) & (material.labels == label))
            for speaker, label in zip(material.clip_speakers, material.clip_labels, strict=True)
        }

    def one_of(self, rows: np.ndarray) -> int:
        return int(rows[int(torch.randint(len(rows), (1,), generator=self.generator))])

    def faces_of_clip(self, n: int) -> tuple[Tensor, Tensor]:
        """Two seconds of a clip's tokens [FRAMES,Dv] and mask, from a random start."""
        tokens, present = self.m.clip_tokens[n], torch.from_numpy(self.m.clip_present[n]).float()
        first = int(torch.randint(max(1, len(tokens) - FRAMES + 1), (1,), generator=self.generator))
        tokens, present = tokens[first : first + FRAMES], present[first : first + FRAMES]
        short = FRAMES - len(tokens)
        return F.pad(tokens, (0, 0, 0, short)), F.pad(present, (0, short))

    def draw(self, n: int) -> tuple[Tensor, Tensor, Sound, int]:
        kind = n % 4
        if kind < 2:
            clip = int(torch.randint(len(self.m.clip_tokens), (1,), generator=self.generator))
            label = int(self.m.clip_labels[clip])
            tokens, mask = self.faces_of_clip(clip)
            other = self.same[self.m.clip_speakers[clip], label]
            sound = self.m.clip_sounds[clip] if kind == 0 or not len(other) else self.m.sounds[self.one_of(other)]
            return tokens, mask, sound, label
        chosen = int(torch.multinomial(self.m.weights, 1, generator=self.generator))
        label = int(self.m.labels[chosen])
        views = self.m.pictures[self.one_of(self.by_label[label])]
        tokens = views[torch.randint(len(views), (FRAMES,), generator=self.generator)]
        return tokens, torch.ones(FRAMES), self.m.sounds[chosen], label

    def next_stills(self) -> tuple[Tensor, Tensor]:
        """Tokens [2B,Dv] of single pictures and their vote distributions [2B,K]."""
        chosen = torch.randint(len(self.m.stills), (2 * self.batch,), generator=self.generator)
        return self.m.stills[chosen], self.m.still_votes[chosen]

    def next(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """tokens [B,T,Dv], face mask [B,T], log-mel [B,1,M,L], sound mask [B,L], labels [B]."""
        drawn = [self.draw(n) for n in range(self.batch)]
        mel = torch.from_numpy(np.stack([voice.draw(sound, self.generator) for _, _, sound, _ in drawn]))[:, None]
        mel = augment.voices(mel, self.generator)
        mask = torch.ones(self.batch, voice.STEPS)
        tokens, present = torch.stack([d[0] for d in drawn]), torch.stack([d[1] for d in drawn])
        run = torch.rand(self.batch, 1, generator=self.generator) < 0.1  # a run of frames without a face
        first = torch.randint(FRAMES, (self.batch, 1), generator=self.generator)
        steps = torch.arange(FRAMES)[None]
        present = present * ~(run & (steps >= first) & (steps < first + 6))
        return tokens, present, mel, mask, torch.tensor([d[3] for d in drawn])


def loss_of(model: AttentionCAM, batch: tuple[Tensor, ...], settings: Settings, generator: torch.Generator) -> Tensor:
    """Cross-entropy of both together plus each modality's own, with one modality dropped now and then."""
    tokens, present, mel, mask, labels = batch
    with torch.no_grad():
        spoken = model.embed_voice(mel, mask)
    clock = (torch.arange(FRAMES) * FACE_STEP_S).expand(len(tokens), -1)
    columns = shrink_mask(mask, 4)
    heard_at = (torch.arange(columns.shape[1]) * 0.04).expand(len(tokens), -1)
    draw = torch.rand(len(tokens), generator=generator)
    available = torch.stack((draw >= settings.drop, draw < 1 - settings.drop), 1).float()
    available[:, 0] *= present.any(1)
    out = model.fuse(tokens[..., None, None], clock, present, spoken, heard_at, columns, available)
    wanted = F.one_hot(labels, K).float() * (1 - settings.smoothing) + settings.smoothing / K

    def entropy(logits: Tensor, counted: Tensor) -> Tensor:
        each = F.cross_entropy(logits, wanted, reduction="none")
        return (each * counted).sum() / counted.sum().clamp(min=1)

    total = entropy(out.logits, available.amax(1))
    return total + settings.alone * (entropy(out.face_logits, available[:, 0]) + entropy(out.voice_logits, available[:, 1]))


def still_logits(model: AttentionCAM, tokens: Tensor) -> Tensor:
    """Pooled tokens of single pictures [n,Dv] -> logits [n,K] by face alone."""
    count = len(tokens)
    now, seen = torch.zeros(count, 1), torch.ones(count, 1)
    silence = torch.zeros(count, model.voice_branch.channels, 1, 1)
    return model.fuse(tokens[:, None, :, None, None], now, seen, silence, now, torch.zeros(count, 1)).logits


def train(model: AttentionCAM, material: Material, out: Path, settings: Settings = Settings(), say=print) -> AttentionCAM:
    """`model` holds trained branches; returns the moving average after the last step, also kept in `out/joint.pt`."""
    torch.manual_seed(settings.seed)
    average = copy.deepcopy(model)
    head = list(model.head.parameters())
    rest = [p for name, p in model.named_parameters() if not name.startswith(("head", "face_branch", "voice_branch"))]
    optimizer = torch.optim.AdamW(
        [{"params": rest, "lr": settings.rate}, {"params": head, "lr": settings.head_rate}],
        weight_decay=settings.weight_decay,
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps)
    pairs, first, path = Pairs(material, settings), 0, out / "joint.pt"
    parts: dict[str, Any] = {"model": model, "average": average, "optimizer": optimizer, "schedule": schedule}
    state = progress.load(path)
    if state is not None:
        for name, part in parts.items():
            part.load_state_dict(state[name])
        pairs.generator.set_state(state["generator"])
        first = state["step"]
    total = 0.0
    model.eval()  # the branches' running statistics stay as they are
    for step in range(first, settings.steps):
        loss = loss_of(model, pairs.next(), settings, pairs.generator)
        tokens, votes = pairs.next_stills()
        loss = loss + settings.stills * F.cross_entropy(still_logits(model, tokens), votes)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_([*rest, *head], 5.0)
        optimizer.step()
        schedule.step()
        progress.moving_average(average, model, min(settings.decay, (1 + step) / (10 + step)))
        total += loss.item()
        if (step + 1) % settings.saved_every == 0 or step + 1 == settings.steps:
            say(f"joint step {step + 1} loss {total / (step % settings.saved_every + 1):.3f}")
            total = 0.0
            states = {name: part.state_dict() for name, part in parts.items()}
            progress.save(
                path, states | {"generator": pairs.generator.get_state(), "step": step + 1, "settings": asdict(settings)}
            )
    return average
