"""The command that scores clips never seen: planted readers give numbers known by hand, bad input gives one sentence."""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from avemo_core.calibration import Calibration, Condition
from avemo_core.labels import LABELS, index
from avemo_core.types import AvemoError, MediaError, Reading
from tests.training.test_corpora import picture, votes, write_faces, write_text
from training import evaluate


class Planted:
    """Reads what stands in the file: `label confidence`, then what it says once it knows the person; or a reason not to."""

    model_id = "planted"
    model = None
    calibration = Calibration(*[Condition(threshold=0.55)] * 4)

    def __init__(self) -> None:
        self.learned: dict[str, list[str]] = {}
        self.neutral: set[bool] = set()
        self.read: list[str] = []

    def learn(self, paths: Sequence[Path], neutral: bool = False) -> str:
        people = {path.name[0] for path in paths}
        assert len(people) == 1, "a baseline is of one person"
        if "unlearnable" in paths[0].name:
            raise AvemoError("Nobody is seen or heard in these clips.")
        self.neutral.add(neutral)
        self.learned[people.pop()] = sorted(path.name for path in paths)
        return paths[0].name[0]

    def analyze(self, path: Path, baseline: str | None = None) -> SimpleNamespace:
        assert baseline in (None, path.name[0]), "a person is read with the own baseline"
        words = path.read_text().split()
        if not words:
            raise MediaError("No picture and no sound.")
        if words[0] not in LABELS:
            reading = Reading("both", np.ones(7) / 7, np.ones((1, 7)) / 7, False, " ".join(words))
        else:
            label, confidence = (words[2:] if baseline and words[2:] else words)[:2]
            p = np.full(7, (1 - float(confidence)) / 6)
            p[index(label)] = float(confidence)
            reading = Reading("both", p, p[None], True)
        self.read.append(path.name)
        return SimpleNamespace(face=reading, voice=reading, both=reading, verdict=SimpleNamespace(threshold=0.55))


def write_corpus(root: Path, rows: list[tuple[str, str, str]], **columns: Callable[[str], str]) -> Path:
    """Rows of file, label and what its reading is; the file's first letter is its speaker."""
    cells = [[file, label, file[0], *(of(file) for of in columns.values())] for file, label, _ in rows]
    text = "\n".join(map(",".join, [["file", "label", "speaker", *columns], *cells])) + "\n"
    write_text(root, text, files=())
    for file, _, says in rows:
        (root / file).write_text(says)
    return root


CLIPS = [
    ("a1.wav", "neutral", "neutral 0.9"),
    ("a2.wav", "calm", "neutral 0.8"),
    ("a3.wav", "ANGER", "anger 0.7"),
    ("a4.wav", "anger", "fear 0.6"),
    ("b5.wav", "happiness", "happiness 0.5"),
    ("b6.wav", "happiness", "neutral 0.4"),
    ("b7.wav", "boredom", "neutral 0.9"),
    ("b8.wav", "fear", ""),
    ("b9.wav", "anger", "no voice"),
]


def sexes(file: str) -> str:
    return {"a": "Female", "b": "male"}[file[0]]


def test_every_number_of_a_report_by_hand(tmp_path):
    root = write_corpus(tmp_path, CLIPS, split=lambda file: "0", sex=sexes, language=lambda file: "", mood=lambda file: "x")
    found = evaluate.evaluate(Planted(), root, "acted")
    assert found["ece_excess"] == pytest.approx(
        0.35 - 2.38 / 6, abs=0.01
    )  # each bin is a clip: a coin of c misses by 2c(1-c)
    del found["ece_excess"]
    rows = [[0] * 7 for _ in LABELS]
    rows[0][0], rows[1][0], rows[1][1], rows[3][3], rows[3][4] = 2, 1, 1, 1, 1
    of_a = {"n": 4, "speakers": 1, "accuracy": 0.75, "uar": 0.75, "macro_f1": pytest.approx((1 + 2 / 3) / 2)}
    of_b = {"n": 2, "speakers": 1, "accuracy": 0.5, "uar": 0.5, "macro_f1": pytest.approx(2 / 3)}
    assert found == {
        "corpus": "acted",
        "checkpoint": "planted",
        "split": None,
        "manifest": "manifest.csv",
        "modality": "both",
        "baseline": "none",
        "protocol": "each clip by itself",
        "n": 6,
        "speakers": 2,
        "accuracy": pytest.approx(4 / 6),
        "uar": pytest.approx((1 + 1 / 2 + 1 / 2) / 3),
        "macro_f1": pytest.approx((4 / 5 + 2 / 3 + 2 / 3) / 3),
        "chance": pytest.approx(1 / 3),
        "majority": pytest.approx(2 / 6),
        "ece": pytest.approx((0.1 + 0.2 + 0.3 + 0.6 + 0.5 + 0.4) / 6),
        "recall": {"neutral": 1, "happiness": 0.5, "anger": 0.5},
        "confusion": {"labels": list(LABELS), "rows_truth": rows},
        "coverage": pytest.approx(4 / 6),
        "accuracy_answered": 0.75,
        "accuracy_at_60": 0.75,
        "aurc": pytest.approx((1 / 4 + 1 / 5 + 2 / 6) / 6),
        "intervals": {  # a or b is drawn twice in more than 2.5 % of all draws
            "accuracy": (0.5, 0.75),
            "uar": (0.5, 0.75),
            "macro_f1": (pytest.approx(2 / 3), pytest.approx((1 + 2 / 3) / 2)),
        },
        "groups": {"sex": {"female": of_a, "male": of_b}},
        "read_as": {"both": 6},
        "left_out": {"label boredom": 1, "unreadable": 1, "no voice": 1},
    }


