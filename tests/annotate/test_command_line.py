"""The study's commands as a lead types them: what they print, how they end, and one sentence for whatever is wrong."""

import csv
import functools
import io
import json
import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from annotate import __main__ as command_line
from annotate import accounts
from annotate.schema import Rating
from annotate.store import Home, Store
from tests import media_files
from tests.annotate.material import add_account, new_study, rate_all, write_folder

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(home: Home, capsys: pytest.CaptureFixture[str]):
    """Run a command on the test's home: (exit code, what it printed, what it said on standard error)."""

    def ask(*words: object) -> tuple[int, str, str]:
        command, *rest = (str(word) for word in words)
        where = ["--home", str(home.folder), *(["--db", home.url] if home.url else [])]
        code = command_line.main([command, *where, *rest])
        out, err = capsys.readouterr()
        return code, out, err

    return ask


def test_a_study_from_its_first_command_to_its_last(run, home: Home, tmp_path: Path, empty_home: Home):
    assert run("init", "--no-practice")[0] == 0
    folder = write_folder(tmp_path / "clips")
    (folder / "broken.wav").write_bytes(b"x")
    code, out, _ = run("create-study", "Радость", folder, "--replications", 5, "--repeat-share", 0, "--seed", 7)
    assert code == 0 and "4 clips added" in out
    code, out, _ = run("create-study", "Радость", folder / "manifest.csv", "--add", "--json")
    assert code == 0 and len(json.loads(out)["duplicates"]) == 4
    assert run("invite", "--role", "lead", "--name", "Анна", "--url", "https://x.example/")[1].startswith(
        "https://x.example/study/join/"
    )
    store = Store.open(home)
    rate_all(store, 1, ("R01", "R02"))
    store.close()

    code, out, _ = run("status", "--json")
    assert code == 0 and json.loads(out)["studies"][0]["wanted"] == 20 and json.loads(out)["overdue"] == []
    assert "Радость" in run("status")[1]
    assert json.loads(run("agreement", "Радость", "--json")[1])["ratings"] == 8
    assert "8 answers to 4 clips, 2 raters" in run("agreement", 1)[1]
    code, out, _ = run("aggregate", "Радость", "--out", tmp_path / "labels.csv")
    with (tmp_path / "labels.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert code == 0 and len(rows) == 4 and all(row["majority"] and row["mace"] for row in rows)
    code, out, _ = run("aggregate", "Радость")
    assert code == 0 and all(label[:4] in out for row in rows for label in row["mace"].split(" = "))

    assert "snapshot 'v1' of" in run("snapshot", "Радость", "v1")[1]
    assert run("snapshot", "Радость", "v1", "--out", tmp_path / "v1.gz")[0] == 0
    assert json.loads(run("snapshot", "Радость", "--json")[1])[0]["name"] == "v1"
    assert run("verify")[:2] == (0, run("verify")[1])
    assert json.loads(run("verify", "--json")[1])["problems"] == []

    assert run("export", "Радость", "--format", "jsonl", "--out", tmp_path / "x.jsonl")[0] == 0
    code, _, err = run("import", tmp_path / "x.jsonl")
    assert code == 2 and "These ratings are here already, in the study 'Радость'" in err

    assert run("backup", tmp_path / "b.tar")[0] == 0
    where = ["--home", str(empty_home.folder), *(["--db", empty_home.url] if empty_home.url else [])]
    assert command_line.main(["restore", *where, str(tmp_path / "b.tar")]) == 0

    code, out, _ = run("erase", "--child", "ребёнок-0", "--yes")
    assert code == 0 and "1 children, 2 clips, 5 ratings, 4 files" in out
    uses = (
        f"snapshot {tmp_path}/v1.gz",
        f"backup {tmp_path}/b.tar",
        f"export {tmp_path}/x.jsonl",
        f"table {tmp_path}/labels.csv",
    )
    for said in ("The snapshot 'v1' held them", *uses):
        assert said in out
    assert run("verify")[0] == 0 and run("migrate")[1].endswith("nothing was changed.\n")


def test_exports_come_in_again_by_the_command(run, home: Home, tmp_path: Path, store: Store, empty_home: Home, capsys):
    rate_all(store, new_study(store, tmp_path / "clips").study_id, ("R01",))
    Store.create(empty_home).close()
    where = ["--home", str(empty_home.folder), *(["--db", empty_home.url] if empty_home.url else [])]
    run("export", 1, "--format", "eaf", "--out", tmp_path / "elan")
    code = command_line.main(["import", *where, str(tmp_path / "elan"), "--format", "eaf", "--name", "mine", "--json"])
    assert code == 0 and json.loads(capsys.readouterr().out) == {
        "study_id": 1,
        "ratings": 5,
        "clips": 4,
        "raters": 1,
        "anonymous": 0,
    }


def test_a_study_for_chosen_raters_and_a_link_to_it(run, store: Store, home: Home, tmp_path: Path):
    folder = write_folder(tmp_path / "clips")
    for name in ("R01", "R02", "[red]"):
        add_account(store, name)
    assert run("create-study", "All", folder)[0] == 0
    assert run("create-study", "Few", folder, "--raters", "R02", "[red]")[0] == 0
    assert run("create-study", "Nobody", folder, "--raters")[0] == 0
    found = {row["name"]: row["raters"] for row in json.loads(run("status", "--json")[1])["studies"]}
    assert found == {"All": None, "Few": ["R02", "[red]"], "Nobody": []}
    for study, said in (("All", "every rater"), ("Few", "R02"), ("Nobody", "nobody yet")):
        assert said in " ".join(run("status", study)[1].split())
    code, out, err = run("invite", "--study", "Nobody")
    assert code == 0 and "for the role rater and the study Nobody." in " ".join(err.split())
    accounts.accept(store, out.strip().rsplit("/", 1)[1], "R07", "correct horse battery")
    assert json.loads(run("status", "Nobody", "--json")[1])["studies"][0]["raters"] == ["R07"]
    for words, sentence in (
        (["create-study", "x", folder, "--raters", "R01", "R09"], "There is no rater 'R09'; there are: 'R01', 'R02',"),
        (["create-study", "All", folder, "--add", "--raters", "R01"], "--raters says who rates a new study"),
        (["invite", "--study", "All"], "Every rater rates All, so a link need not name it."),
        (["invite", "--study", "Few", "--role", "lead"], "Only a rater can be chosen for a study"),
        (["invite", "--study", "None"], "There is no study 'None'"),
    ):
        code, _, err = run(*words)
        assert code == 2 and sentence in err, err


BAD = {
    "no study": (["status"], "There is no study in .*; make one with: python -m annotate init"),
    "name": (["agreement", "x"], "There is no study 'x'; there are: 1 'Радость, 2026'."),
    "number": (["export", "77", "--out", "x"], "There is no study '77'"),
    "scheme": (["create-study", "n", ".", "--scheme", "x"], "There is no label scheme 'x'; give one of 'basic seven'"),
    "scheme file": (["create-study", "n", ".", "--scheme", "x.json"], r"x.json cannot be read \(No such file"),
    "design": (["create-study", "n", ".", "--replications", "0"], "A clip needs 1 to 1000 ratings; 0 were asked for."),
    "source": (["create-study", "n", "/nowhere"], "There is no folder or manifest '/nowhere'"),
    "days": (["invite", "--days", "0"], "A link works for up to 366 days, not 0"),
    "snapshot": (["snapshot", "1", "--out", "x"], "Say which snapshot is to be written"),
    "exists": (["export", "1", "--out", "/etc/passwd"], "'/etc/passwd' exists already"),
    "place": (["export", "1", "--out", "/nowhere/x.csv"], r"could not be written \(No such file or directory\)"),
    "import": (["import", "/nowhere"], "There is no file or folder '/nowhere' to import."),
    "format": (["import", "/etc"], "does not say what it is; give --format csv, jsonl"),
    "folder": (["import", "/etc", "--format", "csv"], "Is a directory"),
    "cremad": (["import", "/etc", "--format", "cremad"], "votes.parquet"),
    "backup": (["backup", "/nowhere/b.tar"], "could not be written"),
    "restore": (["restore", "/etc/passwd"], "is not empty; restore into a new folder"),
    "child": (["erase", "--child", "x", "--yes"], "There is no child 'x'; nothing was erased."),
    "clip": (["erase", "--clip", "99", "--yes"], "There is no clip 99; nothing was erased."),
    "asked": (["erase", "--child", "ребёнок-0"], "Erasing cannot be undone; say --yes"),
}


def test_whatever_is_wrong_is_one_sentence(run, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO())  # no terminal
    for name, (words, said) in BAD.items():
        if name == "name":
            store = Store.create(home)
            new_study(store, tmp_path / "clips")
            store.close()
        code, _, err = run(*words)
        assert code == 2 and re.search(said, err), (name, err)
        assert err.count("\n") == 1 and "Traceback" not in err, (name, err)
    with pytest.raises(SystemExit) as stopped:
        run("erase")
    assert stopped.value.code == 2


def test_a_tampered_rating_is_found_and_the_command_ends_with_one(run, store: Store, tmp_path: Path):
    ids = rate_all(store, new_study(store, tmp_path / "clips").study_id, ("R01",))
    with store.write() as session:
        session.get_one(Rating, ids[2]).label = "disgust"
    code, out, _ = run("verify")
    assert code == 1 and f"Rating {ids[2]} is not as row" in out
    assert add_account(store, "later")


def test_clips_past_their_day_are_said_and_erased(run, store: Store, tmp_path: Path):
    new_study(store, tmp_path / "clips")
    from sqlalchemy import text

    with store.write() as session:
        session.execute(text("UPDATE clip SET retain_until = '2020-02-02' WHERE id = 2"))
    code, out, _ = run("status")
    assert code == 1 and "Clip 2, 'b c.wav' of 'Радость, 2026', could be kept until 2020-02-02" in out
    assert run("erase", "--overdue", "--yes")[0] == 0
    assert run("status")[0] == 0
    assert "No clip's retention date has passed." in run("erase", "--overdue", "--yes")[1]


def test_migrate_copies_sqlite_first_and_refuses_what_is_newer(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    store = Store.create(Home(tmp_path / "s"))
    store.close()

    def migrated() -> tuple[int, str]:
        code = command_line.main(["migrate", "--home", str(tmp_path / "s")])
        return code, "".join(capsys.readouterr())

    with sqlite3.connect(tmp_path / "s" / "study.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    code, said = migrated()
    assert code == 2 and "revision 9999, which is newer than this version" in said
    assert not list((tmp_path / "s").glob("study.db.before-*"))
    (tmp_path / "t").mkdir()
    assert command_line.main(["migrate", "--home", str(tmp_path / "t")]) == 2


def test_the_copy_beside_the_database_is_whole_and_private(tmp_path: Path):
    from annotate.backup import copy_beside

    store = Store.create(Home(tmp_path / "s"))
    new_study(store, tmp_path / "clips")
    copy = copy_beside(store)
    store.close()
    assert copy is not None and copy.stat().st_mode & 0o077 == 0
    with sqlite3.connect(copy) as database:
        assert database.execute("SELECT count(*) FROM clip").fetchone() == (4,)
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_ctrl_c_ends_a_creation_with_one_line_and_leaves_nothing(tmp_path: Path):
    folder = tmp_path / "clips"
    folder.mkdir()
    for k in range(60):
        media_files.write_wav(folder / f"{k}.wav", media_files.tone(1.0, 16_000, hertz=200 + 20 * k)[0])
    Store.create(Home(tmp_path / "s")).close()
    command = [sys.executable, "-m", "annotate", "create-study", "--home", str(tmp_path / "s"), "x", str(folder)]
    # A shell switches SIGINT off for what it starts in the background, these tests perhaps.
    heeds = functools.partial(signal.signal, signal.SIGINT, signal.default_int_handler)
    running = subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=heeds
    )
    while not list((tmp_path / "s").rglob("*.wav")):
        time.sleep(0.05)
        assert running.poll() is None
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert (running.returncode, out, err) == (130, "", "Stopped; what was not finished was taken back.\n")
    assert not list((tmp_path / "s" / "media").glob("*/*/*"))


def test_a_full_disk_is_one_sentence(small_disk: Path, tmp_path: Path):
    folder = tmp_path / "clips"
    folder.mkdir()
    for k in range(6):
        media_files.write_wav(folder / f"{k}.wav", media_files.tone(6.0, 16_000, hertz=200 + 20 * k)[0])

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "annotate", words[0], "--home", str(small_disk / "s"), *words[1:]]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    assert run("init", "--no-practice").returncode == 0
    done = run("create-study", "x", str(folder))
    assert done.returncode == 2 and "No space left on device" in done.stderr and done.stderr.count("\n") == 1
    assert not list((small_disk / "s" / "media").glob("*/*/*"))
    (folder / "5.wav").unlink()
    for k in range(1, 5):
        (folder / f"{k}.wav").unlink()
    assert run("create-study", "x", str(folder)).returncode == 0  # a smaller one has room
    subprocess.run(["dd", "if=/dev/zero", f"of={small_disk / 'filler'}"], capture_output=True)  # until it is full
    export = ["export", "x", "--out", str(small_disk / "x.csv")]
    for words in (["snapshot", "x", "v1"], export, ["backup", str(small_disk / "b.tar")]):
        done = run(*words)
        assert done.returncode == 2 and done.stderr.count("\n") == 1 and "Traceback" not in done.stderr, done.stderr
    (small_disk / "filler").unlink()
    assert run("verify").returncode == 0 and run("snapshot", "x", "v1").returncode == 0


def test_a_database_that_cannot_be_reached_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for url in ("postgresql://nobody@127.0.0.1:1/none", "nonsense", "mysql://x/y"):
        assert command_line.main(["status", "--home", str(tmp_path), "--db", url]) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1 and "Traceback" not in err and len(err) > 30
