"""A small study of real sounds, rated through the queue by raters whose names and comments try to break what reads them."""

import csv
import uuid
from datetime import UTC, datetime
from pathlib import Path

from annotate import queue
from annotate.answers import Answer
from annotate.design import Design
from annotate.schema import Account
from annotate.scheme import SCHEMES
from annotate.store import Store
from annotate.studies import Report, create_study
from tests import media_files

RATERS = ("R07", "Мария, «старшая»", "=1+1")
COMMENTS = (
    "Смеётся, потом плачет; «да», 'нет' и \"кавычки\"",
    "=HYPERLINK(\"http://example.org\";\"x\")\r\nsecond line\nthird\ttab",
    "😀 \u2028 </ANNOTATION_VALUE> & <b>bold</b> '; DROP TABLE rating; -- ../../etc/passwd",
    "'+49 30",
    "@SUM(A1)",
    " ",
    None,
)  # fmt: skip


def write_folder(folder: Path, clips: int = 4) -> Path:
    """A folder with sounds of different pitch and a manifest: two children, one gold clip, further columns."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for k in range(clips):
        name = ("говорит, громко.wav", "b c.wav", "d'quote.wav", "[red]e.wav")[k] if k < 4 else f"clip{k}.wav"
        media_files.write_wav(folder / name, media_files.tone(0.6, 16_000, hertz=300 + 40 * k)[0])
        row = {"file": name, "speaker": f"ребёнок-{k % 2}", "age_months": str(70 + k % 2), "sex": "female"}
        row |= {"group": "школа, 1", "language": "ru", "consent": "signed 2026", "retain_until": "2040-12-31"}
        rows.append(
            row | {"label": "unlabelled", "sentence": 'Он сказал: "Да, да"', "gold_label": "anger" if k == 3 else ""}
        )
    write_manifest(folder / "manifest.csv", rows)
    return folder


def write_manifest(path: Path, rows: list[dict[str, str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def new_study(store: Store, folder: Path, name: str = "Радость, 2026", **design: object) -> Report:
    settings = {"replications": 3, "repeat_share": 0.0, "blocks": 2} | design
    return create_study(store, None, name, write_folder(folder), SCHEMES["basic seven"], Design(**settings))  # type: ignore[arg-type]


def add_account(store: Store, name: str) -> int:
    with store.write() as session:
        account = Account(name=name, roles=["rater"], created_at=datetime.now(UTC))
        session.add(account)
        session.flush()
        return account.id


def rate_all(store: Store, study_id: int, raters: tuple[str, ...] = RATERS) -> list[int]:
    """Every clip rated by every rater, each rater's first answer corrected; the ids of the ratings."""
    ids = []
    for r, name in enumerate(raters):
        account = add_account(store, name)
        with store.write() as session:
            enrolment = queue.enrol(session, study_id, account).id
        first = None
        for k in range(100):
            shown = queue.claim(store, enrolment)
            if not shown:
                break
            answer = Answer(
                label=("anger", "happiness", "fear")[(k + r) % 3],
                intensity=75,
                confidence=50,
                valence=3,
                arousal=9,
                comment=COMMENTS[(k + 2 * r) % len(COMMENTS)],
                replays=k,
                first_play_ended_at=datetime.now(UTC),
                reaction_ms=1234 + k,
            )
            ids.append(queue.submit(store, account, shown[0].token, uuid.uuid4().hex, answer).rating_id)
            first = first or (ids[-1], answer)
        assert first is not None
        ids.append(queue.correct(store, account, first[0], uuid.uuid4().hex, Answer(label="sadness", comment=COMMENTS[r])))
    return ids
