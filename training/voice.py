"""Second stage: the voice branch and its head on acted speech of several languages, voice alone.

Takes are read as a stranger's; the joint stage learns to read them against the person's own. (Doing so here already cost
strangers four to eight points of UAR on dev people and gave known people nothing.)
"""

import copy
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avemo_core import baseline, timeline
from avemo_core.model.attention_cam import AttentionCAM, Output
from avemo_core.model.branches.mel_cnn import RANGE, STRIDE, shrink_mask
from avemo_core.model.heads.cam import CamHead
from avemo_core.types import SOUND_HOP_S, Sound, Trace

from . import augment, parallel, progress
from .corpora.manifest import Row

STEPS = timeline.SOUND_STEPS


@dataclass(frozen=True)
class Settings:
    epochs: int = 30
    batch: int = 32
    takes: int = 1  # in a row of one person's
    rate: float = 3e-3
    weight_decay: float = 0.05
    augmented: float = 0.6  # share of takes that are heard elsewhere; where all are, a network this small learns slowly
    mixup: float = 0.1
    dropout: float = 0.3  # of the pooled features, before the head
    smoothing: float = 0.05
    decay: float = 0.998
    anybody: bool = False  # each voice may be anybody's, anywhere
    seed: int = 1


# The last epochs. Without them a stranger's deep neutral voice sounds sad, and another room or microphone costs dev people
# twenty points of UAR and more.
ANYBODY = Settings(epochs=18, rate=2e-3, anybody=True, seed=1001)


def voice_output(model: AttentionCAM, mel: Tensor, mask: Tensor) -> Output:
    """[B,1,M,L], [B,L] -> what the model says with the face absent."""
    maps = model.embed_voice(mel, mask)
    columns = shrink_mask(mask, STRIDE)
    times = torch.arange(columns.shape[1], device=mel.device).expand(len(mel), -1) * (STRIDE * SOUND_HOP_S)
    absent = torch.zeros(len(mel), 1, device=mel.device)
    faces = maps.new_zeros(len(mel), 1, model.face_branch.channels, 1, 1)
    return model.fuse(faces, absent, absent, maps, times, columns)


def draw(sound: Sound, generator: torch.Generator) -> np.ndarray:
    """A random window [80,STEPS], or [160,STEPS] of samples, that holds speech where there is some.

    A shorter clip is followed by its own silence.
    """
    columns = sound.log_mel.shape[1]
    if columns <= STEPS:
        silence = sound.log_mel.min(initial=0.0) if sound.samples is None else 0.0
        window = np.full((len(sound.voice_input), STEPS), silence, np.float32)
        window[:, :columns] = sound.voice_input
        return window
    heard = np.concatenate(([0], np.cumsum(sound.voiced)))
    share = heard[STEPS:] - heard[:-STEPS]
    good = np.flatnonzero(share >= 0.6 * share.max())
    first = int(good[int(torch.randint(len(good), (1,), generator=generator))])
    return sound.voice_input[:, first : first + STEPS].astype(np.float32, copy=False)


class Balanced:
    """Draws takes: corpora by the root of their size, the emotions of a corpus alike."""

    def __init__(self, rows: list[Row], labels: np.ndarray, generator: torch.Generator):
        self.generator = generator
        kinds: dict[tuple[str, int], list[int]] = defaultdict(list)
        for n, (row, label) in enumerate(zip(rows, labels, strict=True)):
            kinds[row.corpus, int(label)].append(n)
        self.kinds = list(kinds.values())
        clips = Counter(row.corpus for row in rows)
        emotions = Counter(corpus for corpus, _ in kinds)
        self.weights = torch.tensor([clips[corpus] ** 0.5 / emotions[corpus] for corpus, _ in kinds])

    def takes(self, many: int) -> list[int]:
        """Row numbers."""
        drawn = torch.multinomial(self.weights, many, replacement=True, generator=self.generator)
        kinds = [self.kinds[k] for k in drawn.tolist()]
        return [kind[int(torch.randint(len(kind), (1,), generator=self.generator))] for kind in kinds]


