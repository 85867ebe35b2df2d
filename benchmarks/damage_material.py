"""Stamps on pages and cracks in pictures, drawn by rule from a seed: what detectors and damage maps are measured on.

Stamps are printed as clerks do, in any ink, anywhere, at any angle, on type and pictures, too faint here and too wet
there; beside them lie blots and strokes of the same inks, which are none. Cracks branch, open and close, and are now
darker, now hardly darker than what they run through; scratches and hairs lie about that are none.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Stamped", "cracked", "stamped"]

_FINE = 3
"""Stamps are drawn so many times larger than they are printed."""

_INKED, _LEGIBLE = 0.3, 0.12
"""Share of ink of what counts as stamp, and by how much that must darken the page, from 0 to 1, to be seen."""

_PLAIN, _IN_PRINT, _READ = 0.08, 0.5, 0.5
"""Ink is seen that changes the page by so much, and by so much of the deviation around it; a stamp, by such a share."""

_SEEN, _IN_GRAIN = 12 / 255, 1.0
"""A crack that changes the picture by less, or by less of the deviation around it, is none that anybody could mark."""

_AROUND = 24
"""Pixels around a stamp that tell how hard it is to see."""

_INKS = ((150, 40, 35), (35, 50, 130), (40, 35, 40), (90, 40, 110), (30, 95, 70), (110, 60, 30))
_LETTERS = "ABCDEFGHILMNOPRSTUV"


class Stamped(NamedTuple):
    """A page with stamps: RGB; of each stamp the mask of its outline, and left, top, right, bottom in pixels."""

    pixels: NDArray[np.uint8]
    masks: list[NDArray[np.bool_]]
    boxes: list[tuple[int, int, int, int]]


def stamped(page: NDArray[np.uint8], rng: np.random.Generator, many: int) -> Stamped:
    """Return a page with so many stamps on it, and with blots and strokes that are none.

    Parameters
    ----------
    page : uint8, shape (h, w, 3)
    rng : numpy.random.Generator
    many : int
    """
    high, wide = page.shape[:2]
    pixels = page.astype(np.float32) / 255
    for _ in range(int(rng.integers(0, 4))):
        pixels = _printed(pixels, _stray(rng, wide, high), rng)
    masks: list[NDArray[np.bool_]] = []
    boxes: list[tuple[int, int, int, int]] = []
    for _ in range(many):
        for _ in range(20):
            side = int(max(wide, high) * math.exp(rng.uniform(math.log(0.06), math.log(0.18))))
            ink = _turned(_stamp(rng, side), rng)
            rows, columns = np.flatnonzero(ink.max(axis=1) > _INKED), np.flatnonzero(ink.max(axis=0) > _INKED)
            ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            tall, broad = ink.shape
            if tall >= high or broad >= wide:
                continue
            x, y = int(rng.integers(0, wide - broad)), int(rng.integers(0, high - tall))
            if any(x < box[2] and box[0] < x + broad and y < box[3] and box[1] < y + tall for box in boxes):
                continue
            sheet = np.zeros((high, wide), np.float32)
            sheet[y : y + tall, x : x + broad] = ink
            printed = _printed(pixels, sheet, rng)
            near = np.s_[max(0, y - _AROUND) : y + tall + _AROUND, max(0, x - _AROUND) : x + broad + _AROUND]
            if not _legible(pixels[near], printed[near], sheet[near] > _INKED):
                continue
            pixels = printed
            masks.append(_hull(sheet > _INKED))
            boxes.append((x, y, x + broad, y + tall))
            break
    return Stamped(np.clip(pixels * 255 + 0.5, 0, 255).astype(np.uint8), masks, boxes)


def _legible(before: NDArray[np.float32], after: NDArray[np.float32], ink: NDArray[np.bool_]) -> bool:
    """Return whether a person would see a stamp: not on the black around a book, nor pale among black type."""
    change = np.abs(after - before).max(axis=2)
    grey = before.mean(axis=2)
    spread = _AROUND / 3
    mean = cv2.GaussianBlur(grey, (0, 0), spread)
    deviation = np.sqrt(np.maximum(cv2.GaussianBlur(grey * grey, (0, 0), spread) - mean * mean, 0))
    seen = change >= np.maximum(_PLAIN, _IN_PRINT * deviation)
    return bool(change[ink].mean() >= _LEGIBLE and seen[ink].mean() >= _READ)


def _hull(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    points = np.argwhere(mask)[:, ::-1].astype(np.int32)
    hull = np.zeros(mask.shape, np.uint8)
    cv2.fillConvexPoly(hull, cv2.convexHull(points), 1)
    return hull.astype(bool)


def _words(rng: np.random.Generator, letters: int) -> str:
    words = ""
    while len(words) < letters:
        words += "".join(rng.choice(list(_LETTERS), int(rng.integers(2, 9)))) + rng.choice([" ", " · ", ". "])
    return words.strip()


def _stamp(rng: np.random.Generator, side: int) -> NDArray[np.float32]:
    """Return the ink of a stamp of about `side` pixels, 0 to 1."""
    size = side * _FINE
    kind = rng.choice(["round", "oval", "frame", "words"], p=[0.45, 0.25, 0.2, 0.1])
    wide, high = size, size
    if kind == "oval":
        high = int(size * rng.uniform(0.55, 0.8))
    elif kind in ("frame", "words"):
        high = int(size * rng.uniform(0.25, 0.6))
    sheet = Image.new("L", (wide, high), 0)
    pen = ImageDraw.Draw(sheet)
    thick = max(2, int(size * rng.uniform(0.012, 0.03)))
    if kind in ("round", "oval"):
        pen.ellipse((0, 0, wide - 1, high - 1), outline=255, width=thick)
        band = int(min(wide, high) * rng.uniform(0.16, 0.24))
        if rng.random() < 0.7:
            pen.ellipse((band, band, wide - 1 - band, high - 1 - band), outline=255, width=max(2, thick // 2))
        _around(sheet, _words(rng, int(rng.integers(12, 26))), band, rng)
        inner = (wide - 2.4 * band, high - 2.4 * band)
        _within(sheet, _words(rng, int(rng.integers(2, 12))), inner, int(rng.integers(1, 4)))
        if rng.random() < 0.25:
            pen.line((band, high // 2, wide - band, high // 2), fill=255, width=max(2, thick // 2))
    else:
        if kind == "frame":
            pen.rectangle((0, 0, wide - 1, high - 1), outline=255, width=thick)
            if rng.random() < 0.4:
                pen.rectangle((2 * thick, 2 * thick, wide - 1 - 2 * thick, high - 1 - 2 * thick), outline=255, width=2)
        _within(sheet, _words(rng, int(rng.integers(5, 22))), (wide * 0.88, high * 0.8), int(rng.integers(1, 4)))
    small = cv2.resize(np.asarray(sheet), (max(4, wide // _FINE), max(4, high // _FINE)), interpolation=cv2.INTER_AREA)
    return small.astype(np.float32) / 255


def _around(sheet: Image.Image, words: str, band: int, rng: np.random.Generator) -> None:
    """Write along the edge of an oval, inside."""
    wide, high = sheet.size
    font = ImageFont.load_default(max(8, int(band * 0.62)))
    span = 2 * math.pi * rng.uniform(0.7, 0.95)
    first = rng.uniform(0, 2 * math.pi)
    cell = int(band * 1.2)
    for number, letter in enumerate(words):
        angle = first + span * number / len(words)
        glyph = Image.new("L", (cell, cell), 0)
        ImageDraw.Draw(glyph).text((cell / 2, cell / 2), letter, fill=255, font=font, anchor="mm")
        x = wide / 2 + (wide / 2 - band * 0.52) * math.sin(angle)
        y = high / 2 - (high / 2 - band * 0.52) * math.cos(angle)
        glyph = glyph.rotate(-math.degrees(angle), Image.Resampling.BICUBIC)
        sheet.paste(255, (int(x - cell / 2), int(y - cell / 2)), glyph)


def _within(sheet: Image.Image, words: str, room: tuple[float, float], lines: int) -> None:
    """Write a few lines into the middle."""
    parts = [words[len(words) * i // lines : len(words) * (i + 1) // lines].strip() or "N" for i in range(lines)]
    pen = ImageDraw.Draw(sheet)
    size = max(6, int(room[1] / lines * 0.8))
    longest = max(pen.textlength(part, ImageFont.load_default(size)) for part in parts)
    font = ImageFont.load_default(max(6, int(size * min(1.0, room[0] / max(longest, 1)))))
    for number, part in enumerate(parts):
        y = sheet.height / 2 + room[1] * ((number + 0.5) / lines - 0.5)
        pen.text((sheet.width / 2, y), part, fill=255, font=font, anchor="mm")


def _turned(ink: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Turn a stamp as hands do: mostly a little, sometimes at will."""
    angle = rng.normal(0, 12) if rng.random() < 0.7 else rng.uniform(0, 360)
    high, wide = ink.shape
    room = math.ceil(math.hypot(wide, high)) + 4
    turn = cv2.getRotationMatrix2D((wide / 2, high / 2), float(angle), 1)
    turn[:, 2] += [(room - wide) / 2, (room - high) / 2]
    return np.asarray(cv2.warpAffine(ink, turn, (room, room), flags=cv2.INTER_LINEAR), np.float32)


