"""From a short list of images to verified matches on them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from index import keypoints
from index._kernels import postings_between
from index.vocabulary import MEDIAN_STEP
from matcher.geometry import Agreement, Signed, Tolerance, estimate, frames, refine
from matcher.significance import evidence
from matcher.types import Match, Transform

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from concurrent.futures import Executor

    from numpy.typing import NDArray

    from index.segment import Segment
    from index.vocabulary import Vocabulary
    from matcher.types import Features, Region, Relation

__all__ = [
    "NO_PAIRS",
    "RELATIONS",
    "Stored",
    "Variant",
    "distinct",
    "gather",
    "gather_with",
    "match_of",
    "variants",
    "verify",
    "working_pixels",
]

RELATIONS: tuple[Relation, ...] = ("same", "mirrored", "inverted", "mirrored+inverted")
"""All relations, in the order in which equal answers are listed."""

NO_PAIRS = (np.zeros((0, 4)), np.zeros((0, 4)), np.zeros(0))
"""For `verify`, where there are none to find further places by."""

_TOLERANCE = Tolerance()
_INSTANCES = 16
"""Places on one image at the most: a tiled ornament must not hold up a search."""

_SHARED = 0.3
"""Overlap of the evidence above which two matches on an image are the same one told twice."""

_ASTRAY = 0.03
"""Of the diagonal of what was found: bent paper moves the rest of a picture by less, another print lies further off."""


@dataclass(frozen=True, slots=True, eq=False)
class Variant:
    """A query as it is, mirrored or negative, in coordinates of its own.

    Attributes
    ----------
    relation : str
    features : Features
        Strongest first.
    frame : float64, shape (n, 4)
        Their keypoints, see `matcher.geometry.frames`.
    projections : float32, shape (n, 64)
    corners : float64, shape (4, 2)
        The query region's corners, clockwise from the top left as this variant shows it.
    flip : float64, shape (3, 3)
        From query pixels to this variant's.
    """

    relation: Relation
    features: Features
    frame: NDArray[np.float64]
    projections: NDArray[np.float32]
    corners: NDArray[np.float64]
    flip: NDArray[np.float64]

    @property
    def diagonal(self) -> float:
        """The region's diagonal in query pixels."""
        return float(np.linalg.norm(self.corners[2] - self.corners[0]))


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """All features of one image of an index: see `matcher.geometry.Signed`, and the pixels of a working pixel."""

    signed: Signed
    pixel: float


def variants(
    seen: Mapping[Relation, Features], region: Region, vocabulary: Vocabulary | None, pool: Executor | None = None
) -> list[Variant]:
    """Return the query's variants from the features that each relation gives it, in the variant's own pixels.

    Without a vocabulary they have no projections.
    """
    usable = [(relation, features) for relation, features in seen.items() if len(features) >= 3]
    each = map if pool is None else pool.map
    return list(each(lambda named: _variant(named[0], named[1], region, vocabulary), usable))


def _variant(relation: Relation, features: Features, region: Region, vocabulary: Vocabulary | None) -> Variant:
    corners, flip = region.corners(), np.eye(3)
    if "mirrored" in relation:
        flip[0, 0], flip[0, 2] = -1.0, features.width - 1.0
        corners = corners[[1, 0, 3, 2]] * [-1.0, 1.0] + [features.width - 1.0, 0.0]
    frame = frames(features.points, features.sizes, features.angles)
    blank = np.zeros((len(features), 0), np.float32)
    projections = blank if vocabulary is None else vocabulary.project(features.descriptors)
    return Variant(relation, features, frame, projections, corners, flip)


def gather(segment: Segment, local: int, work_size: int) -> Stored:
    """Collect all features of the image with number `local` of `segment`."""
    stored = segment.gather(local)
    frame = keypoints.unpacked(stored.geometry, segment.image_sizes[[local]], work_size)
    signed = Signed(frame, stored.words, stored.signatures)
    return Stored(signed, float(working_pixels(segment, np.array([local]), work_size)[0]))


def gather_with(segment: Segment, chosen: NDArray[np.int64], words: NDArray[np.uint16], work_size: int) -> list[Stored]:
    """Collect those features of some images that have one of `words`, image by image.

    Where the numbers of the `chosen` images, ascending, lie close together, so do their postings of each word, and
    this takes hardly longer than gathering one image.

    Parameters
    ----------
    segment : Segment
    chosen : int64, shape (k,)
        Local numbers, ascending, at least one.
    words : uint16, shape (w,)
        Distinct words, ascending.
    work_size : int
    """
    places, rows = postings_between(segment.words, segment.offsets, segment.images, words, chosen[0], chosen[-1])
    images = segment.images[places]
    order = np.argsort(images, kind="stable")
    images, places, rows = images[order], places[order], rows[order]
    frame = keypoints.unpacked(segment.geometry_at(places), segment.image_sizes[images], work_size)
    signatures, shared = segment.signatures[places], words[rows]
    pixels = working_pixels(segment, chosen, work_size)
    bounds = zip(np.searchsorted(images, chosen), np.searchsorted(images, chosen, side="right"), pixels, strict=True)
    return [
        Stored(Signed(frame[first:last], shared[first:last], signatures[first:last]), float(pixel))
        for first, last, pixel in bounds
    ]


def working_pixels(segment: Segment, images: NDArray[np.integer], work_size: int) -> NDArray[np.float64]:
    """Return, for each of `images`, its pixels per pixel of the size it was extracted at."""
    return keypoints.working_pixels(segment.image_sizes[images], work_size)


