"""Vectors of many dimensions brought onto a plane, so that what is near stays near: UMAP, or principal components."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Literal

import numpy as np

from matcher.errors import InputError, MissingDependency

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PROJECTIONS", "Projection", "principal_components", "projected"]

Projection = Literal["umap", "pca"]
PROJECTIONS: tuple[Projection, ...] = ("umap", "pca")
"""Ways to bring vectors onto a plane."""

_BLOCK = 4096
_KEPT = 50
"""Principal components that UMAP is given: neighbours stay the same, and are found several times as fast."""

_FEWEST = 6
"""Vectors; of fewer no neighbourhood can be told, and their principal components serve as well."""


def projected(
    vectors: NDArray[np.float32], projection: Projection = "umap", *, neighbours: int = 15, seed: int = 0
) -> NDArray[np.float32]:
    """Return a place on the plane for each vector.

    Parameters
    ----------
    vectors : float32, shape (n, d)
        Not all of them need differ.
    projection : {'umap', 'pca'}
        UMAP (McInnes, Healy & Melville, 2018) keeps neighbourhoods, begins with the principal components and gives the
        same map for the same seed; ``pca`` is the two first principal components. Of fewer than six vectors it is
        these in either case.
    neighbours : int
        How many of them UMAP lets a vector see: few show the finer grain, many the coarser shape.
    seed : int

    Returns
    -------
    float32, shape (n, 2)

    Raises
    ------
    InputError
        If a vector is not finite.
    MissingDependency
        If UMAP is asked for and not installed.
    """
    if not np.isfinite(vectors).all():
        raise InputError("some vectors are not finite; make them anew with: calque embed INDEX --again")
    if projection == "pca" or len(vectors) < _FEWEST:
        return principal_components(vectors, 2)
    try:
        import umap
    except ImportError as error:
        raise MissingDependency(
            f"{error.name} is not installed; install it with: pip install 'calque[map]', "
            "or ask for principal components with --projection pca"
        ) from error
    if vectors.shape[1] > _KEPT:
        vectors = principal_components(vectors, _KEPT)
    neighbours = min(neighbours, len(vectors) - 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of one job for the sake of the seed, and of few points
        model = umap.UMAP(n_neighbors=neighbours, min_dist=0.12, init="pca", random_state=seed, n_jobs=1)
        return np.asarray(model.fit_transform(vectors), np.float32)


def principal_components(vectors: NDArray[np.float32], many: int) -> NDArray[np.float32]:
    """Return the coordinates of vectors, shape (n, d), along the `many` directions of their greatest variance.

    Float32, shape (n, many); zeros where there are fewer directions. Memory is bounded: vectors are read in blocks.
    """
    n, size = vectors.shape
    kept = min(many, size)
    mean = np.mean(vectors, axis=0, dtype=np.float64) if n else np.zeros(size)
    covariance = np.zeros((size, size))
    for start in range(0, n, _BLOCK):
        block = vectors[start : start + _BLOCK] - mean
        covariance += block.T @ block
    axes = np.linalg.eigh(covariance)[1][:, ::-1][:, :kept]
    # A direction and its opposite serve alike: let the largest part of each be positive, on every machine.
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(kept)])
    places = np.zeros((n, many), np.float32)
    for start in range(0, n, _BLOCK):
        places[start : start + _BLOCK, :kept] = (vectors[start : start + _BLOCK] - mean) @ axes
    return places
