"""Several looks at one image, larger, smaller, turned, mirrored, and what they agree on.

A small network that learned from a few images errs now here, now there; what it says of the same thing at another size
or upside down is wrong elsewhere. So means of a few looks are surer than any of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from matcher.detection import Detection, box_around, surest_first
from matcher.images import Scan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from matcher.augmentation import Turns

__all__ = ["ONE_LOOK", "Look", "agreed", "mean_of_looks", "pixel_looks", "region_looks"]

_SAME = 0.5
"""IoU from which on boxes of two looks are of one thing."""


class Look(NamedTuple):
    """How an image is shown.

    Attributes
    ----------
    size : float
        Its size, of the usual one.
    quarters : int
        Right angles by which it is turned, against the clock.
    mirrored : bool
        Whether it is mirrored left to right, then.
    """

    size: float = 1.0
    quarters: int = 0
    mirrored: bool = False

    def of(self, pixels: NDArray) -> NDArray:
        """Return pixels, shape (h, w, …), turned and mirrored."""
        turned = np.rot90(pixels, self.quarters)
        return np.ascontiguousarray(turned[:, ::-1] if self.mirrored else turned)

    def undone(self, maps: NDArray) -> NDArray:
        """Return maps of what was seen, shape (k, h, w), as of the image."""
        turned = maps[:, :, ::-1] if self.mirrored else maps
        return np.rot90(turned, -self.quarters, (1, 2))

    def scan(self, scan: Scan) -> Scan:
        """Return a scan turned and mirrored."""
        wide, high, x, y = scan.width, scan.height, scan.scale_x, scan.scale_y
        if self.quarters % 2:
            wide, high, x, y = high, wide, y, x
        return Scan(self.of(scan.pixels), wide, high, x, y)

    def found(self, one: Detection, size: tuple[int, int]) -> Detection:
        """Return a detection on what was seen as one on the image, whose width and height are given."""
        # Edges of boxes are those of pixels or half a pixel within: turned, they would be one beside the image.
        box = box_around(np.clip(self._points(one.box.corners()[[0, 2]], size), 0, size))
        polygons = tuple(self._points(polygon, size) for polygon in one.polygons)
        return Detection(box, one.label, one.score, polygons)

    def _points(self, points: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
        wide, high = size if self.quarters % 2 == 0 else size[::-1]
        x, y = points.T
        if self.mirrored:
            x = wide - 1 - x
        for _ in range(self.quarters % 4):
            x, y, wide, high = high - 1 - y, x, high, wide
        return np.column_stack([x, y])


ONE_LOOK = (Look(),)


def region_looks(many: int, turns: Turns) -> tuple[Look, ...]:
    """Return so many looks, 1 to 3, for things: as they are, larger, smaller; one upside down if things turn."""
    return (Look(), Look(1.25, 0 if turns == "slight" else 2), Look(0.8))[:many]


def pixel_looks(many: int, turns: Turns, mirrored: bool) -> tuple[Look, ...]:
    """Return so many looks, up to 8, for pixels: turned by right angles if things turn, mirrored if they may be."""
    turned = (0,) if turns == "slight" else (0, 2, 1, 3)
    # What differs most comes first.
    return tuple(Look(1.0, k, flip) for k in turned for flip in ((False, True) if mirrored else (False,)))[:many]


def mean_of_looks(
    pixels: NDArray[np.uint8], looks: Sequence[Look], look: Callable[[NDArray[np.uint8]], NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Return the mean of what `look` says of an image, float32 (k, h, w), in several looks of the usual size."""
    said = looks[0].undone(look(looks[0].of(pixels)))
    for one in looks[1:]:
        said = said + one.undone(look(one.of(pixels)))
    return np.asarray(said / len(looks), np.float32)


def agreed(looks: Sequence[Sequence[Detection]]) -> list[Detection]:
    """Return what several looks at one image found, each thing once, the surest first.

    The surest box takes from each look the best one that overlaps it by half. Its place is their mean, weighed by how
    sure each is, its score the mean over all looks, nothing where one saw nothing (weighted boxes fusion, Solovyev et
    al. 2021). Its outline is that of the surest, brought to the mean box.

    Parameters
    ----------
    looks : sequence of sequence of Detection
        Of each look what it found, in pixels of the original image.
    """
    if len(looks) == 1:
        return list(looks[0])
    everything = [(number, one) for number, found in enumerate(looks) for one in found]
    everything.sort(key=lambda told: -told[1].score)
    views = np.array([number for number, _ in everything])
    scores = np.array([one.score for _, one in everything])
    names = {label: number for number, label in enumerate(sorted({one.label for _, one in everything}))}
    labels = np.array([names[one.label] for _, one in everything])
    sides = np.array([one.box.as_list() for _, one in everything]).reshape(-1, 4)
    low, high = sides[:, :2], sides[:, :2] + sides[:, 2:]
    areas = sides[:, 2:].prod(axis=1)
    found = []
    left = np.arange(len(everything))
    while left.size:
        first = left[0]
        shared = np.clip(np.minimum(high[first], high[left]) - np.maximum(low[first], low[left]), 0, None).prod(axis=1)
        same = (labels[left] == labels[first]) & (shared > _SAME * (areas[first] + areas[left] - shared))
        same[0] = True
        _, best = np.unique(views[left[same]], return_index=True)  # they come the surest first
        chosen = left[same][best]
        left = left[~same]
        weights = scores[chosen] + 1e-9
        weights /= weights.sum()
        corners = np.vstack([weights @ low[chosen], weights @ high[chosen]])
        surest = everything[first][1]
        grown = (corners[1] - corners[0]) / (high[first] - low[first])
        polygons = tuple((polygon - low[first]) * grown + corners[0] for polygon in surest.polygons)
        score = float(scores[chosen].sum() / len(looks))
        found.append(Detection(box_around(corners), surest.label, score, polygons))
    return surest_first(found)
