"""The block maker's and the printer's part: photograph → cropped, retouched, altered copy → halftone as scanned.

Everything is drawn in the pixels of the scan: a screen of `lines` to the inch on a page scanned at `dpi` has its dots
`dpi / lines` pixels apart. Dots, ink spread and the scanner's sensor are worked out several times finer than that and
then averaged, so that coarse scans of fine screens alias into moiré as real ones do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from cli.demo_print import crush, halftone
from cli.demo_type import SANS, SERIF, Compositor, title
from matcher.types import Region, Transform

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

__all__ = ["CHANGES", "Copy", "Patch", "Recipe", "collage", "copied", "screened"]

_FINE = 5.5
"""Samples across a halftone dot, at the least."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a photograph is reproduced.

    Attributes
    ----------
    kept : float
        Share of the photograph's area that is left after cropping, 0 to 1.
    lines : float
        Lines per inch of the halftone screen.
    width : int
        Pixels that the picture is wide on the scanned page.
    change : str
        What else is done to it: one of `CHANGES`.
    worked_over : bool
        Whether it is retouched and captioned over, as press photographs are.
    page_share : float or None
        If given, the picture takes this share of the page's area, whatever `width` says.
    """

    kept: float = 0.5
    lines: float = 85
    width: int = 300
    change: str = "none"
    worked_over: bool = True
    page_share: float | None = None


@dataclass(frozen=True, slots=True)
class Copy:
    """What the block is made from.

    Attributes
    ----------
    pixels : uint8, shape (h, w) or (h, w, 3)
    matrices : tuple of float64, shape (3, 3)
        For each photograph in it, the map from its pixels to these.
    visible : tuple of float64, shape (4, 2)
        For each, the corners of what is seen of it.
    turn : float
        Degrees, clockwise, by which it is printed askew.
    drawn : bool
        Whether it is line work, printed without a screen.
    """

    pixels: NDArray[np.uint8]
    matrices: tuple[NDArray[np.float64], ...]
    visible: tuple[NDArray[np.float64], ...]
    turn: float = 0.0
    drawn: bool = False


@dataclass(frozen=True, slots=True)
class Patch:
    """A printed picture where it lies on the scan.

    Attributes
    ----------
    paper : float32, shape (h, w) or (h, w, 3)
        Share of bare paper, 0 (ink) to 1.
    cover : float32, shape (h, w)
        1 inside the picture, 0 outside.
    left, top : int
        The pixel of the scan on which the first one lies.
    """

    paper: NDArray[np.float32]
    cover: NDArray[np.float32]
    left: int
    top: int


# ---------------------------------------------------------------------------------------------- the editor


def _cropped(
    photograph: NDArray[np.uint8], kept: float, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], int, int]:
    """Crop around what there is most to see of, return the piece and its left and top edge."""
    high, wide = photograph.shape[:2]
    aspect = float(
        np.clip(wide / high * math.exp(rng.uniform(-0.2, 0.2)), min(0.65, wide / high), max(1.8, wide / high))
    )
    across = min(wide, math.sqrt(kept * wide * high * aspect))
    along = min(high, kept * wide * high / across)
    across = min(wide, kept * wide * high / along)
    edges = np.abs(cv2.Laplacian(cv2.GaussianBlur(_grey(photograph), (0, 0), 2), cv2.CV_32F))
    detail = cv2.GaussianBlur(edges, (0, 0), 0.12 * math.sqrt(wide * high))
    # An editor keeps the subject, not the sky: of some places, the one with most detail around it.
    x, y = rng.uniform(0.2, 0.8, 5) * wide, rng.uniform(0.2, 0.8, 5) * high
    best = int(np.argmax(detail[y.astype(int), x.astype(int)]))
    left = round(min(max(x[best] - across / 2, 0), wide - across))
    top = round(min(max(y[best] - along / 2, 0), high - along))
    return photograph[top : top + round(along), left : left + round(across)], left, top


def _tones(grey: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Crush the contrast: clip lights and shadows, bend what is between, leave neither black nor white."""
    low, high = np.percentile(grey, [rng.uniform(1, 12), rng.uniform(86, 98)])
    clipped = np.clip((grey.astype(np.float32) - low) / max(high - low, 1) * 255, 0, 255).astype(np.uint8)
    return crush(clipped, rng.uniform(10, 45), rng.uniform(215, 248), rng.uniform(0.65, 1.25))


