"""A child that is erased is gone from the rows, the files and the bytes; what lies elsewhere is named."""

import json
import shutil
import sqlite3
import subprocess
import sys
import threading
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from sqlalchemy import create_engine, event, func, select, text

from annotate import __main__ as command_line
from annotate import backup as backing_up
from annotate.backup import backup
from annotate.design import Design
from annotate.erase import Erased, erase_bytes, erase_child, erase_clips, finish, overdue
from annotate.exchange import FORMATS, Format, csv
from annotate.exchange.rows import typed
from annotate.exchange.transfer import export, import_ratings
from annotate.schema import (
    Account,
    Adjudication,
    Audit,
    Child,
    Clip,
    Draft,
    Enrolment,
    Item,
    Lease,
    ModelReading,
    Rating,
    Rendition,
    Snapshot,
    Use,
)
from annotate.scheme import SCHEMES
from annotate.snapshots import freeze
from annotate.store import Home, Store, StudyError, rating_digest, record
from annotate.studies import create_study
from annotate.verify import verify
from tests.annotate.material import new_study, rate_all

SECRET = "Лиза-7261"  # a comment that only one clip has


@pytest.fixture
def study_id(store: Store, tmp_path: Path) -> int:
    """A study in which everything that can point at a clip does."""
    study_id = new_study(store, tmp_path / "clips", replications=100).study_id
    rate_all(store, study_id, ("R01", "R02"))
    now = datetime.now(UTC)
    with store.write() as session:
        account = session.scalars(select(Account)).first()
        enrolment = session.scalars(select(Enrolment)).first()
        assert account and enrolment
        for item in session.scalars(select(Item)):
            draft = {"enrolment_id": enrolment.id, "is_repeat": True, "answer": {"comment": SECRET}, "reason": "unsent"}
            session.add(Draft(item_id=item.id, saved_at=now, **draft))
            settled = Adjudication(item_id=item.id, account_id=account.id, label="fear", comment=SECRET, settled_at=now)
            session.add(settled)
            session.flush()
            detail = {"adjudication": settled.id, "digest": rating_digest(settled)}
            record(session, account.id, "settled", f"item {item.id}", **detail)
            session.add(
                ModelReading(
                    clip_id=item.clip_id, modality="voice", model_id="m", probabilities={"fear": 1.0}, written_at=now
                )
            )
        clips = list(session.scalars(select(Clip.id)))
        use = {"kind": "checkpoint", "name": "models/7.safetensors", "sha256": "c0ffee", "made_at": now}
        session.add(Use(study_id=study_id, clips=clips, **use))
        session.add(Use(study_id=study_id, kind="manifest", name="other.csv", clips=clips[3:], made_at=now))
    return study_id


def test_nothing_of_an_erased_child_is_left_in_the_store(store: Store, study_id: int, tmp_path: Path):
    with store.read() as session:
        child = session.scalars(select(Child).filter_by(pseudonym="ребёнок-0")).one().id
        gone = {clip.id: clip.content_hash for clip in session.scalars(select(Clip).filter_by(child_id=child))}
        ratings = set(session.scalars(select(Rating.id).join(Item).where(Item.clip_id.in_(gone))))
        kept = set(session.scalars(select(Rating.id))) - ratings
    export(store, None, study_id, "csv", tmp_path / "out.csv")
    freeze(store, None, study_id, "paper")

    report = erase_child(store, None, "ребёнок-0")
    assert (report.children, len(report.clips), report.ratings, report.files) == (["ребёнок-0"], 2, len(ratings), 4)
    assert report.snapshots == ["paper"] and report.bytes_gone
    assert {(use.kind, use.name) for use in report.uses} == {
        ("checkpoint", "models/7.safetensors"),
        ("export", str(tmp_path / "out.csv")),
    }
    with store.read() as session:
        assert set(session.scalars(select(Rating.id))) == kept
        for table in (Clip, Child, Snapshot):
            assert session.scalar(select(func.count()).select_from(table)) == {Clip: 2, Child: 1, Snapshot: 0}[table]
        for table in (Rendition, ModelReading, Item):
            assert set(session.scalars(select(table.clip_id))).isdisjoint(gone)
        items = set(session.scalars(select(Item.id)))
        for table in (Draft, Adjudication, Lease, Rating):
            assert set(session.scalars(select(table.item_id))) <= items
        assert all(abs(n) in items for enrolment in session.scalars(select(Enrolment)) for n in enrolment.plan)
        told = {
            row.detail["clip"]: row.detail["ratings"]
            for row in session.scalars(select(Audit).filter_by(action="clip erased"))
        }
    assert set(told) == set(gone) and {rating for ids in told.values() for rating in ids} == ratings
    with store.read() as session:
        log = json.dumps([row.detail for row in session.scalars(select(Audit))])
    for content_hash in gone.values():
        assert not list(store.home.media.rglob(f"*{content_hash}*"))
        assert content_hash and content_hash not in log
    assert verify(store).problems == []
    rate_all(store, study_id, ("R03",))  # the study goes on
    assert verify(store).problems == []


