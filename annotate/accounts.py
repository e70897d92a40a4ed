"""Who works in the study: invitations, passwords, signed-in browsers, roles.

    with store.write() as session:
        token = invite(session, None, ["lead"])          # a link's secret; only its hash is kept
    account_id = accept(store, token, "R07", password)   # once
    cookie = sign_in(store, "R07", password, address)
    caller_of(store, cookie)                              # Caller, or None where it is signed out

Passwords are kept as argon2 hashes. What is wrong is raised as Denied: a sentence, and a reason that pages translate.
"""

import functools
import hashlib
import secrets
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import bindparam, delete, func, select, update
from sqlalchemy.orm import Session

from .schema import ROLES, Account, Assignment, Enrolment, Invitation, Lease, Login, SignInAttempt, Study
from .store import Store, StudyError, record

HASHER = PasswordHasher(time_cost=3, memory_cost=19 * 1024, parallelism=1)  # 19 MiB each: many may sign in at once
SHORTEST, LONGEST = 10, 200  # characters of a password
LONGEST_NAME = 40
IDLE = timedelta(hours=12)  # a browser that asks nothing for so long is signed out
ABSOLUTE = timedelta(days=30)
WINDOW = timedelta(minutes=15)  # in which wrong tries are counted
TRIES_OF_NAME = 10
TRIES_OF_ADDRESS = 30  # a whole laboratory may share one
SEEN_EVERY = timedelta(minutes=1)  # not every request writes
LOCAL_NAME = "you"
LOCAL_LOGIN = "this computer"  # no hash of a cookie, so that no cookie opens it
_LOGIN = (  # put together once, because it runs at every request
    select(Login, Account).join(Account, Login.account_id == Account.id).where(Login.token_hash == bindparam("token_hash"))
)


@dataclass(frozen=True)
class Caller:
    """Who asks. `csrf` must come with everything that changes something; `local`: this computer's single user."""

    account_id: int
    name: str
    roles: frozenset[str]
    language: str
    csrf: str
    local: bool


class Denied(StudyError):  # noqa: N818 - a refusal, said in one sentence
    """`reason`: wrong, limited, unknown link, used link, expired link, name taken, bad name, short, long, roles, every
    rater, not a rater, own lead, or last lead."""

    def __init__(self, reason: str, sentence: str, **values: object) -> None:
        super().__init__(sentence)
        self.reason = reason
        self.values = values


# ---------------------------------------------------------------- invitations


def invite(
    session: Session,
    created_by: int | None,
    roles: Iterable[str],
    name: str | None = None,
    days: float = 14,
    study_id: int | None = None,
) -> str:
    """The token of a link that makes one account; called within a write.

    With the name of an account that exists, the link gives that account a new password instead, and its roles stay. Whoever
    accepts it is chosen for the study, which is one for chosen raters only.
    """
    wanted = _roles(roles)
    if study_id is not None:
        _check_study(session, study_id, wanted)
    name = clean_name(name) if name is not None else None
    account = session.scalars(select(Account).where(Account.name == name)).one_or_none() if name is not None else None
    if account is None and name is not None:
        _check_free(session, name)
    if account is not None and study_id is not None:
        _check_study(session, study_id, account.roles)
    token, now = secrets.token_urlsafe(32), datetime.now(UTC)
    row = Invitation(
        token_hash=_hash(token),
        name=name,
        roles=wanted,
        study_id=study_id,
        created_by=created_by,
        created_at=now,
        expires_at=now + timedelta(days=days),
    )
    session.add(row)
    session.flush()
    record(session, created_by, "invited", f"invitation {row.id}", roles=wanted, study=study_id)
    return token


def _roles(given: Iterable[str]) -> list[str]:
    """Roles in their order, one or more."""
    given = set(given)
    if not given or not given <= set(ROLES):
        raise Denied("roles", f"An account needs one or more of the roles {', '.join(ROLES)}; found {sorted(given)!r}.")
    return sorted(given, key=ROLES.index)


def _check_study(session: Session, study_id: int, roles: list[str]) -> None:
    """Whether an invitation of somebody with these roles may name this study."""
    study = session.get(Study, study_id)
    if study is None:
        raise StudyError(f"There is no study {study_id}; see the list of studies.")
    if not study.only_chosen:
        raise Denied("every rater", f"Every rater rates {study.name}, so a link need not name it.", study=study.name)
    if "rater" not in roles:
        raise Denied("not a rater", "Only a rater can be chosen for a study; give the role rater too.")


