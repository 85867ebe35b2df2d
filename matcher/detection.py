"""What things are in a picture, and where: boxes with labels, outlines where there are any, whatever found them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from matcher.errors import InputError
from matcher.types import Region

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from matcher.images import Scan
    from matcher.types import Transform

    Polygon = NDArray[np.float64]

__all__ = [
    "BatchDetector",
    "Detection",
    "Detector",
    "Outliner",
    "box_around",
    "detect_all",
    "detections_at_once",
    "mask_of",
    "polygon_area",
    "polygons_of",
    "surest_first",
    "takes_no_phrases",
]

_LEAST_PART = 1e-3
"""Parts of a mask smaller than this share of its largest are specks."""

_CUT = 1.0
"""Half pixels by which the outline of a mask may leave its edges: enough for stairs to become slopes."""

_SHORT = 80
"""Half pixels of an outline that is left as it is."""


@dataclass(frozen=True, slots=True)
class Detection:
    """A thing in a picture.

    Attributes
    ----------
    box : Region
        In pixels of the original image, clipped to it.
    label : str
        What it is: the name of a class, or the phrase that was asked for.
    score : float
        How sure, 0 to 1.
    polygons : tuple of float64 arrays, shape (n, 2)
        Its outline in pixels of the original image, where the detector tells more than the box: a polygon for each
        part of it and for each hole in one. What lies in an odd number of them is inside (`mask_of`).
    landmarks : float64, shape (k, 2), or None
        Its landmarks in pixels of the original image; of a face the right eye, the left eye, the tip of the nose, the
        right and the left corner of the mouth (right and left are the person's).
    """

    box: Region
    label: str
    score: float
    polygons: tuple[Polygon, ...] = ()
    landmarks: Polygon | None = None

    def outline(self) -> Polygon:
        """Return the largest polygon, or the corners of the box where there is none, shape (n, 2)."""
        return max(self.polygons, key=polygon_area, default=self.box.corners())

    @property
    def area(self) -> float:
        """Square pixels inside the outline, or inside the box where there is none."""
        if not self.polygons:
            return self.box.area
        return sum(
            polygon_area(polygon)
            * (-1.0) ** sum(_holds(other, polygon) for other in self.polygons if other is not polygon)
            for polygon in self.polygons
        )

    def moved(self, transform: Transform) -> Detection:
        """Return the detection on an image that `transform` maps its own to; the box is the one around what it was."""
        polygons = tuple(transform.apply(polygon) for polygon in self.polygons)
        corners = np.vstack(polygons) if polygons else transform.apply(self.box.corners())
        landmarks = None if self.landmarks is None else transform.apply(self.landmarks)
        return replace(self, box=box_around(corners), polygons=polygons, landmarks=landmarks)


class Detector(Protocol):
    """What finds things in a picture."""

    @property
    def signature(self) -> str:
        """Name, version and parameters: what an index records of where its detections are from."""

    @property
    def labels(self) -> tuple[str, ...] | None:
        """The names of all classes that it knows; None if it looks for phrases."""

    @property
    def usual_score(self) -> float:
        """How sure it must be of a thing to tell it, where nothing else is asked for, 0 to 1."""

    def detect(self, scan: Scan, min_score: float | None = None, phrases: Sequence[str] = ()) -> list[Detection]:
        """Return what is on `scan`, in colour (RGB) and of any size, the surest first.

        Parameters
        ----------
        scan : Scan
        min_score : float, optional
            How sure it must be of a thing to tell it, 0 to 1; by default `usual_score`.
        phrases : sequence of str
            What to look for; a detector with `labels` looks for all of them, and takes none.

        Raises
        ------
        InputError
            If there are phrases and it takes none, or none and it needs some.
        """


@runtime_checkable
class BatchDetector(Detector, Protocol):
    """A detector that may do better with several images at a time."""

    @property
    def at_once(self) -> int:
        """How many it had best be given at a time."""

    def detect_all(
        self, scans: Sequence[Scan], min_score: float | None = None, phrases: Sequence[str] = ()
    ) -> list[list[Detection]]:
        """Return what `detect` returns of each."""


class Outliner(Protocol):
    """What finds the outline of one thing that is pointed at."""

    @property
    def signature(self) -> str:
        """Name, version and parameters."""

    def outline(
        self, scan: Scan, boxes: Sequence[Region], points: Sequence[tuple[float, float]] = ()
    ) -> list[Detection]:
        """Return the thing in each of `boxes`, and the one at each of `points`, in pixels of the original image.

        Their labels are empty; ``score`` is how well the outline fits by its own account, 0 to 1. A thing of which
        nothing is seen has the box, or the pixel, as its outline, and the score 0.
        """


def detections_at_once(detector: Detector) -> int:
    """Return how many images a detector had best be given at a time."""
    return detector.at_once if isinstance(detector, BatchDetector) else 1


def detect_all(
    detector: Detector, scans: Sequence[Scan], min_score: float | None = None, phrases: Sequence[str] = ()
) -> list[list[Detection]]:
    """Return what a detector's `detect` returns of each of several scans, together where it can."""
    if isinstance(detector, BatchDetector):
        return detector.detect_all(scans, min_score, phrases)
    return [detector.detect(scan, min_score, phrases) for scan in scans]


def takes_no_phrases(name: str, phrases: Sequence[str]) -> None:
    """Raise `InputError` if a detector that knows classes only is given phrases."""
    if phrases:
        raise InputError(
            f"the detector {name!r} knows classes, and looks for no phrase; leave out {phrases[0]!r}, or name one that "
            "does: owlv2, grounding-dino, clipseg"
        )


def surest_first(found: Iterable[Detection]) -> list[Detection]:
    """Return detections by decreasing score; equal ones by label and place, for the order to be always the same."""
    return sorted(found, key=lambda one: (-one.score, one.label, one.box.as_list()))


def box_around(points: NDArray) -> Region:
    """Return the box around points, shape (n, 2); `ValueError` if they lie on an upright line."""
    low, high = points.min(axis=0), points.max(axis=0)
    return Region(float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1]))


