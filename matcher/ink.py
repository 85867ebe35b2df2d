"""The ink of two registered prints, held against each other: lines, their gaps, how heavily they are inked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

from matcher.tones import filtered_like, ink_depth

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Gap", "GapKind", "Lines", "gaps", "lines_of", "share_met"]

GapKind = Literal["broken", "shortened", "missing"]

_SURE = 0.5
"""Depth of ink from which a pixel certainly prints."""

_FAINT, _LEFT = 0.25, 0.45
"""Depth of ink that must be expected for its absence to count, and the share of it below which it is absent."""

_APART = 1.6
"""How far, in pixels of the coarser scan, a line's partner may lie from it."""

_RIM = 0.01
"""Share of the longer side at the picture's rim that is left alone."""

_SHORTEST = 3.0
"""Gaps shorter than this many pixels of the coarser scan are grain."""


@dataclass(frozen=True, slots=True)
class Lines:
    """The ink of one picture.

    Attributes
    ----------
    depth : float32, shape (h, w)
        0 paper, 1 ink.
    centre : bool, shape (h, w)
        Middles of whatever certainly prints, one pixel wide.
    coverage : float
        Share of the picture that certainly prints.
    thickness : float
        Mean thickness of the lines in pixels.
    """

    depth: NDArray[np.float32]
    centre: NDArray[np.bool_]
    coverage: float
    thickness: float


@dataclass(frozen=True, slots=True)
class Gap:
    """A piece of line that one picture has and the other has not.

    Attributes
    ----------
    box : (int, int, int, int)
        Left, top, width and height in pixels of the picture.
    length : float
        Along the line, in the same pixels.
    kind : str
        ``broken``: the line goes on at both ends. ``shortened``: at one. ``missing``: nowhere.
    """

    box: tuple[int, int, int, int]
    length: float
    kind: GapKind


def lines_of(picture: NDArray[np.uint8], valid: NDArray[np.bool_], pixel: float) -> Lines:
    """Return the lines of a grey `picture`, where `valid`; `pixel`: of the coarser scan, in pixels of the picture."""
    reach = max(3, round(0.05 * max(picture.shape)))
    depth = ink_depth(picture, valid, reach)
    inked = (cv2.GaussianBlur(depth, (0, 0), 0.4 * pixel) > _SURE).astype(np.uint8)
    centre = (cv2.ximgproc.thinning(inked * 255) > 0) & valid
    area, length = int(inked.sum()), int(centre.sum())
    return Lines(depth, centre, area / max(int(valid.sum()), 1), area / max(length, 1))


def share_met(lines: Lines, others: Lines, valid: NDArray[np.bool_], pixel: float) -> float:
    """Return the share of the middles of `lines` that have ink of `others` beside them; 1 where there are none."""
    asked = lines.centre & valid
    return 1.0 - float((asked & _unmet(lines, others, valid, pixel)).sum()) / max(int(asked.sum()), 1)


def gaps(lines: Lines, others: Lines, valid: NDArray[np.bool_], pixel: float) -> tuple[NDArray[np.int32], list[Gap]]:
    """Find the lines that `others` lack.

    Parameters
    ----------
    lines, others : Lines
        Of two registered pictures.
    valid : bool, shape (h, w)
        Where both have pixels.
    pixel : float
        Of the coarser scan, in pixels of the pictures.

    Returns
    -------
    labels : int32, shape (h, w)
        On the lines' middles the number of the gap, from 1; elsewhere 0.
    gaps : list of Gap
        By number.
    """
    rim = 2 * round(max(2 * pixel, _RIM * max(valid.shape))) + 1  # where frames cut through letters and borders
    inner = (
        cv2.erode(valid.astype(np.uint8), np.ones((rim, rim), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
        > 0
    )
    alone = lines.centre & inner & _unmet(lines, others, valid, pixel)
    joined = cv2.morphologyEx(alone.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    kept = lines.centre & ~alone
    labels, found = np.zeros(valid.shape, np.int32), []
    least = max(_SHORTEST * pixel, 0.8 * others.thickness)
    for piece in range(1, count):
        left, top, wide, high = (int(v) for v in stats[piece, :4])
        window = (slice(max(0, top - 2), top + high + 2), slice(max(0, left - 2), left + wide + 2))
        own = (pieces[window] == piece) & alone[window]
        length = float(own.sum())
        if length < least:
            continue
        around = cv2.dilate(own.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        ends = cv2.connectedComponents((around & kept[window]).astype(np.uint8), connectivity=8)[0] - 1
        kind: GapKind = "broken" if ends > 1 else "shortened" if ends == 1 else "missing"
        found.append(Gap((left, top, wide, high), length, kind))
        labels[window][own] = len(found)
    return labels, found


def _unmet(lines: Lines, others: Lines, valid: NDArray[np.bool_], pixel: float) -> NDArray[np.bool_]:
    """Return the pixels where `others` show nothing within reach of what `lines` lead to expect of them.

    What is expected is `lines` softened and faded as `others` are on the whole, so that a starved or blurred print
    does not seem broken everywhere.
    """
    expected = filtered_like(others.depth, lines.depth, valid, pixel)
    reach = 2 * round(_APART * pixel) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    shown = cv2.dilate(cv2.GaussianBlur(others.depth, (0, 0), 0.4 * pixel), disc)
    return np.asarray((expected > _FAINT) & (shown < _LEFT * expected))
