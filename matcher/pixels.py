"""From what a decoder has loaded to 8 bits, grey or RGB: band by band, so that memory holds an image only once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from PIL import Image, ImageCms
from PIL.TiffImagePlugin import TiffImageFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["eight_bits", "tiff_tag"]

_PHOTOMETRIC, _SAMPLE_FORMAT = 262, 339

_BAND = 1 << 21
"""Pixels converted at a time."""


def tiff_tag(image: TiffImageFile, tag: int, default: int) -> int:
    """Return a whole-number tag of the page that `image` is at."""
    value = image.tag_v2.get(tag, default)
    if isinstance(value, tuple) and value:
        value = value[0]  # one for each sample, always the same
    return value if isinstance(value, int) else default


def eight_bits(image: Image.Image, gray: bool) -> NDArray[np.uint8]:
    """Return a loaded image as 8 bits.

    Parameters
    ----------
    image : Image
        Of any mode; of more than 8 bits as `matcher.images.read_image` says.
    gray : bool
        Luma, else the colours; an image that has none is grey in any case.

    Returns
    -------
    uint8, shape (h, w) or (h, w, 3)
    """
    if image.mode[0] in "IF":
        return _from_deep(image)
    return _joined(image, (_converted(band, gray) for band in _bands(image)))


def _bands(image: Image.Image) -> Iterator[Image.Image]:
    """Yield the image in pieces from the top to the bottom."""
    rows = max(1, _BAND // image.width)
    if rows >= image.height:
        yield image
        return
    for top in range(0, image.height, rows):
        yield image.crop((0, top, image.width, min(top + rows, image.height)))


def _joined(image: Image.Image, bands: Iterator[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Put converted `_bands` of an image one below the other."""
    first = next(bands)
    if len(first) == image.height:
        return first
    whole = np.empty((image.height, *first.shape[1:]), np.uint8)
    whole[: len(first)] = first
    top = len(first)
    for band in bands:
        whole[top : top + len(band)] = band
        top += len(band)
    return whole


def _converted(image: Image.Image, gray: bool) -> NDArray[np.uint8]:
    """Return an image of at most 8 bits a channel as grey, if that is wanted or all there is, or as RGB."""
    if image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        image = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB") or image
    elif image.has_transparency_data:
        if image.mode in ("La", "RGBa"):
            image = image.convert({"La": "LA", "RGBa": "RGBA"}[image.mode])
        image = image.convert("RGBA")
        paper = Image.new("RGB", image.size, "white")
        paper.paste(image, mask=image.getchannel("A"))
        image = paper
    elif image.mode == "P" and gray:
        # the luma of at most 256 colours instead of that of every pixel
        stored = np.array(image.getpalette("RGB"), dtype=np.uint8).reshape(-1, 1, 3)
        colours = np.zeros((256, 1, 3), np.uint8)
        colours[: len(stored)] = stored
        lumas = cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY)
        return np.asarray(cv2.LUT(np.asarray(image), lumas), dtype=np.uint8)
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode not in ("L", "RGB"):
        image = image.convert("RGB")
    pixels = np.asarray(image, dtype=np.uint8)
    if gray and pixels.ndim == 3:
        pixels = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    return pixels


def _from_deep(image: Image.Image) -> NDArray[np.uint8]:
    """Bring grey of more than 8 bits to 8 bits."""
    white_is_zero, unsigned = False, False
    if isinstance(image, TiffImageFile):
        white_is_zero = tiff_tag(image, _PHOTOMETRIC, 1) == 0  # Pillow heeds it for 1 to 8 bits only
        unsigned = image.mode == "I" and tiff_tag(image, _SAMPLE_FORMAT, 1) == 1

    def values(band: Image.Image) -> NDArray[Any]:
        stored = np.asarray(band)
        if unsigned:
            return stored.view(np.uint32)
        return np.nan_to_num(stored) if stored.dtype.kind == "f" else stored

    ends = [(float(part.min()), float(part.max())) for part in map(values, _bands(image))]
    low, high = min(end[0] for end in ends), max(end[1] for end in ends)
    is_float = image.mode[0] == "F"
    shift = 4 if high <= 0xFFF else 8
    by_bytes = not is_float and low >= 0 and high <= 0xFFFF
    if is_float and low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    step = max(high - low, float(np.finfo(np.float32).tiny)) / 255

    def converted(part: NDArray[Any]) -> NDArray[np.uint8]:
        scaled = part >> shift if by_bytes else np.rint((part.astype(np.float64) - low) / step)
        pixels = scaled.astype(np.uint8)
        return np.asarray(255 - pixels if white_is_zero else pixels, dtype=np.uint8)

    return _joined(image, (converted(values(band)) for band in _bands(image)))
