"""Read any scan: one function from a file to pixels, whatever the format, the depth and the colour model.

Colours are taken as they are stored: ICC profiles are not applied. Transparency is laid on white paper. Grey is
always the luma of ITU-R BT.601 (0.299 R + 0.587 G + 0.114 B), the one that JPEG files carry.
"""

from __future__ import annotations

import threading
import warnings
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from itertools import count, islice
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import TYPE_CHECKING, BinaryIO

import cv2
import numpy as np
from PIL import Image
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from matcher import _pdf
from matcher.errors import CalqueError, InputError, MissingDependency
from matcher.pixels import eight_bits, tiff_tag

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray
    from PIL.ImageFile import ImageFile

__all__ = ["IMAGE_SUFFIXES", "MAX_PIXELS", "PAGED_SUFFIXES", "Scan", "page_count", "printable", "read_image"]

MAX_PIXELS = 500_000_000
"""Pixels beyond which an image is refused before anything of it is decoded."""

PAGED_SUFFIXES = frozenset({".pdf", ".tif", ".tiff"})
"""Lower-case suffixes of the formats that may hold several pages."""

IMAGE_SUFFIXES = PAGED_SUFFIXES | frozenset(
    [
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".avif", ".gif", ".bmp"),
        *(".jp2", ".j2k", ".jpf", ".jpx", ".j2c", ".jpc"),
        *(".pnm", ".pbm", ".pgm", ".ppm", ".pfm"),
    ]
)
"""Lower-case suffixes of the files worth trying to read."""

_FORMATS = "JPEG, PNG, TIFF, JPEG 2000, WebP, GIF, BMP, PNM, AVIF, PDF"
_ORIENTATION = 0x0112
_NEW_SUBFILE_TYPE, _OLD_SUBFILE_TYPE = 254, 255


@dataclass(frozen=True, slots=True)
class Scan:
    """Pixels of one page, with what is needed to go back to the original.

    Attributes
    ----------
    pixels : uint8, shape (h, w) grey or (h, w, 3) RGB
        Upright (after the EXIF turn), read-only.
    width, height : int
        Size of the original in pixels, after its EXIF turn.
    scale_x, scale_y : float
        Original pixels per pixel: ``original = (pixel + 0.5) * scale - 0.5``.
    """

    pixels: NDArray[np.uint8]
    width: int
    height: int
    scale_x: float
    scale_y: float

    def __post_init__(self) -> None:
        fixed = np.ascontiguousarray(self.pixels, dtype=np.uint8).view()
        fixed.flags.writeable = False
        object.__setattr__(self, "pixels", fixed)

    def gray(self) -> Scan:
        """Return the luma of an RGB scan."""
        return replace(self, pixels=np.asarray(cv2.cvtColor(self.pixels, cv2.COLOR_RGB2GRAY), np.uint8))


