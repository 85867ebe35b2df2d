"""How sure: how seldom chance alone would do as well.

A-contrario reasoning (Desolneux, Moisan & Morel, IJCV 2000; Moisan & Stival, IJCV 2004): laid on an unrelated image,
each cell of the query agrees with it now and then, the likelier the more features there were to compare. The more cells
agree beyond that, the fewer unrelated images would do so. Counting cells rather than features keeps a busy texture, or
a letter that is also printed there, from counting many times.

How many cells of unrelated images do agree was measured (docs/significance.md): three are spent on the map itself; the
others follow a negative binomial law, wider than Poisson's because cells that agree lie together in textures and lines.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from matcher.geometry import CELL, cells

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from matcher.geometry import Agreement

__all__ = ["CHANCE", "evidence", "log_tail"]

CHANCE = 0.0208
"""Chance that two unrelated features in the same place, of like size and angle, agree within `geometry.LIMIT` bits
(measured on the unrelated images of the short lists of 125 queries; docs/significance.md)."""

_SPENT = 3
"""Agreements that a map has for having been fitted to them."""

_BASE, _SHARE = 0.25, 0.45
"""Further agreements on unrelated images: on average this many, and this share of those that independence predicts."""

_DISPERSION = 1.5
"""Their variance over their mean."""


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
        log10 of the share of unrelated images, of those on which some map can be fitted at all, that would agree in as
        many.
    """
    laid = np.column_stack([query_points, np.ones(len(query_points))]) @ agreement.matrix.T
    reached = agreement.compared > 0
    places = cells(laid[reached, :2] / laid[reached, 2:], CELL * pixel)
    _, numbers = np.unique(places, return_inverse=True)
    missing = np.bincount(numbers, agreement.compared[reached] * math.log1p(-CHANCE))
    expected = float(-np.expm1(missing).sum())
    count = len(np.unique(numbers[agreement.inliers[reached]]))
    return count, log_tail(count, expected)


def log_tail(count: int, expected: float) -> float:
    """Return log10 of an upper bound of the chance of `count` or more agreements.

    Parameters
    ----------
    count : int
        Cells that agree.
    expected : float
        Cells that would if all comparisons were independent.
    """
    beyond = count - _SPENT
    mean = _BASE + _SHARE * expected
    if beyond <= mean:
        return 0.0
    # The tail of a negative binomial law is at most its first term over one minus the largest ratio of terms.
    size, rest = mean / (_DISPERSION - 1), 1 - 1 / _DISPERSION
    first = math.lgamma(beyond + size) - math.lgamma(beyond + 1) - math.lgamma(size)
    first += beyond * math.log(rest) - size * math.log(_DISPERSION)
    ratio = max(rest, rest * (beyond + size) / (beyond + 1))
    return min(0.0, (first - math.log1p(-ratio)) / math.log(10))
