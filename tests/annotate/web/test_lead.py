"""The lead's pages over HTTP, on both databases: what they show, who may do what, and that nothing in them can bite."""

import csv
import html
import io
import json
import re
import time
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select, update

from annotate import queue
from annotate.agreement import report
from annotate.answers import Answer
from annotate.assignment import choose, chosen_names
from annotate.design import Design
from annotate.erase import Erased, erase_clips
from annotate.exchange import FORMATS, Exported, Format
from annotate.overview import pace
from annotate.schema import Adjudication, Audit, Clip, Enrolment, Item, Lease, ModelReading, Rating, Snapshot, Study, Use
from annotate.scheme import SCHEMES
from annotate.store import Store
from annotate.studies import practice_study
from annotate.verify import verify
from tests import media_files
from tests.annotate.small_study import make_raters, make_study
from tests.annotate.voted import HOSTILE, make_voted

from .conftest import PAGE, Served, csrf


def lead(study: Served) -> httpx.Client:
    return study.signed_in("lead", "lead")


def post(client: httpx.Client, path: str, **fields: object) -> httpx.Response:
    return client.post(path, data=fields | {"csrf": csrf(client)}, headers=PAGE)


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def test_the_page_of_a_study_says_the_numbers_of_the_record(study: Served):
    study_id = make_voted(study.store, 40, gold=5, repeats=6)
    page = lead(study).get(f"/study/lead/{study_id}", headers=PAGE)
    assert page.status_code == 200
    alpha = next(m for m in report(study.store, study_id)["measures"] if m["of"] == "label")
    text = text_of(page.text)
    assert f"{alpha['value']:.2f} 95 % interval {alpha['low']:.2f} to {alpha['high']:.2f}" in text
    assert "Joy at school is fully rated." in text
    assert "40 of 40" in text


def test_a_study_of_every_rater_is_not_said_to_be_unfinished(study: Served):
    text = text_of(lead(study).get(f"/study/lead/{practice_study(study.store)}", headers=PAGE).text)
    assert "Practice has 0 ratings." in text and "each rater rates each clip" in text
    assert "1000" not in text and "7,000" not in text


def test_few_clips_have_no_number_but_a_reason(study: Served):
    page = lead(study).get(f"/study/lead/{make_voted(study.store, 12)}", headers=PAGE)
    assert "Of agreement there is nothing to say yet: too few to say (n = 12)." in text_of(page.text)
    assert "Too few to say (n = 12)." in text_of(page.text)
    assert "agreement-plot" not in page.text


@pytest.mark.parametrize("path", ["", "/clips", "/aggregation"])
def test_hostile_names_are_shown_as_text(study: Served, path: str):
    study_id = make_voted(study.store, 24, name=HOSTILE)
    page = lead(study).get(f"/study/lead/{study_id}{path}", headers=PAGE).text
    assert HOSTILE not in page
    assert "&lt;img src=x onerror=" in page


def test_an_empty_study_and_none_at_all_are_pages_too(study: Served):
    client = lead(study)
    assert "There is no study yet" in client.get("/study/lead", headers=PAGE).text
    study_id = make_voted(study.store, 3, raters=())
    for path in ("", "/clips", "/aggregation"):
        page = client.get(f"/study/lead/{study_id}{path}", headers=PAGE)
        assert page.status_code == 200, page.text
    assert "Nobody has answered yet" in client.get(f"/study/lead/{study_id}", headers=PAGE).text


@pytest.mark.parametrize(
    "path", ["lead/99", "lead/99/clips", "lead/99/aggregation", "lead/99/agreement.csv", "adjudicate/99"]
)
def test_a_study_that_is_not_there_is_one_sentence(study: Served, path: str):
    client = study.signed_in("all", "lead", "adjudicator")
    answer = client.get(f"/study/{path}", headers=PAGE)
    assert answer.status_code == 400
    assert "There is no study 99" in answer.text


