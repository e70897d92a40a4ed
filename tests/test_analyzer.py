"""The whole line, from a file to a reading, on generated clips. Which emotion it says is not asserted here."""

import json
from dataclasses import replace

import numpy as np
import pytest

from avemo_core import synthetic, timeline
from avemo_core.analyzer import Analyzer
from avemo_core.labels import LABELS
from avemo_core.synthetic import PEOPLE
from avemo_core.types import AvemoError, Cancelled, MediaError
from tests import media_files

KEYS = ["clip_id", "path", "duration_s", "verdict", "probabilities", "face", "voice", "windows"]
KEYS += ["faces", "shares", "conflict", "warnings", "baseline", "model_id", "timings"]


@pytest.fixture(scope="module")
def results(analyzer, clip_of):
    """The reading of a generated clip, made once."""
    known: dict[str, object] = {}

    def read(name: str):
        if name not in known:
            known[name] = analyzer.analyze(clip_of(name))
        return known[name]

    return read


EVERY = ["talk.mp4", "voice.wav", "silent.mp4", "nobody.mp4", "two.mp4", "late.mp4", "black.mp4", "silence.wav", "photo.png"]


@pytest.mark.parametrize("name", EVERY)
def test_every_reading_is_whole(results, name):
    result = results(name)
    count = len(result.window_start_s)
    for reading in (result.face, result.voice, result.both):
        assert reading.windows.shape == (count, 7) and reading.probabilities.shape == (7,)
        assert reading.windows.sum(1) == pytest.approx(np.ones(count)) and reading.probabilities.sum() == pytest.approx(1)
        assert reading.available is (reading.reason is None)
    assert sum(result.shares.values()) == pytest.approx(result.both.probabilities.max())
    assert result.verdict.label == LABELS[int(result.both.probabilities.argmax())]
    assert result.verdict.confidence == pytest.approx(result.both.probabilities.max())
    assert result.verdict.abstained is (result.verdict.reason is not None)
    record = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert list(record) == KEYS
    assert {"label", "confidence", "abstained", "reason"} <= set(record["verdict"])
    assert list(record["probabilities"]) == list(LABELS)
    assert (
        all(set(w) == {"start_s", "end_s", "probabilities"} for w in record["windows"]) and len(record["windows"]) == count
    )
    assert set(record["timings"]) == {"media", "faces", "sound", "model", "total"}


AVAILABLE = {
    "talk.mp4": (None, None),
    "voice.wav": ("no picture in this clip", None),
    "silent.mp4": (None, "no sound in this clip"),
    "nobody.mp4": ("no face in this clip", None),
    "two.mp4": (None, None),
    "late.mp4": (None, None),
    "black.mp4": ("no face in this clip", "no sound in this clip"),
    "silence.wav": ("no picture in this clip", "no voice in this clip"),
    "photo.png": (None, "no sound in this clip"),
}


@pytest.mark.parametrize("name", EVERY)
def test_a_missing_modality_is_said_and_holds_the_prior(results, analyzer, name):
    result = results(name)
    assert (result.face.reason, result.voice.reason) == AVAILABLE[name]
    prior = analyzer.calibration.both.probabilities(analyzer.model.head.bias.detach().numpy())
    for reading in (result.face, result.voice):
        if not reading.available:
            assert reading.probabilities == pytest.approx(prior) and reading.windows == pytest.approx(
                np.tile(prior, (len(reading.windows), 1))
            )
            assert result.shares[reading.condition] == 0
            assert result.to_json()[reading.condition]["probabilities"] is None


@pytest.mark.parametrize(
    ("name", "there"), [("voice.wav", "voice"), ("silent.mp4", "face"), ("nobody.mp4", "voice"), ("photo.png", "face")]
)
def test_both_is_the_single_modality_when_the_other_is_missing(results, name, there):
    result = results(name)
    single = getattr(result, there)
    assert result.both.probabilities == pytest.approx(single.probabilities, abs=1e-5)
    assert result.both.windows == pytest.approx(single.windows, abs=1e-5)


WHY_NOTHING = {"black.mp4": "no face and no sound in this clip", "silence.wav": "no picture and no voice in this clip"}


