"""Outlines as COCO has them: lists of polygons, or runs of a mask where something has a hole.

Runs count pixels by columns, first those outside, then those inside, and so on by turns; a text of them is written as
https://github.com/cocodataset/cocoapi/blob/master/common/maskApi.c has it: five bits a character from 48 on, the sixth
says that more follow, and from the fourth number on what is written is the difference from the one before the last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from matcher.detection import mask_of, polygon_area, polygons_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["coco_segmentation", "mask_of_runs", "outlines_of", "runs_of", "text_of_runs"]


def coco_segmentation(
    polygons: Sequence[NDArray], width: int, height: int
) -> tuple[list[list[float]] | dict[str, Any], float]:
    """Return outlines, of which what lies in an odd number is inside, as a ``segmentation`` of COCO, and its area.

    Polygons, each a list of x and y by turns; where one lies in another, which COCO would fill, the runs of a mask of
    `width` × `height` pixels.
    """
    if len(polygons) > 1:
        each = [mask_of([polygon], (height, width)) for polygon in polygons]
        if np.sum(each, axis=0, dtype=np.uint16).max() > 1:
            mask = np.logical_xor.reduce(each)
            return {"size": [height, width], "counts": runs_of(mask)}, float(mask.sum())
    area = sum(polygon_area(polygon) for polygon in polygons)
    return [[round(float(value), 2) for value in polygon.ravel()] for polygon in polygons], area


def runs_of(mask: NDArray[np.bool_]) -> list[int]:
    """Return the runs of a mask, shape (h, w)."""
    flat = np.concatenate([[False], mask.ravel(order="F")])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    runs: list[int] = np.diff(np.concatenate([[0], changes, [mask.size]])).tolist()
    return runs


def text_of_runs(runs: Sequence[int]) -> str:
    """Return runs as the text that COCO's own tools write."""
    letters = []
    for place, run in enumerate(runs):
        value = run - runs[place - 2] if place > 2 else run
        while True:
            bits = value & 0x1F
            value >>= 5
            more = value != (-1 if bits & 0x10 else 0)
            letters.append(chr(bits + 48 + 32 * more))
            if not more:
                break
    return "".join(letters)


def outlines_of(segmentation: Any) -> tuple[NDArray[np.float64], ...]:
    """Return the outlines that a ``segmentation`` of COCO means; `ValueError` if it means none."""
    if isinstance(segmentation, dict):
        return polygons_of(mask_of_runs(segmentation))
    polygons = (np.array(polygon, np.float64).reshape(-1, 2) for polygon in segmentation or ())
    return tuple(polygon for polygon in polygons if len(polygon) > 2)


def mask_of_runs(segmentation: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Return the mask, shape (h, w), of a ``segmentation`` of runs or their text; `ValueError` if it is damaged."""
    counts = segmentation["counts"]
    height, width = (int(side) for side in segmentation["size"])
    runs = np.array(_runs_in(counts) if isinstance(counts, str | bytes) else counts, np.int64)
    if runs.sum() != height * width or (runs < 0).any():
        raise ValueError(f"runs of {runs.sum()} pixels for a mask of {width} x {height}")
    inside = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return np.asarray(inside.reshape(width, height).T)


def _runs_in(text: str | bytes) -> list[int]:
    """Return the runs that `text_of_runs` wrote."""
    runs: list[int] = []
    value = shift = 0
    for letter in text.encode("ascii") if isinstance(text, str) else text:
        bits = letter - 48
        value |= (bits & 0x1F) << shift
        shift += 5
        if not bits & 0x20:
            if bits & 0x10:
                value -= 1 << shift
            runs.append(value + runs[-2] if len(runs) > 2 else value)
            value = shift = 0
    return runs
