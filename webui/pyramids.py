"""Pictures as deep zoom wants them: a small copy of the whole, and tiles of every level. Runs in decoding processes.

A picture has a folder: ``overview.jpg``, at most `OVERVIEW` pixels long, which is had quickly from any file; and, where
the picture is larger, ``tiles/FACTOR/COLUMN-ROW.jpg``, the picture reduced by 1, 2, 4, …, cut into squares. The coarse
levels are there first. As long as neither is there, parts are cut out of the file itself: whoever looks at the first
finds waits for no tiles.
"""

from __future__ import annotations

import math
import os
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from matcher.errors import InputError
from matcher.images import read_image

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = [
    "OVERVIEW",
    "TILE",
    "Rendering",
    "encoded",
    "factors",
    "keep",
    "make_overview",
    "make_tiles",
    "render",
    "render_from_file",
]

TILE = 512
OVERVIEW = 1024
_QUALITY = 88

_KEPT_BYTES = 96 << 20
"""Pixels that were decoded last, kept in each process: several finds lie on one page."""

_decoded: OrderedDict[tuple[object, ...], NDArray[np.uint8]] = OrderedDict()


@dataclass(frozen=True, slots=True)
class Rendering:
    """What is asked of a picture: a part of it in its pixels, how large, turned how, in which form.

    Attributes
    ----------
    box : tuple of int
        Left, top, width, height, on the picture.
    size : tuple of int
        Width and height of the result, before it is turned.
    mirrored, rotation
        Mirrored left to right first, then turned clockwise by 0, 90, 180 or 270 degrees.
    quality : str
        ``default``, ``color``, ``gray`` or ``bitonal``.
    form : str
        ``jpg``, ``png`` or ``webp``.
    """

    box: tuple[int, int, int, int]
    size: tuple[int, int]
    mirrored: bool = False
    rotation: int = 0
    quality: str = "default"
    form: str = "jpg"

    @property
    def reduction(self) -> float:
        """Pixels of the picture for one of the result, along the side that is reduced less."""
        return min(self.box[2] / self.size[0], self.box[3] / self.size[1])


def factors(width: int, height: int) -> list[int]:
    """Return the reductions that a picture has levels of: 1, 2, 4, …, until one tile holds all of it."""
    found = [1]
    while max(width, height) > TILE * found[-1]:
        found.append(2 * found[-1])
    return found


def make_overview(source: Path, page: int, folder: Path, size: tuple[int, int]) -> None:
    """Write the overview of a picture; `InputError` if its file is not the picture of that size any more."""
    scan = read_image(source, page, gray=False, long_side=OVERVIEW)
    _require_size(source, (scan.width, scan.height), size)
    keep(folder / "overview.jpg", encoded(scan.pixels, "jpg"))


def make_tiles(source: Path, page: int, folder: Path, size: tuple[int, int]) -> None:
    """Write the tiles of all levels of a picture, the coarse ones first; ``tiles/complete`` is there when all are."""
    pixels = read_image(source, page, gray=False).pixels
    _require_size(source, (pixels.shape[1], pixels.shape[0]), size)
    if all(np.array_equal(pixels[..., 0], pixels[..., channel]) for channel in (1, 2)):
        pixels = np.ascontiguousarray(pixels[..., 0])
    levels = [pixels]
    for factor in factors(*size)[1:]:
        shape = (math.ceil(size[0] / factor), math.ceil(size[1] / factor))
        levels.append(np.asarray(cv2.resize(levels[-1], shape, interpolation=cv2.INTER_AREA)))
    for number in reversed(range(len(levels))):
        level = levels.pop()
        place = folder / "tiles" / str(2**number)
        place.mkdir(parents=True, exist_ok=True)
        for top in range(0, level.shape[0], TILE):
            for left in range(0, level.shape[1], TILE):
                tile = level[top : top + TILE, left : left + TILE]
                keep(place / f"{left // TILE}-{top // TILE}.jpg", encoded(tile, "jpg"))
    keep(folder / "tiles" / "complete", b"")


def render(folder: Path, size: tuple[int, int], asked: Rendering, factor: int | None, target: Path) -> None:
    """Write a part of a picture, out of its level `factor`, or of its overview (None), to the file `target`."""
    pixels = _from_overview(folder, size, asked.box) if factor is None else _from_tiles(folder, factor, size, asked.box)
    keep(target, _finished(pixels, asked))


def render_from_file(source: Path, page: int, size: tuple[int, int], asked: Rendering, target: Path) -> None:
    """Write a part of a picture, out of its own file, to the file `target`."""
    pixels = _reduced(source, page, size, 2 ** int(math.log2(max(1.0, asked.reduction))))
    step = (size[0] / pixels.shape[1], size[1] / pixels.shape[0])
    keep(target, _finished(_part(pixels, step, asked.box), asked))


