"""The whole store in one archive, made while people rate, and restored into an empty home: SQLite and PostgreSQL alike.

    backup.tar: backup.json (revision, counts), tables/NAME.jsonl, media/..., sums.json (SHA-256 of each of them)

The tables are read in one transaction that sees one moment, so everything acknowledged before it is in the archive. What was
backed up on one database can be restored on the other.
"""

import base64
import hashlib
import io
import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from sqlalchemy import Connection, Date, LargeBinary, Table, func, insert, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from .exchange.transfer import digest, new
from .schema import Base, Clip, Use, Utc
from .store import Home, Store, StudyError, record
from .studies import still
from .uses import leaving

Progress = Callable[[int, int, str], None]  # parts done, parts in all, the next one's name
FORMAT = "avemo-backup-1"
AT_ONCE = 1000  # rows in memory
TABLES = Base.metadata.sorted_tables  # those that others point at come first
COUNTED = [table for table in TABLES if "id" in table.c and table.c.id.autoincrement is not False]


@dataclass(frozen=True)
class Copied:
    path: Path
    rows: int
    files: int
    sha256: str


# ---------------------------------------------------------------- out


def backup(store: Store, account_id: int | None, path: Path, progress: Progress | None = None) -> Copied:
    """A new archive at `path`. Raters go on meanwhile; clips are neither added nor erased until it is done."""
    with new(path) as draft, still(store), store.engine.connect() as connection:
        if store.engine.dialect.name == "postgresql":
            connection = connection.execution_options(isolation_level="REPEATABLE READ")
        clips = _clips(connection)  # from this first look on, the connection sees this one moment
        with leaving(store, account_id, "backup", str(path.resolve()), clips) as uses:
            with tarfile.open(draft, "w", format=tarfile.PAX_FORMAT) as archive:
                rows, files = _pack(store, connection, archive, draft.parent, progress)
            with draft.open("rb") as file:
                os.fsync(file.fileno())
            sha256 = digest(draft)
            for use in uses:
                use.sha256 = sha256
    return Copied(path, rows, files, sha256)


def _clips(connection: Connection) -> dict[int, list[int]]:
    """Study -> its clips."""
    clips: dict[int, list[int]] = {}
    for study_id, clip_id in connection.execute(select(Clip.study_id, Clip.id)):
        clips.setdefault(study_id, []).append(clip_id)
    return clips


def _pack(
    store: Store, connection: Connection, archive: tarfile.TarFile, folder: Path, progress: Progress | None
) -> tuple[int, int]:
    """(rows, media files). The connection is closed as soon as the tables are read."""
    sums: dict[str, str] = {}
    files = [path for path in sorted(store.home.media.glob("[!.]*/*/*")) if path.is_file()]
    with connection, tempfile.TemporaryFile(dir=folder) as spool:
        counts = {table.name: connection.scalar(select(func.count()).select_from(table)) or 0 for table in TABLES}
        about = {"format": FORMAT, "revision": store.revision(), "made_at": datetime.now(UTC).isoformat(), "rows": counts}
        about["given"] = _given(connection)
        _add(archive, "backup.json", io.BytesIO(json.dumps(about, indent=1).encode()), sums)
        for done, table in enumerate(TABLES):
            if progress:
                progress(done, len(TABLES) + len(files), table.name)
            spool.seek(0)
            spool.truncate()
            _dump(connection, table, spool)
            spool.seek(0)
            _add(archive, f"tables/{table.name}.jsonl", spool, sums)
    for done, path in enumerate(files, len(TABLES)):
        if progress:
            progress(done, len(TABLES) + len(files), path.name)
        with path.open("rb") as file:
            _add(archive, f"media/{path.relative_to(store.home.media).as_posix()}", file, sums)
    _add(archive, "sums.json", io.BytesIO(json.dumps(sums).encode()), {})
    return sum(counts.values()), len(files)


def _add(archive: tarfile.TarFile, name: str, file: Any, sums: dict[str, str]) -> None:
    sums[name] = hashlib.file_digest(file, "sha256").hexdigest()
    member = tarfile.TarInfo(name)
    member.size, member.mode = file.seek(0, os.SEEK_END), 0o600
    file.seek(0)
    archive.addfile(member, file)


