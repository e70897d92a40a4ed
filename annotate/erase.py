"""Erase a child, or a clip: its rows, answers, files and snapshots are gone, and everything else that holds it is named.

The audit log keeps that it happened, with ids alone. In SQLite the file is written anew, so that nothing of what was erased
is left in its bytes. What lies elsewhere (exports, backups, training manifests, checkpoints) only people can delete: the
report says where it is.
"""

import shutil
import sqlite3
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import groupby
from pathlib import Path

from sqlalchemy import delete, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from .exchange.transfer import drafts
from .schema import (
    Adjudication,
    Audit,
    Base,
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
    Study,
    Use,
)
from .store import Store, StudyError, bulk_digest, record
from .studies import making


@dataclass(frozen=True)
class Kept:
    """Something outside of the store that holds what was erased: delete it, or make it again without."""

    kind: str
    name: str
    sha256: str | None
    made_at: datetime


@dataclass
class Erased:
    """What is gone, and what only people can delete."""

    children: list[str] = field(default_factory=list)
    clips: list[str] = field(default_factory=list)
    ratings: int = 0
    files: int = 0
    snapshots: list[str] = field(default_factory=list)  # they held it, and are gone with it
    uses: list[Kept] = field(default_factory=list)
    copies: list[str] = field(default_factory=list)  # of the database, beside it
    elsewhere: list[tuple[str, str]] = field(default_factory=list)  # (study, clip) with the same recording
    bytes_gone: bool = True  # False: the database is in use or its disk full; erase_bytes again when that has ended


@dataclass(frozen=True)
class Overdue:
    study: str
    clip_id: int
    clip: str
    child: str | None
    retain_until: date


def overdue(session: Session, today: date | None = None) -> list[Overdue]:
    """Clips that may not be kept any longer."""
    query = (
        select(Study.name, Clip.id, Clip.name, Child.pseudonym, Clip.retain_until)
        .join(Study, Clip.study_id == Study.id)
        .outerjoin(Child, Clip.child_id == Child.id)
        .where(Clip.retain_until < (today or datetime.now(UTC).date()))
        .order_by(Clip.retain_until, Clip.id)
    )
    found = session.execute(query).tuples()
    return [Overdue(study, clip_id, clip, child, day) for study, clip_id, clip, child, day in found if day]


def erase_child(store: Store, account_id: int | None, pseudonym: str, study_id: int | None = None) -> Erased:
    """The child of that pseudonym with all of its clips, in every study, or in one."""
    within = [Child.pseudonym == pseudonym, *([Child.study_id == study_id] if study_id is not None else [])]
    with store.read() as session:
        children = list(session.scalars(select(Child.id).where(*within)))
        clips = list(session.scalars(select(Clip.id).where(Clip.child_id.in_(children))))
    if not children:
        raise StudyError(
            f"There is no child {pseudonym!r}{'' if study_id is None else ' in this study'}; nothing was erased."
        )
    return _erase(store, account_id, clips, children)


def erase_clips(store: Store, account_id: int | None, clips: list[int]) -> Erased:
    with store.read() as session:
        known = set(session.scalars(select(Clip.id).where(Clip.id.in_([c for c in clips if c < 2**31]))))
    if missing := sorted(set(clips) - known):
        raise StudyError(f"There is no clip {missing[0]}; nothing was erased.")
    return _erase(store, account_id, sorted(known), [])


def _erase(store: Store, account_id: int | None, clips: list[int], children: list[int]) -> Erased:
    done = Erased()
    with making(store) as folder:
        with store.read() as session:
            hashes = set(session.scalars(select(Clip.content_hash).where(Clip.id.in_(clips)))) - {None}
        places = [store.home.media / str(h)[:2] / str(h) for h in hashes]
        done.files = sum(1 for place in places for path in place.glob("*"))
        for content_hash in hashes:  # the files go when `making` ends: they are marked, and no clip holds them any more
            (folder / f"{content_hash}.placed").touch()
        with store.write() as session:
            if store.engine.dialect.name == "sqlite":
                session.execute(text("PRAGMA secure_delete = ON"))
            _uses(session, clips, done)
            bulk = _bulk(session, clips)
            for clip in session.scalars(select(Clip).where(Clip.id.in_(clips)).order_by(Clip.id)).all():
                _erase_clip(session, account_id, clip, done)
            for child in session.scalars(select(Child).where(Child.id.in_(children))).all():
                done.children.append(child.pseudonym)
                record(session, account_id, "child erased", f"child {child.id}")
                session.delete(child)
            _digest_again(session, account_id, bulk)
            same = select(Study.name, Clip.name).join(Study, Clip.study_id == Study.id)
            done.elsewhere = [(s, c) for s, c in session.execute(same.where(Clip.content_hash.in_(hashes)))]
        _remove_downloads(store)
    done.files -= sum(1 for place in places for path in place.glob("*"))
    done.copies = [str(path) for path in copies_of(store)]
    done.bytes_gone = erase_bytes(store)
    return done


