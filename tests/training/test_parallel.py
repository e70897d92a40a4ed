"""Several processes as torchrun starts them: they end with the weights of one, and only the first writes."""

import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch

from avemo_core.types import AvemoError
from tests.training.material import SILENT, Stopped, acted, after, tiny, write_pictures
from tests.training.test_joint import pictures, voices
from training import face, joint, parallel, progress, voice
from training.corpora import ferplus

ROOT = Path(__file__).parents[2]
FACE = face.Settings(epochs=1, batch=6)
VOICE = voice.Settings(epochs=2, batch=5)  # between two processes: two and three takes
JOINT = joint.Settings(steps=4, people=3, takes=4, saved_every=2)


def in_float32(*_) -> nullcontext:
    """In place of autocast: sums in another order then differ by 1e-7 and not by the 4e-3 of bfloat16.

    Without oneDNN, whose way back through these tiny convolutions in float32, channels last, crashes (PyTorch 2.11).
    """
    torch.backends.mkldnn.set_flags(False)
    return nullcontext()


@pytest.fixture(autouse=True)
def with_onednn():
    yield
    torch.backends.mkldnn.set_flags(True)


def run_face(folder: Path, settings: face.Settings = FACE, device: str = "cpu") -> Path:
    rows = ferplus.read(folder.parent / "pictures", "Training")
    return face.train(rows, folder / "face", settings, SILENT, device)


def run_voice(folder: Path, device: str = "cpu") -> Path:
    rows, sounds, labels = acted(24, people=3)
    voice.train(rows, sounds, labels, np.arange(24) >= 21, tiny().to(device), folder / "voice", VOICE, SILENT)
    return folder / "voice" / "voice.pt"


def run_joint(folder: Path, device: str = "cpu", say=SILENT) -> Path:
    torch.manual_seed(4)
    joint.train(tiny().to(device), pictures(), voices(), folder / "joint", JOINT, say)
    return folder / "joint" / "joint.pt"


def started(stage: str) -> dict[str, torch.Tensor]:
    """The weights with which a stage starts."""
    torch.manual_seed(FACE.seed)
    return (face.FaceClassifier() if stage == "face" else tiny()).state_dict()


def apart(one: Path, other: Path, stage: str) -> float:
    """How far two states' models are from each other, in parts of the way that the first went from its start."""
    ends = [progress.load(path) for path in (one, other)]
    flat = [torch.cat([v.flatten().double() for v in s.values()]) for s in (ends[0]["model"], ends[1]["model"])]
    start = torch.cat([v.flatten().double() for v in started(stage).values()])
    return float((flat[0] - flat[1]).norm() / (flat[0] - start).norm())


PROGRAM = """
import sys
from pathlib import Path
import torch
from tests.training.test_parallel import *

folder, models, written = Path(sys.argv[1]), [], []
torch.autocast = in_float32
shared, write = parallel.shared_norms, progress.write
parallel.shared_norms = lambda model: (models.append(model), shared(model))
progress.write = lambda path, data: (written.append(path.name), write(path, data))
with parallel.joined("cpu"):
    with parallel.first_alone():
        made = sorted(path.name for path in folder.glob("made*"))
        (folder / f"made{parallel.rank()}").touch()
    run_face(folder)
    run_voice(folder)
    run_joint(folder)
    ends = [model.state_dict() for model in models]
    torch.save({"made": made, "written": written, "models": ends}, folder / f"{parallel.rank()}.pt")
"""