@pytest.mark.parametrize("name", ["black.mp4", "silence.wav"])
def test_nothing_to_read_abstains(results, name):
    said = results(name).verdict
    assert said.abstained and said.reason == WHY_NOTHING[name] and said.agreement is None


@pytest.mark.parametrize("name", ["talk.mp4", "voice.wav", "silent.mp4", "late.mp4"])
def test_evidence_and_bias_sum_to_the_clips_logit(analyzer, results, name):
    """The clip's logit is computed again: each window through the model's forward, averaged by what it shows."""
    import torch

    result = results(name)
    track = result.faces[0] if result.faces else None
    cut = timeline.windows(track, result.sound, result.window_start_s, result.window_end_s)
    length = np.clip(((cut.end_s - cut.start_s) * 100).round(), 1, 200)
    rows = [
        0 if track is None else len(timeline.face_rows(track, s, e)) for s, e in zip(cut.start_s, cut.end_s, strict=True)
    ]
    face = cut.face_present.sum(1) / np.maximum(rows, 1) * result.face.available
    voice = cut.voiced.sum(1) / length * result.voice.available
    face[face < 0.1], voice[voice < 0.1] = 0, 0
    with torch.inference_mode():
        logits = analyzer.model(
            torch.from_numpy(cut.faces)[:, :, None].float() / 255,
            torch.from_numpy(cut.face_times_s - cut.start_s[:, None]).float(),
            torch.from_numpy(cut.face_present).float(),
            torch.from_numpy(cut.log_mel),
            torch.from_numpy(cut.sound_times_s - cut.start_s[:, None]).float(),
            torch.from_numpy(cut.sound_valid).float(),
            available=torch.from_numpy(np.stack((face > 0, voice > 0), 1)).float(),
        ).logits.numpy()
    clip_logit = (face + voice) @ logits / (face + voice).sum()
    evidence = result.evidence
    total = evidence.bias.astype(float)
    if evidence.face is not None:
        assert evidence.face.shape == (7, len(evidence.face_times_s), 6, 6)
        total = total + evidence.face.sum((1, 2, 3))
    if evidence.voice is not None:
        assert evidence.voice.shape == (7, 10, len(evidence.voice_times_s)) and len(evidence.voice_edges_hz) == 11
        total = total + evidence.voice.sum((1, 2))
    assert total == pytest.approx(clip_logit, abs=1e-3)
    used = "both" if result.face.available and result.voice.available else ("face" if result.face.available else "voice")
    again = analyzer.calibration.of(used).probabilities(total)
    assert again == pytest.approx(result.both.probabilities, abs=1e-3)


def test_two_people_the_largest_is_read_and_the_other_can_be_chosen(analyzer, clip_of, results):
    first = results("two.mp4")
    assert first.person == 0 and len(first.faces) == 2
    assert "2 faces were found; the largest is read." in first.warnings
    other = analyzer.analyze(clip_of("two.mp4"), person=1)
    assert other.person == 1 and "2 faces were found; person 1 is read." in other.warnings
    assert [f["read"] for f in other.to_json()["faces"]] == [False, True]
    assert np.abs(other.face.probabilities - first.face.probabilities).max() > 1e-4
    assert other.voice.probabilities == pytest.approx(first.voice.probabilities, abs=1e-6)
    with pytest.raises(AvemoError, match="Person 2 was asked for, but this clip has persons 0 to 1; leave the choice out"):
        analyzer.analyze(clip_of("two.mp4"), person=2)


def test_a_person_of_a_clip_without_faces_is_refused(analyzer, clip_of):
    with pytest.raises(AvemoError, match="Person 0 was asked for, but this clip has no face"):
        analyzer.analyze(clip_of("voice.wav"), person=0)


def test_late_sound_stays_late(results):
    result = results("late.mp4")
    assert result.sound.start_s == pytest.approx(0.83, abs=0.1)
    assert result.evidence.voice_times_s[0] == pytest.approx(result.sound.start_s)
    heard = result.sound.start_s + np.flatnonzero(result.sound.voiced)[0] / 100
    assert heard >= 0.8 and result.clip.duration_s == pytest.approx(3.3, abs=0.15)


