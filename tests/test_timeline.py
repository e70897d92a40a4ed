"""One grid for face and voice: its edges, short clips, late sound, and marks on what is missing."""

import numpy as np
import pytest

from avemo_core import timeline
from avemo_core.types import FaceTrack, Sound


def track_at(times: list[float], present: list[bool] | None = None) -> FaceTrack:
    """A track whose n-th crop is n grey levels bright."""
    n = len(times)
    crops = np.repeat(np.arange(n, dtype=np.uint8), 64 * 64 * 3).reshape(n, 64, 64, 3)
    seen = np.ones(n, bool) if present is None else np.array(present)
    return FaceTrack(0, np.array(times), np.zeros((n, 4)), np.zeros((n, 5, 2)), crops, seen, np.ones(n))


def sound_of(columns: int, start_s: float = 0.0) -> Sound:
    """A sound whose n-th column holds the number n; every other column is voiced."""
    mel = np.tile(np.arange(columns, dtype=np.float32), (80, 1))
    return Sound(mel, np.zeros((40, columns), np.float32), np.arange(columns) % 2 == 0, start_s)


@pytest.mark.parametrize(
    ("duration", "every", "starts"),
    [
        (2.0, 0.5, [0]),
        (2.1, 0.5, [0]),  # a tenth of a second is not worth a window
        (2.2, 0.5, [0, 0.2]),
        (3.0, 0.5, [0, 0.5, 1.0]),
        (3.3, 0.5, [0, 0.5, 1.0, 1.3]),
        (4.4, 10.0, [0, 2.4]),  # however large the step, the end is read
        (3.0, 0.25, [0, 0.25, 0.5, 0.75, 1.0]),
    ],
)
def test_grid_steps_on_and_ends_with_the_clip(duration, every, starts):
    first, last = timeline.grid(duration, every)
    assert first == pytest.approx(starts) and last - first == pytest.approx(2.0)
    assert duration - last[-1] < 0.126


@pytest.mark.parametrize("duration", [0.0, 0.1, 0.7, 1.999])
def test_a_short_clip_is_one_window_of_its_own_length(duration):
    first, last = timeline.grid(duration)
    assert first.tolist() == [0] and last == pytest.approx([max(duration, 0.01)])


@pytest.mark.parametrize("every", [0, -1, np.nan, np.inf])
def test_steps_that_lead_nowhere_are_refused(every):
    with pytest.raises(ValueError, match=r"choose a positive one such as 0\.5"):
        timeline.grid(5.0, every)


def test_an_hour_has_a_window_each_half_second():
    assert len(timeline.grid(3600.0)[0]) == 7197


def test_frames_of_a_window_are_those_inside_it_and_the_end_is_outside():
    track = track_at([0.0, 0.5, 1.0, 1.9999999, 2.0, 2.5])
    assert timeline.face_rows(track, 0.0, 2.0).tolist() == [0, 1, 2]
    assert timeline.face_rows(track, 2.0, 4.0).tolist() == [3, 4, 5]
    assert timeline.face_rows(track, 5.0, 7.0).tolist() == []


def test_a_dense_track_is_thinned_evenly_to_both_ends():
    rows = timeline.face_rows(track_at([i / 100 for i in range(200)]), 0.0, 2.0)
    assert len(rows) == timeline.FACE_STEPS and rows[0] == 0 and rows[-1] == 199
    assert set(np.diff(rows)) <= {10, 11}


@pytest.mark.parametrize(
    ("start_s", "window", "place", "columns"),
    [
        (0.0, (0.0, 2.0), 0, range(200)),
        (0.0, (0.5, 2.5), 0, range(50, 250)),
        (0.5, (0.0, 2.0), 50, range(150)),  # half a second of the window has no sound yet
        (0.5, (0.5, 2.5), 0, range(200)),
        (-0.1, (0.0, 2.0), 0, range(10, 210)),
        (0.0, (2.9, 4.9), 0, range(290, 300)),  # the sound ends inside the window
        (0.0, (5.0, 7.0), 0, range(0)),
        (9.0, (0.0, 2.0), 900, range(0)),
        (0.0, (0.0, 0.3), 0, range(30)),
    ],
)
def test_columns_of_a_window_and_their_place_in_it(start_s, window, place, columns):
    where, found = timeline.sound_columns(sound_of(300, start_s), *window)
    assert found.tolist() == list(columns) and (where == place or not len(found))


def test_windows_hold_each_stream_at_its_own_time_and_mark_the_rest():
    starts, ends = timeline.grid(3.0, 1.0)
    track = track_at([i / 10 for i in range(30)], [i != 12 for i in range(30)])
    cut = timeline.windows(track, sound_of(200, 0.5), starts, ends)
    assert cut.faces.shape == (2, 20, 48, 48) and cut.log_mel.shape == (2, 1, 80, 200)
    assert cut.faces[1, :, 24, 24].tolist() == list(range(10, 30))
    assert cut.face_times_s[1] == pytest.approx(np.arange(10, 30) / 10)
    assert cut.face_present[0, 12] == False and cut.face_present[1, 2] == False and cut.face_present.sum() == 38  # noqa: E712
    assert not cut.sound_valid[0, :50].any() and cut.sound_valid[0, 50:].all()
    assert cut.log_mel[0, 0, 0, 50:].tolist() == list(range(150)) and not cut.log_mel[0, 0, :, :50].any()
    assert cut.log_mel[1, 0, 0, :150].tolist() == list(range(50, 200)) and not cut.sound_valid[1, 150:].any()
    assert cut.voiced[0].tolist() == [False] * 50 + [True, False] * 75
    assert cut.sound_times_s[1, 3] == pytest.approx(1.03)


def test_missing_streams_are_zero_and_marked_absent():
    cut = timeline.windows(None, None, *timeline.grid(2.5))
    assert not (cut.faces.any() or cut.face_present.any() or cut.log_mel.any() or cut.sound_valid.any() or cut.voiced.any())


def test_grey_is_luma_at_the_size_the_branch_learned():
    crops = np.zeros((2, 64, 64, 3), np.uint8)
    crops[0] = (255, 0, 0)
    crops[1] = (10, 200, 90)
    small = timeline.grey(crops)
    assert small.shape == (2, 48, 48) and small.dtype == np.uint8
    assert (small[0] == 76).all() and (small[1] == round(0.299 * 10 + 0.587 * 200 + 0.114 * 90)).all()
    assert timeline.grey(crops[:0]).shape == (0, 48, 48)
