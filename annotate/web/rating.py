"""What a rater's browser is sent: the rating page, its requests, and the clips, each by the token of a lease.

Here is decided what a rater may see. Nothing but these fields leaves: no file's name, no child, no gold or repeat, no other
rater's answer, no model's reading.
"""

import functools
import json
from datetime import UTC, datetime
from email.utils import formatdate
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Query, Request
from sqlalchemy import and_, select
from starlette.responses import FileResponse, JSONResponse, Response

from avemo_core.labels import EMOTIONS

from .. import past, queue
from ..accounts import Caller
from ..answers import Answer
from ..assignment import NotYours, may_rate, need_rater
from ..design import Design
from ..offers import day, kept
from ..past import Past
from ..queue import Refused, Shown
from ..schema import MODALITIES, Clip, Enrolment, Item, Lease, Rendition, Study
from ..scheme import CONFIDENCE, FLAGS, INTENSITY, KEYS, Scheme
from ..store import Store, StudyError
from .access import PREFIX, Number, Refusal, need, services
from .pages import page

TEXTS = Path(__file__).parent / "texts" / "rating"  # a language more is a file more
POINT_KEYS = {"intensity": "ASDFG", "confidence": "JKL"}  # places on the keyboard
KEEP_S = 600  # a browser may keep a clip's bytes so long

router = APIRouter(prefix=PREFIX)
Rater = Annotated[Caller, Depends(need("rater"))]
Waiting = Annotated[Caller, Depends(need("rater", counts=False))]  # what the page asks by itself
Sent = Annotated[dict[str, Any], Body()]


@router.get("/rate/{study_id}")
def rate(study_id: Number, request: Request, caller: Rater) -> Response:
    _study(services(request).store, study_id, caller)
    return page(request, "rate.html", caller, tab="tab_rate", study_id=study_id)


@router.get("/api/rate/{study_id}")
def what_is_asked(study_id: Number, request: Request, caller: Rater) -> dict[str, Any]:
    study = _study(services(request).store, study_id, caller)
    design, scheme = Design.from_json(study.design), Scheme.from_json(study.scheme)
    said = texts(caller.language)
    own = design.texts.get(caller.language, {})
    asked = {name: own.get(f"question_{name}") or own.get("question") or said[f"question_{name}"] for name in MODALITIES}
    ask = ("intensity", "confidence", "valence_arousal", "comment")
    return {
        "study": {
            "id": study.id,
            "name": study.name,
            "state": study.state,
            "language": caller.language,
            "labels": _labels(scheme, caller.language),
            "ask": {**{name: getattr(design, f"ask_{name}") for name in ask}, "soft_labels": design.soft_labels},
            "most_replays": design.most_replays,
            "break_minutes": design.break_minutes,
            "texts": {"instruction": own.get("instruction") or said["instruction"], "question": asked},
            "flags": [{"name": name, "text": said["flags"][name]} for name in FLAGS],
            "scales": {
                name: [
                    {"value": value, "text": said[name][point], "key": key}
                    for (point, value), key in zip(points.items(), POINT_KEYS[name], strict=True)
                ]
                for name, points in (("intensity", INTENSITY), ("confidence", CONFIDENCE))
            },
        },
        "rater": caller.name,
    }


@router.post("/api/rate/{study_id}/claim")
def claim(study_id: Number, request: Request, caller: Rater) -> dict[str, Any]:
    return _next(services(request).store, study_id, caller)


@router.post("/api/rate/{study_id}/submit")
def submit(study_id: Number, request: Request, caller: Rater, sent: Sent) -> dict[str, Any]:
    store, answer, now = services(request).store, _played(Answer.from_json(sent.get("answer"))), datetime.now(UTC)
    saved = queue.submit(store, caller.account_id, _text(sent, "token"), _text(sent, "key"), answer, now)
    return {"saved": saved.rating_id, **_held(store, saved.enrolment_id, saved.clips, now)}


@router.post("/api/rate/{study_id}/skip")
def skip(study_id: Number, request: Request, caller: Rater, sent: Sent) -> dict[str, Any]:
    store = services(request).store
    queue.skip(store, caller.account_id, _text(sent, "token"))
    return _next(store, study_id, caller)


@router.post("/api/rate/{study_id}/draft")
def draft(study_id: Number, request: Request, caller: Rater, sent: Sent) -> dict[str, Any]:
    answer = Answer.from_json(sent.get("answer"))
    return {"kept": queue.save_draft(services(request).store, caller.account_id, _text(sent, "token"), answer)}


@router.post("/api/rate/{study_id}/renew")
def renew(study_id: Number, request: Request, caller: Waiting, sent: Sent) -> dict[str, Any]:
    tokens = sent.get("tokens")
    if not isinstance(tokens, list) or len(tokens) > 20 or not all(isinstance(token, str) for token in tokens):
        raise StudyError("The clips to hold longer are a list of up to 20 tokens.")
    return {"expires_in_s": int(queue.renew(services(request).store, caller.account_id, tokens))}


@router.post("/api/rate/{study_id}/release")
def release(study_id: Number, request: Request, caller: Rater) -> dict[str, Any]:
    queue.release(services(request).store, caller.account_id, study_id)
    return {}


