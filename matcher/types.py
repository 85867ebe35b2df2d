"""The typed containers that the rooms of the house hand to each other.

Coordinates are pixels of the original image after its EXIF turn: x to the right, y down, pixel centres at
integers. Boxes are ``x, y, width, height``. Angles are degrees, clockwise as seen on the screen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Features", "Match", "Region", "Relation", "Transform"]

Relation = Literal["same", "mirrored", "inverted", "mirrored+inverted"]


def _frozen(array: NDArray, dtype: type, shape: tuple[int | None, ...], name: str) -> NDArray:
    """Return `array` as a read-only C-contiguous array of `dtype`, checked against `shape` (None: any)."""
    fixed: NDArray = np.ascontiguousarray(array, dtype=dtype)
    if fixed.ndim != len(shape) or any(want not in (None, got) for want, got in zip(shape, fixed.shape, strict=True)):
        raise ValueError(f"{name} has shape {fixed.shape}, expected {shape}")
    if fixed is array and fixed.flags.writeable:
        fixed = fixed.view()
    fixed.flags.writeable = False
    return fixed


@dataclass(frozen=True, slots=True)
class Region:
    """A box in pixels: left edge, top edge, width, height."""

    x: float
    y: float
    width: float
    height: float

    def __post_init__(self) -> None:
        if not (self.width > 0 and self.height > 0) or not all(
            math.isfinite(v) for v in (self.x, self.y, self.width, self.height)
        ):
            raise ValueError(f"a region needs finite numbers and a positive size, got {self.as_list()}")

    @property
    def area(self) -> float:
        """Area in square pixels."""
        return self.width * self.height

    def as_list(self) -> list[float]:
        """Return ``[x, y, width, height]``."""
        return [self.x, self.y, self.width, self.height]

    def clipped(self, width: float, height: float) -> Region | None:
        """Return the part of the region inside an image of `width` × `height` pixels, None if there is none."""
        left, top = max(self.x, 0.0), max(self.y, 0.0)
        right, bottom = min(self.x + self.width, width), min(self.y + self.height, height)
        if right <= left or bottom <= top:
            return None
        return Region(left, top, right - left, bottom - top)

    def iou(self, other: Region) -> float:
        """Return intersection over union with `other`, 0 to 1."""
        wide = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        high = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        if wide <= 0 or high <= 0:
            return 0.0
        shared = wide * high
        return shared / (self.area + other.area - shared)

    def corners(self) -> NDArray[np.float64]:
        """Return the corners, shape (4, 2), clockwise from the top left."""
        x, y, w, h = self.as_list()
        return np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h]])

    def contains(self, points: NDArray) -> NDArray[np.bool_]:
        """Return which of `points`, shape (n, 2), lie inside."""
        inside = (points[:, 0] >= self.x) & (points[:, 0] < self.x + self.width)
        inside &= (points[:, 1] >= self.y) & (points[:, 1] < self.y + self.height)
        return inside


@dataclass(frozen=True, slots=True)
class Features:
    """Local features of one image.

    Attributes
    ----------
    points : float32, shape (n, 2)
        Keypoint centres in pixels of the original image.
    sizes : float32, shape (n,)
        Keypoint diameters in pixels of the original image.
    angles : float32, shape (n,)
        Dominant orientations in degrees, [0, 360), clockwise.
    responses : float32, shape (n,)
        Detector strength; comparable within one image only.
    descriptors : float32, shape (n, d)
        Unit-length descriptors.
    width, height : int
        Size of the original image in pixels.
    """

    points: NDArray[np.float32]
    sizes: NDArray[np.float32]
    angles: NDArray[np.float32]
    responses: NDArray[np.float32]
    descriptors: NDArray[np.float32]
    width: int
    height: int

    def __post_init__(self) -> None:
        n = len(self.points)
        for name, shape in (
            ("points", (n, 2)),
            ("sizes", (n,)),
            ("angles", (n,)),
            ("responses", (n,)),
            ("descriptors", (n, None)),
        ):
            object.__setattr__(self, name, _frozen(getattr(self, name), np.float32, shape, name))

    def __len__(self) -> int:
        return len(self.points)

    def take(self, which: NDArray | slice) -> Features:
        """Return the features selected by an index or boolean array, or a slice."""
        return Features(
            self.points[which],
            self.sizes[which],
            self.angles[which],
            self.responses[which],
            self.descriptors[which],
            self.width,
            self.height,
        )


@dataclass(frozen=True, slots=True)
class Transform:
    """A plane projective map from query pixels to hit pixels, ``matrix`` of shape (3, 3) with ``m[2, 2] = 1``."""

    matrix: NDArray[np.float64]

    def __post_init__(self) -> None:
        object.__setattr__(self, "matrix", _frozen(self.matrix, np.float64, (3, 3), "matrix"))

    def apply(self, points: NDArray) -> NDArray[np.float64]:
        """Map `points`, shape (n, 2)."""
        mapped = np.column_stack([points, np.ones(len(points))]) @ self.matrix.T
        return np.asarray(mapped[:, :2] / mapped[:, 2:])

    def inverse(self) -> Transform:
        """Return the map from hit pixels to query pixels."""
        inverted = np.linalg.inv(self.matrix)
        return Transform(inverted / inverted[2, 2])

    def jacobian(self, x: float, y: float) -> NDArray[np.float64]:
        """Return the local 2 × 2 derivative at (`x`, `y`)."""
        m = self.matrix
        u, v, w = m @ np.array([x, y, 1.0])
        return np.array(
            [
                [(m[0, 0] * w - m[2, 0] * u) / w**2, (m[0, 1] * w - m[2, 1] * u) / w**2],
                [(m[1, 0] * w - m[2, 0] * v) / w**2, (m[1, 1] * w - m[2, 1] * v) / w**2],
            ]
        )

    @property
    def mirrored(self) -> bool:
        """Whether the map turns the plane over."""
        return bool(np.linalg.det(self.matrix[:2, :2]) < 0)


@dataclass(frozen=True, slots=True)
class Match:
    """One verified place where the query is found again on another image.

    Attributes
    ----------
    transform : Transform
        From query pixels to image pixels.
    relation : str
        ``same``, ``mirrored`` (left and right exchanged), ``inverted`` (negative) or ``mirrored+inverted``.
    rotation : float
        Degrees, clockwise, (-180, 180], by which the query (mirrored first, where the relation says so) is turned.
    scale : float
        Size on the image over size on the query.
    polygon : float64, shape (4, 2)
        The query region's corners on the image, clockwise from the query's top left.
    query_points, image_points : float32, shape (k, 2)
        The inliers' places, one to one.
    inliers : int
        One-to-one inliers in distinct cells: the evidence counted.
    log_false_alarms : float
        log10 of the false alarms expected for one image compared.
    """

    transform: Transform
    relation: Relation
    rotation: float
    scale: float
    polygon: NDArray[np.float64]
    query_points: NDArray[np.float32]
    image_points: NDArray[np.float32]
    inliers: int
    log_false_alarms: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "polygon", _frozen(self.polygon, np.float64, (4, 2), "polygon"))
        k = len(self.query_points)
        for name in ("query_points", "image_points"):
            object.__setattr__(self, name, _frozen(getattr(self, name), np.float32, (k, 2), name))

    @property
    def region(self) -> Region:
        """The box around `polygon`."""
        low, high = self.polygon.min(axis=0), self.polygon.max(axis=0)
        return Region(float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1]))
