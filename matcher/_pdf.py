"""Pages of a PDF as pixels, drawn by PDFium."""

from __future__ import annotations

import math
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from matcher.errors import InputError, MissingDependency

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from pypdfium2 import PdfDocument, PdfPage

__all__ = ["document", "drawn", "size"]

_DEFAULT_DPI, _LEAST_DPI, _LONG_SIDE = 300.0, 150.0, 10_000  # the last in pixels
_PDFIUM_LOCK = threading.Lock()


@contextmanager
def document(stream: BinaryIO, name: str) -> Iterator[PdfDocument]:
    """Open a PDF; `name` is what errors call it. PDFium is not thread-safe: a lock is held until it is closed again."""
    try:
        import pypdfium2
    except ImportError as error:
        raise MissingDependency(f"{name}: reading PDF needs pypdfium2; pip install pypdfium2") from error
    with _PDFIUM_LOCK:
        try:
            opened = pypdfium2.PdfDocument(stream)
        except pypdfium2.PdfiumError as error:
            if "password" in str(error).lower():
                raise InputError(f"{name}: encrypted PDF; save a copy without a password") from error
            raise
        try:
            yield opened
        finally:
            opened.close()


def size(page: PdfPage) -> tuple[int, int]:
    """Return the width and height in pixels that count as the page's original size.

    They are those at which the finest image that covers at least half of the page keeps its own pixels, at 150 dpi or
    more; 300 dpi where there is no such image. The long side is at most 10,000 pixels.
    """
    from pypdfium2.raw import FPDF_PAGEOBJ_IMAGE

    width, height = page.get_size()
    found = []
    for item in page.get_objects(filter=[FPDF_PAGEOBJ_IMAGE]):
        left, bottom, right, top = item.get_bounds()
        area = (right - left) * (top - bottom)
        if area >= 0.5 * width * height:
            across, down = item.get_px_size()
            found.append(72 * float(across * down / area) ** 0.5)
    dpi = max([_LEAST_DPI, *found]) if found else _DEFAULT_DPI
    long_side = max(1, min(_LONG_SIDE, round(max(width, height) * dpi / 72)))
    scale = _scale(page, long_side)
    return math.ceil(width * scale), math.ceil(height * scale)


def drawn(page: PdfPage, long_side: int) -> NDArray[np.uint8]:
    """Draw a page `long_side` pixels long, on white; return uint8, shape (h, w, 3) RGB.

    PDFium averages as it reduces scans, so there is no need to draw larger first.
    """
    return np.array(page.render(scale=_scale(page, long_side), rev_byteorder=True).to_numpy(), dtype=np.uint8)


def _scale(page: PdfPage, long_side: int) -> float:
    """Return pixels per point; sides are rounded up, so a hair less keeps the long one at what was asked for."""
    return long_side / float(max(page.get_size())) * (1 - 1e-9)
