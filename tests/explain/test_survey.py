"""Faithfulness over many clips: what is read, how it is summed up, and what is refused."""

import json

import numpy as np
import pytest

from avemo_core.explain import survey
from avemo_core.types import AvemoError
from tests.training.material import write_pictures


def record(person: str, gain: float, name: str = "cam", modality: str = "face") -> dict:
    return {"clip": person, "person": person, "method": name, "layer": None, "modality": modality} | {
        "deletion_gain": gain,
        "insertion_gain": -gain,
    }


def test_gains_are_means_with_intervals_over_people():
    found = [record(f"p{n % 50}", 0.1 + (n % 50) / 100) for n in range(200)] + [record("one", 0.3, "gradcam", "voice")]
    first, second = survey.summary(found)
    assert (first["method"], first["n"], first["people"], first["deletion_better"]) == ("cam", 200, 50, 1.0)
    assert first["deletion_gain"] == pytest.approx(0.345) and first["insertion_gain"] == pytest.approx(-0.345)
    low, high = first["deletion_interval"]
    spread = 1.96 * np.std([0.1 + n / 100 for n in range(50)]) / 50**0.5  # the mean of 50 people, normally
    assert high - low == pytest.approx(2 * spread, rel=0.1) and (low + high) / 2 == pytest.approx(0.345, abs=0.005)
    assert (second["method"], second["people"], second["deletion_interval"]) == ("gradcam", 1, None)


def test_pictures_are_read_as_crops_and_each_is_a_person(analyzer, tmp_path):
    root = write_pictures(tmp_path, 20)
    items = survey.items_of(tmp_path, "PublicTest")
    assert len(items) == 2 and items[0].pixels.shape == (48, 48) and items[0].name == items[0].person == "0.png"
    assert len(survey.items_of(tmp_path)) == 20 and root
    result = survey.reading_of(analyzer, items[0])
    assert result.face.available and not result.voice.available and result.clip.is_image
    found = list(survey.records(analyzer, items[0], ("cam", "temporal"), draws=2))
    assert [(one["method"], one["modality"]) for one in found] == [("cam", "face")]  # one moment has no order
    assert len(found[0]["deletion"]) == 1 + survey.STEPS and json.dumps(found)


def test_layers_are_kept_apart(analyzer, tmp_path):
    write_pictures(tmp_path, 10)
    items, kept = survey.items_of(tmp_path, "PublicTest"), tmp_path / "it.jsonl"
    survey.survey(analyzer, items, ["cam", "layercam"], kept, draws=1)
    survey.survey(analyzer, items, ["cam", "layercam"], kept, draws=1, layer="stage1")
    found = survey.survey(analyzer, items, ["layercam"], kept, draws=1, layer="stage1")  # nothing is left to do
    told = [(row["method"], row["layer"], row["n"]) for row in survey.summary(found)]
    assert told == [("cam", None, 1), ("layercam", None, 1), ("layercam", "stage1", 1)]
    with pytest.raises(AvemoError, match="No method asked for has a layer"):
        survey.survey(analyzer, items, ["cam"], kept, layer="stage1")


def test_bad_folders_and_files_of_another_model_are_named(analyzer, tmp_path):
    (tmp_path / "manifest.csv").write_text("name,who\na.wav,ann\n")
    with pytest.raises(AvemoError, match="has the columns name, who; it needs file and speaker"):
        survey.items_of(tmp_path)
    kept = tmp_path / "it.jsonl"
    kept.write_text(json.dumps({"model_id": "other-1", "clip": "a", "method": "cam"}) + "\n")
    with pytest.raises(AvemoError, match="holds curves of other-1, this is attention_cam-"):
        survey.survey(analyzer, [], ["cam"], kept)
    with pytest.raises(ValueError, match="Unknown method 'saliency'"):
        survey.survey(analyzer, [], ["saliency"], kept)
