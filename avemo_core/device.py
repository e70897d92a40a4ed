"""Which device to compute on."""

import torch

from .types import AvemoError


def device_of(name: str) -> torch.device:
    """The device of that name, `auto` being CUDA where there is one. AvemoError where it is not here."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise AvemoError(f"Unknown device {name!r}; choose cpu, cuda or auto.") from error
    if device.type not in ("cpu", "cuda"):
        raise AvemoError(f"Device {name!r} is not one that AVEMO runs on; choose cpu, cuda or auto.")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise AvemoError("Device cuda was asked for, but PyTorch finds no CUDA device here; choose cpu or auto.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise AvemoError(
            f"Device {name!r} is not here: PyTorch finds {torch.cuda.device_count()}, numbered from 0; choose cuda."
        )
    return device