@torch.no_grad()
def learn_usual(
    head: CamHead, which: str, tokens: Tensor, wanted: Tensor, there: Tensor, people: int = 0, momentum: float = 0.02
) -> None:
    """Moves the head's idea of people at large, and of what each emotion adds, towards this batch, in place.

    Args:
        tokens, wanted: [B,D] and [B,K], of which only rows with `there` [B] count.
        people: the batch holds so many people in a row, whose own spread counts; 0 where its rows are nobody's.
    """
    mean, offsets, spread = (getattr(head, f"{which}_{name}") for name in ("mean", "offsets", "spread"))
    if people and bool(there.any()):
        own, counts = tokens.view(people, -1, tokens.shape[1]), there.float().view(people, -1, 1)
        many = counts.sum(1, keepdim=True)
        middle = (own * counts).sum(1, keepdim=True) / many.clamp(min=1)
        variance = ((own - middle) ** 2 * counts).sum((0, 1)) / (many - 1).clamp(min=0).sum().clamp(min=1)
        spread.copy_(variance.sqrt() if not bool(spread.any()) else spread.lerp(variance.sqrt(), momentum))
    tokens, wanted = tokens[there > 0], wanted[there > 0]
    if not len(tokens):
        return
    mean.lerp_(tokens.mean(0), momentum)
    mass = wanted.sum(0)[:, None]
    by_label = (wanted.T @ (tokens - mean)) / mass.clamp(min=1e-6)
    offsets.lerp_(torch.where(mass > 0.5, by_label, offsets), momentum)


@torch.inference_mode()
def clip_tokens(model: AttentionCAM, sounds: list[Sound]) -> Tensor:
    """[n,D]: the mean token over each clip's windows, weighted by how much of a window is speech."""
    model.eval()
    device = model.head.bias.device
    out = torch.zeros(len(sounds), model.voice_branch.channels, device=device)
    for n, sound in enumerate(sounds):
        starts, ends = timeline.grid(sound.log_mel.shape[1] * 0.01)
        cut = timeline.windows(None, sound, starts, ends)
        valid = torch.from_numpy(cut.sound_valid).float().to(device)
        tokens = voice_output(model, torch.from_numpy(cut.voice_input).to(device), valid).voice_token
        weight = torch.from_numpy(cut.voiced.mean(1) + 1e-3).float().to(device)
        out[n] = weight @ tokens / weight.sum()
    return out


@torch.inference_mode()
def dev_scores(model: AttentionCAM, sounds: list[Sound], rows: list[Row], labels: np.ndarray) -> dict[str, float]:
    """UAR of each corpus, over the classes it has: of strangers, and against each person's own clips ("+")."""
    head, tokens = model.head, clip_tokens(model, sounds)
    said = {"": head.sums("voice", tokens).add(head.bias).argmax(1).cpu().numpy()}
    known = said[""].copy()
    speakers = np.array([row.speaker for row in rows])
    for speaker in np.unique(speakers):
        own = np.flatnonzero(speakers == speaker)
        traces = [Trace(tokens[i].cpu().numpy(), sounds[i].voiced.sum() * SOUND_HOP_S) for i in own]
        person = baseline.learn(head, [{"voice": trace} for trace in traces]).personal(len(own), tokens.device)
        personal = replace(person, trust=torch.ones(len(own), 2, device=tokens.device))
        known[own] = head.sums("voice", tokens[own], personal).add(head.bias).argmax(1).cpu().numpy()
    said["+"] = known
    corpora, out = np.array([row.corpus for row in rows]), {}
    for corpus in np.unique(corpora):
        for mark, guess in said.items():
            own = corpora == corpus
            recall = [(guess[own & (labels == k)] == k).mean() for k in np.unique(labels[own])]
            out[f"{corpus}{mark}"] = float(np.mean(recall))
    return out


def levelled(mel: Tensor) -> Tensor:
    """Windows brought to one loudness, so that a mixture of two does not go to the louder recording."""
    return (mel - mel.amax((2, 3), keepdim=True)).clamp(min=-RANGE)


class Drawn(Protocol):
    """What drawing a batch needs of a stage's settings."""

    @property
    def takes(self) -> int: ...
    @property
    def augmented(self) -> float: ...
    @property
    def anybody(self) -> bool: ...
    @property
    def mixup(self) -> float: ...
    @property
    def smoothing(self) -> float: ...


