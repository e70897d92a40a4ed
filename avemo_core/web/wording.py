"""What a reading says in words and spans of time. Every sentence is built from the record; what is not there is not said."""

from dataclasses import dataclass

import numpy as np

from ..labels import LABELS, index
from ..types import ClipResult
from ..verdict import hardly_known, verb

CLEAR_GAP = 0.10  # two emotions closer than this at a moment: no clear reading there
CLEAREST_SHARE = 0.6  # a span that covers more of the clip than this says nothing about when
CLEAREST_RISE = 0.1  # a probability that varies less than this has no clearest moment


@dataclass(frozen=True)
class Part:
    """A piece of a sentence: plain, strong, weak, or an emotion (shown with its glyph and colour) or a chip."""

    text: str
    kind: str = "plain"
    label: str | None = None


@dataclass(frozen=True)
class Span:
    """A stretch of the clip with one most likely emotion; None where two are too close to tell."""

    start_s: float
    end_s: float
    label: str | None


def top(probabilities: np.ndarray) -> str:
    """[7] -> the most likely label."""
    return LABELS[int(np.argmax(probabilities))]


def clear_top(probabilities: np.ndarray) -> str | None:
    """[7] -> the most likely label, None where the second is too close to it."""
    second, first = np.sort(probabilities)[-2:]
    return top(probabilities) if first - second >= CLEAR_GAP else None


def seconds(start_s: float, end_s: float) -> str:
    """ "1.2 to 2.6 s"."""
    return f"{start_s:.1f} to {end_s:.1f} s"


def ticks(duration_s: float) -> list[float]:
    """Round seconds from 0, at most ten steps."""
    steps = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600)
    step = next((step for step in steps if duration_s / step <= 10), 600)
    return [round(i * step, 3) for i in range(int(duration_s / step + 1e-6) + 1)]


def window_edges(result: ClipResult) -> np.ndarray:
    """[W+1] seconds, from 0 to the clip's end: where the next window's middle becomes the nearer one.

    Windows overlap; their turns do not.
    """
    middles = (result.window_start_s + result.window_end_s) / 2
    return np.clip(np.concatenate(([0.0], (middles[1:] + middles[:-1]) / 2, [np.inf])), 0, result.clip.duration_s)


def ribbon(result: ClipResult) -> list[Span]:
    """The most likely emotion over time, neighbours with the same answer joined."""
    if not len(result.window_start_s):
        return []
    edges = window_edges(result)
    spans: list[Span] = []
    for start, end, probabilities in zip(edges, edges[1:], result.both.windows, strict=False):
        label = clear_top(probabilities)
        if spans and spans[-1].label == label:
            spans[-1] = Span(spans[-1].start_s, float(end), label)
        elif end > start:
            spans.append(Span(float(start), float(end), label))
    return spans


def clearest(result: ClipResult) -> tuple[float, float] | None:
    """Seconds in which the verdict's emotion stands highest: round its peak, down to half of its rise over the clip."""
    if len(result.window_start_s) < 2:
        return None
    course = result.both.windows[:, index(result.verdict.label)]
    if np.ptp(course) < CLEAREST_RISE:
        return None
    high = course >= (course.max() + course.min()) / 2
    first = last = int(course.argmax())
    while first > 0 and high[first - 1]:
        first -= 1
    while last + 1 < len(high) and high[last + 1]:
        last += 1
    edges = window_edges(result)
    start, end = float(edges[first]), float(edges[last + 1])
    return (start, end) if end - start <= CLEAREST_SHARE * result.clip.duration_s else None


def verdict(result: ClipResult) -> list[Part]:
    """The one sentence a stranger can repeat."""
    if result.verdict.abstained:
        return [
            Part("No clear reading: ", "strong"),
            Part(f"{result.verdict.reason or 'the model is not sure enough'}.", "weak"),
        ]
    label = result.verdict.label
    parts = [Part(f"{_who(result)} ", "weak"), Part(label, "emotion", label)]
    span = clearest(result)
    if span is None:
        return [*parts, Part(".", "weak")]
    return [*parts, Part(", most clearly from ", "weak"), Part(f"{seconds(*span)}.", "strong")]


