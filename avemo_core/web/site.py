"""The whole demo as one FastAPI application: guard, own routes, then Gradio's pages.

A page is a function that takes the services and is called while its gr.Blocks is open. Its markup goes in with
theme.markup(html, js_on_load="import('/static/js/my_page.js').then(m => m.start(element))"): Gradio adds it when it has
loaded, so scripts start from there. Bar and foot are already on the page.
"""

import asyncio
import contextlib
import hashlib
import logging
import threading
import time
import warnings
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import gradio as gr
from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..media import Limits
from . import routes, theme
from .about import about_page
from .inspect import inspect_page
from .jobs import Jobs
from .live import add_live_route, live_page
from .security import Guard
from .services import STATIC, Services, Settings
from .try_it import try_it_page
from .turns import Turns
from .visitors import Visitors

if TYPE_CHECKING:
    from ..analyzer import Analyzer

log = logging.getLogger("avemo.web")


@dataclass(frozen=True)
class Page:
    name: str
    path: str
    description: str
    build: Callable[[Services], None]


PAGES = (
    Page("Try it", "/", "Which emotion do face and voice express in a clip, when, and on what evidence.", try_it_page),
    Page("Live", "/live", "Which emotion face and voice express, live from the camera and microphone.", live_page),
    Page("Inspect", "/inspect", "Where in face and voice a reading comes from, by eleven methods.", inspect_page),
    Page("About", "/about", "What AVEMO reads and what it does not, how, how well, and what happens to a clip.", about_page),
)
PATHS = tuple(page.path for page in PAGES)


def build_site(analyzer: "Analyzer", settings: Settings, clock: Callable[[], float] = time.monotonic) -> FastAPI:
    """The application, ready to be served. `clock` is what the deletion schedule goes by."""
    visitors = Visitors(settings, clock)
    limits = Limits(max_bytes=settings.max_bytes, max_duration_s=settings.max_duration_s)
    jobs = Jobs(analyzer, visitors, limits, settings.workers)
    services = Services(analyzer, settings, visitors, jobs, Turns(busy=lambda: jobs.waiting() > 0))
    app = FastAPI(title="AVEMO", docs_url=None, redoc_url=None, openapi_url=None, lifespan=_lifespan(services))
    app.state.services = services
    routes.add(app, services)
    add_live_route(app, services)
    _mount(app, services)
    # Added last runs first: the guard is outside, then the pages are dressed.
    app.add_middleware(Dressing, pages=PAGES, more=settings.more_pages, model_id=analyzer.model_id, version=_version())
    app.add_middleware(Guard, settings=settings, pages=PATHS)
    return app


def _mount(app: FastAPI, services: Services) -> None:
    """Gradio and its pages at the root, with everything off that the pages do not need."""
    demo = _pages(services)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "SSR mode is not supported")  # it says so even when it was switched off
        gr.mount_gradio_app(
            app,
            demo,
            path="/",
            theme=theme.gradio_theme(),
            footer_links=[],
            run_history=False,
            show_error=False,
            ssr_mode=False,
            enable_monitoring=False,
            max_file_size=1,  # bytes; the upload route is closed as well
        )


def _pages(services: Services) -> gr.Blocks:
    """Every page in one Blocks, each with an address of its own."""
    demo = gr.Blocks(title="AVEMO", analytics_enabled=False, fill_width=True)
    first, *others = PAGES
    with demo:
        first.build(services)
    for page in others:
        with demo.route(page.name, page.path, show_in_navbar=False):
            page.build(services)
    return demo


def _lifespan(services: Services) -> Callable[[FastAPI], contextlib.AbstractAsyncContextManager[None]]:
    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        sweeping = asyncio.create_task(_sweep_forever(services))
        if services.settings.warm_up:
            threading.Thread(target=_warm_up, args=(services,), daemon=True).start()
        try:
            yield
        finally:
            sweeping.cancel()
            services.turns.close()
            await asyncio.to_thread(services.jobs.close)
            services.visitors.close()

    return lifespan


async def _sweep_forever(services: Services) -> None:
    while True:
        await asyncio.sleep(services.settings.sweep_s)
        try:
            gone = await asyncio.to_thread(services.visitors.sweep)
        except Exception:
            log.exception("the deletion schedule failed once; it goes on")
        else:
            if gone:
                log.info("deleted %d reading(s) on schedule", gone)


def _warm_up(services: Services) -> None:
    """Read the first example: loads what is loaded late and starts the decoding process."""
    started = time.monotonic()
    try:
        for row in routes.read_examples()[:1]:
            services.analyzer.analyze(routes.EXAMPLES / row["file"])
    except Exception:
        log.exception("the warm-up failed; the first reading may show why")
    else:
        log.info("ready: the model %s is warm after %.1f s", services.analyzer.model_id, time.monotonic() - started)


def _version() -> str:
    """Changes whenever a style or script does, so that no browser shows yesterday's."""
    digest = hashlib.sha256()
    for path in sorted(STATIC.glob("*/*.[cj]s*")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


class Dressing:
    """ASGI middleware that puts the bar, foot and head on the pages that Gradio sends."""

    def __init__(
        self, app: ASGIApp, pages: tuple[Page, ...], more: tuple[tuple[str, str], ...], model_id: str, version: str
    ) -> None:
        self.app = app
        self.pages = {page.path: page for page in pages}
        self.more = more
        self.model_id = model_id
        self.version = version

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        page = self.pages.get(scope.get("path", ""))
        if scope["type"] != "http" or page is None:
            await self.app(scope, receive, send)
            return
        scope["query_string"] = b""  # nothing in it is for the server; Gradio would look up saved states by it
        # Gradio would compress the page before it can be dressed.
        scope["headers"] = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
        start: Message = {}
        body = b""

        async def gather(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                start = message
                return
            body += message.get("body", b"")
            if message.get("more_body"):
                return
            dressed = body
            if start["status"] == 200 and body:
                nonce = scope["state"]["nonce"]
                pages = tuple(self.pages.values())
                bar = theme.top_bar(pages, page, self.model_id, self.more)
                dressed = theme.dress(body.decode(), page, bar, nonce, self.version).encode()
                MutableHeaders(scope=start)["content-length"] = str(len(dressed))
            await send(start)
            await send({"type": "http.response.body", "body": dressed})

        await self.app(scope, receive, gather)
