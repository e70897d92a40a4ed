"""Features of a corpus, made by real processes from generated clips: in parallel, stopped, killed, on a full disk."""

import csv
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from avemo_core import synthetic
from avemo_core.faces import Detector
from avemo_core.types import MediaError
from training import features, prepare
from training.corpora import manifest

ROOT = Path(__file__).parents[2]


def write_manifest(root: Path, names: list[str]) -> Path:
    with (root / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "label", "speaker"), *((name, "fear", "p1") for name in names)])
    return root


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """Eight voices, a clip of a face that speaks, one of a face without sound, one without a face."""
    root = tmp_path_factory.mktemp("acted")
    for n in range(8):
        synthetic.write_clip(root / f"{n}.wav", None, "anger", picture=False, seconds=1.5, seed=n)
    small = {"fps": 10, "size": (160, 160), "seconds": 1.0}
    synthetic.write_clip(root / "talk.mp4", "happiness", "happiness", **small)
    synthetic.write_clip(root / "silent.mp4", "surprise", None, **small)
    synthetic.write_clip(root / "nobody.mp4", None, "sadness", **small)
    return write_manifest(root, [f"{n}.wav" for n in range(8)] + ["talk.mp4", "silent.mp4", "nobody.mp4"])


def command(root: Path, cache: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "training.prepare", "acted", str(root), "--cache", str(cache), *more]


def run(root: Path, cache: Path, *more: str) -> subprocess.CompletedProcess:
    return subprocess.run(command(root, cache, *more), cwd=ROOT, capture_output=True, text=True)


class Entry:
    """The arrays of one entry; equal but for what another number of threads does to the last digits."""

    def __init__(self, path: Path):
        with np.load(path) as arrays:
            self.arrays = dict(arrays)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Entry) or self.arrays.keys() != other.arrays.keys():
            return False
        return all(near(one, other.arrays[name]) for name, one in self.arrays.items())

    __hash__ = None  # type: ignore[assignment]


def near(one: np.ndarray, other: np.ndarray) -> bool:
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    most = {"b": 0.0, "u": 2.0}.get(one.dtype.kind, 0.05)  # grey levels; pixels, seconds, natural logs
    return bool(np.abs(one.astype(float) - other.astype(float)).max(initial=0.0) <= most)


def entries(cache: Path) -> dict[str, Entry]:
    """Every entry of the cache; one that is not whole fails here."""
    return {str(path.relative_to(cache)): Entry(path) for path in sorted(cache.glob("*/*.npz"))}


def leftovers(cache: Path) -> list[Path]:
    return [path for path in cache.rglob("*") if path.is_file() and path.suffix != ".npz"]


@pytest.fixture(scope="module")
def serial(corpus, tmp_path_factory) -> dict[str, Entry]:
    """Entries made one after the other in this process."""
    cache = tmp_path_factory.mktemp("serial")
    rows = manifest.read(corpus)
    features.voices(rows, cache)
    features.faces_of(rows, cache)
    return entries(cache)


# ---------------------------------------------------------------- entries


def test_features_of_clips_with_and_without_sound_and_face(corpus, serial, tmp_path):
    assert len(serial) == 22
    rows = manifest.read(corpus)[-3:]
    talk, silent, nobody = features.voices(rows, tmp_path)
    assert talk.log_mel.shape[0] == 80 and 90 <= talk.log_mel.shape[1] <= 110 and talk.voiced.any()
    assert silent.log_mel.shape == (80, 0) and nobody.log_mel.shape[1] > 90
    faces = features.faces_of(rows, tmp_path)
    assert faces[2] is None and faces[0].crops.shape == (10, 48, 48) and faces[0].present.all()
    again = features.face(rows[0].path, tmp_path, Detector())
    assert all(np.array_equal(getattr(faces[0], name), getattr(again, name)) for name in ("times_s", "crops", "boxes"))


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b[:300] + b"?" + b[301:]])
def test_a_damaged_entry_is_made_again_and_said(corpus, tmp_path, capsys, damage):
    clip = corpus / "0.wav"
    features.voice(clip, tmp_path)
    whole = entries(tmp_path)
    (entry,) = (tmp_path / "voice").iterdir()
    entry.write_bytes(damage(entry.read_bytes()))
    found = features.voice(clip, tmp_path)
    assert f"The cache entry {entry} was damaged and was made again." in capsys.readouterr().err
    assert found.log_mel.shape[0] == 80 and entries(tmp_path) == whole
    features.voice(clip, tmp_path)
    assert capsys.readouterr().err == ""


