"""One grid of windows for face and voice; inside a window each stream keeps its own rate and its own true times."""

import numpy as np

from .types import FACE_STEP_S, MELS, SOUND_HOP_S, WINDOW_HOP_S, WINDOW_S, FaceTrack, Sound, Windows

FACE_STEPS = round(WINDOW_S / FACE_STEP_S)
SOUND_STEPS = round(WINDOW_S / SOUND_HOP_S)
FACE_INPUT = 48  # pixels: the resolution of the pictures the face branch learned from


def grid(duration_s: float, every_s: float = WINDOW_HOP_S) -> tuple[np.ndarray, np.ndarray]:
    """Starts and ends [W]: every `every_s`, the last window ending with the clip; a short clip is one window."""
    if not 0 < every_s < np.inf:
        raise ValueError(f"Windows must move on: got a step of {every_s} s; choose a positive one such as {WINDOW_HOP_S}.")
    if duration_s <= WINDOW_S + 1e-6:
        return np.zeros(1), np.array([max(duration_s, SOUND_HOP_S)])
    starts = np.arange(0.0, duration_s - WINDOW_S + 1e-6, every_s)
    if duration_s - WINDOW_S - starts[-1] > min(every_s, WINDOW_HOP_S) / 4:
        starts = np.append(starts, duration_s - WINDOW_S)
    return starts, starts + WINDOW_S


def grey(crops: np.ndarray) -> np.ndarray:
    """Colour crops uint8 [n,S,S,3] -> grey uint8 [n,48,48], as the face branch reads them; such ones stay as they are."""
    import torch
    import torch.nn.functional as F

    if crops.ndim == 3:
        return crops
    if not len(crops):
        return np.zeros((0, FACE_INPUT, FACE_INPUT), np.uint8)
    weights = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601 luma
    luma = torch.from_numpy(crops.astype(np.float32) @ weights)[:, None]
    small = F.interpolate(luma, size=(FACE_INPUT, FACE_INPUT), mode="bilinear", antialias=True, align_corners=False)
    return small[:, 0].round().clamp(0, 255).to(torch.uint8).numpy()


def face_rows(track: FaceTrack, start_s: float, end_s: float) -> np.ndarray:
    """Row numbers of the track's frames inside [start, end), at most FACE_STEPS, evenly thinned where there are more."""
    rows = np.flatnonzero((track.times_s >= start_s - 1e-6) & (track.times_s < end_s - 1e-6))
    if len(rows) > FACE_STEPS:
        rows = rows[np.linspace(0, len(rows) - 1, FACE_STEPS).round().astype(int)]
    return rows


def sound_columns(sound: Sound, start_s: float, end_s: float) -> tuple[int, np.ndarray]:
    """(place of the first column inside the window, columns of `sound`) for [start, end); late sound leaves a gap."""
    steps = min(SOUND_STEPS, max(1, round((end_s - start_s) / SOUND_HOP_S)))
    first = round((start_s - sound.start_s) / SOUND_HOP_S)
    columns = np.arange(max(0, first), min(sound.log_mel.shape[1], first + steps))
    return max(0, -first), columns


def windows(
    track: FaceTrack | None, sound: Sound | None, starts: np.ndarray, ends: np.ndarray, greys: np.ndarray | None = None
) -> Windows:
    """Cuts one face track and the sound into windows; what is missing stays zero and is marked so.

    `greys` is grey(track.crops) where the caller already has it.
    """
    count = len(starts)
    faces = np.zeros((count, FACE_STEPS, FACE_INPUT, FACE_INPUT), np.uint8)
    face_times = np.tile(np.arange(FACE_STEPS) * FACE_STEP_S, (count, 1)) + starts[:, None]
    present = np.zeros((count, FACE_STEPS), bool)
    mel = np.zeros((count, 1, MELS, SOUND_STEPS), np.float32)
    sound_times = np.tile(np.arange(SOUND_STEPS) * SOUND_HOP_S, (count, 1)) + starts[:, None]
    valid = np.zeros((count, SOUND_STEPS), bool)
    voiced = np.zeros((count, SOUND_STEPS), bool)
    samples = None
    if sound is not None and sound.samples is not None:
        samples = np.zeros((count, 1, len(sound.samples), SOUND_STEPS), np.float32)
    if track is not None:
        greys = grey(track.crops) if greys is None else greys
        for w in range(count):
            rows = face_rows(track, starts[w], ends[w])
            faces[w, : len(rows)] = greys[rows]
            face_times[w, : len(rows)] = track.times_s[rows]
            present[w, : len(rows)] = track.present[rows]
    if sound is not None:
        for w in range(count):
            place, columns = sound_columns(sound, starts[w], ends[w])
            into = slice(place, place + len(columns))
            mel[w, 0, :, into] = sound.log_mel[:, columns]
            valid[w, into] = True
            voiced[w, into] = sound.voiced[columns]
            if samples is not None and sound.samples is not None:
                samples[w, 0, :, into] = sound.samples[:, columns]
    return Windows(starts, ends, faces, face_times, present, mel, sound_times, valid, voiced, samples)
