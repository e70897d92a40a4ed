"""What was changed behind the program's back is found, and named by its row: on SQLite and PostgreSQL."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import delete, func, select, update

from annotate.answers import Answer
from annotate.design import Design
from annotate.queue import claim, correct, submit
from annotate.schema import Audit, AuditHead, Draft, Item, Lease, Rating
from annotate.store import Store, bulk_digest, record
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
