"""What the small network should say of an image whose regions are known, cell by cell."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["IGNORED", "assigned"]

IGNORED = 255
"""Pixels of which it is not said what they are."""

_FINE = 4
_SMALL, _LARGE = 48, 72
"""Shorter side, in pixels, from which on boxes belong to the coarse map, and up to which to the fine one."""


def assigned(
    boxes: NDArray, classes: NDArray[np.uint8], step: int, shape: tuple[int, ...]
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return for each cell the kind of region in whose middle it lies, and that region's edges.

    Parameters
    ----------
    boxes : array, shape (n, 5)
        Kind, left, top, right, bottom, in pixels.
    classes : uint8, shape (h, w)
        Of each cell of some grid what it is part of; only where that is `IGNORED` counts.
    step : int
        Pixels for each cell: 4 or 16.
    shape : (int, int)
        Rows and columns of the image.

    Returns
    -------
    int8, shape (rows, columns)
        The kind, from 1; 0 none, -1 unsaid.
    float32, shape (4, rows, columns)
        Left, top, right, bottom in pixels.
    """
    high, wide = shape[0] // step, shape[1] // step
    kinds = np.zeros((high, wide), np.int8)
    edges = np.zeros((4, high, wide), np.float32)
    unsaid = cv2.resize(classes, (wide, high), interpolation=cv2.INTER_NEAREST) == IGNORED
    kinds[unsaid] = -1
    areas = (boxes[:, 3] - boxes[:, 1]) * (boxes[:, 4] - boxes[:, 2])
    for kind, left, top, right, bottom in boxes[np.argsort(-areas)]:
        side = min(right - left, bottom - top)
        if side > _LARGE if step == _FINE else side < _SMALL:
            continue
        x0, y0, x1, y1 = (value / step for value in (left, top, right, bottom))
        kinds[_cells(y0, y1), _cells(x0, x1)] = -1
        inset_x, inset_y = 0.25 * (x1 - x0), 0.25 * (y1 - y0)
        rows, columns = _cells(y0 + inset_y, y1 - inset_y), _cells(x0 + inset_x, x1 - inset_x)
        kinds[rows, columns] = int(kind) + 1
        edges[:, rows, columns] = np.array([left, top, right, bottom], np.float32)[:, None, None]
    return kinds, edges


def _cells(start: float, stop: float) -> slice:
    """Return the cells whose middles lie between two places, or the one between them."""
    first, last = math.ceil(start - 0.5), math.floor(stop - 0.5)
    if last < first:
        first = last = max(0, int((start + stop) / 2))
    return slice(max(first, 0), last + 1)
