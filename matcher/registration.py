"""Lay what was found over what was looked for: warp, overlay, difference, blink, and the drawn proof.

Pictures are compared in the *query's frame*: the query stays as it is and the other image is brought onto it, so
that every impression of one block can be held against the same drawing. `Scan` pixels may be of any working scale;
transforms and regions always speak of original pixels, and the conversion happens here.
"""

from __future__ import annotations

import contextlib
import math
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from matcher.tones import grey, levels, standardised, toned_like
from matcher.types import Region, Transform

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from matcher.images import Scan
    from matcher.types import Match

__all__ = [
    "Frame",
    "Registered",
    "blink_gif",
    "difference",
    "overlay",
    "register",
    "side_by_side",
    "tight_frame",
    "warp",
]

PAPER = (250, 248, 243)
INK = (38, 34, 30)
RUBRIC = (196, 46, 28)
LINK = (14, 116, 144)
INVALID = 226


@dataclass(frozen=True, slots=True)
class Frame:
    """A raster of `width` × `height` pixels laid over `region` of an original image.

    The region's left and top edges are the outer edges of the first pixels, as in a crop: a frame of
    ``Region(x, y, w, h)`` with ``w`` × ``h`` pixels is exactly ``image[y : y + h, x : x + w]``.
    """

    region: Region
    width: int
    height: int

    @classmethod
    def over(cls, region: Region, long_side: int) -> Frame:
        """Return the frame over `region` whose longer side has `long_side` pixels."""
        step = max(region.width, region.height) / long_side
        return cls(region, max(1, round(region.width / step)), max(1, round(region.height / step)))

    def to_original(self) -> NDArray[np.float64]:
        """Return the 3 × 3 matrix from frame pixels to original pixels."""
        step_x, step_y = self.region.width / self.width, self.region.height / self.height
        return np.array(
            [
                [step_x, 0.0, self.region.x + step_x / 2 - 0.5],
                [0.0, step_y, self.region.y + step_y / 2 - 0.5],
                [0.0, 0.0, 1.0],
            ]
        )

    def place(self, points: NDArray) -> NDArray[np.float64]:
        """Return where `points` of the original image, shape (n, 2), lie in the frame."""
        matrix = np.linalg.inv(self.to_original())
        return np.asarray(points @ matrix[:2, :2].T + matrix[:2, 2])


@dataclass(frozen=True, slots=True)
class Registered:
    """A query and what was found, pixel upon pixel, in the query's frame.

    Attributes
    ----------
    query, image : uint8, shape (h, w)
        Grey pixels. Of a negative relation the query is turned into its negative here, so that equal means equal.
    valid : bool, shape (h, w)
        Where both have pixels.
    frame : Frame
        Where these pixels lie on the query.
    """

    query: NDArray[np.uint8]
    image: NDArray[np.uint8]
    valid: NDArray[np.bool_]
    frame: Frame


def tight_frame(scan: Scan, region: Region | None, *, long_side: int = 800, least: int = 480) -> Frame:
    """Return the frame over `region` of `scan` (None: all of it): native size, held between `least` and `long_side`."""
    box = region or Region(0, 0, scan.width, scan.height)
    native = math.ceil(max(box.width, box.height))
    return Frame.over(box, min(long_side, max(native, least)))


