"""A study frozen under a name, to be cited: the same bytes today and in ten years, whatever is rated meanwhile.

JSON Lines, gzipped: a line for the study with its scheme and design, then one for each child, clip, rating (with those that
were superseded) and adjudication. Only ids and what was entered stand in it, no time of its own: the same study frozen twice
gives the same bytes.
"""

import gzip
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import inspect, select
from sqlalchemy.orm import Session

from .exchange.rows import plain
from .exchange.transfer import new
from .ratings import read_ratings
from .schema import Account, Adjudication, Child, Clip, Item, Snapshot, Study, Use
from .store import Store, StudyError, named, record
from .uses import clips_of, leaving


@dataclass(frozen=True)
class Frozen:
    """`cite` names the study, the snapshot, its day, and the SHA-256 of its content before compression."""

    name: str
    sha256: str
    created_at: datetime
    cite: str


def freeze(store: Store, account_id: int | None, study_id: int, name: str) -> Frozen:
    """A new snapshot. A name is used once: what was cited under it stays what it was."""
    name = named(name, "A snapshot")
    with store.write() as session:  # the lock of all writes: nothing changes while it is read
        study = session.get(Study, study_id)
        if study is None:
            raise StudyError(f"There is no study {study_id}.")
        if session.scalar(select(Snapshot.id).filter_by(study_id=study_id, name=name)) is not None:
            raise StudyError(f"The study {study.name!r} has a snapshot {name!r} already; choose another name.")
        lines = (json.dumps(line, ensure_ascii=False, sort_keys=True) for line in _lines(session, study))
        content = "".join(f"{line}\n" for line in lines).encode()
        snapshot = Snapshot(
            study_id=study_id,
            name=name,
            study_name=study.name,
            sha256=hashlib.sha256(content).hexdigest(),
            content=gzip.compress(content, mtime=0),
            created_by=account_id,
            created_at=datetime.now(UTC),
        )
        session.add(snapshot)
        session.flush()
        clips = clips_of(session, study_id)[study_id]
        use = {"sha256": snapshot.sha256, "clips": clips, "made_at": snapshot.created_at}
        session.add(Use(study_id=study_id, kind="snapshot", name=name, **use))
        record(session, account_id, "snapshot made", f"snapshot {snapshot.id}", sha256=snapshot.sha256)
        return _frozen(snapshot)


def snapshots(session: Session, study_id: int) -> list[Frozen]:
    """All of a study, oldest first."""
    found = session.scalars(select(Snapshot).filter_by(study_id=study_id).order_by(Snapshot.id))
    return [_frozen(snapshot) for snapshot in found]


def content_of(session: Session, study_id: int, name: str) -> bytes:
    """The gzipped bytes as they were made; StudyError where they are not that any more."""
    snapshot = session.scalars(select(Snapshot).filter_by(study_id=study_id, name=name)).one_or_none()
    if snapshot is None:
        raise StudyError(f"The study {study_id} has no snapshot {name!r}.")
    try:
        content = gzip.decompress(snapshot.content)
    except (OSError, EOFError, ValueError):
        content = b""
    if hashlib.sha256(content).hexdigest() != snapshot.sha256:
        raise StudyError(f"The snapshot {name!r} was changed in the database: its SHA-256 is another than was cited.")
    return snapshot.content


def write(store: Store, account_id: int | None, study_id: int, name: str, path: Path, where: str | None = None) -> None:
    """The snapshot as a .jsonl.gz file, byte for byte as it was made. `where`: to where the file is on its way."""
    with store.read() as session:
        clips = clips_of(session, study_id)
    with leaving(store, account_id, "snapshot", where or str(path.resolve()), clips) as (use,), new(path) as draft:
        with store.read() as session:
            content = content_of(session, study_id, name)
        draft.write_bytes(content)
        use.sha256 = hashlib.sha256(content).hexdigest()


def _frozen(snapshot: Snapshot) -> Frozen:
    day = snapshot.created_at.date().isoformat()
    cite = f"{snapshot.study_name}, snapshot {snapshot.name!r} of {day}, SHA-256 {snapshot.sha256}"
    return Frozen(snapshot.name, snapshot.sha256, snapshot.created_at, cite)


def _lines(session: Session, study: Study) -> Iterator[dict[str, Any]]:
    head = {"format": "avemo-study-1", "id": study.id, "name": study.name, "scheme": study.scheme, "design": study.design}
    yield {"kind": "study", **head}
    for child in session.scalars(select(Child).filter_by(study_id=study.id).order_by(Child.id)):
        yield {"kind": "child", **_columns(child)}
    for clip in session.scalars(select(Clip).filter_by(study_id=study.id).order_by(Clip.id)):
        # How early a clip comes changes with every training; it is no part of what was found.
        yield {**_columns(clip, "priority"), "clip_kind": clip.kind, "kind": "clip"}
    for row in read_ratings(session, study.id, history=True):
        yield {"kind": "rating", **plain(row)}
    settled = (
        select(Adjudication, Item.clip_id, Item.modality, Account.name)
        .join(Item, Adjudication.item_id == Item.id)
        .join(Account, Adjudication.account_id == Account.id)
        .where(Item.study_id == study.id)
        .order_by(Adjudication.id)
    )
    for adjudication, clip_id, modality, name in session.execute(settled):
        yield {"kind": "adjudication", **_columns(adjudication), "clip_id": clip_id, "modality": modality, "by": name}


def _columns(row: Any, *without: str) -> dict[str, Any]:
    return plain({c.key: getattr(row, c.key) for c in inspect(type(row)).column_attrs if c.key not in without})
