import io
import json
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from avemo_core.analyzer import Analyzer
from avemo_core.labels import EMOTIONS, LABELS
from avemo_core.types import ClipResult
from avemo_core.web import figures, record, wording

CLIPS = ("talk.mp4", "voice.wav", "silent.mp4", "nobody.mp4", "two.mp4", "late.mp4", "black.mp4", "silence.wav", "photo.png")


@pytest.fixture(scope="module")
def read(analyzer: Analyzer, clip_of):
    """The reading of a generated clip by its name, each made once."""
    made: dict[str, ClipResult] = {}

    def read(name: str) -> ClipResult:
        if name not in made:
            made[name] = analyzer.analyze(clip_of(name))
        return made[name]

    return read


@pytest.mark.parametrize("name", CLIPS)
def test_every_kind_of_clip_fills_the_page_and_every_download(read, name: str) -> None:
    result = read(name)
    page = record.page_record(result)
    assert json.loads(json.dumps(page, allow_nan=False)) is not None
    assert page["name"] == name
    for kind, media in record.DOWNLOADS.items():
        body, said = record.download(result, kind)
        assert said == media
        assert len(body) > 100
    drawing = ElementTree.fromstring(figures.export(result, "svg"))
    assert wording.verdict(result)[0].text.strip() in "".join(drawing.itertext())
    assert Image.open(io.BytesIO(figures.export(result, "png"))).width == 2 * figures.WIDTH


def test_timeline_holds_the_probabilities_of_the_record(read) -> None:
    result = read("late.mp4")
    figure = figures.timeline(result)
    lines = {trace.name: trace for trace in figure.data}
    assert set(lines) == set(LABELS)
    for k, label in enumerate(LABELS):
        assert np.allclose(lines[label].y[1:-1], result.both.windows[:, k])
        assert lines[label].x[0] == 0
        assert lines[label].x[-1] == pytest.approx(result.clip.duration_s)
        assert lines[label].line.color == EMOTIONS[label].light.line
    assert figures.timeline(result, dark=True).data[0].line.color == EMOTIONS[LABELS[-1]].dark.line
    assert (figure.layout.margin.l, figure.layout.margin.r) == (0, 0), "or the strips below would not line up"


def test_raw_maps_add_up_to_the_logit_that_the_page_states(read) -> None:
    result = read("talk.mp4")
    maps = np.load(io.BytesIO(figures.export(result, "npz")), allow_pickle=False)
    page = record.page_record(result)["evidence"]
    for k, label in enumerate(LABELS):
        total = maps["bias"][k] + maps["face"][k].sum() + maps["voice"][k].sum()
        assert page[label]["logit"] == pytest.approx(float(total), abs=1e-4)
    assert maps["voice_times_s"].shape == (maps["voice"].shape[2],)
    assert "voice" not in np.load(io.BytesIO(figures.export(read("silent.mp4"), "npz")))


def test_unknown_export_is_refused_with_the_valid_ones(read) -> None:
    with pytest.raises(ValueError, match="svg, png, npz"):
        figures.export(read("talk.mp4"), "gif")


def test_table_has_a_row_for_each_window_and_no_number_for_what_was_not_read(read) -> None:
    result = read("voice.wav")
    head, *rows = [line.split(",") for line in record.csv(result).splitlines()]
    assert head[:4] == ["file", "start", "end", "both_neutral"]
    assert len(rows) == len(result.window_start_s)
    faces = [i for i, name in enumerate(head) if name.startswith("face_")]
    assert all(row[i] == "" for row in rows for i in faces)
    both = [i for i, name in enumerate(head) if name.startswith("both_")]
    assert sum(float(rows[0][i]) for i in both) == pytest.approx(1, abs=1e-3)


def confident(result: ClipResult, label: str, **changes: object) -> ClipResult:
    """The reading as if it had been sure of `label`."""
    verdict = replace(result.verdict, label=label, confidence=0.8, abstained=False, reason=None, agreement=None)
    return replace(result, verdict=replace(verdict, **changes))  # type: ignore[arg-type]


def said(parts: list[wording.Part]) -> str:
    return "".join(part.text for part in parts)


def peaked(label: str, height: float) -> np.ndarray:
    out = np.full(7, (1 - height) / 6)
    out[LABELS.index(label)] = height
    return out


