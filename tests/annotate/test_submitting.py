"""What becomes of an answer: saved once, refused and kept as a draft, corrected, or cut off; on SQLite and PostgreSQL."""

import signal
import subprocess
import sys
import threading
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import event, func, select

from annotate import queue
from annotate.answers import Answer
from annotate.past import history, progress
from annotate.queue import Refused, claim, correct, release, renew, save_draft, skip, submit
from annotate.schema import Account, Audit, Draft, Lease, Rating, Study
from annotate.store import Home, Store, StudyError
from annotate.verify import verify
from tests.annotate.rated import ANGER, FEAR, NOON, items_of, refused
from tests.annotate.small_study import make_raters, make_study

pytestmark = pytest.mark.usefixtures("in_order")


# ---------------------------------------------------------------- what is refused is kept


def test_a_late_answer_even_if_only_just_is_kept_and_comes_back_with_its_clip(store: Store):
    (rater,) = make_raters(store, make_study(store), 1)
    shown = claim(store, rater[1], now=NOON)
    end = shown[0].expires_at
    assert end == NOON + timedelta(minutes=15)
    late = refused(submit, store, rater[0], shown[0].token, "a", ANGER, now=end)
    assert (late.reason, late.kept) == ("late", True)
    again = claim(store, rater[1], now=end)
    assert items_of(store, [clip.token for clip in again]) == items_of(store, [clip.token for clip in shown])
    assert again[0].token != shown[0].token
    assert [clip.number for clip in again] == [1, 2, 3]
    assert again[0].draft is not None
    assert Answer.from_json(again[0].draft) == ANGER
    assert again[1].draft is None
    submit(store, rater[0], again[0].token, "b", Answer.from_json(again[0].draft), now=end)
    with store.read() as session:
        assert session.scalars(select(Draft)).all() == []


def test_just_in_time_is_in_time(store: Store):
    (rater,) = make_raters(store, make_study(store), 1)
    shown = claim(store, rater[1], now=NOON)
    saved = submit(store, rater[0], shown[0].token, "a", ANGER, now=shown[0].expires_at - timedelta(microseconds=1))
    with store.read() as session:
        assert session.get_one(Rating, saved.rating_id).label == "anger"
        assert session.scalars(select(Draft)).all() == []


def test_the_second_answer_of_two_tabs_is_refused_as_stale_and_kept(store: Store):
    (rater,) = make_raters(store, make_study(store), 1)
    token = claim(store, rater[1])[0].token
    rating = submit(store, rater[0], token, "tab-1", ANGER).rating_id
    second = refused(submit, store, rater[0], token, "tab-2", FEAR)
    assert (second.reason, second.kept) == ("stale", True)
    with store.read() as session:
        assert session.scalars(select(Rating.id)).all() == [rating]
        draft = session.scalars(select(Draft)).one()
        assert (draft.reason, draft.answer["label"]) == ("stale", "fear")


def test_the_same_key_again_is_harmless_and_another_answer_under_it_is_not_lost(store: Store):
    (rater,) = make_raters(store, make_study(store), 1)
    shown = claim(store, rater[1])
    rating = submit(store, rater[0], shown[0].token, "a", ANGER).rating_id
    assert submit(store, rater[0], shown[0].token, "a", ANGER).rating_id == rating
    assert refused(submit, store, rater[0], shown[0].token, "a", FEAR).reason == "stale"
    assert refused(submit, store, rater[0], shown[1].token, "a", ANGER).reason == "stale"
    assert submit(store, rater[0], shown[0].token, "a", ANGER, now=NOON + timedelta(days=9999)).rating_id == rating
    with store.read() as session:
        assert session.scalars(select(Rating.id)).all() == [rating]
        assert session.scalar(select(func.count()).select_from(Draft)) == 2


