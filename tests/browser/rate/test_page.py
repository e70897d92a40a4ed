"""What the rating page shows: texts, breaks, covers, pictures, languages, widths; no serious axe finding."""

from collections.abc import Callable

import pytest
from playwright.sync_api import expect
from sqlalchemy import select, update

from annotate.design import Design
from annotate.schema import Clip, Item, Lease, Rating, Study
from annotate.scheme import SCHEMES, Label, Scheme
from tests.browser.accessibility import serious
from tests.browser.rate.conftest import ONLY, Room
from tests.browser.rate.hands import close_dialog, play, rate, settled, wait_for_clip


def test_hostile_texts_are_shown_as_text(room: Callable[..., Room]) -> None:
    evil = "<img src=x onerror=\"document.title='hit'\">"
    short = "<b>one</b><img src=x onerror=hit()>"  # a label has 40 letters at most
    scheme = Scheme("own", (Label("a", short, "", "#A23F02"), Label("b", "../../etc/passwd", "", "#167E54")))
    here = room(clips=3, scheme=scheme)
    with here.site.store.write() as session:
        session.execute(update(Study).where(Study.id == here.study).values(name=f"{evil} {here.study}"))
    page = here.open()
    play(page)
    expect(page.locator(".emo").first).to_contain_text("<b>one</b>")
    page.keyboard.press("1")
    page.keyboard.press("/")
    page.keyboard.type(f"{evil}'; DROP TABLE rating; --")
    page.keyboard.press("Escape")
    page.keyboard.press("Enter")
    assert settled(here, 1, page)[0]["comment"] == f"{evil}'; DROP TABLE rating; --"
    page.keyboard.press("m")
    expect(page.get_by_role("dialog")).to_contain_text("<b>one</b>")
    assert page.locator(".rp img").count() == 0
    assert page.title() != "hit"


def test_a_break_is_suggested_and_never_forced(room: Callable[..., Room]) -> None:
    here = room(clips=8, design=Design(**{**ONLY, "break_every": 2}))
    page = here.open()
    rate(page, "1")
    rate(page, "2")
    expect(page.locator(".rest")).to_contain_text("2 clips done. A pause of 5 minutes is suggested.")
    rate(page, "3")  # who wants goes on
    expect(page.locator(".rest")).to_be_hidden()
    rate(page, "4")
    expect(page.locator(".rest")).to_be_visible()
    page.keyboard.press("p")
    expect(page.get_by_role("heading", name="Paused")).to_be_visible()
    settled(here, 4, page)

    def open_leases() -> int:
        with here.site.store.read() as session:
            held = session.scalars(select(Lease).join(Item).where(Item.study_id == here.study, Lease.state == "open"))
            return len(held.all())

    for _ in range(50):
        if open_leases() == 0:
            break
        page.wait_for_timeout(100)
    assert open_leases() == 0
    page.keyboard.press("5")
    page.keyboard.press("p")
    rate(page, "6")
    assert [row["label"] for row in settled(here, 5, page)][-1] == "disgust"


def test_the_page_says_when_all_is_done_and_when_the_study_stands_still(room: Callable[..., Room]) -> None:
    here = room(clips=1)
    page = here.open()
    rate(page, "2")
    expect(page.get_by_role("heading", name="All done")).to_be_visible()
    page.keyboard.press("Backspace")  # what was given can still be changed
    page.wait_for_selector('[data-rate][data-state="rate"]')
    page.keyboard.press("4")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="All done")).to_be_visible()
    assert [row["label"] for row in settled(here, 2, page)] == ["happiness", "anger"]
    paused = room(clips=2)
    with here.site.store.write() as session:
        session.execute(update(Study).where(Study.id == paused.study).values(state="paused"))
    still = paused.open()
    expect(still.get_by_role("heading", name="This study is paused")).to_be_visible()
    with here.site.store.write() as session:
        session.execute(update(Study).where(Study.id == paused.study).values(state="open"))
    still.keyboard.press("Enter")
    play(still)
    with here.site.store.write() as session:
        session.execute(update(Study).where(Study.id == paused.study).values(state="paused"))
    still.keyboard.press("3")
    still.keyboard.press("Enter")  # what was heard before the pause is still taken
    expect(still.get_by_role("heading", name="This study is paused")).to_be_visible()
    assert [row["label"] for row in settled(paused, 1, still)] == ["sadness"]


def test_a_clip_that_cannot_be_played_says_so_and_can_be_flagged(room: Callable[..., Room]) -> None:
    here = room(clips=2)
    page = here.context().new_page()
    page.route("**/study/media/*", lambda route: route.fulfill(body=b"this is no sound", content_type="audio/wav"))
    page.goto(f"/study/rate/{here.study}")
    expect(page.locator(".stat")).to_contain_text("This clip cannot be played here.")
    page.keyboard.press("v")
    page.keyboard.press("5")
    page.keyboard.press("Enter")
    assert settled(here, 1, page)[0]["flag"] == "technical fault"


