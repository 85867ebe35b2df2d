"""Every reuse in a collection: from the links between images to groups of places that show the same picture.

A group is the impressions of one block, the reproductions of one photograph. Its members are places on pages, each with
the map that lays the group's reference on it.
"""

from __future__ import annotations

import math
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from index.clusters import Joint, cluster, sureness, united
from index.exports import Finding, Sheet
from index.judgements import JudgedPair, cannot_link, must_link
from index.links import LINK
from index.pictures import pictures_on
from index.places import find_places, overlaps
from index.verification import RELATIONS
from matcher.types import Region, Transform

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from index.catalogue import ImageRecord
    from index.clusters import Cluster
    from index.links import Links
    from index.places import Edges, Places
    from index.store import Index
    from matcher.types import Relation

    _Node = tuple[str, Mapping[str, Any]]
    _Edge = tuple[str, str, Mapping[str, Any]]

__all__ = [
    "FURNITURE",
    "Group",
    "Grouping",
    "Member",
    "Tie",
    "group_as_dict",
    "group_findings",
    "group_graph",
    "groups",
    "numbered",
    "subgroup",
]

FURNITURE = 8
"""Pages of one volume that show something at the same place, from which on it is taken for furniture."""

_IN_PLACE = 0.8
"""Intersection over union, of boxes in units of their pages, from which on they are the same place."""

_SAME = 0.5
"""Two boxes mean the same place when they share this much of the smaller one."""

_ECHO = 0.3
"""Share of the sureness (decimal orders) of a link that another one must have to lay the same place elsewhere."""

_DATES = ("date", "year", "issued", "publication_date")


@dataclass(frozen=True, slots=True)
class Member:
    """One place on a page, in a group.

    Attributes
    ----------
    image : ImageRecord
    region : Region
        Box around the evidence, in pixels of the image.
    transform : Transform
        From pixels of the reference's image to pixels of this one.
    relation : str
        To the reference, as in `matcher.types.Match`.
    rotation, scale : float
        To the reference, as in `matcher.types.Match`.
    false_alarms : float
        Of the surest link that joins it to another member, in one search of this index.
    metadata : mapping of str to str
        What the index knows of the image.
    """

    image: ImageRecord
    region: Region
    transform: Transform
    relation: Relation
    rotation: float
    scale: float
    false_alarms: float
    metadata: Mapping[str, str] = field(default_factory=dict)


class Tie(NamedTuple):
    """A verified link between two members of a group, by their numbers."""

    a: int
    b: int
    false_alarms: float
    inliers: int


@dataclass(frozen=True, slots=True)
class Group:
    """Places that show the same picture.

    Attributes
    ----------
    number : int
        From 1; the largest group first.
    members : tuple of Member
        By date where the metadata has one, then by name.
    reference : int
        Which of them the others are laid on: the one with the most, and surest, links.
    ties : tuple of Tie
        The links that hold the group together, the surest first.
    """

    number: int
    members: tuple[Member, ...]
    reference: int
    ties: tuple[Tie, ...]


@dataclass(frozen=True, slots=True)
class Grouping:
    """The groups of an index, and what was left out: places taken for furniture, links that contradict surer ones."""

    groups: list[Group]
    furniture: int
    contradictions: int