def test_a_page_that_was_looked_at_before_knows_the_newest_answer(study: Served):
    study_id, client = make_voted(study.store, 3, raters=()), lead(study)
    path = f"/study/lead/{study_id}"
    assert "0 of 3" in text_of(client.get(path, headers=PAGE).text)
    with study.store.write() as session:
        item = session.scalars(select(Item.id).order_by(Item.id)).first()
        now = datetime.now(UTC)
        session.add(Rating(item_id=item, label="fear", idempotency_key="new", submitted_at=now))
    assert "1 of 3" in text_of(client.get(path, headers=PAGE).text)
    assert [row["given"] for row in rows_of(client.get(f"{path}/clips.csv"))] == ["1", "0", "0"]


def test_a_page_that_was_looked_at_before_knows_the_newest_reading_of_a_model(study: Served):
    study_id, client = make_voted(study.store, 24, agreement=1.0), lead(study)
    path = f"/study/lead/{study_id}"
    assert "Beside a model" not in client.get(path, headers=PAGE).text
    with study.store.write() as session:
        clip = session.scalars(select(Clip.id).order_by(Clip.id)).first()
        reading = ModelReading(clip_id=clip, modality="voice", model_id="m1", written_at=datetime.now(UTC))
        reading.probabilities = {"anger": 1.0}
        session.add(reading)
    assert "what m1 read" in client.get(path, headers=PAGE).text


def test_seven_days_end_while_nothing_is_rated(study: Served):
    now = datetime.now(UTC)
    study_id, client = make_voted(study.store, 24, start=now - timedelta(days=7) + timedelta(seconds=60)), lead(study)
    page = text_of(client.get(f"/study/lead/{study_id}", headers=PAGE).text)
    assert re.search(r"(6[0-9]|7[0-2]) ratings in seven days", page)
    with study.store.read() as session:
        assert pace(session, study_id, 5, now)["this_week"] == 72
        assert pace(session, study_id, 5, now)["finish"] > now
        later = pace(session, study_id, 5, now + timedelta(minutes=10))
    assert later == {"this_week": 0, "finish": None}
    with study.store.write() as session:
        session.execute(update(Rating).values(submitted_at=now - timedelta(days=8)))
    assert "0 ratings in seven days" in text_of(client.get(f"/study/lead/{study_id}", headers=PAGE).text)


def test_clips_past_their_last_day_are_named_with_what_to_do(study: Served):
    study_id, client = make_voted(study.store, 6), lead(study)
    make_voted(study.store, 3, name="Other", raters=())
    path, today = f"/study/lead/{study_id}", datetime.now(UTC).date()
    with study.store.write() as session:
        session.execute(update(Clip).values(retain_until=today))
    assert "Past their last day" not in client.get(path, headers=PAGE).text
    with study.store.write() as session:
        session.execute(update(Clip).where(Clip.name != "c_0002.wav").values(retain_until=today - timedelta(days=1)))
    page = client.get(path, headers=PAGE).text
    text = text_of(page[page.index('id="overdue"') : page.index('id="raters"')])
    assert "5 clips" in text and "python -m annotate erase --overdue" in text
    assert "c_0001.wav" in text and "c_0002.wav" not in text
    assert HOSTILE not in page


def test_raters_see_nothing_of_it_and_researchers_change_nothing(study: Served):
    study_id = make_voted(study.store, 24)
    item = study.store.engine.connect().execute(select(func.min(Item.id))).scalar_one()
    reads = [f"lead/{study_id}", "lead", f"lead/{study_id}/clips", f"lead/{study_id}/agreement.csv", "static/plotly.min.js"]
    changes = {f"lead/{study_id}/state": {"state": "closed"}, f"lead/{study_id}/name": {"name": "x"},
               f"lead/{study_id}/raters": {"who": "chosen"}, f"lead/{study_id}/freeze": {"name": "v1"},
               f"lead/{study_id}/adjudication": {"items": item}, "lead/new": {"name": "x"}}  # fmt: skip
    rater, researcher = study.signed_in("rater", "rater"), study.signed_in("researcher", "researcher")
    for path in reads:
        assert rater.get(f"/study/{path}").status_code == 403
        assert researcher.get(f"/study/{path}").status_code == 200
    for path, fields in changes.items():
        for client in (rater, researcher):
            assert post(client, f"/study/{path}", **fields).status_code == 403
    for client in (rater, researcher):
        assert client.get(f"/study/lead/media/{item}").status_code == 403
        assert client.get(f"/study/adjudicate/{study_id}").status_code == 403
    with study.store.read() as session:
        assert session.get_one(Study, study_id).state == "open"
        assert session.scalars(select(Adjudication)).all() == []


