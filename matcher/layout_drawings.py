"""A page with what was found on it drawn in: outlines in a colour for each kind, with its name and how sure it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from matcher.images import Scan
    from matcher.layout import Layout

__all__ = ["COLOURS", "Mark", "marked", "outlined"]

COLOURS = {
    "text": (0, 98, 170),
    "illustration": (206, 30, 20),
    "ornament": (16, 130, 60),
    "initial": (150, 40, 170),
}
"""Red, green, blue of each kind."""

_TINT = 0.16


def outlined(scan: Scan, layout: Layout) -> NDArray[np.uint8]:
    """Draw the regions of a layout on its page.

    Parameters
    ----------
    scan : Scan
        The page in colour; the drawing has its size.
    layout : Layout

    Returns
    -------
    uint8, shape (h, w, 3)
    """
    # Pictures last: they often lie in blocks of text.
    regions = sorted(layout.regions, key=lambda region: region.kind != "text")
    marks = [Mark((region.outline(),), f"{region.kind} {region.score:.2f}", COLOURS[region.kind]) for region in regions]
    return marked(scan, marks)


class Mark(NamedTuple):
    """What is drawn of one thing: outlines in pixels of the original image, words, red, green, blue; points in it."""

    outlines: Sequence[NDArray]
    words: str
    colour: tuple[int, int, int]
    points: NDArray | Sequence[NDArray] = ()


def marked(scan: Scan, marks: Iterable[Mark]) -> NDArray[np.uint8]:
    """Draw marks on an image, one over the other; see `outlined`."""
    scale = np.array([scan.scale_x, scan.scale_y])

    def placed(points: NDArray) -> NDArray[np.int32]:
        return np.asarray(np.round((points + 0.5) / scale - 0.5), np.int32)

    drawn = [(mark, [placed(outline) for outline in mark.outlines]) for mark in marks]
    page, tinted = scan.pixels.copy(), scan.pixels.copy()
    thick = max(1, round(max(page.shape[:2]) / 500))
    for mark, outlines in drawn:
        cv2.fillPoly(tinted, outlines, mark.colour)
    page = np.asarray(cv2.addWeighted(tinted, _TINT, page, 1 - _TINT, 0), np.uint8)
    for mark, outlines in drawn:
        cv2.polylines(page, outlines, True, mark.colour, thick, cv2.LINE_AA)
        for x, y in placed(np.asarray(mark.points, np.float64).reshape(-1, 2)).tolist():
            cv2.circle(page, (x, y), 2 * thick, mark.colour, cv2.FILLED, cv2.LINE_AA)
    sheet = Image.fromarray(page)
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(max(9, round(max(page.shape[:2]) / 90)))
    for mark, outlines in drawn:
        corners = np.vstack(outlines)
        left, top, right, bottom = pen.textbbox((0, 0), mark.words, font=font)
        wide, high = right - left + 6, bottom - top + 6
        x = min(max(0, int(corners[:, 0].min())), max(0, sheet.width - wide))
        y = max(0, int(corners[:, 1].min()) - high)
        pen.rectangle((x, y, x + wide, y + high), fill=mark.colour)
        pen.text((x + 3 - left, y + 3 - top), mark.words, fill="white", font=font)
    return np.asarray(sheet)
