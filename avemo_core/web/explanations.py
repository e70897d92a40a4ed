"""Routes of the Inspect page: what explains a reading, its pictures, its test against random maps, its sound, its files."""

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import FileResponse, Response, StreamingResponse

from ..explain import faithfulness, figure, overlay, render
from ..explain.methods import METHODS
from ..types import AvemoError, Explanation
from . import attended, explained
from .downloads import attachment
from .explainer import Asked, Explainer, Look
from .services import Services
from .visitors import GONE, Held

SOUNDS = ("whole", "kept", "rest")
MEDIA = {"npz": "application/octet-stream", "svg": "image/svg+xml", "png": "image/png"}


def router(services: Services) -> APIRouter:
    """Every route here is for one visitor's own readings, as those in routes.py are."""
    routes = APIRouter(prefix="/api/results")
    visitors, turns, explainer = services.visitors, services.turns, Explainer(services)

    def held_of(request: Request, result_id: str) -> Held:
        held = visitors.held(request.state.visitor, result_id)
        if held is None:
            raise HTTPException(404, GONE)
        return held

    def asked_of(
        request: Request, result_id: str, method: str, target: str | None = None, window: int | None = None
    ) -> Asked:
        held = held_of(request, result_id)
        return Asked(held, explainer.choice(held, method, target, window))

    async def explanation_of(request: Request, asked: Annotated[Asked, Depends(asked_of)]) -> Explanation:
        return await turns.run(request, lambda pause: explainer.explanation(asked.held, asked.choice, pause), asked.slow)

    def look_of(
        asked: Annotated[Asked, Depends(asked_of)],
        found: Annotated[Explanation, Depends(explanation_of)],
        look: str,
        opacity: float = 1.0,
    ) -> Look:
        overlay.Overlay(asked.held.result, found, look, opacity)  # says what cannot be drawn before any of it is
        return Look(look, opacity)

    asks, gives, looks = Depends(asked_of), Depends(explanation_of), Depends(look_of)

    @routes.get("")
    def readings(request: Request) -> list[dict[str, str]]:
        """The visitor's readings, the newest first."""
        visitor = visitors.find(request.state.visitor)
        held = list(visitor.results.values()) if visitor else []
        return [{"id": one.result_id, "name": one.name} for one in reversed(held)]

    @routes.get("/{result_id}/explain")
    def material(held: Annotated[Held, Depends(held_of)]) -> dict[str, Any]:
        return explained.material(held.result)

    @routes.get("/{result_id}/explain/faces/{chunk}.png")
    def faces(held: Annotated[Held, Depends(held_of)], chunk: int) -> Response:
        return _picture(explained.crops(held.result, max(0, chunk)))

    @routes.get("/{result_id}/explain/{method}")
    def explanation(asked: Annotated[Asked, asks], found: Annotated[Explanation, gives]) -> dict[str, Any]:
        return explained.facts(asked.held.result, found)

    @routes.get("/{result_id}/explain/{method}/faces/{chunk}.png")
    def face_maps(found: Annotated[Explanation, gives], chunk: int) -> Response:
        return _picture(explained.face_maps(found, max(0, chunk)))

    @routes.get("/{result_id}/explain/{method}/kept/{chunk}.png")
    def face_masks(found: Annotated[Explanation, gives], chunk: int) -> Response:
        return _picture(explained.face_masks(found, max(0, chunk)))

    @routes.get("/{result_id}/explain/{method}/voice.png")
    def voice_map(asked: Annotated[Asked, asks], found: Annotated[Explanation, gives]) -> Response:
        return _picture(explained.voice_map(asked.held.result, found))

    @routes.get("/{result_id}/explain/{method}/test/{modality}")
    async def test(request: Request, asked: Annotated[Asked, asks], modality: str) -> dict[str, Any]:
        if modality not in faithfulness.MODALITIES:
            raise HTTPException(404, f"There is no such modality; choose one of {', '.join(faithfulness.MODALITIES)}.")
        return await turns.run(request, lambda pause: explainer.test(asked.held, asked.choice, modality, pause), slow=True)

    @routes.get("/{result_id}/explain/{method}/attention")
    def attention(found: Annotated[Explanation, gives]) -> dict[str, Any]:
        if not found.attention:
            title = METHODS[found.method].title
            reason = next(iter(found.missing.values()), f"{title} is not between face and voice")
            raise AvemoError(f"There is no attention between face and voice here: {reason}.")
        return attended.page_attention(found)

    @routes.get("/{result_id}/explain/{method}/sound/{part}.wav")
    async def sound(request: Request, asked: Annotated[Asked, asks], part: str) -> Response:
        if part not in SOUNDS:
            raise HTTPException(404, f"There is no such sound; choose one of {', '.join(SOUNDS)}.")
        made = await turns.run(request, lambda pause: explainer.sound(asked.held, asked.choice, part, pause), asked.slow)
        return Response(made, media_type="audio/wav")

    @routes.get("/{result_id}/explain/{method}/video/{look}.mp4")
    async def video(
        request: Request, asked: Annotated[Asked, asks], found: Annotated[Explanation, gives], look: Annotated[Look, looks]
    ) -> FileResponse:
        made = await turns.run(request, lambda pause: explainer.video(asked, look, pause), slow=True)
        name = explained.file_name(asked.held.name, found, f"{look.name}.mp4")
        return FileResponse(made.path, media_type="video/mp4", headers={"content-disposition": attachment(name)})

    @routes.get("/{result_id}/explain/{method}/video/{look}/progress")
    async def making(request: Request, asked: Annotated[Asked, asks], look: Annotated[Look, looks]) -> StreamingResponse:
        """Makes the video and tells how far it is, a line of JSON at a time; who stops reading gives it up."""
        lines = turns.told(request, lambda pause, say: explainer.video(asked, look, pause, say))
        return StreamingResponse(lines, media_type="application/x-ndjson")

    @routes.get("/{result_id}/explain/{method}/download/{kind}")
    def download(asked: Annotated[Asked, asks], found: Annotated[Explanation, gives], kind: str) -> Response:
        if kind not in figure.KINDS:
            raise HTTPException(404, f"There is no such download; choose one of {', '.join(figure.KINDS)}.")
        headers = {"content-disposition": attachment(explained.file_name(asked.held.name, found, kind))}
        return Response(figure.export(asked.held.result, found, kind), media_type=MEDIA[kind], headers=headers)

    return routes


def _picture(pixels: np.ndarray | None) -> Response:
    if pixels is None:
        raise HTTPException(404, "There is no such picture in this reading.")
    return Response(render.png(pixels), media_type="image/png")
