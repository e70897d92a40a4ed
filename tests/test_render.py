import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from avemo_core.analyzer import Analyzer
from avemo_core.explain import drawing, render
from avemo_core.labels import LABELS, index
from avemo_core.types import ClipResult, Evidence


@pytest.fixture(scope="module")
def talk(analyzer: Analyzer, clip_of) -> ClipResult:
    return analyzer.analyze(clip_of("talk.mp4"))


def evidence(face: np.ndarray | None = None, voice: np.ndarray | None = None) -> Evidence:
    """Maps given by hand: one frame a tenth of a second, one sound column a hundredth."""
    frames = 0 if face is None else face.shape[1]
    columns = 0 if voice is None else voice.shape[2]
    return Evidence(
        "by hand",
        np.zeros(7),
        face,
        np.arange(frames) * 0.1,
        voice,
        np.arange(columns) * 0.01,
        np.linspace(60, 8000, 3),
    )


def test_ramp_runs_from_dark_to_light() -> None:
    colours = render.ramp(np.array([0.0, 1.0]))
    assert colours.tolist() == [[0x3B, 0x0F, 0x70], [0xFC, 0xFD, 0xBF]]
    brightness = render.ramp(np.linspace(0, 1, 50)).astype(int).sum(1)
    assert (np.diff(brightness) >= 0).all()


def test_heat_shows_what_raised_the_label_and_nothing_else() -> None:
    alpha = render.heat(np.array([[-2.0, 0.0, 1.0, 2.0, 4.0]]), scale=2.0)[0, :, 3]
    assert alpha.tolist() == [0, 0, 128, 255, 255]


@pytest.mark.parametrize("values", [np.zeros((4, 4)), -np.ones((4, 4))])
def test_map_without_evidence_is_drawn_as_nothing(values: np.ndarray) -> None:
    assert not render.heat(values, scale=0.0)[..., 3].any()
    assert not render.heat(values, scale=1.0)[..., 3].any()
    assert render.contour_level(values, 1.0) is None


def test_one_scale_serves_both_streams_and_all_labels() -> None:
    face, voice = np.zeros((7, 2, 3, 3)), np.zeros((7, 2, 8))
    face[1, 0, 1, 1] = 0.3
    voice[4, 0, :8] = 0.05  # one cell of the voice covers eight columns: 0.4
    assert render.scale(evidence(face, voice)) == pytest.approx(0.4)
    assert render.scale(evidence(face)) == pytest.approx(0.3)
    assert render.scale(evidence(-face, -voice)) == 0.0
    assert render.scale(evidence()) == 0.0


def test_voice_cells_keep_the_sum_of_the_columns() -> None:
    voice = np.random.default_rng(0).normal(size=(7, 2, 20))
    values, times = render._voice_cells(evidence(voice=voice))
    assert values is not None
    assert values.shape == (7, 2, 3)  # 8 + 8 + 4 columns
    assert np.allclose(values.sum(2), voice.sum(2))
    assert np.allclose(times, [0.035, 0.115, 0.175])


def test_contour_goes_round_the_strongest_fifth() -> None:
    values = np.zeros((10, 10))
    values[2:6, 3:8] = np.arange(20).reshape(4, 5) + 10.0  # a fifth of the cells
    level = render.contour_level(values, whole=29.0)
    assert level is not None
    assert (values > level).mean() <= render.TOP_SHARE
    lines = render.contours(values, np.arange(10.0), np.arange(10.0), level)
    assert len(lines) == 1
    assert np.allclose(lines[0][0], lines[0][-1]), "it is closed"
    assert lines[0][:, 0].min() > 2
    assert lines[0][:, 1].max() < 6


