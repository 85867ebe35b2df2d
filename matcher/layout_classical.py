"""Pictures and text told apart without learning: ink, its connected components, and morphology at the size of letters.

The page is binarised against its paper (background division, Otsu 1979). The height of letters is the median height of
components. What is too big for letters, or so dense that gaps closed at a third of a letter leave areas solid over two
letters (after Bloomberg 1991, "Multiresolution morphological approach to document image analysis"), is picture; what is
left is run together to blocks of text (after Wong, Casey and Wahl 1982, "Document analysis system").
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from matcher.layout import CLASSES, Layout, LayoutRegion
from matcher.types import Region

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from matcher.images import Scan

__all__ = ["Classical"]

_LONG_SIDE = 1000
_INK = 0.66
"""Share of the paper's light below which Otsu's threshold is never put, nor above 0.9."""
_LETTERS = (4, 40)
"""Heights, in pixels, that letters may have."""
_TALL = 5.0
"""Heights of letters from which on a component is no letter, nor a few that touch."""
_INITIAL = 3.0
"""Heights of letters from which on a compact component is an initial."""
_MASS = 0.4
"""Share of its box that an initial inks."""
_EDGE = 0.02
"""Share of a side of the scan along which a shadow touches it."""
_MARGIN = 0.03
"""Share of the page's sides that is its edge."""
_GAP = 2.5, 4.0
"""Heights of letters between words and between lines, at most, in a block of text."""
_BESIDE = 0.4
"""Share of the strip to the right of an initial that is text."""
_SMALL = 0.03
"""Share of the page below which a picture is an ornament."""
_SOLID = 3.0
"""Heights of letters over which pictures are solid once small gaps are closed."""
_SMALLEST = 3.0
"""Heights of letters that a picture has at least, either way."""
_THIN = 0.6
"""Heights of letters below which a long component is a rule."""


