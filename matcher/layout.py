"""What lies where on a page: the regions of pictures and of text, whichever segmenter found them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from matcher.images import Scan
    from matcher.types import Region

__all__ = ["CLASSES", "PICTURES", "Layout", "LayoutRegion", "Segmenter"]

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


class Segmenter(Protocol):
    """What finds the regions of a page."""

    @property
    def signature(self) -> str:
        """Name, version and parameters: what an index records of where its regions are from."""

    def segment(self, scan: Scan) -> Layout:
        """Return what lies where on `scan`, in colour (RGB) and of any size."""
