"""Is it the same picture, laid differently? From tentative pairs to a verified plane map.

First every pair proposes the similarity that its two keypoints imply and the others vote on it (Philbin et al., CVPR
2007; Schönberger et al., ACCV 2016); the best is optimised locally to an affine map (Chum, Matas & Kittler, DAGM
2003). Then all features of the image, not only those paired so far, are compared with the query where the map puts
them, and the map grows to a homography with what is found. Working with every feature again is what makes the evidence
count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from matcher import _kernels as kernels

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CELL", "LIMIT", "Agreement", "Signed", "Tolerance", "cells", "estimate", "frames", "plausible", "refine"]

LIMIT = 20
"""Largest Hamming distance, of 64 bits, that counts as agreement."""

CELL = 8.0
"""Side, in pixels at the size an image was extracted at, of the cells in which only one agreement counts."""

_WIDTHS = (2.0, 1.5, 1.0, 1.0, 1.0)
"""Search radii of the rounds of refinement, times the final one: affine twice, then perspective too."""

_TRIED = 200
"""About how many pairs of an image propose a map."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a true correspondence may lie off.

    Attributes
    ----------
    near : float
        Pixels at the size the image was extracted at.
    reach : float
        Share of the located picture's diagonal: paper bends.
    slack : float
        Share of the distance from the pair that proposes a map: its scale and angle are rough.
    octaves : float
        log2 of the ratio of sizes.
    turn : float
        Radians.
    """

    near: float = 2.5
    reach: float = 0.01
    slack: float = 0.08
    octaves: float = 0.6
    turn: float = 0.45


class Signed(NamedTuple):
    """Features as an index stores them: `frame` float64 (n, 4), `words` uint16 (n,), `signatures` uint64 (n,)."""

    frame: NDArray[np.float64]
    words: NDArray[np.uint16]
    signatures: NDArray[np.uint64]


class Agreement(NamedTuple):
    """What `refine` found.

    Attributes
    ----------
    matrix : float64, shape (3, 3)
        From query pixels to image pixels.
    partner : int32, shape (n,)
        For each query feature its best partner on the image, -1 where none was in reach.
    distance : uint8, shape (n,)
        Their signatures' Hamming distance, 65 where none.
    compared : int32, shape (n,)
        How many partners were in reach.
    inliers : bool, shape (n,)
        Distinct one-to-one agreements.
    """

    matrix: NDArray[np.float64]
    partner: NDArray[np.int32]
    distance: NDArray[np.uint8]
    compared: NDArray[np.int32]
    inliers: NDArray[np.bool_]


def frames(points: NDArray, sizes: NDArray, angles: NDArray) -> NDArray[np.float64]:
    """Return float64 (n, 4): x, y, log2 of the diameter, angle in radians, of keypoints with angles in degrees."""
    return np.column_stack([points, np.log2(np.maximum(sizes, 1e-3)), np.deg2rad(angles)]).astype(np.float64)


def estimate(
    query: NDArray[np.float64],
    image: NDArray[np.float64],
    weights: NDArray[np.float64],
    bounds: NDArray[np.int64],
    diagonal: float,
    pixels: NDArray[np.float64],
    tolerance: Tolerance,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Find, for each of several images, the affine map that most of its tentative pairs agree on.

    Parameters
    ----------
    query, image : float64, shape (n, 4)
        Keypoints of the pairs, see `frames`, image by image; pairs of one query feature adjoin.
    weights : float64, shape (n,)
        The pairs' votes.
    bounds : int64, shape (k + 1,)
        Image `i` has the pairs ``bounds[i]:bounds[i + 1]``.
    diagonal : float
        Of the query region, in query pixels.
    pixels : float64, shape (k,)
        Pixels of each image per pixel of the size it was extracted at.
    tolerance : Tolerance

    Returns
    -------
    matrices : float64, shape (k, 2, 3)
    votes : float64, shape (k,)
        Summed weights of the query features that agree; 0, and no map, where fewer than three pairs do.
    masks : bool, shape (n,)
        Which pairs agree.
    """
    k = len(bounds) - 1
    matrices, votes, masks = np.zeros((k, 2, 3)), np.zeros(k), np.zeros(len(query), dtype=np.bool_)
    kernels.estimate_each(
        query, image, weights, bounds, diagonal, pixels, _TRIED, tolerance.near, tolerance.reach,
        tolerance.slack, tolerance.octaves, tolerance.turn, matrices, votes, masks,
    )  # fmt: skip
    return matrices, votes, masks


