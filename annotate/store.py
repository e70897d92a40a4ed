"""The database of the study, and what every write to it has in common.

    store = Store.open(Home(Path("avemo-study")))
    with store.read() as session: ...
    with store.write() as session: ...      # all of it or nothing; writes come one after another
        record(session, account_id, "study created", "study 1")

SQLite by default (WAL, synchronous=FULL, BEGIN IMMEDIATE), PostgreSQL by URL. In both, a write begins by taking the one
lock that all writes take, so counting and then inserting is exact.
"""

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, inspect, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from avemo_core.types import AvemoError

from .schema import Adjudication, Audit, AuditHead, Clip, Rating

MIGRATIONS = Path(__file__).parent / "migrations"
START = "0" * 64  # what the first row of the audit log follows
_HEAD = select(AuditHead).where(AuditHead.id == 1).with_for_update()


class StudyError(AvemoError):
    """Something the study cannot do, in one sentence for the person who asked."""


def named(text: str, what: str, longest: int = 120) -> str:
    """A name as it is kept: one line of letters and signs that every page and file can show."""
    kept = " ".join(text.split())
    if not 1 <= len(kept) <= longest or not kept.isprintable():
        raise StudyError(f"{what} needs a name of 1 to {longest} letters, digits or signs in a line; this is {text[:40]!r}.")
    return kept


@dataclass(frozen=True)
class Home:
    """Where a study lives: a private folder with the media and, unless `url` says PostgreSQL, the database."""

    folder: Path
    url: str | None = None

    @classmethod
    def of(cls, environment: dict[str, str]) -> "Home":
        """$AVEMO_STUDY (default: avemo-study in the working folder) and $AVEMO_STUDY_DB."""
        return cls(Path(environment.get("AVEMO_STUDY", "avemo-study")), environment.get("AVEMO_STUDY_DB"))

    @property
    def media(self) -> Path:
        return self.folder / "media"

    @property
    def database_url(self) -> str:
        url = self.url or f"sqlite:///{self.folder.resolve() / 'study.db'}"
        return url.replace("postgresql://", "postgresql+psycopg://", 1)


class Store:
    """One database. Sessions are short; plain values leave them."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.engine = _engine(home.database_url)
        self._line = threading.Lock()

    @classmethod
    def open(cls, home: Home) -> "Store":
        """An existing study's store; StudyError where there is none, or where its revision is not this program's."""
        store = cls(home)
        found, expected = store.revision(), latest()
        if found is None:
            raise StudyError(f"There is no study in {home.folder}; make one with: python -m annotate init")
        if found not in known():
            raise StudyError(
                f"The database has revision {found}, which this version of AVEMO does not know (it knows up to {expected}): "
                "it was written by a newer one. Update AVEMO; nothing was changed."
            )
        if found != expected:
            raise StudyError(f"The database has revision {found} and {expected} is needed; run: python -m annotate migrate")
        return store

    @classmethod
    def create(cls, home: Home) -> "Store":
        """The store, with its folder and tables made where they are missing; an existing one is left as it is."""
        home.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        home.media.mkdir(mode=0o700, exist_ok=True)
        store = cls(home)
        with store._alone():
            if store.revision() is None:
                store._upgrade()
        return cls.open(home)

    def revision(self) -> str | None:
        """The database's Alembic revision, None where there are no tables."""
        sqlite = self.engine.url.database if self.engine.dialect.name == "sqlite" else None
        if sqlite is not None and not Path(sqlite).exists():
            return None  # looking would make an empty file
        try:
            with self.engine.connect() as connection:
                return MigrationContext.configure(connection).get_current_revision()
        except DBAPIError as error:
            where = self.engine.url.render_as_string(hide_password=True)
            raise StudyError(f"The database {where} cannot be opened ({_first_line(error.orig)}).") from error

    def migrate(self) -> None:
        """Bring the tables to this program's revision; all of it or nothing."""
        with self._alone():
            self._upgrade()

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """While the tables are looked for and made: of several processes that start at once, one makes them."""
        if self.engine.dialect.name == "sqlite":
            with self.turn():
                yield
            return
        self.revision()  # says in a sentence where it cannot be reached
        with self.engine.begin() as connection:
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('avemo migrate ' || current_schema()))")
            yield

    def _upgrade(self) -> None:
        found = self.revision()
        if found is not None and found not in known():
            raise StudyError(f"The database has revision {found}, which is newer than this version of AVEMO; update AVEMO.")
        config, sqlite = _alembic(), self.engine.dialect.name == "sqlite"
        with self.engine.connect() as connection:
            connection.detach()  # closed at the end, with its settings
            if sqlite:  # a table that others point at is made anew by dropping it
                connection.connection.execute("PRAGMA foreign_keys=OFF")
            with connection.begin():
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
                if sqlite and (lost := connection.exec_driver_sql("PRAGMA foreign_key_check").first()):
                    raise StudyError(f"A row of {lost[0]} would point at a missing row of {lost[2]}; nothing was changed.")
        with self.write_engine.begin() as connection, Session(connection) as session:
            if session.get(AuditHead, 1) is None:
                session.add(AuditHead(id=1, number=0, digest=START))
                session.commit()

    @functools.cached_property
    def write_engine(self) -> Engine:
        return self.engine.execution_options(avemo_write=True)

    @contextlib.contextmanager
    def read(self) -> Iterator[Session]:
        with Session(self.engine) as session:
            yield session

    @contextlib.contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction that holds the lock of all writes from its first moment. Committed at the end of the block."""
        with self.turn(), Session(self.write_engine, expire_on_commit=False) as session, session.begin():
            head = session.scalars(_HEAD).one()
            yield session
            del head  # held until now, so that record() need not read it again

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Waits in line for SQLite's lock. SQLite itself looks again after ever longer pauses, so that among many writers
        some wait for seconds; whatever writes without this is still kept apart by it."""
        database = self.engine.url.database
        if self.engine.dialect.name != "sqlite" or not database:
            yield
            return
        with self._line, open(f"{database}-line", "wb") as line:
            fcntl.flock(line, fcntl.LOCK_EX)  # the kernel lets go of it when the process ends, however it ends
            yield

    def close(self) -> None:
        self.engine.dispose()


