"""The Live page as a visitor uses it: Chromium's fake camera and microphone play a drawn face that speaks."""

import contextlib
import csv
import io
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from avemo_core.labels import LABELS
from avemo_core.synthetic import write_webcam
from tests.browser.accessibility import serious

Visit = Callable[..., Page]
FAKE = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
COLLECT = "window.readings = []; addEventListener('avemo-reading', (e) => readings.push(e.detail))"
COUNT_SENT = """() => {
  const send = WebSocket.prototype.send;
  window.sent = 0;
  WebSocket.prototype.send = function (data) { window.sent += 1; return send.call(this, data); };
}"""

# Left edge 0, right edge 1; null while the box is not shown.
WHERE_IN_THE_PICTURE = """() => {
  const [box, stage] = ["box", "stage"].map((p) => document.querySelector(`[data-part=${p}]`).getBoundingClientRect());
  return box.width ? (box.left + box.width / 2 - stage.left) / stage.width : null;
}"""
VALUES = """() => {
  const values = [...document.querySelectorAll("[data-value]")].map((element) => element.textContent);
  return values.every(Boolean) && values.map(Number);
}"""


@pytest.fixture(scope="module")
def webcam(tmp_path_factory) -> tuple[str, ...]:
    """Flags that make Chromium play a speaking face as camera and microphone."""
    folder = tmp_path_factory.mktemp("webcam")
    write_webcam(folder / "v.y4m", folder / "a.wav", "happiness", seconds=4.0)
    return (
        *FAKE,
        f"--use-file-for-fake-video-capture={folder / 'v.y4m'}",
        f"--use-file-for-fake-audio-capture={folder / 'a.wav'}",
    )


def begin(page: Page) -> None:
    page.wait_for_selector("[data-live][data-started]")
    page.evaluate(COLLECT)
    page.get_by_role("button", name="Start").click()


def wait_for(page: Page, state: str) -> None:
    page.wait_for_selector(f'[data-live][data-state="{state}"]')


def wait_for_readings(page: Page, count: int) -> list[dict]:
    page.wait_for_function(f"readings.length >= {count}")
    return page.evaluate("readings")


def part(page: Page, name: str):
    return page.locator(f'[data-part="{name}"]')


@pytest.fixture
def live(visit: Visit, webcam) -> Page:
    """The page, reading."""
    page = visit("/live", *webcam)
    begin(page)
    wait_for(page, "live")
    wait_for_readings(page, 1)
    return page


def test_page_explains_itself_before_it_asks_for_anything(visit: Visit, webcam):
    page = visit("/live", *webcam)
    page.wait_for_selector("[data-live][data-started]")
    expect(page.get_by_text("Your browser asks for the camera and the microphone")).to_be_visible()
    expect(page.get_by_text("Nothing is stored", exact=False).first).to_be_visible()
    assert page.evaluate("document.querySelector('video').srcObject") is None
    assert page.locator("h1").count() == 1


def test_face_and_voice_are_read_as_they_come(live: Page):
    centre = live.wait_for_function(WHERE_IN_THE_PICTURE).json_value()
    assert 0.3 < centre < 0.7
    live.wait_for_function("document.querySelector('[data-part=voice] .chip')")
    live.wait_for_function("document.querySelector('[data-part=face] .chip')")
    # in one look: a busy machine may empty the bars between two
    values = live.wait_for_function(VALUES).json_value()
    assert len(values) == len(LABELS)
    assert sum(values) == pytest.approx(1, abs=0.05)
    expect(part(live, "sentence")).to_have_text(re.compile("^(Both |Face |The face |The voice |No clear )"), timeout=60_000)
    readings = wait_for_readings(live, 20)
    assert all(reading["age_ms"] > 0 for reading in readings)
    assert [r["sequence"] for r in readings if r["sequence"]] == sorted({r["sequence"] for r in readings if r["sequence"]})
    live.wait_for_function("/^\\d+$/.test(document.querySelector('[data-part=age]').textContent)")
    expect(part(live, "badge")).to_contain_text("e")  # fresh, late or stale: always a word
    expect(part(live, "rate")).not_to_have_text("–")
    live.wait_for_function("document.querySelector('[data-part=ribbon]').children.length > 0")


def test_freeze_holds_the_reading_and_goes_on(live: Page):
    live.keyboard.press("Space")
    wait_for(live, "frozen")
    live.wait_for_timeout(400)
    sentence, count = part(live, "sentence").inner_text(), live.evaluate("readings.length")
    live.wait_for_timeout(1500)
    assert live.evaluate("readings.length") == count
    assert part(live, "sentence").inner_text() == sentence
    expect(part(live, "freeze")).to_have_attribute("aria-pressed", "true")
    live.keyboard.press("Space")
    wait_for(live, "live")
    wait_for_readings(live, count + 2)


