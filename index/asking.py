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
from matcher.types import Features, Region

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from index.answers import Query
    from matcher.registry import Extractor
    from matcher.types import Relation

__all__ = ["QUERY_FEATURES", "Extracted", "extract"]

QUERY_FEATURES = 2500
"""Features of a query that are compared with an image of the short list; the strongest vote."""

_MARGIN = 32
"""Pixels around a region that its features may see."""

_SMALL = 640
"""A region is extracted at least this many pixels long, if the image has them."""


class Extracted(NamedTuple):
    """A query's features, strongest first, as each relation has it, its region and the seconds that this took."""

    features: dict[Relation, Features]
    region: Region
    seconds: float


def extract(query: Query, extractor: Extractor, work_size: int, relations: Sequence[Relation]) -> Extracted:
    """Read a query and extract its features as each of `relations` would have it."""
    start = time.perf_counter()
    cv2.setNumThreads(1)
    if query.region is None:
        scan = read_image(query.image, query.page, long_side=work_size)
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
    framed = query.region is not None
    plain = _strongest(scan, region, framed, extractor, work_size)
    features: dict[Relation, Features] = {}
    for relation in (relation for relation in RELATIONS if relation in relations):
        turned = plain if relation == "same" else extractor.turned(plain, relation)
        if turned is None:
            turned = _strongest(*_shown(scan, region, relation), framed, extractor, work_size)
        features[relation] = turned
    return Extracted(features, region, time.perf_counter() - start)


def _shown(scan: Scan, region: Region, relation: Relation) -> tuple[Scan, Region]:
    """Return an image and a region on it as a mirrored or negative copy shows them."""
    pixels = scan.pixels
    if "mirrored" in relation:
        pixels = pixels[:, ::-1]
        region = replace(region, x=scan.width - 1 - region.x - region.width)
    if "inverted" in relation:
        pixels = 255 - pixels
    return replace(scan, pixels=np.ascontiguousarray(pixels)), region


def _strongest(scan: Scan, region: Region, framed: bool, extractor: Extractor, work_size: int) -> Features:
    """Return the features of a query, strongest first."""
    features = _of_region(scan, region, extractor, work_size) if framed else extractor.extract(scan)
    strength = features.responses * features.sizes
    return features.take(np.argsort(-strength, kind="stable")[:QUERY_FEATURES])


def _plain(region: Region) -> str:
    return ",".join(f"{value:g}" for value in region.as_list())


def _of_region(scan: Scan, region: Region, extractor: Extractor, work_size: int) -> Features:
    """Extract the features inside `region` at the size at which its image would be indexed, small regions larger."""
    longest = max(region.width, region.height)
    indexed = min(1.0, work_size / max(scan.width, scan.height))
    shrink = min(1.0, max(longest * indexed, min(longest, _SMALL)) / longest, work_size / longest)
    margin = math.ceil(_MARGIN / shrink)
    left, top = max(0, int(region.x) - margin), max(0, int(region.y) - margin)
    right = min(scan.width, math.ceil(region.x + region.width) + margin)
    bottom = min(scan.height, math.ceil(region.y + region.height) + margin)
    pixels: NDArray = scan.pixels[top:bottom, left:right]
    if shrink < 1:
        size = (max(1, round((right - left) * shrink)), max(1, round((bottom - top) * shrink)))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    height, width = pixels.shape
    cut = Scan(pixels, right - left, bottom - top, (right - left) / width, (bottom - top) / height)
    # What a user has framed is the picture: nothing in it counts as type.
    features = extractor.unweighted().extract(cut)
    moved = replace(
        features, points=features.points + np.array([left, top], dtype=np.float32), width=scan.width, height=scan.height
    )
    return moved.take(region.contains(moved.points))
