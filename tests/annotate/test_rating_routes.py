"""The rating page's requests: what they answer, to whom, and that nothing a rater must not know is in any byte."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update
from starlette.testclient import TestClient

from annotate import accounts, queue
from annotate.answers import Answer
from annotate.assignment import choose
from annotate.design import Design
from annotate.queue import claim, submit
from annotate.schema import Account, Clip, Item, Login, ModelReading, Rating, Study
from annotate.scheme import SCHEMES, Label, Scheme
from annotate.store import Store
from annotate.verify import verify
from annotate.web.access import COOKIE, Settings
from annotate.web.site import build_study
from tests.annotate.small_study import make_raters, make_study, tone
from tests.conftest import is_one_sentence

ANGER = {
    "label": "anger",
    "soft": None,
    "intensity": 75,
    "valence": 2,
    "arousal": 8,
    "confidence": 100,
    "cannot_tell": False,
    "flag": None,
    "comment": "<script>alert(1)</script> ' OR 1=1 -- ../../etc/passwd",
    "replays": 1,
    "first_play_ended_at": "2026-03-01T12:00:00.250Z",
    "reaction_ms": 834,
}

BEGINNING_OF_TIME = "Thu, 01 Jan 1970 00:00:00 GMT"  # in place of when a file was written


class Rater:
    """A signed-in browser."""

    def __init__(self, client: TestClient, store: Store, account_id: int) -> None:
        self.client = client
        self.cookies = {COOKIE: accounts.log_in(store, account_id)}
        with store.read() as session:
            logins = session.scalars(select(Login).where(Login.account_id == account_id)).all()
        self.csrf = logins[-1].csrf

    def get(self, path: str, **headers: str) -> Any:
        return self.client.get(path, headers={**headers, "cookie": f"{COOKIE}={self.cookies[COOKIE]}"})

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        sent = {"cookie": f"{COOKIE}={self.cookies[COOKIE]}", "x-csrf-token": self.csrf, **headers}
        return self.client.post(path, json={} if body is None else body, headers=sent)


@pytest.fixture
def client(store: Store) -> Iterator[TestClient]:
    with TestClient(build_study(store, Settings(demo=False))) as client:
        yield client


@pytest.fixture
def two(store: Store, client: TestClient) -> tuple[str, Rater, Rater]:
    """(The path of a study's requests, two raters)."""
    study = make_study(store)
    first, second = (Rater(client, store, account) for account, _ in make_raters(store, study, 2))
    return f"/study/api/rate/{study}", first, second


def test_from_opening_the_page_to_editing_an_answer(store: Store, two):
    path, rater, _ = two
    opened = rater.get(path).json()
    assert opened["rater"] == "R01"
    assert [label["key"] for label in opened["study"]["labels"]] == list("1234567")
    assert opened["study"]["labels"][3] == {"name": "anger", "text": "anger", "colour": None, "emotion": "anger", "key": "4"}
    assert [point["value"] for point in opened["study"]["scales"]["intensity"]] == [0, 25, 50, 75, 100]
    assert [point["key"] for point in opened["study"]["scales"]["confidence"]] == ["J", "K", "L"]
    claimed = rater.post(f"{path}/claim").json()
    assert [clip["number"] for clip in claimed["clips"]] == [1, 2, 3]
    assert claimed["progress"] == {
        "done": 0, "total": 10, "skipped": 0, "flagged": 0, "next_break_at": 50, "break_due": False,
    }  # fmt: skip
    assert 895 <= claimed["clips"][0]["expires_in_s"] <= 900
    token = claimed["clips"][0]["token"]
    assert rater.post(f"{path}/draft", {"token": token, "answer": {"comment": "злится?"}}).json() == {"kept": True}
    assert rater.post(f"{path}/claim").json()["clips"][0]["draft"]["comment"] == "злится?"
    saved = rater.post(f"{path}/submit", {"token": token, "key": "k1", "answer": ANGER}).json()
    assert saved["progress"]["done"] == 1
    assert [clip["number"] for clip in saved["clips"]] == [2, 3, 4]
    again = rater.post(f"{path}/submit", {"token": token, "key": "k1", "answer": ANGER}).json()
    assert again["saved"] == saved["saved"]
    skipped = rater.post(f"{path}/skip", {"token": saved["clips"][0]["token"]}).json()
    assert skipped["progress"]["skipped"] == 1
    (past,) = rater.get(f"{path}/history").json()["ratings"]
    assert past["answer"] == ANGER | {"first_play_ended_at": "2026-03-01T12:00:00.250000+00:00"}
    edited = {"rating_id": past["rating_id"], "key": "k2", "answer": ANGER | {"label": "fear", "flag": "noise"}}
    assert rater.post(f"{path}/correct", edited).json()["progress"]["flagged"] == 1
    (past,) = rater.get(f"{path}/history").json()["ratings"]
    assert past["answer"]["label"] == "fear"
    assert rater.get(f"{path}/history?before={past['rating_id']}").json() == {"ratings": []}
    assert rater.post(f"{path}/renew", {"tokens": [saved["clips"][1]["token"]]}).json() == {"expires_in_s": 900}
    assert rater.post(f"{path}/release").json() == {}
    assert rater.post(f"{path}/renew", {"tokens": [saved["clips"][1]["token"]]}).json() == {"expires_in_s": 0}
    page = rater.get(f"/study/rate/{path.rsplit('/', 1)[1]}", accept="text/html")
    assert page.status_code == 200
    assert "study_rate.js" in page.text
    assert verify(store).problems == []


def test_a_label_needs_a_clip_that_was_played(two):
    path, rater, _ = two
    token = rater.post(f"{path}/claim").json()["clips"][0]["token"]

    def submit(**answer: Any) -> Any:
        return rater.post(f"{path}/submit", {"token": token, "key": "k1", "answer": answer})

    unheard = submit(label="anger")
    assert unheard.status_code == 400
    assert is_one_sentence(unheard.json()["error"])
    assert "played to its end" in unheard.json()["error"]
    saved = submit(flag="technical fault")
    assert saved.status_code == 200, "what does not play can be flagged"
    edited = {"rating_id": saved.json()["saved"], "key": "k2", "answer": {"label": "anger"}}
    assert rater.post(f"{path}/correct", edited).status_code == 400
    edited["answer"] = {"label": "anger", "first_play_ended_at": "2026-03-01T12:00:00Z"}
    assert rater.post(f"{path}/correct", edited).status_code == 200


def test_a_study_rated_to_its_end_is_finished(two):
    path, rater, _ = two
    reply = rater.post(f"{path}/claim").json()
    for k in range(10):
        sent = {"token": reply["clips"][0]["token"], "key": f"k{k}", "answer": {"cannot_tell": True}}
        reply = rater.post(f"{path}/submit", sent).json()
    assert (reply["finished"], reply["clips"], reply["progress"]["done"]) == (True, [], 10)


def test_what_was_sent_is_stored_letter_by_letter(store: Store, two):
    path, rater, _ = two
    token = rater.post(f"{path}/claim").json()["clips"][0]["token"]
    rater.post(f"{path}/submit", {"token": token, "key": "k1", "answer": ANGER})
    with store.read() as session:
        rating = session.scalars(select(Rating)).one()
    assert rating.comment == ANGER["comment"]
    assert (rating.intensity, rating.valence, rating.arousal, rating.confidence) == (75, 2, 8, 100)
    assert rating.first_play_ended_at == datetime(2026, 3, 1, 12, 0, 0, 250_000, UTC)


def test_refusals_say_why_and_whether_the_answer_is_kept(store: Store, two):
    path, first, second = two
    token = first.post(f"{path}/claim").json()["clips"][0]["token"]
    foreign = second.post(f"{path}/submit", {"token": token, "key": "k1", "answer": ANGER})
    assert (foreign.status_code, foreign.json()["reason"], foreign.json()["kept"]) == (409, "foreign", True)
    first.post(f"{path}/submit", {"token": token, "key": "k1", "answer": ANGER})
    stale = first.post(f"{path}/submit", {"token": token, "key": "k2", "answer": ANGER | {"label": "fear"}})
    assert (stale.status_code, stale.json()["reason"], stale.json()["kept"]) == (409, "stale", True)
    assert [past["later"]["label"] for past in first.get(f"{path}/history").json()["ratings"]] == ["fear"]
    held = first.post(f"{path}/claim").json()["clips"][0]["token"]
    with store.write() as session:
        session.execute(update(queue.Lease).where(queue.Lease.token == held).values(expires_at=datetime.now(UTC)))
    late = first.post(f"{path}/submit", {"token": held, "key": "k3", "answer": ANGER})
    assert (late.status_code, late.json()["reason"], late.json()["kept"]) == (409, "late", True)
    assert first.post(f"{path}/claim").json()["clips"][0]["draft"]["label"] == "anger"
    unknown = first.post(f"{path}/submit", {"token": "nothing", "key": "k4", "answer": ANGER})
    assert (unknown.status_code, unknown.json()["reason"], unknown.json()["kept"]) == (409, "unknown", False)
    assert all(is_one_sentence(reply.json()["error"]) for reply in (foreign, stale, late, unknown))


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("submit", {"token": "a", "key": "k", "answer": {"label": "joy", "mood": 3}}),
        ("submit", {"token": "a", "key": "k"}),
        ("submit", {"token": 3, "key": "k", "answer": ANGER}),
        ("submit", {"token": "a", "key": None, "answer": ANGER}),
        ("submit", []),
        ("submit", "anger"),
        ("draft", {"token": "a", "answer": "anger"}),
        ("skip", {}),
        ("skip", {"token": "a\0"}),
        ("renew", {"tokens": "a"}),
        ("renew", {"tokens": [1]}),
        ("correct", {"rating_id": "1", "key": "k", "answer": ANGER}),
        ("correct", {"rating_id": 10**30, "key": "k", "answer": ANGER}),
        ("correct", {"rating_id": True, "key": "k", "answer": ANGER}),
    ],
)
def test_what_is_no_request_is_told_so_in_one_sentence(two, route, body):
    path, rater, _ = two
    answer = rater.post(f"{path}/{route}", body)
    assert 400 <= answer.status_code < 500
    assert answer.json()["error"]
    assert "\n" not in answer.json()["error"]


