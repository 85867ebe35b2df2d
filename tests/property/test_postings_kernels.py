"""The compiled loops over postings and words do what their plain twins do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index import _kernels as kernels
from index.vocabulary import WORD_STEP, Vocabulary
from tests import reference

EXAMPLES = settings(deadline=None, max_examples=60)  # a busy machine, or numba switched off, takes its time
SEEDS = st.integers(0, 2**32 - 1)


@EXAMPLES
@given(SEEDS, st.integers(0, 8), st.integers(1, 700), st.integers(0, 64))
def test_agreeing_postings(seed, entries, n, limit):
    rng = np.random.default_rng(seed)
    bounds = np.sort(rng.integers(0, n + 1, (entries, 2)), axis=1)
    starts, stops = bounds[:, 0].copy(), bounds[:, 1].copy()
    signatures = rng.integers(0, 1 << 64, entries, dtype=np.uint64)
    postings = rng.integers(0, 1 << 64, n, dtype=np.uint64)
    images, alive = rng.integers(0, 5, n).astype(np.uint16), rng.random(5) < 0.7
    for array in (signatures, postings, images, alive):
        array.flags.writeable = False
    room = int((stops - starts).sum())
    found = np.empty(room, np.int32), np.empty(room, np.int64), np.empty(room, np.uint8)
    count = kernels.agreeing_postings(starts, stops, signatures, postings, images, alive, limit, *found)
    expected = reference.agreeing_postings(starts, stops, signatures, postings, images, alive, limit)
    assert list(zip(*(part[:count].tolist() for part in found), strict=True)) == expected


@EXAMPLES
@given(SEEDS, st.integers(1, 10), st.integers(0, 200))
def test_tally(seed, n_features, n):
    rng = np.random.default_rng(seed)
    features = np.sort(rng.integers(0, n_features, 3 * n_features)).astype(np.int32)
    entries = np.sort(rng.integers(0, len(features), n)).astype(np.int32)
    images, distances = rng.integers(0, 6, n).astype(np.uint16), rng.integers(0, 65, n).astype(np.uint8)
    weights = rng.random(n_features).astype(np.float32), rng.random(65).astype(np.float32)
    votes = np.zeros(6, np.float32)
    kernels.tally(entries, features, images, distances, *weights, votes)
    assert votes == pytest.approx(
        reference.tally(entries, features, images, distances, *weights, 6), rel=1e-4, abs=1e-5
    )


@EXAMPLES
@given(SEEDS, st.integers(0, 20), st.integers(1, 5), st.sampled_from([8, 16, 128]))
def test_looking_through_all_cells_finds_the_nearest_words(seed, n, wanted, size):
    rng = np.random.default_rng(seed)
    words = rng.integers(0, 256, (40, size)).astype(np.uint8)
    offsets = np.array([0, 3, 3, 20, 40])  # one cell is empty
    cells = rng.random((4, size)).astype(np.float32)
    vocabulary = Vocabulary(
        "test", "none", words, cells, offsets,
        np.zeros((64, size), np.float32), np.zeros((40, 64), np.int8), np.zeros(size + 3, np.float32),
    )  # fmt: skip
    descriptors = rng.random((n, size)).astype(np.float32)
    descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    chosen = vocabulary.assign(descriptors, wanted, probes=4)
    _, nearest = reference.nearest_words(descriptors, words * WORD_STEP, wanted)
    distances = np.linalg.norm(descriptors[:, None] - words[chosen] * WORD_STEP, axis=2)
    assert distances == pytest.approx(nearest, abs=1e-4)
    assert all(len(set(row)) == wanted for row in chosen.tolist())
