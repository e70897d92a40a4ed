"""Who is given which clip: leases, exact quotas, what is given back, the stopping rule; on SQLite and PostgreSQL."""

import threading
from datetime import timedelta
from itertools import pairwise

import pytest
from sqlalchemy import delete, event, func, select, update

from annotate import queue
from annotate.answers import Answer
from annotate.design import Design
from annotate.past import progress
from annotate.plan import APART
from annotate.queue import claim, release, renew, skip, submit
from annotate.schema import Clip, Enrolment, Item, Lease, Rating, Rendition, Study
from annotate.scheme import Label, Scheme
from annotate.store import Home, Store, StudyError
from tests.annotate.rated import ANGER, NOON, items_of, rate_all, refused
from tests.annotate.small_study import make_raters, make_study
from tests.conftest import is_one_sentence

pytestmark = pytest.mark.usefixtures("in_order")


def rate_anew(store: Store, rater: tuple[int, int]) -> None:
    """As rate_all, but what came with an answer is given back, so that each claim is a write of its own beside others."""
    with store.read() as session:
        study = session.get_one(Enrolment, rater[1]).study_id
    while rate_all(store, rater, most=1):
        release(store, rater[0], study)


def rate_on(store: Store, rater: tuple[int, int]) -> None:
    """As rate_all, but as the page does it: the next clips come with the answer."""
    clips = claim(store, rater[1])
    while clips:
        clips = submit(store, rater[0], clips[0].token, f"key-{clips[0].token}", ANGER).clips


# ---------------------------------------------------------------- from the first clip to the last


def test_a_rater_answers_every_clip_once_and_then_nothing_comes(store: Store):
    study = make_study(store)
    (rater,) = make_raters(store, study, 1)
    tokens = rate_all(store, rater)
    assert len(set(items_of(store, tokens))) == 10
    with store.read() as session:
        ratings = session.scalars(select(Rating).order_by(Rating.id)).all()
        assert [rating.order_index for rating in ratings] == list(range(10))
        assert {(r.label, r.intensity, r.reaction_ms, r.first_play_ended_at) for r in ratings} == {("anger", 75, 800, NOON)}
        done = progress(session, rater[1])
    assert (done.done, done.total, done.skipped, done.flagged) == (10, 10, 0, 0)


def test_enrolling_twice_is_one_place_with_its_number(store: Store):
    study = make_study(store)
    raters = make_raters(store, study, 3)
    with store.write() as session:
        assert [queue.enrol(session, study, account).id for account, _ in raters] == [enrolment for _, enrolment in raters]
        assert session.scalars(select(Enrolment.number).order_by(Enrolment.id)).all() == [0, 1, 2]
        with pytest.raises(StudyError, match="There is no study 99"):
            queue.enrol(session, 99, raters[0][0])


def test_up_to_three_clips_are_held_and_two_tabs_see_the_same(store: Store):
    (rater,) = make_raters(store, make_study(store), 1)
    first, second = claim(store, rater[1]), claim(store, rater[1])
    assert [clip.token for clip in first] == [clip.token for clip in second]
    assert [clip.number for clip in first] == [1, 2, 3]


def test_a_stopped_rater_goes_on_with_the_next_clip(store: Store, home: Home):
    (rater,) = make_raters(store, make_study(store), 1)
    seen = rate_all(store, rater, most=4)
    again = Store.open(home)
    assert [clip.number for clip in claim(again, rater[1])] == [5, 6, 7]
    seen += rate_all(again, rater)
    again.close()
    assert len(set(items_of(store, seen))) == len(seen) == 10


def test_a_clip_without_media_is_never_shown(store: Store):
    study = make_study(store)
    with store.write() as session:
        clip = session.scalars(select(Clip)).first()
        assert clip is not None
        session.execute(delete(Rendition).where(Rendition.clip_id == clip.id))
    (rater,) = make_raters(store, study, 1)
    assert len(rate_all(store, rater)) == 9


# ---------------------------------------------------------------- quotas


