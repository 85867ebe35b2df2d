"""How good a ranked list of answers is, measured against the truth.

**Images.** Ranking figures (mAP, recall@1, recall at zero wrong) judge images: each counts once, with its best score,
and is right when it holds a right answer anywhere; at equal scores wrong images come first. The query's own file, the
ignored files and the places marked unsure are taken out beforehand.

**Places.** The calibration figures judge single hits, as a user sees them: a hit that names a region is right only if
it touches a true box (or the truth knows no box there), so a right page found for a wrong reason counts as wrong.
The boxes are annotators' and loose, so how well a right answer is located is a figure of its own (IoU ≥ 0.5).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from matcher.types import Region

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "CONFIDENT",
    "THRESHOLDS",
    "TOUCHING",
    "Found",
    "Place",
    "TruthQuery",
    "Verdict",
    "average_precision",
    "evaluate",
    "judge",
]

CONFIDENT = 1e-3
"""Hits with at most this many expected false alarms are those that a user is told to trust."""

TOUCHING = 0.1
"""IoU from which two boxes are about the same thing on the page."""

_LOCATED = 0.5

THRESHOLDS = (1.0, 1e-1, 1e-2, 1e-3, 1e-6, 1e-9)
"""Numbers of false alarms at which precision and recall are told."""

Verdict = Literal["right", "wrong", "ignored", "unjudged"]


@dataclass(frozen=True, slots=True)
class Place:
    """A file and, where it is known, the box on it."""

    image: str
    region: Region | None


@dataclass(frozen=True, slots=True)
class TruthQuery:
    """One query with everything that is true about it.

    Attributes
    ----------
    id : str
        Unique within the set.
    place : Place
        What is asked for; a region of None means the whole image.
    part : str
        ``dev`` (parameters may be chosen on it) or ``test``.
    groups : tuple of str
        Names under which the results are reported apart, such as the kind of block.
    positives : tuple of Place
        The right answers. None at all: the query only asks that `different` is not answered, nothing else is judged.
    ignored : frozenset of str
        Files that are neither right nor wrong; the query's own file always is one of them.
    unsure : tuple of Place
        Places that are neither right nor wrong.
    different : tuple of Place
        Look-alikes: an answer here is wrong even on a page that also holds a right one.
    complete : bool
        Whether `positives` are all that there are, so that any other answer is wrong; else it is not judged.
    """

    id: str
    place: Place
    part: str
    groups: tuple[str, ...]
    positives: tuple[Place, ...]
    ignored: frozenset[str]
    unsure: tuple[Place, ...] = ()
    different: tuple[Place, ...] = ()
    complete: bool = True


class Found(NamedTuple):
    """One answer: image, score (the larger the better), expected false alarms and ``[x, y, w, h]``, where known."""

    image: str
    score: float
    false_alarms: float | None = None
    region: Sequence[float] | None = None


def average_precision(right: Sequence[bool], positives: int) -> float:
    """Return the average precision of a ranked list, without interpolation.

    Parameters
    ----------
    right : sequence of bool
        For each answer, best first, whether it is right.
    positives : int
        How many right answers there are; those not in the list count with precision 0.

    Raises
    ------
    ValueError
        If `positives` is smaller than the number of right answers, or zero.
    """
    flags = np.asarray(right, dtype=bool)
    if positives < max(1, int(flags.sum())):
        raise ValueError(f"{int(flags.sum())} right answers of {positives}")
    ranks = np.flatnonzero(flags) + 1
    return float((np.arange(1, len(ranks) + 1) / ranks).sum() / positives)


def _overlap(region: Region | None, place: Place) -> float:
    """Return the IoU with the place's box; 1 where either side names no box and so cannot contradict."""
    return 1.0 if region is None or place.region is None else region.iou(place.region)


def _touches(found: Found, places: Iterable[Place]) -> bool:
    region = _region(found)
    return any(p.image == found.image and _overlap(region, p) >= TOUCHING for p in places)


def _region(found: Found) -> Region | None:
    if found.region is None or not (found.region[2] > 0 and found.region[3] > 0):
        return None
    return Region(*map(float, found.region))


def judge(query: TruthQuery, found: Found) -> Verdict:
    """Return what the truth says of one hit, its place included."""
    if found.image in query.ignored:
        return "ignored"
    if _touches(found, query.positives):
        return "right"
    if _touches(found, query.different):
        return "wrong"
    if not query.positives or _touches(found, query.unsure):
        return "ignored"
    return "wrong" if query.complete else "unjudged"


class _Judged(NamedTuple):
    """One query's answers, judged. The sequences of ranked images run best first."""

    query: TruthQuery
    scores: list[float]
    right: list[bool]
    overlaps: list[float | None]
    hits: list[tuple[Found, Verdict]]

    @property
    def before_first_wrong(self) -> int:
        """How many right images rank above the first wrong one."""
        return self.right.index(False) if False in self.right else len(self.right)

    def right_within(self, limit: float) -> set[str]:
        """Return the images rightly hit with at most `limit` false alarms."""
        return {found.image for found in self.within(limit, "right")}

    def within(self, limit: float, verdict: Verdict) -> list[Found]:
        """Return the hits of one verdict with at most `limit` false alarms."""
        known = ((f, v, f.false_alarms) for f, v in self.hits)
        return [found for found, said, alarms in known if said == verdict and alarms is not None and alarms <= limit]


