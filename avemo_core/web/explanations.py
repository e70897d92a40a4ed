"""Routes of the Inspect page: what explains a reading, its pictures, its test against random maps, its sound, its files."""

from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import FileResponse, Response, StreamingResponse

from ..explain import faithfulness, figure, overlay, render
from ..explain.methods import METHODS
from ..types import AvemoError, Explanation
from . import attended, explained
from .downloads import attachment
from .explainer import Asked, Explainer, Look, Pause, Progress
from .services import Services
from .turns import Rank, Turns
from .visitors import GONE, Held

Whole = Annotated[float | None, Query(gt=0, allow_inf_nan=False)]  # where the scale of a map's colours ends
SOUNDS = ("whole", "kept", "rest")
MEDIA = {"npz": "application/octet-stream", "svg": "image/svg+xml", "png": "image/png"}


class Asking:
    """What routes ask of a request, as FastAPI's Depends: which reading, what is asked of it, and the answer to that."""

    def __init__(self, services: Services) -> None:
        visitors, turns, explainer = services.visitors, services.turns, Explainer(services)

        def held_of(request: Request, result_id: str) -> Held:
            held = visitors.held(request.state.visitor, result_id)
            if held is None:
                raise HTTPException(404, GONE)
            return held

        def asked_of(
            held: Annotated[Held, Depends(held_of)],
            method: str,
            target: str | None = None,
            window: int | None = None,
            untrained: int | None = None,
            layer: str | None = None,
            head: int | None = None,
        ) -> Asked:
            return Asked(held, explainer.choice(held, method, target, window, untrained, layer, head))

        def together_of(
            held: Annotated[Held, Depends(held_of)],
            methods: str,
            target: str | None = None,
            window: int | None = None,
            layer: str | None = None,
        ) -> list[Asked]:
            """Several methods, of which those with layers read that one."""
            layered = [name for name, one in METHODS.items() if "layer" in one.options]
            own = {name: layer if name in layered else None for name in methods.split(",")}
            return [Asked(held, explainer.choice(held, name, target, window, layer=one)) for name, one in own.items()]

        async def found_of(request: Request, asked: Annotated[Asked, Depends(asked_of)]) -> Explanation:
            return await turns.run(request, lambda pause: explainer.explanation(asked.held, asked.choice, pause), asked.rank)

        def look_of(
            asked: Annotated[Asked, Depends(asked_of)],
            found: Annotated[Explanation, Depends(found_of)],
            look: str,
            opacity: float = 1.0,
        ) -> Look:
            overlay.Overlay(asked.held.result, found, look, opacity)  # says what cannot be drawn before any of it is
            return Look(look, opacity)

        self.visitors, self.turns, self.explainer = visitors, turns, explainer
        self.held, self.asked, self.found = Depends(held_of), Depends(asked_of), Depends(found_of)
        self.together, self.look = Depends(together_of), Depends(look_of)


def router(services: Services) -> APIRouter:
    """Every route here is for one visitor's own readings, as those in routes.py are."""
    routes, asking = APIRouter(prefix="/api/results"), Asking(services)
    for theme in (_readings, _maps, _checks, _files):
        theme(routes, asking)
    return routes


def _readings(routes: APIRouter, asking: Asking) -> None:
    """What there is to explain."""

    @routes.get("")
    def readings(request: Request) -> list[dict[str, str]]:
        """The visitor's readings, the newest first."""
        visitor = asking.visitors.find(request.state.visitor)
        held = list(visitor.results.values()) if visitor else []
        return [{"id": one.result_id, "name": one.name} for one in reversed(held)]

    @routes.get("/{result_id}/explain")
    def material(held: Annotated[Held, asking.held]) -> dict[str, Any]:
        return explained.material(held.result, asking.explainer.services.analyzer.model)

    @routes.get("/{result_id}/explain/faces/{chunk}.png")
    def faces(held: Annotated[Held, asking.held], chunk: int) -> Response:
        return _picture(explained.crops(held.result, max(0, chunk)))


def _maps(routes: APIRouter, asking: Asking) -> None:
    """One explanation: its facts and its pictures."""
    asks, gives, turns, explainer = asking.asked, asking.found, asking.turns, asking.explainer

    @routes.get("/{result_id}/explain/{method}")
    def explanation(asked: Annotated[Asked, asks], found: Annotated[Explanation, gives]) -> dict[str, Any]:
        return explained.facts(asked.held.result, found)

    @routes.get("/{result_id}/explain/{method}/faces/{chunk}.png")
    def face_maps(found: Annotated[Explanation, gives], chunk: int, whole: Whole = None) -> Response:
        return _picture(explained.face_maps(found, max(0, chunk), whole))

    @routes.get("/{result_id}/explain/{method}/outlines/{chunk}.json")
    def face_outlines(found: Annotated[Explanation, gives], chunk: int) -> list[str]:
        return explained.face_outlines(found, max(0, chunk))

    @routes.get("/{result_id}/explain/{method}/kept/{chunk}.png")
    def face_masks(found: Annotated[Explanation, gives], chunk: int) -> Response:
        return _picture(explained.face_masks(found, max(0, chunk)))

    @routes.get("/{result_id}/explain/{method}/voice.png")
    def voice_map(asked: Annotated[Asked, asks], found: Annotated[Explanation, gives], whole: Whole = None) -> Response:
        return _picture(explained.voice_map(asked.held.result, found, whole))

    @routes.get("/{result_id}/explain/{method}/attention")
    def attention(found: Annotated[Explanation, gives]) -> dict[str, Any]:
        if not found.attention:
            title = METHODS[found.method].title
            reason = next(iter(found.missing.values()), f"{title} is not between face and voice")
            raise AvemoError(f"There is no attention between face and voice here: {reason}.")
        return attended.page_attention(found)

    @routes.get("/{result_id}/explain/{method}/attention/cut")
    async def cut_attention(request: Request, asked: Annotated[Asked, asks]) -> dict[str, Any]:
        if asked.choice.method != "cross_modal":
            title = METHODS[asked.choice.method].title
            raise AvemoError(f"There is no attention between face and voice to cut: {title} is not between them.")
        cut = await turns.run(request, lambda pause: explainer.cut_attention(asked.held, asked.choice, pause), asked.rank)
        return attended.cut(cut)