def groups(
    index: Index,
    links: Links,
    *,
    max_false_alarms: float = 1e-3,
    furniture: int | None = FURNITURE,
    only: frozenset[int] | None = None,
) -> Grouping:
    """Group what the links of an index join.

    Parameters
    ----------
    index : Index
    links : Links
    max_false_alarms : float
        Links as sure as this are used; see `index.search.search`. Judgements stand above all links: what a person calls
        the same is joined, what she calls different is kept apart.
    furniture : int, optional
        Pages of one volume (one folder, or one file of many pages) that show something at the same place, from which on
        it is furniture (a ruler, a stamp, a binding) and left out; None leaves nothing out.
    only : frozenset of int, optional
        Ids of the images that are grouped, by default all.
    """
    records = {record.id: record for record in index.images()}
    found = links.read(max_false_alarms / max(1, len(records)))
    wanted = {image for image in records if only is None or image in only}
    found = found[np.isin(found["a"], list(wanted)) & np.isin(found["b"], list(wanted))]
    read = len(found)
    found = _without_echoes(found)
    echoes = read - len(found)
    found = _with_judged(found, [pair for pair in must_link(index) if {pair.a.id, pair.b.id} <= wanted])
    linked = np.unique(np.concatenate([found["a"], found["b"]]))
    zones = {int(image): pictures_on(index, int(image)) for image in linked}
    places, edges = find_places(found, zones)
    left = np.zeros(len(places.images), dtype=np.bool_)
    if furniture is not None:
        left = _furniture(places, edges, records, furniture)
    joints = [
        Joint(int(a), int(b), found["transform"][row], float(found["chance"][row]) * len(records), int(row))
        for a, b, row in zip(edges.a, edges.b, edges.links, strict=True)
        if not (left[a] or left[b])
    ]
    clusters = cluster(places.boxes, joints, _apart(places, cannot_link(index)))
    cut = echoes + len(joints) - sum(len(part.joints) for part in clusters)
    made = [
        _group(index, part, prints, places, found, records)
        for part, prints in united(clusters, places.images, places.boxes)
        if len(prints) > 1
    ]
    return Grouping(numbered(made), int(left.sum()), cut)


def numbered(made: Iterable[Group]) -> list[Group]:
    """Return groups in their order, the largest first, and numbered."""
    ordered = sorted(
        made, key=lambda group: (-len(group.members), group.ties[0].false_alarms, group.members[0].image.id)
    )
    return [replace(group, number=number) for number, group in enumerate(ordered, start=1)]


def subgroup(group: Group, chosen: Sequence[int]) -> Group | None:
    """Return a group of some members of another one, by their numbers, ascending; None where no link joins any two.

    Their reference is that of the group, if it is among them, else the one with the surest link.
    """
    new = {old: number for number, old in enumerate(chosen)}
    ties = tuple(tie._replace(a=new[tie.a], b=new[tie.b]) for tie in group.ties if tie.a in new and tie.b in new)
    if not ties:
        return None
    reference = new.get(group.reference, ties[0].a)
    base = group.members[chosen[reference]]
    members = []
    for old in chosen:
        member = group.members[old]
        matrix = member.transform.matrix @ np.linalg.inv(base.transform.matrix)
        transform = Transform(matrix / matrix[2, 2])
        negative = ("inverted" in member.relation) != ("inverted" in base.relation)
        relation, rotation, scale = _pose(transform, np.array(base.region.as_list()), negative)
        members.append(replace(member, transform=transform, relation=relation, rotation=rotation, scale=scale))
    return Group(group.number, tuple(members), reference, ties)


def group_as_dict(group: Group) -> dict[str, Any]:
    """Return a group in the form the command line prints."""
    return {
        "group": group.number,
        "members": [
            {
                "image": member.image.name,
                "page": member.image.page,
                "region": [round(edge, 1) + 0.0 for edge in member.region.as_list()],
                "reference": number == group.reference,
                "relation": member.relation,
                "rotation": round(member.rotation, 2) + 0.0,
                "scale": round(member.scale, 4),
                "false_alarms": float(f"{member.false_alarms:.3g}"),
                "transform": member.transform.matrix.tolist(),
                "metadata": dict(member.metadata),
            }
            for number, member in enumerate(group.members)
        ],
        "links": [tie._asdict() for tie in group.ties],
    }


def group_findings(found: Iterable[Group]) -> list[Finding]:
    """Return the members of groups as findings, each group a category."""
    listed = []
    for group in found:
        for member, values in zip(group.members, group_as_dict(group)["members"], strict=True):
            for known in ("image", "page", "region", "metadata"):
                del values[known]
            sheet = Sheet.of(member.image, member.metadata)
            listed.append(Finding(sheet, member.region.corners(), f"group {group.number}", values))
    return listed


