"""Rating by keys alone: what each does, and what none may do."""

from collections.abc import Callable

from playwright.sync_api import expect

from annotate.design import Design
from tests.browser.rate.conftest import ONLY, Room
from tests.browser.rate.hands import close_dialog, play, pressed, rate, same, settled, state, until, wait_for_clip


def test_two_raters_rate_with_the_keyboard_alone_and_scale_points_are_stored(room: Callable[..., Room]) -> None:
    here = room(clips=4)
    answers = [("2", "d", "k"), ("4", "a", "j"), ("7", "g", "l")]
    for rater in (0, 1):
        page = here.open(rater=rater)
        played = [rate(page, *keys) for keys in answers]
        rows = settled(here, 3 * (rater + 1), page)[3 * rater :]
        assert [row["label"] for row in rows] == ["happiness", "anger", "surprise"]
        assert [row["intensity"] for row in rows] == [50, 0, 100]
        assert [row["confidence"] for row in rows] == [50, 0, 100]
        assert all(same(row["duration_s"], found) for row, found in zip(rows, played, strict=True))
        assert all(row["reaction_ms"] is not None and row["first_play_ended_at"] is not None for row in rows)
        assert [row["replays"] for row in rows] == [0, 0, 0]
    assert {row["rater"] for row in here.ratings()} == set(here.raters)


def test_every_key_does_what_the_page_says(room: Callable[..., Room]) -> None:
    here = room(clips=8)
    page = here.open()
    play(page)
    for keys in ("ArrowRight", "ArrowRight", "ArrowUp", "Numpad3", "f", "l"):
        page.keyboard.press(keys)
    assert "sadness" in pressed(page)[0]
    expect(page.locator(".vao")).to_have_text("valence 7, arousal 6")
    page.keyboard.press("Delete")
    expect(page.locator(".vao")).to_have_text("not set")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("NumpadEnter")
    first = settled(here, 1, page)[0]
    assert (first["label"], first["intensity"], first["confidence"]) == ("sadness", 75, 100)
    assert (first["valence"], first["arousal"]) == (4, 4)

    play(page)
    page.keyboard.press("0")
    page.keyboard.press("Enter")
    assert settled(here, 2, page)[1]["cannot_tell"] is True

    wait_for_clip(page)  # a clip that nobody can judge is flagged without hearing it to its end
    page.keyboard.press("v")
    expect(page.locator(".reasons")).to_be_visible()
    page.keyboard.press("4")
    expect(page.locator(".reasons")).to_be_hidden()
    page.keyboard.press("Enter")
    flagged = settled(here, 3, page)[2]
    assert (flagged["flag"], flagged["label"]) == ("distress", None)

    before = wait_for_clip(page)
    page.keyboard.press("x")
    until(page, "(before) => Math.abs(document.querySelector('.screen > *')?.duration - before) > 0.01", before)
    assert len(here.ratings()) == 3
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("undo: back through your answers")
    page.keyboard.press("4")
    close_dialog(page)
    page.keyboard.press("m")
    expect(page.get_by_role("dialog").locator("li")).to_have_count(3)
    close_dialog(page)


def test_keys_go_by_their_place_and_neither_repeat_nor_answer_to_a_shortcut(room: Callable[..., Room]) -> None:
    page = room(clips=2).open()
    play(page)
    send = (
        "(event) => document.body.dispatchEvent(new KeyboardEvent('keydown', { bubbles: true, cancelable: true, ...event }))"
    )
    page.evaluate(send, {"code": "KeyD", "key": "\u0432"})  # a Russian keyboard
    page.evaluate(send, {"code": "Digit2", "key": "\u00e9"})  # a French one
    assert len(pressed(page)) == 2
    expect(page.locator(".int [data-value='50']")).to_have_attribute("aria-pressed", "true")
    page.evaluate(send, {"code": "Digit4", "key": "4", "ctrlKey": True})
    page.evaluate(send, {"code": "Digit4", "key": "4", "repeat": True})
    page.evaluate(send, {"code": "Digit4", "key": "4", "metaKey": True})
    assert "happiness" in pressed(page)[0]


