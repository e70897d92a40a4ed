"""The store on SQLite and PostgreSQL: revisions, one writer at a time, an audit log in which a change shows."""

import multiprocessing
import threading
from datetime import UTC, datetime, timedelta, timezone
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import func, select, text

from annotate.schema import Account, Audit, AuditHead, Base
from annotate.store import Home, Store, StudyError, record


def test_the_revisions_make_exactly_the_tables_of_the_schema(store: Store):
    with store.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


def test_an_existing_store_is_opened_as_it_is(home: Home, store: Store):
    with store.write() as session:
        record(session, None, "looked at", "study 1")
    again = Store.create(home)
    with again.read() as session:
        assert session.scalar(select(func.count()).select_from(Audit)) == 1
    again.close()


def test_where_there_is_no_study_one_sentence_says_how_to_make_one(home: Home):
    with pytest.raises(StudyError, match=r"There is no study in .*: python -m annotate init"):
        Store.open(home)


def test_a_database_of_a_newer_revision_is_refused_and_left_alone(home: Home, store: Store):
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StudyError, match="revision 9999, which this version of AVEMO does not know"):
        Store.open(home)
    with pytest.raises(StudyError, match="revision 9999, which is newer"):
        store.migrate()


def test_times_come_back_in_utc(store: Store):
    at = datetime(2026, 3, 1, 15, 30, tzinfo=timezone(timedelta(hours=3)))
    with store.write() as session:
        session.add(Account(name="R01", roles=["rater"], created_at=at))
    with store.read() as session:
        found = session.scalars(select(Account)).one().created_at
    assert found == at
    assert found.utcoffset() == timedelta(0)
    assert found.hour == 12


def test_writes_come_one_after_another(store: Store):
    """Read, then write what was read plus one, from 20 threads: nothing is lost only where writes wait for each other."""

    def work() -> None:
        for _ in range(5):
            with store.write() as session:
                record(session, None, "counted", "study 1")

    threads = [threading.Thread(target=work) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with store.read() as session:
        assert session.scalars(select(Audit.number).order_by(Audit.number)).all() == list(range(1, 101))
        head = session.get(AuditHead, 1)
        assert head is not None
        assert head.number == 100


def test_a_write_that_fails_leaves_nothing(store: Store):
    with pytest.raises(RuntimeError), store.write() as session:
        session.add(Account(name="R01", roles=["rater"], created_at=datetime.now(UTC)))
        record(session, None, "account made", "account 1")
        raise RuntimeError
    with store.read() as session:
        assert session.scalars(select(Account)).all() == []
        assert session.scalars(select(Audit)).all() == []


def first_start(home: Home, start: Barrier, ended: "Queue[str]") -> None:
    start.wait(120)
    try:
        Store.create(home).close()
        ended.put("")
    except Exception as error:
        ended.put(str(error))


def test_processes_that_first_start_one_home_at_once_all_find_it_made(home: Home):
    spawn = multiprocessing.get_context("spawn")
    start, ended = spawn.Barrier(6), spawn.Queue()
    processes = [spawn.Process(target=first_start, args=(home, start, ended)) for _ in range(6)]
    for process in processes:
        process.start()
    assert [ended.get(timeout=180) for _ in processes] == [""] * 6
    for process in processes:
        process.join(60)
