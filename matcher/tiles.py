"""Images of any size through a network that looks at parts: overlapping tiles, blended, one row of them at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

__all__ = ["TILE", "blended"]

TILE = 512
_OVERLAP = 96
"""Sides of tiles, and by how much they overlap, in pixels; both are multiples of 32."""


def blended(
    pixels: NDArray[np.uint8],
    look: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
    tile: int = TILE,
    overlap: int = _OVERLAP,
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield what `look` says of an image, band by band from the top: the first row, and float32 (k, rows, w).

    Where tiles overlap, each counts the less the nearer its edge: a network knows least there. No more than two rows of
    tiles are held at a time.

    Parameters
    ----------
    pixels : uint8, shape (h, w, 3)
    look : callable
        From a tile, uint8 (tile, tile, 3), to float32 (k, tile, tile).
    tile, overlap : int
    """
    high, wide = pixels.shape[:2]
    step = tile - overlap
    ramp = _ramp(tile, overlap)
    rows, columns = _starts(high, tile, step), _starts(wide, tile, step)
    held: NDArray[np.float32] | None = None
    weights: NDArray[np.float32] | None = None
    for number, top in enumerate(rows):
        band: NDArray[np.float32] | None = None
        weight = np.zeros((tile, wide), np.float32)
        for left in columns:
            part = pixels[top : top + tile, left : left + tile]
            tall, broad = part.shape[:2]
            padded = cv2.copyMakeBorder(part, 0, tile - tall, 0, tile - broad, cv2.BORDER_REFLECT_101)
            said = look(np.asarray(padded, np.uint8))[:, :, :broad]
            if band is None:
                band = np.zeros((len(said), tile, wide), np.float32)
            share = np.outer(ramp, ramp)[:, :broad].astype(np.float32)
            band[:, :, left : left + broad] += said * share
            weight[:, left : left + broad] += share
        assert band is not None
        if held is not None and weights is not None:
            shared = held.shape[1]
            band[:, :shared] += held
            weight[:shared] += weights
        following = rows[number + 1] if number + 1 < len(rows) else high
        done = following - top
        yield top, np.asarray(band[:, :done] / weight[:done], np.float32)
        held, weights = band[:, done:], weight[done:]


def _starts(length: int, tile: int, step: int) -> list[int]:
    """Return where tiles begin that cover a length; the last ends where it does."""
    if length <= tile:
        return [0]
    return [*range(0, length - tile, step), length - tile]


def _ramp(tile: int, overlap: int) -> NDArray[np.float64]:
    """Return how much each row of a tile counts: never nothing, as edges of the image are seen by one tile only."""
    distance = np.minimum(np.arange(tile) + 0.5, tile - np.arange(tile) - 0.5)
    return np.asarray(np.clip(distance / overlap, 1e-3, 1.0))
