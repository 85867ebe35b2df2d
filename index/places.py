"""Places on pages: which ends of links lie on the same picture.

A link between two pages joins whatever its evidence covers. Where that is more than one picture (two scans of one page)
and other pages show only one of them, it is as many links: else whatever stands beside a picture on one page would be
joined to it everywhere.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

__all__ = ["Edges", "Places", "around", "find_places", "lay", "overlaps"]

_SAME = 0.5
"""Two boxes lie on the same picture when they share this much of the smaller one."""

_WIDER = 2.0
"""How many times as large a place becomes, at the most, by one more box that lies on it."""

_BORNE_OUT = 0.5
"""How densely details agree in a part of a link's evidence, as a share of how densely they do in all of it."""

_ROUNDS = 3
"""How often a link that turns out to be several tells so to the page at its other end."""


class Places(NamedTuple):
    """Places: `images` int64 (p,) their catalogue ids, `boxes` float64 (p, 4) as x, y, width, height."""

    images: NDArray[np.int64]
    boxes: NDArray[np.float64]


class Edges(NamedTuple):
    """Which places are joined: `a`, `b` int64 (e,) rows of `Places`, `links` int64 (e,) rows of the links, in order."""

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    links: NDArray[np.int64]


def find_places(links: NDArray, known: Mapping[int, NDArray[np.float64]]) -> tuple[Places, Edges]:
    """Find the places that links join.

    Parameters
    ----------
    links : `index.links.LINK` array
    known : mapping of int to float64 arrays (k, 4)
        Boxes of pictures that are known, by image, such as the zones of a layout.
    """
    ends: dict[int, list[tuple[int, str]]] = defaultdict(list)
    for row, (a, b) in enumerate(zip(links["a"].tolist(), links["b"].tolist(), strict=True)):
        ends[a].append((row, "a_box"))
        ends[b].append((row, "b_box"))
    seeds = {image: list(known.get(image, ())) for image in ends}
    for _ in range(_ROUNDS):
        pages = {image: _Page(links, ends[image], seeds[image]) for image in ends}
        if not _told(links, pages, seeds):
            break
    numbers: dict[tuple[int, int], int] = {}
    edges = []
    for row, link in enumerate(links):
        a, b = int(link["a"]), int(link["b"])
        for p, q in _joined(link, pages[a], pages[b], row):
            edges.append((numbers.setdefault((a, p), len(numbers)), numbers.setdefault((b, q), len(numbers)), row))
    boxes = [pages[image].surest(links, number) for image, number in numbers]
    places = Places(np.array([image for image, _ in numbers], np.int64), np.array(boxes).reshape(-1, 4))
    return places, Edges(*np.array(edges, np.int64).reshape(-1, 3).T)


class _Page:
    """The places on one page, and which of them each end of a link covers."""

    def __init__(self, links: NDArray, ends: list[tuple[int, str]], seeds: list[NDArray[np.float64]]) -> None:
        self.boxes: list[NDArray[np.float64]] = []
        for seed in seeds:
            if not self._touched(seed):
                self.boxes.append(seed)
        fixed = len(self.boxes)
        self.covered: dict[tuple[int, str], list[int]] = {}
        # The smallest first: what they tell apart, a larger one covers as several.
        for row, side in sorted(ends, key=lambda end: (float(links[end[1]][end[0]][2:].prod()), end)):
            box = links[side][row]
            touched = self._touched(box)
            if not touched:
                touched = [len(self.boxes)]
                self.boxes.append(box)
            elif len(touched) == 1 and touched[0] >= fixed:
                wider = around(box, self.boxes[touched[0]])
                if wider[2:].prod() <= _WIDER * self.boxes[touched[0]][2:].prod():
                    self.boxes[touched[0]] = wider
            self.covered[row, side] = touched

    def surest(self, links: NDArray, number: int) -> NDArray[np.float64]:
        """Return where the surest link sees a place: the box that stands for it."""
        seen = min((end for end, covered in self.covered.items() if covered == [number]), default=None)
        return self.boxes[number] if seen is None else np.asarray(links[seen[1]][seen[0]])

    def _touched(self, box: NDArray[np.float64]) -> list[int]:
        if not self.boxes:
            return []
        return [int(number) for number in np.flatnonzero(overlaps(box, np.array(self.boxes)) >= _SAME)]