def verify(
    variant: Variant,
    matrix: NDArray[np.float64],
    pairs: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
    stored: Stored,
    vocabulary: Vocabulary,
    limit: float,
    line: float | None = None,
) -> list[Match]:
    """Return every place of an image where a query is found with at most 10 ** `limit` false alarms per image.

    Parameters
    ----------
    variant : Variant
    matrix : float64, shape (2, 3)
        The affine map that most pairs agree on.
    pairs : tuple of float64 arrays (n, 4), (n, 4), (n,)
        Keypoints of the query and of the image, weights; pairs of one query feature adjoin.
    stored : Stored
    vocabulary : Vocabulary
    limit : float
        log10 of the false alarms allowed for this image.
    line : float, optional
        Length from which on what agrees along a straight line counts little: `matcher.significance.cells_off_lines`.
    """
    found: list[Match] = []
    left = stored.signed
    while len(found) < _INSTANCES:
        agreement = refine(
            matrix,
            variant.frame,
            variant.projections,
            left,
            vocabulary.medians,
            MEDIAN_STEP,
            variant.corners,
            stored.pixel,
            _TOLERANCE,
        )
        if agreement is None:
            break
        count, log_false_alarms = evidence(
            agreement, variant.frame[:, :2], stored.pixel, vocabulary.supposed_law, line=line
        )
        if log_false_alarms > limit:
            break
        found.append(match_of(variant, agreement, left.frame[:, :2], count, log_false_alarms))
        # Look again among what this place does not explain.
        quad = _evidence_quad(variant, agreement)
        keep = ~_inside(left.frame[:, :2], quad)
        left = Signed(left.frame[keep], left.words[keep], left.signatures[keep])
        rest = ~_inside(pairs[1][:, :2], quad)
        pairs = (pairs[0][rest], pairs[1][rest], pairs[2][rest])
        again, votes, _ = estimate(
            *pairs, np.array([0, len(pairs[0])]), variant.diagonal, np.array([stored.pixel]), _TOLERANCE
        )
        if votes[0] <= 0:
            break
        matrix = again[0]
    return found


def distinct(matches: Sequence[Match]) -> list[Match]:
    """Return matches on one image, surest first, less those that a surer one tells already.

    Its evidence lies where the surer one's does, or where the surer one's map puts it.
    """
    kept: list[Match] = []
    for match in sorted(matches, key=lambda m: (m.log_false_alarms, RELATIONS.index(m.relation))):
        box = _box(match.image_points)
        if all(_overlap(box, _box(other.image_points)) < _SHARED and not _foretold(match, other) for other in kept):
            kept.append(match)
    return kept


def _foretold(match: Match, surer: Match) -> bool:
    """Tell whether the map of a surer match puts the evidence of a match about where it is."""
    off = np.linalg.norm(surer.transform.apply(match.query_points) - match.image_points, axis=1)
    across = float(np.linalg.norm(surer.polygon[2] - surer.polygon[0]))
    return bool(np.median(off) < _ASTRAY * across)


def match_of(
    variant: Variant, agreement: Agreement, image: NDArray[np.floating], count: int, log_false_alarms: float
) -> Match:
    """Return the match that an agreement is, in the query's pixels; `image` (m, 2): where the image's features are."""
    matrix = agreement.matrix @ variant.flip
    transform = Transform(matrix / matrix[2, 2])
    back = np.linalg.inv(variant.flip)
    points = variant.frame[agreement.inliers, :2] @ back[:2, :2].T + back[:2, 2]
    corners = variant.corners @ back[:2, :2].T + back[:2, 2]
    if "mirrored" in variant.relation:
        corners = corners[[1, 0, 3, 2]]  # from the query's own top left again
    x, y = variant.corners.mean(axis=0)
    local = Transform(agreement.matrix / agreement.matrix[2, 2]).jacobian(x, y)
    return Match(
        transform=transform,
        relation=variant.relation,
        rotation=math.degrees(math.atan2(local[1, 0] - local[0, 1], local[0, 0] + local[1, 1])),
        scale=math.sqrt(abs(float(np.linalg.det(local)))),
        polygon=transform.apply(corners),
        query_points=points.astype(np.float32),
        image_points=image[agreement.partner[agreement.inliers]].astype(np.float32),
        inliers=count,
        log_false_alarms=log_false_alarms,
    )


def _evidence_quad(variant: Variant, agreement: Agreement) -> NDArray[np.float64]:
    """Return the image of the box around the query's inliers, shape (4, 2)."""
    points = variant.frame[agreement.inliers, :2]
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    return Transform(agreement.matrix / agreement.matrix[2, 2]).apply(corners)


def _inside(points: NDArray[np.float64], quad: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which of `points` (n, 2) lie in or on a convex `quad` (4, 2), clockwise on the screen."""
    inside = np.ones(len(points), dtype=np.bool_)
    for start, stop in zip(quad, np.roll(quad, -1, axis=0), strict=True):
        edge = stop - start
        inside &= edge[0] * (points[:, 1] - start[1]) - edge[1] * (points[:, 0] - start[0]) >= 0
    return inside


def _box(points: NDArray[np.float32]) -> tuple[float, float, float, float]:
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    return float(left), float(top), float(right), float(bottom)


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    """Return the shared area over the smaller one's."""
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if wide <= 0 or high <= 0:
        return 0.0
    return wide * high / max(min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1])), 1e-9)