@pytest.mark.parametrize("rate", [rate_anew, rate_on])
def test_fifty_threads_on_ten_items_with_a_quota_of_five_never_overfill(store: Store, rate):
    study = make_study(store, design=Design(replications=5, repeat_share=0.0))
    raters = make_raters(store, study, 50)
    gate, failed = threading.Barrier(50), []

    def work(rater: tuple[int, int]) -> None:
        try:
            gate.wait(60)
            rate(store, rater)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(rater,)) for rater in raters]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    assert failed == []
    with store.read() as session:
        per_item = session.execute(select(Rating.item_id, func.count()).group_by(Rating.item_id)).all()
        twice = session.execute(
            select(Rating.item_id).group_by(Rating.item_id, Rating.enrolment_id).having(func.count() > 1)
        ).all()
    assert sorted(count for _, count in per_item) == [5] * 10
    assert twice == []


def test_what_is_held_counts_and_what_ran_out_is_offered_again(store: Store):
    study = make_study(store, kinds=["main"], design=Design(replications=1, repeat_share=0.0))
    first, second = make_raters(store, study, 2)
    (held,) = claim(store, first[1], now=NOON)
    assert claim(store, second[1], now=NOON + timedelta(minutes=14.9)) == []
    (offered,) = claim(store, second[1], now=NOON + timedelta(minutes=15))
    assert items_of(store, [held.token]) == items_of(store, [offered.token])
    assert refused(submit, store, first[0], held.token, "a", ANGER, now=NOON + timedelta(minutes=16)).reason == "late"
    submit(store, second[0], offered.token, "b", ANGER, now=NOON + timedelta(minutes=16))
    assert claim(store, first[1], now=NOON + timedelta(minutes=17)) == []


def test_clips_passed_while_they_were_full_come_at_the_end_when_they_are_not_any_more(store: Store):
    study = make_study(store, kinds=["main"] * 5, design=Design(replications=1, repeat_share=0.0))
    first, second = make_raters(store, study, 2)
    claim(store, first[1], now=NOON)
    later = NOON + timedelta(hours=1)
    held = claim(store, second[1], now=NOON)
    assert len(held) == 2
    for clip in held:
        submit(store, second[0], clip.token, clip.token, ANGER, now=NOON)
    assert len(claim(store, second[1], now=later)) == 3


def test_practice_and_gold_and_repeats_are_outside_the_quota(store: Store):
    kinds = ["main"] * 30 + ["gold"] * 2 + ["practice"]
    study = make_study(store, kinds=kinds, design=Design(replications=1, repeat_share=0.1, gold_every=10))
    first, second = make_raters(store, study, 2)
    one = rate_all(store, first)
    two = rate_all(store, second)
    assert len(one) == 33 + 3
    assert len(two) == 3
    with store.read() as session:
        kinds_of = dict(
            session.execute(select(Lease.token, Clip.kind).join(Item, Lease.item_id == Item.id).join(Clip)).tuples().all()
        )
        repeats = session.scalars(select(Lease).where(Lease.is_repeat)).all()
        at = {
            (lease.enrolment_id, lease.item_id): lease.order_index
            for lease in session.scalars(select(Lease))
            if not lease.is_repeat
        }
    assert [kinds_of[token] for token in one[:1]] == ["practice"]
    assert sorted(kinds_of[token] for token in two) == ["gold", "gold", "practice"]
    assert all(lease.order_index - at[lease.enrolment_id, lease.item_id] >= 10 for lease in repeats)


