"""Tentative pairs by descriptors alone."""

from __future__ import annotations

import numpy as np
import pytest

from matcher.pairing import nearest_pairs


def described(n: int, seed: int) -> np.ndarray:
    found = np.random.default_rng(seed).normal(size=(n, 64)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def noisy(descriptors: np.ndarray, seed: int = 9) -> np.ndarray:
    found = descriptors + np.random.default_rng(seed).normal(0, 0.02, descriptors.shape).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.mark.parametrize("copies", [1, 2, 4])
def test_every_copy_of_a_feature_is_a_partner(copies):
    query = described(30, 0)
    image = np.concatenate([*(noisy(query, seed) for seed in range(copies)), described(500, 7)])
    rows, columns, weights = nearest_pairs(query, image)
    true = columns < 30 * copies
    assert sorted(zip(rows[true], columns[true], strict=True)) == sorted(
        (i, i + 30 * copy) for i in range(30) for copy in range(copies)
    )
    assert weights[true].min() > weights[~true].max(initial=0.1)
    assert (np.diff(rows) >= 0).all()


def test_what_is_as_near_to_everything_has_no_partner():
    image = np.repeat(described(1, 3), 40, axis=0)
    rows, _, _ = nearest_pairs(described(20, 4), image)
    assert len(rows) == 0


@pytest.mark.parametrize(("n", "m"), [(0, 5), (5, 0), (5, 1), (3, 2)])
def test_there_may_be_few_features(n, m):
    rows, columns, weights = nearest_pairs(described(n, 1), described(m, 2))
    assert len(rows) == len(columns) == len(weights)
    assert (columns < m).all()


def test_many_queries_are_paired_like_few():
    query, image = described(5000, 5), noisy(described(300, 6))
    query[:300] = described(300, 6)
    rows, columns, _ = nearest_pairs(query, image)
    some, theirs, _ = nearest_pairs(query[:300], image)
    first = rows < 300
    assert sorted(zip(rows[first], columns[first], strict=True)) == sorted(zip(some, theirs, strict=True))
