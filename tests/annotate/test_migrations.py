"""A further revision, on both databases: all is kept, a copy comes first, a fault changes nothing, older programs refuse."""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import inspect, text
from sqlalchemy.exc import IntegrityError

from annotate import __main__ as command_line
from annotate import store as stores
from annotate.schema import Base
from annotate.store import Home, Store, StudyError
from annotate.verify import verify
from tests.annotate.material import new_study, rate_all

Rows = dict[str, list[Any]]  # of each table
Command = Callable[..., tuple[int, str]]
Newer = Callable[[str], None]

REVISION = '''"""{what}"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
{steps}
'''
A_COLUMN = """
    op.add_column("study", sa.Column("funder", sa.Text(), nullable=False, server_default="nobody"))
    op.execute("UPDATE study SET funder = 'the council' WHERE name LIKE 'Радость%'")
"""
A_TABLE_ANEW = """
    with op.batch_alter_table("study") as batch:
        batch.add_column(sa.Column("funder", sa.Text(), nullable=False, server_default="the council"))
        batch.alter_column("state", type_=sa.String(40))
"""
A_LOSS = """
    op.execute("DELETE FROM lease")
"""
A_FAULT = """
    op.add_column("study", sa.Column("funder", sa.Text()))
    op.execute("UPDATE clip SET name = 'lost ' || id")
    op.execute("INSERT INTO no_such_table VALUES (1)")
"""


@pytest.fixture
def newer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Newer:
    """newer(steps): from now on the program is one with a revision 0002 of these steps."""

    def release(steps: str) -> None:
        folder = tmp_path / "migrations"
        shutil.copytree(stores.MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "versions" / "0002_further.py").write_text(REVISION.format(what="Further", steps=steps))
        monkeypatch.setattr(stores, "MIGRATIONS", folder)

    return release


@pytest.fixture
def command(home: Home, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command on the test's home: (exit code, what it said)."""

    def run(name: str) -> tuple[int, str]:
        code = command_line.main([name, "--home", str(home.folder), *(["--db", home.url] if home.url else [])])
        return code, "".join(capsys.readouterr())

    return run


@pytest.fixture
def rated(home: Home, tmp_path: Path) -> Rows:
    """A rated study, made by this version of the program and closed again; all rows of its tables."""
    store = Store.create(home)
    rate_all(store, new_study(store, tmp_path / "clips").study_id)
    found = rows(store)
    store.close()
    return found


def rows(store: Store) -> Rows:
    """Every table's columns of the present schema, in the order of their keys."""
    with store.engine.connect() as connection:
        query = {name: table.select().order_by(*table.primary_key.columns) for name, table in Base.metadata.tables.items()}
        return {name: [tuple(row) for row in connection.execute(query[name])] for name in query}


def test_a_step_that_would_leave_rows_pointing_nowhere_is_taken_back(
    home: Home, rated: Rows, newer: Newer, command: Command
):
    newer(A_LOSS)
    code, said = command("migrate")
    assert code == 2
    assert "rating" in said
    assert "nothing was changed" in said
    store = Store(home)
    assert (store.revision(), rows(store)) == ("0001", rated)
    store.close()


@pytest.mark.parametrize("steps", [A_COLUMN, A_TABLE_ANEW], ids=["a column", "a table anew"])
def test_a_step_keeps_everything_and_comes_after_a_copy(
    home: Home,
    rated: Rows,
    newer: Newer,
    command: Command,
    steps: str,
):
    newer(steps)
    with pytest.raises(StudyError, match="has revision 0001 and 0002 is needed; run: python -m annotate migrate"):
        Store.open(home)
    code, said = command("migrate")
    assert (code, said.splitlines()[0]) == (0, "The database went from revision 0001 to 0002.")
    store = Store.open(home)
    assert rows(store) == rated
    assert len(rated["rating"]) == 15, "of three raters, four clips and a correction each"
    with store.engine.connect() as connection:
        assert connection.scalars(text("SELECT funder FROM study")).all() == ["the council"]
    assert verify(store).problems == []
    with pytest.raises(IntegrityError), store.write() as session:
        session.execute(text("DELETE FROM study"))
    store.close()
    assert command("migrate") == (0, "The database has revision 0002 already; nothing was changed.\n")

    copies = list(home.folder.glob("study.db.before-*"))
    if home.url:  # a server's own tools make its copies
        assert (copies, said.count("\n")) == ([], 1)
        return
    (copy,) = copies
    assert f"A copy from before is {copy}" in said
    assert copy.stat().st_mode & 0o077 == 0
    with sqlite3.connect(copy) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("SELECT version_num FROM alembic_version").fetchall() == [("0001",)]
        assert database.execute("SELECT count(*) FROM rating").fetchone() == (len(rated["rating"]),)
        assert "funder" not in [column for _, column, *_ in database.execute("PRAGMA table_info(study)")]


def test_the_older_program_refuses_what_the_newer_one_left(
    home: Home,
    rated: Rows,
    newer: Newer,
    command: Command,
    monkeypatch,
):
    own = stores.MIGRATIONS
    newer(A_COLUMN)
    assert command("migrate")[0] == 0
    copies = len(list(home.folder.glob("study.db.before-*")))
    monkeypatch.setattr(stores, "MIGRATIONS", own)
    for name, sentence in (
        ("status", "The database has revision 0002, which this version of AVEMO does not know (it knows up to 0001): "
                   "it was written by a newer one. Update AVEMO; nothing was changed."),
        ("migrate", "The database has revision 0002, which is newer than this version of AVEMO; update AVEMO."),
    ):  # fmt: skip
        assert command(name) == (2, sentence + "\n")
    assert len(list(home.folder.glob("study.db.before-*"))) == copies
    newer_store = Store(home)
    assert rows(newer_store) == rated
    newer_store.close()


def test_a_step_that_fails_leaves_the_database_as_it_was(home: Home, rated: Rows, newer: Newer, command: Command):
    newer(A_FAULT)
    code, said = command("migrate")
    assert code == 2
    assert "no_such_table" in said
    assert "Traceback" not in said
    store = Store(home)
    assert store.revision() == "0001"
    assert rows(store) == rated
    assert "funder" not in [column["name"] for column in inspect(store.engine).get_columns("study")]
    store.close()
