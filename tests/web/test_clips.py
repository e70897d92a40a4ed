"""Sending clips and reading them over HTTP: jobs, limits, cancelling, downloads, several visitors at once."""

import csv
import io
import json
import threading
from collections.abc import Callable, Iterator
from copy import copy
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest

from avemo_core.analyzer import Analyzer
from avemo_core.labels import LABELS
from avemo_core.web.services import Settings

from .conftest import EXAMPLES, PATIENCE_S, Served, ended, post, read, serve, stored, tone


def test_an_example_is_read_from_end_to_end(site: Served) -> None:
    client = site.guest()
    examples = client.get("/api/examples").json()
    assert {"name", "title", "duration_s", "poster", "teaches"} <= set(examples[0])
    job = client.post("/api/clips", json={"example": examples[0]["name"]}).json()["job"]
    state = ended(client, job)
    assert state["state"] == "done", state
    answer = client.get(f"/api/results/{state['result']}").json()
    record = answer["record"]
    assert tuple(record["probabilities"]) == LABELS
    assert sum(record["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert record["face"]["available"] and record["voice"]["available"]
    assert record["path"] == (EXAMPLES / examples[0]["name"]).with_suffix(".mp4").name
    assert answer["page"]


def test_the_clip_comes_back_in_parts_for_the_player(site: Served) -> None:
    client = site.guest()
    result = read(client)
    whole = client.get(f"/api/results/{result}/clip")
    part = client.get(f"/api/results/{result}/clip", headers={"range": "bytes=100-199"})
    assert whole.headers["content-type"] == "audio/wav"
    assert part.status_code == 206
    assert part.content == tone()[100:200]


def test_downloads_hold_the_reading(site: Served) -> None:
    client = site.guest()
    result = read(client, (EXAMPLES / "two_people.jpg").read_bytes(), "pair.jpg")
    base = f"/api/results/{result}"
    record = client.get(base).json()["record"]
    assert client.get(f"{base}/download/json").json() == record
    rows = list(csv.DictReader(io.StringIO(client.get(f"{base}/download/csv").text)))
    assert len(rows) >= len(record["windows"])
    assert client.get(f"{base}/download/png").content.startswith(b"\x89PNG")
    assert "<svg" in client.get(f"{base}/download/svg").text[:500]
    arrays = np.load(io.BytesIO(client.get(f"{base}/download/npz").content))
    assert list(arrays["labels"]) == list(LABELS)
    assert 'filename="pair-avemo.csv"' in client.get(f"{base}/download/csv").headers["content-disposition"]
    assert client.get(f"{base}/download/exe").status_code == 404
    assert client.get(f"{base}/image/faces.png").content.startswith(b"\x89PNG")
    assert client.get(f"{base}/image/face_evidence.png", params={"label": "anger"}).status_code == 200
    assert client.get(f"{base}/image/face_evidence.png", params={"label": "boredom"}).status_code == 404
    assert client.get(f"{base}/image/passwd.png").status_code == 404


def test_another_person_of_the_clip_can_be_read(site: Served) -> None:
    client = site.guest()
    first = ended(client, client.post("/api/clips", json={"example": "two_people"}).json()["job"])["result"]
    faces = client.get(f"/api/results/{first}").json()["record"]["faces"]
    assert [face["read"] for face in faces] == [True, False]
    job = client.post(f"/api/results/{first}/person", json={"track_id": faces[1]["track_id"]}).json()["job"]
    second = ended(client, job)["result"]
    faces = client.get(f"/api/results/{second}").json()["record"]["faces"]
    assert [face["read"] for face in faces] == [False, True]
    assert client.get(f"/api/results/{first}").status_code == 200
    refused = client.post(f"/api/results/{first}/person", json={"track_id": 9})
    assert refused.status_code == 400
    assert "9" in refused.json()["error"]
    client.delete(f"/api/results/{first}")  # both readings have one file: it stays for the second
    assert client.get(f"/api/results/{second}/clip").status_code == 200


@pytest.mark.parametrize("end", ["done", "cancelled"])
def test_a_clip_stays_for_its_waiting_job_when_its_reading_goes(site_with: Callable[..., Served], end: str) -> None:
    site = site_with(results_per_visitor=1)
    client, jobs = site.guest(), site.services.jobs
    first = ended(client, client.post("/api/clips", json={"example": "two_people"}).json()["job"])["result"]
    whole, gate = jobs.analyzer, threading.Semaphore(0)

    def analyze(*clip: Any, **how: Any) -> Any:
        assert gate.acquire(timeout=PATIENCE_S)
        return whole.analyze(*clip, **how)

    jobs.analyzer = SimpleNamespace(analyze=analyze)
    tone = post(client).json()["job"]
    other_face = client.post(f"/api/results/{first}/person", json={"track_id": 1}).json()["job"]
    gate.release()
    assert ended(client, tone)["state"] == "done"
    assert client.get(f"/api/results/{first}").status_code == 404  # one reading is kept: that of the tone
    if end == "cancelled":
        client.delete(f"/api/jobs/{other_face}")
    gate.release()
    state = ended(client, other_face)
    assert state["state"] == end, state
    assert len(stored(site)) == 1
    if end == "done":
        assert client.get(f"/api/results/{state['result']}/clip").status_code == 200


def compare(client: httpx.Client, result: str, *files: tuple[str, bytes], neutral: str = "false") -> httpx.Response:
    """Ask for the clip of a reading against other clips of its person."""
    form = [("file", (name, body)) for name, body in files]
    return client.post(f"/api/results/{result}/baseline", params={"neutral": neutral}, files=form)


def example(name: str) -> tuple[str, bytes]:
    path = next(EXAMPLES.glob(f"{name}.m*"))
    return path.name, path.read_bytes()


def test_a_clip_is_read_against_other_clips_of_its_person(site_with: Callable[..., Served]) -> None:
    site = site_with()
    client = site.guest()
    first = read(client, example("both_agree")[1], "clip.mp4")
    kept = stored(site)
    before = client.get(f"/api/results/{first}").json()
    assert (before["record"]["baseline"], before["page"]["against"], before["plain"]) == (None, None, None)
    job = compare(client, first, example("they_disagree"), example("voice_only"), neutral="true").json()["job"]
    states = list(events(client, job))
    assert states[-1]["state"] == "done", states[-1]
    assert stored(site) == kept, "the other clips were not deleted"
    second = states[-1]["result"]
    after = client.get(f"/api/results/{second}").json()
    known = after["record"]["baseline"]
    assert known["clips"] == 2
    assert known["face_s"] > 1 and known["voice_s"] > 2
    assert after["plain"] == first
    assert after["page"]["against"].startswith("Read against 2 other clips of this person (")
    assert after["record"]["probabilities"] != before["record"]["probabilities"]
    third = ended(client, compare(client, second, example("face_only")).json()["job"])["result"]
    assert client.get(f"/api/results/{third}").json()["plain"] == first
    client.delete(f"/api/results/{first}")
    assert client.get(f"/api/results/{second}").json()["plain"] is None
    assert client.get(f"/api/results/{second}/clip").status_code == 200


@pytest.mark.parametrize(
    ("others", "said"),
    [([("mine.mp4", b"no film")], "mine.mp4"), ([("a.wav", tone()), ("b.wav", tone())], "No face and no speech")],
    ids=["not a clip", "nobody in them"],
)
def test_other_clips_that_are_no_use_leave_the_reading(site: Served, others: list[tuple[str, bytes]], said: str) -> None:
    client = site.guest()
    first = read(client)
    kept = stored(site)
    state = ended(client, compare(client, first, *others).json()["job"])
    assert state["state"] == "failed"
    assert said in state["error"] and state["error"].endswith(".")
    assert stored(site) == kept
    assert client.get(f"/api/results/{first}/clip").content == tone()


def test_comparing_can_be_cancelled(site_with: Callable[..., Served]) -> None:
    site = site_with()
    client = site.guest()
    first = read(client)
    kept = stored(site)
    jobs = [compare(client, first, *[example("both_agree")] * 8).json()["job"] for _ in range(2)]
    for job in reversed(jobs):
        client.delete(f"/api/jobs/{job}")
    assert [ended(client, job)["state"] for job in jobs] == ["cancelled"] * 2
    assert stored(site) == kept
    assert client.get(f"/api/results/{first}").status_code == 200


def test_too_many_other_clips_are_refused_with_a_sentence(site_with: Callable[..., Served]) -> None:
    site = site_with(max_bytes=60_000)
    client = site.guest()
    first = read(client)
    kept = stored(site)
    for files, status, said in (
        ([("a.wav", b"x")] * 11, 400, "at most 10"),
        ([("a.wav", bytes(25_000))] * 3, 413, "together"),
        ([], 400, "not an upload"),
    ):
        answer = compare(client, first, *files)
        assert answer.status_code == status
        assert said in answer.json()["error"]
    assert compare(client, first, ("a.wav", tone()), neutral="perhaps").status_code == 422
    assert stored(site) == kept


def test_progress_comes_as_events_until_the_job_ends(site: Served) -> None:
    client = site.guest()
    job = client.post("/api/clips", json={"example": "both_agree"}).json()["job"]
    states = list(events(client, job))
    assert states[-1]["state"] == "done"
    assert [s["elapsed_s"] for s in states] == sorted(s["elapsed_s"] for s in states)
    assert {"faces", "model"} & {s["stage"] for s in states}


def test_a_waiting_job_says_how_many_are_before_it_and_is_cancelled_at_once(site_with: Callable[..., Served]) -> None:
    site = site_with()
    client = site.guest()
    jobs = [client.post("/api/clips", json={"example": "both_agree"}).json()["job"] for _ in range(3)]
    state = client.get(f"/api/jobs/{jobs[2]}").json()
    assert state["state"] == "queued"
    assert state["position"] in (1, 2)
    assert client.delete(f"/api/jobs/{jobs[2]}").json()["state"] == "cancelled"
    client.delete(f"/api/jobs/{jobs[0]}")
    client.delete(f"/api/jobs/{jobs[1]}")
    assert [ended(client, job)["state"] for job in jobs] == ["cancelled"] * 3
    assert stored(site) == []
    assert ended(client, post(client).json()["job"])["state"] == "done"  # the worker lives on


def test_eight_visitors_at_once_each_get_their_own_answer(site_with: Callable[..., Served]) -> None:
    site = site_with()
    seen: list[dict[str, Any]] = []
    failures: list[BaseException] = []

    def visit(n: int) -> None:
        try:
            client = site.guest()
            name = f"visitor-{n}.wav"
            job = post(client, tone(0.6 + n / 10), name).json()["job"]
            positions = [state["position"] for state in events(client, job)]
            record = client.get(f"/api/results/{ended(client, job)['result']}").json()["record"]
            seen.append({"n": n, "positions": positions, "path": record["path"], "duration_s": record["duration_s"]})
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=visit, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
    assert not failures, failures
    assert sorted(s["path"] for s in seen) == [f"visitor-{n}.wav" for n in range(8)]
    assert all(s["duration_s"] == pytest.approx(0.6 + s["n"] / 10, abs=0.02) for s in seen)
    assert max(max(s["positions"]) for s in seen) >= 2, "nobody was shown a place in the queue"


@pytest.mark.parametrize("with_length", [True, False])
def test_a_file_over_the_limit_is_refused_while_it_arrives(site_with: Callable[..., Served], with_length: bool) -> None:
    site = site_with(max_bytes=50_000)
    client = site.guest()
    body = b'--b\r\ncontent-disposition: form-data; name="file"; filename="big.wav"\r\n\r\n' + bytes(400_000)
    headers = {"content-type": "multipart/form-data; boundary=b"}
    content = body if with_length else (body[i : i + 8192] for i in range(0, len(body), 8192))
    answer = client.post("/api/clips", content=content, headers=headers)
    assert answer.status_code == 413
    assert "49 kB" in answer.json()["error"]
    assert stored(site) == []
    assert read(client)  # and a small one is read


def test_a_clip_over_the_length_limit_is_refused_with_a_sentence(site_with: Callable[..., Served]) -> None:
    site = site_with(max_duration_s=2)
    client = site.guest()
    state = ended(client, post(client, tone(5), "long.wav").json()["job"])
    assert state["state"] == "failed"
    assert "2" in state["error"]
    assert "Traceback" not in state["error"]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "multipart/form-data; boundary=b"),
        (b"--b\r\n", "multipart/form-data; boundary=b"),
        (b"nothing like a form", "multipart/form-data; boundary=b"),
        (b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\nhalf', "multipart/form-data; boundary=b"),
        (b'--b\r\ncontent-disposition: form-data; name="other"\r\n\r\nx\r\n--b--\r\n', "multipart/form-data; boundary=b"),
        (b"x", "multipart/form-data"),
        (b"x", "text/plain"),
        (b"{", "application/json"),
        (b"[]", "application/json"),
        (b'{"example": "no such"}', "application/json"),
        (b'{"example": ["both_agree"]}', "application/json"),
        (b'{"example": "../both_agree"}', "application/json"),
        (b"[" * 4000, "application/json"),
        (b"[" * 100_000, "application/json"),
    ],
)
def test_a_bad_request_gets_one_sentence(site: Served, body: bytes, kind: str) -> None:
    client = site.guest()
    before = stored(site)
    answer = client.post("/api/clips", content=body, headers={"content-type": kind})
    assert answer.status_code in (400, 413)
    sentence = answer.json()["error"]
    assert sentence.endswith(".")
    assert "Traceback" not in sentence
    assert stored(site) == before