def test_a_clip_that_takes_longer_than_a_connection_may_be_silent_is_loaded(room: Callable[..., Room]) -> None:
    here = room(clips=1)
    context = here.context()
    page = context.new_page()
    page.route("**/study/media/*", lambda route: route.abort())
    page.goto(f"/study/rate/{here.study}")
    page.wait_for_selector('[data-rate][data-state="rate"]')
    slow = {"offline": False, "latency": 0, "uploadThroughput": -1, "downloadThroughput": 330}  # 8 kB in 24 s
    context.new_cdp_session(page).send("Network.emulateNetworkConditions", slow)
    page.unroute("**/study/media/*")
    with page.expect_request_finished(lambda asked: "/media/" in asked.url, timeout=60_000) as asked:
        pass
    assert asked.value.timing["responseEnd"] > 20_000
    play(page)


@pytest.mark.parametrize("modality", ["face", "both"])
def test_a_picture_is_played_in_place_of_the_outline(room: Callable[..., Room], modality: str) -> None:
    here = room(clips=2, picture=True, seconds=0.8, design=Design(**ONLY, passes=(modality,)))
    page = here.open()
    play(page)
    expect(page.locator(".screen video")).to_be_visible()
    bars = page.locator(".wave .ahead rect").count()
    assert bars == 1 if modality == "face" else bars > 50  # a face pass does not show when someone speaks
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    row = settled(here, 1, page)[0]
    assert (row["modality"], row["label"]) == (modality, "happiness")


def test_the_page_speaks_russian_to_who_does(room: Callable[..., Room]) -> None:
    here = room(clips=3, language="ru")
    page = here.open()
    play(page)
    expect(page.locator(".stat")).to_have_text("Прослушано один раз. Можно отвечать.")
    expect(page.locator(".emos")).to_contain_text("радость")
    assert page.evaluate("document.documentElement.lang") == "ru"
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    expect(page.locator(".news")).to_have_text("Сохранено: 1.")
    assert settled(here, 1, page)[0]["label"] == "happiness"


def test_nothing_on_the_page_leads_to_the_demo(room: Callable[..., Room]) -> None:
    page = room(clips=1).open()
    wait_for_clip(page)
    links = page.locator("a").evaluate_all("nodes => nodes.map((node) => new URL(node.href).pathname)")
    assert all(link.startswith("/study") for link in links), links


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_axe_finding(room: Callable[..., Room], scheme: str) -> None:
    here = room(clips=2, design=Design(**ONLY, soft_labels=True))
    page = here.open(color_scheme=scheme)
    wait_for_clip(page)
    assert serious(page) == []
    play(page)
    for key in ("2", "d", "k", "ArrowUp", "q", "4", "v"):
        page.keyboard.press(key)
    assert serious(page) == []
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    assert serious(page) == []
    close_dialog(page)
    page.keyboard.press("Enter")
    settled(here, 1, page)
    page.keyboard.press("m")
    expect(page.get_by_role("dialog")).to_be_visible()
    assert serious(page) == []
    close_dialog(page)
    page.keyboard.press("p")
    expect(page.get_by_role("heading", name="Paused")).to_be_visible()
    assert serious(page) == []


@pytest.mark.parametrize("width", [1280, 820, 640])
def test_no_width_scrolls_sideways(room: Callable[..., Room], width: int) -> None:
    """640 is 1280 at 200 % zoom."""
    for scheme in (SCHEMES["basic seven"], SCHEMES["comfort"]):
        page = room(clips=2, scheme=scheme).open(viewport={"width": width, "height": 900})
        play(page)
        assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")
        height = "document.querySelector(\".cf [data-value='50'] b\").offsetHeight"
        before = page.evaluate(height)
        page.keyboard.press("k")
        assert page.evaluate(height) == before, "bold letters take no second line"
        if width == 1280:
            assert page.evaluate("document.documentElement.scrollHeight <= innerHeight"), "one screen, no scrolling"


@pytest.mark.parametrize("height", [700, 1100])
def test_a_comment_is_seen_while_it_is_written(room: Callable[..., Room], height: int) -> None:
    page = room(clips=2).open(viewport={"width": 820, "height": height})
    play(page)
    page.keyboard.press("/")
    page.keyboard.type("two voices")
    page.wait_for_timeout(300)
    box, bar = page.locator("textarea").bounding_box(), page.locator(".actw").bounding_box()
    assert box
    assert bar
    assert box["y"] + box["height"] <= bar["y"]
    for key in ("Escape", "1", "Enter"):
        page.keyboard.press(key)
    expect(page.locator(".news")).to_have_text("Saved 1.")
    expect(page.locator(".playb")).to_be_in_viewport(ratio=1)  # and the next clip


def test_a_screen_reader_hears_what_was_chosen_and_saved(room: Callable[..., Room]) -> None:
    here = room(clips=3)
    page = here.open()
    play(page)
    page.keyboard.press("2")
    expect(page.locator(".lines .vh[role=status]")).to_have_text("happiness")
    page.keyboard.press("Enter")
    expect(page.locator(".news[role=status]")).to_have_text("Saved 1.")
    assert settled(here, 1, page)
    with here.site.store.read() as session:
        assert session.scalars(select(Rating).join(Item).join(Clip).where(Clip.study_id == here.study)).one().label
