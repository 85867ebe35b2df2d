"""The layout network that calque ships, run through OpenCV: what lies where on a page, without torch.

The network says two things (`matcher.region_model`): for each cell of 4 × 4 pixels what it is part of, and for
cells of 4 and of 16 pixels whether they lie in the middle of a picture, how good a box they know, and its edges. Boxes
come from the second, outlines and text from the first.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from matcher.errors import InputError
from matcher.layout import CLASSES, PICTURES, Layout, LayoutRegion
from matcher.region_reading import (
    FINE,
    Said,
    boxes_said,
    distinct,
    largest_outline,
    outline_in,
    prepared,
    region_of,
    softmax,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from matcher.images import Scan

__all__ = ["LONG_SIDE", "WEIGHTS", "LayoutNetwork", "understood"]

LONG_SIDE = 1024
"""Pixels of the long side of what the network looks at."""

WEIGHTS = Path(__file__).parent / "data" / "layout.onnx"
"""The network that belongs to calque."""

_VERSION = 1
_LEAST_TEXT = 12
"""Cells of the smallest piece of text that is reported."""


_loaded = threading.local()


def _network() -> cv2.dnn.Net:
    """Return the network of this thread, read once: an OpenCV network keeps what it was last given."""
    if not hasattr(_loaded, "network"):
        try:
            _loaded.network = cv2.dnn.readNetFromONNX(str(WEIGHTS))
        except cv2.error as error:
            raise InputError(
                f"{WEIGHTS}: the layout network that belongs to calque is missing or damaged; install calque anew"
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
        pixels, wide, high = prepared(scan.pixels, LONG_SIDE)
        net = _network()
        net.setInput(cv2.dnn.blobFromImage(pixels, 1 / 255))
        outputs = net.forward(["classes", "fine", "coarse"])
        return understood(Said(*(output[0] for output in outputs)), (wide, high), scan, self.min_score)


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
    chances = softmax(said.classes)
    boxes, kinds, scores = boxes_said(said, size, chances[CLASSES.index(PICTURES[0]) :].sum(axis=0))
    kept = distinct(boxes, kinds, scores, min_score)
    boxes, kinds, scores = boxes[kept], kinds[kept], scores[kept]
    rows, columns = -(-size[1] // FINE), -(-size[0] // FINE)
    chances = chances[:, :rows, :columns]
    labels = chances.argmax(axis=0).astype(np.uint8)
    step = np.array([scan.width / size[0], scan.height / size[1]])
    pictures = labels >= CLASSES.index(PICTURES[0])
    regions = []
    for box, kind, score in zip(boxes, kinds, scores, strict=True):
        outline = outline_in(pictures, box)
        polygon = None if outline is None else (outline * FINE) * step - 0.5
        region = region_of(box, step).clipped(scan.width, scan.height)
        if region is not None:
            regions.append(LayoutRegion(PICTURES[kind], region, float(score), polygon))
    regions += _texts(labels, chances[CLASSES.index("text")], step)
    return Layout(scan.width, scan.height, tuple(regions), labels)


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
        outline, _ = largest_outline(piece)
        polygon = ((outline + np.array([left, top])) * FINE) * step - 0.5 if len(outline) > 4 else None
        score = float(chances[top : top + high, left : left + wide][piece > 0].mean())
        box = region_of(np.array([left, top, left + wide, top + high], np.float32) * FINE, step)
        regions.append(LayoutRegion("text", box, score, polygon))
    return sorted(regions, key=lambda region: -region.score)
