"""Which clips come next for a rater: what was given back, then the rater's plan, then what is left over at its end.

All of it inside a write, which holds the store's one lock, so that what is counted here still holds when it is leased.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import ColumnElement, Date, Integer, Select, and_, bindparam, exists, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from . import plan
from .assignment import may_rate
from .design import Design
from .schema import Clip, Enrolment, Item, Lease, Rendition, Study

AHEAD = 3  # clips that a rater holds at once
LOOK = 16  # entries of a plan that are looked up at once; more when they turn out to be full
TAKEN = ("open", "answered")
RATER = bindparam("enrolment_id", type_=Integer())  # of the statements below, which are put together once
_PLAYABLE = and_(Rendition.clip_id == Clip.id, Rendition.modality == Item.modality)  # imported votes have no media


def kept(today: Any) -> ColumnElement[bool]:
    """Whether the Clip of a query may be kept today, a date in UTC or a parameter: through the whole of its last day."""
    return or_(Clip.retain_until.is_(None), Clip.retain_until >= today)


def day(now: datetime) -> date:
    return now.astimezone(UTC).date()


def offers(
    session: Session, study: Study, design: Design, enrolment: Enrolment, now: datetime, count: int
) -> list[tuple[int, bool, int]]:
    """Up to `count` (item_id, is_repeat, order_index): what the rater gave back, then the plan, then what is left over."""
    if count <= 0:
        return []
    offers = _returned(session, enrolment.id, now)[:count]
    next_index = _next_index(session, enrolment.id)
    if len(offers) < count:
        for item_id, is_repeat in _walk(session, study, design, enrolment, next_index, now, count - len(offers)):
            offers.append((item_id, is_repeat, next_index))
            next_index += 1
    if len(offers) < count:
        taken = {(item_id, is_repeat) for item_id, is_repeat, _ in offers}
        left = [entry for entry in _left_over(session, enrolment, now) if entry not in taken]
        offers += [(*entry, next_index + k) for k, entry in enumerate(left[: count - len(offers)])]
    return offers


def _returned(session: Session, enrolment_id: int, now: datetime) -> list[tuple[int, bool, int]]:
    """Clips whose time ran out for this rater, or that were given back, where still wanted. They keep their number."""
    rows = session.scalars(_RETURNED, {"enrolment_id": enrolment_id})
    back = {(lease.item_id, lease.is_repeat): lease.order_index for lease in rows}
    items = _look(session, enrolment_id, [item_id for item_id, _ in back], now)
    return [(*entry, index) for entry, index in back.items() if entry[0] in items and (entry[1] or items[entry[0]].wanted)]


def _left_over(session: Session, enrolment: Enrolment, now: datetime) -> list[plan.Entry]:
    """At the end of a plan: what was skipped once, and clips that were full when they were passed and are not any more."""
    skips = session.execute(
        select(Lease.item_id, Lease.is_repeat)
        .where(*held_as(enrolment.id, "skipped"), ~again(*TAKEN))
        .group_by(Lease.item_id, Lease.is_repeat)
        .having(func.count() == 1)
        .order_by(func.max(Lease.order_index))
    ).all()
    items = _look(session, enrolment.id, [item_id for item_id, _ in skips], now)
    back = [(i, is_repeat) for i, is_repeat in skips if i in items and (is_repeat or items[i].wanted)]
    mine = exists().where(Lease.item_id == Item.id, Lease.enrolment_id == enrolment.id, ~Lease.is_repeat)
    given = and_(Lease.item_id == Item.id, ~Lease.is_repeat, _in_quota(now))
    filled = select(func.count()).select_from(Lease).where(given).scalar_subquery()
    candidates = session.scalars(
        select(Item.id)
        .join(Clip)
        .join(Rendition, _PLAYABLE)
        .where(Item.study_id == enrolment.study_id, Clip.kind == "main", ~mine, filled < Item.wanted, kept(day(now)))
        .order_by(Item.id)
        .limit(AHEAD)
    )
    open_again = _look(session, enrolment.id, list(candidates), now)  # ends what has run out there
    return back + [(item_id, False) for item_id in sorted(open_again)]


# ---------------------------------------------------------------- walking the plan


@dataclass(frozen=True)
class _Standing:
    """How an item stands for one rater now."""

    kind: str
    modality: str
    wanted: bool  # one rating more; always, where the quota does not count
    met: frozenset[bool]  # is_repeat of the leases that this rater has or had
    rated_at: int | None  # order_index of this rater's own answer
    held: bool


def _walk(
    session: Session, study: Study, design: Design, enrolment: Enrolment, next_index: int, now: datetime, count: int
) -> list[plan.Entry]:
    """The next entries of the plan that are wanted. Gold and repeats that would come too early wait, in front of the rest.

    They come early where the clips before them were full; a pass is never left before its own have come.
    """
    order = _order(session, study, design, enrolment)
    place, found, waiting = enrolment.place, list[plan.Entry](), list[plan.Entry]()
    items: dict[int, _Standing] = {}
    seen, look, last_gold = place, LOOK, None
    while len(found) < count and (place < len(order) or waiting):
        if seen <= place < len(order):
            items |= _look(session, enrolment.id, [abs(number) for number in order[place : place + look]], now)
            seen, look = place + look, min(2 * look, 512)
        entry = plan.unpacked(order[place : place + 1])[0] if place < len(order) else None
        here = items.get(entry[0]) if entry else None
        ends = entry is None or (here is not None and waiting and items[waiting[0][0]].modality != here.modality)
        if ends and waiting:
            found.append(waiting.pop(0))
            continue
        assert entry is not None
        place += 1
        held = here is not None and (here.held or (entry[0], False) in found)
        if here is None or not _comes(entry, here, held):
            continue
        index, is_gold = next_index + len(found), here.kind == "gold"
        if is_gold and last_gold is None:
            last_gold = _last_gold(session, enrolment.id, -design.gold_every)
        if (entry[1] and (held or index - (here.rated_at or 0) <= plan.APART)) or (
            is_gold and last_gold is not None and index - last_gold < design.gold_every // 2
        ):
            waiting.append(entry)
        else:
            found.append(entry)
            last_gold = index if is_gold else last_gold
    if waiting:
        still = plan.packed(waiting)
        met = [number for number in order[:place] if number not in still]
        enrolment.plan, place = [*met, *still, *order[place:]], len(met)
    enrolment.place = place
    return found


def _comes(entry: plan.Entry, here: _Standing, held: bool) -> bool:
    """Whether this entry is for this rater at all: a repeat only of what the rater has answered or is about to."""
    if entry[1] in here.met:
        return False
    return (held or here.rated_at is not None) if entry[1] else here.wanted


def _order(session: Session, study: Study, design: Design, enrolment: Enrolment) -> list[int]:
    """The rater's plan, as it is kept; made, or its part not yet met made anew, where clips or priorities have changed."""
    if enrolment.order_version == study.order_version:
        return enrolment.plan
    rows = session.execute(
        select(Item.id, Item.modality, Clip.kind, Clip.block, Clip.priority)
        .join(Clip, Item.clip_id == Clip.id)
        .join(Rendition, _PLAYABLE)
        .where(Item.study_id == study.id)
    )
    items = [plan.Planned(*row) for row in rows]
    entries = plan.remade(design, enrolment.number, items, plan.unpacked(enrolment.plan), enrolment.place)
    enrolment.plan, enrolment.order_version = plan.packed(entries), study.order_version
    return enrolment.plan


