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
    counts = np.zeros(entries, np.int64)
    places, distances, hosts = np.empty(room, np.uint32), np.empty(room, np.uint8), np.empty(room, np.uint16)
    count = kernels.agreeing_postings(
        starts, stops, signatures, postings, images, alive, limit, counts, places, distances, hosts
    )
    expected = reference.agreeing_postings(starts, stops, signatures, postings, images, alive, limit)
    owners = np.repeat(np.arange(entries), counts)
    found = zip(owners, starts[owners] + places[:count], distances[:count], strict=True)
    assert list(found) == expected
    assert hosts[:count].tolist() == [images[place] for _, place, _ in expected]


def drawn_agreements(rng, n_features, n, n_images):
    """Return bounds, features, images and distances as `index._kernels.tally` takes them."""
    features = np.sort(rng.integers(0, n_features, 3 * n_features)).astype(np.int32)
    bounds = np.concatenate([[0], np.sort(rng.integers(0, n + 1, len(features) - 1)), [n]])
    return bounds, features, rng.integers(0, n_images, n).astype(np.uint16), rng.integers(0, 65, n).astype(np.uint8)


@EXAMPLES
@given(SEEDS, st.integers(1, 10), st.integers(0, 200))
def test_tally(seed, n_features, n):
    rng = np.random.default_rng(seed)
    agreements = drawn_agreements(rng, n_features, n, 6)
    weights = rng.random(n_features).astype(np.float32), rng.random(65).astype(np.float32)
    votes = np.zeros(6, np.float32)
    kernels.tally(*agreements, *weights, votes)
    assert votes == pytest.approx(reference.tally(*agreements, *weights, 6), rel=1e-4, abs=1e-5)


@EXAMPLES
@given(SEEDS, st.integers(1, 10), st.integers(0, 200), st.sets(st.integers(0, 5)))
def test_agreements_on(seed, n_features, n, wanted):
    rng = np.random.default_rng(seed)
    bounds, _, images, _ = drawn_agreements(rng, n_features, n, 6)
    chosen = sorted(wanted)
    ranks = np.full(6, -1, np.int32)
    ranks[chosen] = np.arange(len(chosen))
    held = [int((images == image).sum()) for image in chosen]
    fill = np.concatenate([[0], np.cumsum(held)]).astype(np.int64)[:-1]
    entries, rows = np.empty(sum(held), np.int32), np.empty(sum(held), np.int64)
    kernels.agreements_on(bounds, images, ranks, fill, entries, rows)
    assert list(zip(entries.tolist(), rows.tolist(), strict=True)) == reference.agreements_on(bounds, images, chosen)


@EXAMPLES
@given(SEEDS, st.integers(0, 30), st.integers(0, 200), st.tuples(st.integers(0, 40), st.integers(0, 40)))
def test_postings_between(seed, n_words, n, images):
    rng = np.random.default_rng(seed)
    keys = np.sort(rng.integers(0, 40, n) << 16 | rng.integers(0, 40, n))
    words, offsets = np.unique(keys >> 16, return_index=True)
    offsets = np.append(offsets, n).astype(np.int64)
    wanted = np.sort(rng.permutation(40)[:n_words]).astype(np.uint16)
    segment = words.astype(np.uint16), offsets, (keys & 0xFFFF).astype(np.uint16)
    places, rows = kernels.postings_between(*segment, wanted, *sorted(images))
    expected = reference.postings_between(*segment, wanted, *sorted(images))
    assert list(zip(places.tolist(), rows.tolist(), strict=True)) == expected


@EXAMPLES
@given(SEEDS, st.integers(0, 20), st.integers(1, 12), st.integers(1, 6))
def test_probes_by_cell(seed, n, cells, probes):
    distances = np.random.default_rng(seed).integers(0, 9, (n, cells)).astype(np.float32)  # many are equal
    probes = min(probes, cells)
    rows, bounds = np.empty(n * probes, np.int32), np.empty(cells + 1, np.int64)
    kernels.probes_by_cell(distances, probes, rows, bounds)
    by_cell = [rows[bounds[cell] : bounds[cell + 1]].tolist() for cell in range(cells)]
    assert by_cell == reference.probes_by_cell(distances, probes)


@EXAMPLES
@given(SEEDS, st.integers(0, 20))
def test_sign(seed, n):
    rng = np.random.default_rng(seed)
    projections, medians = rng.normal(0, 0.2, (n, 64)).astype(np.float32), rng.integers(-128, 128, (9, 64))
    words, signatures = rng.integers(0, 9, n).astype(np.int32), np.empty(n, np.uint64)
    projections[::2] = np.round(projections[::2] * 256) / 256  # as high as a median may be
    kernels.sign(projections, medians.astype(np.int8), words, 1 / 256, signatures)
    assert signatures.tolist() == reference.sign(projections, medians, words, 1 / 256)


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
