"""The Inspect page as a researcher uses it: a real browser, the real app, a generated clip."""

import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect

from avemo_core import media
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


@pytest.fixture(scope="module")
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
        found = [v for v in Axe().run(one).response["violations"] if v["impact"] in ("serious", "critical")]
        assert not found, "\n".join(f"{v['id']}: {node['html'][:160]}" for v in found for node in v["nodes"])


# ---------------------------------------------------------------- the clip with its map, and muting


def looked_at(page: Page) -> np.ndarray:
    """The pixels [H,W,3] of the clip as it is shown."""
    return drawn(page, ".stage canvas")[..., :3].astype(float)


def roughness(pixels: np.ndarray) -> float:
    """Mean squared difference of neighbouring pixels of [H,W,3]."""
    return float((np.diff(pixels.mean(2), axis=1) ** 2).mean())


def watched(page: Page, look: str, seconds: float) -> np.ndarray:
    """The clip in this look at this moment."""
    page.get_by_role("button", name=look, exact=True).click()
    page.locator(".transport input").fill(str(seconds))
    page.wait_for_function("t => Math.abs(document.querySelector('.stage video').currentTime - t) < 0.05", arg=seconds)
    page.wait_for_timeout(700)  # the seek, and the map's picture
    return looked_at(page)


def test_the_clip_is_blurred_outside_or_inside_what_the_map_marks(inspect: Callable[..., Page]) -> None:
    page = inspect("&methods=gradcam")
    shown(page, 1)
    page.wait_for_function("document.querySelector('.stage video').readyState >= 2")
    plain, kept, rest, heat = (
        watched(page, look, 2.0) for look in ("As it is", "Only what it marks", "All but that", "Heat")
    )
    height, width = plain.shape[:2]
    across, up, left, top = material(page)["picture"]["spots"][20]
    middle_x, middle_y = ((left + across / 2 - up / 2) * width, (top + up / 2 + across / 2) * width)
    half = int(across * width / 2)
    face = slice(int(middle_y) - half, int(middle_y) + half), slice(int(middle_x) - half, int(middle_x) + half)
    shoulders = slice(int(height * 0.8), None), slice(None)
    assert roughness(kept[shoulders]) < 0.1 * roughness(plain[shoulders])
    assert roughness(kept[face]) > 2 * roughness(kept[shoulders])
    assert np.abs(rest[shoulders] - plain[shoulders]).max() == 0
    assert roughness(rest[face]) < 0.8 * roughness(plain[face])
    assert np.abs(heat[face] - plain[face]).mean() > 3
    assert np.abs(heat[shoulders] - plain[shoulders]).max() == 0
    page.get_by_label("Opacity of the heat over the clip").fill("0")
    assert np.abs(watched(page, "Heat", 2.0) - plain).max() == 0
    expect(page.get_by_label("How strongly the maps are drawn")).to_have_value("0")


def test_the_clip_plays_with_the_cursor_and_by_keys(inspect: Callable[..., Page]) -> None:
    page = inspect("&methods=cam&time=0")
    shown(page, 1)
    page.wait_for_function("document.querySelector('.stage video').readyState >= 2")
    page.keyboard.press("Space")
    page.wait_for_function("document.querySelector('.stage video').currentTime > 0.5")
    page.keyboard.press("Space")
    page.wait_for_function("document.querySelector('.stage video').paused")
    now = page.evaluate("document.querySelector('.stage video').currentTime")
    assert float(asked(page)["time"]) == pytest.approx(now, abs=0.2)
    page.keyboard.press("ArrowLeft")
    page.wait_for_timeout(300)
    assert page.evaluate("document.querySelector('.stage video').currentTime") == pytest.approx(float(asked(page)["time"]))
    page.keyboard.press("KeyH")
    expect(page.get_by_role("button", name="Only what it marks")).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".stage canvas")).to_have_attribute("aria-label", re.compile("only what it marks: The model"))