def test_all_rows_unless_a_split_is_named(tmp_path):
    root = write_corpus(tmp_path, CLIPS[:6], split=lambda file: "0" if file[1] in "135" else "dev")
    assert evaluate.evaluate(Planted(), root)["n"] == 6
    found = evaluate.evaluate(Planted(), root, split="dev", modality="voice")
    assert (found["n"], found["split"], found["modality"], found["read_as"]) == (3, "dev", "voice", {"voice": 3})


def test_a_second_manifest_in_the_folder_is_left_alone_and_said(tmp_path, capsys):
    root = write_corpus(tmp_path, CLIPS[:4])
    (root / "manifest_full.csv").write_text("file,label,speaker\na1.wav,neutral,a\n")
    assert evaluate.evaluate(Planted(), root)["n"] == 4
    assert "manifest.csv is read, manifest_full.csv is not; name that file as --root" in capsys.readouterr().err
    found = evaluate.evaluate(Planted(), root / "manifest_full.csv")
    assert (found["n"], found["manifest"]) == (1, "manifest_full.csv")


# ---------------------------------------------------------------- personal baselines


def person(name: str, neutral: int, anger: int, calm: int = 0, boredom: int = 0) -> list[tuple[str, str, str]]:
    """Clips that read neutral until the person is known; then every second anger reads anger."""
    counts = {"neutral": neutral, "calm": calm, "anger": anger, "boredom": boredom}
    knows = {"anger": ["anger 0.9", "neutral 0.6"]}
    return [
        (
            f"{name}_{label}_{n}.wav",
            label,
            f"neutral 0.5 {knows.get(label, ['neutral 0.5'])[n % len(knows.get(label, '1'))]}",
        )
        for label, count in counts.items()
        for n in range(count)
    ]


PEOPLE = [*person("a", 5, 4), *person("b", 3, 2, calm=2), *person("c", 2, 3), *person("d", 4, 2, boredom=2)]


def test_neutral_clips_of_a_person_teach_and_are_never_scored(tmp_path):
    reader = Planted()
    found = evaluate.evaluate(reader, write_corpus(tmp_path, PEOPLE), baseline="neutral")
    assert reader.neutral == {True} and sorted(reader.learned) == ["a", "b", "d"]
    assert all(len(clips) == 3 and all("neutral" in clip for clip in clips) for clips in reader.learned.values())
    assert not {clip for clips in reader.learned.values() for clip in clips} & set(reader.read)
    assert found["left_out"] == {"learned from, never scored": 9, "person without 3 neutral clips": 5, "label boredom": 2}
    assert found["people_left_out"] == 1 and found["n"] == found["none"]["n"] == len(PEOPLE) - 9 - 5 - 2
    # left: neutral 2+0+1 and calm 2 are right either way, of anger 4+2+2 half once the person is known
    assert (found["none"]["accuracy"], found["accuracy"]) == (pytest.approx(5 / 13), pytest.approx(9 / 13))
    assert (found["none"]["uar"], found["uar"]) == (0.5, 0.75)
    assert found["gain"]["accuracy"] == pytest.approx(4 / 13) and found["gain"]["uar"] == 0.25
    low, high = found["gain"]["intervals"]["accuracy"]
    assert (low, high) == (pytest.approx(2 / 8), pytest.approx(1 / 3))  # a 2 of 6, b 1 of 4, d 1 of 3, every draw between
    assert found["none"]["speakers"] == 3 and "never scored" in found["protocol"]


