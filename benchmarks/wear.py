"""Woodblocks worn, inked, printed, scanned and re-cut: what `benchmarks.impressions` makes its pictures with.

Everything works on a *relief*: float32, shape (h, w), 1 where the block prints and 0 where it is cut away. Lengths are
shares of the relief's longer side, so that a recipe means the same at every resolution, and every function draws from
the generator it is given, so that a seed makes the same impressions everywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Relief = NDArray[np.float32]

__all__ = ["SCANNERS", "Scanner", "age", "ink", "press", "recut", "relief", "scan"]

Scanner = Literal["grey", "colour", "microfilm"]
SCANNERS: tuple[Scanner, ...] = ("grey", "colour", "microfilm")

_FINE = 900
"""Longer side of a relief in pixels."""


def relief(pixels: NDArray[np.uint8]) -> Relief:
    """Return the block that printed a grey picture of lines: what is darker than its surroundings, edges crisp."""
    step = _FINE / max(pixels.shape)
    fine = cv2.resize(pixels, None, fx=step, fy=step, interpolation=cv2.INTER_CUBIC if step > 1 else cv2.INTER_AREA)
    tone = np.asarray(fine, np.float32)
    paper = cv2.GaussianBlur(cv2.dilate(tone, np.ones((25, 25), np.uint8)), (0, 0), 40)
    dark = np.percentile(tone, 2)
    depth = np.clip((paper - tone) / np.maximum(paper - dark, 20), 0, 1)
    return _crisp(cv2.GaussianBlur(depth, (0, 0), max(0.6, 0.4 * step)), 0.45)


def recut(block: Relief, amount: float, rng: np.random.Generator) -> Relief:
    """Return another block after the same composition, as a copyist cuts it.

    Parameters
    ----------
    block : float32, shape (h, w)
    amount : float
        Root mean square by which lines are moved, as a share of the longer side: 0.01 to 0.03 for a free-hand copy.
    rng : Generator

    Returns
    -------
    float32, shape (h, w)
        Lines moved irregularly and smoothly, thicker or thinner by places, half of the hatching laid anew in
        another direction, some details left out and others put in.
    """
    side = max(block.shape)
    hand = [(0.9 * _field(block.shape, 0.35, rng) + 0.45 * _field(block.shape, 0.16, rng)) for _ in "xy"]
    moved = _rehatched(_shifted(block, hand[0], hand[1], amount * side / np.sqrt(2)), rng)
    weight = 0.08 * _field(block.shape, 0.2, rng)
    cut = _crisp(cv2.GaussianBlur(moved, (0, 0), 0.0018 * side), np.clip(0.5 + weight, 0.25, 0.75).astype(np.float32))
    return _strokes(_dropped(cut, rng), rng)


def age(block: Relief, wear: float, rng: np.random.Generator) -> Relief:
    """Return the block after use: lines broken, worm-eaten; `wear` 0 is fresh, 1 near its end, more a ruin."""
    worn = block.copy()
    side = max(block.shape)
    ys, xs = np.nonzero(_skeleton(block))
    if len(xs):
        for i in rng.integers(0, len(xs), rng.poisson(22 * wear)):
            radius = side * rng.uniform(0.003, 0.009)
            cv2.circle(worn, (int(xs[i]), int(ys[i])), round(radius), 0.0, -1, cv2.LINE_AA)
    for _ in range(rng.poisson(max(0.0, 5 * (wear - 0.4)))):
        centre = tuple(int(v) for v in rng.uniform(0.05, 0.95, 2) * block.shape[::-1])
        cv2.circle(worn, centre, round(side * rng.uniform(0.006, 0.014)), 0.0, -1, cv2.LINE_AA)
    return worn


def ink(block: Relief, wear: float, rng: np.random.Generator) -> Relief:
    """Return the ink that one pull leaves, 0 to 1: from starved and grey to clogged, the further the greater `wear`."""
    side = max(block.shape)
    pressure = rng.uniform(-0.6, 1) * wear + 0.3 * wear * _field(block.shape, 0.35, rng)
    level = np.clip(0.5 - 0.27 * pressure, 0.12, 0.88).astype(np.float32)
    spread = _crisp(cv2.GaussianBlur(block, (0, 0), side * (0.0015 + 0.0025 * wear)), level)
    grain = _field(block.shape, 0.008, rng)
    bare = np.clip(1.2 * wear * np.clip(-pressure, 0, 1) * (grain > 0.3) + 0.5 * wear * (grain > 1.6), 0, 1)
    density = np.maximum(1 - wear * np.clip(0.25 - 0.4 * pressure, 0, 0.6), 0.15)
    return np.asarray(spread * density * (1 - bare), np.float32)


def press(
    inked: Relief, size: int, wear: float, rng: np.random.Generator, *, degrees: float = 1.5
) -> NDArray[np.float32]:
    """Return the ink as it lies on the sheet: longer side about `size` pixels, turned, the paper shrunk and cockled.

    What paper does is smooth: it stretches by up to one per cent in each direction and moves, at `wear` 1, by 0.2 per
    cent of the longer side (root mean square) over distances of half of it.
    """
    high, wide = inked.shape
    side = max(high, wide)
    cockle = 0.002 * wear * side / np.sqrt(2)
    sheet = _shifted(inked, _field(inked.shape, 0.5, rng), _field(inked.shape, 0.5, rng), cockle)
    scale = 2 * size / side
    turn = np.radians(rng.uniform(-degrees, degrees))
    stretch = np.diag(1 + rng.uniform(-0.01, 0.01, 2))
    linear = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ stretch
    reach = np.abs(linear) @ [wide, high]
    doubled = (2 * int(np.ceil(reach[0] / 2)), 2 * int(np.ceil(reach[1] / 2)))
    offset = np.array(doubled) / 2 - linear @ [wide / 2, high / 2]
    if scale < 1:
        sheet = np.asarray(cv2.GaussianBlur(sheet, (0, 0), 0.4 / scale), np.float32)
    printed = cv2.warpAffine(sheet, np.column_stack([linear, offset]), doubled, flags=cv2.INTER_LINEAR)
    printed = cv2.resize(printed, (doubled[0] // 2, doubled[1] // 2), interpolation=cv2.INTER_AREA)
    return np.clip(printed, 0, 1)


def scan(ink_on_sheet: NDArray[np.float32], scanner: Scanner, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return what a scanner makes of a printed sheet.

    Parameters
    ----------
    ink_on_sheet : float32, shape (h, w)
        0 paper, 1 ink.
    scanner : str
        ``grey``: toned paper with grain. ``colour``: the same in the tints of old paper and ink. ``microfilm``:
        blurred, unevenly lit, and binarised.

    Returns
    -------
    uint8, shape (h, w) or, in colour, (h, w, 3)
    """
    shape = ink_on_sheet.shape
    sheet = cv2.GaussianBlur(ink_on_sheet, (0, 0), rng.uniform(0.45, 0.75))
    fibre = cv2.GaussianBlur(rng.standard_normal(shape, np.float32), (0, 0), 0.8)
    stains = _field(shape, 0.25, rng)
    if scanner == "microfilm":
        light = 0.04 * stains + 0.12 * fibre + rng.uniform(-0.05, 0.05)
        exposure = 0.45 * float(np.percentile(sheet[sheet > 0.1], 90)) if (sheet > 0.1).any() else 0.45
        return np.where(sheet + light > exposure, 0, 255).astype(np.uint8)
    tone, black = rng.uniform(195, 240), rng.uniform(20, 70)
    ground = tone + 4 * stains + 6 * fibre
    grey = ground + (black - ground) * sheet ** rng.uniform(0.8, 1.25)
    if scanner == "grey":
        return np.clip(np.round(grey), 0, 255).astype(np.uint8)
    tint = np.array([1.0, 0.94, 0.80]) ** rng.uniform(0.5, 1.3)
    return np.clip(np.round(grey[..., None] * tint + (1 - tint) * black), 0, 255).astype(np.uint8)