def plausible(matrix: NDArray[np.float64], corners: NDArray[np.float64]) -> bool:
    """Tell whether a map (3, 3) lays the box with `corners` (4, 2) as a print on paper may lie.

    It must stay convex and keep its orientation, and neither stretch one way more than twice the other nor change scale
    across the box by more than a factor two.
    """
    # Plain floats: on four corners NumPy would spend its time on calls.
    (a, b, c), (d, e, f), (g, h, i) = matrix.tolist()
    points = corners.tolist()
    weights = [g * x + h * y + i for x, y in points]
    if min(weights) <= 0 or max(weights) > 1.6 * min(weights):
        return False
    laid = [((a * x + b * y + c) / w, (d * x + e * y + f) / w) for (x, y), w in zip(points, weights, strict=True)]
    for (px, py), (qx, qy), (rx, ry) in zip(laid, laid[1:] + laid[:1], laid[2:] + laid[:2], strict=True):
        if (qx - px) * (ry - qy) - (qy - py) * (rx - qx) <= 0:
            return False
    x, y = sum(p[0] for p in points) / 4, sum(p[1] for p in points) / 4
    w = g * x + h * y + i
    u, v = (a * x + b * y + c) / w, (d * x + e * y + f) / w
    ja, jb, jc, jd = (a - u * g) / w, (b - u * h) / w, (d - v * g) / w, (e - v * h) / w
    # Singular values s >= t of the derivative: s t is its determinant, s² + t² the sum of its squares.
    product, squares = ja * jd - jb * jc, ja * ja + jb * jb + jc * jc + jd * jd
    return bool(product > 0 and squares <= 2.5 * product)


def refine(
    matrix: NDArray[np.float64],
    query: NDArray[np.float64],
    projections: NDArray[np.float32],
    image: Signed,
    medians: NDArray[np.int8],
    median_step: float,
    corners: NDArray[np.float64],
    pixel: float,
    tolerance: Tolerance,
) -> Agreement | None:
    """Compare all features where an affine map puts them, and let the map grow to a homography.

    Parameters
    ----------
    matrix : float64, shape (2, 3)
        The map so far, from query to image pixels.
    query : float64, shape (n, 4)
        Keypoints of the query, see `frames`.
    projections : float32, shape (n, 64)
        Their projections, see `index.vocabulary.Vocabulary.project`.
    image : Signed
        All features of the image.
    medians : int8, shape (k, 64)
        Medians of the words, in units of `median_step`.
    corners : float64, shape (4, 2)
        The query region's corners.
    pixel : float
        Pixels of the image per pixel of the size it was extracted at.
    tolerance : Tolerance

    Returns
    -------
    Agreement, or None where the map becomes implausible or fewer than three features agree.
    """
    full = np.vstack([matrix, [0.0, 0.0, 1.0]])
    n = len(query)
    partner, distance, compared = np.empty(n, np.int32), np.empty(n, np.uint8), np.empty(n, np.int32)
    agreed = np.empty(n, dtype=np.bool_)
    cell = CELL * pixel
    image_cells = cells(image.frame[:, :2], cell)
    for step, width in enumerate(_WIDTHS):
        if not plausible(full, corners):
            return None
        laid = corners @ full[:2, :2].T
        diagonal = float(np.linalg.norm(np.ptp(laid, axis=0)))
        kernels.rematch(
            full, query, projections, image.frame, image.words, image.signatures, medians, median_step,
            width * max(tolerance.near * pixel, tolerance.reach * diagonal), tolerance.octaves, tolerance.turn,
            partner, distance, compared,
        )  # fmt: skip
        order = np.argsort(distance, kind="stable")
        scale = math.sqrt(abs(np.linalg.det(full[:2, :2])))
        query_cells = cells(query[:, :2], cell / scale)
        if kernels.distinct_agreements(query_cells, image_cells, partner, distance, LIMIT, order, agreed) < 3:
            return None
        if step == len(_WIDTHS) - 1:
            break
        pairs_query, pairs_image = query[agreed], image.frame[partner[agreed]]
        everything = np.ones(len(pairs_query), dtype=np.bool_)
        affine = kernels.fit_affine(pairs_query, pairs_image, everything, np.ascontiguousarray(full[:2]), 5.0)
        full = np.vstack([affine, [0.0, 0.0, 1.0]])
        if step >= 2 and len(pairs_query) >= 12:
            curved = kernels.fit_homography(pairs_query, pairs_image, everything, full, 20.0)
            if plausible(curved, corners):
                full = curved
    return Agreement(full, partner, distance, compared, agreed.copy())


def cells(points: NDArray[np.float64], side: float) -> NDArray[np.int32]:
    """Number the square cells of `side` pixels in which `points`, shape (n, 2), lie; at most 4,096 to a row."""
    return np.asarray(kernels.number_cells(points, side))
