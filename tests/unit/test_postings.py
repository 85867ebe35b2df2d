"""Votes over the postings of a segment: what a plain walk through all features of all images says, too."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from index.encoding import EncodedImage
from index.keypoints import unpacked
from index.postings import SignedQuery, agreements, keypoints, pairs_on, tally, weights
from index.segment import Segment
from index.segment_writing import write_segment
from index.vocabulary import WORD_STEP, Vocabulary
from tests.crash.fake_encoder import SETTINGS

if TYPE_CHECKING:
    from pathlib import Path

LIMIT = 24
WORDS = 12


def image(rng: np.random.Generator, n: int) -> EncodedImage:
    """Return random features of which many agree: signatures are a few bits off one of three."""
    signatures = rng.choice(np.array([0, (1 << 64) - 1, 0xF0F0F0F0F0F0F0F0], np.uint64), n)
    for _ in range(14):
        signatures ^= np.uint64(1) << rng.integers(0, 64, n, dtype=np.uint64)
    words = np.sort(rng.integers(1, WORDS, n)).astype(np.uint16)
    return EncodedImage(words, signatures, rng.integers(0, 1 << 32, n, dtype=np.uint32), 800 + n, 600)


@pytest.fixture
def segments(tmp_path: Path) -> list[Segment]:
    """Two segments of three and two images; the second image is dead."""
    rng = np.random.default_rng(3)
    images = {10: 30, 11: 40, 15: 25, 20: 1, 21: 50}
    encoded = {number: image(rng, n) for number, n in images.items()}
    write_segment(tmp_path / "a.h5", [(number, encoded[number]) for number in (10, 11, 15)], SETTINGS)
    write_segment(tmp_path / "b.h5", [(number, encoded[number]) for number in (20, 21)], SETTINGS)
    return [Segment.open(tmp_path / "a.h5", [11]), Segment.open(tmp_path / "b.h5")]


@pytest.fixture
def query() -> SignedQuery:
    """Fifteen features with one to three words each, among them words that no image has."""
    rng = np.random.default_rng(4)
    features = np.repeat(np.arange(15), rng.integers(1, 4, 15)).astype(np.int32)
    words = rng.integers(0, WORDS + 2, len(features)).astype(np.int32)
    frame = np.column_stack([rng.uniform(0, 500, (15, 2)), rng.uniform(1, 4, 15), rng.uniform(0, 6, 15)])
    return SignedQuery(frame, features, words, image(rng, len(features)).signatures)


def walked(segment: Segment, query: SignedQuery) -> list[tuple[int, int, int, int]]:
    """Return entry, local image, distance and geometry of all that agrees, by looking at every feature."""
    found = []
    for entry, (word, signature) in enumerate(zip(query.words, query.signatures, strict=True)):
        for local in range(len(segment)):
            stored = segment.gather(local)
            for own, other, geometry in zip(stored.words, stored.signatures, stored.geometry, strict=True):
                distance = (int(signature) ^ int(other)).bit_count()
                if own == word and distance <= LIMIT and segment.alive[local]:
                    found.append((entry, local, distance, int(geometry)))
    return found


def weight_of(distance: int) -> float:
    return math.exp(-((distance / 16) ** 2))


def test_what_agrees_is_what_a_walk_finds(segments: list[Segment], query: SignedQuery) -> None:
    for segment in segments:
        found, expected = agreements(segment, query, LIMIT), walked(segment, query)
        assert len(expected) > 5
        entries = np.repeat(np.arange(len(query.words)), np.diff(found.bounds))
        geometry = segment.geometry_at(found.starts[entries] + found.places)
        told = zip(entries.tolist(), found.images.tolist(), found.distances.tolist(), geometry.tolist(), strict=True)
        assert sorted(told) == sorted(expected)
        assert found.bounds[0] == 0


def test_a_feature_counts_the_less_the_more_agrees_with_it(segments: list[Segment], query: SignedQuery) -> None:
    found = [agreements(segment, query, LIMIT) for segment in segments]
    many = np.zeros(15)
    for segment in segments:
        for entry, *_ in walked(segment, query):
            many[query.features[entry]] += 1
    assert (many == 0).any()
    assert (many > 3).any()
    told = weights(query, found)
    assert told.dtype == np.float32
    assert told == pytest.approx([1 / math.sqrt(max(number, 1)) for number in many])


def test_votes_are_weighed_by_nearness(segments: list[Segment], query: SignedQuery) -> None:
    of_features = np.linspace(0.1, 1, 15).astype(np.float32)
    for segment in segments:
        expected = np.zeros(len(segment))
        best: dict[tuple[int, int], float] = {}
        for entry, local, distance, _ in walked(segment, query):
            key = int(query.features[entry]), local
            best[key] = max(best.get(key, 0.0), weight_of(distance))
        for (feature, local), nearness in best.items():
            expected[local] += of_features[feature] * nearness
        told = tally(segment, query, agreements(segment, query, LIMIT), of_features)
        assert told == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("chosen", [[0, 2], [2], [1], []])
def test_pairs_lie_on_the_chosen_images(segments: list[Segment], query: SignedQuery, chosen: list[int]) -> None:
    segment = segments[0]
    of_features = np.linspace(0.1, 1, 15).astype(np.float32)
    pairs = pairs_on(segment, query, agreements(segment, query, LIMIT), of_features, np.array(chosen, np.int64))
    by_image = [[row for row in walked(segment, query) if row[1] == local] for local in chosen]
    assert pairs.bounds.tolist() == np.cumsum([0, *map(len, by_image)]).tolist()
    for place, rows in enumerate(by_image):
        mine = slice(pairs.bounds[place], pairs.bounds[place + 1])
        size = segment.image_sizes[chosen[place]][None]
        expected = [
            (
                *query.frame[query.features[entry]],
                *unpacked(np.array([geometry], np.uint32), size, SETTINGS.work_size)[0],
                of_features[query.features[entry]] * weight_of(distance),
            )
            for entry, _, distance, geometry in rows
        ]
        told = np.column_stack([pairs.query[mine], pairs.image[mine], pairs.weights[mine]])
        assert len(told) == len(rows)
        for row, wanted in zip(sorted(map(tuple, told)), sorted(expected), strict=True):
            assert row == pytest.approx(wanted, rel=1e-6)


def test_no_images_no_agreements(tmp_path: Path, query: SignedQuery) -> None:
    write_segment(tmp_path / "none.h5", [], SETTINGS)
    segment = Segment.open(tmp_path / "none.h5")
    found = agreements(segment, query, LIMIT)
    assert found.bounds.tolist() == [0] * (len(query.words) + 1)
    assert not len(found.images)
    assert weights(query, []).tolist() == [1.0] * 15
    assert tally(segment, query, found, weights(query, [found])).shape == (0,)


def test_keypoints_are_in_pixels_of_their_image(segments: list[Segment]) -> None:
    segment = segments[1]
    places = np.arange(segment.n_features)
    sizes = segment.image_sizes[segment.images]
    expected = unpacked(segment.geometry_at(places), sizes, SETTINGS.work_size)
    np.testing.assert_array_equal(keypoints(segment, places, segment.images), expected)


def test_features_get_their_nearest_words_and_signatures_against_each() -> None:
    rng = np.random.default_rng(6)
    coded, offsets = rng.integers(0, 256, (40, 8)).astype(np.uint8), np.arange(0, 41, 8)
    medians = rng.integers(-60, 60, (40, 64)).astype(np.int8)
    centres = np.array([coded[first : first + 8].mean(axis=0) for first in offsets[:-1]], np.float32) * WORD_STEP
    vocabulary = Vocabulary(
        "test", "none", coded, centres, offsets,
        np.zeros((64, 8), np.float32), medians, np.zeros(11, np.float32),
    )  # fmt: skip
    descriptors = rng.random((60, 8)).astype(np.float32)
    projections = rng.normal(0, 0.2, (60, 64)).astype(np.float32)
    frame = rng.random((60, 4))
    made = SignedQuery.of(frame, descriptors, projections, vocabulary, 3)
    assert made.frame is frame
    assigned = vocabulary.assign(descriptors, 3, 4)  # of five cells, the four nearest
    assert made.features.tolist() == [feature for feature in range(60) for word in assigned[feature] if word >= 0]
    assert made.words.tolist() == [word for words in assigned.tolist() for word in words if word >= 0]
    assert made.signatures.tolist() == vocabulary.signatures(projections[made.features], made.words).tolist()
    for cells in (3, 5):
        assert not np.array_equal(vocabulary.assign(descriptors, 3, cells), assigned)
