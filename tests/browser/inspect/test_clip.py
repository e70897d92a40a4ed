"""The clip on the Inspect page: played under a map, muted in one channel, taken away as a video."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from avemo_core import media
from tests.browser.inspect.conftest import Visit, asked, drawn, material, shown


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
