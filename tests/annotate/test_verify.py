"""What was changed behind the program's back is found, and named by its row: on SQLite and PostgreSQL."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import delete, func, select, update

from annotate.answers import Answer
from annotate.design import Design
from annotate.queue import claim, correct, submit
from annotate.schema import Adjudication, Audit, AuditHead, Clip, Draft, Item, Lease, Rating
from annotate.store import Store, bulk_digest, rating_digest, record
from annotate.verify import verify
from tests.annotate.small_study import make_raters, make_study


@pytest.fixture
def rated(store: Store) -> Store:
    """Two raters' answers to five clips each, one of them corrected twice."""
    study = make_study(store, ["main"] * 5, Design(replications=2, repeat_share=0.0))
    for account, enrolment in make_raters(store, study, 2):
        while shown := claim(store, enrolment):
            answer = Answer(label="anger", comment="злится")
            rating = submit(store, account, shown[0].token, shown[0].token, answer).rating_id
    for k in range(2):
        rating = correct(store, account, rating, f"correction-{k}", Answer(soft=None, label="fear", valence=2 + k))
    assert verify(store).problems == []
    return store


def problems_after(store: Store, *statements) -> list[str]:
    with store.engine.begin() as connection:
        for statement in statements:
            connection.execute(statement)
    return verify(store).problems


def test_an_untouched_store_has_nothing_wrong_with_it(rated: Store):
    verdict = verify(rated)
    assert (verdict.ratings, verdict.problems) == (12, [])
    with rated.read() as session:
        assert verdict.rows == session.scalar(select(func.count()).select_from(Audit)) == 2 + 10 + 2


def test_an_empty_store_has_nothing_wrong_with_it(store: Store):
    assert verify(store).problems == []


@pytest.mark.parametrize(
    "change", [{"label": "fear"}, {"comment": None}, {"intensity": 1}, {"submitted_at": datetime(2026, 1, 1, tzinfo=UTC)}]
)
def test_a_changed_rating_is_named(rated: Store, change: dict):
    assert problems_after(rated, update(Rating).where(Rating.id == 4).values(**change)) == [
        "Rating 4 is not as row 6 of the log tells: it was changed after it was submitted."
    ]


def test_a_rating_that_was_taken_away_is_named(rated: Store):
    found = problems_after(rated, delete(Rating).where(Rating.id == 4))
    assert found[0] == "Rating 4, of which row 6 of the log tells, is gone, and no erasure names it."
    assert len(found) == 2
    assert "now answered, has no rating from that" in found[1]


def test_a_rating_that_was_slipped_in_is_named(rated: Store):
    with rated.read() as session:
        rating = session.get_one(Rating, 4)
        values = {c.key: getattr(rating, c.key) for c in Rating.__table__.columns}
    found = problems_after(rated, Rating.__table__.insert().values(**{**values, "id": 99, "idempotency_key": "x"}))
    assert found[0] == "Rating 99 stands in no row of the log: it was not written by this program."
    assert "has 2 ratings from that" in found[1]


def test_an_erasure_makes_missing_ratings_rightful(rated: Store):
    with rated.write() as session:
        item = session.get_one(Rating, 4).item_id
        ids = session.scalars(select(Rating.id).where(Rating.item_id == item).order_by(Rating.id.desc())).all()
        for rating_id in ids:
            session.execute(delete(Rating).where(Rating.id == rating_id))
        session.execute(delete(Draft).where(Draft.item_id == item))
        session.execute(delete(Lease).where(Lease.item_id == item))
        session.execute(delete(Item).where(Item.id == item))
        record(session, None, "clip erased", "clip 1", ratings=list(ids))
    assert verify(rated).problems == []


@pytest.mark.parametrize("change", [{"action": "looked at"}, {"detail": {}}, {"account_id": 7}, {"subject": "rating 2"}])
def test_a_changed_row_of_the_log_is_named(rated: Store, change: dict):
    found = problems_after(rated, update(Audit).where(Audit.number == 6).values(**change))
    assert "Row 6 of the log" in found[0]
    assert "was changed after it was written" in found[0]


def test_a_row_that_was_changed_together_with_its_digest_breaks_the_chain(rated: Store):
    found = problems_after(rated, update(Audit).where(Audit.number == 6).values(digest="f" * 64))
    assert "Row 7 of the log does not follow row 6: one of the two was changed." in found


def test_missing_rows_of_the_log_are_named(rated: Store):
    found = problems_after(rated, delete(Audit).where(Audit.number.in_([3, 6, 7])))
    assert found[:2] == ["The log lacks row 3.", "The log lacks rows 6 to 7."]


