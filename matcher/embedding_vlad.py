"""Local features put together to one vector: which details a picture has, wherever they lie.

Vectors of locally aggregated descriptors (Jégou et al., CVPR 2010), with residuals of equal length (Delhumeau et al.,
ACM MM 2013) and powers of the sums (Arandjelović & Zisserman, CVPR 2013), of RootSIFT in 32 principal components.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from matcher.embedding import reduced, unit, versioned
from matcher.images import Scan
from matcher.sift import Sift

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["CODEBOOK", "Codebook", "Vlad", "codebook"]

CODEBOOK = Path(__file__).parent / "data" / "vlad.npz"
"""Made by ``python -m benchmarks.vlad_codebook`` from the words of the vocabulary that comes with calque."""

_LONG_SIDE = 800
_FEATURES = 1500
"""Pixels of the long side at which features are looked for, and the strongest of them that count."""


class Codebook(NamedTuple):
    """What descriptors are aggregated by.

    ``mean`` float32 (128,), ``projection`` float32 (128, d) to principal components, ``centres`` float32 (k, d).
    """

    mean: NDArray[np.float32]
    projection: NDArray[np.float32]
    centres: NDArray[np.float32]


@cache
def codebook() -> Codebook:
    """Return the codebook that comes with calque."""
    with np.load(CODEBOOK, allow_pickle=False) as stored:
        return Codebook(*(stored[name].astype(np.float32) for name in Codebook._fields))


class Vlad:
    """RootSIFT features of a picture, aggregated."""

    def __init__(self) -> None:
        self._book = codebook()
        self._sift = Sift(_FEATURES)
        self.size = self._book.centres.size
        self.at_once = 1
        self.long_side = _LONG_SIDE
        digest = hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in self._book)).hexdigest()[:16]
        self.signature = versioned("vlad", 1, side=_LONG_SIDE, features=_FEATURES, weights=digest)

    def embed(self, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """See `matcher.embedding.Embedder`."""
        return unit(np.array([self._vector(picture) for picture in pictures], np.float32).reshape(-1, self.size))

    def _vector(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        gray = np.asarray(
            cv2.cvtColor(np.ascontiguousarray(reduced(picture, _LONG_SIDE)), cv2.COLOR_RGB2GRAY), np.uint8
        )
        high, wide = gray.shape
        return self.aggregate(self._sift.extract(Scan(gray, wide, high, 1.0, 1.0)).descriptors)

    def aggregate(self, descriptors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the vector of RootSIFT descriptors, float32 (n, 128); all zero if there are none."""
        mean, projection, centres = self._book
        points = (descriptors - mean) @ projection
        nearest = (points @ centres.T - 0.5 * (centres**2).sum(axis=1)).argmax(axis=1)
        residuals = points - centres[nearest]
        residuals /= np.maximum(np.linalg.norm(residuals, axis=1, keepdims=True), 1e-6)
        sums = np.zeros_like(centres)
        np.add.at(sums, nearest, residuals)
        # A detail that repeats itself, hatching or type, must not outweigh all others.
        sums /= np.sqrt(np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-6))
        return np.asarray(np.sign(sums) * np.sqrt(np.abs(sums)), np.float32).ravel()
