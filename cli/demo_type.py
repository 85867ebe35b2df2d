"""Pages of made-up prose, set in type: words, faces, justified columns with hyphens.

The prose is put together from word lists of our own; the type is what PDFium carries for the PDF standard fonts.
"""

from __future__ import annotations

import ctypes
import functools
import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pypdfium2
import pypdfium2.raw as pdfium
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SANS", "SERIF", "Compositor", "Style", "prose", "title"]

# fmt: off
NOUNS = [
    "harbour", "lantern", "council", "railway", "orchard", "printer", "almanack", "merchant", "bridge", "telegraph",
    "engine", "lighthouse", "schoolmaster", "captain", "market", "cathedral", "warehouse", "gardener", "committee",
    "theatre", "physician", "carriage", "workshop", "instrument", "portrait", "expedition", "magistrate", "ferry",
    "observatory", "librarian", "turnpike", "granary", "clockmaker", "regiment", "vineyard", "tannery", "orchestra",
    "passenger", "winter", "quarry", "embankment", "correspondent", "foundry", "parliament", "locomotive",
    "exhibition", "river", "procession",
]
ADJECTIVES = [
    "quiet", "northern", "celebrated", "narrow", "considerable", "ancient", "weekly", "remarkable", "provincial",
    "distant", "crowded", "elegant", "unfinished", "anonymous", "patient", "illustrated", "borrowed", "municipal",
    "curious", "electric", "tolerable", "heavy", "pleasant", "forgotten",
]
VERBS = [
    "described", "repaired", "visited", "abandoned", "measured", "engraved", "delivered", "opposed", "purchased",
    "admired", "catalogued", "discovered", "photographed", "defended", "postponed", "inherited", "restored",
    "examined", "exchanged", "announced", "condemned", "surveyed",
]
TIMES = [
    "yesterday", "before the frost", "in the spring", "after a long debate", "toward evening",
    "without further notice", "on Tuesday last", "for the third time", "during the recess", "at the appointed hour",
    "not long ago", "despite the weather", "by candlelight",
]
# fmt: on
PATTERNS = (
    "the {a} {n} {v} the {n} {t}",
    "{t}, the {n} of the {a} {n} {v} a {n}",
    "it is said that the {n} {v} every {n} near the {a} {n}",
    "no {n} so {a} was ever {v} by the {n}",
    "the {n} and the {n} were {v} {t}, to the surprise of the {a} {n}",
    "a {a} {n} was {v} beside the {n}; the {n} was not",
    "whoever {v} the {n} {v} also the {a} {n}, as the {n} remarked {t}",
    "of the {n} nothing is known but that a {n} {v} it {t}",
)

SANS = ("Helvetica", "Helvetica-Bold", "Helvetica")
SERIF = ("Times-Roman", "Times-Bold", "Times-Italic")


@dataclass(frozen=True, slots=True)
class Style:
    """How a page is set.

    Attributes
    ----------
    columns : int
        Columns of text.
    type_size : int
        Height of the body type in pixels.
    faces : (str, str, str)
        Body, headline and caption face: names of PDF standard fonts.
    masthead : str
        Title across the page, or empty.
    running_head : str
        Small line at the head of the page, or empty.
    screen : float
        Distance between rows of halftone dots in pixels.
    """

    columns: int = 3
    type_size: int = 16
    faces: tuple[str, str, str] = SERIF
    masthead: str = ""
    running_head: str = ""
    screen: float = 2.2


def prose(rng: np.random.Generator, words: int) -> list[str]:
    """Return about `words` words of made-up prose, punctuation attached; ``"¶"`` stands between paragraphs."""
    text: list[str] = []
    while len(text) < words:
        for _ in range(int(rng.integers(2, 6))):
            sentence = PATTERNS[rng.integers(len(PATTERNS))]
            for mark, choices in (("{a}", ADJECTIVES), ("{n}", NOUNS), ("{v}", VERBS), ("{t}", TIMES)):
                while mark in sentence:
                    sentence = sentence.replace(mark, choices[rng.integers(len(choices))], 1)
            sentence = re.sub(r"\ba (?=[aeiou])", "an ", sentence)
            text += f"{sentence[0].upper()}{sentence[1:]}.".split()
        text.append("¶")
    return text


