"""Embedders that have no weights: which colours a picture has, and which way its lines run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

from matcher.embedding import reduced, unit, versioned

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Palette", "Structure"]

_STEPS = np.array([16.0, 18.0, 18.0], np.float32)
"""Distance of colours of the lattice, in L*, a* and b*: 16 are seen as another tone of the same colour."""

_LOW = np.array([0.0, -90.0, -108.0], np.float32)
_SHAPE = (8, 12, 13)
"""Least values, and how many colours there are along L*, a* and b*: the lattice holds all of sRGB."""

_CONTRASTS = 12
_SCALES = (1, 2, 4)
"""Classes of local contrast, and the reductions of the picture at which it is measured."""


def _lab(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.asarray(cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), np.float32)


def _shares(colours: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how much of L*a*b* colours, float32 (n, 3), falls to each colour of the lattice; sums to 1.

    Each counts for the eight around it, the nearer the more, so that no colour lies at an edge.
    """
    places = np.clip((colours - _LOW) / _STEPS, 0, np.array(_SHAPE, np.float32) - 1.001)
    cells = places.astype(np.intp)
    parts = places - cells
    shares = np.zeros(_SHAPE, np.float64).ravel()
    for corner in np.ndindex(2, 2, 2):
        weights = np.prod(np.where(corner, parts, 1 - parts), axis=1)
        at = np.ravel_multi_index(tuple((cells + corner).T), _SHAPE)
        shares += np.bincount(at, weights, shares.size)
    return (shares / len(colours)).astype(np.float32)


@cache
def _seen() -> NDArray[np.intp]:
    """Return which colours of the lattice sRGB ever falls to."""
    steps = np.linspace(0, 255, 18).round().astype(np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(1, -1, 3)
    return np.flatnonzero(_shares(_lab(cube)[0]))


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours and contrast, wherever they are in the picture.

    The colours are a histogram over a lattice of CIE L*a*b* with shared weights, the contrasts histograms of the
    gradient of the lightness at three scales; of both the square root is taken (Hellinger kernel), so that a small red
    thing on white paper counts.

    Attributes
    ----------
    long_side : int
        Pixels that it looks at.
    contrast : float
        Share of the contrasts in the square of a vector's length.
    """

    long_side: int = 160
    contrast: float = 0.3

    @property
    def signature(self) -> str:
        """See `matcher.embedding.Embedder`."""
        return versioned("palette", 1, side=self.long_side, contrast=self.contrast)

    @property
    def size(self) -> int:
        """See `matcher.embedding.Embedder`."""
        return len(_seen()) + len(_SCALES) * _CONTRASTS

    @property
    def at_once(self) -> int:
        """See `matcher.embedding.Embedder`."""
        return 1

    def embed(self, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """See `matcher.embedding.Embedder`."""
        return unit(np.array([self._vector(picture) for picture in pictures]).reshape(-1, self.size))

    def of_colours(self, colours: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the vector, float32 (size,), that pictures of these RGB colours, uint8 (n, 3), lie near.

        It says nothing of contrast.
        """
        histogram = np.sqrt(_shares(_lab(colours[None])[0])[_seen()])
        return unit(np.pad(histogram, (0, len(_SCALES) * _CONTRASTS))[None]).ravel()

    def _vector(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        lab = _lab(reduced(picture, self.long_side))
        colours = np.sqrt(_shares(lab.reshape(-1, 3))[_seen()] * (1 - self.contrast))
        contrasts = np.sqrt(_contrasts(lab[..., 0]) * (self.contrast / len(_SCALES)))
        return np.concatenate([colours, contrasts])


def _contrasts(lightness: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return histograms of how steep lightness, 0 to 100, is, at each of the scales; each sums to 1."""
    found = []
    for scale in _SCALES:
        size = [max(2, side // scale) for side in reversed(lightness.shape)]
        steepness = np.hypot(*_gradient(cv2.resize(lightness, size, interpolation=cv2.INTER_AREA)))
        # Classes in equal steps of the logarithm: the eye's measure, from what paper does up to black beside white.
        classes = np.clip(np.log2(steepness + 0.5) + 1, 0, 7.99) * (_CONTRASTS / 8)
        found.append(np.bincount(classes.astype(np.intp).ravel(), minlength=_CONTRASTS) / steepness.size)
    return np.concatenate(found).astype(np.float32)


def _gradient(gray: NDArray) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the derivatives to the right and down of grey values, a pixel."""
    values = np.asarray(gray, np.float32)
    return (
        np.asarray(cv2.Sobel(values, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8, borderType=cv2.BORDER_REPLICATE)),
        np.asarray(cv2.Sobel(values, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8, borderType=cv2.BORDER_REPLICATE)),
    )


@dataclass(frozen=True, slots=True)
class Structure:
    """Which way lines and edges run, in the whole picture and in its parts.

    Histograms of orientation (Dalal & Triggs, CVPR 2005) over a pyramid of 1, 4 and 16 parts (Bosch, Zisserman &
    Munoz, CIVR 2007) at a fine and a coarse scale. Without regard to sign, so that a negative is like its positive.

    Attributes
    ----------
    long_side : int
        Side of the square that a picture is brought to.
    bins : int
        Orientations told apart.
    levels : int
        Of the pyramid: 1, 2, 4, … parts along each side.
    """

    long_side: int = 128
    bins: int = 9
    levels: int = 3

    @property
    def signature(self) -> str:
        """See `matcher.embedding.Embedder`."""
        return versioned("structure", 1, side=self.long_side, bins=self.bins, levels=self.levels)

    @property
    def size(self) -> int:
        """See `matcher.embedding.Embedder`."""
        return 2 * self.bins * ((1 << 2 * self.levels) - 1) // 3

    @property
    def at_once(self) -> int:
        """See `matcher.embedding.Embedder`."""
        return 1

    def embed(self, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """See `matcher.embedding.Embedder`."""
        return unit(np.array([self._vector(picture) for picture in pictures]).reshape(-1, self.size))

    def _vector(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        gray = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY)
        square = cv2.resize(gray, (self.long_side, self.long_side), interpolation=cv2.INTER_AREA)
        smooth = cv2.GaussianBlur(square, (0, 0), 3)
        return np.concatenate([self._pyramid(square), self._pyramid(smooth)])

    def _pyramid(self, gray: NDArray) -> NDArray[np.float32]:
        right, down = _gradient(gray)
        strength = np.hypot(right, down)
        turns = (np.arctan2(down, right) / np.pi) % 1 * self.bins
        lower = turns.astype(np.intp)
        part = turns - lower
        cells = np.zeros((self.bins, *gray.shape), np.float32)
        rows, columns = np.indices(gray.shape)
        np.add.at(cells, (lower % self.bins, rows, columns), strength * (1 - part))
        np.add.at(cells, ((lower + 1) % self.bins, rows, columns), strength * part)
        found = []
        for level in range(self.levels):
            parts = 2**level
            side = self.long_side // parts
            sums = cells.reshape(self.bins, parts, side, parts, side).sum(axis=(2, 4))
            # Each level weighs the same, whatever the number of its parts.
            found.append(np.sqrt(sums / max(float(sums.sum()), 1e-6)).ravel())
        return np.concatenate(found)
