"""From a query's variants to the images worth a closer look: votes, the short list, the map that voters agree on.

Every step is cut into pieces that threads take one after the other: a variant, or a variant and a segment. What comes
of it does not depend on who did which piece: only whole numbers are summed across segments, and votes, image by image,
in the order of the query's features.
"""

from __future__ import annotations

from itertools import chain, product, repeat
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from index import postings, verification
from matcher.geometry import Tolerance, estimate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor

    from numpy.typing import NDArray

    from index.segment import Segment
    from index.verification import Variant
    from index.vocabulary import Vocabulary

__all__ = ["Ballot", "Candidate", "ShortLister", "Voted"]

_WORDS = (3, 10)
"""Visual words looked up for each query feature, at the least and at the most: a small query can afford more."""

_LOOKUPS = 2400
"""Visual words looked up for a query, about."""

_VOTE_LIMIT = 24
"""Largest Hamming distance, of 64 bits, of a vote."""

_VOTERS = {"same": 1000}
_OTHER_VOTERS = 500
"""Voting features; mirrored and negative copies are rarer, and take as long to look for."""


class Ballot(NamedTuple):
    """How the features of variant `number` voted: what they agree with and the images' votes, segment by segment."""

    number: int
    variant: Variant
    signed: postings.SignedQuery
    found: Sequence[postings.Agreements]
    weights: NDArray[np.float32]
    votes: Sequence[NDArray[np.float32]]


class Candidate(NamedTuple):
    """An image on which voters agree on a map.

    Attributes
    ----------
    votes : float
        Of those that agree.
    variant : int
        Number of the query's variant.
    image_id, segment, local : int
        Catalogue id, number of the segment, local number in it.
    matrix : float64, shape (2, 3)
        From the variant's pixels to the image's.
    pairs : tuple of float64 arrays (n, 4), (n, 4), (n,)
        All tentative pairs: keypoints of the query and of the image, weights.
    """

    votes: float
    variant: int
    image_id: int
    segment: int
    local: int
    matrix: NDArray[np.float64]
    pairs: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


class Voted(NamedTuple):
    """An image that may be looked at: its catalogue id, the number of its segment, its local number in it."""

    image_id: int
    segment: int
    local: int


class ShortLister:
    """Votes over the segments of an index, with the threads of a pool."""

    def __init__(self, segments: Sequence[Segment], vocabulary: Vocabulary, work_size: int, pool: Executor) -> None:
        self._segments = segments
        self._vocabulary = vocabulary
        self._work_size = work_size
        self._pool = pool
        self._ids = np.concatenate([np.empty(0, np.int64), *(segment.image_ids for segment in segments)])
        self._firsts = np.cumsum([0, *(len(segment) for segment in segments)])

    def sign(self, variants: Sequence[Variant]) -> list[postings.SignedQuery]:
        """Quantise the strongest features of each variant."""
        return list(self._pool.map(self._signed, variants))

    def _signed(self, variant: Variant) -> postings.SignedQuery:
        voters = slice(_VOTERS.get(variant.relation, _OTHER_VOTERS))
        descriptors = variant.features.descriptors[voters]
        words = min(max(_LOOKUPS // len(descriptors), _WORDS[0]), _WORDS[1])
        return postings.SignedQuery.of(
            variant.frame[voters], descriptors, variant.projections[voters], self._vocabulary, words
        )

    def vote(self, variants: Sequence[Variant], signed: Sequence[postings.SignedQuery]) -> list[Ballot]:
        """Let the signed features of each variant vote in every segment."""
        pieces = list(product(signed, self._segments))
        agreed = list(self._pool.map(lambda piece: postings.agreements(piece[1], piece[0], _VOTE_LIMIT), pieces))
        many = len(self._segments)
        found = [agreed[first : first + many] for first in range(0, len(agreed), many)]
        weights = [postings.weights(query, parts) for query, parts in zip(signed, found, strict=True)]
        votes = list(
            self._pool.map(
                lambda piece, part, weight: postings.tally(piece[1], piece[0], part, weight),
                pieces, agreed, chain.from_iterable(repeat(weight, many) for weight in weights),
            )
        )  # fmt: skip
        counted = (votes[first : first + many] for first in range(0, len(votes), many))
        return [
            Ballot(number, *ballot)
            for number, ballot in enumerate(zip(variants, signed, found, weights, counted, strict=True))
        ]

    def candidates(self, ballots: Sequence[Ballot], first: int, last: int) -> list[Candidate]:
        """Return those of the images ranked `first` to `last` in each ballot on which voters agree on a map.

        Most agreement comes first, equal candidates in the order of variants and catalogue ids.
        """
        found = self._pool.map(self._agreed, ballots, repeat(first), repeat(last))
        return sorted(chain.from_iterable(found), key=lambda c: (-c.votes, c.variant, c.image_id))

    def most_voted(self, ballot: Ballot, most: int) -> list[Voted]:
        """Return the images with most votes, whether or not voters agree on a map."""
        chosen = self._ranked(ballot, most)
        segments = np.searchsorted(self._firsts, chosen, side="right") - 1
        return [
            Voted(int(self._ids[place]), int(segment), int(place - self._firsts[segment]))
            for place, segment in zip(chosen, segments, strict=True)
        ]

    def _agreed(self, ballot: Ballot, first: int, last: int) -> list[Candidate]:
        chosen = self._ranked(ballot, last)[first:]
        segments = np.searchsorted(self._firsts, chosen, side="right") - 1
        return [
            candidate
            for number in np.unique(segments)
            for candidate in self._estimated(
                ballot, int(number), np.sort(chosen[segments == number]) - self._firsts[number]
            )
        ]

    def _ranked(self, ballot: Ballot, most: int) -> NDArray[np.int64]:
        """Return the images with most votes, at most so many, then by catalogue id; numbered through all segments."""
        votes = np.concatenate(ballot.votes)
        least = np.partition(votes, len(votes) - most)[len(votes) - most] if most < len(votes) else 0
        best = np.flatnonzero((votes >= least) & (votes > 0))
        return best[np.lexsort((self._ids[best], -votes[best]))][:most]

    def _estimated(self, ballot: Ballot, number: int, chosen: NDArray[np.int64]) -> list[Candidate]:
        """Estimate maps for the `chosen` images of the segment with this `number`."""
        segment = self._segments[number]
        query, image, weights, bounds = postings.pairs_on(
            segment, ballot.signed, ballot.found[number], ballot.weights, chosen
        )
        pixels = verification.working_pixels(segment, chosen, self._work_size)
        diagonal = ballot.variant.diagonal
        matrices, strength, _ = estimate(query, image, weights, bounds, diagonal, pixels, Tolerance())
        candidates = []
        for k in np.flatnonzero(strength > 0):
            own = slice(bounds[k], bounds[k + 1])
            local, pairs = int(chosen[k]), (query[own], image[own], weights[own])
            image_id = int(segment.image_ids[local])
            candidates.append(Candidate(float(strength[k]), ballot.number, image_id, number, local, matrices[k], pairs))
        return candidates
