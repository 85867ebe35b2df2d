"""A small made-up collection of page scans around real photographs, for the demo and for benchmarks.

The photographs come with scikit-learn and scikit-image, the prose is put together from word lists of our own, the
type is what PDFium carries for the standard fonts. Pages are set, printed (crop, halftone screen, contrast crush,
ink spread) and scanned (paper, bleed-through, skew, shadow, noise, JPEG), all from one seed and without network; where
each photograph ended up is known exactly.
"""

from __future__ import annotations

import functools
import importlib.util
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image

from cli.demo_print import bleed_through, crush, engrave, halftone, paper, skew
from cli.demo_type import SANS, Compositor, Style, prose, title
from matcher.errors import MissingDependency
from matcher.types import Region, Transform

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from matcher.types import Relation

__all__ = [
    "Page",
    "Placement",
    "Plate",
    "build_pages",
    "compose_page",
    "photograph",
]

PICTURES = {
    "astronaut": ("skimage", "data/astronaut.png"),
    "brick": ("skimage", "data/brick.png"),
    "camera": ("skimage", "data/camera.png"),
    "cat": ("skimage", "data/chelsea.png"),
    "coffee": ("skimage", "data/coffee.png"),
    "coins": ("skimage", "data/coins.png"),
    "dahlia": ("sklearn", "datasets/images/flower.jpg"),
    "galaxies": ("skimage", "data/hubble_deep_field.jpg"),
    "grass": ("skimage", "data/grass.png"),
    "gravel": ("skimage", "data/gravel.png"),
    "horse": ("skimage", "data/horse.png"),
    "motorcycle": ("skimage", "data/motorcycle_left.png"),
    "pagoda": ("sklearn", "datasets/images/china.jpg"),
    "retina": ("skimage", "data/retina.jpg"),
    "rocket": ("skimage", "data/rocket.jpg"),
    "snake": ("skimage", "data/logo.png"),
    "tissue": ("skimage", "data/ihc.png"),
}
"""The pictures: name → package that carries it, place within."""