def test_a_muted_channel_leaves_the_reading_of_the_other(inspect: Callable[..., Page]) -> None:
    page = inspect("&methods=cam")
    shown(page, 1)
    readings = material(page)["readings"]
    bars, sentence = page.locator(".solo .bar b"), page.locator(".mutes .strong")

    def shows(name: str, window: int | None = None) -> None:
        row = readings[name]["clip"] if window is None else readings[name]["windows"][window]
        assert [float(text) for text in bars.all_inner_texts()] == pytest.approx(row, abs=0.0051)

    shows("both")
    page.on("request", lambda sent: pytest.fail(f"asked the server: {sent.url}") if "explain" in sent.url else None)
    page.get_by_role("button", name="Mute voice").click()
    shows("face")
    expect(sentence).to_have_text(re.compile(r"^Face alone: most likely \w+ 0\.\d\d; together \w+ 0\.\d\d\.$"))
    assert page.evaluate("document.querySelector('.stage video').muted")
    before = roughness(looked_at(page))
    page.keyboard.press("KeyF")
    expect(sentence).to_have_text("Nothing is left to read.")
    assert bars.all_inner_texts() == [""] * 7
    assert roughness(looked_at(page)) < 0.2 * before
    page.keyboard.press("KeyV")
    shows("voice")
    assert not page.evaluate("document.querySelector('.stage video').muted")


def test_a_muted_channel_is_shown_of_the_window_that_is_chosen(inspect: Callable[..., Page]) -> None:
    page = inspect("&methods=cam&window=1")
    shown(page, 1)
    row = material(page)["readings"]["voice"]["windows"][1]
    page.get_by_role("button", name="Mute face").click()
    found = [float(text) for text in page.locator(".solo .bar b").all_inner_texts()]
    assert found == pytest.approx(row, abs=0.0051)


def test_the_video_is_made_and_downloaded_or_given_up(inspect: Callable[..., Page], tmp_path: Path) -> None:
    page = inspect("&methods=cam&target=happiness")
    shown(page, 1)
    make = page.get_by_role("button", name="Make a video of it, MP4")
    page.get_by_role("button", name="Only what it marks").click()
    with page.expect_download() as waiting:
        make.click()
    assert waiting.value.suggested_filename == "both_agree-cam-happiness.kept.mp4"
    waiting.value.save_as(tmp_path / "kept.mp4")
    made = media.decode(tmp_path / "kept.mp4")
    assert made.duration_s == pytest.approx(material(page)["duration_s"], abs=0.05)
    assert made.audio
    expect(make).to_be_visible()
    page.route("**/video/**", lambda route: None)  # an answer that never comes
    make.click()
    expect(page.get_by_role("progressbar", name="Progress of the video")).to_be_visible()
    page.locator(".taken").get_by_role("button", name="Cancel").click()
    expect(page.locator(".watch")).to_contain_text("The video was given up.")
    expect(make).to_be_visible()
    page.get_by_role("button", name="As it is").click()
    expect(make).to_be_disabled()


def sent(page: Page, path: Path, columns: int = 3) -> None:
    """Read a clip of one's own on the front page and go on to this one."""
    page.wait_for_selector(".tryit .ex")
    page.set_input_files("[data-part=file]", path)
    page.get_by_role("link", name="Inspect where this comes from").click()
    shown(page, columns)


def test_a_clip_without_a_face_is_shown_as_it_is_and_says_why(visit: Visit, clip_of: Callable[[str], Path]) -> None:
    page = visit("/")
    sent(page, clip_of("nobody.mp4"))
    expect(page.locator(".watch .stream")).to_contain_text(
        "No map of the face: no face in this clip. The clip is shown as it is."
    )
    expect(page.get_by_role("button", name="Heat", exact=True)).to_be_disabled()
    expect(page.get_by_role("button", name="Make a video of it, MP4")).to_be_disabled()
    expect(page.get_by_role("button", name="Mute face")).to_be_disabled()
    page.wait_for_function("document.querySelector('.stage canvas').width > 100")
    assert looked_at(page).max() > 50


def test_a_still_picture_has_its_map_and_no_player(visit: Visit, clip_of: Callable[[str], Path]) -> None:
    page = visit("/")
    sent(page, clip_of("photo.png"))
    page.wait_for_function("document.querySelector('.stage canvas').width === 160")
    page.wait_for_timeout(500)
    heat = looked_at(page)
    page.get_by_role("button", name="As it is").click()
    assert np.abs(heat - looked_at(page)).mean() > 0.5
    expect(page.locator(".transport")).to_have_count(0)
    expect(page.get_by_role("button", name="Make a video of it, MP4")).to_have_count(0)
    expect(page.get_by_role("button", name="Mute voice")).to_be_disabled()


# ---------------------------------------------------------------- outlines, layers, scales, heads, all maps


