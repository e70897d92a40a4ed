"""Clips past the day until which they may be kept are given out no more, whatever way they would come."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from sqlalchemy import event, select, update

from annotate.design import Design
from annotate.queue import claim, skip
from annotate.schema import Clip, Item, Lease
from annotate.store import Store
from tests.annotate.small_study import make_raters, make_study

LAST_DAY = date(2026, 3, 1)
ON_IT = datetime(2026, 3, 1, 23, 59, tzinfo=UTC)
AFTER = datetime(2026, 3, 2, 0, 1, tzinfo=UTC)


def keep_until(store: Store, day: date | None, *names: int) -> None:
    """The last day of these clips, counted from 0; of all where none is named."""
    with store.write() as session:
        ids = session.scalars(select(Clip.id).order_by(Clip.id)).all()
        chosen = [ids[k] for k in names] if names else ids
        session.execute(update(Clip).where(Clip.id.in_(chosen)).values(retain_until=day))


def held(store: Store, enrolment: int, now: datetime) -> set[int]:
    """The clips, counted from 0, that this rater is given now."""
    tokens = [shown.token for shown in claim(store, enrolment, now)]
    with store.read() as session:
        clips = session.scalars(select(Clip.id).order_by(Clip.id)).all()
        query = select(Item.clip_id).join(Lease, Lease.item_id == Item.id).where(Lease.token.in_(tokens))
        return {clips.index(clip) for clip in session.scalars(query)}


@pytest.mark.parametrize("kind", ["main", "gold", "practice"])
def test_a_clip_is_given_out_on_its_last_day_and_not_after_it(store: Store, kind: str):
    study_id = make_study(store, ("main", kind), Design(repeat_share=0.0))
    (_, first), (_, second) = make_raters(store, study_id, 2)
    keep_until(store, LAST_DAY, 1)
    assert held(store, first, ON_IT) == {0, 1}
    assert held(store, second, AFTER) == {0}


def test_the_day_is_that_of_utc(store: Store):
    study_id = make_study(store, ("main",), Design(repeat_share=0.0))
    (_, first), (_, second) = make_raters(store, study_id, 2)
    keep_until(store, LAST_DAY)
    far_east, far_west = timezone(timedelta(hours=14)), timezone(timedelta(hours=-12))
    assert held(store, first, ON_IT.astimezone(far_east)) == {0}
    assert held(store, second, AFTER.astimezone(far_west)) == set()


def test_what_ran_out_or_was_skipped_does_not_come_back_after_its_last_day(store: Store):
    study_id = make_study(store, ("main",) * 3, Design(repeat_share=0.0))
    ((account, rater),) = make_raters(store, study_id, 1)
    shown = claim(store, rater, ON_IT - timedelta(hours=1))
    skip(store, account, shown[0].token)
    keep_until(store, LAST_DAY)
    assert held(store, rater, ON_IT) == {0, 1, 2}
    assert held(store, rater, AFTER + timedelta(hours=1)) == set()


def test_many_clips_past_their_day_hide_none_that_may_be_kept(store: Store):
    """Neither in the walk through a plan nor among those that are left over at its end; each is looked up once."""
    study_id = make_study(store, ("main",) * 60, Design(replications=1, repeat_share=0.0, blocks=1))
    (_, first), (_, second) = make_raters(store, study_id, 2)
    keep_until(store, LAST_DAY)
    keep_until(store, None, 57, 58)
    asked: list[str] = []

    def count(*args: object) -> None:
        asked.append(str(args[2]))

    event.listen(store.engine, "before_cursor_execute", count)
    assert held(store, first, AFTER) == {57, 58}
    assert len(asked) < 40
    event.remove(store.engine, "before_cursor_execute", count)
    assert held(store, second, AFTER) == set()
    assert held(store, second, AFTER + timedelta(hours=1)) == {57, 58}
