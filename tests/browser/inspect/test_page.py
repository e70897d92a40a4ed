"""The Inspect page as a researcher uses it: a real browser, the real app, a generated clip."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.browser.accessibility import serious
from tests.browser.inspect.conftest import Visit, asked, drawn, material, shown


def test_three_methods_stand_side_by_side_with_their_scales(inspect: Callable[..., Page]) -> None:
    page = inspect("&methods=cam,gradcam,temporal&contrast=anger&target=fear")
    shown(page)
    assert page.inner_text("h1:visible") == "What speaks for fear rather than anger"
    boxes = [one.bounding_box() for one in page.locator(".method").all()]
    assert len({round(box["y"]) for box in boxes if box}) == 1
    assert page.locator(".method .scale").count() == 6
    texts = page.locator(".method .scale").all_inner_texts()
    assert "logits" in texts[0] and texts[0].startswith("\u2212")
    assert "share of attention" in texts[4]
    page.wait_for_function("document.querySelector('.method .face .map').wanted")
    assert drawn(page, ".method .face canvas")[..., 3].min() == 255
    page.wait_for_timeout(500)
    assert drawn(page, ".method .face .map")[..., 3].max() > 8
    expect(page.locator(".method .spec img.map").first).to_be_visible()


def test_a_method_that_the_model_cannot_do_says_so(inspect: Callable[..., Page]) -> None:
    page = inspect("&methods=cam")
    shown(page, 1)
    page.get_by_label("Method 1", exact=True).select_option("rollout")
    expect(page.locator(".method .note.warn")).to_contain_text("no stacked attention")
    assert asked(page)["methods"] == "rollout"
    page.get_by_label("Method 1", exact=True).select_option("channel")
    expect(page.locator(".method .nomap").first).to_contain_text("not places")
    expect(page.locator(".method table")).to_be_visible()


def test_methods_are_added_and_removed_three_at_most(inspect: Callable[..., Page]) -> None:
    page = inspect("&methods=cam")
    shown(page, 1)
    add = page.get_by_role("button", name="Add a method")
    add.click()
    add.click()
    shown(page, 3)
    expect(add).to_be_hidden()
    assert len(set(asked(page)["methods"].split(","))) == 3
    page.get_by_role("button", name="Remove method 2").click()
    shown(page, 2)


def test_a_click_on_the_timeline_chooses_a_window(inspect: Callable[..., Page]) -> None:
    page = inspect("&methods=cam")
    shown(page, 1)
    windows = material(page)["windows"]
    before = page.locator(".method .scale").first.inner_text()
    turn = page.locator(".windows li").nth(2)
    turn.click()
    assert asked(page)["window"] == "2"
    shown(page, 1)
    page.wait_for_function("t => document.querySelector('.method .scale')?.innerText !== t", arg=before)
    expect(page.get_by_label("Window", exact=True)).to_have_value("2")
    assert windows[2]["start_s"] <= float(asked(page)["time"]) <= windows[2]["end_s"]
    page.get_by_label("Window", exact=True).select_option("")
    assert "window" not in asked(page)


def test_keys_and_buttons_step_from_frame_to_frame(inspect: Callable[..., Page]) -> None:
    page = inspect("&methods=cam&time=0")
    shown(page, 1)
    times = material(page)["times"]
    slider = page.get_by_role("slider", name="Frame")
    slider.focus()
    for key in ("ArrowRight", "ArrowRight", "Shift+ArrowRight", "ArrowLeft"):
        page.keyboard.press(key)
    expect(slider).to_have_attribute("aria-valuenow", "12")
    assert asked(page)["time"] == f"{times[11]:.2f}"
    page.get_by_role("button", name="One frame on").click()
    expect(page.locator(".steps-panel .cur b")).to_have_text(f"{times[12]:.2f} s")
    assert "Frame 13 of" in page.inner_text(".inspect")
    box = page.locator(".cells").bounding_box()
    assert box
    page.mouse.click(box["x"] + box["width"] * 0.5, box["y"] + 5)
    expect(slider).not_to_have_attribute("aria-valuenow", "13")
    assert float(asked(page)["time"]) == pytest.approx(material(page)["duration_s"] / 2, abs=0.11)


def test_the_pointer_reads_time_frequency_and_value(inspect: Callable[..., Page]) -> None:
    page = inspect("&methods=cam")
    shown(page, 1)
    spec = page.locator(".steps-panel .spec")
    spec.scroll_into_view_if_needed()
    box = spec.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] * 0.9)
    line = page.locator(".steps-panel p.under")
    expect(line).to_have_text(re.compile(r"^2\.\d\d s, \d+ to \d+ Hz: \u2212?\d[\d.e\-]* logits$"))


def test_the_address_reproduces_the_view(inspect: Callable[..., Page]) -> None:
    query = "&target=sadness&contrast=neutral&methods=layercam%2Cspatial&window=1&time=1.20"
    page = inspect(query)
    shown(page, 2)
    expect(page.get_by_label("Target", exact=True)).to_have_value("sadness")
    expect(page.get_by_label("Contrast with", exact=True)).to_have_value("neutral")
    expect(page.get_by_label("Window", exact=True)).to_have_value("1")
    assert [page.get_by_label(f"Method {n}", exact=True).input_value() for n in (1, 2)] == ["layercam", "spatial"]
    expect(page.locator(".steps-panel .cur b")).to_have_text("1.20 s")
    assert page.url.endswith(query)
    page.reload()
    shown(page, 2)
    assert page.url.endswith(query)


def test_attention_is_said_in_words_and_follows_the_cursor(inspect: Callable[..., Page]) -> None:
    page = inspect("&methods=cam&time=1.00")
    shown(page, 1)
    said = page.locator(".crossed .strong")
    expect(said).to_have_text(re.compile(r"^The frame at 1\.00 s attends most to the sound from \d\.\d\d to \d\.\d\d s\.$"))
    box = page.locator(".matrix").bounding_box()
    assert box
    page.locator(".matrix").scroll_into_view_if_needed()
    page.locator(".matrix").hover(position={"x": 100, "y": box["height"] * 0.75})
    expect(said).not_to_contain_text("at 1.00 s")
    expect(page.locator(".crossed")).to_contain_text("description, not an explanation")


def test_what_the_map_keeps_can_be_heard(inspect: Callable[..., Page]) -> None:
    page = inspect("&methods=cam")
    shown(page, 1)
    page.get_by_role("button", name="What the map keeps").click()
    page.wait_for_function("document.querySelector('.inspect audio').currentTime > 0.2")
    assert "/cam/sound/kept.wav" in page.evaluate("document.querySelector('.inspect audio').src")


def test_maps_are_drawn_as_strongly_as_the_slider_says_and_downloaded(inspect: Callable[..., Page]) -> None:
    page = inspect("&methods=cam")
    shown(page, 1)
    page.get_by_label("How strongly the maps are drawn").fill("30")
    strength = "document.querySelector('.method .face .map')"
    assert page.evaluate(f"getComputedStyle({strength}).opacity") == "0.3"
    with page.expect_download() as waiting:
        page.get_by_role("link", name="NPZ of The model's own evidence").click()
    assert "label" not in np.load(waiting.value.path())
    assert Path(waiting.value.suggested_filename).suffix == ".npz"


def test_a_map_is_tested_and_a_newer_choice_gives_the_test_up(inspect: Callable[..., Page]) -> None:
    page = inspect("&methods=temporal&window=1", tests=True)
    shown(page, 1)
    page.get_by_label("Target", exact=True).select_option("anger")
    shown(page, 1)
    page.get_by_label("Target", exact=True).select_option("fear")
    badge = page.locator(".method .badge.pass, .method .badge.fail")
    expect(badge.first).to_have_text(
        re.compile(r"^face better than random: (yes|no) \(area under deletion 0\.\d+ against 0\.\d+\)$"), timeout=120_000
    )
    expect(page.locator(".method .curves").first).to_be_visible()
    expect(badge.filter(has_text="voice")).to_be_visible(timeout=120_000)
    lost_voice = badge.filter(has_text="voice better than random: no").count()
    assert page.locator(".steps-panel .spec.lost").count() == lost_voice
    lost = page.locator(".method .face.lost").count()
    assert lost == page.locator(".method .badge.fail").filter(has_text="face").count()


def test_a_map_is_compared_with_untrained_weights(inspect: Callable[..., Page]) -> None:
    page = inspect("&methods=gradcam&window=1&time=1.00")
    shown(page, 1)
    ask = page.get_by_role("button", name="Compare with untrained weights: Grad-CAM")
    ask.focus()
    page.keyboard.press("Enter")
    twin = page.get_by_role("group", name="Grad-CAM with untrained weights")
    expect(twin).to_be_visible(timeout=120_000)
    badges = twin.locator(".badge")
    for n, which in enumerate(("face", "voice")):
        expect(badges.nth(n)).to_have_text(
            re.compile(
                rf"^{which} (alike|partly alike|unlike) \(rank correlation 0\.\d\d, .+ by network\): \w+ .+ learned\.$"
            )
        )
    expect(twin).to_contain_text("5 networks of random weights")
    own, same = (page.get_by_role("button", name=name) for name in ("Its own scale", "Same scale"))
    expect(own).to_be_focused()
    expect(own).to_have_attribute("aria-pressed", "true")
    heat = """most => { const c = document.querySelector('.twin .pair > :last-child .map');
      const { data } = c.getContext('2d').getImageData(0, 0, c.width, c.height);
      return data.some((value, i) => i % 4 === 3 && value > 60) === most; }"""
    page.wait_for_function(heat, arg=True)
    assert drawn(page, ".twin .face canvas")[..., 3].min() == 255
    same.click()
    page.wait_for_function(heat, arg=False)  # a thousand times weaker than what was learned
    assert twin.locator(".scale").first.inner_text() == page.locator(".method > .stream .scale").first.inner_text()
    page.get_by_label("Target", exact=True).select_option("anger")
    expect(twin).to_be_hidden()  # it was of another map
    expect(ask).to_be_visible()


def test_a_comparison_is_given_up_or_fails_in_one_sentence(inspect: Callable[..., Page]) -> None:
    page = inspect("&methods=cam,gradcam,layercam", 820)
    shown(page)
    page.route("**/twin/**", lambda route: None)  # an answer that never comes
    column = page.locator(".method").first
    ask, cancel = (column.get_by_role("button", name=name) for name in ("Compare with untrained weights", "Cancel"))
    edge = column.bounding_box()
    for button in (ask, cancel):
        box = button.bounding_box()
        assert box and edge and box["x"] + box["width"] <= edge["x"] + edge["width"] + 1
        if button is ask:
            ask.click()
            expect(column.get_by_role("progressbar", name="Progress of the comparison")).to_be_visible()
    page.keyboard.press("Enter")  # Cancel has the focus
    expect(column.locator(".twin")).to_contain_text("The comparison was given up.")
    expect(ask).to_be_focused()
    page.unroute("**/twin/**")
    page.route("**/twin/**", lambda route: route.fulfill(status=400, json={"error": "Not compared here."}))
    ask.click()
    expect(column.locator(".twin")).to_contain_text("Not compared here.")
    page.get_by_label("Method 1", exact=True).select_option("channel")  # has no map
    expect(column.locator(".twin")).to_be_hidden()


def test_a_voice_alone_has_no_face_and_says_so(visit: Visit) -> None:
    page = visit("/inspect")
    page.wait_for_selector('.inspect[data-state="empty"]')
    page.locator('.ex[data-name="voice_only"]').click()
    shown(page)
    expect(page.locator(".method .nomap").first).to_have_text("no picture in this clip")
    expect(page.locator(".method .spec").first).to_be_visible()


def test_a_reading_that_is_not_here_is_said_in_one_sentence(visit: Visit) -> None:
    page = visit("/inspect?result=nothing")
    page.wait_for_selector('.inspect[data-state="error"]')
    assert "not here any more" in page.inner_text("[data-part=error]")
    page.get_by_role("button", name="Choose another").click()
    page.wait_for_selector('.inspect[data-state="empty"]')


def test_try_it_leads_here(visit: Visit) -> None:
    page = visit("/")
    page.locator('.ex[data-name="both_agree"]').click()
    page.get_by_role("link", name="Inspect where this comes from").click()
    shown(page)
    expect(page.get_by_label("Clip", exact=True)).to_contain_text("both_agree.mp4")


@pytest.mark.parametrize("width", [1280, 820, 390])
def test_nothing_scrolls_sideways(inspect: Callable[..., Page], width: int) -> None:
    page = inspect("&methods=cam,channel,rollout&window=0", width)
    shown(page)
    page.wait_for_selector(".crossed:visible")
    assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_serious_accessibility_finding(inspect: Callable[..., Page], visit: Visit, theme: str) -> None:
    page = inspect("&methods=cam,channel,rollout&window=0&contrast=anger")
    page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    shown(page)
    page.wait_for_selector(".crossed:visible")
    empty = visit("/inspect", color_scheme=theme)
    empty.wait_for_selector('.inspect[data-state="empty"] .ex')
    for one in (page, empty):
        assert not serious(one)
