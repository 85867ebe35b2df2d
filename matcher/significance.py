"""How sure: how seldom chance alone would do as well.

A-contrario reasoning (Desolneux, Moisan & Morel, IJCV 2000; Moisan & Stival, IJCV 2004): laid on an unrelated image,
each cell of the query agrees with it now and then, the likelier the more features there were to compare. The more cells
agree beyond that, the fewer unrelated images would do so. Counting cells rather than features keeps a busy texture, or
a letter that is also printed there, from counting many times.

How many cells of unrelated images do agree was measured (docs/significance.md): three are spent on the map itself; the
others follow a negative binomial law, wider than Poisson's because cells that agree lie together in textures and lines.
How wide depends on the features and the words, so each vocabulary has a law of its own.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from matcher import _kernels as kernels
from matcher.geometry import CELL, cells

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from matcher.geometry import Agreement

__all__ = ["SHIPPED_LAW", "SPENT", "Law", "cells_off_lines", "compared_cells", "evidence", "expected_cells", "log_tail"]

SPENT = 3
"""Agreements that a map has for having been fitted to them."""

_WIDTH, _DIRECTIONS = 12.0, 96
"""A line is a strip so wide, in pixels of the size the image was extracted at, in one of so many directions."""

_ON_A_LINE, _EVENLY = 4, 3
"""Cells that a line counts as at the most: so many, or so many times what it would hold were all cells strewn evenly
over a square as wide as they reach. Pages and pictures full of details have many on every line."""


@dataclass(frozen=True, slots=True)
class Law:
    """How many cells of unrelated images agree.

    Attributes
    ----------
    chance : float
        Chance that two unrelated features in the same place, of like size and angle, agree within `geometry.LIMIT`
        bits.
    base, share : float
        Further agreements than `SPENT`: on average `base` and `share` of those that independence predicts.
    dispersion : float
        Their variance over their mean, above 1.
    weighed : float
        Share of unrelated images, for each relation asked, that get as far as being weighed.

    Raises
    ------
    ValueError
        For numbers that are no such law.
    """

    chance: float
    base: float
    share: float
    dispersion: float
    weighed: float

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, astuple(self))) or not (
            0 < self.chance < 1 and self.base > 0 and self.share >= 0 and self.dispersion > 1 and 0 < self.weighed <= 1
        ):
            raise ValueError(f"{self} is no law of chance")

    def held_to(self, least: Law) -> Law:
        """Return this law, but no bolder than another: `base`, `dispersion` and what a comparison adds to the mean are
        at least the other's."""
        share = max(self.share, least.share * least.chance / self.chance)
        return replace(
            self, base=max(self.base, least.base), share=share, dispersion=max(self.dispersion, least.dispersion)
        )


SHIPPED_LAW = Law(chance=0.0208, base=0.25, share=0.45, dispersion=1.5, weighed=2e-4)
"""That of SIFT with the vocabulary that comes with calque (docs/significance.md)."""


def evidence(
    agreement: Agreement, query_points: NDArray, pixel: float, law: Law = SHIPPED_LAW, *, line: float | None = None
) -> tuple[int, float]:
    """Weigh an agreement.

    Parameters
    ----------
    agreement : Agreement
    query_points : float, shape (n, 2)
        All query features.
    pixel : float
        Pixels of the image per pixel of the size it was extracted at.
    law : Law
    line : float, optional
        Length from which on cells along a straight line count as few (`cells_off_lines`).

    Returns
    -------
    count : int
        Distinct cells that agree.
    log_false_alarms : float
        log10 of the share of unrelated images, of those on which some map can be fitted at all, that would agree in as
        many.
    """
    count, compared = compared_cells(agreement, query_points, pixel)
    if line is not None:
        count = cells_off_lines(agreement, query_points, pixel, line)
    return count, log_tail(count, expected_cells(compared, law.chance), law)


def cells_off_lines(agreement: Agreement, query_points: NDArray, pixel: float, line: float) -> int:
    """Return how many distinct cells agree if those along one straight line count as few.

    Along the edge of a page, a rule or a frame each detail looks like the next, so that two of them agree wherever
    one is laid along the other: the aperture problem. What pictures hold beside lines is not of that kind.

    Parameters
    ----------
    agreement, query_points, pixel
        As for `evidence`.
    line : float
        How long a line is at the least, in pixels of the size the image was extracted at: shorter than this, small cuts
        keep all that they have.
    """
    points = _laid(agreement, query_points[agreement.inliers])
    _, first = np.unique(cells(points, CELL * pixel), return_index=True)
    distinct = np.ascontiguousarray(points[first] / pixel)
    reach = float(np.hypot(*np.ptp(distinct, axis=0))) if len(distinct) else 0.0
    most = max(_ON_A_LINE, math.ceil(_EVENLY * len(distinct) * _WIDTH / max(reach, line)))
    return int(kernels.thinned_lines(distinct, _WIDTH, line, most, _DIRECTIONS))


def compared_cells(agreement: Agreement, query_points: NDArray, pixel: float) -> tuple[int, NDArray[np.int64]]:
    """Return how many distinct cells agree, and how many comparisons were made in each cell in which any was."""
    reached = agreement.compared > 0
    places = cells(_laid(agreement, query_points[reached]), CELL * pixel)
    _, numbers = np.unique(places, return_inverse=True)
    compared = np.bincount(numbers, agreement.compared[reached]).astype(np.int64)
    return len(np.unique(numbers[agreement.inliers[reached]])), compared


def _laid(agreement: Agreement, points: NDArray) -> NDArray[np.float64]:
    """Return where the map puts points of the query."""
    laid = np.column_stack([points, np.ones(len(points))]) @ agreement.matrix.T
    return np.asarray(laid[:, :2] / laid[:, 2:])


def expected_cells(compared: NDArray[np.integer], chance: float) -> float:
    """Return how many cells would agree, with so many comparisons in each, if all of them were independent."""
    return float(-np.expm1(compared * math.log1p(-chance)).sum())


def log_tail(count: int, expected: float, law: Law = SHIPPED_LAW) -> float:
    """Return log10 of an upper bound of the chance of `count` or more agreements.

    Parameters
    ----------
    count : int
        Cells that agree.
    expected : float
        Cells that would if all comparisons were independent.
    law : Law
    """
    beyond = count - SPENT
    mean = law.base + law.share * expected
    if beyond <= mean:
        return 0.0
    # The tail of a negative binomial law is at most its first term over one minus the largest ratio of terms.
    size, rest = mean / (law.dispersion - 1), 1 - 1 / law.dispersion
    first = math.lgamma(beyond + size) - math.lgamma(beyond + 1) - math.lgamma(size)
    first += beyond * math.log(rest) - size * math.log(law.dispersion)
    ratio = max(rest, rest * (beyond + size) / (beyond + 1))
    return min(0.0, (first - math.log1p(-ratio)) / math.log(10))
