"""The Try it page as a visitor uses it: a real browser, the real app, real generated clips."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import av
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, expect

from avemo_core.labels import LABELS
from avemo_core.synthetic import Scene, write_clip, write_webcam
from tests.browser.accessibility import serious
from tests.browser.conftest import ROOT, watch

EXAMPLES = ROOT / "static" / "examples"
CLIP = EXAMPLES / "both_agree.mp4"
Visit = Callable[..., Page]


def wait_for(page: Page, state: str) -> None:
    page.wait_for_selector(f'.tryit[data-state="{state}"]')


def upload(page: Page, path: Path, state: str = "result") -> None:
    page.wait_for_selector(".tryit .ex")
    page.set_input_files("[data-part=file]", path)
    wait_for(page, state)


def fetched(page: Page) -> dict[str, Any]:
    """The record behind the page that is shown."""
    result = re.search(r"result=([\w-]+)", page.url)
    assert result, page.url
    answer = page.request.get(f"/api/results/{result[1]}")
    assert answer.ok
    return answer.json()


def clip_time(page: Page) -> float:
    return page.evaluate("document.querySelector('.tryit video').currentTime")


def ready(page: Page) -> None:
    page.wait_for_function("document.querySelector('.tryit video').readyState >= 2")
    page.wait_for_selector(".plot .nsewdrag")


def place(page: Page, selector: str) -> dict[str, float]:
    """Where an element is in the window, after it was brought there."""
    page.locator(selector).scroll_into_view_if_needed()
    box = page.locator(selector).bounding_box()
    assert box
    return dict(box)


@pytest.fixture(scope="module")
def visitor(launch: Callable[..., Browser], server: str) -> Iterator[tuple[BrowserContext, str]]:
    """A visitor who has a clip with face and voice read, and the address of that reading."""
    context = launch().new_context(base_url=server, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto("/")
    upload(page, CLIP)
    address = page.url
    page.close()
    yield context, address
    context.close()


@pytest.fixture
def read(visitor: tuple[BrowserContext, str], server: str) -> Iterator[Page]:
    """A fresh page that shows that reading."""
    context, address = visitor
    page = context.new_page()
    page.set_default_timeout(60_000)
    problems: list[str] = []
    watch(page, server, problems)
    page.goto(address)
    wait_for(page, "result")
    ready(page)
    yield page
    page.close()
    assert not problems, "\n".join(problems)


def test_upload_shows_its_steps_and_then_what_the_record_says(page: Page) -> None:
    page.wait_for_selector(".tryit .ex")
    page.set_input_files("[data-part=file]", CLIP)
    wait_for(page, "loading")
    steps = page.locator("[data-part=steps] li")
    expect(steps).to_have_count(4)
    expect(page.locator("[data-part=clock]")).to_contain_text("s so far")
    wait_for(page, "result")
    got = fetched(page)
    said = "".join(part["text"] for part in got["page"]["sentence"])
    assert page.inner_text("h1.verdict:visible") == said
    assert page.inner_text(".conf .n") == f"{got['record']['verdict']['confidence']:.2f}"
    both = [row.locator("[role=cell]").nth(2).inner_text() for row in page.locator(".tri .r[role=row]").all()[1:]]
    assert both == [f"{got['record']['probabilities'][label]:.2f}" for label in LABELS]
    assert got["record"]["path"] == CLIP.name
    agreement = got["record"]["verdict"]["agreement"]
    claimed = "Of 100 clips" in page.inner_text("[data-part=reading]")
    assert claimed == (agreement is not None and not got["record"]["verdict"]["abstained"])


@pytest.mark.parametrize("share", [0.2, 0.75])
def test_click_on_the_plot_seeks_the_clip(read: Page, share: float) -> None:
    box = place(read, ".plot")
    read.mouse.click(box["x"] + box["width"] * share, box["y"] + box["height"] / 2)
    wanted = share * fetched(read)["page"]["duration_s"]
    assert clip_time(read) == pytest.approx(wanted, abs=0.05)
    slider = read.get_by_role("slider", name="Time in the clip")
    assert float(slider.get_attribute("aria-valuenow") or -1) == pytest.approx(wanted, abs=0.05)
    assert place(read, ".cur")["x"] == pytest.approx(box["x"] + box["width"] * share, abs=3)


def test_dragging_over_the_spectrogram_moves_the_clip_with_it(read: Page) -> None:
    box = place(read, ".spec")
    read.mouse.move(box["x"] + box["width"] * 0.1, box["y"] + 20)
    read.mouse.down()
    read.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 20, steps=5)
    read.mouse.up()
    assert clip_time(read) == pytest.approx(0.6 * fetched(read)["page"]["duration_s"], abs=0.05)


def test_plot_and_strips_share_their_edges(read: Page) -> None:
    boxes = [read.locator(part).bounding_box() for part in (".plot .nsewdrag", ".ribbon", ".strip", ".spec")]
    lefts = [box["x"] for box in boxes if box]
    widths = [box["width"] for box in boxes if box]
    assert len(lefts) == 4
    assert max(lefts) - min(lefts) <= 1
    assert max(widths) - min(widths) <= 1


def test_cells_without_a_face_stay_in_their_place(page: Page, tmp_path: Path) -> None:
    leaves = write_clip(tmp_path / "leaves.mp4", "happiness", "happiness", seconds=4, fps=12, scene=Scene(away=(1.0, 3.0)))
    upload(page, leaves)
    ready(page)
    strip = place(page, ".strip")
    assert page.locator(".strip figure.skip").count() >= 2
    for cell in page.locator(".strip figure:visible").all():
        box = cell.bounding_box()
        assert box
        assert box["y"] == pytest.approx(strip["y"], abs=1)


def test_two_labels_with_one_number_are_neither_of_them_strong(read: Page) -> None:
    """The real page's own function, given the record with an even voice."""
    strong = read.evaluate(
        """async (id) => {
          const { reading } = await import('/static/js/try_it_reading.js');
          const { record, page } = await (await fetch(`/api/results/${id}`)).json();
          for (const label of Object.keys(record.voice.probabilities)) record.voice.probabilities[label] = 1 / 7;
          const box = document.createElement('div');
          box.append(...reading(record, page));
          return [box.querySelectorAll('.bar.heard.on').length, box.querySelectorAll('.bar.on').length];
        }""",
        re.search(r"result=([\w-]+)", read.url)[1],  # type: ignore[index]
    )
    assert strong == [0, 2]


