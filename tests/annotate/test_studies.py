"""Studies made from real files: copied, named, skipped, refused in one sentence, and never half made."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import func, select

from annotate.accounts import enable
from annotate.design import Design
from annotate.exchange.transfer import digest
from annotate.overview import study_list
from annotate.schema import Audit, Child, Clip, Item, Rendition, Study
from annotate.scheme import SCHEMES
from annotate.store import Home, Store, StudyError
from annotate.studies import add_clips, create_study, practice_study, rename, source_of
from annotate.verify import verify
from tests import media_files
from tests.annotate.material import add_account, new_study, write_folder, write_manifest
from tests.annotate.small_study import make_study

ALL = Design(passes=("voice", "face", "both"), replications=3, blocks=2)


def create(store: Store, source: Path, name: str = "s", design: Design = Design(), **how):  # noqa: B008 - it is frozen
    return create_study(store, None, name, source, SCHEMES["basic seven"], design, **how)


def wav(path: Path, hertz: float = 440.0, seconds: float = 0.5) -> Path:
    return media_files.write_wav(path, media_files.tone(seconds, 16_000, hertz=hertz)[0])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "clips"
    found.mkdir()
    return found


# ---------------------------------------------------------------- what comes out


def test_a_manifest_becomes_children_clips_items_and_files(store: Store, tmp_path: Path):
    report = new_study(store, tmp_path / "clips")
    assert (report.added, report.duplicates, report.skipped, report.partly) == (4, [], [], [])
    assert len(report.transcoded) == 4  # samples of 32 bits: not every browser plays them
    with store.read() as session:
        clip = session.scalars(select(Clip).order_by(Clip.id)).first()
        assert clip and clip.name == "говорит, громко.wav" and clip.content_hash and clip.child_id
        child = session.get_one(Child, clip.child_id)
        assert (child.pseudonym, child.age_months, child.sex) == ("ребёнок-0", 70, "female")
        assert (child.group, child.language) == ("школа, 1", "ru")
        assert (clip.consent, str(clip.retain_until), clip.kind) == ("signed 2026", "2040-12-31", "main")
        assert clip.details == {"label": "unlabelled", "sentence": 'Он сказал: "Да, да"'}
        assert clip.duration_s == pytest.approx(0.6, abs=0.01)
        assert len(clip.peaks) == 150 and max(clip.peaks) == 1 and min(clip.peaks) >= 0
        gold = session.scalars(select(Clip).filter_by(kind="gold")).one()
        assert gold.gold_label == "anger"
        assert set(session.execute(select(Item.modality, Item.wanted)).tuples()) == {("voice", 3)}
        source = source_of(store, clip.content_hash)
        assert source and source.read_bytes() == (tmp_path / "clips" / clip.name).read_bytes()
    assert digest(source) == clip.content_hash
    paths = [store.home.media, *store.home.media.rglob("*")]
    assert all(path.stat().st_mode & 0o077 == 0 for path in paths if path.name != ".lock")
    assert not (store.home.media / ".new").exists()
    assert verify(store).problems == []


def test_duplicates_are_named_and_broken_files_skipped(store: Store, folder: Path):
    wav(folder / "a.wav")
    (folder / "more").mkdir()
    (folder / "more" / "b.wav").write_bytes((folder / "a.wav").read_bytes())
    (folder / "broken.mp4").write_bytes(b"this is no film")
    (folder / "empty.wav").touch()
    (folder / "notes.txt").write_text("not a clip")
    Image.new("RGB", (8, 8)).save(folder / "photo.jpg")
    (folder / "photo.mp4").write_bytes((folder / "photo.jpg").read_bytes())
    media_files.write_clip(folder / "silent.mp4", 0.6, 10, audio=False)
    report = create(store, folder)
    assert report.added == 1 and report.duplicates == [("more/b.wav", "a.wav")]
    said = dict(report.skipped)
    assert set(said) == {"broken.mp4", "empty.wav", "photo.mp4", "silent.mp4"}
    assert "not a media file" in said["broken.mp4"] and "empty" in said["empty.wav"]
    assert "still picture" in said["photo.mp4"] and "has no sound" in said["silent.mp4"]
    assert all(sentence.endswith(".") and "\n" not in sentence for sentence in said.values())


def test_a_clip_is_in_the_passes_for_which_it_has_something(store: Store, folder: Path):
    media_files.write_clip(folder / "silent.mp4", 0.6, 10, audio=False)
    wav(folder / "voice.wav")
    report = create(store, folder, design=ALL)
    with store.read() as session:
        query = select(Clip.name, Item.modality).join(Clip)
        assert set(session.execute(query).tuples()) == {("silent.mp4", "face"), ("voice.wav", "voice")}
    assert dict(report.partly)["silent.mp4"] == "It has no sound, so it is not in the pass voice and both."


def test_blocks_are_even_over_all_clips_and_over_each_child(store: Store, folder: Path):
    rows = []
    for k in range(17):
        wav(folder / f"{k}.wav", 200 + 30 * k, 0.25)
        rows.append({"file": f"{k}.wav", "speaker": "ab"[k % 3 == 0]})
    create(store, write_manifest(folder / "list.csv", rows), design=Design(blocks=4))
    with store.read() as session:
        found = session.execute(select(Clip.child_id, Clip.block)).all()
    whole = Counter(block for _, block in found)
    assert sorted(whole.values()) == [4, 4, 4, 5]
    for child in {child for child, _ in found}:
        own = Counter(block for c, block in found if c == child)
        assert max(own.values()) - min(own[b] for b in range(4)) <= 1


@pytest.mark.parametrize("gold_every", [2, 4])
def test_gold_that_comes_regularly_leaves_the_blocks_of_main_clips_even(store: Store, folder: Path, gold_every: int):
    rows = []
    for k in range(16):
        wav(folder / f"{k}.wav", 200 + 30 * k, 0.25)
        rows.append({"file": f"{k}.wav", "speaker": "a", "gold_label": "" if k % gold_every else "anger"})
    source = write_manifest(folder / "list.csv", rows)
    create(store, source, design=Design(blocks=gold_every))
    with store.read() as session:
        found = Counter(session.execute(select(Clip.kind, Clip.block)).tuples())
    main, gold = ({b: n for (kind, b), n in found.items() if kind == which} for which in ("main", "gold"))
    assert set(main.values()) == {(16 - 16 // gold_every) // gold_every} and len(main) == gold_every
    assert set(gold.values()) == {16 // gold_every // gold_every} and len(gold) == gold_every


def test_clips_are_added_to_a_study_that_runs(store: Store, tmp_path: Path, folder: Path):
    study_id = new_study(store, tmp_path / "first").study_id
    wav(folder / "b c.wav", 900)  # another recording under a name that is taken
    wav(folder / "new.wav", 950)
    (folder / "known.wav").write_bytes((tmp_path / "first" / "d'quote.wav").read_bytes())
    report = add_clips(store, None, study_id, folder)
    assert report.added == 2 and report.duplicates == [("known.wav", "d'quote.wav")]
    with store.read() as session:
        names = set(session.scalars(select(Clip.name)))
        assert session.get_one(Study, study_id).order_version == 1
    assert len(names) == 6 and any(name.startswith("b c.wav (") for name in names)
    with pytest.raises(StudyError, match="There is no study 99"):
        add_clips(store, None, 99, folder)


def test_a_newcomer_finds_a_practice_study_once(store: Store):
    first = practice_study(store)
    assert practice_study(store) == first
    with store.read() as session:
        study = session.get_one(Study, first)
        assert (study.name, study.state) == ("Practice", "open")
        assert session.scalar(select(func.count()).select_from(Item)) == 7
        assert set(session.scalars(select(Item.wanted))) == {1000}


# ---------------------------------------------------------------- manifests with a fault


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"file": "a.wav"}, {"file": "gone.wav"}], r"Row 3 of m.csv names 'gone.wav', which is not in its folder"),
        ([{"file": f"gone{k}.wav"} for k in range(3)], r"and 2 more files are missing"),
        ([{"clip": "a.wav", "speaker": "x"}], r"has the columns clip, speaker and no column `file`"),
        ([{"file": "a.wav"}, {"file": "b.wav"}, {"file": "./a.wav"}], r"Rows 2 and 4 of m.csv are for the same clip"),
        ([{"file": "a.wav", "gold_label": "joy"}], r"has the gold label 'joy'; the labels of this study are neutral"),
        ([{"file": "a.wav", "kind": "gold"}], r"is a gold clip without a gold label"),
        ([{"file": "a.wav", "kind": "main", "gold_label": "fear"}], r"is a main clip with a gold label"),
        ([{"file": "a.wav", "kind": "best"}], r"has the kind 'best'; a clip is main, gold or practice"),
        ([{"file": "a.wav", "retain_until": "2020-01-01"}], r"the consent for this clip ended on 2020-01-01"),
        ([{"file": "a.wav", "retain_until": "soon"}], r"has retain_until 'soon'; expected a date"),
        ([{"file": "a.wav", "consent": "No"}], r"has the consent 'No': this clip may not be used"),
        ([{"file": "a.wav", "age": "six"}], r"has the age 'six'; expected a number of years"),
        ([{"file": "a.wav", "age_months": "-4"}], r"expected a number of months"),
        ([{"file": "", "speaker": "x"}], r"Row 2 of m.csv names no file"),
        ([{"file": "../secret.wav"}], r"'../secret.wav', which lies outside of the manifest's folder"),
        ([{"file": "/etc/passwd"}], r"lies outside of the manifest's folder"),
        ([{"file": "link.wav"}], r"lies outside of the manifest's folder"),
        ([{"file": "."}], r"names '.', which is not in its folder"),
        (
            [{"file": "a.wav", "speaker": "x", "sex": "f"}, {"file": "b.wav", "speaker": "x", "sex": "m"}],
            r"two values of sex",
        ),
    ],
)
def test_a_manifest_with_a_fault_is_refused_in_one_sentence_and_nothing_is_made(
    store: Store, folder: Path, rows: list[dict[str, str]], said: str
):
    wav(folder / "a.wav")
    wav(folder / "b.wav", 500)
    wav(folder.parent / "secret.wav")
    (folder / "link.wav").symlink_to(folder.parent / "secret.wav")
    before = media_of(store)
    with pytest.raises(StudyError, match=said) as refused:
        create(store, write_manifest(folder / "m.csv", rows))
    assert "\n" not in str(refused.value) and str(refused.value).endswith(".")
    assert media_of(store) == before
    with store.read() as session:
        assert session.scalar(select(func.count()).select_from(Study)) == 0


def media_of(store: Store) -> set[str]:
    """Everything in the media folder but the lock."""
    found = store.home.media.rglob("*") if store.home.media.exists() else ()
    return {str(path) for path in found if path.name != ".lock" and path.is_file()}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "has the columns .none. and no column `file`"),
        (b"file\n", "has no rows"),
        (b"file\n\xff\xfe\n", "is not UTF-8 text"),
        (b"file\na\0.wav\n", "holds zero bytes"),
        (b"file,file\na,b\n", "two columns named 'file'"),
        (b"file\na.wav,x,y\n", "Row 2 of m.csv has 3 cells, but the first row names 1"),
        (b'file\n"' + b"x" * 200_000 + b'"\n', "cannot be read as CSV"),
    ],
)
def test_a_file_that_is_no_manifest_is_refused(store: Store, folder: Path, content: bytes, said: str):
    (folder / "m.csv").write_bytes(content)
    with pytest.raises(StudyError, match=said):
        create(store, folder / "m.csv")


def test_a_manifest_as_russian_excel_writes_it_is_read(store: Store, folder: Path):
    wav(folder / "а.wav")
    text = "\ufefffile;speaker;age;sentence\r\nа.wav;Лена;6,5;Да; нет".replace("; нет", "") + "\r\n\r\n"
    (folder / "m.csv").write_bytes(text.encode())
    create(store, folder / "m.csv")
    with store.read() as session:
        child = session.scalars(select(Child)).one()
    assert (child.pseudonym, child.age_months) == ("Лена", 78)


def test_sources_that_are_not_there_or_hold_nothing_are_refused(store: Store, folder: Path):
    with pytest.raises(StudyError, match="holds no clips"):
        create(store, folder)
    with pytest.raises(StudyError, match="There is no folder or manifest"):
        create(store, folder / "nothing")
    (folder / "shadow").write_text("root:secret")
    with pytest.raises(StudyError, match="'shadow' is no manifest") as told:
        create(store, folder / "shadow")
    assert "secret" not in str(told.value)
    (folder / "bad.wav").write_bytes(b"x")
    with pytest.raises(StudyError, match=r"None of the 1 clips can be used \(bad.wav: .*\); no study was made"):
        create(store, folder)
    wav(folder / "a.wav")
    create(store, folder)
    with pytest.raises(StudyError, match="There is a study named 's' already"):
        create(store, folder)
    with pytest.raises(StudyError, match="A study needs a name"):
        create(store, folder, " ")


HOSTILE = (
    *("<img src=x onerror=alert(1)>.wav", "'; DROP TABLE clip; --.wav", "new\nline.wav", "[red]x[bold].wav", "=1+1.wav"),
    "x" * 240 + ".wav",
)


def test_hostile_names_are_kept_as_text(store: Store, folder: Path):
    for k, name in enumerate(HOSTILE):
        wav(folder / name, 300 + 50 * k, 0.25)
    (folder / os.fsdecode(b"\xff\xfe.wav")).write_bytes(wav(folder / "z.wav", 880, 0.25).read_bytes())
    (folder / "z.wav").unlink()
    (folder / "out.wav").symlink_to("/etc/hostname")
    (folder / "loop").symlink_to(folder)
    report = create(store, folder)
    assert report.skipped == [("out.wav", "It is a link to a file outside of the folder.")]
    with store.read() as session:
        names = set(session.scalars(select(Clip.name)))
        files = session.scalars(select(Rendition.file)).all()
    assert names == {*HOSTILE, "\\xff\\xfe.wav"}
    assert all(re.fullmatch(r"[0-9a-f]{2}/[0-9a-f]{64}/voice\.m4a", file) for file in files)


# ---------------------------------------------------------------- stopped midway


def test_a_creation_that_is_stopped_leaves_nothing(store: Store, folder: Path):
    for k in range(3):
        wav(folder / f"{k}.wav", 300 + 50 * k)

    def stop(done: int, total: int, name: str) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        create(store, folder, progress=stop)
    assert media_of(store) == set()
    with store.read() as session:
        assert session.scalar(select(func.count()).select_from(Study)) == 0
    assert create(store, folder).added == 3


KILLED = """
import os, signal, sys
from pathlib import Path
from annotate.design import Design
from annotate.scheme import SCHEMES
from annotate.store import Home, Store
from annotate.studies import create_study
def told(done, total, name):
    if done == int(sys.argv[4]):
        os.kill(os.getpid(), signal.SIGKILL)