@pytest.mark.parametrize("study", ["0", "99", "99999999999999999999", "x"])
def test_a_study_that_is_not_there_is_said_to_be_missing(two, study):
    _, rater, _ = two
    for answer in (rater.get(f"/study/api/rate/{study}"), rater.post(f"/study/api/rate/{study}/claim")):
        assert answer.status_code in (404, 422)
        assert answer.json()["error"]


def test_a_study_paused_after_an_answer_was_given_still_saves_it(store: Store, two):
    path, rater, _ = two
    token = rater.post(f"{path}/claim").json()["clips"][0]["token"]
    with store.write() as session:
        session.scalars(select(Study)).one().state = "paused"
    saved = rater.post(f"{path}/submit", {"token": token, "key": "k1", "answer": ANGER}).json()
    assert saved["saved"] == 1
    assert (saved["clips"], saved["finished"]) == ([], False)
    refused = rater.post(f"{path}/claim")
    assert refused.status_code == 400
    assert "is paused by its lead" in refused.json()["error"]
    assert rater.get(path).json()["study"]["state"] == "paused"


def test_texts_come_in_the_raters_language_and_the_studys_own_come_first(store: Store, client: TestClient):
    own = {"ru": {"question": "Что слышно?", "instruction": "Слушайте."}, "en": {"question_voice": "What do you hear?"}}
    design = Design(passes=("voice", "face", "both"), texts=own)
    study = make_study(store, design=design, scheme=SCHEMES["joy, neutral, sadness, anger"])
    russian, english = make_raters(store, study, 2)
    accounts.set_language(store, russian[0], "ru")
    told = Rater(client, store, russian[0]).get(f"/study/api/rate/{study}").json()["study"]
    assert [label["text"] for label in told["labels"]] == ["радость", "нейтральность", "грусть", "гнев"]
    assert told["texts"] == {"instruction": "Слушайте.", "question": dict.fromkeys(("voice", "face", "both"), "Что слышно?")}
    assert re.search("[а-я]", told["flags"][0]["text"])
    told = Rater(client, store, english[0]).get(f"/study/api/rate/{study}").json()["study"]
    assert told["texts"]["question"]["voice"] == "What do you hear?"
    assert told["texts"]["question"]["face"] == "Which emotion does the face express?"


