"""What learns, on tiny generated data: labels, splits, targets, augmentation, calibration, and stops at any moment."""

import csv
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from avemo_core import sound
from avemo_core.calibration import Condition
from avemo_core.labels import LABELS
from avemo_core.model.attention_cam import AttentionCAM
from training import augment, calibrate, face, joint, progress, protocol, voice
from training.corpora import ferplus, manifest

RNG = np.random.default_rng(8)


# ---------------------------------------------------------------- corpora and splits


def write_manifest(root: Path, rows: list[tuple[str, str, str]], columns=("file", "label", "speaker")) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    with (root / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    for name, *_ in rows:
        (root / name).touch()
    return root


def test_a_corpus_keeps_its_own_labels_beside_the_seven(tmp_path):
    root = write_manifest(tmp_path / "acted", [("a.wav", "calm", "p1"), ("b.wav", "boredom", "p2"), ("c.wav", "fear", "p1")])
    rows = manifest.read(root)
    assert [(r.label, r.corpus_label) for r in rows] == [("neutral", "calm"), (None, "boredom"), ("fear", "fear")]
    assert rows[0].path == root / "a.wav" and rows[0].corpus == "acted" and rows[2].speaker == "p1"


def test_a_corpus_that_is_not_whole_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected a table with the columns file, label, speaker"):
        manifest.read(tmp_path)
    root = write_manifest(tmp_path / "x", [("a.wav", "fear", "p1")])
    (root / "a.wav").unlink()
    with pytest.raises(FileNotFoundError, match="1 of 1 files"):
        manifest.read(root)
    with pytest.raises(ValueError, match="lacks the column speaker; it has file, label, who"):
        manifest.read(write_manifest(tmp_path / "y", [("a.wav", "fear", "p1")], ("file", "label", "who")))


def test_people_in_two_parts_are_refused():
    protocol.assert_disjoint({"training": ["a", "b", "a"], "dev": ["c"]})
    with pytest.raises(ValueError, match="Speaker b is in training and in dev"):
        protocol.assert_disjoint({"training": ["a", "b"], "dev": ["b"]})


def test_dev_people_of_paired_corpora_are_the_same():
    assert protocol.DEV["java_sed"] == protocol.DEV["java_sed_voice"] and set(protocol.DEV) == set(protocol.VOICE_CORPORA)
    assert protocol.is_dev("ravdess", "ravdess_09") and not protocol.is_dev("emodb", "ravdess_09")


@pytest.mark.real
def test_real_corpora_keep_people_apart_and_hold_every_dev_person(real_data):
    for name in protocol.VOICE_CORPORA:
        rows = manifest.read(real_data / name, name)
        people = {row.speaker for row in rows}
        assert protocol.DEV[name] <= people and len(people - protocol.DEV[name]) >= 4
        assert {row.label for row in rows} <= {*LABELS, None}


# ---------------------------------------------------------------- pictures with votes


def write_pictures(root: Path, count: int, seed: int = 0) -> Path:
    """`count` faces of noise, brighter for happiness: parquet as FER+ is stored."""
    rng = np.random.default_rng(seed)
    rows = []
    for n in range(count):
        label = ("neutral", "happiness", "anger")[n % 3]
        pixels = np.clip(rng.normal(90 + 60 * (label == "happiness"), 40, (48, 48)), 0, 255).astype(np.uint8)
        pixels[: 16 * (n % 3)] //= 3
        stored = io.BytesIO()
        Image.fromarray(pixels).save(stored, "WEBP", lossless=True)
        votes = [0] * 10
        votes[ferplus.VOTES.index(label)], votes[ferplus.VOTES.index("fear")] = 8, 2
        rows.append(
            {
                "usage": "Training" if n % 10 else "PublicTest",
                "image": stored.getvalue(),
                "votes": votes,
                "ferplus_majority": label,
                "file": f"{n}.png",
                "pixels_also_in_training": n == 10,
            }
        )
    root.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), root / "train.parquet")
    return root


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


# ---------------------------------------------------------------- augmentation


