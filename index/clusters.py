"""From joined places to groups of places that show the same picture: sure links first, contradictions and bridges cut.

Places are merged in the order of how sure their joints are (Kruskal's algorithm), and every place of a group carries
the map that lays it on the group's common frame. So a further joint can be held against what the surer ones say:
composed around a cycle, maps must agree (Zach, Klopschitz & Pollefeys, CVPR 2010). And two groups of some size that
show the same picture are joined by many links; few of them are a bridge between look-alikes.
"""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from index.places import around

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["Cluster", "Joint", "cluster", "sureness", "united"]

_CLOSED = 0.15
"""How far the way around a cycle may miss its start, as a share of the diagonal of the place."""

_SURE = 60.0
"""Decimal orders beyond which a joint is not surer: more agreement is only more ink."""

_BRIDGE = 0.15
"""How sure the pairs between two groups must be on average, as a share of what they are within the two (their geometric
mean), for the groups to be one. A pair that is not joined is not sure at all."""


class Joint(NamedTuple):
    """Two places joined: their numbers, the map (3, 3) from `a` to `b`, false alarms of a search (none at all where a
    person vouches for it), and the number of the link."""

    a: int
    b: int
    matrix: NDArray[np.float64]
    false_alarms: float
    link: int


class Cluster(NamedTuple):
    """Places of one picture.

    Attributes
    ----------
    frames : dict of int to float64 arrays (3, 3)
        The map from each place's image to the frame that all of them share.
    joints : list of Joint
        Those that hold it together, the surest first.
    prints : dict of int to int
        For each place the one that stands for it: several places on an image may be parts of one print.
    """

    frames: dict[int, NDArray[np.float64]]
    joints: list[Joint]
    prints: dict[int, int]


def sureness(false_alarms: float) -> float:
    """Return the decimal orders by which a joint is surer than what one search gives by chance."""
    return min(_SURE, -math.log10(max(false_alarms, sys.float_info.min)))


def cluster(boxes: NDArray[np.float64], joints: Sequence[Joint], apart: Mapping[int, set[int]]) -> list[Cluster]:
    """Group places.

    Parameters
    ----------
    boxes : float64, shape (n, 4)
        The places.
    joints : sequence of Joint
        The surest first.
    apart : mapping of int to set of int
        Places that must not come together, whatever joins them; both ways.

    Returns
    -------
    list of Cluster
        Of two places or more, in the order of their surest joints.
    """
    forest = _Forest(boxes, joints)
    waiting = list(joints)
    while True:
        refused = [joint for joint in waiting if not forest.join(joint, apart)]
        if len(refused) == len(waiting):
            return forest.clusters()
        waiting = refused  # groups have grown since: once more


class _Forest:
    """Groups while they grow. A group goes by the number of one of its places."""

    def __init__(self, boxes: NDArray[np.float64], joints: Sequence[Joint]) -> None:
        self._boxes = boxes
        self._joints = joints
        self._group = list(range(len(boxes)))
        self._frames = [{place: np.eye(3)} for place in self._group]
        self._sureness = [0.0] * len(boxes)  # summed over the pairs within each group
        self._touching: list[list[Joint]] = [[] for _ in boxes]
        for joint in joints:
            self._touching[joint.a].append(joint)
            self._touching[joint.b].append(joint)

    def join(self, joint: Joint, apart: Mapping[int, set[int]]) -> bool:
        """Make one of the two groups that a joint touches if nothing speaks against it; tell whether they are one."""
        here, there = self._group[joint.a], self._group[joint.b]
        if here == there:
            return True
        ours, theirs = self._frames[here], self._frames[there]
        if any(apart.get(place, set()) & ours.keys() for place in theirs):
            return False
        # From the frame of their group to ours, if the joint is right.
        moved = ours[joint.a] @ np.linalg.inv(joint.matrix) @ np.linalg.inv(theirs[joint.b])
        between = self._between(here, there, moved)
        tight = [self._sureness[group] / _pairs(len(self._frames[group])) for group in (here, there)]
        tight = [one for one, frames in zip(tight, (ours, theirs), strict=True) if len(frames) > 1]
        wanted = _BRIDGE * math.prod(tight) ** (1 / len(tight)) if tight else 0.0
        if joint.false_alarms > 0 and between < wanted * len(ours) * len(theirs):
            return False
        if len(ours) < len(theirs):
            here, there, moved = there, here, np.linalg.inv(moved)
        for place, frame in self._frames[there].items():
            laid = moved @ frame
            self._frames[here][place] = laid / laid[2, 2]
            self._group[place] = here
        self._frames[there] = {}
        self._sureness[here] += self._sureness[there] + between
        return True

    def _between(self, here: int, there: int, moved: NDArray[np.float64]) -> float:
        """Return how sure the pairs between two groups are, summed; only what the map between them bears out counts."""
        frames = {**self._frames[here], **{place: moved @ frame for place, frame in self._frames[there].items()}}
        best: dict[tuple[int, int], float] = {}
        for place in min(self._frames[here], self._frames[there], key=len):
            for joint in self._touching[place]:
                if {self._group[joint.a], self._group[joint.b]} != {here, there}:
                    continue
                pair = min(joint.a, joint.b), max(joint.a, joint.b)
                sure = sureness(joint.false_alarms)
                if sure > best.get(pair, 0.0) and self._closes(joint, frames):
                    best[pair] = sure
        return sum(best.values())

    def _closes(self, joint: Joint, frames: Mapping[int, NDArray[np.float64]]) -> bool:
        """Tell whether a joint lays its place where the frames of its two ends do."""
        around = np.linalg.inv(frames[joint.b]) @ frames[joint.a]
        return _alike(joint.matrix, around, self._boxes[joint.a])

    def clusters(self) -> list[Cluster]:
        """Return the groups, with the joints that hold them together."""
        held: dict[int, list[Joint]] = {}
        for joint in self._joints:
            group = self._group[joint.a]
            if group == self._group[joint.b] and self._closes(joint, self._frames[group]):
                held.setdefault(group, []).append(joint)
        return [Cluster(self._frames[group], joints, {}) for group, joints in held.items()]


