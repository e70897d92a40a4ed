"""Last stage: temperatures, abstention thresholds and the reliability curve of each condition, on dev people only."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track as progress_bar
from scipy.optimize import minimize_scalar
from sklearn.metrics import balanced_accuracy_score

from avemo_core import Analyzer, baseline, calibration, types
from avemo_core.baseline import Baseline
from avemo_core.calibration import Calibration, Condition
from avemo_core.checkpoint import Checkpoint
from avemo_core.labels import LABELS
from avemo_core.model.attention_cam import AttentionCAM
from avemo_core.model.heads.cam import MODALITIES, CamHead
from avemo_core.types import ClipResult, FaceTrack, Sound, Trace

from . import enrolment, joint
from .corpora import ferplus
from .corpora.manifest import Row

WANTED = 0.75  # share right among the answered clips at the threshold, where coverage allows
COVERAGE = 0.60  # at least this share of dev clips is answered
KAPPAS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
COST = 0.02  # UAR that a baseline of clips of one emotion may cost
MOST_BONUS = 2.0
BINS = 5  # of equal size, for the sentence "of 100 clips read with this confidence"


@dataclass(frozen=True)
class Clip:
    """One clip of a corpus with its features: what a cross-validation reads again and again."""

    row: Row
    truth: int
    sound: Sound
    track: FaceTrack | None


@dataclass(frozen=True)
class Case:
    """One clip under one condition: logits [K] of the clip and [W,K] of its windows, up to a constant."""

    corpus: str
    truth: int
    clip: np.ndarray
    windows: np.ndarray


def reader(model: AttentionCAM, fitted: Calibration) -> Analyzer:
    """The model as everyone reads clips with it."""
    return Analyzer(Checkpoint(model.eval(), "in training", fitted, {}), device="cpu")


def read(analyzer: Analyzer, clip: Clip, person: Baseline | None = None) -> ClipResult:
    """A clip's reading from its features: what analyze() gives for its file."""
    heard, track = clip.sound, clip.track
    length = heard.start_s + heard.log_mel.shape[1] * types.SOUND_HOP_S
    video = None
    if track is not None:
        length = max(length, float(track.times_s[-1]) + types.FACE_STEP_S)
        video = types.VideoStream("features", 0, 0, 1 / types.FACE_STEP_S)
    audio = (types.AudioStream("features", types.SAMPLE_RATE, 1),)
    found = types.Clip(clip.row.path.name, clip.row.path, length, "features", video, audio)
    return analyzer.read(found, () if track is None else (track,), heard, baseline=person)


def by_person(clips: Sequence[Clip]) -> dict[str, list[int]]:
    """Places in `clips` of each speaker."""
    out: dict[str, list[int]] = defaultdict(list)
    for n, clip in enumerate(clips):
        out[clip.row.speaker].append(n)
    return out


def temperature(logits: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> float:
    """The temperature of least weighted negative log-likelihood."""

    def loss(log_t: float) -> float:
        p = Condition(temperature=float(np.exp(log_t))).probabilities(logits)
        return float(-(weights * np.log(p[np.arange(len(truth)), truth] + 1e-12)).sum() / weights.sum())

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))


def threshold(confidence: np.ndarray, right: np.ndarray) -> float:
    """Smallest confidence from which WANTED of the answers are right, or that which leaves COVERAGE answered."""
    order = np.argsort(-confidence)
    answered = np.arange(1, len(order) + 1)
    accuracy = np.cumsum(right[order]) / answered
    good = np.flatnonzero((accuracy >= WANTED) | (answered <= COVERAGE * len(order)))
    return float(np.clip(confidence[order][good[-1] if len(good) else 0], 0.30, 0.70))


def curve(confidence: np.ndarray, right: np.ndarray) -> list[list[float]]:
    """[upper confidence, share right, n] of BINS bins of equal size; shares are made to rise (pool adjacent violators)."""
    order = np.argsort(confidence)
    bins = [part for part in np.array_split(order, BINS) if len(part)]
    out: list[list[float]] = []
    for part in bins:
        out.append([float(confidence[part].max()), float(right[part].mean()), float(len(part))])
        while len(out) > 1 and out[-2][1] > out[-1][1]:
            upper, low = out.pop(), out.pop()
            n = upper[2] + low[2]
            out.append([upper[0], (upper[1] * upper[2] + low[1] * low[2]) / n, n])
    out[-1][0] = 1.0
    return out