@pytest.mark.parametrize("home", ["sqlite"], indirect=True)  # PostgreSQL keeps its files elsewhere
def test_nothing_of_an_erased_child_is_left_in_the_bytes_of_the_database(store: Store, study_id: int):
    def there(words: str) -> bool:
        return any(words.encode() in path.read_bytes() for path in store.home.folder.glob("study.db*"))

    freeze(store, None, study_id, "paper")
    erase_child(store, None, "ребёнок-1")
    assert there(SECRET) and there("ребёнок-0") and not there("ребёнок-1") and there("говорит, громко.wav")
    erase_child(store, None, "ребёнок-0")
    assert not there(SECRET) and not there("ребёнок-0") and not there("говорит, громко.wav")


def test_a_page_that_is_open_does_not_stop_an_erasure(store: Store, study_id: int):
    """A reader holds the old pages of SQLite: the rows are gone all the same, and the report tells of the bytes."""
    started, end = threading.Event(), threading.Event()

    def reader() -> None:
        with store.read() as session:
            session.scalars(select(Rating)).all()
            started.set()
            end.wait(60)

    thread = threading.Thread(target=reader)
    thread.start()
    started.wait(60)
    if store.engine.dialect.name == "postgresql":
        end.set()
    report = erase_child(store, None, "ребёнок-0")
    end.set()
    thread.join(60)
    assert report.ratings and report.bytes_gone == (store.engine.dialect.name == "postgresql")


def test_a_clip_is_erased_alone_and_its_child_stays(store: Store, study_id: int):
    with store.read() as session:
        first = session.scalars(select(Clip).order_by(Clip.id)).first()
        assert first
    report = erase_clips(store, None, [first.id])
    assert (report.clips, report.children) == ([first.name], [])
    with store.read() as session:
        assert session.scalar(select(func.count()).select_from(Child)) == 2
    with pytest.raises(StudyError, match=f"There is no clip {first.id}; nothing was erased"):
        erase_clips(store, None, [first.id])
    with pytest.raises(StudyError, match="There is no child 'nobody'; nothing was erased"):
        erase_child(store, None, "nobody")


def test_files_that_another_study_holds_too_stay_and_are_named(store: Store, study_id: int, tmp_path: Path):
    (tmp_path / "second").mkdir()
    shutil.copy(tmp_path / "clips" / "b c.wav", tmp_path / "second" / "same.wav")
    create_study(store, None, "Вторая", tmp_path / "second", SCHEMES["comfort"], Design())
    report = erase_child(store, None, "ребёнок-1")
    assert report.elsewhere == [("Вторая", "same.wav")]
    with store.read() as session:
        left = session.scalars(select(Rendition.file)).all()
    assert all((store.home.media / file).is_file() for file in left) and len(left) == 3


def test_what_is_left_of_an_import_is_still_guarded(store: Store):
    rows = [typed({"clip": f"{k}", "modality": "voice", "child": "abc"[k % 3], "label": "fear"}, "") for k in range(9)]
    import_ratings(store, None, "votes", rows)
    erase_child(store, None, "b")
    erase_child(store, None, "a")
    assert verify(store).problems == []
    with store.write() as session:
        rating = session.scalars(select(Rating)).first()
        assert rating
        rating.label = "anger"
    assert any("not as they were imported" in problem for problem in verify(store).problems)


def test_an_erasure_killed_before_its_files_went_is_finished_later(store: Store, study_id: int):
    """As if the power went between the write and the files: the marks are there, the rows are not."""
    with store.read() as session:
        clip = session.scalars(select(Clip).order_by(Clip.id)).first()
        assert clip and clip.content_hash
    place = store.home.media / clip.content_hash[:2] / clip.content_hash
    kept = {path.name: path.read_bytes() for path in place.iterdir()}
    erase_clips(store, None, [clip.id])
    place.mkdir(parents=True)
    for name, content in kept.items():
        (place / name).write_bytes(content)
    (store.home.media / ".new").mkdir()
    (store.home.media / ".new" / f"{clip.content_hash}.placed").touch()
    assert finish(store)
    assert not place.exists()