def read_image(
    path: str | os.PathLike[str],
    page: int = 0,
    *,
    gray: bool = True,
    long_side: int | None = None,
    max_pixels: int = MAX_PIXELS,
    room: Callable[[int], AbstractContextManager[object]] = nullcontext,
) -> Scan:
    """Read one page of a file.

    Parameters
    ----------
    path
        JPEG, PNG, TIFF, JPEG 2000, WebP, GIF, BMP, PNM, AVIF or PDF; recognised by content, not by name.
    page
        Counted from 0. TIFF and PDF have pages; of an animation only the first picture, page 0, is read.
        Reduced copies and masks inside a (pyramidal) TIFF are not pages.
    gray
        Luma, else RGB.
    long_side
        Working size: no side of the result is longer. Images are never enlarged.
    max_pixels
        Larger originals are refused from their header, at no cost in memory.
    room
        Called with the number of pixels, before these are decoded inside the context that it returns. Decoding takes
        five bytes a pixel in colour, some formats (WebP) twice as many.

    Returns
    -------
    Scan
        Deep images are brought to 8 bits: 16-bit grey by its high byte, or, where no value exceeds 4095, as 12-bit
        data; floats within [0, 1] times 255; all other depths from minimum to maximum.
        The original size of a PDF page is the resolution of the largest scan that covers at least half of it (150 dpi
        at least), or 300 dpi where there is none, and at most 10,000 pixels on the long side.

    Raises
    ------
    InputError
        The file is missing, unreadable, damaged, too large or has no such page.
    MissingDependency
        This installation lacks the decoder.
    """
    if long_side is not None and long_side < 1:
        raise ValueError(f"long_side must be at least 1, got {long_side}")
    name = printable(path)
    with _opened(path) as stream, _faults_named(name):
        kind = _recognised(stream, name)
        if kind is None:
            return _read_pdf(stream, name, page, gray, long_side, max_pixels)
        with _quietly():
            image = kind(stream)
            _select_page(image, page, name)
        width, height = image.size
        _check_size(width, height, max_pixels, name)
        reducible = issubclass(kind, JpegImageFile | Jpeg2KImageFile)
        with room(width * height // (_reductions(width, height, long_side)[0] ** 2 if reducible else 1)):
            pixels, factor = _decoded(image, kind, gray, long_side)
        try:
            with _quietly():
                turn = image.getexif().get(_ORIENTATION, 1)
        except Exception:  # a damaged EXIF block, which decoders report in many ways, does not spoil the picture
            turn = 1
        return _finished(pixels, (width, height), factor, turn, gray, long_side)


def page_count(path: str | os.PathLike[str]) -> int:
    """Return how many pages a file has, from its structure alone: nothing is decoded.

    Raises
    ------
    InputError
        The file is missing, unreadable or damaged.
    MissingDependency
        This installation lacks the decoder.
    """
    name = printable(path)
    with _opened(path) as stream, _faults_named(name):
        kind = _recognised(stream, name)
        if kind is None:
            with _pdf.document(stream, name) as document:
                return len(document)
        if kind is not _Tiff:
            return 1
        with _quietly():
            return sum(1 for _ in _tiff_pages(_Tiff(stream)))


def printable(path: str | os.PathLike[str]) -> str:
    """Return `path` as text that can be printed even where its bytes are not UTF-8: as errors name it."""
    return str(Path(path)).encode("utf-8", "backslashreplace").decode()


class _Tiff(TiffImageFile):
    """A TIFF bounded by `max_pixels` alone, where Pillow would apply the process-wide limit."""

    def load_prepare(self) -> None:
        if self._im is None:
            self.im = Image.new(self.mode, self._tile_size, None).im
        super().load_prepare()


# Called directly: Image.open would check sizes against a process-wide limit and warn or raise by it.
_KINDS: tuple[type[ImageFile], ...] = (
    JpegImageFile,
    PngImageFile,
    _Tiff,
    Jpeg2KImageFile,
    WebPImageFile,
    GifImageFile,
    BmpImageFile,
    PpmImageFile,
    AvifImageFile,
)

# EXIF orientation → the array operation that sets it upright; 5 to 8 exchange the sides.
_TURNS: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a[::-1].swapaxes(0, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a[:, ::-1].swapaxes(0, 1),
}

_WARNINGS_LOCK = threading.Lock()


@contextmanager
def _quietly() -> Iterator[None]:
    """Silence Pillow's remarks on odd files; one thread at a time, as warning filters belong to the process."""
    with _WARNINGS_LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _opened(path: str | os.PathLike[str]) -> BinaryIO:
    name, path = printable(path), Path(path)
    try:
        mode = path.stat().st_mode
        if S_ISDIR(mode):
            raise InputError(f"{name}: a folder, not an image; name a file in it")
        if not S_ISREG(mode):
            raise InputError(f"{name}: not a regular file; copy the image to a file first")
        return path.open("rb")
    except FileNotFoundError as error:
        raise InputError(f"{name}: no such file; check the path") from error
    except PermissionError as error:
        raise InputError(f"{name}: permission denied; make the file and its folders readable") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{name}: cannot be opened ({_reason(error)}); check the path") from error


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(text.split()) or type(error).__name__


@contextmanager
def _faults_named(name: str) -> Iterator[None]:
    """Turn whatever a decoder raises into an error that names the file."""
    try:
        yield
    except CalqueError:
        raise
    except MemoryError as error:
        raise InputError(f"{name}: not enough memory to decode it; reduce the image or free memory") from error
    except Exception as error:  # decoders answer damaged data with every kind of exception
        reason = _reason(error)
        if isinstance(error, OSError) and reason.startswith("decoder ") and reason.endswith("not available"):
            raise MissingDependency(f"{name}: {reason} in this build of Pillow; {_PILLOW_REMEDY}") from error
        raise InputError(
            f"{name}: damaged, or of a kind that cannot be decoded ({reason}); "
            "get a fresh copy or convert it to PNG, JPEG or plain TIFF"
        ) from error


_PILLOW_REMEDY = "install a complete one with 'pip install --force-reinstall --only-binary :all: pillow'"


def _recognised(stream: BinaryIO, name: str) -> type[ImageFile] | None:
    """Return the class that reads `stream`, judged by its first bytes; None for PDF."""
    prefix = stream.read(1024)
    stream.seek(0)
    if not prefix:
        raise InputError(f"{name}: empty file (0 bytes); get a fresh copy")
    for kind in _KINDS:
        accept = Image.OPEN[kind.format or ""][1]
        verdict = accept(prefix) if accept else False
        if isinstance(verdict, str):
            raise MissingDependency(f"{name}: this build of Pillow cannot read {kind.format}; {_PILLOW_REMEDY}")
        if verdict:
            return kind
    if b"%PDF-" in prefix:
        return None
    raise InputError(f"{name}: not an image in a format that can be read ({_FORMATS}); convert it to one of them")


def _check_size(width: int, height: int, max_pixels: int, name: str) -> None:
    if width < 1 or height < 1:
        raise InputError(f"{name}: an image of {width} x {height} pixels; get a fresh copy")
    if width * height > max_pixels:
        raise InputError(
            f"{name}: {width} x {height} = {width * height:,} pixels, more than the limit of {max_pixels:,}; "
            "save it smaller or cut it in parts"
        )


def _no_page(name: str, page: int, pages: int) -> InputError:
    return InputError(f"{name}: no page {page}; it has {pages}, counted from 0")


def _select_page(image: ImageFile, page: int, name: str) -> None:
    if not isinstance(image, _Tiff):
        if page != 0:
            raise _no_page(name, page, 1)
        return
    selected = list(islice(_tiff_pages(image), page, page + 1)) if page >= 0 else []
    if not selected:
        raise _no_page(name, page, sum(1 for _ in _tiff_pages(image)))
    if selected[0] is not None:
        raise selected[0]


def _tiff_pages(image: TiffImageFile) -> Iterator[SyntaxError | None]:
    """Move `image` to each page, not to reduced copies or masks; yield why it cannot be decoded, or None."""
    found = False
    for frame in count():
        fault = None
        try:
            image.seek(frame)
        except EOFError:
            break
        except SyntaxError as error:
            fault = error  # it concerns whoever reads this page; to seek once more would not raise it again
        if not tiff_tag(image, _NEW_SUBFILE_TYPE, 0) & 0b101 and tiff_tag(image, _OLD_SUBFILE_TYPE, 1) != 2:
            found = True
            yield fault
    if not found:
        image.seek(0)
        yield None


def _decoded(
    image: ImageFile, kind: type[ImageFile], gray: bool, long_side: int | None
) -> tuple[NDArray[np.uint8], int]:
    """Decode; return the pixels and by how much they were reduced, at most down to `long_side`, on the way."""
    factors = _reductions(*image.size, long_side)
    factor = 1
    if isinstance(image, JpegImageFile):
        # DCT-domain reduction: a pixel is the mean of factor × factor pixels, near enough
        factor = factors[0]
        image.draft("L" if gray and image.mode == "RGB" else None, (image.width // factor, image.height // factor))
        image.load()
    elif isinstance(image, Jpeg2KImageFile):
        image, factor = _load_jpeg2000(image, factors)
    else:
        with nullcontext() if isinstance(image, PngImageFile) else _quietly():
            image.load()
    pixels = eight_bits(image, gray)
    if factor > 1 and kind is Jpeg2KImageFile:
        pixels = _centred(pixels, factor)
    return pixels, factor


def _reductions(width: int, height: int, long_side: int | None) -> list[int]:
    """Return the reductions a decoder may apply, the strongest first; 1 is the last."""
    if long_side is None:
        return [1]
    return [f for f in (8, 4, 2) if max(width, height) // f >= long_side and min(width, height) >= 8 * f] + [1]


def _load_jpeg2000(image: Jpeg2KImageFile, factors: list[int]) -> tuple[ImageFile, int]:
    """Load the coarsest resolution level allowed; return the image and its reduction."""
    stream = image.fp
    for factor in factors:
        # Pillow rounds the reduced size to nearest, the standard (ISO 15444-1, B-15) up: go on where these differ
        if any((side + factor // 2) // factor != -(-side // factor) for side in image.size):
            continue
        image.reduce = factor.bit_length() - 1
        try:
            image.load()
        except OSError:
            if factor == 1 or stream is None:
                raise
            # fewer resolution levels in the file than asked for, or real damage, which shows again at full size
            stream.seek(0)
            image = Jpeg2KImageFile(stream)
        else:
            return image, factor
    raise AssertionError("the factor 1 always loads or raises")


def _centred(pixels: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Move wavelet samples, which lie at multiples of `factor`, to the centres of the blocks they stand for.

    Cubic convolution (Keys 1981, a = -1/2) at a shift of (factor - 1) / 2 original pixels.
    """
    t = 0.5 - 0.5 / factor
    taps = np.array(
        [
            (-t + 2 * t**2 - t**3) / 2,
            (2 - 5 * t**2 + 3 * t**3) / 2,
            (t + 4 * t**2 - 3 * t**3) / 2,
            (-(t**2) + t**3) / 2,
        ]
    )
    moved = cv2.sepFilter2D(pixels, -1, taps, taps, anchor=(1, 1), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(moved, dtype=np.uint8)


def _finished(
    pixels: NDArray[np.uint8],
    size: tuple[int, int],
    factor: int,
    turn: int,
    gray: bool,
    long_side: int | None,
) -> Scan:
    """Bring decoded pixels, reduced by `factor`, to the colour, size and orientation asked for."""
    width, height = size
    if factor > 1:
        # the last row and column may stand for less than a whole block: what is kept has an exact scale
        pixels = pixels[: height // factor, : width // factor]
    if gray and pixels.ndim == 3:
        pixels = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    rows, columns = pixels.shape[:2]
    wide, high = columns, rows
    if long_side is not None and max(rows, columns) > long_side:
        ratio = long_side / max(width, height)
        wide = max(1, min(columns, round(width * ratio)))
        high = max(1, min(rows, round(height * ratio)))
        pixels = np.asarray(cv2.resize(pixels, (wide, high), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    if not gray and pixels.ndim == 2:
        pixels = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB), dtype=np.uint8)
    scale_x, scale_y = columns * factor / wide, rows * factor / high
    if turn in _TURNS:
        pixels = _TURNS[turn](pixels)
    if turn in (5, 6, 7, 8):
        width, height, scale_x, scale_y = height, width, scale_y, scale_x
    return Scan(pixels, width, height, scale_x, scale_y)


def _read_pdf(stream: BinaryIO, name: str, page: int, gray: bool, long_side: int | None, max_pixels: int) -> Scan:
    with _pdf.document(stream, name) as document:
        if not 0 <= page < len(document):
            raise _no_page(name, page, len(document))
        sheet = document[page]
        width, height = _pdf.size(sheet)
        _check_size(width, height, max_pixels, name)
        pixels = _pdf.drawn(sheet, min(max(width, height), long_side or max(width, height)))
    rows, columns = pixels.shape[:2]
    scan = _finished(pixels, (columns, rows), 1, 1, gray, None)
    return Scan(scan.pixels, width, height, width / columns, height / rows)
