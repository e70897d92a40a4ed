"""A frozen study is the same bytes for ever, whatever is rated after it."""

import gzip
import hashlib
import json
from pathlib import Path

import pytest
from sqlalchemy import text

from annotate.snapshots import freeze, snapshots, write
from annotate.store import Store, StudyError
from annotate.studies import rename
from tests.annotate.material import new_study, rate_all


@pytest.fixture
def study_id(store: Store, tmp_path: Path) -> int:
    study_id = new_study(store, tmp_path / "clips", name="Радость").study_id
    rate_all(store, study_id, ("R01",))
    return study_id


def test_a_snapshot_is_written_again_byte_for_byte_after_more_was_rated(store: Store, study_id: int, tmp_path: Path):
    first = freeze(store, None, study_id, "paper, первая")
    write(store, None, study_id, first.name, tmp_path / "a.gz")
    rate_all(store, study_id, ("R02",))
    write(store, None, study_id, first.name, tmp_path / "b.gz")
    content = gzip.decompress((tmp_path / "a.gz").read_bytes())
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()
    assert hashlib.sha256(content).hexdigest() == first.sha256
    assert first.cite == f"Радость, snapshot 'paper, первая' of {first.created_at.date()}, SHA-256 {first.sha256}"
    lines = [json.loads(line) for line in content.splitlines()]
    kinds = [line["kind"] for line in lines]
    assert {kind: kinds.count(kind) for kind in kinds} == {"study": 1, "child": 2, "clip": 4, "rating": 5}
    assert lines[0]["scheme"]["name"] == "basic seven" and lines[0]["design"]["replications"] == 3


def test_the_same_study_frozen_twice_gives_the_same_bytes(store: Store, study_id: int):
    first, second = freeze(store, None, study_id, "a"), freeze(store, None, study_id, "b")
    assert first.sha256 == second.sha256
    with store.read() as session:
        assert [s.name for s in snapshots(session, study_id)] == ["a", "b"]
        found = session.execute(text("SELECT count(DISTINCT content) FROM snapshot")).scalar()
    assert found == 1


def test_a_snapshot_is_cited_by_the_name_that_the_study_had(store: Store, study_id: int):
    first = freeze(store, None, study_id, "a")
    with store.write() as session:
        rename(session, None, study_id, "Грусть")
    with store.read() as session:
        assert snapshots(session, study_id) == [first]
    assert first.cite.startswith("Радость, snapshot 'a'")
    assert freeze(store, None, study_id, "b").cite.startswith("Грусть, snapshot 'b'")


def test_a_name_is_used_once(store: Store, study_id: int):
    freeze(store, None, study_id, "a")
    with pytest.raises(StudyError, match="has a snapshot 'a' already; choose another name"):
        freeze(store, None, study_id, "a")


def test_a_snapshot_that_was_changed_is_not_given_out(store: Store, study_id: int, tmp_path: Path):
    freeze(store, None, study_id, "a")
    with store.write() as session:
        session.execute(text("UPDATE snapshot SET content = :c"), {"c": gzip.compress(b"{}")})
    with pytest.raises(StudyError, match="was changed in the database"):
        write(store, None, study_id, "a", tmp_path / "a.gz")
    with pytest.raises(StudyError, match="has no snapshot 'b'"):
        write(store, None, study_id, "b", tmp_path / "a.gz")
    assert not (tmp_path / "a.gz").exists()
