"""A backup made while people rate holds all that was acknowledged before it, and comes back on either database."""

import hashlib
import io
import json
import tarfile
import threading
import uuid
from pathlib import Path

import pytest
from sqlalchemy import delete, select

from annotate import queue
from annotate.answers import Answer
from annotate.backup import backup, restore
from annotate.erase import erase_child, erase_clips
from annotate.ratings import read_ratings
from annotate.schema import Base, Clip, Item, Rating, Rendition
from annotate.store import Home, Store, StudyError
from annotate.studies import source_of
from annotate.verify import verify
from tests.annotate.material import add_account, new_study, rate_all
from tests.annotate.postgresql import PostgreSQL
from tests.conftest import is_one_sentence


@pytest.fixture
def study_id(store: Store, tmp_path: Path) -> int:
    study_id = new_study(store, tmp_path / "clips", replications=100).study_id
    rate_all(store, study_id, ("R01",))
    return study_id


def everything(store: Store) -> dict[str, list[tuple]]:
    with store.engine.connect() as connection:
        return {
            table.name: [tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key.columns))]
            for table in Base.metadata.sorted_tables
        }


def test_a_restored_store_is_the_one_that_was_backed_up(store: Store, study_id: int, tmp_path: Path, empty_home):
    before = everything(store)
    done = backup(store, None, tmp_path / "b.tar")
    assert done.rows == sum(map(len, before.values())) and done.files == 8
    assert (tmp_path / "b.tar").stat().st_mode & 0o077 == 0
    restore(empty_home, tmp_path / "b.tar")
    again = Store.open(empty_home)
    after = everything(again)
    named, told = after["use"].pop(), after["audit"].pop()  # the archive goes on holding what will be erased here
    assert named[2:6] == ("backup", str(tmp_path / "b.tar"), done.sha256, [1, 2, 3, 4]) and told[3] == "restored"
    assert after.pop("audit_head")[0][1] == before.pop("audit_head")[0][1] + 1
    assert after == before
    assert verify(again).problems == []
    with again.read() as session:
        for file in session.scalars(select(Rendition.file)):
            assert (empty_home.media / file).read_bytes() == (store.home.media / file).read_bytes()
        assert all(source_of(again, clip.content_hash or "") for clip in session.scalars(select(Clip)))
    assert empty_home.folder.stat().st_mode & 0o077 == 0
    rate_all(again, study_id, ("R02",))  # new ids go on where the old ones end
    assert verify(again).problems == []
    again.close()


def test_everything_acknowledged_before_a_backup_began_is_in_it(store: Store, study_id: int, tmp_path: Path, empty_home):
    """Four raters go on correcting while it is made."""
    acknowledged: list[int] = []
    stop = threading.Event()

    def rater(name: str) -> None:
        account = add_account(store, name)
        with store.write() as session:
            enrolment = queue.enrol(session, study_id, account).id
        token = queue.claim(store, enrolment)[0].token
        last = queue.submit(store, account, token, uuid.uuid4().hex, Answer(label="anger")).rating_id
        while not stop.is_set():
            last = queue.correct(store, account, last, uuid.uuid4().hex, Answer(label="fear", comment="ещё раз"))
            acknowledged.append(last)

    threads = [threading.Thread(target=rater, args=(f"W{k}",)) for k in range(4)]
    for thread in threads:
        thread.start()
    while len(acknowledged) < 30:
        stop.wait(0.01)
    before = list(acknowledged)
    backup(store, None, tmp_path / "b.tar")
    during = len(acknowledged) - len(before)
    stop.set()
    for thread in threads:
        thread.join(60)
    restore(empty_home, tmp_path / "b.tar")
    again = Store.open(empty_home)
    with again.read() as session:
        assert set(before) <= set(session.scalars(select(Rating.id)))
    assert verify(again).problems == [] and during > 0
    again.close()


