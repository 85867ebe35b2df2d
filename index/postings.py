"""Which images share visual words and signatures with a query: votes over the postings of every segment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from index import _kernels as kernels
from index._hdf5 import DamagedSegment
from index.keypoints import unpacked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from index.segment import Segment
    from index.vocabulary import Vocabulary

__all__ = ["Agreements", "Pairs", "SignedQuery", "agreements", "keypoints", "pairs_on", "tally", "weights"]

_NEARNESS = np.exp(-((np.arange(65) / 16.0) ** 2)).astype(np.float32)
"""Weight of a Hamming distance."""

_PROBES = 4
"""Cells of the vocabulary searched for a query's words; looking up several words makes up for the odd one missed."""


@dataclass(frozen=True, slots=True, eq=False)
class SignedQuery:
    """Query features with their words and signatures.

    Attributes
    ----------
    frame : float64, shape (n, 4)
        Keypoints, see `matcher.geometry.frames`.
    features : int32, shape (m,)
        The feature of each entry; entries of one feature adjoin.
    words : int32, shape (m,)
        The word of each entry.
    signatures : uint64, shape (m,)
        The feature's signature against that word's medians.
    """

    frame: NDArray[np.float64]
    features: NDArray[np.int32]
    words: NDArray[np.int32]
    signatures: NDArray[np.uint64]

    @classmethod
    def of(
        cls,
        frame: NDArray[np.float64],
        descriptors: NDArray[np.float32],
        projections: NDArray[np.float32],
        vocabulary: Vocabulary,
        words: int,
    ) -> SignedQuery:
        """Quantise features to the nearest `words` words each."""
        assigned = vocabulary.assign(descriptors, words, _PROBES)
        rows, columns = np.nonzero(assigned >= 0)
        entries = assigned[rows, columns]
        return cls(frame, rows.astype(np.int32), entries, vocabulary.signatures(projections[rows], entries))


class Agreements(NamedTuple):
    """Postings of one segment that agree with a query, in the order of the query's entries.

    Attributes
    ----------
    starts : int64, shape (m,)
        Where the postings of each entry's word begin.
    bounds : int64, shape (m + 1,)
        Entry `e` agrees with ``bounds[e]:bounds[e + 1]`` of what follows.
    places : uint32, shape (n,)
        Postings, counted from the entry's start.
    distances : uint8, shape (n,)
        Hamming distances of the signatures.
    images : uint16, shape (n,)
        Local image numbers.
    """

    starts: NDArray[np.int64]
    bounds: NDArray[np.int64]
    places: NDArray[np.uint32]
    distances: NDArray[np.uint8]
    images: NDArray[np.uint16]


class Pairs(NamedTuple):
    """Tentative pairs of a query and some images, image by image: see `matcher.geometry.estimate`."""

    query: NDArray[np.float64]
    image: NDArray[np.float64]
    weights: NDArray[np.float64]
    bounds: NDArray[np.int64]


def agreements(segment: Segment, query: SignedQuery, limit: int) -> Agreements:
    """Return the postings of living images within `limit` bits of the query's signatures.

    Raises
    ------
    CorruptIndex
        If one of them names an image that there is not.
    """
    row = np.searchsorted(segment.words, query.words)
    row[row == len(segment.words)] = 0
    here = segment.words[row] == query.words if len(segment.words) else np.zeros(len(row), dtype=np.bool_)
    starts = np.where(here, segment.offsets[row], 0)
    stops = np.where(here, segment.offsets[row + 1], 0) if len(segment.words) else starts
    counts, room = np.zeros(len(row), dtype=np.int64), int((stops - starts).sum())
    # Some in twenty agree, and the system gives memory only to what of these arrays is written.
    places, distances, images = np.empty(room, np.uint32), np.empty(room, np.uint8), np.empty(room, np.uint16)
    count = kernels.agreeing_postings(
        starts, stops, query.signatures, segment.signatures, segment.images, segment.alive, limit,
        counts, places, distances, images,
    )  # fmt: skip
    if count < 0:
        raise DamagedSegment(segment.path, f"a posting names an image beyond the {len(segment)} that it has")
    return Agreements(starts, np.append(0, np.cumsum(counts)), places[:count], distances[:count], images[:count])


def weights(query: SignedQuery, found: Sequence[Agreements]) -> NDArray[np.float32]:
    """Return the weight of each query feature, shape (n,), from what it agrees with in all segments.

    A feature's vote is divided by the root of the number of postings that agree with it anywhere (burstiness: Jégou,
    Douze & Schmid, CVPR 2009), which makes common features count little, whatever makes them common.
    """
    common = np.zeros(len(query.frame), dtype=np.int64)
    for part in found:
        np.add.at(common, query.features, np.diff(part.bounds))
    return (1 / np.sqrt(np.maximum(common, 1))).astype(np.float32)


def tally(
    segment: Segment, query: SignedQuery, found: Agreements, feature_weights: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the votes of each image of a segment, summed in the order of the query's features."""
    votes = np.zeros(len(segment), np.float32)
    kernels.tally(found.bounds, query.features, found.images, found.distances, feature_weights, _NEARNESS, votes)
    return votes


def pairs_on(
    segment: Segment,
    query: SignedQuery,
    found: Agreements,
    feature_weights: NDArray[np.float32],
    chosen: NDArray[np.integer],
) -> Pairs:
    """Return the agreements that lie on the images `chosen`, ascending local numbers of a segment."""
    ranks = np.full(len(segment), -1, dtype=np.int32)
    ranks[chosen] = np.arange(len(chosen))
    there = ranks[found.images]
    bounds = np.append(0, np.cumsum(np.bincount(there[there >= 0], minlength=len(chosen)))).astype(np.int64)
    entries, rows = np.empty(bounds[-1], np.int32), np.empty(bounds[-1], np.int64)
    kernels.agreements_on(found.bounds, found.images, ranks, bounds[:-1].copy(), entries, rows)
    features = query.features[entries]
    votes = feature_weights[features] * _NEARNESS[found.distances[rows]]
    places = found.starts[entries] + found.places[rows]
    image = keypoints(segment, places, found.images[rows])
    return Pairs(query.frame[features], image, votes.astype(np.float64), bounds)


def keypoints(segment: Segment, places: NDArray[np.int64], images: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return the keypoints, see `matcher.geometry.frames`, of the postings at `places`, which lie on `images`."""
    return unpacked(segment.geometry_at(places), segment.image_sizes[images], segment.settings.work_size)
