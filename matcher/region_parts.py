"""Parts of annotated pages for the network that finds regions, with things of other pages laid down on them.

Everything follows from the generator of random numbers that is given.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

from matcher.augmentation import SCALES, SHOWN, Example, View, box_of, relit, toned
from matcher.region_targets import IGNORED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from matcher.augmentation import Turns

__all__ = ["evened", "lies_on_paper", "mistaken", "part_with", "shape_of", "touch"]

_PRINTED, _MUCH = 0.6, 0.03
"""Of the lightness of paper, what type and pictures have less of; and which share of such is much around a thing."""

_PLAIN, _IN_PRINT, _NEAR, _TOLD = 20.0, 0.4, 5.0, 0.5
"""Ink shows that changes its ground by so much of 255, and by so much of the deviation within so many pixels; what is
laid down must show in such a share of its ink."""

_AT_WILL = 0.5
"""Share of what is laid down that is turned at will, where things are; the others lie as they do on their page."""

_LARGER, _STRETCHED = 1.7, 0.2
"""How many times larger or smaller what is laid down is shown; deviation of the logarithm by which it is stretched."""

_RECOLOURED, _FULL = 0.5, (0.6, 1.5)
"""Share of what is laid down that has ink of another colour; from how pale to how full ink is, of what it was."""

_UNEVEN, _ONE_SIDED, _SOFT = 0.5, 0.35, 0.3
"""Shares of what is laid down whose ink lies unevenly, that were pressed on one side only, that are not sharp."""

_GREY = 1.5
"""Of 255, how far the channels of a grey page are from their mean."""

_LAID = 0.9
"""Share of a part that a thing may span which is laid down on it."""

_HARSH = 0.4
"""Share of the parts that look as if from a far worse, or other, scanner; what is pale is not to be seen on many."""

_CELL = 4
"""Pixels for each cell of the classes."""

_NOTHING = -2
"""Kind of what was taken for a thing and is none."""

_ALIKE, _EVENED = 0.25, 0.5
"""Deviation within which shapes count as alike; share of what is drawn by how rare its shape is."""


def part_with(
    example: Example,
    rng: np.random.Generator,
    side: int,
    *,
    on: int | None,
    turns: Turns,
    mirrored: bool,
    guests: Sequence[tuple[Example, int]] = (),
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
        As of `View.drawn`; at will only guests are turned.
    guests : sequence of (Example, int)
        Things of other examples that are laid down on the part, too, where there is room: few things are then seen in
        many places (Dwibedi et al. 2017). What is `mistaken` for one is laid down as what it is, nothing.

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
        room = np.maximum(side / SCALES - (top - low), 0.3 * side) / 2
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
    for guest in guests:
        laid = _laid_down(pixels, seen, *guest, rng, turns, mirrored)
        if laid is not None:
            pixels, outlines, whole = laid
            seen.append(outlines)
            kinds.append(int(guest[0].kinds[guest[1]]))
            exact.append(whole)
    areas = [float(np.ptp(np.vstack(outlines), axis=0).prod()) for outlines in seen]
    for number in np.argsort(areas)[::-1]:
        kind = kinds[number]
        box = box_of(seen[number], exact[number], view)
        shown = np.clip(box, 0, side)
        share = float(np.prod(shown[2:] - shown[:2])) / max(float(np.prod(box[2:] - box[:2])), 1e-6)
        if share <= 0 or kind == _NOTHING:
            continue
        value = IGNORED if kind < 0 or share < SHOWN else kind + 1
        cv2.fillPoly(
            classes, [np.round(((o + 0.5) / _CELL - 0.5) * 16).astype(np.int32) for o in seen[number]], value, shift=4
        )
        if value != IGNORED:
            boxes.append([kind, *shown])
    seen_anew = toned(pixels, rng) if rng.random() < _HARSH else relit(pixels, rng)
    return seen_anew, classes, np.array(boxes, np.float32).reshape(-1, 5)


def mistaken(example: Example, box: NDArray) -> tuple[Example, int]:
    """Return an example on which is known what was taken for a thing there, and its number.

    Parameters
    ----------
    example : Example
    box : float, shape (4,)
        Left, top, right, bottom in pixels.
    """
    left, top, right, bottom = (float(value) for value in box)
    outline = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    told = Example(
        example.pixels,
        np.append(example.kinds, _NOTHING),
        (*example.outlines, (outline,)),
        np.append(example.exact, True),
    )
    return told, len(example.kinds)


def shape_of(example: Example, number: int) -> NDArray[np.float64]:
    """Return what a thing is like from afar: how much longer than broad, how much of its rectangle it fills, how long.

    Shape (3,), in steps of which each is about as much of a difference.
    """
    points = np.vstack(example.outlines[number]).astype(np.float32)
    _, sides, _ = cv2.minAreaRect(points)
    short, long_ = sorted(max(side, 1.0) for side in sides)
    filled = cv2.contourArea(cv2.convexHull(points)) / (short * long_)
    return np.array([math.log(long_ / short), 3 * filled, 0.3 * math.log(long_)])


def evened(shapes: Sequence[NDArray[np.float64] | None]) -> NDArray[np.float64]:
    """Return how likely each thing of a class is to be drawn: half by chance, half by how few are of its shape.

    Else, where nine of ten stamps are round, what is learned would be round. All are as likely if the shape of any is
    not known.
    """
    known = np.array([shape for shape in shapes if shape is not None])
    plain = np.full(len(shapes), 1 / len(shapes))
    if len(known) < len(shapes):
        return plain
    apart = ((known[:, None] - known) ** 2).sum(axis=2)
    rare = 1 / np.exp(-apart / (2 * _ALIKE**2)).sum(axis=1)
    return np.asarray((1 - _EVENED) * plain + _EVENED * rare / rare.sum())


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
    larger = min(_LARGER, _LAID * side / span)
    if larger <= 1 / _LARGER:
        return None
    scale = math.exp(rng.uniform(-math.log(_LARGER), math.log(larger)))
    stretch = math.exp(rng.normal(0, _STRETCHED))
    room = math.ceil(span * (1.5 if exact else 1.1) * scale * max(stretch, 1 / stretch))
    middle = (low + high) / 2
    about: Turns = turns if exact and (turns != "any" or rng.random() < _AT_WILL) else "slight"
    view = View.drawn(
        rng, (float(middle[0]), float(middle[1])), room, about, mirrored, (scale * stretch, scale / stretch)
    )
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
    density = _other_ink(-np.log(np.clip(cut[taken] / paper, 0.02, 1.15)), rng)
    others = [np.vstack(one) for one in seen]
    for _ in range(6):
        place = np.array([rng.uniform(0, side - size[0]), rng.uniform(0, side - size[1])]).astype(int)
        moved = place - start
        box = np.concatenate([first + moved, last + moved])
        covered = slice(place[1], place[1] + size[1]), slice(place[0], place[0] + size[0])
        ground = pixels[covered].astype(np.float32)
        grey = float(np.abs(ground - ground.mean(axis=2, keepdims=True)).mean()) < _GREY
        # On a grey scan all ink is grey.
        ink = np.exp(-(density.mean(axis=2, keepdims=True).repeat(3, 2) if grey else density))
        if not any(touch(box, one) for one in others) and _shows(ground, ink, inside[taken] > 0):
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


def _other_ink(density: NDArray, rng: np.random.Generator) -> NDArray:
    """Return ink, the logarithm of how little light of each colour it lets through, as another print of it might be."""
    high, wide = density.shape[:2]
    if rng.random() < _RECOLOURED:
        strongest = np.take_along_axis(density, np.abs(density).argmax(axis=2)[..., None], axis=2)
        hue, bright, grey = rng.uniform(0, 1), rng.uniform(0.1, 0.6), rng.uniform(0.05, 1.0)
        pure = np.clip(np.abs((hue + np.array([0, 2 / 3, 1 / 3])) % 1 * 6 - 3) - 1, 0, 1)
        lets_through = bright * (grey + (1 - grey) * pure)
        density = strongest * (np.log(lets_through) / np.log(lets_through).min())
    density = density * rng.uniform(*_FULL)
    if rng.random() < _UNEVEN:
        fine, coarse = rng.uniform(0, 0.4), rng.uniform(0, 0.5)
        clouds = fine * _cloud(rng, high, wide, 2.0) + coarse * _cloud(rng, high, wide, max(high, wide) / 2)
        density = density * np.clip(1 + clouds, 0, 2)[..., None]
    if rng.random() < _ONE_SIDED:
        angle = rng.uniform(0, 2 * math.pi)
        along = np.linspace(-1, 1, wide) * math.cos(angle) + np.linspace(-1, 1, high)[:, None] * math.sin(angle)
        density = density * np.clip(0.75 + 0.5 * along, 0.2, 1)[..., None]
    if rng.random() < _SOFT:
        density = cv2.GaussianBlur(np.asarray(density, np.float32), (0, 0), rng.uniform(0.4, 1.1))
    return np.asarray(density, np.float32)


def _cloud(rng: np.random.Generator, high: int, wide: int, size: float) -> NDArray[np.float32]:
    """Return soft noise whose patches are about `size` pixels large, of mean 0 and deviation 1."""
    small = rng.normal(0, 1, (max(2, int(high / size) + 2), max(2, int(wide / size) + 2))).astype(np.float32)
    grown = cv2.resize(small, (wide, high), interpolation=cv2.INTER_CUBIC)
    return np.asarray(grown / max(float(grown.std()), 1e-6), np.float32)


def touch(box: NDArray[np.float64], points: NDArray[np.float64]) -> bool:
    """Return whether a box (left, top, right, bottom) has a place in common with the box around points."""
    low, high = points.min(axis=0), points.max(axis=0)
    return bool((box[:2] < high).all() and (low < box[2:]).all())