def _crisp(soft: NDArray, level: float | NDArray) -> Relief:
    """Return `soft` cut at `level`, with an edge a few pixels wide so that later resampling has no stairs."""
    return np.clip((soft - level) * 4 + 0.5, 0, 1).astype(np.float32)


def _field(shape: tuple[int, ...], wavelength: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return smooth noise of deviation 1 and mean 0 whose bumps are about `wavelength` × the longer side wide."""
    high, wide = shape[:2]
    cell = max(1.0, wavelength * max(high, wide) / 2)
    knots = (round(high / cell) + 4, round(wide / cell) + 4)
    fine = cv2.resize(
        rng.standard_normal(knots, np.float32),
        None,
        fx=cell,
        fy=cell,
        interpolation=cv2.INTER_CUBIC,
    )
    top, left = round(1.5 * cell), round(1.5 * cell)
    field = fine[top : top + high, left : left + wide]
    return np.asarray((field - field.mean()) / max(float(field.std()), 1e-6), np.float32)


def _shifted(block: Relief, across: NDArray[np.float32], down: NDArray[np.float32], pixels: float) -> Relief:
    """Return `block` with every point moved by `pixels` × the two fields."""
    high, wide = block.shape
    x, y = np.meshgrid(np.arange(wide, dtype=np.float32), np.arange(high, dtype=np.float32))
    moved = cv2.remap(block, x + np.float32(pixels) * across, y + np.float32(pixels) * down, cv2.INTER_LINEAR)
    return np.asarray(moved, np.float32)


def _skeleton(block: Relief) -> NDArray[np.uint8]:
    return np.asarray(cv2.ximgproc.thinning((block > 0.5).astype(np.uint8) * 255), np.uint8)


def _rehatched(block: Relief, rng: np.random.Generator) -> Relief:
    """Lay half of the hatching anew: as dark as it was, but in another direction and at another pitch."""
    side = max(block.shape)
    reach = 0.025 * side
    tone = cv2.GaussianBlur(block, (0, 0), reach / 2)
    edges = cv2.GaussianBlur(cv2.morphologyEx(block, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)), (0, 0), reach / 2)
    # Hatching is where edges lie dense all around and neither ink nor paper prevails.
    where = (edges > 0.26) & (tone > 0.15) & (tone < 0.85) & (_field(block.shape, 0.3, rng) > 0)
    where = cv2.GaussianBlur(where.astype(np.float32), (0, 0), 0.004 * side) > 0.5
    y, x = np.mgrid[0 : block.shape[0], 0 : block.shape[1]].astype(np.float32)
    angle = np.float32(rng.uniform(0, np.pi)) + 0.5 * _field(block.shape, 0.6, rng)
    pitch = side * rng.uniform(0.009, 0.015)
    across = x * np.cos(angle.mean()) + y * np.sin(angle.mean()) + 0.4 * pitch * _field(block.shape, 0.1, rng)
    wave = np.abs(((across / pitch) % 1.0) * 2 - 1)
    hatching = np.clip((tone - wave) * pitch / 2 + 0.5, 0, 1)
    return np.where(where, hatching, block).astype(np.float32)


def _dropped(block: Relief, rng: np.random.Generator) -> Relief:
    """Leave out a tenth of the small separate marks."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats((block > 0.3).astype(np.uint8))
    small = np.nonzero(stats[1:, cv2.CC_STAT_AREA] < 0.002 * block.size)[0] + 1
    gone = np.zeros(count, np.bool_)
    gone[small[rng.random(len(small)) < 0.1]] = True
    return np.where(gone[labels], 0, block).astype(np.float32)


def _strokes(block: Relief, rng: np.random.Generator) -> Relief:
    """Put in a few short strokes that the model has not."""
    drawn, side = block.copy(), max(block.shape)
    for _ in range(6):
        start = rng.uniform(0.08, 0.92, 2) * block.shape[::-1]
        angle = rng.uniform(0, 2 * np.pi)
        end = start + side * rng.uniform(0.02, 0.05) * np.array([np.cos(angle), np.sin(angle)])
        points = [tuple(int(v) for v in point) for point in (start, end)]
        cv2.line(drawn, points[0], points[1], float(rng.random() < 0.7), max(1, round(0.004 * side)), cv2.LINE_AA)
    return drawn
