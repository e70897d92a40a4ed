"""The voice stage: who is drawn, whom a take is compared with, what is usual, and a run that is killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from avemo_core import sound
from avemo_core.model.heads.cam import CamHead
from tests.training.material import SILENT, acted, row, same_weights, tiny
from training import features, progress, voice
from training.corpora import manifest

ROOT = Path(__file__).parents[2]


# ---------------------------------------------------------------- windows


def numbered(columns: int, start: int, stop: int) -> sound.Sound:
    """Columns that hold their own number, voiced from start to stop."""
    mel = np.tile(np.arange(columns, dtype=np.float32), (80, 1))
    inside = (np.arange(columns) >= start) & (np.arange(columns) < stop)
    return sound.Sound(mel, np.zeros((40, columns), np.float32), inside)


def test_a_drawn_window_holds_the_speech():
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        window = voice.draw(numbered(1000, 600, 700), generator)
        assert window.shape == (80, 200) and sum(600 <= column < 700 for column in window[0]) >= 60
    short = voice.draw(numbered(50, 0, 50), generator)
    assert short[0, :50].tolist() == list(range(50)) and not short[:, 50:].any()  # followed by its own silence


def test_windows_are_brought_to_one_loudness():
    mel = torch.randn(4, 1, 80, 200) - 5
    loud = mel + torch.tensor([0.0, 5.0, -3.0, 9.0])[:, None, None, None]
    one, other = voice.levelled(mel), voice.levelled(loud)
    assert torch.allclose(one, other, atol=1e-5) and one.amax((1, 2, 3)).tolist() == [0] * 4


def test_a_batch_mixes_takes_of_one_person_only():
    rows, sounds, _ = acted(24, people=6)
    people = torch.tensor([int(one.speaker[1:]) for one in rows])  # each person's number stands for the label
    picked = [n for person in range(6) for n in range(24) if people[n] == person]
    settings = voice.Settings(batch=24, takes=4, mixup=0.4, smoothing=0.0)
    for seed in range(5):
        mel, wanted = voice.batch_of(picked, sounds, people, 6, settings, torch.Generator().manual_seed(seed))
        assert mel.shape == (24, 1, 80, 200) and torch.allclose(wanted, torch.eye(6).repeat_interleave(4, 0))
    _, smooth = voice.batch_of(picked, sounds, people, 6, voice.Settings(takes=4, smoothing=0.3), torch.Generator())
    assert smooth[0].tolist() == pytest.approx([0.75, *[0.05] * 5])


# ---------------------------------------------------------------- who is drawn, and what is usual


def test_corpora_are_drawn_by_the_root_of_their_size_and_emotions_alike():
    rows = [row("fear", "one", "a")] * 16 + [row("fear", "few", "b")] * 4
    labels = np.array([0] * 15 + [1] + [0, 1, 2, 3])
    balanced = voice.Balanced(rows, labels, torch.Generator().manual_seed(1))
    picked = balanced.takes(6000)
    assert np.mean([n >= 16 for n in picked]) == pytest.approx(2 / (4 + 2), abs=0.03)  # roots of 4 and 16 clips
    assert np.mean([n == 15 for n in picked if n < 16]) == pytest.approx(0.5, abs=0.03)  # one take, but one emotion of two
    assert set(picked) == set(range(20))


def test_of_many_takes_some_are_heard_as_they_are():
    _, sounds, labels = acted(14)
    plain = torch.from_numpy(np.stack([voice.draw(one, torch.Generator()) for one in sounds]))[:, None]
    for share in (0.0, 0.5, 1.0):
        settings = voice.Settings(augmented=share, mixup=0.0)
        heard, _ = voice.batch_of(list(range(14)), sounds, torch.from_numpy(labels), 7, settings, torch.Generator())
        same = (heard - voice.levelled(plain)).abs().amax((1, 2, 3)) == 0
        assert same.sum() == {0.0: 14, 1.0: 0}.get(share, same.sum()) and (share != 0.5 or 2 < same.sum() < 12)


def head_of(classes: int, width: int) -> CamHead:
    head = CamHead(classes, 1, width)
    with torch.no_grad():
        head.voice.zero_()
    return head


def test_what_is_usual_converges_to_the_planted_world():
    generator = torch.Generator().manual_seed(6)
    mean, offsets = torch.tensor([3.0, -1.0]), torch.tensor([[2.0, 0.0], [-2.0, 1.0], [0.0, -1.0], [0.0, 0.0]])
    head = head_of(5, 2)
    for _ in range(400):
        labels = torch.randint(4, (32,), generator=generator)
        person = (torch.randn(4, 2, generator=generator) * 3).repeat_interleave(8, 0)
        tokens = mean + person + offsets[labels] + torch.randn(32, 2, generator=generator) * 0.5
        there = (torch.rand(32, generator=generator) < 0.8).float()
        tokens[there == 0] = 1e3  # what is not there holds anything
        voice.learn_usual(head, "voice", tokens, torch.eye(5)[labels], there, people=4, momentum=0.02)
    assert torch.allclose(head.voice_mean, mean, atol=0.8)
    found = head.voice_offsets[:4] - head.voice_offsets[:4].mean(0)
    assert torch.allclose(found, offsets, atol=0.6)
    within = (0.25 + offsets.square().mean(0) - offsets.mean(0) ** 2).sqrt()  # of a person's takes, not of people
    assert torch.allclose(head.voice_spread, within, atol=0.15)
    assert not head.voice_offsets[4].any() and not head.face_mean.any()  # of what never came nothing was learned
    pictures = head_of(5, 2)
    voice.learn_usual(pictures, "voice", tokens, torch.eye(5)[labels], there)
    assert pictures.voice_mean.any() and not pictures.voice_spread.any()  # pictures of strangers say nothing of a person


# ---------------------------------------------------------------- training

SETTINGS = voice.Settings(epochs=3, batch=4)


def train(out: Path, say=SILENT) -> Path:
    """A small run on noise with two dev takes."""
    rows, sounds, labels = acted(14)
    voice.train(rows, sounds, labels, np.arange(14) >= 12, tiny(), out, SETTINGS, say)
    return out / "voice.pt"


KILLED = """
import sys, time
from pathlib import Path
from tests.training.test_voice import train