def test_strip_shows_each_span_its_own_frame_and_leaves_gaps(talk: ClipResult) -> None:
    track = render.person(talk)
    assert track is not None
    cells = render.strip_cells(talk)
    assert len(cells) == render.CELLS
    assert cells[0].start_s == 0
    assert cells[-1].end_s == pytest.approx(talk.clip.duration_s)
    for cell in cells:
        assert cell.frame is not None
        assert cell.start_s - 0.11 <= track.times_s[cell.frame] < cell.end_s
    half = track.times_s < 1.2
    hidden = replace(track, present=track.present & half)
    gone = replace(talk, faces=(hidden,))
    absent = [cell.frame is None for cell in render.strip_cells(gone)]
    assert absent == [cell.start_s > 1.3 for cell in cells]
    strip = render.face_strip(gone)
    assert not strip[:, -render.CELL_PX :, 3].any(), "no face is drawn where none was seen"
    assert not render.face_evidence(gone, "happiness")[:, -render.CELL_PX :, 3].any()


def test_pictures_of_a_reading_have_the_sizes_of_their_lanes(talk: ClipResult) -> None:
    shapes = {
        name: np.asarray(Image.open(io.BytesIO(render.image(talk, name, "happiness")))).shape for name in render.IMAGES
    }
    assert shapes["faces"] == shapes["face_evidence"] == (96, 96 * render.CELLS, 4)
    assert shapes["spectrogram"] == shapes["voice_evidence"]
    assert shapes["spectrogram"][:2] == (240, round(talk.clip.duration_s * 100))


@pytest.mark.parametrize(("name", "label"), [("nose", "happiness"), ("faces", "joy")])
def test_unknown_picture_or_label_is_refused_with_the_valid_ones(talk: ClipResult, name: str, label: str) -> None:
    with pytest.raises(ValueError, match="choose one of"):
        render.image(talk, name, label)


def test_evidence_lies_where_and_as_strong_as_in_the_raw_map(talk: ClipResult) -> None:
    k = index("happiness")
    face = np.zeros_like(talk.evidence.face)
    at = render.strip_cells(talk)[5].frame
    face[k, at, 1, 4] = 2.0  # second row, fifth column of six
    painted = render.face_evidence(replace(talk, evidence=replace(talk.evidence, face=face)), "happiness")[..., 3]
    cell = painted[:, 5 * 96 : 6 * 96]
    row, column = np.unravel_index(cell.argmax(), cell.shape)
    assert abs(row - 1.5 / 6 * 96) <= 2
    assert abs(column - 4.5 / 6 * 96) <= 2
    assert cell.max() >= 230  # pixels lie beside the cell's very middle
    shown_elsewhere = np.delete(painted, np.s_[5 * 96 : 6 * 96], axis=1)
    assert shown_elsewhere.max() == 0 or render.strip_cells(talk)[4].frame == at or render.strip_cells(talk)[6].frame == at


def test_voice_evidence_keeps_seconds_and_hertz(talk: ClipResult) -> None:
    voice = np.zeros_like(talk.evidence.voice)
    voice[index("anger"), 0, 100:120] = 1.0  # lowest band, 1.0 to 1.2 s
    marked = replace(talk, evidence=replace(talk.evidence, face=None, voice=voice))
    alpha = render.voice_evidence(marked, "anger")[..., 3]
    rows, columns = np.nonzero(alpha > 128)
    assert rows.min() > 0.85 * alpha.shape[0], "low is at the bottom"
    assert columns.min() / 100 == pytest.approx(1.0, abs=0.05)
    assert columns.max() / 100 == pytest.approx(1.2, abs=0.05)
    (line,) = render.voice_contours(marked, "anger")
    assert line[:, 1].min() > 0.8
    assert line[:, 0].mean() * talk.clip.duration_s == pytest.approx(1.1, abs=0.05)


def test_sound_that_starts_late_starts_late_in_the_picture(analyzer: Analyzer, clip_of) -> None:
    late = analyzer.analyze(clip_of("late.mp4"))
    assert late.sound is not None
    seen = np.flatnonzero(render.spectrogram(late)[0, :, 3])
    assert seen[0] / 100 == pytest.approx(late.sound.start_s, abs=0.03)
    assert late.sound.start_s > 0.5


