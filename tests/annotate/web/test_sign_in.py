"""Signing in as a browser does it: forms, cookies, where a request comes from, what a page shows of hostile input."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import event, select, text

from annotate.assignment import choose, chosen_names
from annotate.schema import Account, Login
from annotate.web.access import COOKIE, local_path
from annotate.web.texts import languages, texts
from tests.annotate.small_study import make_study

from .conftest import PAGE, PASSWORD, Served, csrf

HOSTILE = "<script>alert(1)</script>"


def sign_in(client: httpx.Client, name: str = "R07", password: str = PASSWORD, **fields: str) -> httpx.Response:
    return client.post("/study/sign-in", data={"name": name, "password": password, **fields}, headers=PAGE)


def text_of(answer: httpx.Response) -> str:
    """What the page says, without its markup."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.text))


# ---------------------------------------------------------------- coming in


def test_an_invitation_leads_to_the_studies_signed_in(study: Served) -> None:
    client = study.browser()
    path = study.invited("rater")
    page = client.get(path, headers=PAGE)
    assert page.status_code == 200
    assert 'name="again"' in page.text
    answer = client.post(path, data={"name": "R07", "password": PASSWORD, "again": PASSWORD}, headers=PAGE)
    assert (answer.status_code, answer.headers["location"]) == (303, "/study/")
    assert "nothing to rate" in client.get("/study/", headers=PAGE).text
    again = client.get(path, headers=PAGE)
    assert again.status_code == 404
    assert "used already" in again.text


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"name": "R07", "password": PASSWORD, "again": "something else"}, "The two passwords differ"),
        ({"name": "R07", "password": "short", "again": "short"}, "10 characters or more"),
        ({"name": "", "password": PASSWORD, "again": PASSWORD}, "A name has 1 to 40"),
        ({"name": "taken", "password": PASSWORD, "again": PASSWORD}, "The name taken is taken"),
        ({}, "A password needs"),
    ],
)
def test_what_is_wrong_with_a_new_account_is_said_and_the_name_kept(
    study: Served, fields: dict[str, str], sentence: str
) -> None:
    study.account("taken")
    client = study.browser()
    path = study.invited("rater")
    answer = client.post(path, data=fields or {"name": "R07"}, headers=PAGE)
    assert answer.status_code == 400
    assert sentence in text_of(answer)
    assert f'value="{fields.get("name", "R07")}"' in answer.text
    assert "set-cookie" not in answer.headers
    assert client.get(path).status_code == 200, "the link still works"


def test_a_link_for_an_existing_account_asks_for_a_new_password_only(study: Served) -> None:
    study.account("R07")
    client = study.browser()
    path = study.invited("rater", name="R07")
    assert "A new password" in client.get(path, headers=PAGE).text
    client.post(path, data={"name": "R99", "password": "another good one", "again": "another good one"}, headers=PAGE)
    assert "R07" in client.get("/study/account", headers=PAGE).text
    assert sign_in(study.browser()).status_code == 403
    assert sign_in(study.browser(), password="another good one").status_code == 303


def test_the_right_password_opens_the_page_that_was_wanted(study: Served) -> None:
    study.account("R07")
    client = study.browser()
    sent_away = client.get("/study/rate/3?x=1", headers=PAGE)
    assert sent_away.status_code == 303
    assert sent_away.headers["location"] == "/study/sign-in?next=/study/rate/3%3Fx%3D1"
    page = client.get(sent_away.headers["location"], headers=PAGE)
    wanted = re.search(r'name="next" value="([^"]+)"', page.text)[1]  # type: ignore[index]
    answer = sign_in(client, next=wanted)
    assert (answer.status_code, answer.headers["location"]) == (303, "/study/rate/3?x=1")
    assert client.get("/study/sign-in?next=/study/account").headers["location"] == "/study/account"


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.example/",
        "//evil.example/study/",
        "/study/../",
        "/",
        "javascript:alert(1)",
        "/study/\\evil.example",
        "/study/a\nb",
        "\\\\evil.example",
        "study/",
        "/studyevil",
    ],
)
def test_after_signing_in_nobody_is_sent_elsewhere(elsewhere: str) -> None:
    assert local_path(elsewhere) == "/study/"


