"""What lies where on a page: the regions of pictures and of text, whichever segmenter found them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from matcher.images import Scan
    from matcher.types import Region

__all__ = ["CLASSES", "PICTURES", "Layout", "LayoutRegion", "Segmenter", "painted"]

CLASSES = ("background", "text", "illustration", "ornament", "initial")
"""What a pixel of a page belongs to; the number of a class is its place here."""

PICTURES = CLASSES[2:]
"""The classes that are pictures."""


@dataclass(frozen=True, slots=True)
class LayoutRegion:
    """One thing on a page.

    Attributes
    ----------
    kind : str
        One of `CLASSES`, not background.
    box : Region
        In pixels of the original image.
    score : float
        How sure, 0 to 1.
    polygon : float64, shape (n, 2), or None
        Its outline in pixels of the original image, where that is more than the box.
    """

    kind: str
    box: Region
    score: float = 1.0
    polygon: NDArray[np.float64] | None = None

    def outline(self) -> NDArray[np.float64]:
        """Return the polygon, or the corners of the box where there is none."""
        return self.box.corners() if self.polygon is None else self.polygon


@dataclass(frozen=True, slots=True)
class Layout:
    """What lies where on one page.

    Attributes
    ----------
    width, height : int
        Size of the original image in pixels.
    regions : tuple of LayoutRegion
        Pictures and blocks of text, the surest first.
    labels : uint8, shape (h, w)
        The class of each cell of a grid over the whole image, coarser than its pixels, as a place in `CLASSES`.
    """

    width: int
    height: int
    regions: tuple[LayoutRegion, ...]
    labels: NDArray[np.uint8]

    @property
    def pictures(self) -> tuple[LayoutRegion, ...]:
        """The regions that are pictures."""
        return tuple(region for region in self.regions if region.kind in PICTURES)

    def labels_at(self, points: NDArray) -> NDArray[np.uint8]:
        """Return the classes at `points`, shape (n, 2), in pixels of the original image."""
        high, wide = self.labels.shape
        cells = ((points + 0.5) * (wide / self.width, high / self.height)).astype(np.intp)
        return np.asarray(self.labels[np.clip(cells[:, 1], 0, high - 1), np.clip(cells[:, 0], 0, wide - 1)])


class Segmenter(Protocol):
    """What finds the regions of a page."""

    @property
    def signature(self) -> str:
        """Name, version and parameters: what an index records of where its regions are from."""

    def segment(self, scan: Scan) -> Layout:
        """Return what lies where on `scan`, in colour (RGB) and of any size."""


def painted(
    regions: Sequence[LayoutRegion], width: int, height: int, shape: tuple[int, int], *, inner: Sequence[str] = PICTURES
) -> NDArray[np.uint8]:
    """Draw regions as a grid of classes, for segmenters that know outlines only.

    Parameters
    ----------
    regions : sequence of LayoutRegion
    width, height : int
        Size of the image in pixels.
    shape : (int, int)
        Rows and columns of the grid.
    inner : sequence of str
        Kinds drawn over the others, whatever the order: a block of text often holds an initial.

    Returns
    -------
    uint8, shape `shape`
    """
    labels = np.zeros(shape, dtype=np.uint8)
    step = np.array([shape[1] / width, shape[0] / height])
    for region in sorted(regions, key=lambda region: region.kind in inner):
        outline = np.round((region.outline() + 0.5) * step - 0.5).astype(np.int32)
        cv2.fillPoly(labels, [outline], CLASSES.index(region.kind))
    return labels