def test_many_equal_submits_at_once_are_one_rating(store: Store):
    (rater,) = make_raters(store, make_study(store), 1)
    token = claim(store, rater[1])[0].token
    gate, ids = threading.Barrier(20), []

    def work() -> None:
        gate.wait(60)
        ids.append(submit(store, rater[0], token, "the-one-key", ANGER).rating_id)

    threads = [threading.Thread(target=work) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(ids) == 20
    assert len(set(ids)) == 1
    with store.read() as session:
        assert session.scalar(select(func.count()).select_from(Rating)) == 1


def test_another_raters_token_is_refused_and_the_answer_kept_for_its_author(store: Store):
    study = make_study(store, kinds=["main"])
    first, second = make_raters(store, study, 2)
    token = claim(store, first[1])[0].token
    assert refused(submit, store, second[0], token, "a", FEAR).reason == "foreign"
    (own,) = claim(store, second[1])
    assert own.draft is not None
    assert own.draft["label"] == "fear"
    assert claim(store, first[1])[0].draft is None
    submit(store, first[0], token, "a", ANGER)  # the key was not used up


def test_an_account_that_never_opened_the_study_keeps_its_answer_too(store: Store):
    study = make_study(store, kinds=["main"])
    (first,) = make_raters(store, study, 1)
    with store.write() as session:
        stranger = Account(name="stranger", roles=["rater"], created_at=NOON)
        session.add(stranger)
    token = claim(store, first[1])[0].token
    assert refused(submit, store, stranger.id, token, "a", FEAR).reason == "foreign"
    with store.read() as session:
        assert session.scalars(select(Draft)).one().answer["label"] == "fear"


@pytest.mark.parametrize("token", ["", "no-such-token", "a\0b", "'; DROP TABLE rating; --", "я" * 70])
def test_an_unknown_token_is_refused(store: Store, token: str):
    (rater,) = make_raters(store, make_study(store), 1)
    unknown = refused(submit, store, rater[0], token, "a", ANGER)
    assert (unknown.reason, unknown.kept) == ("unknown", False)
    assert refused(skip, store, rater[0], token).reason == "unknown"
    assert renew(store, rater[0], [token]) == 0
    save_draft(store, rater[0], token, ANGER)


@pytest.mark.parametrize("key", ["", "a b", "a\0", "x" * 101, "ключ"])
def test_a_key_that_is_none_is_refused(store: Store, key: str):
    (rater,) = make_raters(store, make_study(store), 1)
    with pytest.raises(StudyError, match="The key of a submit"):
        submit(store, rater[0], claim(store, rater[1])[0].token, key, ANGER)


def test_an_answer_to_another_question_changes_nothing(store: Store):
    (rater,) = make_raters(store, make_study(store), 1)
    token = claim(store, rater[1])[0].token
    with pytest.raises(StudyError, match="'joy' is not a label"):
        submit(store, rater[0], token, "a", Answer(label="joy"))
    submit(store, rater[0], token, "a", ANGER)


# ---------------------------------------------------------------- drafts


def test_a_draft_comes_back_with_its_clip_and_only_to_its_rater(store: Store):
    first, second = make_raters(store, make_study(store, kinds=["main"]), 2)
    token = claim(store, first[1])[0].token
    assert save_draft(store, first[0], token, Answer(comment="кажется, <i>злится</i>"))
    assert save_draft(store, first[0], token, Answer(label="anger", comment="злится"))
    assert not save_draft(store, second[0], token, FEAR)
    (mine,) = claim(store, first[1])
    assert mine.draft is not None
    assert (mine.draft["label"], mine.draft["comment"]) == ("anger", "злится")
    assert claim(store, second[1])[0].draft is None
    submit(store, first[0], token, "a", ANGER)
    assert not save_draft(store, first[0], token, FEAR)  # a tab's, sent too late to matter
    with store.read() as session:
        assert session.scalars(select(Draft)).all() == []


# ---------------------------------------------------------------- the next clips with the answer


def test_an_answer_and_the_claim_after_it_are_one_write(store: Store):
    (rater,) = make_raters(store, make_study(store), 1)
    shown = claim(store, rater[1])
    commits: list[object] = []

    def count(connection):
        commits.append(connection)

    event.listen(store.engine, "commit", count)
    saved = submit(store, rater[0], shown[0].token, "a", ANGER)
    event.remove(store.engine, "commit", count)
    assert len(commits) == 1
    assert saved.enrolment_id == rater[1]
    assert saved.clips is not None
    assert [clip.number for clip in saved.clips] == [2, 3, 4]
    assert [clip.token for clip in claim(store, rater[1])] == [clip.token for clip in saved.clips]


def test_a_refused_answer_is_kept_and_claims_nothing(store: Store):
    study = make_study(store)
    first, second = make_raters(store, study, 2)
    token = claim(store, first[1])[0].token
    found = refused(submit, store, second[0], token, "a", ANGER)
    assert (found.reason, found.kept) == ("foreign", True)
    submit(store, first[0], token, "b", ANGER)
    release(store, first[0], study)  # so that there is something to claim
    assert refused(submit, store, first[0], token, "c", FEAR).reason == "stale"
    with store.read() as session:
        assert sorted(session.scalars(select(Draft.reason))) == ["foreign", "stale"]
        assert session.scalar(select(func.count()).select_from(Lease)) == 3 + 1  # one came with the answer


def test_the_answer_to_the_last_clip_brings_none(store: Store):
    (rater,) = make_raters(store, make_study(store, kinds=["main"]), 1)
    token = claim(store, rater[1])[0].token
    assert submit(store, rater[0], token, "a", ANGER).clips == []


def test_an_answer_is_saved_where_the_claim_after_it_fails(store: Store, monkeypatch: pytest.MonkeyPatch):
    (rater,) = make_raters(store, make_study(store), 1)
    shown = claim(store, rater[1])

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(queue, "_shown", fail)  # the clips are claimed by then
        saved = submit(store, rater[0], shown[0].token, "a", ANGER)
    assert (saved.enrolment_id, saved.clips) == (rater[1], None)
    with store.read() as session:
        assert session.scalars(select(Rating.id)).all() == [saved.rating_id]
        assert session.scalar(select(func.count()).select_from(Lease)) == 3
    assert [clip.number for clip in claim(store, rater[1])] == [2, 3, 4]
    assert verify(store).problems == []


# ---------------------------------------------------------------- corrections


def test_a_correction_supersedes_and_only_the_newest_version_can_be_edited(store: Store):
    first, second = make_raters(store, make_study(store), 2)
    old = submit(store, first[0], claim(store, first[1])[0].token, "a", ANGER).rating_id
    new = correct(store, first[0], old, "b", FEAR)
    assert correct(store, first[0], old, "b", FEAR) == new
    assert refused(correct, store, first[0], old, "c", ANGER).reason == "stale"
    assert refused(correct, store, first[0], new, "a", ANGER).reason == "stale"  # the key of another submit
    assert refused(correct, store, second[0], new, "d", ANGER).reason == "foreign"
    assert refused(correct, store, first[0], 999, "d", ANGER).reason == "foreign"
    newest = correct(store, first[0], new, "d", Answer(cannot_tell=True, flag="noise"))
    with store.read() as session:
        assert session.scalars(select(Rating.supersedes).order_by(Rating.id)).all() == [None, old, new]
        (past,) = history(session, first[1])
        assert (past.rating_id, past.answer) == (newest, Answer(cannot_tell=True, flag="noise"))
        assert progress(session, first[1]).flagged == 1
        assert history(session, second[1]) == []


def test_two_corrections_at_once_are_one(store: Store):
    (rater,) = make_raters(store, make_study(store), 1)
    old = submit(store, rater[0], claim(store, rater[1])[0].token, "a", ANGER).rating_id
    gate, outcomes = threading.Barrier(8), []

    def work(k: int) -> None:
        gate.wait(60)
        try:
            correct(store, rater[0], old, f"key-{k}", FEAR)
            outcomes.append("saved")
        except Refused as refusal:
            outcomes.append(refusal.reason)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert Counter(outcomes) == {"saved": 1, "stale": 7}


def test_a_closed_studys_ratings_stay_as_they_are(store: Store):
    study = make_study(store)
    (rater,) = make_raters(store, study, 1)
    rating = submit(store, rater[0], claim(store, rater[1])[0].token, "a", ANGER).rating_id
    with store.write() as session:
        session.get_one(Study, study).state = "closed"
    with pytest.raises(StudyError, match="is closed, so its ratings can no longer be edited"):
        correct(store, rater[0], rating, "b", FEAR)


# ---------------------------------------------------------------- a kill


KILLED = """
import sys
from pathlib import Path
from annotate import queue
from annotate.answers import Answer
from annotate.scheme import Label, Scheme
from annotate.store import Home, Store

folder, url, account, token, moment = sys.argv[1:]
store = Store.open(Home(Path(folder), url or None))
def wait(*_, **__):
    print("in the middle", flush=True)
    sys.stdin.read()
setattr(queue, moment, wait)  # everything of the answer, or of the claim too, is written by then, but not committed
queue.submit(store, int(account), token, "the-key", Answer(label="anger"))
"""


@pytest.mark.parametrize("moment", ["record", "_claim", "_shown"])
def test_a_kill_in_the_middle_of_a_submit_leaves_nothing_and_no_lock(store: Store, home: Home, moment: str):
    (rater,) = make_raters(store, make_study(store), 1)
    token = claim(store, rater[1])[0].token
    arguments = [str(home.folder), home.url or "", str(rater[0]), token, moment]
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, *arguments], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "in the middle\n"
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    with store.read() as session:
        assert session.scalars(select(Rating)).all() == []
        assert session.scalars(select(Lease.state).where(Lease.token == token)).one() == "open"
        assert session.scalar(select(func.count()).select_from(Lease)) == 3
        assert session.scalar(select(func.count()).select_from(Audit).where(Audit.action == "rating submitted")) == 0
    submit(store, rater[0], token, "the-key", ANGER)
