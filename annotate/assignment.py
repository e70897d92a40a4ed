"""Who rates a study: every rater, or only those whom its lead has chosen.

    with store.write() as session:
        choose(session, by, study_id, only_chosen=True, accounts=[3, 5])
        need_rater(session, study, account_id)      # NotYours where this account may not rate it

What someone held who is no longer chosen goes back to the queue at once; what they rated stays. The single user of a
computer is never shut out.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, delete, exists, or_, select, update
from sqlalchemy.orm import Session, aliased

from .accounts import LOCAL_LOGIN
from .schema import Account, Assignment, Enrolment, Lease, Login, Study
from .store import StudyError, record


class NotYours(StudyError):  # noqa: N818 - a refusal, said in one sentence
    """A study that is not there, or not for this rater: the two are not told apart."""

    def __init__(self) -> None:
        super().__init__(
            "There is no study here for you to rate; yours stand on the first page, and what you have saved is kept."
        )


@dataclass(frozen=True)
class Candidate:
    """A rater, as a lead chooses among them."""

    account_id: int
    name: str
    disabled: bool
    chosen: bool


def may_rate(account_id: Any) -> ColumnElement[bool]:
    """Whether this account, a number or a column, may rate the Study of the query."""
    account, login = aliased(Account), aliased(Login)
    chosen = exists().where(Assignment.study_id == Study.id, Assignment.account_id == account_id)
    single = exists().where(
        account.id == account_id,
        account.password_hash.is_(None),
        and_(login.account_id == account.id, login.token_hash == LOCAL_LOGIN),
    )
    return or_(~Study.only_chosen, chosen, single)


_MAY_RATE = select(Study.id).where(Study.id == bindparam("study_id"), may_rate(bindparam("account_id")))


def need_rater(session: Session, study: Study, account_id: int) -> None:
    """NotYours where the study is for chosen raters only and this account is none of them."""
    if study.only_chosen and session.scalar(_MAY_RATE, {"study_id": study.id, "account_id": account_id}) is None:
        raise NotYours


def candidates(session: Session, study_id: int | None = None) -> list[Candidate]:
    """Everyone who can be chosen, by name: accounts with the role rater, disabled ones where they are chosen already."""
    chosen = set(session.scalars(select(Assignment.account_id).where(Assignment.study_id == study_id)))
    return [
        Candidate(account.id, account.name, account.disabled_at is not None, account.id in chosen)
        for account in session.scalars(select(Account).order_by(Account.name))
        if "rater" in account.roles and (account.disabled_at is None or account.id in chosen)
    ]


def need_candidates(session: Session, accounts: Iterable[int], study_id: int | None = None) -> None:
    """StudyError where one of these accounts cannot be chosen."""
    if unknown := set(accounts) - {one.account_id for one in candidates(session, study_id)}:
        raise StudyError(f"Account {min(unknown)} is no rater who can be chosen; see the page People for who is.")


def raters_named(session: Session, names: Sequence[str]) -> list[int]:
    """The accounts of raters of these names."""
    found = {one.name: one.account_id for one in candidates(session)}
    if unknown := [name for name in names if name not in found]:
        known = ", ".join(map(repr, found)) or "none yet"
        raise StudyError(f"There is no rater {unknown[0]!r}; there are: {known}.")
    return [found[name] for name in names]


def chosen_names(session: Session) -> dict[int, list[str]]:
    """Of each study that is for chosen raters only, their names."""
    found: dict[int, list[str]] = {study_id: [] for study_id in session.scalars(select(Study.id).where(Study.only_chosen))}
    query = select(Assignment.study_id, Account.name, Account.roles).join(Account, Assignment.account_id == Account.id)
    for study_id, name, roles in session.execute(query.order_by(Account.name)).tuples():
        if study_id in found and "rater" in roles:
            found[study_id].append(name)
    return found


def as_changed(session: Session, study_id: int, was: Iterable[int], now: Iterable[int]) -> set[int]:
    """The choice with what a lead changed from `was`, as shown, to `now`; what others changed meanwhile stays."""
    chosen = {one.account_id for one in candidates(session, study_id) if one.chosen}
    return (chosen | (set(now) - set(was))) - (set(was) - set(now))


def choose(session: Session, by: int | None, study_id: int, only_chosen: bool, accounts: Iterable[int]) -> None:
    """Say who rates a study; within a write. The choice is kept, but does not count, where every rater rates it."""
    study = session.get(Study, study_id)
    if study is None:
        raise StudyError(f"There is no study {study_id}; see the list of studies.")
    wanted = set(accounts)
    need_candidates(session, wanted, study_id)
    before = set(session.scalars(select(Assignment.account_id).where(Assignment.study_id == study_id)))
    if (study.only_chosen, before) == (only_chosen, wanted):
        return
    study.only_chosen = only_chosen
    gone = Assignment.study_id == study_id, Assignment.account_id.in_(before - wanted)
    session.execute(delete(Assignment).where(*gone))
    session.add_all(Assignment(study_id=study_id, account_id=account_id) for account_id in sorted(wanted - before))
    session.flush()
    shut_out = select(Enrolment.id).join(Study, Enrolment.study_id == Study.id)
    shut_out = shut_out.where(Study.id == study_id, ~may_rate(Enrolment.account_id))
    held = Lease.state == "open", Lease.enrolment_id.in_(shut_out)
    session.execute(update(Lease).where(*held).values(state="released"))
    detail = {"only_chosen": only_chosen, "added": sorted(wanted - before), "removed": sorted(before - wanted)}
    record(session, by, "raters chosen", f"study {study_id}", **detail)
