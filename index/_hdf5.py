"""The HDF5 container of a segment: where its datasets lie and what their checksums are."""

from __future__ import annotations

import io
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

import h5py
import numpy as np

from index._heaps import require_ending_heaps
from index.settings import FORMAT_VERSION, GEOMETRY_BITS, Settings
from matcher.errors import CorruptIndex, SettingsMismatch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

    from _typeshed import ReadableBuffer
    from numpy.typing import NDArray

__all__ = [
    "COMPACT_SINCE",
    "MAXIMUM_IMAGES",
    "REMEDY",
    "DamagedSegment",
    "Dataset",
    "Header",
    "SegmentFile",
    "datasets",
    "is_small",
    "read_header",
]

MAXIMUM_IMAGES = 1 << 16
"""Local image numbers are 16-bit."""

_FORMAT = "calque segment"
_ALIGNMENT = 64

COMPACT_SINCE = 3
"""Version of the format since which geometry is one number, and words of images are gaps."""

REMEDY = "restore it from a copy, or run: calque check --repair, then calque add the same sources again"
"""What to do about a damaged segment."""


class DamagedSegment(CorruptIndex):
    """A segment cannot be used, for the `reason` given."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} is damaged ({reason}); {REMEDY}")
        self.reason = reason


class Dataset(NamedTuple):
    """Type and shape of a dataset.

    The first axis counts words (w), features (n), images (m) or bytes of the images' words (b), perhaps plus one.
    """

    dtype: np.dtype[Any]
    rows: str
    shape: tuple[int, ...] = (0,)


_POSTINGS = {
    "words": Dataset(np.dtype("<u2"), "w"),
    "offsets": Dataset(np.dtype("<i8"), "w+1"),
    "images": Dataset(np.dtype("<u2"), "n"),
    "signatures": Dataset(np.dtype("<u8"), "n"),
}
_IMAGES = {
    "image_ids": Dataset(np.dtype("<i8"), "m"),
    "image_sizes": Dataset(np.dtype("<i4"), "m", (0, 2)),
    "image_offsets": Dataset(np.dtype("<i8"), "m+1"),
}
_OLD = {
    **_POSTINGS,
    "positions": Dataset(np.dtype("<u2"), "n", (0, 2)),
    "scales": Dataset(np.dtype("<u1"), "n"),
    "angles": Dataset(np.dtype("<u1"), "n"),
    **_IMAGES,
    "image_steps": Dataset(np.dtype("<f4"), "m"),
    "image_words": Dataset(np.dtype("<u2"), "n"),
}
_NEW = {
    bits: {
        **_POSTINGS,
        "offsets": Dataset(np.dtype("<u4"), "w+1"),
        "geometry": Dataset(np.dtype(f"<u{bits // 8}"), "n"),
        **_IMAGES,
        "image_words": Dataset(np.dtype("<u1"), "b"),
    }
    for bits in GEOMETRY_BITS
}


def datasets(settings: Settings, version: int = FORMAT_VERSION) -> dict[str, Dataset]:
    """Return all datasets, by name, of a segment of these settings in a version of the format."""
    return _OLD if version < COMPACT_SINCE else _NEW[settings.geometry_bits]


def is_small(dataset: Dataset) -> bool:
    """Return whether a dataset does not grow with the number of features."""
    return dataset.rows not in ("n", "b")


class Header(NamedTuple):
    """What a segment says of itself: settings, (shape, offset in the file) and CRC-32 by dataset, size of the file."""

    version: int
    settings: Settings
    layout: dict[str, tuple[tuple[int, ...], int]]
    checksums: dict[str, int]
    n_bytes: int


def read_header(path: Path) -> Header:
    """Return the header of the segment at `path`, having checked that all its datasets lie inside the file.

    Raises
    ------
    FileNotFoundError, CorruptIndex, SettingsMismatch
        As `index.segment.Segment.open`.
    """
    try:
        require_ending_heaps(path)
        # No locking: a finished segment never changes, and shared folders often cannot lock.
        with h5py.File(path, "r", locking=False) as file:
            return _header(file, path.stat().st_size)
    except FileNotFoundError:
        raise
    except SettingsMismatch as error:
        raise SettingsMismatch(f"{path}: {error}") from error
    except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        if not path.exists():  # HDF5 has other words for a file that is deleted while it opens it
            raise FileNotFoundError(path) from error
        raise DamagedSegment(path, str(error)) from error


def _header(file: h5py.File, size: int) -> Header:
    if file.attrs["format"] != _FORMAT:
        raise ValueError("not a segment")
    version = int(file.attrs["version"])
    if version > FORMAT_VERSION:
        raise SettingsMismatch(
            f"made by a newer calque (format {version}, this one reads up to {FORMAT_VERSION}): upgrade calque"
        )
    settings = Settings.from_json(file.attrs["settings"])
    counted = {"w": "words", "n": "images", "m": "image_ids", "b": "image_words"}
    rows = {axis: len(file[name]) for axis, name in counted.items()}
    layout: dict[str, tuple[tuple[int, ...], int]] = {}
    checksums: dict[str, int] = {}
    for name, kind in datasets(settings, version).items():
        dataset = file[name]
        shape = (rows[kind.rows[0]] + kind.rows.endswith("+1"), *kind.shape[1:])
        if dataset.shape != shape or dataset.dtype != kind.dtype:
            raise ValueError(f"{name} has {dataset.dtype} {dataset.shape}, expected {kind.dtype} {shape}")
        # Nothing is stored of an empty dataset.
        offset = dataset.id.get_offset() if dataset.size else 0
        if offset is None or offset % kind.dtype.itemsize or offset + dataset.nbytes > size:
            raise ValueError(f"{name} does not lie inside the file")
        layout[name] = shape, offset
        checksums[name] = int(dataset.attrs["crc32"])
    return Header(version, settings, layout, checksums, size)


class SegmentFile:
    """A segment being written: datasets of known size, filled from their beginning."""

    def __init__(self, path: Path, settings: Settings, rows: Mapping[str, int]) -> None:
        """Begin a file whose axes, see `Dataset`, are as long as `rows` says."""
        self._datasets = datasets(settings)
        self._sink = _Sink(path)
        # From version 1.10 on, HDF5 guards its own structures by checksums too.
        self._file = h5py.File(
            self._sink, "w", libver=("v110", "v110"), alignment_threshold=1, alignment_interval=_ALIGNMENT
        )
        self._file.attrs.update({"format": _FORMAT, "version": FORMAT_VERSION, "settings": settings.to_json()})
        self._filled = dict.fromkeys(self._datasets, 0)
        self._checksums = dict.fromkeys(self._datasets, 0)
        for name, kind in self._datasets.items():
            shape = (rows[kind.rows[0]] + kind.rows.endswith("+1"), *kind.shape[1:])
            self._file.create_dataset(name, shape=shape, dtype=kind.dtype)

    def __enter__(self) -> SegmentFile:
        return self

    def append(self, name: str, array: NDArray[Any]) -> None:
        """Fill the next rows of a dataset."""
        block = np.ascontiguousarray(array, dtype=self._datasets[name].dtype)
        if not block.size:
            return
        start = self._filled[name]
        self._file[name][start : start + len(block)] = block
        self._filled[name] = start + len(block)
        self._checksums[name] = zlib.crc32(block.data, self._checksums[name])
        self._sink.raise_error()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            short = [name for name in self._datasets if self._filled[name] != len(self._file[name])]
            if short:
                kind, error = ValueError, ValueError(f"{short[0]} was not filled")
            for name, checksum in self._checksums.items():
                self._file[name].attrs["crc32"] = np.uint32(checksum)
        self._file.close()
        self._sink.close()
        if error is not None:
            raise error
        self._sink.raise_error()


class _Sink(io.FileIO):
    """The file that HDF5 writes to. It keeps the first error to itself, since HDF5 cannot close a file after one."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "wb+")
        self._error: OSError | None = None

    def raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def write(self, data: ReadableBuffer) -> int:
        left = memoryview(data).cast("B")
        size = len(left)
        while len(left) and self._error is None:
            try:
                left = left[super().write(left) :]
            except OSError as error:
                self._error = error
        return size

    def truncate(self, size: int | None = None) -> int:
        try:
            if self._error is None:
                return super().truncate(size)
        except OSError as error:
            self._error = error
        return size or 0
