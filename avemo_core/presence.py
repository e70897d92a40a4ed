"""Who is read, how much of each window shows that face or holds speech, and why a modality is not read at all."""

import numpy as np

from . import timeline
from .types import FACE_STEP_S, SOUND_HOP_S, AvemoError, Clip, FaceTrack, Sound

LEAST_FACE_S = 0.3  # less than this of a face, or of speech, is not read
LEAST_VOICE_S = 0.3
SHARE_NEEDED = 0.1  # of a window, for that window to count the modality


def choose(tracks: tuple[FaceTrack, ...], person: int | None) -> FaceTrack | None:
    """The track of that id, the largest where none is asked for; AvemoError where it is not in the clip."""
    if person is None:
        return tracks[0] if tracks else None
    for track in tracks:
        if track.track_id == person:
            return track
    there = f"persons 0 to {len(tracks) - 1}" if tracks else "no face"
    raise AvemoError(f"Person {person} was asked for, but this clip has {there}; leave the choice out to read the largest.")


def weights(
    clip: Clip, track: FaceTrack | None, heard: Sound | None, starts: np.ndarray, ends: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, str | None]]:
    """How much of each window [W] shows a face or holds speech, and why a modality is not read at all."""
    face, voice = np.zeros(len(starts)), np.zeros(len(starts))
    for w, (start, end) in enumerate(zip(starts, ends, strict=True)):
        if track is not None:
            rows = timeline.face_rows(track, start, end)
            face[w] = track.present[rows].mean() if len(rows) else 0.0
        if heard is not None:
            _, columns = timeline.sound_columns(heard, start, end)
            steps = max(1, min(timeline.SOUND_STEPS, round((end - start) / SOUND_HOP_S)))
            voice[w] = heard.voiced[columns].sum() / steps
    reasons = {"face": _why_no_face(clip, track), "voice": _why_no_voice(clip, heard)}
    if reasons["face"] is not None:
        face[:] = 0
    if reasons["voice"] is not None:
        voice[:] = 0
    face[face < SHARE_NEEDED] = 0
    voice[voice < SHARE_NEEDED] = 0
    if reasons["face"] is None and not face.any():
        reasons["face"] = "the face is seen too briefly"
    if reasons["voice"] is None and not voice.any():
        reasons["voice"] = "the voice is heard too briefly"
    both = face + voice
    return {"face": face, "voice": voice, "both": both}, reasons


def _why_no_face(clip: Clip, track: FaceTrack | None) -> str | None:
    if clip.video is None:
        return "no picture in this clip"
    if track is None or not track.present.any():
        return "no face in this clip"
    if not clip.is_image and clip.duration_s > 1 and track.present.sum() * FACE_STEP_S < LEAST_FACE_S:
        return "the face is seen too briefly"
    return None


def _why_no_voice(clip: Clip, heard: Sound | None) -> str | None:
    if heard is None or not clip.audio:
        return "no sound in this clip"
    if not heard.voiced.any():
        return "no voice in this clip"
    if heard.voiced.sum() * SOUND_HOP_S < LEAST_VOICE_S:
        return "the voice is heard too briefly"
    return None


def warnings(tracks: tuple[FaceTrack, ...], track: FaceTrack | None) -> tuple[str, ...]:
    """What a reader of the result should know about the faces: who was read, and where nobody was seen."""
    notes = []
    if len(tracks) > 1 and track is not None:
        which = "the largest" if track.track_id == 0 else f"person {track.track_id}"
        notes.append(f"{len(tracks)} faces were found; {which} is read.")
    if track is not None and len(track.times_s) > 1 and not track.present.all():
        missing = int((~track.present).sum())
        notes.append(f"No face in {missing} of {len(track.present)} sampled frames; these are left out of the face reading.")
    return tuple(notes)


def normed(weights: np.ndarray) -> np.ndarray:
    """Weights [W] that add to one; alike for all windows where none has any."""
    total = weights.sum()
    return weights / total if total > 0 else np.full(len(weights), 1 / len(weights))
