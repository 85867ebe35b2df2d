"""The archive: which pictures of a folder serve as photographs, in halves that never meet, each picture once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image

from benchmarks.datasets import PARTS
from matcher.errors import CalqueError, InputError
from matcher.images import read_image

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["Photograph", "choose", "continuous_tone", "distinct", "in_part", "pictures_in"]

_SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".jp2", ".webp", ".gif", ".bmp"}
_MIDTONES, _BLANK = 0.33, 0.30
_ALIKE = 0.92
_SMALLEST = 240
_LONGEST = 2.2


@dataclass(frozen=True, slots=True)
class Photograph:
    """A picture of the archive: `name`, unique, the `file`, and `box`, the piece of it (left, top, right, bottom)."""

    name: str
    file: Path
    box: tuple[int, int, int, int]

    @property
    def short_side(self) -> int:
        """The smaller side in pixels."""
        return min(self.box[2] - self.box[0], self.box[3] - self.box[1])

    def pixels(self) -> NDArray[np.uint8]:
        """Return the photograph as the archive has it, uint8 RGB, shape (h, w, 3)."""
        left, top, right, bottom = self.box
        return np.ascontiguousarray(read_image(self.file, gray=False).pixels[top:bottom, left:right])

    @property
    def is_piece(self) -> bool:
        """Whether it is but a piece of its file's picture."""
        return "-" in self.name.removeprefix(self.file.stem)

    def write(self, path: Path) -> None:
        """Write the photograph to `path`: a whole picture as the very bytes of its file, a piece as PNG."""
        if self.is_piece:
            Image.fromarray(self.pixels()).save(path, "PNG")
        else:
            path.write_bytes(self.file.read_bytes())

    def divided(self) -> tuple[Photograph, Photograph]:
        """Return the two halves, cut across the longer side."""
        left, top, right, bottom = self.box
        if right - left >= bottom - top:
            middle = (left + right) // 2
            boxes = ((left, top, middle, bottom), (middle, top, right, bottom))
        else:
            middle = (top + bottom) // 2
            boxes = ((left, top, right, middle), (left, middle, right, bottom))
        first, second = (Photograph(f"{self.name}-{i}", self.file, box) for i, box in enumerate(boxes, start=1))
        return first, second


def in_part(file: Path, part: str) -> bool:
    """Tell whether a source belongs to `part`: half of the file names are ``dev``, the others ``test``, by their hash.

    Raises
    ------
    InputError
        If `part` is none of ``dev``, ``test``, ``all``.
    """
    if part not in PARTS:
        raise InputError(f"no part called {part!r}: choose one of {', '.join(PARTS)}")
    return part == "all" or part == ("dev", "test")[hashlib.sha256(file.name.encode()).digest()[0] % 2]


def pictures_in(folders: Iterable[Path], part: str) -> list[Path]:
    """Return the image files of one part below `folders`, by name.

    Raises
    ------
    InputError
        If a folder is missing, or there is no image of that part in all of them.
    """
    files: list[Path] = []
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder; name one that holds images")
        files += [p for p in folder.rglob("*") if p.suffix.lower() in _SUFFIXES and in_part(p, part)]
    if not files:
        raise InputError(f"no image of part {part} in {', '.join(map(str, folders))}")
    return sorted(files)


def distinct(files: Sequence[Path]) -> list[Path]:
    """Return `files` without those that show the picture of a larger one again, by the likeness of small copies.

    Files that cannot be read are left out, too.
    """
    found: list[tuple[int, Path, NDArray[np.float32]]] = []
    for file, pixels in _readable(files):
        small = cv2.resize(pixels, (24, 24), interpolation=cv2.INTER_AREA).astype(np.float32)
        small -= small.mean()
        found.append((pixels.size, file, (small / max(float(np.linalg.norm(small)), 1e-6)).ravel()))
    found.sort(key=lambda entry: (-entry[0], entry[1]))
    kept: list[tuple[Path, NDArray[np.float32]]] = []
    for _, file, small in found:
        if all(float(small @ other) < _ALIKE for _, other in kept):
            kept.append((file, small))
    return sorted(file for file, _ in kept)


def continuous_tone(pixels: NDArray[np.uint8]) -> bool:
    """Tell whether a grey picture is a photograph, or near enough: more middle tones than blank paper."""
    low, high = np.percentile(pixels, [2, 98])
    tones = (pixels.astype(np.float32) - low) / max(high - low, 1)
    return bool(np.mean((tones > 0.2) & (tones < 0.8)) >= _MIDTONES and np.mean(tones > 0.93) <= _BLANK)


def choose(files: Sequence[Path], count: int, rng: np.random.Generator) -> list[Photograph]:
    """Return `count` photographs out of the distinct pictures `files`, or as many as there are.

    Only pictures of continuous tone are taken, no panoramas, whole as long as there are enough. Where there are not,
    the largest are divided into halves, and these again, as long as no side gets shorter than 240 pixels: no two
    photographs share anything.

    Raises
    ------
    InputError
        If there is none at all.
    """
    whole = [
        Photograph(file.stem, file, (0, 0, pixels.shape[1], pixels.shape[0]))
        for file, pixels in _readable(files)
        if min(pixels.shape) >= _SMALLEST and max(pixels.shape) <= _LONGEST * min(pixels.shape)
        if continuous_tone(pixels)
    ]
    if not whole:
        raise InputError(f"no photograph of at least {_SMALLEST} pixels among {len(files)} pictures")
    photographs = [whole[i] for i in rng.permutation(len(whole))]
    while len(photographs) < count:
        divisible = [p for p in photographs if min(half.short_side for half in p.divided()) >= _SMALLEST]
        if not divisible:
            break
        largest = max(divisible, key=lambda p: p.short_side)
        photographs.remove(largest)
        photographs += largest.divided()
    return photographs[:count]


def _readable(files: Iterable[Path]) -> Iterator[tuple[Path, NDArray[np.uint8]]]:
    """Yield the files that can be read, and their grey pixels."""
    for file in files:
        try:
            yield file, read_image(file).pixels
        except CalqueError:
            continue
