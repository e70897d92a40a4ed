"""One label a clip: ties stay ties, fractions are kept, reliable raters weigh more, unknown raters are named as such."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import select, update

from annotate.aggregate import aggregate, aggregated
from annotate.schema import Account, Adjudication, Item, Rating
from annotate.scheme import SCHEMES
from annotate.store import Store
from annotate.votes import read_votes
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


def test_dawid_skene_and_mace_trust_the_raters_who_agree_with_the_rest(store: Store):
    study_id = make_voted(store, 80, raters=("A", "B", "C", "guesses"), agreement=0.9)
    with store.read() as session:
        votes = read_votes(session, study_id)
    guesses = votes["rater"] == "guesses"
    votes.loc[guesses, "label"] = [LABELS[(i * 5) % 7] for i in range(guesses.sum())]
    found = aggregated(votes, LABELS, {})
    assert found.why == {}
    reliable = {row["rater"]: row for row in found.raters}
    for method in ("dawid_skene", "mace"):
        assert min(reliable[r][method] for r in "ABC") > 0.7 > 0.4 > reliable["guesses"][method]
        truth = [LABELS[i % 7] for i in range(80)]
        assert sum(row[method] == label for row, label in zip(found.rows, truth, strict=True)) >= 76
        assert all(0 < row[f"{method}_p"] <= 1 + 1e-9 for row in found.rows)


def test_the_order_of_names_and_labels_changes_nothing(store: Store):
    """crowd-kit's MACE mixes up raters where their order of appearance is not the alphabet's."""
    study_id = make_voted(store, 40, raters=("Z", "A", "M"), agreement=0.6)
    with store.read() as session:
        votes = read_votes(session, study_id)
    turned = votes.assign(rater=votes["rater"].map({"Z": "A", "A": "M", "M": "Z"}))
    back = {"A": "Z", "M": "A", "Z": "M"}
    first = {row["rater"]: row["mace"] for row in aggregated(votes, LABELS, {}).raters}
    second = {back[row["rater"]]: row["mace"] for row in aggregated(turned, LABELS, {}).raters}
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