def test_posts_of_one_visitor_are_limited_with_a_sentence(site_with: Callable[..., Served]) -> None:
    site = site_with(posts_per_minute=3)
    client = site.guest()
    answers = [client.post("/api/clips", json={"example": "no such"}) for _ in range(4)]
    assert [a.status_code for a in answers] == [400, 400, 400, 429]
    assert "try again in" in answers[3].json()["error"]
    assert site.guest().post("/api/clips", json={"example": "no such"}).status_code == 400
    site.now[0] += 61
    assert client.post("/api/clips", json={"example": "no such"}).status_code == 400


def test_the_queue_is_limited_for_one_and_for_all(site_with: Callable[..., Served]) -> None:
    site = site_with(queued_per_visitor=2, queued=3)
    first, second = site.guest(), site.guest()
    many = [first.post("/api/clips", json={"example": "both_agree"}) for _ in range(3)]
    assert [a.status_code for a in many] == [202, 202, 429]
    assert "your clips are waiting" in many[2].json()["error"]
    more = [second.post("/api/clips", json={"example": "both_agree"}) for _ in range(2)]
    third = site.guest().post("/api/clips", json={"example": "both_agree"})
    statuses = [a.status_code for a in (*more, third)]
    assert 429 in statuses
    jobs = [(first, a) for a in many[:2]] + [(second, a) for a in more if a.status_code == 202]
    for client, answer in jobs:
        client.delete(f"/api/jobs/{answer.json()['job']}")


