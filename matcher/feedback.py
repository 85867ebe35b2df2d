"""What is wanted, learned from a few examples of it and of what it is not.

With one example it is the direction of its vector. With a few, Rocchio's rule moves that towards the right ones and
away from the wrong ones (Rocchio, in Salton, *The SMART Retrieval System*, 1971). With more, a linear classifier is
trained on them: least squares with regularisation (ridge regression), some of the collection counting as faintly wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from matcher.embedding import unit

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["FEW", "direction", "linear", "rocchio"]

FEW = 25
"""Examples, right and wrong ones, up to which Rocchio's rule is better (chosen on dev: with twenty answers judged it
is, with forty the classifier)."""

_AWAY = 0.5
"""Weight of the wrong examples in Rocchio's rule; that of the right ones is 1."""

_RIDGE = 1e-3
"""Strength of regularisation, as a share of the mean squared length of the examples around their mean."""

_FAINT = 0.3
"""Weight of the collection as wrong examples, where that of the right ones is 1, and of the wrong ones, too."""


def direction(
    right: NDArray[np.float32], wrong: NDArray[np.float32], background: Callable[[], NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Return the direction in which what is wanted lies.

    Parameters
    ----------
    right, wrong : float32, shape (n, d)
        Vectors of examples of what is wanted, one at least, and of what is not.
    background : callable
        Returns vectors of the collection, float32 (m, d); called if need be.

    Returns
    -------
    float32, shape (d,)
        Of unit length: the greater a vector's product with it, the likelier.
    """
    found = rocchio(right, wrong) if len(right) + len(wrong) <= FEW else linear(right, wrong, background())
    return unit(found[None]).ravel()


def rocchio(right: NDArray[np.float32], wrong: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean of the right ones less half that of the wrong ones; see `direction`."""
    away = wrong.mean(axis=0) if len(wrong) else np.float32(0)
    return np.asarray(right.mean(axis=0) - np.float32(_AWAY) * away, np.float32)


def linear(
    right: NDArray[np.float32], wrong: NDArray[np.float32], background: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the normal of the hyperplane that parts right from wrong ones by least squares; see `direction`."""
    groups = [(right, 1.0, 1.0), (wrong, -1.0, 1.0), (background, -1.0, _FAINT)]
    groups = [group for group in groups if len(group[0])]
    points = np.concatenate([group for group, _, _ in groups]).astype(np.float64)
    sides = np.concatenate([np.full(len(group), side) for group, side, _ in groups])
    weights = np.concatenate([np.full(len(group), weight / len(group)) for group, _, weight in groups])
    weights /= weights.sum()
    points -= weights @ points
    sides -= weights @ sides
    # The dual: there are fewer examples than dimensions, or not many more.
    products = points @ points.T
    strength = _RIDGE * float(np.mean(np.diag(products)))
    solved = np.linalg.solve(products * weights + strength * np.eye(len(points)), sides)
    return np.asarray(points.T @ (weights * solved), np.float32)
