"""Every store test runs on SQLite and on PostgreSQL: a file, and a database of its own in a real server."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from annotate.store import Home, Store
from annotate.verify import verify
from tests.annotate.postgresql import PostgreSQL


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgreSQL]:
    """A running PostgreSQL."""
    with PostgreSQL() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Home:
    """An empty place for a study, on each database."""
    if request.param == "sqlite":
        return Home(tmp_path / "study")
    return Home(tmp_path / "study", request.getfixturevalue("postgres").new_database())


@pytest.fixture
def store(home: Home) -> Iterator[Store]:
    """A new store on each database."""
    store = Store.create(home)
    yield store
    store.close()


@pytest.fixture
def in_order(store: Store) -> Iterator[None]:
    """Whatever the test did to its store, the log, the ratings and the quotas fit together afterwards."""
    yield
    assert verify(store).problems == []


@pytest.fixture
def empty_home(home: Home, tmp_path: Path, request: pytest.FixtureRequest) -> Home:
    """Another empty place, on the same kind of database as `home`."""
    if home.url is None:
        return Home(tmp_path / "other")
    return Home(tmp_path / "other", request.getfixturevalue("postgres").new_database())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a small disk can only be mounted by root: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)
