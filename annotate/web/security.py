"""What stands round the study's application: headers on every answer, and whose request it is.

A sibling of the demo's guard, with a stricter policy: no eval, no camera, no frames but a Space's, which get no cookie.
"""

import logging
import secrets
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .access import SAFE, Settings
from .pages import page, reads_pages

log = logging.getLogger("avemo.study")

MOST_BYTES = 1 << 20  # of a request: answers and forms are small, clips come by the command line
STATIC = "/study/static/"


def content_policy(nonce: str, space: bool) -> str:
    ancestors = "https://huggingface.co" if space else "'none'"
    return (
        f"default-src 'self'; script-src 'self' 'nonce-{nonce}'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; "
        "media-src 'self' blob:; font-src 'self'; connect-src 'self'; object-src 'none'; base-uri 'none'; "
        f"form-action 'self'; frame-ancestors {ancestors}"
    )


def refusal(scope: Scope, settings: Settings) -> tuple[int, str] | None:
    """(status, sentence) for a request to another host name, from another site's page, or too large."""
    headers = Headers(scope=scope)
    host, origin = headers.get("host", ""), headers.get("origin")
    try:
        name, source = urlsplit(f"//{host}").hostname, urlsplit(origin or "").netloc
    except ValueError:  # an address with half a bracket
        return 400, "The host or origin of this request is no address; open the page under its own address."
    if settings.hosts and name not in settings.hosts:
        return 400, f"This server does not answer for the host name {host!r}; open it under its own address."
    if scope["method"] in SAFE:
        return None
    hosts = {host, headers.get("x-forwarded-host", host)} if settings.space else {host}
    foreign = origin is not None and source not in hosts
    if foreign or headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        return 403, "This request came from another site's page; use the pages of this server."
    length = headers.get("content-length", "")
    if "transfer-encoding" in headers or (length.isdigit() and int(length) > MOST_BYTES):
        return 413, f"A request has {MOST_BYTES // 1024} kB at most and tells its length; send less."
    return None


class Guard:
    """ASGI middleware round the whole application. Sets scope["state"]["nonce"]."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self.settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        nonce = secrets.token_urlsafe(16)
        scope.setdefault("state", {})["nonce"] = nonce
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                _protect(MutableHeaders(scope=message), scope["path"], nonce, self.settings.space)
            await send(message)

        if refused := refusal(scope, self.settings):
            await _plain(scope, *refused)(scope, receive, send_with_headers)
            return
        try:
            await self.app(scope, receive, send_with_headers)
        except Exception:
            reference = secrets.token_hex(4)
            log.exception("%s %s failed (reference %s)", scope["method"], scope["path"], reference)
            if not started:
                sentence = f"Something failed for a reason of ours (reference {reference}); nothing was lost, try again."
                await _plain(scope, 500, sentence)(scope, receive, send_with_headers)


def _plain(scope: Scope, status: int, sentence: str) -> Response:
    """One sentence, without a look at who asks: as a page to who reads pages, as JSON to everyone else."""
    request = Request(scope)
    if reads_pages(request):
        return page(request, "error.html", status=status, sentence=sentence)
    return JSONResponse({"error": sentence}, status)


def _protect(headers: MutableHeaders, path: str, nonce: str, space: bool) -> None:
    headers["content-security-policy"] = content_policy(nonce, space)
    headers["x-content-type-options"] = "nosniff"
    headers["referrer-policy"] = "same-origin"
    headers["permissions-policy"] = "camera=(), microphone=(), geolocation=(), payment=(), display-capture=()"
    headers["cross-origin-opener-policy"] = "same-origin"
    headers["cross-origin-resource-policy"] = "same-origin"
    if not space:
        headers["x-frame-options"] = "DENY"
    # Scripts and styles are asked for again each time, and answered by 304: no browser shows yesterday's.
    headers.setdefault("cache-control", "no-cache" if path.startswith(STATIC) else "no-store")
