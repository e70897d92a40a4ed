"""The audit log in words: who did what, and when. It is written by store.record(), and never changed.

A row says numbers; names are looked up in what there is now, so that nothing of what was erased comes back here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, Text, cast, literal, or_, select
from sqlalchemy.orm import Session

from .schema import Account, Audit, Clip, Enrolment, Item, Rating, Snapshot

NOBODY = 0  # stands for rows without an account: the command line, and what the program does by itself


@dataclass(frozen=True)
class Event:
    """A row of the log. `who` is None where nobody was signed in; `about` and `detail` are words."""

    number: int
    at: datetime
    who: str | None
    what: str
    about: str
    detail: str


@dataclass(frozen=True)
class Wanted:
    """Which rows: of a study (None: of all, and what belongs to none), by an account, of a kind, older than a number."""

    study_id: int | None = None
    account_id: int | None = None
    kind: str | None = None
    before: int | None = None

    def of(self, query: Select[Any]) -> Select[Any]:
        if self.study_id is not None:
            query = query.where(_of_study(self.study_id))
        if self.account_id is not None:
            query = query.where(Audit.account_id == self.account_id if self.account_id else Audit.account_id.is_(None))
        if self.kind is not None:
            query = query.where(Audit.action == self.kind)
        return query if self.before is None else query.where(Audit.number < self.before)


def events(session: Session, wanted: Wanted, limit: int | None = None) -> list[Event]:
    """Newest first."""
    rows = list(session.scalars(wanted.of(select(Audit)).order_by(Audit.number.desc()).limit(limit)))
    people = dict(session.execute(select(Account.id, Account.name)).tuples().all())
    things = _things(session, rows)
    return [
        Event(
            number=row.number,
            at=row.at,
            who=None if row.account_id is None else people.get(row.account_id, f"account {row.account_id}"),
            what=row.action,
            about=_about(row.subject, people, things),
            detail="; ".join(_words(row.detail, people)),
        )
        for row in rows
    ]


def kinds(session: Session, study_id: int | None) -> list[str]:
    """The kinds of rows that there are."""
    return sorted(session.scalars(Wanted(study_id).of(select(Audit.action).distinct())))


def people(session: Session, study_id: int | None) -> list[tuple[int, str]]:
    """(account, name) of who stands in these rows, by name."""
    found = Wanted(study_id).of(select(Audit.account_id).distinct())
    query = select(Account.id, Account.name).where(Account.id.in_(found)).order_by(Account.name)
    return list(session.execute(query).tuples())


# ---------------------------------------------------------------- what belongs to a study


def _of_study(study_id: int) -> ColumnElement[bool]:
    """An erasure is not among them, unless its detail names the study: what it was done to is gone."""
    own: dict[str, Select[Any]] = {
        "item": select(Item.id).where(Item.study_id == study_id),
        "rating": select(Rating.id).join(Item).where(Item.study_id == study_id),
        "enrolment": select(Enrolment.id).where(Enrolment.study_id == study_id),
        "snapshot": select(Snapshot.id).where(Snapshot.study_id == study_id),
    }
    return or_(
        Audit.subject == f"study {study_id}",
        Audit.detail["study"].as_integer() == study_id,
        *(Audit.subject.in_(_subjects(kind, query)) for kind, query in own.items()),
    )


def _subjects(kind: str, query: Select[Any]) -> Select[Any]:
    ids = query.subquery()
    return select(literal(f"{kind} ", Text()) + cast(ids.c.id, Text))


# ---------------------------------------------------------------- words


def _things(session: Session, rows: Sequence[Audit]) -> dict[str, str]:
    """Subject -> the clip and pass, or the name, of what still exists."""
    ids: dict[str, list[int]] = {}
    for row in rows:
        kind, _, number = row.subject.partition(" ")
        if number.isdecimal():
            ids.setdefault(kind, []).append(int(number))
    clips = select(Clip.name, Item.modality).select_from(Item).join(Clip, Item.clip_id == Clip.id)
    queries = {
        "item": clips.add_columns(Item.id).where(Item.id.in_(ids.get("item", ()))),
        "rating": clips.add_columns(Rating.id)
        .join(Rating, Rating.item_id == Item.id)
        .where(Rating.id.in_(ids.get("rating", ()))),
        "snapshot": select(Snapshot.name).add_columns(Snapshot.id).where(Snapshot.id.in_(ids.get("snapshot", ()))),
    }
    return {
        f"{kind} {number}": ", ".join(names)
        for kind, query in queries.items()
        if kind in ids
        for *names, number in session.execute(query)
    }


def _about(subject: str, people: dict[int, str], things: dict[str, str]) -> str:
    kind, _, number = subject.partition(" ")
    name = people.get(int(number)) if kind == "account" and number.isdecimal() else things.get(subject)
    return f"{subject}, {name}" if name else subject


def _words(detail: dict[str, Any], people: dict[int, str]) -> list[str]:
    """What is known to be fit to be shown; a detail of another name stays in the database."""

    def names(accounts: list[int]) -> str:
        return ", ".join(people.get(account, f"account {account}") for account in accounts)

    said: dict[str, Callable[[Any], str]] = {
        "only_chosen": lambda only: "only those chosen rate" if only else "every rater rates",
        "added": lambda accounts: f"added {names(accounts)}" if accounts else "",
        "removed": lambda accounts: f"removed {names(accounts)}" if accounts else "",
        "roles": lambda roles: ", ".join(roles),
        "reason": str,
        "wanted": lambda number: f"{number} ratings wanted",
        "supersedes": lambda number: f"instead of rating {number}",
        "logins": lambda number: _count(number, "browser"),
        "clips": lambda clips: _count(clips, "clip"),
        "items": lambda items: _count(items, "clip"),
        "ratings": lambda ratings: _ratings(ratings, "digest" in detail),
        "sha256": lambda digest: f"SHA-256 {digest[:12]}…",
    }
    return [word for name, say in said.items() if detail.get(name) is not None and (word := say(detail[name]))]


def _ratings(ratings: int | list[int], is_range: bool) -> str:
    if is_range and isinstance(ratings, list):
        return f"ratings {ratings[0]} to {ratings[1]}"
    return _count(ratings, "rating")


def _count(some: int | list[Any], what: str) -> str:
    """A number as it is, or that of a list's parts."""
    number = some if isinstance(some, int) else len(some)
    return f"{number:,} {what}{'s' if number != 1 else ''}"