def _cloud(rng: np.random.Generator, shape: tuple[int, int], size: float) -> NDArray[np.float32]:
    """Return soft noise whose patches are `size` pixels large, mean 0, deviation 1."""
    small = max(2, int(shape[0] / size) + 2), max(2, int(shape[1] / size) + 2)
    grown = cv2.resize(rng.normal(0, 1, small).astype(np.float32), shape[::-1], interpolation=cv2.INTER_CUBIC)
    return np.asarray(grown / max(float(grown.std()), 1e-6), np.float32)


def _printed(pixels: NDArray[np.float32], ink: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Print ink onto a page: too little of it here, too much there, the paper's grain showing."""
    shape = ink.shape
    extent = float(np.sqrt((ink > 0.2).sum()) + 8)
    strength = rng.uniform(0.5, 1.0)
    cover = np.clip(ink * strength * (1 + 0.25 * _cloud(rng, shape, 2.0) + 0.3 * _cloud(rng, shape, extent)), 0, 1)
    if rng.random() < 0.35:  # pressed on one side only
        angle = rng.uniform(0, 2 * math.pi)
        y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
        where = np.argwhere(ink > 0.2)
        middle = where.mean(axis=0) if len(where) else np.zeros(2)
        slope = ((x - middle[1]) * math.cos(angle) + (y - middle[0]) * math.sin(angle)) / extent
        cover = cover * np.clip(0.75 + 0.6 * slope, 0.4, 1)
    cover = cv2.GaussianBlur(cover, (0, 0), float(rng.uniform(0.3, 1.0)))
    colour = np.clip(np.array(_INKS[int(rng.integers(len(_INKS)))]) / 255 + rng.normal(0, 0.05, 3), 0, 1)
    if pixels.std(axis=2).mean() < 0.004:  # a grey scan has grey stamps
        colour = np.full(3, colour.mean())
    return np.asarray(pixels * (1 - cover[..., None] * (1 - colour)), np.float32)


def _stray(rng: np.random.Generator, wide: int, high: int) -> NDArray[np.float32]:
    """Return the ink of a blot, a stroke of the pen, or a ring left by a cup."""
    sheet = np.zeros((high, wide), np.uint8)
    centre = int(rng.integers(wide)), int(rng.integers(high))
    size = max(wide, high) * rng.uniform(0.015, 0.1)
    kind = rng.random()
    if kind < 0.4:
        angles = np.linspace(0, 2 * math.pi, 40, endpoint=False)
        radii = size / 2 * (1 + 0.35 * np.cumsum(rng.normal(0, 0.2, 40)))
        points = np.array(centre) + np.column_stack([np.cos(angles), np.sin(angles)]) * np.abs(radii)[:, None]
        cv2.fillPoly(sheet, [points.astype(np.int32)], 255, cv2.LINE_AA)
    elif kind < 0.8:
        points = np.cumsum(rng.normal(0, size / 5, (int(rng.integers(6, 30)), 2)), axis=0) + centre
        cv2.polylines(sheet, [points.astype(np.int32)], False, 255, int(rng.integers(1, 4)), cv2.LINE_AA)
    else:
        radius = int(size)
        cv2.circle(sheet, centre, radius, 255, max(2, radius // 9), cv2.LINE_AA)
        return np.asarray(cv2.GaussianBlur(sheet, (0, 0), max(1.0, radius / 18)).astype(np.float32) / 400)
    return sheet.astype(np.float32) / 255


def cracked(picture: NDArray[np.uint8], rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return a picture with cracks, and the mask of these, 0 or 1: what no eye could see is not in it.

    Parameters
    ----------
    picture : uint8, shape (h, w, 3)
    rng : numpy.random.Generator
    """
    high, wide = picture.shape[:2]
    pixels = picture.astype(np.float32) / 255
    for _ in range(int(rng.integers(0, 5))):  # scratches, light and straight, and hairs, thin and round
        path = _hair(rng, wide, high)
        line = _drawn([path], [np.full(len(path), rng.uniform(0.6, 1.6))], (high, wide))
        pixels = pixels + (rng.uniform(-0.25, 0.35) * line)[..., None]
    paths, widths = _branches(rng, wide, high)
    cover = _drawn(paths, widths, (high, wide))
    light = cv2.GaussianBlur(pixels, (0, 0), 6.0)
    depth = np.clip(rng.uniform(0.5, 0.95) * (1 + 0.3 * _cloud(rng, (high, wide), max(wide, high) / 6)), 0.2, 1)
    dark = light * rng.uniform(0.1, 0.5) * np.clip(rng.normal(1, 0.1, 3), 0.7, 1.3)
    if rng.random() < 0.08:  # ground that shows through, lighter than the paint
        dark = np.clip(light * 0.4 + rng.uniform(0.5, 0.7), 0, 1)
    alpha = (cover * depth)[..., None]
    change = alpha * (dark - pixels)
    grain = cv2.GaussianBlur((pixels - light) ** 2, (0, 0), 4.0).mean(axis=2) ** 0.5
    seen = np.abs(change).max(axis=2) >= np.maximum(_SEEN, _IN_GRAIN * grain)
    # What would not be seen is not there: closed, as cracks are for a while. Edges of what is seen stay soft.
    open_ = cv2.dilate((seen & (cover >= 0.5)).astype(np.uint8), np.ones((3, 3), np.uint8))
    pixels = pixels + change * open_[..., None]
    if rng.random() < 0.4:  # edges that stand up and catch the light
        shift = rng.integers(1, 3, 2) * rng.choice([-1, 1], 2)
        edge = np.roll(cover * open_, tuple(int(s) for s in shift), (0, 1)) * (1 - cover)
        pixels = pixels + (rng.uniform(0.05, 0.18) * edge)[..., None]
    pixels = cv2.GaussianBlur(pixels, (0, 0), float(rng.uniform(0.3, 0.7)))
    pixels = pixels + rng.normal(0, rng.uniform(0.004, 0.02), (high, wide, 1))
    mask = ((cover >= 0.5) & (open_ > 0)).astype(np.uint8)
    made = np.clip(pixels * 255 + 0.5, 0, 255).astype(np.uint8)
    _, packed = cv2.imencode(".jpg", made, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(60, 95))])
    return np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8), mask


def _hair(rng: np.random.Generator, wide: int, high: int) -> NDArray[np.float64]:
    start = np.array([rng.uniform(0, wide), rng.uniform(0, high)])
    bend = 0.0 if rng.random() < 0.5 else rng.uniform(-0.04, 0.04)
    angles = rng.uniform(0, 2 * math.pi) + bend * np.arange(int(rng.integers(15, 70)))
    return np.asarray(start + np.cumsum(4 * np.column_stack([np.cos(angles), np.sin(angles)]), axis=0))


def _branches(
    rng: np.random.Generator, wide: int, high: int
) -> tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]]:
    """Return the paths of cracks that wander and branch, and their widths along them."""
    paths: list[NDArray[np.float64]] = []
    widths: list[NDArray[np.float64]] = []
    side = max(wide, high)
    grain = rng.uniform(0, math.pi)  # paint cracks along and across its canvas or panel
    waiting = []
    for _ in range(int(rng.integers(3, 9))):
        angle = grain + (math.pi / 2 if rng.random() < 0.4 else 0) + rng.normal(0, 0.35)
        waiting.append(
            (rng.uniform(0, wide), rng.uniform(0, high), angle, side * rng.uniform(0.2, 0.9), rng.uniform(2.5, 8), 0)
        )
    while waiting and len(paths) < 70:
        x, y, angle, length, width, depth = waiting.pop(0)
        steps = max(4, int(length / 4))
        turns = np.cumsum(rng.normal(0, 0.16, steps)) + 0.5 * np.sin(np.cumsum(rng.normal(0, 0.12, steps)))
        angles = angle + turns
        points = np.array([x, y]) + np.cumsum(4 * np.column_stack([np.cos(angles), np.sin(angles)]), axis=0)
        along = np.linspace(0, 1, steps)
        swelling = 1 + 0.35 * np.sin(np.cumsum(rng.normal(0, 0.25, steps)))
        broad = np.clip(width * swelling * (1 - 0.75 * along), 0.0, None)
        broad[broad < 1.5] = 1.5
        if rng.random() < 0.3:  # closed for a while
            gap = int(rng.integers(0, steps))
            broad[gap : gap + steps // 8] = 0
        paths.append(points)
        widths.append(broad)
        if depth < 2:
            for place in rng.integers(2, steps, int(rng.poisson(length / side * 6))):
                side_angle = angles[place] + rng.choice([-1, 1]) * rng.uniform(0.5, 1.5)
                px, py = points[place]
                waiting.append((px, py, side_angle, length * rng.uniform(0.1, 0.5), max(1.8, width * 0.65), depth + 1))
    return paths, widths


def _drawn(paths: list[NDArray], widths: list[NDArray], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Draw paths of varying width, each pixel by how much of it they cover."""
    fine = 4
    sheet = np.zeros((shape[0] * fine, shape[1] * fine), np.uint8)
    for path, width in zip(paths, widths, strict=True):
        places = np.round(path * fine).astype(np.int32)
        for start, stop, broad in zip(places, places[1:], width[1:], strict=False):
            if broad > 0:
                cv2.line(sheet, start.tolist(), stop.tolist(), 255, max(1, round(broad * fine)))
    return np.asarray(cv2.resize(sheet, shape[::-1], interpolation=cv2.INTER_AREA).astype(np.float32) / 255)