def batch_of(
    rows: list[int], sounds: list[Sound], labels: Tensor, classes: int, settings: Drawn, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Augmented windows of these rows, [B,1,M,L] of log-mel or [B,1,160,L] of samples, and what is wanted of them [B,K].

    Where several takes in a row are one person's, mixtures stay within that person.
    """
    drawn = torch.from_numpy(np.stack([draw(sounds[i], generator) for i in rows]))[:, None]
    by_log_mel = sounds[rows[0]].samples is None
    heard = (augment.voices if by_log_mel else augment.samples)(drawn, generator, settings.takes, settings.anybody)
    people = torch.rand(len(drawn) // settings.takes, generator=generator) < settings.augmented
    heard = torch.where(people.repeat_interleave(settings.takes)[:, None, None, None], heard, drawn)
    if by_log_mel:
        heard = levelled(heard)
    wanted = F.one_hot(labels[rows], classes).float()
    wanted = wanted * (1 - settings.smoothing) + settings.smoothing / classes
    if not settings.mixup:
        return heard, wanted
    return augment.mixup(heard, wanted, settings.mixup, generator, settings.takes if settings.takes > 1 else None)


def loss_of(model: AttentionCAM, mel: Tensor, wanted: Tensor, dropout: float) -> Tensor:
    """Cross-entropy of windows `mel` with `wanted` [B,K], from which the head also learns what is usual."""
    device = model.head.bias.device
    mine = mel[parallel.own(len(mel))].to(device, memory_format=torch.channels_last)
    with torch.autocast(device.type, torch.bfloat16):
        spoken = voice_output(model, mine, torch.ones(len(mine), STEPS, device=device))
    tokens, wanted = parallel.gather(spoken.voice_token.float(), len(mel)), wanted.to(device)
    learn_usual(model.head, "voice", tokens.detach(), wanted, torch.ones(len(tokens), device=device))
    return F.cross_entropy(model.head.bias + model.head.sums("voice", F.dropout(tokens, dropout)), wanted)


def train(
    rows: list[Row],
    sounds: list[Sound],
    labels: np.ndarray,
    dev: np.ndarray,
    model: AttentionCAM,
    out: Path,
    settings: Settings = Settings(),
    say=print,
) -> AttentionCAM:
    """Trains `model` by rows with their sounds and labels [n]; dev bool [n] scores only. Returns the moving average.

    The state is in `out/voice.pt` after every epoch; a run that was stopped goes on there. It runs where `model` is.
    """
    torch.manual_seed(settings.seed)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    parallel.shared_norms(model)
    average = copy.deepcopy(model)
    chosen = np.flatnonzero(~dev)
    wanted_of = torch.from_numpy(labels)
    held = np.flatnonzero(dev)
    dev_rows, dev_sounds = [rows[i] for i in held], [sounds[i] for i in held]
    generator = torch.Generator().manual_seed(settings.seed)
    balanced = Balanced([rows[i] for i in chosen], labels[chosen], generator)
    classes = len(model.head.bias)
    trained = [p for name, p in model.named_parameters() if name.startswith(("voice", "head"))]
    optimizer = torch.optim.AdamW(trained, lr=settings.rate, weight_decay=settings.weight_decay)
    steps = max(1, len(chosen) // settings.batch)
    # of five steps, one would rise, and OneCycleLR divides by their number less one
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.rate, total_steps=max(6, steps * settings.epochs), pct_start=0.2
    )
    state = progress.State(
        out / "voice.pt", settings, generator, model=model, average=average, optimizer=optimizer, schedule=schedule
    )
    reached = state.load()
    first, history = reached.get("epoch", 0), reached.get("history", [])

    for epoch in range(first, settings.epochs):
        started, total = time.time(), 0.0
        torch.manual_seed(settings.seed + epoch)  # dropout's own draws: the same whether the run was stopped or not
        model.train()
        for _ in range(steps):
            picked = [int(chosen[i]) for i in balanced.takes(settings.batch)]
            mel, wanted = batch_of(picked, sounds, wanted_of, classes, settings, generator)
            loss = loss_of(model, mel, wanted, settings.dropout)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            parallel.average(trained)
            nn.utils.clip_grad_norm_(trained, 5.0)
            optimizer.step()
            schedule.step()
            progress.moving_average(
                average, model, min(settings.decay, (1 + schedule.last_epoch) / (10 + schedule.last_epoch))
            )
            total += loss.item()
        line = {"epoch": epoch + 1, "loss": total / steps}
        if parallel.rank() == 0 and len(held) and (epoch % 4 == 3 or epoch + 1 == settings.epochs):
            line |= dev_scores(average, dev_sounds, dev_rows, labels[held])
        history.append(line)
        if parallel.rank() == 0:
            say(f"voice { ({k: round(v, 3) for k, v in line.items()}) } {time.time() - started:.0f} s")
        state.save(epoch=epoch + 1, history=history)
    return average.eval()