# ---------------------------------------------------------------- clips


def test_a_clip_comes_whole_or_in_parts_without_its_name(two):
    path, rater, _ = two
    url = rater.post(f"{path}/claim").json()["clips"][0]["url"]
    whole = rater.get(url)
    assert whole.content == tone()
    assert whole.headers["content-type"] == "audio/wav"
    assert whole.headers["cache-control"].startswith("private")
    assert "tone" not in str(whole.headers)
    assert "content-disposition" not in whole.headers
    assert (whole.headers["etag"], whole.headers["last-modified"]) == (f'"{url.rsplit("/", 1)[1]}"', BEGINNING_OF_TIME)
    part = rater.get(url, range="bytes=4-9")
    assert (part.status_code, part.content) == (206, tone()[4:10])
    assert part.headers["content-range"] == f"bytes 4-9/{len(tone())}"
    assert rater.get(url, range="bytes=-5").content == tone()[-5:]
    assert rater.get(url, range="bytes=999999-").status_code == 416


def test_a_clip_is_only_for_the_rater_who_holds_or_held_it(store: Store, two):
    path, first, second = two
    clip = first.post(f"{path}/claim").json()["clips"][0]
    assert second.get(clip["url"]).status_code == 404
    first.post(f"{path}/submit", {"token": clip["token"], "key": "k1", "answer": ANGER})
    assert first.get(clip["url"]).status_code == 200
    for address in ("nothing", "..%2f..%2fstudy.db", "%00", "tone.wav"):
        assert first.get(f"/study/media/{address}").status_code == 404
    with store.write() as session:
        session.execute(update(queue.Rendition).values(file="gone.wav"))
    assert first.get(clip["url"]).status_code == 404


