"""Which segments to merge when: those of like size by eights, so that they are few and no feature is copied often.

Of n images there are at most seven segments of each of log8 n sizes, and each feature has been copied log8 n times.

The same scheme as in log-structured merge trees (O'Neil, Cheng, Gawlick & O'Neil, Acta Informatica 1996).
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from index._hdf5 import MAXIMUM_IMAGES

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Load", "bins", "next_merge"]

_FACTOR = 8


class Load(NamedTuple):
    """What a segment holds: living images, features (dead ones too), and whether any image in it is dead."""

    name: str
    n_images: int
    n_features: int
    has_dead: bool


def next_merge(loads: Sequence[Load]) -> list[str]:
    """Return the names of eight or more segments of like size to merge, or none.

    Of segments of like size (1 to 7 images, 8 to 63, 64 to 511, ...) there are thus never eight for long. Where eight
    are too many for one segment, as many as it holds.

    Parameters
    ----------
    loads : sequence of Load
        All segments.
    """
    classes: dict[int, list[Load]] = defaultdict(list)
    for load in loads:
        size_class = 0
        while _FACTOR ** (size_class + 1) <= load.n_images:
            size_class += 1
        classes[size_class].append(load)
    for size_class in sorted(classes):
        if len(classes[size_class]) < _FACTOR:
            continue
        chosen: list[Load] = []
        for load in sorted(classes[size_class], key=lambda load: (load.n_images, load.name)):
            if sum(other.n_images for other in chosen) + load.n_images <= MAXIMUM_IMAGES:
                chosen.append(load)
        if len(chosen) > 1:
            return [load.name for load in chosen]
    return []


def bins(loads: Sequence[Load]) -> list[list[str]]:
    """Return the merges that leave few segments and nothing dead, by first fit, decreasing; none once that is so."""
    room: list[int] = []
    packed: list[list[Load]] = []
    for load in sorted(loads, key=lambda load: (-load.n_images, load.name)):
        for number, left in enumerate(room):
            if load.n_images <= left:
                room[number] -= load.n_images
                packed[number].append(load)
                break
        else:
            room.append(MAXIMUM_IMAGES - load.n_images)
            packed.append([load])
    return [[load.name for load in group] for group in packed if len(group) > 1 or group[0].has_dead]
