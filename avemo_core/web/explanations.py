"""Routes of the Inspect page: what explains a reading, its pictures, its test against random maps, its sound, its files."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response

from ..explain import faithfulness, figure, listen, render
from ..explain.explanation import laid
from ..explain.methods import METHODS
from ..explain.methods.maps import Maps
from ..explain.scene import Scene, scene_of, target_of
from ..types import AvemoError, ClipResult, Explanation
from . import attended, explained
from .downloads import attachment
from .explained import SLOW
from .services import Services
from .visitors import GONE, Held

MOST_SLOW_WINDOWS = 40  # that a slow method may take at once: half a minute on one core
MOST_ATTENTION_S = 60.0  # every frame by every moment of sound: this grows with the square of the clip
CACHE_BYTES = 48 * 1024 * 1024  # of one reading's explanations
Pause = Callable[[], None]
SOUNDS = ("whole", "kept", "rest")
MEDIA = {"npz": "application/octet-stream", "svg": "image/svg+xml", "png": "image/png"}


@dataclass(frozen=True)
class Watched(Scene):
    """A scene whose every pass through the model may be the last: `pause` stops it or lets others pass."""

    pause: Pause = field(default=lambda: None)

    def fuse(self, *given: Any, **how: Any) -> Any:
        self.pause()
        return super().fuse(*given, **how)


@dataclass(frozen=True)
class Choice:
    """What is asked: one method, one target or two to be contrasted, one window or None for all."""

    method: str
    target: tuple[str, ...]
    window: int | None

    @property
    def slow(self) -> bool:
        return self.method in SLOW


class Explainer:
    """Explanations of held readings. What was computed lies with the reading, and goes with it."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self._lock = threading.Lock()

    def choice(self, held: Held, method: str, target: str | None, window: int | None) -> Choice:
        """AvemoError where there is no such method, target or window, or where it would take too much."""
        result = held.result
        if method not in METHODS:
            raise AvemoError(f"Unknown method {method!r}; choose one of {', '.join(METHODS)}.")
        count, seconds = len(result.window_start_s), result.clip.duration_s
        if window is not None and not 0 <= window < count:
            raise AvemoError(f"There is no window {window} in this clip; it has {count}, numbered from 0 to {count - 1}.")
        if method in SLOW and window is None and count > MOST_SLOW_WINDOWS:
            title = METHODS[method].title
            raise AvemoError(f"{title} of all {count} windows would take minutes; choose one window.")
        if method == "cross_modal" and seconds > MOST_ATTENTION_S:
            longest = f"{MOST_ATTENTION_S:g} s"
            raise AvemoError(
                f"Attention between face and voice is shown of clips of {longest} at most, not of {seconds:.0f} s."
            )
        return Choice(method, target_of(result, target or None), window)

    def kept(self, held: Held, key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        """What was computed under this key, or is now. What was not asked for longest goes when there is too much."""
        with self._lock:
            found = held.explained.pop(key, None)
            if found is not None:
                held.explained[key] = found
                return found
        found = make()
        with self._lock:
            held.explained[key] = found
            while len(held.explained) > 1 and sum(map(_size, held.explained.values())) > CACHE_BYTES:
                del held.explained[next(iter(held.explained))]
        return found

    def scene(self, held: Held, choice: Choice, pause: Pause) -> Scene:
        made = scene_of(self.services.analyzer, held.result, choice.target, choice.window, held.baseline)
        return Watched(**{one.name: getattr(made, one.name) for one in fields(made)}, pause=pause)

    def explanation(self, held: Held, choice: Choice, pause: Pause) -> Explanation:
        def make() -> Explanation:
            scene = self.scene(held, choice, pause)
            return laid(scene, choice.method, self.maps(held, choice, scene), choice.target, choice.window)

        return self.kept(held, ("explanation", choice), make)

    def maps(self, held: Held, choice: Choice, scene: Scene) -> Maps:
        """The maps of the windows themselves; those of one window are kept, since its test needs them too."""
        if choice.window is None:
            return METHODS[choice.method].maps(scene)
        return self.kept(held, ("maps", choice), lambda: METHODS[choice.method].maps(scene))

    def test(self, held: Held, choice: Choice, modality: str, pause: Pause) -> dict[str, Any]:
        """The deletion curve of the window that is shown, or of the one that weighs most in the whole clip."""

        def make() -> dict[str, Any]:
            windows = explained.windows(held.result)
            heaviest = int(np.argmax([one["share"] for one in windows]))
            one = choice if choice.window is not None else replace(choice, window=heaviest)
            scene = self.scene(held, one, pause)
            found = self.maps(held, one, scene)
            missing, maps = found.missing | scene.missing, getattr(found, modality)
            if maps is None or modality in missing:
                reason = missing.get(modality, "this method has none")
                raise AvemoError(f"There is no map of the {modality} to test: {reason}.")
            curves = faithfulness.curves(scene, maps, modality, insertion=False)
            assert one.window is not None
            span = windows[one.window]["start_s"], windows[one.window]["end_s"]
            return explained.tested(curves, one.window, choice.window is None, len(choice.target) > 1, *span)

        return self.kept(held, ("test", modality, choice), make)

    def sound(self, held: Held, choice: Choice, part: str, pause: Pause) -> bytes:
        """WAV of what the voice map keeps, of the rest, or of both together."""
        found = self.explanation(held, choice, pause)

        def make() -> tuple[np.ndarray, np.ndarray]:
            try:
                return listen.kept_and_rest(_on_disk(held), found)
            except AvemoError as error:  # our path is nobody's business
                raise AvemoError(str(error).replace(str(held.path), held.name)) from None

        kept, rest = self.kept(held, ("sound", choice), make)
        return listen.encoded({"whole": kept + rest, "kept": kept, "rest": rest}[part])


def _on_disk(held: Held) -> ClipResult:
    """The reading with the clip's real path, which no answer may show."""
    return replace(held.result, clip=replace(held.result.clip, path=held.path))


def _size(value: Any) -> int:
    """Bytes of the arrays in what is kept."""
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, tuple):
        return sum(map(_size, value))
    if isinstance(value, dict):
        return sum(map(_size, value.values()))
    if isinstance(value, (Explanation, Maps)):
        return sum(_size(getattr(value, one.name)) for one in fields(value))
    return int(getattr(value, "nbytes", 0))