def test_frames_without_a_face_are_left_out_and_said(analyzer, results):
    result = results("talk.mp4")
    track = result.faces[0]
    half = track.present & (np.arange(len(track.present)) < 12)
    again = analyzer.read(result.clip, (replace(track, present=half),), result.sound)
    missing = len(half) - 12
    assert f"No face in {missing} of {len(half)} sampled frames; these are left out of the face reading." in again.warnings
    assert not again.evidence.face[:, 12:].any() and again.evidence.face[:, :12].any()


@pytest.mark.parametrize(("seen", "reason"), [(0, "no face in this clip"), (2, "the face is seen too briefly")])
def test_a_face_seen_hardly_at_all_is_not_read(analyzer, results, seen, reason):
    result = results("talk.mp4")
    track = result.faces[0]
    again = analyzer.read(result.clip, (replace(track, present=np.arange(len(track.present)) < seen),), result.sound)
    assert again.face.reason == reason and again.shares["face"] == 0
    assert again.both.probabilities == pytest.approx(again.voice.probabilities, abs=1e-5)


def test_a_voice_heard_hardly_at_all_is_not_read(analyzer, results):
    result = results("talk.mp4")
    brief = np.arange(len(result.sound.voiced)) < 20
    again = analyzer.read(result.clip, result.faces, replace(result.sound, voiced=brief))
    assert again.voice.reason == "the voice is heard too briefly"
    assert again.both.probabilities == pytest.approx(again.face.probabilities, abs=1e-5)


def test_the_same_clip_reads_the_same_twice(analyzer, clip_of, results):
    again, first = analyzer.analyze(clip_of("talk.mp4")), results("talk.mp4")
    for name in ("face", "voice", "both"):
        assert np.array_equal(getattr(again, name).windows, getattr(first, name).windows)
    assert np.array_equal(again.evidence.face, first.evidence.face) and again.verdict == first.verdict


def test_many_windows_are_read_alike_in_groups(analyzer, results, monkeypatch):
    result = results("talk.mp4")
    whole = analyzer.read(result.clip, result.faces, result.sound, every=0.1)
    monkeypatch.setattr("avemo_core.analyzer.GROUP", 2)
    parts = analyzer.read(result.clip, result.faces, result.sound, every=0.1)
    assert len(whole.window_start_s) == 5
    assert parts.both.windows == pytest.approx(whole.both.windows, abs=1e-4)
    assert parts.evidence.face == pytest.approx(whole.evidence.face, abs=1e-4)
    assert parts.evidence.voice == pytest.approx(whole.evidence.voice, abs=1e-4)


def test_progress_names_each_stage_and_can_cancel(analyzer, clip_of):
    seen: list[tuple[str, float, float]] = []
    analyzer.analyze(clip_of("late.mp4"), progress=lambda *step: seen.append(step))
    assert list(dict.fromkeys(stage for stage, _, _ in seen)) == ["media", "faces", "sound", "model"]
    assert all(0 <= done <= total for _, done, total in seen)
    last = {stage: (done, total) for stage, done, total in seen}
    assert all(done == total for done, total in last.values())


@pytest.mark.parametrize("when", ["media", "faces", "sound", "model"])
def test_a_reading_can_be_cancelled_in_each_stage_and_the_next_works(analyzer, clip_of, when):
    def stop(stage: str, done: float, total: float) -> None:
        if stage == when:
            raise Cancelled

    with pytest.raises(Cancelled):
        analyzer.analyze(clip_of("talk.mp4"), progress=stop)
    assert analyzer.analyze(clip_of("tone.wav")).voice.reason == "no voice in this clip"


@pytest.mark.parametrize("every", [0, -1, 1e-9, float("nan"), float("inf")])
def test_steps_that_lead_nowhere_are_refused(analyzer, clip_of, every):
    with pytest.raises(AvemoError, match=r"choose one of at least 0\.05 s"):
        analyzer.analyze(clip_of("tone.wav"), every=every)


