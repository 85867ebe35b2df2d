"""Tentative pairs between the features of two images, by their descriptors alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["nearest_pairs"]

_PARTNERS = 4
"""Partners of a query feature at the most."""

_BLOCK = 2048


def nearest_pairs(
    query: NDArray[np.float32], image: NDArray[np.float32], ratio: float = 0.9
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Pair each query descriptor with its nearest on the image, as far as they are clearly nearer than most.

    The ratio test is Lowe's (IJCV 2004), made against the fifth nearest rather than the second: what is printed four
    times on a page has four partners. It is loose here: the geometry decides.

    Parameters
    ----------
    query : float32, shape (n, d)
    image : float32, shape (m, d)
        Unit-length descriptors.
    ratio : float
        Largest quotient of a partner's distance over that of the fifth nearest.

    Returns
    -------
    rows : int, shape (k,)
        Query features, ascending.
    columns : int, shape (k,)
        Their partners.
    weights : float64, shape (k,)
        1 less the quotient: how clearly the partner is near.
    """
    nothing = np.zeros(0, dtype=np.intp)
    if len(query) == 0 or len(image) < 2:
        return nothing, nothing, np.zeros(0)
    many = min(_PARTNERS, len(image) - 1)
    found = []
    for first in range(0, len(query), _BLOCK):
        likeness = query[first : first + _BLOCK] @ image.T
        nearest = np.argpartition(-likeness, many, axis=1)[:, : many + 1]
        # Squared distances of unit vectors; copies of one feature have distance zero and no quotient.
        distances = np.sqrt(np.maximum(2 - 2 * np.take_along_axis(likeness, nearest, axis=1), 0))
        quotients = distances[:, :many] / np.maximum(distances[:, many:], 1e-3)
        row, place = np.nonzero(quotients <= ratio)
        found.append((row + first, nearest[row, place], 1.0 - quotients[row, place].astype(np.float64)))
    rows, columns, weights = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return rows, columns, weights
