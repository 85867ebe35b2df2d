"""Ask an index where a picture, or a region of one, is found again.

1. Extract the query's features, and from them those of its mirror image and negative.
2. Let their visual words and signatures vote for images, over the postings of every segment.
3. Estimate, for each image of the short list, the map that its voters agree on.
4. For the images with the strongest agreement, compare all features under that map and weigh the evidence.
"""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from itertools import chain, islice, repeat
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from index import postings, verification
from index.answers import Answer, Hit, Query, answer_as_dict
from index.asking import QUERY_FEATURES, Extracted, extract
from index.furniture import NEIGHBOURS, furniture_of
from index.verification import RELATIONS, Variant
from index.workers import Failed, default_workers
from matcher.errors import CalqueError, InputError
from matcher.geometry import Tolerance, estimate
from matcher.registry import extractor_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from index.cluster import Cluster
    from index.furniture import Furniture
    from index.segment import Segment
    from index.store import Index
    from index.verification import Stored
    from index.vocabulary import Vocabulary
    from matcher.types import Features, Match, Region, Relation

__all__ = ["Answer", "Extracted", "Hit", "Query", "answer_as_dict", "extract", "search"]

_WORDS = (3, 10)
"""Visual words looked up for each query feature, at the least and at the most: a small query can afford more."""

_LOOKUPS = 2400
"""Visual words looked up for a query, about."""

_VOTE_LIMIT = 24
"""Largest Hamming distance, of 64 bits, of a vote."""

_VOTERS = {"same": 1000}
_OTHER_VOTERS = 500
"""Voting features; mirrored and negative copies are rarer, and take as long to look for."""

_SHORT_LIST = 200
"""Images whose voters are asked for the map they agree on, for each relation; more where many of them are finds."""

_REFINED = 60
"""Images looked at with all features, at a time; a search ends with a batch in which nothing is found."""

_WEIGHED = 2e-4
"""Share of unrelated images, for each relation, that get as far as being weighed (docs/significance.md)."""

_LEAST_WEIGHED = 0.1
"""Unrelated images weighed in a search at the least: in a small index they are seldom as unrelated as all that."""


def search(
    index: Index,
    queries: Iterable[Query],
    *,
    top: int | None = None,
    max_false_alarms: float = 1.0,
    relations: Sequence[Relation] = RELATIONS,
    only: Collection[int] | None = None,
    furniture: bool = False,
    threads: int | None = None,
    cluster: Cluster | None = None,
) -> Iterator[Answer]:
    """Answer queries in their order.

    Parameters
    ----------
    index : Index
    queries : iterable of Query
    top : int, optional
        How many hits of each at most; all by default.
    max_false_alarms : float
        Answers to be expected by chance in one search; surer ones are given.
    relations : sequence of str
        How a copy may have been made.
    only : collection of int, optional
        Catalogue ids of the images to search, as `Index.select` gives them; all by default. The answers are those of an
        index that holds no others.
    furniture : bool
        Whether whole pages are found by what is on every scan of a volume, too: bindings, rulers, stamps, running
        titles (`index.furniture`). Framed regions always are.
    threads : int, optional
        By default one per core. The answers do not depend on it.
    cluster : Cluster, optional
        Whose workers answer, one query for each thread of theirs; they must see index and queries by the same paths.

    Yields
    ------
    Answer
        One for each query; one that cannot be read or makes no sense has an ``error``.
    """
    if top is not None and top < 1:
        raise InputError(f"top must be 1 or more, got {top}")
    if not max_false_alarms > 0:
        raise InputError(f"max_false_alarms must be above 0, got {max_false_alarms}")
    if cluster is not None:
        options = {"top": top, "max_false_alarms": max_false_alarms, "relations": relations, "furniture": furniture}
        yield from _on_cluster(cluster, index, queries, {**options, "only": only})
        return
    threads = threads or default_workers()
    vocabulary = index.vocabulary
    extractor = extractor_of(vocabulary.features, QUERY_FEATURES, vocabulary.likeness)
    with ThreadPoolExecutor(threads) as pool:
        searcher = _Searcher(index, vocabulary, pool, len(relations), only, furniture)
        waiting = iter(queries)
        # As many queries are read as there are threads, then searched one after the other with all threads each.
        while batch := list(islice(waiting, threads)):
            extracted = [pool.submit(extract, query, extractor, index.settings.work_size, relations) for query in batch]
            wait(extracted)
            for query, features in zip(batch, extracted, strict=True):
                yield searcher.answer(query, features, top, max_false_alarms)


def _on_cluster(
    cluster: Cluster, index: Index, queries: Iterable[Query], options: Mapping[str, Any]
) -> Iterator[Answer]:
    """Answer queries in their order on the workers of a cluster."""
    tasks = ((query, query.image.absolute()) for query in queries)
    with cluster.pool(_answering, (index.path.absolute(), index.state, options), lambda task: task[1]) as pool:
        for (query, _), outcome in pool.map(tasks):
            if isinstance(outcome, Failed):
                outcome = Answer(query.id, query.image, query.region, 0.0, (), error=outcome.reason, page=query.page)
            yield outcome