@pytest.mark.parametrize(
    ("face", "voice", "opening"),
    [
        (("anger", 0.8), ("anger", 0.6), "Both face and voice express anger"),
        (("anger", 0.8), ("fear", 0.6), "Face and voice together express anger"),
        (("anger", 0.8), ("anger", 0.15), "Face and voice together express anger"),
        (("anger", 0.8), None, "The face expresses anger"),
        (None, ("anger", 0.6), "The voice expresses anger"),
        (("neutral", 0.8), ("neutral", 0.6), "Both face and voice are neutral"),
        (("neutral", 0.8), ("fear", 0.6), "Face and voice together are neutral"),
        (("neutral", 0.8), None, "The face looks neutral"),
        (None, ("neutral", 0.6), "The voice sounds neutral"),
    ],
)
def test_sentence_names_who_expresses_it(read, face, voice, opening: str) -> None:
    result = confident(read("talk.mp4"), opening.split()[-1])

    def of(reading, peak):
        return replace(reading, available=peak is not None, probabilities=peaked(*(peak or ("anger", 0.5))))

    sentence = said(wording.verdict(replace(result, face=of(result.face, face), voice=of(result.voice, voice))))
    assert sentence.startswith(opening)
    assert sentence.endswith(".")


def course(result: ClipResult, happiness: list[float], duration: float) -> ClipResult:
    """The reading as if the windows, one every half second, had said this."""
    starts = np.arange(len(happiness)) * 0.5
    windows = np.stack([peaked("happiness", p) for p in happiness])
    return replace(
        confident(result, "happiness"),
        window_start_s=starts,
        window_end_s=starts + 2.0,
        both=replace(result.both, windows=windows),
        clip=replace(result.clip, duration_s=duration),
    )


def test_clearest_span_is_round_the_peak_down_to_half_its_rise(read) -> None:
    result = course(read("talk.mp4"), [0.2, 0.2, 0.7, 0.8, 0.2, 0.2, 0.2], 5.0)
    # middles 1.0, 1.5, ...: the third and fourth window's turn is from 1.75 to 2.75 s
    assert wording.clearest(result) == (1.75, 2.75)
    assert said(wording.verdict(result)).endswith("happiness, most clearly from 1.8 to 2.8 s.")


@pytest.mark.parametrize("happiness", [[0.8, 0.82, 0.79, 0.8, 0.8], [0.2, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8]])
def test_no_clearest_span_where_it_says_nothing(read, happiness: list[float]) -> None:
    assert wording.clearest(course(read("talk.mp4"), happiness, 5.0)) is None


def test_ribbon_covers_the_clip_and_says_where_two_are_close(read) -> None:
    spans = wording.ribbon(course(read("talk.mp4"), [0.15, 0.15, 0.7, 0.8], 3.5))
    assert [(span.start_s, span.end_s, span.label) for span in spans] == [(0.0, 1.75, None), (1.75, 3.5, "happiness")]


def test_frequency_sentence_only_where_it_was_measured(read) -> None:
    result = read("talk.mp4")
    assert "Of 100 clips" not in wording.confidence(confident(result, "anger", agreement=None))
    text = wording.confidence(confident(result, "anger", agreement=0.786))
    assert text.startswith("Of 100 clips read with this confidence, about 79 were right. Next: ")


def test_abstaining_says_why_and_what_each_one_reads(read) -> None:
    result = read("talk.mp4")
    torn = replace(
        confident(result, "anger", abstained=True, reason="face and voice disagree", confidence=0.3),
        face=replace(result.face, available=True, probabilities=peaked("happiness", 0.7)),
        voice=replace(result.voice, available=True, probabilities=peaked("anger", 0.15)),
    )
    assert said(wording.verdict(torn)) == "No clear reading: face and voice disagree."
    assert (
        said(wording.detail(torn)) == "The face alone points to happiness 0.70, the voice alone points to no single emotion."
    )


@pytest.mark.parametrize(("duration", "wanted"), [(0.3, 0.1), (4.2, 0.5), (9.0, 1), (75, 10), (1800, 300)])
def test_ticks_are_round_and_few(duration: float, wanted: float) -> None:
    ticks = wording.ticks(duration)
    assert ticks[1] - ticks[0] == pytest.approx(wanted)
    assert len(ticks) <= 11
    assert ticks[-1] <= duration + 1e-6
