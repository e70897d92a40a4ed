"""The study as one FastAPI application: guard, statics, pages, and what an error looks like."""

import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import InternalError, OperationalError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from avemo_core.look import FAVICON, emotions_css, icons_svg

from ..accounts import Denied
from ..assignment import NotYours
from ..queue import Refused
from ..store import Store, StudyError
from . import adjudicate, home, lead, lead_log, lead_new, people, rating, sign_in
from .access import PREFIX, Refusal, Services, Settings, sign_in_path, who
from .pages import page, reads_pages
from .security import Guard
from .texts import language_of, said

log = logging.getLogger("avemo.study")

STATIC = Path(__file__).resolve().parents[2] / "static"
MADE = {
    "/static/css/emotions.css": (emotions_css, "text/css"),
    "/static/icons.svg": (icons_svg, "image/svg+xml"),
    "/static/icon.svg": (lambda: FAVICON, "image/svg+xml"),
}


def build_study(store: Store, settings: Settings) -> FastAPI:
    """The application, ready to be served. All its paths begin with /study."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        store.close()

    app = FastAPI(title="AVEMO study", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.state.study = Services(store, settings)
    pages = sign_in, home, people, rating, lead_new, lead_log, lead, adjudicate
    for router in (module.router for module in pages):
        app.include_router(router)
    add_statics(app)
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(Refused, rating.refused)
    app.add_exception_handler(NotYours, _not_yours)
    app.add_exception_handler(StudyError, _sentence)
    for kind in (OperationalError, InternalError):
        app.add_exception_handler(kind, _database_away)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_middleware(Guard, settings=settings)
    return app


def add_statics(app: FastAPI) -> None:
    """Styles and scripts only: the demo's examples come with what they show, which a rater must not know."""
    for path, (make, media_type) in MADE.items():
        body = make()

        def made(body: str = body, media_type: str = media_type) -> Response:
            return Response(body, media_type=media_type)

        app.add_api_route(PREFIX + path, made, methods=["GET"], name=path)
    for folder in ("css", "js"):
        app.mount(f"{PREFIX}/static/{folder}", StaticFiles(directory=STATIC / folder), name=folder)


# ---------------------------------------------------------------- errors: one sentence, as a page or as JSON


def _answer(request: Request, status: int, sentence: str, reason: str | None = None, **values: Any) -> Response:
    caller = who(request, counts=False)
    sentence = said(language_of(request, caller), reason, sentence, **values)
    if not reads_pages(request):
        return JSONResponse({"error": sentence} | ({"reason": reason} if reason else {}), status)
    return page(request, "error.html", caller, status=status, sentence=sentence)


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    if error.status == 401 and request.method == "GET" and reads_pages(request):
        return RedirectResponse(sign_in_path(request), 303)
    return _answer(request, error.status, str(error), error.reason)


def _not_yours(request: Request, error: Exception) -> Response:
    return _answer(request, 404, str(error), "not yours")


def _sentence(request: Request, error: Exception) -> Response:
    reason, values = (error.reason, error.values) if isinstance(error, Denied) else (None, {})
    return _answer(request, 400, str(error), reason, **values)


def _database_away(request: Request, error: Exception) -> Response:
    """A full disk, a database that went away: nothing was written, and the same may be asked again."""
    assert isinstance(error, OperationalError | InternalError)
    reason = (str(error.orig).strip().splitlines() or ["no reason given"])[0]
    log.error("%s %s: the database: %s", request.method, request.url.path, reason)
    otherwise = (
        "The database cannot be used just now; nothing was changed: try again, and tell the study lead if this stays."
    )
    sentence = said(language_of(request, None), "database", otherwise)
    if reads_pages(request):
        return page(request, "error.html", status=503, sentence=sentence)
    return JSONResponse({"error": sentence, "reason": "database"}, 503)


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return _answer(request, 404, "There is nothing at this address of the study.", "nothing here")
    sentences = {405: "This address cannot be asked in that way.", 400: "The request cannot be understood."}
    return _answer(request, error.status_code, sentences.get(error.status_code, str(error.detail)))


def _malformed(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:]) or "the request"
    return _answer(request, 422, f"The request has another form than expected: {where}: {first['msg']}.")
