"""Ask an index where a picture, or a region of one, is found again.

1. Extract the query's features, and from them those of its mirror image and negative.
2. Let their visual words and signatures vote for images, over the postings of every segment.
3. Estimate, for each image of the short list, the map that its voters agree on.
4. For the images with the strongest agreement, compare all features under that map and weigh the evidence.
5. Where asked to, lay the query on images with many votes that are not found yet, by the pairs of a network.
"""

from __future__ import annotations

import math
import sys
import time
from collections import Counter, deque
from dataclasses import replace
from functools import partial
from itertools import chain, groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from index import verification
from index.answers import Answer, Hit
from index.asking import QUERY_FEATURES, extract
from index.furniture import NEIGHBOURS, furniture_of
from index.regions import Layouts, Pictures
from index.rematching import LookAlikes, Rematcher
from index.shortlist import ShortLister, Voted
from index.threads import Threads
from index.verification import NO_PAIRS, RELATIONS, Variant
from index.workers import Failed, default_workers
from matcher.errors import CalqueError, InputError
from matcher.geometry import Tolerance, estimate
from matcher.registry import extractor_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from index.answers import Query
    from index.asking import Extracted
    from index.catalogue import ImageRecord
    from index.cluster import Cluster
    from index.furniture import Furniture
    from index.shortlist import Ballot, Candidate
    from index.store import Index
    from index.verification import Stored
    from index.vocabulary import Vocabulary
    from matcher.types import Match, Relation

__all__ = ["search"]

_SHORT_LIST = 200
"""Images whose voters are asked for the map they agree on, for each relation; more where many of them are finds."""

_REFINED = 60
"""Images looked at with all features, at a time; a search ends with a batch in which nothing is found."""

_ON_PICTURES = 2 / 3
"""Share of the evidence for a hit of a whole page that lies on pictures, as its layout or the other page's has them."""

_COPIED = 1 / 3
"""Share of a page's details that are found again, wherever they lie, on another scan of it."""

_LINE = 0.1
"""Share of a page's long side from which on what agrees along a straight line, on two pages of one volume, is taken for
the edge of a page, a rule or a frame."""

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
    rematch: str | None = None,
    rematched: int = 50,
    rematch_like: str | None = None,
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
        titles (`index.furniture`), and, where the index knows layouts, by what is on no picture. Framed regions always
        are.
    rematch : str, optional
        Name of a matcher (`matcher.registry.MATCHERS`) that looks again at images which are not found, read anew; for
        each relation at the `rematched` with most votes.
    rematched : int
    rematch_like : str, optional
        Name of a model that the index was embedded with: the matcher looks at the `rematched` images, too, that its
        vectors say are most like the query.
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
    if rematched < 1:
        raise InputError(f"rematched must be 1 or more, got {rematched}")
    if cluster is not None:
        options: dict[str, Any] = {"top": top, "max_false_alarms": max_false_alarms, "relations": relations}
        options |= {"furniture": furniture, "rematch": rematch, "rematched": rematched, "rematch_like": rematch_like}
        yield from _on_cluster(cluster, index, queries, {**options, "only": only})
        return
    threads = threads or default_workers()
    vocabulary = index.vocabulary
    extractor = extractor_of(vocabulary.features, QUERY_FEATURES, vocabulary.likeness)
    again = None if rematch is None else Rematcher(rematch, index.settings.work_size)
    alike = None if rematch is None or rematch_like is None else LookAlikes(index, rematch_like)
    with Threads(threads) as pool:
        searcher = _Searcher(index, vocabulary, pool, len(relations), only, furniture)
        layouts = Layouts(index) if index.settings.layout else None
        waiting = iter(queries)
        # A single query is searched for by all threads together; of several each thread takes one, so that none waits.
        first = list(islice(waiting, min(2, threads)))
        alone = len(first) < 2

        def prepared(query: Query) -> Extracted | CalqueError:
            look = layouts.looker(query.image, query.page) if layouts else None
            try:
                return extract(query, extractor, index.settings.work_size, relations, look, threads if alone else 1)
            except CalqueError as error:
                return error

        def answer(query: Query) -> Answer:
            looking = None if again is None else _Rematch(again, query, relations, rematched, alike)
            return searcher.answer(query, prepared(query), top, max_false_alarms, looking)

        if alone:
            yield from map(answer, chain(first, waiting))
        else:
            yield from pool.ahead(answer, chain(first, waiting))


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
    asked: deque[Query] = deque()

    def answering() -> Iterator[Answer]:
        return search(index, iter(asked.popleft, None), threads=1, **options)

    answers = answering()  # one search for all queries: it keeps what it has prepared

    def answer(task: tuple[Query, Path]) -> Answer:
        nonlocal answers
        query, path = task
        asked.append(replace(query, image=path))
        try:
            return replace(next(answers), image=query.image)
        except BaseException:
            answers = answering()
            raise

    return answer


