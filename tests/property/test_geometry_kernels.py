"""The compiled loops of the geometry do what their plain twins do, and find the maps that points were made with."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matcher import _kernels as kernels
from tests import reference

EXAMPLES = settings(deadline=None, max_examples=60)  # a busy machine, or numba switched off, takes its time
SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.integers(3, 40)
OCTAVES, TURN = 0.6, 0.45


def similarity(rng, shift=500.0):
    """Return a random similarity, shape (2, 3)."""
    scale, turn = 2.0 ** rng.uniform(-2, 2), rng.uniform(-math.pi, math.pi)
    c, s = scale * math.cos(turn), scale * math.sin(turn)
    return np.array([[c, -s, rng.uniform(-shift, shift)], [s, c, rng.uniform(-shift, shift)]])


def keypoints(rng, n, extent=400.0):
    """Return random keypoints: x, y, log2 size, angle."""
    return np.column_stack([rng.uniform(0, extent, (n, 2)), rng.uniform(1, 5, n), rng.uniform(0, 2 * math.pi, n)])


def laid(matrix, query, rng, noise=0.0):
    """Return the keypoints that an affine map makes of others, off by `noise` pixels and a little in the rest."""
    linear = matrix[:, :2]
    image = query.copy()
    image[:, :2] = query[:, :2] @ linear.T + matrix[:, 2] + rng.normal(0, noise, (len(query), 2))
    image[:, 2] += 0.5 * math.log2(abs(np.linalg.det(linear)))
    image[:, 3] += math.atan2(linear[1, 0] - linear[0, 1], linear[0, 0] + linear[1, 1])
    if noise:
        image[:, 2] += rng.normal(0, 0.3, len(query))
        image[:, 3] += rng.normal(0, 0.2, len(query))
    return image


def frozen(array):
    array.flags.writeable = False
    return array


def all_of(query):
    return np.ones(len(query), dtype=np.bool_)


@EXAMPLES
@given(SEEDS, SIZES)
def test_strongest_hypothesis_is_the_one_with_most_votes(seed, n):
    rng = np.random.default_rng(seed)
    query = np.repeat(keypoints(rng, n), rng.integers(1, 4, n), axis=0)  # some features with several partners
    image = laid(similarity(rng), query, rng, noise=3.0)
    wrong = rng.random(len(query)) < 0.4
    image[wrong] = keypoints(rng, int(wrong.sum()))
    weights = rng.uniform(0.1, 1, len(query))
    limits = (6.0, 0.08, OCTAVES, TURN)
    best, votes = kernels.strongest_hypothesis(frozen(query), frozen(image), frozen(weights), len(query), *limits)
    expected = [reference.hypothesis_votes(i, query, image, weights, *limits) for i in range(len(query))]
    assert votes == pytest.approx(max(expected))
    assert expected[best] == pytest.approx(max(expected))


@EXAMPLES
@given(SEEDS, st.integers(0, 40))
def test_inliers(seed, n):
    rng = np.random.default_rng(seed)
    query = keypoints(rng, n)
    matrix = similarity(rng) @ np.vstack([rng.normal(np.eye(3)[:2], 0.1), [0, 0, 1]])
    image = laid(matrix, query, rng, noise=3.0)
    mask = np.zeros(n, dtype=np.bool_)
    count = kernels.inliers_of(matrix, query, image, 4.0, OCTAVES, TURN, mask)
    assert mask.tolist() == reference.inliers_of(matrix, query, image, 4.0, OCTAVES, TURN).tolist()
    assert count == mask.sum()


@EXAMPLES
@given(SEEDS, SIZES)
def test_similarity_is_that_of_least_squares(seed, n):
    rng = np.random.default_rng(seed)
    query, made = keypoints(rng, n), similarity(rng)
    exact = kernels.fit_similarity(query, laid(made, query, rng), all_of(query))
    assert exact == pytest.approx(made, abs=1e-6)
    image, mask = laid(made, query, rng, noise=5.0), rng.random(n) < 0.7
    mask[:2] = True
    fitted = kernels.fit_similarity(query, image, mask)
    assert fitted == pytest.approx(reference.fit_similarity(query[mask], image[mask]), rel=1e-6, abs=1e-6)


@EXAMPLES
@given(SEEDS, SIZES)
def test_affine_is_that_of_least_squares_and_its_prior(seed, n):
    rng = np.random.default_rng(seed)
    query, prior = keypoints(rng, n), similarity(rng)
    image = laid(prior, query, rng)
    assert kernels.fit_affine(query, image, all_of(query), prior, 5.0) == pytest.approx(prior, rel=1e-6, abs=1e-5)
    image, mask = laid(prior, query, rng, noise=5.0), rng.random(n) < 0.7
    mask[:3] = True
    for stiffness in (0.5, 5.0):
        fitted = kernels.fit_affine(query, image, mask, prior, stiffness)
        expected = reference.fit_affine(query[mask], image[mask], prior, stiffness)
        assert fitted == pytest.approx(expected, rel=1e-5, abs=1e-4)


@EXAMPLES
@given(SEEDS, st.integers(12, 60))
def test_homography_is_found_again(seed, n):
    rng = np.random.default_rng(seed)
    query = keypoints(rng, n)
    query[:4, :2] = [[0, 0], [400, 0], [400, 400], [0, 400]]  # spread out, as `refine` has them checked
    made = np.vstack([similarity(rng), [0, 0, 1]])
    made[2, :2] = rng.uniform(-3e-4, 3e-4, 2)
    places = np.column_stack([query[:, :2], np.ones(n)]) @ made.T
    image = query.copy()
    image[:, :2] = places[:, :2] / places[:, 2:]
    stray = rng.random(n) < 0.2
    stray[:4] = False
    image[stray, :2] += 100
    start = np.vstack([reference.fit_affine(query[~stray], image[~stray], np.eye(3)[:2], 0.0), [0, 0, 1]])
    fitted = kernels.fit_homography(query, image, ~stray, start, 0.0)
    assert fitted[2, 2] == 1
    back = np.column_stack([query[:, :2], np.ones(n)]) @ fitted.T
    off = np.linalg.norm(back[:, :2] / back[:, 2:] - image[:, :2], axis=1)[~stray]
    assert off.max() < 0.05


def test_perspective_has_to_be_paid_for():
    rng = np.random.default_rng(1)
    query = keypoints(rng, 20)
    image = laid(similarity(rng), query, rng, noise=2.0)
    start = np.vstack([reference.fit_affine(query, image, np.eye(3)[:2], 0.0), [0, 0, 1]])
    free, held = (kernels.fit_homography(query, image, all_of(query), start, stiffness) for stiffness in (0.0, 1e9))
    assert np.abs(free[2, :2]).max() > 1e-6
    assert np.abs(held[2, :2]).max() < 1e-9
    assert held == pytest.approx(start, rel=1e-3, abs=1e-2)


@EXAMPLES
@given(SEEDS, st.integers(0, 30), st.integers(1, 60))
def test_rematch_finds_the_nearest_partner_in_reach(seed, n, m):
    rng = np.random.default_rng(seed)
    query, image = keypoints(rng, n), keypoints(rng, m, extent=rng.choice([1.0, 60.0, 400.0]))
    matrix = np.vstack([similarity(rng, shift=100.0), [*rng.uniform(-2e-3, 2e-3, 2), 1]])
    image[:, 2] = rng.uniform(2, 4, m)
    projections = rng.normal(0, 0.1, (n, 64)).astype(np.float32)
    words, medians = rng.integers(0, 8, m).astype(np.uint16), rng.integers(-60, 60, (8, 64)).astype(np.int8)
    signatures = rng.integers(0, 1 << 64, m, dtype=np.uint64)
    partner, distance, compared = np.zeros(n, np.int32), np.zeros(n, np.uint8), np.zeros(n, np.int32)
    given_ = (matrix, query, projections, image, words, signatures, frozen(medians), 1 / 256, 25.0, 1.5, 2.0)
    kernels.rematch(*given_, partner, distance, compared)
    for i, (partners, nearest, many) in enumerate(reference.rematch(*given_)):
        assert (distance[i], compared[i]) == (nearest, many)
        assert partner[i] in (partners or {-1})


@EXAMPLES
@given(SEEDS, st.integers(1, 60), st.floats(0.5, 40))
def test_cells_are_numbered(seed, n, side):
    points = np.random.default_rng(seed).uniform(-50, 200, (n, 4))
    numbers = kernels.number_cells(points[:, :2], side)
    cells = reference.number_cells(points[:, :2], side)
    assert min(numbers) >= 0
    assert len(set(zip(numbers.tolist(), cells, strict=True))) == len(set(cells)) == len(set(numbers.tolist()))


@EXAMPLES
@given(SEEDS, st.integers(0, 40), st.integers(1, 40))
def test_agreements_are_distinct(seed, n, m):
    rng = np.random.default_rng(seed)
    query_cells, image_cells = rng.integers(0, 20, n).astype(np.int32), rng.integers(0, 20, m).astype(np.int32)
    partner, distance = rng.integers(-1, m, n).astype(np.int32), rng.integers(0, 65, n).astype(np.uint8)
    order = np.argsort(distance, kind="stable")
    kept = np.ones(n, dtype=np.bool_)
    count = kernels.distinct_agreements(query_cells, image_cells, partner, distance, 40, order, kept)
    assert set(np.flatnonzero(kept)) == reference.distinct_agreements(
        query_cells, image_cells, partner, distance, 40, order
    )
    assert count == kept.sum()


@EXAMPLES
@given(SEEDS, st.integers(0, 30), st.integers(0, 30), st.integers(1, 6), st.floats(0, 300))
def test_lines_are_thinned(seed, n, on_a_line, most, length):
    rng = np.random.default_rng(seed)
    line = rng.uniform(0, 300, 2) + rng.uniform(-200, 200, (on_a_line, 1)) * rng.normal(0, 1, 2)
    points = np.concatenate([rng.uniform(0, 300, (n, 2)), line])
    count = kernels.thinned_lines(points, 12.0, length, most, 12)
    assert count == reference.thinned_lines(points, 12.0, length, most, 12)
    assert min(len(points), most) <= count <= len(points)
    assert kernels.thinned_lines(points, 12.0, 1e4, most, 12) == len(points)  # nothing is so long


@EXAMPLES
@given(SEEDS, st.integers(5, 30))
def test_estimate_finds_the_map_of_each_image_by_itself(seed, n):
    rng = np.random.default_rng(seed)
    maps = [similarity(rng) for _ in range(3)]
    query = keypoints(rng, 3 * n)
    image = np.concatenate([laid(map_, query[k * n : (k + 1) * n], rng) for k, map_ in enumerate(maps)])
    image[2 * n :] = keypoints(rng, n, extent=1e5)  # the last image agrees on nothing
    weights = np.full(3 * n, 0.5)
    bounds = np.array([0, n, 2 * n, 3 * n, 3 * n])
    matrices, votes, masks = np.zeros((4, 2, 3)), np.zeros(4), np.zeros(3 * n, dtype=np.bool_)
    kernels.estimate_each(
        query, image, weights, bounds, 500.0, np.ones(4), 200, 2.5, 0.01, 0.08, OCTAVES, TURN, matrices, votes, masks
    )
    for k in range(2):
        assert matrices[k] == pytest.approx(maps[k], rel=1e-5, abs=1e-4)
        assert votes[k] == pytest.approx(0.5 * n)
    assert masks[: 2 * n].all()
    assert votes[3] == 0