def test_a_wrong_password_is_one_sentence_and_the_name_stays(study: Served) -> None:
    study.account("R07")
    answer = sign_in(study.browser(), password="a wrong password")
    assert answer.status_code == 403
    assert "Name or password is wrong; check both and try again." in text_of(answer)
    assert 'value="R07"' in answer.text
    assert "a wrong password" not in answer.text
    unknown = sign_in(study.browser(), "nobody", "a wrong password")
    assert text_of(unknown) == text_of(answer), "the page does not tell which names there are"


def test_after_ten_wrong_passwords_the_page_says_when_to_try_again(study: Served) -> None:
    study.account("R07")
    for _ in range(10):
        assert sign_in(study.browser(), password="a wrong password").status_code == 403
    answer = sign_in(study.browser())
    assert answer.status_code == 429
    assert "too many wrong tries; try again in 15 min." in text_of(answer)


def test_the_cookie_is_out_of_reach_of_scripts_of_other_sites_and_of_the_demo(study: Served) -> None:
    study.account("R07")
    cookie = sign_in(study.browser()).headers["set-cookie"]
    assert re.fullmatch(rf"{COOKIE}=[\w-]{{43}}; HttpOnly; Max-Age=2592000; Path=/study; SameSite=strict", cookie), cookie
    secure = study.browser(headers={"x-forwarded-proto": "https"})
    assert "; Secure" in sign_in(secure).headers["set-cookie"]


def test_a_cookie_from_before_signing_in_is_worth_nothing(study: Served) -> None:
    study.account("R07")
    client = study.browser(cookies={COOKIE: "x" * 43})
    cookie = sign_in(client).cookies[COOKIE]
    assert cookie != "x" * 43
    assert study.browser(cookies={COOKIE: "x" * 43}).get("/study/account").status_code == 401


# ---------------------------------------------------------------- going out


def test_who_signs_out_cannot_go_back(study: Served) -> None:
    client = study.signed_in("R07")
    cookie = client.cookies[COOKIE]
    answer = client.post("/study/sign-out", data={"csrf": csrf(client)}, headers=PAGE)
    assert answer.headers["location"] == "/study/sign-in"
    assert study.browser(cookies={COOKIE: cookie}).get("/study/account").status_code == 401


def test_an_expired_session_is_told_to_scripts_and_leads_pages_to_sign_in(study: Served) -> None:
    client = study.signed_in("R07")
    token = csrf(client)
    with study.store.write() as session:
        login = session.scalars(select(Login)).one()
        login.seen_at -= timedelta(hours=13)
    answer = client.post("/study/api/rate/1/submit", json={"token": "x"}, headers={"x-csrf-token": token})
    assert answer.status_code == 401
    assert answer.json() == {
        "error": "You are signed out; sign in and go on where you were.",
        "reason": "signed out",
    }
    page = client.get("/study/rate/1", headers=PAGE)
    assert page.headers["location"] == "/study/sign-in?next=/study/rate/1"
    assert sign_in(client, next="/study/rate/1").headers["location"] == "/study/rate/1"


def test_the_idle_time_is_a_setting(serve: Callable[..., Served]) -> None:
    study = serve(idle=timedelta(minutes=5))
    client = study.signed_in("R07")
    with study.store.write() as session:
        session.scalars(select(Login)).one().seen_at -= timedelta(minutes=6)
    assert client.get("/study/account").status_code == 401


# ---------------------------------------------------------------- one's own account


def test_a_changed_password_keeps_this_browser_and_signs_the_others_out(study: Served) -> None:
    here, there = study.signed_in("R07"), study.signed_in("R07")
    new = "a better password"
    fields = {"csrf": csrf(here), "old": PASSWORD, "password": new, "again": new}
    wrong = here.post("/study/account/password", data=fields | {"old": "not this one"}, headers=PAGE)
    assert "present password is wrong" in text_of(wrong)
    done = here.post("/study/account/password", data=fields, headers=PAGE)
    assert "password is changed" in text_of(here.get(done.headers["location"], headers=PAGE))
    assert there.get("/study/account").status_code == 401
    assert sign_in(study.browser(), password=new).status_code == 303


def test_the_language_is_kept_with_the_account(study: Served) -> None:
    client = study.signed_in("R07")
    client.post("/study/account/language", data={"csrf": csrf(client), "language": "ru"})
    page = client.get("/study/account", headers=PAGE)
    assert '<html lang="ru">' in page.text
    assert "Сменить пароль" in page.text
    client.post("/study/account/language", data={"csrf": csrf(client), "language": "../en"})
    assert '<html lang="ru">' in client.get("/study/account", headers=PAGE).text