def _given(connection: Connection) -> dict[str, int]:
    """The largest number that a table has given to a row, which may be erased since: it is not given again."""
    if connection.dialect.name == "sqlite":
        return dict(connection.execute(text("SELECT name, seq FROM sqlite_sequence")).tuples().all())
    given = {}
    for table in COUNTED:
        sequence = connection.scalar(text("SELECT pg_get_serial_sequence(:t, 'id')"), {"t": _quoted(connection, table)})
        given[table.name] = connection.scalar(text(f"SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {sequence}"))
    return given


def _quoted(connection: Connection, table: Table) -> str:
    return connection.dialect.identifier_preparer.format_table(table)


def _dump(connection: Connection, table: Table, out: Any) -> None:
    """The table's rows by key, each a line of JSON: a list of its columns."""
    query = select(table).order_by(*table.primary_key.columns).execution_options(yield_per=AT_ONCE)
    for row in connection.execute(query):
        out.write(json.dumps([_plain(value) for value in row], ensure_ascii=False).encode() + b"\n")


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value.isoformat() if isinstance(value, date) else value


def copy_beside(store: Store) -> Path | None:
    """A copy of SQLite's file beside it, whatever its revision; None for PostgreSQL, whose own tools do that."""
    if store.engine.dialect.name != "sqlite":
        return None
    now = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    path = store.home.folder / f"study.db.before-{store.revision()}-{now}"
    raw = store.engine.raw_connection()
    try:
        with closing(sqlite3.connect(path)) as copy:
            path.chmod(0o600)
            raw.backup(copy)
    except (OSError, sqlite3.Error) as error:
        path.unlink(missing_ok=True)
        raise StudyError(f"The copy {path} could not be made ({error}); nothing was changed.") from error
    finally:
        raw.close()
    return path


# ---------------------------------------------------------------- in


def restore(home: Home, path: Path, progress: Progress | None = None) -> Copied:
    """The archive's store in an empty home. Checked against the archive's sums first; all of it or nothing."""
    _check_empty(home)
    home.folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{home.folder.name}.", dir=home.folder.parent))
    store = Store(Home(draft, home.url))
    try:
        about, sha256 = _unpack(path, draft, progress), digest(path)
        store.migrate()
        if about["revision"] != (own := store.revision()):
            raise StudyError(f"{str(path)!r} has revision {about['revision']}, but this version of AVEMO restores {own}.")
        with store.write_engine.begin() as connection:
            connection.execute(Base.metadata.tables["audit_head"].delete())  # the archive has its own
            for table in TABLES:
                _load(connection, table, draft / "tables" / f"{table.name}.jsonl")
            for table in COUNTED:
                _count_on(connection, table, about["given"].get(table.name, 0))
            _tell(connection, path, sha256)
        store.close()
        shutil.rmtree(draft / "tables")
        (draft / "backup.json").unlink()
        if home.folder.exists():
            home.folder.rmdir()
        draft.rename(home.folder)
    except BaseException as error:
        shutil.rmtree(draft, ignore_errors=True)
        if home.url is not None:
            _drop(store)
        if isinstance(error, OSError) and not isinstance(error, tarfile.TarError):
            raise StudyError(f"{str(path)!r} could not be restored to {home.folder} ({error.strerror or error}).") from error
        raise
    finally:
        store.close()
    files = sum(1 for p in home.media.rglob("*") if p.is_file())
    return Copied(path, sum(about["rows"].values()), files, sha256)


def _check_empty(home: Home) -> None:
    if home.folder.exists() and (not home.folder.is_dir() or any(home.folder.iterdir())):
        raise StudyError(f"{home.folder} is not empty; restore into a new folder, so that nothing is written over.")
    if home.url is not None and (found := Store(home).revision()) is not None:
        raise StudyError(f"The database has a study already (revision {found}); restore into an empty one.")


