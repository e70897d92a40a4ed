"""The activity log over HTTP, on both databases: for leads alone, filtered, paged, and mute about what was erased."""

import csv
import io
import re
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from annotate import queue
from annotate.answers import Answer
from annotate.erase import erase_child
from annotate.schema import Audit, Child, Clip, Enrolment
from annotate.store import record
from tests.annotate.material import COMMENTS, new_study, rate_all
from tests.annotate.small_study import make_raters, make_study
from tests.annotate.voted import HOSTILE

from .conftest import PAGE, Served, csrf

ROW = re.compile(r"<tr><td class=\"nw num\">(.*?)</tr>", re.S)


def shown(client: httpx.Client, path: str, **query: object) -> list[list[str]]:
    """The cells of each row of the page."""
    page = client.get(path, params=query, headers=PAGE)
    assert page.status_code == 200, page.text
    return [[re.sub("<[^>]+>", "", cell) for cell in re.split("</td><td[^>]*>", row)] for row in ROW.findall(page.text)]


def downloaded(client: httpx.Client, path: str, **query: object) -> list[dict[str, str]]:
    answer = client.get(f"{path}.csv", params=query)
    assert answer.headers["content-disposition"].startswith("attachment")
    return list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))


def rated(study: Served) -> tuple[int, int]:
    """A study of which one rater, with a name that bites, has rated one clip; and another study, rated as well."""
    made = []
    for name in ("Joy at school", "Other"):
        study_id = make_study(study.store, ("main",) * 3, name=name)
        ((account, enrolment),) = make_raters(study.store, study_id, 1)
        token = queue.claim(study.store, enrolment)[0].token
        queue.submit(study.store, account, token, token, Answer(label="fear", comment="SECRET"))
        made.append(study_id)
    return made[0], made[1]


def test_who_did_what_in_a_study_newest_first(study: Served):
    study_id, _ = rated(study)
    client = study.signed_in("lead", "lead")
    client.post(f"/study/lead/{study_id}/state", data={"state": "paused", "csrf": csrf(client)})
    rows = shown(client, path := f"/study/lead/{study_id}/log")
    assert [row[1:3] for row in rows] == [["lead", "study paused"], ["R01", "rating submitted"], ["R01", "enrolled"]]
    assert "angry_child_0000" in rows[1][3] and rows[1][3].endswith(", voice")
    assert "SECRET" not in client.get(path, headers=PAGE).text
    assert "Activity log" in client.get(f"/study/lead/{study_id}", headers=PAGE).text
    table = downloaded(client, path)
    assert [row["what"] for row in table] == [row[2] for row in rows]
    assert [row["number"] for row in table] == [row[5] for row in rows]
    everything = shown(client, path, scope="all")
    with study.store.read() as session:
        assert len(everything) == len(session.scalars(select(Audit.number)).all()) > len(rows) + 2
    assert {"invitation accepted", "invited"} <= {row[2] for row in everything}


def test_it_is_filtered_by_account_and_kind(study: Served):
    study_id, other = rated(study)
    client, path = study.signed_in("lead", "lead"), f"/study/lead/{study_id}/log"
    with study.store.write() as session:
        record(session, None, "clips added", f"study {study_id}", clips=["a", "b"])
        account = session.scalars(select(Enrolment.account_id).where(Enrolment.study_id == study_id)).one()
    assert [row[2] for row in shown(client, path, who=account)] == ["rating submitted", "enrolled"]
    assert [row[2] for row in shown(client, path, who=account, kind="enrolled")] == ["enrolled"]
    assert [row["what"] for row in downloaded(client, path, kind="enrolled")] == ["enrolled"]
    nobody = shown(client, path, who=0)
    assert [row[1:5] for row in nobody] == [["nobody signed in", "clips added", f"study {study_id}", "2 clips"]]
    with study.store.write() as session:
        record(session, None, "study imported", f"study {study_id}", ratings=1200, clips=1)
    assert shown(client, path, kind="study imported")[0][4] == "1 clip; 1,200 ratings"
    assert shown(client, path, kind="no such kind") == []
    assert len(shown(client, f"/study/lead/{other}/log")) == 2
    for query in ({"who": "x"}, {"scope": "mine"}, {"before": "-1"}):
        assert client.get(path, params=query).status_code == 422
    assert client.get("/study/lead/99/log").status_code == client.get("/study/lead/99/log.csv").status_code == 400


def test_older_rows_come_page_by_page(study: Served):
    study_id = make_study(study.store)
    with study.store.write() as session:
        for _ in range(250):
            record(session, None, "study paused", f"study {study_id}")
    client, path = study.signed_in("lead", "lead"), f"/study/lead/{study_id}/log"
    numbers, here = [], f"{path}?kind=study+paused"
    while here:
        page = client.get(here, headers=PAGE).text
        numbers += [int(re.sub("<[^>]+>", "", row).strip()) for row in re.findall(r'<td class="ra num dim3">\d+</td>', page)]
        older = re.search(r'href="([^"]+)">Older', page)
        here = older[1].replace("&amp;", "&") if older else ""
    assert len(numbers) == 250 and numbers == sorted(numbers, reverse=True)
    assert len(downloaded(client, path)) == 250


def test_names_that_bite_are_text_and_no_formula(study: Served):
    study_id = make_study(study.store)
    study.account(HOSTILE), study.account("=1+1")
    with study.store.write() as session:
        for name in (HOSTILE, "=1+1"):
            record(session, study.accounts[name], "study paused", f"study {study_id}", reason=name)
    client, path = study.signed_in("lead", "lead"), f"/study/lead/{study_id}/log"
    page = client.get(path, headers=PAGE).text
    assert HOSTILE not in page and "&lt;img src=x" in page
    first = downloaded(client, path)[0]
    assert (first["who"], first["detail"]) == ("'=1+1", "'=1+1")


def test_nothing_of_what_was_erased_is_shown(study: Served, tmp_path: Path):
    report = new_study(study.store, tmp_path / "clips")
    rate_all(study.store, report.study_id)
    client, path = study.signed_in("lead", "lead"), f"/study/lead/{report.study_id}/log"
    with study.store.read() as session:
        child = session.scalars(select(Child).order_by(Child.id)).first()
        assert child is not None
        clips = session.execute(select(Clip.name, Clip.content_hash).where(Clip.child_id == child.id)).all()
        gone = [child.pseudonym, *(value for clip in clips for value in clip), *(c for c in COMMENTS if c and c.strip())]
    assert clips[0].name in client.get(path, headers=PAGE).text
    erase_child(study.store, None, child.pseudonym)
    for scope in ("study", "all"):
        texts = [client.get(path, params={"scope": scope}, headers=PAGE).text, str(downloaded(client, path, scope=scope))]
        for text in texts:
            assert not [value for value in gone if value in text or value.replace("'", "&#39;") in text]
    erased = shown(client, path, scope="all", kind="clip erased")
    assert len(erased) == len(clips) and all("ratings" in row[4] for row in erased)


@pytest.mark.parametrize("role", ["rater", "researcher", "adjudicator"])
def test_it_is_for_leads_alone(study: Served, role: str):
    study_id = make_study(study.store)
    client = study.signed_in(role, role)
    for path in ("log", "log.csv"):
        assert client.get(f"/study/lead/{study_id}/{path}").status_code == 403
    if role == "researcher":
        assert "Activity log" not in client.get(f"/study/lead/{study_id}", headers=PAGE).text