def polygons_of(mask: NDArray, scale_x: float = 1.0, scale_y: float = 1.0) -> tuple[Polygon, ...]:
    """Return the outlines of a mask in pixels of the original image, one for each part and each hole, largest first.

    Parameters
    ----------
    mask : bool, shape (h, w)
    scale_x, scale_y : float
        Original pixels per pixel of the mask.

    Notes
    -----
    Outlines run along the outer edges of pixels, half a pixel from their centres, and cut corners by at most half
    a pixel of the mask where they are long. Specks are left out.
    """
    polygons = [points / 2 * (scale_x, scale_y) - 0.5 for points in _edges_of(mask.astype(np.uint8))]
    least = _LEAST_PART * max(map(polygon_area, polygons), default=0.0)
    return tuple(
        sorted((polygon for polygon in polygons if polygon_area(polygon) > least), key=polygon_area, reverse=True)
    )


def _edges_of(mask: NDArray[np.uint8]) -> list[Polygon]:
    """Return the outlines of a mask, of 0 and 1, in half pixels from its upper left corner."""
    import cv2  # not at the top: who only reads detections can spare it

    rows, columns = mask.shape
    # On a grid of twice as many cells, pixels that overlap by one: contours pass through what were their edges.
    grid = np.zeros((2 * rows + 1, 2 * columns + 1), np.uint8)
    grid[1::2, 1::2] = mask
    grid = np.asarray(cv2.dilate(grid, np.ones((3, 3), np.uint8)))
    found, _ = cv2.findContours(grid, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    polygons = [
        (cv2.approxPolyDP(contour, _CUT, True) if cv2.arcLength(contour, True) > _SHORT else contour)[:, 0]
        for contour in found
    ]
    # Holes have outlines as parts have, and may have parts in them; of their own accord contours cut holes' corners.
    filled = cv2.drawContours(np.zeros_like(grid), found, -1, 1, cv2.FILLED)[1::2, 1::2]
    holes = np.asarray((filled > 0) & (mask == 0), np.uint8)
    return [polygon.astype(np.float64) for polygon in polygons] + (_edges_of(holes) if holes.any() else [])


def mask_of(
    polygons: Sequence[NDArray], shape: tuple[int, int], scale_x: float = 1.0, scale_y: float = 1.0
) -> NDArray[np.bool_]:
    """Return which pixels of a grid lie inside an odd number of polygons in pixels of the original image.

    Parameters
    ----------
    polygons : sequence of arrays, shape (n, 2)
    shape : (int, int)
        Rows and columns of the grid.
    scale_x, scale_y : float
        Original pixels per cell of the grid.
    """
    from skimage.draw import polygon2mask  # half a second, which who only makes outlines can spare

    grid = np.zeros(shape, np.bool_)
    for polygon in polygons:
        points = (np.asarray(polygon, np.float64) + 0.5) / (scale_x, scale_y) - 0.5
        grid ^= polygon2mask(shape, points[:, ::-1])  # type: ignore[no-untyped-call]
    return grid


def polygon_area(polygon: NDArray) -> float:
    """Return the area of a polygon, shape (n, 2)."""
    x, y = polygon[:, 0], polygon[:, 1]
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def _holds(outer: NDArray, inner: NDArray) -> bool:
    """Tell whether a polygon holds the first corner of another."""
    import cv2

    x, y = map(float, inner[0])
    return bool(cv2.pointPolygonTest(outer.astype(np.float32), (x, y), False) > 0)
