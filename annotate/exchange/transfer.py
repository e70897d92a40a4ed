"""A study's ratings out of the database into a file, and a file's ratings into a study of their own.

Imported ratings get new ids; their order, times, keys and what supersedes what stay. Their raters become accounts that
nobody can sign in with, and the study is closed: its raters have done their part elsewhere.
"""

import contextlib
import glob
import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from .. import renditions
from ..design import Design
from ..ratings import read_ratings
from ..schema import Account, Child, Clip, Enrolment, Item, Lease, Rating, Rendition, Study
from ..scheme import SCHEMES, Label, Scheme
from ..store import Store, StudyError, bulk_digest, gold_digests, named, record
from ..studies import check_free, source_of
from ..uses import clips_of, leaving
from . import FORMATS, Exported, Format, Row
from .rows import plain

MANY = 500  # values in one query


@dataclass(frozen=True)
class Written:
    path: Path
    ratings: int
    sha256: str


@dataclass(frozen=True)
class Imported:
    study_id: int
    ratings: int
    clips: int
    raters: int
    anonymous: int  # ratings whose raters are unknown


def format_of(name: str) -> Format:
    if name not in FORMATS:
        raise StudyError(f"There is no format {name!r}; the formats are {', '.join(FORMATS)}.")
    return FORMATS[name]


# ---------------------------------------------------------------- out


def export(
    store: Store, account_id: int | None, study_id: int, format_name: str, path: Path, where: str | None = None
) -> Written:
    """All ratings with their history, in a new file or folder. The store remembers which clips went out, and where to:
    to `path`, or to `where` the file is on its way."""
    chosen = format_of(format_name)
    if chosen.write is None:
        raise StudyError(f"The format {format_name} can only be imported.")
    with store.read() as session:
        clips = clips_of(session, study_id)
    with leaving(store, account_id, "export", where or str(path.resolve()), clips) as (use,), new(path) as draft:
        with store.read() as session:
            study = session.get_one(Study, study_id)
            found = read_ratings(session, study_id, history=True)
            ours = set(clips[study_id])  # without what was added meanwhile
            rows = [row for row in found if row["clip_id"] in ours]
            exported = Exported(study.name, Scheme.from_json(study.scheme), _sources(store, rows))
        chosen.write(rows, exported, draft)
        use.clips = sorted({row["clip_id"] for row in rows})
        use.sha256 = sha256 = digest(draft)
    return Written(path, len(rows), sha256)


def _sources(store: Store, rows: Sequence[Row]) -> dict[int, Path]:
    hashes = {row["clip_id"]: row["content_hash"] for row in rows if row["content_hash"] is not None}
    found = {clip_id: source_of(store, content_hash) for clip_id, content_hash in hashes.items()}
    return {clip_id: path for clip_id, path in found.items() if path is not None}


@contextlib.contextmanager
def new(path: Path) -> Iterator[Path]:
    """A place beside `path` to write a file or folder to, readable by its owner only; it gets its name when it is whole."""
    if path.exists():
        raise StudyError(f"{str(path)!r} exists already; give another name, or delete it first.")
    try:
        with tempfile.TemporaryDirectory(prefix=f".{path.name[:40]}.", dir=path.parent) as folder:  # mode 0700
            draft = Path(folder) / "draft"
            yield draft
            for made in (draft, *draft.rglob("*")):
                made.chmod(0o700 if made.is_dir() else 0o600)
            draft.rename(path)
    except OSError as error:
        raise StudyError(f"{str(path)!r} could not be written ({error.strerror or error}); choose another place.") from error


def drafts(path: Path) -> list[Path]:
    """What `new` was killed over, or is busy with."""
    return sorted(path.parent.glob(f".{glob.escape(path.name[:40])}.*"))