def test_before_signing_in_the_browsers_language_counts_and_may_be_changed(study: Served) -> None:
    russian = study.browser(headers={"accept-language": "de, ru-RU;q=0.8, en;q=0.5"})
    assert "Пароль" in russian.get("/study/sign-in", headers=PAGE).text
    assert "Password" in russian.get("/study/sign-in?language=en", headers=PAGE).text
    wrong = russian.post("/study/sign-in?language=ru", data={"name": "R07", "password": "no"}, headers=PAGE)
    assert "Имя или пароль неверны" in wrong.text


def test_every_language_says_everything() -> None:
    assert set(languages()) >= {"en", "ru"}
    for language in languages():
        assert texts(language).keys() == texts("en").keys(), language
        fields = {name: sorted(re.findall(r"\{\w+\}", text)) for name, text in texts(language).items()}
        assert fields == {name: sorted(re.findall(r"\{\w+\}", text)) for name, text in texts("en").items()}, language


# ---------------------------------------------------------------- who works in the study


def test_a_lead_invites_and_the_link_works(study: Served) -> None:
    lead = study.signed_in("Lead", "lead")
    fields = {"csrf": csrf(lead), "roles": ["rater", "adjudicator"], "name": ""}
    page = lead.post("/study/people/invite", data=fields, headers=PAGE)
    link = re.search(r'value="(http[^"]+/study/join/[\w-]{43})"', page.text)[1]  # type: ignore[index]
    assert link.startswith(study.address)
    guest = study.browser()
    guest.post(link, data={"name": HOSTILE, "password": PASSWORD, "again": PASSWORD})
    shown = lead.get("/study/people", headers=PAGE)
    assert HOSTILE not in shown.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown.text
    assert HOSTILE not in guest.get("/study/account", headers=PAGE).text
    assert "rater, adjudicator" in text_of(shown)


def test_an_invitation_without_a_role_is_refused_in_a_sentence(study: Served) -> None:
    lead = study.signed_in("Lead", "lead")
    page = lead.post("/study/people/invite", data={"csrf": csrf(lead)}, headers=PAGE)
    assert page.status_code == 400
    assert "Choose at least one role." in page.text


def test_a_lead_disables_enables_and_signs_out(study: Served) -> None:
    lead, rater = study.signed_in("Lead", "lead"), study.signed_in("R07")
    account_id, token = study.account("R07"), csrf(lead)

    def do(what: str, number: int) -> httpx.Response:
        return lead.post(f"/study/people/{what}/{number}", data={"csrf": token}, headers=PAGE)

    assert do("sign-out", account_id).status_code == 303
    assert rater.get("/study/account").status_code == 401
    assert do("disable", account_id).status_code == 303
    assert sign_in(study.browser()).status_code == 403
    assert "disabled" in text_of(lead.get("/study/people", headers=PAGE))
    assert do("enable", account_id).status_code == 303
    assert sign_in(study.browser()).status_code == 303
    mine = do("disable", study.account("Lead"))
    assert mine.status_code == 400
    assert "You cannot disable your own account" in text_of(mine)
    assert do("disable", 10**30).status_code == 422
    with study.store.read() as session:
        assert session.scalars(select(Account.disabled_at)).all() == [None, None]


def test_an_open_invitation_can_be_withdrawn(study: Served) -> None:
    lead = study.signed_in("Lead", "lead")
    path = study.invited("rater")
    page = lead.get("/study/people", headers=PAGE)
    withdraw = re.search(r'action="(/study/people/withdraw/\d+)"', page.text)[1]  # type: ignore[index]
    assert lead.post(withdraw, data={"csrf": csrf(lead)}).status_code == 303
    assert study.browser().get(path).status_code == 404


