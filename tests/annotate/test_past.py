"""What a rater is told of their own past, and of how far they are: on SQLite and PostgreSQL."""

from datetime import timedelta

import pytest

from annotate.design import Design
from annotate.past import history, progress
from annotate.queue import claim, correct, submit
from annotate.store import Store
from tests.annotate.rated import ANGER, FEAR, NOON, rate_all, refused
from tests.annotate.small_study import make_raters, make_study

pytestmark = pytest.mark.usefixtures("in_order")


def test_the_past_comes_newest_first_page_by_page(store: Store):
    (rater,) = make_raters(store, make_study(store), 1)
    rate_all(store, rater)
    with store.read() as session:
        whole = history(session, rater[1])
        pages = history(session, rater[1], 4), history(session, rater[1], 4, before=whole[3].rating_id)
    assert [past.number for past in whole] == list(range(10, 0, -1))
    assert [*pages[0], *pages[1]] == whole[:8]


def test_an_answer_that_came_too_late_stands_beside_the_one_that_was_saved_until_that_is_edited(store: Store):
    (rater,) = make_raters(store, make_study(store), 1)
    token = claim(store, rater[1])[0].token
    rating = submit(store, rater[0], token, "first-tab", ANGER).rating_id
    assert refused(submit, store, rater[0], token, "second-tab", FEAR).reason == "stale"

    def told() -> list[tuple[str | None, str | None]]:
        with store.read() as session:
            return [(past.answer.label, past.later and past.later["label"]) for past in history(session, rater[1])]

    assert told() == [("anger", "fear")]
    correct(store, rater[0], rating, "edited", FEAR)
    assert told() == [("fear", None)]


def test_the_loudness_of_a_clip_is_not_told_in_a_pass_that_only_shows_it(store: Store):
    study = make_study(store, kinds=["main"] * 3, design=Design(passes=("voice", "face"), repeat_share=0.0))
    (rater,) = make_raters(store, study, 1)
    rate_all(store, rater)
    with store.read() as session:
        assert {(past.modality, bool(past.peaks)) for past in history(session, rater[1])} == {
            ("voice", True),
            ("face", False),
        }


def test_a_break_is_due_after_so_many_clips_until_one_has_rested(store: Store):
    study = make_study(store, design=Design(break_every=3, break_minutes=5, repeat_share=0.0))
    (rater,) = make_raters(store, study, 1)
    seen = []
    for k in range(7):
        token = claim(store, rater[1], now=NOON)[0].token
        submit(store, rater[0], token, f"k{k}", ANGER, now=NOON)
        with store.read() as session:
            told = progress(session, rater[1], now=NOON)
            seen.append((told.break_due, told.next_break_at))
            assert not progress(session, rater[1], now=NOON + timedelta(minutes=5)).break_due
    assert seen == [(False, 3), (False, 3), (True, 6), (False, 6), (False, 6), (True, 9), (False, 9)]
