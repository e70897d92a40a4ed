"""The tables of how faithful the maps are: filled from the curves that are kept, of people who were not learned from."""

import json
import shutil
from pathlib import Path

import pytest

from avemo_core.checkpoint import load
from tests.training.material import write_manifest, write_pictures
from training import faithful, protocol


def record(person: str, gain: float, method: str = "cam", **changed) -> dict:
    return {"clip": person, "person": person, "method": method, "layer": None, "modality": "face"} | {
        "deletion_gain": gain,
        "insertion_gain": 0.1,
        "model_id": load().model_id,
        **changed,
    }


def test_the_docs_say_what_the_curves_say(tmp_path):
    assert {path.stem for path in (faithful.RESULTS / "faithfulness").glob("*.jsonl")} == {
        "faces",
        "voices",
        "java_sed",
        "grid",
    }
    docs = Path(shutil.copy(faithful.DOCS, tmp_path))
    assert faithful.main(["--docs", str(docs)]) == 0
    assert docs.read_text(encoding="utf-8") == faithful.DOCS.read_text(encoding="utf-8"), "run python -m training.faithful"


def test_a_row_says_whether_a_method_beats_random(tmp_path):
    kept = tmp_path / "some.jsonl"
    lines = [record(f"p{n}", 0.2 + n / 100) for n in range(9)]
    lines += [record(f"p{n}", -0.2 - n / 100, "spatial") for n in range(9)]
    lines += [record(f"p{n}", (-1) ** n / 10, "gradcam", layer="stem", modality="voice") for n in range(8)]
    kept.write_text("".join(json.dumps(one) + "\n" for one in lines), encoding="utf-8")
    found = faithful.rows(kept)
    assert [(row[0], row[1], row[2], row[-1]) for row in found] == [
        ("cam", "face", 9, "better than random"),
        ("spatial", "face", 9, "**worse than random**"),
        ("gradcam at stem", "voice", 8, "not shown to be better"),
    ]
    few = tmp_path / "few.jsonl"
    few.write_text("".join(json.dumps(record(f"p{n % 4}", 0.2 + n / 100)) + "\n" for n in range(40)), encoding="utf-8")
    assert faithful.rows(few)[0][-1] == "too few people to say"
    assert found[0][4].startswith("+0.240 (+0.2") and found[0][5] == "100%"


def test_the_cascade_is_the_mean_of_each_quarter(tmp_path):
    told = {"model_id": load().model_id, "method": "cam", "modality": "voice"}
    lines = [told | {"clip": str(n), "person": str(n), "correlations": [1.0, n / 2, 0.0, -0.5, 0.1]} for n in range(3)]
    (tmp_path / "cascade.json").write_text(json.dumps(lines), encoding="utf-8")
    assert faithful.fallen(tmp_path / "cascade.json") == [("cam", "voice", 3, "+1.00", "+0.50", "+0.00", "-0.50", "+0.10")]


def test_curves_of_another_checkpoint_are_refused(tmp_path, capsys):
    (tmp_path / "cascade.json").write_text("[]", encoding="utf-8")
    (tmp_path / "faces.jsonl").write_text(json.dumps(record("p", 0.1, model_id="other-1")) + "\n", encoding="utf-8")
    assert faithful.main(["--results", str(tmp_path)]) == 2
    assert "faces.jsonl is of other-1, the checkpoint is attention_cam-" in capsys.readouterr().err


def test_what_is_not_there_is_named(tmp_path, capsys):
    assert faithful.main(["--results", str(tmp_path)]) == 2
    said = capsys.readouterr().err.strip()
    assert said.endswith("cascade.json is not there; measure it by python -m training.faithful --data ROOT.")
    assert faithful.main(["--results", str(tmp_path), "--data", str(tmp_path / "none")]) == 2
    assert "No manifest.csv in" in capsys.readouterr().err


def test_only_people_who_were_not_learned_from_are_measured(tmp_path):
    people = ["ravdess_09", "ravdess_01", "ravdess_10", "ravdess_19"] * 6
    write_manifest(tmp_path / "ravdess", [(f"{n}.wav", "anger", one) for n, one in enumerate(people)])
    found = faithful.of_dev_people(tmp_path, ["ravdess"], 3)
    assert {item.person for item in found} == {"ravdess_09", "ravdess_10", "ravdess_19"} and len(found) == 9
    assert all(protocol.is_dev("ravdess", item.person) and item.name.startswith("ravdess/") for item in found)


def test_pictures_are_spread_over_the_file(tmp_path):
    write_pictures(tmp_path, 20)
    items = faithful.survey.items_of(tmp_path)
    assert faithful.spread(items, 2) == [items[0], items[-1]]
    assert len(faithful.spread(items, 50)) == 20
    with pytest.raises(FileNotFoundError):
        faithful.rows(tmp_path / "none.jsonl")