def test_an_invitation_may_name_a_study_of_chosen_raters(study: Served) -> None:
    lead, open_to_all, chosen = study.signed_in("Lead", "lead"), make_study(study.store), make_study(study.store, name="Few")
    assert 'name="study"' not in lead.get("/study/people", headers=PAGE).text, "there is none to choose"
    with study.store.write() as session:
        choose(session, None, chosen, True, [])
    page = lead.get("/study/people", headers=PAGE).text
    assert re.findall(r'<option value="(\d+)">', page) == [str(chosen)]

    def invite(**fields: Any) -> httpx.Response:
        return lead.post("/study/people/invite", data={"csrf": csrf(lead), **fields}, headers=PAGE)

    made = invite(roles="rater", study=str(chosen))
    assert "for Few" in text_of(made)
    link = re.search(r'value="(http[^"]+/study/join/[\w-]{43})"', made.text)[1]  # type: ignore[index]
    guest = study.browser()
    guest.post(link, data={"name": "R07", "password": PASSWORD, "again": PASSWORD})
    assert "Few" in guest.get("/study/", headers=PAGE).text
    with study.store.read() as session:
        assert chosen_names(session) == {chosen: ["R07"]}
    for fields, status, sentence in (
        ({"roles": "lead", "study": str(chosen)}, 400, "Only a rater can be chosen for a study"),
        ({"roles": "rater", "study": str(open_to_all)}, 400, "Every rater rates Joy at school, so a link need not name it."),
        ({"roles": "rater", "study": "99"}, 400, "There is no study 99"),
        ({"roles": "rater", "study": "x"}, 422, "another form than expected"),
    ):
        answer = invite(**fields)
        assert (answer.status_code, sentence in text_of(answer)) == (status, True), answer.text


def test_a_lead_changes_roles_but_not_the_own_lead(study: Served) -> None:
    lead, rater = study.signed_in("Lead", "lead"), study.signed_in("R07")

    def roles(name: str, *given: str) -> httpx.Response:
        path = f"/study/people/roles/{study.account(name)}"
        return lead.post(path, data={"csrf": csrf(lead), "roles": list(given)}, headers=PAGE)

    assert rater.get("/study/lead").status_code == 403
    assert roles("R07", "researcher", "rater").status_code == 303
    assert rater.get("/study/lead").status_code == 200
    assert "rater, researcher" in text_of(lead.get("/study/people", headers=PAGE))
    mine = roles("Lead", "rater")
    assert mine.status_code == 400
    assert "You cannot take the role lead from yourself; ask another lead to do it." in text_of(mine)
    none = roles("R07")
    assert (none.status_code, "Choose at least one role." in none.text) == (400, True)
    assert roles("R07", "boss").status_code == 400
    assert roles("Lead", "lead", "rater").status_code == 303
    assert lead.post("/study/people/roles/999", data={"csrf": csrf(lead), "roles": "rater"}).status_code == 400
    with study.store.read() as session:
        found = dict(session.execute(select(Account.name, Account.roles)).tuples().all())
    assert found == {"Lead": ["rater", "lead"], "R07": ["rater", "researcher"]}


# ---------------------------------------------------------------- bars


def test_a_raters_pages_have_no_way_to_the_demo(study: Served) -> None:
    rater = study.signed_in("R07")
    for path in ("/study/", "/study/account", "/study/nothing"):
        page = rater.get(path, headers=PAGE).text
        assert 'href="/study/"' in page
        assert all(
            link.startswith("/study/") or link == "#content" for link in re.findall(r'(?:href|src|action)="([^"]*)"', page)
        )
    lead = study.signed_in("Lead", "lead").get("/study/", headers=PAGE).text
    assert '<a href="/">Demo</a>' in lead
    assert "Study lead" in lead


# ---------------------------------------------------------------- where a request comes from


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
@pytest.mark.parametrize("path", ["/study/sign-in", "/study/join/x", "/study/sign-out", "/study/people/invite"])
def test_another_sites_page_changes_nothing(study: Served, path: str, headers: dict[str, str]) -> None:
    client = study.signed_in("Lead", "lead")
    answer = client.post(path, data={"csrf": csrf(client), "name": "Lead", "password": PASSWORD}, headers=headers)
    assert answer.status_code == 403
    assert "another site" in answer.json()["error"]


def test_on_this_computer_another_host_name_is_refused(serve: Callable[..., Served]) -> None:
    study = serve(local=True, hosts=("127.0.0.1", "localhost"))
    answer = httpx.get(study.address + "/study/account", headers={"host": "evil.example"})
    assert answer.status_code == 400
    assert "evil.example" in answer.json()["error"]
    assert study.browser().get("/study/account").status_code == 200


