"""The rating study under load, killed, and restarted: what was acknowledged is there, once, on the right clip.

Servers are real processes, kills are SIGKILL, and each rater keeps a journal of what was acknowledged, on disk.
"""

import hashlib
import json
import random
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from sqlalchemy import func, select

from annotate import accounts
from annotate.design import Design
from annotate.offers import AHEAD
from annotate.schema import Clip, Item, Lease, Login, Rating, Rendition
from annotate.scheme import SCHEMES
from annotate.store import Home, Store
from annotate.verify import verify
from tests.annotate.postgresql import PostgreSQL
from tests.annotate.small_study import make_raters, make_study
from tests.benchmarks import report
from tests.benchmarks.study_server import Server, exporting, serving

LABELS = SCHEMES["basic seven"].names
PATIENCE_S = 180  # for a server to come back
QUOTA = 5


@dataclass
class Outcome:
    """What a part found; everything but the counts of work has to be 0."""

    acknowledged: int = 0
    lost: int = 0
    duplicates: int = 0
    over_quota: int = 0
    wrong_clip: int = 0
    problems: list[str] = field(default_factory=list)
    waits_s: list[float] = field(default_factory=list)  # of each submit that met a running server
    kills: int = 0
    exports: int = 0

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.duplicates or self.over_quota or self.wrong_clip or self.problems)


