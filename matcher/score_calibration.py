"""How sure a detector really is: its scores fitted to what was right, and the score from which on to believe it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["best_threshold", "calibrated", "fitted"]

_LEAST = 5
"""Right ones, and wrong ones, that it takes to tell a slope."""

_WEIGHT = 0.05
"""How much a slope of 1 and an offset of 0 are believed in beforehand: so little that twenty scores outweigh it."""


def calibrated(scores: NDArray, calibration: tuple[float, float]) -> NDArray[np.float64]:
    """Return scores, 0 to 1, after slope and offset of their logits."""
    slope, offset = calibration
    return np.asarray(1 / (1 + np.exp(-(slope * _logits(scores) + offset))))


def _logits(scores: NDArray) -> NDArray[np.float64]:
    clipped = np.clip(np.asarray(scores, np.float64), 1e-6, 1 - 1e-6)
    return np.asarray(np.log(clipped / (1 - clipped)))


def fitted(scores: NDArray, right: NDArray[np.bool_]) -> tuple[float, float]:
    """Return slope and offset of the logits of scores that make them chances to be right (Platt 1999).

    Parameters
    ----------
    scores : float, shape (n,)
        From 0 to 1.
    right : bool, shape (n,)

    Returns
    -------
    (float, float)
        (1, 0) where there are not five right and five wrong ones. The slope is positive: the order stays.
    """
    if min(right.sum(), (~right).sum()) < _LEAST:
        return 1.0, 0.0
    logits = _logits(scores)
    # Platt's targets: a new score may be right although all of this size were wrong.
    many, few = right.sum(), (~right).sum()
    wanted = np.where(right, (many + 1) / (many + 2), 1 / (few + 2))
    rows = np.column_stack([logits, np.ones_like(logits)])
    prior = np.array([1.0, 0.0])
    values = prior.copy()
    for _ in range(50):  # Newton's method on a convex function
        chances = 1 / (1 + np.exp(-rows @ values))
        slope = rows.T @ (chances - wanted) + _WEIGHT * (values - prior)
        curve = (rows * (chances * (1 - chances))[:, None]).T @ rows + _WEIGHT * np.eye(2)
        step = np.linalg.solve(curve, slope)
        values = values - step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < 1e-8:
            break
    return (float(values[0]), float(values[1])) if values[0] > 0.05 else (1.0, 0.0)


def best_threshold(scores: NDArray, right: NDArray[np.bool_], true: int) -> float:
    """Return the score from which on to believe, so that the F1 score is greatest: halfway to the next lower one.

    Parameters
    ----------
    scores : float, shape (n,)
    right : bool, shape (n,)
    true : int
        How many there were to be found.
    """
    if not right.any():
        return 0.5
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    ordered = np.asarray(scores, np.float64)[order]
    hits = np.cumsum(right[order])
    f1 = 2 * hits / (np.arange(1, len(order) + 1) + true)
    last = int(np.flatnonzero(f1 >= f1.max() - 1e-12)[-1])
    following = ordered[last + 1] if last + 1 < len(ordered) else 0.0
    return float(np.clip((ordered[last] + following) / 2, 0.02, 0.98))
