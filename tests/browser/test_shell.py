"""Bar, foot and theme of every page in a real browser: no error, no flash, the keyboard reaches everything."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

PAGES = {"/": "Try it", "/live": "Live", "/inspect": "Inspect", "/about": "About"}
DARK, LIGHT = "rgb(15, 18, 23)", "rgb(242, 244, 247)"


def background(page: Page) -> str:
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


@pytest.mark.parametrize("width", [1280, 820])
@pytest.mark.parametrize("path", PAGES)
def test_a_page_stands_in_its_frame(visit: Callable[..., Page], path: str, width: int) -> None:
    page = visit(path, viewport={"width": width, "height": 900})
    page.wait_for_selector("#content .page h1")
    assert page.title() == f"{PAGES[path]} - AVEMO"
    assert page.locator("nav a[aria-current=page]").inner_text() == PAGES[path]
    assert page.locator("h1:visible").count() == 1
    assert page.locator("main").count() == 1
    assert not page.evaluate("document.documentElement.scrollWidth > innerWidth"), "the page scrolls sideways"
    box = page.locator("#content .page").bounding_box()
    assert box
    assert box["width"] <= 1216
    assert page.locator(".gradio-container .nav-holder, .gradio-container footer").filter(visible=True).count() == 0


@pytest.mark.parametrize(("scheme", "colour"), [("dark", DARK), ("light", LIGHT)])
def test_the_first_paint_has_the_systems_theme(visit: Callable[..., Page], scheme: str, colour: str) -> None:
    page = visit("/about", color_scheme=scheme)
    assert background(page) == colour
    page.wait_for_selector("#content .page")
    assert background(page) == colour
    assert page.evaluate("document.body.classList.contains('dark')") == (scheme == "dark")


def test_the_switch_is_kept_over_pages_and_against_the_system(visit: Callable[..., Page]) -> None:
    page = visit("/about", color_scheme="light")
    page.wait_for_selector("#content .page")
    switch = page.get_by_role("button", name="Dark theme")
    assert switch.get_attribute("aria-pressed") == "false"
    switch.click()
    assert background(page) == DARK
    assert switch.get_attribute("aria-pressed") == "true"
    page.goto("/live")
    assert background(page) == DARK
    page.wait_for_selector("#content .page")
    assert background(page) == DARK
    page.get_by_role("button", name="Dark theme").click()
    page.reload()
    assert background(page) == LIGHT


def test_the_keyboard_skips_to_the_content_and_shows_where_it_is(visit: Callable[..., Page]) -> None:
    page = visit("/about")
    page.wait_for_selector("#content .page")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    box = page.locator("a.skip").bounding_box()
    assert box
    assert box["y"] >= 0, "the skip link stays out of sight"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    reached = []
    page.reload()
    page.wait_for_selector("#content .page")
    for _ in range(8):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.textContent.trim() || document.activeElement.id"))
        ring = page.evaluate("getComputedStyle(document.activeElement).boxShadow")
        assert ring != "none", f"no focus ring on {reached[-1]}"
    assert reached == ["Skip to the content", "AVEMO", "Try it", "Live", "Inspect", "About", "Rate", "theme"]


def test_the_bar_is_there_without_scripts(visit: Callable[..., Page]) -> None:
    page = visit("/about", java_script_enabled=False)
    assert page.get_by_role("navigation", name="Pages").get_by_role("link").all_inner_texts() == [*PAGES.values(), "Rate"]


def test_an_unknown_address_gets_a_page_with_a_way_on(visit: Callable[..., Page]) -> None:
    page = visit("/nothing-here")
    assert "nothing at this address" in page.locator("h1").inner_text()
    page.get_by_role("link", name="Try a clip").click()
    page.wait_for_selector("#content .page")
    assert page.title() == "Try it - AVEMO"


def test_the_tab_rate_leads_within_two_clicks_to_clips_that_can_be_rated(visit: Callable[..., Page]) -> None:
    page = visit("/about")
    page.get_by_role("link", name="Rate").click()
    page.get_by_role("heading", name="Choose a study.").wait_for()
    page.get_by_role("link", name="Practice").click()
    page.get_by_role("heading", name="Which emotion").wait_for()
    page.get_by_role("button", name="Dark theme").wait_for()
