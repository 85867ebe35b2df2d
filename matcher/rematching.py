"""What the pairs of a network agree on, and how seldom those of unrelated pictures agree on as much.

Networks that look at both images (`matcher.lightglue`) pair some hundred features of any two images; of the same
picture, however it was redrawn, most pairs lie where one map puts them, of unrelated ones a handful.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from matcher import _kernels as kernels
from matcher.geometry import CELL, cells, plausible

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PAIR_LAWS", "PairLaw", "PairsAgreed", "agreed_pairs"]

_NEAR = 8.0
"""Pixels, at the size that images are looked at, within which a pair lies where the map puts it."""

_TRIALS = 4000
"""Similarities that two pairs each propose."""

_ROUNDS = 3
_STIFFNESS = 5.0
"""Pairs' worth of trust in the map so far; see `matcher._kernels.fit_affine`."""


@dataclass(frozen=True, slots=True)
class PairLaw:
    """How many cells agree on unrelated images: more than `usual` with a chance that falls by e with every `step`.

    Attributes
    ----------
    usual : float
    step : float
    share : float
        Share of unrelated images on which more than `usual` agree.
    """

    usual: float
    step: float
    share: float

    def log_tail(self, count: int) -> float:
        """Return log10 of an upper bound of the chance that so many cells or more agree."""
        if count <= self.usual:
            return 0.0
        return min(0.0, math.log10(self.share) - (count - self.usual) / self.step / math.log(10))


PAIR_LAWS: dict[str, PairLaw] = {"lighterglue": PairLaw(usual=15.0, step=6.7, share=0.175)}
"""By matcher, as measured on unrelated images (docs/significance.md); of the others nothing is known."""


class PairsAgreed(NamedTuple):
    """The map that pairs agree on.

    Attributes
    ----------
    matrix : float64, shape (3, 3)
        From pixels of the query to pixels of the image.
    inliers : bool, shape (k,)
        Pairs that agree, one to one and in distinct cells.
    """

    matrix: NDArray[np.float64]
    inliers: NDArray[np.bool_]


def agreed_pairs(
    query: NDArray[np.float64], image: NDArray[np.float64], corners: NDArray[np.float64], pixel: float
) -> PairsAgreed | None:
    """Return the map that most pairs agree on.

    Parameters
    ----------
    query, image : float64, shape (k, 2)
        Places of the pairs.
    corners : float64, shape (4, 2)
        The query region's corners.
    pixel : float
        Pixels of the image per pixel of the size it is looked at.

    Returns
    -------
    PairsAgreed, or None where fewer than three pairs agree, or on no plausible map.
    """
    if len(query) < 3:
        return None
    near = _NEAR * pixel
    start, _ = cv2.estimateAffinePartial2D(
        np.ascontiguousarray(query),
        np.ascontiguousarray(image),
        method=cv2.RANSAC,
        ransacReprojThreshold=near,
        maxIters=_TRIALS,
        confidence=0.999,
    )
    if start is None:
        return None
    matrix = np.ascontiguousarray(start, dtype=np.float64)
    frames = [np.column_stack([points, np.zeros((len(points), 2))]).astype(np.float64) for points in (query, image)]
    for _ in range(_ROUNDS):
        close = _near(matrix, query, image, near)
        if close.sum() < 3:
            return None
        matrix = kernels.fit_affine(frames[0], frames[1], close, matrix, _STIFFNESS)
    full = np.vstack([matrix, [0.0, 0.0, 1.0]])
    if not plausible(full, corners):
        return None
    close = _near(matrix, query, image, near)
    cell = CELL * pixel
    scale = math.sqrt(abs(np.linalg.det(matrix[:, :2])))
    kept = np.empty(len(query), dtype=np.bool_)
    count = kernels.distinct_agreements(
        cells(query, cell / scale), cells(image, cell), np.arange(len(query), dtype=np.int32),
        np.where(close, 0, 255).astype(np.uint8), 0, np.arange(len(query)), kept,
    )  # fmt: skip
    return PairsAgreed(full, kept) if count >= 3 else None


def _near(
    matrix: NDArray[np.float64], query: NDArray[np.float64], image: NDArray[np.float64], near: float
) -> NDArray[np.bool_]:
    off = query @ matrix[:, :2].T + matrix[:, 2] - image
    close: NDArray[np.bool_] = np.hypot(off[:, 0], off[:, 1]) <= near
    return close
