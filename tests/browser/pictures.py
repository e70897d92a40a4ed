"""Takes the README's pictures from the running app, of generated people only: python -m tests.browser.pictures."""

import io
import re
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from avemo_core import look
from avemo_core.synthetic import write_webcam
from tests.browser.conftest import ROOT, running
from tests.browser.install import find

FOLDER = ROOT / "static" / "pictures"
LARGEST = 400_000  # bytes; a README is loaded over slow lines too
FLAT = 96  # of 256 colours, those that the page itself has most of
CHART_MS = 10_500  # Live shows the last ten seconds


def main() -> int:
    chromium = find()
    if not chromium:
        print("No Chromium was found; run python -m tests.browser.install once.", file=sys.stderr)
        return 1
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as scratch,
        running(Path(scratch) / "app.log") as address,
        sync_playwright() as started,
    ):
        camera = Path(scratch) / "face.y4m", Path(scratch) / "voice.wav"
        write_webcam(*camera, "happiness", seconds=6)
        browser = started.chromium.launch(
            executable_path=chromium,
            args=[
                "--use-fake-device-for-media-stream",
                "--use-fake-ui-for-media-stream",
                f"--use-file-for-fake-video-capture={camera[0]}",
                f"--use-file-for-fake-audio-capture={camera[1]}",
            ],
        )
        keep("try_it.png", try_it(browser, address, "light"))
        keep("try_it_dark.png", try_it(browser, address, "dark"))
        keep("live.png", live(browser, address))
        keep("rate.png", rate(browser, address))
        browser.close()
    return 0


def open_page(browser: Browser, address: str, theme: str) -> Page:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme=theme)  # type: ignore[arg-type]
    page = context.new_page()
    page.set_default_timeout(180_000)
    page.goto(address)
    return page


def try_it(browser: Browser, address: str, theme: str) -> bytes:
    """The reading of the first example, with the cursor in the middle of it."""
    page = open_page(browser, address, theme)
    page.locator('.ex[data-name="both_agree"]').click()
    page.wait_for_selector('.tryit[data-state="result"]')
    page.wait_for_selector(".plot .nsewdrag")
    page.wait_for_function("document.querySelector('.tryit video').readyState >= 2")
    page.locator(".plot").scroll_into_view_if_needed()
    box = page.locator(".plot").bounding_box()
    assert box
    page.mouse.click(box["x"] + box["width"] * 0.55, box["y"] + box["height"] / 2)
    page.wait_for_function("document.querySelector('.tryit video').currentTime > 1")
    page.evaluate("document.querySelector('.tryit video').controls = false; document.activeElement.blur()")
    return shot(page)


def live(browser: Browser, address: str) -> bytes:
    """Live with its ten seconds filled by the drawn face."""
    page = open_page(browser, f"{address}/live", "light")
    page.wait_for_selector("[data-live][data-started]")
    page.evaluate("window.readings = 0; addEventListener('avemo-reading', () => { readings += 1; })")
    page.get_by_role("button", name="Start").click()
    page.wait_for_function("readings > 0")
    page.wait_for_timeout(CHART_MS)
    return shot(page)


def rate(browser: Browser, address: str) -> bytes:
    """The practice study with its first clip played and answered."""
    page = open_page(browser, f"{address}/study/rate/1", "light")
    page.get_by_role("button", name="Pause").wait_for()
    page.keyboard.press("Space")
    page.get_by_text("You can answer now").wait_for()
    for key in ("2", "d", "k", "ArrowRight", "ArrowRight", "ArrowUp"):
        page.keyboard.press(key)
    return shot(page)


def shot(page: Page) -> bytes:
    page.mouse.move(0, 0)
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_timeout(500)  # pictures of evidence and the hover's end
    picture = page.screenshot(full_page=True)
    page.context.close()
    return picture


def with_palette(image: Image.Image) -> Image.Image:
    """The page's own colours as they are; the rest, faces and maps, in the colours that serve them best."""
    colours, counts = np.unique(np.asarray(image).reshape(-1, 3), axis=0, return_counts=True)
    styles = (ROOT / "static" / "css" / "tokens.css").read_text() + look.emotions_css()
    tones = {tuple(bytes.fromhex(tone)) for tone in re.findall(r"#([0-9A-Fa-f]{6})\b", styles)}
    own = np.array([tuple(colour) in tones for colour in colours.tolist()])
    often = np.argsort(-(counts + own * counts.max()))  # its own colours first
    flat, rest = colours[often[:FLAT]], colours[often[FLAT:]]
    mixed = Image.fromarray(rest[None]).quantize(256 - FLAT, Image.Quantize.MEDIANCUT).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette([*flat.ravel().tolist(), *mixed])
    return image.quantize(palette=palette, dither=Image.Dither.NONE)


def keep(name: str, picture: bytes) -> None:
    """Written in all its colours where that is small enough, else with a palette."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    image.save(FOLDER / name, optimize=True)
    if (FOLDER / name).stat().st_size > LARGEST:
        with_palette(image).save(FOLDER / name, optimize=True)
    size = (FOLDER / name).stat().st_size
    if size > LARGEST:
        raise SystemExit(f"{name} has {size} bytes, more than {LARGEST}; show a smaller part of the page.")
    print(f"{(FOLDER / name).relative_to(ROOT)}: {image.width} x {image.height}, {size // 1000} kB", flush=True)


if __name__ == "__main__":
    sys.exit(main())
