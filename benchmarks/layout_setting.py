"""A page being set: paper, and what is drawn and printed on it, each thing with its zone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image, ImageDraw

from benchmarks.layout_drawings import bar, flourished_letter, foliage, framed_letter, headpiece
from benchmarks.layout_material import Sheet, Zone
from benchmarks.layout_type import COLOURS, DRAWN, REDS, faces, font, pick, prose, words

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.layout_material import Material
    from benchmarks.layout_type import Style

__all__ = ["Setting", "corners", "halftone"]


def halftone(pixels: NDArray[np.uint8], period: float, degrees: float) -> NDArray[np.uint8]:
    """Screen a grey picture with dots `period` pixels apart at an angle."""
    up = 2
    high, wide = pixels.shape
    big = cv2.resize(pixels, (wide * up, high * up), interpolation=cv2.INTER_LINEAR).astype(np.float32)
    rate, turn = 2 * math.pi / (period * up), math.radians(degrees)
    cos, sin = rate * math.cos(turn), rate * math.sin(turn)
    y, x = np.arange(high * up, dtype=np.float32)[:, None], np.arange(wide * up, dtype=np.float32)[None]
    u, v = x * cos + y * sin, y * cos - x * sin
    dots = np.where(big > 127.5 + 63.7 * (np.cos(u) + np.cos(v)), 255, 0).astype(np.uint8)
    return np.asarray(cv2.resize(dots, (wide, high), interpolation=cv2.INTER_AREA), np.uint8)


def corners(left: float, top: float, right: float, bottom: float) -> NDArray[np.float32]:
    """Return the outline of a box, clockwise from its upper left corner."""
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)


class Setting:
    """A page being set."""

    def __init__(self, wide: int, high: int, tone: NDArray[np.float32], rng: np.random.Generator) -> None:
        self.wide, self.high = wide, high
        self._rng = rng
        mottled = rng.standard_normal((high // 24 + 2, wide // 24 + 2)).astype(np.float32)
        mottled = cv2.resize(mottled, (wide, high), interpolation=cv2.INTER_CUBIC) * float(rng.uniform(0, 5))
        self._paper = np.clip(tone + mottled[..., None], 0, 255)
        self._image = Image.fromarray(self._paper.astype(np.uint8))
        self._draw = ImageDraw.Draw(self._image)
        self._zones: list[Zone] = []

    def finished(self) -> Sheet:
        """Return the page."""
        return Sheet(np.asarray(self._image), tuple(self._zones))

    def _zone(self, kind: str, left: float, top: float, right: float, bottom: float) -> None:
        self._zones.append(Zone(kind, corners(left, top, right, bottom)))

    def line(self, style: Style, left: float, top: float, wide: float) -> None:
        """Set one line of prose as wide as asked for."""
        lines = prose(style.face)
        line = lines[int(self._rng.integers(len(lines)))]
        scale = style.size / DRAWN
        cut = line[:, : max(1, int(wide / scale))]
        size = (max(1, int(wide)), max(1, int(line.shape[0] * scale)))
        mask = cv2.resize(cut, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        self._image.paste(style.ink, (int(left), int(top)), Image.fromarray(mask))

    def column(self, style: Style, material: Material, left: int, right: int, top: int, bottom: int) -> None:
        """Fill a column from the top down."""
        rng = self._rng
        began: int | None = None
        step = style.size * style.leading
        while top < bottom - 2 * step:
            chance = rng.random()
            if chance < style.pictures + style.ornaments + 0.06 and began is not None:
                self._zone("text", left - 2, began, right + 2, top)
                began = None
            if chance < style.pictures:
                top = self.picture(style, material, left, right, top, bottom)
            elif chance < style.pictures + style.ornaments:
                top = self.ornament(style, material, left, right, top, bottom)
            elif chance < style.pictures + style.ornaments + 0.03:
                top = self.headline(style, left, right, top, float(rng.uniform(1.1, 1.8)))
            elif chance < style.pictures + style.ornaments + 0.045:
                y = top + step / 2
                self.rule(left, y, right, y, style)
                top += int(step)
            elif chance < style.pictures + style.ornaments + 0.06:
                top = (
                    self.table(style, left, right, top, bottom)
                    if rng.random() < 0.6
                    else self.staves(style, left, right, top, bottom)
                )
            else:
                began = top if began is None else began
                top = self.paragraph(style, material, left, right, top, bottom)
        if began is not None:
            self._zone("text", left - 2, began, right + 2, min(top, bottom))

    def paragraph(self, style: Style, material: Material, left: int, right: int, top: int, bottom: int) -> int:
        """Set a paragraph, maybe with an initial; return where it ends."""
        rng = self._rng
        step = style.size * style.leading
        lines = int(rng.integers(2, 18))
        lines = max(1, min(lines, int((bottom - top) / step)))
        indent, beside = rng.choice([0, 1.5]) * style.size, 0
        if rng.random() < style.initials and lines >= 2:
            beside = int(rng.integers(2, min(lines, 8) + 1)) if lines > 2 else 2
            side = int(beside * step - 0.15 * style.size)
            side = min(side, int((right - left) * 0.5))
            beside = int(np.ceil(side / step))
            out = int(side * rng.choice([0, 0, 0, 1.0, 0.5]))
            indent = self.initial(style, material, left - out, top, side) - out
        for number in range(lines):
            start = left + (max(indent, 0) if number < max(1, beside) else 0)
            ragged = 0.0 if style.justified else rng.uniform(0, 0.25)
            room = (right - start) * (rng.uniform(0.2, 1) if number == lines - 1 else 1 - ragged)
            self.line(style, start, top, room)
            if number == lines - 1 and room < 0.8 * (right - start) and rng.random() < style.fillers:
                self.filler(style, material, int(start + room + 0.4 * style.size), right, top)
            top += int(step)
        if rng.random() < 0.3:
            top += int(step * rng.uniform(0.2, 1))
        return top

    def filler(self, style: Style, material: Material, left: int, right: int, top: int) -> None:
        """Fill the end of a line as illuminators do: with a bar of ornament, in colours or in ink."""
        rng = self._rng
        wide = int((right - left) * (1 if rng.random() < 0.7 else rng.uniform(0.3, 1)))
        high = int(style.size * rng.uniform(0.6, 1.1))
        if wide < 1.2 * style.size:
            return
        chance = rng.random()
        if chance < 0.4:
            pixels = cv2.resize(material.cutting("ornament", rng, thin=True).pixels, (wide, high))
        elif chance < 0.7:
            ground, pen = COLOURS[int(rng.integers(len(COLOURS)))], COLOURS[int(rng.integers(len(COLOURS)))]
            pixels = bar(wide, high, ground, (230, 200, 120) if rng.random() < 0.5 else pen, rng)
        else:
            pixels = headpiece(wide, high, rng)
        self._stamp(pixels, left, top)
        self._zone("ornament", left, top, left + wide, top + high)

    def initial(self, style: Style, material: Material, left: int, top: int, side: int) -> int:
        """Draw an initial; return how much room it takes from the left."""
        rng = self._rng
        chance = rng.random()
        wide = int(side * rng.uniform(0.75, 1.15))
        if chance < 0.4 and not style.manuscript:
            cutting = material.cutting("initial", rng)
            self._stamp(cv2.resize(cutting.pixels, (wide, side), interpolation=cv2.INTER_AREA), left, top)
        elif chance < 0.7 and not style.manuscript:
            face = pick(faces(material.fonts)["display" if rng.random() < 0.6 else "black"], rng)
            self._stamp(framed_letter(font(face, int(side * 0.85)), wide, side, rng), left, top)
        else:
            face = pick(faces(material.fonts)["hand" if style.manuscript else "display"], rng)
            colour = style.ink if rng.random() < 0.25 else COLOURS[int(rng.integers(len(COLOURS)))]
            drawn = flourished_letter(font(face, int(side * 1.1)), side, colour, rng)
            wide = drawn.shape[1]
            self._stamp(drawn, left, top)
        self._zone("initial", left, top, left + wide, top + side)
        return wide + int(0.25 * style.size)

    def ornament(self, style: Style, material: Material, left: int, right: int, top: int, bottom: int) -> int:
        """Draw a tailpiece, a fleuron or a bar in the middle of a column."""
        rng = self._rng
        wide = int((right - left) * rng.uniform(0.15, 0.8))
        chance = rng.random()
        cut = material.cutting("ornament", rng).pixels
        if chance < 0.45 and cut.shape[1] > wide // 3:
            pixels = cut
        elif chance < 0.7:
            pixels = headpiece(wide, int(np.clip(wide * rng.uniform(0.1, 0.4), 16, 200)), rng)
        else:
            pixels = foliage(wide, int(np.clip(wide * rng.uniform(0.5, 1.0), 16, 300)), rng)
        high = int(np.clip(pixels.shape[0] * wide / pixels.shape[1], 6, bottom - top - 4))
        top += int(0.5 * style.size)
        if top + high >= bottom:
            return bottom
        x = (left + right - wide) // 2
        self._stamp(cv2.resize(pixels, (wide, high), interpolation=cv2.INTER_AREA), x, top)
        self._zone("ornament", x, top, x + wide, top + high)
        return top + high + int(style.size)

    def headpiece(self, style: Style, material: Material, left: int, right: int, top: int) -> int:
        """Draw an ornament across the head of the text; return where it ends."""
        rng = self._rng
        wide = right - left
        pixels = material.cutting("ornament", rng).pixels
        if rng.random() < 0.5 or pixels.shape[1] < max(2 * pixels.shape[0], wide // 3):
            pixels = headpiece(wide, int(wide * rng.uniform(0.06, 0.25)), rng)
        high = int(np.clip(pixels.shape[0] * wide / pixels.shape[1], 8, self.high * 0.2))
        self._stamp(cv2.resize(pixels, (wide, high), interpolation=cv2.INTER_AREA), left, top)
        self._zone("ornament", left, top, right, top + high)
        return top + high + style.size

    def picture(
        self, style: Style, material: Material, left: int, right: int, top: int, bottom: int, *, whole: bool = False
    ) -> int:
        """Print a picture, screened or not, with or without frame and caption; return where it ends."""
        rng = self._rng
        pixels = material.cutting("illustration", rng).pixels if rng.random() < 0.2 else material.picture(rng)
        if rng.random() < 0.3:
            high, wide = pixels.shape[:2]
            share = rng.uniform(0.4, 0.9, size=2)
            y, x = int(rng.uniform(0, 1 - share[0]) * high), int(rng.uniform(0, 1 - share[1]) * wide)
            pixels = pixels[y : y + int(share[0] * high), x : x + int(share[1] * wide)]
        wide = int((right - left) * (1 if rng.random() < 0.5 or whole else rng.uniform(0.35, 1)))
        high = int(wide * pixels.shape[0] / pixels.shape[1])
        room = int((bottom - top) * (0.97 if whole else 0.85)) - 2 * style.size
        if high > room:
            wide, high = max(8, int(wide * room / high)), room
        if wide < 40 or high < 40:
            return top + style.size * 2
        top += int(0.6 * style.size)
        x = (left + right - wide) // 2 if rng.random() < 0.8 else left
        printed = cv2.resize(pixels, (wide, high), interpolation=cv2.INTER_AREA)
        chance = rng.random()
        if chance < 0.6:
            gray = cv2.cvtColor(printed, cv2.COLOR_RGB2GRAY)
            if chance < 0.25:
                gray = halftone(gray, float(rng.uniform(2.2, 6)), float(rng.uniform(0, 90)))
            printed = cv2.cvtColor(gray, cv2.COLOR_GRAY2RGB)
        self._stamp(printed, x, top, lift=float(rng.uniform(0, 40)))
        if rng.random() < 0.35:
            self._draw.rectangle(
                [x, top, x + wide - 1, top + high - 1], outline=style.ink, width=int(rng.integers(1, 4))
            )
        self._zone("illustration", x, top, x + wide, top + high)
        top += high + int(0.3 * style.size)
        if rng.random() < 0.6:
            top = self.caption(style, x, x + wide, top)
        return top + int(style.size * rng.uniform(0.3, 1.5))

    def caption(self, style: Style, left: int, right: int, top: int) -> int:
        """Set a line or two, centred, under a picture."""
        rng = self._rng
        face = font(style.face, max(7, int(style.size * rng.uniform(0.7, 1))))
        for _ in range(int(rng.integers(1, 4))):
            said = " ".join(words(rng, int(rng.integers(2, 9)), 0.2))
            wide = face.getlength(said)
            x = (left + right - wide) / 2
            self._draw.text((x, top), said, font=face, fill=style.ink)
            self._zone("text", x - 2, top, x + wide + 2, top + face.size * 1.2)
            top += int(face.size * 1.25)
        return top

    def headline(self, style: Style, left: int, right: int, top: int, larger: float) -> int:
        """Set a headline of one to three lines."""
        rng = self._rng
        size = int(min(style.size * larger, (right - left) / 5))
        face = font(style.heading, max(8, size))
        began, widest = top, 0.0
        capitals = rng.random() < 0.4
        centre = rng.random() < 0.7
        colour = REDS[int(rng.integers(len(REDS)))] if rng.random() < 0.1 else style.ink
        for _ in range(int(rng.integers(1, 4))):
            said = " ".join(words(rng, int(rng.integers(1, 8)), 0.5))
            said = said.upper() if capitals else said
            while face.getlength(said) > right - left and len(said) > 3:
                said = said[: len(said) * 3 // 4]
            wide = face.getlength(said)
            self._draw.text(((left + right - wide) / 2 if centre else left, top), said, font=face, fill=colour)
            widest = max(widest, wide)
            top += int(size * 1.25)
        x = (left + right - widest) / 2 if centre else left
        self._zone("text", x - 2, began, x + widest + 2, top)
        return top + int(style.size * 0.6)

    def running_head(self, style: Style, left: int, right: int, top: int) -> int:
        """Set a running title and a page number."""
        face = font(style.face, style.size)
        said = " ".join(words(self._rng, 3, 0.7))
        wide = face.getlength(said)
        x = (left + right - wide) / 2
        self._draw.text((x, top), said, font=face, fill=style.ink)
        self._zone("text", x - 2, top, x + wide + 2, top + style.size * 1.2)
        number = str(self._rng.integers(1, 900))
        self._draw.text((right - face.getlength(number), top), number, font=face, fill=style.ink)
        self._zone("text", right - face.getlength(number) - 2, top, right + 2, top + style.size * 1.2)
        if self._rng.random() < 0.3:
            self.rule(left, top + style.size * 1.5, right, top + style.size * 1.5, style)
        return top + int(style.size * 2.2)

    def rule(self, left: float, top: float, right: float, bottom: float, style: Style) -> None:
        """Draw a rule: no picture, and no text."""
        self._draw.line([left, top, right, bottom], fill=style.ink, width=int(self._rng.integers(1, 4)))

    def table(self, style: Style, left: int, right: int, top: int, bottom: int) -> int:
        """Set a table with or without rules: text."""
        rng = self._rng
        rows, columns = int(rng.integers(3, 12)), int(rng.integers(2, 6))
        step = style.size * 1.4
        rows = max(1, min(rows, int((bottom - top) / step)))
        face = font(style.face, max(7, style.size - 2))
        ruled = rng.random() < 0.5
        wide = (right - left) / columns
        for row in range(rows):
            for column in range(columns):
                said = str(rng.integers(1, 99999)) if column else " ".join(words(rng, 2))
                while face.getlength(said) > wide - 4 and len(said) > 1:
                    said = said[:-1]
                self._draw.text((left + column * wide + 3, top + row * step), said, font=face, fill=style.ink)
            if ruled:
                self._draw.line([left, top + row * step, right, top + row * step], fill=style.ink)
        if ruled:
            for column in range(columns + 1):
                x = left + column * wide
                self._draw.line([x, top, x, top + rows * step], fill=style.ink)
        self._zone("text", left, top, right, top + rows * step)
        return int(top + rows * step + style.size)

    def staves(self, style: Style, left: int, right: int, top: int, bottom: int) -> int:
        """Draw staves with notes: music counts as text, as it is no picture."""
        rng = self._rng
        gap = max(3, int(style.size * 0.35))
        lines = int(rng.choice([4, 5]))
        began = top
        for _ in range(int(rng.integers(1, 5))):
            if top + lines * gap + 2 * style.size > bottom:
                break
            for number in range(lines):
                self._draw.line([left, top + number * gap, right, top + number * gap], fill=style.ink)
            for x in np.arange(left + 4, right - gap, gap * rng.uniform(1.5, 4)):
                y = top + (rng.integers(0, 2 * lines) - 1) * gap / 2
                self._draw.ellipse([x, y, x + gap, y + gap], fill=style.ink)
                if rng.random() < 0.6:
                    self._draw.line([x + gap, y, x + gap, y - 3 * gap], fill=style.ink)
            top += lines * gap + int(style.size * 0.5)
            self.line(style, left, top, right - left)
            top += int(style.size * 1.6)
        if top > began:
            self._zone("text", left, began, right, top)
        return top + style.size

    def marginalia(self, style: Style, left: int, right: int, top: int, bottom: int) -> None:
        """Set notes in the outer margin."""
        rng = self._rng
        room = self.wide - right - 12
        size = max(7, int(style.size * 0.6))
        if room < 5 * size:
            return
        face = font(style.face, size)
        for _ in range(int(rng.integers(1, 5))):
            y = float(rng.uniform(top, bottom - 8 * size))
            began = y
            for _ in range(int(rng.integers(1, 6))):
                said = " ".join(words(rng, 2))
                while face.getlength(said) > room and len(said) > 1:
                    said = said[:-1]
                self._draw.text((right + 8, y), said, font=face, fill=style.ink)
                y += size * 1.2
            self._zone("text", right + 6, began, right + 8 + room, y)

    def _stamp(self, pixels: NDArray[np.uint8], left: int, top: int, lift: float = 0.0) -> None:
        """Print a picture on the paper: what is white in it stays paper."""
        high, wide = pixels.shape[:2]
        x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + wide, self.wide), min(top + high, self.high)
        if x1 <= x0 or y1 <= y0:
            return
        ink = pixels[y0 - top : y1 - top, x0 - left : x1 - left].astype(np.float32)
        white = max(float(np.percentile(ink, 97)), 60.0)
        share = np.clip(ink / white, 0, 1)
        paper = self._paper[y0:y1, x0:x1]
        printed = paper * (lift / 255 + (1 - lift / 255) * share)
        self._image.paste(Image.fromarray(printed.astype(np.uint8)), (x0, y0))
