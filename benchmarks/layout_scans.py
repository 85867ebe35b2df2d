"""What libraries' scanners do to a page, for training the layout network: pasted pictures, openings, stains, microfilm.

`scanned` takes a sheet through everything; one seed gives one canvas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from benchmarks.layout_material import Sheet, Zone
from benchmarks.layout_pages import compose
from benchmarks.layout_setting import halftone

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.layout_material import Material

__all__ = ["scanned"]


def scanned(material: Material, rng: np.random.Generator, width: int, height: int, composed: float = 0.4) -> Sheet:
    """Return a training page on a canvas of a given size.

    Parameters
    ----------
    material : Material
    rng : numpy.random.Generator
    width, height : int
        Of the canvas.
    composed : float
        Share of pages that are composed; the others are annotated ones.
    """
    sheet = _page(material, rng, composed)
    wide_canvas = width > height
    if rng.random() < (0.55 if wide_canvas else 0.06):
        sheet = _opening(sheet, _page(material, rng, composed), rng)
    if rng.random() < 0.2:
        sheet = _furnished(sheet, rng)
    sheet = _placed(sheet, rng, width, height)
    pixels = sheet.pixels
    if rng.random() < 0.25:
        pixels = _shown_through(pixels, _page(material, rng, composed).pixels, rng)
    return sheet.with_pixels(_photographed(pixels, rng))


def _page(material: Material, rng: np.random.Generator, composed: float) -> Sheet:
    """Return a page, composed or annotated; an annotated one may get pictures of other pages."""
    if rng.random() < composed:
        return compose(material, rng)
    sheet = material.page(rng)
    for _ in range(int(rng.integers(1, 5)) if rng.random() < 0.5 else 0):
        sheet = _pasted(sheet, material, rng)
    return sheet


def _pasted(sheet: Sheet, material: Material, rng: np.random.Generator) -> Sheet:
    """Print a picture of another page on a block of text, where no picture is."""
    if not sheet.texts:
        return sheet
    block = max(sheet.texts, key=lambda zone: float(np.prod(zone.box[2:] - zone.box[:2])) * rng.uniform(0.3, 1))
    left, top, right, bottom = block.box
    kind = str(rng.choice(["initial", "ornament", "illustration"], p=[0.55, 0.2, 0.25]))
    if kind == "illustration" and rng.random() < 0.5:
        pixels = material.picture(rng)
        mask = np.full(pixels.shape[:2], 255, np.uint8)
    else:
        pixels, mask, _ = material.cutting(kind, rng)
    room = right - left
    wide = (
        room
        * {"initial": rng.uniform(0.06, 0.3), "ornament": rng.uniform(0.2, 1), "illustration": rng.uniform(0.3, 1)}[
            kind
        ]
    )
    wide = int(min(wide, pixels.shape[1] * 2.5))
    high = int(wide * pixels.shape[0] / max(pixels.shape[1], 1))
    if wide < 10 or high < 10 or high > 0.9 * (bottom - top):
        return sheet
    x = int(left) if kind == "initial" else int(rng.uniform(left, max(left + 1, right - wide)))
    y = int(rng.uniform(top, bottom - high))
    box = np.array([x, y, x + wide, y + high], np.float32)
    if x < 0 or y < 0 or x + wide > sheet.pixels.shape[1] or y + high > sheet.pixels.shape[0]:
        return sheet
    if any(_touch(box, zone.box) for zone in sheet.zones if zone.kind != "text"):
        return sheet
    pixels = cv2.resize(pixels, (wide, high), interpolation=cv2.INTER_AREA)
    mask = cv2.resize(mask, (wide, high), interpolation=cv2.INTER_NEAREST)
    if mask.max() == 0:
        return sheet
    under = sheet.pixels[y : y + high, x : x + wide].astype(np.float32)
    paper = np.percentile(under.reshape(-1, 3), 85, axis=0)
    own = pixels.astype(np.float32)
    white = np.maximum(np.percentile(own.reshape(-1, 3), 95, axis=0), 50)
    printed = np.clip(own / white, 0, 1.05) * paper if rng.random() < 0.8 else own
    canvas = sheet.pixels.copy()
    pad = max(1, wide // 20)
    around = canvas[max(0, y - pad) : y + high + pad, max(0, x - pad) : x + wide + pad]
    around[:] = np.clip(paper + rng.standard_normal(around.shape) * 3, 0, 255)
    canvas[y : y + high, x : x + wide] = np.where(mask[..., None] > 0, np.clip(printed, 0, 255), paper).astype(np.uint8)
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    outline = max(outlines, key=cv2.contourArea).reshape(-1, 2).astype(np.float32) + np.array([x, y], np.float32)
    if len(outline) < 3:
        return sheet
    return Sheet(canvas, (*sheet.zones, Zone(kind, outline.astype(np.float32))))


def _touch(a: NDArray[np.float32], b: NDArray[np.float32]) -> bool:
    return bool((np.minimum(a[2:], b[2:]) > np.maximum(a[:2], b[:2])).all())


def _opening(left: Sheet, right: Sheet, rng: np.random.Generator) -> Sheet:
    """Lay two pages side by side."""
    high = max(left.pixels.shape[0], right.pixels.shape[0])
    scale = high / right.pixels.shape[0]
    size = (round(right.pixels.shape[1] * scale), high)
    right = right.warped(np.diag([scale, scale, 1.0])[:2], *size, (127, 127, 127))
    scale = high / left.pixels.shape[0]
    size = (round(left.pixels.shape[1] * scale), high)
    left = left.warped(np.diag([scale, scale, 1.0])[:2], *size, (127, 127, 127))
    pixels = np.hstack([left.pixels, right.pixels]).astype(np.float32)
    fold = left.pixels.shape[1]
    across = np.arange(pixels.shape[1], dtype=np.float32)
    shade = 1 - float(rng.uniform(0, 0.7)) * np.exp(
        -np.abs(across - fold) / float(rng.uniform(0.01, 0.06) * pixels.shape[1])
    )
    moved = tuple(Zone(zone.kind, zone.outline + np.array([fold, 0], np.float32)) for zone in right.zones)
    return Sheet((pixels * shade[None, :, None]).astype(np.uint8), (*left.zones, *moved))


def _furnished(sheet: Sheet, rng: np.random.Generator) -> Sheet:
    """Add what lies beside a page: the bed of the scanner, a colour chart or a ruler."""
    high, wide = sheet.pixels.shape[:2]
    pad = (rng.uniform(0, 0.15, 4) * max(high, wide)).astype(int)
    tone = int(rng.choice([0, 15, 40, 90, 200, 255]))
    canvas = np.full((high + pad[0] + pad[1], wide + pad[2] + pad[3], 3), tone, np.uint8)
    canvas[pad[0] : pad[0] + high, pad[2] : pad[2] + wide] = sheet.pixels
    side = int(np.argmax(pad))
    room = int(pad[side] * 0.7)
    if room > 20 and rng.random() < 0.7:
        patches = int(rng.integers(6, 19))
        long = int(rng.uniform(0.3, 0.8) * (wide if side < 2 else high))
        chart = rng.integers(0, 256, (1, patches, 3)).astype(np.uint8)
        if rng.random() < 0.5:
            chart = np.linspace(10, 250, patches).astype(np.uint8)[None, :, None].repeat(3, axis=2)
        chart = cv2.resize(chart, (long, room), interpolation=cv2.INTER_NEAREST)
        chart[: room // 4] = 255
        chart[: room // 4, :: max(3, long // 60)] = 0
        if rng.random() < 0.4:  # a ruler: white, with a name on it and two or three patches
            chart[:, : int(long * rng.uniform(0.6, 0.8))] = 255
            cv2.putText(chart, "Gray Scale 1 2 3 4 5", (6, room // 2 + 4), 0, max(0.3, room / 60), (0, 0, 0), 1)
        chart = chart if side < 2 else chart.transpose(1, 0, 2)
        y = {0: 4, 1: canvas.shape[0] - chart.shape[0] - 4}.get(
            side, int(rng.uniform(0, canvas.shape[0] - chart.shape[0]))
        )
        x = {2: 4, 3: canvas.shape[1] - chart.shape[1] - 4}.get(
            side, int(rng.uniform(0, canvas.shape[1] - chart.shape[1]))
        )
        canvas[y : y + chart.shape[0], x : x + chart.shape[1]] = chart
    shift = np.array([pad[2], pad[0]], np.float32)
    return Sheet(canvas, tuple(Zone(zone.kind, zone.outline + shift) for zone in sheet.zones))


def _placed(sheet: Sheet, rng: np.random.Generator, width: int, height: int) -> Sheet:
    """Turn, mirror, scale and place a sheet on the canvas: mostly whole, now and then cut."""
    high, wide = sheet.pixels.shape[:2]
    scale = min(width / wide, height / high)
    chance = rng.random()
    scale *= 1.0 if chance < 0.4 else rng.uniform(0.6, 1) if chance < 0.65 else rng.uniform(1, 1.7)
    degrees = rng.normal(0, 1.2) if rng.random() < 0.85 else rng.normal(0, 7)
    if rng.random() < 0.05:
        degrees += rng.choice([90, 180, 270])
        scale = min(scale, min(width, height) / max(wide, high) * 1.2)
    turn = np.deg2rad(degrees)
    linear = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    linear = linear @ np.diag([rng.uniform(0.93, 1.07) * rng.choice([1, 1, 1, 1, 1, -1]), 1.0])
    room = np.array([width - wide * scale, height - high * scale])
    spread = np.maximum(np.abs(room) / 2, 8)
    middle = np.array([width, height]) / 2 + rng.uniform(-1, 1, 2) * spread
    shift = middle - linear @ (np.array([wide, high]) / 2)
    edge = sheet.pixels[:: max(1, high // 50), 0].mean(axis=0)
    fill = ((0, 0, 0), (255, 255, 255), (127, 127, 127), tuple(int(v) for v in edge))[int(rng.integers(4))]
    return sheet.warped(np.hstack([linear, shift[:, None]]), width, height, fill)


def _shown_through(pixels: NDArray[np.uint8], verso: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Let the back of the leaf show through."""
    back = cv2.resize(verso[:, ::-1], pixels.shape[1::-1], interpolation=cv2.INTER_AREA)
    back = cv2.GaussianBlur(back, (0, 0), float(rng.uniform(0.8, 2.5))).astype(np.float32)
    strength = float(rng.uniform(0.03, 0.3))
    bare = np.maximum(np.percentile(back[::8, ::8], 90, axis=(0, 1)), 1).astype(np.float32)
    shade = 1 - strength * (1 - np.clip(back / bare, 0, 1))
    return np.asarray(pixels * shade, np.uint8)


