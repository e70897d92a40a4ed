"""Cross-validation: who enrols whom, scores by hand, and the whole command on a small generated corpus."""

import json
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from avemo_core.labels import LABELS
from tests.training.material import row
from training import calibrate, crossval, protocol, recipe

# ---------------------------------------------------------------- personal baselines

MOODS = ["neutral", "anger", "calm", "neutral", "fear", "neutral", "anger", "neutral", "neutral", "fear"]
NAMES = recipe.EIGHT


def person(name: str, moods: list[str]) -> list[calibrate.Clip]:
    return [calibrate.Clip(row(mood, name), NAMES.index(mood), None, None) for mood in moods]


CLIPS = [*person("ann", MOODS), *person("bob", MOODS[1:3]), *person("cyd", ["anger"])]


def enrolled(kind: str, unread: tuple[int, ...] = ()) -> list[tuple[list[int], bool, list[int]]]:
    """(clips learned from, whether as neutral, clips scored) of CLIPS, with a reader that learns nothing."""
    strangers = [SimpleNamespace(number=n, traces={} if n in unread else {"voice": 1}) for n in range(len(CLIPS))]
    reader = SimpleNamespace(learn=lambda results, neutral: ([one.number for one in results], neutral))
    return [(learned, neutral, scored) for (learned, neutral), scored in crossval.enrolments(reader, CLIPS, strangers, kind)]


def test_neutral_clips_enrol_and_are_never_scored():
    ((learned, neutral, scored),) = enrolled("neutral")  # bob and cyd have no neutral clip: calm is another
    assert len(learned) == 3 and {MOODS[n] for n in learned} == {"neutral"} and neutral
    assert sorted(learned + scored) == list(range(10))


def test_half_of_a_persons_clips_enrol_and_the_others_are_scored():
    ann, bob = enrolled("enrolled")  # one clip cannot be halved
    assert len(ann[0]) == len(ann[2]) == 5 and sorted(ann[0] + ann[2]) == list(range(10)) and not ann[1]
    assert sorted(bob[0] + bob[2]) == [10, 11]
    assert enrolled("enrolled") == [ann, bob]  # the same half every time
    assert ann[0] != [0, 2, 4, 6, 8]  # drawn, not every second one


def test_all_of_a_persons_clips_enrol_and_are_scored():
    assert [(sorted(learned), scored) for learned, _, scored in enrolled("unlabelled")] == [
        (list(range(10)), list(range(10))),
        ([10, 11], [10, 11]),
        ([12], [12]),
    ]


def test_clips_of_one_emotion_enrol_for_themselves():
    found = enrolled("one emotion")
    assert sorted(n for _, _, scored in found for n in scored) == list(range(13))
    for learned, neutral, scored in found:
        assert learned == scored and not neutral
        assert len({(CLIPS[n].row.speaker, CLIPS[n].truth) for n in scored}) == 1


@pytest.mark.parametrize("kind", ["neutral", "enrolled", "unlabelled", "one emotion"])
def test_clips_without_face_and_speech_neither_enrol_nor_are_scored(kind):
    used = [n for learned, _, scored in enrolled(kind, unread=(0, 1, 12)) for n in learned + scored]
    assert used and not {0, 1, 12} & set(used)


# ---------------------------------------------------------------- scores by hand


def table(**said: dict[str, str]) -> pd.DataFrame:
    """Predictions of two classes; `said` has by "kind condition" the word for each file: n or a, said with 0.8."""
    rows = []
    for name, words in said.items():
        kind, condition = name.rsplit("_", 1)
        for file, word in words.items():
            p = {"neutral": 0.8 if word == "n" else 0.2, "anger": 0.8 if word == "a" else 0.2}
            truth = "neutral" if int(file[1]) % 2 == 0 else "anger"
            rows.append(
                {
                    "baseline": kind.replace("_", " "),
                    "condition": condition,
                    "file": file,
                    "speaker": file[0],
                    "truth": truth,
                    "answered": file[0] == "p",
                }
                | p
            )
    return pd.DataFrame(rows)


def test_a_summary_by_hand():
    planted = table(
        none_voice={"p0": "n", "p1": "n", "q0": "n", "q1": "a"},  # one anger of two
        neutral_voice={"q1": "a", "p1": "a", "q0": "a"},  # without p0, which enrolled; in another order
    )
    planted.loc[planted.file.isin(["p0", "q1"]), "sex"] = "female"  # of the others it is not known
    found = crossval.summary(planted, ("neutral", "anger"))
    (women,) = found["none"]["voice"]["groups"]["sex"].values()
    assert women["n"] == 2 and women["speakers"] == 2 and women["uar"] == 1
    alone = found["none"]["voice"]
    assert alone["n"] == 4 and alone["accuracy"] == 0.75 and alone["uar"] == pytest.approx((1 + 0.5) / 2)
    assert alone["coverage"] == 0.5 and alone["accuracy_answered"] == 0.5 and alone["speakers"] == 2
    known = found["neutral"]["voice"]
    assert known["n"] == 3 and known["uar"] == pytest.approx((0 + 1) / 2) and known["accuracy"] == pytest.approx(2 / 3)
    assert known["none"]["n"] == 3 and known["none"]["uar"] == pytest.approx((1 + 0.5) / 2)  # the same three clips
    assert known["gain"]["uar"] == pytest.approx(0.5 - 0.75) and known["gain"]["accuracy"] == pytest.approx(0)
    assert set(found) == {"none", "neutral"} and set(found["none"]) == {"voice"}


