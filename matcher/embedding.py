"""What turns pictures, and for some models words, into vectors: what is alike lies near. By name: `matcher.registry`.

Vectors tell likeness, not identity: another view of the same kind of thing may lie nearer than a worn print of the
same block.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Any

    from numpy.typing import NDArray

__all__ = ["Embedder", "TextEmbedder", "digest_of_files", "embedded", "reduced", "unit", "versioned"]


@runtime_checkable
class Embedder(Protocol):
    """What turns pictures into vectors."""

    @property
    def signature(self) -> str:
        """Name, version and parameters, a digest of the weights among them: vectors of equal signatures compare."""

    @property
    def size(self) -> int:
        """Dimensions of a vector."""

    @property
    def at_once(self) -> int:
        """How many pictures it had best be given at a time."""

    @property
    def long_side(self) -> int:
        """Pixels of the long side to which pictures may be reduced beforehand: it sees no more."""

    def embed(self, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Return a vector for each picture.

        Parameters
        ----------
        pictures : sequence of uint8, shape (h, w, 3)
            RGB, of any size.

        Returns
        -------
        float32, shape (n, size)
            Rows of unit length.
        """


@runtime_checkable
class TextEmbedder(Embedder, Protocol):
    """What turns words into vectors of the same space, too."""

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return a vector of unit length for each text, float32 (n, size)."""


def unit(rows: NDArray) -> NDArray[np.float32]:
    """Return rows, shape (n, d), at unit length; those of length zero, or not finite, become the same constant row."""
    values = np.ascontiguousarray(rows, dtype=np.float32)
    lengths = np.linalg.norm(values, axis=-1, keepdims=True)
    known = np.isfinite(lengths) & (lengths > 0)
    # A picture without anything to measure, all of one tone, is like every other such picture.
    plain = np.float32(values.shape[-1] ** -0.5)
    return np.where(known, values / np.where(known, lengths, 1), plain).astype(np.float32)


def embedded(embedder: Embedder, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Return what an embedder makes of pictures, as many at a time as it likes; float32 (n, size)."""
    starts = range(0, len(pictures), embedder.at_once)
    parts = (embedder.embed(pictures[start : start + embedder.at_once]) for start in starts)
    return np.concatenate([np.empty((0, embedder.size), np.float32), *parts])


def reduced(picture: NDArray[np.uint8], long_side: int) -> NDArray[np.uint8]:
    """Return a picture, shape (h, w) or (h, w, 3), whose long side is at most `long_side` pixels; never enlarged."""
    high, wide = picture.shape[:2]
    factor = long_side / max(high, wide)
    if factor >= 1:
        return picture
    size = max(1, round(wide * factor)), max(1, round(high * factor))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def versioned(name: str, version: int, **parameters: Any) -> str:
    """Return the signature ``NAME-VERSION(KEY=VALUE,…)``."""
    return f"{name}-{version}({','.join(f'{key}={value}' for key, value in parameters.items())})"


def digest_of_files(digests: dict[Path, str]) -> str:
    """Return 16 hexadecimal digits that tell files of weights, by their SHA-256 and names, from all others."""
    told = json.dumps(sorted((path.name, digest) for path, digest in digests.items()))
    return hashlib.sha256(told.encode()).hexdigest()[:16]
