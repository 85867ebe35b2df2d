"""Layouts of segmenters that know outlines only, not the class of each pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matcher.layout import Layout, painted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from matcher.layout import LayoutRegion

__all__ = ["layout_of_regions"]

_CELLS = 512
"""Cells, along the long side of a page, of the grid that regions are drawn on."""


def layout_of_regions(regions: Iterable[LayoutRegion], width: int, height: int) -> Layout:
    """Return the layout of an image of `width` × `height` pixels that regions amount to, pictures drawn over text."""
    ordered = tuple(sorted(regions, key=lambda region: -region.score))
    factor = min(1.0, _CELLS / max(width, height))
    shape = max(1, round(height * factor)), max(1, round(width * factor))
    return Layout(width, height, ordered, painted(ordered, width, height, shape))