def test_answers_are_locked_until_the_clip_was_played_to_its_end(room: Callable[..., Room]) -> None:
    here = room(clips=2, seconds=4.0)
    page = here.open()
    wait_for_clip(page)
    assert page.locator(".emos").evaluate("node => node.closest('.lockable').inert")
    for key in ("2", "d", "k", "ArrowUp", "0", "Enter"):
        page.keyboard.press(key)
    assert pressed(page) == []
    expect(page.locator(".stat")).to_have_text("Play it once to its end. Then the answers open.")
    expect(page.locator("[data-action=save]")).to_have_attribute("aria-disabled", "true")
    expect(page.locator("[data-action=cannotTell]")).to_have_attribute("aria-disabled", "true")
    for name in ("undo", "skip", "flag"):
        assert page.locator(f"[data-action={name}]").get_attribute("aria-disabled") != "true"
    page.keyboard.press("Space")
    until(page, "document.querySelector('.screen > *').currentTime > 0.3")
    box = page.locator(".wave").bounding_box()
    assert box
    page.mouse.click(box["x"] + 0.95 * box["width"], box["y"] + 30)  # no way past what was not heard
    assert page.evaluate("document.querySelector('.screen > *').currentTime") < 3.0
    page.keyboard.press("2")
    assert pressed(page) == []
    page.wait_for_selector(".stat.open")
    page.keyboard.press("2")
    assert "happiness" in pressed(page)[0]
    assert here.ratings() == []


def test_typing_a_comment_triggers_no_key(room: Callable[..., Room]) -> None:
    here = room(clips=3)
    page = here.open()
    play(page)
    page.keyboard.press("2")
    page.keyboard.press("/")
    text = "137 asdfg jkl xvpmr? 0 /"
    page.keyboard.type(text)
    page.keyboard.press("Enter")
    page.keyboard.press("Backspace")
    assert page.locator("textarea").input_value() == text
    assert len(pressed(page)) == 1
    assert "happiness" in pressed(page)[0]
    assert state(page) == "rate"
    page.keyboard.press("Escape")
    page.keyboard.press("Enter")
    assert settled(here, 1, page)[0]["comment"] == text


def test_replays_are_counted_and_end_where_the_study_says(room: Callable[..., Room]) -> None:
    here = room(clips=2, design=Design(**ONLY, most_replays=1))
    page = here.open()
    play(page)
    expect(page.locator(".stat")).to_have_text("Played. 1 replay left.")
    page.keyboard.press("Space")
    until(page, "!document.querySelector('.screen > *').paused")
    until(page, "document.querySelector('.screen > *').paused")
    expect(page.locator(".stat")).to_have_text("Played. No replays left.")
    page.keyboard.press("Space")
    page.keyboard.press("r")
    page.wait_for_timeout(150)
    assert page.evaluate("document.querySelector('.screen > *').paused")
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    assert settled(here, 1, page)[0]["replays"] == 1


def test_the_first_play_is_one_play_where_no_replay_is_allowed(room: Callable[..., Room]) -> None:
    here = room(clips=2, seconds=2.0, design=Design(**ONLY, most_replays=0))
    page = here.open()
    wait_for_clip(page)
    page.keyboard.press("Space")
    until(page, "document.querySelector('.screen > *').currentTime > 0.5")
    page.keyboard.press("r")  # not from the start again
    assert page.evaluate("document.querySelector('.screen > *').currentTime") > 0.4
    page.keyboard.press("Space")
    page.keyboard.press("Space")  # a pause is none
    page.wait_for_selector(".stat.open")
    page.keyboard.press("3")
    page.keyboard.press("Enter")
    assert settled(here, 1, page)[0]["replays"] == 0


def test_a_soft_label_splits_a_hundred_percent(room: Callable[..., Room]) -> None:
    here = room(clips=2, design=Design(**ONLY, soft_labels=True))
    page = here.open()
    play(page)
    for key in ("q", "2", "2", "4", "7", "Shift+Digit7"):
        page.keyboard.press(key)
    expect(page.locator(".emo.em-happiness .share")).to_have_text("67 %")
    expect(page.locator(".emo.em-anger .share")).to_have_text("33 %")
    page.reload()
    play(page)
    expect(page.locator(".emo.em-happiness .share")).to_have_text("67 %")
    page.keyboard.press("4")
    expect(page.locator(".emo.em-anger .share")).to_have_text("50 %")
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    row = settled(here, 1, page)[0]
    assert row["soft"] == {"happiness": 0.6, "anger": 0.4}
    assert row["label"] == "happiness"