def say(line):
    print(line, flush=True)
    if "'epoch': 2" in line:
        time.sleep(600)  # here it is killed: the second epoch was trained and is not saved yet

train(Path(sys.argv[1]), say)
"""


def test_a_run_that_was_killed_goes_on_as_if_it_had_not_been(tmp_path):
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    command = [sys.executable, "-c", KILLED, str(tmp_path / "killed")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environment) as running:
        said = [running.stdout.readline() for _ in range(2)]
        running.send_signal(signal.SIGKILL)
    assert "'epoch': 2" in said[1] and running.returncode == -signal.SIGKILL
    assert progress.load(tmp_path / "killed" / "voice.pt")["epoch"] == 1
    straight, resumed = train(tmp_path / "straight"), train(tmp_path / "killed")
    assert progress.load(resumed)["epoch"] == 3 and same_weights(straight, resumed)
    history = progress.load(resumed)["history"]
    assert [line["epoch"] for line in history] == [1, 2, 3] and {"acted", "acted+"} <= set(history[-1])
    assert all(0 <= history[-1][name] <= 1 for name in ("acted", "acted+"))


def test_the_face_branch_is_left_alone(tmp_path):
    before, after = tiny().state_dict(), progress.load(train(tmp_path))["model"]
    for name, value in before.items():
        if name.startswith("face"):
            assert torch.equal(after[name], value), name
    assert not torch.equal(before["voice_branch.stem.0.weight"], after["voice_branch.stem.0.weight"])


@pytest.mark.parametrize("epochs", [1, 5])
def test_fewer_clips_than_a_batch_and_few_steps_are_trained(tmp_path, epochs):
    rows, sounds, labels = acted(3)
    settings = voice.Settings(epochs=epochs, batch=4)
    voice.train(rows, sounds, labels, np.zeros(3, bool), tiny(), tmp_path, settings, SILENT)
    history = progress.load(tmp_path / "voice.pt")["history"]
    assert len(history) == epochs and np.isfinite([line["loss"] for line in history]).all()


@pytest.mark.real
def test_a_tiny_network_learns_anger_from_sadness_of_real_people(real_data, tmp_path):
    rows = [one for one in manifest.read(real_data / "emodb", "emodb") if one.label in ("sadness", "anger")]
    learned = [one for one in rows if one.speaker in ("emodb_09", "emodb_13", "emodb_14", "emodb_16")]
    held = [one for one in rows if one.speaker in ("emodb_03", "emodb_08")]
    rows = [one for who in (learned, held) for one in who]
    labels = np.array([("sadness", "anger").index(one.label) for one in rows])
    settings = voice.Settings(epochs=8, batch=16, rate=1e-2, decay=0.9)
    sounds = features.voices(rows, tmp_path / "cache")
    voice.train(rows, sounds, labels, np.arange(len(rows)) >= len(learned), tiny(2), tmp_path, settings, SILENT)
    history = progress.load(tmp_path / "voice.pt")["history"]
    assert history[-1]["loss"] < 0.8 * history[0]["loss"]
    assert history[-1]["emodb"] > 0.65 and history[-1]["emodb+"] > 0.7  # of people that it never heard; chance is 0.5