def test_last_ten_seconds_are_kept_as_json_and_csv(live: Page):
    live.wait_for_function("document.querySelector('[data-part=face] .chip')")
    wait_for_readings(live, 8)
    files: dict[str, bytes] = {}
    live.on("download", lambda file: files.update({file.suggested_filename: Path(file.path()).read_bytes()}))
    live.keyboard.press("s")
    live.wait_for_function("document.querySelector('[data-part=announce]').textContent.startsWith('Kept')")
    for _ in range(50):
        if len(files) == 2:
            break
        live.wait_for_timeout(100)
    record = json.loads(next(data for name, data in files.items() if name.endswith(".json")))
    rows = list(csv.DictReader(io.StringIO(next(data.decode() for name, data in files.items() if name.endswith(".csv")))))
    assert len(record["readings"]) == len(rows) > 0
    assert record["model_id"] in live.locator("header").inner_text()
    for reading, row in zip(record["readings"], rows, strict=True):
        assert -10 <= reading["seconds"] <= 0
        if reading["both"] is None:
            assert row["both_happiness"] == ""
        else:
            assert sum(reading["both"].values()) == pytest.approx(1, abs=0.01)
            assert float(row["both_happiness"]) == reading["both"]["happiness"]
    assert any(reading["both"] for reading in record["readings"])


def test_stop_switches_camera_and_microphone_off(live: Page):
    live.evaluate("window.tracks = document.querySelector('video').srcObject.getTracks()")
    live.keyboard.press("Escape")
    wait_for(live, "ended")
    assert live.evaluate("tracks.every((track) => track.readyState === 'ended')")
    assert live.evaluate("document.querySelector('video').srcObject") is None
    expect(part(live, "over-text")).to_contain_text("nothing was stored")
    expect(part(live, "box")).to_be_hidden()
    live.get_by_role("button", name="Start").click()
    wait_for(live, "live")


def test_own_baseline_is_learned_by_keyboard_used_and_forgotten(visit: Visit, webcam):
    page = visit("/live", *webcam)
    page.wait_for_selector("[data-live][data-started]")
    learn = part(page, "learn")
    before = part(page, "known").inner_text()
    expect(learn).to_be_disabled()
    begin(page)
    wait_for(page, "live")
    page.keyboard.press("Space")
    wait_for(page, "frozen")
    expect(learn).to_be_disabled()
    page.keyboard.press("Space")
    page.wait_for_function("document.querySelector('[data-part=voice] .chip')", timeout=60_000)  # the voice is heard, too
    learn.focus()
    page.keyboard.press("Enter")
    expect(part(page, "lesson")).to_contain_text("Look into the camera and read this aloud in your usual tone")
    expect(learn).to_have_text("Stop learning")
    page.keyboard.press("Enter")
    expect(part(page, "lesson")).to_be_hidden()
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('[data-part=lesson-bar]').getAttribute('aria-valuenow') > 50")
    expect(part(page, "known")).to_contain_text("Read against your own baseline: ", timeout=60_000)
    expect(part(page, "known")).to_have_text(
        re.compile(r"^Read against your own baseline: \d+ s of face, \d+ s of speech\.$")
    )
    expect(part(page, "lesson")).to_be_hidden()
    part(page, "forget").press("Enter")
    expect(part(page, "known")).to_have_text(before)
    expect(part(page, "forget")).to_be_hidden()
    expect(learn).to_be_focused()


def test_lesson_ends_with_the_session(live: Page):
    part(live, "learn").click()
    expect(part(live, "lesson")).to_be_visible()
    live.keyboard.press("Escape")
    wait_for(live, "ended")
    expect(part(live, "lesson")).to_be_hidden()
    expect(part(live, "learn")).to_be_disabled()
    expect(part(live, "learn")).to_have_text("Learn my neutral face and voice")


def test_denied_permission_says_what_to_do(visit: Visit):
    page = visit("/live", "--use-fake-device-for-media-stream", "--deny-permission-prompts")
    begin(page)
    wait_for(page, "ended")
    expect(part(page, "over-text")).to_contain_text("may not use the camera and the microphone")
    expect(part(page, "over-text")).to_contain_text("site settings")


