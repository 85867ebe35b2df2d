"""Tentative pairs between the features of two images, by their descriptors alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["nearest_pairs"]

_BLOCK = 2048


def nearest_pairs(
    query: NDArray[np.float32], image: NDArray[np.float32], ratio: float = 0.9
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Pair each query descriptor with its nearest on the image, where the second nearest is clearly farther.

    The ratio test is Lowe's (IJCV 2004). It is loose here: the geometry decides.

    Parameters
    ----------
    query : float32, shape (n, d)
    image : float32, shape (m, d)
        Unit-length descriptors.
    ratio : float
        Largest quotient of the nearest over the second nearest distance.

    Returns
    -------
    rows : int, shape (k,)
        Query features, ascending.
    columns : int, shape (k,)
        Their partners.
    weights : float64, shape (k,)
        1 less the quotient: how clearly the partner is the nearest.
    """
    if len(query) == 0 or len(image) < 2:
        nothing = np.zeros(0, dtype=np.intp)
        return nothing, nothing, np.zeros(0)
    rows, columns, quotients = [], [], []
    for first in range(0, len(query), _BLOCK):
        likeness = query[first : first + _BLOCK] @ image.T
        every = np.arange(len(likeness))
        nearest = likeness.argmax(axis=1)
        closest = likeness[every, nearest]
        likeness[every, nearest] = -np.inf
        second = likeness.max(axis=1)
        # Squared distances of unit vectors; copies of one feature have distance zero and no quotient.
        far = np.maximum(2 - 2 * second, 1e-6)
        quotient = np.sqrt(np.maximum(2 - 2 * closest, 0) / far)
        keep = np.flatnonzero(quotient <= ratio)
        rows.append(keep + first)
        columns.append(nearest[keep])
        quotients.append(quotient[keep])
    return np.concatenate(rows), np.concatenate(columns), 1.0 - np.concatenate(quotients).astype(np.float64)
