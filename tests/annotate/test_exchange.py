"""Ratings out to files and in again, in every format, on both databases: nothing is lost, no cell is a formula."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import audformat
import pytest
from pympi.Elan import Eaf
from sqlalchemy import func, select

from annotate.exchange import FORMATS
from annotate.exchange.rows import typed
from annotate.exchange.transfer import export, import_ratings
from annotate.ratings import COLUMNS, read_ratings
from annotate.schema import Account, Clip, Lease, Rating, Rendition, Study, Use
from annotate.scheme import SCHEMES
from annotate.store import Home, Store, StudyError
from annotate.verify import verify
from tests.annotate.material import RATERS, new_study, rate_all

IDS = ("rating_id", "study_id", "clip_id", "item_id", "rater_id", "supersedes", "superseded_by")
ROUND_TRIPS = [name for name, chosen in FORMATS.items() if chosen.write is not None]


@pytest.fixture
def rated(store: Store, tmp_path: Path) -> tuple[Store, int]:
    """A study with ratings, and its id."""
    study_id = new_study(store, tmp_path / "clips").study_id
    rate_all(store, study_id)
    with store.write() as session:  # what the queue cannot be asked for here: a soft label, a flag, nothing at all
        last = session.scalars(select(Rating).order_by(Rating.id)).all()
        last[0].soft = {"anger": 0.1, "fear": 0.9}
        last[1].flag, last[1].label, last[1].comment = "several voices", None, ""
        last[2].cannot_tell, last[2].label = True, None
    return store, study_id


def some_rows(**values: Any) -> list[dict[str, Any]]:
    """Two ratings of one clip by one rater, the second a correction, and one of another clip."""
    first = {"clip": "a.wav", "modality": "voice", "rater": "R01", "label": "anger", **values}
    rows = [first | {"rating_id": 7}, first | {"rating_id": 8, "supersedes": 7}, first | {"rating_id": 9, "clip": "b.wav"}]
    return [typed(row, "") for row in rows]


def edited(at: int, **values: Any) -> list[dict[str, Any]]:
    return [{**row, **values} if k == at else row for k, row in enumerate(some_rows())]


@pytest.fixture
def other(empty_home: Home) -> Iterator[Store]:
    """Another, empty store on the same kind of database."""
    store = Store.create(empty_home)
    yield store
    store.close()


def rows_of(store: Store, study_id: int) -> list[dict[str, Any]]:
    with store.read() as session:
        return read_ratings(session, study_id, history=True)


def without_ids(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with every id replaced by the place where it stands first."""
    places: dict[str, dict[int, int]] = {}
    out = []
    for row in rows:
        row = dict(row)
        for name in IDS:
            kind = "rating_id" if name in ("supersedes", "superseded_by") else name
            if row[name] is not None:
                row[name] = places.setdefault(kind, {}).setdefault(row[name], len(places[kind]))
        out.append(row)
    return out


@pytest.mark.parametrize("name", ROUND_TRIPS)
def test_what_is_exported_is_private_and_read_again_as_it_was(rated, name: str, tmp_path: Path):
    store, study_id = rated
    path = tmp_path / f"out{FORMATS[name].suffix}"
    written = export(store, None, study_id, name, path)
    rows = rows_of(store, study_id)
    assert written.ratings == len(rows) == 15
    assert FORMATS[name].read(path) == rows
    files = [path, *path.rglob("*")] if path.is_dir() else [path]
    assert all(file.stat().st_mode & 0o077 == 0 for file in files)
    with store.read() as session:  # what went out is remembered, so that an erasure can name it
        use = session.scalars(select(Use)).one()
    assert (use.kind, use.name, use.sha256) == ("export", str(path), written.sha256)
    assert sorted(use.clips) == sorted({row["clip_id"] for row in rows})
    with pytest.raises(StudyError, match="exists already"):
        export(store, None, study_id, name, path)


@pytest.mark.parametrize("name", ROUND_TRIPS)
def test_an_export_imported_into_an_empty_database_is_exported_again_equal_up_to_ids(
    rated, name: str, tmp_path: Path, other: Store
):
    store, study_id = rated
    path = tmp_path / f"out{FORMATS[name].suffix}"
    export(store, None, study_id, name, path)
    done = import_ratings(other, None, "Радость, 2026", FORMATS[name].read(path))
    assert (done.ratings, done.clips, done.raters, done.anonymous) == (15, 4, 3, 0)
    assert without_ids(rows_of(other, done.study_id)) == without_ids(rows_of(store, study_id))
    again = tmp_path / f"again{FORMATS[name].suffix}"
    export(other, None, done.study_id, name, again)
    assert without_ids(FORMATS[name].read(again)) == without_ids(FORMATS[name].read(path))
    assert verify(other).problems == []