def test_a_change_without_the_pages_token_is_refused(study: Served):
    study_id = make_voted(study.store, 5)
    assert lead(study).post(f"/study/lead/{study_id}/state", data={"state": "closed"}).status_code == 403


def test_a_study_is_paused_and_opened_again_and_the_log_knows(study: Served):
    study_id, client = make_voted(study.store, 5), lead(study)
    for state in ("paused", "closed", "open"):
        assert post(client, f"/study/lead/{study_id}/state", state=state).status_code == 303
        with study.store.read() as session:
            assert session.get_one(Study, study_id).state == state
            assert session.scalars(select(Audit.action).order_by(Audit.number.desc())).first() == f"study {state}"
    assert post(client, f"/study/lead/{study_id}/state", state="burnt").status_code == 400


def test_a_lead_chooses_who_rates_and_every_rater_again(study: Served):
    study_id, client = make_voted(study.store, 5), lead(study)
    ids = [study.account(name) for name in ("R07", "R08")]
    path = f"/study/lead/{study_id}"
    assert "Who rates every rater" in text_of(client.get(path, headers=PAGE).text)
    answer = post(client, f"{path}/raters", who="chosen", raters=[ids[0]])
    assert (answer.status_code, answer.headers["location"]) == (303, f"{path}#who")
    page = client.get(path, headers=PAGE).text
    assert "Who rates only those chosen" in text_of(page)
    assert re.findall(r'name="raters" value="(\d+)" checked', page) == [str(ids[0])]
    assert "by 1 chosen rater" in text_of(client.get("/study/lead", headers=PAGE).text)
    rater, other = study.signed_in("R07"), study.signed_in("R08")
    assert rater.get(f"/study/api/rate/{study_id}").status_code == 200
    assert other.get(f"/study/api/rate/{study_id}").status_code == 404
    assert post(client, f"{path}/raters", who="everyone", raters=[ids[0]]).status_code == 303
    assert other.get(f"/study/api/rate/{study_id}").status_code == 200
    page = client.get(path, headers=PAGE).text
    assert re.findall(r'name="raters" value="(\d+)" checked', page) == [str(ids[0])], "the choice is kept"
    with study.store.read() as session:
        assert chosen_names(session) == {}
        by = session.scalars(select(Audit.account_id).where(Audit.action == "raters chosen")).all()
    assert by == [study.accounts["lead"]] * 2


@pytest.mark.parametrize(
    ("fields", "status"),
    [({"who": "chosen", "raters": "999"}, 400), ({"who": "all"}, 422), ({"who": "chosen", "raters": "R07"}, 422), ({}, 422)],
)
def test_a_choice_of_nobody_known_changes_nothing(study: Served, fields: dict[str, str], status: int):
    study_id = make_voted(study.store, 5)
    assert post(lead(study), f"/study/lead/{study_id}/raters", **fields).status_code == status
    with study.store.read() as session:
        assert not session.get_one(Study, study_id).only_chosen


def test_a_study_is_renamed_everywhere(study: Served):
    study_id, client = make_voted(study.store, 5), lead(study)
    make_voted(study.store, 5, name="Other", raters=())
    path = f"/study/lead/{study_id}"
    assert "Joy at school" in client.get(path, headers=PAGE).text
    assert post(client, f"{path}/name", name=HOSTILE).status_code == 303
    for page in (path, "/study/lead"):
        shown = client.get(page, headers=PAGE).text
        assert "Joy at school" not in shown
        assert HOSTILE not in shown
        assert "&lt;img src=x" in shown
    taken = post(client, f"{path}/name", name="OTHER")
    assert taken.status_code == 400
    assert "There is a study named &#39;Other&#39; already; choose another name." in taken.text
    with study.store.read() as session:
        assert session.get_one(Study, study_id).name == HOSTILE


