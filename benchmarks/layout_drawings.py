"""Ornaments and initials drawn by rule: foliage, criblé grounds, headpieces, pen flourishes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import ImageFont

__all__ = ["bar", "flourished_letter", "foliage", "framed_letter", "headpiece"]


def _scrolls(wide: int, high: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return white scrolls and leaves on black, uint8 (high, wide)."""
    ground = np.zeros((high, wide), np.uint8)
    size = max(6, min(wide, high))
    for _ in range(int(rng.integers(4, 14))):
        turns, steps = rng.uniform(0.8, 2.5), 40
        along = np.linspace(0.15, 1, steps)
        angle = along * turns * 2 * np.pi * rng.choice([-1, 1]) + rng.uniform(0, 6.3)
        radius = along * size * rng.uniform(0.12, 0.45)
        x = rng.uniform(0, wide) + radius * np.cos(angle)
        y = rng.uniform(0, high) + radius * np.sin(angle)
        points = np.stack([x, y], axis=1).astype(np.int32)
        cv2.polylines(ground, [points], False, 255, max(1, size // int(rng.integers(18, 60))), cv2.LINE_AA)
        for place in points[:: int(rng.integers(4, 9))]:
            axes = (max(1, size // int(rng.integers(12, 40))), max(1, size // int(rng.integers(25, 80))))
            cv2.ellipse(ground, place.tolist(), axes, float(rng.uniform(0, 180)), 0, 360, 255, -1, cv2.LINE_AA)
    return ground


def _coloured(ink: NDArray[np.uint8], colour: tuple[int, int, int] = (20, 18, 16)) -> NDArray[np.uint8]:
    """Return ink (255 where there is any) as RGB on white."""
    share = ink[..., None].astype(np.float32) / 255
    return np.asarray(255 + share * (np.array(colour, np.float32) - 255), np.uint8)


def foliage(wide: int, high: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return a symmetrical vignette, RGB on white, fading to its edges."""
    half = _scrolls(wide // 2 + 1, high, rng)
    ink = np.hstack([half, half[:, ::-1]])[:, :wide]
    x, y = np.meshgrid(np.linspace(-1, 1, ink.shape[1]), np.linspace(-1, 1, high))
    power = rng.uniform(1, 3)
    inside = np.abs(x) ** power + np.abs(y) ** power < 1
    return _coloured(np.where(inside, ink, 0).astype(np.uint8))


def headpiece(wide: int, high: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return a band of ornament, RGB on white: one mirrored drawing, or one repeated; on white or on black."""
    if rng.random() < 0.5:
        half = _scrolls(wide // 2 + 1, high, rng)
        ink = np.hstack([half, half[:, ::-1]])[:, :wide]
    else:
        side = max(6, int(high * rng.uniform(0.5, 1)))
        tile = _scrolls(side, high, rng)
        tile = np.hstack([tile, tile[:, ::-1]])
        ink = np.tile(tile, (1, wide // tile.shape[1] + 1))[:, :wide]
    if rng.random() < 0.4:
        ink = 255 - ink
    if rng.random() < 0.6:
        cv2.rectangle(ink, (0, 0), (ink.shape[1] - 1, high - 1), 255, int(rng.integers(1, 4)))
    return _coloured(ink)


def bar(
    wide: int, high: int, ground: tuple[int, int, int], pen: tuple[int, int, int], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Return a bar that fills the end of a line, RGB: a ground in colours with a wave, lozenges or scrolls upon it."""
    drawn = np.full((high, wide, 3), ground, np.uint8)
    chance, along = rng.random(), np.arange(0, wide, max(3, int(high * rng.uniform(0.5, 1.5))))
    if chance < 0.35:
        x = np.arange(wide)
        y = high / 2 + high * 0.3 * np.sin(x * 2 * np.pi / (high * rng.uniform(0.8, 3)))
        cv2.polylines(drawn, [np.stack([x, y], axis=1).astype(np.int32)], False, pen, max(1, high // 8), cv2.LINE_AA)
    elif chance < 0.65:
        for x in along.tolist():
            cv2.circle(drawn, (x, high // 2), max(1, high // 4), pen, -1 if rng.random() < 0.5 else 1, cv2.LINE_AA)
    else:
        share = _scrolls(wide, high, rng)[..., None].astype(np.float32) / 255
        drawn = (drawn + share * (np.array(pen, np.float32) - drawn)).astype(np.uint8)
    cv2.rectangle(drawn, (0, 0), (wide - 1, high - 1), (40, 30, 25), 1)
    return drawn


def framed_letter(font: ImageFont.FreeTypeFont, wide: int, high: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return a letter in a square of foliage or dots, RGB: black on white or white on black."""
    ground = _scrolls(wide, high, rng)
    if rng.random() < 0.3:
        ground = np.zeros((high, wide), np.uint8)
        pitch = int(rng.integers(3, 8))
        ground[::pitch, ::pitch] = 255
        ground = cv2.dilate(ground, np.ones((2, 2), np.uint8))
    letter = Image.new("L", (wide, high), 0)
    ImageDraw.Draw(letter).text((wide / 2, high / 2), _letter(rng), font=font, fill=255, anchor="mm")
    shape = np.asarray(letter)
    cleared = np.where(cv2.dilate(shape, np.ones((3, 3), np.uint8)) > 0, 0, ground)
    ink = np.maximum(cleared, shape) if rng.random() < 0.5 else np.where(shape > 127, 0, np.maximum(ground, 90))
    if rng.random() < 0.5:
        ink = 255 - ink
    ink = ink.astype(np.uint8)
    if rng.random() < 0.85:
        cv2.rectangle(ink, (0, 0), (wide - 1, high - 1), 255, int(rng.integers(1, 3)))
    colour = (20, 18, 16) if rng.random() < 0.8 else (150, 35, 30)
    return _coloured(ink, colour)


def flourished_letter(
    font: ImageFont.FreeTypeFont, high: int, colour: tuple[int, int, int], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Return a letter in coloured ink, RGB on white, maybe with strokes of the pen around it."""
    letter = _letter(rng)
    left, top, right, bottom = font.getbbox(letter)
    image = Image.new("L", (max(8, int(right - left) + 2), max(8, int(bottom - top) + 2)), 0)
    ImageDraw.Draw(image).text((1 - left, 1 - top), letter, font=font, fill=255)
    wide = max(6, round(image.width * high / image.height))
    shape = cv2.resize(np.asarray(image), (min(wide, 2 * high), high), interpolation=cv2.INTER_AREA)
    drawn = _coloured(shape, colour)
    if rng.random() < 0.4:
        pen = np.zeros_like(shape)
        for _ in range(int(rng.integers(2, 6))):
            start, bend, end = rng.uniform(0, 1, (3, 2)) * (shape.shape[1], high)
            t = np.linspace(0, 1, 24)[:, None]
            curve = (1 - t) ** 2 * start + 2 * t * (1 - t) * bend + t**2 * end
            cv2.polylines(pen, [curve.astype(np.int32)], False, 200, 1, cv2.LINE_AA)
        other = ((40, 70, 150), (160, 40, 35))[int(rng.integers(2))]
        drawn = np.minimum(drawn, _coloured(pen, other))
    return drawn


def _letter(rng: np.random.Generator) -> str:
    return str(rng.choice(list("ABCDEFGHILMNOPQRSTUVX")))