class _Rematch(NamedTuple):
    """What looks again for a query, as `relations` have it, at the `most` images with most votes, and as many alike."""

    matcher: Rematcher
    query: Query
    relations: Sequence[Relation]
    most: int
    alike: LookAlikes | None = None

    def images_alike(self, only: Collection[int] | None) -> list[ImageRecord]:
        """Return the images that look like the query, none where nothing tells."""
        return [] if self.alike is None else self.alike.images(self.query, self.most, only)

    def variants(self) -> list[Variant]:
        """Return the query's variants in features of the matcher."""
        return self.matcher.variants(self.query, self.relations)


class _Searcher:
    """Searches over the segments of an index, the steps of each spread over threads."""

    def __init__(
        self,
        index: Index,
        vocabulary: Vocabulary,
        pool: Threads,
        relations: int,
        only: Collection[int] | None,
        furniture: bool,
    ) -> None:
        self._index = index
        self._vocabulary = vocabulary
        self._pool = pool
        self._relations = relations
        self._only = only
        self._segments = list(index.segments)
        self._images = index.n_images if only is None else len(only)
        if only is not None:
            chosen = np.fromiter(only, np.int64, len(only))
            self._segments = [segment.among(chosen) for segment in self._segments]
        self._work_size = index.settings.work_size
        self._lister = ShortLister(self._segments, vocabulary, self._work_size, pool)
        self._keeps_furniture = furniture
        self._places = {segment.name: number for number, segment in enumerate(self._segments)}
        self._known: dict[int, Furniture] = {}
        self._layouts: dict[int, Pictures] = {}

    def answer(
        self,
        query: Query,
        asked: Extracted | CalqueError,
        top: int | None,
        max_false_alarms: float,
        rematch: _Rematch | None = None,
    ) -> Answer:
        """Answer one query by its features, or by why it has none. May be called by several threads at a time."""
        if isinstance(asked, CalqueError):
            return Answer(query.id, query.image, query.region, 0.0, (), error=str(asked), page=query.page)
        start = time.perf_counter()
        tests = max(_LEAST_WEIGHED, self._vocabulary.supposed_law.weighed * self._images * self._relations)
        # A place is left for the next on its image at the same point, whatever is asked for: fewer false alarms
        # allowed then give the surer ones of the same hits.
        most = math.log10(max(max_false_alarms, 1.0) / tests)
        variants = verification.variants(asked.features, asked.region, self._vocabulary, self._pool)
        ballots = self._lister.vote(variants, self._lister.sign(variants)) if self._segments else []
        found = self._find(query, asked, variants, ballots, most)
        if rematch is not None and ballots:
            try:
                found += self._found_again(rematch, variants, ballots, {image_id for image_id, _ in found}, tests)
            except CalqueError as error:
                return Answer(query.id, query.image, query.region, 0.0, (), error=str(error), page=query.page)
        limit = math.log10(max_false_alarms / tests)
        found = [place for place in found if place[1].log_false_alarms <= limit]
        found.sort(key=lambda place: (place[1].log_false_alarms, place[0], place[1].region.as_list()))
        hits = []
        for rank, (image_id, match) in enumerate(found[:top], start=1):
            record = self._index.image(image_id)
            alarms = max(tests * 10.0**match.log_false_alarms, sys.float_info.min)  # never none at all
            zone = self._pictures(image_id).under(match.image_points)
            hits.append(Hit(rank, record.name, record.path, record.page, -match.log_false_alarms, alarms, match, zone))
        extraction, seconds = asked.seconds, asked.seconds + time.perf_counter() - start
        return Answer(query.id, query.image, query.region, seconds, tuple(hits), page=query.page, extraction=extraction)

    def _find(
        self, query: Query, extracted: Extracted, asked: list[Variant], ballots: list[Ballot], limit: float
    ) -> list[tuple[int, Match]]:
        """Return the catalogue ids of images, and the matches on them with at most 10 ** `limit` false alarms each."""

        def examine(candidate: Candidate) -> tuple[Candidate, Stored, list[Match]]:
            stored = self._gather(candidate.segment, candidate.local)
            variant, vocabulary = asked[candidate.variant], self._vocabulary
            matches = verification.verify(variant, candidate.matrix, candidate.pairs, stored, vocabulary, limit)
            return candidate, stored, matches

        by_image: dict[int, list[Match]] = {}
        sifted = query.region is None and not self._keeps_furniture
        first, last = 0, _SHORT_LIST
        while ballots:
            candidates = self._lister.candidates(ballots, first, last)
            found: Counter[int] = Counter()
            for start in range(0, len(candidates), _REFINED):
                batch = candidates[start : start + _REFINED]
                before = found.total()
                examined = list(self._pool.map(examine, batch))
                if sifted:
                    self._learn_furniture({hit.image_id: stored for hit, stored, matches in examined if matches})
                for candidate, stored, matches in examined:
                    found[candidate.variant] += bool(matches)
                    if matches and sifted:
                        variant = asked[candidate.variant]
                        bound = self._bound_with(query, extracted.pictures, candidate.image_id)
                        line = self._line(variant, stored, matches) if bound else None
                        matches = self._off_furniture(candidate, stored, variant, matches, limit, line)
                        matches = self._on_pictures(candidate.image_id, matches, extracted)
                    if matches:
                        by_image.setdefault(candidate.image_id, []).extend(matches)
                if found.total() == before:
                    break
            # A short list that holds many finds has left some out: what is printed everywhere is found everywhere.
            ballots = [ballot for ballot in ballots if 4 * found[ballot.number] >= last - first]
            first, last = last, 2 * last
        return [(image_id, match) for image_id, all_ in by_image.items() for match in verification.distinct(all_)]

    def _found_again(
        self,
        rematch: _Rematch,
        asked: list[Variant],
        ballots: list[Ballot],
        known: Collection[int],
        tests: float,
    ) -> list[tuple[int, Match]]:
        """Return what a network finds on images with many votes, or alike, that are not `known` to be hits.

        Every image looked at is a test, whether or not voters agree on it: `Match.log_false_alarms` is such that
        `tests` times the chance it stands for are the false alarms of all of these.
        """
        lists = [self._lister.most_voted(ballot, rematch.most + len(known)) for ballot in ballots]
        alike = [
            Voted(record.id, *self._place(record))
            for record in rematch.images_alike(self._only)
            if record.id not in known and record.segment is not None
        ]
        lists = [[place for place in places if place.image_id not in known][: rematch.most] for places in lists]
        lists = [list(dict.fromkeys([*places, *alike])) for places in lists]
        price = math.log10(max(1, sum(map(len, lists))) / tests)
        own = {variant.relation: variant for variant in rematch.variants()}
        found: dict[int, list[Match]] = {}

        def weigh(variant: Variant, place: Voted, matrix: NDArray[np.float64]) -> list[Match]:
            stored = self._gather(place.segment, place.local)
            return verification.verify(variant, matrix, NO_PAIRS, stored, self._vocabulary, 0.0)

        for ballot, places in zip(ballots, lists, strict=True):
            variant = asked[ballot.number]
            for place in places if variant.relation in own else ():
                record = self._index.image(place.image_id)
                weighing = partial(weigh, variant, place)
                matches = rematch.matcher.find(own[variant.relation], Path(record.path), record.page, weighing)
                found.setdefault(place.image_id, []).extend(
                    replace(match, log_false_alarms=match.log_false_alarms + price) for match in matches
                )
        return [(image_id, match) for image_id, all_ in found.items() for match in verification.distinct(all_)]

    def _bound_with(self, query: Query, pictures: Pictures | None, image_id: int) -> bool:
        """Tell whether a query, on which there are `pictures` if they were looked for, and an image are of one volume:
        of one folder, and one of them a page; the other may be blank."""
        if not (pictures is not None and pictures.is_page) and not self._pictures(image_id).is_page:
            return False
        return Path(self._index.image(image_id).path).parent == query.image.resolve().parent

    def _line(self, variant: Variant, stored: Stored, matches: list[Match]) -> float | None:
        """Return the length from which a line counts little on another page of the volume; None on a copy of the page,
        on which a share of the details of either is found."""
        most = _COPIED * max(len(variant.features), len(stored.signed.words))
        copied = any(len(match.query_points) >= most for match in matches)
        return None if copied else _LINE * self._work_size

    def _off_furniture(
        self,
        candidate: Candidate,
        stored: Stored,
        variant: Variant,
        matches: list[Match],
        limit: float,
        line: float | None,
    ) -> list[Match]:
        """Return what is found on an image apart from what is on every scan of its volume, little of it, if so asked,
        along a straight `line`."""
        verify = partial(verification.verify, vocabulary=self._vocabulary, limit=limit, line=line)
        furniture = self._known[candidate.image_id]
        if not any(furniture.holds(match.image_points).any() for match in matches):
            return verify(variant, candidate.matrix, candidate.pairs, stored) if line is not None else matches
        query, image, votes = candidate.pairs
        rest = ~furniture.holds(image[:, :2])
        pairs = query[rest], image[rest], votes[rest]
        stored = furniture.cleared(stored)
        bounds, pixels = np.array([0, len(pairs[0])]), np.array([stored.pixel])
        matrices, strength, _ = estimate(*pairs, bounds, variant.diagonal, pixels, Tolerance())
        if strength[0] <= 0:
            return []
        return verify(variant, matrices[0], pairs, stored)

    def _on_pictures(self, image_id: int, matches: list[Match], asked: Extracted) -> list[Match]:
        """Return what lies, most of it, on pictures of the page asked or of the one hit, for layouts miss some; and
        copies of the page itself."""
        if asked.pictures is None:
            return matches
        here, there = asked.pictures, self._pictures(image_id)
        copied = _COPIED * len(next(iter(asked.features.values())))
        return [
            match
            for match in matches
            if len(match.query_points) >= copied
            or (here.hold(match.query_points) | there.hold(match.image_points)).mean() >= _ON_PICTURES
        ]

    def _pictures(self, image_id: int) -> Pictures:
        if image_id not in self._layouts:
            record = self._index.image(image_id)
            self._layouts[image_id] = Pictures(self._index.regions(image_id), record.width, record.height)
        return self._layouts[image_id]

    def _learn_furniture(self, images: Mapping[int, Stored]) -> None:
        """Have it known what on some images is furniture."""
        missing = [image_id for image_id in images if image_id not in self._known]
        near = [list(map(self._place, self._index.neighbours(image_id, NEIGHBOURS))) for image_id in missing]
        found = self._pool.map(self._furniture, (images[image_id] for image_id in missing), near)
        self._known.update(zip(missing, found, strict=True))

    def _furniture(self, image: Stored, near: Sequence[tuple[int, int]]) -> Furniture:
        """Return the furniture of an image among the scans `near` it."""
        words = np.unique(image.signed.words)
        others: list[Stored] = []
        for number, places in groupby(sorted(near), key=itemgetter(0)):
            chosen = np.array([local for _, local in places])
            others += verification.gather_with(self._segments[number], chosen, words, self._work_size)
        return furniture_of(image, others)

    def _place(self, scan: ImageRecord) -> tuple[int, int]:
        """Return the number of an image's segment, and the image's in it."""
        number = self._places[str(scan.segment)]
        return number, self._segments[number].local(scan.id)

    def _gather(self, segment: int, local: int) -> Stored:
        return verification.gather(self._segments[segment], local, self._work_size)