def router(services: Services) -> APIRouter:
    """Every route here is for one visitor's own readings, as those in routes.py are."""
    routes = APIRouter(prefix="/api/results")
    visitors, explainer = services.visitors, Explainer(services)

    def held_of(request: Request, result_id: str) -> Held:
        held = visitors.held(request.state.visitor, result_id)
        if held is None:
            raise HTTPException(404, GONE)
        return held

    async def found_of(
        request: Request, result_id: str, method: str, target: str | None, window: int | None
    ) -> tuple[Held, Explanation]:
        held = held_of(request, result_id)
        choice = explainer.choice(held, method, target, window)
        slow = choice.slow and ("explanation", choice) not in held.explained
        found = await services.turns.run(request, lambda pause: explainer.explanation(held, choice, pause), slow)
        return held, found

    @routes.get("")
    def readings(request: Request) -> list[dict[str, str]]:
        """The visitor's readings, the newest first."""
        visitor = visitors.find(request.state.visitor)
        held = list(visitor.results.values()) if visitor else []
        return [{"id": one.result_id, "name": one.name} for one in reversed(held)]

    @routes.get("/{result_id}/explain")
    def material(request: Request, result_id: str) -> dict[str, Any]:
        return explained.material(held_of(request, result_id).result)

    @routes.get("/{result_id}/explain/faces/{chunk}.png")
    def faces(request: Request, result_id: str, chunk: int) -> Response:
        return _picture(explained.crops(held_of(request, result_id).result, max(0, chunk)))

    @routes.get("/{result_id}/explain/{method}")
    async def explanation(
        request: Request, result_id: str, method: str, target: str | None = None, window: int | None = None
    ) -> dict[str, Any]:
        held, found = await found_of(request, result_id, method, target, window)
        return explained.facts(held.result, found)

    @routes.get("/{result_id}/explain/{method}/faces/{chunk}.png")
    async def face_maps(
        request: Request, result_id: str, method: str, chunk: int, target: str | None = None, window: int | None = None
    ) -> Response:
        _, found = await found_of(request, result_id, method, target, window)
        return _picture(explained.face_maps(found, max(0, chunk)))

    @routes.get("/{result_id}/explain/{method}/voice.png")
    async def voice_map(
        request: Request, result_id: str, method: str, target: str | None = None, window: int | None = None
    ) -> Response:
        held, found = await found_of(request, result_id, method, target, window)
        return _picture(explained.voice_map(held.result, found))

    @routes.get("/{result_id}/explain/{method}/test/{modality}")
    async def test(
        request: Request,
        result_id: str,
        method: str,
        modality: str,
        target: str | None = None,
        window: int | None = None,
    ) -> dict[str, Any]:
        held = held_of(request, result_id)
        if modality not in faithfulness.MODALITIES:
            raise HTTPException(404, f"There is no such modality; choose one of {', '.join(faithfulness.MODALITIES)}.")
        choice = explainer.choice(held, method, target, window)
        return await services.turns.run(request, lambda pause: explainer.test(held, choice, modality, pause), slow=True)

    @routes.get("/{result_id}/explain/{method}/attention")
    async def attention(
        request: Request, result_id: str, method: str, target: str | None = None, window: int | None = None
    ) -> dict[str, Any]:
        _, found = await found_of(request, result_id, method, target, window)
        if not found.attention:
            reason = next(iter(found.missing.values()), f"{METHODS[method].title} is not between face and voice")
            raise AvemoError(f"There is no attention between face and voice here: {reason}.")
        return attended.page_attention(found)

    @routes.get("/{result_id}/explain/{method}/sound/{part}.wav")
    async def sound(
        request: Request,
        result_id: str,
        method: str,
        part: str,
        target: str | None = None,
        window: int | None = None,
    ) -> Response:
        held = held_of(request, result_id)
        if part not in SOUNDS:
            raise HTTPException(404, f"There is no such sound; choose one of {', '.join(SOUNDS)}.")
        choice = explainer.choice(held, method, target, window)
        slow = choice.slow and ("explanation", choice) not in held.explained
        made = await services.turns.run(request, lambda pause: explainer.sound(held, choice, part, pause), slow)
        return Response(made, media_type="audio/wav")

    @routes.get("/{result_id}/explain/{method}/download/{kind}")
    async def download(
        request: Request,
        result_id: str,
        method: str,
        kind: str,
        target: str | None = None,
        window: int | None = None,
    ) -> Response:
        if kind not in figure.KINDS:
            raise HTTPException(404, f"There is no such download; choose one of {', '.join(figure.KINDS)}.")
        held, found = await found_of(request, result_id, method, target, window)
        name = explained.file_name(held.name, found, kind)
        headers = {"content-disposition": attachment(name)}
        return Response(figure.export(held.result, found, kind), media_type=MEDIA[kind], headers=headers)

    return routes


def _picture(pixels: np.ndarray | None) -> Response:
    if pixels is None:
        raise HTTPException(404, "There is no such picture in this reading.")
    return Response(render.png(pixels), media_type="image/png")
