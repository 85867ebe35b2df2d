"""How many pixels of an image go into a millimetre, and who says so.

Programs that do not know the resolution of an image write 72 or 96 dots per inch into it, so these are not believed;
nor is what would make a page larger than a wall or smaller than a stamp.
"""

from __future__ import annotations

import re
import warnings
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import ExifTags, Image

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["Resolution", "by_metadata", "by_scale_bar", "of_file", "resolution_of"]

_MM = 25.4
_USUAL_LIES = (72.0, 96.0)
_LEAST_MM, _MOST_MM = 15.0, 3000.0
_UNITS = {"dpi": 1 / _MM, "ppi": 1 / _MM, "ppcm": 0.1, "dpcm": 0.1, "px/cm": 0.1, "px/mm": 1.0, "ppmm": 1.0}


@dataclass(frozen=True, slots=True)
class Resolution:
    """How large a pixel is.

    Attributes
    ----------
    x, y : float or None
        Pixels in a millimetre, across and down; None where that is not known.
    source : str
        Who says so, or why nobody is believed.
    """

    x: float | None
    y: float | None
    source: str

    @property
    def known(self) -> bool:
        """Whether it is known."""
        return self.x is not None and self.y is not None

    @property
    def dpi(self) -> float | None:
        """Dots in an inch, the mean of both directions."""
        return None if self.x is None or self.y is None else (self.x + self.y) / 2 * _MM


def resolution_of(
    path: Path | None,
    size: tuple[int, int],
    *,
    dpi: float | None = None,
    metadata: Mapping[str, str] | None = None,
    key: str | None = None,
    believe: bool = False,
) -> Resolution:
    """Return the resolution of an image: what is given, else what its metadata says, else its file.

    Parameters
    ----------
    path : Path or None
        The file.
    size : (int, int)
        Width and height in pixels, after its EXIF turn.
    dpi : float, optional
        What is given.
    metadata : mapping, optional
        What is known of the image.
    key : str, optional
        The entry of it that says the resolution; see `by_metadata`.
    believe : bool
        Whether the file is believed whatever it says.
    """
    if dpi is not None:
        return Resolution(dpi / _MM, dpi / _MM, f"given: {dpi:g} dpi")
    if key is not None:
        return by_metadata(metadata or {}, key)
    if path is None:
        return Resolution(None, None, "unknown: the image is not at hand; give --dpi")
    return of_file(path, size, believe=believe)


def by_metadata(metadata: Mapping[str, str], key: str) -> Resolution:
    """Return what an entry says: ``300``, ``300 dpi``, ``118.1 px/cm``, ``11.8 px/mm``; a bare number is dpi."""
    text = metadata.get(key, "")
    found = re.match(r"\s*(\d+(?:[.,]\d+)?)\s*(\S*)", text)
    if not found:
        return Resolution(
            None, None, f"unknown: its metadata has no {key}" if not text else f"unknown: {key} is {text!r}"
        )
    unit = found[2].lower() or "dpi"
    value = float(found[1].replace(",", "."))
    if unit not in _UNITS or value <= 0:
        return Resolution(None, None, f"unknown: {key} is {text!r}, in none of {', '.join(_UNITS)}")
    return Resolution(value * _UNITS[unit], value * _UNITS[unit], f"metadata: {key} {text.strip()}")


def by_scale_bar(pixels: float, millimetres: float, label: str) -> Resolution:
    """Return what a scale bar on the image says, of which the length is known."""
    return Resolution(
        pixels / millimetres, pixels / millimetres, f"scale bar: {label}, {pixels:.0f} px are {millimetres:g} mm"
    )


def of_file(path: Path, size: tuple[int, int], *, believe: bool = False) -> Resolution:
    """Return what the head of a file says, if that can be believed.

    JFIF, EXIF, TIFF and PNG say it. A side that this makes less than 15 mm or more than 3 m is not believed, nor 72 and
    96 dpi, but where `believe`.
    """
    with suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(path) as image:
            told = image.info.get("dpi")
            kind = str(image.format)
            turned = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
        if told is None:
            return Resolution(None, None, f"unknown: the {kind} file does not say; give --dpi")
        across, down = (float(value) for value in (told[::-1] if turned else told))
        words = f"{across:.4g} dpi" if abs(across - down) < 0.01 * max(across, 1) else f"{across:.4g} × {down:.4g} dpi"
        if not (across > 0 and down > 0):
            return Resolution(None, None, f"unknown: the {kind} file says {words}; give --dpi")
        if not believe:
            if min(abs(across - lie) for lie in _USUAL_LIES) < 0.5:
                why = f"unknown: the {kind} file says {words}, as programs write that do not know"
                return Resolution(None, None, f"{why}; give --dpi, or --believe-file")
            sides = size[0] / across * _MM, size[1] / down * _MM
            if min(sides) < _LEAST_MM or max(sides) > _MOST_MM:
                why = f"unknown: the {kind} file says {words}, which makes it {sides[0]:.0f} × {sides[1]:.0f} mm"
                return Resolution(None, None, f"{why}; give --dpi, or --believe-file")
        return Resolution(across / _MM, down / _MM, f"file ({kind}): {words}")
    return Resolution(None, None, "unknown: the file cannot be read; give --dpi")
