"""Makers of scan files for tests: soft pictures, TIFFs by hand, PDFs of scans, a bomb."""

from __future__ import annotations

import functools
import struct
import zlib
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def smooth(height: int = 90, width: int = 130, seed: int = 1) -> NDArray[np.uint8]:
    """Return a soft, lopsided colour picture: no codec harms it much, no turn leaves it as it is."""
    noise = np.random.default_rng(seed).random((height, width, 3)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 8)
    return cv2.normalize(soft, None, 20, 235, cv2.NORM_MINMAX).astype(np.uint8)


@functools.cache
def waves(height: int, width: int) -> NDArray[np.uint8]:
    """Return a soft gray picture, quick to make however large."""
    noise = np.random.default_rng(height).random((height // 16 + 2, width // 16 + 2)).astype(np.float32)
    soft = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return cv2.normalize(soft, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def luma(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.rint(rgb.astype(float) @ [0.299, 0.587, 0.114]).astype(np.uint8)


def difference(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> int:
    assert a.shape == b.shape
    return int(np.abs(a.astype(int) - b).max())


def save(path: Path, image: Image.Image | NDArray[Any], **options: Any) -> Path:
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)
    return path


def tiff(path: Path, strips: bytes, entries: list[tuple[int, int, int, int]]) -> Path:
    """Write a little-endian TIFF by hand: one strip, `entries` of (tag, type, count, value)."""
    table = sorted([*entries, (273, 4, 1, 8), (279, 4, 1, len(strips))])
    directory = struct.pack("<H", len(table)) + b"".join(struct.pack("<HHII", *entry) for entry in table) + bytes(4)
    path.write_bytes(struct.pack("<2sHI", b"II", 42, 8 + len(strips)) + strips + directory)
    return path


def gray_tiff(path: Path, values: NDArray[Any], photometric: int = 1, sample_format: int = 1) -> Path:
    height, width = values.shape
    bits = values.dtype.itemsize * 8
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 277: 1, 278: height, 339: sample_format}
    return tiff(path, values.tobytes(), [(tag, 4, 1, value) for tag, value in tags.items()])


def scanned_pdf(path: Path, *pages: Image.Image, resolution: float = 200.0) -> Path:
    pages[0].save(path, save_all=True, append_images=pages[1:], resolution=resolution, quality=97)
    return path


def bomb(path: Path, side: int) -> Path:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1_000_000))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b""))
    return path
