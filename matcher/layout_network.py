"""The layout network that calque ships, run through OpenCV: what lies where on a page, without torch.

The network says two things (``benchmarks/layout_model.py``): for each cell of 4 × 4 pixels what it is part of, and for
cells of 4 and of 16 pixels whether they lie in the middle of a picture, how good a box they know, and its edges. Boxes
come from the second, outlines and text from the first.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from matcher.errors import InputError
from matcher.layout import CLASSES, PICTURES, Layout, LayoutRegion
from matcher.types import Region

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from matcher.images import Scan

__all__ = ["LONG_SIDE", "LayoutNetwork", "Said", "understood"]

LONG_SIDE = 1024
"""Pixels of the long side of what the network looks at."""

_VERSION = 1
_WEIGHTS = Path(__file__).parent / "data" / "layout.onnx"
_STRIDE = 32
"""Sides of what the network looks at are multiples of this."""

_FINE, _COARSE = 4, 16
"""Pixels for each cell of the two maps of boxes."""

_LEAST = 0.02
"""Boxes less sure than this are not looked at."""

_SAME = 0.5
"""Boxes that overlap by more of their union are one."""

_PART = 0.7
"""Of two boxes of one kind, the less sure is part of the other, or the other of it, if they share this much of one."""

_LEAST_TEXT = 12
"""Cells of the smallest piece of text that is reported."""


class Said(NamedTuple):
    """What the network says of one image of h × w pixels.

    Attributes
    ----------
    classes : float32, shape (5, h/4, w/4)
        Logits of `CLASSES`.
    fine, coarse : float32, shape (8, h/4, w/4) and (8, h/16, w/16)
        Logits of the three kinds of pictures, of the quality of the box, and the logarithm of the distances to its
        left, upper, right and lower edge, in cells.
    """

    classes: NDArray[np.float32]
    fine: NDArray[np.float32]
    coarse: NDArray[np.float32]


_loaded = threading.local()


def _network() -> cv2.dnn.Net:
    """Return the network of this thread, read once: an OpenCV network keeps what it was last given."""
    if not hasattr(_loaded, "network"):
        try:
            _loaded.network = cv2.dnn.readNetFromONNX(str(_WEIGHTS))
        except cv2.error as error:
            raise InputError(
                f"{_WEIGHTS}: the layout network that belongs to calque is missing or damaged; install calque anew"
            ) from error
    network: cv2.dnn.Net = _loaded.network
    return network


@dataclass(frozen=True, slots=True)
class LayoutNetwork:
    """Finds illustrations, ornaments, initials and text.

    Parameters
    ----------
    min_score : float
        How sure a picture must be to be a region, 0 to 1.
    """

    min_score: float = 0.3

    @property
    def signature(self) -> str:
        """Name, version and parameters."""
        return f"calque-layout-{_VERSION}({self.min_score:g})"

    def segment(self, scan: Scan) -> Layout:
        """Return what lies where on `scan`, RGB or grey, of any size.

        Returns
        -------
        Layout
            Its grid has a cell for each 4 pixels of the scan at a long side of 1,024.
        """
        pixels, wide, high = _prepared(scan.pixels)
        net = _network()
        net.setInput(cv2.dnn.blobFromImage(pixels, 1 / 255))
        outputs = net.forward(["classes", "fine", "coarse"])
        return understood(Said(*(output[0] for output in outputs)), (wide, high), scan, self.min_score)


def _prepared(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], int, int]:
    """Return an image as the network wants it, RGB, padded with black, and its width and height in there."""
    rgb = cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB) if pixels.ndim == 2 else pixels
    scale = LONG_SIDE / max(rgb.shape[:2])
    wide, high = (max(_STRIDE, round(side * scale)) for side in rgb.shape[1::-1])
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    resized = cv2.resize(rgb, (wide, high), interpolation=how)
    bottom, right = -high % _STRIDE, -wide % _STRIDE
    padded = cv2.copyMakeBorder(resized, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=(0, 0, 0))
    return np.asarray(padded, np.uint8), wide, high


def understood(said: Said, size: tuple[int, int], scan: Scan, min_score: float) -> Layout:
    """Turn what the network says into regions and classes.

    Parameters
    ----------
    said : Said
    size : (int, int)
        Width and height of the page in the image that the network saw, without the padding.
    scan : Scan
        The page, for its size in original pixels.
    min_score : float

    Returns
    -------
    Layout
    """
    chances = _softmax(said.classes)
    boxes, kinds, scores = _boxes(said, size, chances[CLASSES.index(PICTURES[0]) :].sum(axis=0))
    kept = _distinct(boxes, kinds, scores, min_score)
    boxes, kinds, scores = boxes[kept], kinds[kept], scores[kept]
    rows, columns = -(-size[1] // _FINE), -(-size[0] // _FINE)
    chances = chances[:, :rows, :columns]
    labels = chances.argmax(axis=0).astype(np.uint8)
    step = np.array([scan.width / size[0], scan.height / size[1]])
    regions = []
    for box, kind, score in zip(boxes, kinds, scores, strict=True):
        outline = _outline(labels, box)
        polygon = None if outline is None else (outline * _FINE) * step - 0.5
        region = _region(box, step).clipped(scan.width, scan.height)
        if region is not None:
            regions.append(LayoutRegion(PICTURES[kind], region, float(score), polygon))
    regions += _texts(labels, chances[CLASSES.index("text")], step)
    return Layout(scan.width, scan.height, tuple(regions), labels)


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    powers = np.exp(logits - logits.max(axis=0))
    return np.asarray(powers / powers.sum(axis=0), np.float32)


def _sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(1 / (1 + np.exp(-logits)), np.float32)


def _boxes(
    said: Said, size: tuple[int, int], pictures: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.intp], NDArray[np.float32]]:
    """Return the boxes that the cells know of, left, top, right, bottom in pixels, with kind and score, surest first.

    The score is the chance of the kind × the quality of the box × the root of the share of picture within, as the
    pixels' classes (`pictures`, their chance to be any) see it: the two halves of the network must agree.
    """
    found = []
    many = len(PICTURES)
    for maps, step in ((said.fine, _FINE), (said.coarse, _COARSE)):
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


def _distinct(
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


def _region(box: NDArray[np.float32], step: NDArray[np.float64]) -> Region:
    left, top = box[:2] * step - 0.5
    wide, high = (box[2:] - box[:2]) * step
    return Region(float(left), float(top), float(wide), float(high))


def _cells(boxes: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return the cells that boxes cover, (n, 4): the first and the one after the last, one at least."""
    cells = np.round(boxes / _FINE).astype(np.intp)
    cells[:, :2] = np.minimum(cells[:, :2], cells[:, 2:] - 1)
    return cells


