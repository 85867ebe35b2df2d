"""Which features of an image are worth keeping when there is room for only so many.

A page of type carries several times more keypoints than the pictures on it, all alike. A linear classifier on the
descriptor says, weakly, whether a feature looks like picture or like type; averaged over its neighbourhood it says so
well (on pages of books it has not seen: area under the curve 0.98). Features are ranked by strength × size × that
likeness.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["choose", "picture_likeness"]

_CELL = 32  # pixels: about two lines of type
_BLUR = 1.5  # cells
_CLIP = 3.0  # one feature must not decide for a neighbourhood
_SHARPNESS = 2.0  # of the step from type to picture


def picture_likeness(
    points: NDArray[np.float32], descriptors: NDArray[np.float32], sizes: NDArray, responses: NDArray, weights: NDArray
) -> NDArray[np.float32]:
    """Return how much the neighbourhood of each feature looks like picture rather than type, 0 to 1.

    Parameters
    ----------
    points : float32, shape (n, 2)
        In pixels of the extracted image.
    descriptors : float32, shape (n, d)
        Unit-length descriptors.
    sizes, responses : shape (n,)
        Keypoint diameters in pixels of the extracted image, detector strengths.
    weights : float32, shape (d + 3,)
        Of the descriptor, log2 of the size, logarithm of the strength, and one.

    Returns
    -------
    float32, shape (n,)
    """
    if len(points) == 0:
        return np.zeros(0, dtype=np.float32)
    alone = descriptors @ weights[:-3] + weights[-3] * np.log2(sizes) + weights[-2] * np.log(100 * responses + 0.1)
    alone = np.clip(alone + weights[-1], -_CLIP, _CLIP)
    column, row = (np.maximum(points, 0) // _CELL).astype(np.intp).T
    shape = (int(row.max()) + 1, int(column.max()) + 1)
    cells = row * shape[1] + column
    total = np.bincount(cells, alone, shape[0] * shape[1]).reshape(shape)
    count = np.bincount(cells, minlength=shape[0] * shape[1]).astype(np.float64).reshape(shape)
    near, many = (cv2.GaussianBlur(x, (0, 0), _BLUR, borderType=cv2.BORDER_CONSTANT) for x in (total, count))
    mean = (near / (many + 1))[row, column]
    return np.asarray(1 / (1 + np.exp(-_SHARPNESS * mean)), dtype=np.float32)


def choose(sizes: NDArray, responses: NDArray, likeness: NDArray, budget: int | None) -> NDArray[np.intp]:
    """Return which features to keep, ascending.

    Parameters
    ----------
    sizes, responses, likeness : shape (n,)
        Keypoint diameters, detector strengths, and `picture_likeness` or ones.
    budget : int or None
        How many at most; None keeps all.
    """
    if budget is None or len(sizes) <= budget:
        return np.arange(len(sizes))
    best = np.argsort(-(responses * sizes * likeness), kind="stable")[:budget]
    return np.sort(best)
