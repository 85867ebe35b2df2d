"""The pictures of a collation: where lines are broken, where ink differs, which way lines are displaced.

Every drawing has a caption of its own, so that it can be read apart from the page that shows them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from matcher.registration import overlay
from matcher.tones import ink_depth

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from matcher.collation import Collation
    from matcher.ink import Gap

__all__ = [
    "ONLY_A",
    "ONLY_B",
    "break_map",
    "deformation_field",
    "ink_difference",
    "longest_breaks",
    "side_by_side",
    "two_colours",
]

ONLY_A = (196, 30, 20)
"""Colour of what only A has."""
ONLY_B = (0, 98, 170)
"""Colour of what only B has."""

_TEXT, _GROUND = (38, 34, 30), (250, 248, 243)
_GAP = 12
_BOXES = 12


def side_by_side(collation: Collation) -> NDArray[np.uint8]:
    """Draw A beside B as registered, both grey; uint8, shape (h, w, 3)."""
    return _beside(_rgb(collation.a), _rgb(collation.b), "A", "B, laid on A")


def two_colours(collation: Collation) -> NDArray[np.uint8]:
    """Draw both in two inks on one sheet (`matcher.registration.overlay`); uint8, shape (h, w, 3)."""
    sheet = overlay(collation.a, collation.b, collation.valid)
    return _captioned(sheet, "A in red, B in cyan; black: both")


def ink_difference(collation: Collation) -> NDArray[np.uint8]:
    """Draw where one print has more ink than the other, their inking brought to a level; uint8, shape (h, w, 3).

    Depths of ink are softened a little and B's are multiplied by one factor for all, so that what is left is local:
    lines of different thickness, clogged or starved places, details that only one has.
    """
    reach = max(3, round(0.05 * max(collation.a.shape)))
    soft = 0.002 * max(collation.a.shape)
    depths = [
        cv2.GaussianBlur(ink_depth(picture, collation.valid, reach), (0, 0), soft)
        for picture in (collation.a, collation.b)
    ]
    masses = [float(depth.sum()) for depth in depths]
    level = float(np.clip(masses[0] / max(masses[1], 1e-6), 0.5, 2.0))
    apart = np.where(collation.valid, depths[0] - np.clip(level * depths[1], 0, 1), 0)
    sheet = np.full((*apart.shape, 3), 255, np.float32)
    for colour, more in ((ONLY_A, np.clip(apart, 0, 1)), (ONLY_B, np.clip(-apart, 0, 1))):
        sheet -= more[..., None] * (255 - np.array(colour, np.float32))
    return _captioned(np.clip(sheet, 0, 255).astype(np.uint8), "More ink on A: red; more on B: blue; inking levelled")


def break_map(collation: Collation) -> NDArray[np.uint8]:
    """Draw A beside B with the lines marked on each that the other lacks; uint8, shape (h, w, 3).

    The longest lines that are whole on one and broken on the other are framed and numbered.
    """
    sides = []
    for picture, (labels, gaps), colour in (
        (collation.a, collation.gaps_b, ONLY_A),
        (collation.b, collation.gaps_a, ONLY_B),
    ):
        sheet = _faded(picture)
        marked = cv2.dilate((labels > 0).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        sheet[marked] = colour
        sides.append(_framed(sheet, gaps, colour))
    return _beside(sides[0], sides[1], "A: what B lacks, in red", "B: what A lacks, in blue")


def deformation_field(collation: Collation) -> NDArray[np.uint8]:
    """Draw the displacements beyond what paper does as arrows on A, exaggerated; uint8, shape (h, w, 3)."""
    sheet = _faded(collation.a)
    left = collation.left
    if left is None or not len(left):
        return _captioned(sheet, "Too little drawing to follow")
    shifts = left.damped()
    longest = max(float(np.percentile(np.hypot(*shifts.T), 95)), 1e-6)
    spacing = 0.05 * float(np.sqrt(sheet.shape[0] * sheet.shape[1]))
    times = spacing / longest
    for point, shift in zip(left.points, shifts, strict=True):
        ends = [tuple(int(v) for v in np.round(16 * p)) for p in (point, point + times * shift)]
        cv2.arrowedLine(sheet, ends[0], ends[1], ONLY_A, 1, cv2.LINE_AA, 4, 0.3)
    size = 100 * collation.evidence.deformation
    return _captioned(sheet, f"Displaced beyond paper: {size:.2f} % of the size; arrows {times:.0f} times as long")


def _rgb(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB), np.uint8)


def _faded(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return `picture` in RGB, light enough that marks stand out."""
    return _rgb(np.asarray(255 - (255 - picture.astype(np.float32)) * 0.45, np.uint8))


def _framed(sheet: NDArray[np.uint8], gaps: list[Gap], colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Frame and number the longest breaks."""
    picture = Image.fromarray(sheet)
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(13)
    for number, gap in enumerate(longest_breaks(gaps), start=1):
        x, y, width, height = gap.box
        pen.rectangle((x - 5, y - 5, x + width + 4, y + height + 4), outline=colour)
        pen.text((x + width + 7, y - 7), str(number), fill=colour, font=font)
    return np.asarray(picture).copy()


def longest_breaks(gaps: list[Gap]) -> list[Gap]:
    """Return the broken lines that are framed and listed, the longest first."""
    return sorted((gap for gap in gaps if gap.kind == "broken"), key=lambda gap: -gap.length)[:_BOXES]


def _beside(left: NDArray[np.uint8], right: NDArray[np.uint8], first: str, second: str) -> NDArray[np.uint8]:
    ours, theirs = _captioned(left, first), _captioned(right, second)
    between = np.full((ours.shape[0], _GAP, 3), _GROUND, np.uint8)
    return np.hstack([ours, between, theirs])


def _captioned(sheet: NDArray[np.uint8], words: str) -> NDArray[np.uint8]:
    """Return `sheet` with a line of `words` above, as small as it must be to fit."""
    strip = 26
    picture = Image.new("RGB", (sheet.shape[1], sheet.shape[0] + strip), _GROUND)
    picture.paste(Image.fromarray(sheet), (0, strip))
    size = 15.0
    while size > 7 and ImageFont.load_default(size).getlength(words) > sheet.shape[1] - 8:
        size -= 1
    ImageDraw.Draw(picture).text((4, 5), words, fill=_TEXT, font=ImageFont.load_default(size))
    return np.asarray(picture)