def fit(
    model: AttentionCAM, clips: Sequence[Clip], pictures: ferplus.Faces, names: tuple[str, ...] = LABELS
) -> tuple[Calibration, dict[str, Any]]:
    """Calibration on the clips of dev people and on dev pictures, and what was measured there: n, accuracy, UAR.

    Clips are read as a visitor's are; uncalibrated log-probabilities differ from the logits by a constant only. Each
    person's clips are read twice: as a stranger's, and with the baseline that all of them give.
    """
    analyzer = reader(model, Calibration())
    console = Console(stderr=True)  # what goes to stdout is a report
    strangers = [read(analyzer, clip) for clip in progress_bar(clips, "dev clips", console=console)]
    fit_spreads(model, clips, strangers, pictures)
    fit_kappa(model.head, clips, strangers)
    known: list[ClipResult] = [None] * len(clips)  # type: ignore[list-item]
    for own in by_person(clips).values():
        person = analyzer.learn([strangers[n] for n in own])
        for n in own:
            known[n] = read(analyzer, clips[n], person)
    stills = _stills(model, pictures)
    told, measured = {}, {}
    for kind, results in (("none", strangers), ("unlabelled", known)):
        cases = _cases(clips, results)
        told[kind] = found = _conditions(cases, stills)
        measured[kind] = {name: _measured(those, found[name]) for name, those in cases.items() if those}
        measured[kind].setdefault("face", {}).update(_measured(stills, found["still"]))
    del told["unlabelled"]["still"]  # a picture of a person who is known is read as a clip of theirs is
    return Calibration(**told["none"], personal=told["unlabelled"]), measured


def _of(which: str, clips: Sequence[Clip], strangers: Sequence[ClipResult]) -> tuple[list[Clip], list[Trace]]:
    """The clips with this modality, and what it says in each."""
    there = [n for n, result in enumerate(strangers) if which in result.traces]
    return [clips[n] for n in there], [strangers[n].traces[which] for n in there]


def _moods(clips: Sequence[Clip], own: Sequence[int]) -> list[list[int]]:
    """One person's places in `clips`, apart by emotion."""
    return [[n for n in own if clips[n].truth == k] for k in sorted({clips[n].truth for n in own})]


def fit_spreads(
    model: AttentionCAM, clips: Sequence[Clip], strangers: Sequence[ClipResult], pictures: ferplus.Faces
) -> None:
    """Sets the head's usual spreads, in place: of a dev person's readings within an emotion, and over all of them.

    Where no dev person is seen in clips, pictures stand in. Each is of another person: half of the spread within an
    emotion is counted as the persons'.
    """
    spreads: torch.Tensor = model.head.spreads  # type: ignore[assignment]
    for place, which in enumerate(MODALITIES):
        own_clips, traces = _of(which, clips, strangers)
        alike, mixed = [], []
        for own in by_person(own_clips).values():
            tokens = torch.from_numpy(np.stack([traces[n].token for n in own])).float()
            places = ([own.index(n) for n in mood] for mood in _moods(own_clips, own))
            moods = [baseline.spread(model.head, which, tokens[mood]) for mood in places if len(mood) > 1]
            if len(moods) > 1:
                mixed.append(baseline.spread(model.head, which, tokens))
                alike.append(float(np.mean(moods)))
        if not mixed and which == "face":
            dev = pictures.take(np.isin(pictures.majority, LABELS) & (pictures.agreed >= 5))
            told = [joint.face_tokens(model, dev.pixels[dev.majority == name][:100]) for name in np.unique(dev.majority)]
            within = float(np.mean([baseline.spread(model.head, which, one) for one in told]))
            alike, mixed = [within / 2], [baseline.spread(model.head, which, torch.cat(told)) - within / 2]
        if mixed:
            spreads[place] = torch.tensor([float(np.mean(alike)), float(np.mean(mixed))])


