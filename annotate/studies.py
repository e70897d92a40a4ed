"""Making a study: clips copied into the private media folder, what raters are played made of them, one write for all of it.

    report = create_study(store, account_id, "Joy at school", Path("clips"), SCHEMES["comfort"], Design(passes=("voice",)))

A clip lies in media/ab/abcd.../, after its content hash: `source` as it came, and a rendition a pass. Files come first,
then the write; what an interrupted creation has left is taken away by the next one.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from avemo_core import media
from avemo_core.types import MediaError

from . import manifest, renditions
from .assignment import candidates, choose, need_candidates
from .design import ENDLESS, Design
from .manifest import Row
from .schema import Child, Clip, Item, Rendition, Study
from .scheme import SCHEMES, Scheme
from .store import Store, StudyError, gold_digests, named, record

Progress = Callable[[int, int, str], None]  # clips done, clips in all, the next one's name
EXAMPLES = Path(__file__).parents[1] / "static" / "examples"
PRACTICE = "Practice"


@dataclass(frozen=True)
class Report:
    """What became of a source. Names are those of its files; each sentence says what is the matter with one."""

    study_id: int
    added: int
    duplicates: list[tuple[str, str]]  # (left out, the clip that it equals)
    skipped: list[tuple[str, str]]
    transcoded: list[str]  # no browser plays them as they came
    partly: list[tuple[str, str]]  # added, but not in every pass


@dataclass
class Added:
    """A clip whose files are in place, not yet in the database."""

    row: Row
    content_hash: str
    duration_s: float
    peaks: list[float]
    files: dict[str, Path]  # modality -> file relative to the media folder
    transcoded: bool


@dataclass
class _Found:
    """What has been found so far in a source."""

    added: list[Added] = field(default_factory=list)
    duplicates: list[tuple[str, str]] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    partly: list[tuple[str, str]] = field(default_factory=list)


def create_study(
    store: Store,
    account_id: int | None,
    name: str,
    source: Path,
    scheme: Scheme,
    design: Design,
    progress: Progress | None = None,
    raters: Sequence[int] | None = None,
) -> Report:
    """A new study of a folder's or a manifest's clips. Broken files are skipped; a faulty manifest is refused whole.

    `raters`: accounts that alone may rate it (None: every rater).
    """
    name = named(name, "A study")
    with store.read() as session:
        check_free(session, name)
        need_candidates(session, raters or [])
    rows, skipped = manifest.read(source, scheme)
    return _create(store, account_id, name, rows, skipped, scheme, design, progress, raters)


def rename(session: Session, by: int | None, study_id: int, name: str) -> None:
    """Give a study another name; within a write. What was frozen or exported before has the old one."""
    study = session.get(Study, study_id)
    if study is None:
        raise StudyError(f"There is no study {study_id}; see the list of studies.")
    name = named(name, "A study")
    if name == study.name:
        return
    check_free(session, name, study_id)
    study.name = name
    record(session, by, "study renamed", f"study {study_id}")


def add_clips(store: Store, account_id: int | None, study_id: int, source: Path, progress: Progress | None = None) -> Report:
    """Further clips for a study. Raters' plans are made anew; what they have rated stays."""
    with store.read() as session:
        study = session.get(Study, study_id)
        if study is None:
            raise StudyError(f"There is no study {study_id}.")
        scheme, design = Scheme.from_json(study.scheme), Design.from_json(study.design)
    rows, skipped = manifest.read(source, scheme)
    with making(store) as folder:
        with store.read() as session:
            clips = session.execute(select(Clip.content_hash, Clip.name).filter_by(study_id=study_id)).all()
        known = {content_hash: name for content_hash, name in clips if content_hash}
        names = {name for _, name in clips}
        found = _files(store, rows, design, folder, known, progress)
        found.skipped[:0] = skipped
        for k, clip in enumerate(found.added):
            if clip.row.name in names:  # another clip under a name that is taken
                found.added[k].row = replace(clip.row, name=f"{clip.row.name} ({clip.content_hash[:8]})")
        with store.write() as session:
            study = session.get_one(Study, study_id)
            added = _insert(session, study, found.added, design)
            study.order_version += 1
            record(session, account_id, "clips added", f"study {study_id}", clips=len(added), gold=gold_digests(added))
    return _report(study_id, found)


def practice_study(store: Store) -> int:
    """The study of the project's generated clips, made where it is missing: a newcomer rates within a minute."""
    with store.read() as session:
        existing = _named_practice(session)
    if existing is not None:
        return existing
    # Two people at once are no task for a beginner; a clip without sound has no voice pass.
    names = ("both_agree.mp4", "they_disagree.mp4", "quiet_low_light.mp4", "voice_only.m4a")
    rows = [Row(EXAMPLES / name, name) for name in names]
    # No newcomer finds it finished.
    design = Design(
        passes=("both", "voice"), replications=ENDLESS, most_replications=ENDLESS, repeat_share=0.0, break_every=0
    )
    try:
        return _create(store, None, PRACTICE, rows, [], SCHEMES["basic seven"], design, None).study_id
    except StudyError:
        with store.read() as session:  # another process has made it meanwhile
            existing = _named_practice(session)
        if existing is None:
            raise
        return existing