@functools.cache
def _face(name: str) -> bytes:
    """Return the font file that PDFium carries for a PDF standard font."""
    document = pypdfium2.PdfDocument.new()
    try:
        font = pdfium.FPDFText_LoadStandardFont(document, name.encode())
        size = ctypes.c_size_t()
        pdfium.FPDFFont_GetFontData(font, None, 0, size)
        buffer = (ctypes.c_uint8 * size.value)()
        pdfium.FPDFFont_GetFontData(font, buffer, size.value, size)
        pdfium.FPDFFont_Close(font)
    finally:
        document.close()
    return bytes(buffer)


@functools.cache
def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(io.BytesIO(_face(name)), size)


def _hyphenated(word: str, font: ImageFont.FreeTypeFont, room: float) -> tuple[str, str]:
    """Split `word` at a likely syllable so that the first part and a hyphen fit `room`; ``("", word)`` if none does."""
    for cut in range(len(word.rstrip(".,;")) - 3, 2, -1):
        before, after = word[cut - 1].lower(), word[cut].lower()
        breaks = after not in "aeiou" and (before in "aeiou" or word[cut + 1].lower() in "aeiou")
        if word[:cut].isalpha() and breaks and font.getlength(word[:cut] + "-") <= room:
            return word[:cut] + "-", word[cut:]
    return "", word


class Compositor:
    """Sets type on a sheet twice as fine as the page, so that letters sit at half pixels."""

    def __init__(self, width: int, height: int) -> None:
        self.sheet = Image.new("L", (2 * width, 2 * height), 255)
        self.pen = ImageDraw.Draw(self.sheet)

    def line(self, text: str, x: float, y: float, face: str, size: int, *, anchor: str = "ls") -> None:
        """Set `text` with the point that `anchor` names (as in Pillow) at (`x`, `y`)."""
        self.pen.text((round(2 * x), round(2 * y)), text, fill=0, font=_font(face, 2 * size), anchor=anchor)

    def rule(self, x0: float, y0: float, x1: float, y1: float, weight: int = 2) -> None:
        """Draw a rule, `weight` half pixels thick."""
        self.pen.line([(2 * x0, 2 * y0), (2 * x1, 2 * y1)], fill=0, width=weight)

    def justified(self, words: list[str], x: float, y: float, width: float, face: str, size: int) -> None:
        """Set one line of body type from the front of `words` (not only a ``"¶"``), which loses what was set."""
        font = _font(face, 2 * size)
        space, room = font.getlength(" "), 2 * width
        at = 2 * x
        if words[0] == "¶":
            words.pop(0)
            at, room = at + 2 * size, room - 2 * size
        line: list[str] = []
        used = 0.0
        while words and words[0] != "¶":
            left = room - used - space * len(line)
            if font.getlength(words[0]) > left:
                head, tail = _hyphenated(words[0], font, left)
                if head:
                    words[0] = tail
                elif line:
                    break
                else:  # a word wider than the column sticks out
                    head = words.pop(0)
                line.append(head)
                used += font.getlength(head)
                break
            line.append(words.pop(0))
            used += font.getlength(line[-1])
        ends = not words or words[0] == "¶"
        gap = space if ends or len(line) == 1 else (room - used) / (len(line) - 1)
        for word in line:
            self.pen.text((round(at), round(2 * y)), word, fill=0, font=font, anchor="ls")
            at += font.getlength(word) + gap

    def page(self) -> NDArray[np.uint8]:
        """Return the sheet at the page's size."""
        return np.array(self.sheet.reduce(2))


def title(rng: np.random.Generator, face: str, size: int, width: float) -> str:
    """Return a made-up title set in `face` at `size`: one that fits into `width`, or else the narrowest of many."""
    titles = []
    for _ in range(40):
        adjective, noun, other = (str(rng.choice(words)) for words in (ADJECTIVES, NOUNS, NOUNS))
        forms = (f"the {adjective} {noun}", f"{noun} and {other}", f"on the {other}", f"{adjective} {noun}")
        words = forms[rng.integers(len(forms))].capitalize()
        titles.append((_font(face, size).getlength(words), words))
        if titles[-1][0] <= width:
            return words
    return min(titles)[1]
