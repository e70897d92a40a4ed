"""Own answers again, and that none is lost: offline, signed out, killed, late, in two tabs."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import delete, select, update

from annotate.assignment import choose
from annotate.design import Design
from annotate.schema import Account, Draft, Item, Lease, Login, Study
from annotate.store import Home, Store
from tests.browser import study as server
from tests.browser.accessibility import serious
from tests.browser.rate.conftest import ONLY, Room, Site
from tests.browser.rate.hands import (
    EMPTY,
    kept,
    play,
    pressed,
    rate,
    same,
    settled,
    shows,
    until,
    wait_for_clip,
)


def test_undo_goes_back_through_the_session_and_a_change_supersedes(room: Callable[..., Room]) -> None:
    here = room(clips=5)
    page = here.open()
    played = [rate(page, key, "d") for key in ("1", "2", "3")]
    waiting = play(page)
    page.keyboard.press("5")  # half an answer, which stays
    for expected in (played[2], played[1]):
        page.keyboard.press("Backspace")
        shows(page, expected)
    assert "happiness" in pressed(page)[0]
    page.keyboard.press("6")
    page.keyboard.press("Enter")
    shows(page, waiting)
    assert "fear" in pressed(page)[0]
    rows = settled(here, 4, page)
    assert [row["label"] for row in rows] == ["neutral", "happiness", "sadness", "disgust"]
    assert rows[3]["supersedes"] == rows[1]["rating_id"]
    assert same(rows[3]["duration_s"], played[1])
    assert rows[3]["intensity"] == 50
    page.keyboard.press("Backspace")
    page.keyboard.press("Backspace")
    page.keyboard.press("Escape")  # a look without a change
    assert "fear" in pressed(page)[0]
    page.keyboard.press("Enter")
    assert settled(here, 5, page)[4]["label"] == "fear"

    page.reload()  # and the whole session is there again, from the server
    wait_for_clip(page)
    page.keyboard.press("m")
    page.get_by_role("dialog").get_by_role("button", name="Clip 1 ").click()
    expect(page.locator(".news")).to_contain_text("Clip 1, as you answered it")
    page.keyboard.press("7")
    page.keyboard.press("Enter")
    last = settled(here, 6, page)[5]
    assert (last["label"], last["supersedes"]) == ("surprise", rows[0]["rating_id"])
    page.keyboard.press("m")
    expect(page.get_by_role("dialog").locator("li")).to_have_count(4)


def test_undo_reaches_further_back_than_what_is_in_memory(room: Callable[..., Room]) -> None:
    here = room(clips=9)
    page = here.open()
    played = [rate(page, "1") for _ in range(8)]
    wait_for_clip(page)
    for expected in reversed(played):
        page.keyboard.press("Backspace")
        shows(page, expected)
    until(page, "document.querySelector('.screen > *').readyState >= 3")
    page.keyboard.press("Backspace")
    expect(page.locator(".news")).to_have_text("There is no earlier answer of yours.")
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    last = settled(here, 9, page)[8]
    assert last["label"] == "happiness"
    assert same(last["duration_s"], played[0])


def test_offline_for_a_moment_loses_nothing(room: Callable[..., Room]) -> None:
    here = room(clips=6)
    context = here.context()
    page = here.open(context)
    wait_for_clip(page)
    page.wait_for_timeout(500)  # the next two are fetched
    context.set_offline(True)
    played = [rate(page, key) for key in ("1", "2")]
    third = play(page)
    page.keyboard.press("Backspace")  # undone before the server has heard of it
    page.keyboard.press("4")
    page.keyboard.press("Enter")
    shows(page, third)
    page.keyboard.press("3")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="No connection")).to_be_visible()
    expect(page.locator(".cover")).to_contain_text("4 answers kept on this computer")
    assert here.ratings() == []
    context.set_offline(False)
    rows = settled(here, 4, page)
    assert [row["label"] for row in rows] == ["neutral", "happiness", "anger", "sadness"]  # in the order of the keys
    change = next(row for row in rows if row["label"] == "anger")
    assert change["supersedes"] == next(row for row in rows if row["label"] == "happiness")["rating_id"]
    assert [same(row["duration_s"], d) for row, d in zip(rows[:2], played, strict=True)] == [True, True]
    wait_for_clip(page)
    until(page, EMPTY)


def test_an_answer_that_was_not_sent_survives_a_reload(room: Callable[..., Room]) -> None:
    here = room(clips=4)
    page = here.open()
    wait_for_clip(page)
    page.route("**/submit", lambda route: route.abort())
    rate(page, "2")
    rate(page, "4")
    expect(page.locator(".wait")).to_contain_text("2 answers kept on this computer")
    assert len(kept(page)) == 2
    page.unroute("**/submit")
    page.reload()
    assert [row["label"] for row in settled(here, 2, page)] == ["happiness", "anger"]
    wait_for_clip(page)
    until(page, EMPTY)


def test_a_lost_reply_makes_no_second_rating(room: Callable[..., Room]) -> None:
    here = room(clips=4)
    page = here.open()
    wait_for_clip(page)
    sent: list[dict[str, Any]] = []

    def lose(route: Any) -> None:
        answer = route.fetch()
        sent.append(json.loads(route.request.post_data))
        assert answer.ok
        if len(sent) == 1:
            route.abort()  # saved, but the page never learns it
        else:
            route.fulfill(response=answer)

    page.route("**/submit", lose)
    rate(page, "3")
    until(page, EMPTY)
    assert len(sent) == 2
    assert sent[0] == sent[1]
    assert [row["label"] for row in here.ratings()] == ["sadness"]


def test_a_session_that_expires_keeps_the_answer_and_comes_back_after_signing_in(room: Callable[..., Room]) -> None:
    here = room(clips=4)
    page = here.open()
    play(page)
    with here.site.store.write() as session:
        session.execute(delete(Login))
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="You have been signed out")).to_be_visible()
    expect(page.locator(".cover")).to_contain_text("1 answer kept on this computer")
    assert here.ratings() == []
    page.keyboard.press("Enter")  # to sign in
    page.wait_for_selector("input[name=password]")
    page.fill("input[name=name]", here.raters[0])
    page.fill("input[name=password]", server.PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{here.site.address}/study/rate/{here.study}")
    assert [row["label"] for row in settled(here, 1, page)] == ["happiness"]
    wait_for_clip(page)


def test_another_rater_on_the_same_computer_sends_nobody_elses_answers(room: Callable[..., Room]) -> None:
    here = room(clips=4)
    context = here.context()
    page = here.open(context)
    wait_for_clip(page)
    page.route("**/submit", lambda route: route.abort())
    rate(page, "2")
    expect(page.locator(".wait")).to_contain_text("1 answer kept on this computer")
    page.close()
    server.sign_in(context, here.site.store, here.site.address, here.raters[1])
    other = here.open(context)
    rate(other, "5")
    assert [(row["rater"], row["label"]) for row in settled(here, 1, other)] == [(here.raters[1], "fear")]
    other.close()
    server.sign_in(context, here.site.store, here.site.address, here.raters[0])
    back = here.open(context)
    rows = settled(here, 2, back)
    assert (rows[1]["rater"], rows[1]["label"]) == (here.raters[0], "happiness")


def test_half_an_answer_is_there_again_after_a_reload_and_in_another_browser(room: Callable[..., Room]) -> None:
    here = room(clips=3)
    page = here.open()
    found = play(page)
    for key in ("4", "g", "ArrowUp"):
        page.keyboard.press(key)
    with page.expect_response("**/draft"):
        pass
    page.reload()
    assert same(wait_for_clip(page), found)
    assert len(pressed(page)) == 2
    expect(page.locator(".vao")).to_have_text("valence 5, arousal 6")
    page.close()
    again = here.open()
    assert same(wait_for_clip(again), found)
    assert len(pressed(again)) == 2
    again.keyboard.press("Enter")  # it was played already, in the other browser
    row = settled(here, 1, again)[0]
    assert (row["label"], row["intensity"]) == ("anger", 100)


def test_a_restarted_server_labels_the_right_clip(launch: Callable[..., Browser], tmp_path: Path) -> None:
    folder = tmp_path / "home"
    store = Store.create(Home(folder))
    study = server.make_study(store, tmp_path, clips=5)
    server.make_account(store, "R01")
    port = server.free_port()
    process = server.start(folder, port)
    address = f"http://127.0.0.1:{port}"
    here = Room(Site(address, store, folder), study, launch, ("R01",))
    try:
        page = here.open()
        first = play(page)
        process.kill()
        process.wait()
        page.keyboard.press("2")
        page.keyboard.press("Enter")
        second = play(page)
        page.keyboard.press("4")
        process = server.start(folder, port)
        page.keyboard.press("Enter")
        rows = settled(here, 2, page)
        assert [row["label"] for row in rows] == ["happiness", "anger"]
        assert same(rows[0]["duration_s"], first)
        assert same(rows[1]["duration_s"], second)
        third = rate(page, "1")
        rows = settled(here, 3, page)
        assert same(rows[2]["duration_s"], third)
    finally:
        for context in here.contexts:
            context.close()
        process.kill()
        process.wait()
        store.close()
    assert not here.problems, "\n".join(here.problems)


def late(here: Room) -> None:
    """The clips that are held now have been held too long."""
    with here.site.store.write() as session:
        items = select(Item.id).where(Item.study_id == here.study)
        session.execute(update(Lease).where(Lease.item_id.in_(items)).values(expires_at=datetime(2020, 1, 1, tzinfo=UTC)))


def drafted(here: Room) -> dict[str, Any]:
    """The one answer that the server keeps as a draft; that of a clip which was only heard has no label."""
    with here.site.store.read() as session:
        drafts = session.scalars(select(Draft.answer).join(Item).where(Item.study_id == here.study)).all()
    [answer] = [draft for draft in drafts if draft["label"]]
    return answer


def correct(page: Page, key: str) -> None:
    """Goes back to the newest answer and gives another one."""
    page.keyboard.press("Backspace")
    expect(page.locator(".news")).to_contain_text("as you answered it")
    page.keyboard.press(key)
    page.keyboard.press("Enter")


@pytest.mark.parametrize("clips", [1, 3])  # of one clip, the late one is the next one offered
def test_an_answer_that_comes_too_late_is_kept_as_a_draft_and_the_page_goes_on(
    room: Callable[..., Room], clips: int
) -> None:
    here = room(clips=clips)
    page = here.open()
    found = play(page)
    late(here)
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    expect(page.locator(".news")).to_contain_text("had been held too long")
    wait_for_clip(page)
    page.wait_for_timeout(500)
    expect(page.locator(".news")).to_contain_text("had been held too long")  # and stays, to be read
    assert here.ratings() == []
    assert drafted(here)["label"] == "happiness"
    for _ in range(3):
        if same(wait_for_clip(page), found):
            break
        page.keyboard.press("x")
        page.wait_for_timeout(300)
    assert "happiness" in pressed(page)[0]


def test_a_correction_of_an_answer_that_comes_too_late_is_what_comes_back(room: Callable[..., Room]) -> None:
    here = room(clips=1, design=Design(**ONLY, lease_minutes=0.1))
    context = here.context()
    page = here.open(context)
    wait_for_clip(page)
    context.set_offline(True)
    rate(page, "1")
    correct(page, "2")
    page.wait_for_timeout(7_000)  # longer than the clip is held
    context.set_offline(False)
    expect(page.locator(".news")).to_contain_text("had been held too long")
    assert "happiness" in pressed(page)[0]
    page.keyboard.press("Enter")
    assert [row["label"] for row in settled(here, 1, page)] == ["happiness"]


def test_an_answer_that_is_refused_while_it_is_corrected_comes_back_corrected(room: Callable[..., Room]) -> None:
    here = room(clips=1)
    context = here.context()
    page = here.open(context)
    wait_for_clip(page)
    context.set_offline(True)
    rate(page, "1")
    page.wait_for_selector('[data-rate][data-state="offline"]')  # until then the next clip may yet come
    page.keyboard.press("Backspace")
    expect(page.locator(".news")).to_contain_text("as you answered it")
    late(here)
    context.set_offline(False)
    expect(page.locator(".news")).to_contain_text("had been held too long")
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    expect(page.locator(".emo.em-happiness")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Backspace")  # it is no answer of before any more
    expect(page.locator(".news")).to_have_text("There is no earlier answer of yours.")
    page.keyboard.press("Enter")
    assert [row["label"] for row in settled(here, 1, page)] == ["happiness"]


def test_a_correction_of_an_answer_that_another_browser_gave_is_kept(room: Callable[..., Room]) -> None:
    here = room(clips=4)
    first, context = here.open(), here.context()
    second = here.open(context)
    assert same(play(first), play(second))
    first.keyboard.press("2")
    first.keyboard.press("Enter")
    settled(here, 1, first)
    context.set_offline(True)
    second.keyboard.press("4")
    second.keyboard.press("Enter")
    correct(second, "5")
    context.set_offline(False)
    expect(second.locator(".news")).to_contain_text("had been answered already")
    assert kept(second) == []
    assert drafted(here)["label"] == "fear"
    assert [row["label"] for row in here.ratings()] == ["happiness"]


def test_a_correction_waits_for_its_rater_who_was_signed_out_meanwhile(room: Callable[..., Room]) -> None:
    here = room(clips=2)
    context = here.context()
    page = here.open(context)
    wait_for_clip(page)

    def sign_out(route: Any) -> None:
        answer = route.fetch()
        with here.site.store.write() as session:
            session.execute(delete(Login))
        route.fulfill(response=answer)

    context.set_offline(True)
    rate(page, "2")
    correct(page, "4")
    late(here)
    page.route("**/submit", sign_out, times=1)
    context.set_offline(False)
    expect(page.get_by_role("heading", name="You have been signed out")).to_be_visible()
    assert [entry["answer"]["label"] for entry in kept(page)] == ["anger"]
    server.sign_in(context, here.site.store, here.site.address, here.raters[0])
    page.reload()
    expect(page.locator(".news")).to_contain_text("had been held too long")
    assert kept(page) == []
    assert drafted(here)["label"] == "anger"


def test_corrections_that_a_closed_study_does_not_take_are_said_and_kept(room: Callable[..., Room]) -> None:
    here = room(clips=2)
    context = here.context()
    page = here.open(context)

    def switch(state: str) -> None:
        with here.site.store.write() as session:
            session.execute(update(Study).where(Study.id == here.study).values(state=state))

    rate(page, "1")
    settled(here, 1, page)
    wait_for_clip(page)
    until(page, EMPTY)
    context.set_offline(True)
    correct(page, "2")
    correct(page, "3")
    switch("closed")
    context.set_offline(False)
    expect(page.get_by_role("heading", name="This study is closed")).to_be_visible()
    expect(page.locator(".cover")).to_contain_text("One answer was not taken and is kept here: The study")
    assert [entry["answer"]["label"] for entry in kept(page)] == ["sadness"]
    switch("open")
    page.keyboard.press("Enter")  # try again
    assert [row["label"] for row in settled(here, 2, page)] == ["neutral", "sadness"]


def test_a_clock_that_is_set_back_changes_no_order(room: Callable[..., Room]) -> None:
    here = room(clips=2)
    context = here.context()
    page = here.open(context)
    wait_for_clip(page)
    context.set_offline(True)
    rate(page, "1")
    page.evaluate("Date.now = () => 1e12")
    correct(page, "2")
    context.set_offline(False)
    assert [row["label"] for row in settled(here, 2, page)] == ["neutral", "happiness"]


def test_an_answer_that_is_refused_without_a_word_holds_up_no_other(room: Callable[..., Room]) -> None:
    """As by a proxy that stands before the server."""
    here = room(clips=3)
    page = here.open()
    asked: list[str] = []

    def refuse(route: Any) -> None:
        asked.append(route.request.url)
        route.fulfill(status=413, body="")

    page.route("**/submit", refuse)
    rate(page, "1")
    expect(page.locator(".wait")).to_contain_text("One answer was not taken and is kept here: 413")
    assert len(asked) == 1
    page.unroute("**/submit")
    rate(page, "2")
    assert [row["label"] for row in settled(here, 1, page)] == ["happiness"]
    expect(page.locator(".pcounts")).to_contain_text("1 done")  # which the other is not
    page.get_by_role("button", name="Try again").click()
    assert [row["label"] for row in settled(here, 2, page)] == ["happiness", "neutral"]


def test_an_answer_that_was_not_taken_is_said_where_no_clip_is_left(room: Callable[..., Room]) -> None:
    here = room(clips=1)
    page = here.open()
    page.route("**/submit", lambda route: route.fulfill(status=413, body=""))
    rate(page, "1")
    expect(page.locator(".cover")).to_contain_text("One answer was not taken and is kept here: 413")
    page.unroute("**/submit")
    page.get_by_role("button", name="Discard it").click()
    rate(page, "2")
    assert [row["label"] for row in settled(here, 1, page)] == ["happiness"]


def test_who_is_no_longer_chosen_is_told_so_and_the_answer_is_kept(room: Callable[..., Room]) -> None:
    here = room(clips=3)
    page, other = here.open(), here.open(rater=1)
    play(page)
    with here.site.store.write() as session:
        kept = session.scalars(select(Account.id).where(Account.name == here.raters[1])).one()
        choose(session, None, here.study, True, [kept])
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("You no longer rate this study")
    assert not serious(page)
    page.keyboard.press("Enter")
    page.wait_for_url("**/study/")
    assert here.ratings() == []
    assert drafted(here)["label"] == "happiness"
    rate(other, "4")
    assert settled(here, 1, other)[0]["label"] == "anger"


def test_a_clip_is_held_as_long_as_its_page_is_open(room: Callable[..., Room]) -> None:
    here = room(clips=3, design=Design(**ONLY, lease_minutes=0.1))
    page = here.open()
    play(page)
    page.wait_for_timeout(9_000)  # longer than the clip is held without the page's word
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    assert settled(here, 1, page)[0]["label"] == "happiness"


def test_two_tabs_rate_one_clip_once(room: Callable[..., Room]) -> None:
    here = room(clips=4)
    context = here.context()
    first = here.open(context)
    play(first)
    first.keyboard.press("2")
    second = here.open(context)
    expect(first.get_by_role("heading", name="You are rating in another tab")).to_be_visible()
    rate(second, "4")
    settled(here, 1, second)
    first.bring_to_front()
    first.keyboard.press("Enter")  # go on here
    wait_for_clip(first)
    expect(second.get_by_role("heading", name="You are rating in another tab")).to_be_visible()
    rate(first, "5")
    rows = settled(here, 2, first)
    assert [row["label"] for row in rows] == ["anger", "fear"]
    assert rows[0]["clip_id"] != rows[1]["clip_id"]


def test_a_tab_that_goes_on_shows_what_was_on_its_desk(room: Callable[..., Room]) -> None:
    here = room(clips=4)
    context = here.context()
    page = here.open(context)
    rate(page, "1")
    found = play(page)
    page.keyboard.press("2")
    for editing in (False, True):
        if editing:
            page.keyboard.press("Backspace")
            expect(page.locator(".news")).to_contain_text("as you answered it")
            page.keyboard.press("3")
        other = here.open(context)
        expect(page.get_by_role("heading", name="You are rating in another tab")).to_be_visible()
        other.close()
        page.keyboard.press("Enter")
        page.wait_for_selector('[data-rate][data-state="rate"]')
        assert ("sadness" if editing else "happiness") in pressed(page)[0]
    page.keyboard.press("p")  # a pause in the midst of a change
    expect(page.get_by_role("heading", name="Paused")).to_be_visible()
    page.wait_for_timeout(500)
    page.keyboard.press("p")
    assert same(wait_for_clip(page), found)
    assert "happiness" in pressed(page)[0]


def test_two_browsers_that_answer_the_same_clip_lose_neither_answer(room: Callable[..., Room]) -> None:
    here = room(clips=4)
    first, second = here.open(), here.open()
    assert same(play(first), play(second))
    first.keyboard.press("2")
    first.keyboard.press("Enter")
    settled(here, 1, first)
    second.keyboard.press("4")
    second.keyboard.press("Enter")
    expect(second.locator(".news")).to_contain_text("had been answered already")
    assert [row["label"] for row in here.ratings()] == ["happiness"]
    expect(second.locator("main")).to_contain_text("You can answer now")  # what began to play meanwhile played on
    rate(second, "5")
    assert [row["label"] for row in settled(here, 2, second)] == ["happiness", "fear"]
    second.keyboard.press("m")
    second.get_by_role("button", name="Take this one instead").click()
    expect(second.locator(".news")).to_contain_text("Clip 1, as you answered it")
    assert "anger" in pressed(second)[0]
    second.keyboard.press("Enter")
    expect(second.locator(".news")).to_contain_text("Clip 1 changed.")
    assert [row["label"] for row in settled(here, 3, second)] == ["happiness", "fear", "anger"]
    second.keyboard.press("m")
    expect(second.locator(".mine li")).to_have_count(2)
    expect(second.get_by_role("button", name="Take this one instead")).to_have_count(0)


BLOCKED = "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('', 'SecurityError'); } })"


def test_a_browser_that_keeps_nothing_rates_all_the_same_and_says_so(room: Callable[..., Room]) -> None:
    here = room(clips=6)
    context = here.context()
    context.add_init_script(BLOCKED)
    page = here.open(context)
    found = play(page)
    expect(page.locator(".wait")).to_contain_text("This browser keeps nothing for this page")
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    settled(here, 1, page)
    play(page)
    page.keyboard.press("5")  # half an answer, which stays
    page.keyboard.press("Backspace")
    shows(page, found)
    page.keyboard.press("Escape")
    assert "fear" in pressed(page)[0]
    context.set_offline(True)
    page.keyboard.press("Enter")
    expect(page.locator(".wait")).to_contain_text("1 answer in this tab alone")
    context.set_offline(False)
    assert [row["label"] for row in settled(here, 2, page)] == ["neutral", "fear"]
    expect(page.locator(".wait")).to_contain_text("This browser keeps nothing for this page")

    play(page)
    with here.site.store.write() as session:
        session.execute(delete(Login))
    page.keyboard.press("3")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="You have been signed out")).to_be_visible()
    expect(page.locator(".cover")).to_contain_text("Sign in in another tab, then try again here")
    server.sign_in(context, here.site.store, here.site.address, here.raters[0])
    page.keyboard.press("Enter")
    wait_for_clip(page)
    assert [row["label"] for row in settled(here, 3, page)] == ["neutral", "fear", "sadness"]


def test_the_tab_that_goes_on_sends_what_waits(room: Callable[..., Room]) -> None:
    here = room(clips=4)
    context = here.context()
    page = here.open(context)
    wait_for_clip(page)
    page.route("**/submit", lambda route: route.abort())
    rate(page, "2")
    expect(page.locator(".wait")).to_contain_text("1 answer kept on this computer")
    other = context.new_page()
    other.route("**/submit", lambda route: route.abort())
    other.goto(f"/study/rate/{here.study}")
    expect(page.get_by_role("heading", name="You are rating in another tab")).to_be_visible()
    other.close()
    page.unroute("**/submit")
    page.keyboard.press("Enter")
    assert [row["label"] for row in settled(here, 1, page)] == ["happiness"]
