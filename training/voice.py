"""Second stage: the voice branch and its head on acted speech of several languages, voice alone.

A window of two seconds is drawn from each clip, round where someone speaks; corpora and classes are balanced.
"""

import copy
import time
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avemo_core import timeline
from avemo_core.labels import K, index
from avemo_core.model.attention_cam import AttentionCAM
from avemo_core.model.branches.mel_cnn import RANGE, shrink_mask
from avemo_core.systems import system
from avemo_core.types import MELS, Sound

from . import augment, progress
from .corpora.manifest import Row

STEPS = timeline.SOUND_STEPS


@dataclass(frozen=True)
class Settings:
    epochs: int = 24
    batch: int = 64
    rate: float = 1.5e-3
    weight_decay: float = 0.05
    mixup: float = 0.2
    smoothing: float = 0.05
    decay: float = 0.998
    seed: int = 1


def voice_logits(model: AttentionCAM, mel: Tensor, mask: Tensor) -> Tensor:
    """[B,1,M,L], [B,L] -> logits [B,K] with the face absent."""
    maps = model.embed_voice(mel, mask)
    columns = shrink_mask(mask, 4)
    times = torch.arange(columns.shape[1]).expand(len(mel), -1) * 0.04
    absent = torch.zeros(len(mel), 1)
    faces = maps.new_zeros(len(mel), 1, model.face_branch.channels, 1, 1)
    return model.fuse(faces, absent, absent, maps, times, columns).logits


def draw(sound: Sound, generator: torch.Generator) -> np.ndarray:
    """A random window [80,STEPS] that holds speech where there is some; a shorter clip is followed by its own silence."""
    columns = sound.log_mel.shape[1]
    if columns <= STEPS:
        window = np.full((MELS, STEPS), sound.log_mel.min(initial=0.0), np.float32)
        window[:, :columns] = sound.log_mel
        return window
    heard = np.concatenate(([0], np.cumsum(sound.voiced)))
    share = heard[STEPS:] - heard[:-STEPS]
    good = np.flatnonzero(share >= 0.6 * share.max())
    first = int(good[int(torch.randint(len(good), (1,), generator=generator))])
    return sound.log_mel[:, first : first + STEPS]


@torch.inference_mode()
def clip_logits(model: AttentionCAM, sounds: list[Sound]) -> np.ndarray:
    """[n,K]: the mean over each clip's windows, weighted by how much of a window is speech."""
    model.eval()
    out = np.zeros((len(sounds), K), np.float32)
    for n, sound in enumerate(sounds):
        starts, ends = timeline.grid(sound.log_mel.shape[1] * 0.01)
        cut = timeline.windows(None, sound, starts, ends)
        logits = voice_logits(model, torch.from_numpy(cut.log_mel), torch.from_numpy(cut.sound_valid).float())
        weight = cut.voiced.mean(1) + 1e-3
        out[n] = (logits.numpy() * weight[:, None]).sum(0) / weight.sum()
    return out


def recalls(logits: np.ndarray, rows: list[Row]) -> dict[str, float]:
    """UAR of each corpus among `rows`, over the classes it has."""
    said = logits.argmax(1)
    hits: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for row, k in zip(rows, said, strict=True):
        assert row.label is not None
        hits[row.corpus][row.label].append(bool(k == index(row.label)))
    return {corpus: float(np.mean([np.mean(h) for h in by.values()])) for corpus, by in hits.items()}


def sampling_weights(rows: list[Row]) -> Tensor:
    """Each corpus by the square root of its size, each class of a corpus alike, each person by the root of their clips."""
    corpus: Counter[str] = Counter()
    cell: Counter[tuple[str, str | None]] = Counter()
    person: Counter[tuple[str, str | None, str]] = Counter()
    for row in rows:
        corpus[row.corpus] += 1
        cell[row.corpus, row.label] += 1
        person[row.corpus, row.label, row.speaker] += 1
    weights = [corpus[r.corpus] ** 0.5 / cell[r.corpus, r.label] / person[r.corpus, r.label, r.speaker] ** 0.5 for r in rows]
    return torch.tensor(weights)


def mixed(mel: Tensor, wanted: Tensor, alpha: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mixup of windows brought to one loudness first, else the louder recording would win."""
    levelled = (mel - mel.amax((2, 3), keepdim=True)).clamp(min=-RANGE)
    return augment.mixup(levelled, wanted, alpha, generator)


def train(
    rows: list[Row], sounds: list[Sound], dev: np.ndarray, out: Path, settings: Settings = Settings(), say=print
) -> Path:
    """rows with a label each, their sounds, dev bool [n] -> `out/voice.pt`; goes on after its last whole epoch."""
    chosen = np.flatnonzero(~dev)
    labels = torch.tensor([index(row.label or "") for row in rows])
    weights = sampling_weights([rows[i] for i in chosen])
    dev_rows, dev_sounds = [rows[i] for i in np.flatnonzero(dev)], [sounds[i] for i in np.flatnonzero(dev)]

    torch.manual_seed(settings.seed)
    generator = torch.Generator().manual_seed(settings.seed)
    model = AttentionCAM(**system("attention_cam").settings).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(model)
    trained = [p for name, p in model.named_parameters() if name.startswith(("voice", "head"))]
    optimizer = torch.optim.AdamW(trained, lr=settings.rate, weight_decay=settings.weight_decay)
    whole = torch.ones(settings.batch, STEPS)
    steps = len(chosen) // settings.batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.rate, total_steps=steps * settings.epochs, pct_start=0.2
    )
    first, history, path = 0, [], out / "voice.pt"
    state = progress.load(path)
    if state is not None:
        for part, name in ((model, "model"), (average, "average"), (optimizer, "optimizer"), (schedule, "schedule")):
            part.load_state_dict(state[name])
        generator.set_state(state["generator"])
        first, history = state["epoch"], state["history"]

    for epoch in range(first, settings.epochs):
        started, total = time.time(), 0.0
        model.train()
        order = torch.multinomial(weights, steps * settings.batch, replacement=True, generator=generator)
        for picked in order.view(steps, settings.batch):
            mel = torch.from_numpy(np.stack([draw(sounds[chosen[i]], generator) for i in picked]))[:, None]
            mel = augment.voices(mel, generator)
            wanted = F.one_hot(labels[chosen[picked.numpy()]], K).float()
            wanted = wanted * (1 - settings.smoothing) + settings.smoothing / K
            mel, wanted = mixed(mel, wanted, settings.mixup, generator)
            with torch.autocast("cpu", torch.bfloat16):
                logits = voice_logits(model, mel.to(memory_format=torch.channels_last), whole)
            loss = F.cross_entropy(logits.float(), wanted)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(trained, 5.0)
            optimizer.step()
            schedule.step()
            progress.moving_average(
                average, model, min(settings.decay, (1 + schedule.last_epoch) / (10 + schedule.last_epoch))
            )
            total += loss.item()
        line = {"epoch": epoch + 1, "loss": total / steps}
        if epoch % 4 == 3 or epoch + 1 == settings.epochs:
            line |= recalls(clip_logits(average, dev_sounds), dev_rows)
        history.append(line)
        say(f"voice {line} {time.time() - started:.0f} s")
        parts: dict[str, Any] = {"model": model, "average": average, "optimizer": optimizer, "schedule": schedule}
        progress.save(
            path,
            {name: part.state_dict() for name, part in parts.items()}
            | {"generator": generator.get_state(), "epoch": epoch + 1, "history": history, "settings": asdict(settings)},
        )
    return path
