"""The lead's pages in a real Chromium, by keyboard only: a study is made, looked at, adjudicated, frozen and exported."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from sqlalchemy import func, select

from annotate.schema import Adjudication, Item, Rating, Snapshot, Study, Use
from annotate.store import Home, Store
from tests import media_files
from tests.annotate.voted import HOSTILE, make_voted
from tests.browser import study as server
from tests.browser.accessibility import serious
from tests.browser.conftest import watch

FREE = "--autoplay-policy=no-user-gesture-required"


@dataclass
class Desk:
    """A lead at work: the store, a study of 40 clips and three raters, and pages."""

    store: Store
    study: int
    open: Callable[..., Page]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Store, int]]:
    folder = tmp_path_factory.mktemp("study")
    store = Store.create(Home(folder))
    study = make_voted(store, 40, raters=("R01", "R02", HOSTILE), gold=5, repeats=6, passes=("voice", "both"))
    server.make_account(store, "lead", ("lead", "adjudicator"))
    with server.running(folder) as address:
        yield address, store, study
    store.close()


@pytest.fixture
def desk(site: tuple[str, Store, int], launch: Callable[..., Browser]) -> Iterator[Desk]:
    address, store, study = site
    contexts: list[BrowserContext] = []
    problems: list[str] = []

    def open_(path: str, **options: object) -> Page:
        options.setdefault("viewport", {"width": 1280, "height": 900})
        context = launch(FREE).new_context(base_url=address, **options)  # type: ignore[arg-type]
        server.sign_in(context, store, address, "lead")
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        watch(page, address, problems)
        page.goto(path)
        return page

    yield Desk(store, study, open_)
    for context in contexts:
        context.close()
    assert not problems, "\n".join(problems)


def tab_to(page: Page, name: str) -> None:
    """Press Tab until the control of that name has the focus."""
    for _ in range(200):
        page.keyboard.press("Tab")
        found = page.evaluate(
            "(() => { const a = document.activeElement; return (a.labels?.[0]?.innerText || a.getAttribute('aria-label')"
            " || a.innerText || '').replace(/\\s+/g, ' ').trim() })()"
        )
        if found.startswith(name):
            return
    raise AssertionError(f"Tab never comes to {name!r}")


def enter(page: Page, name: str) -> None:
    tab_to(page, name)
    page.keyboard.press("Enter")


def until(page: Page, holds: str) -> None:
    """Poll; the page's policy forbids Playwright's own way of waiting for an expression."""
    for _ in range(200):
        if page.evaluate(holds):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never true: {holds}")


def test_a_study_is_made_with_the_keyboard_only(desk: Desk, tmp_path: Path) -> None:
    for k in range(3):
        media_files.write_wav(tmp_path / f"c{k}.wav", media_files.tone(0.4 + 0.1 * k, 16_000)[0])
    page = desk.open("/study/lead")
    enter(page, "New study")
    page.wait_for_url("**/lead/new")
    tab_to(page, "Name")
    page.keyboard.type("Three tones")
    tab_to(page, "Folder or manifest CSV")
    page.keyboard.type(str(tmp_path))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Three tones has 3 clips.")
    enter(page, "To the study")
    expect(page.get_by_role("heading", level=1)).to_have_text("Three tones is 0 % rated. Nobody has answered yet.")
    with desk.store.read() as session:
        study = session.scalars(select(Study).where(Study.name == "Three tones")).one()
        assert session.scalar(select(func.count()).select_from(Item).where(Item.study_id == study.id)) == 3


def test_hard_clips_are_sent_and_settled_with_the_keyboard_only(desk: Desk) -> None:
    page = desk.open(f"/study/lead/{desk.study}")
    enter(page, "Send these 5 to adjudication")
    expect(page.locator("#adjudication")).to_contain_text("5 clips")
    enter(page, "settle them")
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_contain_text("5 clips wait to be settled.")
    page.wait_for_load_state("load")  # before it, no key is heard
    page.keyboard.press("Space")
    until(page, "document.getElementById('media').currentTime > 0")
    page.keyboard.press("3")
    expect(page.get_by_role("button", name="sadness")).to_have_attribute("aria-pressed", "true")
    tab_to(page, "Why, in a sentence")
    page.keyboard.type("1 quiet voice 2")  # digits in a text choose nothing
    expect(page.get_by_role("button", name="sadness")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Escape")
    page.keyboard.press("Enter")
    expect(heading).to_contain_text("4 clips wait to be settled.")
    page.wait_for_load_state("load")
    page.keyboard.press("5")
    page.keyboard.press("4")  # the last one holds
    page.keyboard.press("Enter")
    expect(heading).to_contain_text("3 clips wait to be settled.")
    with desk.store.read() as session:
        rows = session.scalars(select(Adjudication).where(Adjudication.label.is_not(None)).order_by(Adjudication.id)).all()
        assert [(row.label, row.comment) for row in rows] == [("sadness", "1 quiet voice 2"), ("anger", None)]
        assert all(row.supersedes for row in rows)


def test_a_snapshot_and_an_export_with_the_keyboard_only(desk: Desk) -> None:
    page = desk.open(f"/study/lead/{desk.study}")
    tab_to(page, "Name of the snapshot")
    page.keyboard.type("v1")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="v1")).to_be_visible()
    with page.expect_download() as download:
        enter(page, "csv")
    assert download.value.suggested_filename.endswith("-csv.csv")
    with page.expect_download() as download:
        enter(page, "v1")
    with desk.store.read() as session:
        assert Path(download.value.path()).read_bytes() == session.scalars(select(Snapshot.content)).one()
        assert set(session.scalars(select(Use.kind))) == {"export", "snapshot"}


def test_clips_play_and_stop_by_the_keyboard(desk: Desk) -> None:
    page = desk.open(f"/study/lead/{desk.study}")
    tab_to(page, "Play ")
    page.keyboard.press("Enter")
    until(page, "document.getElementById('player').currentTime > 0")
    expect(page.locator("[data-play]").first).to_have_attribute("aria-pressed", "false")


def test_the_figure_is_drawn_in_both_themes_and_its_numbers_stand_beside_it(desk: Desk) -> None:
    page = desk.open(f"/study/lead/{desk.study}")
    page.wait_for_selector("#agreement-plot[data-drawn]")
    bars = page.locator("#agreement-plot .bars .point path")
    expect(bars).to_have_count(8)
    fill = "document.querySelector('#agreement-plot .bars .point path').style.fill"
    light = page.evaluate(fill)
    page.locator("#theme").press("Enter")
    until(page, f"{fill} !== '{light}'")
    row = page.locator(".agree .right").first.inner_text()
    assert len(row.split()) == 4


@pytest.mark.parametrize("width", [1280, 820])
def test_every_figure_is_drawn_in_both_themes_and_names_in_them_are_text(desk: Desk, width: int) -> None:
    study = make_voted(desk.store, 60, raters=("R01", HOSTILE), gold=25, passes=("voice",), name=f"Days {width}")
    with desk.store.write() as session:
        items = select(Item.id).where(Item.study_id == study)
        for rating in session.scalars(select(Rating).where(Rating.item_id.in_(items), Rating.order_index >= 30)):
            rating.submitted_at += timedelta(days=3)
    page = desk.open(f"/study/lead/{study}", viewport={"width": width, "height": 900})
    plots = page.locator("[data-figure]")
    expect(page.locator("[data-drawn]")).to_have_count(4)
    assert plots.count() == 4
    names = page.locator("[data-figure] text", has_text="<img src=x")
    assert names.count() >= 2 and page.locator("main img").count() == 0
    shade = "document.querySelectorAll('[data-figure]')[3].data[0].colorscale[1][1]"
    light = page.evaluate(shade)
    page.locator("#theme").press("Enter")
    until(page, f"{shade} !== {light!r}")
    assert serious(page) == []
    assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")
    page.get_by_text("As a table").press("Enter")
    expect(page.locator("table.cm").first).to_be_visible()


def test_the_other_pass_is_a_link_and_hostile_names_are_text(desk: Desk) -> None:
    page = desk.open(f"/study/lead/{desk.study}")
    page.locator(".passes a", has_text="both").press("Enter")
    expect(page.locator(".passes [aria-current]")).to_contain_text("both")
    expect(page.locator(".raters")).to_contain_text(HOSTILE)
    assert page.locator("main img").count() == 0


PAGES = ("lead", "lead/{study}", "lead/{study}/clips", "lead/{study}/aggregation", "lead/{study}/log", "lead/new",
         "adjudicate", "adjudicate/{study}?item=1")  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_axe_finding(desk: Desk, scheme: str) -> None:
    page = desk.open("/study/lead", color_scheme=scheme)
    for path in PAGES:
        page.goto("/study/" + path.format(study=desk.study))
        if page.locator("#agreement-plot").count():
            page.wait_for_selector("#agreement-plot[data-drawn]")
        assert (path, serious(page)) == (path, [])


@pytest.mark.parametrize("width", [1280, 820, 640])
def test_no_width_scrolls_sideways(desk: Desk, width: int) -> None:
    page = desk.open("/study/lead", viewport={"width": width, "height": 900})
    for path in PAGES:
        page.goto("/study/" + path.format(study=desk.study))
        assert (path, page.evaluate("document.documentElement.scrollWidth > innerWidth")) == (path, False)
