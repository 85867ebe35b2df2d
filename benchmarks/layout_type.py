"""How a composed page is set: type faces by what they are for, made-up words, lines of prose drawn beforehand."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["COLOURS", "DRAWN", "REDS", "Style", "faces", "font", "pick", "prose", "style_of", "words"]

DRAWN = 28
"""Size in which lines of prose are drawn, before they are brought to the size of the page's type."""

REDS = ((170, 40, 30), (150, 30, 40), (190, 70, 40))
COLOURS = (*REDS, (40, 70, 150), (50, 110, 80), (60, 60, 120))
"""Inks of initials."""

_INKS = ((20, 18, 16), (35, 28, 22), (60, 45, 30), (15, 15, 25))
_LETTERS = "etaoinsrhldcumfpgwybvk"
_LONGEST = 1100
"""Pixels of the longest line, in the smallest type."""

_FACES = {
    "black": "unifraktur pirata rocker grenze jacquard blankenburg oldania gotico hamlet jessen ptolemy germania",
    "hand": "uncial medieval fondamento almendra tangerine homemade belle herr petit isabella kristi femke nightshade",
    "display": "cinzel abril anton rye ultra limelight metamorphous vast emily diploma oswald fleur monsieur texturina",
    "old": "fell essays caslon cardo old-standard goudy junicode garamond spira soufflet proto",
}
"""Words in the file names of faces for blackletter, handwriting, headlines and early roman; all others are roman."""

_COLUMNS = {
    "book": (1, 1, 1, 2),
    "old": (1, 1, 2, 2),
    "manuscript": (1, 2, 2, 3),
    "news": (3, 4, 5, 6),
    "magazine": (2, 2, 3),
    "title": (1,),
}
_SIZES = {
    "book": (11, 20),
    "old": (11, 22),
    "manuscript": (12, 24),
    "news": (8, 12),
    "magazine": (9, 14),
    "title": (11, 22),
}
_OFTEN = {
    "book": (0.08, 0.1, 0.06),
    "old": (0.1, 0.35, 0.06),
    "manuscript": (0.06, 0.4, 0.03),
    "news": (0.14, 0.02, 0.02),
    "magazine": (0.25, 0.06, 0.04),
    "title": (0.1, 0.1, 0.1),
}
"""How often the next thing in a column is a picture, a paragraph has an initial, the next thing is an ornament."""


@dataclass(frozen=True)
class Style:
    """How a page is set: columns, type, ink; how often there are pictures and initials, ornaments, and bars at
    the ends of lines."""

    columns: int
    size: int
    face: Path
    heading: Path
    leading: float
    ink: tuple[int, int, int]
    pictures: float
    initials: float
    ornaments: float
    fillers: float
    manuscript: bool
    justified: bool
    rules: bool


def style_of(kind: str, fonts: tuple[Path, ...], rng: np.random.Generator) -> Style:
    """Return how a page of a kind may be set."""
    by_use = faces(fonts)
    manuscript = kind == "manuscript"
    if kind in ("news", "magazine"):
        family = "roman"
    elif kind == "old":
        family = "black" if rng.random() < 0.5 else "old"
    else:
        family = "hand" if manuscript else "roman" if rng.random() < 0.7 else "old"
    pictures, initials, ornaments = _OFTEN[kind]
    return Style(
        columns=int(rng.choice(_COLUMNS[kind])),
        size=int(rng.integers(*_SIZES[kind])),
        face=pick(by_use[family], rng),
        heading=pick(by_use["display" if rng.random() < 0.5 else family], rng),
        leading=float(rng.uniform(1.1, 1.7 if manuscript else 1.35)),
        ink=_INKS[int(rng.integers(len(_INKS)))],
        pictures=pictures * (rng.random() < 0.8),
        initials=initials * (rng.random() < 0.8),
        ornaments=ornaments,
        fillers=float(rng.uniform(0.3, 1)) * (rng.random() < {"manuscript": 0.5, "old": 0.3}.get(kind, 0.0)),
        manuscript=manuscript,
        justified=not manuscript and rng.random() < 0.9,
        rules=bool(rng.random() < (0.7 if kind == "news" else 0.15)),
    )


@lru_cache(maxsize=2)
def faces(fonts: tuple[Path, ...]) -> dict[str, list[Path]]:
    """Sort type faces by what they are for."""
    by_use: dict[str, list[Path]] = {use: [] for use in (*_FACES, "roman")}
    for path in fonts:
        name = path.name.lower()
        use = next((use for use, names in _FACES.items() if any(part in name for part in names.split())), "roman")
        if _latin(path):
            by_use[use].append(path)
    return by_use


def _latin(path: Path) -> bool:
    """Tell whether a face has the letters that words are made of, each with a shape of its own."""
    shapes = {bytes(font(path, DRAWN).getmask(letter)) for letter in "aegnst"}
    return len(shapes) == 6 and b"" not in shapes


def pick(fonts: list[Path], rng: np.random.Generator) -> Path:
    """Return one of some type faces."""
    return fonts[int(rng.integers(len(fonts)))]


@lru_cache(maxsize=400)
def font(path: Path, size: int) -> ImageFont.FreeTypeFont:
    """Return a type face in a size, in pixels."""
    # The basic layout engine: raqm, where there is one, takes four times as long and no script here needs it.
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)


@cache
def prose(path: Path) -> list[NDArray[np.uint8]]:
    """Return lines of made-up prose in a face, `DRAWN` pixels high, as masks: words are slow to draw."""
    face, rng = font(path, DRAWN), np.random.default_rng(0)
    lines = []
    for _ in range(8):
        line = Image.new("L", (_LONGEST * DRAWN // 8, int(DRAWN * 1.5)), 0)
        said = " ".join(words(rng, line.width // (2 * DRAWN)))
        ImageDraw.Draw(line).text((0, 0), said, font=face, fill=255)
        lines.append(np.asarray(line))
    return lines


def words(rng: np.random.Generator, many: int, capitals: float = 0.08) -> list[str]:
    """Return made-up words with the lengths and letters of European languages, and now and then a number."""
    lengths = np.clip(rng.poisson(4.2, many) + 1, 1, 13)
    weights = 1 / np.arange(2, 2 + len(_LETTERS))
    letters = rng.choice(list(_LETTERS), size=int(lengths.sum()), p=weights / weights.sum())
    made, at = [], 0
    for length in lengths:
        word = "".join(letters[at : at + length])
        at += length
        chance = rng.random()
        if chance < capitals:
            word = word.capitalize()
        elif chance < capitals + 0.02:
            word = str(rng.integers(1, 1999))
        made.append(word + ("." if rng.random() < 0.07 else "," if rng.random() < 0.08 else ""))
    return made