def test_a_request_is_small_and_tells_its_length(study: Served) -> None:
    client = study.browser()
    assert client.post("/study/sign-in", content=b"x" * (2 << 20)).status_code == 413
    assert client.post("/study/sign-in", content=iter([b"name=R07"])).status_code == 413


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/study/sign-in"),
        ("GET", "/study/"),
        ("GET", "/study/nothing"),
        ("GET", "/study/static/css/avemo.css"),
        ("GET", "/study/static/js/missing.js"),
        ("GET", "/study/join/nothing"),
        ("POST", "/study/sign-in"),
        ("PUT", "/study/sign-in"),
        ("POST", "/study/api/rate/1/claim"),
    ],
)
def test_every_answer_has_the_headers(study: Served, method: str, path: str) -> None:
    answer = study.browser().request(method, path)
    policy = answer.headers["content-security-policy"]
    for part in (
        "default-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    ):
        assert part in policy
    scripts = policy.split("script-src")[1].split(";")[0]
    assert "unsafe" not in scripts
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert "camera=()" in answer.headers["permissions-policy"]
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["cache-control"] == ("no-cache" if "/static/" in path else "no-store")


@pytest.mark.parametrize("header", [{"host": "["}, {"host": "[::1"}, {"origin": "http://["}])
def test_a_host_or_origin_that_is_no_address_is_refused(study: Served, header: dict[str, str]) -> None:
    answer = httpx.post(study.address + "/study/sign-in", headers=header)
    assert answer.status_code == 400
    assert "is no address" in answer.json()["error"]


def test_a_page_asks_no_other_host_and_has_no_script_of_its_own_without_a_nonce(study: Served) -> None:
    lead = study.signed_in("Lead", "lead")
    made = lead.post("/study/people/invite", data={"csrf": csrf(lead), "roles": "rater"}, headers=PAGE)
    nonce = re.search(r"'nonce-([\w-]{22})'", made.headers["content-security-policy"])[1]  # type: ignore[index]
    assert re.findall(r"<script(?![^>]*\bsrc=)([^>]*)>", made.text) == [f' nonce="{nonce}"']
    for path in ("/study/", "/study/account", "/study/people"):
        page = lead.get(path, headers=PAGE).text
        assert not re.search(r'(src|href|action)="(https?:)?//', page)
        assert not re.search(r"\son\w+=", page)


def test_the_demos_examples_are_not_among_the_studys_statics(study: Served) -> None:
    for path in ("examples/examples.json", "css/../examples/examples.json", "css/%2e%2e/examples/examples.json"):
        assert study.browser().get(f"/study/static/{path}").status_code == 404


def test_a_failure_of_ours_is_a_sentence_with_a_reference(study: Served) -> None:
    def fail() -> None:
        raise RuntimeError("secret inside")

    study.app.add_api_route("/study/fail", fail)
    for headers in ({}, PAGE):
        answer = study.browser().get("/study/fail", headers=headers)
        assert answer.status_code == 500
        assert re.search(r"failed for a reason of ours \(reference [0-9a-f]{8}\)", answer.text)
        assert "secret" not in answer.text
        assert "Traceback" not in answer.text


def test_a_full_disk_is_one_sentence_and_the_same_request_works_later(study: Served) -> None:
    """SQLite may take no further page; PostgreSQL lets nobody write."""
    client, other = study.signed_in("Lead", "lead"), study.browser()
    token, engine = csrf(client), study.store.engine
    roles = {"csrf": token, "roles": "rater"}

    def fill(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA max_page_count=1")  # as many as there are, it says then

    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", fill)
    else:
        with engine.begin() as connection:
            connection.execute(text(f"ALTER DATABASE {engine.url.database} SET default_transaction_read_only = on"))
    engine.dispose()
    answers = [client.post("/study/people/invite", data=roles) for _ in range(60)]
    refused = [answer for answer in answers if answer.status_code != 200]
    assert refused
    assert {answer.status_code for answer in refused} == {503}
    assert refused[0].json()["reason"] == "database"
    assert "The database cannot be used just now" in text_of(client.post("/study/people/invite", data=roles, headers=PAGE))
    assert other.get("/study/sign-in").status_code == 200
    if engine.dialect.name == "sqlite":
        event.remove(engine, "connect", fill)
    else:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("SET default_transaction_read_only = off"))
            connection.execute(text(f"ALTER DATABASE {engine.url.database} SET default_transaction_read_only = off"))
    engine.dispose()
    assert client.post("/study/people/invite", data=roles).status_code == 200
