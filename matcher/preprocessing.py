"""How pictures are shown to a pretrained network, as its ``preprocessor_config.json`` says.

What the image processors of transformers do, of which half need torchvision; tests hold the two equal.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from matcher.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["Preprocessing"]

_SQUARE = ("ViT", "Siglip", "Deit", "DeiT", "Beit")
"""Beginnings of the names of processors for which a size that is one number is that of a square."""

_CROPPED_BELOW = 384
"""ConvNeXT crops below this size, and squeezes from it on."""


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How pictures are brought to the size and the values that a network expects.

    Attributes
    ----------
    resize : (int, int) or None
        Height and width to which a picture is squeezed.
    shortest : int or None
        Instead: length to which its shorter side is brought.
    crop : (int, int) or None
        Height and width of the part in the middle that is then cut out.
    resample : int
        Pillow's number of the filter.
    factor : float
        By which values, 0 to 255, are multiplied.
    mean, std : tuple of float
        Of the three channels: subtracted, and divided by.
    """

    resize: tuple[int, int] | None
    shortest: int | None
    crop: tuple[int, int] | None
    resample: int
    factor: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def read(cls, path: Path) -> Preprocessing:
        """Read a ``preprocessor_config.json``; `InputError` if it says nothing of use."""
        try:
            told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return cls._of(told)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise InputError(
                f"{path} does not say how pictures are shown to the model ({type(error).__name__}: {error}); "
                "take the file that its authors publish"
            ) from error

    @classmethod
    def _of(cls, told: dict[str, Any]) -> Preprocessing:
        kind = str(told.get("image_processor_type") or told.get("feature_extractor_type") or "")
        size, crop = told["size"], told.get("crop_size")
        if isinstance(size, int):
            size = {"height": size, "width": size} if kind.startswith(_SQUARE) else {"shortest_edge": size}
        cropped = _pair(crop) if told.get("do_center_crop") and crop is not None else None
        resize, shortest = None, None
        if not told.get("do_resize", True):
            raise ValueError("it does not resize pictures")
        if "shortest_edge" not in size:
            resize = _pair(size)
        elif not kind.startswith("ConvNext"):
            shortest = int(size["shortest_edge"])
            cropped = cropped or (shortest, shortest)  # or else pictures of two shapes would not fit one batch
        elif (edge := int(size["shortest_edge"])) < _CROPPED_BELOW:
            shortest, cropped = int(edge / float(told.get("crop_pct") or 224 / 256)), (edge, edge)
        else:
            resize = (edge, edge)
        normalised = told.get("do_normalize", True)
        return cls(
            resize,
            shortest,
            cropped,
            int(told.get("resample", Image.Resampling.BICUBIC)),
            float(told.get("rescale_factor", 1 / 255)) if told.get("do_rescale", True) else 1.0,
            tuple(map(float, told["image_mean"])) if normalised else (0.0, 0.0, 0.0),
            tuple(map(float, told["image_std"])) if normalised else (1.0, 1.0, 1.0),
        )

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of what the network sees."""
        if self.crop is not None:
            return self.crop
        assert self.resize is not None
        return self.resize

    def __call__(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return a picture, uint8 RGB (h, w, 3), as the network expects it, float32 (3, height, width)."""
        image = Image.fromarray(np.ascontiguousarray(picture))
        high, wide = picture.shape[:2]
        if self.resize is not None:
            high, wide = self.resize
        elif self.shortest is not None:
            short, long = min(high, wide), max(high, wide)
            # Hugely long strips are squeezed rather than blown up to what no memory holds.
            long = min(int(self.shortest * long / short), 32 * self.shortest)
            high, wide = (self.shortest, long) if high <= wide else (long, self.shortest)
        values = np.asarray(image.resize((wide, high), Image.Resampling(self.resample)), np.float32)
        if self.crop is not None:
            values = _centre(values, *self.crop)
        shown = (values * np.float32(self.factor) - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return np.ascontiguousarray(shown.transpose(2, 0, 1), dtype=np.float32)


def _pair(size: Any) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (int(size["height"]), int(size["width"]))


def _centre(values: NDArray[np.float32], high: int, wide: int) -> NDArray[np.float32]:
    """Cut out the middle; what is smaller is filled up with black."""
    rows, columns = values.shape[:2]
    if rows < high or columns < wide:
        above, left = max(0, high - rows), max(0, wide - columns)
        around = ((above - above // 2, above // 2), (left - left // 2, left // 2), (0, 0))
        values = np.pad(values, around)
        rows, columns = values.shape[:2]
    top, left = (rows - high) // 2, (columns - wide) // 2
    return values[top : top + high, left : left + wide]
