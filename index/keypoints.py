"""A keypoint in one number: where on its image it lies, how large it is and how it is turned."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["packed", "unpacked", "working_pixels"]

_LEAST = 0.5
"""Least diameter that is told apart, in octaves of a working pixel."""


class _Layout(NamedTuple):
    """Bits of each coordinate, from the lowest on x, y; then of diameter (`steps` to an octave) and of orientation."""

    place: int
    size: int
    steps: int
    angle: int


_LAYOUTS = {32: _Layout(11, 5, 4, 5), 64: _Layout(20, 12, 256, 12)}


def working_pixels(image_sizes: NDArray[np.integer], work_size: int) -> NDArray[np.float64]:
    """Return the pixels per pixel of the size at which images of `image_sizes` (n, 2) were extracted, shape (n,)."""
    return np.asarray(np.maximum(1.0, image_sizes.max(axis=1) / work_size), dtype=np.float64)


def packed(
    points: NDArray[np.floating],
    sizes: NDArray[np.floating],
    angles: NDArray[np.floating],
    image_sizes: NDArray[np.integer],
    work_size: int,
    bits: int,
) -> NDArray[np.unsignedinteger]:
    """Return keypoints as numbers.

    Parameters
    ----------
    points : float, shape (n, 2)
        In pixels.
    sizes : float, shape (n,)
        Diameters in pixels.
    angles : float, shape (n,)
        Orientations in degrees.
    image_sizes : int, shape (n, 2) or (1, 2)
        Width and height in pixels of the images that they lie on.
    work_size : int
        Long side to which images were reduced for extraction.
    bits : int
        32 (on a page of 1,600 pixels, places to 0.8 pixels, diameters to a quarter of an octave, orientations to 11
        degrees) or 64 (as good as unrounded).

    Returns
    -------
    uint32 or uint64, shape (n,)
    """
    layout = _LAYOUTS[bits]
    end = 1 << layout.place
    places = np.clip(np.floor((points.astype(np.float64) + 0.5) * end / image_sizes), 0, end - 1).astype(np.uint64)
    octaves = np.log2(sizes / working_pixels(image_sizes, work_size)) - _LEAST
    scales = np.clip(np.round(layout.steps * octaves), 0, (1 << layout.size) - 1).astype(np.uint64)
    turns = np.round(angles * ((1 << layout.angle) / 360)).astype(np.int64) % (1 << layout.angle)
    number = places[:, 0] | places[:, 1] << np.uint64(layout.place)
    number |= scales << np.uint64(2 * layout.place)
    number |= turns.astype(np.uint64) << np.uint64(2 * layout.place + layout.size)
    return number.astype(np.dtype(f"u{bits // 8}"))


def unpacked(
    geometry: NDArray[np.unsignedinteger], image_sizes: NDArray[np.integer], work_size: int
) -> NDArray[np.float64]:
    """Return keypoints, see `matcher.geometry.frames`, from what `packed` made of them.

    Parameters
    ----------
    geometry : uint32 or uint64, shape (n,)
    image_sizes, work_size
        As of `packed`.

    Returns
    -------
    float64, shape (n, 4)
    """
    layout = _LAYOUTS[8 * geometry.dtype.itemsize]
    wide = geometry.dtype.type
    fields = []
    for size in (layout.place, layout.place, layout.size, layout.angle):
        fields.append(geometry & wide((1 << size) - 1))
        geometry = geometry >> wide(size)
    frame = np.empty((len(geometry), 4))
    frame[:, :2] = (np.column_stack(fields[:2]) + 0.5) * image_sizes / (1 << layout.place) - 0.5
    frame[:, 2] = fields[2] / layout.steps + _LEAST + np.log2(working_pixels(image_sizes, work_size))
    frame[:, 3] = fields[3] * (2 * np.pi / (1 << layout.angle))
    return frame
