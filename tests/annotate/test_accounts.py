"""Accounts on both databases: invitations once, passwords unreadable, limits exact, browsers signed out in time."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from argon2 import Parameters, extract_parameters
from sqlalchemy import func, select

from annotate import accounts
from annotate.accounts import Denied, accept, caller_of, invite, local_caller, sign_in, sign_out
from annotate.schema import Account, Audit, Invitation, Login, SignInAttempt
from annotate.store import Store, StudyError
from tests.conftest import is_one_sentence

PASSWORD = "correct horse battery"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def invited(store: Store, *roles: str, **options: object) -> str:
    with store.write() as session:
        return invite(session, None, roles or ("rater",), **options)  # type: ignore[arg-type]


def joined(store: Store, name: str = "R07", *roles: str) -> int:
    return accept(store, invited(store, *roles), name, PASSWORD)


def denied(reason: str, store: Store, name: str = "R07", password: str = PASSWORD, **options: object) -> Denied:
    with pytest.raises(Denied) as error:
        sign_in(store, name, password, **{"address": "10.0.0.1", **options})  # type: ignore[arg-type]
    assert error.value.reason == reason
    assert is_one_sentence(str(error.value))
    return error.value


# ---------------------------------------------------------------- invitations


def test_an_invitation_makes_one_account_with_its_roles(store: Store) -> None:
    account_id = joined(store, "R07", "rater", "adjudicator")
    caller = caller_of(store, sign_in(store, "R07", PASSWORD, "10.0.0.1"))
    assert caller is not None
    assert (caller.account_id, caller.name, caller.local) == (account_id, "R07", False)
    assert caller.roles == {"rater", "adjudicator"}


def test_an_invitation_works_once(store: Store) -> None:
    token = invited(store)
    accept(store, token, "R07", PASSWORD)
    with pytest.raises(Denied, match="used already") as error:
        accept(store, token, "R08", PASSWORD)
    assert error.value.reason == "used link"


def test_of_many_guests_with_one_link_one_comes_in(store: Store) -> None:
    token = invited(store)
    came: list[str] = []

    def come(name: str) -> None:
        try:
            accept(store, token, name, PASSWORD)
            came.append(name)
        except Denied as error:
            assert error.reason == "used link"

    threads = [threading.Thread(target=come, args=(f"R{k:02}",)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with store.read() as session:
        assert session.scalars(select(Account.name)).all() == came
    assert len(came) == 1


def test_an_invitation_expires(store: Store) -> None:
    token = invited(store, days=14)
    with pytest.raises(Denied, match="expired"):
        accept(store, token, "R07", PASSWORD, now=datetime.now(UTC) + timedelta(days=15))
    accept(store, token, "R07", PASSWORD, now=datetime.now(UTC) + timedelta(days=13))


def test_a_withdrawn_invitation_is_no_way_in(store: Store) -> None:
    token = invited(store)
    with store.write() as session:
        accounts.withdraw(session, None, session.scalars(select(Invitation.id)).one())
    with pytest.raises(Denied, match="expired"):
        accept(store, token, "R07", PASSWORD)


def test_an_unknown_link_is_one_sentence(store: Store) -> None:
    with pytest.raises(Denied, match="not known here"):
        accept(store, "nothing", "R07", PASSWORD)


def test_a_name_that_the_lead_has_chosen_stays(store: Store) -> None:
    accept(store, invited(store, name="R07"), "somebody else", PASSWORD)
    with store.read() as session:
        assert session.scalars(select(Account.name)).all() == ["R07"]


def test_a_link_with_the_name_of_an_account_gives_it_a_new_password_and_signs_its_browsers_out(store: Store) -> None:
    account_id = joined(store, "R07", "rater")
    cookie = sign_in(store, "R07", PASSWORD, "10.0.0.1")
    again = accept(store, invited(store, "lead", name="R07"), "", "another good password")
    assert again == account_id
    assert caller_of(store, cookie) is None
    denied("wrong", store)
    caller = caller_of(store, sign_in(store, "R07", "another good password", "10.0.0.1"))
    assert caller is not None
    assert caller.roles == {"rater"}, "a new password brings no new roles"


@pytest.mark.parametrize("roles", [[], ["boss"], ["rater", "root"]])
def test_an_invitation_needs_roles_that_there_are(store: Store, roles: list[str]) -> None:
    with pytest.raises(Denied, match="one or more of the roles"), store.write() as session:
        invite(session, None, roles)


@pytest.mark.parametrize("name", ["", "   ", "x" * 41, "a\x00b", "a\x07b", "a\u202eb"])
def test_a_name_that_nobody_could_read_is_refused(store: Store, name: str) -> None:
    with pytest.raises(Denied, match="A name has 1 to 40"):
        joined(store, name)


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "'; DROP TABLE account; --", "../../etc/passwd", "Анна", "李"]
)
def test_any_other_name_is_kept_as_it_is(store: Store, name: str) -> None:
    joined(store, name)
    caller = caller_of(store, sign_in(store, f"  {name} ", PASSWORD, "10.0.0.1"))
    assert caller is not None
    assert caller.name == name


@pytest.mark.parametrize("other", ["R07", "r07", " R07 "])
def test_two_people_do_not_have_one_name(store: Store, other: str) -> None:
    joined(store, "R07")
    with pytest.raises(Denied, match="is taken"):
        joined(store, other)


# ---------------------------------------------------------------- passwords


def test_a_password_is_kept_as_an_argon2_hash_and_tokens_as_hashes(store: Store) -> None:
    token = invited(store)
    accept(store, token, "R07", PASSWORD)
    cookie = sign_in(store, "R07", PASSWORD, "10.0.0.1")
    with store.read() as session:
        kept = session.scalars(select(Account.password_hash)).one()
        assert kept is not None
        assert kept.startswith("$argon2id$")
        assert session.scalars(select(Invitation.token_hash)).one() != token
        assert session.scalars(select(Login.token_hash)).one() != cookie


@pytest.mark.parametrize(
    ("password", "sentence"), [("short", "10 characters or more"), ("x" * 201, "200 characters at most")]
)
def test_a_password_is_neither_short_nor_endless(store: Store, password: str, sentence: str) -> None:
    with pytest.raises(Denied, match=sentence):
        accept(store, invited(store), "R07", password)
    with store.read() as session:
        assert session.scalars(select(Account)).all() == []


def test_a_changed_password_signs_other_browsers_out(store: Store) -> None:
    account_id = joined(store)
    here, there = (sign_in(store, "R07", PASSWORD, "10.0.0.1") for _ in range(2))
    with pytest.raises(Denied, match="present password is wrong"):
        accounts.change_password(store, account_id, "not this one", "a better password")
    accounts.change_password(store, account_id, PASSWORD, "a better password", keep=here)
    assert caller_of(store, here) is not None
    assert caller_of(store, there) is None
    denied("wrong", store)
    sign_in(store, "R07", "a better password", "10.0.0.1")


# ---------------------------------------------------------------- signing in


def test_ten_wrong_tries_are_the_most(store: Store) -> None:
    joined(store)
    for _ in range(10):
        denied("wrong", store, password="a wrong password", now=NOW)
    error = denied("limited", store, now=NOW + timedelta(minutes=2))
    assert str(error) == "There were too many wrong tries; try again in 13 min."
    sign_in(store, "R07", PASSWORD, "10.0.0.1", now=NOW + timedelta(minutes=15, seconds=1))


def test_an_unknown_name_is_limited_alike(store: Store) -> None:
    for _ in range(10):
        denied("wrong", store, name="nobody", now=NOW)
    denied("limited", store, name="nobody", now=NOW)


def test_one_address_cannot_go_through_the_names(store: Store) -> None:
    joined(store)
    for k in range(30):
        denied("wrong", store, name=f"R{k}", address="10.0.0.9", password="a wrong password", now=NOW)
    denied("limited", store, address="10.0.0.9", now=NOW)
    assert caller_of(store, sign_in(store, "R07", PASSWORD, "10.0.0.1", now=NOW), now=NOW) is not None


def test_a_right_try_forgets_the_wrong_ones_of_its_name(store: Store) -> None:
    joined(store)
    for _ in range(3):
        for _ in range(9):
            denied("wrong", store, password="a wrong password", address="10.0.0.2")
        assert caller_of(store, sign_in(store, "R07", PASSWORD, "10.0.0.1")) is not None


def test_many_tries_at_once_do_not_pass_the_limit_together(store: Store) -> None:
    joined(store)
    reasons: list[str] = []

    def guess() -> None:
        try:
            sign_in(store, "R07", "a wrong password", "10.0.0.1")
        except Denied as error:
            reasons.append(error.reason)

    threads = [threading.Thread(target=guess) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(reasons) == ["limited"] * 10 + ["wrong"] * 10


def test_a_name_that_is_not_known_costs_as_much_work_as_one_that_is(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    account_id = joined(store)
    joined(store, "disabled")
    with store.write() as session:
        accounts.enable(
            session, account_id, session.scalars(select(Account.id).where(Account.name == "disabled")).one(), False
        )
    local_caller(store)
    work: list[Parameters] = []
    is_right = accounts._is_right

    def seen(kept: str, password: str) -> bool:
        work.append(extract_parameters(kept))
        return is_right(kept, password)

    monkeypatch.setattr(accounts, "_is_right", seen)
    for name in ("R07", "nobody", "disabled", "you"):
        denied("wrong", store, name=name, password="a wrong password")
    assert len(work) == 4
    assert len(set(map(str, work))) == 1


def test_what_was_typed_as_a_name_is_not_kept(store: Store) -> None:
    denied("wrong", store, name="my secret password")
    with store.read() as session:
        assert "secret" not in session.scalars(select(SignInAttempt.name)).one()


@pytest.mark.parametrize("name", ["", "\x00", "x" * 10_000, "'; DROP TABLE account; --"])
def test_hostile_names_are_wrong_like_any_other(store: Store, name: str) -> None:
    denied("wrong", store, name=name)


# ---------------------------------------------------------------- browsers


def test_a_browser_that_is_idle_is_signed_out(store: Store) -> None:
    joined(store)
    cookie = sign_in(store, "R07", PASSWORD, "10.0.0.1", now=NOW)
    assert caller_of(store, cookie, now=NOW + timedelta(hours=11)) is not None
    assert caller_of(store, cookie, now=NOW + timedelta(hours=22)) is not None, "the one before counts"
    assert caller_of(store, cookie, now=NOW + timedelta(hours=34)) is None
    assert caller_of(store, cookie, idle=timedelta(hours=20), now=NOW + timedelta(hours=34)) is not None


def test_what_a_page_asks_by_itself_keeps_nobody_signed_in(store: Store) -> None:
    joined(store)
    cookie = sign_in(store, "R07", PASSWORD, "10.0.0.1", now=NOW)
    for hours in range(1, 12):
        assert caller_of(store, cookie, now=NOW + timedelta(hours=hours), counts=False) is not None
    assert caller_of(store, cookie, now=NOW + timedelta(hours=12), counts=False) is None


def test_nobody_stays_signed_in_for_more_than_thirty_days(store: Store) -> None:
    joined(store)
    cookie = sign_in(store, "R07", PASSWORD, "10.0.0.1", now=NOW)
    for hours in range(0, 30 * 24, 10):
        assert caller_of(store, cookie, now=NOW + timedelta(hours=hours)) is not None
    assert caller_of(store, cookie, now=NOW + timedelta(days=30)) is None


def test_who_signs_out_is_out(store: Store) -> None:
    joined(store)
    here, there = (sign_in(store, "R07", PASSWORD, "10.0.0.1") for _ in range(2))
    sign_out(store, here)
    assert caller_of(store, here) is None
    assert caller_of(store, there) is not None


@pytest.mark.parametrize("cookie", [None, "", "nonsense", "this computer", "é" * 43, "\udc80"])
def test_a_cookie_of_no_login_is_nobody(store: Store, cookie: str | None) -> None:
    local_caller(store)
    assert caller_of(store, cookie) is None


def test_a_disabled_account_is_out_at_once_and_cannot_sign_in(store: Store) -> None:
    account_id, lead = joined(store), joined(store, "Lead", "lead")
    cookie = sign_in(store, "R07", PASSWORD, "10.0.0.1")
    with store.write() as session:
        accounts.enable(session, lead, account_id, False)
    assert caller_of(store, cookie) is None
    denied("wrong", store)
    with store.write() as session:
        accounts.enable(session, lead, account_id, True)
    sign_in(store, "R07", PASSWORD, "10.0.0.1")


def test_a_lead_cannot_disable_the_own_account(store: Store) -> None:
    lead = joined(store, "Lead", "lead")
    with pytest.raises(StudyError, match="your own account"), store.write() as session:
        accounts.enable(session, lead, lead, False)


def test_a_lead_signs_someone_out_everywhere(store: Store) -> None:
    account_id = joined(store)
    cookies = [sign_in(store, "R07", PASSWORD, "10.0.0.1") for _ in range(3)]
    with store.write() as session:
        assert accounts.remove_logins(session, None, account_id) == 3
    assert [caller_of(store, cookie) for cookie in cookies] == [None] * 3


# ---------------------------------------------------------------- the single user of a computer


def test_the_single_user_has_all_roles_and_is_no_account_with_a_password(store: Store) -> None:
    caller = local_caller(store)
    assert caller.local
    assert caller.roles == {"rater", "lead", "researcher", "adjudicator"}
    assert local_caller(store) == caller
    with store.read() as session:
        assert not accounts.has_accounts(session)
    denied("wrong", store, name=caller.name, password="")


def test_as_soon_as_someone_has_a_password_there_are_accounts(store: Store) -> None:
    token = invited(store)
    with store.read() as session:
        assert not accounts.has_accounts(session)
        assert accounts.is_open(session)
    account_id = accept(store, token, "R07", PASSWORD)
    with store.write() as session:
        accounts.enable(session, None, account_id, False)
    with store.read() as session:
        assert accounts.has_accounts(session), "a disabled account does not open the study to everyone"


def test_the_single_user_can_become_an_account_and_keep_what_was_rated(store: Store) -> None:
    caller = local_caller(store)
    assert accept(store, invited(store, "lead", name=caller.name), "", PASSWORD) == caller.account_id
    signed_in = caller_of(store, sign_in(store, caller.name, PASSWORD, "10.0.0.1"))
    assert signed_in is not None
    assert not signed_in.local


# ---------------------------------------------------------------- what is recorded


def test_all_of_it_is_in_the_audit_log_without_names(store: Store) -> None:
    lead = joined(store, "Lead-secret", "lead")
    account_id = joined(store, "Rater-secret")
    cookie = sign_in(store, "Rater-secret", PASSWORD, "10.0.0.1")
    accounts.change_password(store, account_id, PASSWORD, "a better password", keep=cookie)
    sign_out(store, cookie)
    with store.write() as session:
        accounts.enable(session, lead, account_id, False)
        accounts.enable(session, lead, account_id, True)
        accounts.remove_logins(session, lead, account_id)
    with store.read() as session:
        rows = session.scalars(select(Audit).order_by(Audit.number)).all()
        assert [row.action for row in rows] == [
            *("invited", "invitation accepted") * 2,
            "signed in",
            "password changed",
            "signed out",
            "account disabled",
            "account enabled",
            "logins removed",
        ]
        assert not any("secret" in f"{row.subject} {row.detail}" for row in rows)
        assert session.scalar(select(func.count()).select_from(Login)) == 0


# ---------------------------------------------------------------- other roles


def roles_of(store: Store, account_id: int) -> list[str]:
    with store.read() as session:
        return session.get_one(Account, account_id).roles


def test_other_roles_hold_at_once_and_the_log_tells(store: Store) -> None:
    account_id, lead = joined(store), joined(store, "Lead", "lead")
    cookie = sign_in(store, "R07", PASSWORD, "10.0.0.1")
    for _ in range(2):
        with store.write() as session:
            accounts.set_roles(session, lead, account_id, ["researcher", "lead"])
    caller = caller_of(store, cookie)
    assert caller is not None
    assert caller.roles == {"lead", "researcher"}
    with store.read() as session:
        (row,) = session.scalars(select(Audit).where(Audit.action == "roles changed")).all()
    assert (row.account_id, row.subject, row.detail) == (lead, f"account {account_id}", {"roles": ["lead", "researcher"]})


@pytest.mark.parametrize("roles", [[], ["boss"], ["rater", "root"]])
def test_an_account_keeps_one_role_or_more_of_those_that_there_are(store: Store, roles: list[str]) -> None:
    account_id = joined(store)
    with pytest.raises(Denied, match="one or more of the roles"), store.write() as session:
        accounts.set_roles(session, None, account_id, roles)
    assert roles_of(store, account_id) == ["rater"]


def test_nobody_takes_the_role_lead_from_oneself(store: Store) -> None:
    lead = joined(store, "Lead", "lead")
    joined(store, "Other", "lead")
    with pytest.raises(Denied, match="from yourself; ask another lead"), store.write() as session:
        accounts.set_roles(session, lead, lead, ["rater"])
    with store.write() as session:
        accounts.set_roles(session, lead, lead, ["rater", "lead"])
    assert roles_of(store, lead) == ["rater", "lead"]


def test_the_last_lead_who_can_sign_in_stays_lead(store: Store) -> None:
    """The single user of the computer is lead too, but cannot sign in any more; a disabled lead neither."""
    local_caller(store)
    lead, other, third = (joined(store, name, "lead") for name in ("Lead", "Other", "Third"))
    with store.write() as session:
        accounts.enable(session, lead, third, False)
        accounts.set_roles(session, lead, other, ["rater"])
    with pytest.raises(Denied, match="Lead is the last lead who can sign in; make") as error, store.write() as session:
        accounts.set_roles(session, other, lead, ["rater"])  # asked for before `other` lost the role
    assert is_one_sentence(str(error.value))
    assert roles_of(store, lead) == ["lead"]
    with store.write() as session:
        accounts.enable(session, lead, third, True)
        accounts.set_roles(session, third, lead, ["rater"])
    assert roles_of(store, lead) == ["rater"]


def test_two_leads_who_take_the_role_from_each_other_at_once_leave_one(store: Store) -> None:
    one, other = joined(store, "One", "lead"), joined(store, "Other", "lead")

    def take(by: int, account_id: int) -> None:
        try:
            with store.write() as session:
                accounts.set_roles(session, by, account_id, ["rater"])
        except Denied as error:
            assert error.reason == "last lead"

    threads = [threading.Thread(target=take, args=pair) for pair in ((one, other), (other, one))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted([roles_of(store, one), roles_of(store, other)]) == [["lead"], ["rater"]]


@pytest.mark.parametrize("how", ["role", "disabled"])
def test_links_of_who_is_no_lead_any_more_are_closed(store: Store, how: str) -> None:
    lead, other = (joined(store, name, "lead") for name in ("Lead", "Other"))
    with store.write() as session:
        tokens = [invite(session, other, ["lead"]), invite(session, other, ["rater"], "Lead")]
        kept = invite(session, lead, ["rater"])
    with store.write() as session:
        if how == "role":
            accounts.set_roles(session, lead, other, ["rater"])
        else:
            accounts.enable(session, lead, other, False)
    for token in tokens:
        with pytest.raises(Denied) as error:
            accept(store, token, "Lead", PASSWORD)
        assert error.value.reason == "expired link"
    assert accept(store, kept, "R01", PASSWORD)


def test_the_last_lead_is_not_disabled(store: Store) -> None:
    lead, other = (joined(store, name, "lead") for name in ("Lead", "Other"))
    with store.write() as session:
        accounts.set_roles(session, other, lead, ["rater"])
    with pytest.raises(Denied, match="Other is the last lead") as error, store.write() as session:
        accounts.enable(session, lead, other, False)  # asked for before `lead` lost the role
    assert error.value.reason == "last lead"