def fit_kappa(head: CamHead, clips: Sequence[Clip], strangers: Sequence[ClipResult]) -> None:
    """Sets the head's kappas, by modality, in place: how many draws of a person it takes to believe in that person.

    Of KAPPAS the one of the best mean UAR over the corpora with every person's clips as their baseline, among those that
    cost at most COST where a person's clips all carry one emotion; the largest where each costs more. With neutral clips as
    the baseline, of which only the others are scored, the best. Left as it is where no dev person has the modality.
    """
    kappa: torch.Tensor = head.kappa  # type: ignore[assignment]
    by_neutral: torch.Tensor = head.kappa_neutral  # type: ignore[assignment]
    for place, which in enumerate(MODALITIES):
        own_clips, traces = _of(which, clips, strangers)
        if not traces:
            continue
        people = list(by_person(own_clips).values())
        moods = [mood for own in people for mood in _moods(own_clips, own)]
        kappa[place] = torch.inf
        alone = personal_uar(head, which, own_clips, traces, people)
        best, gained = KAPPAS[-1], -1.0
        for value in KAPPAS:
            kappa[place] = value
            found = personal_uar(head, which, own_clips, traces, people)
            if found > gained and personal_uar(head, which, own_clips, traces, moods) >= alone - COST:
                best, gained = value, found
        kappa[place] = best

        drawn = [one for one in enrolment.draw([clip.row for clip in own_clips], "neutral") if not one.lacks]
        scored, learned = [one.scored for one in drawn], [one.learned for one in drawn]
        if drawn:
            scores = []
            for value in KAPPAS:
                by_neutral[place] = value
                scores.append(personal_uar(head, which, own_clips, traces, scored, learned))
            by_neutral[place] = KAPPAS[int(np.argmax(scores))]


@torch.no_grad()
def personal_uar(
    head: CamHead,
    which: str,
    clips: Sequence[Clip],
    traces: Sequence[Trace],
    people: list[list[int]],
    neutral: list[list[int]] | None = None,
) -> float:
    """Mean UAR over the corpora of one modality, each of `people` (places in `clips`) read against all of their clips.

    Where `neutral` is given, each is read against these clips, known to be neutral.
    """
    said = np.full(len(clips), -1)
    for own, learned in zip(people, neutral or people, strict=True):
        known = baseline.learn(head, [{which: traces[n]} for n in learned], neutral is not None)
        tokens = torch.from_numpy(np.stack([traces[n].token for n in own])).float()
        said[own] = (head.bias + head.sums(which, tokens, known.personal(len(own), head.bias.device))).argmax(1).numpy()
    kept = [n for n in range(len(clips)) if said[n] >= 0]
    truth, corpora = np.array([clips[n].truth for n in kept]), np.array([clips[n].row.corpus for n in kept])
    by_corpus = [balanced_accuracy_score(truth[corpora == c], said[kept][corpora == c]) for c in np.unique(corpora)]
    return float(np.mean(by_corpus)) if by_corpus else 0.0


def _cases(clips: Sequence[Clip], results: Sequence[ClipResult]) -> dict[str, list[Case]]:
    cases: dict[str, list[Case]] = {name: [] for name in calibration.CONDITIONS}
    for clip, result in zip(clips, results, strict=True):
        for condition in calibration.CONDITIONS if result.face.available else ("voice",):
            reading = getattr(result, condition)
            if reading.available:
                logits = np.log(reading.probabilities + 1e-12), np.log(reading.windows + 1e-12)
                cases[condition].append(Case(clip.row.corpus, clip.truth, *logits))
    return cases


def _stills(model: AttentionCAM, pictures: ferplus.Faces) -> list[Case]:
    dev = pictures.take(np.isin(pictures.majority, LABELS) & (pictures.agreed >= 5))
    with torch.inference_mode():
        logits = joint.still_logits(model, joint.face_tokens(model, dev.pixels)).numpy()
    return [Case("ferplus", LABELS.index(str(m)), one, one[None]) for one, m in zip(logits, dev.majority, strict=True)]


