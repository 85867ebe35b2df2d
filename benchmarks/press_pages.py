"""The page's part: sheets of text, real or set, a place in the text for the picture, the scanner.

A sheet is a page before the picture: a real page scan, or one set in type with made-up prose. Both are treated alike:
a place is found between columns and lines of type, cleared down to the paper and captioned; the sheet is laid askew;
the picture is printed on the paper that is there; light and noise are the scanner's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from cli.demo_pages import compose_page
from cli.demo_print import bleed_through, paper, skew
from cli.demo_type import SANS, SERIF, Compositor, Style, title
from matcher.images import read_image

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from benchmarks.press_print import Patch

__all__ = ["LONG_SIDE", "Place", "Sheet", "find_place", "read_sheet", "scanned", "set_sheet"]

LONG_SIDE = 1600
"""Pixels of a sheet's long side at the most: real pages that are larger are reduced."""

_LID = 40.0
_HEADS = ("The Harbour Gazette", "The Northern Review", "Annals of the Quarry", "The Weekly Lantern", "")


@dataclass(frozen=True, slots=True)
class Sheet:
    """A page without the picture.

    Attributes
    ----------
    pixels : float32, shape (h, w)
        The page, 0 to 255.
    paper : float32, shape (h, w)
        What it would be with nothing printed on it.
    black : float
        How bright its ink is against its paper, 0 to 1.
    """

    pixels: NDArray[np.float32]
    paper: NDArray[np.float32]
    black: float

    def inked(self) -> NDArray[np.uint8]:
        """Return the ink alone: 0 black, 255 bare paper."""
        share = (self.pixels / self.paper - self.black) / (1 - self.black)
        return np.asarray(np.clip(255 * share, 0, 255), np.uint8)

    def cleared(self, hole: tuple[int, int, int, int], rng: np.random.Generator) -> Sheet:
        """Return the sheet with nothing printed in `hole` (left, top, right, bottom)."""
        left, top, right, bottom = hole
        pixels = self.pixels.copy()
        bare = self.paper[top:bottom, left:right]
        grain = cv2.GaussianBlur(rng.standard_normal(bare.shape, np.float32), (0, 0), 0.9)
        pixels[top:bottom, left:right] = bare + 4 * grain
        return replace(self, pixels=pixels)

    def captioned(self, x: float, y: float, width: float, size: int, rng: np.random.Generator) -> Sheet:
        """Return the sheet with a caption set around `x`, its baseline at `y`."""
        high, wide = self.pixels.shape
        top, bottom = max(0, round(y - 2 * size)), min(high, round(y + size))
        sheet = Compositor(wide, bottom - top)
        face = (SANS, SERIF)[rng.integers(2)][2]
        sheet.line(f"{title(rng, face, size, width)}.", x, y - top, face, size, anchor="ms")
        pixels = self.pixels.copy()
        pixels[top:bottom] *= self.black + (1 - self.black) * sheet.page().astype(np.float32) / 255
        return replace(self, pixels=pixels)

    def shown_through(self, verso: Sheet, strength: float) -> Sheet:
        """Return the sheet with the ink of another one showing through."""
        other = cv2.resize(verso.inked(), self.pixels.shape[::-1], interpolation=cv2.INTER_AREA)
        shade = bleed_through(np.ones_like(self.pixels), np.asarray(other, np.uint8), strength)
        return replace(self, pixels=self.pixels * shade, paper=self.paper * shade)

    def askew(self, degrees: float) -> tuple[Sheet, NDArray[np.float64]]:
        """Return the sheet on the scanner, turned clockwise, and the map from its pixels to the scan's."""
        pixels, matrix = skew(self.pixels, degrees, background=_LID)
        bare, _ = skew(self.paper, degrees, background=_LID)
        return Sheet(pixels, bare, self.black), matrix

    def printed(self, patch: Patch) -> NDArray[np.float32]:
        """Return the page with a picture on it: shape (h, w), or (h, w, 3) if the picture is in colours."""
        high, wide = self.pixels.shape
        top, left = max(0, patch.top), max(0, patch.left)
        bottom, right = min(high, patch.top + patch.cover.shape[0]), min(wide, patch.left + patch.cover.shape[1])
        inside = np.s_[top - patch.top : bottom - patch.top, left - patch.left : right - patch.left]
        ink, cover, pixels, bare = patch.paper[inside], patch.cover[inside], self.pixels.copy(), self.paper
        bare = bare[top:bottom, left:right]
        if ink.ndim == 3:
            pixels, cover, bare = np.dstack([pixels] * 3), cover[..., None], bare[..., None]
        print_ = bare * (self.black + (1 - self.black) * ink)
        pixels[top:bottom, left:right] += cover * (print_ - pixels[top:bottom, left:right])
        return pixels


# ---------------------------------------------------------------------------------------------- sheets