def test_without_a_camera_the_voice_is_read(visit: Visit, webcam):
    page = visit("/live", *webcam)
    page.wait_for_selector("[data-live][data-started]")
    page.evaluate(
        """() => {
          const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
          navigator.mediaDevices.getUserMedia = (wish) =>
            wish.video ? Promise.reject(new DOMException("none", "NotFoundError")) : ask(wish);
        }"""
    )
    begin(page)
    wait_for(page, "live")
    expect(part(page, "notes")).to_contain_text("No camera was found")
    page.wait_for_function("document.querySelector('[data-part=voice] .chip')")
    expect(part(page, "face")).to_have_text("the camera is off")
    assert all(reading["sequence"] is None for reading in wait_for_readings(page, 3))


def test_lost_camera_is_said_and_comes_back(live: Page):
    live.evaluate("document.querySelector('video').srcObject.getTracks()[0].stop()")
    expect(part(live, "notes")).to_contain_text("The camera was lost")
    live.wait_for_function("document.querySelector('[data-part=face]').textContent.includes('camera is off')")
    expect(part(live, "box")).to_be_hidden()
    live.get_by_role("button", name="Try again").click()
    expect(part(live, "box")).to_be_visible()
    expect(part(live, "notes")).to_be_empty()


def test_camera_and_microphone_can_be_switched_off(live: Page):
    live.get_by_role("button", name="Microphone off").click()
    live.wait_for_function("document.querySelector('[data-part=voice]').textContent.includes('microphone is off')")
    live.get_by_role("button", name="Microphone off").click()
    live.wait_for_function("document.querySelector('[data-part=voice] .chip')")
    live.get_by_role("button", name="Camera off").click()
    live.wait_for_function("document.querySelector('[data-part=face]').textContent.includes('camera is off')")
    assert live.evaluate("document.querySelector('video').srcObject") is None


def test_page_in_the_background_pauses_and_goes_on(live: Page):
    hide = """(hidden) => {
      Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    live.evaluate(COUNT_SENT)
    live.wait_for_function("sent > 1")
    live.evaluate(hide, True)
    wait_for(live, "paused")
    before = live.evaluate("[readings.length, sent]")
    live.wait_for_timeout(1500)
    assert live.evaluate("[readings.length, sent]") == before, "something was sent or read in the background"
    live.evaluate(hide, False)
    wait_for(live, "live")
    wait_for_readings(live, before[0] + 2)


class Line:
    """A line to the server that can be cut and mended: a plain TCP relay on a port of its own."""

    def __init__(self, address: str) -> None:
        place = urlsplit(address)
        self.target = (place.hostname, place.port)
        self.listener: socket.socket | None = None
        self.port = 0
        self.open_sockets: list[socket.socket] = []

    def mend(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    def cut(self) -> None:
        assert self.listener
        for end in (self.listener, *self.open_sockets):
            with contextlib.suppress(OSError):  # the other side closed it before
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self.open_sockets.clear()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return  # cut
            far = socket.create_connection(self.target)
            self.open_sockets += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._relay, args=(source, sink), daemon=True).start()

    @staticmethod
    def _relay(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # cut


@pytest.fixture
def line(server: str) -> Iterator[Line]:
    line = Line(server)
    line.mend()
    yield line
    line.cut()


def test_server_that_goes_away_is_said_and_found_again(launch: Callable[..., Browser], webcam, line: Line):
    context = launch(*webcam).new_context()
    try:
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.goto(f"http://127.0.0.1:{line.port}/live")
        begin(page)
        wait_for_readings(page, 3)
        part(page, "learn").click()
        expect(part(page, "lesson")).to_be_visible()
        line.cut()
        wait_for(page, "reconnecting")
        expect(part(page, "notes")).to_contain_text("The server does not answer", timeout=20_000)
        expect(part(page, "badge")).to_contain_text("stale", timeout=20_000)
        expect(part(page, "box")).to_be_hidden()
        assert page.locator("[data-value]").first.inner_text() == ""
        count = page.evaluate("readings.length")
        line.mend()
        wait_for(page, "live")
        wait_for_readings(page, count + 3)
        expect(part(page, "notes")).to_contain_text("The connection was lost, and what was learned of you")
        expect(part(page, "lesson")).to_be_hidden()
        gap = page.evaluate("Math.max(...readings.slice(1).map((r, i) => r.shown_ms - readings[i].shown_ms))")
        assert gap > 1000
    finally:
        context.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 820])
def test_page_has_no_serious_finding_and_fits_its_width(visit: Visit, webcam, theme, width):
    page = visit("/live", *webcam, color_scheme=theme, viewport={"width": width, "height": 900})
    begin(page)
    wait_for(page, "live")
    page.wait_for_function("document.querySelector('[data-part=face] .chip')")
    page.keyboard.press("Space")
    wait_for(page, "frozen")
    assert not serious(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