def _erase_clip(session: Session, account_id: int | None, clip: Clip, done: Erased) -> None:
    items = list(session.scalars(select(Item.id).filter_by(clip_id=clip.id)))
    ratings = list(session.scalars(select(Rating.id).where(Rating.item_id.in_(items)).order_by(Rating.id)))
    settled = list(session.scalars(select(Adjudication.id).where(Adjudication.item_id.in_(items)).order_by(Adjudication.id)))
    for table in (Adjudication, Draft, Rating, Lease):
        session.execute(delete(table).where(table.item_id.in_(items)))
    for table_of_clip in (ModelReading, Rendition, Item):
        session.execute(delete(table_of_clip).where(table_of_clip.clip_id == clip.id))
    _replan(session, clip.study_id, set(items))
    gone = {"study": clip.study_id, "clip": clip.id, "ratings": ratings, "adjudications": settled}
    record(session, account_id, "clip erased", f"clip {clip.id}", **gone)
    done.clips.append(clip.name)
    done.ratings += len(ratings)
    session.delete(clip)
    session.flush()


def _bulk(session: Session, clips: list[int]) -> list[list[int]]:
    """Of each import that loses ratings now and is still as its row in the audit log says: the ids that it keeps."""
    gone = set(session.scalars(select(Rating.id).join(Item).where(Item.clip_id.in_(clips))))
    told = [row for row in session.scalars(select(Audit)) if {"ratings", "digest"} <= row.detail.keys()]
    kept = []
    for first, last, digest in [(*row.detail["ratings"], row.detail["digest"]) for row in told]:
        if not gone.isdisjoint(range(first, last + 1)) and bulk_digest(session, first, last) == digest:
            ids = session.scalars(select(Rating.id).where(Rating.id.between(first, last)).order_by(Rating.id))
            kept.append([number for number in ids if number not in gone])
    return kept


def _digest_again(session: Session, account_id: int | None, bulk: list[list[int]]) -> None:
    """What is left of an import gets digests of its own, a run of ids at a time, so that a change still shows."""
    for ids in bulk:
        for _, run in groupby(enumerate(ids), key=lambda pair: pair[1] - pair[0]):
            numbers = [number for _, number in run]
            ends = [numbers[0], numbers[-1]]
            record(session, account_id, "ratings kept", "store", ratings=ends, digest=bulk_digest(session, *ends))


def _replan(session: Session, study_id: int, items: set[int]) -> None:
    """Take items out of the raters' plans; each stays where it is in what is left."""
    for enrolment in session.scalars(select(Enrolment).filter_by(study_id=study_id)):
        before = sum(1 for number in enrolment.plan[: enrolment.place] if abs(number) in items)
        enrolment.plan = [number for number in enrolment.plan if abs(number) not in items]
        enrolment.place -= before


def _uses(session: Session, clips: list[int], done: Erased) -> None:
    """Name everything made from these clips; snapshots that hold them go."""
    wanted = set(clips)
    studies = set(session.scalars(select(Clip.study_id).where(Clip.id.in_(clips))))
    for use in session.scalars(select(Use).where(Use.study_id.in_(studies)).order_by(Use.id)):
        if wanted & set(use.clips):
            stored = select(Snapshot).filter_by(study_id=use.study_id, name=use.name, sha256=use.sha256)
            snapshot = session.scalars(stored).one_or_none() if use.kind == "snapshot" else None
            if snapshot is None:
                done.uses.append(Kept(use.kind, use.name, use.sha256, use.made_at))
                done.uses += [Kept(f"unfinished {use.kind}", str(p), None, use.made_at) for p in _unfinished(use)]
                continue
            record(session, None, "snapshot erased", f"snapshot {snapshot.id}", sha256=snapshot.sha256)
            done.snapshots.append(snapshot.name)
            session.delete(snapshot)


def _unfinished(use: Use) -> list[Path]:
    """What a process that was killed while it made this has left beside its place: see transfer.new."""
    path = Path(use.name)
    return drafts(path) if use.sha256 is None and path.is_absolute() else []


def _remove_downloads(store: Store) -> None:
    """The files of exports on their way to a browser: one that was killed has left them, one that goes on fails and is asked
    for again."""
    for folder in store.home.folder.glob(".export-*"):
        shutil.rmtree(folder, ignore_errors=True)


def finish(store: Store) -> bool:
    """What an erasure that was stopped, or held up, has left to do."""
    with making(store):  # takes away the files of clips that are gone
        _remove_downloads(store)
    return erase_bytes(store)


def erase_bytes(store: Store, patience_s: float = 5.0) -> bool:
    """Write the database's file anew, so that no page keeps what was deleted; False where somebody holds on to it, or where
    its disk has no room for that."""
    try:
        return _written_anew(store, patience_s)
    except (sqlite3.Error, SQLAlchemyError, OSError):
        return False


def _written_anew(store: Store, patience_s: float) -> bool:
    if store.engine.dialect.name == "postgresql":
        with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            names = ", ".join(table.name for table in Base.metadata.sorted_tables)  # the database may hold more than ours
            connection.execute(text(f"VACUUM (FULL, ANALYZE) {names}"))
        return True
    with store.turn():  # among many writers it would wait too long otherwise
        return _vacuum(store, patience_s)


def _vacuum(store: Store, patience_s: float) -> bool:
    raw = store.engine.raw_connection()
    try:
        raw.execute(f"PRAGMA busy_timeout = {round(patience_s * 1000)}")
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # makes room for it
        raw.execute("VACUUM")
        (busy, _, _) = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy
    finally:
        raw.invalidate()  # its timeout is another than that of the others
        raw.close()


def copies_of(store: Store) -> list[Path]:
    """Copies of the database: those that `migrate` has put beside it, and what a restore that was killed has left."""
    folder = store.home.folder.resolve()
    left = [path for path in drafts(folder) if any((path / part).exists() for part in ("study.db", "tables", "media"))]
    return [*sorted(folder.glob("study.db.before-*")), *left]