def test_sqlite_moves_to_postgresql(tmp_path: Path, postgres: PostgreSQL):
    store = Store.create(Home(tmp_path / "small"))
    study_id = new_study(store, tmp_path / "clips").study_id
    rate_all(store, study_id)
    backup(store, None, tmp_path / "b.tar")
    home = Home(tmp_path / "large", postgres.new_database())
    restore(home, tmp_path / "b.tar")
    large = Store.open(home)
    with store.read() as here, large.read() as there:
        assert read_ratings(here, study_id, history=True) == read_ratings(there, study_id, history=True)
    assert verify(large).problems == []
    large.close()
    store.close()


def test_only_an_empty_home_is_restored_into(store: Store, study_id: int, tmp_path: Path, home: Home):
    backup(store, None, tmp_path / "b.tar")
    with pytest.raises(StudyError, match="is not empty; restore into a new folder"):
        restore(home, tmp_path / "b.tar")
    if home.url is not None:
        with pytest.raises(StudyError, match="has a study already"):
            restore(Home(tmp_path / "new", home.url), tmp_path / "b.tar")
    with store.read() as session:
        assert len(session.scalars(select(Rating)).all()) == 5


def changed(path: Path, name: str, content: bytes, member: tarfile.TarInfo | None = None) -> Path:
    """The archive with one member replaced or added."""
    out = path.with_name("changed.tar")
    with tarfile.open(path) as old, tarfile.open(out, "w") as new:
        for entry in old.getmembers():
            if entry.name != name:
                new.addfile(entry, old.extractfile(entry))
        member = member or tarfile.TarInfo(name)
        member.size = len(content)
        new.addfile(member, io.BytesIO(content))
    return out


def link() -> tarfile.TarInfo:
    member = tarfile.TarInfo("media/aa")
    member.type, member.linkname = tarfile.SYMTYPE, "/etc"
    return member


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (
            lambda path: changed(path, "tables/rating.jsonl", b""),
            "is damaged: tables/rating.jsonl is not as it was backed up",
        ),
        (lambda path: changed(path, "tables/more.jsonl", b""), "is damaged: tables/more.jsonl"),
        (lambda path: changed(path, "../outside", b"x"), "holds '../outside', which no backup does"),
        (lambda path: changed(path, "/tmp/outside", b"x"), "which no backup does"),
        (lambda path: changed(path, "media/aa", b"", link()), "which no backup does"),
        (lambda path: changed(path, "backup.json", b"[]"), "is no whole backup"),
        (lambda path: path.with_name("nothing.tar"), "There is no file .*nothing.tar'; name the archive"),
    ],
)
def test_a_damaged_or_foreign_archive_is_refused_and_nothing_is_left(
    store: Store, study_id: int, tmp_path: Path, empty_home, damage, said: str
):
    backup(store, None, tmp_path / "b.tar")
    path = damage(tmp_path / "b.tar")
    with pytest.raises(StudyError, match=said):
        restore(empty_home, path)
    assert not empty_home.folder.exists() or not any(empty_home.folder.iterdir())
    assert not [p for p in empty_home.folder.parent.iterdir() if p.name.startswith(".")]
    restore(empty_home, tmp_path / "b.tar")  # the home is as empty as it was


def test_an_archive_with_other_columns_is_refused_in_one_sentence(store: Store, study_id: int, tmp_path: Path, empty_home):
    backup(store, None, tmp_path / "b.tar")
    with tarfile.open(tmp_path / "b.tar") as archive:
        rows, sums = (archive.extractfile(name).read() for name in ("tables/study.jsonl", "sums.json"))  # type: ignore[union-attr]
    shorter = b"".join(json.dumps(json.loads(line)[:-1]).encode() + b"\n" for line in rows.splitlines())
    sums = json.dumps(json.loads(sums) | {"tables/study.jsonl": hashlib.sha256(shorter).hexdigest()}).encode()
    path = changed(changed(tmp_path / "b.tar", "tables/study.jsonl", shorter).rename(tmp_path / "c.tar"), "sums.json", sums)
    with pytest.raises(StudyError, match="The backup's table study has 8 columns where this version has 9") as error:
        restore(empty_home, path)
    assert is_one_sentence(str(error.value))