def test_the_strongest_fifth_of_a_map_is_outlined(inspect: Callable[..., Page]) -> None:
    page = inspect("&methods=gradcam,temporal")
    shown(page, 2)
    uneven, even = (page.locator(".method").nth(n) for n in (0, 1))
    expect(uneven.locator(".face .contour path").last).to_have_attribute("d", re.compile(r"^M\d"))
    expect(uneven.locator(".spec .contour path").last).to_have_attribute("d", re.compile(r"^M\d"))
    expect(uneven.locator(".dashes")).to_have_text(["dashed: top 20\u00a0%"] * 2)
    assert not even.locator(".face .contour path").last.get_attribute("d")
    expect(even.locator(".stream").first.locator(".dashes")).to_have_count(0)
    page.get_by_label("How strongly the maps are drawn").fill("0")
    assert uneven.locator(".face .contour").evaluate("one => getComputedStyle(one).opacity") == "0"


def test_a_layer_is_chosen_kept_in_the_address_and_named_where_there_is_none(inspect: Callable[..., Page]) -> None:
    page = inspect("&methods=gradcam,cam&window=1")
    shown(page, 2)
    page.get_by_label("Layer", exact=True).select_option("stage2")
    assert asked(page)["layer"] == "stage2"
    shown(page, 2)
    notes = page.locator(".method > .micro")
    expect(notes.nth(0)).to_contain_text("layer stage2")
    expect(notes.nth(1)).to_contain_text("has no layer to choose")
    assert "layer=stage2" in str(page.get_by_role("link", name="NPZ of Grad-CAM").get_attribute("href"))
    assert "layer" not in str(page.get_by_role("link", name="NPZ of The model's own evidence").get_attribute("href"))
    page.reload()
    expect(page.get_by_label("Layer", exact=True)).to_have_value("stage2")


def test_maps_of_one_unit_share_a_scale_where_that_is_chosen(inspect: Callable[..., Page]) -> None:
    page = inspect("&methods=gradcam,layercam,temporal")
    shown(page)
    bars = page.locator(".method .scale")
    own = bars.all_inner_texts()
    assert own[0] != own[2]
    page.get_by_role("button", name="Shared", exact=True).click()
    shared = bars.all_inner_texts()
    assert shared[0] == shared[2] in own
    assert shared[1] == shared[3] in own
    assert shared[4:] == own[4:]  # another unit
    assert asked(page)["scale"] == "shared"
    page.get_by_role("button", name="Per map").click()
    assert bars.all_inner_texts() == own
    assert "scale" not in asked(page)


def test_a_head_is_chosen_and_attention_is_cut(inspect: Callable[..., Page]) -> None:
    page = inspect("&methods=cam&window=1&target=fear")
    shown(page, 1)
    card = page.locator(".crossed")
    effects = card.locator("tbody td:last-child")
    expect(effects).to_have_text([re.compile(r"^([+\u2212]0\.\d\d|0\.00)$")] * 2)
    expect(card).to_contain_text(re.compile(r"change of the probability of fear, 0\.\d\d before calibration"))
    page.get_by_label("Head of the attention").select_option("2")
    assert asked(page)["head"] == "2"
    expect(card).to_contain_text("with head 2 of this attention made uniform")


def test_all_maps_come_in_one_file(inspect: Callable[..., Page]) -> None:
    page = inspect("&methods=cam,rollout,temporal&window=1&target=fear")
    shown(page)
    with page.expect_download() as waiting:
        page.get_by_role("link", name="All maps").click()
    assert waiting.value.suggested_filename == "both_agree-maps-fear-window1.zip"
    stems = [f"both_agree-{name}-fear-window1" for name in ("cam", "temporal")]  # the model has no layers to roll out
    names = zipfile.ZipFile(waiting.value.path()).namelist()
    assert names == [f"{stem}.{kind}" for stem in stems for kind in ("npz", "svg", "png")]


def test_no_name_of_a_method_is_cut_off(inspect: Callable[..., Page]) -> None:
    page = inspect("&methods=cam,cross_modal,integrated_gradients&window=0", 820)
    page.wait_for_selector(".naming span")
    cut = "all => all.filter((one) => one.scrollWidth > one.clientWidth || one.scrollHeight > one.clientHeight).length"
    assert page.locator(".naming").evaluate_all(cut) == 0
