"""How long a rater waits: from the press of Enter to the next clip being playable, and to its first sound or picture moving.

    python -m tests.benchmarks --parts rating            # 100 clips of each kind, some minutes

Chromium and the study's own server with SQLite, on one machine. Times are the browser's own: from the key's time stamp.
"""

import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from annotate.design import Design
from annotate.store import Home, Store
from tests.benchmarks import report
from tests.browser import study as server
from tests.browser.install import find

AIM_MS = 150.0
SECONDS = 1.0  # of a clip
COLLECT = """
window.waits = { playable: [], playing: [] };
let pressed = null;
addEventListener('keydown', (event) => { if (event.code === 'Enter') pressed = event.timeStamp; }, true);
addEventListener('avemo-playable', (event) => waits.playable.push(event.detail.ms));
addEventListener('playing', () => {
  if (pressed !== null) waits.playing.push(performance.now() - pressed);
  pressed = null;
}, true);
"""


def run(folder: Path, clips: int) -> None:
    report.title(f"The rating page: Enter to the next of {clips} clips of {SECONDS:.0f} s (aim: p95 under {AIM_MS:.0f} ms)")
    path = find()
    if path is None:
        report.note("No Chromium was found; run python -m tests.browser.install once.")
        return
    report.busy()
    rows = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--autoplay-policy=no-user-gesture-required", "--mute-audio"]
        )
        for modality in ("voice", "both"):
            waits = _rate(browser, folder / modality, modality, clips)
            for what, name in (("playable", "can be played"), ("playing", "plays")):
                rows.append([f"{modality}: {name}", *report.spread(waits[what], ".0f", (0.5, 0.95, 1.0))])
        browser.close()
    report.table(["", "median ms", "p95 ms", "most ms", "n"], rows)


def _rate(browser: Browser, folder: Path, modality: str, clips: int) -> dict[str, list[float]]:
    """Milliseconds of each wait of one rater."""
    folder.mkdir()
    store = Store.create(Home(folder / "home"))
    design = Design(passes=(modality,), repeat_share=0.0, break_every=0)
    study = server.make_study(
        store, folder, clips + 1, design=design, seconds=SECONDS, step=0.0005, picture=modality != "voice"
    )
    server.make_account(store, "R01")
    with server.running(folder / "home") as address:
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        server.sign_in(context, store, address, "R01")
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.goto(f"{address}/study/rate/{study}")
        page.wait_for_selector('[data-rate][data-state="rate"]')
        page.evaluate(COLLECT)
        page.keyboard.press("Space")
        for k in range(clips):
            _answer(page, str(1 + k % 7))
        page.wait_for_selector(".stat.open")
        waits = page.evaluate("waits")
        context.close()
    store.close()
    return waits


def _answer(page: Page, key: str) -> None:
    page.wait_for_selector(".stat.open")
    for each in (key, "d", "k", "Enter"):
        page.keyboard.press(each)
    page.wait_for_selector(".stat:not(.open)")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="avemo-benchmarks-") as temporary:
        run(Path(temporary), 100)