def test_every_row_carries_rater_pass_order_and_time(rated, tmp_path: Path):
    store, study_id = rated
    export(store, None, study_id, "csv", tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(row["rater_id"] and row["rater"] and row["modality"] and row["submitted_at"] for row in rows)
    assert all(row["order_index"] for row in rows)
    assert tuple(rows[0]) == COLUMNS


def test_no_cell_of_a_csv_is_a_formula(rated, tmp_path: Path):
    store, study_id = rated
    export(store, None, study_id, "csv", tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(encoding="utf-8-sig", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))] == []
    assert {"'=1+1", "'@SUM(A1)", "''+49 30", "'"} < set(cells)


def test_importing_twice_changes_nothing_and_says_so(rated, other: Store):
    store, study_id = rated
    rows = rows_of(store, study_id)
    with pytest.raises(StudyError, match="These ratings are here already, in the study 'Радость, 2026'"):
        import_ratings(store, None, "again", rows)
    import_ratings(other, None, "one", rows)
    for name in ("one", "two"):
        with pytest.raises(StudyError, match="already"):
            import_ratings(other, None, name, rows)
    with other.read() as session:
        assert session.scalar(select(func.count()).select_from(Rating)) == 15


def test_ratings_without_keys_of_their_own_are_not_imported_twice_either(store: Store):
    rows = [typed({"clip": "1", "modality": "voice", "rater": "R1", "label": x}, "") for x in ("anger", "anger", "fear")]
    assert import_ratings(store, None, "one", rows).ratings == 3
    with pytest.raises(StudyError, match="These ratings are here already, in the study 'one'; nothing was imported"):
        import_ratings(store, None, "two", rows)
    others = [typed({"clip": "1", "modality": "voice", "rater": "R2", "label": "anger"}, "")]
    assert import_ratings(store, None, "three", others).ratings == 1


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("evil\x1b[31m", "A study needs a name of 1 to 120 letters"),
        ("x" * 300, "A study needs a name of 1 to 120 letters"),
        (" ", "A study needs a name of 1 to 120 letters"),
        ("2026", "would be taken for a study's number"),
    ],
)
def test_a_study_is_imported_under_a_name_that_every_page_can_show(store: Store, name: str, said: str):
    with pytest.raises(StudyError, match=said):
        import_ratings(store, None, name, some_rows())
    with store.read() as session:
        assert session.scalar(select(func.count()).select_from(Study)) == 0
        assert session.scalar(select(func.count()).select_from(Rating)) == 0


def test_a_name_of_several_lines_is_one_line_after_an_import(store: Store):
    done = import_ratings(store, None, "  two\nlines ", some_rows())
    with store.read() as session:
        assert session.get_one(Study, done.study_id).name == "two lines"


def test_an_imported_rater_is_nobody_who_works_here(store: Store):
    import_ratings(store, None, "theirs", some_rows(rater="you"))
    import_ratings(store, None, "more", some_rows(rater="YOU (theirs)"))
    with store.read() as session:
        accounts = session.scalars(select(Account)).all()
    assert {account.name for account in accounts} == {"you (theirs)", "YOU (theirs) (more)"}
    assert all(account.disabled_at and not account.roles and not account.password_hash for account in accounts)


def test_clips_whose_files_are_here_can_be_played_after_an_import(rated):
    store, study_id = rated
    rows = [{**row, "idempotency_key": None, "lease_token": None} for row in rows_of(store, study_id)]
    done = import_ratings(store, None, "copy", rows)
    with store.read() as session:
        query = select(Rendition.file).join(Clip).where(Clip.study_id == done.study_id)
        files = session.scalars(query).all()
        assert session.get_one(Study, done.study_id).state == "closed"
        assert session.scalar(select(func.count()).select_from(Lease)) == 12
    assert len(files) == 4 and all((store.home.media / file).is_file() for file in files)