def united(
    clusters: Sequence[Cluster], images: NDArray[np.int64], boxes: NDArray[np.float64]
) -> list[tuple[Cluster, dict[int, NDArray[np.float64]]]]:
    """Make parts of one print one, within clusters and among them.

    A cluster whose images another one has too, laid upon each other in the same way, is of another part of the same
    picture, which no other image shows without the rest.

    Parameters
    ----------
    clusters : sequence of Cluster
    images : int64, shape (n,)
        The image of each place.
    boxes : float64, shape (n, 4)
        The places.

    Returns
    -------
    list of (Cluster, dict of int to float64 arrays (4,))
        The clusters that are left, and the box of each print by the place that stands for it.
    """
    left: list[Cluster] = []
    on: dict[int, list[Cluster]] = defaultdict(list)
    for part in sorted(clusters, key=lambda one: -len({int(images[place]) for place in one.frames})):
        rivals = on[int(images[next(iter(part.frames))])]
        if not any(_within(part, whole, images, boxes) for whole in rivals):
            left.append(part)
            for image in {int(images[place]) for place in part.frames}:
                on[image].append(part)
    return [(one, _printed(one, images, boxes)) for one in left]


def _within(part: Cluster, whole: Cluster, images: NDArray[np.int64], boxes: NDArray[np.float64]) -> bool:
    """Add `part` to `whole` if all its images lie upon each other as those of `whole` do; tell whether they do."""
    there: dict[int, list[NDArray[np.float64]]] = defaultdict(list)
    for place, frame in whole.frames.items():
        there[int(images[place])].append(frame)
    first = next(iter(part.frames))
    for other in there[int(images[first])]:
        moved = other @ np.linalg.inv(part.frames[first])
        laid = {place: moved @ frame for place, frame in part.frames.items()}
        if all(
            any(_alike(frame, known, boxes[place]) for known in there[int(images[place])])
            for place, frame in laid.items()
        ):
            whole.frames.update(laid)
            whole.joints.extend(part.joints)
            return True
    return False


def _printed(one: Cluster, images: NDArray[np.int64], boxes: NDArray[np.float64]) -> dict[int, NDArray[np.float64]]:
    """Find which places of a cluster are parts of one print, and return the prints' boxes."""
    prints: dict[int, NDArray[np.float64]] = {}
    for place, frame in one.frames.items():
        same = (p for p in prints if images[p] == images[place] and _alike(frame, one.frames[p], boxes[place]))
        print_ = next(same, place)
        one.prints[place] = print_
        prints[print_] = around(boxes[place], prints.get(print_, boxes[place]))
    return prints


def _alike(a: NDArray[np.float64], b: NDArray[np.float64], box: NDArray[np.float64]) -> bool:
    """Tell whether two maps (3, 3) lay a box at the same place."""
    x, y, width, height = box
    corners = np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]])
    first, second = _laid(a, corners), _laid(b, corners)
    size = float(np.linalg.norm(np.ptp(first, axis=0)))
    return bool(np.linalg.norm(first - second, axis=1).max() <= _CLOSED * size)


def _pairs(places: int) -> int:
    return max(1, places * (places - 1) // 2)


def _laid(matrix: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    laid = np.column_stack([points, np.ones(len(points))]) @ matrix.T
    return np.asarray(laid[:, :2] / laid[:, 2:])