def test_a_clip_past_its_last_day_is_played_no_more(store: Store, two):
    path, rater, _ = two
    url = rater.post(f"{path}/claim").json()["clips"][0]["url"]
    today = datetime.now(UTC).date()
    for day, status in ((today, 200), (today - timedelta(days=1), 404)):
        with store.write() as session:
            session.execute(update(Clip).values(retain_until=day))
        assert rater.get(url).status_code == status


# ---------------------------------------------------------------- who may


ROUTES = [
    ("GET", "/study/rate/1"),
    ("GET", "/study/api/rate/1"),
    ("GET", "/study/api/rate/1/history"),
    ("GET", "/study/media/x"),
    *(("POST", f"/study/api/rate/1/{name}") for name in ("claim", "submit", "skip", "draft", "renew", "release", "correct")),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_only_raters_are_answered(store: Store, client: TestClient, method: str, path: str):
    make_study(store)
    out = client.request(method, path, json={} if method == "POST" else None)
    assert (out.status_code, out.json()["reason"]) == (401, "signed out")
    for role in ("lead", "researcher", "adjudicator"):
        with store.write() as session:
            other = Account(name=f"a {role}", roles=[role], created_at=datetime.now(UTC))
            session.add(other)
        browser = Rater(client, store, other.id)
        reply = browser.get(path) if method == "GET" else browser.post(path)
        assert (reply.status_code, reply.json()["reason"]) == (403, "role")


def test_a_study_that_is_not_theirs_is_nowhere_for_a_rater(store: Store, client: TestClient, two):
    """Not on the first page, no page, no clip, no word of it; what was on its way is kept, and the other goes on."""
    path, first, second = two
    study = int(path.rsplit("/", 1)[1])
    held = first.post(f"{path}/claim").json()["clips"]
    rating = first.post(f"{path}/submit", {"token": held[0]["token"], "key": "k1", "answer": ANGER}).json()["saved"]
    assert second.post(f"{path}/claim").json()["clips"]
    with store.write() as session:
        account = session.scalars(select(Account.id).where(Account.name == "R02")).one()
        choose(session, None, study, True, [account])
    missing = first.get("/study/api/rate/99").json()
    for reply in (
        first.get(f"/study/rate/{study}", accept="text/html"),
        first.get(path),
        first.get(f"{path}/history"),
        *(first.get(clip["url"]) for clip in held),
        first.post(f"{path}/claim"),
        first.post(f"{path}/skip", {"token": held[2]["token"]}),
        first.post(f"{path}/correct", {"rating_id": rating, "key": "k2", "answer": ANGER}),
    ):
        assert reply.status_code == 404, reply.request.url
        assert "Joy at school" not in reply.text
    assert first.get(path).json() == missing == {"error": missing["error"], "reason": "not yours"}
    assert is_one_sentence(missing["error"])
    late = first.post(f"{path}/submit", {"token": held[1]["token"], "key": "k3", "answer": ANGER})
    assert (late.status_code, late.json()["reason"], late.json()["kept"]) == (409, "late", True)
    assert first.post(f"{path}/draft", {"token": held[2]["token"], "answer": {"label": "fear"}}).json() == {"kept": True}
    assert first.post(f"{path}/renew", {"tokens": [clip["token"] for clip in held]}).json() == {"expires_in_s": 0}
    assert first.post(f"{path}/release").json() == {}
    again = first.post(f"{path}/submit", {"token": held[0]["token"], "key": "k1", "answer": ANGER})
    assert (again.status_code, again.json()["saved"], again.json()["clips"]) == (200, rating, [])
    foreign = second.post(f"{path}/claim").json()["clips"][0]["token"]
    make_study(store, name="Open to all")
    by_way_of_another = first.post("/study/api/rate/2/submit", {"token": foreign, "key": "k4", "answer": ANGER})
    assert (by_way_of_another.status_code, by_way_of_another.json()["reason"]) == (409, "foreign")
    home = first.get("/study/", accept="text/html").text
    assert "Open to all" in home
    assert "Joy at school" not in home
    assert "Joy at school" in second.get("/study/", accept="text/html").text
    assert second.get(path).status_code == 200
    with store.read() as session:
        assert session.scalars(select(Rating.id)).all() == [rating]
    assert verify(store).problems == []


def test_a_lead_who_rates_obeys_the_same_rule_and_still_sees_the_leads_pages(store: Store, client: TestClient):
    study = make_study(store)
    with store.write() as session:
        account = Account(name="Lead", roles=["rater", "lead"], created_at=datetime.now(UTC))
        session.add(account)
        session.flush()
        choose(session, None, study, True, [])
    lead = Rater(client, store, account.id)
    assert lead.get(f"/study/api/rate/{study}").status_code == 404
    assert "Joy at school" not in lead.get("/study/", accept="text/html").text
    assert lead.get(f"/study/lead/{study}", accept="text/html").status_code == 200
    assert "Joy at school" in lead.get("/study/lead", accept="text/html").text


@pytest.mark.parametrize("path", [path for method, path in ROUTES if method == "POST"])
def test_nothing_changes_without_the_pages_token(store: Store, two, path: str):
    _, rater, _ = two
    for csrf in ("", "x" * 43):
        reply = rater.post(path, {}, **{"x-csrf-token": csrf})
        assert (reply.status_code, reply.json()["reason"]) == (403, "csrf")
    with store.read() as session:
        assert session.scalars(select(queue.Lease)).all() == []


# ---------------------------------------------------------------- blind


CLIP_FIELDS = {
    "token", "modality", "url", "media_type", "duration_s", "peaks", "is_practice", "number", "draft", "expires_in_s",
}  # fmt: skip
PAST_FIELDS = {
    "rating_id", "number", "modality", "url", "duration_s", "peaks", "media_type", "answer", "later", "submitted_at",
}  # fmt: skip


def test_nothing_that_a_rater_must_not_know_is_in_any_byte(store: Store, client: TestClient):
    """Everything a rater can fetch, from the first clip to the last, searched for what only others may know."""
    words = Scheme("colours", tuple(Label(name, name.title(), name, "#167E54") for name in ("red", "green", "blue", "pink")))
    design = Design(repeat_share=0.2, gold_every=5, passes=("voice", "both"), replications=9)
    study = make_study(store, ["main"] * 25 + ["gold"] * 4 + ["practice"] * 2, design, words)
    blind, other = make_raters(store, study, 2)
    with store.write() as session:
        session.get_one(Account, other[0]).name = "Zinaida-secret"
        session.execute(update(Clip).where(Clip.kind == "gold").values(gold_label="pink"))
        session.execute(update(Clip).values(consent="consent-secret", details={"school": "school-secret"}))
        clips = session.scalars(select(Clip)).all()
        hashes = [clip.content_hash for clip in clips if clip.content_hash]
        ratio = {"green": 0.123456, "red": 0.876544}
        session.add(
            ModelReading(
                clip_id=clips[0].id,
                modality="voice",
                model_id="model-secret",
                probabilities=ratio,
                written_at=datetime.now(UTC),
            )
        )
    while shown := claim(store, other[1]):
        submit(store, other[0], shown[0].token, shown[0].token, Answer(label="green", comment="comment-secret"))
    rater, sent = Rater(client, store, blind[0]), []

    def keep(reply: Any) -> Any:
        sent.append((str(reply.headers), reply.text if "json" in reply.headers["content-type"] else ""))
        return reply.json()

    reply, kinds = keep(rater.post(f"/study/api/rate/{study}/claim")), []
    while reply["clips"]:
        first = reply["clips"][0]
        assert all(set(clip) == CLIP_FIELDS for clip in reply["clips"])
        media = rater.get(first["url"])
        sent.append((str(media.headers), ""))
        kinds.append((first["is_practice"], media.headers["content-length"]))
        answer = {
            "token": first["token"],
            "key": first["token"],
            "answer": {"label": "blue", "first_play_ended_at": "2026-03-01"},
        }
        route = "skip" if len(kinds) == 9 else "submit"
        reply = keep(rater.post(f"/study/api/rate/{study}/{route}", answer))
    assert reply["finished"]
    past = keep(rater.get(f"/study/api/rate/{study}/history?limit=100"))["ratings"]
    assert all(set(rating) == PAST_FIELDS for rating in past)
    keep(rater.post(f"/study/api/rate/{study}/release"))
    assert 71 <= len(past) <= 2 * 31 + 2 * 5  # of a clip that was skipped no repeat comes
    assert sum(is_practice for is_practice, _ in kinds) == 4
    for page in ("/study/", f"/study/rate/{study}"):
        html = rater.get(page, accept="text/html")
        sent.append((str(html.headers), re.sub(r"<script[^>]*>", "", html.text)))
    opened = rater.get(f"/study/api/rate/{study}")
    everything = json.dumps(sent, ensure_ascii=False)
    for secret in ("gold", "repeat", "pink", "green", "0.123456", "priority", "block", "wanted", *hashes):
        assert secret not in everything
    everything += str(opened.headers) + opened.text
    for secret in ("-secret", "angry_child", "tone.wav", "gold", "repeat", "Vasya", "probabilit", str(store.home.folder)):
        assert secret not in everything


def test_progress_counts_gold_and_repeats_as_any_other_clip(store: Store, client: TestClient):
    design = Design(repeat_share=0.2, gold_every=5, replications=9)
    study = make_study(store, ["main"] * 25 + ["gold"] * 4, design)
    (rater,) = make_raters(store, study, 1)
    browser = Rater(client, store, rater[0])
    reply, told = browser.post(f"/study/api/rate/{study}/claim").json(), []
    while reply["clips"]:
        token = reply["clips"][0]["token"]
        sent = {"token": token, "key": token, "answer": {"label": "anger", "first_play_ended_at": "2026-03-01"}}
        reply = browser.post(f"/study/api/rate/{study}/submit", sent).json()
        told.append((reply["progress"]["done"], reply["progress"]["total"]))
    assert told == [(k + 1, 34) for k in range(34)]
    with store.read() as session:
        assert session.scalar(select(Item.wanted).limit(1)) == 9