def invitation_of(session: Session, token: str, now: datetime | None = None) -> Invitation:
    """The open invitation of this token; Denied where there is none, or none any more."""
    found = session.scalars(select(Invitation).where(Invitation.token_hash == _hash(token))).one_or_none()
    if found is None:
        raise Denied("unknown link", "This invitation is not known here; ask the study lead for a new link.")
    if found.used_at is not None:
        raise Denied("used link", "This invitation has been used already; sign in, or ask the study lead for a new link.")
    if found.expires_at <= (now or datetime.now(UTC)):
        raise Denied("expired link", "This invitation has expired; ask the study lead for a new link.")
    return found


def withdraw(session: Session, by: int | None, invitation_id: int) -> None:
    """Close an invitation that nobody has used."""
    row = session.get(Invitation, invitation_id)
    if row is None or row.used_at is not None:
        raise StudyError(f"There is no open invitation {invitation_id} to withdraw.")
    row.expires_at = min(row.expires_at, datetime.now(UTC))
    record(session, by, "invitation withdrawn", f"invitation {row.id}")


def accept(store: Store, token: str, name: str, password: str, language: str = "en", now: datetime | None = None) -> int:
    """Use an invitation: the id of its account, made now. The password of an account that it names is replaced."""
    now = now or datetime.now(UTC)
    with store.read() as session:
        name = invitation_of(session, token, now).name or clean_name(name)
    hashed = _hash_password(password)  # before the write: it takes a while, and all writes wait for each other
    with store.write() as session:
        invitation = invitation_of(session, token, now)
        account = session.scalars(select(Account).where(Account.name == name)).one_or_none()
        if account is not None and invitation.name is None:
            raise Denied("name taken", f"The name {name} is taken; choose another one.", name=name)
        if account is None:
            _check_free(session, name)
            account = Account(name=name, roles=invitation.roles, language=language, created_at=now)
            session.add(account)
        account.password_hash = hashed
        invitation.used_at = now
        session.flush()
        session.execute(delete(Login).where(Login.account_id == account.id))
        if invitation.study_id is not None and "rater" in account.roles:
            session.merge(Assignment(study_id=invitation.study_id, account_id=account.id))
        detail = {"account": account.id, "study": invitation.study_id}
        record(session, account.id, "invitation accepted", f"invitation {invitation.id}", **detail)
        return account.id


def clean_name(name: str) -> str:
    """A name as it is kept and compared. Any letters and signs may stand in it; pages show them as text."""
    kept = _normal(name)
    if not 1 <= len(kept) <= LONGEST_NAME or not kept.isprintable():
        raise Denied(
            "bad name", f"A name has 1 to {LONGEST_NAME} letters, digits or signs; choose another one.", most=LONGEST_NAME
        )
    return kept


def _normal(name: str) -> str:
    return " ".join(unicodedata.normalize("NFC", name).split())


def _check_free(session: Session, name: str) -> None:
    """Names that differ only in capitals would be taken for each other."""
    if name.casefold() in {other.casefold() for other in session.scalars(select(Account.name))}:
        raise Denied("name taken", f"The name {name} is taken; choose another one.", name=name)


# ---------------------------------------------------------------- signing in