@dataclass(frozen=True, slots=True)
class Plate:
    """A picture to be printed.

    Attributes
    ----------
    picture : str
        Name of the photograph, see `photograph`.
    relation : str
        ``same``, ``mirrored``, ``inverted`` (as a negative) or ``mirrored+inverted``.
    turns : int
        Quarter turns, clockwise, after the mirroring.
    process : str
        ``halftone`` or ``engraving``.
    keep : float
        Share of each side that remains after cropping.
    """

    picture: str
    relation: Relation = "same"
    turns: int = 0
    process: str = "halftone"
    keep: float = 0.88


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a picture was printed: the truth to judge answers by.

    Attributes
    ----------
    plate : Plate
        What was printed, and how.
    transform : Transform
        From pixels of the whole photograph to pixels of the page scan.
    visible : float64, shape (4, 2)
        Corners of the printed (cropped) part on the page scan, clockwise from its top left in the photograph.
    whole : float64, shape (4, 2)
        Corners of the whole photograph as they would lie on the page scan.
    """

    plate: Plate
    transform: Transform
    visible: NDArray[np.float64]
    whole: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Page:
    """One page scan: path within the collection, grey pixels uint8 (h, w), JPEG quality, what is printed there."""

    name: str
    pixels: NDArray[np.uint8]
    quality: int
    placements: tuple[Placement, ...]


# ---------------------------------------------------------------------------------------------- pictures


@functools.cache
def photograph(name: str) -> NDArray[np.uint8]:
    """Return one of the `PICTURES`, uint8 RGB, shape (h, w, 3).

    Raises
    ------
    MissingDependency
        If the package that carries it is not installed.
    """
    package, place = PICTURES[name]
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        distribution = {"skimage": "scikit-image", "sklearn": "scikit-learn"}[package]
        raise MissingDependency(f"the picture {name!r} comes with {distribution}: pip install {distribution}")
    with Image.open(Path(found.submodule_search_locations[0]) / place) as picture:
        pixels = np.array(picture.convert("RGB"))
    pixels.flags.writeable = False
    return pixels


# ---------------------------------------------------------------------------------------------- printing


def _printed(
    plate: Plate, width: int, most: int, screen: float, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray, NDArray]:
    """Return a plate printed `width` pixels wide, at most `most` high; the map from photograph to print; its corners.

    The corners, shape (4, 2), are those of the part that is printed, in pixels of the print.
    """
    grey = np.asarray(cv2.cvtColor(photograph(plate.picture), cv2.COLOR_RGB2GRAY), np.uint8)
    high, wide = grey.shape
    keep_x, keep_y = round(wide * plate.keep), round(high * plate.keep)
    across, along = (keep_x, keep_y) if plate.turns % 2 == 0 else (keep_y, keep_x)
    if along / across > most / width:
        along = round(across * most / width)
        keep_x, keep_y = (across, along) if plate.turns % 2 == 0 else (along, across)
    left, top = (int(rng.integers(0, spare + 1)) for spare in (wide - keep_x, high - keep_y))
    piece = grey[top : top + keep_y, left : left + keep_x]
    matrix = np.array([[1.0, 0, -left], [0, 1, -top], [0, 0, 1]])
    if "mirrored" in plate.relation:
        piece = piece[:, ::-1]
        matrix = np.array([[-1.0, 0, keep_x - 1], [0, 1, 0], [0, 0, 1]]) @ matrix
    for _ in range(plate.turns % 4):
        matrix = np.array([[0, -1.0, piece.shape[0] - 1], [1, 0, 0], [0, 0, 1]]) @ matrix
        piece = np.rot90(piece, -1)
    height = round(width * piece.shape[0] / piece.shape[1])
    ratio_x, ratio_y = width / piece.shape[1], height / piece.shape[0]
    matrix = np.array([[ratio_x, 0, ratio_x / 2 - 0.5], [0, ratio_y, ratio_y / 2 - 0.5], [0, 0, 1]]) @ matrix
    piece = np.ascontiguousarray(piece)
    small = cv2.resize(piece, (width, height), interpolation=cv2.INTER_AREA if ratio_x < 1 else cv2.INTER_CUBIC)
    tones = crush(np.asarray(small, np.uint8), 20, 235, float(rng.uniform(0.75, 0.95)))
    if "inverted" in plate.relation:
        tones = 255 - tones
    if plate.process == "engraving":
        screened = engrave(tones, float(rng.uniform(3.4, 4.0)), float(rng.uniform(-12, 12)))
    else:
        screened = halftone(tones, screen * float(rng.uniform(0.93, 1.07)), float(rng.uniform(40, 50)))
    corners = Region(left - 0.5, top - 0.5, keep_x, keep_y).corners()
    return screened, matrix, Transform(matrix).apply(corners)


# ---------------------------------------------------------------------------------------------- composing


@dataclass(frozen=True, slots=True)
class _Slot:
    """A printed plate on the page: what stands where, and which columns must make room from `top` to `bottom`."""

    plate: Plate
    pixels: NDArray[np.uint8]
    x: int
    y: int
    transform: Transform
    visible: NDArray[np.float64]
    columns: range
    top: float
    bottom: float


@dataclass(frozen=True, slots=True)
class _Grid:
    """The type area of a page."""

    style: Style
    left: float
    top: float
    right: float
    bottom: float

    @property
    def gutter(self) -> float:
        return self.style.type_size * 1.3

    @property
    def leading(self) -> float:
        return self.style.type_size * 1.2

    @property
    def column(self) -> float:
        return (self.right - self.left - self.gutter * (self.style.columns - 1)) / self.style.columns

    def edge(self, number: int) -> float:
        """Return the left edge of a column."""
        return self.left + number * (self.column + self.gutter)


def compose_page(
    rng: np.random.Generator, style: Style, plates: Sequence[Plate], *, size: tuple[int, int] = (1000, 1400)
) -> tuple[NDArray[np.uint8], list[Placement]]:
    """Set a page of prose around pictures: black ink on white, before paper and scanner.

    Parameters
    ----------
    rng : Generator
        Chooses words, crops and places.
    style : Style
        Columns, type, heads, screen.
    plates : sequence of Plate
        At most two pictures.
    size : (int, int)
        Width and height of the page in pixels.

    Returns
    -------
    page : uint8, shape (height, width)
    placements : list of Placement
        Where the pictures stand on `page`.
    """
    width, height = size
    margin = round(width * 0.07)
    sheet = Compositor(width, height)
    top = _set_head(sheet, rng, style, margin, width)
    grid = _Grid(style, margin, top, width - margin, height - margin)
    slots = [_place_plate(grid, rng, plate, i, len(plates)) for i, plate in enumerate(plates)]
    for slot in slots:
        face, type_size, wide = style.faces[2], style.type_size - 1, slot.pixels.shape[1]
        caption = f"{title(rng, face, type_size, wide)}."
        sheet.line(caption, slot.x + wide / 2, slot.bottom - grid.leading * 0.6, face, type_size, anchor="ms")
    words = prose(rng, 48_000 // style.type_size)
    for number in range(style.columns):
        _fill_column(sheet, grid, rng, words, number, [slot for slot in slots if number in slot.columns])
    page = sheet.page()
    for slot in slots:
        page[slot.y : slot.y + slot.pixels.shape[0], slot.x : slot.x + slot.pixels.shape[1]] = slot.pixels
    return page, [
        Placement(s.plate, s.transform, s.visible, s.transform.apply(_outline(s.plate.picture))) for s in slots
    ]


def _outline(picture: str) -> NDArray[np.float64]:
    high, wide, _ = photograph(picture).shape
    return Region(-0.5, -0.5, wide, high).corners()


def _set_head(sheet: Compositor, rng: np.random.Generator, style: Style, margin: float, width: int) -> float:
    """Set masthead or running head; return where the type area begins."""
    body, head, slanted = style.faces
    top = margin * 1.1
    if style.masthead:
        sheet.line(style.masthead, width / 2, top + 62, head, 68, anchor="ms")
        for y in (top + 84, top + 112):
            sheet.rule(margin, y, width - margin, y, 3)
        issue = f"No. {rng.integers(100, 9000)}    ·    Price one penny"
        sheet.line(issue, width / 2, top + 104, body, 16, anchor="ms")
        return top + 138
    if style.running_head:
        sheet.line(style.running_head, width / 2, top, slanted, style.type_size, anchor="ms")
        sheet.line(str(rng.integers(3, 300)), width - margin, top, body, style.type_size, anchor="rs")
        sheet.rule(margin, top + 9, width - margin, top + 9)
        return top + 26
    return top


def _place_plate(grid: _Grid, rng: np.random.Generator, plate: Plate, order: int, count: int) -> _Slot:
    """Print a plate and give it a place in its share of the type area, the `order`-th of `count` from the top."""
    columns = grid.style.columns
    span = min(columns, 2) if columns > 2 else 1
    wide = round(grid.column * span + grid.gutter * (span - 1))
    if columns == 1:
        wide = round(wide * rng.uniform(0.62, 0.8))
    share = (grid.bottom - grid.top) / count
    most = round(share - 5 * grid.leading) if count > 1 else round(share * 0.6)
    pixels, matrix, corners = _printed(plate, wide, most, grid.style.screen, rng)
    first = int(rng.integers(0, columns - span + 1))
    x = round(grid.edge(first)) if columns > 1 else round((grid.left + grid.right - wide) / 2)
    free = max(1.0, share - pixels.shape[0] - 4 * grid.leading)
    y = round(grid.top + order * share + rng.uniform(0, free))
    shift = np.array([[1.0, 0, x], [0, 1, y], [0, 0, 1]])
    bottom = y + pixels.shape[0] + grid.style.type_size * 1.2 + grid.leading * 0.6
    return _Slot(
        plate,
        pixels,
        x,
        y,
        Transform(shift @ matrix),
        corners + np.array([x, y]),
        range(first, first + span),
        y - grid.leading * 0.6,
        bottom,
    )


def _fill_column(
    sheet: Compositor, grid: _Grid, rng: np.random.Generator, words: list[str], number: int, slots: list[_Slot]
) -> None:
    """Fill one column with articles from the front of `words`, leaving room for `slots`; rule off its left side."""
    style, leading, x = grid.style, grid.leading, grid.edge(number)
    body, head, _ = style.faces
    begin_article = style.columns > 1 and (number == 0 or rng.random() < 0.6)
    y = grid.top + leading
    while y <= grid.bottom and len(words) > 1:
        walls = [slot.bottom for slot in slots if slot.top < y <= slot.bottom + leading]
        if walls:
            y = max(walls) + leading * 1.01
            continue
        roomy = y + 5 * leading < min([grid.bottom, *(slot.top for slot in slots if slot.top >= y)])
        if begin_article and roomy and words[0] == "¶":
            large = style.type_size + 5
            middle = x + grid.column / 2
            sheet.line(title(rng, head, large, grid.column), middle, y + 10, head, large, anchor="ms")
            sheet.rule(middle - grid.column * 0.15, y + 22, middle + grid.column * 0.15, y + 22)
            y += leading * 2.4
            begin_article = False
            continue
        sheet.justified(words, x, y, grid.column, body, style.type_size)
        begin_article = begin_article or (style.columns > 1 and rng.random() < 0.018)
        y += leading
    if number:
        at = grid.top
        for slot in sorted((s for s in slots if number - 1 in s.columns), key=lambda s: s.top):
            sheet.rule(x - grid.gutter / 2, at, x - grid.gutter / 2, slot.top, 1)
            at = slot.bottom
        sheet.rule(x - grid.gutter / 2, at, x - grid.gutter / 2, grid.bottom, 1)


# ---------------------------------------------------------------------------------------------- paper and scanner


def _scanned(
    ink: NDArray[np.uint8], verso: NDArray[np.uint8] | None, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Return the scan of a printed page, and the map from page to scan pixels."""
    soft = cv2.GaussianBlur(ink, (0, 0), float(rng.uniform(0.5, 0.75))).astype(np.float32) / 255
    black = rng.uniform(0.14, 0.28)
    blank = paper((ink.shape[0], ink.shape[1]), rng, tone=float(rng.uniform(205, 236)))
    sheet = np.asarray(blank * (black + (1 - black) * soft), np.float32)
    if verso is not None:
        sheet = bleed_through(sheet, verso, float(rng.uniform(0.05, 0.16)))
    gutter = np.linspace(0, 1, ink.shape[1], dtype=np.float32)[:: int(rng.choice([-1, 1]))]
    sheet *= 1 - 0.35 * np.exp(-gutter * 22)
    scan, matrix = skew(sheet, float(rng.uniform(-1.6, 1.6)), background=float(rng.uniform(28, 60)))
    scan += float(rng.uniform(2, 4)) * rng.standard_normal(scan.shape, np.float32)
    return np.clip(np.round(scan), 0, 255).astype(np.uint8), matrix


