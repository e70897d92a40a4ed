"""The face stage: pictures with votes, scores by hand, and stops at any moment."""

import numpy as np
import pytest

from tests.training.material import SILENT, Stopped, after, same_weights, write_pictures
from training import face, progress
from training.corpora import ferplus


def test_votes_become_distributions_without_single_slips():
    votes = np.array([[5, 1, 4, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0, 0, 10]])
    found = face.targets(votes)
    assert found[0] == pytest.approx([5 / 9, 0, 4 / 9, 0, 0, 0, 0, 0])
    assert not found[1].any() and found[2].tolist() == [0] * 7 + [1]


def test_ferplus_is_read_in_the_order_of_the_seven(tmp_path):
    rows = ferplus.read(write_pictures(tmp_path, 12), "Training")
    assert len(rows) == 10 and rows.pixels.shape == (10, 48, 48) and rows.pixels.dtype == np.uint8
    assert rows.majority[0] == "happiness" and rows.votes[0].tolist() == [0, 8, 0, 0, 2, 0, 0, 0] and rows.agreed[0] == 8
    test = ferplus.read(tmp_path, "PublicTest")
    assert list(test.files) == ["0.png", "10.png"] and test.strict.tolist() == [True, False]
    with pytest.raises(FileNotFoundError, match=r"No \.parquet file"):
        ferplus.read(tmp_path / "none", "Training")


def test_dev_pictures_are_a_fixed_tenth():
    names = np.array([f"fer{n:07d}.png" for n in range(5000)])
    dev = ferplus.is_dev(names)
    assert 0.08 < dev.mean() < 0.12 and (ferplus.is_dev(names[::-1])[::-1] == dev).all()


def test_scores_by_hand():
    majority = np.array(["neutral", "happiness", "happiness", "anger", "contempt"])
    agreed, none = np.array([9, 9, 9, 4, 9]), np.zeros(5)
    rows = ferplus.Faces(none, none, majority, agreed, majority, none)
    p = np.zeros((5, 8))
    p[[0, 1, 2, 3, 4], [0, 1, 0, 3, 7]] = 1
    assert face.scores(p, rows, 7) == {"n": 3, "accuracy": pytest.approx(2 / 3), "uar": pytest.approx(0.75)}
    assert face.scores(p, rows, 8)["n"] == 4


def test_face_training_goes_on_after_a_stop_as_if_it_had_not_stopped(tmp_path):
    rows = ferplus.read(write_pictures(tmp_path / "pictures", 24), "Training")
    settings = face.Settings(epochs=2, batch=8)
    straight = face.train(rows, tmp_path / "straight", settings, SILENT)
    with pytest.raises(Stopped):
        face.train(rows, tmp_path / "stopped", settings, after(2))
    assert progress.load(tmp_path / "stopped" / "face.pt")["epoch"] == 1
    resumed = face.train(rows, tmp_path / "stopped", settings, SILENT)
    assert progress.load(resumed)["epoch"] == 2 and same_weights(straight, resumed)
    assert [line["epoch"] for line in progress.load(resumed)["history"]] == [1, 2]
