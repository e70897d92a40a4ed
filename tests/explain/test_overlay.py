"""A map laid over the face in the clip's own picture: where it lies, how it looks, and the video that is written."""

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from avemo_core import faces, synthetic
from avemo_core.explain import overlay, render
from avemo_core.explain.explanation import explain
from avemo_core.types import FACE_SIZE, AvemoError, Cancelled, ClipResult, Explanation
from tests.conftest import is_one_sentence
from tests.media_files import all_frames, write_clip


@pytest.fixture(scope="module")
def reading(analyzer, clip_of) -> tuple[ClipResult, Explanation]:
    """A clip of a drawn face that speaks, 160 x 160 at 10 frames a second, and its Grad-CAM."""
    result = analyzer.analyze(clip_of("talk.mp4"))
    return result, explain(analyzer, result, "gradcam")


def middle(result: ClipResult, explanation: Explanation) -> Explanation:
    """The explanation with another map of the face: the four middle cells of eight by eight, the same in every frame."""
    face = np.zeros((len(explanation.face_times_s), 8, 8), np.float32)
    face[:, 3:5, 3:5] = 1.0
    return replace(explanation, face=face, signed=False)


def decoded(path: Path) -> tuple[np.ndarray, float, int]:
    """Frames [n,H,W,3], seconds of the picture, samples of sound."""
    with av.open(str(path)) as file:
        pictures = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in file.decode(video=0)]
        rate = float(file.streams.video[0].average_rate)
    with av.open(str(path)) as file:
        samples = sum(frame.samples for frame in file.decode(audio=0)) if file.streams.audio else 0
    return np.stack([frame for _, frame in pictures]), pictures[-1][0] + 1 / rate, samples


def roughness(picture: np.ndarray, place: np.ndarray) -> float:
    """Mean squared difference of neighbouring pixels where `place` [H,W] is true."""
    grey = picture.astype(np.float32).mean(2)
    return float((np.diff(grey, axis=1)[place[:, 1:]] ** 2).mean())


def inside(result: ClipResult, explanation: Explanation, frame: int, least: float) -> np.ndarray:
    """bool [160,160]: where the map of a frame, laid into the picture, is at least so strong."""
    out = np.zeros((160, 160))
    rows, columns, values = overlay.laid(explanation.face[frame], tuple(overlay.spots(result)[frame]), (160, 160))
    out[rows, columns] = values
    return out >= least


@pytest.mark.parametrize("degrees", [0, 30, -75])
@pytest.mark.parametrize("scale", [0.6, 2.5])
def test_a_map_lies_where_its_crop_was_cut_out(degrees, scale):
    turn = scale * np.exp(1j * np.radians(degrees))
    places = turn * ((faces.TEMPLATE - 0.5) @ (1, 1j)) * FACE_SIZE + (150 + 120j)
    factor, offset = faces.placement(np.stack([places.real, places.imag], 1))
    rows, columns, values = overlay.laid(np.eye(4), (factor * FACE_SIZE / 300, offset / 300), (240, 300))
    whole = np.zeros((240, 300, 3), np.uint8)
    whole[rows, columns] = np.round(values * 255)[..., None]
    found = faces.align(whole, np.stack([places.real, places.imag], 1))[2:-2, 2:-2, 0] / 255  # the edge is mixed with 0
    assert found == pytest.approx(render.stretched(np.eye(4), FACE_SIZE, FACE_SIZE)[2:-2, 2:-2], abs=0.1)
    assert whole[:, :20].max() == 0


def test_a_crop_outside_the_picture_marks_nothing():
    rows, columns, values = overlay.laid(np.ones((4, 4)), (0.2 + 0j, 1.5 + 0.1j), (100, 100))
    assert values.size == 0 and np.zeros((100, 100))[rows, columns].size == 0


def test_between_two_samples_the_crop_moves_on_a_straight_line(reading):
    track, places = reading[0].faces[0], overlay.spots(reading[0])
    n, spot = overlay.spot_at(track, places, float(track.times_s[3] + track.times_s[4] * 3) / 4)
    assert n == 4 and spot == pytest.approx(tuple((places[3] + 3 * places[4]) / 4))
    assert overlay.spot_at(track, places, 99.0) == (len(places) - 1, tuple(places[-1]))
    gone = replace(track, present=np.arange(len(places)) < 4)
    assert overlay.spot_at(gone, places, track.times_s[3] + 0.02) == (3, tuple(places[3]))
    assert overlay.spot_at(gone, places, track.times_s[5]) is None


def test_the_heat_is_on_the_face_and_as_strong_as_asked(reading, tmp_path):
    result, found = reading
    found = middle(*reading)
    frame = all_frames(result.clip)[0][5]
    at = float(result.faces[0].times_s[5])
    strong = overlay.Overlay(result, found, "heat", 1.0).draw(frame, at).astype(int)
    weak = overlay.Overlay(result, found, "heat", 0.4).draw(frame, at).astype(int)
    marked, near = inside(result, found, 5, 0.9), inside(result, found, 5, 1e-6)
    assert np.abs(strong - frame)[marked].mean() > 30
    assert np.array_equal(strong[~near], frame[~near])
    assert np.abs(weak - frame)[marked].mean() == pytest.approx(0.4 * np.abs(strong - frame)[marked].mean(), rel=0.05)
    assert np.array_equal(overlay.Overlay(result, found, "heat", 0.0).draw(frame, at), frame)


