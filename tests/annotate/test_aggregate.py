"""One label a clip: ties stay ties, fractions are kept, reliable raters weigh more, unknown raters are named as such."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import select, update

from annotate.aggregate import aggregate, aggregated
from annotate.schema import Account, Adjudication, Item, Rating
from annotate.scheme import SCHEMES
from annotate.store import Store
from annotate.votes import read_items, read_votes
from tests.annotate.voted import make_voted

LABELS = SCHEMES["basic seven"].names


def test_a_tie_stays_a_tie_and_fractions_are_averaged(store: Store):
    study_id = make_voted(store, 3, raters=("A", "B"), agreement=1.0)
    with store.write() as session:
        first = session.scalars(select(Rating).order_by(Rating.item_id, Rating.id).limit(2)).all()
        first[0].label, first[0].soft = "fear", {"fear": 0.75, "anger": 0.25}
        first[1].label = "anger"
    row = aggregate(store, study_id).rows[0]
    assert row["majority"] == ["anger", "fear"]
    assert row["share"] == 0.5
    assert {k: v for k, v in row["soft"].items() if v} == {"anger": 0.625, "fear": 0.375}
    assert row["agreeing_pairs"] == 0


def answer(store: Store, study_id: int, *given: dict[str, object]) -> list[int]:
    """The study's answers replaced by these, in the order of clips and raters; the items."""
    with store.write() as session:
        old = session.scalars(select(Rating).order_by(Rating.item_id, Rating.id)).all()
        for rating, new in zip(old, given, strict=True):
            rating.label, rating.soft, rating.cannot_tell = None, None, False
            for name, value in new.items():
                setattr(rating, name, value)
        return sorted({rating.item_id for rating in old})


def test_an_answer_split_evenly_is_in_the_mean_soft_label_and_counts_for_no_label(store: Store):
    study_id = make_voted(store, 2, raters=("A", "B", "C"))
    split = {"soft": {"anger": 0.5, "fear": 0.5}}
    answer(store, study_id, split, split, {"label": "fear", "soft": {"fear": 1.0}}, split, split, split)
    found = aggregate(store, study_id)
    first, second = found.rows
    assert (first["answers"], first["majority"], first["share"]) == (3, ["fear"], pytest.approx(1 / 3))
    assert {k: v for k, v in first["soft"].items() if v} == {"anger": 0.333333, "fear": 0.666667}
    assert (second["answers"], second["majority"], second["share"]) == (3, [], 0)
    assert {k: v for k, v in second["soft"].items() if v} == {"anger": 0.5, "fear": 0.5}
    assert (second["dawid_skene"], second["mace"], second["agreeing_pairs"]) == (None, None, None)
    answer(store, study_id, *[split] * 6)
    assert [row["answers"] for row in aggregate(store, study_id).rows] == [3, 3]
    assert "every answer is split evenly" in aggregate(store, study_id).why["voice"]


def test_what_was_settled_is_there_also_where_nobody_could_tell_or_answer(store: Store):
    study_id = make_voted(store, 3, raters=("A", "B"))
    items = answer(store, study_id, *[{"cannot_tell": True}] * 6)
    with store.write() as session:
        session.execute(Rating.__table__.delete().where(Rating.item_id == items[1]))
        judge = Account(name="judge", roles=["adjudicator"], created_at=datetime.now(UTC))
        session.add(judge)
        session.flush()
        for item in items[:2]:
            session.add(Adjudication(item_id=item, account_id=judge.id, label="fear", settled_at=datetime.now(UTC)))
    found = aggregate(store, study_id)
    assert [(row["item_id"], row["adjudicated"]) for row in found.rows] == [(item, "fear") for item in items[:2]]
    assert [(row["answers"], row["majority"], row["soft"]) for row in found.rows] == [(0, [], {})] * 2
    assert found.why == {}


