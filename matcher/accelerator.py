"""The processor or GPU that networks run on, as PyTorch knows it."""

from __future__ import annotations

import torch

from matcher.devices import wanted_device
from matcher.errors import InputError

__all__ = ["device"]


def device() -> str:
    """Return the device that networks run on, ``cpu`` or ``cuda``: see `matcher.devices.wanted_device`.

    Raises
    ------
    InputError
        If there is no such device.
    """
    wanted = wanted_device()
    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise InputError("there is no GPU that PyTorch can use; ask for the device cpu or auto")
    return "cuda" if there and wanted != "cpu" else "cpu"
