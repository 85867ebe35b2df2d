"""Which images are worth labelling next: those a classifier doubts, far from each other and from what is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["suggested", "uncertainty"]


def uncertainty(probabilities: NDArray, exclusive: bool) -> NDArray[np.float64]:
    """Return how unsure a classifier is of images, 0 to 1.

    One minus the margin between the two likeliest classes (Scheffer, Decomain & Wrobel, IDA 2001); of classes that do
    not exclude each other, that of the most doubtful one.

    Parameters
    ----------
    probabilities : float, shape (n, k)
    exclusive : bool
        Whether an image has just one of the classes.

    Returns
    -------
    float64, shape (n,)
    """
    if not exclusive:
        return np.asarray((1 - np.abs(2 * probabilities - 1)).max(axis=1, initial=0.0))
    if probabilities.shape[1] < 2:
        return np.zeros(len(probabilities))
    ordered = np.sort(probabilities, axis=1)
    return np.asarray(1 - (ordered[:, -1] - ordered[:, -2]))


def suggested(unsure: NDArray, vectors: NDArray, many: int, known: NDArray | None = None) -> NDArray[np.intp]:
    """Return which images to label next, the most useful first.

    Greedily, the image with the greatest product of uncertainty and distance to the nearest vector that is known or
    was chosen before: the k-centre choice of core sets (Sener & Savarese, ICLR 2018) weighted by uncertainty.

    Parameters
    ----------
    unsure : float, shape (n,)
        From `uncertainty`.
    vectors : float32, shape (n, d)
        Unit rows.
    many : int
        How many to choose at most. Copies of what is known or chosen are never chosen.
    known : float32, shape (m, d), optional
        Vectors of images that have labels.

    Returns
    -------
    int, shape (at most many,)
    """
    count = len(vectors)
    near = np.full(count, 2.0)
    if known is not None and len(known) and count:
        for start in range(0, count, 4096):
            block = slice(start, start + 4096)
            near[block] = np.minimum(near[block], 1 - (vectors[block] @ known.T).max(axis=1))
    chosen: list[int] = []
    left = np.ones(count, np.bool_)
    while len(chosen) < min(many, count):
        # A little of the distance counts where nothing is in doubt, too.
        worth = np.where(left, (np.asarray(unsure, np.float64) + 1e-3) * near.clip(0), -1.0)
        best = int(worth.argmax())
        if worth[best] <= 1e-9:
            break
        chosen.append(best)
        left[best] = False
        near = np.minimum(near, 1 - vectors @ vectors[best])
    return np.array(chosen, np.intp)
