"""Parts of annotated images as another scanner, at another time, might have made them: what networks learn from.

Everything follows from the generator of random numbers that is given.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

from matcher.region_targets import IGNORED

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Example", "Turns", "View", "lies_on_paper", "part_with", "relit", "stretched", "toned"]

Turns = Literal["slight", "quarters", "any"]
"""How far things may be turned against those that are learned from: a few degrees, by right angles too, or at will."""

_SLIGHT = 4.0
"""Degrees that scans and books lie askew."""

_SCALES = 1.35
"""Things are shown up to so many times larger or smaller."""

_SHOWN = 0.6
"""Share of a thing that a part must show of it for the thing to be looked for there."""

_PRINTED, _MUCH = 0.6, 0.03
"""Of the lightness of paper, what type and pictures have less of; and which share of such is much around a thing."""

_PLAIN, _IN_PRINT, _NEAR, _TOLD = 15.0, 0.4, 5.0, 0.5
"""Ink shows that changes its ground by so much of 255, and by so much of the deviation within so many pixels; what is
laid down must show in such a share of its ink."""

_RECOLOURED, _FULL = 0.3, (0.6, 1.3)
"""Share of what is laid down that has ink of another colour; from how pale to how full ink is, of what it was."""

_LAID = 0.9
"""Share of a part that a thing may span which is laid down on it."""

_HARSH = 0.4
"""Share of the parts that look as if from a far worse, or other, scanner; what is pale is not to be seen on many."""

_CELL = 4
"""Pixels for each cell of the classes."""


@dataclass(frozen=True, slots=True)
class Example:
    """An annotated image at the size at which it is learned from.

    Attributes
    ----------
    pixels : uint8, shape (h, w, 3)
        RGB.
    kinds : int64, shape (n,)
        The kind of each thing on it, from 0; -1 where it is not to be learned whether there is any.
    outlines : tuple of tuple of float64, shape (k, 2)
        Of each thing its polygons in pixels, parts and holes, as of `matcher.detection.Detection`.
    exact : bool, shape (n,)
        Whether the outline is that of the thing, not of its box.
    """

    pixels: NDArray[np.uint8]
    kinds: NDArray[np.int64]
    outlines: tuple[tuple[NDArray[np.float64], ...], ...]
    exact: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class View:
    """Where a part lies on its image: which affine map brings the image onto it, and how it is turned.

    Attributes
    ----------
    matrix : float64, shape (2, 3)
    right_angled : float
        Degrees by which it is turned beyond right angles: as far as boxes without outlines cannot follow.
    """

    matrix: NDArray[np.float64]
    right_angled: float

    @classmethod
    def drawn(
        cls, rng: np.random.Generator, centre: tuple[float, float], side: int, turns: Turns, mirrored: bool
    ) -> View:
        """Draw a view of `side` × `side` pixels around a place on an image."""
        scale = math.exp(rng.uniform(-1, 1) * math.log(_SCALES))
        askew = float(rng.normal(0, _SLIGHT / 2))
        angle = askew
        if turns == "quarters":
            angle += 90 * int(rng.integers(4))
        elif turns == "any":
            angle = askew = float(rng.uniform(0, 360))
        turn = np.radians(angle)
        matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        if mirrored and rng.random() < 0.5:
            matrix = matrix @ np.diag([-1.0, 1.0])
        offset = (side - 1) / 2 - matrix @ np.array(centre)
        return cls(np.column_stack([matrix, offset]), askew)

    def pixels(self, image: NDArray, side: int, border: int = 0, *, nearest: bool = False) -> NDArray:
        """Return what is seen of an image; of what lies beside it `border`."""
        how = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
        seen = cv2.warpAffine(
            image, self.matrix, (side, side), flags=how, borderMode=cv2.BORDER_CONSTANT, borderValue=[border] * 3
        )
        return np.asarray(seen)

    def points(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map points of the image onto the part, shape (n, 2)."""
        return np.asarray(points @ self.matrix[:, :2].T + self.matrix[:, 2])


