"""Making a study from the browser: a form, and a thread that copies and decodes clips while a page shows how far it is.

The clips come from a folder or manifest on this computer: they never pass through the browser.
"""

import json
import logging
import secrets
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.responses import JSONResponse, RedirectResponse, Response

from ..accounts import Caller
from ..assignment import candidates
from ..design import Design
from ..schema import MODALITIES
from ..scheme import SCHEMES, Scheme
from ..store import Store, StudyError
from ..studies import Report, create_study
from .access import PREFIX, Refusal, need, services
from .pages import page

log = logging.getLogger("avemo.study")

router = APIRouter(prefix=PREFIX)
Lead = Annotated[Caller, Depends(need("lead"))]
OWN = (
    '{"name": "own labels", "labels": [\n  {"name": "joy", "english": "joy", "russian": "радость", "colour": "#B08E17"}\n]}'
)
NUMBERS = {
    "replications": int, "most_replications": int, "repeat_share": float, "gold_every": int, "blocks": int, "seed": int,
    "break_every": int, "break_minutes": int, "lease_minutes": float,
}  # fmt: skip
MAYBE = {"stop_width": float, "most_replays": int}  # empty: none
TICKS = ("soft_labels", "ask_intensity", "ask_confidence", "ask_valence_arousal", "ask_comment")


@dataclass
class Making:
    """A study that is being made; the thread writes, the page reads."""

    name: str
    account_id: int
    done: int = 0
    total: int = 0
    clip: str = ""
    report: Report | None = None
    error: str | None = None
    token: str = field(default_factory=lambda: secrets.token_urlsafe(12))


@router.get("/lead/new")
def form(request: Request, caller: Lead) -> Response:
    return _form(request, caller)


@router.post("/lead/new")
async def make(request: Request, caller: Lead) -> Response:
    return await run_in_threadpool(_begin, request, caller, await request.form())


def _begin(request: Request, caller: Caller, given: FormData) -> Response:
    store = services(request).store
    try:
        name, source, scheme, design = _read(given)
        raters = _raters(store, given)
    except StudyError as error:
        return _form(request, caller, given, str(error), 400)
    making = Making(name, caller.account_id)
    _makings(request)[making.token] = making
    args = (store, making, source, scheme, design, raters)
    threading.Thread(target=_run, args=args, daemon=True).start()
    return RedirectResponse(f"{PREFIX}/lead/making/{making.token}", 303)


@router.get("/lead/making/{token}")
def making(request: Request, caller: Lead, token: str) -> Response:
    return page(request, "lead_making.html", caller, tab="tab_lead", making=_found(request, token))


@router.get("/api/lead/making/{token}")
def state(request: Request, caller: Annotated[Caller, Depends(need("lead", counts=False))], token: str) -> JSONResponse:
    found = _found(request, token)
    return JSONResponse(
        {
            "done": found.done,
            "total": found.total,
            "clip": found.clip,
            "finished": found.report is not None or found.error is not None,
        }
    )


def _form(
    request: Request, caller: Caller, given: FormData | None = None, error: str | None = None, status: int = 200
) -> Response:
    empty = {"name": "", "source": "", "scheme": next(iter(SCHEMES)), "own": OWN, "who": "everyone"}
    values: dict[str, Any] = Design().to_json() | empty
    if given is not None:
        texts = {name: value for name, value in given.items() if isinstance(value, str)}
        values |= texts | {"passes": given.getlist("passes")} | {tick: tick in given for tick in TICKS}
    with services(request).store.read() as session:
        ticked = set() if given is None else set(given.getlist("raters"))
        raters = [replace(rater, chosen=str(rater.account_id) in ticked) for rater in candidates(session)]
    return page(
        request,
        "lead_new.html",
        caller,
        status=status,
        tab="tab_lead",
        error=error,
        values=values,
        schemes=[*SCHEMES],
        modalities=MODALITIES,
        raters=raters,
    )


def _read(given: FormData) -> tuple[str, Path, Scheme, Design]:
    """The form's fields, checked; StudyError with the sentence for the form's top."""
    text = {name: value.strip() for name, value in given.items() if isinstance(value, str)}
    if not text.get("name"):
        raise StudyError("The study needs a name.")
    if not text.get("source"):
        raise StudyError("Say where the clips are: a folder, or a manifest CSV, on the computer that runs AVEMO.")
    try:
        source = Path(text["source"]).expanduser()
        found = source.exists()
    except (OSError, RuntimeError, ValueError):  # a name too long, a home of nobody
        source, found = Path(text["source"][:80]), False
    if not found:
        raise StudyError(f"There is no {str(source)!r} on the computer that runs AVEMO; check the path.")
    return text["name"], source, _scheme(text), _design(text, [str(p) for p in given.getlist("passes")])


def _raters(store: Store, given: FormData) -> list[int] | None:
    """The accounts that alone may rate; None: every rater."""
    if given.get("who") != "chosen":
        return None
    with store.read() as session:
        known = {str(one.account_id): one.account_id for one in candidates(session)}
    ticked = [str(account) for account in given.getlist("raters")]
    if not known.keys() >= set(ticked):
        raise StudyError("Somebody was chosen who is no rater any more; look at the list again.")
    return [known[account] for account in ticked]


def _scheme(text: dict[str, str]) -> Scheme:
    if text.get("scheme") in SCHEMES:
        return SCHEMES[text["scheme"]]
    try:
        own = json.loads(text.get("own", ""))
    except json.JSONDecodeError as error:
        raise StudyError(f"The own labels are no JSON (line {error.lineno}: {error.msg}); follow the example.") from error
    except (RecursionError, ValueError) as error:  # nested without end, a number of thousands of digits
        raise StudyError("The own labels are no list of labels; follow the example.") from error
    return Scheme.from_json(own)


def _design(text: dict[str, str], passes: list[str]) -> Design:
    settings: dict[str, Any] = {"passes": passes} | {tick: tick in text for tick in TICKS}
    for name, kind in (NUMBERS | MAYBE).items():
        if text.get(name):
            try:
                settings[name] = kind(text[name])
            except ValueError as error:
                raise StudyError(f"{name.replace('_', ' ').capitalize()} is a number, not {text[name]!r}.") from error
    return Design.from_json(settings)


def _run(store: Store, making: Making, source: Path, scheme: Scheme, design: Design, raters: list[int] | None) -> None:
    def progress(done: int, total: int, clip: str) -> None:
        making.done, making.total, making.clip = done, total, clip

    try:
        making.report = create_study(store, making.account_id, making.name, source, scheme, design, progress, raters)
    except StudyError as error:
        making.error = str(error)
    except Exception:
        log.exception("the study %r could not be made", making.name)
        making.error = "The study could not be made for a reason of ours, which the server's log tells; nothing was added."


def _makings(request: Request) -> dict[str, Making]:
    return request.app.state._state.setdefault("makings", {})


def _found(request: Request, token: str) -> Making:
    found = _makings(request).get(token)
    if found is None:
        raise Refusal(
            404, "nothing here", "Nothing is known of this any more: AVEMO was started again. See the list of studies."
        )
    return found