def _unpack(path: Path, folder: Path, progress: Progress | None) -> dict[str, Any]:
    """The archive's files in `folder`, each as its sum says; what backup.json says."""
    if not path.is_file():
        raise StudyError(f"There is no file {str(path)!r}; name the archive that backup wrote.")
    try:
        with tarfile.open(path, "r:") as archive:
            members = archive.getmembers()
            found = {}
            for done, member in enumerate(members):
                if progress:
                    progress(done, len(members), member.name)
                found[member.name] = _take_out(archive, member, folder)
        sums = json.loads((folder / "sums.json").read_bytes())
        about = json.loads((folder / "backup.json").read_bytes())
        (folder / "sums.json").unlink()
        found.pop("sums.json")
        kind, _, _ = about["format"], about["revision"], about["given"]
    except StudyError:
        raise
    except (tarfile.TarError, EOFError, KeyError, TypeError, ValueError, FileNotFoundError) as error:
        raise StudyError(f"{str(path)!r} is no whole backup of a study ({error}).") from error
    if kind != FORMAT:
        raise StudyError(f"{str(path)!r} is a backup in the form {kind!r}; this version of AVEMO reads {FORMAT}.")
    if wrong := sorted({name for name in {*sums, *found} if sums.get(name) != found.get(name)}):
        raise StudyError(f"{str(path)!r} is damaged: {wrong[0]} is not as it was backed up; take another backup.")
    return about


def _take_out(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> str:
    """SHA-256 of the member, written to its place; whatever is no plain file of a backup is refused."""
    parts = PurePosixPath(member.name).parts
    plain = member.isreg() and ".." not in parts and not member.name.startswith("/")
    if not plain or (member.name not in ("backup.json", "sums.json") and parts[0] not in ("tables", "media")):
        raise StudyError(f"The archive holds {member.name[:80]!r}, which no backup does; it was not made by AVEMO.")
    target = folder.joinpath(*parts)
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    source = archive.extractfile(member)
    assert source is not None
    found = hashlib.sha256()
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        while chunk := source.read(1 << 20):
            found.update(chunk)
            out.write(chunk)
        out.flush()
        os.fsync(out.fileno())
    return found.hexdigest()


def _load(connection: Connection, table: Table, path: Path) -> None:
    columns = list(table.columns)
    with path.open("rb") as file:
        rows: list[dict[str, Any]] = []
        for line in file:
            values = json.loads(line)
            if len(values) != len(columns):
                raise StudyError(
                    f"The backup's table {table.name} has {len(values)} columns where this version has {len(columns)}; "
                    "restore it with the version of AVEMO that made it."
                )
            rows.append({c.name: _typed(c.type, value) for c, value in zip(columns, values, strict=True)})
            if len(rows) == AT_ONCE:
                connection.execute(insert(table), rows)
                rows = []
        if rows:
            connection.execute(insert(table), rows)


def _count_on(connection: Connection, table: Table, given: int) -> None:
    """Further rows get numbers after the largest that was given, be it here or before the backup."""
    given = max(given, connection.scalar(select(func.max(table.c.id))) or 0)
    if connection.dialect.name == "postgresql":
        values = {"t": _quoted(connection, table), "next": given + 1}
        connection.execute(text("SELECT setval(pg_get_serial_sequence(:t, 'id'), :next, false)"), values)
    elif table.dialect_options["sqlite"]["autoincrement"]:
        connection.execute(text("DELETE FROM sqlite_sequence WHERE name = :t"), {"t": table.name})
        connection.execute(text("INSERT INTO sqlite_sequence VALUES (:t, :given)"), {"t": table.name, "given": given})


def _tell(connection: Connection, path: Path, sha256: str) -> None:
    """The archive goes on holding what is erased here: name it, as in the store that it was made of."""
    name, now = str(path.resolve()), datetime.now(UTC)
    with Session(connection) as session:
        for study_id, clips in _clips(connection).items():
            session.add(Use(study_id=study_id, kind="backup", name=name, sha256=sha256, clips=clips, made_at=now))
        record(session, None, "restored", "store", sha256=sha256)
        session.commit()


def _typed(kind: Any, value: Any) -> Any:
    if value is None:
        return None
    if isinstance(kind, LargeBinary):
        return base64.b64decode(value)
    if isinstance(kind, Utc):
        return datetime.fromisoformat(value)
    return date.fromisoformat(value) if isinstance(kind, Date) else value


def _drop(store: Store) -> None:
    """Leave a PostgreSQL database as empty as it was."""
    with suppress(DBAPIError), store.engine.begin() as connection:
        Base.metadata.drop_all(connection)
        connection.execute(text("DROP TABLE IF EXISTS alembic_version"))
