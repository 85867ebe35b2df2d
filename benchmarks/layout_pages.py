"""Pages composed for training the layout network: pictures of many kinds among made-up prose, incunable to magazine.

A page is set column by column, from the top down, out of what such a page may hold: headlines, paragraphs, initials,
ornaments, rules, tables, staves, pictures with captions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.layout_material import Sheet, Zone
from benchmarks.layout_setting import Setting, corners
from benchmarks.layout_type import style_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.layout_material import Material
    from benchmarks.layout_type import Style

__all__ = ["compose"]

_KINDS = {"book": 0.2, "old": 0.25, "manuscript": 0.11, "news": 0.19, "magazine": 0.13, "title": 0.05, "plate": 0.07}
"""Kinds of pages, and how often they are composed."""


def compose(material: Material, rng: np.random.Generator) -> Sheet:
    """Return a page composed of made-up prose and of pictures that belong to `material`."""
    kind = str(rng.choice(list(_KINDS), p=list(_KINDS.values())))
    ratio = rng.uniform(0.58, 0.82)
    high = int(rng.integers(1000, 1250))
    sheet = Setting(int(high * ratio), high, _paper_tone(kind, rng), rng)
    if kind == "plate":
        return _plate(sheet, material, rng)
    style = style_of(kind, material.fonts, rng)
    if kind == "title":
        return _title_page(sheet, style, material, rng)
    margin = rng.uniform(0.05, 0.14, size=4) * sheet.wide
    left, right = int(margin[0]), sheet.wide - int(margin[1])
    top, bottom = int(margin[2]), high - int(margin[3] * 1.2)
    if rng.random() < 0.6:
        top = sheet.running_head(style, left, right, top)
    if rng.random() < 0.25:
        top = sheet.headpiece(style, material, left, right, top)
    if rng.random() < (0.8 if kind == "news" else 0.3):
        top = sheet.headline(style, left, right, top, float(rng.uniform(1.6, 4.0)))
    while top < bottom - 8 * style.size:  # a news page has several bands of columns
        band = bottom if rng.random() < 0.7 else min(bottom, top + int(rng.uniform(0.25, 0.6) * high))
        gap = int(rng.uniform(1.0, 2.5) * style.size)
        wide = (right - left - (style.columns - 1) * gap) / style.columns
        if style.columns > 1 and rng.random() < style.pictures * 0.5:
            top = sheet.picture(style, material, left, right, top, band)
        for number in range(style.columns):
            x = left + number * (wide + gap)
            if number and style.rules:
                sheet.rule(x - gap / 2, top, x - gap / 2, band, style)
            sheet.column(style, material, int(x), int(x + wide), top, band)
        top = band + int(rng.uniform(1.5, 3) * style.size)
        if band >= bottom:
            break
    if style.columns <= 2 and rng.random() < 0.3:
        sheet.marginalia(style, left, right, int(margin[2]), bottom)
    return sheet.finished()


def _paper_tone(kind: str, rng: np.random.Generator) -> NDArray[np.float32]:
    base = float(rng.uniform(195, 252))
    warm = float(rng.uniform(0, 1)) * (0.6 if kind in ("magazine", "news") else 1)
    return np.array([base, base - 10 * warm, base - 42 * warm], np.float32)


def _plate(sheet: Setting, material: Material, rng: np.random.Generator) -> Sheet:
    """A picture that fills the page, or the whole image."""
    pixels = material.picture(rng)
    if rng.random() < 0.4:  # no page at all
        high, wide = pixels.shape[:2]
        return Sheet(pixels, (Zone("illustration", corners(0, 0, wide, high)),))
    style = style_of("book", material.fonts, rng)
    top = int(sheet.high * rng.uniform(0.04, 0.2))
    left, right = int(sheet.wide * rng.uniform(0.04, 0.2)), int(sheet.wide * rng.uniform(0.8, 0.96))
    sheet.picture(style, material, left, right, top, int(sheet.high * 0.97), whole=True)
    return sheet.finished()


def _title_page(sheet: Setting, style: Style, material: Material, rng: np.random.Generator) -> Sheet:
    """Few lines, large and small, far apart, centred; maybe a device or an ornament among them."""
    left, right = int(sheet.wide * rng.uniform(0.08, 0.2)), int(sheet.wide * rng.uniform(0.8, 0.92))
    top, bottom = int(sheet.high * rng.uniform(0.06, 0.2)), int(sheet.high * 0.93)
    device = rng.random() < 0.5
    while top < bottom - 8 * style.size:
        if device and top > sheet.high * 0.4 and rng.random() < 0.5:
            middle, half = (left + right) // 2, int((right - left) * rng.uniform(0.1, 0.3))
            draw = sheet.picture if rng.random() < 0.5 else sheet.ornament
            top = draw(style, material, middle - half, middle + half, top, bottom)
            device = False
        elif rng.random() < 0.12:
            y = top + style.size
            sheet.rule(left, y, right, y, style)
            top += 2 * style.size
        else:
            top = sheet.headline(style, left, right, top, float(rng.uniform(0.8, 4.5)))
        top += int(style.size * rng.uniform(0.2, 3.5))
    return sheet.finished()
