"""The demo's own HTTP interface. Every answer is for one visitor: what belongs to another is as absent as what never was."""

import asyncio
import json
import logging
import shutil
import time
from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException as StarletteHTTPException

from .. import look
from ..explain import render
from ..labels import EMOTIONS
from ..types import AvemoError
from . import explanations, record, upload
from .downloads import attachment
from .jobs import Job
from .services import STATIC, Services
from .visitors import GONE, Held, TooMany, Visitor

log = logging.getLogger("avemo.web")
EXAMPLES = STATIC / "examples"
EVENT_STEP_S = 0.1  # how often a watched job is looked at
MOST_OTHERS = 10  # further clips of a person, as a baseline
KEEP_ALIVE_S = 10  # proxies close a stream that is silent for longer
# How a browser is told what the clip is. By container, never by what the visitor said.
MEDIA_TYPES = {
    "mp4": "video/mp4",
    "mov": "video/mp4",
    "3gp": "video/mp4",
    "mkv": "video/webm",
    "webm": "video/webm",
    "avi": "video/x-msvideo",
    "m4a": "audio/mp4",
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "aac": "audio/aac",
}


def add(app: FastAPI, services: Services) -> None:
    """All routes and error answers. Call before Gradio is mounted: it takes whatever is left."""
    app.include_router(_clips(services))
    app.include_router(explanations.router(services))
    app.include_router(_results(services))
    app.include_router(_status(services))
    app.include_router(_made_files())
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_exception_handler(AvemoError, _refused)
    app.add_exception_handler(StarletteHTTPException, _no_route)
    app.add_exception_handler(RequestValidationError, _not_valid)


def _clips(services: Services) -> APIRouter:
    """Sending a clip and watching its job."""
    router = APIRouter(prefix="/api")
    visitors, jobs = services.visitors, services.jobs

    def job_of(request: Request, job_id: str) -> Job:
        job = jobs.find(request.state.visitor, job_id)
        if job is None:
            raise HTTPException(404, "There is no such job; send the clip again.")
        return job

    @router.post("/clips", status_code=202)
    async def send(request: Request) -> dict[str, str]:
        """A clip as a form with one file, or {"example": name} as JSON -> {"job": id}."""
        visitor = visitors.admit(request.state.visitor)
        visitors.count_post(visitor)
        jobs.check_room(visitor)
        if request.headers.get("content-type", "").startswith("application/json"):
            path = await asyncio.to_thread(visitors.place, visitor)
            name = await _place_example(request, path)
        else:
            [(name, path)] = await _receive(services, visitor, request)
        return {"job": _submit(services, visitor, path, name).job_id}

    @router.get("/jobs/{job_id}")
    def state(request: Request, job_id: str) -> dict[str, Any]:
        return jobs.snapshot(job_of(request, job_id))

    @router.get("/jobs/{job_id}/events")
    async def events(request: Request, job_id: str) -> StreamingResponse:
        return StreamingResponse(_watch(services, job_of(request, job_id)), media_type="text/event-stream")

    @router.delete("/jobs/{job_id}")
    def cancel(request: Request, job_id: str) -> dict[str, Any]:
        job = job_of(request, job_id)
        jobs.cancel(job)
        return jobs.snapshot(job)

    return router