class Page:
    """A rater's open page: it holds tokens, asks again where no answer comes, and writes down what was acknowledged."""

    def __init__(self, servers: list[Server], path: str, cookie: str, csrf: str, first: int, journal: Path) -> None:
        headers = {"cookie": f"{accounts_cookie()}={cookie}", "x-csrf-token": csrf}
        self.client = httpx.Client(headers=headers, timeout=60, verify=False)
        self.servers, self.path, self.at, self.journal = servers, path, first, journal
        self.tried = 0  # times that the last request was sent

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        deadline = time.monotonic() + PATIENCE_S
        self.tried = 0
        while True:
            self.tried += 1
            try:
                address = self.servers[self.at % len(self.servers)].address
                answer = self.client.request(method, f"{address}{path}", json=body)
                if answer.status_code < 500:
                    return answer
            except httpx.TransportError:
                self.at += 1
            if time.monotonic() > deadline:
                raise RuntimeError(f"No server answered {path} within {PATIENCE_S} s.")
            time.sleep(0.05)

    def post(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = self.ask("POST", f"{self.path}/{name}", body)
        answer.raise_for_status()
        return answer.json()

    def claim(self) -> list[dict[str, Any]]:
        return self.post("claim", {})["clips"]

    def submit(self, token: str, comment: str) -> tuple[dict[str, Any], float]:
        """(The reply, seconds). The label follows from the token, so that a mix-up shows."""
        key, label = f"key-{token}", LABELS[hashlib.sha256(token.encode()).digest()[0] % len(LABELS)]
        started = time.perf_counter()
        answer = {"label": label, "comment": comment, "first_play_ended_at": datetime.now(UTC).isoformat()}
        reply = self.post("submit", {"token": token, "key": key, "answer": answer})
        waited = time.perf_counter() - started
        line = {"saved": reply["saved"], "token": token, "key": key, "label": label, "comment": comment}
        with self.journal.open("a") as file:
            file.write(json.dumps(line) + "\n")
        return reply, waited


def accounts_cookie() -> str:
    from annotate.web.access import COOKIE

    return COOKIE


# ---------------------------------------------------------------- the three parts


def load(home: Home, raters: int, submits: int, pause_s: float = 0.0) -> Outcome:
    """So many raters at once on two servers, each with a pause before each answer, while all ratings are read in a loop."""
    with _study(home, clips=raters * (submits + AHEAD) * 6 // (5 * QUOTA) + submits, raters=raters) as (
        store,
        study,
        open_pages,
    ):
        outcome = Outcome()
        with serving(home, 2) as servers, exporting(home, study) as exports:
            pages = open_pages(servers)

            def work(k: int) -> None:
                page, chance = pages[k], random.Random(k)
                clips = page.claim()
                for _ in range(submits):
                    time.sleep(pause_s * chance.uniform(0.5, 1.5))
                    reply, waited = page.submit(clips[0]["token"], clips[0]["token"])
                    outcome.waits_s.append(waited)
                    clips = reply["clips"]

            _at_once(work, raters)
        outcome.exports = len(exports)
        if exports != sorted(exports):
            outcome.problems.append("An export had fewer rows than the one before it.")
        return _checked(outcome, store, pages)


def kills(home: Home, raters: int, submits: int, count: int, database: PostgreSQL | None = None) -> Outcome:
    """The server, or the `database` under it, is killed at random points of so many submits and started again.

    Raters repeat what was not answered.
    """
    chance = random.Random(1)
    points = sorted(chance.sample(range(1, submits), count))
    with _study(home, clips=(submits + AHEAD * raters) // QUOTA + submits // raters, raters=raters) as (
        store,
        _,
        open_pages,
    ):
        outcome, done, over = Outcome(), threading.Semaphore(0), threading.Event()
        with serving(home, 1) as servers:
            pages = open_pages(servers)

            def work(k: int) -> None:
                clips = pages[k].claim()
                for _ in range(submits // raters):
                    reply, waited = pages[k].submit(clips[0]["token"], clips[0]["token"])
                    done.release()
                    if pages[k].tried == 1:
                        outcome.waits_s.append(waited)
                    clips = reply["clips"]

            def killer() -> None:
                counted = 0
                for point in points:
                    while counted < point:
                        if done.acquire(timeout=0.2):
                            counted += 1
                        elif over.is_set():
                            return  # a rater has failed, which is told
                    time.sleep(chance.uniform(0, 0.03))  # anywhere within a submit
                    if database:
                        database.crash()
                    else:
                        servers[0].kill()
                        outcome.problems += _integrity(home)
                        servers[0].restart()
                        servers[0].wait()
                    outcome.kills += 1

            thread = threading.Thread(target=killer)
            thread.start()
            _at_once(work, raters)
            over.set()
            thread.join()
        return _checked(outcome, store, pages)


def restart(home: Home, pages_open: int) -> Outcome:
    """So many pages hold clips while the server is killed and started again, with newcomers coming first; then all answer.

    A page tells what it played by the hash of the bytes it was sent: each clip has its own.
    """
    with _study(home, clips=2 * pages_open, raters=2 * pages_open, own_media=True) as (store, _, open_pages):
        outcome = Outcome()
        with serving(home, 1) as servers:
            pages = open_pages(servers)
            held: list[list[tuple[str, str]]] = [[] for _ in pages]

            def look(k: int) -> None:
                for clip in pages[k].claim():
                    bytes_sent = pages[k].ask("GET", clip["url"]).content
                    held[k].append((clip["token"], hashlib.sha256(bytes_sent).hexdigest()))

            _at_once(look, pages_open)
            servers[0].kill()
            servers[0].restart()
            servers[0].wait()
            _at_once(lambda k: look(pages_open + k), pages_open)
            _at_once(lambda k: [pages[k].submit(token, played) for token, played in held[k]], 2 * pages_open)
        with store.read() as session:
            rows = session.execute(
                select(Rating.comment, Rendition.file)
                .join(Item, Rating.item_id == Item.id)
                .join(Rendition, Rendition.clip_id == Item.clip_id)
            ).all()
        played = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in home.media.glob("*.wav")}
        outcome.wrong_clip = sum(played[file] != comment for comment, file in rows)
        return _checked(outcome, store, pages)


# ---------------------------------------------------------------- around and after


@contextmanager
def _study(
    home: Home, clips: int, raters: int, own_media: bool = False
) -> Iterator[tuple[Store, int, Callable[[list[Server]], list[Page]]]]:
    """(Store, study, a function that opens every rater's page)."""
    store = Store.create(home)
    study = make_study(store, ["main"] * clips, Design(replications=QUOTA, repeat_share=0.05), own_media=own_media)
    cookies = [(accounts.log_in(store, account), account) for account, _ in make_raters(store, study, raters)]
    with store.read() as session:
        csrf = dict(session.execute(select(Login.account_id, Login.csrf)).tuples().all())

    def open_pages(servers: list[Server]) -> list[Page]:
        path, journal = f"/study/api/rate/{study}", home.folder / "acknowledged"
        journal.mkdir()
        return [
            Page(servers, path, cookie, csrf[account], k, journal / f"{k}.jsonl")
            for k, (cookie, account) in enumerate(cookies)
        ]

    try:
        yield store, study, open_pages
    finally:
        store.close()


def _at_once(work: Callable[[int], object], count: int) -> None:
    """work(0) to work(count - 1) in threads; the first failure is raised."""
    failures: list[BaseException] = []

    def run(k: int) -> None:
        try:
            work(k)
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(k,)) for k in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def _checked(outcome: Outcome, store: Store, pages: list[Page]) -> Outcome:
    """The journals against the database."""
    journal = [json.loads(line) for page in pages if page.journal.exists() for line in page.journal.open()]
    with store.read() as session:
        ratings = {rating.id: rating for rating in session.scalars(select(Rating))}
        per_rater = session.execute(
            select(Rating.item_id).group_by(Rating.enrolment_id, Rating.item_id, Rating.is_repeat).having(func.count() > 1)
        ).all()
        over = session.execute(
            select(Item.id)
            .join(Clip)
            .join(Lease, Lease.item_id == Item.id)
            .where(~Lease.is_repeat, Lease.state.in_(("open", "answered")))
            .group_by(Item.id, Item.wanted)
            .having(func.count() > Item.wanted)
        ).all()
    for line in journal:
        found = ratings.get(line["saved"])
        same = found is not None and (found.lease_token, found.idempotency_key, found.label, found.comment) == (
            line["token"], line["key"], line["label"], line["comment"],
        )  # fmt: skip
        outcome.lost += not same
    outcome.acknowledged = len(journal)
    again = Counter(line["saved"] for line in journal)
    outcome.duplicates = len(per_rater) + len(ratings) - len(again) + sum(n - 1 for n in again.values())
    outcome.over_quota = len(over)
    outcome.problems += [*verify(store).problems, *_integrity(store.home)]
    for page in pages:
        page.client.close()
    return outcome


