"""A page with what was found on it drawn in: outlines in a colour for each kind, with its name and how sure it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from matcher.images import Scan
    from matcher.layout import Layout

__all__ = ["COLOURS", "outlined"]

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
    scale = np.array([scan.scale_x, scan.scale_y])
    # Pictures last: they often lie in blocks of text.
    regions = sorted(layout.regions, key=lambda region: region.kind != "text")
    outlines = [np.round((region.outline() + 0.5) / scale - 0.5).astype(np.int32) for region in regions]
    page, tinted = scan.pixels.copy(), scan.pixels.copy()
    thick = max(1, round(max(page.shape[:2]) / 500))
    for region, outline in zip(regions, outlines, strict=True):
        cv2.fillPoly(tinted, [outline], COLOURS[region.kind])
    page = np.asarray(cv2.addWeighted(tinted, _TINT, page, 1 - _TINT, 0), np.uint8)
    for region, outline in zip(regions, outlines, strict=True):
        cv2.polylines(page, [outline], True, COLOURS[region.kind], thick, cv2.LINE_AA)
    sheet = Image.fromarray(page)
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(max(9, round(max(page.shape[:2]) / 90)))
    for region, outline in zip(regions, outlines, strict=True):
        words = f"{region.kind} {region.score:.2f}"
        left, top, right, bottom = pen.textbbox((0, 0), words, font=font)
        wide, high = right - left + 6, bottom - top + 6
        x = min(max(0, int(outline[:, 0].min())), max(0, sheet.width - wide))
        y = max(0, int(outline[:, 1].min()) - high)
        pen.rectangle((x, y, x + wide, y + high), fill=COLOURS[region.kind])
        pen.text((x + 3 - left, y + 3 - top), words, fill="white", font=font)
    return np.asarray(sheet)
