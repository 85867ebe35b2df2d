"""Pictures on pages: which regions a segmenter finds, which of those known count, and what lies on them.

An image on which text is found is a page; any other is all picture. What a segmenter says of a page is stored beside
what its library or a person says, and counts where these say nothing.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from index.annotations import LAYOUT, Zone
from index.answers import Query
from matcher.errors import InputError, SettingsMismatch
from matcher.images import printable, read_image
from matcher.layout import CLASSES, PICTURES
from matcher.registry import SEGMENTER, SEGMENTERS, name_in, segmenter_named
from matcher.types import Region

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from index.store import Index
    from matcher.images import Scan
    from matcher.layout import Layout, Segmenter

__all__ = ["Layouts", "Pictures", "counting", "each_region", "segmenter_of", "signature_of", "zones_known", "zones_of"]

_LETTERED = 0.05
"""Share of an image that text covers at the least if it is a page; or else there are pictures beside it: a map or a
plate bears lettering, too."""

_SAME = 0.5
"""Two zones are of the same thing when their boxes have this intersection over union."""

_CELLS = 256
"""Cells, along the long side of a page, of the grid that its pictures are drawn on."""

_MARGIN = 1
"""Cells of the grid around a picture that count as part of it: details at its edge lie on either side."""

_NEAR = 0.02
"""Share of a picture's longer side by which evidence may lie beside its box."""


def signature_of(name: str) -> str:
    """Return what the setting ``layout`` says of a segmenter, known by its name or signature; empty for none."""
    return segmenter_named(name_in(name)).signature if name else ""


def segmenter_of(signature: str) -> Segmenter:
    """Return the segmenter with a signature.

    Raises
    ------
    SettingsMismatch
        If this calque has another version of it.
    """
    name = name_in(signature)
    found = segmenter_named(name) if name in SEGMENTERS else None
    if found is None or found.signature != signature:
        has = "none of that name" if found is None else found.signature
        raise SettingsMismatch(
            f"pictures were found by {signature}, but this calque has {has}; "
            "use the calque that made the index, or make it anew"
        )
    return found


def zones_of(layout: Layout) -> tuple[Zone, ...]:
    """Return the regions of a page as zones; none if the image is no page."""
    text = np.count_nonzero(layout.labels == CLASSES.index("text")) / layout.labels.size
    if not text or (text < _LETTERED and not layout.pictures):
        return ()
    return tuple(
        Zone(
            region.kind,
            region.box,
            score=round(region.score, 4),
            origin=LAYOUT,
            polygon=None if region.polygon is None else tuple((x, y) for x, y in np.round(region.polygon, 1).tolist()),
        )
        for region in layout.regions
    )


def counting(zones: Iterable[Zone]) -> list[Zone]:
    """Return the zones that count: a segmenter's only where nobody else says anything of the same thing."""
    zones = list(zones)
    told = [zone.box for zone in zones if zone.origin != LAYOUT]
    return [zone for zone in zones if zone.origin != LAYOUT or all(zone.box.iou(box) < _SAME for box in told)]


def _pictures(zones: Iterable[Zone]) -> list[Zone]:
    return [zone for zone in counting(zones) if zone.kind in PICTURES]


class Pictures:
    """Where on an image its pictures lie.

    Parameters
    ----------
    zones : sequence of Zone
        All that is known of the image.
    width, height : int
        Its size in pixels.

    Attributes
    ----------
    zones : list of Zone
        The pictures.
    is_page : bool
        Whether there is text, too. What is no page is all picture.
    """

    def __init__(self, zones: Sequence[Zone], width: int, height: int) -> None:
        self.zones = _pictures(zones)
        self.is_page = any(zone.kind == "text" for zone in counting(zones))
        self._size = width, height

    @cached_property
    def grid(self) -> NDArray[np.uint16] | None:
        """Numbers of the pictures, from 1, the smaller over the larger, else 0; shape (rows, columns) over the whole
        image. None if it is no page."""
        if not self.is_page:
            return None
        wide, high = self._size
        factor = min(1.0, _CELLS / max(wide, high))
        grid = np.zeros((max(1, round(high * factor)), max(1, round(wide * factor))), dtype=np.uint16)
        step = np.array([grid.shape[1] / wide, grid.shape[0] / high])
        for number, zone in enumerate(sorted(self.zones, key=lambda zone: -zone.box.area), start=1):
            cv2.fillPoly(grid, [np.round((zone.outline() + 0.5) * step - 0.5).astype(np.int32)], number)
        around = np.ones((2 * _MARGIN + 1, 2 * _MARGIN + 1), np.uint8)
        return np.asarray(cv2.dilate(grid, around), dtype=np.uint16)

    def hold(self, points: NDArray) -> NDArray[np.bool_]:
        """Tell which of `points`, shape (n, 2), in pixels of the image, lie on pictures."""
        grid = self.grid
        if grid is None:
            return np.ones(len(points), np.bool_)
        rows, columns = grid.shape
        cells = ((points + 0.5) * (columns / self._size[0], rows / self._size[1])).astype(np.intp)
        return np.asarray(grid[np.clip(cells[:, 1], 0, rows - 1), np.clip(cells[:, 0], 0, columns - 1)] > 0)

    def under(self, points: NDArray) -> Zone | None:
        """Return the picture that most of `points` lie on, the smallest if it is several, None if there is none."""
        best: tuple[int, float, Zone] | None = None
        for zone in self.zones:
            within = int(np.count_nonzero(_grown(zone.box).contains(points)))
            if 2 * within > len(points) and (best is None or (within, -zone.box.area) > best[:2]):
                best = within, -zone.box.area, zone
        return None if best is None else best[2]


class Layouts:
    """Where the pictures of what is asked of an index lie: as it knows, or as its segmenter finds. For any thread."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._segmenter = segmenter_named(name_in(index.settings.layout) or SEGMENTER)

    def looker(self, path: Path, page: int) -> Callable[[Scan], Pictures]:
        """Return what tells where the pictures are on a page, when it is shown the page in colour."""
        known = zones_known(self._index, path, page)

        def look(colour: Scan) -> Pictures:
            zones = known
            if zones is None:
                try:
                    zones = zones_of(self._segmenter.segment(colour))
                except Exception as error:
                    raise InputError(
                        f"{printable(path)}: no layout was found ({type(error).__name__}: {error}); frame the picture"
                    ) from error
            return Pictures(zones, colour.width, colour.height)

        return look


def each_region(index: Index, image: str | os.PathLike[str], page: int = 0) -> list[Query]:
    """Return a query for each picture on a page: those that the index knows of it, else those found on it now.

    Their ids are kind and number of the picture: in the index, or on the page if that is not in.

    Raises
    ------
    InputError
        If the page cannot be read, or its layout cannot be found.
    """
    path = Path(image)
    pictures = _pictures(zones_known(index, path, page) or ())
    if not pictures:
        colour = read_image(path, page, gray=False, long_side=index.settings.work_size)
        pictures = Layouts(index).looker(path, page)(colour).zones
    return [
        Query(f"{zone.kind} {zone.id or number}", path, zone.box, page) for number, zone in enumerate(pictures, start=1)
    ]


def zones_known(index: Index, path: Path, page: int) -> Sequence[Zone] | None:
    """Return what an index knows of the layout of a page; None if the page, as it is now, is not in."""
    record = index.unchanged(path, page)
    return None if record is None else index.regions(record.id)


def _grown(box: Region) -> Region:
    more = _NEAR * max(box.width, box.height)
    return Region(box.x - more, box.y - more, box.width + 2 * more, box.height + 2 * more)
