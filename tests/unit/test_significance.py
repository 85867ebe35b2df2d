"""How sure: against the laws of chance, and against chance itself."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from matcher.geometry import LIMIT, Agreement, Signed, Tolerance, refine
from matcher.significance import SHIPPED_LAW, Law, cells_off_lines, evidence, expected_cells, log_tail


@pytest.mark.parametrize("expected", [0.1, 1.0, 3.7, 25.0])
@pytest.mark.parametrize("more", [5, 8, 30, 100])
def test_tail_bounds_that_of_the_law_closely(expected, more):
    count = math.ceil(expected) + more
    mean = 0.25 + 0.45 * expected
    exact = stats.nbinom.logsf(count - 3 - 1, mean / 0.5, 1 / 1.5) / math.log(10)
    assert exact - 1e-9 <= log_tail(count, expected) <= exact + 0.7


def test_what_the_map_was_fitted_to_and_what_is_expected_is_no_evidence():
    assert [log_tail(count, 4.0) for count in range(6)] == [0.0] * 6
    assert log_tail(3, 0.0) == 0.0


def test_more_agreements_are_surer_and_more_expected_less_sure():
    tails = [log_tail(count, 3.0) for count in range(200)]
    assert all(later <= earlier for earlier, later in pairwise(tails))
    assert tails[-1] < -50
    expectations = np.linspace(0.1, 60, 100)
    assert (np.diff([log_tail(50, expected) for expected in expectations]) >= 0).all()


def test_a_wider_law_and_a_higher_mean_make_less_sure():
    narrow, wide, higher = (
        Law(0.02, 0.3, share, dispersion, 1e-3) for share, dispersion in ((0.4, 1.5), (0.4, 3), (1, 1.5))
    )
    for count in (6, 12, 40):
        assert log_tail(count, 2.0, narrow) < log_tail(count, 2.0, wide)
        assert log_tail(count, 2.0, narrow) < log_tail(count, 2.0, higher)


@pytest.mark.parametrize(
    "wrong",
    [
        {"chance": 0.0}, {"chance": 1.0}, {"base": 0.0}, {"share": -0.1}, {"dispersion": 1.0}, {"weighed": math.nan},
        {"weighed": 0.0}, {"weighed": 1.1}, {"base": math.inf},
    ],
)  # fmt: skip
def test_numbers_that_are_no_law_are_refused(wrong):
    with pytest.raises(ValueError, match="no law of chance"):
        replace(SHIPPED_LAW, **wrong)


def test_a_law_held_to_another_is_as_wide_and_keeps_what_is_wider():
    narrow, wide = Law(0.03, 0.1, 0.2, 1.2, 0.01), Law(0.03, 0.7, 0.9, 3.0, 0.01)
    assert wide.held_to(SHIPPED_LAW) == wide
    held = narrow.held_to(SHIPPED_LAW)
    assert held.held_to(SHIPPED_LAW) == held
    assert (held.chance, held.weighed) == (0.03, 0.01)
    alone = np.ones(200, np.int64)
    for count in range(4, 60):  # whatever the chance, one comparison in a cell adds as much to the mean
        same = log_tail(count, expected_cells(alone, SHIPPED_LAW.chance))
        assert log_tail(count, expected_cells(alone, held.chance), held) == pytest.approx(same)


def test_numbers_at_the_bounds_of_a_law_are_taken():
    bounds = replace(SHIPPED_LAW, share=0.0, weighed=1.0)
    assert log_tail(9, 5.0, bounds) == log_tail(9, 50.0, bounds)  # what is expected counts for nothing


def agreement(compared: np.ndarray, inliers: np.ndarray) -> Agreement:
    n = len(compared)
    return Agreement(np.eye(3), np.zeros(n, np.int32), np.zeros(n, np.uint8), compared.astype(np.int32), inliers)


def grid(n: int, spacing: float) -> np.ndarray:
    return np.column_stack([np.arange(n) % 20, np.arange(n) // 20]) * spacing


def test_cells_count_not_features():
    apart, together = grid(40, 20.0), grid(40, 20.0)
    together[:] = [[5.0, 5.0]]
    together[0] = 0
    everything = np.ones(40, dtype=np.bool_)
    count, sure = evidence(agreement(np.ones(40), everything), apart, 1.0)
    assert (count, sure) == (40, pytest.approx(log_tail(40, 40 * SHIPPED_LAW.chance)))
    count, sure = evidence(agreement(np.ones(40), everything), together, 1.0)
    assert count <= 2
    assert sure > -1


def test_features_that_were_not_compared_do_not_count():
    inliers = np.arange(40) < 10
    some, all_ = (evidence(agreement(np.full(40, 30) * reached, inliers), grid(40, 20.0), 1.0)
                  for reached in (inliers, np.ones(40)))  # fmt: skip
    assert some[0] == all_[0] == 10
    assert some[1] < all_[1]
    expected = 40 * (1 - (1 - SHIPPED_LAW.chance) ** 30)
    assert all_[1] == pytest.approx(log_tail(10, expected), rel=1e-6)


def test_cells_grow_with_the_pixel():
    inliers = np.ones(100, dtype=np.bool_)
    counts = [evidence(agreement(np.ones(100), inliers), grid(100, 10.0), pixel)[0] for pixel in (1.0, 2.0, 4.0)]
    assert counts[0] == 100
    assert counts[0] > counts[1] > counts[2]


@pytest.mark.parametrize("turn", [0.0, 0.03, 0.8, math.pi / 2, 2.5])
@pytest.mark.parametrize("pixel", [1.0, 2.5])
def test_what_lies_on_one_line_counts_little(turn, pixel):
    along = np.linspace(0, 500, 40)
    rng = np.random.default_rng(2)
    line = np.column_stack([np.cos(turn) * along, np.sin(turn) * along]) + rng.uniform(-1.5, 1.5, (40, 2)) + 1000
    everything = np.ones(40, dtype=np.bool_)
    assert evidence(agreement(everything, everything), pixel * line, pixel)[0] == 40
    assert cells_off_lines(agreement(everything, everything), pixel * line, pixel, 160) <= 8
    # A cut of the size of an initial keeps all that it has, and what lies scattered over a picture most of it.
    cut, scattered = grid(40, 8.0), rng.uniform(0, 500, (40, 2))
    assert cells_off_lines(agreement(everything, everything), pixel * cut, pixel, 160) == 40
    apart = evidence(agreement(everything, everything), pixel * scattered, pixel)[0]
    assert cells_off_lines(agreement(everything, everything), pixel * scattered, pixel, 160) >= 0.6 * apart


def test_what_is_full_of_details_keeps_them():
    rng = np.random.default_rng(5)
    page = np.concatenate(
        [rng.uniform(0, 1000, (1500, 2)), np.column_stack([np.linspace(0, 1000, 100), np.full(100, 5.0)])]
    )
    everything = np.ones(len(page), dtype=np.bool_)
    apart = evidence(agreement(everything, everything), page, 1.0)[0]
    assert 0.9 * apart < cells_off_lines(agreement(everything, everything), page, 1.0, 160) < apart


def test_evidence_off_lines_is_as_sure_as_fewer_cells_are():
    line, everything = np.column_stack([np.linspace(0, 500, 40), np.full(40, 3.0)]), np.ones(40, dtype=np.bool_)
    count, sure = evidence(agreement(everything, everything), line, 1.0, line=160)
    assert (count, sure) == (4, pytest.approx(log_tail(4, 40 * SHIPPED_LAW.chance), rel=1e-6))


def random_signed(rng: np.random.Generator, n: int, extent: float) -> Signed:
    """Return random features all over a square, with signatures that mean nothing."""
    frame = np.column_stack([rng.uniform(0, extent, (n, 2)), rng.uniform(2, 4, n), rng.uniform(0, 2 * np.pi, n)])
    return Signed(frame, rng.integers(0, 4, n).astype(np.uint16), rng.integers(0, 1 << 64, n, dtype=np.uint64))


@pytest.mark.compiled
def test_chance_agreement_is_no_evidence():
    rng = np.random.default_rng(3)
    surest = 0.0
    for _ in range(20):
        query, image = random_signed(rng, 1500, 600.0), random_signed(rng, 4000, 600.0)
        projections = rng.normal(0, 1, (1500, 64)).astype(np.float32)
        corners = np.array([[0.0, 0], [600, 0], [600, 600], [0, 600]])
        found = refine(
            np.eye(3)[:2],
            query.frame,
            projections,
            image,
            np.zeros((4, 64), np.int8),
            1 / 256,
            corners,
            1.0,
            Tolerance(),
        )
        if found is not None:
            surest = min(surest, evidence(found, query.frame[:, :2], 1.0)[1])
    assert surest > -2


def test_true_agreement_is():
    rng = np.random.default_rng(4)
    image = random_signed(rng, 1000, 600.0)
    # Projections whose signs are the image's bits, of which one in ten is wrong.
    bits = ((image.signatures[:, None] >> np.arange(64, dtype=np.uint64)) & 1).astype(np.float32) * 2 - 1
    bits[rng.random(bits.shape) < 0.1] *= -1
    corners = np.array([[0.0, 0], [600, 0], [600, 600], [0, 600]])
    found = refine(
        np.eye(3)[:2], image.frame, bits, image, np.zeros((4, 64), np.int8), 1 / 256, corners, 1.0, Tolerance()
    )
    assert found is not None
    count, sure = evidence(found, image.frame[:, :2], 1.0)
    assert found.distance[found.inliers].max() <= LIMIT
    assert count > 500
    assert sure < -150
    assert found.matrix == pytest.approx(np.eye(3), abs=0.01)
