"""What stands between the network and the pages: headers on every answer, whose request it is, which Gradio routes
exist at all, and what a visitor learns of a failure.

Gradio runs every handler, and serves every upload, to whoever asks. The pages here need none of that, so only what loads
a page passes; all else answers 404.
"""

import logging
import re
import secrets
from html import escape
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .services import Settings
from .visitors import COOKIE, TOKEN, new_token

log = logging.getLogger("avemo.web")

# What Chromium asks for when it loads a page of Gradio 6.31 (GET and HEAD only); our own routes are matched before.
GRADIO_OPEN = re.compile(r"/theme\.css|/assets/[\w\-.]+|/favicon\.ico|/robots\.txt")
OWN = re.compile(r"/(api|static)/.*")
SAFE = ("GET", "HEAD", "OPTIONS")
CAMERA_ONLY = (
    "camera=(self), microphone=(self), geolocation=(), usb=(), payment=(), midi=(), serial=(), "
    "display-capture=(), browsing-topics=()"
)


def content_policy(nonce: str, space: bool) -> str:
    """The Content-Security-Policy of a page. gr.HTML compiles its templates in the browser, hence 'unsafe-eval'; inline
    scripts and handlers stay shut out by the nonce."""
    ancestors = "https://huggingface.co" if space else "'none'"
    return (
        f"default-src 'self'; script-src 'self' 'nonce-{nonce}' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; media-src 'self' blob:; font-src 'self' data:; connect-src 'self'; "
        "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; "
        f"frame-ancestors {ancestors}"
    )


def visitor_token(headers: Headers) -> str | None:
    """The visitor's cookie where it has the form of ours."""
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return None
    return morsel.value if morsel and TOKEN.fullmatch(morsel.value) else None


def cookie(token: str, settings: Settings) -> str:
    """The Set-Cookie value. Inside the frame of a Space a strict cookie would never come back, so there it is bound to
    the frame's top site instead (Partitioned), and the Origin check alone guards against posts from elsewhere."""
    kind = "SameSite=None; Secure; Partitioned" if settings.space else "SameSite=Strict"
    return f"{COOKIE}={token}; Path=/; HttpOnly; {kind}"


def refusal(scope: Scope, settings: Settings) -> tuple[int, str] | None:
    """(status, sentence) for a request that comes for another host, or from another site's page; None for a good one."""
    headers = Headers(scope=scope)
    host, origin = headers.get("host", ""), headers.get("origin")
    try:
        name, source = urlsplit(f"//{host}").hostname, urlsplit(origin or "").netloc
    except ValueError:  # an address with half a bracket
        return 400, "The host or origin of this request is no address; open the page under its own address."
    if settings.hosts and name not in settings.hosts:
        return 400, f"This server does not answer for the host name {host!r}; open it under its own address."
    if scope["type"] == "http" and scope["method"] in SAFE:
        return None
    hosts = {host, headers.get("x-forwarded-host", host)} if settings.space else {host}
    foreign = origin is not None and source not in hosts
    if foreign or headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        return 403, "This request came from another site's page; use the pages of this server."
    return None


def is_open(scope: Scope, pages: tuple[str, ...]) -> bool:
    """Whether a path exists for the network at all."""
    path: str = scope["path"]
    if OWN.fullmatch(path):
        return True
    if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
        return False
    return path in pages or GRADIO_OPEN.fullmatch(path) is not None


def plain_answer(scope: Scope, status: int, sentence: str) -> Response:
    """One sentence, as a small page to who reads pages and as JSON to everyone else."""
    accepts = Headers(scope=scope).get("accept", "")
    if "text/html" in accepts and not scope["path"].startswith("/api/"):
        body = (
            '<!doctype html><html lang="en"><meta charset="utf-8"><title>AVEMO</title>'
            '<meta name="viewport" content="width=device-width,initial-scale=1">'
            '<script src="/static/js/theme.js"></script><link rel="stylesheet" href="/static/css/tokens.css">'
            '<link rel="stylesheet" href="/static/css/avemo.css">'
            f'<main class="page lost"><h1 class="verdict">{escape(sentence)}</h1>'
            '<p class="mt5"><a class="btn p" href="/">Try a clip</a></p></main></html>'
        )
        return HTMLResponse(body, status)
    return JSONResponse({"error": sentence}, status)


class Guard:
    """ASGI middleware round the whole application. Sets scope["state"]: `visitor` (token), `nonce`."""

    def __init__(self, app: ASGIApp, settings: Settings, pages: tuple[str, ...]) -> None:
        self.app = app
        self.settings = settings
        self.pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        refused = refusal(scope, self.settings)
        if refused is None and not is_open(scope, self.pages):
            refused = 404, "There is nothing at this address; the pages are Try it, Live, Inspect and About."
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send, refused)
        else:
            await self._http(scope, receive, send, refused)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send, refused: tuple[int, str] | None) -> None:
        token = visitor_token(Headers(scope=scope))
        if refused or token is None:
            await receive()  # websocket.connect
            await send({"type": "websocket.close", "code": 4403, "reason": "Load the page first."})
            return
        scope.setdefault("state", {}).update(visitor=token)
        await self.app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send, refused: tuple[int, str] | None) -> None:
        known = visitor_token(Headers(scope=scope))
        token, nonce = known or new_token(), secrets.token_urlsafe(16)
        scope.setdefault("state", {}).update(visitor=token, nonce=nonce)
        gives_cookie = known is None and (scope["path"] in self.pages or scope["method"] not in SAFE) and not refused
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                self._protect(headers, scope["path"], nonce)
                if gives_cookie:
                    headers.append("set-cookie", cookie(token, self.settings))
            await send(message)

        if refused:
            await plain_answer(scope, *refused)(scope, receive, send_with_headers)
            return
        try:
            await self.app(scope, receive, send_with_headers)
        except Exception:
            reference = secrets.token_hex(4)
            log.exception("%s %s failed (reference %s)", scope["method"], scope["path"], reference)
            if not started:
                sentence = f"Something failed for a reason of ours (reference {reference}); try again."
                await plain_answer(scope, 500, sentence)(scope, receive, send_with_headers)

    def _protect(self, headers: MutableHeaders, path: str, nonce: str) -> None:
        headers.setdefault("content-security-policy", content_policy(nonce, self.settings.space))
        headers["x-content-type-options"] = "nosniff"
        headers["referrer-policy"] = "same-origin"
        headers["permissions-policy"] = CAMERA_ONLY
        headers["cross-origin-opener-policy"] = "same-origin"
        headers["cross-origin-resource-policy"] = "same-origin"
        if not self.settings.space:
            headers["x-frame-options"] = "DENY"
        if path.startswith("/api/") or path in self.pages:
            headers["cache-control"] = "no-store"
        for name in ("access-control-allow-origin", "access-control-allow-credentials", "server"):
            if name in headers:  # Gradio lets other sites' pages read its answers; ours are for this site only
                del headers[name]