def test_face_augmentation_keeps_shape_and_range_and_follows_its_seed():
    crops = torch.rand(6, 1, 48, 48)
    one, again, other = (augment.faces(crops, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert one.shape == crops.shape and one.min() >= 0 and one.max() <= 1
    assert torch.equal(one, again) and not torch.equal(one, other) and not torch.equal(one, crops)


def test_voice_augmentation_keeps_shape_and_follows_its_seed():
    mel = torch.randn(8, 1, 80, 200) * 2 - 8
    one, again, other = (augment.voices(mel, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert one.shape == mel.shape and torch.isfinite(one).all()
    assert torch.equal(one, again) and not torch.equal(one, other)
    assert (one.mean() - mel.mean()).abs() < 3 and all((one[k] - mel[k]).abs().max() > 1 for k in range(8))


def test_mixup_mixes_inputs_and_targets_by_one_share():
    inputs, targets = torch.eye(5), torch.eye(5)
    mixed, wanted = augment.mixup(inputs, targets, 0.4, torch.Generator().manual_seed(1))
    assert torch.equal(mixed, wanted) and wanted.sum(1).tolist() == pytest.approx([1] * 5)
    assert not torch.equal(mixed, inputs)


def test_mixed_voices_are_brought_to_one_loudness_first():
    mel = torch.randn(4, 1, 80, 200) - 5
    loud = mel + torch.tensor([0.0, 5.0, -3.0, 9.0])[:, None, None, None]
    one, wanted = voice.mixed(mel, torch.eye(4), 0.4, torch.Generator().manual_seed(2))
    other, _ = voice.mixed(loud, torch.eye(4), 0.4, torch.Generator().manual_seed(2))
    assert torch.allclose(one, other, atol=1e-5) and one.max() <= 1e-6 and one.shape == mel.shape
    assert wanted.sum(1).tolist() == pytest.approx([1] * 4)


# ---------------------------------------------------------------- drawing and weighing


def spoken(columns: int, start: int, stop: int) -> sound.Sound:
    """Columns that hold their own number, voiced from start to stop."""
    mel = np.tile(np.arange(columns, dtype=np.float32), (80, 1))
    inside = (np.arange(columns) >= start) & (np.arange(columns) < stop)
    return sound.Sound(mel, np.zeros((40, columns), np.float32), inside)


def test_a_drawn_window_holds_the_speech():
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        window = voice.draw(spoken(1000, 600, 700), generator)
        assert window.shape == (80, 200) and sum(600 <= column < 700 for column in window[0]) >= 60
    short = voice.draw(spoken(50, 0, 50), generator)
    assert short[0, :50].tolist() == list(range(50)) and not short[:, 50:].any()  # followed by its own silence


def test_classes_of_a_corpus_weigh_alike_and_corpora_by_the_root_of_their_size():
    def row(corpus: str, label: str, speaker: str) -> manifest.Row:
        return manifest.Row(corpus, Path(), label, label, speaker, "", {})

    rows = [row("a", "fear", "p1")] * 6 + [row("a", "anger", "p2")] * 3 + [row("b", "fear", "q")] * 1
    weights = voice.sampling_weights(rows).numpy()
    assert weights[:6].sum() / weights[6:9].sum() == pytest.approx((3 / 6) ** 0.5)  # persons by the root of their clips
    assert weights[:1] == pytest.approx(3 / 6 / 6**0.5) and weights[9] == pytest.approx(1)


# ---------------------------------------------------------------- calibration


def planted(n: int, truth_temperature: float, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Logits and labels drawn from their softmax at a temperature: a predictor that is wrong about its confidence."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (n, 7))
    p = Condition(temperature=truth_temperature).probabilities(logits)
    return logits, np.array([rng.choice(7, p=row) for row in p])


@pytest.mark.parametrize("wrong", [0.5, 1.0, 2.5])
def test_the_temperature_of_a_miscalibrated_predictor_is_found(wrong):
    logits, truth = planted(6000, wrong)
    assert calibrate.temperature(logits, truth, np.ones(len(truth))) == pytest.approx(wrong, rel=0.08)


def test_weights_decide_whose_temperature_it_is():
    (one, first), (two, second) = planted(4000, 0.5, 1), planted(4000, 3.0, 2)
    logits, truth = np.concatenate((one, two)), np.concatenate((first, second))
    weights = np.repeat([1.0, 1e-6], 4000)
    assert calibrate.temperature(logits, truth, weights) == pytest.approx(0.5, rel=0.1)


def test_the_curve_rises_counts_everyone_and_ends_at_one():
    confidence = RNG.uniform(0.2, 1, 500)
    right = (RNG.uniform(size=500) < confidence).astype(float)
    found = calibrate.curve(confidence, right)
    uppers, shares, counts = map(list, zip(*found, strict=True))
    assert uppers == sorted(uppers) and shares == sorted(shares) and uppers[-1] == 1 and sum(counts) == 500
    assert np.average(shares, weights=counts) == pytest.approx(right.mean())
    falling = calibrate.curve(np.arange(10) / 10, np.arange(10)[::-1] > 4)
    assert falling == [[1.0, 0.5, 10.0]]  # falling bins are pooled into one


def test_the_threshold_leaves_enough_right_or_enough_answered():
    confidence = np.linspace(0.99, 0.31, 100)
    right = (np.arange(100) < 60).astype(float)  # the 60 surest are right: 75 % of the surest 80
    assert calibrate.threshold(confidence, right) == pytest.approx(confidence[79])
    assert calibrate.threshold(confidence, np.zeros(100)) == pytest.approx(confidence[59])  # 60 % answered
    assert calibrate.threshold(confidence, np.ones(100)) == pytest.approx(confidence[99])


# ---------------------------------------------------------------- stops at any moment


class Stopped(Exception):  # noqa: N818 - a stop, not an error
    pass


def after(count: int):
    """A `say` that stops the run at its count-th line."""
    said = []

    def say(line: str) -> None:
        said.append(line)
        if len(said) == count:
            raise Stopped

    return say


def same_weights(one: Path, other: Path) -> bool:
    first, second = progress.load(one)["average"], progress.load(other)["average"]
    return all(torch.equal(first[name], second[name]) for name in first)


def test_face_training_goes_on_after_a_stop_as_if_it_had_not_stopped(tmp_path):
    root = write_pictures(tmp_path / "pictures", 24)
    settings = face.Settings(epochs=2, batch=8)
    straight = face.train(root, tmp_path / "straight", settings, say=lambda line: None)
    with pytest.raises(Stopped):
        face.train(root, tmp_path / "stopped", settings, say=after(2))
    assert progress.load(tmp_path / "stopped" / "face.pt")["epoch"] == 1
    resumed = face.train(root, tmp_path / "stopped", settings, say=lambda line: None)
    assert progress.load(resumed)["epoch"] == 2 and same_weights(straight, resumed)
    assert [line["epoch"] for line in progress.load(resumed)["history"]] == [1, 2]


def voices(count: int) -> tuple[list[manifest.Row], list[sound.Sound]]:
    rows, sounds = [], []
    for n in range(count):
        label = LABELS[n % 7]
        rows.append(manifest.Row("acted", Path(), label, label, f"p{n % 2}", "", {}))
        mel = RNG.normal(-8, 2, (80, 60)).astype(np.float32)
        sounds.append(sound.Sound(mel, np.zeros((40, 0), np.float32), np.ones(60, bool)))
    return rows, sounds


def test_voice_training_goes_on_after_a_stop_as_if_it_had_not_stopped(tmp_path):
    rows, sounds = voices(14)
    dev = np.array([row.speaker == "p1" for row in rows])
    settings = voice.Settings(epochs=2, batch=4)
    straight = voice.train(rows, sounds, dev, tmp_path / "straight", settings, say=lambda line: None)
    with pytest.raises(Stopped):
        voice.train(rows, sounds, dev, tmp_path / "stopped", settings, say=after(2))
    resumed = voice.train(rows, sounds, dev, tmp_path / "stopped", settings, say=lambda line: None)
    assert progress.load(resumed)["epoch"] == 2 and same_weights(straight, resumed)
    assert "acted" in progress.load(resumed)["history"][-1]


def material(model: AttentionCAM) -> joint.Material:
    rows, sounds = voices(14)
    width, labels = model.face_branch.channels, np.array([LABELS.index(row.label or "") for row in rows])
    speakers = np.array([row.speaker for row in rows])
    return joint.Material(
        pictures=torch.randn(14, 2, width),
        picture_labels=labels,
        clip_tokens=[torch.randn(25, width), torch.randn(8, width)],
        clip_present=[np.arange(25) % 5 > 0, np.ones(8, bool)],
        clip_sounds=sounds[:2],
        clip_labels=labels[:2],
        clip_speakers=speakers[:2],
        sounds=sounds,
        labels=labels,
        speakers=speakers,
        weights=torch.ones(14),
        stills=torch.randn(6, width),
        still_votes=torch.full((6, 7), 1 / 7),
    )


def test_fusion_training_goes_on_after_a_stop_and_leaves_the_branches_alone(tmp_path):
    torch.manual_seed(0)
    start = AttentionCAM()
    pairs = material(start)
    settings = joint.Settings(steps=3, batch=8, saved_every=2)

    def fresh() -> AttentionCAM:
        model = AttentionCAM()
        model.load_state_dict(start.state_dict())
        return model

    straight = joint.train(fresh(), pairs, tmp_path / "straight", settings, say=lambda line: None).state_dict()
    with pytest.raises(Stopped):
        joint.train(fresh(), pairs, tmp_path / "stopped", settings, say=after(2))
    assert progress.load(tmp_path / "stopped" / "joint.pt")["step"] == 2
    resumed = joint.train(fresh(), pairs, tmp_path / "stopped", settings, say=lambda line: None).state_dict()
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)
    assert progress.load(tmp_path / "straight" / "joint.pt")["step"] == 3
    for name, value in start.state_dict().items():
        if name.startswith(("face_branch", "voice_branch")):
            assert torch.equal(straight[name], value), name
    assert not torch.equal(straight["head.face"], start.head.face)


def test_a_batch_of_pairs_has_every_part(tmp_path):
    model = AttentionCAM()
    pairs = joint.Pairs(material(model), joint.Settings(batch=8))
    tokens, present, mel, mask, labels = pairs.next()
    assert tokens.shape == (8, joint.FRAMES, model.face_branch.channels) and present.shape == (8, joint.FRAMES)
    assert mel.shape == (8, 1, 80, 200) and mask.shape == (8, 200) and labels.shape == (8,)
    loss = joint.loss_of(model, (tokens, present, mel, mask, labels), joint.Settings(), torch.Generator().manual_seed(1))
    assert torch.isfinite(loss) and loss > 0
