"""python -m avemo_core analyze, as people run it: in a process of its own, on real files."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from avemo_core import media, table
from avemo_core.__main__ import files_of, main
from avemo_core.labels import LABELS
from avemo_core.verdict import hardly_known
from tests import media_files

ROOT = Path(__file__).parents[1]


def run(*arguments: object, **how) -> subprocess.CompletedProcess[str]:
    """The command, with no traceback whatever happens."""
    command = [sys.executable, "-m", "avemo_core", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400, env=environment, **how)
    assert "Traceback" not in done.stderr + done.stdout, done.stderr
    return done


@pytest.fixture(scope="module")
def folder(tmp_path_factory, clip_of):
    """A folder of clips, one of them broken, one in a folder below, one with an odd name, and a file that is none."""
    folder = tmp_path_factory.mktemp("folder")
    (folder / "below").mkdir()
    (folder / "b [").mkdir()  # what a terminal library takes for the end of a colour
    for source, target in {
        "silence.wav": "a silence.wav",
        "broken.mp4": "b [/red] broken.mp4",
        "voice.wav": "below/c voice.WAV",
        "photo.png": "d photo.png",
    }.items():
        (folder / target).write_bytes(clip_of(source).read_bytes())
    (folder / "notes.txt").write_text("no clip")
    return folder


@pytest.fixture(scope="module")
def folder_run(folder):
    return run("analyze", folder, "--json", "--device", "cpu")


def test_a_folder_gives_a_list_and_one_bad_file_does_not_stop_the_rest(folder_run, folder):
    assert folder_run.returncode == 2
    records = json.loads(folder_run.stdout)
    assert [Path(r["path"]).name for r in records] == ["a silence.wav", "c voice.WAV", "d photo.png"]
    assert records[0]["verdict"]["abstained"] and records[0]["voice"]["reason"] == "no voice in this clip"
    assert records[1]["voice"]["available"] and records[2]["face"]["available"]
    lines = folder_run.stderr.strip().splitlines()
    assert len(lines) == 1 and "b [/red] broken.mp4" in lines[0]


def test_one_clip_gives_an_object_and_silence_is_a_reading(clip_of):
    done = run("analyze", clip_of("silence.wav"), "--json", "--device", "cpu")
    assert done.returncode == 0 and done.stderr == ""
    record = json.loads(done.stdout)
    assert record["verdict"]["abstained"] and sum(record["probabilities"].values()) == pytest.approx(1)


def test_several_clips_give_sentences_and_a_table(clip_of, tmp_path):
    written = tmp_path / "readings.csv"
    clips = [clip_of("voice.wav"), clip_of("black.mp4")]
    done = run("analyze", *clips, "--csv", written, "--device", "cpu", "--every", 0.2)
    assert done.returncode == 0
    said = done.stdout.splitlines()
    assert len(said) == 2 and said[0].startswith(f"{clips[0]}: ")
    assert "no face and no sound in this clip" in said[1] and "feels" not in done.stdout
    with written.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header == table.HEADER and len(header) == 3 + 3 * len(LABELS)
    voiced = [row for row in rows if row[0] == str(clips[0])]
    assert [float(row[1]) for row in voiced] == pytest.approx([0, 0.2, 0.4], abs=0.02) and len(rows) == len(voiced) + 1
    for row in voiced:
        values = dict(zip(header, row, strict=True))
        assert sum(float(values[f"voice_{label}"]) for label in LABELS) == pytest.approx(1, abs=1e-3)
        assert all(values[f"face_{label}"] == "" for label in LABELS)


def test_a_checkpoint_that_is_not_there_is_one_sentence(clip_of):
    done = run("analyze", clip_of("silence.wav"), "--checkpoint", "/nowhere/x.safetensors")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("No checkpoint at /nowhere/x.safetensors") and len(done.stderr.strip().splitlines()) == 1


# The rest in this process, by the same entry point: a start takes seconds.


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--device", "tpu"], "Unknown device 'tpu'; choose cpu, cuda or auto."),
        (["--checkpoint", str(ROOT / "README.md")], "README.md is not a readable safetensors file"),
    ],
)
def test_settings_that_cannot_work_are_one_sentence(clip_of, capsys, arguments, said):
    assert main(["analyze", str(clip_of("silence.wav")), *arguments]) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.startswith(said) and len(shown.err.strip().splitlines()) == 1


@pytest.mark.parametrize("neutral", [False, True])
def test_a_person_known_from_other_clips(clip_of, capsys, analyzer, neutral):
    clips = [clip_of("voice.wav"), clip_of("photo.png")]
    arguments = ["--baseline", *map(str, clips), str(clip_of("broken.mp4")), "--json", "--device", "cpu"]
    main(["analyze", str(clip_of("talk.mp4")), *arguments, *["--neutral"] * neutral])
    shown = capsys.readouterr()
    record = json.loads(shown.out)
    assert record["baseline"]["clips"] == 2 and record["baseline"]["face_s"] == 0.1 and record["baseline"]["voice_s"] > 0.5
    lines = shown.err.strip().splitlines()
    assert "broken.mp4: This is not a media file" in lines[0]  # it is named, the others are used
    assert lines[1].startswith("Baseline from 2 clips: 0.1 s of face, ")
    little = hardly_known(record["baseline"])  # one face and one voice, unlabelled: it is said that this is not enough
    assert (little or neutral) and len(lines) == 2 + bool(little) and all(line.startswith(little) for line in lines[2:])
    expected = analyzer.analyze(clip_of("talk.mp4"), baseline=analyzer.learn(clips, neutral))
    assert list(record["probabilities"].values()) == pytest.approx(list(expected.both.probabilities), abs=1e-4)


def test_a_baseline_of_nothing_is_one_sentence(clip_of, capsys, tmp_path):
    talk = str(clip_of("talk.mp4"))
    for given, said in (
        (["--baseline", str(tmp_path)], "No clip of --baseline could be read (0 found); give clips of the person."),
        (["--baseline", str(clip_of("silence.wav"))], "No face and no speech in the 1 clips given as a baseline"),
        (["--neutral"], "--neutral says that the clips of --baseline are neutral; give these clips too."),
    ):
        assert main(["analyze", talk, "--device", "cpu", *given]) == 2
        shown = capsys.readouterr()
        assert shown.out == "" and shown.err.startswith(said) and len(shown.err.strip().splitlines()) == 1


def test_a_folder_without_clips_says_what_was_looked_for(tmp_path, capsys):
    assert main(["analyze", str(tmp_path)]) == 2
    shown = capsys.readouterr().err
    assert "No media file in" in shown and ".webm" in shown


def test_a_clip_alone_that_cannot_be_read_prints_no_record(capsys, tmp_path):
    odd = os.fsdecode(bytes(tmp_path) + b"/\xff [red].mp4")
    Path(odd).write_bytes(b"no film")
    assert main(["analyze", odd, "--json", "--device", "cpu"]) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and "[red].mp4" in shown.err


def test_help_names_every_option_and_wrong_ones_are_refused():
    done = run("analyze", "--help")
    assert done.returncode == 0
    assert all(
        option in done.stdout
        for option in ("--json", "--csv", "--device", "--every", "--person", "--checkpoint", "--baseline")
    )
    for wrong in (["analyze"], ["analyze", "x.mp4", "--json", "--csv", "y"]):
        with pytest.raises(SystemExit, match="2"):
            main(wrong)


def test_files_of_a_folder_are_sorted_and_what_was_named_is_kept(folder):
    assert [p.name for p in files_of([folder])] == ["a silence.wav", "red] broken.mp4", "c voice.WAV", "d photo.png"]
    assert files_of([folder / "notes.txt", folder / "gone.mp4"]) == [folder / "notes.txt", folder / "gone.mp4"]


# ---------------------------------------------------------------- explain and faithfulness


def test_explain_writes_raw_maps_and_figures(clip_of, tmp_path, capsys):
    asked = ["--method", "cam", "gradcam", "--target", "anger-fear", "--window", "0", "--sound"]
    asked += ["--out", str(tmp_path / "maps")]
    assert main(["explain", str(clip_of("talk.mp4")), *asked, "--device", "cpu"]) == 0
    written = sorted(path.name for path in (tmp_path / "maps").iterdir())
    kinds = ("kept.wav", "npz", "png", "rest.wav", "svg")
    assert written == [f"talk.{name}.{kind}" for name in ("cam", "gradcam") for kind in kinds]
    said = capsys.readouterr().out.splitlines()
    assert "what speaks for anger rather than fear" in said[1] and sum(line.startswith("Grad-CAM: ") for line in said) == 1
    assert said[2].startswith("  without strongest 10 % of the face: 0.")
    svg = (tmp_path / "maps" / "talk.cam.svg").read_text()
    assert "what speaks for anger rather than fear" in svg and "Of 0.00 to 2.00 s, in logits." in svg


def test_explain_says_what_the_target_is_without_a_part_and_with_random_weights(clip_of, tmp_path, capsys):
    asked = ["explain", str(clip_of("talk.mp4")), "--method", "layercam", "--layer", "stage2", "--cut", "0.1"]
    asked += ["--span", "0.5", "1", "--hz", "100", "900", "--randomised", "3", "--out", str(tmp_path), "--device", "cpu"]
    assert main([*asked, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    [found] = record["explanations"]
    assert found["settings"] == {"layer": "stage2"} and record["reading"]["model_id"] == found["model_id"]
    cuts = ["strongest 10 % of the face", "strongest 10 % of the voice", "0.50 to 1.00 s, 100 to 900 Hz"]
    assert [one["what"] for one in found["effects"]] == cuts
    assert all(one["fall"] == pytest.approx(one["before"] - one["after"]) for one in found["effects"])
    assert found["randomised"]["seed"] == 3 and set(found["randomised"]["rank_correlation"]) == {"face", "voice"}
    names = [f"talk.layercam{twin}.{kind}" for twin in ("", ".randomised") for kind in ("npz", "png", "svg")]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    assert main(["explain", str(clip_of("talk.mp4")), "--box", "0", "0", "1", "1", "--out", str(tmp_path)]) == 2
    assert "give --span FROM TO in seconds too." in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["--method", "saliency"], "Unknown method 'saliency'; choose one of cam, "),
        (["--target", "joy"], "'joy' is no target; give a label"),
        (["--window", "99"], "There is no window 99 in this clip; it has 2"),
        (["--method", "rollout"], "This model has no stacked attention layers"),
    ],
)
def test_what_cannot_be_explained_is_one_sentence(clip_of, tmp_path, capsys, asked, said):
    assert main(["explain", str(clip_of("talk.mp4")), *asked, "--out", str(tmp_path / "maps")]) == 2
    assert said in " ".join(capsys.readouterr().err.split()) and not (tmp_path / "maps").exists()


def test_faithfulness_measures_a_folder_and_goes_on_where_it_stopped(clip_of, tmp_path, capsys):
    (tmp_path / "a.wav").write_bytes(clip_of("voice.wav").read_bytes())
    (tmp_path / "b.mp4").write_bytes(clip_of("talk.mp4").read_bytes())
    (tmp_path / "manifest.csv").write_text("file,speaker\na.wav,ann\nb.mp4,bob\n")
    asked = [
        "faithfulness",
        "--root",
        str(tmp_path),
        "--methods",
        "cam",
        "--draws",
        "3",
        "--out",
        str(tmp_path / "it.jsonl"),
    ]
    assert main([*asked, "--limit", "1", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [(row["modality"], row["n"], row["deletion_interval"]) for row in rows] == [("voice", 1, None)]
    first = (tmp_path / "it.jsonl").read_text()
    assert main([*asked, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [(row["modality"], row["n"], row["people"]) for row in rows] == [("face", 1, 1), ("voice", 2, 2)]
    assert (tmp_path / "it.jsonl").read_text().startswith(first)
    assert main(["faithfulness", "--root", str(tmp_path / "none"), "--out", str(tmp_path / "x")]) == 2
    assert "expected a manifest.csv or FER+ .parquet files" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(("asked", "name"), [([], "heat"), (["--look", "kept"], "kept")])
def test_explain_writes_a_video_with_the_map_over_the_face(clip_of, tmp_path, capsys, asked, name):
    clip = clip_of("talk.mp4")
    out = ["--out", str(tmp_path / "maps"), "--video", *asked, "--opacity", "0.9", "--device", "cpu"]
    assert main(["explain", str(clip), "--target", "anger", *out]) == 0
    assert f".npz, .svg, .png, .{name}.mp4." in capsys.readouterr().out
    before, after = media.decode(clip), media.decode(tmp_path / "maps" / f"talk.cam.{name}.mp4")
    assert after.duration_s == pytest.approx(before.duration_s, abs=0.1) and len(after.audio) == 1
    (first, _), (second, _) = (media_files.all_frames(one) for one in (before, after))
    change = np.abs(second.astype(int) - first).mean((0, 3))
    face = change[50:110, 50:110]  # of the drawn person, who sits in the middle
    corner = change[:20, :20]
    assert face.mean() > 2 * corner.mean() if name == "heat" else corner.mean() > 0


@pytest.mark.parametrize(
    ("name", "asked", "said"),
    [
        ("voice.wav", [], "There is no map of the face to lay over a video: no picture in this clip"),
        ("nobody.mp4", [], "There is no map of the face to lay over a video: no face in this clip"),
        ("photo.png", [], "This clip is a still picture, of which no video is made"),
        ("talk.mp4", ["--look", "cold"], "Unknown look 'cold' of a video; choose one of heat, kept, rest."),
        ("talk.mp4", ["--opacity", "3"], "The opacity of a map is 3; give a number from 0"),
        ("talk.mp4", ["--method", "channel"], "There is no map of the face to lay over a video:"),
    ],
)
def test_what_has_no_video_is_one_sentence_and_nothing_is_written(clip_of, tmp_path, capsys, name, asked, said):
    asked = ["--video", *asked, "--out", str(tmp_path / "maps"), "--device", "cpu"]
    assert main(["explain", str(clip_of(name)), *asked]) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and said in " ".join(shown.err.split()) and len(shown.err.strip().splitlines()) == 1
    assert not (tmp_path / "maps").exists()
