"""An encoder without image science: a file's bytes decide its features, and some contents do harm."""

from __future__ import annotations

import os
import signal
import zlib
from typing import TYPE_CHECKING

import numpy as np

from index.encoding import EncodedImage
from index.settings import Settings
from matcher.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from index.annotations import Zone

SETTINGS = Settings(vocabulary="made up", vocabulary_hash="0" * 64)

BLANK, UNREADABLE, DEADLY = b"blank", b"unreadable", b"deadly"


def encoded(content: bytes, geometry_bits: int = SETTINGS.geometry_bits) -> EncodedImage:
    """Return the features of a file with this content."""
    rng = np.random.default_rng(zlib.crc32(content))
    n = 0 if content == BLANK else int(rng.integers(1, 60))
    width, height = (int(side) for side in rng.integers(100, 5000, 2))
    return EncodedImage(
        words=np.sort(rng.integers(0, 40, n)).astype(np.uint16),
        signatures=rng.integers(0, 1 << 64, n, dtype=np.uint64),
        geometry=rng.integers(0, 1 << geometry_bits, n, dtype=np.dtype(f"u{geometry_bits // 8}")),
        width=width,
        height=height,
    )


class FakeEncoder:
    """Stands for `index.encoding.Encoder`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def encode(self, path: Path, page: int, zones: Sequence[Zone] = ()) -> EncodedImage:
        content = path.read_bytes()
        if content == UNREADABLE:
            raise InputError(f"{path}: cannot be read; get a fresh copy")
        if content == DEADLY:
            os.kill(os.getpid(), signal.SIGKILL)
        return encoded(content, self.settings.geometry_bits)