def _who(result: ClipResult) -> str:
    label, face, voice = result.verdict.label, result.face, result.voice
    who = "The face" if face.available else "The voice"
    if face.available and voice.available:
        agree = clear_top(face.probabilities) == label == clear_top(voice.probabilities)
        who = "Both face and voice" if agree else "Face and voice together"
    return f"{who} {verb(label, face.available, voice.available)}"


def against(result: ClipResult) -> str | None:
    """What of the person the reading was made against, None where they were not known."""
    known = result.baseline
    if known is None:
        return None
    spans = [(known["face_s"], "face"), (known["voice_s"], "speech")]
    held = ", ".join(f"{seconds:.1f} s of {what}" for seconds, what in spans if seconds > 0)
    clips = "1 other clip" if known["clips"] == 1 else f"{known['clips']} other clips"
    return f"Read against {clips} of this person ({held}). {hardly_known(known)}".rstrip()


def detail(result: ClipResult) -> list[Part]:
    """Where the verdict is withheld though both were read, what each points to on its own; else nothing."""
    if not (result.verdict.abstained and result.face.available and result.voice.available):
        return []
    parts: list[Part] = []
    for name, reading in (("face", result.face), ("voice", result.voice)):
        label = clear_top(reading.probabilities)
        parts.append(Part(f"{', the' if parts else 'The'} {name} alone points to "))
        number = f"{label} {reading.probabilities.max():.2f}"
        parts.append(Part(number, "chip", label) if label else Part("no single emotion"))
    return [*parts, Part(".")]


def confidence(result: ClipResult) -> str:
    """What the confidence means in frequencies, where that was measured, and which two labels come next."""
    verdict = result.verdict
    said = []
    if verdict.abstained and verdict.confidence < verdict.threshold:
        said.append(f"Below {verdict.threshold:.2f} AVEMO names no emotion.")
    elif not verdict.abstained and verdict.agreement is not None:
        read = "pictures of faces" if result.clip.is_image else "clips"
        said.append(f"Of 100 {read} read with this confidence, about {verdict.agreement * 100:.0f} were right.")
    if result.both.available:
        order = [i for i in np.argsort(-result.both.probabilities, kind="stable") if LABELS[i] != verdict.label][:2]
        said.append("Next: " + ", ".join(f"{LABELS[i]} {result.both.probabilities[i]:.2f}" for i in order) + ".")
    return " ".join(said)


def counted(result: ClipResult) -> str | None:
    """The Shapley values in words, or None where nothing was read."""
    if not result.shares or not (result.face.available or result.voice.available):
        return None
    shares = result.shares
    said = [f"Without either, the probability of {result.verdict.label} starts at {shares['start']:.2f}."]
    parts = []
    for name, reading in (("face", result.face), ("voice", result.voice)):
        if reading.available:
            verb = "adds" if shares[name] > -0.005 else "takes away"  # nothing is not taken away
            parts.append(f"the {name} {verb} {abs(shares[name]):.2f}")
    text = ", ".join(parts)
    return " ".join([*said, text[0].upper() + text[1:] + "."])


def description(result: ClipResult) -> str:
    """ "4.2 s, 640 x 480, 25 frames/s": what kind of clip this is."""
    clip = result.clip
    said = ["still image" if clip.is_image else f"{clip.duration_s:.1f} s"]
    if clip.video is not None:
        said.append(f"{clip.video.width} x {clip.video.height}")
        if not clip.is_image and clip.video.frame_rate > 0:
            said.append(f"{clip.video.frame_rate:.3g} frames/s")
    else:
        said.append("sound only")
    if clip.video is not None and not clip.audio and not clip.is_image:
        said.append("no sound")
    return ", ".join(said)
