"""Print and scan: what a halftone screen, an engraver, paper and a scanner do to a page."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["bleed_through", "crush", "engrave", "halftone", "jpeg", "paper", "skew"]


def crush(image: NDArray[np.uint8], dark: float, light: float, gamma: float = 1.0) -> NDArray[np.uint8]:
    """Squeeze the tones of a grey picture into `dark` … `light` (0 black, 255 white), bent by `gamma` first."""
    table = dark + (light - dark) * (np.arange(256) / 255.0) ** gamma
    return np.asarray(np.round(np.clip(table, 0, 255)).astype(np.uint8)[image])


def halftone(image: NDArray[np.uint8], pitch: float, angle: float, *, oversample: int = 4) -> NDArray[np.uint8]:
    """Screen a grey picture into dots whose area carries the tone, as process engravers did from the 1880s on.

    Parameters
    ----------
    image : uint8, shape (h, w)
        Grey picture at the size at which it is printed.
    pitch : float
        Distance between rows of dots in pixels: dots per inch of the scan over lines per inch of the screen.
    angle : float
        Angle of the screen in degrees; black was commonly printed at 45.
    oversample : int
        The dots are drawn so many times finer and then averaged.

    Returns
    -------
    uint8, shape (h, w)
    """
    turn = math.radians(angle)
    fine, x, y = _fine(image, oversample)
    u = np.cos((x * math.cos(turn) + y * math.sin(turn)) * (2 * math.pi / pitch))
    v = np.cos((y * math.cos(turn) - x * math.sin(turn)) * (2 * math.pi / pitch))
    wave = np.sort(np.add.outer(*(np.cos(np.linspace(0, 2 * math.pi, 128, endpoint=False)),) * 2).ravel())
    # A dot screen must leave as much paper as the tone asks for: threshold at the screen's own quantiles.
    levels = np.quantile(wave, np.arange(256) / 255).astype(np.float32)
    return _coarse(np.where(u + v < levels[fine], 255, 0), image.shape)


def engrave(image: NDArray[np.uint8], pitch: float, angle: float, *, oversample: int = 4) -> NDArray[np.uint8]:
    """Cut a grey picture into swelling parallel lines that bend with its forms, in the manner of a wood engraver.

    Parameters and answer as for `halftone`; `pitch` is the distance between lines.
    """
    turn = math.radians(angle)
    fine, x, y = _fine(image, oversample)
    relief = cv2.GaussianBlur(fine, (0, 0), 2.5 * oversample).astype(np.float32) / 255
    phase = (y * math.cos(turn) + x * math.sin(turn)) / pitch + 1.5 * relief
    return _coarse(np.where(np.abs(2 * (phase - np.floor(phase)) - 1) < fine / 255.0, 255, 0), image.shape)


def _fine(image: NDArray[np.uint8], oversample: int) -> tuple[NDArray[np.uint8], NDArray, NDArray]:
    """Return `image` enlarged, and the x (1, w) and y (h, 1) of its pixels in pixels of `image`."""
    high, wide = image.shape[0] * oversample, image.shape[1] * oversample
    fine = cv2.resize(image, (wide, high), interpolation=cv2.INTER_LINEAR)
    x = (np.arange(wide, dtype=np.float32)[None, :] + 0.5) / oversample - 0.5
    y = (np.arange(high, dtype=np.float32)[:, None] + 0.5) / oversample - 0.5
    return np.asarray(fine, np.uint8), x, y


def _coarse(fine: NDArray, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(fine.astype(np.uint8), (shape[1], shape[0]), interpolation=cv2.INTER_AREA), np.uint8)


def paper(
    shape: tuple[int, int], rng: np.random.Generator, *, tone: float = 224, grain: float = 3.0
) -> NDArray[np.float32]:
    """Return a sheet of old paper: grey `tone`, slow stains and fibre `grain`; float32, shape `shape`, 0 to 255."""
    slow = cv2.resize(rng.normal(0, 1, (7, 5)).astype(np.float32), shape[::-1], interpolation=cv2.INTER_CUBIC)
    fibre = cv2.GaussianBlur(rng.standard_normal(shape, np.float32), (0, 0), 0.9)
    return np.asarray(np.clip(tone + 4 * slow + grain * 2.2 * fibre, 0, 255), np.float32)


def bleed_through(page: NDArray[np.float32], verso: NDArray[np.uint8], strength: float) -> NDArray[np.float32]:
    """Let the ink of the other side show through: `verso`, mirrored and soft, darkens by up to `strength` (0 to 1)."""
    shade = cv2.GaussianBlur(255 - verso[:, ::-1], (0, 0), 2.2).astype(np.float32) / 255
    return np.asarray(page * (1 - strength * shade), np.float32)


def skew(
    page: NDArray[np.float32], degrees: float, *, background: float = 40.0, margin: int = 14
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Lay the page askew on the scanner.

    Parameters
    ----------
    page : float32, shape (h, w)
    degrees : float
        Clockwise.
    background : float
        Grey of the scanner's lid.
    margin : int
        Pixels of lid that show on every side.

    Returns
    -------
    scan : float32, shape (h + 2 margin, w + 2 margin)
    matrix : float64, shape (3, 3)
        From page pixels to scan pixels.
    """
    high, wide = page.shape
    turn = math.radians(degrees)
    cosine, sine = math.cos(turn), math.sin(turn)
    x, y = (wide - 1) / 2, (high - 1) / 2
    matrix = np.array(
        [
            [cosine, -sine, x + margin - cosine * x + sine * y],
            [sine, cosine, y + margin - sine * x - cosine * y],
            [0, 0, 1],
        ]
    )
    size = (wide + 2 * margin, high + 2 * margin)
    scan = cv2.warpPerspective(page, matrix, size, flags=cv2.INTER_LINEAR, borderValue=(background,))
    return np.asarray(scan, np.float32), matrix


def jpeg(image: NDArray[np.uint8], quality: int) -> bytes:
    """Return `image`, grey or RGB, as a JPEG file of `quality` 1 to 100."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return file.getvalue()