def _photographed(pixels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Light, paper and film: stains, shadows, colour casts, grey, blur, noise, two tones, JPEG."""
    high, wide = pixels.shape[:2]
    image = pixels.astype(np.float32) / 255
    if rng.random() < 0.5:  # uneven light, stains
        waves = rng.standard_normal((int(rng.integers(2, 6)), int(rng.integers(2, 6)), 1)).astype(np.float32)
        shade = cv2.resize(waves, (wide, high), interpolation=cv2.INTER_CUBIC)
        image *= 1 + float(rng.uniform(0.02, 0.15)) * shade[..., None]
    for _ in range(int(rng.integers(1, 4)) if rng.random() < 0.15 else 0):
        blot = np.zeros((high, wide), np.float32)
        place = (int(rng.integers(wide)), int(rng.integers(high)))
        axes = (int(rng.uniform(5, wide / 5)), int(rng.uniform(5, high / 6)))
        cv2.ellipse(blot, place, axes, float(rng.uniform(0, 180)), 0, 360, 1, -1 if rng.random() < 0.6 else 4)
        blot = cv2.GaussianBlur(blot, (0, 0), float(rng.uniform(1, 12)))
        image *= 1 - blot[..., None] * np.array([0.2, 0.35, 0.55], np.float32) * float(rng.uniform(0.2, 1))
    chance = rng.random()
    if chance < 0.35:
        image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    elif chance < 0.8:
        image *= (1 + rng.uniform(-0.15, 0.15, 3)).astype(np.float32)
    else:
        image = image[..., rng.permutation(3)]
    image = np.clip(image, 0, 1) ** float(rng.uniform(0.6, 1.7))
    image = (image - 0.5) * float(rng.uniform(0.6, 1.4)) + 0.5 + float(rng.uniform(-0.12, 0.12))
    if rng.random() < 0.35:
        image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 1.6)))
    if rng.random() < 0.35:
        image += float(rng.uniform(0.005, 0.06)) * rng.standard_normal(
            (high, wide, 1 if rng.random() < 0.7 else 3), np.float32
        )
    out = np.clip(255 * image, 0, 255).astype(np.uint8)
    chance = rng.random()
    if chance < 0.12:
        out = _two_tones(out, rng)
    elif chance < 0.14:
        out = 255 - out
    elif chance < 0.18:
        grey = halftone(cv2.cvtColor(out, cv2.COLOR_RGB2GRAY), float(rng.uniform(2, 4)), float(rng.uniform(0, 90)))
        out = cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)
    if rng.random() < 0.5:
        done, code = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 85))])
        out = np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), np.uint8) if done else out
    if rng.random() < 0.06:  # what a film's or a scanner's frame leaves black
        side = int(rng.uniform(0.01, 0.06) * wide)
        out[:, :side] = 0
        out[: side // 2] = 0
    return out


def _two_tones(pixels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Binarise, as bitonal scans and photocopies are; often drawn smoother, as a reduced bitonal scan is."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    if rng.random() < 0.5:
        grey = cv2.resize(grey, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    if rng.random() < 0.5:
        _, two = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    else:
        size = int(rng.integers(10, 60)) * 2 + 1
        two = cv2.adaptiveThreshold(
            grey, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY, size, float(rng.uniform(4, 20))
        )
    two = cv2.resize(two, pixels.shape[1::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(two, cv2.COLOR_GRAY2RGB), np.uint8)
