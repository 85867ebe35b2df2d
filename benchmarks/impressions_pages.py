"""Blocks taken out of folders and annotated pages, and pages of type on which their impressions are printed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from benchmarks.datasets import data_folder
from benchmarks.press_archive import continuous_tone, distinct, pictures_in
from benchmarks.wear import relief
from cli.demo_type import SERIF, Compositor, prose
from matcher.errors import InputError
from matcher.images import read_image
from matcher.types import Region

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from benchmarks.wear import Relief

__all__ = ["Block", "blocks_of_data", "blocks_of_folder", "choose", "compose"]

_GRAPHIC = ("illustration", "initial", "ornament")
_MANUSCRIPTS = ("medieval", "mss", "htromance", "htrogene", "liber", "segmonto")
_SMALLEST = 120
_INK = (0.06, 0.75)
_ALIKE = 0.45
_TYPE_SIZE = 17


@dataclass(frozen=True, slots=True)
class Block:
    """A picture that serves as a woodblock: a unique `name`, the `file`, and the box on it (None: all of it)."""

    name: str
    file: Path
    region: Region | None

    def relief(self) -> Relief:
        """Return the block's relief, as `benchmarks.wear.relief` sees it."""
        pixels = read_image(self.file).pixels
        if self.region is not None:
            x, y, width, height = (round(v) for v in self.region.as_list())
            pixels = pixels[max(0, y) : y + height, max(0, x) : x + width]
        return relief(pixels)


def blocks_of_folder(folders: Sequence[Path], part: str) -> list[Block]:
    """Return the pictures of lines in `folders`: each once, photographs left out; `part` by the hash of the file name.

    Raises
    ------
    InputError
        If a folder is missing or holds no image of that part.
    """
    files = distinct(pictures_in(folders, part))
    return [Block(file.stem, file, None) for file in files if not continuous_tone(read_image(file).pixels)]


def blocks_of_data(part: str, root: Path | None = None) -> list[Block]:
    """Return the annotated illustrations, initials and ornaments of ``pages/``, and the engravings of ``various/``.

    Manuscripts, known by the names of their repositories, are left out: their pictures are no blocks.

    Raises
    ------
    InputError
        If the data is not there.
    """
    folder = data_folder() if root is None else root
    layout = folder / "pages" / "layout.json"
    try:
        pages = json.loads(layout.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{layout}: no such file; set CALQUE_DATA to the folder of the image sets") from error
    blocks = []
    for page in pages:
        if any(word in page["repo"].lower() for word in _MANUSCRIPTS):
            continue
        for number, zone in enumerate(page["zones"]):
            box = zone["bbox"]
            wanted = part in ("all", page["part"]) and zone["type"] in _GRAPHIC
            if wanted and max(box[2:]) >= _SMALLEST and min(box[2:]) >= _SMALLEST / 2:
                file = folder / "pages" / page["image"]
                blocks.append(Block(f"{file.stem}#{number}", file, Region(*map(float, box))))
    return blocks + blocks_of_folder([folder / "various"], part)


def choose(blocks: Sequence[Block], count: int, rng: np.random.Generator) -> list[tuple[Block, Relief]]:
    """Return `count` of the `blocks` that have enough lines to be told apart, and their reliefs, in random order.

    A cut that is printed on several pages is taken once: what looks like one that is taken is left out.

    Raises
    ------
    InputError
        If there are too few.
    """
    chosen: list[tuple[Block, Relief]] = []
    taken: list[NDArray[np.float32]] = []
    for i in rng.permutation(len(blocks)):
        if len(chosen) == count:
            break
        carved = blocks[i].relief()
        small = cv2.resize(cv2.GaussianBlur(carved, (0, 0), 8), (48, 48), interpolation=cv2.INTER_AREA)
        if _INK[0] <= float(carved.mean()) <= _INK[1] and not any(_alike(small, other) for other in taken):
            chosen.append((blocks[i], carved))
            taken.append(small)
    if len(chosen) < count:
        raise InputError(f"{count} blocks wanted, {len(chosen)} found: name a larger folder or ask for fewer")
    return chosen


def compose(
    cuts: Iterable[NDArray[np.float32]], size: tuple[int, int], rng: np.random.Generator
) -> tuple[NDArray[np.float32], list[Region]]:
    """Set a page of type around `cuts`, one below the other, at the left and at the right in turn.

    Parameters
    ----------
    cuts : iterable of float32, shape (h, w)
        Ink of the impressions, 0 to 1.
    size : (int, int)
        Width and height of the page in pixels.
    rng : Generator

    Returns
    -------
    page : float32, shape (height, width)
        Ink, 0 to 1.
    places : list of Region
        Where the cuts lie.

    Raises
    ------
    ValueError
        If the page is too small for the cuts.
    """
    width, height = size
    sheet, places = Compositor(width, height), []
    margin, leading = round(0.06 * width), round(1.35 * _TYPE_SIZE)
    words = prose(rng, 30 + width * height // 2000)
    y = margin
    waiting = list(cuts)
    for number, cut in enumerate(waiting):
        high, wide = cut.shape
        left = margin if number % 2 == 0 else width - margin - wide
        beside = width - 2 * margin - wide - _TYPE_SIZE
        if y + high > height - margin or beside < 0:
            raise ValueError(f"cut {number} of {wide} × {high} pixels does not fit on a page of {width} × {height}")
        places.append(Region(left, y, wide, high))
        start = margin + (wide + _TYPE_SIZE if number % 2 == 0 else 0)
        while y < places[-1].y + high:
            if beside > 6 * _TYPE_SIZE:
                sheet.justified(words, start, y + _TYPE_SIZE, beside, SERIF[0], _TYPE_SIZE)
            y += leading
        y += leading // 2
    while y < height - margin and words:
        sheet.justified(words, margin, y + _TYPE_SIZE, width - 2 * margin, SERIF[0], _TYPE_SIZE)
        y += leading
    page = np.asarray(1 - sheet.page() / 255, np.float32)
    for cut, place in zip(waiting, places, strict=True):
        x, top = round(place.x), round(place.y)
        page[top : top + cut.shape[0], x : x + cut.shape[1]] = cut
    return page, places


def _alike(small: NDArray, other: NDArray) -> bool:
    """Tell whether two reliefs of 48 × 48 pixels look alike, though their boxes be drawn a little differently."""
    return bool(cv2.matchTemplate(other, small[6:42, 6:42], cv2.TM_CCOEFF_NORMED).max() > _ALIKE)
