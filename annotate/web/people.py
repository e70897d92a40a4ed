"""Who works in the study: a lead invites, changes roles, disables, and signs people out."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from starlette.responses import RedirectResponse, Response

from .. import accounts
from ..accounts import Caller, Denied
from ..schema import ROLES, Account, Invitation, Login, Study
from .access import PREFIX, Number, need, services
from .pages import page
from .texts import language_of, said

router = APIRouter(prefix=PREFIX)
Lead = Annotated[Caller, Depends(need("lead"))]


@router.get("/people")
def people(request: Request, caller: Lead) -> Response:
    return _shown(request, caller)


@router.post("/people/invite")
def invite(
    request: Request,
    caller: Lead,
    roles: Annotated[list[str] | None, Form()] = None,
    name: Annotated[str, Form()] = "",
    study: Annotated[str, Form(pattern=r"^\d{0,9}$")] = "",
) -> Response:
    study_id = int(study) if study else None
    try:
        with services(request).store.write() as session:
            token = accounts.invite(session, caller.account_id, roles or [], name.strip() or None, study_id=study_id)
    except Denied as error:
        return _denied(request, caller, error)
    return _shown(request, caller, link=f"{request.base_url}{PREFIX[1:]}/join/{token}")


@router.post("/people/withdraw/{invitation_id}")
def withdraw(request: Request, caller: Lead, invitation_id: Number) -> Response:
    return _do(request, caller, lambda session: accounts.withdraw(session, caller.account_id, invitation_id))


@router.post("/people/roles/{account_id}")
def set_roles(
    request: Request, caller: Lead, account_id: Number, roles: Annotated[list[str] | None, Form()] = None
) -> Response:
    return _do(request, caller, lambda session: accounts.set_roles(session, caller.account_id, account_id, roles or []))


@router.post("/people/disable/{account_id}")
def disable(request: Request, caller: Lead, account_id: Number) -> Response:
    return _do(request, caller, lambda session: accounts.enable(session, caller.account_id, account_id, False))


@router.post("/people/enable/{account_id}")
def enable(request: Request, caller: Lead, account_id: Number) -> Response:
    return _do(request, caller, lambda session: accounts.enable(session, caller.account_id, account_id, True))


@router.post("/people/sign-out/{account_id}")
def sign_out(request: Request, caller: Lead, account_id: Number) -> Response:
    return _do(request, caller, lambda session: accounts.remove_logins(session, caller.account_id, account_id))


def _do(request: Request, caller: Caller, change: Callable[[Session], object]) -> Response:
    try:
        with services(request).store.write() as session:
            change(session)
    except Denied as error:
        return _denied(request, caller, error)
    return RedirectResponse(f"{PREFIX}/people", 303)


def _denied(request: Request, caller: Caller, error: Denied) -> Response:
    sentence = said(language_of(request, caller), error.reason, str(error), **error.values)
    return _shown(request, caller, status=400, error=sentence)


def _shown(
    request: Request, caller: Caller, status: int = 200, link: str | None = None, error: str | None = None
) -> Response:
    with services(request).store.read() as session:
        rows = _people(session)
        query = (
            select(Invitation.id, Invitation.name, Invitation.roles, Invitation.expires_at, Study.name.label("study"))
            .outerjoin(Study, Invitation.study_id == Study.id)
            .where(Invitation.used_at.is_(None), Invitation.expires_at > datetime.now(UTC))
        )
        invitations = [row._asdict() for row in session.execute(query.order_by(Invitation.id))]
        chosen_only = select(Study.id, Study.name).where(Study.only_chosen, Study.state != "closed").order_by(Study.name)
        studies = list(session.execute(chosen_only).tuples())
    values = {"people": rows, "invitations": invitations, "studies": studies, "link": link, "error": error}
    return page(request, "people.html", caller, status=status, tab="tab_people", roles=ROLES, **values)


def _people(session: Session) -> list[dict[str, Any]]:
    """Every account, with when its last browser was seen: None where it is signed in nowhere."""
    query = (
        select(Account.id, Account.name, Account.roles, Account.disabled_at, func.max(Login.seen_at).label("seen_at"))
        .outerjoin(Login, (Login.account_id == Account.id) & (Login.token_hash != accounts.LOCAL_LOGIN))
        .group_by(Account.id)
        .order_by(Account.name)
    )
    return [row._asdict() for row in session.execute(query)]
