"""A checkpoint is one safetensors file: weights, and in its header the system, settings, calibration and card."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialized
from torch import nn

from .calibration import Calibration
from .labels import LABELS
from .systems import system
from .types import AvemoError

DEFAULT = Path(__file__).parent / "checkpoints" / "default.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """A model ready to read, how its numbers are calibrated, and what is known of it."""

    model: nn.Module
    model_id: str  # system name and the first 8 hex digits of the file's SHA-256
    calibration: Calibration
    card: dict[str, Any]  # data, licences, split, seeds, measured numbers, the command


def save(
    path: Path,
    model: nn.Module,
    name: str,
    calibration: Calibration,
    card: dict[str, Any],
    half: bool = True,
    settings: dict[str, Any] | None = None,
) -> None:
    """Writes the file; weights in half precision unless told otherwise (running statistics stay exact).

    Equal checkpoints are equal byte for byte, so that they have one id. `settings` are those that the model was built
    with, where they are not the system's own.
    """
    exact = ("running_mean", "running_var", "num_batches_tracked")
    weights = {
        key: value.half() if half and value.is_floating_point() and not key.endswith(exact) else value
        for key, value in model.state_dict().items()
    }
    header = {
        "system": name,
        "settings": json.dumps(system(name).settings if settings is None else settings),
        "labels": json.dumps(LABELS),
        "calibration": json.dumps(calibration.to_json()),
        "card": json.dumps(card),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".writing")
    data = serialized({key: value.contiguous() for key, value in weights.items()})
    # safetensors would write these texts in random order. The format: the header's length in 8 bytes, the header, the data.
    end = 8 + int.from_bytes(data[:8], "little")
    head = json.dumps({"__metadata__": header} | dict(sorted(json.loads(data[8:end]).items()))).encode()
    head += b" " * (-len(head) % 8)  # the data stays aligned
    beside.write_bytes(len(head).to_bytes(8, "little") + head + data[end:])
    beside.replace(path)


def load(path: str | Path = "default") -> Checkpoint:
    """The checkpoint at `path`, or the one that ships. AvemoError says what is wrong with a file that cannot be used."""
    path = DEFAULT if path == "default" else Path(path)
    if not path.is_file():
        raise AvemoError(
            f"No checkpoint at {path}; give the path of a .safetensors file, or 'default' for the one that ships."
        )
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise AvemoError(f"{path.name} is not a readable safetensors file ({error}); train or fetch it again.") from error
    missing = [key for key in ("system", "settings", "labels", "calibration", "card") if key not in header]
    if missing:
        raise AvemoError(f"{path.name} lacks {', '.join(missing)} in its header; it was not written by AVEMO's training.")
    try:
        labels, settings, card = (json.loads(header[key]) for key in ("labels", "settings", "card"))
        calibration = Calibration.from_json(json.loads(header["calibration"]))
    except (ValueError, TypeError, KeyError) as error:
        raise AvemoError(f"{path.name} has a damaged header ({error}); train or fetch it again.") from error
    if labels != list(LABELS):
        raise AvemoError(f"{path.name} reads other labels ({header['labels']}); this version reads {', '.join(LABELS)}.")
    try:
        model = system(header["system"]).build(**settings)
        model.load_state_dict({key: value.float() if value.dtype == torch.half else value for key, value in weights.items()})
    except (ValueError, TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise AvemoError(
            f"{path.name} does not fit this version's {header['system']} ({reason}); train it again."
        ) from error
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    return Checkpoint(model.eval(), f"{header['system']}-{digest}", calibration, card)
