"""What a map must be to be believed, and what it grows to when all features are compared again."""

from __future__ import annotations

import math
import re
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matcher.geometry import (
    _TRIED,
    _WIDTHS,
    CELL,
    LIMIT,
    Agreement,
    Signed,
    Tolerance,
    cells,
    estimate,
    frames,
    plausible,
    refine,
)
from matcher.significance import SHIPPED_LAW, SPENT
from tests import reference

SIDE = 400.0
CORNERS = np.array([[0.0, 0.0], [SIDE, 0.0], [SIDE, SIDE], [0.0, SIDE]])
MEDIANS = np.zeros((4, 64), np.int8)


def affine(a: float, b: float, c: float, d: float, x: float = 0.0, y: float = 0.0) -> np.ndarray:
    return np.array([[a, b, x], [c, d, y], [0.0, 0.0, 1.0]])


def leaning(across: float, down: float) -> np.ndarray:
    return np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [across, down, 1.0]])


def test_keypoints_are_brought_into_the_frame_of_the_geometry() -> None:
    told = frames(np.array([[3.0, 4.0], [5.0, 6.0]]), np.array([8.0, 0.0]), np.array([90.0, 180.0]))
    assert told.dtype == np.float64
    np.testing.assert_allclose(told, [[3, 4, 3, math.pi / 2], [5, 6, math.log2(1e-3), math.pi]])


def test_the_law_of_chance_holds_for_these_numbers() -> None:
    """docs/significance.md says what the law was measured with; whoever changes it has to measure again."""
    text = (Path(__file__).parents[2] / "docs" / "significance.md").read_text(encoding="utf-8")
    (told,) = re.findall(r"The law holds for these settings alone: (.+?)\.\n", text, re.DOTALL)
    numbers = [float(number) for number in re.findall(r"\d+(?:\.\d+)?", told)]
    assert numbers == [LIMIT, CELL, SPENT, *astuple(Tolerance()), _TRIED, *_WIDTHS]
    law = [float(number) for number in re.findall(r"\*\*(\d[\d.e-]*)\*\*", text.partition("law that is shipped")[2])]
    assert law == list(astuple(SHIPPED_LAW))


@pytest.mark.parametrize(
    ("matrix", "believed"),
    [
        (affine(1, 0, 0, 1), True),
        (affine(0, -3, 3, 0, 1e5, -1e5), True),  # turned by a quarter, larger, elsewhere
        (affine(-1, 0, 0, 1), False),  # mirrored: another relation asks for that
        (affine(1, 0, 0, 0), False),
        (affine(0, 0, 0, 0), False),
        (affine(2, 0, 0, 1), True),
        (affine(0, -1, 2, 0), True),
        (affine(2.01, 0, 0, 1), False),
        (affine(1, 0, 0, 2.01), False),
        (affine(1, 0.7, 0, 1), True),  # slanted: singular values 1.41 and 0.71
        (affine(1, 0.72, 0, 1), False),
        (leaning(0.59 / SIDE, 0), True),
        (leaning(0.61 / SIDE, 0), False),
        (leaning(0, 0.59 / SIDE), True),
        (leaning(0, 0.61 / SIDE), False),
        (leaning(-0.37 / SIDE, 0), True),
        (leaning(-0.38 / SIDE, 0), False),
        (leaning(0.31 / SIDE, 0.31 / SIDE), False),
        (leaning(-1 / SIDE, 0), False),  # one side at infinity
        (leaning(-2 / SIDE, 0), False),
        (-affine(1, 0, 0, 1), False),
    ],
)
def test_maps_that_paper_allows(matrix: np.ndarray, believed: bool) -> None:
    assert plausible(matrix, CORNERS) is believed
    assert plausible(matrix, CORNERS) is reference.plausible(matrix, CORNERS)


def test_at_the_bounds_a_map_is_believed() -> None:
    assert plausible(leaning(0.6, 0), CORNERS / SIDE)  # weights are 1 and 1.6
    assert plausible(affine(2, 0, 0, 1), CORNERS)