def test_playing_moves_the_cursor_until_it_is_paused(read: Page) -> None:
    slider = read.get_by_role("slider", name="Time in the clip")
    read.get_by_role("button", name="Play", exact=True).click()
    read.wait_for_function("document.querySelector('.cur').getAttribute('aria-valuenow') > 0.6")
    read.get_by_role("button", name="Pause", exact=True).click()
    read.wait_for_function("document.querySelector('.tryit video').paused")
    read.wait_for_timeout(200)
    assert float(slider.get_attribute("aria-valuenow") or -1) == pytest.approx(clip_time(read), abs=0.06)
    assert re.fullmatch(r"\d\.\d\d seconds, \w+ 0\.\d\d", slider.get_attribute("aria-valuetext") or "")


def test_keys_step_frames_and_play(read: Page) -> None:
    slider = read.get_by_role("slider", name="Time in the clip")
    slider.focus()
    read.keyboard.press("Home")
    for key in ("ArrowRight", "ArrowRight", "Shift+ArrowRight", "ArrowLeft"):
        read.keyboard.press(key)
    assert clip_time(read) == pytest.approx((1 + 1 + 10 - 1) / 25, abs=0.005)
    read.keyboard.press("Space")
    read.wait_for_function("!document.querySelector('.tryit video').paused")
    read.keyboard.press("Space")
    read.wait_for_function("document.querySelector('.tryit video').paused")


def pixels(page: Page, url: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(page.request.get(url).body())).convert("RGBA"))