def source_of(store: Store, content_hash: str) -> Path | None:
    """The clip's file as it came, None where only its votes were imported."""
    return next(iter((store.home.media / _place(content_hash)).glob("source.*")), None)


# ---------------------------------------------------------------- the write


def check_free(session: Session, name: str, study_id: int | None = None) -> None:
    """StudyError where another study than `study_id` has this name, or one that differs from it only in capitals, or where
    it would be taken for the number of one."""
    if name.isdecimal():
        raise StudyError(f"{name!r} would be taken for a study's number; choose a name that is not a number alone.")
    for other_id, other in session.execute(select(Study.id, Study.name)).tuples():
        if other.casefold() == name.casefold() and other_id != study_id:
            raise StudyError(f"There is a study named {other!r} already; choose another name.")


def _named_practice(session: Session) -> int | None:
    return session.scalar(select(Study.id).where(func.lower(Study.name) == PRACTICE.lower()))


def _create(
    store: Store,
    account_id: int | None,
    name: str,
    rows: list[Row],
    skipped: list[tuple[str, str]],
    scheme: Scheme,
    design: Design,
    progress: Progress | None,
    raters: Sequence[int] | None = None,
) -> Report:
    with making(store) as folder:
        with store.read() as session:
            check_free(session, name)
        found = _files(store, rows, design, folder, {}, progress)
        found.skipped[:0] = skipped
        if not found.added:
            first = f" ({found.skipped[0][0]}: {found.skipped[0][1]})" if found.skipped else ""
            raise StudyError(f"None of the {len(rows)} clips can be used{first}; no study was made.")
        with store.write() as session:
            check_free(session, name)  # another study may have been given it meanwhile
            study = Study(
                name=name,
                scheme=scheme.to_json(),
                design=design.to_json(),
                created_by=account_id,
                created_at=datetime.now(UTC),
            )
            session.add(study)
            session.flush()
            clips = _insert(session, study, found.added, design)
            record(session, account_id, "study created", f"study {study.id}", clips=len(clips), gold=gold_digests(clips))
            if raters is not None:  # who is no rater any more, hours later, is left out
                choose(session, account_id, study.id, True, set(raters) & {one.account_id for one in candidates(session)})
            study_id = study.id
    return _report(study_id, found)


def _report(study_id: int, found: _Found) -> Report:
    transcoded = [clip.row.name for clip in found.added if clip.transcoded]
    return Report(study_id, len(found.added), found.duplicates, found.skipped, transcoded, found.partly)


def _insert(session: Session, study: Study, added: Sequence[Added], design: Design) -> list[Clip]:
    """Children, renditions, items and clips, which are returned."""
    clips = []
    ids = _children(session, study.id, [made.row for made in added])
    dealt = [(made.row.kind, ids.get(made.row.child or "")) for made in added]
    blocks = _blocks(session, study.id, dealt, design.blocks)
    for made, block in zip(added, blocks, strict=True):
        row = made.row
        clip = Clip(
            study_id=study.id,
            child_id=ids.get(row.child or ""),
            name=row.name,
            content_hash=made.content_hash,
            duration_s=made.duration_s,
            kind=row.kind,
            gold_label=row.gold_label,
            block=block,
            peaks=made.peaks,
            consent=row.consent,
            retain_until=row.retain_until,
            details=row.details,
        )
        session.add(clip)
        session.flush()
        clips.append(clip)
        for modality, file in made.files.items():
            kind = renditions.MEDIA_TYPES[file.suffix]
            session.add(Rendition(clip_id=clip.id, modality=modality, file=file.as_posix(), media_type=kind))
            session.add(Item(study_id=study.id, clip_id=clip.id, modality=modality, wanted=design.replications))
    session.flush()
    return clips


def _children(session: Session, study_id: int, rows: Sequence[Row]) -> dict[str, int]:
    """Pseudonym -> id of every child of the study, the rows' ones made or completed."""
    rows_of = {child.pseudonym: child for child in session.scalars(select(Child).filter_by(study_id=study_id))}
    known = {name: {column: getattr(child, column) for column in manifest.OF_CHILD} for name, child in rows_of.items()}
    for name, values in manifest.children(rows, known).items():
        child = rows_of.setdefault(name, Child(study_id=study_id, pseudonym=name))
        for column, value in values.items():
            setattr(child, column, value)
        session.add(child)
    session.flush()
    return {name: child.id for name, child in rows_of.items()}


def _blocks(session: Session, study_id: int, clips: Sequence[tuple[str, int | None]], blocks: int) -> list[int]:
    """A block of the Latin square for each (kind, child): of the clips of this kind, the one with the fewest of this child,
    then of all. Gold that comes regularly in a manifest would else push the main clips into few blocks."""
    own: Counter[tuple[str, int | None, int]] = Counter()
    whole: Counter[tuple[str, int]] = Counter()

    def put(kind: str, child: int | None, block: int) -> int:
        own[kind, child, block] += 1
        whole[kind, block] += 1
        return block

    def fewest(kind: str, child: int | None) -> int:
        return min(range(blocks), key=lambda block: (own[kind, child, block], whole[kind, block], block))

    for kind, child, block in session.execute(select(Clip.kind, Clip.child_id, Clip.block).filter_by(study_id=study_id)):
        put(kind, child, block)
    return [put(kind, child, fewest(kind, child)) for kind, child in clips]


