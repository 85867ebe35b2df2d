"""An image with the things found on it drawn in: outlines in a colour for each label, its name, how sure it is."""

from __future__ import annotations

import colorsys
import hashlib
from typing import TYPE_CHECKING

import numpy as np

from matcher.layout_drawings import Mark, marked

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from matcher.detection import Detection
    from matcher.images import Scan

__all__ = ["colour_of", "drawn"]


def colour_of(label: str) -> tuple[int, int, int]:
    """Return red, green, blue of a label: always the same, dark enough for white letters, and mostly its own."""
    hue = int.from_bytes(hashlib.blake2b(label.encode(errors="replace"), digest_size=2).digest()) / 65536
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.9, 0.7)
    return round(red * 255), round(green * 255), round(blue * 255)


def drawn(scan: Scan, found: Iterable[Detection]) -> NDArray[np.uint8]:
    """Draw detections on their image, the larger below the smaller.

    Parameters
    ----------
    scan : Scan
        The image in colour; the drawing has its size.
    found : iterable of Detection

    Returns
    -------
    uint8, shape (h, w, 3)
    """
    marks = [
        Mark(
            one.polygons or (one.box.corners(),),
            f"{one.label} {one.score:.2f}",
            colour_of(one.label),
            np.zeros((0, 2)) if one.landmarks is None else one.landmarks,
        )
        for one in sorted(found, key=lambda one: -one.box.area)
    ]
    return marked(scan, marks)