def test_outside_or_inside_the_map_the_picture_is_blurred_and_elsewhere_it_stays(reading):
    result, found = reading[0], middle(*reading)
    frame = all_frames(result.clip)[0][5]
    at = float(result.faces[0].times_s[5])
    kept, rest = (overlay.Overlay(result, found, look).draw(frame, at) for look in ("kept", "rest"))
    marked, outside = inside(result, found, 5, 0.999), ~inside(result, found, 5, 1e-6)
    assert np.array_equal(kept[marked], frame[marked]) and np.array_equal(rest[outside], frame[outside])
    assert roughness(kept, outside) < 0.1 * roughness(frame, outside)
    assert roughness(rest, marked) < 0.1 * roughness(frame, marked)


def test_a_zero_map_changes_nothing_and_keeps_nothing(reading):
    result, found = reading[0], replace(reading[1], face=np.zeros_like(reading[1].face))
    frame = all_frames(result.clip)[0][5]
    heat, kept, rest = (overlay.Overlay(result, found, look).draw(frame, 0.5) for look in overlay.LOOKS)
    assert np.array_equal(heat, frame) and np.array_equal(rest, frame)
    everywhere = np.ones((160, 160), bool)
    assert roughness(kept, everywhere) < 0.1 * roughness(frame, everywhere)


def test_a_video_is_as_long_as_its_clip_and_keeps_its_sound(reading, tmp_path):
    result, found = reading[0], middle(*reading)
    told: list[float] = []
    overlay.write(result, found, tmp_path / "heat.mp4", progress=lambda done, total: told.append(done / total))
    pictures, seconds, samples = decoded(tmp_path / "heat.mp4")
    assert pictures.shape == (24, 160, 160, 3) and seconds == pytest.approx(result.clip.duration_s, abs=0.1)
    assert samples / overlay.RATE == pytest.approx(result.clip.duration_s, abs=0.1)
    assert told == sorted(told) and told[-1] == 1
    original = all_frames(result.clip)[0].astype(int)
    marked, near = inside(result, found, 5, 0.9), inside(result, found, 5, 1e-6)
    change = np.abs(pictures[5].astype(int) - original[5])
    assert change[marked].mean() > 30 and change[~near].mean() < 4  # what coding alone changes


@pytest.mark.parametrize(
    ("name", "size", "rotation"),
    [("turned.mp4", (160, 200), 90), ("upside_down.mp4", (160, 160), 180), ("odd.webm", (161, 201), 0)],
)
def test_a_turned_or_odd_clip_has_its_map_on_the_face(analyzer, tmp_path, name, size, rotation):
    face = synthetic.draw_face(synthetic.PEOPLE["mara"], "happiness", size)
    write_clip(tmp_path / name, 0.8, 10, size, audio=False, rotation=rotation, frames=[face] * 8)
    result = analyzer.analyze(tmp_path / name)
    found = middle(result, explain(analyzer, result, "cam"))
    overlay.write(result, found, tmp_path / "out.mp4")
    pictures, seconds, samples = decoded(tmp_path / "out.mp4")
    assert pictures.shape[1:3] == (size[1] // 2 * 2, size[0] // 2 * 2) and samples == 0
    assert seconds == pytest.approx(0.8, abs=0.1)
    change = np.abs(pictures[4].astype(int) - face[: pictures.shape[1], : pictures.shape[2]]).mean(2)
    factor, offset = overlay.spots(result)[4] * size[0]
    middle_of_crop = offset + factor * (0.5 + 0.5j)
    x, y = round(middle_of_crop.real), round(middle_of_crop.imag)
    assert change[y - 3 : y + 3, x - 3 : x + 3].mean() > 30 and change[:20].mean() < 10


def test_a_sound_that_starts_late_starts_late_in_the_video(analyzer, clip_of, tmp_path):
    result = analyzer.analyze(clip_of("late.mp4"))
    overlay.write(result, explain(analyzer, result, "cam"), tmp_path / "late.mp4")
    with av.open(str(tmp_path / "late.mp4")) as file:
        first = next(file.decode(audio=0))
    assert first.time == pytest.approx(result.clip.audio[0].start_s, abs=0.07)  # an AAC block of silence may come first


def test_a_video_that_is_given_up_leaves_no_file(reading, tmp_path):
    def give_up(done: float, total: float) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        overlay.write(*reading, tmp_path / "x.mp4", progress=give_up)
    assert not list(tmp_path.iterdir())


def test_what_has_no_video_is_said_in_one_sentence(reading, analyzer, clip_of):
    for name, said in (
        ("voice.wav", "no picture in this clip"),
        ("nobody.mp4", "no face in this clip"),
        ("photo.png", "still picture"),
    ):
        result = analyzer.analyze(clip_of(name))
        with pytest.raises(AvemoError, match=said) as refused:
            overlay.Overlay(result, explain(analyzer, result, "cam"))
        assert is_one_sentence(str(refused.value))
    with pytest.raises(AvemoError, match="choose one of heat, kept, rest"):
        overlay.Overlay(*reading, "cold")
    for opacity in (-0.1, 1.5, float("nan")):
        with pytest.raises(AvemoError, match="from 0"):
            overlay.Overlay(*reading, "heat", opacity)
