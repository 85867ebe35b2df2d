"""Immutable files of vectors, read by mapping them into memory: safetensors, so that other programs read them, too.

https://huggingface.co/docs/safetensors: eight bytes with the length of a header, a header in JSON, then the arrays.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from index.durable import replacing
from matcher.errors import CorruptIndex, SettingsMismatch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["SUFFIX", "DamagedVectors", "Rows", "VectorFile", "write_vectors"]

SUFFIX = ".safetensors"
"""Ending of the files."""

_FORMAT = "calque vectors"
_VERSION = 1
_ALIGNMENT = 64
_LONGEST_HEADER = 1 << 20
_BLOCK = 1 << 14
"""Rows that are copied at a time."""

_KINDS = {"boxes": ("F64", "<f8"), "image_ids": ("I64", "<i8"), "vectors": ("F32", "<f4")}
"""Arrays in the order in which they lie, so that each is aligned; their types as safetensors and NumPy call them."""


class DamagedVectors(CorruptIndex):
    """A file of vectors cannot be used, for the `reason` given."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"{path} is damaged ({reason}); restore it from a copy, or run: calque check --repair, then calque embed"
        )
        self.reason = reason


class Rows(NamedTuple):
    """Vectors and what they are of.

    Attributes
    ----------
    image_ids : int64, shape (n,)
        Catalogue ids.
    boxes : float64, shape (n, 4)
        Regions of the images, x, y, width, height in pixels; all zero for the whole image.
    vectors : float32, shape (n, d)
        Of unit length.
    """

    image_ids: NDArray[np.int64]
    boxes: NDArray[np.float64]
    vectors: NDArray[np.float32]

    def take(self, which: NDArray | slice) -> Rows:
        """Return the rows selected by an index or boolean array, or a slice."""
        return Rows(self.image_ids[which], self.boxes[which], self.vectors[which])


@dataclass(frozen=True, slots=True, eq=False)
class VectorFile:
    """One file of vectors, mapped read-only; make one with `VectorFile.open`.

    Attributes
    ----------
    path : Path
    signature : str
        Of the embedder that made them.
    rows : Rows
        Its arrays, mapped.
    checksums : mapping of str to int
        CRC-32 by array.
    n_bytes : int
        Size of the file.
    """

    path: Path
    signature: str
    rows: Rows
    checksums: dict[str, int]
    n_bytes: int

    def __len__(self) -> int:
        return len(self.rows.image_ids)

    @property
    def name(self) -> str:
        """The file's name without its ending: a UUID."""
        return self.path.stem

    @classmethod
    def open(cls, path: Path) -> VectorFile:
        """Map a file; the vectors are not read.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        DamagedVectors
            If it is no file of vectors, or not whole.
        SettingsMismatch
            If a newer calque wrote it.
        """
        size = path.stat().st_size
        try:
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                if not 2 <= length <= min(_LONGEST_HEADER, size - 8):
                    raise ValueError("it has no header")
                header = json.loads(file.read(length))
            told = header.pop("__metadata__")
            if told["format"] != _FORMAT:
                raise ValueError("it is no file of vectors")
            if int(told["version"]) > _VERSION:
                raise SettingsMismatch(f"{path} was made by a newer calque; upgrade calque")
            arrays = {name: _mapped(path, header[name], 8 + length, size, name) for name in _KINDS}
            checksums = {name: int(told[f"crc32 {name}"], 16) for name in _KINDS}
            n = len(arrays["image_ids"])
            if arrays["boxes"].shape != (n, 4) or arrays["vectors"].shape[:1] != (n,) or arrays["vectors"].ndim != 2:
                raise ValueError("its arrays do not fit each other")
            for name in ("boxes", "image_ids"):  # small, and what would name wrong images
                if zlib.crc32(arrays[name].tobytes()) != checksums[name]:
                    raise ValueError(f"{name} has another checksum")
        except (OSError, KeyError, TypeError, AttributeError, ValueError, OverflowError, RecursionError) as error:
            raise DamagedVectors(path, str(error)) from error
        rows = Rows(arrays["image_ids"], arrays["boxes"], arrays["vectors"])
        return cls(path, str(told["signature"]), rows, checksums, size)

    def verify(self) -> str:
        """Read everything and return what is wrong, nothing if all is well."""
        checksum = 0
        for start in range(0, len(self), _BLOCK):
            checksum = zlib.crc32(np.ascontiguousarray(self.rows.vectors[start : start + _BLOCK]).data, checksum)
        return "" if checksum == self.checksums["vectors"] else "vectors has another checksum"


def _mapped(path: Path, entry: dict[str, Any], start: int, size: int, name: str) -> NDArray:
    code, kind = _KINDS[name]
    dtype, shape = np.dtype(kind), tuple(int(side) for side in entry["shape"])
    low, high = (int(offset) for offset in entry["data_offsets"])
    n_bytes = dtype.itemsize * int(np.prod(shape, dtype=np.int64))
    if entry["dtype"] != code or min(shape, default=-1) < 0 or low < 0 or high - low != n_bytes or start + high > size:
        raise ValueError(f"{name} does not lie inside the file")
    if not n_bytes:
        return np.empty(shape, dtype)
    # A plain array over the map: every slice of an np.memmap costs twenty times as much.
    return np.asarray(np.memmap(path, dtype, "r", start + low, shape)).view(np.ndarray)


def write_vectors(path: Path, signature: str, size: int, parts: Sequence[Rows]) -> None:
    """Write a file of the rows of `parts`, one after the other, whole or not at all."""
    n = sum(len(part.image_ids) for part in parts)
    shapes = {"boxes": (n, 4), "image_ids": (n,), "vectors": (n, size)}
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(_header(signature, shapes, dict.fromkeys(_KINDS, 0)))
        checksums = dict.fromkeys(_KINDS, 0)
        for name, (_, kind) in _KINDS.items():
            for block in _blocks(parts, name):
                data = np.ascontiguousarray(block, dtype=kind).data
                checksums[name] = zlib.crc32(data, checksums[name])
                file.write(data)
        # The header has the same length whatever the checksums are.
        file.seek(0)
        file.write(_header(signature, shapes, checksums))


def _blocks(parts: Sequence[Rows], name: str) -> Iterator[NDArray]:
    for part in parts:
        array = getattr(part, name)
        yield from (array[start : start + _BLOCK] for start in range(0, len(array), _BLOCK))


def _header(signature: str, shapes: dict[str, tuple[int, ...]], checksums: dict[str, int]) -> bytes:
    header: dict[str, Any] = {
        "__metadata__": {
            "format": _FORMAT,
            "version": str(_VERSION),
            "signature": signature,
            **{f"crc32 {name}": f"{checksum:08x}" for name, checksum in checksums.items()},
        }
    }
    offset = 0
    for name, (code, kind) in _KINDS.items():
        end = offset + np.dtype(kind).itemsize * int(np.prod(shapes[name], dtype=np.int64))
        header[name] = {"dtype": code, "shape": list(shapes[name]), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text
