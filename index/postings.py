"""Which images share visual words and signatures with a query: votes over the postings of every segment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from index import _kernels as kernels
from index.keypoints import unpacked
from matcher import geometry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from index.segment import Segment
    from index.vocabulary import Vocabulary
    from matcher.types import Features

__all__ = ["Agreements", "SignedQuery", "agreements", "keypoints", "pair_weights", "pairs_of", "vote"]

_NEARNESS = np.exp(-((np.arange(65) / 16.0) ** 2)).astype(np.float32)
"""Weight of a Hamming distance."""

_PROBES = 4
"""Cells of the vocabulary searched for a query's words; looking up several words makes up for the odd one missed."""

_CHUNK = 1 << 20
"""Postings looked through per call: bounds the buffers."""


@dataclass(frozen=True, slots=True, eq=False)
class SignedQuery:
    """Query features with their words and signatures.

    Attributes
    ----------
    frame : float64, shape (n, 4)
        Keypoints, see `matcher.geometry.frames`.
    projections : float32, shape (n, 64)
        Projections of the descriptors.
    features : int32, shape (m,)
        The feature of each entry; entries of one feature adjoin.
    words : int32, shape (m,)
        The word of each entry.
    signatures : uint64, shape (m,)
        The feature's signature against that word's medians.
    """

    frame: NDArray[np.float64]
    projections: NDArray[np.float32]
    features: NDArray[np.int32]
    words: NDArray[np.int32]
    signatures: NDArray[np.uint64]

    @classmethod
    def of(cls, features: Features, vocabulary: Vocabulary, words: int) -> SignedQuery:
        """Quantise `features` to the nearest `words` words each."""
        assigned = vocabulary.assign(features.descriptors, words, _PROBES)
        projections = vocabulary.project(features.descriptors)
        rows, columns = np.nonzero(assigned >= 0)
        entries = assigned[rows, columns]
        return cls(
            geometry.frames(features.points, features.sizes, features.angles),
            projections,
            rows.astype(np.int32),
            entries,
            vocabulary.signatures(projections[rows], entries),
        )


class Agreements(NamedTuple):
    """Postings of one segment that agree with a query, in the order of the query's entries."""

    entries: NDArray[np.int32]
    places: NDArray[np.int64]
    distances: NDArray[np.uint8]
    images: NDArray[np.uint16]


def agreements(segment: Segment, query: SignedQuery, limit: int) -> Agreements:
    """Return the postings of living images within `limit` bits of the query's signatures."""
    row = np.searchsorted(segment.words, query.words)
    row[row == len(segment.words)] = 0
    here = segment.words[row] == query.words if len(segment.words) else np.zeros(len(row), dtype=np.bool_)
    starts = np.where(here, segment.offsets[row], 0)
    stops = np.where(here, segment.offsets[row + 1], 0) if len(segment.words) else starts
    ends = np.cumsum(stops - starts)
    parts = []
    first = 0
    while first < len(ends):
        before = ends[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(ends, before + _CHUNK, side="right")))
        room = int(ends[last - 1] - before)
        entries, places, distances = np.empty(room, np.int32), np.empty(room, np.int64), np.empty(room, np.uint8)
        count = kernels.agreeing_postings(
            starts[first:last], stops[first:last], query.signatures[first:last],
            segment.signatures, segment.images, segment.alive, limit, entries, places, distances,
        )  # fmt: skip
        parts.append((entries[:count] + np.int32(first), places[:count].copy(), distances[:count].copy()))
        first = last
    if not parts:
        return Agreements(np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.uint8), np.empty(0, np.uint16))
    places = np.concatenate([p[1] for p in parts])
    return Agreements(
        np.concatenate([p[0] for p in parts]), places, np.concatenate([p[2] for p in parts]), segment.images[places]
    )


def vote(
    query: SignedQuery, found: Sequence[Agreements], segments: Sequence[Segment]
) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
    """Let the agreeing postings vote.

    A query feature's vote is divided by the root of the number of postings that agree with it anywhere (burstiness:
    Jégou, Douze & Schmid, CVPR 2009), which makes common features count little, whatever makes them common.

    Returns
    -------
    weights : float32, shape (n,)
        Weight of each query feature.
    votes : list of float32 arrays
        Votes of each image, segment by segment.
    """
    common = np.zeros(len(query.frame), dtype=np.int64)
    for part in found:
        common += np.bincount(query.features[part.entries], minlength=len(common))
    weights = (1 / np.sqrt(np.maximum(common, 1))).astype(np.float32)
    result = []
    for part, segment in zip(found, segments, strict=True):
        votes = np.zeros(len(segment), np.float32)
        kernels.tally(part.entries, query.features, part.images, part.distances, weights, _NEARNESS, votes)
        result.append(votes)
    return weights, result


def pair_weights(
    query: SignedQuery, found: Agreements, weights: NDArray[np.float32], rows: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the votes of the agreements numbered `rows`."""
    votes = weights[query.features[found.entries[rows]]] * _NEARNESS[found.distances[rows]]
    return np.asarray(votes, dtype=np.float64)


def keypoints(segment: Segment, places: NDArray[np.int64], images: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return the keypoints, see `matcher.geometry.frames`, of the postings at `places`, which lie on `images`."""
    return unpacked(segment.geometry_at(places), segment.image_sizes[images], segment.settings.work_size)


def pairs_of(found: Agreements, chosen: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the agreements that lie on the images `chosen`, ascending, image by image and in order, and their bounds.

    Returns
    -------
    rows : int64, shape (n,)
        Rows of `found`.
    bounds : int64, shape (k + 1,)
        Those of ``chosen[i]`` are ``rows[bounds[i]:bounds[i + 1]]``.
    """
    wanted = np.zeros(1 << 16, dtype=np.bool_)
    wanted[chosen] = True
    rows = np.flatnonzero(wanted[found.images])
    rows = rows[np.argsort(found.images[rows], kind="stable")]
    images = found.images[rows]
    bounds = np.append(np.searchsorted(images, chosen), len(rows))
    return rows, bounds.astype(np.int64)
