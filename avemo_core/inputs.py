"""Windows of a clip as tensors for the model, and the way back: what windows hold, laid on the clip's own time axis."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from . import timeline
from .model.branches.mel_cnn import STRIDE, shrink_mask
from .types import SOUND_HOP_S, FaceTrack, Sound


@dataclass(frozen=True)
class Inputs:
    """W windows. Windows overlap, so each frame stands once in `crops`, and `place` says which are a window's.

    Times are in seconds from the start of their window; masks hold 0 and 1.
    """

    crops: Tensor  # [n,1,S,S] in 0..1
    place: Tensor  # [W,T] rows of `crops`
    face_times: Tensor  # [W,T]
    face_mask: Tensor  # [W,T]
    voice: Tensor  # [W,1,M,L] log-mel, or [W,1,160,L] samples
    voice_mask: Tensor  # [W,L]
    voice_times: Tensor  # [W,L/8] of the branch's columns
    frames: list[np.ndarray]  # of each window, rows of the track
    columns: list[tuple[int, np.ndarray]]  # of each window, the place of its first column and the columns of the sound

    @property
    def columns_mask(self) -> Tensor:
        """[W,L/8] of the branch's columns."""
        return shrink_mask(self.voice_mask, STRIDE)

    def seen(self, maps: Tensor) -> Tensor:
        """Maps [n,D,h,w] of the crops -> [W,T,D,h,w] of the windows; one empty step where there is no crop."""
        return maps[self.place] if len(maps) else maps.new_zeros(len(self.place), 1, *maps.shape[1:])


def of(
    track: FaceTrack | None,
    greys: np.ndarray,
    sound: Sound | None,
    starts: np.ndarray,
    ends: np.ndarray,
    device: torch.device,
) -> Inputs:
    """The windows from `starts` to `ends` [W]; `greys` is timeline.grey of the track's crops."""

    def tensor(array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)).to(device)

    cut = timeline.windows(None, sound, starts, ends)
    none = np.zeros(0, int)
    frames = [none if track is None else timeline.face_rows(track, s, e) for s, e in zip(starts, ends, strict=True)]
    used = np.unique(np.concatenate(frames)).astype(int)
    steps = max(1, *map(len, frames))  # the fullest window's: a picture has one
    place, mask = np.zeros((len(starts), steps), int), np.zeros((len(starts), steps), bool)
    times = cut.face_times_s[:, :steps] - starts[:, None]
    for w, chosen in enumerate(frames):
        if track is not None and len(chosen):
            place[w, : len(chosen)] = np.searchsorted(used, chosen)
            mask[w, : len(chosen)] = track.present[chosen]
            times[w, : len(chosen)] = track.times_s[chosen] - starts[w]
    at = np.arange(0, cut.log_mel.shape[3], STRIDE) * SOUND_HOP_S
    held = [(0, none) if sound is None else timeline.sound_columns(sound, s, e) for s, e in zip(starts, ends, strict=True)]
    return Inputs(
        crops=torch.from_numpy(greys[used]).to(device)[:, None].float() / 255,
        place=torch.from_numpy(place).to(device),
        face_times=tensor(times),
        face_mask=tensor(mask),
        voice=tensor(cut.voice_input),
        voice_mask=tensor(cut.sound_valid),
        voice_times=tensor(np.tile(at, (len(starts), 1))),
        frames=frames,
        columns=held,
    )


def on_frames(maps: np.ndarray, given: Inputs, share: np.ndarray, total: int) -> np.ndarray:
    """Maps [W,...,T,h,w] of windows that weigh `share` [W] -> their sum [...,total,h,w] on the track's frames."""
    out = np.zeros((*maps.shape[1:-3], total, *maps.shape[-2:]), np.float32)
    for w, chosen in enumerate(given.frames):
        if len(chosen):
            out[..., chosen, :, :] += share[w] * maps[w][..., : len(chosen), :, :]
    return out


def on_columns(maps: np.ndarray, given: Inputs, share: np.ndarray, total: int, spread: bool = True) -> np.ndarray:
    """Maps [W,...,F,C] of windows that weigh `share` [W] -> their sum [...,F,total] on the sound's columns.

    A column of the maps covers several of the sound. `spread`: its value is shared out among those that exist, so that
    sums stay what they are; otherwise each of them has it.
    """
    out = np.zeros((*maps.shape[1:-1], total), np.float32)
    for w, (first, columns) in enumerate(given.columns):
        if len(columns):
            step = given.voice.shape[3] // maps.shape[-1]
            coarse = np.arange(first, first + len(columns)) // step
            part = 1 / np.bincount(coarse, minlength=maps.shape[-1])[coarse] if spread else 1.0
            out[..., columns] += share[w] * maps[w][..., coarse] * part
    return out
