"""Clusters of what lies on a map, and what is typical of each."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["dense_clusters", "k_means", "most_typical", "usual_number"]

_MOST_AT_ONCE = 30_000
"""Points that HDBSCAN is given: its time grows with their square. The others go with their nearest neighbour."""


def dense_clusters(points: NDArray[np.float32], least: int | None = None) -> NDArray[np.int32]:
    """Return the clusters of points by density: HDBSCAN (Campello, Moulavi & Sander, 2013).

    Parameters
    ----------
    points : float32, shape (n, 2)
    least : int, optional
        Points of a cluster at least; by default one in 120, and 5 at least.

    Returns
    -------
    int32, shape (n,)
        Numbers from 0, the largest cluster first; -1 for what lies between clusters.
    """
    from sklearn.cluster import HDBSCAN
    from sklearn.neighbors import KDTree

    n = len(points)
    chosen = np.arange(n)
    if n > _MOST_AT_ONCE:
        chosen = np.sort(np.random.default_rng(0).permutation(n)[:_MOST_AT_ONCE])
    least = max(5, len(chosen) // 120) if least is None else least
    if len(chosen) < 2 * least:
        return np.full(n, -1, np.int32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        found = HDBSCAN(min_cluster_size=least, min_samples=max(3, least // 4)).fit_predict(points[chosen])
    if len(chosen) < n:
        nearest = KDTree(points[chosen]).query(points, return_distance=False)[:, 0]
        found = found[nearest]
    return _largest_first(np.asarray(found))


def k_means(vectors: NDArray[np.float32], many: int) -> NDArray[np.int32]:
    """Return `many` clusters of vectors, shape (n, d), as numbers from 0, the largest first; int32, shape (n,)."""
    from sklearn.cluster import MiniBatchKMeans

    if len(vectors) <= many:
        return np.arange(len(vectors), dtype=np.int32)
    model = MiniBatchKMeans(many, random_state=0, n_init=3, batch_size=max(1024, 3 * many))
    return _largest_first(np.asarray(model.fit_predict(vectors)))


def most_typical(vectors: NDArray[np.float32], members: NDArray[np.int64], many: int) -> NDArray[np.int64]:
    """Return those of `members` whose vectors are nearest to their mean and yet not the same, at most `many`.

    Parameters
    ----------
    vectors : float32, shape (n, d)
    members : int64, shape (m,)
    many : int
    """
    own = vectors[members]
    distances = np.linalg.norm(own - own.mean(axis=0), axis=1)
    ranked = np.argsort(distances, kind="stable")
    spread = float(np.median(distances))
    chosen: list[int] = []
    for candidate in ranked[: 40 * many].tolist():
        # Five prints of one picture would say less than one.
        if all(np.linalg.norm(own[candidate] - own[other]) > 0.25 * spread for other in chosen):
            chosen.append(candidate)
        if len(chosen) == many:
            break
    return np.asarray(members[chosen], np.int64)


def _largest_first(found: NDArray) -> NDArray[np.int32]:
    """Number clusters anew by their size."""
    numbers, counts = np.unique(found[found >= 0], return_counts=True)
    if not len(numbers):
        return np.full(len(found), -1, np.int32)
    order = np.lexsort((numbers, -counts))
    renumbered = np.full(int(numbers.max()) + 2, -1, np.int32)  # the last one is what -1 points at
    renumbered[numbers[order]] = np.arange(len(numbers), dtype=np.int32)
    return np.asarray(renumbered[found], np.int32)


def usual_number(n: int) -> int:
    """Return how many clusters k-means is asked for where nobody says: more for more pictures, from 2 to 24."""
    return min(24, max(2, round(math.sqrt(n) / 4)))
