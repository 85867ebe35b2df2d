"""An image as a model of the hub takes it, by its ``preprocessor_config.json``; and the way back.

What Hugging Face's own processors do for the families of `matcher.detectors`, without the packages that they want:
resize by Pillow, colours to 0 to 1, less a mean, over a deviation, fill up with zeros.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from matcher.errors import InputError
from matcher.hub import model_json
from matcher.images import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from matcher.images import Scan

__all__ = ["Preparation", "Prepared", "preparation_of"]

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_BILINEAR = 2
_SHORT, _LONG = 800, 1333
_GREY = 128


class Prepared(NamedTuple):
    """Images as a model takes them.

    Attributes
    ----------
    pixels : float32, shape (n, 3, h, w)
    mask : int64, shape (n, h, w)
        1 where there is image, 0 where it was filled up.
    sizes : list of (int, int)
        Rows and columns of each image in `pixels`, from the upper left corner.
    """

    pixels: NDArray[np.float32]
    mask: NDArray[np.int64]
    sizes: list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Preparation:
    """How images are made what a model takes.

    Attributes
    ----------
    exact : (int, int) or None
        Rows and columns that images are stretched to; None keeps their proportions.
    shortest, longest : int or None
        Pixels that the shorter side gets, and that the longer may have, where these are kept.
    squared : bool
        Whether images are filled up with grey to squares before they are stretched.
    filled : (int, int) or None
        Rows and columns that they are filled up to; by default to those of the largest of them.
    multiple : int
        Of which these are multiples.
    scale : float
        What values of 0 to 255 are multiplied with.
    mean, std : tuple of float
        Of red, green, blue.
    filter : int
        Pillow's number for the way of resizing.
    """

    exact: tuple[int, int] | None
    shortest: int | None = None
    longest: int | None = None
    squared: bool = False
    filled: tuple[int, int] | None = None
    multiple: int = 1
    scale: float = 1 / 255
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    filter: int = _BILINEAR

    def prepare(self, scans: Sequence[Scan]) -> Prepared:
        """Return scans, in colour or grey, as the model takes them, filled up to one size."""
        ready = [self._resized(scan.pixels) for scan in scans]
        sizes = [(pixels.shape[0], pixels.shape[1]) for pixels in ready]
        rows, columns = self.filled or tuple(
            -(-max(size[axis] for size in sizes) // self.multiple) * self.multiple for axis in (0, 1)
        )
        sheets = np.zeros((len(ready), 3, rows, columns), np.float32)
        mask = np.zeros((len(ready), rows, columns), np.int64)
        for sheet, known, pixels, (high, wide) in zip(sheets, mask, ready, sizes, strict=True):
            values = (pixels.astype(np.float32) * self.scale - np.array(self.mean)) / np.array(self.std)
            sheet[:, :high, :wide] = values.transpose(2, 0, 1)
            known[:high, :wide] = 1
        return Prepared(sheets, mask, sizes)

    def _resized(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if pixels.ndim == 2:
            pixels = np.repeat(pixels[..., None], 3, axis=2)
        rows, columns = pixels.shape[:2]
        if self.squared:
            side = max(rows, columns)
            square = np.full((side, side, 3), _GREY, np.uint8)
            square[:rows, :columns] = pixels
            pixels = square
        wanted = self.exact or self._kept(rows, columns)
        if wanted == pixels.shape[:2]:
            return pixels
        resample = Image.Resampling(self.filter)
        return np.asarray(Image.fromarray(pixels).resize((wanted[1], wanted[0]), resample), np.uint8)

    def _kept(self, rows: int, columns: int) -> tuple[int, int]:
        """Return rows and columns of the same proportions, which are allowed."""
        short, long = min(rows, columns), max(rows, columns)
        if self.shortest is None:
            factor = (self.longest or long) / long
            return int(rows * factor + 0.5), int(columns * factor + 0.5)
        least: float = self.shortest
        exceeding = self.longest is not None and long / short * least > self.longest
        if exceeding and self.longest is not None:
            least = self.longest * short / long
        other = int(least * long / short)
        if short == round(least):
            return rows, columns
        return (round(least), other) if rows <= columns else (other, round(least))


def preparation_of(folder: Path, *, squared: bool = False) -> Preparation:
    """Return how a model wants its images, as the files beside it say; `InputError` if that makes no sense.

    `squared`: whether its family fills images up to squares.
    """
    told = model_json(folder, "preprocessor_config.json")
    if not told:
        processor = model_json(folder, "processor_config.json")
        told = processor.get("image_processor", processor)
    try:
        return _read(told, squared)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{printable(folder)}: what its preprocessor_config.json says of images cannot be used "
            f"({type(error).__name__}: {error}); get a fresh copy"
        ) from error


def _read(told: Mapping[str, Any], squared: bool) -> Preparation:
    size = told.get("size", {"shortest_edge": _SHORT, "longest_edge": _LONG})
    if isinstance(size, int):  # as it was until 2023
        square = told.get("default_to_square", "max_size" not in told)
        size = {"height": size, "width": size} if square else {"shortest_edge": size, "longest_edge": told["max_size"]}
    exact = (int(size["height"]), int(size["width"])) if "height" in size else None
    shortest, longest = (None if size.get(key) is None else int(size[key]) for key in ("shortest_edge", "longest_edge"))
    if not told.get("do_resize", True):
        exact = shortest = longest = None
    if shortest is not None and longest is None and told.get("max_size"):
        longest = int(told["max_size"])
    filled = told.get("pad_size")
    normalise = told.get("do_normalize", True)
    scale = told.get("rescale_factor", 1 / 255) if told.get("do_rescale", True) else 1.0
    return Preparation(
        exact=exact,
        shortest=shortest,
        longest=longest,
        squared=squared and bool(told.get("do_pad", True)),
        filled=(int(filled["height"]), int(filled["width"])) if filled and told.get("do_pad", True) else None,
        multiple=int(told.get("size_divisor") or told.get("size_divisibility") or 1),
        scale=float(scale),
        mean=tuple(map(float, told.get("image_mean", _MEAN))) if normalise else (0.0, 0.0, 0.0),
        std=tuple(map(float, told.get("image_std", _STD))) if normalise else (1.0, 1.0, 1.0),
        filter=int(told.get("resample", _BILINEAR)),
    )