def test_a_file_that_is_no_clip_is_refused_in_one_sentence(analyzer, clip_of, tmp_path):
    for path in (clip_of("broken.mp4"), tmp_path / "none.mp4", tmp_path):
        with pytest.raises(MediaError) as caught:
            analyzer.analyze(path)
        assert "\n" not in str(caught.value)


def test_a_tenth_of_a_second_is_read_or_refused_in_one_sentence(analyzer, tmp_path):
    path = media_files.write_wav(tmp_path / "blip.wav", media_files.tone(0.1, 16_000)[0])
    with pytest.raises(MediaError, match=r"0\.1"):
        analyzer.analyze(path)


def test_samples_that_are_no_numbers_are_silence_not_a_lie(analyzer, tmp_path):
    path = media_files.write_wav(tmp_path / "nan.wav", np.full(24_000, np.nan, np.float32))
    result = analyzer.analyze(path)
    assert result.verdict.abstained and result.voice.reason == "no voice in this clip"
    assert np.isfinite(result.both.windows).all() and np.isfinite(result.sound.log_mel).all()


# ---------------------------------------------------------------- a window of a stream


def test_a_window_of_a_stream_reads_what_is_there(analyzer, results):
    result = results("talk.mp4")
    track = result.faces[0]
    maps = analyzer.embed(track.crops[:20])
    assert maps.shape[0] == 20 and maps.shape[2:] == (6, 6)
    speech = synthetic.speak("happiness", 2.0, PEOPLE["mara"], 3)
    times = track.times_s[:20]
    both, told = analyzer.read_window(maps, times, speech, 0.0, 0.0, 2.0)
    assert all(p.shape == (7,) and p.sum() == pytest.approx(1) for p in both.values())
    assert told["face"].seconds == pytest.approx(2) and 0.5 < told["voice"].seconds < 2
    face, told = analyzer.read_window(maps, times, None, 0.0, 0.0, 2.0)
    assert face["voice"] is None and np.array_equal(face["both"], face["face"]) and list(told) == ["face"]
    assert face["face"] == pytest.approx(result.face.windows[0], abs=1e-4)  # the same window of the same clip
    silent, told = analyzer.read_window(maps, times, np.zeros(32_000, np.float32), 0.0, 0.0, 2.0)
    assert silent["voice"] is None and silent["both"] == pytest.approx(face["face"], abs=1e-5) and list(told) == ["face"]
    voice, told = analyzer.read_window(None, np.zeros(0), speech, 0.0, 0.0, 2.0)
    assert voice["face"] is None and voice["both"] == pytest.approx(both["voice"], abs=1e-5) and list(told) == ["voice"]
    nothing = {"face": None, "voice": None, "both": None}
    assert analyzer.read_window(None, np.zeros(0), None, 0.0, 0.0, 2.0) == (nothing, {})


# ---------------------------------------------------------------- a person who is known


def test_a_reading_against_a_baseline_says_so_and_its_evidence_still_adds_up(analyzer, results):
    stranger = results("talk.mp4")
    baseline = analyzer.learn([stranger, results("late.mp4"), results("voice.wav")])
    known = analyzer.read(stranger.clip, stranger.faces, stranger.sound, baseline=baseline)
    told = known.to_json()["baseline"]
    assert told["clips"] == 3 and 5 < told["face_s"] < 6 and 2 < told["voice_s"] < 8
    assert stranger.baseline is None and stranger.to_json()["baseline"] is None
    total = known.evidence.bias + known.evidence.face.sum((1, 2, 3)) + known.evidence.voice.sum((1, 2))
    calibration = analyzer.calibration.with_baseline(("face", "voice")).both
    assert calibration.probabilities(total) == pytest.approx(known.both.probabilities, abs=1e-4)
    assert np.abs(known.both.probabilities - stranger.both.probabilities).max() > 1e-3
    assert known.both.windows.sum(1) == pytest.approx(np.ones(len(known.window_start_s)))
    for name, one in stranger.traces.items():  # what a clip says of its person does not hang on what is known already
        assert np.array_equal(known.traces[name].token, one.token) and known.traces[name].seconds == one.seconds