def test_an_erasure_during_an_export_names_it(store: Store, study_id: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The rows are read, the file is not yet there."""
    reports: list[Erased] = []

    def write(rows, study, path: Path) -> None:
        reports.append(erase_child(store, None, "ребёнок-0"))
        csv.write(rows, study, path)

    monkeypatch.setitem(FORMATS, "csv", Format(write, csv.read, ".csv", ""))
    done = export(store, None, study_id, "csv", tmp_path / "out.csv")
    assert "ребёнок-0" in (tmp_path / "out.csv").read_text(encoding="utf-8")
    assert ("export", str(tmp_path / "out.csv")) in {(use.kind, use.name) for use in reports[0].uses}
    later = erase_child(store, None, "ребёнок-1")
    assert {use.sha256 for use in later.uses if use.kind == "export"} == {done.sha256}


def test_an_erasure_waits_for_a_backup_and_names_it(
    store: Store, study_id: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    reports: list[Erased] = []
    erasing = threading.Thread(target=lambda: reports.append(erase_child(store, None, "ребёнок-0")))

    def slow_digest(path: Path) -> str:
        erasing.start()
        erasing.join(1)
        return "5a5a"

    monkeypatch.setattr(backing_up, "digest", slow_digest)
    backup(store, None, tmp_path / "b.tar")
    erasing.join(60)
    named = {(use.kind, use.name, use.sha256) for use in reports[0].uses}
    assert ("backup", str(tmp_path / "b.tar"), "5a5a") in named
    assert f"or an erasure in {store.home.folder}; this one waits until that is done." in capsys.readouterr().err


def test_what_could_not_be_made_is_not_named(store: Store, study_id: int, tmp_path: Path):
    with store.read() as session:
        before = session.scalar(select(func.count()).select_from(Use))
    (tmp_path / "there.csv").touch()
    for path in (tmp_path / "there.csv", tmp_path / "nowhere" / "x.csv"):
        with pytest.raises(StudyError):
            export(store, None, study_id, "csv", path)
        with pytest.raises(StudyError):
            backup(store, None, path)
    with store.read() as session:
        assert session.scalar(select(func.count()).select_from(Use)) == before


KILLED = """
import os, signal, sys
from pathlib import Path
from annotate import backup, exchange, store
from annotate.exchange import transfer
def killed(*values): os.kill(os.getpid(), signal.SIGKILL)
backup.digest = transfer.digest = killed
home = store.Home(Path(sys.argv[1]), sys.argv[2] or None)
made = store.Store.open(home)
if sys.argv[3] == "export":
    transfer.export(made, None, int(sys.argv[4]), "csv", Path(sys.argv[5]))
else:
    backup.backup(made, None, Path(sys.argv[5]))
"""


@pytest.mark.parametrize("kind", ["export", "backup"])
def test_what_was_killed_in_the_making_is_named_with_what_it_left(store: Store, study_id: int, tmp_path: Path, kind: str):
    path = tmp_path / "out.file"
    words = [str(store.home.folder), store.home.url or "", kind, str(study_id), str(path)]
    assert subprocess.run([sys.executable, "-c", KILLED, *words]).returncode == -9
    report = erase_child(store, None, "ребёнок-0")
    named = {use.name: use for use in report.uses}
    assert named[str(path)].kind == kind and named[str(path)].sha256 is None
    (left,) = tmp_path.glob(".out.file.*")
    assert named[str(left)].kind == f"unfinished {kind}"
    assert "ребёнок-0".encode() in (left / "draft").read_bytes()


def test_what_a_killed_download_left_goes_with_the_next_erasure(store: Store, study_id: int):
    def killed() -> Path:
        left = store.home.folder / ".export-x"
        left.mkdir()
        (left / "study.csv").write_text("ребёнок-0", encoding="utf-8")
        return left

    killed()
    erase_child(store, None, "ребёнок-0")
    assert not list(store.home.folder.glob(".export-*"))
    killed()
    assert finish(store)
    assert not list(store.home.folder.glob(".export-*"))


def test_bytes_that_cannot_be_written_anew_now_are_said_and_written_later(store: Store, study_id: int):
    """Somebody holds what is needed for it: SQLite's lock of writes, in PostgreSQL a table."""
    if store.engine.dialect.name == "sqlite":
        holder = sqlite3.connect(store.home.folder / "study.db", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        assert not erase_bytes(store, 0.1)
        holder.close()
    else:

        def impatient(connection, _) -> None:
            connection.execute("SET lock_timeout = 200")
            connection.commit()

        store.engine.dispose()
        event.listen(store.engine, "connect", impatient)
        engine = create_engine(store.home.database_url)
        with engine.begin() as connection:
            connection.execute(text("SELECT * FROM rating"))
            assert not erase_bytes(store)
        engine.dispose()
    assert erase_bytes(store)


def test_an_erasure_on_a_full_disk_still_says_what_else_is_to_be_deleted(
    small_disk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    store = Store.create(Home(small_disk / "s"))
    study_id = new_study(store, tmp_path / "clips").study_id
    rate_all(store, study_id, ("R01",))
    export(store, None, study_id, "csv", tmp_path / "out.csv")
    with store.write() as session:
        for _ in range(40):  # a database that does not fit twice
            record(session, None, "filled", "store", with_="y" * 8000)
    store.close()
    (small_disk / "filler").write_bytes(b"x" * (shutil.disk_usage(small_disk).free - 200_000))
    words = ["--home", str(small_disk / "s"), "--child", "ребёнок-0", "--yes"]
    assert command_line.main(["erase", *words]) == 1
    out = capsys.readouterr().out
    assert "Erased: 1 children, 2 clips" in out and f"export {tmp_path / 'out.csv'}" in out
    assert "The database still has old pages" in out and "Run erase --bytes" in out
    (small_disk / "filler").unlink()
    assert command_line.main(["erase", "--home", str(small_disk / "s"), "--bytes"]) == 0


def test_clips_past_their_day_are_listed(store: Store, study_id: int):
    with store.read() as session:
        assert overdue(session) == []
        late = overdue(session, date(2041, 1, 1))
    assert len(late) == 4 and {row.child for row in late} == {"ребёнок-0", "ребёнок-1"}