def sign_in(store: Store, name: str, password: str, address: str, now: datetime | None = None) -> str:
    """The token for the browser's cookie. Denied where name or password is wrong, or after too many wrong tries.

    A try counts before its password is looked at, so that many at once cannot pass the limit together; and a name that
    is not known takes as long as one that is.
    """
    now = now or datetime.now(UTC)
    name = _normal(name)
    typed = _hash(name)  # someone may type a password where a name belongs
    nobodys = _nobodys_hash()
    with store.write() as session:
        session.execute(delete(SignInAttempt).where(SignInAttempt.at < now - timedelta(days=1)))
        if until := _limited_until(session, typed, address, now):
            minutes = max(1, -int((now - until).total_seconds() // 60))
            raise Denied("limited", f"There were too many wrong tries; try again in {minutes} min.", minutes=minutes)
        attempt = SignInAttempt(name=typed, address=address, at=now, succeeded=False)
        session.add(attempt)
        session.flush()
        attempt_id = attempt.id
        usable = Account.disabled_at.is_(None), Account.password_hash.is_not(None)
        query = select(Account.id, Account.password_hash).where(Account.name == name, *usable)
        found = session.execute(query).one_or_none() if name.isprintable() else None
    account_id, kept = (found.id, found.password_hash or "") if found else (0, nobodys)
    if not _is_right(kept, password) or found is None:
        raise Denied("wrong", "Name or password is wrong; check both and try again.")
    with store.write() as session:
        session.get_one(SignInAttempt, attempt_id).succeeded = True
        account = session.get_one(Account, account_id)
        if account.disabled_at is not None or account.password_hash != kept:  # changed meanwhile
            raise Denied("wrong", "Name or password is wrong; check both and try again.")
        if HASHER.check_needs_rehash(kept):
            account.password_hash = HASHER.hash(password)
        return _log_in(session, account_id, now)


def log_in(store: Store, account_id: int, now: datetime | None = None) -> str:
    """A cookie's token for someone who has just used an invitation, and need not type the password again."""
    with store.write() as session:
        return _log_in(session, account_id, now or datetime.now(UTC))


def _limited_until(session: Session, name: str, address: str, now: datetime) -> datetime | None:
    """When the oldest of too many wrong tries is forgotten; None where there were not too many."""
    since = now - WINDOW
    last_right = session.scalar(
        select(func.max(SignInAttempt.at)).where(SignInAttempt.name == name, SignInAttempt.succeeded)
    )
    of_name = SignInAttempt.name == name, SignInAttempt.at > max(since, last_right or since)
    of_address = SignInAttempt.address == address, SignInAttempt.at > since
    for where, most in ((of_name, TRIES_OF_NAME), (of_address, TRIES_OF_ADDRESS)):
        wrong = session.scalars(
            select(SignInAttempt.at).where(*where, ~SignInAttempt.succeeded).order_by(SignInAttempt.at.desc()).limit(most)
        ).all()
        if len(wrong) == most:
            return wrong[-1] + WINDOW
    return None


def _log_in(session: Session, account_id: int, now: datetime) -> str:
    token = secrets.token_urlsafe(32)
    row = Login(token_hash=_hash(token), account_id=account_id, csrf=secrets.token_urlsafe(32), created_at=now, seen_at=now)
    session.add(row)
    session.execute(delete(Login).where(Login.created_at < now - ABSOLUTE, Login.token_hash != LOCAL_LOGIN))
    record(session, account_id, "signed in", f"account {account_id}")
    return token


def sign_out(store: Store, cookie: str) -> None:
    with store.write() as session:
        if (login := session.get(Login, _hash(cookie))) is not None:
            record(session, login.account_id, "signed out", f"account {login.account_id}")
            session.delete(login)


def caller_of(
    store: Store, cookie: str | None, idle: timedelta = IDLE, now: datetime | None = None, counts: bool = True
) -> Caller | None:
    """Whose browser this is. `counts`: the request shows that somebody is there; a page's own regular ones do not."""
    if not cookie:
        return None
    now = now or datetime.now(UTC)
    with store.read() as session:
        found = session.execute(_LOGIN, {"token_hash": _hash(cookie)}).one_or_none()
        if found is None:
            return None
        login, account = found
        if account.disabled_at is not None or now >= login.created_at + ABSOLUTE or now >= login.seen_at + idle:
            return None
        caller = _caller(account, login.csrf, local=False)
    if counts and now - login.seen_at > SEEN_EVERY:
        with store.write() as session:
            if (again := session.get(Login, _hash(cookie))) is not None:
                again.seen_at = max(again.seen_at, now)
    return caller


def _caller(account: Account, csrf: str, local: bool) -> Caller:
    return Caller(account.id, account.name, frozenset(account.roles), account.language, csrf, local)


def has_accounts(session: Session) -> bool:
    """Whether anybody has a password, a disabled account too: from then on everyone signs in."""
    return session.scalar(select(Account.id).where(Account.password_hash.is_not(None)).limit(1)) is not None


def is_open(session: Session, now: datetime | None = None) -> bool:
    """Whether someone may come in by signing in or by an invitation."""
    now = now or datetime.now(UTC)
    waiting = select(Invitation.id).where(Invitation.used_at.is_(None), Invitation.expires_at > now).limit(1)
    return has_accounts(session) or session.scalar(waiting) is not None


def local_caller(store: Store, language: str = "en") -> Caller:
    """The single user of this computer, made on the first call: all roles, no password."""
    with store.read() as session:
        if (found := _local(session)) is not None:
            return found
    now = datetime.now(UTC)
    with store.write() as session:
        account = session.scalars(select(Account).where(Account.name == LOCAL_NAME)).one_or_none()
        if account is None:
            account = Account(name=LOCAL_NAME, roles=list(ROLES), language=language, created_at=now)
            session.add(account)
            session.flush()
            record(session, account.id, "account made", f"account {account.id}", roles=list(ROLES))
        if session.get(Login, LOCAL_LOGIN) is None:
            csrf = secrets.token_urlsafe(32)
            session.add(Login(token_hash=LOCAL_LOGIN, account_id=account.id, csrf=csrf, created_at=now, seen_at=now))
        session.flush()
        caller = _local(session)
        assert caller is not None
        return caller


def _local(session: Session) -> Caller | None:
    login = session.get(Login, LOCAL_LOGIN)
    return _caller(session.get_one(Account, login.account_id), login.csrf, local=True) if login else None


# ---------------------------------------------------------------- what becomes of an account


def change_password(store: Store, account_id: int, old: str, new: str, keep: str | None = None) -> None:
    """Replace one's own password; every other browser is signed out, but not that of the cookie `keep`."""
    with store.read() as session:
        kept = session.get_one(Account, account_id).password_hash
    if kept is None:
        raise StudyError("The single user of this computer has no password; invite yourself to get an account with one.")
    if not _is_right(kept, old):
        raise Denied("wrong old", "The present password is wrong; check it and try again.")
    hashed = _hash_password(new)
    with store.write() as session:
        session.get_one(Account, account_id).password_hash = hashed
        others = delete(Login).where(Login.account_id == account_id)
        session.execute(others.where(Login.token_hash != _hash(keep)) if keep else others)
        record(session, account_id, "password changed", f"account {account_id}")


def set_language(store: Store, account_id: int, language: str) -> None:
    with store.write() as session:
        session.get_one(Account, account_id).language = language


def enable(session: Session, by: int | None, account_id: int, enabled: bool) -> None:
    """Let an account sign in, or not any more; what it rated stays. Within a write."""
    account = _account(session, account_id)
    if not enabled:
        if account_id == by:
            raise StudyError("You cannot disable your own account; ask another lead to do it.")
        _keep_a_lead(session, account)
        session.execute(delete(Login).where(Login.account_id == account_id))
        _close_invitations(session, by, account_id)
        _give_back(session, account_id)
    account.disabled_at = None if enabled else datetime.now(UTC)
    record(session, by, "account enabled" if enabled else "account disabled", f"account {account_id}")


def set_roles(session: Session, by: int | None, account_id: int, roles: Iterable[str]) -> None:
    """Give an account these roles and no others; what it did with the old ones stays. Within a write."""
    account, wanted = _account(session, account_id), _roles(roles)
    if "lead" in account.roles and "lead" not in wanted:
        if account_id == by:
            raise Denied("own lead", "You cannot take the role lead from yourself; ask another lead to do it.")
        _keep_a_lead(session, account)
        _close_invitations(session, by, account_id)
    if "rater" not in wanted:
        _give_back(session, account_id)
    if wanted != account.roles:
        account.roles = wanted
        record(session, by, "roles changed", f"account {account_id}", roles=wanted)


def _keep_a_lead(session: Session, account: Account) -> None:
    """Denied where this is the last lead who can sign in."""
    usable = Account.disabled_at.is_(None), Account.password_hash.is_not(None), Account.id != account.id
    others = any("lead" in roles for roles in session.scalars(select(Account.roles).where(*usable)))
    if "lead" in account.roles and not others:
        raise Denied(
            "last lead",
            f"{account.name} is the last lead who can sign in; make somebody else lead first.",
            name=account.name,
        )


def _close_invitations(session: Session, by: int | None, maker: int) -> None:
    """Links that somebody made who is no lead any more would make them one again."""
    now = datetime.now(UTC)
    for row in session.scalars(select(Invitation).where(Invitation.created_by == maker, Invitation.used_at.is_(None))):
        if row.expires_at > now:
            row.expires_at = now
            record(session, by, "invitation withdrawn", f"invitation {row.id}")


def _give_back(session: Session, account_id: int) -> None:
    """What this account holds goes back to the others."""
    own = select(Enrolment.id).where(Enrolment.account_id == account_id)
    held = Lease.state == "open", Lease.enrolment_id.in_(own)
    session.execute(update(Lease).where(*held).values(state="released"))


def remove_logins(session: Session, by: int | None, account_id: int) -> int:
    """Sign an account out of every browser; how many there were. Within a write."""
    _account(session, account_id)
    gone = session.execute(delete(Login).where(Login.account_id == account_id).returning(Login.token_hash)).all()
    record(session, by, "logins removed", f"account {account_id}", logins=len(gone))
    return len(gone)


def _account(session: Session, account_id: int) -> Account:
    account = session.get(Account, account_id)
    if account is None:
        raise StudyError(f"There is no account {account_id}.")
    return account


# ---------------------------------------------------------------- hashes


def _hash(token: str) -> str:
    """Of a secret that is random and long: needs no salt and no slowness."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _hash_password(password: str) -> str:
    if len(password) < SHORTEST:
        raise Denied("short", f"A password needs {SHORTEST} characters or more; choose a longer one.", least=SHORTEST)
    if len(password) > LONGEST:
        raise Denied("long", f"A password has {LONGEST} characters at most; choose a shorter one.", most=LONGEST)
    return HASHER.hash(password)


def _is_right(kept: str, password: str) -> bool:
    try:
        return HASHER.verify(kept, password[: LONGEST + 1])
    except (VerificationError, InvalidHashError):
        return False


@functools.cache
def _nobodys_hash() -> str:
    """What the password of an unknown name is compared with, so that it takes as long."""
    return HASHER.hash(secrets.token_urlsafe())
