"""How well classes are told: confusions, precision and recall of each class, how far probabilities can be trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from matcher.calibration import brier_score, calibration_error, log_loss, reliability
from matcher.classification import decided

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["average_precision", "class_figures", "confusion"]


def confusion(truth: NDArray[np.bool_], said: NDArray[np.bool_], exclusive: bool) -> NDArray[np.intp]:
    """Return how often what was told as what.

    Parameters
    ----------
    truth, said : bool, shape (n, k)
    exclusive : bool
        Whether each row has one class.

    Returns
    -------
    int, shape (k, k), or (k, 2, 2)
        Of classes that exclude each other: row the true class, column the one told. Else for each class: row whether
        it is true (no, yes), column whether it was told.
    """
    counts: NDArray[np.intp]
    classes = truth.shape[1]
    if exclusive:
        counts = np.zeros((classes, classes), np.intp)
        np.add.at(counts, (truth.argmax(axis=1), said.argmax(axis=1)), 1)
        return counts
    counts = np.zeros((classes, 2, 2), np.intp)
    for place in range(classes):
        np.add.at(counts[place], (truth[:, place].astype(np.intp), said[:, place].astype(np.intp)), 1)
    return counts


def average_precision(scores: NDArray, right: NDArray[np.bool_]) -> float | None:
    """Return the mean of the precision at each right answer, ranked by score, ties to their disadvantage; None if none
    is right."""
    if not right.any():
        return None
    order = np.lexsort((right, -scores))
    hits = right[order]
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float(precision[hits].mean())


def class_figures(
    probabilities: NDArray, truth: NDArray[np.bool_], classes: Sequence[str], exclusive: bool
) -> dict[str, Any]:
    """Return all figures in plain JSON types.

    Parameters
    ----------
    probabilities : float, shape (n, k)
        Of images that had no part in learning.
    truth : bool, shape (n, k)
    classes : sequence of str
    exclusive : bool
        Whether an image has just one of the classes.

    Returns
    -------
    dict
        ``examples``; ``accuracy`` (of classes that do not exclude each other the share of images with all classes
        right); ``balanced_accuracy`` (mean recall), ``macro_f1``, ``map`` (means over classes); ``brier``, ``ece``,
        ``log_loss`` as of `matcher.calibration`; ``classes``: of each its ``class``, ``examples``, ``precision``,
        ``recall``, ``f1``, ``average_precision``, None where there is nothing to divide by; ``confusion``;
        ``reliability``: rows of confidence, share right, count.
    """
    said = decided(probabilities, exclusive)
    rows = []
    for place, name in enumerate(classes):
        right = int((truth[:, place] & said[:, place]).sum())
        there, told = int(truth[:, place].sum()), int(said[:, place].sum())
        rows.append(
            {
                "class": name,
                "examples": there,
                "precision": _share(right, told),
                "recall": _share(right, there),
                "f1": _share(2 * right, there + told),
                "average_precision": average_precision(probabilities[:, place], truth[:, place]),
            }
        )
    return {
        "examples": len(truth),
        "accuracy": float((truth == said).all(axis=1).mean()) if len(truth) else None,
        "balanced_accuracy": _mean(row["recall"] for row in rows),
        "macro_f1": _mean(row["f1"] for row in rows),
        "map": _mean(row["average_precision"] for row in rows),
        "brier": brier_score(probabilities, truth, exclusive),
        "ece": calibration_error(probabilities, truth, exclusive),
        "log_loss": log_loss(probabilities, truth, exclusive),
        "classes": rows,
        "confusion": confusion(truth, said, exclusive).tolist(),
        "reliability": [list(row) for row in reliability(probabilities, truth, exclusive)],
    }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _mean(values: Any) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
