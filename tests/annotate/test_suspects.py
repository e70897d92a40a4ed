"""Raters who deserve a look: each sign has its numbers, and careful raters have none."""

from datetime import timedelta

import pandas as pd
import pytest
from sqlalchemy import select

from annotate.schema import Rating
from annotate.store import Store
from annotate.suspects import Sign, signs, why_not
from annotate.votes import read_votes
from tests.annotate.voted import make_voted

RATERS = ("A", "B", "C")


@pytest.fixture
def votes(store: Store) -> pd.DataFrame:
    study_id = make_voted(store, 60, raters=RATERS, agreement=0.97, gold=10, repeats=8)
    with store.read() as session:
        return read_votes(session, study_id)


def of(votes: pd.DataFrame, kind: str) -> list[Sign]:
    return [sign for sign in signs(votes) if sign.kind == kind]


def test_careful_raters_have_no_sign(votes: pd.DataFrame):
    assert signs(votes) == []


def test_answers_sooner_than_the_clip_lasts(votes: pd.DataFrame):
    hasty = votes["rater"] == "B"
    start = votes.loc[hasty, "submitted_at"].min()
    votes.loc[hasty, "answered_at"] = [start + pd.Timedelta(seconds=0.9 * i) for i in range(hasty.sum())]
    (sign,) = of(votes, "too fast")
    assert sign.rater == "B"
    said = "67 of 67 answers came sooner after the one before than the clip lasts, "
    assert sign.sentence == f"{said}as they reached the server."
    votes["first_play_ended_at"] = votes["answered_at"]
    assert [s.sentence for s in of(votes, "too fast")] == [f"{said}both as they were played and as they reached the server."]


def test_what_a_browser_kept_without_a_network_comes_all_at_once_and_is_no_hurry(votes: pd.DataFrame):
    votes["first_play_ended_at"] = votes["answered_at"]
    votes["answered_at"] = votes["answered_at"].max()
    assert signs(votes) == []
    begun_before = votes.index[::4]  # a draft, taken up again much later
    votes["answered_at"] = votes["first_play_ended_at"]
    votes.loc[begun_before, "first_play_ended_at"] -= pd.Timedelta(days=1)
    assert signs(votes) == []


def test_who_corrects_some_answers_at_the_end_is_not_too_fast(store: Store):
    study_id = make_voted(store, 30, raters=("A",))
    with store.write() as session:
        answers = session.scalars(select(Rating).order_by(Rating.id)).all()
        last = answers[-1].submitted_at
        for k in range(12):
            old = answers[k % 6]
            new = Rating(item_id=old.item_id, enrolment_id=old.enrolment_id, label="sadness", reaction_ms=90)
            new.supersedes, new.idempotency_key = old.id, f"c{k}"
            new.submitted_at = last + timedelta(seconds=1 + k)
            session.add(new)
            session.flush()
            answers[k % 6] = new
    with store.read() as session:
        votes = read_votes(session, study_id)
    assert of(votes, "too fast") == []
    assert (len(votes), votes["reaction_ms"].min() >= 900) == (30, True)
    assert votes["answered_at"].max() == last < votes["submitted_at"].max()


def test_answers_sooner_than_a_hand_moves_and_sooner_than_the_others(votes: pd.DataFrame):
    votes.loc[votes["rater"] == "C", "reaction_ms"] = 120
    found = of(votes, "too fast")
    assert {sign.rater for sign in found} == {"C"}
    assert found[0].sentence == "68 of 68 answers came within 200 ms of the clip's end."
    assert "within 0.1 s of the clip's end; the others usually take" in found[1].sentence


def test_one_key(votes: pd.DataFrame):
    votes.loc[votes["rater"] == "A", "label"] = "neutral"
    (sign,) = of(votes, "one key")
    assert sign.sentence.startswith("68 of 68 answers are neutral; of the others' answers it is 1")


def test_gold_failed_and_own_answers_not_repeated(votes: pd.DataFrame):
    mine = votes["rater"] == "B"
    votes.loc[mine & (votes["kind"] == "gold"), "label"] = "surprise"
    votes.loc[mine & votes["is_repeat"].astype(bool), "label"] = "disgust"
    (failed,) = of(votes, "gold failed")
    assert failed.sentence == "1 of 10 gold clips have the known label; 70 % are wanted."
    (differs,) = of(votes, "differs from itself")
    assert differs.rater == "B"
    assert "of 8 clips shown twice got the same answer; 70 % are wanted." in differs.sentence


def test_gold_clips_that_are_flagged_or_cannot_be_told_are_neither_right_nor_wrong(votes: pd.DataFrame):
    of_gold = votes.index[(votes["rater"] == "A") & (votes["kind"] == "gold")]
    votes.loc[of_gold, "label"] = None
    assert of(votes, "gold failed") == []
    votes.loc[of_gold[:5], "label"] = "surprise"
    (failed,) = of(votes, "gold failed")
    assert failed.sentence == (
        "0 of 5 gold clips have the known label; 70 % are wanted. Answers without a label are left out: 5."
    )


def test_unknown_raters_have_no_signs_and_one_sentence(votes: pd.DataFrame):
    votes["rater"] = None
    assert signs(votes) == []
    assert why_not(votes) == "the raters are unknown: only counts of votes were imported"