def digest(path: Path) -> str:
    """SHA-256 of a file, or of the names and contents of all files in a folder."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    whole = hashlib.sha256()
    for file_path in sorted(p for p in path.rglob("*") if p.is_file()):
        whole.update(f"{file_path.relative_to(path)}\0{digest(file_path)}\n".encode())
    return whole.hexdigest()


# ---------------------------------------------------------------- in


def import_ratings(
    store: Store, account_id: int | None, name: str, rows: Sequence[Row], scheme: Scheme | None = None
) -> Imported:
    """A new, closed study of these rows (rows.typed), as one write. Without a scheme: the first known one that has all of
    their labels, or one of just these labels."""
    if not rows:
        raise StudyError("There are no ratings to import.")
    name = named(name, "A study")
    rows = [{**row, "idempotency_key": row["idempotency_key"] or _key(row, place)} for place, row in enumerate(rows)]
    scheme = scheme or _scheme_of(rows)
    _check(rows, scheme)
    with store.write() as session:
        _check_new(session, name, rows)
        passes = tuple(dict.fromkeys(row["modality"] for row in rows))
        now = datetime.now(UTC)
        study = Study(
            name=name,
            scheme=scheme.to_json(),
            design=Design(passes=passes).to_json(),
            state="closed",
            created_by=account_id,
            created_at=now,
        )
        session.add(study)
        session.flush()
        items = _items(session, store, study.id, rows)
        gold = gold_digests(session.scalars(select(Clip).filter_by(study_id=study.id)))
        record(session, account_id, "study imported", f"study {study.id}", ratings=len(rows), gold=gold)
        enrolments = _enrolments(session, study, rows)
        _leases(session, rows, items, enrolments, now)
        _ratings(session, account_id, study.id, rows, items, enrolments, now)
        clips = len({clip for clip, _ in items})
        anonymous = sum(_rater(row) is None for row in rows)
        return Imported(study.id, len(rows), clips, len(enrolments), anonymous)


def _key(row: Row, place: int) -> str:
    """For a rating that brings no key of its own: the same for the same one at the same place, so that it is known again."""
    content = json.dumps([place, plain(row)], sort_keys=True, ensure_ascii=False)
    return f"imported-{hashlib.sha256(content.encode()).hexdigest()}"


def _scheme_of(rows: Sequence[Row]) -> Scheme:
    used = dict.fromkeys(label for row in rows for label in _labels(row))
    for scheme in SCHEMES.values():
        if set(used) <= set(scheme.names):
            return scheme
    # A scheme of its own goes through the same checks as one that is typed in.
    return Scheme.from_json({"name": "imported", "labels": [vars(Label(label, label, label)) for label in used]})


def _labels(row: Row) -> list[str]:
    return [label for label in (row["label"], row["gold_label"], *(row["soft"] or {})) if label is not None]


def _check(rows: Sequence[Row], scheme: Scheme) -> None:
    """What the rows say must fit together before anything is written."""
    seen: dict[int, Row] = {}
    superseded: set[int] = set()
    names: dict[str, str | None] = {}
    for number, row in enumerate(rows, 1):
        where = f"Rating {number} (of the clip {row['clip']!r})"
        if unknown := [label for label in _labels(row) if label not in scheme.names]:
            raise StudyError(f"{where} has the label {unknown[0]!r}; the scheme has {', '.join(scheme.names)}.")
        if names.setdefault(row["clip"], row["content_hash"]) != row["content_hash"]:
            raise StudyError(f"{where}: two clips with different content are called so; give them different names.")
        if (older := row["supersedes"]) is not None:
            if older not in seen:
                raise StudyError(f"{where} supersedes rating {older}, which does not come before it in this file.")
            if any(seen[older][same] != row[same] for same in ("clip", "modality", "rater", "rater_id")):
                raise StudyError(f"{where} supersedes rating {older}, which is of another rater, clip or pass.")
            if _rater(row) is None:
                raise StudyError(f"{where} supersedes another one, but names no rater.")
            if older in superseded:
                raise StudyError(f"{where} supersedes rating {older}, which another one supersedes already.")
            superseded.add(older)
        if row["rating_id"] is not None:
            if row["rating_id"] in seen:
                raise StudyError(f"{where} has the rating_id {row['rating_id']}, as another one has before it.")
            seen[row["rating_id"]] = row
    keys = Counter(row["idempotency_key"] for row in rows if row["idempotency_key"] is not None)
    if twice := [key for key, count in keys.items() if count > 1]:
        raise StudyError(f"The idempotency key {twice[0]!r} stands at {keys[twice[0]]} ratings; each has its own.")


def _check_new(session: Session, name: str, rows: Sequence[Row]) -> None:
    check_free(session, name)
    keys = [row["idempotency_key"] for row in rows]
    for start in range(0, len(keys), MANY):
        within = Rating.idempotency_key.in_(keys[start : start + MANY])
        query = select(Study.name).join(Item).join(Rating).where(within).limit(1)
        if (study := session.scalar(query)) is not None:
            raise StudyError(
                f"These ratings are here already, in the study {study!r}; nothing was imported (where they are others, give "
                "each a key of its own in the column idempotency_key)."
            )


def _items(session: Session, store: Store, study_id: int, rows: Sequence[Row]) -> dict[tuple[str, str], Item]:
    """(clip's name, modality) -> item, with its clip and child made on the way."""
    children = {row["child"]: row for row in rows if row["child"] is not None}
    made = {
        name: Child(study_id=study_id, pseudonym=name, **{k: row[k] for k in ("age_months", "sex", "group", "language")})
        for name, row in children.items()
    }
    session.add_all(made.values())
    session.flush()
    first = {row["clip"]: row for row in reversed(rows)}
    first = {row["clip"]: first[row["clip"]] for row in rows}  # in the order in which they come
    clips = {
        name: Clip(
            study_id=study_id,
            child_id=made[row["child"]].id if row["child"] is not None else None,
            name=name,
            content_hash=row["content_hash"],
            duration_s=row["duration_s"] or 0.0,
            kind=row["clip_kind"] or "main",
            **{k: row[k] for k in ("gold_label", "consent", "retain_until")},
            peaks=[],
            details={},
        )
        for name, row in first.items()
    }
    session.add_all(clips.values())
    session.flush()
    wanted = Counter((row["clip"], row["modality"]) for row in rows if row["superseded_by"] is None)
    pairs = dict.fromkeys((row["clip"], row["modality"]) for row in rows)
    items = {
        (clip, modality): Item(
            study_id=study_id, clip_id=clips[clip].id, modality=modality, wanted=max(1, wanted[clip, modality])
        )
        for clip, modality in pairs
    }
    session.add_all(items.values())
    session.add_all(_renditions(store, clips, pairs))
    session.flush()
    return items


def _renditions(store: Store, clips: dict[str, Clip], pairs: Any) -> Iterator[Rendition]:
    """Those whose files lie in the media folder already: of another study, or restored."""
    for name, modality in pairs:
        source = source_of(store, clips[name].content_hash or "-")
        for path in source.parent.glob(f"{modality}.*") if source else ():
            file = path.relative_to(store.home.media).as_posix()
            kind = renditions.MEDIA_TYPES[path.suffix]
            yield Rendition(clip_id=clips[name].id, modality=modality, file=file, media_type=kind)


def _rater(row: Row) -> str | None:
    """Who rated, in the file; None where that is unknown."""
    return row["rater"] or (f"rater {row['rater_id']}" if row["rater_id"] is not None else None)


def _enrolments(session: Session, study: Study, rows: Sequence[Row]) -> dict[str, Enrolment]:
    """A rater's name in the file -> enrolment. Nobody here is taken for them: a name in use gets the study's beside it."""
    names = dict.fromkeys(rater for row in rows if (rater := _rater(row)) is not None)
    taken = {name.casefold() for name in session.scalars(select(Account.name))} | {"you"}
    now = datetime.now(UTC)
    accounts = {}
    for name in names:
        free = name if name.casefold() not in taken else f"{name} ({study.name})"
        taken.add(free.casefold())
        accounts[name] = Account(name=free, roles=[], created_at=now, disabled_at=now)
    session.add_all(accounts.values())
    session.flush()
    enrolments = {
        name: Enrolment(study_id=study.id, account_id=account.id, number=number, plan=[], created_at=now)
        for number, (name, account) in enumerate(accounts.items())
    }
    session.add_all(enrolments.values())
    session.flush()
    return enrolments


def _leases(
    session: Session,
    rows: Sequence[Row],
    items: dict[tuple[str, str], Item],
    enrolments: dict[str, Enrolment],
    now: datetime,
) -> None:
    leases = {}
    for row in rows:
        rater, token = _rater(row), row["lease_token"]
        if token is not None and rater is not None and token not in leases:
            at = row["submitted_at"] or now
            leases[token] = Lease(
                token=token,
                item_id=items[row["clip"], row["modality"]].id,
                enrolment_id=enrolments[rater].id,
                order_index=row["order_index"] or 0,
                is_repeat=row["is_repeat"],
                state="answered",
                claimed_at=at,
                expires_at=at,
            )
    session.add_all(leases.values())
    session.flush()


OWN = (
    *("is_repeat", "order_index", "label", "soft", "intensity", "valence", "arousal", "confidence", "cannot_tell"),
    *("flag", "comment", "replays", "first_play_ended_at", "reaction_ms"),
)


def _ratings(
    session: Session,
    account_id: int | None,
    study_id: int,
    rows: Sequence[Row],
    items: dict[tuple[str, str], Item],
    enrolments: dict[str, Enrolment],
    now: datetime,
) -> None:
    """In the order of the file, told of by one row of the audit log."""
    made = [
        Rating(
            item_id=items[row["clip"], row["modality"]].id,
            enrolment_id=enrolments[rater].id if (rater := _rater(row)) is not None else None,
            lease_token=row["lease_token"] if rater is not None else None,
            idempotency_key=row["idempotency_key"],
            submitted_at=row["submitted_at"] or now,
            **{name: row[name] for name in OWN},
        )
        for row in rows
    ]
    session.add_all(made)
    session.flush()
    ids = {row["rating_id"]: rating.id for row, rating in zip(rows, made, strict=True)}
    for row, rating in zip(rows, made, strict=True):
        if row["supersedes"] is not None:
            rating.supersedes = ids[row["supersedes"]]
    session.flush()
    first, last = made[0].id, made[-1].id
    digest = bulk_digest(session, first, last)
    record(session, account_id, "ratings imported", f"study {study_id}", ratings=[first, last], digest=digest)