def test_the_entry_follows_the_content_not_the_name(corpus, tmp_path):
    copy, other = tmp_path / "copy.wav", tmp_path / "1.wav"
    copy.write_bytes((corpus / "0.wav").read_bytes())
    other.write_bytes((corpus / "1.wav").read_bytes())
    cache = tmp_path / "cache"
    assert [features.stored("voice", p, cache)[1] for p in (corpus / "0.wav", copy, other)] == ["made", "there", "made"]
    copy.write_bytes(other.read_bytes())
    assert np.array_equal(features.voice(copy, cache).log_mel, features.voice(other, cache).log_mel)


def test_a_clip_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"this is no sound")
    row = manifest.read(write_manifest(tmp_path, ["a.wav"]))[0]
    with pytest.raises(MediaError, match=r"a\.wav: This is not a media file"):
        features.voices([row], tmp_path / "cache")
    row.path.unlink()
    with pytest.raises(MediaError, match=r"a\.wav: There is no file 'a\.wav'"):
        features.faces_of([row], tmp_path / "cache")
    assert entries(tmp_path / "cache") == {}


def test_a_full_disk_keeps_whole_entries_only(corpus, small_disk):
    with pytest.raises(OSError, match=r"could not be written \(No space left on device\).*Make room"):
        features.voices(manifest.read(corpus), small_disk)
    assert 1 <= len(entries(small_disk)) < 8 and not leftovers(small_disk)


# ---------------------------------------------------------------- a whole corpus


def test_in_parallel_as_one_after_the_other_and_bad_clips_are_told(corpus, serial, tmp_path):
    root, cache = tmp_path / "acted", tmp_path / "cache"
    root.mkdir()
    names = sorted(path.name for path in corpus.iterdir() if path.suffix != ".csv")
    for name in names:
        (root / name).symlink_to(corpus / name)
    (root / "bad.mp4").write_bytes(b"this is no film")
    (root / "empty.wav").touch()
    write_manifest(root, ["bad.mp4", *names, "empty.wav"])
    done = run(root, cache, "--workers", "2")
    assert done.returncode == 2
    assert f"{root / 'bad.mp4'}: This is not a media file" in done.stderr
    assert f"{root / 'empty.wav'}: This file is empty (0 bytes)" in done.stderr and "Traceback" not in done.stderr
    expected = f"acted: 13 clips in {cache}: 11 made, 0 already there, 2 could not be read; 10 have sound, 2 have a face.\n"
    assert done.stdout == expected
    assert entries(cache) == serial

    damaged = next((cache / "face").iterdir())
    damaged.write_bytes(damaged.read_bytes()[:-9])
    done = run(corpus, cache, "--workers", "1")  # the same clips by other paths
    assert done.returncode == 0 and f"The cache entry {damaged} was damaged and was made again." in done.stderr
    assert "1 made, 10 already there, 0 could not be read" in done.stdout and entries(cache) == serial