home = Home(Path(sys.argv[1]), sys.argv[2] or None)
create_study(Store.open(home), None, "killed", Path(sys.argv[3]), SCHEMES["basic seven"], Design(), told)
"""


@pytest.mark.parametrize("at", [1, 3])
def test_a_creation_that_is_killed_leaves_a_store_that_works(
    store: Store, home: Home, tmp_path: Path, folder: Path, at: int
):
    kept = new_study(store, tmp_path / "first").study_id
    before = media_of(store)
    for k in range(3):
        wav(folder / f"{k}.wav", 700 + 50 * k)
    command = [sys.executable, "-c", KILLED, str(store.home.folder), store.home.url or "", str(folder), str(at)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert media_of(store) > before  # what it had made so far
    with store.read() as session:
        assert set(session.scalars(select(Study.id))) == {kept}
    assert verify(store).problems == []
    assert create(store, folder, "killed").added == 3  # and what was left behind is gone
    with store.read() as session:
        files = set(session.scalars(select(Rendition.file)))
    assert media_of(store) == {str(p) for f in files for p in (store.home.media / f).parent.iterdir()}


def test_two_creations_of_one_name_end_in_one_study(store: Store, tmp_path: Path):
    outcomes: list[object] = []

    def work(k: int) -> None:
        try:
            outcomes.append(new_study(store, tmp_path / f"clips{k}", name="one").added)
        except StudyError as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert 4 in outcomes and any("There is a study named 'one' already" in str(outcome) for outcome in outcomes)


def test_a_full_disk_is_said_and_leaves_nothing(store: Store, small_disk: Path, folder: Path):
    for k in range(6):
        wav(folder / f"{k}.wav", 300 + 50 * k, 8.0)  # half a megabyte each, twice
    small = Store(Home(small_disk / "s", store.home.database_url))  # only the media lie on it
    small.home.folder.mkdir()
    with pytest.raises(StudyError, match=r"could not be written to .*No space left on device.*make room there"):
        create(small, folder)
    assert media_of(small) == set()
    with store.read() as session:
        assert session.scalar(select(func.count()).select_from(Study)) == 0
    small.close()


# ---------------------------------------------------------------- real clips


@pytest.mark.real
def test_forty_real_children_become_a_study(store: Store, real_data: Path, tmp_path: Path):
    lines = (real_data / "children" / "manifest.csv").read_text(encoding="utf-8").splitlines()
    root = tmp_path / "children"
    root.mkdir()
    (root / "audio").symlink_to(real_data / "children" / "audio")
    (root / "manifest.csv").write_text("\n".join([lines[0], *lines[1::23][:40]]), encoding="utf-8")
    with pytest.raises(StudyError, match="lies outside of the manifest's folder"):
        create(store, root)
    (root / "audio").unlink()
    (root / "audio").mkdir()
    for line in lines[1::23][:40]:
        name = line.split(",")[0]
        (root / name).write_bytes((real_data / "children" / name).read_bytes())
    report = create(store, root)
    assert (report.added, report.skipped, report.transcoded) == (40, [], [])
    with store.read() as session:
        clips = session.scalars(select(Clip)).all()
        assert {rendition.media_type for rendition in session.scalars(select(Rendition))} == {"audio/ogg"}
        assert session.scalar(select(func.count()).select_from(Child)) == 40
    assert all(1 < clip.duration_s < 12 and max(clip.peaks) == 1 for clip in clips)
    assert all(clip.details["speech_style"] == "read" for clip in clips)


# ---------------------------------------------------------------- names, and who rates


def test_a_study_gets_another_name_and_the_log_tells_without_it(store: Store):
    study = make_study(store)
    for name in ("  Joy   at home ", "Joy at home", "JOY at home"):
        with store.write() as session:
            rename(session, None, study, name)
    with store.read() as session:
        assert session.get_one(Study, study).name == "JOY at home"
        rows = session.scalars(select(Audit).where(Audit.action == "study renamed")).all()
    assert [(row.subject, row.detail) for row in rows] == [(f"study {study}", {})] * 2, "the same name again is no change"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Practice", "There is a study named 'Practice' already; choose another name."),
        ("pRACTICE ", "There is a study named 'Practice' already; choose another name."),
        ("", "A study needs a name of 1 to 120"),
        ("x" * 121, "A study needs a name of 1 to 120"),
        ("a\u202eb", "A study needs a name of 1 to 120"),
    ],
)
def test_a_name_that_is_taken_or_unreadable_is_refused(store: Store, name: str, said: str):
    make_study(store, name="Practice")
    study = make_study(store)
    with pytest.raises(StudyError, match=said), store.write() as session:
        rename(session, None, study, name)
    with store.read() as session:
        assert session.get_one(Study, study).name == "Joy at school"


def test_a_new_study_has_no_name_that_differs_only_in_capitals(store: Store, tmp_path: Path):
    make_study(store)
    with pytest.raises(StudyError, match="There is a study named 'Joy at school' already"):
        new_study(store, tmp_path / "clips", "JOY AT SCHOOL")


def test_a_study_that_is_not_there_is_not_renamed(store: Store):
    with pytest.raises(StudyError, match="There is no study 99"), store.write() as session:
        rename(session, None, 99, "x")


def test_a_new_study_is_for_every_rater_or_from_its_first_moment_for_those_chosen(store: Store, tmp_path: Path):
    rater = add_account(store, "R01")
    folder = write_folder(tmp_path / "clips")
    scheme, design = SCHEMES["basic seven"], Design()
    create_study(store, None, "All", folder, scheme, design)
    create_study(store, None, "One", folder, scheme, design, raters=[rater])
    create_study(store, None, "Nobody yet", folder, scheme, design, raters=[])
    with store.read() as session:
        assert {row["name"]: row["raters"] for row in study_list(session)} == {"All": None, "One": ["R01"], "Nobody yet": []}
    with pytest.raises(StudyError, match="Account 99 is no rater"):
        create_study(store, None, "Wrong", folder, scheme, design, raters=[99])
    with store.read() as session:
        assert len(study_list(session)) == 3
    assert not list(store.home.media.glob(".new/*"))

    def meanwhile(done: int, total: int, name: str) -> None:
        with store.write() as session:
            enable(session, None, rater, False)

    create_study(store, None, "Late", folder, scheme, design, meanwhile, raters=[rater])
    with store.read() as session:
        assert study_list(session)[0]["raters"] == [], "who is disabled meanwhile is left out, and the clips are kept"
