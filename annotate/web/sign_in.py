"""Signing in and out, joining by an invitation, and one's own account."""

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from sqlalchemy import select
from starlette.responses import RedirectResponse, Response

from .. import accounts
from ..accounts import ABSOLUTE, Caller, Denied
from ..schema import Account
from ..store import Store
from .access import COOKIE, PREFIX, local_path, need, services, who
from .pages import page
from .texts import language_of, languages, said

router = APIRouter(prefix=PREFIX)
Anyone = Annotated[Caller, Depends(need())]


def _said(request: Request, error: Denied, caller: Caller | None = None) -> str:
    return said(language_of(request, caller), error.reason, str(error), **error.values)


def _signed_in(request: Request, token: str, to: str) -> Response:
    answer = RedirectResponse(to, 303)
    answer.set_cookie(
        COOKIE,
        token,
        max_age=int(ABSOLUTE.total_seconds()),
        path=PREFIX,
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return answer


@router.get("/sign-in")
def sign_in_page(request: Request, next: str | None = None) -> Response:
    if who(request) is not None:
        return RedirectResponse(local_path(next), 303)
    return page(request, "sign_in.html", next=local_path(next), name="", error=None)


@router.post("/sign-in")
def sign_in(
    request: Request,
    name: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
    next: Annotated[str, Form()] = "",
) -> Response:
    address = request.client.host if request.client else "unknown"
    try:
        token = accounts.sign_in(services(request).store, name, password, address)
    except Denied as error:
        status = 429 if error.reason == "limited" else 403
        said = _said(request, error)
        return page(request, "sign_in.html", status=status, next=local_path(next), name=name, error=said)
    return _signed_in(request, token, local_path(next))


@router.get("/join/{token}")
def join_page(request: Request, token: str) -> Response:
    try:
        name, known = _invited(services(request).store, token)
    except Denied as error:
        return page(request, "error.html", status=404, sentence=_said(request, error))
    return page(request, "join.html", name=name or "", fixed=name is not None, known=known, error=None)


@router.post("/join/{token}")
def join(
    request: Request,
    token: str,
    name: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
    again: Annotated[str, Form()] = "",
) -> Response:
    store = services(request).store
    fixed, known = None, False
    try:
        fixed, known = _invited(store, token)
        _check_same(password, again)
        account_id = accounts.accept(store, token, name, password, language_of(request, None))
    except Denied as error:
        if error.reason.endswith("link"):
            return page(request, "error.html", status=404, sentence=_said(request, error))
        sentence, shown = _said(request, error), fixed or name
        return page(request, "join.html", status=400, name=shown, fixed=fixed is not None, known=known, error=sentence)
    return _signed_in(request, accounts.log_in(store, account_id), f"{PREFIX}/")


def _invited(store: Store, token: str) -> tuple[str | None, bool]:
    """The name that the invitation gives, and whether an account has it already."""
    with store.read() as session:
        name = accounts.invitation_of(session, token).name
        known = name is not None and session.scalar(select(Account.id).where(Account.name == name)) is not None
    return name, known


def _check_same(password: str, again: str) -> None:
    if password != again:
        raise Denied("differ", "The two passwords differ; type the same one twice.")


@router.post("/sign-out")
def sign_out(request: Request, caller: Anyone) -> Response:
    if cookie := request.cookies.get(COOKIE):
        accounts.sign_out(services(request).store, cookie)
    answer = RedirectResponse(f"{PREFIX}/sign-in", 303)
    answer.delete_cookie(COOKIE, path=PREFIX)
    return answer


@router.get("/account")
def account_page(request: Request, caller: Anyone, done: str = "") -> Response:
    return page(request, "account.html", caller, error=None, done=done)


@router.post("/account/language")
def change_language(request: Request, caller: Anyone, language: Annotated[str, Form()] = "") -> Response:
    if language in languages():
        accounts.set_language(services(request).store, caller.account_id, language)
    return RedirectResponse(f"{PREFIX}/account?done=language", 303)


@router.post("/account/password")
def change_password(
    request: Request,
    caller: Anyone,
    old: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
    again: Annotated[str, Form()] = "",
) -> Response:
    try:
        _check_same(password, again)
        accounts.change_password(services(request).store, caller.account_id, old, password, keep=request.cookies.get(COOKIE))
    except Denied as error:
        return page(request, "account.html", caller, status=400, error=_said(request, error, caller), done="")
    return RedirectResponse(f"{PREFIX}/account?done=password", 303)
