"""A look at what HDF5 does not guard itself: the heaps in which it keeps texts, where damage sends it in circles."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["require_ending_heaps"]

_BEGINNING = 1 << 20
"""Bytes of a file in which its texts lie: attributes are written first."""

_HEADER = 16
_SIGNATURE = b"GCOL\1\0\0\0"


def require_ending_heaps(path: Path) -> None:
    """Refuse a file whose global heaps have free space that takes none; `ValueError`.

    Global heaps bear no checksum (HDF5 file format specification 3.0, III.E). The library walks through one object by
    object: free space, object 0, of a size below that of its own header leads it to the same place for ever.
    """
    with path.open("rb") as file:
        data = file.read(_BEGINNING)
    heap = data.find(_SIGNATURE)
    while heap >= 0:
        end = min(heap + int.from_bytes(data[heap + 8 : heap + 16], "little"), len(data))
        place = heap + _HEADER
        while place + _HEADER <= end:
            size = int.from_bytes(data[place + 8 : place + 16], "little")
            free = data[place : place + 2] == b"\0\0"
            if free and size < _HEADER:
                raise ValueError("a heap of texts has no end")
            place += size if free else _HEADER + (size + 7) // 8 * 8
        heap = data.find(_SIGNATURE, heap + 4)