def _results(services: Services) -> APIRouter:
    """Readings: the record, the clip, pictures, downloads; another person; deleting."""
    router = APIRouter(prefix="/api/results/{result_id}")
    visitors = services.visitors

    def held_of(request: Request, result_id: str) -> Held:
        held = visitors.held(request.state.visitor, result_id)
        if held is None:
            raise HTTPException(404, GONE)
        return held

    @router.get("")
    def reading(request: Request, result_id: str) -> dict[str, Any]:
        held = held_of(request, result_id)
        plain = held.plain if held.plain and visitors.held(request.state.visitor, held.plain) else None
        return {"record": held.result.to_json(), "page": record.page_record(held.result), "plain": plain}

    @router.get("/clip")
    def clip(request: Request, result_id: str) -> FileResponse:
        held = held_of(request, result_id)
        return FileResponse(held.path, media_type=media_type(held.result.clip.container, held.result.clip.is_image))

    @router.get("/image/{name}.png")
    def image(request: Request, result_id: str, name: str, label: str = "neutral") -> Response:
        held = held_of(request, result_id)
        if name not in render.IMAGES or label not in EMOTIONS:
            raise HTTPException(404, f"There is no such picture; choose one of {', '.join(render.IMAGES)}.")
        return Response(render.image(held.result, name, label), media_type="image/png")

    @router.get("/download/{kind}")
    def download(request: Request, result_id: str, kind: str) -> Response:
        held = held_of(request, result_id)
        if kind not in record.DOWNLOADS:
            raise HTTPException(404, f"There is no such download; choose one of {', '.join(record.DOWNLOADS)}.")
        name = f"{Path(held.name).stem}-avemo.{kind}"
        headers = {"content-disposition": attachment(name)}
        body, said = record.download(held.result, kind)
        return Response(body, media_type=said, headers=headers)

    @router.post("/person", status_code=202)
    async def person(request: Request, result_id: str) -> dict[str, str]:
        """{"track_id": n} -> the same clip read for another of its faces."""
        held_of(request, result_id)
        visitor = visitors.admit(request.state.visitor)
        visitors.count_post(visitor)
        track_id = (await _json(request)).get("track_id")
        held = held_of(request, result_id)  # it may have gone while the request arrived
        known = [track.track_id for track in held.result.faces]
        if not isinstance(track_id, int) or track_id not in known:
            raise AvemoError(f"There is no face {track_id!r} in this clip; choose one of {known}.")
        return {"job": services.jobs.submit(visitor, held.path, held.name, person=track_id, before=result_id).job_id}

    @router.post("/baseline", status_code=202)
    async def baseline(request: Request, result_id: str, neutral: bool = False) -> dict[str, str]:
        """Further clips of the person as a form of files -> the same clip read against them."""
        held = held_of(request, result_id)
        visitor = visitors.admit(request.state.visitor)
        visitors.count_post(visitor)
        services.jobs.check_room(visitor)
        others = await _receive(services, visitor, request, MOST_OTHERS)
        asked = {"person": held.result.person, "others": others, "neutral": neutral, "before": held.plain or result_id}
        return {"job": _submit(services, visitor, held.path, held.name, **asked).job_id}

    @router.delete("", status_code=204)
    def delete(request: Request, result_id: str) -> Response:
        held = held_of(request, result_id)
        services.jobs.cancel_clip(held.path)
        visitors.forget(visitors.admit(request.state.visitor), held.result_id)
        return Response(status_code=204)

    return router


def _status(services: Services) -> APIRouter:
    """What anyone may know: the examples and how the server stands."""
    router = APIRouter(prefix="/api")
    started = time.monotonic()

    @router.get("/examples")
    def examples() -> list[dict[str, Any]]:
        return [{key: value for key, value in row.items() if key != "file"} for row in read_examples()]

    @router.get("/status")
    def status() -> dict[str, Any]:
        return {
            "model_id": services.analyzer.model_id,
            "device": str(services.analyzer.device),
            "queue": services.jobs.waiting(),
            "uptime_s": round(time.monotonic() - started, 1),
        }

    return router


def _made_files() -> APIRouter:
    """Static files that are made from labels, or lie in the packages we install."""
    router = APIRouter(prefix="/static")
    plotly = Path(str(find_spec("plotly").origin)).parent / "package_data" / "plotly.min.js"  # type: ignore[union-attr]
    gradio = Path(str(find_spec("gradio").origin)).parent / "templates" / "frontend"  # type: ignore[union-attr]

    @router.get("/css/emotions.css")
    def emotions() -> Response:
        return Response(look.emotions_css(), media_type="text/css")

    @router.get("/icons.svg")
    def icons() -> Response:
        return Response(look.icons_svg(), media_type="image/svg+xml")

    @router.get("/icon.svg")
    def favicon() -> Response:
        return Response(look.FAVICON, media_type="image/svg+xml")

    @router.get("/plotly.min.js")
    def plotly_script() -> FileResponse:
        return FileResponse(plotly, headers={"cache-control": "public, max-age=86400"})

    @router.get("/js/iframeResizer.contentWindow.min.js")
    def resizer() -> FileResponse:  # Gradio's page asks for it; a Space sizes its frame by it
        return FileResponse(gradio / "static" / "js" / "iframeResizer.contentWindow.min.js")

    return router