def warp(scan: Scan, transform: Transform, frame: Frame) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Bring `scan` into `frame`.

    Parameters
    ----------
    scan : Scan
        The image to take pixels from, grey or RGB.
    transform : Transform
        From original pixels of the image that `frame` lies on to original pixels of `scan`. A match's own
        ``transform`` brings the found image into the query's frame; its inverse, the query into the found image's.
    frame : Frame
        The raster to fill.

    Returns
    -------
    pixels : uint8, shape (frame.height, frame.width) or (…, 3)
        Bilinear samples; beyond the scan's edges its edge pixels, repeated.
    valid : bool, shape (frame.height, frame.width)
        Where the samples lie on the scan.
    """
    source, steps = scan.pixels, (scan.scale_x, scan.scale_y)
    onto = transform.matrix @ frame.to_original()
    centre = Transform(onto / onto[2, 2]).jacobian((frame.width - 1) / 2, (frame.height - 1) / 2)
    shrink = math.sqrt(abs(float(np.linalg.det(centre)))) / math.sqrt(steps[0] * steps[1])
    if shrink > 1.0:
        # Sampling a finer scan at the frame's steps would turn a halftone screen into moiré: average first.
        size = (max(1, round(source.shape[1] / shrink)), max(1, round(source.shape[0] / shrink)))
        source = _resized(source, size)
        steps = (scan.width / size[0], scan.height / size[1])

    columns, rows = np.meshgrid(np.arange(frame.width, dtype=np.float64), np.arange(frame.height, dtype=np.float64))
    x, y, w = (row[0] * columns + row[1] * rows + row[2] for row in onto)
    facing = w * w[frame.height // 2, frame.width // 2] > 0
    w = np.where(facing, w, 1.0)
    across = (x / w + 0.5) / steps[0] - 0.5
    down = (y / w + 0.5) / steps[1] - 0.5
    high, wide = source.shape[:2]
    valid = facing & (across >= -0.5) & (across <= wide - 0.5) & (down >= -0.5) & (down <= high - 0.5)
    across, down = np.clip(across, -1, wide).astype(np.float32), np.clip(down, -1, high).astype(np.float32)
    pixels = cv2.remap(source, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(pixels, np.uint8), valid


def register(
    query: Scan, image: Scan, match: Match, region: Region | None = None, *, long_side: int = 800
) -> Registered:
    """Bring `image` onto `query` by `match`, in a frame over `region` of the query (None: all of it).

    `long_side` bounds the frame's longer side in pixels; a smaller region keeps its own resolution.
    """
    frame = tight_frame(query, region, long_side=long_side)
    ours, ours_valid = warp(query, Transform(np.eye(3)), frame)
    theirs, theirs_valid = warp(image, match.transform, frame)
    ours = grey(ours)
    if "inverted" in match.relation:
        ours = 255 - ours
    return Registered(ours, grey(theirs), ours_valid & theirs_valid, frame)


def overlay(a: NDArray[np.uint8], b: NDArray[np.uint8], valid: NDArray[np.bool_] | None = None) -> NDArray[np.uint8]:
    """Print `a` in red and `b` in cyan ink on one white sheet, as bibliographers collate two impressions.

    Coincident ink turns black or grey, coincident paper stays white, and every difference shows in colour: red
    where only `a` has ink, cyan where only `b` has. Contrast and mid-tones are brought to a common level first.

    Parameters
    ----------
    a, b : uint8, shape (h, w)
        Registered grey pictures.
    valid : bool, shape (h, w), optional
        Where both have pixels; elsewhere the sheet is grey.

    Returns
    -------
    uint8, shape (h, w, 3)
        RGB.
    """
    mask = _checked(a, b, valid)
    if not mask.any():
        return np.full((*a.shape, 3), INVALID, np.uint8)
    first = levels(a, mask)
    second = toned_like(first, levels(b, mask), mask)
    sheet = np.round(np.dstack([second, first, first]) * 255).astype(np.uint8)
    sheet[~mask] = INVALID
    return sheet


def difference(
    a: NDArray[np.uint8], b: NDArray[np.uint8], valid: NDArray[np.bool_] | None = None, *, window: float = 0.05
) -> NDArray[np.uint8]:
    """Return how much two registered pictures differ once local brightness and contrast are levelled out.

    Each picture is standardised by its own mean and deviation in a Gaussian neighbourhood, so that yellowed paper,
    uneven inking and exposure cancel while broken lines and changed details stay.

    Parameters
    ----------
    a, b : uint8, shape (h, w)
        Registered grey pictures.
    valid : bool, shape (h, w), optional
        Where both have pixels; elsewhere the answer is 0.
    window : float
        Deviation of the neighbourhood, as a share of the longer side.

    Returns
    -------
    uint8, shape (h, w)
        0 where equal, 255 at three local standard deviations or more.
    """
    mask = _checked(a, b, valid)
    sigma = max(1.0, window * max(a.shape))
    # The floor keeps paper grain and JPEG noise on flat ground from counting as structure.
    apart = np.abs(standardised(a, mask, sigma, 12.0) - standardised(b, mask, sigma, 12.0)) * (255 / 3)
    return np.where(mask, np.clip(np.round(apart), 0, 255), 0).astype(np.uint8)


def blink_gif(path: Path, a: NDArray[np.uint8], b: NDArray[np.uint8], *, milliseconds: int = 650) -> None:
    """Write an endless GIF that shows `a` and `b` in turn; what moves or changes is what differs.

    `a` and `b` are registered pictures of one shape, grey or RGB. The file appears complete or not at all.
    """
    if a.shape != b.shape:
        raise ValueError(f"the pictures differ in shape: {a.shape} and {b.shape}")
    first, second = Image.fromarray(a), Image.fromarray(b)
    handle, name = tempfile.mkstemp(suffix=".part", prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            first.save(file, "GIF", save_all=True, append_images=[second], duration=milliseconds, loop=0)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
        raise


def side_by_side(
    query: Scan,
    image: Scan,
    match: Match,
    region: Region | None = None,
    *,
    width: int = 1400,
    lines: int = 24,
    close_up: bool = True,
) -> NDArray[np.uint8]:
    """Draw the proof: the query with its region, the found image with the located quadrilateral, the inliers between.

    A small square marks the region's top left corner on both, so that turns and mirrorings show.

    Parameters
    ----------
    query, image : Scan
        Grey or RGB, at any working scale.
    match : Match
        Where `query` was found on `image`.
    region : Region, optional
        The part of the query that was looked for.
    width : int
        Width of the drawing in pixels, at least 400.
    lines : int
        At most so many inliers are joined by lines, spread over the picture; all are dotted.
    close_up : bool
        Whether a find that is small on its page is repeated below, registered and enlarged, beside the query's region.

    Returns
    -------
    uint8, shape (h, width, 3)
        RGB; the height is at most 1.7 times the width.
    """
    if width < 400:
        raise ValueError(f"width is {width}, expected at least 400")
    gap, strip, size = width // 70, width // 42, width // 75
    cell = (width - 3 * gap) // 2
    left = _fitted(query, cell, round(width * 0.8))
    right = _fitted(image, cell, round(width * 0.8))
    top = gap + strip
    tall = max(left.height, right.height)
    corners = [
        (gap + (cell - left.width) // 2, top + (tall - left.height) // 2),
        (2 * gap + cell + (cell - right.width) // 2, top + (tall - right.height) // 2),
    ]
    pair = _close_up(query, image, match, region, cell) if close_up else None
    below = top + tall + gap + strip
    sheet = np.empty((top + tall + gap if pair is None else below + pair.frame.height + gap, width, 3), np.uint8)
    sheet[:] = PAPER
    for scan, frame, corner in zip((query, image), (left, right), corners, strict=True):
        _paste(sheet, _resized(_rgb(scan.pixels), (frame.width, frame.height)), corner)

    thick = max(1, round(width / 600))
    outline = (region or Region(0, 0, query.width, query.height)).corners()
    _join(
        sheet,
        left.place(match.query_points) + corners[0],
        right.place(match.image_points) + corners[1],
        lines,
        thick,
    )
    _quadrilateral(sheet, left.place(outline) + corners[0], thick + 1)
    _quadrilateral(sheet, right.place(match.polygon) + corners[1], thick + 1)

    labels = [
        ("query" if region is None else "query, region framed", (corners[0][0], corners[0][1] - strip)),
        (f"found: {_in_words(match)}", (corners[1][0], corners[1][1] - strip)),
    ]
    if pair is not None:
        start = (gap + (cell - pair.frame.width) // 2, 2 * gap + cell + (cell - pair.frame.width) // 2)
        _paste(sheet, _rgb(pair.query), (start[0], below))
        _paste(sheet, _rgb(np.where(pair.valid, pair.image, INVALID).astype(np.uint8)), (start[1], below))
        wanted = "query, as a negative" if "inverted" in match.relation else "query"
        labels += [
            (f"{wanted}, enlarged", (start[0], below - strip)),
            ("found, registered on the query", (start[1], below - strip)),
        ]
    return _lettered(sheet, labels, size)


def _rgb(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return pixels if pixels.ndim == 3 else np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB), np.uint8)


def _resized(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize to `size` (width, height), by area when shrinking."""
    shrinks = size[0] < pixels.shape[1] or size[1] < pixels.shape[0]
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC), np.uint8)


