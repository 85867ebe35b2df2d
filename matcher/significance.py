"""How sure: the number of images on which chance alone would do as well.

A-contrario reasoning (Desolneux, Moisan & Morel, IJCV 2000; Moisan & Stival, IJCV 2004): laid on an unrelated image,
each cell of the query agrees with it now and then, the likelier the more features there were to compare. The more cells
agree beyond that, the fewer unrelated images would do so. Counting cells rather than features keeps a busy texture, or
a letter that is also printed there, from counting many times.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from matcher.geometry import CELL, cells

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from matcher.geometry import Agreement

__all__ = ["CHANCE", "LEAST", "evidence", "log_tail"]

CHANCE = 0.0208
"""Chance that two unrelated features in the same place, of like size and angle, agree within `geometry.LIMIT` bits
(measured on the unrelated images of the short lists of 125 queries; docs/significance.md)."""

LEAST = 1.0
"""Agreements expected by chance at the least: few features are seldom independent, so few agreements prove little."""


def evidence(agreement: Agreement, query_points: NDArray, pixel: float) -> tuple[int, float]:
    """Weigh an agreement.

    Parameters
    ----------
    agreement : Agreement
    query_points : float, shape (n, 2)
        All query features.
    pixel : float
        Pixels of the image per pixel of the size it was extracted at.

    Returns
    -------
    count : int
        Distinct cells that agree.
    log_false_alarms : float
        log10 of the share of unrelated images that would agree in as many.
    """
    laid = np.column_stack([query_points, np.ones(len(query_points))]) @ agreement.matrix.T
    reached = agreement.compared > 0
    places = cells(laid[reached, :2] / laid[reached, 2:], CELL * pixel)
    _, numbers = np.unique(places, return_inverse=True)
    missing = np.bincount(numbers, agreement.compared[reached] * math.log1p(-CHANCE))
    expected = max(LEAST, float(-np.expm1(missing).sum()))
    count = len(np.unique(numbers[agreement.inliers[reached]]))
    return count, log_tail(count, expected)


def log_tail(count: int, expected: float) -> float:
    """Return log10 of an upper bound of the chance of `count` or more agreements where `expected` are expected.

    The sum of independent rare events has a lighter tail than the Poisson law of the same mean; its tail is at most
    its first term over one minus the ratio of the next.
    """
    if count <= expected:
        return 0.0
    first = count * math.log(expected) - expected - math.lgamma(count + 1)
    ratio = expected / (count + 1)
    return min(0.0, (first - math.log1p(-ratio)) / math.log(10))