def _told(links: NDArray, pages: dict[int, _Page], seeds: dict[int, list[NDArray[np.float64]]]) -> bool:
    """Where a link covers more places on one of its pages than on the other, tell the other where they lie."""
    told = False
    for row, link in enumerate(links):
        here, there = int(link["a"]), int(link["b"])
        sides, matrix = ("a_box", "b_box"), link["transform"]
        if len(pages[here].covered[row, "a_box"]) < len(pages[there].covered[row, "b_box"]):
            here, there, sides, matrix = there, here, ("b_box", "a_box"), np.linalg.inv(matrix)
        several = pages[here].covered[row, sides[0]]
        if len(several) > len(pages[there].covered[row, sides[1]]):
            parts = [_common(pages[here].boxes[number], link[sides[0]]) for number in several]
            seeds[there] += [
                lay(matrix, part)
                for part in parts
                if _borne_out(link, part if sides[0] == "a_box" else lay(matrix, part))
            ]
            told = True
    return told


def _joined(link: NDArray, here: _Page, there: _Page, row: int) -> Iterator[tuple[int, int]]:
    """Yield which places on its two pages a link joins."""
    ours, theirs = here.covered[row, "a_box"], there.covered[row, "b_box"]
    if len(ours) == len(theirs) == 1:
        yield ours[0], theirs[0]
        return
    boxes = np.array([there.boxes[number] for number in theirs])
    for number in ours:
        part = _common(here.boxes[number], link["a_box"])
        shared = overlaps(lay(link["transform"], part), boxes)
        if shared.max() >= _SAME and _borne_out(link, part):
            yield number, theirs[int(shared.argmax())]


def _borne_out(link: NDArray, part: NDArray[np.float64]) -> bool:
    """Tell whether details agree in a part of what a link covers on its first page about as they do in all of it.

    Two pages may show the same picture, and each another one beside it at the same place.
    """
    steps = link["a_box"][2:] / len(link["spread"])
    first = np.floor((part[:2] - link["a_box"][:2]) / steps + 0.5).astype(np.intp)
    last = np.floor((part[:2] + part[2:] - link["a_box"][:2]) / steps + 0.5).astype(np.intp)
    low, high = np.maximum(first, 0), np.maximum(last, first + 1)
    inside = link["spread"][low[1] : high[1], low[0] : high[0]]
    return bool(inside.size and inside.mean() >= _BORNE_OUT * link["spread"].mean())


def around(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the box around two boxes."""
    low, high = np.minimum(a[:2], b[:2]), np.maximum(a[:2] + a[2:], b[:2] + b[2:])
    return np.concatenate([low, high - low])


def _common(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[:2] + a[2:], b[:2] + b[2:])
    return np.concatenate([low, np.maximum(high - low, 1.0)])


def overlaps(box: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return, for each of `others` (n, 4), the area shared with `box` over that of the smaller."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[:2] + box[2:], others[:, :2] + others[:, 2:])
    shared = np.maximum(high - low, 0).prod(axis=1)
    return np.asarray(shared / np.maximum(np.minimum(box[2:].prod(), others[:, 2:].prod(axis=1)), 1e-9))


def lay(matrix: NDArray[np.float64], box: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the box around where a map (3, 3) lays `box`."""
    x, y, width, height = box
    corners = np.array([[x, y, 1], [x + width, y, 1], [x + width, y + height, 1], [x, y + height, 1]]) @ matrix.T
    laid = corners[:, :2] / corners[:, 2:]
    low = laid.min(axis=0)
    return np.concatenate([low, laid.max(axis=0) - low])