def _outline(labels: NDArray[np.uint8], box: NDArray[np.float32]) -> NDArray[np.float64] | None:
    """Return the outline of what is picture in a box, in cells; None if that is little of it or nearly all."""
    left, top, right, bottom = _cells(box[None])[0]
    inside = (labels[top:bottom, left:right] >= CLASSES.index(PICTURES[0])).astype(np.uint8)
    if not inside.size or not 0.3 < inside.mean() < 0.95:
        return None
    outline, area = _largest(inside)
    if len(outline) < 3 or area < 0.5 * inside.sum():
        return None
    return np.asarray(outline + np.array([left, top]))


def _largest(mask: NDArray[np.uint8]) -> tuple[NDArray[np.float64], float]:
    """Return the outline of the largest piece of a mask, and its area, in cells."""
    # Outlines run through the middles of pixels: of quarter cells, lest much be lost.
    fine = np.pad(mask, 1).repeat(4, axis=0).repeat(4, axis=1)
    outlines, _ = cv2.findContours(fine, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    largest = max(outlines, key=cv2.contourArea)
    simple = cv2.approxPolyDP(largest, 3.0, True).reshape(-1, 2)
    return np.asarray((simple + 0.5) / 4 - 1, np.float64), cv2.contourArea(largest) / 16


def _texts(labels: NDArray[np.uint8], chances: NDArray[np.float32], step: NDArray[np.float64]) -> list[LayoutRegion]:
    """Return the connected pieces of text."""
    text = (labels == CLASSES.index("text")).astype(np.uint8)
    many, pieces, stats, _ = cv2.connectedComponentsWithStats(text, connectivity=4)
    regions = []
    for number in range(1, many):
        left, top, wide, high, area = stats[number].tolist()
        if area < _LEAST_TEXT:
            continue
        piece = (pieces[top : top + high, left : left + wide] == number).astype(np.uint8)
        outline, _ = _largest(piece)
        polygon = ((outline + np.array([left, top])) * _FINE) * step - 0.5 if len(outline) > 4 else None
        score = float(chances[top : top + high, left : left + wide][piece > 0].mean())
        box = _region(np.array([left, top, left + wide, top + high], np.float32) * _FINE, step)
        regions.append(LayoutRegion("text", box, score, polygon))
    return sorted(regions, key=lambda region: -region.score)
