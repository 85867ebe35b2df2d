"""From joined places to groups of places that show the same picture: sure links first, contradictions and bridges cut.

Places are merged in the order of how sure their joints are (Kruskal's algorithm), and every place of a group carries
the map that lays it on the group's common frame. So a further joint can be held against what the surer ones say:
composed around a cycle, maps must agree (Zach, Klopschitz & Pollefeys, CVPR 2010). And two groups of some size that
show the same picture are joined by many links; few of them are a bridge between look-alikes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["Cluster", "Joint", "cluster"]

_CLOSED = 0.15
"""How far the way around a cycle may miss its start, as a share of the diagonal of the place."""

_BRIDGE = 0.25
"""Share of all pairs between two groups, each of several places, that must be joined for the groups to be one."""


class Joint(NamedTuple):
    """Two places joined: their numbers, the map (3, 3) from `a` to `b`, false alarms for each image of an index (none
    where a person vouches for it), and the number of the link."""

    a: int
    b: int
    matrix: NDArray[np.float64]
    chance: float
    link: int


class Cluster(NamedTuple):
    """Places of one picture.

    Attributes
    ----------
    frames : dict of int to float64 arrays (3, 3)
        The map from each place's image to the frame that all of them share.
    joints : list of Joint
        Those that hold it together, the surest first.
    """

    frames: dict[int, NDArray[np.float64]]
    joints: list[Joint]


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
    of = list(range(len(boxes)))
    frames = [{number: np.eye(3)} for number in range(len(boxes))]
    touching: list[list[int]] = [[] for _ in boxes]
    for number, joint in enumerate(joints):
        touching[joint.a].append(number)
        touching[joint.b].append(number)

    def merge(joint: Joint) -> None:
        """Lay the smaller of two groups on the frame of the larger."""
        kept, gone, matrix = of[joint.a], of[joint.b], np.linalg.inv(joint.matrix)
        inner, outer = joint.a, joint.b
        if len(frames[kept]) < len(frames[gone]):
            kept, gone, matrix, inner, outer = gone, kept, joint.matrix, outer, inner
        moved = frames[kept][inner] @ matrix @ np.linalg.inv(frames[gone][outer])
        for place, frame in frames[gone].items():
            laid = moved @ frame
            frames[kept][place] = laid / laid[2, 2]
            of[place] = kept
        frames[gone] = {}

    waiting = list(joints)
    while True:
        refused = []
        for joint in waiting:
            ours, theirs = frames[of[joint.a]], frames[of[joint.b]]
            if ours is theirs:
                continue
            crossing = [joints[number] for place in min(ours, theirs, key=len) for number in touching[place]]
            between = [j for j in crossing if {of[j.a], of[j.b]} == {of[joint.a], of[joint.b]}]
            held_apart = any(apart.get(place, set()) & ours.keys() for place in theirs)
            vouched = joint.chance == 0
            if held_apart or not (vouched or _share(ours, theirs, joint, between, boxes) >= _BRIDGE):
                refused.append(joint)
            else:
                merge(joint)
        if len(refused) == len(waiting):
            break
        waiting = refused  # groups have grown since: once more
    held: dict[int, list[Joint]] = {}
    for joint in joints:
        frame = frames[of[joint.a]]
        if of[joint.a] == of[joint.b] and _closes(joint, frame[joint.a], frame[joint.b], boxes[joint.a]):
            held.setdefault(of[joint.a], []).append(joint)
    return [Cluster(frames[number], kept) for number, kept in held.items()]


def _share(
    ours: Mapping[int, NDArray[np.float64]],
    theirs: Mapping[int, NDArray[np.float64]],
    joint: Joint,
    between: Iterable[Joint],
    boxes: NDArray[np.float64],
) -> float:
    """Return the share of the pairs between two groups that are joined as `joint` would have it."""
    # From their frame to ours.
    moved = ours[joint.a] @ np.linalg.inv(joint.matrix) @ np.linalg.inv(theirs[joint.b])
    laid = {**ours, **{place: moved @ frame for place, frame in theirs.items()}}
    closing = {(j.a, j.b) for j in between if _closes(j, laid[j.a], laid[j.b], boxes[j.a])}
    return len(closing) / (len(ours) * len(theirs))


def _closes(joint: Joint, a: NDArray[np.float64], b: NDArray[np.float64], box: NDArray[np.float64]) -> bool:
    """Tell whether a joint lays its place where the frames of its two ends do."""
    corners = np.array([[box[0], box[1]], [box[0] + box[2], box[1]], box[:2] + box[2:], [box[0], box[1] + box[3]]])
    direct, around = _laid(joint.matrix, corners), _laid(np.linalg.inv(b) @ a, corners)
    size = float(np.linalg.norm(np.ptp(direct, axis=0)))
    return bool(np.linalg.norm(direct - around, axis=1).max() <= _CLOSED * size)


def _laid(matrix: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    laid = np.column_stack([points, np.ones(len(points))]) @ matrix.T
    return np.asarray(laid[:, :2] / laid[:, 2:])
