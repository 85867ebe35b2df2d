"""How large a thing is: area, length, width, outline, in pixels, and in millimetres where these are known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from matcher.detection import Detection

__all__ = ["Measures", "centre_line", "measured"]


class Measures(NamedTuple):
    """How large a thing is, in some unit of length.

    Attributes
    ----------
    area : float
        Inside the outline, or the box where there is none.
    length, width : float
        Sides of the smallest rectangle around it, turned at will; of a box its own sides.
    ratio : float
        Length over width, 1 or more.
    perimeter : float
        Of the outline and of the holes in it.
    """

    area: float
    length: float
    width: float
    ratio: float
    perimeter: float


def measured(thing: Detection, per_x: float = 1.0, per_y: float = 1.0) -> Measures:
    """Measure a thing.

    Parameters
    ----------
    thing : Detection
    per_x, per_y : float
        Pixels in a unit of length, across and down.
    """
    step = 1 / np.array([per_x, per_y])
    outlines: Sequence[NDArray[np.float64]] = [np.asarray(outline) * step for outline in thing.polygons]
    if outlines:
        (_, sides, _) = cv2.minAreaRect(np.vstack(outlines).astype(np.float32))
        long, short = max(sides), min(sides)
        around = sum(float(np.linalg.norm(one - np.roll(one, 1, axis=0), axis=1).sum()) for one in outlines)
    else:
        wide, high = thing.box.width * step[0], thing.box.height * step[1]
        long, short, around = max(wide, high), min(wide, high), 2 * (wide + high)
    area = thing.area * step[0] * step[1]
    return Measures(float(area), float(long), float(short), float(long / max(short, 1e-9)), float(around))


def centre_line(mask: NDArray[np.bool_], per_x: float = 1.0, per_y: float = 1.0) -> float:
    """Return the length of the centre line of what is thin and branches, such as a crack.

    Parameters
    ----------
    mask : bool, shape (h, w)
    per_x, per_y : float
        Pixels in a unit of length, across and down.

    Notes
    -----
    The mask is thinned to lines (Zhang and Suen 1984); each pixel of these adds its steps to its eight neighbours,
    without those that go round a corner.
    """
    from skimage import morphology

    thinned: Any = morphology.skeletonize  # which carries no types
    line: NDArray[np.bool_] = np.pad(np.asarray(thinned(mask), np.bool_), 1)
    straight_x = line[:, 1:] & line[:, :-1]
    straight_y = line[1:] & line[:-1]
    down = line[1:, 1:] & line[:-1, :-1] & ~(line[1:, :-1] | line[:-1, 1:])
    up = line[1:, :-1] & line[:-1, 1:] & ~(line[1:, 1:] | line[:-1, :-1])
    slanted = int(down.sum()) + int(up.sum())
    steps = straight_x.sum() / per_x + straight_y.sum() / per_y
    # A line of n pixels is n long, not n - 1.
    return float(steps + slanted * np.hypot(1 / per_x, 1 / per_y) + 2 / (per_x + per_y) * bool(line.any()))