def set_sheet(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return a page of made-up prose in columns with headlines, on paper; uint8, shape (h, w)."""
    columns = int(rng.choice([1, 2, 2, 3, 3, 4]))
    type_size = {1: (20, 27), 2: (15, 21), 3: (13, 17), 4: (12, 15)}[columns]
    head = str(rng.choice(_HEADS))
    masthead = head if columns > 1 and rng.random() < 0.2 else ""
    style = Style(
        columns=columns,
        type_size=int(rng.integers(*type_size)),
        faces=(SERIF, SERIF, SERIF, SANS)[rng.integers(4)],
        masthead=masthead,
        running_head="" if masthead else head,
    )
    size = (int(rng.integers(1040, 1240)), int(rng.integers(1480, 1570)))
    ink, _ = compose_page(rng, style, [], size=size)
    soft = cv2.GaussianBlur(ink, (0, 0), float(rng.uniform(0.5, 0.9))).astype(np.float32) / 255
    blank = paper((size[1], size[0]), rng, tone=float(rng.uniform(200, 240)))
    black = float(rng.uniform(0.14, 0.34))
    return np.clip(blank * (black + (1 - black) * soft), 0, 255).astype(np.uint8)


@lru_cache(maxsize=8)
def read_sheet(path: Path) -> Sheet:
    """Read a page scan as a sheet; its paper is what is brightest around each place, its ink the darkest there is.

    Raises
    ------
    CalqueError
        If it cannot be read.
    """
    pixels = read_image(path, long_side=LONG_SIDE).pixels
    small = cv2.resize(pixels, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    bright = cv2.dilate(cv2.medianBlur(small, 3), np.ones((13, 13), np.uint8))
    bright = cv2.GaussianBlur(cv2.erode(bright, np.ones((5, 5), np.uint8)), (0, 0), 8)
    bare = np.maximum(cv2.resize(bright, pixels.shape[::-1], interpolation=cv2.INTER_LINEAR).astype(np.float32), 40)
    black = float(np.clip(np.percentile(pixels / bare, 0.05), 0.02, 0.5))
    return Sheet(pixels.astype(np.float32), bare, black)


# ---------------------------------------------------------------------------------------------- a place in the text


class Place(NamedTuple):
    """Room for a picture: what must be cleared (left, top, right, bottom), and the picture's left and top edge."""

    hole: tuple[int, int, int, int]
    x: float
    y: float


def find_place(sheet: Sheet, width: int, height: int, rng: np.random.Generator) -> Place | None:
    """Find a believable place for a picture and its caption: whole columns wide, between lines of type, centred.

    Returns None if there is no text that would make room.
    """
    ink = (sheet.inked() < 150).astype(np.float32)
    high, wide = ink.shape
    ink[:, : wide // 40] = ink[:, -wide // 40 :] = 0  # the edge of the paper is no text
    gap = max(8, round(height * 0.03))
    tall = height + 2 * gap + 30
    best: tuple[float, tuple[int, int, int, int]] | None = None
    for _ in range(24):
        if high * 0.9 - tall <= high * 0.07:
            return None
        top = int(rng.uniform(high * 0.07, high * 0.9 - tall))
        band = ink[top : top + tall]
        columns = _runs(cv2.blur(band.mean(axis=0)[None], (7, 1))[0] > 0.02, join=9, least=60)
        for first in range(len(columns)):
            for last in range(first, len(columns)):
                left, right = columns[first][0] - 4, columns[last][1] + 4
                room = right - left
                if room < width * 0.97 or right > wide or left < 0:
                    continue
                if not _is_text(band[:, left:right]):
                    continue
                cost = abs(math.log(room / width)) + 0.5 * rng.random()
                if best is None or cost < best[0]:
                    best = (cost, _between_lines(ink, left, top, right, top + tall))
                break
    if best is None:
        return None
    left, top, right, _ = best[1]
    return Place(best[1], (left + right - width) / 2, top + gap)


def _is_text(ink: NDArray[np.float32]) -> bool:
    """Tell lines of type, with about a seventh of ink everywhere, from pictures and blank paper."""
    dark = cv2.boxFilter(ink, -1, (61, 61), borderType=cv2.BORDER_REFLECT)[::8, ::8]
    return bool(0.05 < dark.mean() < 0.28 and np.quantile(dark, 0.97) < 0.42)


def _runs(flags: NDArray[np.bool_], join: int, least: int) -> list[tuple[int, int]]:
    """Return where `flags` are set, [start, stop): gaps below `join` closed, runs below `least` left out."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    runs: list[tuple[int, int]] = []
    for start, stop in edges.reshape(-1, 2).tolist():
        if runs and start - runs[-1][1] < join:
            runs[-1] = (runs[-1][0], stop)
        else:
            runs.append((start, stop))
    return [run for run in runs if run[1] - run[0] >= least]


def _between_lines(ink: NDArray[np.float32], left: int, top: int, right: int, bottom: int) -> tuple[int, int, int, int]:
    """Move the upper and lower edge outwards, by a line at the most, to where there is least ink."""
    rows = ink[:, left:right].mean(axis=1)
    up, down = max(0, top - 30), min(len(rows), bottom + 30)
    return left, up + int(np.argmin(rows[up:top])), right, bottom + int(np.argmin(rows[bottom:down]))


# ---------------------------------------------------------------------------------------------- the scanner


def scanned(page: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return a page, grey or in colours, under uneven light and with the scanner's noise; uint8."""
    high, wide = page.shape[:2]
    across = np.linspace(0, 1, wide, dtype=np.float32)[:: int(rng.choice([-1, 1]))]
    along = np.linspace(-1, 1, high, dtype=np.float32)[:, None]
    light = (1 - rng.uniform(0.05, 0.4) * np.exp(-across * 22))[None] * (1 + rng.uniform(-0.08, 0.08) * along)
    noise = rng.uniform(1.5, 5) * rng.standard_normal((high, wide), np.float32)
    if page.ndim == 3:
        light, noise = light[..., None], noise[..., None]
    return np.clip(np.round(page * light + noise), 0, 255).astype(np.uint8)