def read_examples() -> list[dict[str, Any]]:
    """The rows of static/examples/examples.json, or none where no examples were made."""
    index = EXAMPLES / "examples.json"
    return json.loads(index.read_text()) if index.exists() else []


def media_type(container: str, is_image: bool) -> str:
    """What to tell the browser; bytes to download where it could not play them anyway."""
    return f"image/{container}" if is_image else MEDIA_TYPES.get(container, "application/octet-stream")


async def _place_example(request: Request, path: Path) -> str:
    """Copy the example that the request names to `path`; returns its file name."""
    name = (await _json(request)).get("example")
    rows = {row["name"]: row for row in read_examples()}
    if not isinstance(name, str) or name not in rows:
        raise AvemoError(f"There is no example {name!r}; choose one of {', '.join(rows) or 'none: no examples were made'}.")
    await asyncio.to_thread(shutil.copyfile, EXAMPLES / rows[name]["file"], path)
    return str(rows[name]["file"])


async def _json(request: Request) -> dict[str, Any]:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > 4096:
            raise AvemoError("This request is longer than 4 kB; send a small JSON object.")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise AvemoError("The request is not a JSON object; send one.")
    return value


async def _receive(services: Services, visitor: Visitor, request: Request, most: int = 1) -> list[tuple[str, Path]]:
    """The files of a form, in places of the visitor's own."""
    length = request.headers.get("content-length", "")
    return await upload.receive(
        request.stream(),
        request.headers.get("content-type", ""),
        int(length) if length.isdigit() else None,
        lambda: services.visitors.place(visitor),
        services.settings.max_bytes,
        most,
    )


def _submit(services: Services, visitor: Visitor, path: Path, name: str, **asked: Any) -> Job:
    """Ask for a reading; what was sent for it is deleted where there is no room."""
    try:
        return services.jobs.submit(visitor, path, name, **asked)
    except AvemoError:
        for sent in [other for _, other in asked["others"]] if asked else [path]:
            sent.unlink(missing_ok=True)
        raise


async def _watch(services: Services, job: Job) -> AsyncIterator[str]:
    """Server-sent events: how the job stands, whenever that changes, until it ends or the server stops."""
    shown: dict[str, Any] = {}
    sent_at = time.monotonic()
    while not services.jobs.stopping:
        now = services.jobs.snapshot(job)
        if {**now, "elapsed_s": 0} != {**shown, "elapsed_s": 0}:
            shown, sent_at = now, time.monotonic()
            yield f"data: {json.dumps(now)}\n\n"
        elif time.monotonic() - sent_at > KEEP_ALIVE_S:
            sent_at = time.monotonic()
            yield ": still here\n\n"
        if now["state"] in ("done", "failed", "cancelled"):
            return
        await asyncio.sleep(EVENT_STEP_S)


async def _refused(_: Request, error: Exception) -> Response:
    status = 429 if isinstance(error, TooMany) else 413 if isinstance(error, upload.TooLarge) else 400
    return JSONResponse({"error": str(error)}, status)


async def _no_route(_: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteHTTPException)
    sentence = error.detail if isinstance(error.detail, str) else "Not found"
    if sentence in ("Not Found", "Method Not Allowed"):
        sentence = "There is nothing at this address for such a request; the pages are Try it, Live, Inspect and About."
    return JSONResponse({"error": sentence}, error.status_code)


async def _not_valid(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": "The request does not have the form that is expected here."}, 422)