def test_votes_without_raters_are_imported_as_what_they_are(store: Store):
    rows = [typed({"clip": "1001", "modality": "voice", "label": label}, "") for label in ("anger", "anger", "fear")]
    done = import_ratings(store, None, "votes", rows)
    assert (done.ratings, done.raters, done.anonymous) == (3, 0, 3)
    found = rows_of(store, done.study_id)
    assert [(row["label"], row["rater"], row["rater_id"]) for row in found] == [
        (x, None, None) for x in ("anger", "anger", "fear")
    ]
    assert verify(store).problems == []


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "There are no ratings to import"),
        (edited(0, content_hash="0" * 64), "two clips with different content are called so"),
        (edited(0, supersedes=999), "supersedes rating 999, which does not come before it"),
        (edited(2, supersedes=8), "supersedes rating 8, which is of another rater, clip or pass"),
        (edited(2, clip="a.wav", supersedes=7), "supersedes rating 7, which another one supersedes already"),
        (edited(1, rating_id=7, supersedes=None), "has the rating_id 7, as another one has before it"),
        (some_rows(rater=None), "supersedes another one, but names no rater"),
        (some_rows(idempotency_key="k"), "The idempotency key 'k' stands at 3 ratings"),
        (some_rows(label=" "), "A label needs a name"),
    ],
)
def test_ratings_that_do_not_fit_together_are_refused_in_one_sentence(store: Store, rows: list, said: str):
    with pytest.raises(StudyError, match=said) as refused:
        import_ratings(store, None, "x", rows)
    assert "\n" not in str(refused.value)
    with store.read() as session:
        assert session.scalar(select(func.count()).select_from(Study)) == 0


def test_labels_outside_of_the_scheme_are_refused(store: Store):
    with pytest.raises(StudyError, match="has the label 'anger'; the scheme has discomfort, neutral, comfort"):
        import_ratings(store, None, "x", some_rows(), SCHEMES["comfort"])


BROKEN = {
    "csv": [
        "", "a,b\n1,2\n", "clip,modality,intensity\nx,voice,strong\n", "clip,modality\nx,smell\n",
        "clip,modality,valence\nx,voice,12\n",
    ],
    "jsonl": [
        "{", "[1]", '{"clip": "x"}', '{"clip": "x", "modality": "voice", "submitted_at": "yesterday"}', "[" * 100_000,
    ],
    "label_studio": ["", "{}x", '[{"data": {}}]', '[{"annotations": [{"result": [{"value": 1}]}]}]', "7"],
    "eaf": ["", "<a/>", "<ANNOTATION_DOCUMENT", "text"],
    "audformat": ["name: x", "%", ""],
}  # fmt: skip


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in BROKEN.items() for text in texts])
def test_a_file_that_is_something_else_is_refused_in_one_sentence(name: str, text: str, tmp_path: Path):
    path = tmp_path / "db.yaml" if name == "audformat" else tmp_path / f"x{FORMATS[name].suffix or '.eaf'}"
    path.write_text(text)
    with pytest.raises(StudyError) as refused:
        rows = FORMATS[name].read(tmp_path if name == "audformat" else path)
        if not rows:
            raise StudyError("There are no ratings to import.")
    assert "\n" not in str(refused.value) and str(refused.value).endswith(".")


def test_other_programs_find_clips_labels_and_raters_in_their_formats(rated, tmp_path: Path):
    store, study_id = rated
    export(store, None, study_id, "label_studio", tmp_path / "out.json")
    tasks = json.loads((tmp_path / "out.json").read_text())
    assert len(tasks) == 4 and all(task["data"]["audio"].startswith("file://") for task in tasks)
    regions = {region["from_name"]: region["value"] for region in tasks[0]["annotations"][0]["result"]}
    assert {"label", "intensity", "valence", "arousal", "confidence"} <= set(regions)

    export(store, None, study_id, "eaf", tmp_path / "elan")
    files = sorted((tmp_path / "elan").iterdir())
    document = Eaf(files[0])
    assert len(files) == 4
    assert [Path(link["MEDIA_URL"]).name for link in document.get_linked_files()] == ["source.wav"]
    shown = [name for name in document.get_tier_names() if not name.endswith(": rating")]
    assert len(shown) >= 3 and all(document.get_annotation_data_for_tier(name)[0][:2] == (0, 600) for name in shown)

    export(store, None, study_id, "audformat", tmp_path / "database")
    database = audformat.Database.load(str(tmp_path / "database"))
    assert set(database.raters) == set(RATERS) and set(database.tables) == {"files"}
    assert all(Path(file).is_file() for file in database["files"].index)
    assert set(database["files"].df["child"]) == {"ребёнок-0", "ребёнок-1"}
