"""From a question to its features: reading the query, cutting out its region, turning it into each relation's."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from index.verification import RELATIONS
from matcher.errors import InputError
from matcher.images import Scan, read_image
from matcher.registry import FramingExtractor, Sight, extract_all
from matcher.types import Features, Region

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from index.answers import Query
    from index.regions import Pictures
    from matcher.registry import Extractor
    from matcher.selection import PictureFinder
    from matcher.types import Relation

__all__ = ["QUERY_FEATURES", "Extracted", "extract"]

QUERY_FEATURES = 2500
"""Features of a query that are compared with an image of the short list; the strongest vote."""

_MARGIN = 32
"""Pixels around a region that its features may see."""

_SMALL = 640
"""A region is extracted at least this many pixels long, if the image has them."""

_LARGE = 0.45
"""Part of the working size that a region is extracted at, at the most, by an extractor that frames: an engraving has
five times `QUERY_FEATURES` features then. Coarser ones tell it as surely (blocks, dev: 86 of 86 found, mean score 81.9
at 720 pixels, 80.9 at 1,600), in two thirds of the time."""


_NEAR_OUTLINE = 0.02
"""Share of a thing's longer side by which its details may lie beside its outline, which is never exact."""


class Extracted(NamedTuple):
    """A query's features, strongest first, as each relation has it, its region and the seconds that this took.

    `pictures` tells where its pictures lie, if it is a whole page whose layout was looked at.
    """

    features: dict[Relation, Features]
    region: Region
    seconds: float
    pictures: Pictures | None = None


def extract(
    query: Query,
    extractor: Extractor,
    work_size: int,
    relations: Sequence[Relation],
    look: Callable[[Scan], Pictures] | None = None,
    threads: int = 1,
) -> Extracted:
    """Read a query and extract its features as each of `relations` would have it.

    `look` tells where the pictures are on a whole image, shown to it in colour, that may be a page. `threads` are
    OpenCV's.
    """
    start = time.perf_counter()
    cv2.setNumThreads(threads)
    looking: _Looking | None = None
    if query.region is None:
        scan = read_image(query.image, query.page, gray=look is None, long_side=work_size)
        if look is not None:
            looking, scan = _Looking(look, scan), scan.gray()
        region = Region(0, 0, scan.width, scan.height)
    else:
        scan = read_image(query.image, query.page)
        inside = query.region.clipped(scan.width, scan.height)
        if inside is None:
            raise InputError(
                f"{query.image}: region {_plain(query.region)} lies outside the image, which is "
                f"{scan.width} x {scan.height} pixels; give X,Y,WIDTH,HEIGHT within it"
            )
        region = inside
    size = None if query.region is None else work_size
    outlines = tuple(np.array(outline, np.float64) for outline in query.outlines)
    (plain,) = _strongest([_View(scan, region, None if looking is None else looking.grid, outlines)], extractor, size)
    wanted = [relation for relation in RELATIONS if relation in relations]
    turned = {relation: plain if relation == "same" else extractor.turned(plain, relation) for relation in wanted}
    views = {
        relation: _shown(scan, region, relation, looking, outlines) for relation in wanted if turned[relation] is None
    }
    seen = dict(zip(views, _strongest(list(views.values()), extractor, size), strict=True))
    features = {relation: seen[relation] if found is None else found for relation, found in turned.items()}
    return Extracted(features, region, time.perf_counter() - start, looking.pictures if looking else None)


class _View(NamedTuple):
    """A query as one of the relations has it: an image, a region on it, what tells where its pictures are; outlines of
    what is asked for in the region, if it is not all."""

    scan: Scan
    region: Region
    pictures: PictureFinder | None
    outlines: tuple[NDArray, ...] = ()


class _Looking:
    """Looks where the pictures of an image are once an extractor asks for them."""

    def __init__(self, look: Callable[[Scan], Pictures], colour: Scan) -> None:
        self._look = look
        self._colour = colour
        self.pictures: Pictures | None = None

    def grid(self) -> NDArray[np.integer] | None:
        """Return where they are, as `matcher.selection.select` wants it."""
        if self.pictures is None:
            self.pictures = self._look(self._colour)
        return self.pictures.grid

    def mirrored(self) -> NDArray[np.integer] | None:
        """Return where they are on the mirrored image."""
        grid = self.grid()
        return None if grid is None else grid[:, ::-1]