def group_graph(found: Iterable[Group]) -> tuple[list[_Node], list[_Edge]]:
    """Return groups as nodes and edges of a graph, see `index.exports.graphml`: members, and the links between them."""
    nodes: list[_Node] = []
    edges: list[_Edge] = []
    for group in found:
        told = group_as_dict(group)
        names = [f"g{group.number}m{number}" for number in range(len(group.members))]
        for name, member in zip(names, told["members"], strict=True):
            edges_of_box = dict(zip(("x", "y", "width", "height"), member["region"], strict=True))
            kept = {key: member[key] for key in ("image", "page", "reference", "relation", "rotation", "scale")}
            nodes.append((name, {"group": group.number, **kept, **edges_of_box, **member["metadata"]}))
        edges += [
            (names[tie.a], names[tie.b], {"false_alarms": tie.false_alarms, "inliers": tie.inliers})
            for tie in group.ties
        ]
    return nodes, edges


def _without_echoes(found: NDArray) -> NDArray:
    """Return links, which come the surest first, without those that lay a place somewhere else than a far surer one.

    A block printed twice on a page agrees about as well with either print. A repeating pattern, shifted, does not.
    """
    between: dict[tuple[int, int], list[tuple[NDArray[np.float64], NDArray[np.float64], float]]] = defaultdict(list)
    kept = np.ones(len(found), dtype=np.bool_)
    for row, link in enumerate(found):
        pair, boxes = (int(link["a"]), int(link["b"])), (link["a_box"], link["b_box"])
        if pair[0] > pair[1]:
            pair, boxes = pair[::-1], boxes[::-1]
        sure = -math.log10(max(link["chance"], sys.float_info.min))
        kept[row] = not any(
            (overlaps(boxes[0], a[None])[0] >= _SAME) != (overlaps(boxes[1], b[None])[0] >= _SAME)
            and sure < _ECHO * surer
            for a, b, surer in between[pair]
        )
        if kept[row]:
            between[pair].append((*boxes, sure))
    return found[kept]


def _with_judged(found: NDArray, same: Sequence[JudgedPair]) -> NDArray:
    """Return links with those that a person vouches for, which have no false alarms at all; the surest first."""
    found = found.copy()
    added = []
    for pair in same:
        a_box, b_box = np.array(pair.region_a.as_list()), np.array(pair.region_b.as_list())
        known = False
        for a, b, ours, theirs in ((pair.a.id, pair.b.id, a_box, b_box), (pair.b.id, pair.a.id, b_box, a_box)):
            rows = np.flatnonzero((found["a"] == a) & (found["b"] == b))
            meant = _meant(ours, found["a_box"][rows]) & _meant(theirs, found["b_box"][rows])
            found["chance"][rows[meant]] = 0.0
            known |= bool(meant.any())
        if not known:
            # Nothing tells how one lies on the other, but that their boxes are the same.
            scale = b_box[2:] / a_box[2:]
            matrix = np.diag([*scale, 1.0])
            matrix[:2, 2] = b_box[:2] - scale * a_box[:2]
            added.append((pair.a.id, pair.b.id, 0.0, 0, 0, a_box, b_box, matrix, True))
    found = np.concatenate([found, np.array(added, LINK)])
    return found[np.argsort(found["chance"], kind="stable")]


