"""State of a training run on disk: written whole or not at all, so that a stop at any moment loses one epoch at most."""

import io
import math
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from numbers import Real
from pathlib import Path
from typing import Any

import torch

from avemo_core.explain.drawing import Line, Rect, Shape, Text, png, svg

from . import parallel

WRITING = ".writing"  # PATH.<process id>.writing is a file on its way to becoming PATH


def write(path: Path, data: bytes) -> None:
    """A neighbour file is written, synced and renamed: `path` holds the old bytes or the new ones, never a part.

    OSError in one sentence where it cannot be written (a full disk, no permission); no half file is left behind.
    """
    beside = path.with_name(f"{path.name}.{os.getpid()}{WRITING}")  # two runs may write the same file at once
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        raise OSError(
            f"{path} could not be written ({error.strerror}): what was there stays. "
            "Make room or choose another folder, then give the same command again."
        ) from error
    finally:
        with suppress(OSError):  # once renamed, there is none
            beside.unlink()


def sweep(folder: Path) -> None:
    """Removes from `folder` what processes that were killed were writing."""
    for beside in folder.glob(f"*{WRITING}"):
        process = beside.name.split(".")[-2]
        try:
            os.kill(int(process) if process.isdecimal() else os.getpid(), 0)
        except ProcessLookupError:
            beside.unlink(missing_ok=True)
        except PermissionError:  # of another user, and alive
            pass


def save(path: Path, state: dict[str, Any]) -> None:
    """Tensors, numbers, texts, lists and dicts; a full disk or a kill leaves the last good state in place."""
    data = io.BytesIO()
    torch.save(state, data)
    sweep(path.parent)
    write(path, data.getvalue())


def load(path: Path) -> dict[str, Any] | None:
    """The last state saved there, on the CPU, None where none is. ValueError where it is not one; no code in it is run."""
    if not path.exists():
        return None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # torch raises many kinds for a file that is damaged or holds more than data
        raise ValueError(
            f"{path} is not the state of a training run: it is damaged or comes from elsewhere. Delete it to start anew."
        ) from error


class State:
    """What a stage keeps in the file `path`: its parts (a model, its average, an optimizer, ...), and how far it came."""

    def __init__(self, path: Path, settings: Any, generator: torch.Generator, **parts: Any):
        self.path, self.settings, self.generator, self.parts = path, settings, generator, parts

    def load(self) -> dict[str, Any]:
        """Puts everything back to where it was saved; what else was saved then, or an empty dict where nothing was."""
        state = load(self.path)
        if state is None:
            return {}
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        self.generator.set_state(state["generator"])
        return state

    def save(self, **reached: Any) -> None:
        """With what was `reached` (an epoch); a history is drawn. Of several processes the first saves, the others wait."""
        if parallel.rank() == 0:
            state = {name: part.state_dict() for name, part in self.parts.items()}
            state |= {"generator": self.generator.get_state()} | reached | {"settings": asdict(self.settings)}
            save(self.path, state)
            if "history" in reached:
                plot(reached["history"], self.path.with_suffix(".svg"))
        parallel.wait()


def moving_average(average: torch.nn.Module, model: torch.nn.Module, decay: float) -> None:
    """Exponential moving average of all weights and running statistics, in place."""
    with torch.no_grad():
        for slow, fast in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
            if slow.dtype.is_floating_point:
                slow.lerp_(fast, 1 - decay)
            else:
                slow.copy_(fast)


# ---------------------------------------------------------------- the curves of a run

PANEL, MARGIN, COLUMNS = (260, 170), 46, 3
AXIS, CURVE = "#C9CDD4", "#0B6E99"


def curves(history: Sequence[dict[str, Any]]) -> dict[str, list[tuple[float, float]]]:
    """(epoch, value) of every number but `epoch` and `n`, in the order of first mention; what is not finite is left out."""
    found: dict[str, list[tuple[float, float]]] = {}
    for line in history:
        for key, value in line.items():
            number = isinstance(value, Real) and not isinstance(value, bool)
            if number and key not in ("epoch", "n") and math.isfinite(value):
                found.setdefault(key, []).append((line["epoch"], value))
    return found


def plot(history: Sequence[dict[str, Any]], path: Path) -> Path:
    """Draws loss and dev scores by epoch, a panel each with its own scale, to a .png or .svg file; returns `path`.

    `history`: one dict an epoch with `epoch`, `loss` and any other numbers; a score may stand in some epochs only.
    """
    if path.suffix not in (".png", ".svg"):
        raise ValueError(f"{path} has no suffix that can be drawn; choose .png or .svg.")
    panels = curves(history)
    if not panels:
        raise ValueError(f"The history of {len(history)} epochs holds no number to draw; train an epoch first.")
    columns = min(COLUMNS, len(panels))
    width, height = columns * PANEL[0], -(-len(panels) // columns) * PANEL[1]
    shapes: list[Shape] = [Rect(0, 0, width, height, "#FFFFFF")]
    epochs = [line["epoch"] for line in history]
    for k, (name, points) in enumerate(panels.items()):
        shapes += _panel(name, points, (min(epochs), max(epochs)), k % columns * PANEL[0], k // columns * PANEL[1])
    title = f"{', '.join(panels)} by epoch"
    write(path, svg(width, height, shapes, title) if path.suffix == ".svg" else png(width, height, shapes))
    return path


def _panel(name: str, points: list[tuple[float, float]], span: tuple[float, float], x: float, y: float) -> list[Shape]:
    """One curve over `span`, the first and last epoch, with its last, its lowest and its highest value."""
    left, right, top, bottom = x + MARGIN, x + PANEL[0] - 16, y + 34, y + PANEL[1] - 28
    first, last = span
    values = [value for _, value in points]
    low, high = min(values), max(values)

    def across(epoch: float) -> float:
        return left + (right - left) * ((epoch - first) / (last - first) if last > first else 0)

    def down(value: float) -> float:
        return bottom - (bottom - top) * ((value - low) / (high - low) if high > low else 0.5)

    placed = [(across(epoch), down(value)) for epoch, value in points]
    shapes: list[Shape] = [
        Text(left, y + 20, f"{name} {values[-1]:.3g}", bold=True),
        Text((left + right) / 2, bottom + 17, "epoch", 11, anchor="middle"),
        Line([(left, top), (left, bottom), (right, bottom)], AXIS),
    ]
    shapes += [Text(left - 5, down(v) + 4, f"{v:.3g}", 11, anchor="end") for v in sorted({low, high})]
    shapes += [Text(across(e), bottom + 17, f"{e:g}", 11, anchor="middle") for e in sorted({first, last})]
    shapes += [Line(placed, CURVE, 2)] if len(placed) > 1 else []
    return shapes + [Rect(px - 2, py - 2, 4, 4, CURVE) for px, py in placed]