def test_an_archive_cut_off_at_any_place_is_refused(store: Store, study_id: int, tmp_path: Path, empty_home):
    backup(store, None, tmp_path / "b.tar")
    whole = (tmp_path / "b.tar").read_bytes()
    for share in (0.0, 0.1, 0.5, 0.9):
        (tmp_path / "cut.tar").write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(StudyError):
            restore(empty_home, tmp_path / "cut.tar")


def test_an_archive_of_another_revision_is_refused(store: Store, study_id: int, tmp_path: Path, empty_home):
    backup(store, None, tmp_path / "b.tar")
    with tarfile.open(tmp_path / "b.tar") as archive:
        about = json.loads(archive.extractfile("backup.json").read())  # type: ignore[union-attr]
        sums = json.loads(archive.extractfile("sums.json").read())  # type: ignore[union-attr]
    about["revision"] = "9999"
    text = json.dumps(about).encode()
    sums["backup.json"] = hashlib.sha256(text).hexdigest()
    one = changed(tmp_path / "b.tar", "backup.json", text).rename(tmp_path / "one.tar")
    with pytest.raises(StudyError, match="has revision 9999, but this version of AVEMO restores 0001"):
        restore(empty_home, changed(one, "sums.json", json.dumps(sums).encode()))


def test_a_backup_is_named_when_a_child_is_erased(store: Store, study_id: int, tmp_path: Path):
    done = backup(store, None, tmp_path / "b.tar")
    report = erase_child(store, None, "ребёнок-0")
    assert [(use.kind, use.name, use.sha256) for use in report.uses] == [("backup", str(tmp_path / "b.tar"), done.sha256)]


def test_a_restored_store_names_the_archive_it_came_from(store: Store, study_id: int, tmp_path: Path, empty_home):
    done = backup(store, None, tmp_path / "b.tar")
    (tmp_path / "b.tar").rename(tmp_path / "elsewhere.tar")
    restore(empty_home, tmp_path / "elsewhere.tar")
    again = Store.open(empty_home)
    report = erase_child(again, None, "ребёнок-0")
    assert [(use.kind, use.name, use.sha256) for use in report.uses] == [
        ("backup", str(tmp_path / "elsewhere.tar"), done.sha256)
    ]
    assert verify(again).problems == []
    again.close()


def test_what_a_killed_restore_left_is_named_by_an_erasure(store: Store, study_id: int):
    left = store.home.folder.with_name(f".{store.home.folder.name}.abcdefgh")
    (left / "tables").mkdir(parents=True)
    store.home.folder.with_name(f".{store.home.folder.name}.toml").touch()
    assert erase_child(store, None, "ребёнок-0").copies == [str(left)]


def test_a_rating_that_was_erased_before_a_backup_gives_its_number_to_no_other(
    store: Store, study_id: int, tmp_path: Path, empty_home
):
    with store.read() as session:
        clip = session.scalars(select(Item.clip_id).join(Rating).order_by(Rating.id.desc())).first()
        last = session.scalars(select(Rating.id).order_by(Rating.id.desc())).first()
    assert clip and last
    erase_clips(store, None, [clip])
    backup(store, None, tmp_path / "b.tar")
    restore(empty_home, tmp_path / "b.tar")
    again = Store.open(empty_home)
    ids = rate_all(again, study_id, ("R02",))
    assert min(ids) > last
    with again.write() as session:
        session.execute(delete(Rating).where(Rating.id == ids[-1]))
    assert any(f"Rating {ids[-1]}, of which row" in problem for problem in verify(again).problems)
    again.close()
