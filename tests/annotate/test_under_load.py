"""The benchmark of the study, small: real server processes, SIGKILL, and a journal of what was acknowledged."""

from pathlib import Path

from annotate.store import Home
from tests.annotate.postgresql import PostgreSQL
from tests.benchmarks import study


def test_raters_at_once_on_two_servers_lose_nothing_and_overfill_nothing(home: Home):
    found = study.load(home, raters=6, submits=5)
    assert found.problems == []
    assert (found.acknowledged, found.lost, found.duplicates, found.over_quota) == (30, 0, 0, 0)
    assert found.exports > 0


def test_what_was_acknowledged_before_a_kill_is_there_after_it(home: Home):
    found = study.kills(home, raters=4, submits=40, count=2)
    assert found.problems == []
    assert (found.kills, found.acknowledged, found.lost, found.duplicates, found.over_quota) == (2, 40, 0, 0, 0)


def test_what_was_acknowledged_before_the_database_was_killed_is_there_after_it(tmp_path: Path):
    with PostgreSQL() as own:  # the one that all tests share holds thousands of files, which a restart writes one by one
        home = Home(tmp_path / "study", own.new_database())
        found = study.kills(home, raters=4, submits=40, count=2, database=own)
    assert found.problems == []
    assert (found.kills, found.acknowledged, found.lost, found.duplicates, found.over_quota) == (2, 40, 0, 0, 0)


def test_pages_open_across_a_restart_label_the_clips_that_they_played(home: Home):
    found = study.restart(home, pages_open=6)
    assert found.problems == []
    assert (found.acknowledged, found.wrong_clip, found.lost, found.duplicates, found.over_quota) == (36, 0, 0, 0, 0)