def part_with(
    example: Example,
    rng: np.random.Generator,
    side: int,
    *,
    on: int | None,
    turns: Turns,
    mirrored: bool,
    guest: tuple[Example, int] | None = None,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32]]:
    """Draw a part of an example, with what is to be learned of it.

    Parameters
    ----------
    example : Example
    rng : Generator
    side : int
        Pixels of the sides of the part.
    on : int or None
        The thing that is to be seen on it; None: any place.
    turns, mirrored
        As of `View.drawn`; at will only the guest is turned.
    guest : (Example, int), optional
        A thing of another example that is laid down on the part, too, if there is room: few things are then seen in
        many places (Dwibedi et al. 2017).

    Returns
    -------
    uint8, shape (side, side, 3)
    uint8, shape (side / 4, side / 4)
        Of each cell its kind, from 1, 0 for none, `IGNORED` where that is not known.
    float32, shape (n, 5)
        Kind, from 0, left, top, right, bottom in pixels, of what is shown well enough.
    """
    high, wide = example.pixels.shape[:2]
    if on is None:
        centre = np.array([rng.uniform(0, wide), rng.uniform(0, high)])
    else:
        points = np.vstack(example.outlines[on])
        low, top = points.min(axis=0), points.max(axis=0)
        # Anywhere on the part that leaves it whole; what is larger than the part shows any piece of itself.
        room = np.maximum(side / _SCALES - (top - low), 0.3 * side) / 2
        centre = np.clip((low + top) / 2 + rng.uniform(-1, 1, 2) * room, 0, [wide, high])
    # Pages stay nearly upright where things are turned at will: they are when they are looked at.
    about: Turns = "slight" if turns == "any" else turns
    view = View.drawn(rng, (float(centre[0]), float(centre[1])), side, about, mirrored)
    pixels = np.asarray(view.pixels(example.pixels, side), np.uint8)
    cells = side // _CELL
    classes = np.zeros((cells, cells), np.uint8)
    boxes = []
    seen = [[view.points(outline) for outline in outlines] for outlines in example.outlines]
    kinds = example.kinds.tolist()
    exact = example.exact.tolist()
    if guest is not None:
        laid = _laid_down(pixels, seen, *guest, rng, turns, mirrored)
        if laid is not None:
            pixels, outlines, whole = laid
            seen.append(outlines)
            kinds.append(int(guest[0].kinds[guest[1]]))
            exact.append(whole)
    areas = [float(np.ptp(np.vstack(outlines), axis=0).prod()) for outlines in seen]
    for number in np.argsort(areas)[::-1]:
        kind = kinds[number]
        box = _box(seen[number], exact[number], view)
        shown = np.clip(box, 0, side)
        share = float(np.prod(shown[2:] - shown[:2])) / max(float(np.prod(box[2:] - box[:2])), 1e-6)
        if share <= 0:
            continue
        value = IGNORED if kind < 0 or share < _SHOWN else kind + 1
        cv2.fillPoly(
            classes, [np.round(((o + 0.5) / _CELL - 0.5) * 16).astype(np.int32) for o in seen[number]], value, shift=4
        )
        if value != IGNORED:
            boxes.append([kind, *shown])
    seen_anew = toned(pixels, rng) if rng.random() < _HARSH else relit(pixels, rng)
    return seen_anew, classes, np.array(boxes, np.float32).reshape(-1, 5)