def _integrity(home: Home) -> list[str]:
    """What SQLite's own check finds wrong. PostgreSQL has no such check; what it holds is checked by verify."""
    if home.url:
        return []
    with closing(sqlite3.connect(home.folder / "study.db", timeout=60)) as connection:
        found = [row[0] for row in connection.execute("PRAGMA integrity_check")]
        found += [f"foreign key {row}" for row in connection.execute("PRAGMA foreign_key_check")]
    return [] if found == ["ok"] else found


# ---------------------------------------------------------------- the table


def run(folder: Path, raters: int, submits: int, killed: int = 1000, pages: int = 100, pace_s: float = 5.0) -> None:
    report.title("The rating study: nothing acknowledged is lost")
    report.note(
        f"{raters} raters on two server processes, all ratings read in a loop meanwhile: {submits} submits each, no "
        f"pause; {max(1, submits // 8)} each at a pace of {pace_s:g} s a clip. A submit ends when the next clips are named."
    )
    columns: dict[str, list[object]] = {}
    for name, homes, server in _homes(folder):
        report.busy()
        across = _told(name, "open pages", restart(next(homes), pages))
        killed_at = _told(name, "kills", kills(next(homes), 8, killed, 20))
        crashed = _told(name, "database killed", kills(next(homes), 8, killed, 20, server)) if server else None
        calm = _told(name, "at a pace", load(next(homes), raters, max(1, submits // 8), pace_s))
        busy = _told(name, "without a pause", load(next(homes), raters, submits))
        columns[name] = _column(busy, calm, killed_at, crashed, across)
    rows = [[what, *(column[k] for column in columns.values())] for k, what in enumerate(ROWS)]
    report.table(["", *columns], rows)


def _told(name: str, part: str, found: Outcome) -> Outcome:
    """Says that a part is over: all of them take an hour."""
    state = "in order" if found.is_clean else "FAULTY"
    median, last = _times(found) if found.waits_s else ("-", "-")
    report.note(
        f"{time.strftime('%H:%M')} {name}, {part}: {found.acknowledged} acknowledged, {found.lost} lost, "
        f"{found.duplicates} duplicates, {found.over_quota} over quota, {found.wrong_clip} on a wrong clip; {state}. "
        f"Submit {median}, 95th percentile {last} ms."
    )
    return found


ROWS = (
    "submits without a pause: acknowledged",
    "  acknowledged and lost",
    "  duplicates",
    "  items over their quota",
    "  exports meanwhile",
    "  submit, median (ms)",
    "  submit, 95th percentile (ms)",
    "submits at a pace: acknowledged",
    "  lost, duplicates, over quota",
    "  submit, median (ms)",
    "  submit, 95th percentile (ms)",
    "server killed (SIGKILL)",
    "  submits acknowledged",
    "  acknowledged and lost",
    "  duplicates, over quota",
    "  database and log",
    "database killed (SIGKILL)",
    "  submits acknowledged",
    "  lost, duplicates, over quota",
    "pages open across a restart",
    "  their submits acknowledged",
    "  labels on a wrong clip",
    "  lost, duplicates, over quota",
    "all that is wrong, by verify",
)


def _column(busy: Outcome, calm: Outcome, killed: Outcome, crashed: Outcome | None, across: Outcome) -> list[object]:
    def others(part: Outcome) -> str:
        return f"{part.lost}, {part.duplicates}, {part.over_quota}"

    parts = [part for part in (busy, calm, killed, crashed, across) if part]
    problems = [problem for part in parts for problem in part.problems]
    for problem in problems[:10]:
        report.note(problem)
    return [
        busy.acknowledged, busy.lost, busy.duplicates, busy.over_quota, busy.exports, *_times(busy),
        calm.acknowledged, others(calm), *_times(calm),
        f"{killed.kills} times", killed.acknowledged, killed.lost, f"{killed.duplicates}, {killed.over_quota}",
        "in order" if not killed.problems else f"{len(killed.problems)} faults",
        *((f"{crashed.kills} times", crashed.acknowledged, others(crashed)) if crashed else ("-", "-", "-")),
        across.acknowledged // 3 // 2, across.acknowledged, across.wrong_clip, others(across), len(problems),
    ]  # fmt: skip


def _times(part: Outcome) -> list[str]:
    return [f"{1000 * float(np.quantile(part.waits_s, q)):.0f} (n={len(part.waits_s)})" for q in (0.5, 0.95)]


def _homes(folder: Path) -> Iterator[tuple[str, Iterator[Home], PostgreSQL | None]]:
    """New empty stores on SQLite, then on a PostgreSQL that runs for as long."""
    yield "SQLite", (Home(folder / f"sqlite {k}") for k in range(100)), None
    with PostgreSQL() as server:
        yield "PostgreSQL", (Home(folder / f"files {k}", server.new_database()) for k in range(100)), server
