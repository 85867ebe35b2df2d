"""How well boxes that were found agree with true ones: average precision as COCO defines it.

Boxes take true ones greedily, the surest first; precision is interpolated at 101 recalls; AP50 counts boxes of
IoU ≥ 0.5, AP50:95 is the mean over ten thresholds (https://cocodataset.org/#detection-eval).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from matcher.types import Region

__all__ = ["Matched", "Scored", "figures_of", "matched", "shared_of"]

_THRESHOLDS = np.linspace(0.5, 0.95, 10)
_RECALLS = np.linspace(0.0, 1.0, 101)


class Scored(Protocol):
    """A box that was found."""

    @property
    def box(self) -> Region:
        """Where."""

    @property
    def score(self) -> float:
        """How sure."""


@dataclass(frozen=True, slots=True)
class Matched:
    """The boxes of one class on one page.

    Attributes
    ----------
    scores : float64, shape (n,)
    right : bool, shape (10, n)
        Whether each takes a true box, at each threshold of IoU from 0.5 to 0.95.
    counted : bool, shape (n,) or (10, n)
        Whether it counts, right or wrong; one that takes a true box always does.
    true : int
        True boxes.
    """

    scores: NDArray[np.float64]
    right: NDArray[np.bool_]
    counted: NDArray[np.bool_]
    true: int


def matched(true: Sequence[Region], found: Sequence[Scored], counted: NDArray[np.bool_]) -> Matched:
    """Match what was found to true boxes at each threshold; what takes a true box counts, whatever it lies in."""
    scores = np.array([region.score for region in found], np.float64)
    overlaps = np.array([[region.box.iou(box) for box in true] for region in found]).reshape(len(found), len(true))
    right = np.zeros((len(_THRESHOLDS), len(found)), dtype=bool)
    for row, threshold in zip(right, _THRESHOLDS, strict=True):
        free = np.ones(len(true), dtype=bool)
        for number in np.argsort(-scores, kind="stable"):
            overlap = np.where(free, overlaps[number], -1.0)
            if overlap.size and overlap.max() >= threshold:
                # Of equally good boxes the last, as the reference has it.
                free[len(overlap) - 1 - int(overlap[::-1].argmax())] = False
                row[number] = True
    return Matched(scores, right, counted, len(true))


def shared_of(found: Sequence[Scored], crowd: Sequence[Region]) -> NDArray[np.bool_]:
    """Return what does not lie in a crowd, at each threshold, bool, shape (10, n): what counts, as COCO has it.

    A crowd is an area in which there are things that are not told apart: what lies in it by so much of itself as the
    threshold asks for is neither right nor wrong.
    """
    inside = np.zeros(len(found))
    for number, one in enumerate(found):
        for area in crowd:
            moved = type(area)(one.box.x - area.x, one.box.y - area.y, one.box.width, one.box.height)
            shared = moved.clipped(area.width, area.height)
            inside[number] = max(inside[number], 0.0 if shared is None else shared.area / one.box.area)
    return np.asarray(inside[None] < _THRESHOLDS[:, None])


def figures_of(pages: Sequence[Matched]) -> dict[str, Any]:
    """Return ``true``, ``found``, ``ap50`` and ``ap50_95`` (None where nothing is true) of one class on many pages."""
    true = sum(page.true for page in pages)
    scores = np.concatenate([page.scores for page in pages]) if pages else np.empty(0)
    order = np.argsort(-scores, kind="stable")
    right = np.hstack([page.right for page in pages])[:, order] if pages else np.empty((len(_THRESHOLDS), 0), bool)
    counts = [np.broadcast_to(page.counted, page.right.shape) for page in pages]
    counted = np.hstack(counts)[:, order] if pages else np.empty((len(_THRESHOLDS), 0), bool)
    if not true:
        return {"true": 0, "found": int(counted[0].sum()), "ap50": None, "ap50_95": None}
    precisions = [_average_precision(row[row | counts], true) for row, counts in zip(right, counted, strict=True)]
    return {
        "true": true,
        "found": int(counted[0].sum()),
        "ap50": precisions[0],
        "ap50_95": float(np.mean(precisions)),
    }


def _average_precision(right: NDArray[np.bool_], true: int) -> float:
    """Return the precision, never lower than at any greater recall, averaged over 101 recalls."""
    hits = np.cumsum(right)
    precision = hits / np.arange(1, len(right) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(hits / true, _RECALLS, side="left")
    return float(np.append(precision, 0.0)[np.minimum(at, len(precision))].mean())
