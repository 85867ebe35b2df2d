"""Layouts of segmenters that know outlines only, not the class of each pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from matcher.layout import CLASSES, PICTURES, Layout

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from matcher.layout import LayoutRegion

__all__ = ["layout_of_regions", "painted"]

_CELLS = 512
"""Cells, along the long side of a page, of the grid that regions are drawn on."""


def layout_of_regions(regions: Iterable[LayoutRegion], width: int, height: int) -> Layout:
    """Return the layout of an image of `width` × `height` pixels that regions amount to, pictures drawn over text."""
    ordered = tuple(sorted(regions, key=lambda region: -region.score))
    factor = min(1.0, _CELLS / max(width, height))
    shape = max(1, round(height * factor)), max(1, round(width * factor))
    return Layout(width, height, ordered, painted(ordered, width, height, shape))


def painted(regions: Iterable[LayoutRegion], width: int, height: int, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Draw regions as a grid of classes, pictures over text, whatever the order: a block often holds an initial.

    Parameters
    ----------
    regions : iterable of LayoutRegion
    width, height : int
        Size of the image in pixels.
    shape : (int, int)
        Rows and columns of the grid.

    Returns
    -------
    uint8, shape `shape`
        Places in `matcher.layout.CLASSES`.
    """
    labels = np.zeros(shape, dtype=np.uint8)
    step = np.array([shape[1] / width, shape[0] / height])
    for region in sorted(regions, key=lambda region: region.kind in PICTURES):
        outline = np.round((region.outline() + 0.5) * step - 0.5).astype(np.int32)
        cv2.fillPoly(labels, [outline], CLASSES.index(region.kind))
    return labels
