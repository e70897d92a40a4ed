"""Explanations of held readings, computed once: maps, their test against random ones, what they keep of sound and video."""

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..explain import faithfulness, listen, overlay
from ..explain.explanation import laid
from ..explain.methods import METHODS
from ..explain.methods.maps import Maps
from ..explain.scene import Scene, scene_of, target_of
from ..types import AvemoError, ClipResult, Explanation
from . import explained
from .explained import SLOW
from .services import Services
from .visitors import Held

MOST_SLOW_WINDOWS = 40  # that a slow method may take at once: half a minute on one core
MOST_ATTENTION_S = 60.0  # every frame by every moment of sound: this grows with the square of the clip
CACHE_BYTES = 48 * 1024 * 1024  # of one reading's explanations
Pause = Callable[[], None]


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


@dataclass(frozen=True)
class Asked:
    """One explanation of one of the visitor's own readings."""

    held: Held
    choice: Choice

    @property
    def slow(self) -> bool:
        """Whether it takes many passes of the model and is not computed yet."""
        return self.choice.slow and ("explanation", self.choice) not in self.held.explained


@dataclass(frozen=True)
class Look:
    """How a video shows its map: one of overlay.LOOKS, and the opacity of its heat."""

    name: str
    opacity: float


class Video:
    """A file that is deleted with the last who holds this."""

    def __init__(self, path: Path) -> None:
        self.path = path
        weakref.finalize(self, path.unlink, missing_ok=True)


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
            with _on_disk(held) as result:
                return listen.kept_and_rest(result, found)

        kept, rest = self.kept(held, ("sound", choice), make)
        return listen.encoded({"whole": kept + rest, "kept": kept, "rest": rest}[part])

    def video(self, asked: Asked, look: Look, pause: Pause, progress: overlay.Progress = lambda done, total: None) -> Video:
        """The mp4 of a map over its face. A reading has one at a time: the one made before goes."""
        held, found = asked.held, self.explanation(asked.held, asked.choice, pause)

        def say(done: float, total: float) -> None:
            pause()
            progress(done, total)

        def make() -> Video:
            with self._lock:
                for key in [key for key in held.explained if key[0] == "video"]:
                    del held.explained[key]
            path = self.services.visitors.place_in(held.path.parent).with_suffix(".mp4")
            with _on_disk(held) as result:
                overlay.write(result, found, path, look.name, look.opacity, say)
            return Video(path)

        return self.kept(held, ("video", asked.choice, look), make)


@contextmanager
def _on_disk(held: Held) -> Iterator[ClipResult]:
    """The reading with the clip's real path, which no answer may show: not in an error's sentence either."""
    try:
        yield replace(held.result, clip=replace(held.result.clip, path=held.path))
    except AvemoError as error:
        raise AvemoError(str(error).replace(str(held.path), held.name)) from None


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