# ---------------------------------------------------------------------------------------------- the collection

GAZETTE = Style(columns=4, type_size=14, running_head="The Harbour Gazette")
FRONT = replace(GAZETTE, columns=3, type_size=15, masthead="The Harbour Gazette", running_head="")
REVIEW = Style(columns=2, type_size=17, faces=SANS, running_head="The Illustrated Review", screen=1.7)
BOOK = Style(columns=1, type_size=23, running_head="A Voyage to the Northern Ports", screen=1.8)

VOLUMES: tuple[tuple[str, int, Style], ...] = (("gazette", 16, GAZETTE), ("review", 8, REVIEW), ("voyage", 8, BOOK))
"""The volumes: folder, pages, style of its pages."""

PRINTED: dict[tuple[str, int], tuple[Plate, ...]] = {
    ("gazette", 1): (Plate("pagoda", keep=0.94),),
    ("gazette", 2): (Plate("astronaut", keep=0.85), Plate("grass")),
    ("gazette", 4): (Plate("camera"),),
    ("gazette", 5): (Plate("motorcycle", keep=0.95),),
    ("gazette", 7): (Plate("gravel"), Plate("cat", keep=0.9)),
    ("gazette", 9): (Plate("galaxies", keep=0.8),),
    ("gazette", 11): (Plate("coins", keep=0.95), Plate("horse", keep=1.0)),
    ("gazette", 14): (Plate("snake", keep=1.0),),
    ("gazette", 16): (Plate("dahlia"),),
    ("review", 1): (Plate("coffee", keep=0.92), Plate("brick")),
    ("review", 3): (Plate("astronaut", "mirrored", keep=0.9),),
    ("review", 5): (Plate("coffee", "inverted", keep=0.94),),
    ("review", 6): (Plate("cat", keep=0.8),),
    ("review", 8): (Plate("motorcycle", keep=0.75), Plate("pagoda", keep=0.8)),
    ("voyage", 2): (Plate("camera", keep=0.95),),
    ("voyage", 4): (Plate("coins", process="engraving", keep=1.0),),
    ("voyage", 6): (Plate("dahlia", turns=3, keep=0.95),),
    ("voyage", 7): (Plate("rocket", keep=0.94),),
    ("voyage", 8): (Plate("galaxies", "mirrored", keep=0.7),),
}
"""What is printed on which page; every other page is text alone."""


def build_pages(seed: int = 1912) -> Iterator[Page]:
    """Yield the page scans of the collection: three volumes, 32 pages, always the same for one `seed`."""
    verso: NDArray[np.uint8] | None = None
    for volume, (folder, count, style) in enumerate(VOLUMES):
        for number in range(1, count + 1):
            rng = np.random.default_rng((seed, volume, number))
            front = folder == "gazette" and number % 6 == 1
            ink, placed = compose_page(rng, FRONT if front else style, PRINTED.get((folder, number), ()))
            pixels, matrix = _scanned(ink, verso, rng)
            verso = ink
            lay = Transform(matrix)
            placements = tuple(
                Placement(p.plate, Transform(matrix @ p.transform.matrix), lay.apply(p.visible), lay.apply(p.whole))
                for p in placed
            )
            yield Page(f"{folder}/p{number:02d}.jpg", pixels, int(rng.integers(30, 61)), placements)