def test_gold_and_repeats_do_not_crowd_where_others_have_filled_the_clips_between(store: Store):
    kinds = ["main"] * 120 + ["gold"] * 8
    study = make_study(store, kinds=kinds, design=Design(replications=1, repeat_share=0.1, gold_every=10, blocks=1))
    first, second = make_raters(store, study, 2)
    with store.write() as session:  # three of four clips are full when the second comes
        mains = session.scalars(select(Item).join(Clip).where(Clip.kind == "main").order_by(Item.id)).all()
        for k, item in enumerate(mains):
            item.wanted = 1 if k % 4 else 2
    rate_all(store, first)
    tokens = rate_all(store, second)
    with store.read() as session:
        rows = session.execute(
            select(Lease.order_index, Lease.is_repeat, Lease.item_id, Clip.kind)
            .join(Item, Lease.item_id == Item.id)
            .join(Clip)
            .where(Lease.enrolment_id == second[1])
            .order_by(Lease.order_index)
        ).all()
    assert len(tokens) == len(rows)
    gold = [row.order_index for row in rows if row.kind == "gold"]
    assert len(gold) == 8
    inside = [b - a for a, b in pairwise(gold) if b < 30]  # the last ones come together at the end, for lack of clips
    assert all(gap >= 5 for gap in inside)
    first_at = {row.item_id: row.order_index for row in rows if not row.is_repeat}
    early = [row for row in rows if row.is_repeat and row.order_index - first_at[row.item_id] <= APART]
    assert all(row.order_index >= 30 for row in early)


# ---------------------------------------------------------------- holding, releasing, skipping


def test_renewing_holds_a_clip_longer_but_brings_none_back(store: Store):
    first, second = make_raters(store, make_study(store), 2)
    token = claim(store, first[1], now=NOON)[0].token
    assert renew(store, second[0], [token], now=NOON) == 0
    assert renew(store, first[0], [token], now=NOON + timedelta(minutes=14)) == 900
    submit(store, first[0], token, "a", ANGER, now=NOON + timedelta(minutes=28))
    assert renew(store, first[0], [token], now=NOON + timedelta(minutes=28)) == 0
    other = claim(store, first[1], now=NOON + timedelta(minutes=28))[0].token
    assert renew(store, first[0], [other], now=NOON + timedelta(hours=28)) == 0


def test_released_clips_are_free_at_once_and_come_back_first(store: Store):
    study = make_study(store, kinds=["main"] * 3, design=Design(replications=1, repeat_share=0.0))
    first, second = make_raters(store, study, 2)
    held = claim(store, first[1])
    assert claim(store, second[1]) == []
    release(store, first[0], study)
    again = claim(store, first[1])
    assert items_of(store, [clip.token for clip in again]) == items_of(store, [clip.token for clip in held])
    assert [clip.number for clip in again] == [1, 2, 3]
    assert refused(submit, store, first[0], held[0].token, "a", ANGER).reason == "late"
    release(store, first[0], study)
    assert len(claim(store, second[1])) == 3
    assert claim(store, first[1]) == []


def test_a_skipped_clip_comes_back_once_at_the_end(store: Store):
    study = make_study(store)
    (rater,) = make_raters(store, study, 1)
    shown = claim(store, rater[1])
    skip(store, rater[0], shown[0].token)
    skip(store, rater[0], shown[0].token)
    assert claim(store, rater[1])[0].token == shown[1].token
    tokens = rate_all(store, rater, most=9)
    (last,) = claim(store, rater[1])
    assert items_of(store, [last.token]) == items_of(store, [shown[0].token])
    with store.read() as session:
        assert progress(session, rater[1]).skipped == 1
    assert refused(skip, store, rater[0], tokens[0]).reason == "stale"
    assert refused(submit, store, rater[0], shown[0].token, "a", ANGER).reason == "stale"
    skip(store, rater[0], last.token)
    assert claim(store, rater[1]) == []


@pytest.mark.parametrize(("state", "says"), [("paused", "is paused by its lead"), ("closed", "is closed")])
def test_a_paused_or_closed_study_gives_out_nothing_but_takes_what_is_held(store: Store, state: str, says: str):
    study = make_study(store)
    (rater,) = make_raters(store, study, 1)
    token = claim(store, rater[1])[0].token
    with store.write() as session:
        session.get_one(Study, study).state = state
    with pytest.raises(StudyError, match=says) as found:
        claim(store, rater[1])
    assert is_one_sentence(str(found.value))
    saved = submit(store, rater[0], token, "a", ANGER)
    assert saved.clips is None
    assert submit(store, rater[0], token, "a", ANGER) == saved  # asked again, because the reply was lost
    with store.read() as session:
        assert session.scalars(select(Rating.lease_token)).all() == [token]
        assert session.scalar(select(func.count()).select_from(Lease)) == 3