def _retouched(grey: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Paint some patches over, as with an airbrush: about an eighth of the picture."""
    high, wide = grey.shape
    result = grey.astype(np.float32)
    for _ in range(int(rng.integers(2, 5))):
        mask = np.zeros((high, wide), np.uint8)
        centre = (int(rng.uniform(0, wide)), int(rng.uniform(0, high)))
        radii = (max(2, round(wide * rng.uniform(0.07, 0.18))), max(2, round(high * rng.uniform(0.07, 0.18))))
        cv2.ellipse(mask, centre, radii, float(rng.uniform(0, 180)), 0, 360, 255, -1)
        tone = float(cv2.mean(grey, mask)[0]) + rng.uniform(-25, 25)
        soft = cv2.GaussianBlur(mask, (0, 0), 0.008 * (high + wide)).astype(np.float32) / 255
        result += soft * (tone - result)
    return np.clip(result, 0, 255).astype(np.uint8)


def _lettered(grey: NDArray[np.uint8], size: int, rows: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Set `rows` lines of lettering of `size` pixels over the picture, black in a white box or white on the picture."""
    high, wide = grey.shape[:2]
    face = (SANS, SERIF)[rng.integers(2)][1]
    sheet = Compositor(wide, high)
    y = float(rng.uniform(size * 1.3, max(size * 1.4, high - rows * size * 1.3)))
    box = np.zeros((high, wide), bool)
    for row in range(rows):
        words = title(rng, face, size, wide * 0.94)
        x = wide * rng.uniform(0.3, 0.7) if rows == 1 else wide / 2
        sheet.line(words, x, y + row * size * 1.25, face, size, anchor="ms")
    ink = sheet.page() < 128
    result = grey.copy()
    if rng.random() < 0.5 and ink.any():
        rows_of, columns_of = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
        pad = max(2, size // 3)
        top, left = max(0, rows_of[0] - pad), max(0, columns_of[0] - pad)
        box[top : rows_of[-1] + pad, left : columns_of[-1] + pad] = True
        result[box] = 250
        result[ink] = 8
    else:
        result[cv2.dilate(ink.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0] = 10
        result[ink] = 250
    return result


# ---------------------------------------------------------------------------------------------- the copyist


def _grey(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)


def _recoloured(grey: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Colour a picture by hand: every tone gets a hue of one scale, some areas a flat wash over it."""
    scale = rng.uniform(0.0, 0.35, 3), rng.uniform(0.7, 1.0, 3)
    tones = grey.astype(np.float32)[..., None] / 255
    colours = (scale[0] + (scale[1] - scale[0]) * tones).astype(np.float32)
    classes = cv2.GaussianBlur(grey, (0, 0), 0.012 * sum(grey.shape)) // 52
    for level in range(5):
        if rng.random() < 0.7:
            wash = rng.uniform(0.45, 1.0, 3).astype(np.float32)
            colours[classes == level] *= wash
    return np.clip(colours * 255, 0, 255).astype(np.uint8)


def _redrawn(grey: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Redraw a picture in outlines: smooth it but for its edges, draw these as lines, a little out of place."""
    high, wide = grey.shape
    smooth = np.asarray(grey, np.uint8)
    for _ in range(3):
        smooth = np.asarray(cv2.bilateralFilter(smooth, 9, 28, 4), np.uint8)
    shift = cv2.resize(
        rng.normal(0, 0.006 * wide, (6, 6, 2)).astype(np.float32), (wide, high), interpolation=cv2.INTER_CUBIC
    )
    x, y = np.meshgrid(np.arange(wide, dtype=np.float32), np.arange(high, dtype=np.float32))
    bent = cv2.remap(smooth, x + shift[..., 0], y + shift[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    narrow = cv2.GaussianBlur(bent, (0, 0), 1.3).astype(np.float32)
    broad = cv2.GaussianBlur(bent, (0, 0), 2.6).astype(np.float32)
    lines = np.where((narrow - 0.985 * broad < -0.4) | (narrow < 32), 0, 255).astype(np.uint8)
    return np.asarray(cv2.medianBlur(lines, 3), np.uint8)


def _mirrored(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    return np.ascontiguousarray(image[:, ::-1])


def _negative(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    return np.asarray(255 - image, np.uint8)


def _overlaid(grey: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Set two lines of a headline across the picture."""
    high, wide = grey.shape
    return _lettered(grey, max(14, round(min(0.11 * high, 0.08 * wide))), 2, rng)


def _as_is(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    return image


CHANGES: dict[str, Callable[[NDArray[np.uint8], np.random.Generator], NDArray[np.uint8]]] = {
    "none": _as_is,
    "mirrored": _mirrored,
    "negative": _negative,
    "mirrored negative": lambda image, rng: _mirrored(_negative(image, rng), rng),
    "turned": _as_is,
    "recoloured": _recoloured,
    "redrawn outlines": _redrawn,
    "overlaid text": _overlaid,
    "collage": _as_is,
}
"""What a copyist does to a grey picture; ``turned`` is printed askew by any angle, ``collage`` beside others."""


def copied(photograph: NDArray[np.uint8], recipe: Recipe, width: int, rng: np.random.Generator) -> Copy:
    """Make the copy of one photograph that the block is made from, twice as fine as it will be scanned.

    Parameters
    ----------
    photograph : uint8, shape (h, w, 3)
    recipe : Recipe
    width : int
        Pixels that it will be wide on the scan.
    rng : Generator
        The crop is drawn first, so that one seed gives crops around one place, however much is kept.
    """
    piece, left, top = _cropped(photograph, recipe.kept, rng)
    fine = 2 * width / piece.shape[1]
    size = (2 * width, max(8, round(piece.shape[0] * fine)))
    sharp = cv2.resize(_grey(piece), size, interpolation=cv2.INTER_AREA if fine < 1 else cv2.INTER_CUBIC)
    grey = _tones(np.asarray(sharp, np.uint8), rng)
    if recipe.worked_over:
        grey = _retouched(grey, rng)
        grey = _lettered(grey, max(14, round(min(grey.shape) * rng.uniform(0.06, 0.09))), 1, rng)
    grey = CHANGES[recipe.change](grey, rng)
    across, along = size[0] / piece.shape[1], size[1] / piece.shape[0]
    # Pixel centres are at integers: an edge at -0.5 stays there.
    scale = np.array([[across, 0, across / 2 - 0.5], [0, along, along / 2 - 0.5], [0, 0, 1]])
    matrix = scale @ np.array([[1.0, 0, -left], [0, 1, -top], [0, 0, 1]])
    if "mirrored" in recipe.change:
        matrix = np.array([[-1.0, 0, size[0] - 1], [0, 1, 0], [0, 0, 1]]) @ matrix
    turn = float(rng.uniform(15, 345)) if recipe.change == "turned" else 0.0
    corners = Region(-0.5, -0.5, *size).corners()
    return Copy(grey, (matrix,), (corners,), turn, recipe.change == "redrawn outlines")


def collage(photographs: Sequence[NDArray[np.uint8]], recipe: Recipe, width: int, rng: np.random.Generator) -> Copy:
    """Cut pieces out of photographs and paste them, askew and overlapping, into one picture `width` pixels wide."""
    columns = math.ceil(math.sqrt(len(photographs)))
    rows = math.ceil(len(photographs) / columns)
    cell = 2 * width // columns
    canvas = np.full((rows * cell, columns * cell), rng.uniform(190, 245), np.uint8)
    matrices, visible = [], []
    for number, photograph in enumerate(photographs):
        part = copied(photograph, recipe, cell // 2, rng)
        high, wide = part.pixels.shape
        size = min(1.0, 1.15 * cell / high) * rng.uniform(1.1, 1.3)
        turn = math.radians(rng.uniform(-14, 14))
        rotation = size * np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
        centre = (np.array([number % columns, number // columns]) + 0.5) * cell + rng.uniform(-0.05, 0.05, 2) * cell
        lay = np.eye(3)
        lay[:2, :2] = rotation
        lay[:2, 2] = centre - rotation @ [wide / 2, high / 2]
        mask = np.zeros((high, wide), np.uint8)
        if rng.random() < 0.4:
            cv2.ellipse(mask, (wide // 2, high // 2), (wide // 2, high // 2), 0, 0, 360, 255, -1)
        else:
            jag = rng.uniform(-0.08, 0.08, (4, 2)) * [wide, high]
            corners = np.array([[0.04, 0.04], [0.96, 0.04], [0.96, 0.96], [0.04, 0.96]]) * [wide, high] + jag
            cv2.fillPoly(mask, [np.round(corners).astype(np.int32)], 255)
        shape = canvas.shape[::-1]
        laid = cv2.warpAffine(part.pixels, lay[:2], shape, flags=cv2.INTER_AREA)
        shown = cv2.warpAffine(mask, lay[:2], shape, flags=cv2.INTER_NEAREST) > 0
        canvas[shown] = laid[shown]
        matrices.append(lay @ part.matrices[0])
        visible.append(Transform(lay).apply(part.visible[0]))
    return Copy(canvas, tuple(matrices), tuple(visible))


# ---------------------------------------------------------------------------------------------- the printer


def screened(copy: Copy, matrix: NDArray[np.float64], pitch: float, angle: float, rng: np.random.Generator) -> Patch:
    """Print a copy and scan it.

    Parameters
    ----------
    copy : Copy
    matrix : float64, shape (3, 3)
        From its pixels to those of the scan; affine.
    pitch : float
        Distance between rows of dots in pixels of the scan.
    angle : float
        Angle of the screen against the scan, in degrees.
    rng : Generator
        Ink: how far it spreads, and unevenly.
    """
    high, wide = copy.pixels.shape[:2]
    corners = Transform(matrix).apply(Region(-0.5, -0.5, wide, high).corners())
    left, top = np.floor(corners.min(axis=0)).astype(int) - 1
    right, bottom = np.ceil(corners.max(axis=0)).astype(int) + 2
    fine = max(3, math.ceil(_FINE / pitch))
    finer = np.array([[fine, 0, (0.5 - left) * fine - 0.5], [0, fine, (0.5 - top) * fine - 0.5], [0, 0, 1.0]]) @ matrix
    size = ((right - left) * fine, (bottom - top) * fine)

    def laid(image: NDArray[Any], **options: Any) -> NDArray[Any]:
        return np.asarray(cv2.warpAffine(image, finer[:2], size, **options))

    def scanned(image: NDArray[Any]) -> NDArray[np.float32]:
        small = cv2.resize(image, (right - left, bottom - top), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.GaussianBlur(small.astype(np.float32), (0, 0), sharpness) / 255, np.float32)

    sharpness = float(rng.uniform(0.4, 0.6))
    spread, gain, uneven = (
        float(rng.uniform(0.05, 0.11)),
        float(rng.uniform(0.04, 0.16)),
        float(rng.uniform(0.03, 0.08)),
    )
    inks = (
        [(copy.pixels, 0.0)]
        if copy.pixels.ndim == 2
        else list(zip(cv2.split(copy.pixels), (-30.0, 30.0, -45.0), strict=True))
    )
    papers = []
    for pixels, away in inks:
        tones = laid(pixels, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(np.uint8)
        dots = tones if copy.drawn else halftone(_gained(tones, gain), pitch * fine, angle + away, oversample=1)
        papers.append(scanned(_inked(dots, spread * pitch * fine, uneven, rng)))
    cover = laid(np.full((high, wide), 255, np.uint8), flags=cv2.INTER_LINEAR)
    cover = cv2.resize(cover, (right - left, bottom - top), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    paper = papers[0] if len(papers) == 1 else np.dstack(papers)
    return Patch(np.asarray(paper, np.float32), np.asarray(cover, np.float32), int(left), int(top))


def _gained(tones: NDArray[np.uint8], gain: float) -> NDArray[np.uint8]:
    """Let dots grow as ink spreads: where half should be covered, `gain` more is, by the usual parabola elsewhere."""
    ink = 1 - np.arange(256) / 255
    table = 255 * (1 - np.minimum(1, ink + 4 * gain * ink * (1 - ink)))
    return np.asarray(np.round(table).astype(np.uint8)[tones])


def _inked(dots: NDArray[np.uint8], spread: float, uneven: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Round off what is printed and make its edges ragged: here ink spreads further, there it is wanting."""
    high, wide = dots.shape
    soft = cv2.GaussianBlur(dots, (0, 0), max(spread, 0.3))
    slow = cv2.resize(rng.normal(0, uneven, (high // 40 + 2, wide // 40 + 2)).astype(np.float32), (wide, high))
    fibre = cv2.resize(rng.normal(0, uneven, (high // 2 + 1, wide // 2 + 1)).astype(np.float32), (wide, high))
    return np.where(soft > 255 * (0.5 + slow + fibre), 255, 0).astype(np.uint8)