def test_another_label_shows_other_evidence(read: Page) -> None:
    shown = read.locator(".spec img").nth(1)
    select = read.get_by_label("Evidence for", exact=True)
    urls = []
    for label in ("happiness", "anger"):
        select.select_option(label)
        urls.append(shown.get_attribute("src") or "")
        assert label in urls[-1]
        expect(read.locator("[data-part=sum]")).to_contain_text(label)
        evidence = fetched(read)["page"]["evidence"][label]
        assert abs(evidence["logit"] - evidence["bias"] - (evidence["face"] or 0) - (evidence["voice"] or 0)) < 1e-6
        expect(read.locator(".strip")).to_have_attribute("aria-label", re.compile(label))
    faces = [pixels(read, url.replace("voice_evidence", "face_evidence")) for url in urls]
    assert faces[0].shape == faces[1].shape
    assert np.abs(faces[0].astype(int) - faces[1]).max() > 8


def test_evidence_can_be_drawn_as_heat_as_contour_or_not_at_all(read: Page) -> None:
    heat, path = read.locator(".spec img").nth(1), read.locator(".strip path.under").first
    expect(heat).to_be_visible()
    read.get_by_role("button", name="Contour").click()
    expect(heat).to_be_hidden()
    contours = [p.get_attribute("d") for p in read.locator(".strip path.under, .spec path.under").all()]
    assert any(contours)
    read.get_by_role("button", name="Off", exact=True).click()
    assert not path.get_attribute("d")


def download(page: Page, text: str) -> bytes:
    with page.expect_download() as waiting:
        page.get_by_role("link", name=text).click()
    return Path(waiting.value.path()).read_bytes()


def test_downloads_hold_what_the_page_shows(read: Page) -> None:
    got = fetched(read)
    record = json.loads(download(read, "The whole record"))
    assert record == got["record"]
    rows = list(csv.DictReader(io.StringIO(download(read, "Probabilities over time").decode())))
    assert len(rows) == len(record["windows"])
    assert float(rows[0]["both_happiness"]) == pytest.approx(record["windows"][0]["probabilities"]["happiness"], abs=1e-4)
    assert rows[0]["file"] == CLIP.name
    picture = Image.open(io.BytesIO(download(read, "Figure for slides")))
    assert picture.width >= 2000
    drawing = ElementTree.fromstring(download(read, "Figure for print"))
    texts = "".join(drawing.itertext())
    assert "".join(part["text"] for part in got["page"]["sentence"]) in texts
    assert all(image.get("href", "").startswith("data:") for image in drawing.iter("{http://www.w3.org/2000/svg}image"))
    maps = np.load(io.BytesIO(download(read, "Raw maps")))
    for k, label in enumerate(LABELS):
        total = maps["bias"][k] + maps["face"][k].sum() + maps["voice"][k].sum()
        assert total == pytest.approx(got["page"]["evidence"][label]["logit"], abs=1e-3)


def test_reading_comes_back_under_its_address_for_its_visitor_only(read: Page, visit: Visit) -> None:
    said = read.inner_text("h1.verdict:visible")
    read.reload()
    wait_for(read, "result")
    assert read.inner_text("h1.verdict:visible") == said
    other = visit(read.url)
    wait_for(other, "error")
    expect(other.get_by_role("heading", level=1)).to_have_text("This reading is not here.")


def test_delete_now_deletes_the_clip_and_its_reading(page: Page) -> None:
    upload(page, CLIP)
    address = re.search(r"result=([\w-]+)", page.url)
    assert address
    page.get_by_role("button", name="Delete now").click()
    wait_for(page, "empty")
    expect(page.get_by_text("The clip and its reading are deleted.").last).to_be_visible()
    for path in ("", "/clip", "/image/faces.png", "/download/json"):
        assert page.request.get(f"/api/results/{address[1]}{path}").status == 404


def test_one_of_two_people_is_chosen(page: Page) -> None:
    page.locator(".ex[data-name=two_people]").click()
    wait_for(page, "result")
    people = page.locator(".who")
    expect(people).to_have_count(2)
    expect(page.locator("[data-part=people]")).to_contain_text("2 faces were found; the largest is read")
    first = fetched(page)["record"]
    people.nth(1).click()
    page.wait_for_selector(".tryit[data-state=loading]")
    wait_for(page, "result")
    second = fetched(page)["record"]
    assert [face["read"] for face in first["faces"]] == [True, False]
    assert [face["read"] for face in second["faces"]] == [False, True]
    assert second["face"]["probabilities"] != first["face"]["probabilities"]
    expect(page.locator(".who").nth(1)).to_have_attribute("aria-pressed", "true")


