"""Whether the store is as its audit log says: the chain, every rating, what was settled, gold labels, the quotas, what
supersedes what.

A rating is told of by a row about it ("rating 12", detail {"digest": ...}) or, when imported, by one row about many (detail
{"ratings": [first, last], "digest": ...}); what an adjudicator settled by a row "settled" (detail {"adjudication": id,
"digest": ...}), the gold labels of new clips by one row (detail {"gold": {clip: digest}}). What a row "clip erased" lists is
gone rightfully.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from sqlalchemy import and_, exists, func, or_, select
from sqlalchemy.orm import Session, aliased

from .offers import TAKEN
from .schema import Adjudication, Audit, AuditHead, Clip, Item, Lease, Rating
from .store import START, Store, audit_digest, bulk_digest, gold_digests, rating_digest

AT_ONCE = 1000  # rows in memory
RATING, SETTLED, GOLD = "Rating", "Adjudication", "The gold label of clip"


@dataclass(frozen=True)
class Verdict:
    """How much was looked at, and what is wrong: a sentence each, naming the row."""

    rows: int  # of the audit log
    ratings: int
    problems: list[str]


Digests = dict[int, tuple[int, str]]  # id -> (row of the log, digest)


@dataclass
class _Told:
    """What the log tells of ratings, of what was settled, and of gold labels, as far as it is not erased."""

    rows: int = 0
    ratings: Digests = field(default_factory=dict)
    many: list[tuple[int, int, int, str]] = field(default_factory=list)  # (row, first rating, last, digest)
    erased: set[int] = field(default_factory=set)  # ratings, of which `many` may tell
    settled: Digests = field(default_factory=dict)
    gold: Digests = field(default_factory=dict)
    twice: list[str] = field(default_factory=list)  # what two rows tell of: its number was given again


def verify(store: Store) -> Verdict:
    """Reads everything once, at one moment: writes that go on meanwhile do not disturb it."""
    with store.read() as session:
        if store.engine.dialect.name == "postgresql":
            session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        told = _Told()
        problems = [*_chain(session, told)]
        ratings = session.scalar(select(func.count()).select_from(Rating)) or 0
        problems += [*told.twice, *_ratings(session, told), *_settled(session, told), *_gold(session, told)]
        problems += [*_quotas(session), *_leases(session), *_successors(session)]
    return Verdict(told.rows, ratings, problems)


def _chain(session: Session, told: _Told) -> Iterator[str]:
    number, digest = 0, START
    for row in session.scalars(select(Audit).order_by(Audit.number).execution_options(yield_per=AT_ONCE)):
        told.rows += 1
        if row.number != number + 1:
            missing = f"row {number + 1}" if row.number == number + 2 else f"rows {number + 1} to {row.number - 1}"
            yield f"The log lacks {missing}."
        elif row.previous != digest:
            yield f"Row {row.number} of the log does not follow row {number}: one of the two was changed."
        if audit_digest(row) != row.digest:
            yield f"Row {row.number} of the log ({row.action}, {row.subject}) was changed after it was written."
        number, digest = row.number, row.digest
        _hear(row, told)
    head = session.get(AuditHead, 1)
    if head is None or (head.number, head.digest) != (number, digest):
        end = "is missing" if head is None else f"is row {head.number}"
        yield f"The end of the log {end}, but the last row found is {number}: rows were added or taken away."


def _hear(row: Audit, told: _Told) -> None:
    ratings, digest = row.detail.get("ratings"), row.detail.get("digest")
    if row.action == "clip erased":
        told.erased.update(ratings or ())
        for number in ratings or ():
            told.ratings.pop(number, None)
        for number in row.detail.get("adjudications", ()):
            told.settled.pop(number, None)
        told.gold.pop(row.detail.get("clip", 0), None)
    elif digest and ratings:
        told.many.append((row.number, ratings[0], ratings[-1], digest))
    elif digest and row.subject.startswith("rating "):
        _note(told, told.ratings, RATING, int(row.subject.removeprefix("rating ")), row.number, digest)
    elif digest and "adjudication" in row.detail:
        _note(told, told.settled, SETTLED, row.detail["adjudication"], row.number, digest)
    for clip, digest_of_clip in (row.detail.get("gold") or {}).items():
        _note(told, told.gold, GOLD, int(clip), row.number, digest_of_clip)


def _note(told: _Told, what: Digests, name: str, number: int, row: int, digest: str) -> None:
    if number in what:
        rows = f"rows {what[number][0]} and {row} of the log"
        told.twice.append(f"{name} {number} is told of by the {rows}: the first is gone, and its number was given again.")
    what[number] = row, digest


def _held(name: str, done: str, found: Iterable[tuple[int, str]], told: Digests) -> Iterator[str]:
    """Whether all that is `found`, (id, digest), is as the log tells, and all that it tells of is found."""
    left = dict(told)
    for number, digest in found:
        row, expected = left.pop(number, (0, ""))
        if not row:
            yield f"{name} {number} stands in no row of the log: it was not written by this program."
        elif digest != expected:
            yield f"{name} {number} is not as row {row} of the log tells: it was changed after it was {done}."
    for number, (row, _) in left.items():
        yield f"{name} {number}, of which row {row} of the log tells, is gone, and no erasure names it."


def _settled(session: Session, told: _Told) -> Iterator[str]:
    rows = session.scalars(select(Adjudication).order_by(Adjudication.id).execution_options(yield_per=AT_ONCE))
    found = ((row.id, rating_digest(row)) for row in rows if row.label is not None or row.id in told.settled)
    yield from _held(SETTLED, "settled", found, told.settled)


def _gold(session: Session, told: _Told) -> Iterator[str]:
    clips = session.scalars(select(Clip).where(Clip.gold_label.is_not(None)).order_by(Clip.id))
    found = ((int(clip), digest) for clip, digest in gold_digests(clips).items())
    yield from _held(GOLD, "given", found, told.gold)


def _ratings(session: Session, told: _Told) -> Iterator[str]:
    rows = session.scalars(select(Rating).order_by(Rating.id).execution_options(yield_per=AT_ONCE))
    found = (
        (rating.id, rating_digest(rating))
        for rating in rows
        if rating.id in told.ratings or not any(first <= rating.id <= last for _, first, last, _ in told.many)
    )
    yield from _held(RATING, "submitted", found, told.ratings)
    for row, first, last, digest in told.many:
        untouched = told.erased.isdisjoint(range(first, last + 1))  # what is left after an erasure has no digest of its own
        if untouched and bulk_digest(session, first, last) != digest:
            yield f"The ratings {first} to {last}, imported by row {row} of the log, are not as they were imported."


def _quotas(session: Session) -> Iterator[str]:
    given = and_(Lease.item_id == Item.id, ~Lease.is_repeat, Lease.state.in_(TAKEN))
    filled = (
        select(Item.id, Item.wanted, func.count().label("filled"))
        .join(Clip, Item.clip_id == Clip.id)
        .join(Lease, given)
        .where(Clip.kind == "main")
        .group_by(Item.id, Item.wanted)
        .having(func.count() > Item.wanted)
    )
    for item_id, wanted, count in session.execute(filled.order_by(Item.id)):
        yield f"Item {item_id} was given out {count} times, and {wanted} ratings of it are wanted."


def _leases(session: Session) -> Iterator[str]:
    """Each answered lease has one first rating, and each such rating an answered lease."""
    first = and_(Rating.lease_token == Lease.token, Rating.supersedes.is_(None))
    counted = select(Lease.item_id, Lease.enrolment_id, Lease.state, func.count(Rating.id)).outerjoin(Rating, first)
    wrong = counted.group_by(Lease.token, Lease.item_id, Lease.enrolment_id, Lease.state).having(
        or_(
            func.count(Rating.id) > 1,
            and_(Lease.state == "answered", func.count(Rating.id) == 0),
            and_(Lease.state != "answered", func.count(Rating.id) > 0),
        )
    )
    for item_id, enrolment_id, state, count in session.execute(wrong):
        has = "no rating" if count == 0 else "one rating" if count == 1 else f"{count} ratings"
        yield f"Item {item_id}, given to enrolment {enrolment_id} and now {state}, has {has} from that."


def _successors(session: Session) -> Iterator[str]:
    old = aliased(Rating)
    same = and_(old.item_id == Rating.item_id, old.enrolment_id == Rating.enrolment_id, old.id < Rating.id)
    wrong = select(Rating.id, Rating.supersedes).where(
        Rating.supersedes.is_not(None), ~exists().where(old.id == Rating.supersedes, same)
    )
    for rating_id, supersedes in session.execute(wrong.order_by(Rating.id)):
        yield f"Rating {rating_id} supersedes {supersedes}, which is not an older one of the same rater and item."
    twice = select(Rating.supersedes).where(Rating.supersedes.is_not(None)).group_by(Rating.supersedes)
    for supersedes in session.scalars(twice.having(func.count() > 1)):
        yield f"Rating {supersedes} is superseded by more than one."
