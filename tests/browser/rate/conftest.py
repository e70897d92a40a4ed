"""A study that raters open in real browsers: the study's own server, a real SQLite, generated clips."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from annotate.store import Home, Store
from tests.browser import study as server
from tests.browser.conftest import watch

FREE = "--autoplay-policy=no-user-gesture-required"
ONLY: dict[str, Any] = {"replications": 100, "repeat_share": 0.0, "break_every": 0}


@dataclass
class Site:
    """A server that runs, and the store behind it."""

    address: str
    store: Store
    folder: Path


@dataclass
class Room:
    """One study with its raters, opened in browsers of their own."""

    site: Site
    study: int
    launch: Callable[..., Browser]
    raters: tuple[str, ...]
    problems: list[str] = field(default_factory=list)
    contexts: list[BrowserContext] = field(default_factory=list)

    def context(self, rater: int = 0, *flags: str, **options: Any) -> BrowserContext:
        options.setdefault("viewport", {"width": 1280, "height": 900})
        context = self.launch(*(flags or (FREE,))).new_context(base_url=self.site.address, **options)
        server.sign_in(context, self.site.store, self.site.address, self.raters[rater])
        self.contexts.append(context)
        return context

    def open(self, context: BrowserContext | None = None, rater: int = 0, **options: Any) -> Page:
        page = (context or self.context(rater, **options)).new_page()
        page.set_default_timeout(20_000)
        watch(page, self.site.address, self.problems)
        page.goto(f"/study/rate/{self.study}")
        return page

    def ratings(self, rater: int | None = None) -> list[dict[str, Any]]:
        """Every row in its order, with the length of the clip that it is about."""
        from annotate.ratings import read_ratings

        with self.site.store.read() as session:
            rows = read_ratings(session, self.study, history=True)
        return [row for row in rows if rater is None or row["rater"] == self.raters[rater]]


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("study")
    store = Store.create(Home(folder))
    with server.running(folder) as address:
        yield Site(address, store, folder)
    store.close()


@pytest.fixture
def room(site: Site, launch: Callable[..., Browser], tmp_path: Path) -> Iterator[Callable[..., Room]]:
    """Makes a study with two raters: room(clips=6, design=..., scheme=...). Errors in any of its browsers fail the test."""
    rooms: list[Room] = []

    def make(raters: tuple[str, ...] = ("A", "B"), language: str = "en", **how: Any) -> Room:
        name = f"{tmp_path.name}-{len(rooms)}"
        study = server.make_study(site.store, tmp_path, name=name, **how)
        names = tuple(f"{name}-{rater}" for rater in raters)
        for each in names:
            server.make_account(site.store, each, language=language)
        rooms.append(Room(site, study, launch, names))
        return rooms[-1]

    yield make
    for made in rooms:
        for context in made.contexts:
            context.close()
        assert not made.problems, "\n".join(made.problems)
