"""Thumbnails of many images, made in worker processes and put together on large sheets that a page loads at once.

A page that is opened from a disk may not look into pictures of the disk (a browser takes each file for a site of its
own), so sheets are scripts that carry a JPEG each, which it may.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from index.embedding import cuts
from index.workers import Failed, mapped
from matcher.embedding import reduced

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

__all__ = ["LARGE", "SMALL", "Pictured", "SheetSize", "Sprites", "make_sprites"]


class SheetSize(NamedTuple):
    """Sheets of square places, row by row: pixels of the side of a place and of a sheet."""

    place: int
    sheet: int = 2048

    @property
    def across(self) -> int:
        """Places side by side."""
        return self.sheet // self.place

    @property
    def places(self) -> int:
        """Places on a sheet."""
        return self.across**2


SMALL = SheetSize(32)
"""Sheets of all images, which are loaded at once: 4 MB of graphics memory for a thousand of them."""

LARGE = SheetSize(128)
"""Sheets that are loaded when somebody looks closely."""

_QUALITY = 80


class Pictured(NamedTuple):
    """What is to be shown: a page of a file, or the part of it in a box (all zero: all of it)."""

    path: str
    page: int
    box: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Sprites:
    """The sheets that `make_sprites` has written.

    Attributes
    ----------
    shapes : uint8, shape (n, 2)
        Width and height of each thumbnail in its place of `LARGE`; zeros where the image cannot be read.
    tones : uint8, shape (n, 3)
        Mean colour, RGB.
    failed : list of (int, str)
        Numbers of the images that cannot be read, and why.
    """

    shapes: NDArray[np.uint8]
    tones: NDArray[np.uint8]
    failed: list[tuple[int, str]]


def make_sprites(
    folder: Path, pictures: Iterable[Pictured], workers: int, progress: Callable[[int], None] = lambda done: None
) -> Sprites:
    """Write sheets ``small-000.js``… and ``large-000.js``… of thumbnails into a folder that is there.

    Each script calls ``calqueSheet("small", 0, "data:image/jpeg;base64,…")``. Two sheets are held in memory.

    Parameters
    ----------
    folder : Path
    pictures : iterable of Pictured
        Their order is that of the places on the sheets.
    workers : int
        Processes; 0 does all in this one.
    progress : callable, optional
        Called with the number of pictures that are done.
    """
    shapes: list[tuple[int, int]] = []
    tones: list[NDArray[np.uint8]] = []
    failed: list[tuple[int, str]] = []
    large, small = _Sheets(folder, "large", LARGE), _Sheets(folder, "small", SMALL)
    for number, (_, made) in enumerate(mapped(_prepared, (), pictures, workers)):
        if isinstance(made, Failed):
            failed.append((number, made.reason))
            shapes.append((0, 0))
            tones.append(np.full(3, 128, np.uint8))
        else:
            large.put(number, made)
            small.put(number, reduced(made, SMALL.place))
            shapes.append((made.shape[1], made.shape[0]))
            tones.append(made.mean(axis=(0, 1)).round().astype(np.uint8))
        progress(number + 1)
    for sheets in (large, small):
        sheets.close(len(shapes))
    return Sprites(np.array(shapes, np.uint8).reshape(-1, 2), np.array(tones, np.uint8).reshape(-1, 3), failed)


def _prepared() -> Callable[[Pictured], NDArray[np.uint8]]:
    """Return the function that makes a thumbnail; runs in a worker process."""

    def thumbnail(picture: Pictured) -> NDArray[np.uint8]:
        (cut,) = cuts(Path(picture.path), picture.page, [picture.box], LARGE.place)
        return np.ascontiguousarray(cut)

    return thumbnail


class _Sheets:
    """Sheets of one size, written one after the other."""

    def __init__(self, folder: Path, name: str, size: SheetSize) -> None:
        self._folder = folder
        self._name = name
        self._size = size
        self._number = 0
        self._sheet = self._empty()

    def put(self, number: int, thumbnail: NDArray[np.uint8]) -> None:
        """Put a thumbnail into its place; what is left of that gets the thumbnail's edges, which may shine through."""
        self._begin(number // self._size.places)
        row, column = divmod(number % self._size.places, self._size.across)
        side = self._size.place
        place = self._sheet[row * side : (row + 1) * side, column * side : (column + 1) * side]
        high, wide = thumbnail.shape[:2]
        place[:high, :wide] = thumbnail
        place[high:, :wide] = thumbnail[-1:]
        place[:, wide:] = place[:, wide - 1 : wide]

    def close(self, count: int) -> None:
        """Write what is left, up to the sheet of the last of `count` places."""
        self._begin(-(-count // self._size.places))

    def _begin(self, number: int) -> None:
        while self._number < number:
            buffer = io.BytesIO()
            Image.fromarray(self._sheet).save(buffer, "JPEG", quality=_QUALITY)
            carried = base64.b64encode(buffer.getvalue()).decode("ascii")
            script = f'calqueSheet("{self._name}", {self._number}, "data:image/jpeg;base64,{carried}");\n'
            (self._folder / f"{self._name}-{self._number:03d}.js").write_text(script, encoding="ascii")
            self._number += 1
            self._sheet = self._empty()

    def _empty(self) -> NDArray[np.uint8]:
        return np.full((self._size.sheet, self._size.sheet, 3), 128, np.uint8)
