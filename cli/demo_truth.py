"""What the demo asks for, what it should be answered, and whether it was."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cli.demo_pages import photograph
from matcher.types import Region, Transform

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cli.demo_pages import Page, Placement
    from matcher.types import Match, Relation

__all__ = ["ASKED", "CUT", "NOWHERE", "Expected", "Finding", "expected_for_photograph", "expected_for_region", "judge"]

ASKED = (
    *("pagoda", "astronaut", "camera", "motorcycle", "cat", "galaxies"),
    *("coins", "rocket", "snake", "dahlia", "coffee"),
)
"""The photographs that are looked for."""

NOWHERE = ("retina", "tissue")
"""Photographs that are looked for and were never printed."""

CUT = ("gazette/p01.jpg", "pagoda")
"""The page and the picture on it around which a box is drawn, as a reader with no photograph at hand would."""

_LEAST_OVERLAP = 0.5
_MOST_TURN = 10.0


@dataclass(frozen=True, slots=True)
class Expected:
    """One place where a query should be found: page, the query's box there, relation, rotation in degrees."""

    page: str
    region: Region
    relation: Relation
    rotation: float


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the comparison: what should be there, what was found, and the verdict.

    `verdict` is ``right``, ``missed`` (nothing found where there is something), ``wrong`` (something found where
    there is nothing, or taken for mirrored, negative or turned when it is not) or ``again`` (a place found twice).
    """

    expected: Expected | None
    page: str
    match: Match | None
    overlap: float
    false_alarms: float | None
    verdict: str


def _expected(page: Page, onto: Transform, region: Region, relation: Relation) -> Expected:
    corners = onto.apply(region.corners())
    low, high = corners.min(axis=0), corners.max(axis=0)
    jacobian = onto.jacobian(region.x + region.width / 2, region.y + region.height / 2)
    if "mirrored" in relation:
        jacobian = jacobian @ np.diag([-1.0, 1.0])
    rotation = math.degrees(math.atan2(jacobian[1, 0] - jacobian[0, 1], jacobian[0, 0] + jacobian[1, 1]))
    box = Region(float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1]))
    return Expected(page.name, box, relation, rotation)


def _placed(pages: Iterable[Page], picture: str) -> list[tuple[Page, Placement]]:
    return [(page, placement) for page in pages for placement in page.placements if placement.plate.picture == picture]


def expected_for_photograph(pages: Iterable[Page], picture: str) -> list[Expected]:
    """Return where on `pages` the whole photograph `picture` should be found."""
    high, wide, _ = photograph(picture).shape
    region = Region(0, 0, wide, high)
    return [
        _expected(page, placement.transform, region, placement.plate.relation)
        for page, placement in _placed(pages, picture)
    ]


def expected_for_region(pages: Sequence[Page], name: str, picture: str) -> tuple[Region, list[Expected]]:
    """Return the box of `picture` on the page `name`, and where else, and there, what it holds should be found.

    The picture must be printed upright on that page.
    """
    placed = _placed(pages, picture)
    page, here = next((page, placement) for page, placement in placed if page.name == name)
    low, high = here.visible.min(axis=0), here.visible.max(axis=0)
    left, top = (math.floor(edge) for edge in low)
    box = Region(left, top, math.ceil(high[0]) - left, math.ceil(high[1]) - top)
    back = here.transform.inverse().matrix
    answers = []
    for page, placement in placed:
        matrix = placement.transform.matrix @ back
        answers.append(_expected(page, Transform(matrix / matrix[2, 2]), box, placement.plate.relation))
    return box, answers


def judge(expected: Iterable[Expected], found: Iterable[tuple[str, Match, float]]) -> list[Finding]:
    """Compare the places where a query should be with those where it was found, best first.

    Parameters
    ----------
    expected : iterable of Expected
        The truth.
    found : iterable of (str, Match, float)
        Page, match and expected false alarms of every hit that was claimed.

    Returns
    -------
    list of Finding
        One for every hit, in their order, then one for every place that was missed.
    """
    truth = list(expected)
    taken: set[int] = set()
    findings = []
    for page, match, false_alarms in found:
        overlaps = [match.region.iou(place.region) if place.page == page else 0.0 for place in truth]
        best = int(np.argmax(overlaps)) if overlaps else -1
        if best < 0 or overlaps[best] < _LEAST_OVERLAP:
            findings.append(Finding(None, page, match, max(overlaps, default=0.0), false_alarms, "wrong"))
            continue
        place = truth[best]
        turn = abs((match.rotation - place.rotation + 180) % 360 - 180)
        agrees = match.relation == place.relation and turn <= _MOST_TURN
        verdict = "wrong" if not agrees else "again" if best in taken else "right"
        if agrees:
            taken.add(best)
        findings.append(Finding(place, page, match, overlaps[best], false_alarms, verdict))
    findings += [
        Finding(place, place.page, None, 0.0, None, "missed")
        for number, place in enumerate(truth)
        if number not in taken
    ]
    return findings
