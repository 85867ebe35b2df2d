"""Which device is wanted for what may run on a GPU; needs no library to say so."""

from __future__ import annotations

import os

from matcher.errors import InputError

__all__ = ["DEVICES", "wanted_device"]

DEVICES = ("auto", "cpu", "cuda")
"""What may be wanted."""


def wanted_device() -> str:
    """Return what ``CALQUE_DEVICE`` says: ``cpu``, ``cuda``, or ``auto``, a GPU if there is one.

    Raises
    ------
    InputError
        If it says something else.
    """
    wanted = os.environ.get("CALQUE_DEVICE", "auto")
    if wanted not in DEVICES:
        raise InputError(f"CALQUE_DEVICE is {wanted!r}; it must be auto, cpu or cuda")
    return wanted
