"""What app.py puts at /study: the study, or one calm page that says why it is not there and what to do."""

import logging
from pathlib import Path

from fastapi import FastAPI, Request
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from avemo_core.types import AvemoError

from ..accounts import is_open
from ..store import Home, Store
from ..studies import practice_study
from .access import PREFIX, Settings
from .pages import page, reads_pages
from .security import Guard
from .site import add_statics, build_study
from .texts import language_of, texts

log = logging.getLogger("avemo.study")


def open_study(home: Home, settings: Settings) -> FastAPI:
    """The study of this folder, made where there is none. Never raises: the demo starts whatever becomes of the study."""
    try:
        is_new = Store(home).revision() is None
        store = Store.create(home)
        if is_new:  # some seconds, once; whoever closes or erases it does not find it made again
            practice_study(store)
        app = build_study(store, settings)
        if not settings.local:
            with store.read() as session:
                if not is_open(session):
                    log.warning(
                        "The rating study is closed: other computers can reach this server, and nobody has an account. "
                        "Invite the study lead: python -m annotate invite --role lead"
                    )
            app.add_middleware(_until_open, closed=build_closed(settings), store=store)
        return app
    except (AvemoError, SQLAlchemyError, OSError) as error:
        sentence = str(error) if isinstance(error, AvemoError) else _unusable(home, error)
        log.warning("The rating study is not there: %s", sentence)
        return build_closed(settings, sentence)


def _unusable(home: Home, error: Exception) -> str:
    reason = getattr(error, "strerror", None) or str(getattr(error, "orig", None) or error).strip().splitlines()[0]
    return f"The study in {Path(home.folder)} cannot be used ({reason}); look at the folder, or choose another with --study."


def build_closed(settings: Settings, sentence: str | None = None) -> FastAPI:
    """`sentence`: why there is no study; None: nobody has an account yet."""
    app = FastAPI(title="AVEMO study", docs_url=None, redoc_url=None, openapi_url=None)
    add_statics(app)

    def closed(request: Request) -> Response:
        if reads_pages(request):
            return page(request, "closed.html", status=503, tab="tab_rate", sentence=sentence)
        said = sentence or texts(language_of(request, None))["closed"]
        return JSONResponse({"error": said, "reason": "closed"}, 503)

    for path in (PREFIX, PREFIX + "/{rest:path}"):
        app.add_api_route(path, closed, methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
    app.add_middleware(Guard, settings=settings)
    return app


def _until_open(study: ASGIApp, closed: ASGIApp, store: Store) -> ASGIApp:
    """The study as soon as someone has an account or an invitation; until then the page that says so."""
    found = False

    def look() -> bool:
        with store.read() as session:
            return is_open(session)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal found
        if scope["type"] == "http" and not found:
            found = await run_in_threadpool(look)
        await (closed if scope["type"] == "http" and not found else study)(scope, receive, send)

    return app