def record(session: Session, account_id: int | None, action: str, subject: str, **detail: Any) -> None:
    """Append to the audit log, inside the write that it tells of. `detail`: ids and digests only."""
    head = session.get(AuditHead, 1)
    assert head is not None
    row = Audit(
        number=head.number + 1,
        at=datetime.now(UTC),
        account_id=account_id,
        action=action,
        subject=subject,
        detail=detail,
        previous=head.digest,
    )
    row.digest = audit_digest(row)
    head.number, head.digest = row.number, row.digest
    session.add(row)
    session.flush()


def audit_digest(row: Audit) -> str:
    """SHA-256 of a row's content and of the digest before it."""
    content = [
        row.number,
        row.at.astimezone(UTC).isoformat(),
        row.account_id,
        row.action,
        row.subject,
        row.detail,
        row.previous,
    ]
    return _digest(content)


def rating_digest(row: Rating | Adjudication) -> str:
    """SHA-256 of all columns of a rating, or of what was settled: what the audit log keeps of it."""
    columns = {c.key: getattr(row, c.key) for c in row.__mapper__.column_attrs}
    return _digest({k: v.astimezone(UTC).isoformat() if isinstance(v, datetime) else v for k, v in columns.items()})


def gold_digests(clips: Iterable[Clip]) -> dict[str, str]:
    """Clip id -> SHA-256 of its known label: what the audit log keeps of it, in its detail "gold". The clip's name and
    recording go in too: there are few labels to try, and of an erased clip none is to be told by its digest."""
    known = [clip for clip in clips if clip.gold_label is not None]
    return {str(c.id): _digest([c.id, c.name, c.content_hash, c.kind, c.gold_label]) for c in known}


def bulk_digest(session: Session, first: int, last: int) -> str:
    """SHA-256 over all columns of the ratings `first` to `last`: what the audit log keeps of an import of many, in its
    detail {"ratings": [first, last], "digest": ...}."""
    columns = [getattr(Rating, c.key) for c in inspect(Rating).column_attrs]
    found = hashlib.sha256()
    for row in session.execute(select(*columns).where(Rating.id.between(first, last)).order_by(Rating.id)):
        values = [v.astimezone(UTC).isoformat() if isinstance(v, datetime) else v for v in row]
        found.update(json.dumps(values, sort_keys=True, ensure_ascii=False).encode() + b"\n")
    return found.hexdigest()


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


# ---------------------------------------------------------------- engine and revisions


def _engine(url: str) -> Engine:
    if not url.startswith(("sqlite:", "postgresql+psycopg:")):
        raise StudyError("The database is neither SQLite nor PostgreSQL; give postgresql://USER@HOST/NAME, or nothing.")
    if not url.startswith("sqlite"):
        engine = create_engine(url, pool_size=20, max_overflow=40, pool_pre_ping=True)
        event.listen(engine, "begin", _begin_postgresql)
        return engine
    engine = create_engine(url, connect_args={"timeout": 30}, pool_size=20, max_overflow=40)
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # the driver must not begin transactions of its own: see _begin_sqlite
    for setting in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
        connection.execute(f"PRAGMA {setting}")
    path = connection.execute("PRAGMA database_list").fetchone()[2]
    with contextlib.suppress(OSError):
        os.chmod(path, 0o600)


def _begin_sqlite(connection: Connection) -> None:
    """IMMEDIATE takes the write lock before anything is counted; a plain BEGIN would count first and overfill quotas."""
    write = connection.get_execution_options().get("avemo_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _begin_postgresql(connection: Connection) -> None:
    """Waits in line for the row that every write locks: of those who wait for the row itself, newcomers come first, as the
    others look for its newest version, and some wait for seconds. Released at the end of the transaction."""
    if connection.get_execution_options().get("avemo_write"):
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock('audit_head'::regclass::oid::bigint)")


def _alembic() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


def latest() -> str:
    head = ScriptDirectory.from_config(_alembic()).get_current_head()
    assert head is not None
    return head


def known() -> set[str]:
    return {script.revision for script in ScriptDirectory.from_config(_alembic()).walk_revisions()}


def _first_line(error: BaseException | None) -> str:
    return str(error).strip().splitlines()[0] if error and str(error).strip() else "no reason given"