def test_a_fault_of_ours_gives_a_reference_and_no_traceback(analyzer: Analyzer, caplog: pytest.LogCaptureFixture) -> None:
    broken = copy(analyzer)
    broken.calibration = None  # type: ignore[assignment]
    with serve_broken(broken, analyzer) as site:
        client = site.guest()
        state = ended(client, post(client).json()["job"])
        assert state["state"] == "failed"
        assert "reference" in state["error"]
        assert "NoneType" not in state["error"]
        reference = state["error"].split("reference ")[1][:8]
        assert any(reference in record.getMessage() for record in caplog.records)
        assert ended(client, post(client).json()["job"])["state"] == "failed"  # the worker lives on


def serve_broken(broken: Analyzer, whole: Analyzer) -> Any:
    """A site whose pages are made from a whole analyzer, and whose readings come from a broken one."""
    import contextlib

    @contextlib.contextmanager
    def both() -> Iterator[Served]:
        with serve(whole, Settings(hosts=("127.0.0.1",))) as site:
            site.services.jobs.analyzer = broken
            yield site

    return both()


def test_a_clip_lost_from_the_disk_is_a_sentence_too(site: Served) -> None:
    client = site.guest()
    before = set(stored(site))
    result = read(client)
    (path,) = set(stored(site)) - before
    path.unlink()
    answer = client.get(f"/api/results/{result}/clip")
    assert answer.status_code == 500
    assert "reference" in answer.json()["error"]
    assert str(path) not in answer.text


def events(client: httpx.Client, job: str) -> Iterator[dict[str, Any]]:
    with client.stream("GET", f"/api/jobs/{job}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        for line in stream.iter_lines():
            if line.startswith("data: "):
                yield json.loads(line[6:])
