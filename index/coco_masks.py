"""Masks of runs, as COCO writes them: plain lists of lengths, or these packed into text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["mask_of_runs"]

_MOST = 500_000_000


def mask_of_runs(told: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Return a mask from its runs.

    Parameters
    ----------
    told : mapping
        ``size``: rows and columns; ``counts``: lengths of runs of zeros and ones in turn, column by column from the top
        left, as a list or packed: each length, from the third on less that of two before, in groups of five bits, the
        low ones first, a sixth bit if more follow, 48 added to make letters (``maskApi.c`` of pycocotools).

    Returns
    -------
    bool, shape (rows, columns)

    Raises
    ------
    ValueError
        If the runs do not fill the mask.
    """
    rows, columns = (int(side) for side in told["size"])
    counts = told["counts"]
    runs = _unpacked(counts) if isinstance(counts, str) else [int(count) for count in counts]
    if not 0 < rows * columns <= _MOST or min(runs, default=0) < 0 or sum(runs) != rows * columns:
        raise ValueError(f"a mask of {rows} × {columns} whose runs do not fill it")
    values = np.zeros(len(runs), dtype=bool)
    values[1::2] = True
    return np.ascontiguousarray(np.repeat(values, runs).reshape(columns, rows).T)


def _unpacked(text: str) -> list[int]:
    runs: list[int] = []
    value = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        value |= (bits & 0x1F) << shift
        shift += 5
        if not bits & 0x20:
            if bits & 0x10:
                value -= 1 << shift
            runs.append(value + runs[-2] if len(runs) > 2 else value)
            value = shift = 0
    return runs
