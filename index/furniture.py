"""What is on every scan of a volume: bindings, rulers and colour charts, stamps, running titles.

Such furniture agrees from scan to scan as surely as two prints of one block, and in the same place. That tells it:
features that are found again at the same coordinates on one in eight of the neighbouring scans belong to it, unless
they fill the image, which then has many copies. Nothing is stored: a few neighbours are looked at when an image is hit.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from matcher.geometry import Signed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from index.verification import Stored

__all__ = ["NEIGHBOURS", "Furniture", "furniture_of"]

NEIGHBOURS = 16
"""Scans of the folder that an image is compared with, the nearest by catalogue id."""

_SHARE, _LEAST = 1 / 8, 2
"""Neighbours, and how many at the least, on which furniture is found again."""

_STRAY = 0.03
"""How far a scan may lie from its neighbour, in long sides."""

_BITS, _OCTAVES, _TURN = 24, 0.35, 0.35
"""Largest differences of a feature found again: Hamming distance, log2 of size, angle in radians."""

_CELLS = 25
"""Cells along the long side of an image that are furniture or not."""

_BLOCK, _WHOLE = 3, 0.6
"""An image with furniture in more than this share of its blocks of cells is a copy of its neighbours: all is found
again, not what surrounds it."""


class Furniture:
    """Where on one image furniture lies: bool `cells` of `side` pixels."""

    def __init__(self, cells: NDArray[np.bool_], side: float) -> None:
        self._cells = cells
        self._side = side

    def __bool__(self) -> bool:
        return bool(self._cells.any())

    def cleared(self, image: Stored) -> Stored:
        """Return an image without its features on furniture."""
        frame, words, signatures = image.signed
        rest = ~self.holds(frame[:, :2])
        return replace(image, signed=Signed(frame[rest], words[rest], signatures[rest]))

    def holds(self, points: NDArray) -> NDArray[np.bool_]:
        """Tell which of `points`, shape (n, 2), in pixels of the image, lie on furniture."""
        column, row = _cells_of(points, self._side)
        height, width = self._cells.shape
        return np.asarray(self._cells[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)])


def furniture_of(image: Stored, neighbours: Sequence[Stored]) -> Furniture:
    """Return where furniture lies on an image.

    Parameters
    ----------
    image : Stored
    neighbours : sequence of Stored
        Other scans of its folder.
    """
    points = image.signed.frame[:, :2]
    extent = float(np.ptp(points, axis=0).max()) if len(points) else 0.0
    side = max(1.0, extent / _CELLS)
    column, row = _cells_of(points, side)
    shape = (int(row.max(initial=0)) + 1, int(column.max(initial=0)) + 1)
    # A cell may be sure, by two features at a time, or belong to one that is.
    owners, again = _again(image, neighbours, _STRAY * extent)
    cell = row[again] * shape[1] + column[again]
    pairs, many = np.unique(owners * (shape[0] * shape[1]) + cell, return_counts=True)
    cell = pairs % (shape[0] * shape[1])
    likely = np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape)
    sure = np.bincount(cell[many >= 2], minlength=shape[0] * shape[1]).reshape(shape)
    needed = max(_LEAST, math.ceil(_SHARE * len(neighbours)))
    # Features at its edge describe what lies beyond it, too, and are seldom found again.
    patches = cv2.dilate((likely >= needed).astype(np.uint8), np.ones((3, 3), np.uint8))
    _, numbers = cv2.connectedComponents(patches)
    cells = (patches > 0) & np.isin(numbers, numbers[sure >= needed])
    reached = [
        cells[y : y + _BLOCK, x : x + _BLOCK].any()
        for y in range(0, shape[0], _BLOCK)
        for x in range(0, shape[1], _BLOCK)
    ]
    if np.mean(reached) > _WHOLE:
        cells[:] = False
    return Furniture(cells, side)


def _cells_of(points: NDArray, side: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    column, row = np.floor(points / side).astype(np.intp).T
    return np.maximum(column, 0), np.maximum(row, 0)


def _again(image: Stored, others: Sequence[Stored], stray: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return on which of the `others` which features of an image are found again at the same place."""
    mine = image.signed
    owners = np.repeat(np.arange(len(others)), [len(other.signed.words) for other in others])
    words = np.concatenate([mine.words[:0], *(other.signed.words for other in others)])
    frame = np.concatenate([mine.frame[:0], *(other.signed.frame for other in others)])
    signatures = np.concatenate([mine.signatures[:0], *(other.signed.signatures for other in others)])
    # Sorted by word, those of the same word are a run.
    order = np.argsort(words, kind="stable")
    first = np.searchsorted(words[order], mine.words, side="left")
    many = np.searchsorted(words[order], mine.words, side="right") - first
    rows = np.repeat(np.arange(len(mine.words)), many)
    columns = order[np.repeat(first - np.cumsum(many) + many, many) + np.arange(len(rows))]
    near = np.bitwise_count(mine.signatures[rows] ^ signatures[columns]) <= _BITS
    rows, columns = rows[near], columns[near]
    apart = np.abs(mine.frame[rows] - frame[columns])
    turned = np.minimum(apart[:, 3], 2 * np.pi - apart[:, 3])
    near = (apart[:, :2].max(axis=1, initial=0) <= stray) & (apart[:, 2] <= _OCTAVES) & (turned <= _TURN)
    # A feature counts once, however many there are that it is like.
    found = np.unique(owners[columns[near]] * np.int64(len(mine.words)) + rows[near])
    return found // max(len(mine.words), 1), found % max(len(mine.words), 1)