def _look(session: Session, enrolment_id: int, item_ids: list[int], now: datetime) -> dict[int, _Standing]:
    """How those of these items stand whose clips may still be kept; the leases on them whose time has run out are ended
    first."""
    if not item_ids:
        return {}
    leases = session.execute(_LEASES_ON, {"item_ids": item_ids, "enrolment_id": enrolment_id, "now": now}).all()
    expire(session, [lease.token for lease in leases if lease.overdue])
    filled = dict.fromkeys(item_ids, 0)
    mine: dict[int, list[Any]] = {item_id: [] for item_id in item_ids}
    for lease in leases:
        filled[lease.item_id] += not lease.is_repeat and lease.state in TAKEN and not lease.overdue
        if lease.enrolment_id == enrolment_id:
            mine[lease.item_id].append(lease)
    return {
        row.id: _Standing(
            kind=row.kind,
            modality=row.modality,
            wanted=row.kind != "main" or filled[row.id] < row.wanted,
            met=frozenset(lease.is_repeat for lease in mine[row.id]),
            rated_at=next((m.order_index for m in mine[row.id] if m.state == "answered" and not m.is_repeat), None),
            held=any(m.state == "open" and not m.overdue and not m.is_repeat for m in mine[row.id]),
        )
        for row in session.execute(_ITEMS, {"item_ids": item_ids, "today": day(now)})
    }