def test_the_next_clip_starts_by_itself_where_that_was_chosen(room: Callable[..., Room]) -> None:
    here = room(clips=4, seconds=0.8)
    page = here.open()
    rate(page, "1")
    until(page, "!document.querySelector('.screen > *').paused")  # on after the first play by hand
    page.wait_for_selector(".stat.open")
    page.get_by_label("The next clip starts by itself").click()
    page.keyboard.press("1")  # the keys belong to the page again
    page.keyboard.press("Enter")
    settled(here, 2, page)
    wait_for_clip(page)
    page.wait_for_timeout(300)
    assert page.evaluate("document.querySelector('.screen > *').paused")
    page.reload()
    wait_for_clip(page)
    assert not page.get_by_label("The next clip starts by itself").is_checked()


def test_a_reload_gives_no_replay_back(room: Callable[..., Room]) -> None:
    here = room(clips=2, design=Design(**ONLY, most_replays=1))
    page = here.open()
    play(page)
    page.keyboard.press("r")
    until(page, "!document.querySelector('.screen > *').paused")
    page.reload()
    wait_for_clip(page)
    expect(page.locator(".stat")).to_have_text("Played. No replays left.")
    expect(page.locator(".news")).to_be_empty()  # nothing was answered yet that could be here again
    page.keyboard.press("Space")
    page.wait_for_timeout(150)
    assert page.evaluate("document.querySelector('.screen > *').paused")
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    row = settled(here, 1, page)[0]
    assert row["replays"] == 1
    assert row["first_play_ended_at"] is not None
    assert row["reaction_ms"] is None  # how long ago it was heard is not known after the reload


def test_a_reload_keeps_the_reaction_time_of_the_label_that_was_chosen(room: Callable[..., Room]) -> None:
    here = room(clips=2)
    page = here.open()
    play(page)
    page.keyboard.press("4")
    with page.expect_response("**/draft") as response:
        pass
    sent = response.value.request.post_data_json["answer"]
    page.reload()
    wait_for_clip(page)
    page.keyboard.press("g")
    page.keyboard.press("Enter")
    row = settled(here, 1, page)[0]
    assert row["reaction_ms"] == sent["reaction_ms"]
    assert row["reaction_ms"] is not None
    assert row["first_play_ended_at"] is not None


def test_a_clip_that_was_flagged_unheard_gets_no_label_before_it_is_heard(room: Callable[..., Room]) -> None:
    here = room(clips=2)
    page = here.open()
    wait_for_clip(page)
    page.keyboard.press("v")
    page.keyboard.press("4")
    page.reload()  # with the flag as a draft
    wait_for_clip(page)
    expect(page.locator(".news")).to_have_text("Your answer from before is here again.")
    page.keyboard.press("2")
    assert pressed(page) == []
    page.keyboard.press("Enter")
    settled(here, 1, page)
    for again in ("in the same page", "after a reload"):
        page.keyboard.press("Backspace")
        expect(page.locator(".news")).to_contain_text("as you answered it")
        page.keyboard.press("2")
        assert pressed(page) == [], again
        page.keyboard.press("Escape")
        page.reload()
        wait_for_clip(page)
    page.keyboard.press("Backspace")
    expect(page.locator(".news")).to_contain_text("as you answered it")
    play(page)
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    row = settled(here, 2, page)[1]
    assert (row["label"], row["flag"], row["replays"]) == ("happiness", "distress", 0)
    assert row["first_play_ended_at"] is not None
    assert row["reaction_ms"] is not None


def test_a_press_on_the_clips_outline_leaves_the_arrows_to_the_tone(room: Callable[..., Room]) -> None:
    here = room(clips=2, seconds=2.0)
    page = here.open()
    play(page)
    place = "document.querySelector('.screen > *').currentTime"
    box = page.locator(".wave").bounding_box()
    assert box
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 30)
    for end in (0, 300):  # where it was pressed, and let go below it
        page.mouse.down()
        page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 30 + end)
        page.mouse.up()
        page.keyboard.press("ArrowRight")
        assert 0.9 < page.evaluate(place) < 1.2
    expect(page.locator(".vao")).to_have_text("valence 7, arousal 5")
    page.locator(".playb").focus()
    page.keyboard.press("Tab")  # who goes there by the keyboard moves the clip
    page.keyboard.press("ArrowRight")
    assert 1.4 < page.evaluate(place) < 1.7
    expect(page.locator(".vao")).to_have_text("valence 7, arousal 5")
