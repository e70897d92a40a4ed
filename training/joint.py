"""Third stage: time, cross-modal attention, pooling and the head, on pairs of face and voice, people by people.

Real pairs with pixels are few (Java-SED). Beside them stand pairs of one person and emotion from different takes, and
pairs of a FER+ picture with a voice of the same label: these teach how much to trust each modality, not how people move.
Faces come as pooled branch maps (a mean over the map is all that the logit needs); the voice branch goes on learning.
Each pair is read as a stranger's and against the person's own mean.
"""

import copy
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avemo_core import baseline
from avemo_core.labels import LABELS, K
from avemo_core.model.attention_cam import AttentionCAM
from avemo_core.model.branches.mel_cnn import STRIDE, shrink_mask
from avemo_core.model.heads.cam import CamHead, Personal
from avemo_core.types import FACE_STEP_S, SOUND_HOP_S, Sound

from . import augment, face, parallel, progress, voice
from .corpora import ferplus
from .corpora.manifest import Row

FRAMES = 20


@dataclass(frozen=True)
class Settings:
    steps: int = 450
    people: int = 5  # a batch: three of them seen and heard, two heard beside pictures of anybody
    takes: int = 12  # of each
    rate: float = 3e-4
    voice_rate: float = 1e-4  # of the voice branch, which comes trained
    kept: float = 0.3  # share of the voice as it came in its final weights (Wortsman et al. 2022): the pairs are few
    head_rate: float = 2e-4  # the head starts from what the branches already learned
    personal_rate: float = 1e-3  # its weights for a known face start from nothing
    weight_decay: float = 0.05
    drop: float = 0.25  # of either modality: each alone stays first-class
    alone: float = 0.3  # weight of each modality's own loss
    stills: float = 0.5  # weight of single pictures as often as they occur, so that a face alone stays what it was
    personal: float = 0.5  # weight of the reading against what is usual for the person
    neutral: float = 0.3  # share of people who are known from their neutral takes
    smoothing: float = 0.05
    augmented: float = 1.0
    anybody: bool = True  # each voice as anybody's, anywhere, as in the last epochs of the voice stage
    mixup: float = 0.0
    decay: float = 0.99
    saved_every: int = 100  # steps
    seed: int = 1

    @property
    def batch(self) -> int:
        return self.people * self.takes


@dataclass(frozen=True)
class Pictures:
    """Single pictures as pooled tokens: the same for every run that starts from one face branch."""

    tokens: Tensor  # [P,V,Dv] of P pictures in V random views
    labels: np.ndarray  # [P]
    stills: Tensor  # [S,Dv]
    votes: Tensor  # [S,7] their vote distributions


@dataclass(frozen=True)
class Voices:
    """Training voices; `tracks` holds a clip's face tokens [T,Dv] and mask [T], or None where only its voice is known."""

    rows: list[Row]
    sounds: list[Sound]
    labels: np.ndarray
    tracks: list[tuple[Tensor, np.ndarray] | None]


@torch.inference_mode()
def face_tokens(model: AttentionCAM, greys: np.ndarray) -> Tensor:
    """Grey crops uint8 [n,48,48] -> [n,Dv], on the CPU wherever the model is."""
    model.eval()
    device = model.head.bias.device
    parts = [
        model.embed_faces(torch.from_numpy(greys[i : i + 128]).to(device)[:, None].float() / 255).mean((2, 3)).cpu()
        for i in range(0, len(greys), 128)
    ]
    return torch.cat(parts) if parts else torch.zeros(0, model.face_branch.channels)


@torch.inference_mode()
def views_of(model: AttentionCAM, rows: ferplus.Faces, each: int, views: int, seed: int) -> tuple[Tensor, np.ndarray]:
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
            model.embed_faces(augment.faces(crops[i : i + 128], generator).to(model.head.bias.device)).mean((2, 3)).cpu()
            for i in range(0, len(crops), 128)
        ]
        out.append(torch.cat(parts))
    return torch.stack(out, 1), labels


def stills_of(model: AttentionCAM, rows: ferplus.Faces, most: int, seed: int) -> tuple[Tensor, Tensor]:
    """At most `most` pictures, each label as often as it occurs -> tokens [S,Dv], vote distributions [S,K]."""
    votes = face.targets(rows.votes)[:, :K]
    told = np.flatnonzero(votes.sum(1) > 0.5)
    chosen = np.random.default_rng(seed).permutation(told)[:most]
    kept = votes[chosen]
    return face_tokens(model, rows.pixels[chosen]), torch.from_numpy(kept / kept.sum(1, keepdims=True))


