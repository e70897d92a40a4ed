"""Every route x every role: who may call what is decided on the server, by need(), and nowhere is it forgotten."""

import inspect
import itertools
import re
from collections.abc import Iterator

import httpx
import pytest
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.routing import Mount

from annotate import accounts, queue
from annotate.accounts import local_caller
from annotate.answers import Answer
from annotate.assignment import choose
from annotate.schema import ROLES
from annotate.store import Store
from annotate.web.access import COOKIE, Settings
from annotate.web.site import build_study
from tests.annotate.small_study import make_study

from .conftest import PAGE, Served, csrf

PUBLIC = {
    ("GET", "/study/sign-in"),
    ("POST", "/study/sign-in"),
    ("GET", "/study/join/{token}"),
    ("POST", "/study/join/{token}"),
    ("GET", "/study/static/css/emotions.css"),
    ("GET", "/study/static/icons.svg"),
    ("GET", "/study/static/icon.svg"),
}
OPEN_FOLDERS = {"/study/static/css", "/study/static/js"}


def routes(app: FastAPI) -> Iterator[tuple[str, str, Dependant | None]]:
    """Method, path and dependencies of every route, those of routers included."""
    for context in iter_route_contexts(app.routes):
        route = context.original_route
        if isinstance(route, Mount):
            assert route.path in OPEN_FOLDERS, f"nobody guards the folder {route.path}"
            continue
        assert isinstance(route, APIRoute), f"{route} is of a kind that this test does not know"
        for method in sorted(route.methods - {"HEAD"}):
            yield method, str(context.path), route.dependant


def wanted_roles(dependant: Dependant | None) -> set[str] | None:
    """The roles that the route's need() asks for, all of them for need(); None where there is no need()."""
    for each in dependant.dependencies if dependant else ():
        if each.call is not None and getattr(each.call, "__qualname__", "") == "need.<locals>.caller":
            return set(inspect.getclosurevars(each.call).nonlocals["roles"]) or set(ROLES)
        if (found := wanted_roles(each)) is not None:
            return found
    return None


def test_every_route_is_guarded_or_on_the_short_list(store: Store) -> None:
    found = {(method, path): wanted_roles(dependant) for method, path, dependant in routes(build_study(store, Settings()))}
    assert len(found) > 15
    assert {route for route, wanted in found.items() if wanted is None} == PUBLIC
    unknown = set(itertools.chain.from_iterable(wanted or () for wanted in found.values())) - set(ROLES)
    assert not unknown, f"no one has the role {unknown}"


def test_a_route_that_forgets_its_guard_is_seen(store: Store) -> None:
    app = build_study(store, Settings())

    def leak() -> dict[str, str]:
        return {}

    app.add_api_route("/study/leak", leak)
    assert ("GET", "/study/leak") in {(m, p) for m, p, dependant in routes(app) if wanted_roles(dependant) is None}


def ask(client: httpx.Client, method: str, path: str, token: str | None = None) -> httpx.Response:
    """A request that changes nothing of note: it names what is not there, or leaves out what is needed."""
    filled = re.sub(r"\{\w+?_id\}", "999999", path)
    filled = re.sub(r"\{[^}]+\}", "nothing", filled)
    return client.request(method, filled, headers={"x-csrf-token": token} if token else {})


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_call_its_own_routes_and_no_others(study: Served, role: str) -> None:
    study.account(role, role)
    wrong = {}
    for method, path, dependant in routes(study.app):
        wanted = wanted_roles(dependant)
        if wanted is None:
            continue
        with study.signed_in(role) as client:
            answer = ask(client, method, path, csrf(client))
        if (answer.status_code == 403) == (role in wanted) or answer.status_code in (401, 500):
            wrong[method, path] = (answer.status_code, answer.text[:200])
        if role not in wanted:
            assert answer.json()["reason"] == "role"
    assert not wrong