# ---------------------------------------------------------------- the files


@contextlib.contextmanager
def still(store: Store) -> Iterator[None]:
    """While nobody else changes the media folder. Another study may take an hour, so who waits is told what for."""
    store.home.media.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (store.home.media / ".lock").open("w") as lock:  # the kernel lets go of it when the process ends, however it ends
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = "Another command or page makes a study, a backup or an erasure"
            print(f"{other} in {store.home.folder}; this one waits until that is done.", file=sys.stderr, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def making(store: Store) -> Iterator[Path]:
    """The folder in which clips are prepared, for one creation at a time. Whatever stops it, its files are taken away."""
    folder = store.home.media / ".new"
    try:
        with still(store):
            _clean_up(store, folder)
            folder.mkdir(mode=0o700)
            try:
                yield folder
            finally:
                _clean_up(store, folder)
    except OSError as error:
        if error.errno is None:
            raise
        raise StudyError(
            f"The clips could not be written to {store.home.media} ({os.strerror(error.errno)}); make room there and run it "
            "again. Nothing was added."
        ) from error


def _clean_up(store: Store, folder: Path) -> None:
    """Remove what is prepared, and the clips put in place (each left a mark here) that no study has come to hold."""
    for mark in folder.glob("*.placed"):
        with store.read() as session:
            if session.scalar(select(Clip.id).filter_by(content_hash=mark.stem).limit(1)) is None:
                shutil.rmtree(store.home.media / _place(mark.stem), ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


def _place(content_hash: str) -> Path:
    return Path(content_hash[:2]) / content_hash


def _files(
    store: Store,
    rows: Sequence[Row],
    design: Design,
    folder: Path,
    known: dict[str, str],
    progress: Progress | None,
) -> _Found:
    """Every row's files made and put in place. `known`: content hash -> name of the clips that the study has."""
    found = _Found()
    known = dict(known)
    for done, row in enumerate(rows):
        if progress:
            progress(done, len(rows), row.name)
        try:
            source, content_hash = _copy(row.path, folder)
            if content_hash in known:
                found.duplicates.append((row.name, known[content_hash]))
                continue
            found.added.append(_make(store, row, source, content_hash, design, found))
            known[content_hash] = row.name
        except MediaError as error:
            found.skipped.append((row.name, str(error)))
        finally:
            for path in folder.glob("clip/*"):
                path.unlink()
    if progress:
        progress(len(rows), len(rows), "")
    return found


def _copy(path: Path, folder: Path) -> tuple[Path, str]:
    """(The clip copied to `folder`/clip, its SHA-256). The copy is what is read from then on: the original may change."""
    media.checked(path, media.Limits())
    suffix = path.suffix.lower() if path.suffix.lower() in manifest.SUFFIXES else ".media"
    copy = folder / "clip" / f"source{suffix}"
    copy.parent.mkdir(mode=0o700, exist_ok=True)
    shutil.copyfile(path, copy)
    with copy.open("rb") as file:
        return copy, hashlib.file_digest(file, "sha256").hexdigest()


def _make(store: Store, row: Row, source: Path, content_hash: str, design: Design, found: _Found) -> Added:
    """The clip's renditions, moved to their place together with its source."""
    clip = media.decode(source)
    if clip.is_image:
        raise MediaError("This is a still picture; a study is of sounds and videos.")
    passes = [modality for modality in design.passes if renditions.possible(clip, modality)]
    lacks = "sound" if not clip.audio else "picture"
    left_out = [modality for modality in design.passes if modality not in passes]
    if not passes:
        raise MediaError(f"It has no {lacks}, and every pass of this study needs one.")
    made = {modality: renditions.make(clip, modality, source.parent) for modality in passes}
    peaks = renditions.peaks(clip)
    place = _place(content_hash)
    _put(store, [source, *(path for path, _ in made.values())], place, source.parents[1] / f"{content_hash}.placed")
    if left_out:
        found.partly.append((row.name, f"It has no {lacks}, so it is not in the pass {' and '.join(left_out)}."))
    files = {modality: place / path.name for modality, (path, _) in made.items()}
    return Added(row, content_hash, clip.duration_s, peaks, files, any(anew for _, anew in made.values()))


def _put(store: Store, paths: Sequence[Path], place: Path, mark: Path) -> None:
    """Move files to their place for good. The mark comes first: what a kill leaves behind can then be told."""
    folder = store.home.media / place
    if not folder.exists():
        mark.touch()
        folder.mkdir(mode=0o700, parents=True)
        folder.parent.chmod(0o700)
    for path in paths:
        path.chmod(0o600)
        _sync(path)
        path.replace(folder / path.name)
    for made in (folder, folder.parent, store.home.media):
        _sync(made)


def _sync(path: Path) -> None:
    """Onto the disk, before the database comes to say that it is there."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