def _meant(box: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which of the boxes `others` (n, 4) a person means by `box`."""
    return np.asarray(overlaps(box, others) >= _SAME)


def _apart(places: Places, different: Sequence[JudgedPair]) -> dict[int, set[int]]:
    """Return which places a person keeps apart from which."""
    apart: dict[int, set[int]] = defaultdict(set)
    for pair in different:
        ends = []
        for record, region in ((pair.a, pair.region_a), (pair.b, pair.region_b)):
            here = np.flatnonzero(places.images == record.id)
            ends.append(set(here[_meant(np.array(region.as_list()), places.boxes[here])].tolist()))
        for ours, theirs in (ends, reversed(ends)):
            for place in ours:
                apart[place] |= theirs - {place}
    return apart


def _furniture(places: Places, edges: Edges, records: Mapping[int, ImageRecord], least: int) -> NDArray[np.bool_]:
    """Tell which places show what `least` pages of their volume show at the same place: a ruler, a stamp, a binding."""
    pages = Counter(record.path for record in records.values())
    volumes = {
        image: record.path if pages[record.path] > 1 else str(Path(record.path).parent)
        for image, record in records.items()
    }
    sizes = [(records[image].width, records[image].height) for image in places.images.tolist()]
    boxes = places.boxes / np.tile(np.array(sizes, np.float64).reshape(-1, 2), 2)
    with_it: list[set[int]] = [set() for _ in places.images]
    for a, b in zip(edges.a.tolist(), edges.b.tolist(), strict=True):
        here, there = int(places.images[a]), int(places.images[b])
        if volumes[here] == volumes[there] and Region(*boxes[a]).iou(Region(*boxes[b])) >= _IN_PLACE:
            with_it[a].add(there)
            with_it[b].add(here)
    return np.array([len(others) + 1 >= least for others in with_it], dtype=np.bool_)


def _group(
    index: Index,
    part: Cluster,
    prints: Mapping[int, NDArray[np.float64]],
    places: Places,
    found: NDArray,
    records: Mapping[int, ImageRecord],
) -> Group:
    """Describe a cluster, of which `prints` are the boxes by the places that stand for them."""
    weight: dict[int, float] = defaultdict(float)
    beside: dict[int, list[tuple[int, bool]]] = defaultdict(list)
    ties: dict[tuple[int, int], Joint] = {}
    for joint in sorted(part.joints, key=lambda one: one.false_alarms):
        a, b = part.prints[joint.a], part.prints[joint.b]
        turns = "inverted" in RELATIONS[found["relation"][joint.link]]
        beside[a].append((b, turns))
        beside[b].append((a, turns))
        if ties.setdefault((min(a, b), max(a, b)), joint) is joint:
            weight[a] += sureness(joint.false_alarms)
            weight[b] += sureness(joint.false_alarms)
    reference = min(prints, key=lambda place: (-weight[place], place))
    negative = {reference: False}
    walk = [reference]
    for place in walk:
        for other, turns in beside[place]:
            if other not in negative:
                negative[other] = negative[place] ^ turns
                walk.append(other)
    surest = {place: joint.false_alarms for pair, joint in reversed(ties.items()) for place in pair}
    members = {}
    for place, box in prints.items():
        matrix = np.linalg.inv(part.frames[place]) @ part.frames[reference]
        transform = Transform(matrix / matrix[2, 2])
        record = records[int(places.images[place])]
        relation, rotation, scale = _pose(transform, prints[reference], negative[place])
        members[place] = Member(
            record,
            Region(*box.tolist()),
            transform,
            relation,
            rotation,
            scale,
            _expected(surest[place]),
            index.metadata(record.id),
        )
    order = sorted(members, key=lambda place: _by_date(members[place]))
    number = {place: n for n, place in enumerate(order)}
    return Group(
        0,
        tuple(members[place] for place in order),
        number[reference],
        tuple(
            Tie(number[a], number[b], _expected(joint.false_alarms), int(found["inliers"][joint.link]))
            for (a, b), joint in ties.items()
        ),
    )


def _expected(false_alarms: float) -> float:
    return max(false_alarms, sys.float_info.min)  # never none at all


def _pose(transform: Transform, box: NDArray[np.float64], negative: bool) -> tuple[Relation, float, float]:
    """Return relation, rotation and scale of a map at the middle of a box, as `matcher.types.Match` has them."""
    local = transform.jacobian(*(box[:2] + box[2:] / 2))
    mirrored = bool(np.linalg.det(local) < 0)
    if mirrored:
        local = local * [-1.0, 1.0]  # the reference's left and right exchanged first
    rotation = math.degrees(math.atan2(local[1, 0] - local[0, 1], local[0, 0] + local[1, 1]))
    relation = RELATIONS[int(mirrored) + 2 * int(negative)]
    return relation, rotation, math.sqrt(abs(float(np.linalg.det(local))))


def _by_date(member: Member) -> tuple[bool, str, str, int, int]:
    known = {key.lower(): value for key, value in member.metadata.items()}
    date = next((known[key] for key in _DATES if known.get(key)), "")
    return not date, date, member.image.name, member.image.page, member.image.id