def test_no_route_of_a_rater_gives_anything_of_a_study_that_is_not_theirs(study: Served) -> None:
    store, account = study.store, study.account("R07")
    study_id = make_study(store, name="Not theirs")
    with store.write() as session:
        enrolment = queue.enrol(session, study_id, account).id
    answered, held = (clip.token for clip in queue.claim(store, enrolment)[:2])
    rating = queue.submit(store, account, answered, "k1", Answer(label="anger")).rating_id
    with store.write() as session:
        choose(session, None, study_id, True, [])
    sent = {"token": held, "tokens": [held], "key": "k2", "answer": {"cannot_tell": True}, "rating_id": rating}
    own = {"draft": {"kept": True}, "renew": {"expires_in_s": 0}, "release": {}}  # of what is theirs, and no more
    client = study.signed_in("R07")
    token, asked = csrf(client), 0
    for method, path, dependant in routes(study.app):
        if wanted_roles(dependant) != {"rater"}:
            continue
        filled = path.format(study_id=study_id, token=answered)
        headers = {"x-csrf-token": token}
        answer = client.request(method, filled, headers=headers, json=sent if method == "POST" else None)
        name = path.rsplit("/", 1)[1]
        if name in own:
            assert answer.json() == own[name], path
        else:
            assert answer.status_code == (409 if name == "submit" else 404), (path, answer.text)
        assert "Not theirs" not in answer.text
        asked += 1
    assert asked >= 11
    assert "Not theirs" not in client.get("/study/", headers=PAGE).text


def test_who_is_signed_out_gets_nowhere(study: Served) -> None:
    study.account("R07")
    for method, path, dependant in routes(study.app):
        if wanted_roles(dependant) is not None:
            answer = ask(study.browser(), method, path, "anything")
            assert answer.status_code == 401, (method, path, answer.text)
            assert answer.json()["reason"] == "signed out"


def test_a_disabled_account_gets_nowhere(study: Served) -> None:
    study.account("Lead", "lead")  # somebody has to be
    client = study.signed_in("R07", *ROLES)
    token = csrf(client)
    cookie = client.cookies[COOKIE]
    with study.store.write() as session:
        accounts.enable(session, None, study.account("R07"), False)
    for method, path, dependant in routes(study.app):
        if wanted_roles(dependant) is not None:
            answer = ask(study.browser(cookies={COOKIE: cookie}), method, path, token)
            assert answer.status_code == 401, (method, path, answer.text)


def test_nothing_changes_without_the_token(study: Served) -> None:
    client = study.signed_in("R07", *ROLES)
    other = csrf(study.signed_in("R08", *ROLES))
    for method, path, dependant in routes(study.app):
        if wanted_roles(dependant) is not None and method != "GET":
            for token in (None, "", "nonsense", other):
                answer = ask(client, method, path, token)
                assert answer.status_code == 403, (method, path, token, answer.text)
                assert answer.json()["reason"] == "csrf"
            answer = client.post(re.sub(r"\{[^}]+\}", "999999", path), data={"csrf": other})
            assert answer.status_code == 403, (path, answer.text)
    assert client.get("/study/account").status_code == 200, "still signed in"


def test_the_single_user_may_everything_and_only_until_there_are_accounts(study: Served, store: Store) -> None:
    study.app.state.study = type(study.app.state.study)(store, Settings(local=True))
    client = study.browser()
    token = csrf(client)
    for method, path, dependant in routes(study.app):
        if wanted_roles(dependant) is not None:
            answer = ask(client, method, path, token)
            assert answer.status_code not in (401, 403, 500), (method, path, answer.text)
    study.account("R07")
    for method, path, dependant in routes(study.app):
        if wanted_roles(dependant) is not None:
            assert ask(client, method, path, token).status_code == 401, (method, path)
    assert local_caller(store).csrf == token


@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded", "via", "x-real-ip", "x-forwarded-host"])
def test_behind_a_proxy_nobody_is_the_single_user(study: Served, store: Store, header: str) -> None:
    study.app.state.study = type(study.app.state.study)(store, Settings(local=True))
    answer = study.browser().get("/study/account", headers={header: "203.0.113.9"})
    assert answer.status_code == 401
