"""Look again at the images of a short list with a network that sees the query and the image at once.

The index stores no more of an image than its words; so the images themselves are read, and features that the network
knows are found on them anew. That takes a second or so for each: it is for queries that nothing else finds.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from index import verification
from index.asking import extract
from matcher.geometry import Agreement
from matcher.images import read_image
from matcher.registry import extractor_named, matcher_named
from matcher.rematching import PAIR_LAWS, agreed_pairs

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from index.answers import Query
    from index.catalogue import ImageRecord
    from index.store import Index
    from index.verification import Variant
    from matcher.rematching import PairLaw
    from matcher.types import Features, Match, Relation

__all__ = ["Laid", "LookAlikes", "Rematcher"]

_QUERY_FEATURES, _IMAGE_FEATURES = 1500, 2500
"""Features that the network is shown; a print may cover a small part of its page."""

_REMEMBERED = 64
"""Images whose features are kept: the short lists of a batch have some in common."""


class Laid(NamedTuple):
    """A query laid on an image by the pairs of a network.

    Attributes
    ----------
    matrix : float64, shape (3, 3)
        From the variant's pixels to the image's.
    match : Match
        Its inliers are the distinct cells that agree; it has no significance yet.
    """

    matrix: NDArray[np.float64]
    match: Match


class LookAlikes:
    """What the vectors of `model` say is most like a query: redrawn copies get few votes. For any thread.

    Raises
    ------
    InputError
        If the index has no vectors of that model.
    """

    def __init__(self, index: Index, model: str) -> None:
        from index.similar import Similar  # most searches need no models

        self._index = index
        self._similar = Similar(index, model)
        self._lock = threading.Lock()

    def images(self, query: Query, most: int, only: Collection[int] | None) -> list[ImageRecord]:
        """Return at most so many images, the likest first, of those with the ids `only`; `InputError` as `similar`."""
        from index.similar import Example, Wanted

        wanted = Wanted(right=[Example(query.image, query.region, query.page)])
        with self._lock:
            found = self._similar.ask(wanted, top=most, only=None if only is None else frozenset(only))
        records = (self._index.find(Path(one.path), one.page) for one in found.alike)
        return list({record.id: record for record in records if record is not None}.values())


class Rematcher:
    """Lays queries on images by the pairs of the matcher called `name` in `matcher.registry.MATCHERS`.

    Parameters
    ----------
    name : str
    work_size : int
        Long side, in pixels, at which images are looked at.

    Raises
    ------
    InputError
        If there is no matcher of that name.
    MissingDependency
        If what it needs is not installed, or its weights are not there.
    """

    def __init__(self, name: str, work_size: int) -> None:
        self._matcher = matcher_named(name)
        self._extractor = extractor_named(self._matcher.features, _IMAGE_FEATURES)
        self._work_size = work_size
        self._lock = threading.Lock()
        self._seen: OrderedDict[tuple[Path, int], Features] = OrderedDict()
        self.law: PairLaw | None = PAIR_LAWS.get(name)

    def variants(self, query: Query, relations: Sequence[Relation]) -> list[Variant]:
        """Return the query's variants; `InputError` if it cannot be read."""
        asked = extract(query, self._extractor, self._work_size, relations)
        seen: Mapping[Relation, Features] = {
            relation: features.take(slice(_QUERY_FEATURES)) for relation, features in asked.features.items()
        }
        return verification.variants(seen, asked.region, None)

    def lay(self, variant: Variant, path: Path, page: int = 0) -> Laid | None:
        """Return how a query lies on an image, None if no pairs agree; `InputError` if it cannot be read."""
        image = self._features(path, page)
        rows, columns, _ = self._matcher.pairs(_framed(variant), image)
        places, found = variant.frame[rows, :2], image.points[columns].astype(np.float64)
        pixel = max(1.0, max(image.width, image.height) / self._work_size)
        agreed = agreed_pairs(np.ascontiguousarray(places), found, variant.corners, pixel)
        if agreed is None:
            return None
        k = len(variant.frame)
        inliers, partner = np.zeros(k, dtype=np.bool_), np.full(k, -1, dtype=np.int32)
        inliers[rows[agreed.inliers]] = True
        partner[rows] = columns
        nothing = np.zeros(k, dtype=np.int32)
        agreement = Agreement(agreed.matrix, partner, nothing.astype(np.uint8), nothing, inliers)
        match = verification.match_of(variant, agreement, image.points, int(agreed.inliers.sum()), 0.0)
        return Laid(agreed.matrix, match)

    def find(
        self, variant: Variant, path: Path, page: int, weigh: Callable[[NDArray[np.float64]], list[Match]]
    ) -> list[Match]:
        """Return where a query lies on an image, with the false alarms of one image looked at.

        What the pairs of this network are worth may not be known. Then `weigh` says what other evidence is worth there,
        given the map, float64 (2, 3).
        """
        laid = self.lay(variant, path, page)
        if laid is None:
            return []
        if self.law is None:
            return weigh(laid.matrix[:2])
        return [replace(laid.match, log_false_alarms=self.law.log_tail(laid.match.inliers))]

    def _features(self, path: Path, page: int) -> Features:
        key = path, page
        with self._lock:
            seen = self._seen.pop(key, None)
        if seen is None:
            seen = self._extractor.extract(read_image(path, page, long_side=self._work_size))
        with self._lock:
            self._seen[key] = seen
            while len(self._seen) > _REMEMBERED:
                self._seen.popitem(last=False)
        return seen


def _framed(variant: Variant) -> Features:
    """Return a variant's features in pixels of its region: the network goes by where on the picture they lie."""
    low, high = variant.corners.min(axis=0), variant.corners.max(axis=0)
    width, height = (max(1, round(float(side))) for side in high - low)
    features = variant.features
    return replace(features, points=features.points - low.astype(np.float32), width=width, height=height)