def rows_of(answer: httpx.Response) -> list[dict[str, str]]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-disposition"].startswith("attachment")
    return list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))


def test_every_table_comes_as_csv_and_runs_no_formula(study: Served):
    study_id, client = make_voted(study.store, 30, raters=("=1+1", "R02"), gold=5, repeats=5), lead(study)
    measures = rows_of(client.get(f"/study/lead/{study_id}/agreement.csv"))
    expected = report(study.store, study_id)["measures"]
    assert [row["name"] for row in measures] == [m["name"] for m in expected]
    assert [float(row["value"]) for row in measures if row["value"]] == [
        m["value"] for m in expected if m["value"] is not None
    ]
    for table, length in (
        ("confusion", 7),
        ("raters", 2),
        ("clips", 30),
        ("hardest", 5),
        ("aggregation", 30),
        ("reliability", 2),
        ("flags", 2),
        ("pairs", 7),
    ):
        assert len(rows_of(client.get(f"/study/lead/{study_id}/{table}.csv"))) == length, table
    assert rows_of(client.get(f"/study/lead/{study_id}/raters.csv"))[0]["rater"] == "'=1+1"
    with study.store.read() as session:
        uses = session.scalars(select(Use).order_by(Use.id)).all()
    assert [use.name for use in uses][:2] == [
        f"study-{study_id}-{x}.csv, downloaded by lead" for x in ("agreement", "confusion")
    ]
    assert len(uses) == 10 and all((use.kind, len(use.clips)) == ("table", 30) and use.sha256 for use in uses)
    assert client.get(f"/study/lead/{study_id}/secrets.csv").status_code == 400
    with study.store.read() as session:
        assert session.scalar(select(func.count()).select_from(Use)) == 10


