"""The study's real application on a real socket, on both databases, and people as httpx clients."""

import contextlib
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from annotate import accounts
from annotate.store import Store
from annotate.web.access import COOKIE, Settings
from annotate.web.site import build_study

PASSWORD = "correct horse battery"
PAGE = {"accept": "text/html"}


@dataclass
class Served:
    """A running study: its address, application and store."""

    address: str
    app: FastAPI
    store: Store
    accounts: dict[str, int] = field(default_factory=dict)

    def browser(self, **options: Any) -> httpx.Client:
        """Someone who is not signed in."""
        # unverified: to read certificates takes 20 ms a client
        return httpx.Client(base_url=self.address, timeout=60, verify=False, **options)

    def invited(self, *roles: str, **options: Any) -> str:
        """The path of a new invitation."""
        with self.store.write() as session:
            return f"/study/join/{accounts.invite(session, None, roles, **options)}"

    def account(self, name: str, *roles: str) -> int:
        """The account of that name, made with these roles on the first call."""
        if name not in self.accounts:
            token = self.invited(*(roles or ("rater",)), name=name).rsplit("/", 1)[1]
            self.accounts[name] = accounts.accept(self.store, token, name, PASSWORD)
        return self.accounts[name]

    def signed_in(self, name: str, *roles: str, **options: Any) -> httpx.Client:
        """A browser of that account."""
        client = self.browser(**options)
        client.cookies.set(COOKIE, accounts.log_in(self.store, self.account(name, *roles)), path="/study")
        return client


def csrf(client: httpx.Client) -> str:
    """The token that this browser's pages carry."""
    page = client.get("/study/account", headers=PAGE)
    assert page.status_code == 200, page.text
    return re.search(r'<meta name="csrf" content="([\w-]+)">', page.text)[1]  # type: ignore[index]


@contextlib.contextmanager
def served(app: Any) -> Iterator[str]:
    """The address of an ASGI application on a socket of its own."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1, server_header=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server ended before it had started"
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive(), "the server did not stop within 20 s"


@pytest.fixture
def serve(store: Store) -> Iterator[Callable[..., Served]]:
    """serve(local=True): the study with these settings."""
    with contextlib.ExitStack() as stack:

        def start(**settings: Any) -> Served:
            app = build_study(store, Settings(**settings))
            return Served(stack.enter_context(served(app)), app, store)

        yield start


@pytest.fixture
def study(serve: Callable[..., Served]) -> Served:
    """As on a server that others reach: everyone signs in."""
    return serve()
