"""Compare two images without an index: the proof that a search gives, for one pair."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from index.answers import Query
from index.asking import extract
from index.rematching import Rematcher
from index.settings import Settings
from index.verification import NO_PAIRS, RELATIONS, Stored, distinct, variants, verify
from index.vocabulary import bundled_vocabulary
from matcher.geometry import Signed, Tolerance, estimate, frames
from matcher.images import read_image
from matcher.pairing import nearest_pairs
from matcher.registry import extractor_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from matcher.types import Match, Region, Relation

__all__ = ["compare"]

_FEATURES = 12_000
"""Features of the second image: only time limits them here."""


def compare(
    a: Path,
    b: Path,
    region: Region | None = None,
    page_a: int = 0,
    page_b: int = 0,
    *,
    max_false_alarms: float = 1e-3,
    relations: Sequence[Relation] = RELATIONS,
    matcher: str | None = None,
) -> list[Match]:
    """Find what is on one image, or inside `region` of it, on another.

    Parameters
    ----------
    a, b : Path
        The images: where to look for what, and where.
    region : Region, optional
        Part of `a`.
    page_a, page_b : int
        Pages, from 0.
    max_false_alarms : float
        Share of unrelated images that may be called alike.
    relations : sequence of str
        How a copy may have been made.
    matcher : str, optional
        Name of a matcher (`matcher.registry.MATCHERS`) that lays one on the other, rather than SIFT alone.

    Returns
    -------
    list of Match
        Every place found, surest first.

    Raises
    ------
    InputError
        If an image cannot be read, or the region lies outside.
    MissingDependency
        If what the matcher needs is not there.
    """
    vocabulary = bundled_vocabulary()
    work_size = Settings("", "").work_size
    extractor = extractor_of(vocabulary.features, None, vocabulary.likeness)
    query = Query(str(a), a, region, page_a)
    asked = extract(query, extractor, work_size, relations)
    scan = read_image(b, page_b, long_side=work_size)
    features = extractor_of(vocabulary.features, _FEATURES, vocabulary.likeness).extract(scan)
    if len(features) < 3:
        return []
    frame = frames(features.points, features.sizes, features.angles)
    words = vocabulary.assign(features.descriptors)[:, 0]
    signatures = vocabulary.signatures(vocabulary.project(features.descriptors), words)
    pixel = max(1.0, max(scan.width, scan.height) / work_size)
    stored = Stored(Signed(frame, words.astype(np.uint16), signatures), pixel)
    limit = math.log10(max_false_alarms / len(relations))
    found: list[Match] = []
    asked_for = variants(asked.features, asked.region, vocabulary)
    if matcher is not None:
        again = Rematcher(matcher, work_size)
        known = {variant.relation: variant for variant in asked_for}

        def weigh(relation: Relation, matrix: NDArray[np.float64]) -> list[Match]:
            return verify(known[relation], matrix, NO_PAIRS, stored, vocabulary, limit) if relation in known else []

        for own in again.variants(query, relations):
            found += again.find(own, b, page_b, partial(weigh, own.relation))
        return distinct([match for match in found if match.log_false_alarms <= limit])
    for variant in asked_for:
        rows, columns, weights = nearest_pairs(variant.features.descriptors, features.descriptors)
        pairs = (variant.frame[rows], frame[columns], weights)
        bounds, pixels = np.array([0, len(rows)]), np.array([stored.pixel])
        matrices, votes, _ = estimate(*pairs, bounds, variant.diagonal, pixels, Tolerance())
        if votes[0] > 0:
            found += verify(variant, matrices[0], pairs, stored, vocabulary, limit)
    return distinct(found)