def test_both_is_compared_with_each_modality_on_the_clips_that_have_it():
    files = ["p0", "p1", "q0", "q1"]
    planted = table(
        none_voice=dict(zip(files, "nnaa", strict=True)),
        none_face=dict(zip(files[1:], "ana", strict=True)),  # p0 is not seen
        none_both=dict(zip(files[1:], "aaa", strict=True)),
    )
    both = crossval.summary(planted, ("neutral", "anger"))["none"]["both"]
    assert both["n"] == 3 and both["accuracy"] == pytest.approx(2 / 3)
    assert both["gain over face"]["accuracy"] == pytest.approx(2 / 3 - 1)
    assert both["gain over voice"]["accuracy"] == pytest.approx(2 / 3 - 1 / 3)


# ---------------------------------------------------------------- the whole command


def command(data: Path, out: Path, *words: str) -> list[str]:
    where = ["--root", str(data), "--out", str(out / "runs"), "--results", str(out / "results")]
    return ["--corpus", "ravdess", "--folds", "split", *where, *words]


def test_the_whole_command(small_corpora, small_recipe, tmp_path, capsys):
    assert crossval.main(command(small_corpora, tmp_path, "--only", "1", "--json")) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["done"] == ["1"] and "fold 1: " in shown.err and "Traceback" not in shown.err
    folder = tmp_path / "results" / "ravdess-split-7"
    first = (folder / "1.csv").read_bytes()
    assert sorted(p.name for p in folder.iterdir()) == ["1.csv", "1.json"]
    before = sorted(p.name for p in (tmp_path / "runs").iterdir())
    assert [sum(n.startswith(stage) for n in before) for stage in ("face", "voice", "joint")] == [1, 1, 1]

    (folder / "1.csv").write_bytes(first.replace(b"ravdess_01", b"ravdess_99"))  # to see that it is not done again
    assert crossval.main(command(small_corpora, tmp_path, "--json", "--baseline", "none", "unlabelled")) == 0
    shown = capsys.readouterr()
    assert "fold 0: " in shown.err and "fold 1: " not in shown.err
    report = json.loads(shown.out)
    assert report["done"] == ["0", "1"] and report["corpus"] == "ravdess" and report["classes"] == list(LABELS)
    scores = report["scores"]
    assert scores["none"]["voice"]["n"] == 12 and scores["none"]["voice"]["speakers"] == 4
    assert set(scores) == {"none", "unlabelled", "enrolled", "one emotion", "child"}  # nobody has three neutral clips
    assert set(scores["unlabelled"]["voice"]["gain"]) == {"accuracy", "uar", "macro_f1", "intervals"}
    assert b"ravdess_99" in (folder / "1.csv").read_bytes()

    parts = [json.loads((folder / f"{fold}.json").read_text()) for fold in "01"]
    assert [part["test"] for part in parts] == [["ravdess_00", "ravdess_02"], ["ravdess_01", "ravdess_03"]]
    for part in parts:
        protocol.assert_disjoint(part)
        assert {"emodb_00", "emodb_01", "nemo_00", "java_sed_00", "java_sed_01"} <= {*part["train"], *part["dev"]}
    predicted = pd.read_csv(folder / "0.csv")
    assert predicted[list(LABELS)].sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-3)
    assert set(predicted.speaker) == {"ravdess_00", "ravdess_02"} and set(predicted.condition) == {"voice"}

    assert crossval.main(command(small_corpora, tmp_path, "--modality", "voice")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5 and lines[0].startswith("ravdess none         voice  n    12 accuracy 0.")


def test_a_fold_that_is_not_there_is_named_before_anything_is_trained(small_corpora, small_recipe, tmp_path, capsys):
    assert crossval.main(command(small_corpora, tmp_path, "--only", "0", "7", "x")) == 2
    shown = capsys.readouterr()
    assert shown.err.strip().endswith("No fold 7, x in ravdess by split; it has 0, 1.") and shown.out == ""
    assert not (tmp_path / "results").exists()


def test_a_corpus_that_is_not_there_is_one_sentence(tmp_path, capsys):
    assert crossval.main(command(tmp_path, tmp_path)) == 2
    assert "No manifest.csv in" in capsys.readouterr().err