def test_two_processes_end_with_the_weights_of_one_and_only_the_first_writes(tmp_path, monkeypatch):
    write_pictures(tmp_path / "pictures", 24)
    one, two = tmp_path / "one", tmp_path / "two"
    monkeypatch.setattr(torch, "autocast", in_float32)
    with pytest.raises(Stopped):
        run_joint(two, say=after(2))
    assert progress.load(two / "joint" / "joint.pt")["step"] == 2  # two processes go on where one was stopped
    (tmp_path / "program.py").write_text(PROGRAM)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*torchrun, tmp_path / "program.py", two], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr

    first, second = (torch.load(two / f"{n}.pt") for n in range(2))
    assert first["made"] == [] and second["made"] == ["made0"]
    assert {"face.pt", "face.svg", "voice.pt", "voice.svg", "joint.pt"} == set(first["written"]) and not second["written"]
    for mine, yours in zip(first["models"], second["models"], strict=True):
        assert all(torch.equal(mine[name], yours[name]) for name in mine)  # running statistics and what is usual among them

    # Rounding is all that differs, but Adam divides by the size of a gradient: where that is nearly nothing, rounding
    # decides which way a weight goes. So the models are close beside the way they went, not alike in every digit.
    straight = {
        "face": run_face(one),
        "voice": run_voice(one),
        "joint": run_joint(one),
    }
    found = {name: apart(path, two / path.relative_to(one), name) for name, path in straight.items()}
    assert all(distance < 0.02 for distance in found.values()), found
    ends = [progress.load(folder / "voice" / "voice.pt")["history"][-1] for folder in (one, two)]
    assert ends[0].keys() == ends[1].keys() and ends[1]["loss"] == pytest.approx(ends[0]["loss"], rel=1e-3)


def test_one_process_has_the_whole_batch():
    assert parallel.own(7) == slice(0, 7) and (parallel.rank(), parallel.size()) == (0, 1)
    tokens = torch.randn(3, 2)
    assert parallel.gather(tokens, 3) is tokens


def test_more_processes_than_people_are_refused(monkeypatch):
    monkeypatch.setattr(parallel, "size", lambda: 6)
    with pytest.raises(AvemoError, match=r"6 processes would share batches of 5 people; give --nproc-per-node 5 or less\."):
        parallel.own(20, together=4)


@pytest.mark.parametrize("size", [2, 3, 5])
def test_every_person_is_of_one_process(monkeypatch, size):
    monkeypatch.setattr(parallel, "size", lambda: size)
    seen = []
    for rank in range(size):
        monkeypatch.setattr(parallel, "rank", lambda rank=rank: rank)
        share = list(range(20)[parallel.own(20, together=4)])
        assert len(share) % 4 == 0 and len(share) in (20 // size // 4 * 4, 20 // size // 4 * 4 + 4)
        seen += share
    assert seen == list(range(20))


@pytest.mark.gpu
def test_the_stages_run_on_a_gpu_and_go_on_there_or_on_the_cpu(tmp_path, monkeypatch):
    write_pictures(tmp_path / "pictures", 24)
    cpu, gpu = tmp_path / "cpu", tmp_path / "gpu"
    monkeypatch.setattr(torch, "autocast", in_float32)
    settings = face.Settings(epochs=1, batch=6, dropout=0.0)  # devices draw the units to leave out each in its own way
    for stage, run in {
        "face": lambda folder, device: run_face(folder, settings, device),
        "voice": lambda folder, device: run_voice(folder, device=device),
        "joint": run_joint,
    }.items():
        one, other = run(cpu, "cpu"), run(gpu, "cuda")
        assert apart(one, other, stage) < 0.2  # convolutions in TF32, of ten bits
        assert run(gpu, "cpu") == other and run(cpu, "cuda") == one  # a state of either is one of the other
        state = progress.load(other)
        assert all(value.device.type == "cpu" for value in state["average"].values())
        if "history" in state:
            assert state["history"][-1]["loss"] == pytest.approx(progress.load(one)["history"][-1]["loss"], rel=0.02)


@pytest.mark.gpu
def test_the_stages_run_on_a_gpu_in_half_precision(tmp_path):
    write_pictures(tmp_path / "pictures", 24)
    for path in (
        run_face(tmp_path / "gpu", device="cuda"),
        run_voice(tmp_path / "gpu", device="cuda"),
        run_joint(tmp_path / "gpu", "cuda"),
    ):
        state = progress.load(path)
        assert all(torch.isfinite(value).all() for value in state["average"].values())
