"""The state of a run on a real disk: stopped, full, damaged, foreign; and the curves drawn of it."""

import os
import resource
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image

from training import progress

ROOT = Path(__file__).parents[2]


# ---------------------------------------------------------------- written whole or not at all


def test_what_is_saved_is_loaded(tmp_path):
    path = tmp_path / "run" / "state.pt"
    assert progress.load(path) is None
    state = {"epoch": 2, "weights": torch.arange(3.0), "history": [{"epoch": 1, "loss": 0.5}], "settings": {"rate": 1e-3}}
    progress.save(path, state)
    found = progress.load(path)
    assert torch.equal(found.pop("weights"), state.pop("weights")) and found == state
    assert os.listdir(tmp_path / "run") == ["state.pt"]


def test_a_full_disk_leaves_the_last_good_state_and_no_half_file(small_disk):
    path = small_disk / "state.pt"
    progress.save(path, {"epoch": 1, "weights": torch.ones(1000)})
    with pytest.raises(OSError, match=r"state\.pt could not be written \(No space left on device\): what was there stays"):
        progress.save(path, {"epoch": 2, "weights": torch.zeros(100_000)})
    assert os.listdir(small_disk) == ["state.pt"]
    assert progress.load(path)["epoch"] == 1 and torch.equal(progress.load(path)["weights"], torch.ones(1000))
    progress.save(path, {"epoch": 3})  # there is room again
    assert progress.load(path) == {"epoch": 3}


def test_a_file_over_its_limit_leaves_the_last_good_state_and_no_half_file(tmp_path):
    path = tmp_path / "state.pt"
    progress.save(path, {"epoch": 1})
    program = "import sys, torch; from pathlib import Path; from training import progress\n"
    program += "progress.save(Path(sys.argv[1]), {'epoch': 2, 'weights': torch.zeros(100_000)})"
    limited = subprocess.run(
        [sys.executable, "-c", program, path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)),
    )
    assert "state.pt could not be written (File too large): what was there stays" in limited.stderr
    assert os.listdir(tmp_path) == ["state.pt"] and progress.load(path) == {"epoch": 1}


def test_a_state_that_cannot_be_stored_leaves_the_last_good_one(tmp_path):
    path = tmp_path / "state.pt"
    progress.save(path, {"epoch": 1})
    with pytest.raises(Exception, match="pickle"):
        progress.save(path, {"epoch": 2, "more": lambda: None})
    assert os.listdir(tmp_path) == ["state.pt"] and progress.load(path) == {"epoch": 1}


def test_a_folder_that_is_a_file_is_said(tmp_path):
    (tmp_path / "run").write_text("in the way")
    with pytest.raises(OSError, match=r"run/state\.pt could not be written \(.+\).*choose another folder"):
        progress.save(tmp_path / "run" / "state.pt", {"epoch": 1})


def test_what_killed_processes_left_is_removed_and_what_living_ones_write_is_not(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left, living = (tmp_path / f"state.pt.{process}.writing" for process in (ended.pid, os.getpid()))
    left.touch()
    living.touch()
    progress.save(tmp_path / "other.pt", {})
    assert not left.exists() and living.exists()


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"not a state", lambda b: b[::-1]])
def test_a_damaged_state_is_said(tmp_path, damage):
    path = tmp_path / "state.pt"
    progress.save(path, {"epoch": 1, "weights": torch.ones(500)})
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"state\.pt is not the state of a training run.*Delete it to start anew"):
        progress.load(path)


class Payload:
    """Stands for a state from a stranger: reading it as any pickle would run a command."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_state_that_holds_code_is_refused_and_not_run(tmp_path):
    torch.save({"epoch": 1, "weights": Payload(tmp_path / "hacked")}, tmp_path / "state.pt")
    with pytest.raises(ValueError, match="is not the state of a training run"):
        progress.load(tmp_path / "state.pt")
    assert not (tmp_path / "hacked").exists()


def test_the_moving_average_moves_weights_and_copies_counters():
    slow, fast = torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2)
    fast.weight.data.fill_(3.0)
    fast.num_batches_tracked.fill_(7)
    progress.moving_average(slow, fast, 0.75)
    assert slow.weight.tolist() == pytest.approx([1.5, 1.5]) and slow.num_batches_tracked == 7


# ---------------------------------------------------------------- curves

HISTORY = [
    {"epoch": 1, "loss": 2.0, "n": 40, "note": "warm-up", "done": False},
    {"epoch": 2, "loss": float("nan"), "n": 40, "uar": np.float32(0.25), "emo<db>": 0.5},
    {"epoch": 4, "loss": 1.0, "n": 40, "uar": 0.75, "emo<db>": 0.5},
]


def test_curves_are_the_numbers_of_a_history():
    assert progress.curves(HISTORY) == {
        "loss": [(1, 2.0), (4, 1.0)],
        "uar": [(2, 0.25), (4, 0.75)],
        "emo<db>": [(2, 0.5), (4, 0.5)],
    }


def test_curves_share_their_epochs_and_each_has_its_own_scale(tmp_path):
    drawn = ElementTree.parse(progress.plot(HISTORY, tmp_path / "run" / "curves.svg")).getroot()
    name = "{http://www.w3.org/2000/svg}"
    texts = [text.text for text in drawn.iter(f"{name}text")]
    assert {"loss 1", "uar 0.75", "emo<db> 0.5", "0.25", "2"} <= set(texts)
    lines = [line.get("points") for line in drawn.iter(f"{name}polyline") if line.get("stroke") == progress.CURVE]
    loss, uar, flat = [[tuple(map(float, point.split(","))) for point in line.split()] for line in lines]
    step = (loss[1][0] - loss[0][0]) / 3  # of one epoch
    assert uar[1][0] - uar[0][0] == pytest.approx(2 * step, abs=0.2) and uar[1][0] - loss[1][0] == progress.PANEL[0]
    assert loss[0][1] == uar[1][1] < loss[1][1] == uar[0][1]  # the highest value on top, the lowest below
    assert flat[0][1] == flat[1][1]


def test_curves_are_painted(tmp_path):
    picture = Image.open(progress.plot(HISTORY[:1], tmp_path / "curves.png"))
    colour = tuple(bytes.fromhex(progress.CURVE[1:]))
    assert picture.width == 2 * progress.PANEL[0] and (np.asarray(picture) == colour).all(2).sum() >= 30


@pytest.mark.parametrize(
    ("history", "name", "said"),
    [([], "a.svg", "0 epochs holds no number"), (HISTORY, "a.bmp", "choose .png or .svg")],
)
def test_what_cannot_be_drawn_is_said(tmp_path, history, name, said):
    with pytest.raises(ValueError, match=said):
        progress.plot(history, tmp_path / name)
    assert not os.listdir(tmp_path)