def _last_gold(session: Session, enrolment_id: int, otherwise: int) -> int:
    last = select(func.max(Lease.order_index)).join(Item, Lease.item_id == Item.id).join(Clip, Item.clip_id == Clip.id)
    found = session.scalar(last.where(Lease.enrolment_id == enrolment_id, Clip.kind == "gold"))
    return otherwise if found is None else found


def _next_index(session: Session, enrolment_id: int) -> int:
    last = session.scalar(select(func.max(Lease.order_index)).where(Lease.enrolment_id == enrolment_id))
    return 0 if last is None else last + 1


def still_to_rate(session: Session, study: Study, account_id: int, now: datetime) -> set[int]:
    """Items that this account may yet be given, for the first time or again: it is not to know what others say of them."""
    if session.scalar(select(Study.id).where(Study.id == study.id, Study.state != "closed", may_rate(account_id))) is None:
        return set()
    place = Enrolment.study_id == study.id, Enrolment.account_id == account_id
    entries = plan.unpacked(session.scalar(select(Enrolment.plan).where(*place)) or [])
    answered = select(Lease.item_id, Lease.is_repeat).join(Enrolment).where(*place, Lease.state == "answered")
    done = set(session.execute(answered).tuples())
    coming = {item_id for item_id, is_repeat in set(entries) - done if is_repeat and (item_id, False) in done}
    filled = select(func.count()).where(Lease.item_id == Item.id, Lease.state == "answered", ~Lease.is_repeat)
    wanted = or_(Clip.kind != "main", filled.scalar_subquery() < Item.wanted)
    items = select(Item.id, wanted).join(Clip).join(Rendition, _PLAYABLE)
    rows = session.execute(items.where(Item.study_id == study.id, kept(day(now)))).tuples()
    return {item_id for item_id, is_wanted in rows if item_id in coming or (is_wanted and (item_id, False) not in done)}


# ---------------------------------------------------------------- leases


def held_as(enrolment_id: int | ColumnElement[int], *states: str) -> tuple[ColumnElement[bool], ...]:
    return Lease.enrolment_id == enrolment_id, Lease.state.in_(states)


def leases_of(enrolment_id: int | ColumnElement[int], *states: str) -> Select[Lease]:
    return select(Lease).where(*held_as(enrolment_id, *states)).order_by(Lease.order_index)


def again(*states: str) -> ColumnElement[bool]:
    """Whether the rater of a lease has another one on the same entry in one of these states."""
    return exists().where(
        _OTHER.item_id == Lease.item_id,
        _OTHER.enrolment_id == Lease.enrolment_id,
        _OTHER.is_repeat == Lease.is_repeat,
        _OTHER.state.in_(states),
    )


def _in_quota(now: datetime) -> ColumnElement[bool]:
    return or_(Lease.state == "answered", and_(Lease.state == "open", Lease.expires_at > now))


def expire(session: Session, tokens: list[str]) -> None:
    if tokens:
        session.execute(update(Lease).where(Lease.token.in_(tokens)).values(state="expired"))


# ---------------------------------------------------------------- statements
# Put together once, because they run at every answer: that takes longer than the database needs for them.

_OTHER = aliased(Lease)
_RETURNED = leases_of(RATER, "expired", "released").where(~again("open", "answered", "skipped"))
_THESE = bindparam("item_ids", type_=Integer(), expanding=True)
_LEASES_ON = (
    select(Lease.token, Lease.item_id, Lease.enrolment_id, Lease.is_repeat, Lease.state, Lease.order_index)
    .add_columns(and_(Lease.state == "open", Lease.expires_at <= bindparam("now")).label("overdue"))
    .where(
        Lease.item_id.in_(_THESE),
        or_(Lease.enrolment_id == RATER, and_(~Lease.is_repeat, Lease.state.in_(TAKEN))),
    )
)
_ITEMS = (
    select(Item.id, Item.modality, Item.wanted, Clip.kind)
    .join(Clip, Item.clip_id == Clip.id)
    .where(Item.id.in_(_THESE), kept(bindparam("today", type_=Date())))
)
