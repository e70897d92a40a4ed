"""Outlines, layers, scales and heads of the maps on the Inspect page, and all maps in one file."""

import re
import zipfile
from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.inspect.conftest import asked, shown


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