def stretched(
    example: Example, rng: np.random.Generator, side: int, mirrored: bool
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Draw most of an example stretched to a square, for networks that look at whole images.

    Returns
    -------
    uint8, shape (side, side, 3)
    float32, shape (n, 5)
        Kind, from 0, left, top, right, bottom in pixels, of what is shown well enough.
    """
    high, wide = example.pixels.shape[:2]
    shown = np.array([wide, high]) * rng.uniform(0.7, 1.0, 2)
    corner = rng.uniform(0, 1, 2) * (np.array([wide, high]) - shown)
    scale = side / shown
    flip = mirrored and rng.random() < 0.5
    matrix = np.array([[scale[0], 0, -corner[0] * scale[0]], [0, scale[1], -corner[1] * scale[1]]])
    if flip:
        matrix[0] = [-matrix[0, 0], 0, side - 1 - matrix[0, 2]]
    view = View(matrix, 0.0)
    boxes = []
    for kind, outlines in zip(example.kinds.tolist(), example.outlines, strict=True):
        box = _box([view.points(outline) for outline in outlines], True, view)
        cut = np.clip(box, 0, side)
        share = float(np.prod(cut[2:] - cut[:2])) / max(float(np.prod(box[2:] - box[:2])), 1e-6)
        if kind >= 0 and share >= _SHOWN:
            boxes.append([kind, *cut])
    pixels = np.asarray(view.pixels(example.pixels, side), np.uint8)
    return toned(pixels, rng), np.array(boxes, np.float32).reshape(-1, 5)


def lies_on_paper(example: Example, number: int) -> bool:
    """Return whether there is hardly any type or picture around a thing: then none is likely to be under it."""
    points = np.vstack(example.outlines[number])
    high, wide = example.pixels.shape[:2]
    wider = 12
    low = np.clip(np.floor(points.min(axis=0)) - wider, 0, [wide, high]).astype(int)
    top = np.clip(np.ceil(points.max(axis=0)) + wider + 1, 0, [wide, high]).astype(int)
    if (top <= low).any():
        return False
    part = example.pixels[low[1] : top[1], low[0] : top[0]].max(axis=2)
    inside = np.zeros(part.shape, np.uint8)
    cv2.fillPoly(inside, [np.round(outline - low).astype(np.int32) for outline in example.outlines[number]], 1)
    around = part[cv2.dilate(inside, np.ones((5, 5), np.uint8)) == 0]
    return bool(around.size) and float((around < _PRINTED * np.percentile(around, 60)).mean()) < _MUCH


def _laid_down(
    pixels: NDArray[np.uint8],
    seen: list[list[NDArray[np.float64]]],
    example: Example,
    number: int,
    rng: np.random.Generator,
    turns: Turns,
    mirrored: bool,
) -> tuple[NDArray[np.uint8], list[NDArray[np.float64]], bool] | None:
    """Lay a thing of an example on a part, beside what is there; None if it is too large or there is no room.

    As much of it as is darker, or lighter, than what is usual around it is taken along: that is ink on the one paper as
    on the other. What it was printed over would be, too, so that only what `lies_on_paper` is fit for it. A thing
    without outline is laid down straight, as its box would otherwise say too much.
    """
    side = len(pixels)
    points = np.vstack(example.outlines[number])
    low, high = points.min(axis=0), points.max(axis=0)
    exact = bool(example.exact[number])
    margin = 4
    span = float((high - low).max()) + 2 * margin
    room = math.ceil(span * (1.5 if exact else 1.1) * _SCALES)
    middle = (low + high) / 2
    view = View.drawn(rng, (float(middle[0]), float(middle[1])), room, turns if exact else "slight", mirrored)
    outlines = [view.points(outline) for outline in example.outlines[number]]
    cut = view.pixels(example.pixels, room, 255).astype(np.float32)
    inside = np.zeros((room, room), np.uint8)
    cv2.fillPoly(inside, [np.round(outline).astype(np.int32) for outline in outlines], 255)
    soft = cv2.GaussianBlur(cv2.dilate(inside, np.ones((5, 5), np.uint8)), (0, 0), 1.5).astype(np.float32) / 255
    around = (cv2.dilate(inside, np.ones((15, 15), np.uint8)) > 0) & (inside == 0)
    paper = np.percentile(cut[around], 60, axis=0).clip(40, 255)
    corners = np.vstack(outlines)
    first, last = corners.min(axis=0), corners.max(axis=0)
    start = np.clip(np.floor(first) - margin, 0, room).astype(int)
    size = np.clip(np.ceil(last) + margin + 1, 0, room).astype(int) - start
    if size.max() > _LAID * side:
        return None
    taken = slice(start[1], start[1] + size[1]), slice(start[0], start[0] + size[0])
    ink = _other_ink(np.clip(cut[taken] / paper, 0, 1.15), rng)
    others = [np.vstack(one) for one in seen]
    for _ in range(6):
        place = np.array([rng.uniform(0, side - size[0]), rng.uniform(0, side - size[1])]).astype(int)
        moved = place - start
        box = np.concatenate([first + moved, last + moved])
        covered = slice(place[1], place[1] + size[1]), slice(place[0], place[0] + size[0])
        ground = pixels[covered].astype(np.float32)
        if not any(_touch(box, one) for one in others) and _shows(ground, ink, inside[taken] > 0):
            break
    else:
        return None
    alpha = soft[taken][..., None]
    merged = pixels.copy()
    merged[covered] = np.clip(ground * (1 - alpha + ink * alpha) + 0.5, 0, 255).astype(np.uint8)
    return merged, [outline + moved for outline in outlines], exact


def _shows(ground: NDArray[np.float32], ink: NDArray[np.float32], within: NDArray[np.bool_]) -> bool:
    """Return whether ink shows on its ground: not on the black beside a page, nor pale among type."""
    strength = np.abs(1 - ink).max(axis=2)
    strokes = within & (strength >= 0.5 * np.percentile(strength[within], 90)) if within.any() else within
    if not strokes.any():
        return False
    change = (ground * np.abs(1 - ink)).max(axis=2)
    grey = ground.mean(axis=2)
    mean = cv2.GaussianBlur(grey, (0, 0), _NEAR)
    deviation = np.sqrt(np.maximum(cv2.GaussianBlur(grey * grey, (0, 0), _NEAR) - mean * mean, 0))
    return bool((change >= np.maximum(_PLAIN, _IN_PRINT * deviation))[strokes].mean() >= _TOLD)


def _other_ink(ink: NDArray, rng: np.random.Generator) -> NDArray:
    """Return ink, how much light of each colour it lets through, paler or fuller, and sometimes of another colour."""
    if rng.random() < _RECOLOURED:
        ink = ink[..., rng.permutation(3)] if rng.random() < 0.7 else np.repeat(ink.mean(axis=2, keepdims=True), 3, 2)
    return np.asarray(ink ** rng.uniform(*_FULL), np.float32)


def _touch(box: NDArray[np.float64], points: NDArray[np.float64]) -> bool:
    low, high = points.min(axis=0), points.max(axis=0)
    return bool((box[:2] < high).all() and (low < box[2:]).all())


def _box(outlines: list[NDArray[np.float64]], exact: bool, view: View) -> NDArray[np.float64]:
    """Return left, top, right, bottom of the box around outlines on a part.

    Of a turned box that is all that is known of a thing, the corners say too much: what is in it hardly ever reaches
    them. So the box is taken to turn about its middle without growing.
    """
    points = np.vstack(outlines)
    low, high = points.min(axis=0), points.max(axis=0)
    if not exact:
        turn = np.radians(abs((view.right_angled + 45) % 90 - 45))
        middle, half = (low + high) / 2, (high - low) / 2
        c, s = np.cos(turn), np.sin(turn)
        # The half sides a, b that became (a c + b s, a s + b c); near 45 degrees that tells nothing of them.
        if c * c - s * s > 0.3:
            half = np.maximum(np.array([[c, -s], [-s, c]]) @ half / (c * c - s * s), 0.5)
        low, high = middle - half, middle + half
    return np.concatenate([low, high])


def relit(pixels: NDArray[np.uint8], rng: np.random.Generator, swapped: float = 0.0) -> NDArray[np.uint8]:
    """Return an image in other light, with a little grain; its channels exchanged in a share of `swapped`."""
    values: NDArray = pixels.astype(np.float32) / 255
    chance = rng.random()
    if chance < 0.2:
        values = _greyed(values)
    elif chance < 0.2 + swapped:
        values = values[..., rng.permutation(3)]
    values = np.clip(_contrasted(values, rng), 0, 1) * rng.uniform(0.88, 1.08, 3).astype(np.float32)
    values = np.clip(values, 0, 1) ** np.float32(math.exp(rng.uniform(-0.3, 0.3)))
    if rng.random() < 0.3:
        values = values + rng.normal(0, rng.uniform(0.003, 0.02), (*values.shape[:2], 1)).astype(np.float32)
    return np.asarray(np.clip(values * 255 + 0.5, 0, 255), np.uint8)


def _greyed(values: NDArray) -> NDArray:
    return np.repeat(values @ np.array([[0.299], [0.587], [0.114]], np.float32), 3, axis=2)


def _contrasted(values: NDArray, rng: np.random.Generator) -> NDArray:
    middle, contrast, light = float(values.mean()), rng.uniform(0.7, 1.25), rng.uniform(-0.1, 0.1)
    return np.asarray((values - middle) * contrast + middle + light, np.float32)


def toned(pixels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return an image as another scanner might have seen it: light, paper, colour, sharpness, grain, compression."""
    high, wide = pixels.shape[:2]
    values: NDArray = pixels.astype(np.float32) / 255
    if rng.random() < 0.2:
        values = _greyed(values)
    else:
        values *= rng.uniform(0.88, 1.08, 3).astype(np.float32)  # paper and lamps
    if rng.random() < 0.4:  # light that falls from one side
        slope = rng.uniform(-0.2, 0.2, 2)
        ramp = slope[0] * np.linspace(-1, 1, high)[:, None] + slope[1] * np.linspace(-1, 1, wide)
        values *= (1 + ramp[..., None]).astype(np.float32)
    values = np.clip(_contrasted(values, rng), 0, 1)
    values **= math.exp(rng.uniform(-0.3, 0.3))
    chance = rng.random()
    if chance < 0.3:
        values = np.asarray(cv2.GaussianBlur(values, (0, 0), rng.uniform(0.4, 1.3)), np.float32)
    elif chance < 0.5:
        values += rng.uniform(0.3, 1.2) * (values - np.asarray(cv2.GaussianBlur(values, (0, 0), 1.5), np.float32))
    if rng.random() < 0.4:
        values += rng.normal(0, rng.uniform(0.005, 0.04), (high, wide, 1)).astype(np.float32)
    made = np.clip(values * 255 + 0.5, 0, 255).astype(np.uint8)
    if rng.random() < 0.4:
        _, packed = cv2.imencode(".jpg", made, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 90))])
        made = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)
    return made
