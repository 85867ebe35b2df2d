"""Parts of annotated images as another scanner, at another time, might have made them: what networks learn from.

Everything follows from the generator of random numbers that is given.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SCALES", "SHOWN", "Example", "Turns", "View", "box_of", "relit", "stretched", "toned"]

Turns = Literal["slight", "quarters", "any"]
"""How far things may be turned against those that are learned from: a few degrees, by right angles too, or at will."""

_SLIGHT = 4.0
"""Degrees that scans and books lie askew."""

SCALES = 1.35
"""Things are shown up to so many times larger or smaller."""

SHOWN = 0.6
"""Share of a thing that a part must show of it for the thing to be looked for there."""


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
        cls,
        rng: np.random.Generator,
        centre: tuple[float, float],
        side: int,
        turns: Turns,
        mirrored: bool,
        scales: tuple[float, float] | None = None,
    ) -> View:
        """Draw a view of `side` × `side` pixels around a place on an image, `scales` as wide and high as that is."""
        if scales is None:
            scales = (math.exp(rng.uniform(-1, 1) * math.log(SCALES)),) * 2
        askew = float(rng.normal(0, _SLIGHT / 2))
        angle = askew
        if turns == "quarters":
            angle += 90 * int(rng.integers(4))
        elif turns == "any":
            angle = askew = float(rng.uniform(0, 360))
        turn = np.radians(angle)
        matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) * scales
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
        box = box_of([view.points(outline) for outline in outlines], True, view)
        cut = np.clip(box, 0, side)
        share = float(np.prod(cut[2:] - cut[:2])) / max(float(np.prod(box[2:] - box[:2])), 1e-6)
        if kind >= 0 and share >= SHOWN:
            boxes.append([kind, *cut])
    pixels = np.asarray(view.pixels(example.pixels, side), np.uint8)
    return toned(pixels, rng), np.array(boxes, np.float32).reshape(-1, 5)


def box_of(outlines: list[NDArray[np.float64]], exact: bool, view: View) -> NDArray[np.float64]:
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