def test_silence_is_drawn_dark(analyzer: Analyzer, clip_of) -> None:
    picture = render.spectrogram(analyzer.analyze(clip_of("silence.wav")))
    assert picture[..., :3].max() <= 0x21
    assert not render.voice_evidence(analyzer.analyze(clip_of("silence.wav")), "fear")[..., 3].any()


def test_long_clip_keeps_its_short_peak() -> None:
    values = np.zeros((1, 100_000))
    values[0, 54_321] = 1.0
    grid = render._time_grid(1000.0)
    assert len(grid) == render.WIDEST_PX
    shown, _ = render._over_time(values, np.arange(100_000) * 0.01, 0.01, grid)
    assert shown.max() == 1.0
    assert grid[shown[0].argmax()] == pytest.approx(543.21, abs=1.0)


def test_ticks_stand_at_their_hertz() -> None:
    ticks = dict(render.frequency_ticks())
    assert ticks[8000.0] == pytest.approx(0.0, abs=1e-6)
    mel = 2595 * np.log10(1 + np.array([60, 1000, 8000]) / 700)
    assert ticks[1000.0] == pytest.approx((mel[2] - mel[1]) / (mel[2] - mel[0]), abs=0.005)


def test_dashes_cut_a_line_by_its_length() -> None:
    pieces = drawing.dashes([(0, 0), (10, 0), (10, 10)], (6, 2))
    assert [piece[0] for piece in pieces] == [(0, 0), (8, 0), (10, 6)]
    assert pieces[1] == [(8, 0), (10, 0), (10, 4)]


@pytest.mark.parametrize("label", LABELS)
def test_glyphs_become_lines_inside_their_square(label: str) -> None:
    from avemo_core.labels import EMOTIONS

    shapes = drawing.icon(EMOTIONS[label].icon, 100, 200, 20, "#000000")
    points = np.array([point for shape in shapes for point in shape.points])  # type: ignore[union-attr]
    assert len(shapes) >= 3
    assert points[:, 0].min() >= 101
    assert points[:, 0].max() <= 119
    assert points[:, 1].min() >= 201
    assert points[:, 1].max() <= 219


def test_an_outline_holds_the_strongest_fifth_of_the_drawn_map() -> None:
    values = np.arange(10.0)[:, None].repeat(10, axis=1)
    (line,) = render.top_outline(render.stretched(values, 96, 96))
    assert line.min(0) == pytest.approx([0, 0.8], abs=0.02)  # the two last rows, from edge to edge
    assert line.max(0) == pytest.approx([1, 1], abs=0.02)
    (again,) = render.top_outline(1000 * render.stretched(values, 96, 96))
    assert again == pytest.approx(line)  # of the values, not of the scale they are drawn on
    few = np.zeros((10, 10))
    few[2, 3] = 1  # less than a fifth is above zero: only that
    (line,) = render.top_outline(few)
    assert line.min(0) == pytest.approx([0.25, 0.15])  # as far as the cell reaches between the middles of its neighbours
    assert line.max(0) == pytest.approx([0.45, 0.35])


@pytest.mark.parametrize("values", [np.zeros((6, 6)), np.full((6, 6), 0.3), -np.eye(6), np.zeros((0, 6))])
def test_an_even_map_or_one_against_the_target_has_no_outline(values: np.ndarray) -> None:
    assert render.top_outline(values) == []


def test_a_path_has_only_the_points_where_it_turns() -> None:
    square = np.array([(0, 0), (0.25, 0), (0.5, 0), (0.5, 0.5), (0.5, 0.5), (0, 0.5), (0, 0)])
    assert render.svg_path([square]) == "M0 0L500 0L500 500L0 500L0 0"
    assert render.svg_path([]) == ""