def neutral_bias(cases: Sequence[Case], temperature: float) -> float:
    """The largest bonus for neutral (of log-probability, at most MOST_BONUS) that costs no UAR, on average over corpora.

    Acted corpora hold as many clips of anger as of neutral; life does not. Where it costs nothing, neutral goes first.
    """
    by_corpus = []
    for corpus in sorted({case.corpus for case in cases}):
        own = [case for case in cases if case.corpus == corpus]
        truth = np.array([case.truth for case in own])
        if (truth == 0).any() and (truth != 0).any():
            by_corpus.append((np.array([case.clip for case in own]) / temperature, truth))
    if not by_corpus:
        return 0.0

    def uar(bonus: float) -> float:
        return float(
            np.mean([balanced_accuracy_score(t, (x + bonus * np.eye(x.shape[1])[0]).argmax(1)) for x, t in by_corpus])
        )

    steps = np.arange(0, MOST_BONUS + 0.01, 0.1)
    least = uar(0.0) - 1e-9
    for bonus in steps:
        if uar(bonus) < least:
            return float(max(0.0, bonus - 0.1))
    return float(steps[-1])


def _conditions(cases: dict[str, list[Case]], stills: list[Case]) -> dict[str, Condition]:
    """Each condition's and that of pictures, which also stands in for faces where no dev person is seen in clips.

    Few dev people are seen in clips: the bonus of a face is found on pictures too, and that of both is the mean of the
    bonuses of face and voice.
    """
    found = {"face": _bonus(cases["face"] + stills), "voice": _bonus(cases["voice"])}
    found |= {"both": float(np.mean(list(found.values()))), "still": found["face"]}
    kept = {name: those for name, those in cases.items() if those}
    kept = {"face": stills} | kept | {"still": stills}
    return {name: _condition(those, found[name]) for name, those in kept.items()}


def _bonus(cases: list[Case]) -> float:
    return neutral_bias(cases, _temperature(cases)) if cases else 0.0


def _weights(cases: list[Case]) -> np.ndarray:
    """Every corpus weighs alike."""
    count = Counter(case.corpus for case in cases)
    return np.array([1 / count[case.corpus] for case in cases])


def _temperature(cases: list[Case], bonus: float = 0.0, before: float = 1.0) -> float:
    logits = np.array([case.clip for case in cases])
    logits[:, 0] += bonus * before
    return temperature(logits, np.array([case.truth for case in cases]), _weights(cases))


def _condition(cases: list[Case], bonus: float) -> Condition:
    truth, logits = np.array([case.truth for case in cases]), np.array([case.clip for case in cases])
    lengths = [len(case.windows) for case in cases]
    windows = np.concatenate([case.windows for case in cases])
    wt = temperature(windows, np.repeat(truth, lengths), np.repeat(_weights(cases) / lengths, lengths))
    # the bonus moves probabilities: the temperature that fits is found again with it
    t = _temperature(cases, bonus, _temperature(cases))
    bias = [bonus, *[0.0] * (logits.shape[1] - 1)]
    p = Condition(temperature=t, bias=bias).probabilities(logits)
    confidence, right = p.max(1), (p.argmax(1) == truth).astype(float)
    return Condition(t, wt, bias, threshold=threshold(confidence, right), curve=curve(confidence, right))


def _measured(cases: list[Case], fitted: Condition) -> dict[str, dict[str, float]]:
    """Scores by corpus of what a visitor would be told: with the fitted bias, not of the bare logits."""
    out = {}
    for corpus in sorted({case.corpus for case in cases}):
        own = [(case.truth, int(fitted.probabilities(case.clip).argmax())) for case in cases if case.corpus == corpus]
        recall = [np.mean([said == t for t, said in own if t == k]) for k in sorted({t for t, _ in own})]
        out[corpus] = {
            "n": len(own),
            "accuracy": float(np.mean([t == said for t, said in own])),
            "uar": float(np.mean(recall)),
        }
    return out
