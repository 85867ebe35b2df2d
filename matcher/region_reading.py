"""Boxes and outlines out of what the small network says: the same for layouts and for what was trained on others."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from matcher.types import Region

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "FINE",
    "Said",
    "boxes_said",
    "distinct",
    "largest_outline",
    "outline_in",
    "prepared",
    "region_of",
    "softmax",
]

_STRIDE = 32
"""Sides of what the network looks at are multiples of this."""

FINE = 4
_COARSE = 16
"""Pixels for each cell of the two maps of boxes."""

_LEAST = 0.02
"""Boxes less sure than this are not looked at."""

_SAME = 0.5
"""Boxes that overlap by more of their union are one."""

_PART = 0.7
"""Of two boxes of one kind, the less sure is part of the other, or the other of it, if they share this much of one."""


class Said(NamedTuple):
    """What the network says of one image of h × w pixels.

    Attributes
    ----------
    classes : float32, shape (n, h/4, w/4)
        Logits of the classes.
    fine, coarse : float32, shape (k + 5, h/4, w/4) and (k + 5, h/16, w/16)
        Logits of the k kinds, of the quality of the box, and the logarithm of the distances to its left, upper, right
        and lower edge, in cells.
    """

    classes: NDArray[np.float32]
    fine: NDArray[np.float32]
    coarse: NDArray[np.float32]


def prepared(pixels: NDArray[np.uint8], long_side: int) -> tuple[NDArray[np.uint8], int, int]:
    """Return an image as the network wants it, RGB, padded with black, and its width and height in there."""
    rgb = cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB) if pixels.ndim == 2 else pixels
    scale = long_side / max(rgb.shape[:2])
    wide, high = (max(_STRIDE, round(side * scale)) for side in rgb.shape[1::-1])
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    resized = cv2.resize(rgb, (wide, high), interpolation=how)
    bottom, right = -high % _STRIDE, -wide % _STRIDE
    padded = cv2.copyMakeBorder(resized, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=(0, 0, 0))
    return np.asarray(padded, np.uint8), wide, high


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the chances of classes, which lie along the first axis, from their logits."""
    powers = np.exp(logits - logits.max(axis=0))
    return np.asarray(powers / powers.sum(axis=0), np.float32)


def _sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(1 / (1 + np.exp(-logits)), np.float32)


def boxes_said(
    said: Said, size: tuple[int, int], pictures: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.intp], NDArray[np.float32]]:
    """Return the boxes that the cells know of, left, top, right, bottom in pixels, with kind and score, surest first.

    The score is the chance of the kind × the quality of the box × the root of the share of it within, as the pixels'
    classes (`pictures`, their chance to be of any kind) see it: the two halves of the network must agree.
    """
    found = []
    many = len(said.fine) - 5
    for maps, step in ((said.fine, FINE), (said.coarse, _COARSE)):
        chances = _sigmoid(maps[:many])
        scores = chances.max(axis=0) * _sigmoid(maps[many])
        rows, columns = np.nonzero(scores > _LEAST)
        far = np.exp(np.clip(maps[many + 1 :, rows, columns], -4, 6.5)) * step
        x, y = (columns + 0.5) * step, (rows + 0.5) * step
        boxes = np.clip(np.stack([x - far[0], y - far[1], x + far[2], y + far[3]], axis=1), 0, [*size, *size])
        large = (boxes[:, 2:] > boxes[:, :2] + 2).all(axis=1)
        found.append((boxes[large], chances.argmax(axis=0)[rows, columns][large], scores[rows, columns][large]))
    boxes, kinds, scores = (np.concatenate(parts) for parts in zip(*found, strict=True))
    sums = cv2.integral(pictures)
    left, top, right, bottom = _cells(boxes).T
    inside = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
    scores = scores * np.sqrt(np.clip(inside / ((right - left) * (bottom - top)), 0, 1))
    order = np.argsort(-scores, kind="stable")[:2000]
    return boxes[order].astype(np.float32), kinds[order], scores[order].astype(np.float32)


def distinct(
    boxes: NDArray[np.float32], kinds: NDArray[np.intp], scores: NDArray[np.float32], min_score: float
) -> NDArray[np.intp]:
    """Return which boxes are left when each has put down those that it overlaps; boxes come the surest first."""
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept = []
    left = np.flatnonzero(scores >= min_score)
    while left.size:
        first, left = left[0], left[1:]
        kept.append(first)
        low = np.maximum(boxes[first, :2], boxes[left, :2])
        high = np.minimum(boxes[first, 2:], boxes[left, 2:])
        shared = np.clip(high - low, 0, None).prod(axis=1)
        same = shared > _SAME * (areas[first] + areas[left] - shared)
        part = (kinds[left] == kinds[first]) & (shared > _PART * np.minimum(areas[first], areas[left]))
        left = left[~(same | part)]
    return np.array(kept, np.intp)


def region_of(box: NDArray[np.float32], step: NDArray[np.float64]) -> Region:
    """Return a box as a region of the original image, of which each pixel here is `step` (x, y) wide."""
    left, top = box[:2] * step - 0.5
    wide, high = (box[2:] - box[:2]) * step
    return Region(float(left), float(top), float(wide), float(high))


def _cells(boxes: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return the cells that boxes cover, (n, 4): the first and the one after the last, one at least."""
    cells = np.round(boxes / FINE).astype(np.intp)
    cells[:, :2] = np.minimum(cells[:, :2], cells[:, 2:] - 1)
    return cells


def outline_in(mask: NDArray[np.bool_], box: NDArray[np.float32]) -> NDArray[np.float64] | None:
    """Return the outline of what lies of a mask in a box, in cells; None if that is little of it or nearly all."""
    left, top, right, bottom = _cells(box[None])[0]
    inside = mask[top:bottom, left:right].astype(np.uint8)
    if not inside.size or not 0.3 < inside.mean() < 0.95:
        return None
    outline, area = largest_outline(inside)
    if len(outline) < 3 or area < 0.5 * inside.sum():
        return None
    return np.asarray(outline + np.array([left, top]))


def largest_outline(mask: NDArray[np.uint8]) -> tuple[NDArray[np.float64], float]:
    """Return the outline of the largest piece of a mask, and its area, in cells."""
    # Outlines run through the middles of pixels: of quarter cells, lest much be lost.
    fine = np.pad(mask, 1).repeat(4, axis=0).repeat(4, axis=1)
    outlines, _ = cv2.findContours(fine, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    largest = max(outlines, key=cv2.contourArea)
    simple = cv2.approxPolyDP(largest, 3.0, True).reshape(-1, 2)
    return np.asarray((simple + 0.5) / 4 - 1, np.float64), cv2.contourArea(largest) / 16