def test_a_clip_is_read_against_the_persons_other_clips_and_without(page: Page, tmp_path: Path) -> None:
    upload(page, CLIP)
    first = page.url
    expect(page.locator("[data-part=against]")).to_have_count(0)
    page.get_by_text("Compare with this person\u2019s other clips").click()
    expect(page.get_by_role("button", name="Choose their clips")).to_be_visible()
    page.get_by_label("They are neutral in all of them").check()
    page.set_input_files("[data-part=others-file]", [EXAMPLES / "they_disagree.mp4", EXAMPLES / "voice_only.m4a"])
    wait_for(page, "loading")
    expect(page.get_by_text("Learn from the other clips")).to_be_visible()
    page.wait_for_selector("[data-part=against]")
    expect(page.locator("[data-part=against]")).to_contain_text("Read against 2 other clips of this person (")
    assert fetched(page)["record"]["baseline"]["clips"] == 2
    page.get_by_role("button", name="Read without them").click()
    expect(page.locator("[data-part=against]")).to_have_count(0)
    assert page.url == first
    page.set_input_files("[data-part=others-file]", [tmp_path_clip(tmp_path)])
    expect(page.get_by_role("alert").filter(has_text="mine.mp4")).to_be_visible()
    wait_for(page, "result")
    assert page.url == first


def tmp_path_clip(folder: Path) -> Path:
    """A file that is no clip."""
    path = folder / "mine.mp4"
    path.write_bytes(b"this is no film")
    return path


def test_empty_file_is_said_in_one_sentence_and_the_page_goes_on(page: Page, tmp_path: Path) -> None:
    empty = tmp_path / "nothing.mp4"
    empty.write_bytes(b"")
    upload(page, empty, "error")
    sentence = page.inner_text("[data-part=error]")
    assert "empty" in sentence.lower() or "0 bytes" in sentence
    assert not re.search(r"Traceback|Error\b|/tmp|\.py", sentence)
    upload(page, CLIP)
    expect(page.locator(".tri")).to_be_visible()


@pytest.fixture
def black(tmp_path: Path) -> Iterator[Path]:
    """Two seconds of black pictures and digital silence."""
    path = tmp_path / "black.mp4"
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
        audio = out.add_stream("aac", rate=48_000)
        for _ in range(50):
            out.mux(video.encode(av.VideoFrame.from_ndarray(np.zeros((240, 320, 3), np.uint8), "rgb24")))
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 96_000), np.float32), "fltp", "mono")
        sound.sample_rate = 48_000
        out.mux(audio.encode(sound))
        out.mux(video.encode())
        out.mux(audio.encode())
    yield path


def test_black_and_silent_clip_abstains_with_both_reasons(page: Page, black: Path) -> None:
    upload(page, black)
    assert page.inner_text("h1.verdict:visible").startswith("No clear reading: no face and no voice in this clip")
    reasons = page.locator(".absent").all_inner_texts()
    assert reasons[:2] == ["no face in this clip", "no voice in this clip"]
    expect(page.locator(".nolane")).to_have_text("no face in this clip")
    assert page.locator(".bar i").count() == 0, "a bar would claim a reading that was not made"


def test_sound_alone_has_no_face_strip_and_says_so(page: Page) -> None:
    upload(page, EXAMPLES / "voice_only.m4a")
    expect(page.locator(".nolane")).to_have_text("no picture in this clip")
    expect(page.locator(".absent")).to_have_text("no picture in this clip")
    assert "The face" not in page.inner_text("h1.verdict:visible")
    expect(page.locator(".soundonly")).to_be_visible()


