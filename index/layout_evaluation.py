"""How well the regions that a segmenter finds agree with what is known of the pages.

Boxes are judged by average precision (`index.average_precision`), classes of pixels by intersection over union, summed
over all pages.

Pictures are taken out of the blocks of text that they stand in. What the truth calls *other* (music, stamps, damage) is
neither right nor wrong: its pixels are not judged, nor is a region of which at least half lies in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from index.average_precision import Matched, figures_of, matched
from index.items import SourceFailure
from index.layout_truth import region_of
from index.zones import ZoneFinder
from matcher.layout import CLASSES, PICTURES
from matcher.layout_regions import painted
from matcher.types import Region

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from index.annotations import Zone
    from index.layouts import PageLayout
    from index.zones import PageZones
    from matcher.layout import Layout

__all__ = ["ANY_PICTURE", "PageJudgement", "evaluate", "judge_page", "summary"]

ANY_PICTURE = "picture"
"""The class of all pictures of whatever kind: for segmenters that do not tell them apart."""

_JUDGED = (*PICTURES, ANY_PICTURE)
_IN_OTHER = 0.5
_GRID = 800
"""Cells, along the long side of a page, at which classes of pixels are compared."""
_UNJUDGED = len(CLASSES)


@dataclass(frozen=True, slots=True)
class PageJudgement:
    """How well the regions found on one page agree with the truth.

    Attributes
    ----------
    by_class : dict
        Of each kind of picture, and of any: the regions found, right or not.
    confusion : int64, shape (5, 5)
        Cells of each true class (rows) that were given each class (columns).
    false_pictures : int or None
        Pictures found on a page without any; None if it has some.
    """

    by_class: dict[str, Matched]
    confusion: NDArray[np.int64]
    false_pictures: int | None

    @property
    def agreement(self) -> float:
        """Agreement on this page alone, 0 to 1: the mean of the IoU of text and of pictures, where there are any."""
        matrix = np.zeros((3, 3), np.int64)
        merged = [0, 1, *[2] * len(PICTURES)]
        np.add.at(matrix, (np.array(merged)[:, None], np.array(merged)[None]), self.confusion)
        known = [value for value in _iou(matrix)[1:] if value is not None]
        return float(np.mean(known)) if known else 1.0


def evaluate(
    pages: Iterable[PageLayout],
    truth: Iterable[PageZones],
    unscored: Callable[[SourceFailure], None],
    min_score: float = 0.0,
) -> dict[str, Any]:
    """Measure layouts against what is known of their pages.

    Parameters
    ----------
    pages : iterable of PageLayout
    truth : iterable of PageZones
    unscored : callable
        Called with each page of which the truth knows nothing.
    min_score : float
        As of `judge_page`.

    Returns
    -------
    dict
        As `summary`, and how many pages were ``unscored``.
    """
    finder = ZoneFinder(truth)
    judged: list[PageJudgement] = []
    without = 0
    for item, layout in pages:
        if told := finder.find(str(item.path), item.name):
            zones = [zone for known in told for zone in known.on(layout.width, layout.height)]
            judged.append(judge_page(zones, layout, min_score))
        else:
            without += 1
            unscored(SourceFailure(item.name, "the truth knows nothing of it; it is not scored"))
    return {**summary(judged), "unscored": without}


def judge_page(zones: Sequence[Zone], layout: Layout, min_score: float = 0.0) -> PageJudgement:
    """Return how well a layout agrees with the zones known of its page, in pixels of the image.

    Average precision takes regions however sure, since it ranks them; pictures less sure than `min_score`, which nobody
    takes for such, are no false pictures.
    """
    other = [zone.box for zone in zones if zone.kind == "other"]
    pictures = layout.pictures
    counted = np.array([not _mostly_in(region.box, other) for region in pictures], dtype=bool)
    by_class = {}
    for name in _JUDGED:
        kinds = PICTURES if name == ANY_PICTURE else (name,)
        true = [zone.box for zone in zones if zone.kind in kinds]
        chosen = np.array([region.kind in kinds for region in pictures], dtype=bool)
        found = [region for region in pictures if region.kind in kinds]
        by_class[name] = matched(true, found, counted[chosen])
    any_picture = by_class[ANY_PICTURE]
    false = None if any_picture.true else int((any_picture.counted & (any_picture.scores >= min_score)).sum())
    return PageJudgement(by_class, _confusion(zones, layout), false)


def summary(pages: Iterable[PageJudgement]) -> dict[str, Any]:
    """Return the figures of many pages.

    Returns
    -------
    dict
        ``pages``; ``classes``: of each kind of picture and of any ``true``, ``found``, ``ap50``, ``ap50_95`` (None
        where the truth has none); ``pixel_iou``: of each class (None where there is none);
        ``text_only``: the number of pages without pictures, how many ``with_false_pictures``, the ``share`` of these,
        ``false_pictures`` and their number ``per_page`` (None where there are no such pages).
    """
    judged = list(pages)
    matrix = sum((page.confusion for page in judged), np.zeros((len(CLASSES),) * 2, np.int64))
    false = [page.false_pictures for page in judged if page.false_pictures is not None]
    wrong = sum(count > 0 for count in false)
    return {
        "pages": len(judged),
        "classes": {name: figures_of([page.by_class[name] for page in judged]) for name in (*PICTURES, ANY_PICTURE)},
        "pixel_iou": dict(zip(CLASSES, _iou(matrix), strict=True)),
        "text_only": {
            "text_only": len(false),
            "with_false_pictures": wrong,
            "share": wrong / len(false) if false else None,
            "false_pictures": sum(false),
            "per_page": sum(false) / len(false) if false else None,
        },
    }


def _mostly_in(box: Region, others: Sequence[Region]) -> bool:
    """Return whether at least half of a box lies in one of others."""
    for other in others:
        shared = Region(box.x - other.x, box.y - other.y, box.width, box.height).clipped(other.width, other.height)
        if shared is not None and shared.area >= _IN_OTHER * box.area:
            return True
    return False


def _confusion(zones: Sequence[Zone], layout: Layout) -> NDArray[np.int64]:
    """Count cells by true class and class given, without those of zones that are neither right nor wrong."""
    factor = _GRID / max(layout.width, layout.height)
    shape = max(1, round(layout.height * factor)), max(1, round(layout.width * factor))
    regions = {other: [region_of(z) for z in zones if (z.kind == "other") is other] for other in (False, True)}
    true, unjudged = (painted(regions[other], layout.width, layout.height, shape) for other in (False, True))
    true[(unjudged > 0) & (true <= CLASSES.index("text"))] = _UNJUDGED
    given = cv2.resize(layout.labels, shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    pairs = true.astype(np.int64) * len(CLASSES) + given
    counts = np.bincount(pairs.ravel(), minlength=(len(CLASSES) + 1) * len(CLASSES))
    return np.asarray(counts.reshape(-1, len(CLASSES))[:_UNJUDGED])


def _iou(matrix: NDArray[np.int64]) -> list[float | None]:
    """Return intersection over union of each class of a confusion matrix, None where there is nothing of it."""
    both = np.diag(matrix)
    either = matrix.sum(axis=0) + matrix.sum(axis=1) - both
    return [float(b / e) if e else None for b, e in zip(both, either, strict=True)]
