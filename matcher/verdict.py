"""Same block, copy, or unsure: what a collation of two prints proves, with the limits and what they were chosen on.

Two impressions of one block agree line by line, however inked; only paper moves them, smoothly. A copy cut by hand is
displaced irregularly by one to three per cent of its size. A copy traced upon its block, as engravers of the nineteenth
century did, is displaced by no more than an impression, and shows in its hatching. Either alone makes a copy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from matcher.collation import Collation, Evidence

__all__ = ["IN_WORDS", "BlockVerdict", "Judgement", "Wear", "judge", "weigh_wear"]

BlockVerdict = Literal["same", "copy", "unsure"]

SAME_AGREEMENT, COPY_AGREEMENT = 0.755, 0.70
"""Above the first, lines agree as in impressions of one block; below the second, they do not."""

_STILL_PIXELS, _STILL_LEAST, _STILL_MOST = 0.5, 0.0020, 0.0042
"""Displacement that measurement explains: in pixels of the coarser scan, held between two shares of the size."""

_MOVED = 1.4
"""So many times that displacement is another hand's."""

_PLACES, _RESOLUTION = 20, 60
"""Fewer places to measure at, or a picture of fewer pixels, prove nothing."""

_CHANCE, _LIGHTER = 0.01, 0.85
"""Chance at which losses on one side count as more than on the other; ratio of ink that counts as lighter."""

IN_WORDS: dict[BlockVerdict, str] = {"same": "same block", "copy": "copy, not the same block", "unsure": "unsure"}
"""The verdicts as bibliographers say them."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict on two prints, and why, in words."""

    verdict: BlockVerdict
    reasons: tuple[str, ...]


def judge(evidence: Evidence) -> Judgement:
    """Weigh the evidence.

    Impressions of one block must be still and agree; a copy is what is moved, or still but cut with other lines. Prints
    with middle tones are never called a copy for their lines: a halftone screen changes them all.
    """
    if evidence.places < _PLACES or not math.isfinite(evidence.agreement):
        return Judgement("unsure", ("too little drawing to measure",))
    if evidence.resolution < _RESOLUTION:
        return Judgement("unsure", (f"only {evidence.resolution:.0f} pixels: lines are not resolved",))
    still = min(max(_STILL_PIXELS / evidence.resolution, _STILL_LEAST), _STILL_MOST)
    moved = f"lines displaced by {100 * evidence.deformation:.2f} % of the size beyond what paper does"
    agree = f"lines agree to {evidence.agreement:.2f}"
    if evidence.deformation > _MOVED * still:
        return Judgement("copy", (f"{moved}: more than {100 * _MOVED * still:.2f} %, another hand", agree))
    if evidence.agreement < COPY_AGREEMENT and not evidence.tonal:
        return Judgement("copy", (f"{agree}: less than {COPY_AGREEMENT}, cut with other lines", moved))
    if evidence.deformation > still:
        return Judgement("unsure", (f"{moved}: between {100 * still:.2f} and {100 * _MOVED * still:.2f} %", agree))
    if evidence.agreement < SAME_AGREEMENT:
        why = "middle tones, whose screens differ" if evidence.tonal else "worn, coarse or cut anew"
        return Judgement("unsure", (f"{agree}: less than {SAME_AGREEMENT}, {why}", moved))
    return Judgement("same", (f"{agree}: at least {SAME_AGREEMENT}", f"{moved}: at most {100 * still:.2f} %"))


@dataclass(frozen=True, slots=True)
class Wear:
    """What the gaps in two impressions of one block say about their order.

    Attributes
    ----------
    lost_on_b, lost_on_a : int
        Lines broken or shortened on B that are whole on A, and the other way round.
    earlier : str or None
        ``a`` or ``b``: the impression with significantly fewer losses, for breaks of a block only grow; None where both
        have lost about as many.
    lighter : str or None
        ``a`` or ``b`` where one is inked so much more lightly that its lines may break for want of ink.
    """

    lost_on_b: int
    lost_on_a: int
    earlier: Literal["a", "b"] | None
    lighter: Literal["a", "b"] | None


def weigh_wear(collation: Collation) -> Wear:
    """Order two impressions by their broken lines, by a sign test at one per cent (Hedges 2006 for the principle)."""
    on_b, on_a = (sum(gap.kind != "missing" for gap in gaps) for _, gaps in (collation.gaps_b, collation.gaps_a))
    few, total = min(on_a, on_b), on_a + on_b
    chance = 2 * sum(math.comb(total, k) for k in range(few + 1)) / 2**total
    earlier: Literal["a", "b"] | None = None
    if chance <= _CHANCE:
        earlier = "a" if on_b > on_a else "b"
    first, second = collation.evidence.coverage
    lighter: Literal["a", "b"] | None = None
    if min(first, second) < _LIGHTER * max(first, second):
        lighter = "a" if first < second else "b"
    return Wear(on_b, on_a, earlier, lighter)