def test_still_image_has_no_time_axis(page: Page, tmp_path: Path) -> None:
    with av.open(str(CLIP)) as clip:
        frame = next(frame for i, frame in enumerate(clip.decode(video=0)) if i == 55)
        frame.to_image().save(tmp_path / "smile.png")
    upload(page, tmp_path / "smile.png")
    expect(page.locator(".strip figure")).to_have_count(1)
    for part in (".plot", ".ribbon", ".cur", "[data-part=play]", ".ax"):
        expect(page.locator(part)).to_have_count(0)
    expect(page.get_by_text("A still image has no time axis.")).to_be_visible()


def test_reading_can_be_cancelled(page: Page, tmp_path: Path) -> None:
    long = write_clip(tmp_path / "long.mp4", "happiness", "happiness", seconds=20, fps=10, size=(160, 160))
    page.wait_for_selector(".tryit .ex")
    page.set_input_files("[data-part=file]", long)
    wait_for(page, "loading")
    page.get_by_role("button", name="Cancel").click()
    wait_for(page, "empty")
    page.wait_for_function("fetch('/api/status').then(r => r.json()).then(s => s.queue === 0)")
    expect(page.get_by_role("heading", level=1)).to_have_text("What do face and voice express?")


def test_recording_from_the_webcam_is_read_and_can_be_seeked(visit: Visit, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("webcam")
    write_webcam(folder / "face.y4m", folder / "voice.wav", "happiness", seconds=4)
    page = visit(
        "/",
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-video-capture={folder / 'face.y4m'}",
        f"--use-file-for-fake-audio-capture={folder / 'voice.wav'}",
    )
    page.wait_for_selector(".tryit .ex")
    page.get_by_role("tab", name="Record").click()
    page.get_by_role("button", name="Turn on the camera").click()
    page.get_by_role("button", name="Record up to 10 s").click()
    expect(page.locator(".count")).to_have_text("3")
    page.get_by_role("button", name="Stop recording").wait_for()
    page.wait_for_timeout(3000)
    page.get_by_role("button", name="Stop recording").click()
    page.get_by_role("button", name="Read this").click()
    wait_for(page, "result")
    record = fetched(page)["record"]
    assert record["face"]["available"]
    assert 2.5 < record["duration_s"] < 11
    for again in (False, True):  # at once, and after a reload from the server's copy
        if again:
            page.reload()
            wait_for(page, "result")
        ready(page)
        page.wait_for_function("Number.isFinite(document.querySelector('.tryit video').duration)")
        box = place(page, ".plot")
        page.mouse.click(box["x"] + box["width"] * 0.5, box["y"] + 60)
        page.wait_for_function(
            f"Math.abs(document.querySelector('.tryit video').currentTime - {record['duration_s'] / 2}) < 0.15"
        )


def test_missing_camera_is_said_in_one_sentence(page: Page) -> None:
    page.wait_for_selector(".tryit .ex")
    page.get_by_role("tab", name="Record").click()
    page.get_by_role("button", name="Turn on the camera").click()
    expect(page.locator("#from-record [role=alert]")).to_have_text(
        re.compile(r"(No camera with a microphone was found|The camera or microphone is not allowed); .+\.")
    )


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_serious_accessibility_finding(visit: Visit, tmp_path: Path, theme: str) -> None:
    page = visit("/", color_scheme=theme)
    page.wait_for_selector(".tryit .ex")
    found = {"empty": serious(page)}
    page.get_by_role("tab", name="Record").click()
    found["record"] = serious(page)
    page.get_by_role("tab", name="Upload").click()
    upload(page, CLIP)
    ready(page)
    found["result"] = serious(page)
    upload(page, EXAMPLES / "voice_only.m4a")
    found["voice only"] = serious(page)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"not a clip")
    upload(page, broken, "error")
    found["error"] = serious(page)
    assert not any(found.values()), found


@pytest.mark.parametrize("width", [1280, 820, 390])
def test_nothing_scrolls_sideways(visit: Visit, width: int) -> None:
    page = visit("/", viewport={"width": width, "height": 900})
    upload(page, CLIP)
    ready(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_theme_switch_recolours_the_plot(read: Page) -> None:
    line = read.locator(".plot .scatterlayer .trace path.js-line").first
    before = line.evaluate("node => getComputedStyle(node).stroke")
    read.locator("#theme").click()
    expect(line).not_to_have_css("stroke", before)
