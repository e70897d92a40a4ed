"""The Inspect page with one generated clip that a visitor has read, opened as often as tests like."""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.browser.conftest import watch

Visit = Callable[..., Page]


def shown(page: Page, columns: int = 3) -> None:
    """Wait until every method's maps, or the sentence why there are none, are there."""
    page.wait_for_selector('.inspect[data-state="result"]')
    page.wait_for_function(
        """n => { const all = [...document.querySelectorAll('.method')];
          return all.length === n && all.every((one) => one.querySelector('.scale, .note.warn, .scroll')); }""",
        arg=columns,
    )


def asked(page: Page) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}


def material(page: Page) -> dict[str, Any]:
    return page.request.get(f"/api/results/{asked(page)['result']}/explain").json()


@pytest.fixture(scope="package")
def visitor(launch: Callable[..., Browser], server: str) -> Iterator[tuple[BrowserContext, str]]:
    """A visitor who began with an example on this page, and the id of its reading."""
    context = launch().new_context(base_url=server, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(60_000)
    problems: list[str] = []
    watch(page, server, problems)
    page.goto("/inspect")
    page.wait_for_selector('.inspect[data-state="empty"]')
    page.locator('.ex[data-name="both_agree"]').click()
    shown(page)
    result = asked(page)["result"]
    page.close()
    assert not problems, "\n".join(problems)
    yield context, result
    context.close()


@pytest.fixture
def inspect(visitor: tuple[BrowserContext, str], server: str) -> Iterator[Callable[..., Page]]:
    """inspect(query, width): the page that shows that reading. Tests against random maps are put off: they take long."""
    context, result = visitor
    pages: list[Page] = []
    problems: list[str] = []

    def inspect(query: str = "", width: int = 1280, tests: bool = False) -> Page:
        page = context.new_page()
        pages.append(page)
        page.set_viewport_size({"width": width, "height": 900})
        page.set_default_timeout(60_000)
        watch(page, server, problems)
        if not tests:
            page.route("**/test/**", lambda route: route.fulfill(status=400, json={"error": "Not tested here."}))
        page.goto(f"/inspect?result={result}{query}")
        return page

    yield inspect
    for page in pages:
        page.close()
    assert not problems, "\n".join(problems)


def drawn(page: Page, selector: str) -> np.ndarray:
    """The pixels [H,W,4] of a canvas."""
    data = page.locator(selector).first.evaluate(
        "c => [c.height, c.width, ...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]"
    )
    return np.array(data[2:]).reshape(data[0], data[1], 4)