class Classical:
    """Finds illustrations, ornaments, initials and blocks of text by size, density and place alone."""

    @property
    def signature(self) -> str:
        """Name, version and parameters."""
        return f"classical-1(size={_LONG_SIDE})"

    def segment(self, scan: Scan) -> Layout:
        """Return what lies where on `scan`."""
        gray = _reduced(scan.pixels)
        ink = _ink(gray)
        parts = _Parts.of(ink)
        letter = parts.letter()
        ink[parts.where(parts.rules(letter) | parts.borders())] = 0
        boxes, evidence = _pictures(ink, parts, letter)
        text = _text(ink, boxes, letter)
        labels = np.where(text > 0, np.uint8(CLASSES.index("text")), np.uint8(0))
        scale = scan.width / gray.shape[1], scan.height / gray.shape[0]
        regions = []
        for box, area in zip(boxes, evidence, strict=True):
            kind = _kind(box, text, letter)
            x, y, width, height = box
            labels[y : y + height, x : x + width] = CLASSES.index(kind)
            score = 1.0 - math.exp(-area / (12.0 * letter) ** 2)
            regions.append(LayoutRegion(kind, _on_scan(box, scale), round(score, 4)))
        regions.sort(key=lambda region: -region.score)
        blocks, _ = cv2.findContours(text, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        for block in blocks:
            box = tuple(map(int, cv2.boundingRect(block)))
            outline = (block[:, 0].astype(np.float64) + 0.5) * scale - 0.5
            regions.append(LayoutRegion("text", _on_scan(box, scale), 0.5, outline if len(outline) > 4 else None))
        return Layout(scan.width, scan.height, tuple(regions), labels)


_Box = tuple[int, ...]
"""Left, top, width, height in pixels."""


class _Parts(NamedTuple):
    """Connected components of ink: their labels, and left, top, width, height, area of each; the first is paper."""

    labels: NDArray[np.int32]
    stats: NDArray[np.int32]

    @classmethod
    def of(cls, ink: NDArray[np.uint8]) -> _Parts:
        _, labels, stats, _ = cv2.connectedComponentsWithStats(ink, connectivity=8)
        return cls(np.asarray(labels), np.asarray(stats))

    def letter(self) -> float:
        """Return the height of letters: the median over components that could be some, weighted by their width."""
        _, _, width, height, _ = self.stats[1:].T
        could = (height >= _LETTERS[0]) & (height <= _LETTERS[1]) & (width < 4 * height)
        if could.sum() < 20:
            return 10.0
        order = np.argsort(height[could])
        mass = np.cumsum(width[could][order])
        return float(height[could][order][np.searchsorted(mass, mass[-1] / 2)])

    def rules(self, letter: float) -> NDArray[np.bool_]:
        """Return which are lines that a printer set, not drew: long, straight and thin."""
        _, _, width, height, _ = self.stats.T
        thin, long = np.minimum(width, height), np.maximum(width, height)
        return np.asarray((thin < _THIN * letter) & (long > 8 * thin) & (long > 3 * letter))

    def borders(self) -> NDArray[np.bool_]:
        """Return which are shadows at the edge of the scan, and what hangs together with them."""
        shadows = np.zeros(len(self.stats), dtype=bool)
        for edge in (self.labels[0], self.labels[-1], self.labels[:, 0], self.labels[:, -1]):
            counts = np.bincount(edge, minlength=len(self.stats))
            shadows |= counts > _EDGE * len(edge)
        shadows[0] = False
        return shadows

    def initials(self, letter: float) -> NDArray[np.bool_]:
        """Return which are large letters: as high as a few, about as wide as high, and of thick strokes."""
        _, _, width, height, area = self.stats.T
        high = (height > _INITIAL * letter) & (height <= _TALL * letter)
        return np.asarray(high & (width > 0.5 * height) & (width < 1.6 * height) & (area > _MASS * width * height))

    def where(self, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return the pixels of the components chosen."""
        return np.asarray(chosen[self.labels])


def _reduced(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    gray = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) if pixels.ndim == 3 else pixels
    factor = _LONG_SIDE / max(gray.shape)
    if factor < 1:
        size = max(1, round(gray.shape[1] * factor)), max(1, round(gray.shape[0] * factor))
        gray = cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
    return np.asarray(gray, np.uint8)


def _ink(gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return where there is ink, 0 or 1: what is darker than the paper around it."""
    small = cv2.resize(gray, [max(1, side // 8) for side in gray.shape[::-1]], interpolation=cv2.INTER_AREA)
    paper = cv2.medianBlur(cv2.dilate(small, np.ones((9, 9), np.uint8)), 5)
    paper = cv2.resize(paper, gray.shape[::-1], interpolation=cv2.INTER_LINEAR)
    light = cv2.divide(gray, paper, scale=255)
    otsu, _ = cv2.threshold(light, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    threshold = float(np.clip(otsu, 255 * _INK, 255 * 0.9))
    return np.asarray(light < threshold, np.uint8)


def _pictures(ink: NDArray[np.uint8], parts: _Parts, letter: float) -> tuple[list[_Box], list[float]]:
    """Return the boxes of pictures, and how many pixels of each say that it is one."""
    tall = np.asarray(parts.stats[:, cv2.CC_STAT_HEIGHT] > _TALL * letter)
    tall |= parts.initials(letter)
    tall[0] = False
    closed = cv2.morphologyEx(ink, cv2.MORPH_CLOSE, _square(letter / 3))
    solid = cv2.morphologyEx(closed, cv2.MORPH_OPEN, _square(_SOLID * letter))
    sure = ((parts.where(tall) & (ink > 0)) | (solid > 0)).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(closed, connectivity=8)
    evidence = np.bincount(labels[sure > 0], minlength=len(stats))
    boxes = [
        tuple(map(int, stats[i, :4]))
        for i in np.flatnonzero(evidence)
        if i and min(stats[i, 2], stats[i, 3]) >= _SMALLEST * letter and not _is_shadow(stats[i], ink.shape)
    ]
    return _merged(boxes, sure)


def _is_shadow(box: NDArray[np.int32], shape: tuple[int, ...]) -> bool:
    """Return whether a box is a strip along the edge of the scan."""
    x, y, width, height = map(int, box[:4])
    high, wide = shape
    beside = min(x, wide - x - width) < _MARGIN * wide and width < wide / 2
    above = min(y, high - y - height) < _MARGIN * high and height < high / 2
    return beside or above


def _merged(boxes: list[_Box], sure: NDArray[np.uint8]) -> tuple[list[_Box], list[float]]:
    """Merge boxes that overlap, and count the pixels of `sure` in each."""
    before = -1
    while len(boxes) != before:
        before = len(boxes)
        area = np.zeros(sure.shape, np.uint8)
        for x, y, width, height in boxes:
            area[y : y + height, x : x + width] = 1
        _, _, stats, _ = cv2.connectedComponentsWithStats(area, connectivity=8)
        boxes = [tuple(map(int, box)) for box in stats[1:, :4]]
    return boxes, [float(sure[y : y + height, x : x + width].sum()) for x, y, width, height in boxes]


def _text(ink: NDArray[np.uint8], boxes: list[_Box], letter: float) -> NDArray[np.uint8]:
    """Return where there are blocks of text, 0 or 1: what is left, run together over the space between lines."""
    left = ink.copy()
    for x, y, width, height in boxes:
        left[y : y + height, x : x + width] = 0
    lines = cv2.morphologyEx(left, cv2.MORPH_CLOSE, _rectangle(_GAP[0] * letter, 1))
    lines = cv2.morphologyEx(lines, cv2.MORPH_OPEN, _rectangle(2 * letter, max(2.0, letter / 3)))
    blocks = cv2.morphologyEx(lines, cv2.MORPH_CLOSE, _rectangle(_GAP[0] * letter, _GAP[1] * letter))
    blocks = cv2.morphologyEx(blocks, cv2.MORPH_OPEN, _rectangle(3 * letter, 0.7 * letter))
    outlines, _ = cv2.findContours(blocks, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    for outline in outlines:
        cv2.fillConvexPoly(blocks, cv2.convexHull(outline), 1)
    for x, y, width, height in boxes:
        blocks[y : y + height, x : x + width] = 0
    return np.asarray(blocks, np.uint8)


def _kind(box: _Box, text: NDArray[np.uint8], letter: float) -> str:
    """Return what kind of picture lies in a box, by its size, its shape and the text beside it."""
    x, y, width, height = box
    high, wide = text.shape
    beside = text[y : y + height, x + width : x + width + round(6 * letter)]
    squarish = 0.5 < width / height < 1.6
    if squarish and max(width / wide, height / high) < 0.3 and beside.size and beside.mean() > _BESIDE:
        return "initial"
    if width > 3.5 * height or width * height < _SMALL * wide * high:
        return "ornament"
    return "illustration"


def _square(side: float) -> NDArray[np.uint8]:
    return _rectangle(side, side)


def _rectangle(width: float, height: float) -> NDArray[np.uint8]:
    return np.ones((max(1, round(height)), max(1, round(width))), np.uint8)


def _on_scan(box: _Box, scale: tuple[float, float]) -> Region:
    x, y, width, height = box
    return Region(x * scale[0], y * scale[1], width * scale[0], height * scale[1])
