"""What a rater does and sees, by keys and eyes."""

from typing import Any

from playwright.sync_api import Page, expect

from tests.browser import study as server
from tests.browser.rate.conftest import Room

EMPTY = "Object.keys(localStorage).every((key) => !key.includes('/out/'))"  # all answers have arrived


def state(page: Page) -> str | None:
    return page.locator("[data-rate]").get_attribute("data-state")


def until(page: Page, expression: str, argument: Any = None) -> None:
    """Waits until the expression is true; wait_for_function cannot, as these pages forbid eval."""
    for _ in range(400):
        if page.evaluate(expression, argument):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never true: {expression}")


def shows(page: Page, seconds: float) -> None:
    """Waits until the clip of this length is on show."""
    until(page, "(d) => Math.abs(document.querySelector('.screen > *')?.duration - d) < 0.01", seconds)


def wait_for_clip(page: Page) -> float:
    """The length of the clip on show, once it can be played."""
    page.wait_for_selector('[data-rate][data-state="rate"] .screen :is(audio, video)', state="attached")
    until(page, "document.querySelector('.screen > *').readyState >= 3")
    return length(page)


def length(page: Page) -> float:
    return page.evaluate("document.querySelector('.screen > *').duration")


def play(page: Page) -> float:
    """Plays the clip to its end, by the keyboard; its length."""
    found = wait_for_clip(page)
    stands = "(() => { const clip = document.querySelector('.screen > *'); return clip.paused && !clip.ended; })()"
    for _ in range(600):
        if page.query_selector(".stat.open"):
            return found
        if page.evaluate(stands):  # it may begin by itself just now, and then be stopped by this: the next look tells
            page.keyboard.press("Space")
        page.wait_for_timeout(50)
    raise AssertionError("The clip was not played to its end within 30 s.")


def rate(page: Page, *keys: str) -> float:
    """Plays a clip, presses the keys and saves; the length of the clip that was rated."""
    found = play(page)
    for key in keys:
        page.keyboard.press(key)
    page.keyboard.press("Enter")
    return found


def pressed(page: Page) -> list[str]:
    return page.locator(".lockable [aria-pressed=true]").all_inner_texts()


def news(page: Page) -> str:
    return page.locator(".news").inner_text()


def settled(room: Room, count: int, page: Page) -> list[dict[str, Any]]:
    """The ratings, once there are that many."""
    for _ in range(100):
        if len(found := room.ratings()) >= count:
            return found
        page.wait_for_timeout(100)
    raise AssertionError(f"{len(room.ratings())} ratings instead of {count}")


def close_dialog(page: Page) -> None:
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()


def kept(page: Page) -> list[dict[str, Any]]:
    """The answers that lie on this computer."""
    return page.evaluate(
        "Object.keys(localStorage).filter((k) => k.includes('/out/')).map((k) => JSON.parse(localStorage.getItem(k)))"
    )


def same(found: float, expected: float) -> bool:
    return abs(found - expected) < server.STEP_S / 2
