"""Members of a group laid on its reference line by line, to part copies cut after a block from its impressions.

Links tell where details agree; a close copy agrees in many. Collation tells whether lines lie where paper would have
left those of one block, and whether they are the same lines. Reproductions of one block in different techniques differ
in their lines, warped scans in where these lie; a copy differs in both.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from index.groups import numbered, subgroup
from index.judgements import must_link
from matcher.collation import collate
from matcher.errors import CalqueError
from matcher.images import read_image
from matcher.types import Match
from matcher.verdict import judge

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from index.groups import Group, Member
    from index.judgements import JudgedPair
    from index.store import Index
    from matcher.collation import Evidence

__all__ = ["is_another_block", "parted"]

_MEANT = 0.3
"""Intersection over union of a member and the box of a judgement, from which on it is about that member."""


def parted(index: Index, found: Sequence[Group], progress: Callable[[int, int], None] | None = None) -> list[Group]:
    """Return groups of which no member is another block than the reference.

    What is parted from a group makes a group of its own, if it is linked. Members that a person calls the same, and
    those whose file cannot be read any more, stay.

    Parameters
    ----------
    index : Index
    found : sequence of Group
    progress : callable, optional
        Called as ``progress(done, total)`` with the groups that are done.
    """
    vouched = must_link(index)
    kept: list[Group] = []
    for done, group in enumerate(found, start=1):
        waiting: Group | None = group
        while waiting is not None:
            others = _others(waiting, vouched)
            rest = [number for number in range(len(waiting.members)) if number not in others]
            same = subgroup(waiting, rest) if others else waiting
            if same is not None:
                kept.append(same)
            waiting = subgroup(waiting, others) if others else None
        if progress is not None:
            progress(done, len(found))
    return numbered(kept)


def is_another_block(evidence: Evidence) -> bool:
    """Tell whether a collation shows lines that lie elsewhere, and are others."""
    moved = judge(replace(evidence, agreement=1.0)).verdict == "copy"
    cut_anew = judge(replace(evidence, deformation=0.0)).verdict == "copy"
    return moved and cut_anew


def _others(group: Group, vouched: Sequence[JudgedPair]) -> list[int]:
    """Return the numbers of the members that are another block than the reference."""
    base = group.members[group.reference]
    try:
        scan = read_image(Path(base.image.path), base.image.page)
    except CalqueError:
        return []
    others = []
    for number, member in enumerate(group.members):
        if number == group.reference or any(_says(pair, base, member) for pair in vouched):
            continue
        nothing = np.zeros((0, 2), np.float32)
        match = Match(
            member.transform,
            member.relation,
            member.rotation,
            member.scale,
            member.transform.apply(base.region.corners()),
            nothing,
            nothing,
            0,
            0.0,
        )
        try:
            image = read_image(Path(member.image.path), member.image.page)
        except CalqueError:
            continue
        if is_another_block(collate(scan, image, match, base.region).evidence):
            others.append(number)
    return others


def _says(pair: JudgedPair, a: Member, b: Member) -> bool:
    """Tell whether a judgement is about two members."""
    ends = ((pair.a, pair.region_a), (pair.b, pair.region_b))
    return any(
        first[0].id == a.image.id
        and second[0].id == b.image.id
        and first[1].iou(a.region) >= _MEANT
        and second[1].iou(b.region) >= _MEANT
        for first, second in (ends, ends[::-1])
    )