def _checked(a: NDArray[np.uint8], b: NDArray[np.uint8], valid: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """Return `valid`, everywhere true if None, once the shapes are known to agree."""
    mask = np.ones(a.shape[:2], np.bool_) if valid is None else valid
    if a.ndim != 2 or a.shape != b.shape or a.shape != mask.shape:
        raise ValueError(f"expected three arrays of one shape (h, w), got {a.shape}, {b.shape} and {mask.shape}")
    return mask


def _fitted(scan: Scan, width: int, height: int) -> Frame:
    """Return the frame that shows all of `scan` within `width` × `height` pixels."""
    factor = min(width / scan.width, height / scan.height)
    whole = Region(0, 0, scan.width, scan.height)
    return Frame(whole, max(1, round(scan.width * factor)), max(1, round(scan.height * factor)))


def _close_up(query: Scan, image: Scan, match: Match, region: Region | None, cell: int) -> Registered | None:
    """Return the registered pair if the find is small on its page and would be hard to judge there."""
    place = match.region
    if max(place.width / image.width, place.height / image.height) >= 0.4:
        return None
    box = region or Region(0, 0, query.width, query.height)
    tallest = round(cell * 0.75)
    return register(query, image, match, box, long_side=round(min(cell, tallest * max(1.0, box.width / box.height))))


def _paste(sheet: NDArray[np.uint8], picture: NDArray[np.uint8], corner: tuple[int, int]) -> None:
    x, y = corner
    sheet[y : y + picture.shape[0], x : x + picture.shape[1]] = picture


def _spread(points: NDArray, count: int) -> NDArray[np.intp]:
    """Return indices of `count` of the `points` at most, each as far from those before as can be."""
    if len(points) <= count:
        return np.arange(len(points))
    chosen = [int(np.argmin(points.sum(axis=1)))]
    nearest = np.full(len(points), np.inf)
    while len(chosen) < count:
        nearest = np.minimum(nearest, ((points - points[chosen[-1]]) ** 2).sum(axis=1))
        chosen.append(int(np.argmax(nearest)))
    return np.array(chosen, np.intp)


def _fixed(point: NDArray) -> tuple[int, int]:
    """Return a point for OpenCV's drawing with 4 fractional bits; far points are held near the canvas."""
    x, y = np.clip(np.round(point * 16), -(2**20), 2**20).astype(int)
    return int(x), int(y)


def _join(sheet: NDArray[np.uint8], ours: NDArray, theirs: NDArray, count: int, thick: int) -> None:
    """Dot all inliers and join `count` of them, half transparent so that the pictures stay legible."""
    drawn = sheet.copy()
    for i in _spread(ours, count):
        cv2.line(drawn, _fixed(ours[i]), _fixed(theirs[i]), LINK, max(1, thick - 1), cv2.LINE_AA, 4)
    cv2.addWeighted(drawn, 0.6, sheet, 0.4, 0, dst=sheet)
    for point in np.concatenate([ours, theirs]):
        cv2.circle(sheet, _fixed(point), (thick * 2 + 1) * 16, (255, 255, 255), -1, cv2.LINE_AA, 4)
        cv2.circle(sheet, _fixed(point), thick * 28, LINK, -1, cv2.LINE_AA, 4)


def _quadrilateral(sheet: NDArray[np.uint8], corners: NDArray, thick: int) -> None:
    """Frame `corners`, shape (4, 2), and mark the first."""
    path = [np.array([_fixed(corner) for corner in corners], np.int32)]
    cv2.polylines(sheet, path, True, (255, 255, 255), thick + 2, cv2.LINE_AA, 4)
    cv2.polylines(sheet, path, True, RUBRIC, thick, cv2.LINE_AA, 4)
    reach = thick * 2 + 1
    mark = corners[0] + np.array([[-reach, -reach], [reach, -reach], [reach, reach], [-reach, reach]])
    cv2.fillPoly(sheet, [np.array([_fixed(corner) for corner in mark], np.int32)], RUBRIC, cv2.LINE_AA, 4)


def _in_words(match: Match) -> str:
    """Return relation, turn and size of a match, for a caption."""
    relation = match.relation.replace("inverted", "negative").replace("+", " and ")
    words = ["same way round" if match.relation == "same" else relation]
    if abs(match.rotation) >= 1:
        words.append(f"turned {abs(match.rotation):.0f}° {'clockwise' if match.rotation > 0 else 'anticlockwise'}")
    words.append(f"{100 * match.scale:.0f} % of the size")
    words.append(f"{match.inliers} inliers")
    return ", ".join(words)


def _lettered(sheet: NDArray[np.uint8], labels: list[tuple[str, tuple[int, int]]], size: int) -> NDArray[np.uint8]:
    picture = Image.fromarray(sheet)
    pen = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size)
    for text, place in labels:
        pen.text(place, text, fill=INK, font=font)
    return np.asarray(picture)