def _reduced(source: Path, page: int, size: tuple[int, int], factor: int) -> NDArray[np.uint8]:
    """Return a picture, RGB, reduced by `factor`."""
    key = (source, page, size, factor, source.stat().st_mtime_ns if source.exists() else 0)
    if key in _decoded:
        _decoded.move_to_end(key)
        return _decoded[key]
    scan = read_image(source, page, gray=False, long_side=max(1, max(size) // factor))
    _require_size(source, (scan.width, scan.height), size)
    _decoded[key] = scan.pixels
    while _decoded and sum(pixels.nbytes for pixels in _decoded.values()) > _KEPT_BYTES:
        _decoded.popitem(last=False)
    return scan.pixels


def _finished(pixels: NDArray[np.uint8], asked: Rendering) -> bytes:
    """Return the pixels of a part as a file of the size, the turn and the form asked for."""
    shrinks = pixels.shape[1] > asked.size[0] or pixels.shape[0] > asked.size[1]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    pixels = np.asarray(cv2.resize(pixels, asked.size, interpolation=interpolation), np.uint8)
    if asked.mirrored:
        pixels = pixels[:, ::-1]
    pixels = np.rot90(pixels, -asked.rotation // 90)
    if asked.quality in ("gray", "bitonal"):
        pixels = np.asarray(cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY), np.uint8)
    if asked.quality == "bitonal":
        pixels = np.asarray(cv2.threshold(pixels, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)[1], np.uint8)
    return encoded(pixels, asked.form)


def encoded(pixels: NDArray[np.uint8], form: str) -> bytes:
    """Return pixels, grey or RGB, as a file of the form ``jpg``, ``png`` or ``webp``."""
    stored = np.ascontiguousarray(pixels) if pixels.ndim == 2 else cv2.cvtColor(
        np.ascontiguousarray(pixels), cv2.COLOR_RGB2BGR
    )  # fmt: skip
    settings = {
        "jpg": [cv2.IMWRITE_JPEG_QUALITY, _QUALITY],
        "png": [cv2.IMWRITE_PNG_COMPRESSION, 3],
        "webp": [cv2.IMWRITE_WEBP_QUALITY, _QUALITY],
    }
    done, content = cv2.imencode(f".{form}", stored, settings[form])
    if not done:
        raise InputError(f"a picture of {pixels.shape[1]} x {pixels.shape[0]} pixels cannot be written as {form}")
    return content.tobytes()


def keep(path: Path, content: bytes) -> None:
    """Write a file that can be made again: whole or not at all, but without waiting for the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    temporary.replace(path)


def _require_size(source: Path, found: tuple[int, int], size: tuple[int, int]) -> None:
    if found != size:
        raise InputError(
            f"{source.name} was {size[0]} x {size[1]} pixels when it was added and now is {found[0]} x {found[1]}; "
            "add it again"
        )


def _read(path: Path) -> NDArray[np.uint8]:
    """Return one of our own files, RGB."""
    stored = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    if stored is None:
        raise InputError(f"{path} is damaged; remove it")
    return np.asarray(cv2.cvtColor(stored, cv2.COLOR_BGR2RGB), np.uint8)


def _from_overview(folder: Path, size: tuple[int, int], box: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    pixels = _read(folder / "overview.jpg")
    return _part(pixels, (size[0] / pixels.shape[1], size[1] / pixels.shape[0]), box)


def _from_tiles(folder: Path, factor: int, size: tuple[int, int], box: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """Return a part of a level, put together out of the tiles it touches."""
    side = TILE * factor
    first = box[0] // side, box[1] // side
    last = (box[0] + box[2] - 1) // side, (box[1] + box[3] - 1) // side
    rows = [
        np.hstack([_read(folder / "tiles" / str(factor) / f"{x}-{y}.jpg") for x in range(first[0], last[0] + 1)])
        for y in range(first[1], last[1] + 1)
    ]
    left, top = first[0] * side, first[1] * side
    return _part(np.vstack(rows), (factor, factor), (box[0] - left, box[1] - top, box[2], box[3]))


def _part(pixels: NDArray[np.uint8], step: tuple[float, float], box: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """Return what a box in pixels of the original covers of `pixels`, each of which is `step` of them; at least one."""
    x, y, width, height = box
    left, top = min(int(x / step[0]), pixels.shape[1] - 1), min(int(y / step[1]), pixels.shape[0] - 1)
    right = max(left + 1, math.ceil((x + width) / step[0] - 1e-6))
    bottom = max(top + 1, math.ceil((y + height) / step[1] - 1e-6))
    return pixels[top:bottom, left:right]