def _shown(
    scan: Scan, region: Region, relation: Relation, looking: _Looking | None, outlines: tuple[NDArray, ...]
) -> _View:
    """Return an image and a region on it as a mirrored or negative copy shows them."""
    pixels = scan.pixels
    if "mirrored" in relation:
        pixels = pixels[:, ::-1]
        region = replace(region, x=scan.width - 1 - region.x - region.width)
        outlines = tuple(np.column_stack([scan.width - 1 - outline[:, 0], outline[:, 1]]) for outline in outlines)
    if "inverted" in relation:
        pixels = 255 - pixels
    pictures = None if looking is None else looking.mirrored if "mirrored" in relation else looking.grid
    return _View(replace(scan, pixels=np.ascontiguousarray(pixels)), region, pictures, outlines)


def _strongest(views: Sequence[_View], extractor: Extractor, work_size: int | None) -> list[Features]:
    """Return the features of a query as each of `views` has it, strongest first.

    `work_size` is given if only what is inside the region is asked for: see `_cut`.
    """
    if work_size is None:
        found = extract_all(extractor, [Sight(view.scan, None, view.pictures) for view in views])
    else:
        largest = work_size * (_LARGE if isinstance(extractor, FramingExtractor) else 1.0)
        cuts = [_cut(view.scan, view.region, work_size, largest) for view in views]
        # What a user has framed is the picture: nothing in it counts as type.
        if isinstance(extractor, FramingExtractor):
            inside = [
                extractor.framed(cut.scan, cut.own(view.region), QUERY_FEATURES)
                for view, cut in zip(views, cuts, strict=True)
            ]
        else:
            inside = extract_all(extractor.unweighted(), [Sight(cut.scan) for cut in cuts])
        found = [_laid_back(*each) for each in zip(views, cuts, inside, strict=True)]
    strengths = (features.responses * features.sizes for features in found)
    return [
        features.take(np.argsort(-strength, kind="stable")[:QUERY_FEATURES])
        for features, strength in zip(found, strengths, strict=True)
    ]


def _plain(region: Region) -> str:
    return ",".join(f"{value:g}" for value in region.as_list())


class _Cut(NamedTuple):
    """A part of an image, and where its left upper corner is."""

    scan: Scan
    left: int
    top: int

    def own(self, region: Region) -> Region:
        """Return a region of the image in the cut's own pixels."""
        return replace(region, x=region.x - self.left, y=region.y - self.top)


def _cut(scan: Scan, region: Region, work_size: int, largest: float) -> _Cut:
    """Cut `region` out with what lies around it, at the size at which its image would be indexed, if small larger, but
    at most `largest` pixels long."""
    longest = max(region.width, region.height)
    indexed = min(1.0, work_size / max(scan.width, scan.height))
    shrink = min(1.0, max(longest * indexed, min(longest, _SMALL)) / longest, largest / longest)
    margin = math.ceil(_MARGIN / shrink)
    left, top = max(0, int(region.x) - margin), max(0, int(region.y) - margin)
    right = min(scan.width, math.ceil(region.x + region.width) + margin)
    bottom = min(scan.height, math.ceil(region.y + region.height) + margin)
    pixels: NDArray = scan.pixels[top:bottom, left:right]
    if shrink < 1:
        size = (max(1, round((right - left) * shrink)), max(1, round((bottom - top) * shrink)))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    height, width = pixels.shape
    part = Scan(pixels, right - left, bottom - top, (right - left) / width, (bottom - top) / height)
    return _Cut(part, left, top)


def _laid_back(view: _View, cut: _Cut, features: Features) -> Features:
    """Return the features of a cut that lie inside the region, in pixels of the whole image."""
    points = features.points + np.array([cut.left, cut.top], dtype=np.float32)
    moved = replace(features, points=points, width=view.scan.width, height=view.scan.height)
    return moved.take(view.region.contains(moved.points) & _asked_for(view.outlines, moved.points))


def _asked_for(outlines: Sequence[NDArray], points: NDArray) -> NDArray[np.bool_]:
    """Tell which of `points`, shape (n, 2), lie in an odd number of outlines or near one; all if there are none."""
    if not outlines:
        return np.ones(len(points), np.bool_)
    corners = np.vstack(outlines)
    near = _NEAR_OUTLINE * float(np.ptp(corners, axis=0).max())
    drawn = [outline.astype(np.float32) for outline in outlines]
    depth = np.array([[cv2.pointPolygonTest(o, (float(x), float(y)), True) for o in drawn] for x, y in points])
    depth = depth.reshape(len(points), len(drawn))
    return np.asarray(((depth > 0).sum(axis=1) % 2 == 1) | (np.abs(depth) <= near).any(axis=1))