def _answering(
    folder: Path, state: tuple[int, int], options: Mapping[str, Any]
) -> Callable[[tuple[Query, Path]], Answer]:
    """Open an index and return what answers a query, whose file is at an absolute path; runs on a worker."""
    from index.store import Index

    index = Index.open(folder, state=state)

    def answer(task: tuple[Query, Path]) -> Answer:
        query, path = task
        (found,) = search(index, [replace(query, image=path)], threads=1, **options)
        return replace(found, image=query.image)

    return answer


class _Ballot(NamedTuple):
    """Who voted for what: image ``images[i]`` (local number) of segment ``segments[i]``, most votes first."""

    number: int
    variant: Variant
    signed: postings.SignedQuery
    found: list[postings.Agreements]
    weights: NDArray[np.float32]
    segments: NDArray[np.int64]
    images: NDArray[np.int64]


class _Candidate(NamedTuple):
    votes: float
    variant: int
    image_id: int
    segment: int
    local: int
    matrix: NDArray[np.float64]
    pairs: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


class _Searcher:
    """One search at a time over the segments of an index, its steps spread over threads."""

    def __init__(
        self,
        index: Index,
        vocabulary: Vocabulary,
        pool: ThreadPoolExecutor,
        relations: int,
        only: Collection[int] | None,
        furniture: bool,
    ) -> None:
        self._index = index
        self._vocabulary = vocabulary
        self._pool = pool
        self._relations = relations
        self._segments = list(index.segments)
        self._images = index.info()["images"]
        if only is not None:
            chosen = np.fromiter(only, np.int64, len(only))
            self._segments = [segment.among(chosen) for segment in self._segments]
            self._images = len(only)
        self._work_size = index.settings.work_size
        self._keeps_furniture = furniture
        self._places = {segment.name: number for number, segment in enumerate(self._segments)}
        self._known: dict[int, Furniture] = {}

    def answer(self, query: Query, extracted: Future[Extracted], top: int | None, max_false_alarms: float) -> Answer:
        """Answer one query whose features are on their way."""
        try:
            features, region, extraction = extracted.result()
        except CalqueError as error:
            return Answer(query.id, query.image, query.region, 0.0, (), error=str(error), page=query.page)
        start = time.perf_counter()
        tests = max(_LEAST_WEIGHED, _WEIGHED * self._images * self._relations)
        # A place is left for the next on its image at the same point, whatever is asked for: fewer false alarms
        # allowed then give the surer ones of the same hits.
        framed = query.region is not None
        found = self._find(features, region, math.log10(max(max_false_alarms, 1.0) / tests), framed)
        limit = math.log10(max_false_alarms / tests)
        found = [place for place in found if place[1].log_false_alarms <= limit]
        found.sort(key=lambda place: (place[1].log_false_alarms, place[0], place[1].region.as_list()))
        hits = []
        for rank, (image_id, match) in enumerate(found[:top], start=1):
            record = self._index.image(image_id)
            alarms = max(tests * 10.0**match.log_false_alarms, sys.float_info.min)  # never none at all
            hits.append(Hit(rank, record.name, record.path, record.page, -match.log_false_alarms, alarms, match))
        seconds = extraction + time.perf_counter() - start
        return Answer(query.id, query.image, query.region, seconds, tuple(hits), page=query.page, extraction=extraction)

    def _find(
        self, features: dict[Relation, Features], region: Region, limit: float, framed: bool
    ) -> list[tuple[int, Match]]:
        """Return the catalogue ids of images, and the matches on them with at most 10 ** `limit` false alarms each."""
        asked = verification.variants(features, region, self._vocabulary)
        if not self._segments:
            return []

        def examine(candidate: _Candidate) -> list[Match]:
            stored = self._gather(candidate.segment, candidate.local)
            variant = asked[candidate.variant]
            return verification.verify(variant, candidate.matrix, candidate.pairs, stored, self._vocabulary, limit)

        ballots = list(self._pool.map(self._ballot, range(len(asked)), asked))
        by_image: dict[int, list[Match]] = {}
        first, last = 0, _SHORT_LIST
        while ballots:
            listed = self._pool.map(self._candidates, ballots, repeat(first), repeat(last))
            candidates = sorted(chain.from_iterable(listed), key=lambda c: (-c.votes, c.variant, c.image_id))
            found: Counter[int] = Counter()
            for start in range(0, len(candidates), _REFINED):
                batch = candidates[start : start + _REFINED]
                before = found.total()
                for candidate, matches in zip(batch, self._pool.map(examine, batch), strict=True):
                    found[candidate.variant] += bool(matches)
                    if matches and not framed and not self._keeps_furniture:
                        matches = self._off_furniture(candidate, asked[candidate.variant], matches, limit)
                    if matches:
                        by_image.setdefault(candidate.image_id, []).extend(matches)
                if found.total() == before:
                    break
            # A short list that holds many finds has left some out: what is printed everywhere is found everywhere.
            ballots = [ballot for ballot in ballots if 4 * found[ballot.number] >= last - first]
            first, last = last, 2 * last
        return [(image_id, match) for image_id, all_ in by_image.items() for match in verification.distinct(all_)]

    def _off_furniture(
        self, candidate: _Candidate, variant: Variant, matches: list[Match], limit: float
    ) -> list[Match]:
        """Return what is found on an image apart from what is on every scan of its volume."""
        furniture = self._furniture(candidate.image_id)
        if not any(furniture.holds(match.image_points).any() for match in matches):
            return matches
        query, image, votes = candidate.pairs
        rest = ~furniture.holds(image[:, :2])
        pairs = query[rest], image[rest], votes[rest]
        stored = furniture.cleared(self._gather(candidate.segment, candidate.local))
        bounds, pixels = np.array([0, len(pairs[0])]), np.array([stored.pixel])
        matrices, strength, _ = estimate(*pairs, bounds, variant.diagonal, pixels, Tolerance())
        if strength[0] <= 0:
            return []
        return verification.verify(variant, matrices[0], pairs, stored, self._vocabulary, limit)

    def _furniture(self, image_id: int) -> Furniture:
        if image_id not in self._known:
            place = self._places
            scans = [self._index.image(image_id), *self._index.neighbours(image_id, NEIGHBOURS)]
            one, *others = (
                self._gather(place[scan.segment], self._segments[place[scan.segment]].local(scan.id))
                for scan in scans
                if scan.segment is not None
            )
            self._known[image_id] = furniture_of(one, others)
        return self._known[image_id]

    def _gather(self, segment: int, local: int) -> Stored:
        return verification.gather(self._segments[segment], local, self._work_size)

    def _ballot(self, number: int, variant: Variant) -> _Ballot:
        """Let the strongest features of a variant vote."""
        voters = variant.features.take(slice(_VOTERS.get(variant.relation, _OTHER_VOTERS)))
        words = min(max(_LOOKUPS // len(voters), _WORDS[0]), _WORDS[1])
        signed = postings.SignedQuery.of(voters, self._vocabulary, words)
        found = [postings.agreements(segment, signed, _VOTE_LIMIT) for segment in self._segments]
        weights, tallies = postings.vote(signed, found, self._segments)
        return _Ballot(number, variant, signed, found, weights, *_ranked(self._segments, tallies))

    def _candidates(self, ballot: _Ballot, first: int, last: int) -> list[_Candidate]:
        """Return those of the images ranked `first` to `last` on which a variant's voters agree on a map."""
        which, local = ballot.segments[first:last], ballot.images[first:last]
        return [
            candidate
            for number in np.unique(which)
            for candidate in self._estimated(ballot, int(number), np.sort(local[which == number]))
        ]

    def _estimated(self, ballot: _Ballot, which: int, chosen: NDArray[np.int64]) -> list[_Candidate]:
        """Estimate maps for the `chosen` images of the segment with number `which`."""
        signed, found = ballot.signed, ballot.found[which]
        segment = self._segments[which]
        rows, bounds = postings.pairs_of(found, chosen)
        query = signed.frame[signed.features[found.entries[rows]]]
        image = postings.keypoints(segment, found.places[rows], found.images[rows])
        votes = postings.pair_weights(signed, found, ballot.weights, rows)
        pixels = verification.working_pixels(segment, chosen, self._work_size)
        matrices, strength, _ = estimate(query, image, votes, bounds, ballot.variant.diagonal, pixels, Tolerance())
        return [
            _Candidate(
                float(strength[k]), ballot.number, int(segment.image_ids[local]), which, int(local), matrices[k],
                (query[bounds[k] : bounds[k + 1]], image[bounds[k] : bounds[k + 1]], votes[bounds[k] : bounds[k + 1]]),
            )
            for k, local in enumerate(chosen)
            if strength[k] > 0
        ]  # fmt: skip


def _ranked(
    segments: Sequence[Segment], tallies: Sequence[NDArray[np.float32]]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return segment and local number of the images with votes, most first, then by catalogue id."""
    which = np.concatenate([np.full(len(votes), number) for number, votes in enumerate(tallies)])
    local = np.concatenate([np.arange(len(votes)) for votes in tallies])
    votes = np.concatenate(tallies)
    ids = np.concatenate([segment.image_ids for segment in segments])
    best = np.flatnonzero(votes > 0)
    best = best[np.lexsort((ids[best], -votes[best]))]
    return which[best], local[best]