# ---------------------------------------------------------------- the stopping rule


def test_the_interval_of_the_leader_narrows_with_agreement_and_with_more_ratings():
    widths = [queue.leader_width(counts) for counts in ([0, 0], [2, 1], [3, 0], [6, 0], [12, 0], [100, 0])]
    assert widths == sorted(widths, reverse=True)
    assert queue.leader_width([3, 1]) == pytest.approx(0.9715 - 0.2838, abs=1e-3)  # Beta(3.5, 1.5)
    assert queue.leader_width([5]) == 0  # of one label there is nothing to find out
    alike, apart = queue.leader_width([3, 0, 0, 0, 0, 0, 0]), queue.leader_width([1, 1, 1, 0, 0, 0, 0])
    assert alike < apart  # of seven labels too


def test_more_ratings_are_asked_for_only_where_raters_disagree_and_up_to_a_limit(store: Store):
    yes_no = Scheme("yes or no", (Label("yes", "yes", "да", "#167E54"), Label("no", "no", "нет", "#A23F02")))
    width = (queue.leader_width([3, 0]) + queue.leader_width([3, 2])) / 2
    design = Design(replications=3, stop_width=width, most_replications=5, repeat_share=0.0)
    study = make_study(store, kinds=["main"] * 2, design=design, scheme=yes_no)
    with store.read() as session:
        clear, unclear = session.scalars(select(Item.id).order_by(Item.id)).all()
    for k, rater in enumerate(make_raters(store, study, 7)):
        while shown := claim(store, rater[1]):
            (item,) = items_of(store, [shown[0].token])
            answer = Answer(label="yes" if item == clear or k % 2 else "no")
            submit(store, rater[0], shown[0].token, shown[0].token, answer)
    with store.read() as session:
        counts = dict(session.execute(select(Rating.item_id, func.count()).group_by(Rating.item_id)).tuples().all())
        wanted = dict(session.execute(select(Item.id, Item.wanted)).tuples().all())
    assert counts == wanted == {clear: 3, unclear: 5}


# ---------------------------------------------------------------- the plan


def test_new_clips_come_into_the_part_of_the_plan_not_yet_shown(store: Store):
    study = make_study(store, design=Design(replications=1, repeat_share=0.0))
    (rater,) = make_raters(store, study, 1)
    rate_all(store, rater, most=2)
    skip(store, rater[0], claim(store, rater[1])[0].token)  # so that the claim below has one to give out
    with store.write() as session:
        item = session.scalars(select(Item).where(~select(Lease).where(Lease.item_id == Item.id).exists())).first()
        assert item is not None
        session.execute(update(Clip).where(Clip.id == item.clip_id).values(priority=9.0))
        session.get_one(Study, study).order_version += 1
    held = claim(store, rater[1])
    assert len(held) == 3
    with store.read() as session:
        enrolment = session.get_one(Enrolment, rater[1])
        assert enrolment.order_version == 1
        assert len(enrolment.plan) == 10
    assert len({*items_of(store, rate_all(store, rater))}) == 8


def test_a_claim_looks_at_few_rows_of_thousands(store: Store):
    """The first claim makes the plan; the next ones read only what they give out."""
    study = make_study(store, kinds=["main"] * 3000, design=Design(repeat_share=0.05))
    (rater,) = make_raters(store, study, 1)
    rate_all(store, rater, most=2)
    skip(store, rater[0], claim(store, rater[1])[0].token)  # so that the claim below has one to give out
    statements: list[str] = []

    def count(_connection, cursor, statement, *_):
        statements.append(statement)

    event.listen(store.engine, "before_cursor_execute", count)
    shown = claim(store, rater[1])
    event.remove(store.engine, "before_cursor_execute", count)
    assert len(shown) == 3
    assert len(statements) < 20
    assert not any("FROM item" in s and "study_id" in s for s in statements)