@router.get("/api/rate/{study_id}/history")
def history(
    study_id: Number,
    request: Request,
    caller: Rater,
    before: Number | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> dict[str, Any]:
    store = services(request).store
    _study(store, study_id, caller)
    with store.read() as session:
        enrolment = queue.enrolment_of(session, study_id, caller.account_id)
        ratings = past.history(session, enrolment.id, limit, before) if enrolment else []
    return {"ratings": [_past(rating) for rating in ratings]}


@router.post("/api/rate/{study_id}/correct")
def correct(study_id: Number, request: Request, caller: Rater, sent: Sent) -> dict[str, Any]:
    store, answer = services(request).store, _played(Answer.from_json(sent.get("answer")))
    rating_id = sent.get("rating_id")
    if not isinstance(rating_id, int) or isinstance(rating_id, bool) or not 0 <= rating_id < 2**31:
        raise StudyError("The rating to edit is named by its number.")
    saved = queue.correct(store, caller.account_id, rating_id, _text(sent, "key"), answer)
    return {"saved": saved, "progress": _progress(store, study_id, caller)}


@router.get("/media/{token}")
def media(token: str, request: Request, caller: Rater) -> Response:
    """A clip's bytes, in parts where the browser asks for parts, to the rater who holds or held this lease and may still
    rate its study, while the clip may be kept."""
    store = services(request).store
    lease = (
        select(Rendition.file, Rendition.media_type)
        .join(Item, and_(Item.clip_id == Rendition.clip_id, Item.modality == Rendition.modality))
        .join(Clip, Item.clip_id == Clip.id)
        .join(Lease, Lease.item_id == Item.id)
        .join(Enrolment, Lease.enrolment_id == Enrolment.id)
        .join(Study, Enrolment.study_id == Study.id)
        .where(Lease.token == token, Enrolment.account_id == caller.account_id, may_rate(caller.account_id))
        .where(kept(day(datetime.now(UTC))))
    )
    with store.read() as session:
        found = session.execute(lease).one_or_none() if queue.TOKEN.fullmatch(token) else None
    path = store.home.media / found.file if found else None
    if found is None or path is None or not path.is_file():
        raise Refusal(404, "nothing here", "There is no clip at this address for you; reload the page to go on.")
    headers = {
        "cache-control": f"private, max-age={KEEP_S}",
        # In place of the file's own: its time tells in which order the clips were given, often by child or by label.
        "etag": f'"{token}"',
        "last-modified": formatdate(0, usegmt=True),
    }
    return FileResponse(path, media_type=found.media_type, headers=headers)


def refused(request: Request, error: Exception) -> Response:
    """An answer that was not accepted, for the page's script."""
    assert isinstance(error, Refused)
    return JSONResponse({"error": str(error), "reason": error.reason, "kept": error.kept}, 409)


# ---------------------------------------------------------------- what leaves


@functools.cache
def texts(language: str) -> dict[str, Any]:
    path = TEXTS / f"{language}.json"
    return json.loads((path if path.exists() else TEXTS / "en.json").read_text(encoding="utf-8"))


def _labels(scheme: Scheme, language: str) -> list[dict[str, Any]]:
    return [
        {
            "name": label.name,
            "text": label.russian if language == "ru" else label.english,
            "colour": label.colour,
            "emotion": label.name if label.colour is None and label.name in EMOTIONS else None,
            "key": key,
        }
        for label, key in zip(scheme.labels, KEYS, strict=False)
    ]


def _next(store: Store, study_id: int, caller: Caller) -> dict[str, Any]:
    """The clips that the rater holds now, and how far the rater is."""
    with store.read() as session:
        enrolment = queue.enrolment_of(session, study_id, caller.account_id)
    if enrolment is None:
        _study(store, study_id, caller)
        with store.write() as session:
            enrolment = queue.enrol(session, study_id, caller.account_id)
    now = datetime.now(UTC)
    return _held(store, enrolment.id, queue.claim(store, enrolment.id, now), now)


def _held(store: Store, enrolment_id: int, shown: list[Shown] | None, now: datetime) -> dict[str, Any]:
    """These clips, None where none are given out just now, and how far the rater is."""
    with store.read() as session:
        progress = past.progress(session, enrolment_id)
    return {"clips": [_clip(clip, now) for clip in shown or []], "progress": vars(progress), "finished": shown == []}


def _progress(store: Store, study_id: int, caller: Caller) -> dict[str, Any] | None:
    with store.read() as session:
        enrolment = queue.enrolment_of(session, study_id, caller.account_id)
        return vars(past.progress(session, enrolment.id)) if enrolment else None


def _clip(clip: Shown, now: datetime) -> dict[str, Any]:
    return {
        "token": clip.token,
        "number": clip.number,
        "modality": clip.modality,
        "url": f"{PREFIX}/media/{clip.token}",
        "media_type": clip.media_type,
        "duration_s": clip.duration_s,
        "peaks": clip.peaks,
        "is_practice": clip.is_practice,
        "draft": clip.draft,
        "expires_in_s": int((clip.expires_at - now).total_seconds()),
    }


def _past(rating: Past) -> dict[str, Any]:
    return {
        "rating_id": rating.rating_id,
        "number": rating.number,
        "modality": rating.modality,
        "url": f"{PREFIX}/media/{rating.token}",
        "media_type": rating.media_type,
        "duration_s": rating.duration_s,
        "peaks": rating.peaks,
        "answer": rating.answer.to_json(),
        "later": rating.later,
        "submitted_at": rating.submitted_at.isoformat(),
    }


def _study(store: Store, study_id: int, caller: Caller) -> Study:
    with store.read() as session:
        study = session.get(Study, study_id)
        if study is None:
            raise NotYours
        need_rater(session, study, caller.account_id)
    return study


def _played(answer: Answer) -> Answer:
    """The page unlocks its labels at the end of the first play; a label without one is of a clip that nobody played."""
    if answer.first_play_ended_at is None and (answer.label is not None or answer.soft is not None):
        raise StudyError("A label needs a clip that was played to its end; play it once, then answer, or flag it.")
    return answer


def _text(sent: dict[str, Any], name: str) -> str:
    value = sent.get(name)
    if not isinstance(value, str):
        raise StudyError(f"The request lacks its {name}; reload the page to go on.")
    return value