def _checks(routes: APIRouter, asking: Asking) -> None:
    """Whether a map can be believed. Each takes long: `.../progress` tells how far it is, and at last the answer."""
    turns, explainer, asks = asking.turns, asking.explainer, asking.asked

    def tests(modality: str) -> str:
        if modality not in faithfulness.MODALITIES:
            raise HTTPException(404, f"There is no such modality; choose one of {', '.join(faithfulness.MODALITIES)}.")
        return modality

    @routes.get("/{result_id}/explain/{method}/test/{modality}")
    async def test(
        request: Request, asked: Annotated[Asked, asks], modality: Annotated[str, Depends(tests)]
    ) -> dict[str, Any]:
        return await turns.run(request, lambda pause: explainer.test(asked.held, asked.choice, modality, pause), Rank.SLOW)

    @routes.get("/{result_id}/explain/{method}/test/{modality}/progress")
    async def testing(
        request: Request, asked: Annotated[Asked, asks], modality: Annotated[str, Depends(tests)]
    ) -> StreamingResponse:
        return _told(turns, request, lambda pause, say: explainer.test(asked.held, asked.choice, modality, pause, say))

    @routes.get("/{result_id}/explain/{method}/twin")
    async def twin(request: Request, asked: Annotated[Asked, asks]) -> dict[str, Any]:
        return await turns.run(
            request, lambda pause: explainer.twin(asked.held, asked.learned.choice, pause), asked.rank_of_twins
        )

    @routes.get("/{result_id}/explain/{method}/twin/progress")
    async def twinning(request: Request, asked: Annotated[Asked, asks]) -> StreamingResponse:
        return _told(
            turns,
            request,
            lambda pause, say: explainer.twin(asked.held, asked.learned.choice, pause, say),
            asked.rank_of_twins,
        )


def _files(routes: APIRouter, asking: Asking) -> None:
    """What is listened to, watched, or taken away."""
    turns, explainer, asks, gives = asking.turns, asking.explainer, asking.asked, asking.found

    @routes.get("/{result_id}/maps.zip")
    async def together(request: Request, asked: Annotated[list[Asked], asking.together]) -> Response:
        held, choices = asked[0].held, [one.choice for one in asked]
        made = await turns.run(
            request, lambda pause: explainer.together(held, choices, pause), max(one.rank for one in asked)
        )
        headers = {"content-disposition": attachment(explained.zip_name(held.name, choices[0].target, choices[0].window))}
        return Response(made, media_type="application/zip", headers=headers)

    @routes.get("/{result_id}/explain/{method}/sound/{part}.wav")
    async def sound(request: Request, asked: Annotated[Asked, asks], part: str) -> Response:
        if part not in SOUNDS:
            raise HTTPException(404, f"There is no such sound; choose one of {', '.join(SOUNDS)}.")
        made = await turns.run(request, lambda pause: explainer.sound(asked.held, asked.choice, part, pause), asked.rank)
        return Response(made, media_type="audio/wav")

    @routes.get("/{result_id}/explain/{method}/video/{look}.mp4")
    async def video(
        request: Request,
        asked: Annotated[Asked, asks],
        found: Annotated[Explanation, gives],
        look: Annotated[Look, asking.look],
    ) -> FileResponse:
        made = await turns.run(request, lambda pause: explainer.video(asked, look, pause), Rank.SLOW)
        name = explained.file_name(asked.held.name, found, f"{look.name}.mp4")
        return FileResponse(made.path, media_type="video/mp4", headers={"content-disposition": attachment(name)})

    @routes.get("/{result_id}/explain/{method}/video/{look}/progress")
    async def making(
        request: Request, asked: Annotated[Asked, asks], look: Annotated[Look, asking.look]
    ) -> StreamingResponse:
        return _told(turns, request, lambda pause, say: explainer.video(asked, look, pause, say))

    @routes.get("/{result_id}/explain/{method}/download/{kind}")
    def download(asked: Annotated[Asked, asks], found: Annotated[Explanation, gives], kind: str) -> Response:
        if kind not in figure.KINDS:
            raise HTTPException(404, f"There is no such download; choose one of {', '.join(figure.KINDS)}.")
        headers = {"content-disposition": attachment(explained.file_name(asked.held.name, found, kind))}
        return Response(figure.export(asked.held.result, found, kind), media_type=MEDIA[kind], headers=headers)


def _told(
    turns: Turns, request: Request, work: Callable[[Pause, Progress], object], rank: Rank = Rank.SLOW
) -> StreamingResponse:
    """A line of JSON at a time, how far the work is; who stops reading gives it up."""
    return StreamingResponse(turns.told(request, work, rank), media_type="application/x-ndjson")


def _picture(pixels: np.ndarray | None) -> Response:
    if pixels is None:
        raise HTTPException(404, "There is no such picture in this reading.")
    return Response(render.png(pixels), media_type="image/png")