class Episodes:
    """Draws people, and takes of each: corpora by the root of their size, a person's emotions alike."""

    def __init__(self, rows: list[Row], labels: np.ndarray, takes: int, generator: torch.Generator):
        self.takes, self.generator = takes, generator
        by_person: dict[tuple[str, str], dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
        for n, (row, label) in enumerate(zip(rows, labels, strict=True)):
            by_person[row.corpus, row.speaker][int(label)].append(n)
        self.people = [list(by.values()) for by in by_person.values()]
        clips: Counter[str] = Counter()
        people: Counter[str] = Counter()
        for (corpus, _), by in by_person.items():
            clips[corpus] += sum(map(len, by.values()))
            people[corpus] += 1
        self.weights = torch.tensor([clips[c] ** 0.5 / people[c] for c, _ in by_person])

    def below(self, n: int) -> int:
        return int(torch.randint(n, (1,), generator=self.generator))

    def person(self) -> list[int]:
        """`takes` row numbers of one person."""
        moods = self.people[int(torch.multinomial(self.weights, 1, generator=self.generator))]
        return [mood[self.below(len(mood))] for mood in (moods[self.below(len(moods))] for _ in range(self.takes))]


class Pairs:
    """Draws batches of people with several takes each: seen and heard together, or heard beside pictures of anybody."""

    def __init__(self, pictures: Pictures, voices: Voices, settings: Settings):
        self.pictures, self.voices, self.settings = pictures, voices, settings
        self.generator = torch.Generator().manual_seed(settings.seed)
        self.by_label = [np.flatnonzero(pictures.labels == k) for k in range(K)]
        self.seen = np.array([n for n, track in enumerate(voices.tracks) if track is not None], int)
        self.takes: dict[tuple[str, int], list[int]] = defaultdict(list)
        for n, (row, label) in enumerate(zip(voices.rows, voices.labels, strict=True)):
            self.takes[row.speaker, int(label)].append(n)

        def episodes(chosen: np.ndarray) -> Episodes:
            return Episodes([voices.rows[i] for i in chosen], voices.labels[chosen], settings.takes, self.generator)

        self.heard_people = episodes(np.arange(len(voices.rows)))
        self.seen_people = episodes(self.seen) if len(self.seen) else None

    def below(self, n: int) -> int:
        return int(torch.randint(n, (1,), generator=self.generator))

    def clip(self, n: int) -> tuple[Tensor, Tensor, int]:
        """A real pair: two seconds of the clip's face from a random start, and its voice or that of a like take."""
        tokens, seen = self.voices.tracks[n]  # type: ignore[misc]
        present = torch.from_numpy(seen).float()
        first = self.below(max(1, len(tokens) - FRAMES + 1))
        tokens, present = tokens[first : first + FRAMES], present[first : first + FRAMES]
        short = FRAMES - len(tokens)
        like = self.takes[self.voices.rows[n].speaker, int(self.voices.labels[n])]
        other = n if self.below(2) else like[self.below(len(like))]
        return F.pad(tokens, (0, 0, 0, short)), F.pad(present, (0, short)), other

    def collage(self, n: int) -> tuple[Tensor, Tensor, int]:
        """A voice beside a picture of anybody with the same label."""
        label = int(self.voices.labels[n])
        fits = self.by_label[label] if label < K else self.by_label[0]  # calm has no pictures: neutral ones stand in
        views = self.pictures.tokens[fits[self.below(len(fits))]]
        return views[torch.randint(len(views), (FRAMES,), generator=self.generator)], torch.ones(FRAMES), n

    def next_stills(self) -> tuple[Tensor, Tensor]:
        """Tokens [2B,Dv] of single pictures and their vote distributions [2B,7]."""
        chosen = torch.randint(len(self.pictures.stills), (2 * self.settings.batch,), generator=self.generator)
        return self.pictures.stills[chosen], self.pictures.votes[chosen]

    def next(self, classes: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """tokens [B,T,Dv], face mask [B,T], log-mel [B,1,M,L], wanted [B,K], whether face and voice are one person's [B]."""
        drawn, one_person = [], []
        for group in range(self.settings.people):
            real = self.seen_people is not None and group % 2 == 0
            rows = (self.seen_people if real else self.heard_people).person()  # type: ignore[union-attr]
            drawn += [self.clip(int(self.seen[i])) if real else self.collage(i) for i in rows]
            one_person += [float(real)] * len(rows)
        mel, wanted = voice.batch_of(
            [d[2] for d in drawn],
            self.voices.sounds,
            torch.from_numpy(self.voices.labels),
            classes,
            self.settings,
            self.generator,
        )
        tokens, present = torch.stack([d[0] for d in drawn]), torch.stack([d[1] for d in drawn])
        run = torch.rand(len(drawn), 1, generator=self.generator) < 0.1  # a run of frames without a face
        first = torch.randint(FRAMES, (len(drawn), 1), generator=self.generator)
        steps = torch.arange(FRAMES)[None]
        present = present * ~(run & (steps >= first) & (steps < first + 6))
        return tokens, present, mel, wanted, torch.tensor(one_person)


def others(groups: int, takes: int, generator: torch.Generator) -> Tensor:
    """Weights [G,T,T]: row t averages half or more of the group's other takes, never itself."""
    order = torch.rand(groups, takes, takes, generator=generator)
    order.diagonal(dim1=1, dim2=2).fill_(2.0)
    many = torch.randint(max(1, takes // 2), takes, (groups, takes, 1), generator=generator)
    chosen = (order.argsort(2).argsort(2) < many).float()
    return chosen / many


def personal_of(head: CamHead, which: str, tokens: Tensor, weights: Tensor, neutral: Tensor | None = None) -> Personal:
    """tokens [G*T,D] -> each take against its person's others under `weights` [G,T,T]: rows add to one, or are empty.

    In groups where `neutral` [G] holds, the others are known to be neutral.
    """
    groups, takes, _ = weights.shape
    own = tokens.view(groups, takes, -1)
    many = (weights > 0).sum(2).flatten().float()
    mean = weights @ own
    variance = (weights @ own**2 - mean**2).clamp(min=0).flatten(0, 1) * (many / (many - 1).clamp(min=1))[:, None]
    shift = mean.flatten(0, 1) - getattr(head, f"{which}_mean")
    scale = baseline.scale(head, which, variance.detach(), many[:, None].clamp(min=1))
    if neutral is not None:
        known = neutral.repeat_interleave(takes)[:, None]
        shift = torch.where(known, shift - getattr(head, f"{which}_offsets")[0], shift)
        scale = torch.where(known, torch.ones_like(scale), scale)
    return Personal({which: shift}, {which: scale}, (many > 0).float()[:, None].expand(-1, 2))


def loss_of(model: AttentionCAM, batch: tuple[Tensor, ...], settings: Settings, generator: torch.Generator) -> Tensor:
    """Cross-entropy of both together plus each modality's own, of strangers and of known people, one modality dropped."""
    device, takes = model.head.bias.device, settings.takes
    mel = batch[2]
    tokens, present, wanted, one_person = (part.to(device) for part in (*batch[:2], *batch[3:]))
    # people as a whole lose a modality: a token alone and one beside the other modality are no measure of each other
    draw = torch.rand(settings.people, generator=generator).repeat_interleave(takes).to(device)
    available = torch.stack((draw >= settings.drop, draw < 1 - settings.drop), 1).float()
    available[:, 0] *= present.any(1)
    own = parallel.own(len(mel), takes)
    mine = mel[own].to(device, memory_format=torch.channels_last)
    mask = torch.ones(len(mine), voice.STEPS, device=device)
    with torch.autocast(device.type, torch.bfloat16):
        spoken = model.embed_voice(mine, mask).float()
    clock = (torch.arange(FRAMES, device=device) * FACE_STEP_S).expand(len(mine), -1)
    columns = shrink_mask(mask, STRIDE)
    heard_at = (torch.arange(columns.shape[1], device=device) * (STRIDE * SOUND_HOP_S)).expand(len(mine), -1)
    out = model.fuse(tokens[own][..., None, None], clock, present[own], spoken, heard_at, columns, available[own])
    face_token, voice_token = (parallel.gather(one, len(mel), takes) for one in (out.face_token, out.voice_token))
    head, known_of = model.head, {}
    weights = head.modality_weights(available)
    enrolled = others(settings.people, takes, generator).to(device)
    neutral = (wanted.argmax(1) == 0).view(settings.people, 1, takes)
    by_neutral = (torch.rand(settings.people, generator=generator) < settings.neutral).to(device)
    by_neutral &= neutral.sum((1, 2)) > 1  # where one is read, another is left to enrol
    itself = torch.eye(takes, dtype=torch.bool, device=device)
    enrolled = torch.where(by_neutral[:, None, None], (neutral & ~itself).float(), enrolled)
    # a collage's faces are nobody's in particular
    shown = one_person * available[:, 0]
    for which, pooled, there in (("face", face_token, shown), ("voice", voice_token, available[:, 1])):
        there_too = there.view(settings.people, 1, takes)
        share = enrolled * there_too
        share = share / share.sum(2, keepdim=True).clamp(min=1e-6)
        person = personal_of(head, which, pooled, share, by_neutral)
        known_of[which] = replace(person, trust=person.trust * there[:, None])  # nothing enrolled is trust 0 already
        voice.learn_usual(head, which, pooled.detach(), wanted, there, settings.people)
    if not bool(one_person.any()):  # no person is both seen and heard: people at large are those of the pictures
        voice.learn_usual(head, "face", face_token.detach(), wanted, available[:, 0])

    def entropy(logits: Tensor, counted: Tensor) -> Tensor:
        each = F.cross_entropy(logits, wanted, reduction="none")
        return (each * counted).sum() / counted.sum().clamp(min=1)

    def total(face: Tensor, voiced: Tensor) -> Tensor:
        both = head.bias + weights[:, :1] * face + weights[:, 1:] * voiced
        alone = entropy(head.bias + face, available[:, 0]) + entropy(head.bias + voiced, available[:, 1])
        return entropy(both, available.amax(1)) + settings.alone * alone

    stranger = total(head.sums("face", face_token), head.sums("voice", voice_token))
    known = total(head.sums("face", face_token, known_of["face"]), head.sums("voice", voice_token, known_of["voice"]))
    return (1 - settings.personal) * stranger + settings.personal * known


def still_logits(model: AttentionCAM, tokens: Tensor) -> Tensor:
    """Pooled tokens of single pictures [n,Dv] -> logits [n,K] by face alone."""
    now = tokens.new_zeros(len(tokens), 1)
    silence = tokens.new_zeros(len(tokens), model.voice_branch.channels, 1, 1)
    return model.fuse(tokens[:, None, :, None, None], now, now + 1, silence, now, now).logits


def train(
    model: AttentionCAM, pictures: Pictures, voices: Voices, out: Path, settings: Settings = Settings(), say=print
) -> AttentionCAM:
    """`model` holds trained branches; returns the moving average after the last step, also kept in `out/joint.pt`.

    It runs where `model` is.
    """
    torch.manual_seed(settings.seed)
    average, came = copy.deepcopy(model), copy.deepcopy(model)

    def of(*prefixes: str) -> list[nn.Parameter]:
        return [p for name, p in model.named_parameters() if name.startswith(prefixes)]

    named = ("head", "voice_branch", "face_branch")
    rest = [p for name, p in model.named_parameters() if not name.startswith(named)]
    optimizer = torch.optim.AdamW(
        [
            {"params": rest, "lr": settings.rate},
            {"params": of("head.face_personal", "head.voice_personal"), "lr": settings.personal_rate},
            {"params": [*of("head.balance", "head.bias"), model.head.face, model.head.voice], "lr": settings.head_rate},
            {"params": of("voice_branch"), "lr": settings.voice_rate},
        ],
        weight_decay=settings.weight_decay,
    )
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps)
    pairs = Pairs(pictures, voices, settings)
    state = progress.State(
        out / "joint.pt", settings, pairs.generator, model=model, average=average, optimizer=optimizer, schedule=schedule
    )
    first = state.load().get("step", 0)
    total = 0.0
    model.eval()  # running statistics stay those of the branches' own stages, and the face branch as it is
    for step in range(first, settings.steps):
        loss = loss_of(model, pairs.next(len(model.head.bias)), settings, pairs.generator)
        tokens, votes = (part.to(model.head.bias.device) for part in pairs.next_stills())
        logits = still_logits(model, tokens)
        loss = loss + settings.stills * F.cross_entropy(logits[:, :K], votes)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        parallel.average(trained)
        nn.utils.clip_grad_norm_(trained, 5.0)
        optimizer.step()
        schedule.step()
        progress.moving_average(average, model, min(settings.decay, (1 + step) / (10 + step)))
        total += loss.item()
        if (step + 1) % settings.saved_every == 0 or step + 1 == settings.steps:
            if parallel.rank() == 0:
                say(f"joint step {step + 1} loss {total / (step % settings.saved_every + 1):.3f}")
            total = 0.0
            state.save(step=step + 1)
    return _kept(average, came, settings.kept).eval()


def _kept(model: AttentionCAM, came: AttentionCAM, share: float) -> AttentionCAM:
    """`model` with its voice moved back by `share` of the way to how it `came`, in place.

    Learning on beside few pairs cost strangers' voices four points of UAR and more; most of it comes back this way.
    """
    before = dict(came.named_parameters())
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name == "head.voice" or name.startswith(("voice_branch", "voice_time", "voice_pool")):
                weight.lerp_(before[name], share)
    return model