@pytest.mark.parametrize("given", [("anger", "fear"), ("fear", "anger")])
def test_a_perfect_tie_is_a_tie_for_every_method(store: Store, given: tuple[str, str]):
    study_id = make_voted(store, 2, raters=("A", "B"))
    answer(store, study_id, *[{"label": label} for label in given * 2])
    for row in aggregate(store, study_id).rows:
        assert row["majority"] == row["dawid_skene"] == row["mace"] == ["anger", "fear"]
        assert (row["dawid_skene_p"], row["mace_p"]) == (pytest.approx(0.5), pytest.approx(0.5))


def test_dawid_skene_and_mace_trust_the_raters_who_agree_with_the_rest(store: Store):
    study_id = make_voted(store, 80, raters=("A", "B", "C", "guesses"), agreement=0.9)
    with store.read() as session:
        votes, items = read_votes(session, study_id), read_items(session, study_id)
    guesses = votes["rater"] == "guesses"
    votes.loc[guesses, "label"] = [LABELS[(i * 5) % 7] for i in range(guesses.sum())]
    found = aggregated(votes, items, LABELS, {})
    assert found.why == {}
    reliable = {row["rater"]: row for row in found.raters}
    for method in ("dawid_skene", "mace"):
        assert min(reliable[r][method] for r in "ABC") > 0.7 > 0.4 > reliable["guesses"][method]
        truth = [LABELS[i % 7] for i in range(80)]
        assert sum(row[method] == [label] for row, label in zip(found.rows, truth, strict=True)) >= 76
        assert all(0 < row[f"{method}_p"] <= 1 + 1e-9 for row in found.rows)


def test_the_order_of_names_and_labels_changes_nothing(store: Store):
    """crowd-kit's MACE mixes up raters where their order of appearance is not the alphabet's."""
    study_id = make_voted(store, 40, raters=("Z", "A", "M"), agreement=0.6)
    with store.read() as session:
        votes, items = read_votes(session, study_id), read_items(session, study_id)
    turned = votes.assign(rater=votes["rater"].map({"Z": "A", "A": "M", "M": "Z"}))
    back = {"A": "Z", "M": "A", "Z": "M"}
    first = {row["rater"]: row["mace"] for row in aggregated(votes, items, LABELS, {}).raters}
    second = {back[row["rater"]]: row["mace"] for row in aggregated(turned, items, LABELS, {}).raters}
    assert first == pytest.approx(second, abs=0.05)


def test_unknown_raters_leave_majority_and_fractions_and_say_why_the_rest_is_missing(store: Store):
    study_id = make_voted(store, 10)
    with store.write() as session:
        session.execute(update(Rating).values(enrolment_id=None))
    found = aggregate(store, study_id)
    assert found.why["voice"].endswith("the raters are unknown: only counts of votes were imported")
    assert found.raters == []
    assert all(row["majority"] and row["dawid_skene"] is None and row["mace"] is None for row in found.rows)


def test_one_rater_cannot_be_weighed_against_others(store: Store):
    found = aggregate(store, make_voted(store, 10, raters=("A",)))
    assert "only one rater has answered" in found.why["voice"]


def test_only_the_latest_decision_of_an_adjudicator_counts(store: Store):
    study_id = make_voted(store, 4)
    with store.write() as session:
        judge = Account(name="judge", roles=["adjudicator"], created_at=datetime.now(UTC))
        session.add(judge)
        session.flush()
        items = session.scalars(select(Item.id).order_by(Item.id)).all()
        before = None
        for item, label in ((items[0], None), (items[0], "fear"), (items[0], "anger"), (items[1], None)):
            before = before if label else None
            row = Adjudication(
                item_id=item, account_id=judge.id, label=label, supersedes=before, settled_at=datetime.now(UTC)
            )
            session.add(row)
            session.flush()
            before = row.id
    assert [row["adjudicated"] for row in aggregate(store, study_id).rows] == ["anger", None, None, None]