@settings(deadline=None, max_examples=300)
@given(st.integers(0, 2**32 - 1))
def test_plausible_is_what_its_twin_says(seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = affine(*rng.normal(0, 1, 4), *rng.uniform(-500, 500, 2))
    if rng.random() < 0.7:  # near what is believed
        matrix[:2, :2] = rng.uniform(0.3, 3) * (np.eye(2) + rng.normal(0, 0.25, (2, 2)))
    if rng.random() < 0.7:
        matrix[2, :2] = rng.normal(0, 0.5 / SIDE, 2)
    corners = CORNERS * rng.uniform(0.5, 2, 2) + rng.uniform(-300, 300, 2)
    assert plausible(matrix, corners) is reference.plausible(matrix, corners)


def test_cells_are_squares() -> None:
    points = np.array([[10.0, 10.0], [17.9, 10.0], [18.1, 10.0], [10.0, 17.9], [10.0, 18.1], [25.9, 25.9]])
    told = cells(points, 8.0).tolist()
    assert told[0] == told[1] == told[3]
    assert len({told[0], told[2], told[4], told[5]}) == 4


def keypoints(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.column_stack([rng.uniform(0, SIDE, (n, 2)), rng.uniform(2, 4, n), rng.uniform(0, 2 * math.pi, n)])


@pytest.mark.parametrize("pixel", [1.0, 3.0])
def test_pairs_count_as_far_off_as_pixels_and_bent_paper_let_them(pixel: float) -> None:
    """Twice the larger of `near` pixels of the size extracted at, and `reach` of the diagonal."""
    rng = np.random.default_rng(0)
    query = keypoints(rng, 60)
    for tolerance, radius in (
        (Tolerance(near=2.0, reach=0.0), 4.0 * pixel),
        (Tolerance(near=0.1, reach=0.02), 2 * 0.02 * 500 * 1.5),
    ):
        image = query.copy()
        image[:, :2] = 1.5 * query[:, :2] + [30.0, -20.0]
        image[:, 2] += math.log2(1.5)
        image[:2, 0] += [0.9 * radius, 1.2 * radius]
        bounds = np.array([0, 60])
        made = estimate(query, image, np.full(60, 0.5), bounds, 500.0, np.array([pixel]), tolerance)
        matrices, votes, masks = made
        assert (matrices.shape, votes.shape, masks.shape, masks.dtype) == ((1, 2, 3), (1,), (60,), np.bool_)
        assert masks.tolist() == [True, False, *[True] * 58]
        assert votes[0] == pytest.approx(0.5 * 59)
        np.testing.assert_allclose(matrices[0], [[1.5, 0, 30], [0, 1.5, -20]], atol=1.5)


def signed(rng: np.random.Generator, frame: np.ndarray, wrong: float = 0.1) -> tuple[Signed, np.ndarray]:
    """Return features at places with random signatures, and projections of which so many signs are others."""
    n = len(frame)
    features = Signed(frame, rng.integers(0, 4, n).astype(np.uint16), rng.integers(0, 1 << 64, n, dtype=np.uint64))
    bits = ((features.signatures[:, None] >> np.arange(64, dtype=np.uint64)) & 1).astype(np.float32) * 2 - 1
    bits[rng.random(bits.shape) < wrong] *= -1
    return features, bits


def laid(matrix: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Return the keypoints that a map makes of others."""
    image = query.copy()
    for row, (x, y) in zip(image, query[:, :2], strict=True):
        u, v, w = matrix @ [x, y, 1.0]
        row[:2] = u / w, v / w
        derivative = (matrix[:2, :2] - np.outer(row[:2], matrix[2, :2])) / w
        row[2] += 0.5 * math.log2(np.linalg.det(derivative))
        row[3] += math.atan2(derivative[1, 0] - derivative[0, 1], derivative[0, 0] + derivative[1, 1])
    return image


def refined(
    made: np.ndarray, query: np.ndarray, start: np.ndarray, pixel: float = 1.0, tolerance: Tolerance | None = None
) -> Agreement | None:
    image, projections = signed(np.random.default_rng(1), laid(made, query))
    return refine(
        np.ascontiguousarray(start[:2]),
        query,
        projections,
        image,
        MEDIANS,
        1 / 256,
        CORNERS,
        pixel,
        tolerance or Tolerance(),
    )


def grid(n: int) -> np.ndarray:
    """Return keypoints 30 pixels apart, all over the query."""
    places = [(15 + 30.0 * (k * 7 % 13), 15 + 30.0 * (k * 5 // 13 * 5 % 13)) for k in range(n)]
    return np.column_stack([places, np.full(n, 3.0), np.full(n, 1.0)])


@pytest.mark.parametrize(("many", "curved"), [(11, False), (12, True), (150, True)])
def test_a_map_grows_to_a_homography_if_a_dozen_features_ask_for_it(many: int, curved: bool) -> None:
    query = keypoints(np.random.default_rng(5), many)
    query[:4, :2] = [[10, 10], [390, 15], [385, 390], [12, 380]]
    made = np.array([[1.2, 0.1, 40.0], [-0.1, 1.1, 30.0], [4e-5, 2e-5, 1.0]])
    found = refined(made, query, affine(1.19, 0.09, -0.11, 1.09, 41, 31))
    assert found is not None
    assert bool(np.abs(found.matrix[2, :2]).max() > 1e-7) is curved
    assert found.matrix[2, 2] == 1
    if many == 150:
        points = np.column_stack([CORNERS, np.ones(4)])
        told, true = points @ found.matrix.T, points @ made.T
        np.testing.assert_allclose(told[:, :2] / told[:, 2:], true[:, :2] / true[:, 2:], atol=1.0)
        assert found.partner[found.inliers].tolist() == np.flatnonzero(found.inliers).tolist()
        assert found.distance.max() <= LIMIT
        assert found.compared.min() >= 1
        assert found.inliers.sum() > 120


def test_perspective_that_paper_does_not_have_is_not_followed() -> None:
    query = keypoints(np.random.default_rng(6), 300)
    made = leaning(0.62 / SIDE, 0) @ affine(1, 0, 0, 1)
    start = np.vstack([reference.fit_affine(query, laid(made, query), np.eye(3)[:2], 0.0), [0, 0, 1]])
    found = refined(made, query, start, tolerance=Tolerance(near=60.0))
    assert found is not None
    assert plausible(found.matrix, CORNERS)


def test_fewer_than_three_agreements_are_none() -> None:
    query = grid(4)
    for many, agrees in ((2, False), (3, True), (4, True)):
        found = refined(np.eye(3), query[:many], np.eye(3))
        assert (found is not None) is agrees
        if found is not None:
            assert found.inliers.sum() == many


def test_an_implausible_map_is_given_up() -> None:
    query = keypoints(np.random.default_rng(7), 100)
    assert refined(affine(3, 0, 0, 1), query, affine(3, 0, 0, 1)) is None
    assert refined(affine(1.8, 0, 0, 1), query, affine(1.8, 0, 0, 1)) is not None


@pytest.mark.parametrize(("growth", "pixel"), [(1.0, 1.0), (2.5, 1.0), (2.0, 2.0), (0.5, 1.0)])
def test_agreements_are_distinct_in_cells_of_the_image(growth: float, pixel: float) -> None:
    """Two features of the query agree beside each other if the cells of the image tell them apart."""
    cell = CELL * pixel / growth
    corner = [[0.0, 0.0]]  # where cells are counted from, in both
    places = [[0.3 * cell + 10 * cell * k, cell * y] for k in range(1, 5) for y in (0.2, 0.7)]
    apart = [[0.3 * cell + 10 * cell * k, cell * (y + 20)] for k in range(1, 5) for y in (0.2, 1.3)]
    query = np.column_stack([np.array(corner + places + apart), np.full(17, 3.0), np.ones(17)])
    query[1::2, 3] += 1.0  # so that neighbours are no partners
    query[2::2, 3] -= 1.0
    found = refined(
        affine(growth, 0, 0, growth), query, affine(growth, 0, 0, growth), pixel, Tolerance(near=0.5, reach=0.0)
    )
    assert found is not None
    assert found.inliers.sum() == 1 + 4 + 8


@pytest.mark.parametrize("pixel", [1.0, 3.0])
def test_partners_are_sought_as_far_as_pixels_and_bent_paper_put_them(pixel: float) -> None:
    """In the last rounds the larger of `near` pixels of the size extracted at, and `reach` of the diagonal."""
    query = grid(160)
    diagonal = SIDE * math.sqrt(2)
    for tolerance, radius in (
        (Tolerance(near=4.0, reach=0.0), 4.0 * pixel),
        (Tolerance(near=0.1, reach=0.02), 0.02 * diagonal),
    ):
        image, projections = signed(np.random.default_rng(1), query.copy())
        off = np.zeros(160)
        off[:10] = 0.85 * radius
        off[10:20] = 1.15 * radius
        off[:20] *= np.where(np.arange(20) % 2, 1, -1)  # no map can follow
        image.frame[:, 0] += off
        found = refine(np.eye(3)[:2], query, projections, image, MEDIANS, 1 / 256, CORNERS, pixel, tolerance)
        assert found is not None
        own = found.partner == np.arange(160)
        assert own[:10].all()
        assert not own[10:20].any()
        assert own[20:].all()