def test_a_log_cut_off_at_its_end_is_seen(rated: Store):
    found = problems_after(rated, delete(Audit).where(Audit.number == 14))
    assert found[0] == "The end of the log is row 14, but the last row found is 13: rows were added or taken away."
    assert problems_after(rated, delete(AuditHead))[0].startswith("The end of the log is missing")


def test_an_item_given_out_too_often_is_named(rated: Store):
    assert problems_after(rated, update(Item).where(Item.id == 2).values(wanted=1)) == [
        "Item 2 was given out 2 times, and 1 ratings of it are wanted."
    ]


def test_a_rating_of_a_lease_that_was_not_answered_is_named(rated: Store):
    with rated.read() as session:
        token = session.get_one(Rating, 4).lease_token
    found = problems_after(rated, update(Lease).where(Lease.token == token).values(state="skipped"))
    assert len(found) == 1
    assert "now skipped, has one rating from that" in found[0]


def test_a_successor_of_another_raters_rating_is_named(rated: Store):
    found = problems_after(rated, update(Rating).where(Rating.id == 12).values(supersedes=1))
    assert "Rating 12 supersedes 1, which is not an older one of the same rater and item." in found


def test_ratings_imported_in_bulk_are_held_to_their_one_digest(rated: Store):
    with rated.write() as session:
        rows = [
            Rating(item_id=1, idempotency_key=f"import-{k}", label="anger", submitted_at=datetime.now(UTC)) for k in range(3)
        ]
        session.add_all(rows)
        session.flush()
        first, last = rows[0].id, rows[-1].id
        record(session, None, "ratings imported", "study 1", ratings=[first, last], digest=bulk_digest(session, first, last))
    assert verify(rated).problems == []
    assert problems_after(rated, update(Rating).where(Rating.id == last).values(label="fear")) == [
        f"The ratings {first} to {last}, imported by row 15 of the log, are not as they were imported."
    ]


@pytest.fixture
def settled(store: Store) -> Store:
    """A study with a gold clip, and an item that was settled twice."""
    study = make_study(store, ["main", "gold", "gold"], Design(repeat_share=0.0))
    ((account, _),) = make_raters(store, study, 1)
    with store.write() as session:
        for label, before in (("anger", None), ("fear", 1)):
            row = Adjudication(item_id=1, account_id=account, settled_at=datetime.now(UTC), label=label, supersedes=before)
            session.add(row)
            session.flush()
            record(session, account, "settled", "item 1", adjudication=row.id, digest=rating_digest(row))
        waits = Adjudication(item_id=2, account_id=account, settled_at=datetime.now(UTC))
        session.add(waits)
    assert verify(store).problems == []
    return store


def test_what_was_settled_and_then_changed_is_named(settled: Store):
    assert problems_after(settled, update(Adjudication).where(Adjudication.id == 2).values(label="anger")) == [
        "Adjudication 2 is not as row 4 of the log tells: it was changed after it was settled."
    ]
    assert problems_after(settled, update(Adjudication).where(Adjudication.id == 2).values(label=None))
    assert problems_after(settled, delete(Adjudication).where(Adjudication.id == 2)) == [
        "Adjudication 2, of which row 4 of the log tells, is gone, and no erasure names it."
    ]


def test_what_nobody_settled_is_named(settled: Store):
    assert problems_after(settled, update(Adjudication).where(Adjudication.id == 3).values(label="anger")) == [
        "Adjudication 3 stands in no row of the log: it was not written by this program."
    ]


def test_a_number_that_was_given_again_is_named(settled: Store):
    with settled.write() as session:
        row = session.get_one(Adjudication, 2)
        row.label = "disgust"
        session.flush()
        record(session, None, "settled", "item 1", adjudication=row.id, digest=rating_digest(row))
    assert verify(settled).problems == [
        "Adjudication 2 is told of by the rows 4 and 5 of the log: the first is gone, and its number was given again."
    ]


@pytest.mark.parametrize(
    ("clip", "label", "said"),
    [
        (2, "fear", "2 is not as row 1 of the log tells: it was changed after it was given."),
        (2, None, "2, of which row 1 of the log tells, is gone, and no erasure names it."),
        (1, "fear", "1 stands in no row of the log: it was not written by this program."),
    ],
)
def test_a_changed_gold_label_is_named(settled: Store, clip: int, label: str | None, said: str):
    found = problems_after(settled, update(Clip).where(Clip.id == clip).values(gold_label=label))
    assert found == [f"The gold label of clip {said}"]


def test_an_erased_rating_does_not_excuse_a_later_one_of_its_number(rated: Store):
    with rated.write() as session:
        record(session, None, "clip erased", "clip 1", clip=1, ratings=[12])
        record(session, None, "rating submitted", "rating 12", digest="d")
    found = problems_after(rated, delete(Rating).where(Rating.id == 12))
    assert found == ["Rating 12, of which row 16 of the log tells, is gone, and no erasure names it."]
