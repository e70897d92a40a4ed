"""Explanations of held readings, computed once: maps, their test against random ones, what they keep of sound and video."""

import io
import threading
import weakref
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ..explain import effect, faithfulness, figure, listen, overlay
from ..explain.explanation import laid, settings_of
from ..explain.methods import METHODS
from ..explain.methods.maps import Maps
from ..explain.scene import Scene, scene_of, target_of, towards
from ..types import AvemoError, ClipResult, Explanation
from . import explained
from .explained import SLOW
from .services import Services
from .turns import Rank
from .visitors import Held

MOST_SLOW_WINDOWS = 40  # that a slow method may take at once: half a minute on one core
MOST_SHARED_WINDOWS = 20  # whose maps from the branches lie in memory between two methods: 15 MB
TWINS = 5  # untrained networks that the map of a quick method is compared with
MOST_ATTENTION_S = 60.0  # every frame by every moment of sound: this grows with the square of the clip
CACHE_BYTES = 48 * 1024 * 1024  # of one reading's explanations
Pause = Callable[[], None]
Progress = Callable[[float, float], None]  # done, of how much


def quiet(done: float, total: float) -> None:
    """Progress that nobody follows."""


@dataclass(frozen=True)
class Watched(Scene):
    """A scene for one target and one request. Its pass through the branches is that of `whole`, which all of these share.

    Every pass through the model may be the last: `pause` stops it or lets others pass.
    """

    whole: Scene
    pause: Pause

    @property
    def maps(self) -> tuple[Tensor, Tensor]:
        return self.whole.maps

    @property
    def weighed(self) -> dict[str, Tensor]:
        return self.whole.weighed

    def fuse(self, *given: Any, **how: Any) -> Any:
        self.pause()
        return super().fuse(*given, **how)


@dataclass(frozen=True)
class Choice:
    """What is asked: one method, one target or two to be contrasted, one window or None for all.

    `untrained` is the seed of random weights in the place of what was learned, None for the model itself. `layer` and `head`
    are of methods with such an option: None for the last layer, for the mean of all heads.
    """

    method: str
    target: tuple[str, ...]
    window: int | None
    untrained: int | None = None
    layer: str | None = None
    head: int | None = None

    @property
    def slow(self) -> bool:
        """An earlier layer takes a pass through the branches and back for each window."""
        return self.method in SLOW or self.layer is not None

    @property
    def options(self) -> dict[str, str | int]:
        """What the method takes beside the windows."""
        given = {"layer": self.layer, "head": self.head}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def twins(self) -> int:
        """How many untrained networks the map is compared with: one draw of weights alone may be alike by chance."""
        return 1 if self.slow else TWINS


