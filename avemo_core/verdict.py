"""From the three readings to one verdict: what is expressed, how sure, or why there is no answer."""

from typing import Any

import numpy as np

from .calibration import Calibration
from .labels import LABELS
from .types import ClipResult, Reading, Verdict

CLOSE = 0.10  # two labels nearer than this in probability are called close
TRIFLE = 0.10  # trust in a personal baseline under which it hardly counts


def shares(prior: np.ndarray, face: Reading, voice: Reading, both: Reading) -> dict[str, float]:
    """Shapley values of face and voice in the probability of the most likely label (Shapley 1953).

    The empty set is worth the calibrated prior, each set of modalities its own calibrated reading; a missing modality
    adds nothing. start + face + voice = the probability in `both`.
    """
    k = int(both.probabilities.argmax())
    empty, full = float(prior[k]), float(both.probabilities[k])
    if face.available and voice.available:
        alone_face, alone_voice = float(face.probabilities[k]), float(voice.probabilities[k])
        by_face = ((alone_face - empty) + (full - alone_voice)) / 2
        return {"start": empty, "face": by_face, "voice": full - empty - by_face}
    return {
        "start": empty,
        "face": full - empty if face.available else 0.0,
        "voice": full - empty if voice.available else 0.0,
    }


def window_shares(result: ClipResult) -> dict[str, np.ndarray]:
    """The same of every window [W], for the clip's most likely label: start + face + voice = the window's probability.

    A modality that does not count in a window reads the prior there, so it adds nothing.
    """
    k = int(result.both.probabilities.argmax())
    start, whole = result.shares["start"], result.both.windows[:, k]
    by_face = ((result.face.windows[:, k] - start) + (whole - result.voice.windows[:, k])) / 2
    return {"start": np.full(len(whole), start), "face": by_face, "voice": whole - start - by_face}


def conflict(calibration: Calibration, face: Reading, voice: Reading) -> bool:
    """True where face alone and voice alone each reach their threshold, for different labels."""
    if not (face.available and voice.available):
        return False
    sure = [float(reading.probabilities.max()) >= calibration.of(reading.condition).threshold for reading in (face, voice)]
    return all(sure) and int(face.probabilities.argmax()) != int(voice.probabilities.argmax())


def condition_of(face: Reading, voice: Reading) -> str:
    """Which calibration a clip's `both` reading has: the one of what is there."""
    if face.available and voice.available:
        return "both"
    return "face" if face.available else "voice"


def verdict(calibration: Calibration, face: Reading, voice: Reading, both: Reading) -> Verdict:
    """The most likely label with its confidence.

    Abstains below the threshold, where there is nothing to read, and where face and voice differ and the answer is neither's
    or less sure than each alone is of its own.
    """
    top = np.sort(both.probabilities)[::-1]
    most = int(both.probabilities.argmax())
    label = LABELS[most] if most < len(LABELS) else LABELS[0]  # an eighth class, calm, counts as neutral
    used = calibration.of(condition_of(face, voice))
    confidence = float(top[0])
    if not (face.available or voice.available):
        return Verdict(label, confidence, True, nothing_read(face, voice), used.threshold, None)
    agreement = used.agreement(confidence)
    apart = _third(face, voice, both) or _pull_apart(face, voice, confidence)
    if confidence >= used.threshold and not apart:
        return Verdict(label, confidence, False, None, used.threshold, agreement)
    if apart or conflict(calibration, face, voice):
        reason = "face and voice disagree"
    elif top[0] - top[1] < CLOSE:
        reason = "two emotions are close"
    else:
        reason = "no emotion stands out enough"
    return Verdict(label, confidence, True, reason, used.threshold, agreement)


def nothing_read(face: Reading, voice: Reading) -> str:
    """The reasons of both, in one: "no face and no sound in this clip"."""
    first, second, here = str(face.reason), str(voice.reason), " in this clip"
    if first.endswith(here) and second.endswith(here):
        return f"{first.removesuffix(here)} and {second}"
    return f"{first}, and {second}"


def verb(label: str, face: bool, voice: bool) -> str:
    """What face and voice, or the one that was read, do: they express an emotion, but they are, look or sound neutral."""
    if face and voice:
        return "are" if label == "neutral" else "express"
    if label != "neutral":
        return "expresses"
    return "looks" if face else "sounds"


def hardly_known(baseline: dict[str, Any]) -> str:
    """A sentence where a personal baseline, by its summary, changes a reading by a trifle only; else nothing."""
    if max(baseline["face_trust"], baseline["voice_trust"]) >= TRIFLE:
        return ""
    if baseline["neutral"]:
        return "There is too little of the person in them to go by; give more."
    if baseline["clips"] == 1:
        return "One clip hardly tells person from emotion; give clips of other moods, or say that it is neutral."
    return "They differ too little to tell person from emotion; add other moods, or say that they are neutral."


def _third(face: Reading, voice: Reading, both: Reading) -> bool:
    """Face and voice differ, and together they come out at a label that neither has: nobody said that."""
    if not (face.available and voice.available):
        return False
    alone = {int(face.probabilities.argmax()), int(voice.probabilities.argmax())}
    return len(alone) == 2 and int(both.probabilities.argmax()) not in alone


def _pull_apart(face: Reading, voice: Reading, confidence: float) -> bool:
    """Each alone is surer of its own label than both together are of any."""
    if not (face.available and voice.available):
        return False
    alone = min(float(face.probabilities.max()), float(voice.probabilities.max()))
    return int(face.probabilities.argmax()) != int(voice.probabilities.argmax()) and alone > confidence