@pytest.mark.parametrize(("name", "which"), [("silent.mp4", "face"), ("voice.wav", "voice")])
def test_what_is_taken_off_as_usual_by_hand(analyzer, results, name, which):
    result, head = results(name), analyzer.model.head
    baseline = analyzer.learn([result], neutral=True)
    (trace,) = result.traces.values()
    usual = trace.token - getattr(head, f"{which}_mean").numpy() - getattr(head, f"{which}_offsets")[0].numpy()
    assert baseline.of[which].shift.numpy() == pytest.approx(usual, abs=1e-4)
    draws = trace.seconds / 2
    trust = draws / (draws + float(head.kappa_neutral[("face", "voice").index(which)]))
    assert baseline.of[which].trust == pytest.approx(trust) and 0 < trust < 1
    votes = (getattr(head, which) + trust * getattr(head, f"{which}_personal")).detach().numpy()
    known = analyzer.read(result.clip, result.faces, result.sound, baseline=baseline)
    taken_off = known.evidence.bias - head.bias.detach().numpy()
    assert taken_off == pytest.approx(-trust * votes @ usual, abs=1e-3) and np.abs(taken_off).max() > 0.01


def test_clips_or_what_was_learned_from_them_give_one_reading(analyzer, clip_of, results):
    steps: list[tuple[str, float, float]] = []
    paths = [clip_of("silent.mp4"), clip_of("voice.wav")]
    learned = analyzer.learn(paths, progress=lambda *step: steps.append(step))
    assert steps[0] == ("baseline", 0, 2) and steps[-1] == ("baseline", 2, 2) and ("baseline", 1, 2) in steps
    from_readings = analyzer.learn([results("silent.mp4"), results("voice.wav")])
    assert learned.summary() == from_readings.summary()
    one, other = (analyzer.analyze(clip_of("talk.mp4"), baseline=given) for given in (learned, paths))
    assert np.array_equal(one.both.windows, other.both.windows) and one.baseline == other.baseline


def test_a_window_of_a_stream_is_read_against_the_baseline_as_the_clip_is(analyzer, results):
    result = results("silent.mp4")
    track, baseline = result.faces[0], analyzer.learn([result], neutral=True)
    known = analyzer.read(result.clip, result.faces, None, baseline=baseline)
    seen = track.crops[:20], track.times_s[:20]
    live, _ = analyzer.read_window(analyzer.embed(seen[0]), seen[1], None, 0.0, 0.0, 2.0, baseline)
    assert live["face"] == pytest.approx(known.face.windows[0], abs=1e-4)
    assert np.abs(live["face"] - result.face.windows[0]).max() > 1e-3


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], "A personal baseline needs at least one clip of the person: found none."),
        (["black.mp4", "silence.wav"], "No face and no speech in the 2 clips given as a baseline; choose clips that show"),
        (["voice.wav", "broken.mp4"], "This is not a media file"),
    ],
)
def test_clips_that_teach_nothing_are_refused_in_one_sentence(analyzer, clip_of, names, said):
    with pytest.raises(AvemoError) as caught:
        analyzer.analyze(clip_of("talk.mp4"), baseline=[clip_of(name) for name in names])
    assert said in str(caught.value) and "\n" not in str(caught.value)


# ---------------------------------------------------------------- devices


@pytest.mark.parametrize("device", ["tpu", "meta", "mps", ""])
def test_devices_it_does_not_run_on_are_refused(device):
    with pytest.raises(AvemoError, match="choose cpu, cuda or auto"):
        Analyzer(device=device)


def test_cpu_is_the_cpu(analyzer):
    assert analyzer.device.type == "cpu" and {p.device.type for p in analyzer.model.parameters()} == {"cpu"}
    assert isinstance(analyzer.card, dict) and analyzer.model_id.startswith("attention_cam-")


@pytest.mark.real
@pytest.mark.parametrize(("corpus", "both"), [("java_sed/clips", True), ("grid/clips", True), ("children/audio", False)])
def test_real_clips_are_read_whole(analyzer, real_data, corpus, both):
    result = analyzer.analyze(sorted((real_data / corpus).iterdir())[3])
    assert result.voice.available and result.face.available is both
    assert result.both.windows.sum(1) == pytest.approx(np.ones(len(result.window_start_s)))
    assert len(result.faces) == both
