"""Where pictures lie when they are laid out: as a cloud, in a grid without overlaps, along time. Arrays only."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Timeline", "cloud", "grid", "timeline", "year_of"]

_YEAR = re.compile(r"(?<!\d)(1\d{3}|20\d{2}|[3-9]\d{2})(?:-(\d{2})(?:-(\d{2}))?)?(?!\d)", re.ASCII)
_BARS = (8, 90)
"""Bars along time, at the fewest and at the most; in between as many as the pictures can fill."""

_STEPS = (1, 2, 5, 10, 20, 25, 50, 100, 200, 500, 1000)


class Timeline(NamedTuple):
    """Pictures in bars along time.

    Attributes
    ----------
    places : float32, shape (n, 2)
        Columns and rows of cells of side 1, the earliest left; row 0 at the bottom. What has no time is behind a gap.
    ticks : list of (float, str)
        Where bars begin, and what they are called; an empty name for what has no time.
    height : float
        Rows.
    """

    places: NDArray[np.float32]
    ticks: list[tuple[float, str]]
    height: float


def cloud(points: NDArray[np.float32], side: float) -> NDArray[np.float32]:
    """Return points, shape (n, 2), moved and scaled into a square of a `side`, their shape kept."""
    if not len(points):
        return points.astype(np.float32)
    low, high = points.min(axis=0), points.max(axis=0)
    extent = float((high - low).max())
    scaled = (points - (low + high) / 2) * (side / extent if extent > 0 else 1.0)
    return np.asarray(scaled + side / 2, np.float32)


def grid(points: NDArray[np.float32], columns: int) -> NDArray[np.int32]:
    """Return a cell of a grid for each point, no two in one, so that what is near mostly stays near.

    Cells and points are halved together, again and again, across the longer side of what is left: n log n. (The best
    assignment takes n³.)

    Parameters
    ----------
    points : float32, shape (n, 2)
    columns : int
        Columns of the grid, at least 1; it has as many rows as it needs, the last of them perhaps not full.

    Returns
    -------
    int32, shape (n, 2)
        Column and row.
    """
    cells = np.zeros((len(points), 2), np.int32)
    open_parts = [(np.arange(len(points)), 0, 0, columns, math.ceil(len(points) / columns))]
    while open_parts:
        members, left, top, wide, high = open_parts.pop()
        if len(members) <= 1 or wide * high <= 1:
            cells[members] = left, top
            continue
        axis = 0 if wide >= high else 1
        near, far = (wide // 2, wide - wide // 2) if axis == 0 else (high // 2, high - high // 2)
        order = members[np.lexsort((members, points[members, axis]))]
        room_near, room_far = (near * high, far * high) if axis == 0 else (wide * near, wide * far)
        share = round(len(members) * room_near / (room_near + room_far))
        share = min(max(share, len(members) - room_far), room_near)
        one, other = order[:share], order[share:]
        if axis == 0:
            open_parts += [(one, left, top, near, high), (other, left + near, top, far, high)]
        else:
            open_parts += [(one, left, top, wide, near), (other, left, top + near, wide, far)]
    return cells


def year_of(text: str) -> float:
    """Return the time that a piece of metadata tells, in years, NaN if it tells none.

    ``1912``, ``1912-05``, ``1912-05-12`` wherever they stand in the text, such as in ``[c. 1538?]``; of several the
    first. Years are those from 300 to 2099.
    """
    found = _YEAR.search(text)
    if found is None:
        return math.nan
    year, month, day = (int(part) if part else 1 for part in found.groups())
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return float(year)
    return year + (month - 1) / 12 + (day - 1) / 372


def timeline(years: NDArray[np.float64], order: NDArray[np.int64], ratio: float = 2.2) -> Timeline:
    """Return pictures in bars along time, `ratio` times as wide as high.

    Parameters
    ----------
    years : float64, shape (n,)
        NaN where not known.
    order : int64, shape (n,)
        The pictures in the order in which they are put upon each other.
    ratio : float
    """
    known = years[~np.isnan(years)]
    if not len(known):
        return Timeline(np.zeros((len(years), 2), np.float32), [], 0.0)
    first, last = math.floor(known.min()), math.floor(known.max())
    most = min(max(1.2 * math.sqrt(len(known)), _BARS[0]), _BARS[1])
    step = next((s for s in _STEPS if (last - first) / s < most), _STEPS[-1])
    first -= first % step
    bars = np.where(np.isnan(years), -1, (np.nan_to_num(years) - first) // step).astype(np.int64)
    many = (last - first) // step + 1
    counts = np.bincount(bars[bars >= 0], minlength=many)
    # As many pictures side by side in each bar as give the whole its proportions.
    across = max(1, round(math.sqrt(ratio * counts.max() / many)))
    pitch = across + max(1.0, across * 0.15)
    places = np.zeros((len(years), 2), np.float32)
    stacked: dict[int, int] = {}
    for picture in order.tolist():
        bar = int(bars[picture])
        height = stacked.get(bar, 0)
        stacked[bar] = height + 1
        column = bar if bar >= 0 else many + 1
        places[picture] = column * pitch + height % across, height // across
    ticks = [(bar * pitch, _title(first + bar * step, step)) for bar in range(many)]
    if -1 in stacked:
        ticks.append(((many + 1) * pitch, ""))
    return Timeline(places, ticks, float(math.ceil(max(stacked.values()) / across)))


def _title(year: int, step: int) -> str:
    return f"{year}" if step == 1 else f"{year}–{year + step - 1}"