def test_a_lead_plays_clips_in_parts_and_their_file_names_stay_here(study: Served):
    make_voted(study.store, 2)
    with study.store.read() as session:
        item = session.scalars(select(Item.id).order_by(Item.id)).first()
    whole = lead(study).get(f"/study/lead/media/{item}")
    assert whole.status_code == 200
    assert whole.headers["content-type"] == "audio/wav"
    part = lead(study).get(f"/study/lead/media/{item}", headers={"range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, whole.content[10:20])
    assert "private" in part.headers["cache-control"]
    assert "content-disposition" not in part.headers
    assert not any("tone" in value or "onerror" in value for value in part.headers.values())
    assert lead(study).get("/study/lead/media/999").status_code == 404


def test_two_raters_are_set_against_each_other(study: Served):
    study_id, client = make_voted(study.store, 24, raters=("R01", "R02", HOSTILE)), lead(study)
    rows = [row for row in rows_of(client.get(f"/study/lead/{study_id}/pairs.csv")) if row["raters"] == "R01 and R02"]
    counts = [[float(row[label]) for label in SCHEMES["basic seven"].names] for row in rows]
    assert sum(map(sum, counts)) == 24
    page = text_of(client.get(f"/study/lead/{study_id}?pair=R01 and R02", headers=PAGE).text)
    assert "row: the first one's answer" in page
    shown = [f"{100 * cell / sum(row):.0f}" if sum(row) else "–" for row in counts for cell in row]
    assert " ".join(shown[:7]) in page


def test_figures_show_the_numbers_of_their_tables_and_names_as_text(study: Served):
    study_id, client = make_voted(study.store, 60, raters=("R01", HOSTILE), gold=30, repeats=2), lead(study)
    path = f"/study/lead/{study_id}"
    assert len(figures(client.get(path, headers=PAGE).text)) == 3, "in one day there is nothing to compare"
    with study.store.write() as session:
        for rating in session.scalars(select(Rating).where(Rating.order_index >= 40)):
            rating.submitted_at += timedelta(days=2)
        last = session.scalars(select(Rating).order_by(Rating.id.desc())).first()
        assert last is not None
        columns = {"item_id": last.item_id, "enrolment_id": last.enrolment_id, "supersedes": last.id, "is_repeat": True}
        session.add(Rating(**columns, label="fear", idempotency_key="new", submitted_at=datetime.now(UTC)))
    page = client.get(path, headers=PAGE).text
    days, gold = rows_of(client.get(f"{path}/days.csv")), rows_of(client.get(f"{path}/gold.csv"))
    by_day, of_gold, confusion = figures(page)[1:]
    assert [(row["day"], row["answers"]) for row in days] == [("2026-03-02", "40"), ("2026-03-04", "22")] * 2
    assert by_day["data"][0]["x"] == ["2026-03-02", "2026-03-03", "2026-03-04"]
    assert by_day["data"][0]["z"] == [[40, 0, 22]] * 2
    lines = [point for line in of_gold["data"] for point in zip(line["x"], line["y"], strict=True)]
    assert lines == [(int(row["gold clip"]), int(row["right"]) / int(row["of"])) for row in gold]
    assert [point[0] for point in lines] == [*range(20, 31)] * 2
    table = rows_of(client.get(f"{path}/confusion.csv"))
    counts = [[float(row[label]) for label in SCHEMES["basic seven"].names] for row in table]
    assert [cell for row in confusion["data"][0]["z"] for cell in row] == [100 * c / sum(row) for row in counts for c in row]
    assert HOSTILE not in page and "<img" not in json.dumps([by_day, of_gold, confusion])


def test_ties_and_answers_without_a_majority_are_shown_as_such(study: Served):
    client = lead(study)

    def shown(name: str, *given: dict[str, object]) -> str:
        """The page of a study whose first answers, to one clip, are these."""
        study_id = make_voted(study.store, 3, raters=("A", "B"), agreement=1.0, name=name)
        with study.store.write() as session:
            query = select(Rating).join(Item).where(Item.study_id == study_id).order_by(Rating.item_id, Rating.id)
            for rating, new in zip(session.scalars(query), given, strict=False):
                rating.label, rating.soft = new.get("label"), new.get("soft")  # type: ignore[assignment]
        return text_of(client.get(f"/study/lead/{study_id}/aggregation", headers=PAGE).text)

    split = {"soft": {"anger": 0.5, "fear": 0.5}}
    assert "1 of those shown have no majority." in shown("Split", split, split)
    assert "anger or fear" in shown("Tied", {"label": "fear"}, {"label": "anger"})


def figures(page: str) -> list[dict[str, Any]]:
    return [json.loads(html.unescape(found)) for found in re.findall(r'data-figure="([^"]+)"', page)]


def test_hard_clips_are_sent_once_settled_and_settled_anew(study: Served):
    study_id, client = make_voted(study.store, 24), lead(study)
    with study.store.read() as session:
        items = session.scalars(select(Item.id).order_by(Item.id).limit(2)).all()
    for _ in range(2):
        assert post(client, f"/study/lead/{study_id}/adjudication", items=list(items)).status_code == 303
    judge = study.signed_in("judge", "adjudicator")
    page = judge.get(f"/study/adjudicate/{study_id}", headers=PAGE)
    assert "2 clips wait to be settled." in text_of(page.text)
    assert HOSTILE not in page.text
    assert "&lt;img src=x" in page.text  # the comment of a rater
    token = {"x-csrf-token": csrf(judge)}

    def settle(item: int, label: str, after: int | None) -> httpx.Response:
        sent = {"label": label, "comment": "heard twice", "after": after}
        return judge.post(f"/study/api/adjudicate/{item}", json=sent, headers=token)

    asked = study.store.engine.connect().execute(select(func.min(Adjudication.id))).scalar_one()
    first = settle(items[0], "fear", asked)
    assert first.status_code == 200, first.text
    assert first.json()["waiting"] == 1
    stale = settle(items[0], "anger", asked)
    assert stale.status_code == 409
    assert "Somebody else has settled this clip meanwhile" in stale.json()["error"]
    assert settle(items[0], "anger", first.json()["settled"]).status_code == 200
    assert settle(items[1], "bored", asked + 1).status_code == 400
    assert settle(999, "fear", None).status_code == 400
    with study.store.read() as session:
        rows = session.scalars(select(Adjudication).where(Adjudication.item_id == items[0]).order_by(Adjudication.id)).all()
    assert [row.label for row in rows] == [None, "fear", "anger"]
    assert [row.supersedes for row in rows[1:]] == [row.id for row in rows[:-1]]
    assert not [problem for problem in verify(study.store).problems if problem.startswith("Adjudication")]
    with study.store.write() as session:
        session.get_one(Adjudication, rows[-1].id).comment = "never heard"
    (problem,) = [problem for problem in verify(study.store).problems if problem.startswith("Adjudication")]
    assert problem.startswith(f"Adjudication {rows[-1].id} is not as row ")
    aggregation = rows_of(client.get(f"/study/lead/{study_id}/aggregation.csv"))
    assert [row["adjudicated"] for row in aggregation if row["item_id"] == str(items[0])] == ["anger"]


def test_who_rates_as_well_sees_nothing_of_what_is_still_theirs_to_rate(study: Served):
    store = study.store
    study_id = make_study(store, ("main",) * 2, Design(replications=2, repeat_share=0.5))
    judge = study.signed_in("judge", "adjudicator", "rater")
    account = study.accounts["judge"]
    ((other, others_place),) = make_raters(store, study_id, 1)
    token, path = {"x-csrf-token": csrf(judge)}, f"/study/adjudicate/{study_id}"
    with store.read() as session:
        items = session.scalars(select(Item.id).order_by(Item.id)).all()
    with store.write() as session:
        mine = queue.enrol(session, study_id, account).id
        for item in items:
            settled = Adjudication(
                item_id=item, account_id=other, label="fear", comment="SECRET", settled_at=datetime.now(UTC)
            )
            session.add(settled)

    def rate_next(account_id: int, enrolment: int) -> int:
        shown = queue.claim(store, enrolment)[0]
        with store.read() as session:
            item_id = session.get_one(Lease, shown.token).item_id
        queue.submit(store, account_id, shown.token, shown.token, Answer(label="anger", comment=f"of {enrolment}"))
        return item_id

    def seen(item: int) -> bool:
        """Whether its page and its place in the list show anything, and whether it could be settled."""
        page = judge.get(path, params={"item": item}, headers=PAGE)
        listed = f"{path}?item={item}" in judge.get(path, headers=PAGE).text
        sent = {"label": "anger", "after": None}
        settling = judge.post(f"/study/api/adjudicate/{item}", json=sent, headers=token).status_code
        assert (page.status_code, listed, settling) in ((200, True, 409), (403, False, 403))
        if page.status_code == 403:
            assert "You have still to rate this clip yourself" in page.text
            assert "SECRET" not in page.text and "of " + str(others_place) not in page.text
        return listed

    rate_next(other, others_place)
    rate_next(other, others_place)
    assert [seen(item) for item in items] == [False, False]
    with store.write() as session:
        choose(session, None, study_id, True, [other])
    assert [seen(item) for item in items] == [True, True]
    with store.write() as session:
        choose(session, None, study_id, False, [])
    rated = rate_next(account, mine)
    repeats = {abs(number) for number in plan_of(store, mine) if number < 0}
    assert len(repeats) == 1
    assert [seen(item) for item in items] == [item == rated and item not in repeats for item in items]
    rate_next(account, mine)
    assert [seen(item) for item in items] == [item not in repeats for item in items]
    rate_next(account, mine)
    assert [seen(item) for item in items] == [True, True]


def test_what_waits_for_others_is_only_counted_for_who_has_to_rate_it(study: Served):
    study_id = make_study(study.store, ("main",) * 3)
    with study.store.read() as session:
        items = session.scalars(select(Item.id).order_by(Item.id)).all()
    post(lead(study), f"/study/lead/{study_id}/adjudication", items=items)
    judge = study.signed_in("judge", "adjudicator", "rater")
    text = text_of(judge.get(f"/study/adjudicate/{study_id}", headers=PAGE).text)
    assert "Nothing waits to be settled." in text and "3 more wait, which you have still to rate yourself" in text
    with study.store.write() as session:
        session.get_one(Study, study_id).state = "closed"
    text = text_of(judge.get(f"/study/adjudicate/{study_id}", headers=PAGE).text)
    assert "3 clips wait to be settled." in text and "still to rate" not in text


def plan_of(store: Store, enrolment: int) -> list[int]:
    with store.read() as session:
        return session.get_one(Enrolment, enrolment).plan


@pytest.mark.parametrize("name", [name for name, f in FORMATS.items() if f.write is not None])
def test_every_format_is_downloaded_and_kept_on_record(study: Served, name: str):
    study_id = make_voted(study.store, 6, raters=("R01", "R02"), media=False)
    answer = post(study.signed_in("reader", "researcher"), f"/study/lead/{study_id}/export", format=name)
    assert answer.status_code == 200, answer.text
    assert len(answer.content) > 100
    if not FORMATS[name].suffix:
        assert zipfile.ZipFile(io.BytesIO(answer.content)).namelist()
        assert 'filename="study' in answer.headers["content-disposition"]
        assert answer.headers["content-disposition"].endswith('.zip"')
    with study.store.read() as session:
        use = session.scalars(select(Use)).one()
        assert (use.kind, use.study_id, len(use.clips)) == ("export", study_id, 6)
    assert not list(study.store.home.folder.glob(".export-*"))


def test_a_download_during_an_erasure_is_asked_for_again(study: Served, monkeypatch: pytest.MonkeyPatch):
    study_id = make_voted(study.store, 6, raters=("R01", "R02"), media=False)
    reports: list[Erased] = []

    def write(rows, of: Exported, path: Path) -> None:
        if not reports:
            reports.append(erase_clips(study.store, None, [rows[0]["clip_id"]]))
        FORMATS["jsonl"].write(rows, of, path)  # type: ignore[misc]

    monkeypatch.setitem(FORMATS, "csv", Format(write, FORMATS["csv"].read, ".csv", ""))
    client = lead(study)
    answer = post(client, f"/study/lead/{study_id}/export", format="csv")
    assert answer.status_code == 400
    assert "Clips were erased meanwhile, and this file with them; ask for it again." in answer.text
    (use,) = reports[0].uses
    assert use.kind == "export" and use.name.endswith("csv.csv, downloaded by lead")
    with study.store.read() as session:
        assert session.scalars(select(Use)).all() == []
    assert post(client, f"/study/lead/{study_id}/export", format="csv").status_code == 200


def test_a_snapshot_is_frozen_once_and_comes_byte_for_byte(study: Served):
    study_id, client = make_voted(study.store, 6), lead(study)
    assert post(client, f"/study/lead/{study_id}/freeze", name="v1").status_code == 303
    again = post(client, f"/study/lead/{study_id}/freeze", name="v1")
    assert again.status_code == 400
    assert "has a snapshot" in again.text
    downloads = [post(client, f"/study/lead/{study_id}/snapshot", name="v1").content for _ in range(2)]
    with study.store.read() as session:
        assert downloads == [session.scalars(select(Snapshot.content)).one()] * 2


def made(client: httpx.Client, answer: httpx.Response) -> str:
    """The page of a study that is being made, when it is done."""
    assert answer.status_code == 303, answer.text
    path = answer.headers["location"]
    while not client.get(path.replace("/study/lead", "/study/api/lead")).json()["finished"]:
        time.sleep(0.1)
    return text_of(client.get(path, headers=PAGE).text)


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    folder.mkdir()
    for k in range(3):
        media_files.write_wav(folder / f"c{k}.wav", media_files.tone(0.5 + 0.1 * k, 16_000)[0])
    (folder / "broken.wav").write_bytes(b"no sound")
    return folder


FORM = {"passes": "voice", "scheme": "basic seven", "replications": "2", "ask_comment": "on"}


def test_a_study_is_made_from_a_folder_and_says_what_was_skipped(study: Served, clips: Path):
    client = lead(study)
    text = made(client, post(client, "/study/lead/new", name="Tones", source=str(clips), stop_width="0.4", **FORM))
    assert "Tones has 3 clips." in text
    assert "broken.wav" in text
    with study.store.read() as session:
        row = session.scalars(select(Study)).one()
    assert (row.name, row.created_by) == ("Tones", study.accounts["lead"])
    assert row.design["replications"] == 2
    assert row.design["stop_width"] == 0.4
    assert (row.design["ask_comment"], row.design["ask_intensity"]) == (True, False)
    assert "is not there" not in text
    again = made(client, post(client, "/study/lead/new", name="Tones", source=str(clips), **FORM))
    assert "Tones was not made. There is a study named 'Tones' already" in again.replace("&#39;", "'")


def test_a_new_study_is_for_those_chosen_alone(study: Served, clips: Path):
    client = lead(study)
    ids = [study.account(name) for name in ("R07", "R08")]
    faulty = post(client, "/study/lead/new", name="", source=str(clips), who="chosen", raters=[ids[1]], **FORM)
    assert faulty.status_code == 400
    assert re.findall(r'name="raters" value="(\d+)" checked', faulty.text) == [str(ids[1])], "what was ticked stays so"
    assert re.search(r'name="who" value="chosen" checked', faulty.text)
    made(client, post(client, "/study/lead/new", name="Tones", source=str(clips), who="chosen", raters=[ids[1]], **FORM))
    made(client, post(client, "/study/lead/new", name="All", source=str(clips), who="everyone", raters=[ids[1]], **FORM))
    with study.store.read() as session:
        assert chosen_names(session) == {1: ["R08"]}


def test_own_labels_need_no_colour(study: Served, clips: Path):
    client = lead(study)
    own = {"scheme": "own", "own": '{"name": "x", "labels": [{"name": "calm"}, {"name": "tense", "colour": "#A23F02"}]}'}
    made(client, post(client, "/study/lead/new", **{**FORM, **own, "name": "Own", "source": str(clips)}))
    for path in ("", "/clips", "/aggregation"):
        page = client.get(f"/study/lead/1{path}", headers=PAGE)
        assert page.status_code == 200, page.text
    with study.store.write() as session:
        rater = queue.enrol(session, 1, study.accounts["lead"])
    for shown in queue.claim(study.store, rater.id):
        queue.submit(study.store, study.accounts["lead"], shown.token, shown.token, Answer(label="calm"))
    assert "calm" in client.get("/study/lead/1/clips", headers=PAGE).text


@pytest.mark.parametrize("path", ["lead/{}", "lead/{}/clips", "lead/{}/raters.csv", "lead/media/{}", "adjudicate/{}"])
def test_a_number_that_no_row_can_have_is_refused(study: Served, path: str):
    client = study.signed_in("all", "lead", "adjudicator")
    assert client.get(f"/study/{path.format(2**63)}").status_code == 422


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"name": " "}, "The study needs a name."),
        ({"source": ""}, "Say where the clips are"),
        ({"source": "/no/such/folder"}, "There is no '/no/such/folder' on the computer that runs AVEMO"),
        ({"replications": "many"}, "Replications is a number, not 'many'."),
        ({"replications": "0"}, "A clip needs 1 to 1000 ratings; 0 were asked for."),
        ({"scheme": "own", "own": "{"}, "The own labels are no JSON"),
        ({"scheme": "own", "own": '{"name": "x", "labels": []}'}, "A label scheme has 1 to 9 labels"),
        ({"scheme": "own", "own": "[" * 100_000}, "The own labels are no list of labels"),
        ({"source": "/" + "a" * 5000}, "on the computer that runs AVEMO"),
        ({"source": "~nobody-of-that-name/clips"}, "on the computer that runs AVEMO"),
        ({"passes": "smell"}, "There is no pass"),
        ({"who": "chosen", "raters": "999"}, "Somebody was chosen who is no rater any more"),
    ],
)
def test_a_faulty_form_comes_back_with_one_sentence_and_what_was_typed(
    serve, store: Store, clips: Path, fields: dict[str, str], sentence: str
):
    study = serve()
    given = {"name": HOSTILE, "source": str(clips), **FORM, **fields}
    answer = post(lead(study), "/study/lead/new", **given)
    assert answer.status_code == 400
    shown = answer.text.replace("&#39;", "'").replace("&#34;", '"')
    assert sentence in shown
    assert HOSTILE not in answer.text
    with store.read() as session:
        assert session.scalars(select(Study)).all() == []