def _judged(query: TruthQuery, answers: Iterable[Found]) -> _Judged:
    pages = {p.image for p in query.positives}
    hits = [(found, judge(query, found)) for found in answers]
    best: dict[str, Found] = {}
    for found in (found for found, verdict in hits if verdict in ("right", "wrong")):
        if found.image not in best or found.score > best[found.image].score:
            best[found.image] = found
    ranked = sorted(best.values(), key=lambda f: (-f.score, f.image in pages))
    return _Judged(
        query,
        [f.score for f in ranked],
        [f.image in pages for f in ranked],
        [_best_overlap(query, f) for f in ranked],
        hits,
    )


def _best_overlap(query: TruthQuery, found: Found) -> float | None:
    """Return the IoU with the true box on the image, None where the truth or the hit has no box."""
    region = _region(found)
    boxes = [p.region for p in query.positives if p.image == found.image and p.region is not None]
    return max(region.iou(box) for box in boxes) if region is not None and boxes else None


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _figures(judged: Sequence[_Judged]) -> dict[str, Any]:
    asked = [j for j in judged if j.query.positives]
    positives = [len({p.image for p in j.query.positives}) for j in asked]
    worst = max((s for j in judged for s, r in zip(j.scores, j.right, strict=True) if not r), default=-np.inf)
    above = sum(r and s > worst for j in judged for s, r in zip(j.scores, j.right, strict=True))
    overlaps = [o for j in asked for o in j.overlaps[: j.before_first_wrong] if o is not None]
    sure = _at(judged, CONFIDENT)
    precisions = [average_precision(j.right, n) for j, n in zip(asked, positives, strict=True)]
    return {
        "queries": len(asked),
        "positives": sum(positives),
        "map": _ratio(sum(precisions), len(asked)),
        "recall_at_1": _ratio(sum(j.right[:1] == [True] for j in asked), len(asked)),
        "recall_zero_wrong": _ratio(above, sum(positives)),
        "recall_zero_wrong_per_query": _ratio(sum(j.before_first_wrong for j in asked), sum(positives)),
        "recall_confident": sure["recall"],
        "confident_hits": sure["right"] + sure["wrong"],
        "confident_wrong": sure["wrong"],
        "located": _ratio(sum(o >= _LOCATED for o in overlaps), len(overlaps)),
        "median_iou": float(np.median(overlaps)) if overlaps else None,
    }


def _at(judged: Sequence[_Judged], limit: float) -> dict[str, Any]:
    """Return what the hits with at most `limit` false alarms are worth."""
    right = sum(len(j.right_within(limit)) for j in judged)
    wrong = sum(len(j.within(limit, "wrong")) for j in judged)
    return {
        "false_alarms": limit,
        "right": right,
        "wrong": wrong,
        "unjudged": sum(len(j.within(limit, "unjudged")) for j in judged),
        "precision": _ratio(right, right + wrong),
        "recall": _ratio(right, sum(len({p.image for p in j.query.positives}) for j in judged)),
    }


def evaluate(queries: Sequence[TruthQuery], answers: Mapping[str, Sequence[Sequence[Any]]]) -> dict[str, Any]:
    """Return the figures of one system on queries with known answers.

    Parameters
    ----------
    queries : sequence of TruthQuery
    answers : mapping
        Query id → its hits in any order, each `Found` or a tuple ``(image, score, false_alarms, region)``; a query that
        is missing has found nothing.

    Returns
    -------
    dict
        ``queries`` and ``positives`` (query–image pairs to be found); ``map``; ``recall_at_1``, the share of queries
        whose first image is right; ``recall_zero_wrong``, the share of positives that score above every wrong image
        of *any* query, as under one threshold for all; ``recall_zero_wrong_per_query``, the same under a threshold
        for each query; ``recall_confident``, the share of positives hit with at most `CONFIDENT` false alarms;
        ``confident_hits`` and ``confident_wrong``, their number (several right ones on an image count once);
        ``located``, the share with IoU ≥ 0.5 of the right answers that rank above their query's first wrong one, and
        their ``median_iou``. A figure that cannot be had is None. ``groups`` holds the same for each group of
        queries, ``thresholds`` precision and recall at each of `THRESHOLDS`, ``wrong`` lists the confident wrong hits,
        ``lost`` the positives not hit confidently.

    Raises
    ------
    ValueError
        If there are answers to a query that is not asked.
    """
    if unknown := answers.keys() - {q.id for q in queries}:
        raise ValueError(f"answers to queries that are not asked: {sorted(unknown)[:3]}")
    judged = [_judged(q, [Found(*a) for a in answers.get(q.id, ())]) for q in queries]
    groups = dict.fromkeys(group for q in queries for group in q.groups)
    return {
        **_figures(judged),
        "groups": {group: _figures([j for j in judged if group in j.query.groups]) for group in groups},
        "thresholds": [_at(judged, limit) for limit in THRESHOLDS],
        "wrong": [{"query": j.query.id, **f._asdict()} for j in judged for f in j.within(CONFIDENT, "wrong")],
        "lost": [
            {"query": j.query.id, "image": image}
            for j in judged
            for image in sorted({p.image for p in j.query.positives} - j.right_within(CONFIDENT))
        ],
    }
