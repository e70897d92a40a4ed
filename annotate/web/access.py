"""Who may call which route. Every route but the few that sign in takes its caller from need().

@router.get("/study/api/rate/{study_id}")
def rate(study_id: int, caller: Annotated[Caller, Depends(need("rater"))], request: Request) -> dict[str, Any]:
    store = services(request).store
"""

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated
from urllib.parse import quote, urlsplit

from fastapi import Request
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from ..accounts import IDLE, Caller, caller_of, has_accounts, local_caller
from ..store import Store
from .texts import language_of

PREFIX = "/study"
COOKIE = "avemo_study"
Number = Annotated[int, Field(ge=0, lt=2**31)]  # that a row can have
SAFE = ("GET", "HEAD", "OPTIONS")
FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")


@dataclass(frozen=True)
class Settings:
    """`local`: only this computer can reach the server, so that its single user needs no account."""

    local: bool = False
    hosts: tuple[str, ...] = ()  # names that a request may ask for; empty: any
    idle: timedelta = IDLE
    space: bool = False  # served inside a frame of huggingface.co, behind its proxy
    demo: bool = True  # whether the demo stands beside the study, at /


@dataclass(frozen=True)
class Services:
    """What the routes work with."""

    store: Store
    settings: Settings


class Refusal(Exception):  # noqa: N818 - an answer, not an error
    """A request that is answered by one sentence. `reason` tells a page's script what to do."""

    def __init__(self, status: int, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.reason = reason


def services(request: Request) -> Services:
    return request.app.state.study


def need(*roles: str, counts: bool = True) -> Callable[[Request], Awaitable[Caller]]:
    """The dependency that returns the caller, who has one of these roles (none given: any role).

    Refused with 401 when signed out, 403 without the role, and 403 where something would change without the CSRF token.
    `counts=False` is for what a page asks by itself: it does not put off the idle expiry.
    """

    async def caller(request: Request) -> Caller:
        found = await run_in_threadpool(who, request, counts)
        if found is None:
            raise Refusal(401, "signed out", "You are signed out; sign in and go on where you were.")
        if not found.roles & set(roles or found.roles):
            raise Refusal(
                403, "role", f"This is for the role {' or '.join(roles)}; yours is {', '.join(sorted(found.roles))}."
            )
        if request.method not in SAFE and not await _has_token(request, found.csrf):
            raise Refusal(403, "csrf", "This page is out of date; load it again, then repeat what you did.")
        return found

    return caller


def who(request: Request, counts: bool = True) -> Caller | None:
    """Whose request this is, None when signed out. The single user counts only on this computer, without a proxy."""
    study = services(request)
    found = caller_of(study.store, request.cookies.get(COOKIE), study.settings.idle, counts=counts)
    if found is not None:
        return found
    if not study.settings.local or any(name in request.headers for name in FORWARDED):
        return None
    with study.store.read() as session:
        everyone_signs_in = has_accounts(session)
    return None if everyone_signs_in else local_caller(study.store, language_of(request, None))


async def _has_token(request: Request, csrf: str) -> bool:
    given = request.headers.get("x-csrf-token")
    if given is None and request.headers.get("content-type", "").startswith(
        ("application/x-www-form-urlencoded", "multipart/form-data")
    ):
        field = (await request.form()).get("csrf")
        given = field if isinstance(field, str) else None
    return given is not None and secrets.compare_digest(given.encode(), csrf.encode())


def local_path(given: str | None) -> str:
    """Where to go after signing in: a path of the study, or its first page where something else was asked for."""
    home = f"{PREFIX}/"
    if not given or not given.startswith(home) or "\\" in given or "/.." in given or not given.isprintable():
        return home
    parts = urlsplit(given)
    return given if not parts.scheme and not parts.netloc else home


def sign_in_path(request: Request) -> str:
    """The sign-in page that leads back to this one."""
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return f"{PREFIX}/sign-in?next={quote(here, safe='/')}"