def test_the_enrolled_half_is_random_fixed_and_apart_from_the_scored_one(tmp_path):
    reader, again, alone = Planted(), Planted(), Planted()
    root = write_corpus(tmp_path / "all", [*PEOPLE, ("e_fear.wav", "fear", "fear 0.9")])
    found = evaluate.evaluate(reader, root, baseline="enrolled")
    half = {name: sum(file[0] == name for file, *_ in PEOPLE) // 2 for name in "abcd"}
    assert {name: len(clips) for name, clips in reader.learned.items()} == half and reader.neutral == {False}
    learned = {clip for clips in reader.learned.values() for clip in clips}
    assert not learned & set(reader.read)
    assert found["left_out"]["learned from, never scored"] == sum(half.values())
    assert found["left_out"]["person with one clip"] == found["people_left_out"] == 1
    assert found["n"] + sum(found["left_out"].values()) == len(PEOPLE) + 1
    evaluate.evaluate(again, write_corpus(tmp_path / "again", PEOPLE[::-1]), baseline="enrolled")
    evaluate.evaluate(alone, write_corpus(tmp_path / "alone", person("a", 5, 4)), baseline="enrolled")
    assert again.learned == reader.learned and alone.learned == {"a": reader.learned["a"]}
    assert learned != {file for name in "abcd" for file in sorted(f for f, *_ in PEOPLE if f[0] == name)[: half[name]]}


def test_a_transductive_baseline_is_called_so_and_scores_what_it_learned_from(tmp_path):
    reader = Planted()
    found = evaluate.evaluate(reader, write_corpus(tmp_path, PEOPLE), baseline="unlabelled")
    assert found["protocol"].startswith("transductive") and reader.neutral == {False}
    everyone = defaultdict(list)
    for file, *_ in sorted(PEOPLE):
        everyone[file[0]].append(file)
    assert reader.learned == everyone
    assert found["n"] == found["none"]["n"] == len(PEOPLE) - 2 and found["left_out"] == {"label boredom": 2}


def test_a_person_of_whom_nothing_can_be_learned_is_left_out(tmp_path, capsys):
    lost = [(f"x_unlearnable_{n}.wav", "fear", "fear 0.9") for n in range(4)]
    found = evaluate.evaluate(Planted(), write_corpus(tmp_path, [*person("a", 5, 4), *lost]), baseline="unlabelled")
    assert found["n"] == 9 and found["people_left_out"] == 1
    assert found["left_out"] == {"person whom nothing could be learned from": 4}
    assert "x is left out: Nobody is seen or heard" in capsys.readouterr().err


# ---------------------------------------------------------------- pictures


def test_pictures_are_scored_by_a_majority_of_five_votes(tmp_path, monkeypatch):
    rows = [
        {"votes": votes(happiness=6, anger=4), "image": picture(10)},
        {"votes": votes(anger=10), "image": picture(30), "pixels_also_in_training": True},
        {"votes": votes(anger=5, fear=4, sadness=1), "image": picture(10), "usage": "PrivateTest"},
        {"votes": votes(fear=4, sadness=3, anger=3)},
        {"votes": votes(contempt=9)},
        {"votes": votes(unknown=9)},
        {"votes": votes(NF=10), "usage": "PrivateTest"},
    ]
    root = write_faces(tmp_path, rows)
    # brightness is the label that the planted model sees
    planted = lambda model, pixels: 5 * np.eye(7)[pixels[:, 0, 0].astype(int) // 10]  # noqa: E731
    monkeypatch.setattr(evaluate, "picture_logits", planted)
    found = evaluate.evaluate(Planted(), root)
    out = {"label NF": 1, "label contempt": 1, "label unknown": 1, "under five votes": 1}
    assert (found["n"], found["accuracy"], found["uar"], found["left_out"]) == (3, pytest.approx(2 / 3), 0.75, out)
    assert (found["modality"], found["strict"], found["speakers"], found["groups"]) == ("face", False, None, {})
    strict = evaluate.evaluate(Planted(), root, strict=True)
    assert strict["n"] == 2 and strict["left_out"] == out | {"pixels also in training": 1}
    assert evaluate.evaluate(Planted(), root, split="PrivateTest")["n"] == 1


def test_the_shipped_model_says_the_same_of_a_face_and_its_mirror(analyzer):
    faces = np.random.default_rng(0).integers(0, 255, (2, 48, 48), dtype=np.uint8)
    logits = evaluate.picture_logits(analyzer.model, faces)
    assert logits.shape == (2, 7) and np.ptp(logits) > 0.1
    assert logits == pytest.approx(evaluate.picture_logits(analyzer.model, faces[:, :, ::-1].copy()), abs=1e-4)


# ---------------------------------------------------------------- the command


def test_stdout_is_one_json_object_of_the_shipped_model(tmp_path, clip_of, analyzer, capfd):
    write_text(tmp_path, "file,label,speaker\nvoice.wav,anger,ivan\ntalk.mp4,happiness,mara\n", files=())
    for name in ("voice.wav", "talk.mp4"):
        (tmp_path / name).symlink_to(clip_of(name))
    assert evaluate.main(["--checkpoint", "default", "--corpus", "drawn", "--root", str(tmp_path), "--json"]) == 0
    out, err = capfd.readouterr()
    found = json.loads(out)
    said = [int(analyzer.analyze(clip_of(name)).both.probabilities.argmax()) for name in ("talk.mp4", "voice.wav")]
    assert found["accuracy"] == np.mean(np.array(said) == [index("happiness"), index("anger")])
    assert (found["n"], found["checkpoint"], found["read_as"]) == (2, analyzer.model_id, {"both": 1, "voice": 1})
    assert "reading" in err and "{" not in err


def planted_command(monkeypatch, capsys, *words: str) -> tuple[int, str, str]:
    monkeypatch.setattr(evaluate, "Analyzer", lambda checkpoint, device: Planted())
    code = evaluate.main(list(words))
    return code, *capsys.readouterr()


def test_without_json_one_line_is_said(tmp_path, monkeypatch, capsys):
    code, out, _ = planted_command(monkeypatch, capsys, "--root", str(write_corpus(tmp_path, CLIPS)), "--corpus", "acted")
    line = "acted both: n 6, accuracy 0.667, UAR 0.667 (95 % 0.500 to 0.750), ECE 0.350\n"
    assert (code, out) == (0, line)
    one = write_corpus(tmp_path / "one", CLIPS[:2])
    assert planted_command(monkeypatch, capsys, "--root", str(one))[1].endswith("UAR 1.000, ECE 0.150\n")


def faces(root: Path) -> Path:
    return write_faces(root, [{}])


BAD = {
    "no folder": (lambda root: root / "none", [], "No folder .*none; give one with a manifest.csv or .parquet files"),
    "nothing in it": (
        lambda root: root,
        [],
        "No manifest.csv and no .parquet file in .*; --root is the folder of one corpus",
    ),
    "no such manifest": (lambda root: root / "manifest_2.csv", [], "No folder .*manifest_2.csv; give one with"),
    "missing files": (lambda root: write_text(root, "file,label,speaker\nz.wav,fear,p\n"), [], "1 of 1 files .* not there"),
    "no label known": (
        lambda root: write_corpus(root, [("a1.wav", "boredom", "x"), ("a2.wav", "", "x")]),
        [],
        "None of 2 clips could be scored .label boredom: 1, no label: 1.",
    ),
    "nobody heard": (
        lambda root: write_corpus(root, [("a1.wav", "fear", "no voice")]),
        ["--modality", "voice"],
        "None of 1 clips could be scored .no voice: 1.",
    ),
    "absent split": (
        lambda root: write_corpus(root, CLIPS, split=lambda file: file[1]),
        ["--split", "test"],
        "No row of .*manifest.csv has the split 'test'; it has 1, 2, 3",
    ),
    "no splits": (lambda root: write_corpus(root, CLIPS), ["--split", "0"], "names no splits, so leave --split out"),
    "nobody neutral": (
        lambda root: write_corpus(root, CLIPS),
        ["--baseline", "neutral"],
        "None of 9 clips could be scored .person without 3 neutral clips: 9.",
    ),
    "absent usage": (faces, ["--split", "Test"], "has the usage 'Test'; there are PublicTest"),
    "faces by voice": (faces, ["--modality", "voice"], "hold faces and no voice; leave --modality out or choose face"),
    "faces of nobody": (faces, ["--baseline", "unlabelled"], "do not say who is in a picture; --baseline needs people"),
    "only copies": (
        lambda root: write_faces(root, [{"pixels_also_in_training": True}]),
        ["--strict"],
        "None of 1 pictures in .* could be scored .*pixels also in training: 1",
    ),
}


@pytest.mark.parametrize(("make", "words", "sentence"), BAD.values(), ids=list(BAD))
def test_bad_input_is_one_sentence_on_stderr_and_code_2(tmp_path, monkeypatch, capsys, make, words, sentence):
    code, out, err = planted_command(monkeypatch, capsys, "--root", str(make(tmp_path)), "--json", *words)
    lines = [line for line in err.splitlines() if line and "━" not in line]
    assert (code, out) == (2, "") and len(lines) == 1, err
    assert re.search(sentence, lines[0]), lines[0]


def test_a_checkpoint_that_is_not_there_is_one_sentence(tmp_path, capsys):
    root = write_corpus(tmp_path, CLIPS)
    assert evaluate.main(["--checkpoint", str(tmp_path / "none.safetensors"), "--root", str(root), "--json"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and "No checkpoint at" in err and err.count("\n") == 1