def started(root: Path, cache: Path) -> tuple[subprocess.Popen, list[psutil.Process]]:
    """A run that has made its first entry, and all its processes."""
    running = subprocess.Popen(
        command(root, cache, "--workers", "2"),
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job has it ignored
    )
    while not any(cache.glob("*/*.npz")) and running.poll() is None:
        time.sleep(0.002)
    return running, psutil.Process(running.pid).children(recursive=True)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_stopped_at_any_moment_no_entry_is_broken_and_the_rest_is_made_next_time(corpus, serial, tmp_path, sent):
    running, family = started(corpus, tmp_path)
    if sent == signal.SIGINT:
        os.killpg(running.pid, sent)  # as a terminal does: to everyone
    else:
        running.send_signal(sent)
    _, said = running.communicate()
    if sent == signal.SIGINT:
        assert running.returncode == 130 and not leftovers(tmp_path)
        assert "Stopped; what was made stays" in said and "Traceback" not in said
    else:
        assert running.returncode == -sent
    assert psutil.wait_procs(family, timeout=60)[1] == []  # nobody is left behind
    early = entries(tmp_path)
    assert 1 <= len(early) < len(serial) and early.items() <= serial.items()
    done = run(corpus, tmp_path, "--workers", "1")
    assert done.returncode == 0 and entries(tmp_path) == serial and not leftovers(tmp_path)


def test_a_worker_that_is_killed_ends_the_run_with_one_sentence(corpus, serial, tmp_path):
    running, family = started(corpus, tmp_path)
    worker = next(process for process in family if "multiprocessing.spawn" in " ".join(process.cmdline()))
    worker.kill()
    _, said = running.communicate()
    assert running.returncode == 2 and "Traceback" not in said
    assert "A worker process was ended from outside" in said and "fewer --workers" in said
    assert psutil.wait_procs(family, timeout=60)[1] == []
    assert entries(tmp_path).items() <= serial.items() and not leftovers(tmp_path)


def test_a_full_disk_stops_the_run_with_one_sentence(corpus, serial, small_disk):
    done = run(corpus, small_disk, "--workers", "2")
    assert done.returncode == 2 and done.stdout == "" and "Traceback" not in done.stderr
    assert "could not be written (No space left on device)" in done.stderr
    found = entries(small_disk)
    assert found and found.items() <= serial.items() and not leftovers(small_disk)


def test_a_cache_that_cannot_be_written_is_said(corpus, tmp_path):
    (tmp_path / "cache").write_text("in the way")
    done = run(corpus, tmp_path / "cache", "--workers", "1")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "could not be written (Not a directory)" in done.stderr and "choose another folder" in done.stderr


# ---------------------------------------------------------------- a corpus that is not there, or not whole


def no_manifest(root: Path) -> None:
    (root / "Manifest.CSV.txt").touch()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            Path.rmdir,
            r"Looked for manifest\.csv or \.parquet files of acted in .*: there is no such folder\. Give ",
        ),
        (
            lambda root: None,
            r"Looked for manifest\.csv .*: found nothing\. Give .* columns file, label, speaker\.",
        ),
        (no_manifest, r"found Manifest\.CSV\.txt\."),
        (lambda root: write_manifest(root, []), r"manifest\.csv has columns but no row; expected one row a clip"),
        (lambda root: write_manifest(root, ["a.wav"]), r"1 of 1 files named in .* are not there; the first is .*a\.wav"),
    ],
)
def test_a_corpus_that_is_not_whole_is_said(tmp_path, capsys, make, said):
    root = tmp_path / "acted"
    root.mkdir()
    make(root)
    assert prepare.main(["acted", str(root), "--cache", str(tmp_path / "cache")]) == 2
    out, err = capsys.readouterr()
    assert out == "" and re.search(said, err) and err.count("\n") == 1 and not (tmp_path / "cache").exists()


def test_pictures_in_parquet_files_need_none(tmp_path, capsys):
    (tmp_path / "train.parquet").touch()
    assert prepare.main(["ferplus", str(tmp_path), "--cache", str(tmp_path / "cache")]) == 0
    assert "ferplus: pictures in parquet files need no preparing" in capsys.readouterr().out


@pytest.mark.parametrize("workers", ["0", "-1", "two", "1.5"])
def test_a_number_of_workers_that_is_none_is_refused(tmp_path, capsys, workers):
    with pytest.raises(SystemExit):
        prepare.main(["acted", str(tmp_path), "--workers", workers])
    assert f"expected a whole number from 1 on, not '{workers}'" in capsys.readouterr().err
