"""What the tests of training share."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from avemo_core import synthetic, systems
from avemo_core.labels import LABELS
from tests import media_files
from tests.training.material import TINY, write_manifest, write_pictures
from training import crossval, face, joint, recipe, voice


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 64 kB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a small disk can only be mounted by root: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


SMALL = {"fps": 10, "size": (160, 160), "seconds": 1.0}


def voices_of(root: Path, corpus: str, people: int, labels: tuple[str, ...], splits: int = 1, labelled: bool = True) -> None:
    """One take of each label by each person, in drawn voices that differ; `labelled`: the manifest says which."""
    rows = []
    faces = list(synthetic.PEOPLE.values())
    (root / corpus).mkdir(parents=True)
    for who in range(people):
        for label in labels:
            name = f"{who}-{label}.wav"
            wave = synthetic.speak(label, 1.0, faces[who % len(faces)], seed=who)
            media_files.write_wav(root / corpus / name, wave)
            rows.append((name, label if labelled else "unlabelled", f"{corpus}_{who:02d}", str(who % splits)))
    write_manifest(root / corpus, rows, ("file", "label", "speaker", "split"))


@pytest.fixture(scope="session")
def small_corpora(tmp_path_factory) -> Path:
    """Every corpus that the recipe learns from, in small: 40 voices, two people who are seen, pictures."""
    root = tmp_path_factory.mktemp("data")
    voices_of(root, "ravdess", 4, ("neutral", "happiness", "anger"), splits=2)
    for name in ("emodb", "nemo", "ased", "java_sed_voice"):
        voices_of(root, name, 2, LABELS if name == "emodb" else ("neutral", "anger"))
    voices_of(root, "children", 2, ("neutral",), labelled=False)
    (root / "java_sed").mkdir()
    rows = []
    for who, label in ((0, "neutral"), (0, "anger"), (1, "neutral"), (1, "anger")):
        name = f"{who}-{label}.mp4"
        synthetic.write_clip(root / "java_sed" / name, label, label, person=("mara", "ivan")[who], **SMALL)
        rows.append((name, label, f"java_sed_{who:02d}", ""))
    write_manifest(root / "java_sed", rows, ("file", "label", "speaker", "split"))
    write_pictures(root / "ferplus", 60, LABELS)
    return root


@pytest.fixture
def small_recipe(monkeypatch):
    """The recipe with few epochs and a small voice branch."""
    settings = recipe.Settings(
        face.Settings(epochs=1, batch=16),
        voice.Settings(epochs=2, batch=4),
        voice.Settings(epochs=1, batch=4, anybody=True),
        joint.Settings(steps=2, people=2, takes=2),
    )
    monkeypatch.setattr(crossval, "DEFAULT", settings)
    small = systems.system("attention_cam")
    monkeypatch.setitem(systems.SYSTEMS, "attention_cam", replace(small, settings=small.settings | TINY))
    threads = torch.get_num_threads()
    yield settings
    torch.set_num_threads(threads)