@dataclass(frozen=True)
class Asked:
    """One explanation of one of the visitor's own readings."""

    held: Held
    choice: Choice

    @property
    def rank(self) -> Rank:
        """Many passes of the model take long, where it is not computed yet."""
        done = not self.choice.slow or ("explanation", self.choice) in self.held.explained
        return Rank.QUICK if done else Rank.SLOW

    @property
    def rank_of_twins(self) -> Rank:
        """Several of them, so others go first; before tests, which nobody clicked for, unless they take as long."""
        brief = not self.choice.slow and (self.choice.window is not None or _few(self.held))
        return Rank.SOON if brief else Rank.SLOW

    @property
    def learned(self) -> "Asked":
        """The same of the model itself, where this is of an untrained network."""
        return replace(self, choice=replace(self.choice, untrained=None))


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

    def choice(
        self,
        held: Held,
        method: str,
        target: str | None,
        window: int | None,
        untrained: int | None = None,
        layer: str | None = None,
        head: int | None = None,
    ) -> Choice:
        """AvemoError where there is no such method, target, window, option or twin, or where it would take too much."""
        result = held.result
        if method not in METHODS:
            raise AvemoError(f"Unknown method {method!r}; choose one of {', '.join(METHODS)}.")
        count, seconds = len(result.window_start_s), result.clip.duration_s
        if window is not None and not 0 <= window < count:
            raise AvemoError(f"There is no window {window} in this clip; it has {count}, numbered from 0 to {count - 1}.")
        settings_of([METHODS[method]], layer, head)
        chosen = Choice(method, target_of(result, target or None), window, untrained, layer, head)
        if chosen.slow and window is None and count > MOST_SLOW_WINDOWS:
            title = METHODS[method].title + ("" if layer is None else " of an earlier layer")
            raise AvemoError(f"{title} of all {count} windows would take minutes; choose one window.")
        if method == "cross_modal" and seconds > MOST_ATTENTION_S:
            longest = f"{MOST_ATTENTION_S:g} s"
            raise AvemoError(
                f"Attention between face and voice is shown of clips of {longest} at most, not of {seconds:.0f} s."
            )
        if untrained is not None and not 0 <= untrained < chosen.twins:
            last = chosen.twins - 1
            raise AvemoError(f"There is no untrained network {untrained}; they are numbered from 0 to {last}.")
        return chosen

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
        """The windows that are explained; their tensors are made once, whatever the method and the target."""

        def make() -> Scene:
            return scene_of(self.services.analyzer, held.result, choice.target, choice.window, held.baseline)

        shared = choice.window is not None or _few(held)
        whole = self.kept(held, ("scene", choice.window), make) if shared else make()
        if choice.untrained is not None:
            whole = replace(whole, model=faithfulness.randomised(whole.model, choice.untrained))
        given = {one.name: getattr(whole, one.name) for one in fields(Scene)}
        given["target"] = towards(choice.target, whole.model.head.bias)
        return Watched(**given, whole=whole, pause=pause)

    def explanation(self, held: Held, choice: Choice, pause: Pause) -> Explanation:
        return self.kept(held, ("explanation", choice), lambda: self._made(held, choice, pause))

    def _made(self, held: Held, choice: Choice, pause: Pause) -> Explanation:
        scene = self.scene(held, choice, pause)
        found = laid(scene, choice.method, self.maps(held, choice, scene), choice.target, choice.window)
        weights: dict[str, str | int] = {} if choice.untrained is None else {"weights": f"random {choice.untrained}"}
        return replace(found, settings=choice.options | weights)

    def maps(self, held: Held, choice: Choice, scene: Scene) -> Maps:
        """The maps of the windows themselves; those of one window are kept, since its test needs them too."""
        if choice.window is None or choice.untrained is not None:
            return METHODS[choice.method].maps(scene, **choice.options)
        return self.kept(held, ("maps", choice), lambda: METHODS[choice.method].maps(scene, **choice.options))

    def cut_attention(self, held: Held, choice: Choice, pause: Pause) -> dict[str, effect.Effect]:
        """What becomes of the target with either direction of cross-modal attention made uniform."""

        def make() -> dict[str, effect.Effect]:
            scene = self.scene(held, choice, pause)
            return {direction: effect.of_attention(scene, direction, choice.head) for direction in effect.ASKING}

        return self.kept(held, ("attention cut", choice), make)

    def together(self, held: Held, choices: list[Choice], pause: Pause) -> bytes:
        """ZIP of several maps: the raw arrays and both figures of each, under the names that each has alone."""
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:  # arrays and pictures are compressed already
            for choice in dict.fromkeys(choices):
                found = self.explanation(held, choice, pause)
                for kind in figure.KINDS:
                    pause()
                    archive.writestr(explained.file_name(held.name, found, kind), figure.export(held.result, found, kind))
        return out.getvalue()

    def twin(self, held: Held, choice: Choice, pause: Pause, progress: Progress = quiet) -> dict[str, Any]:
        """How alike the map is to those of untrained networks: what they show too is the clip, not what was learned."""

        def make() -> dict[str, Any]:
            own = self.explanation(held, choice, pause)
            if own.face is None and own.voice is None:
                reason = next(iter(own.missing.values()), "this method has none")
                raise AvemoError(f"There is no map to compare: {reason}.")
            alike = []
            for seed in range(choice.twins):
                progress(seed, choice.twins)
                pause()
                one = replace(choice, untrained=seed)
                made = self._made(held, one, pause) if seed else self.explanation(held, one, pause)  # the first is shown
                alike.append(faithfulness.likeness(own, made))
            return explained.twinned(own, alike)

        return self.kept(held, ("twin", choice), make)

    def test(self, held: Held, choice: Choice, modality: str, pause: Pause, progress: Progress = quiet) -> dict[str, Any]:
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
            curves = faithfulness.curves(scene, maps, modality, insertion=False, until_sure=True, progress=progress)
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

    def video(self, asked: Asked, look: Look, pause: Pause, progress: Progress = quiet) -> Video:
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


def _few(held: Held) -> bool:
    return len(held.result.window_start_s) <= MOST_SHARED_WINDOWS


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
    if isinstance(value, Scene):
        maps, weighed = vars(value).get("_embedded", ((), {}))
        return _size((value.given.crops, value.given.voice, *maps, weighed))
    if isinstance(value, (Explanation, Maps)):
        return sum(_size(getattr(value, one.name)) for one in fields(value))
    return int(getattr(value, "nbytes", 0))
