"""Two prints collated: registered as finely as both scans allow, and everything about them measured.

`collate` starts from a verified match. Both pictures are brought to the resolution of the coarser scan, so that a
sharper one does not look like another drawing; what paper does is taken off (`matcher.deformation`); the fine agreement
of what is left is measured, and then a thin-plate spline lays line on line for the comparison of ink.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from matcher.deformation import ThinPlate, displaced, flatten
from matcher.ink import gaps, lines_of, share_met
from matcher.registration import Frame, warp
from matcher.tones import filtered_like, grey, levels, standardised
from matcher.types import Region, Transform

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from matcher.deformation import Displacements
    from matcher.images import Scan
    from matcher.ink import Gap
    from matcher.types import Match

__all__ = ["Collation", "Evidence", "collate"]

_LEAST, _MOST = 480, 800
"""Longer side of the frame in pixels: smaller cuts are enlarged, larger ones shrunk."""

_FINE = 3.0
"""Deviation of the neighbourhood, in pixels of the coarser scan, in which lines must agree."""

_STIFFNESS = 1e-3


@dataclass(frozen=True, slots=True)
class Evidence:
    """What speaks for and against one block.

    Attributes
    ----------
    resolution : float
        Longer side of the picture in pixels of the coarser scan.
    deformation : float
        Local displacement beyond what paper does that three quarters of the places stay under, as a share of the
        longer side; NaN where there is too little drawing to follow.
    places : int
        Places at which it was measured.
    agreement : float
        Local correlation of the lines, half of the drawing above it, -1 to 1, once paper and sharpness are levelled.
    lines_met, lines_met_back : float
        Share of the lines of A that have a partner on B, and of B on A, after fine registration.
    coverage, thickness : (float, float)
        Share of the picture inked, and mean thickness of lines in pixels of A: on A and on B.
    tonal : bool
        Whether either picture has middle tones, as photographs have: no lines to judge by.
    """

    resolution: float
    deformation: float
    places: int
    agreement: float
    lines_met: float
    lines_met_back: float
    coverage: tuple[float, float]
    thickness: tuple[float, float]
    tonal: bool


@dataclass(frozen=True, slots=True)
class Collation:
    """Two prints, line on line, in a frame over the query.

    Attributes
    ----------
    frame : Frame
        Where the pixels lie on the query A.
    a, b : uint8, shape (h, w)
        Grey, B finely registered on A; of a negative relation A is turned into its negative.
    valid : bool, shape (h, w)
        Where both have pixels.
    left : Displacements or None
        Local displacements beyond what paper does.
    evidence : Evidence
    gaps_b, gaps_a : (labels, list of Gap)
        Lines of A that B lacks, and of B that A lacks (`matcher.ink.gaps`).
    """

    frame: Frame
    a: NDArray[np.uint8]
    b: NDArray[np.uint8]
    valid: NDArray[np.bool_]
    left: Displacements | None
    evidence: Evidence
    gaps_b: tuple[NDArray[np.int32], list[Gap]]
    gaps_a: tuple[NDArray[np.int32], list[Gap]]

    def place(self, gap: Gap) -> Region:
        """Return the box of a gap in pixels of the query."""
        x, y, width, height = gap.box
        matrix = self.frame.to_original()
        step_x, step_y = matrix[0, 0], matrix[1, 1]
        left, top = matrix[0, 2] + (x - 0.5) * step_x + 0.5, matrix[1, 2] + (y - 0.5) * step_y + 0.5
        return Region(left, top, width * step_x, height * step_y)


def collate(query: Scan, image: Scan, match: Match, region: Region | None = None) -> Collation:
    """Collate what `match` found on `image` with the query, or with `region` of it.

    Parameters
    ----------
    query, image : Scan
        Grey or RGB, at full size where fine lines matter.
    match : Match
        Verified, from query to image.
    region : Region, optional
        The part of the query that was looked for.
    """
    frame, a, b, valid, pixel = _evenly(query, image, match, region)
    found = flatten(a, b, valid)
    deformation, agreement, places = math.nan, math.nan, 0
    left = None
    if found is not None:
        paper, left = found
        flat, seen = displaced(b, paper.field(), valid)
        agreement = _agreement(a, flat, seen, pixel)
        lengths = left.lengths()
        places, deformation = len(left), float(np.percentile(lengths, 75)) / max(a.shape)
        plate = ThinPlate(left.points, left.damped(), valid.shape, _STIFFNESS)
        b, valid = displaced(b, paper.field() + plate.field(), valid)
    ours, theirs = lines_of(a, valid, pixel), lines_of(b, valid, pixel)
    step = float(np.sqrt(abs(np.linalg.det(frame.to_original()[:2, :2]))))
    evidence = Evidence(
        resolution=max(a.shape) / pixel,
        deformation=deformation,
        places=places,
        agreement=agreement,
        lines_met=share_met(ours, theirs, valid, pixel),
        lines_met_back=share_met(theirs, ours, valid, pixel),
        coverage=(ours.coverage, theirs.coverage),
        thickness=(ours.thickness * step, theirs.thickness * step),
        tonal=_tonal(a, valid) or _tonal(b, valid),
    )
    return Collation(
        frame, a, b, valid, left, evidence, gaps(ours, theirs, valid, pixel), gaps(theirs, ours, valid, pixel)
    )


def _evenly(
    query: Scan, image: Scan, match: Match, region: Region | None
) -> tuple[Frame, NDArray[np.uint8], NDArray[np.uint8], NDArray[np.bool_], float]:
    """Return frame, both pictures at the coarser scan's resolution, where both are valid, the size of its pixels."""
    box = region or Region(0, 0, query.width, query.height)
    middle = match.transform.jacobian(box.x + box.width / 2, box.y + box.height / 2)
    finer = math.sqrt(abs(float(np.linalg.det(middle)))) / max(image.scale_x, image.scale_y)
    native = max(box.width, box.height) * min(1 / max(query.scale_x, query.scale_y), finer)
    side = max(8, round(min(native, _MOST)))
    small = Frame.over(box, side)
    a, seen = warp(query, Transform(np.eye(3)), small)
    b, met = warp(image, match.transform, small)
    a, b, valid = grey(a), grey(b), seen & met
    if "inverted" in match.relation:
        a = np.asarray(255 - a, np.uint8)
    pixel = max(1.0, _LEAST / side)
    if pixel == 1.0:
        return small, a, b, valid, pixel
    frame = Frame.over(box, _LEAST)
    size = (frame.width, frame.height)
    a, b = (np.asarray(cv2.resize(x, size, interpolation=cv2.INTER_CUBIC), np.uint8) for x in (a, b))
    mask = cv2.resize(valid.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    return frame, a, b, np.asarray(mask), pixel


def _agreement(a: NDArray[np.uint8], b: NDArray[np.uint8], valid: NDArray[np.bool_], pixel: float) -> float:
    """Return the local correlation that half of the drawing exceeds."""
    sigma = _FINE * pixel
    inner = cv2.erode(valid.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    if not inner.any():
        return math.nan
    ours, theirs = standardised(a, valid, sigma), standardised(b, valid, sigma)
    first, weight = _correlation(ours, filtered_like(ours, theirs, inner, pixel), sigma)
    second, other = _correlation(theirs, filtered_like(theirs, ours, inner, pixel), sigma)
    weight = np.maximum(weight, other)[inner]
    both = ((first + second) / 2)[inner]
    order = np.argsort(both)
    rising = np.cumsum(weight[order])
    return float(both[order][np.searchsorted(rising, rising[-1] / 2)]) if rising[-1] > 0 else math.nan


def _correlation(
    a: NDArray[np.float32], b: NDArray[np.float32], sigma: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the correlation of `a` and `b` in Gaussian neighbourhoods, and the variance of `a` there."""

    def mean(x: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(cv2.GaussianBlur(x, (0, 0), sigma), np.float32)

    mean_a, mean_b = mean(a), mean(b)
    var_a, var_b = (np.maximum(mean(x * x) - m * m, 0) for x, m in ((a, mean_a), (b, mean_b)))
    shared = mean(a * b) - mean_a * mean_b
    return np.asarray(shared / np.sqrt(var_a * var_b + 1e-6), np.float32), np.asarray(var_a, np.float32)


def _tonal(picture: NDArray[np.uint8], valid: NDArray[np.bool_]) -> bool:
    """Tell whether the middle tones outweigh what a print of lines has of them at the edges of its lines."""
    if not valid.any():
        return False
    tones = levels(picture, valid)[valid]
    return bool(np.mean((tones > 0.25) & (tones < 0.75)) > 0.4)
