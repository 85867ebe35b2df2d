"""Parts of painted images to learn from: each pixel with its class, damage of one image laid on another, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from matcher.augmentation import View, relit
from matcher.region_targets import IGNORED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from matcher.augmentation import Turns

__all__ = ["damage_laid_on", "masked_part"]

_SWAPPED = 0.4
"""Share of the parts with other colours: cracks and losses are the same in paint of any."""

_REDRAWN = 0.15
"""Share of the parts that are turned at will, larger or smaller."""

_AROUND = 6.0
"""Deviation, in pixels, of what is taken for the paint around damage."""

_SEEN, _IN_GRAIN = 10 / 255, 0.8
"""Damage that changes what it is laid on by less, or by less of the deviation around it, cannot be seen there."""


def masked_part(
    pixels: NDArray[np.uint8],
    mask: NDArray[np.uint8],
    rng: np.random.Generator,
    side: int,
    *,
    centre: tuple[float, float],
    turns: Turns,
    mirrored: bool,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw a part of an image around a place, with the classes of its pixels; what lies beside it is `IGNORED`.

    Most parts are pixels as they are, turned by right angles at most: what is one pixel broad is no longer where its
    mask has it when both are drawn anew, and how sharp it is tells it from what is in the picture. The others are as of
    `View.drawn`. Light and colours change, sharpness hardly does.
    """
    if rng.random() < _REDRAWN:
        view = View.drawn(rng, centre, side, turns, mirrored)
        classes = np.asarray(view.pixels(mask, side, IGNORED, nearest=True), np.uint8)
        return relit(np.asarray(view.pixels(pixels, side), np.uint8), rng, _SWAPPED), classes
    high, wide = mask.shape
    left, top = (
        int(np.clip(round(middle - side / 2), 0, max(0, length - side)))
        for middle, length in zip(centre, (wide, high), strict=True)
    )
    part, classes = pixels[top : top + side, left : left + side], mask[top : top + side, left : left + side]
    below, beside = side - part.shape[0], side - part.shape[1]
    if below or beside:
        part = np.asarray(cv2.copyMakeBorder(part, 0, below, 0, beside, cv2.BORDER_CONSTANT), np.uint8)
        edge = cv2.copyMakeBorder(classes, 0, below, 0, beside, cv2.BORDER_CONSTANT, value=[IGNORED])
        classes = np.asarray(edge, np.uint8)
    quarters = 0 if turns == "slight" else int(rng.integers(4))
    part, classes = np.rot90(part, quarters), np.rot90(classes, quarters)
    if mirrored and rng.random() < 0.5:
        part, classes = part[:, ::-1], classes[:, ::-1]
    return relit(np.ascontiguousarray(part), rng, _SWAPPED), np.ascontiguousarray(classes)


def damage_laid_on(
    pixels: NDArray[np.uint8],
    classes: NDArray[np.uint8],
    other: NDArray[np.uint8],
    damage: NDArray[np.uint8],
    strength: float,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Lay the damage of another part on a part: as much darker, or lighter, than the paint around it as it is there.

    Few painted images then show their damage on the paint of all others. Where it would hardly be seen nothing is to
    be learned.

    Parameters
    ----------
    pixels, other : uint8, shape (h, w, 3)
    classes, damage : uint8, shape (h, w)
    strength : float
        1 as it is, less is paler.

    Returns
    -------
    uint8, shape (h, w, 3)
    uint8, shape (h, w)
    """
    there = (damage > 0) & (damage != IGNORED)
    if not there.any():
        return pixels, classes
    sound = (cv2.dilate((damage > 0).astype(np.uint8), np.ones((5, 5), np.uint8)) == 0).astype(np.float32)
    own = other.astype(np.float32) / 255
    near = cv2.GaussianBlur(sound, (0, 0), _AROUND)
    paint = cv2.GaussianBlur(own * sound[..., None], (0, 0), _AROUND) / np.maximum(near, 1e-3)[..., None]
    known = near > 1e-2
    ratio = np.clip((own + 0.03) / (paint + 0.03), 0.05, 1.8)
    soft = cv2.GaussianBlur(there.astype(np.float32), (0, 0), 0.6) * known * strength
    ground = pixels.astype(np.float32) / 255
    smooth = cv2.GaussianBlur(ground, (0, 0), 3.0)
    laid = ground + soft[..., None] * (smooth * ratio - ground)
    grain = cv2.GaussianBlur((ground - smooth) ** 2, (0, 0), 4.0).mean(axis=2) ** 0.5
    seen = np.abs(laid - ground).max(axis=2) >= np.maximum(_SEEN, _IN_GRAIN * grain)
    told = np.where(there, np.where(seen, damage, IGNORED), classes)
    told = np.where(classes == IGNORED, IGNORED, told)
    return np.clip(laid * 255 + 0.5, 0, 255).astype(np.uint8), told.astype(np.uint8)
