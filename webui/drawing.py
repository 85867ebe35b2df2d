"""What is done with the pixels of pictures besides showing them. Runs in decoding processes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from matcher.errors import InputError
from matcher.images import Scan, read_image
from matcher.registration import Frame, difference, overlay, register, side_by_side, tight_frame, warp
from webui.pyramids import encoded, keep

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from index.answers import Answer
    from matcher.types import Match, Region, Transform

__all__ = [
    "PICTURES",
    "Pair",
    "draw_pair",
    "judge_pair",
    "masked",
    "normalised",
    "pair_frame",
    "registered",
    "write_crops",
]

PICTURES = ("a", "b", "overlay", "difference", "proof")
"""What is drawn of a pair."""

_LONGEST = 1600
"""Pixels of the longer side of what is drawn of a pair, at the most."""

_MEMBER = 640


@dataclass(frozen=True, slots=True)
class Pair:
    """Two pictures, their sizes in pixels, and how one was found on the other."""

    a: Path
    page_a: int
    size_a: tuple[int, int]
    b: Path
    page_b: int
    size_b: tuple[int, int]
    match: Match
    region: Region | None


def normalised(source: Path, page: int, max_pixels: int, target: Path) -> tuple[int, int]:
    """Write any picture as a plain JPEG, which nobody need be afraid of, and return its width and height."""
    scan = read_image(source, page, gray=False, max_pixels=max_pixels)
    stored = cv2.cvtColor(scan.pixels, cv2.COLOR_RGB2BGR)
    settings = [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    done, content = cv2.imencode(".jpg", stored, settings) if max(scan.width, scan.height) < 65_500 else (False, None)
    if not done or content is None:
        raise InputError(f"a picture of {scan.width} x {scan.height} pixels is too long for a query; cut it")
    keep(target, content.tobytes())
    return scan.width, scan.height


def masked(source: Path, page: int, corners: Sequence[tuple[float, float]], target: Path) -> None:
    """Write a picture in which nothing is to be seen outside a polygon, as a grey PNG of the same size."""
    scan = read_image(source, page)
    outline = np.round(np.array(corners)).astype(np.int32)
    inside = np.zeros(scan.pixels.shape, np.uint8)
    cv2.fillPoly(inside, [outline], 255)
    shown = inside > 0
    if not shown.any():
        raise InputError(f"the polygon lies outside the picture, which is {scan.width} x {scan.height} pixels")
    # The mean of what lies along the outline: an edge there would be taken for one of the picture.
    along = np.zeros(scan.pixels.shape, np.uint8)
    cv2.polylines(along, [outline], True, 255, 5)
    rim = scan.pixels[(along > 0) & shown]
    fill = int((rim if len(rim) else scan.pixels[shown]).mean())
    keep(target, encoded(np.where(shown, scan.pixels, fill).astype(np.uint8), "png"))


def pair_frame(size: tuple[int, int], region: Region | None) -> Frame:
    """Return the frame that a pair is drawn in, over `region` of its first picture, which has so many pixels."""
    outline = Scan(np.zeros((1, 1), np.uint8), *size, float(size[0]), float(size[1]))
    return tight_frame(outline, region, long_side=_LONGEST)


def draw_pair(pair: Pair, folder: Path) -> None:
    """Write `PICTURES` of a pair into a folder, as JPEG, all but the proof in the frame of `pair_frame`."""
    a, b = _scans(pair)
    both = register(a, b, pair.match, pair.region, long_side=_LONGEST)
    proof = side_by_side(a, b, pair.match, pair.region)
    drawn = {
        "a": both.query,
        "b": both.image,
        "overlay": overlay(both.query, both.image, both.valid),
        "difference": 255 - difference(both.query, both.image, both.valid),
        "proof": proof,
    }
    for name in PICTURES:
        keep(folder / f"{name}.jpg", encoded(drawn[name], "jpg"))


def judge_pair(pair: Pair) -> dict[str, Any]:
    """Return what is measured of a pair to tell one block from a copy of it, in the form of `shapes.Verdict`."""
    from matcher.collation import collate
    from matcher.verdict import IN_WORDS, judge, weigh_wear

    a, b = read_image(pair.a, pair.page_a), read_image(pair.b, pair.page_b)
    collation = collate(a, b, pair.match, pair.region)
    judged, evidence = judge(collation.evidence), collation.evidence
    lost = {
        name: [{"kind": gap.kind, "region": list(map(float, collation.place(gap).as_list()))} for gap in gaps[1]]
        for name, gaps in (("lost_on_a", collation.gaps_a), ("lost_on_b", collation.gaps_b))
    }
    return {
        "verdict": judged.verdict,
        "words": IN_WORDS[judged.verdict],
        "reasons": list(judged.reasons),
        "agreement": _finite(evidence.agreement),
        "deformation": _finite(evidence.deformation),
        "coverage": list(map(float, evidence.coverage)),
        "printed_first": weigh_wear(collation).earlier if judged.verdict == "same" else None,
        **lost,
    }


def registered(source: Path, page: int, transform: Transform, reference: Region, negative: bool, target: Path) -> None:
    """Write a member of a group in the frame of the group's reference, as JPEG."""
    frame = Frame.over(reference, min(_MEMBER, max(240, math.ceil(max(reference.width, reference.height)))))
    pixels, _ = warp(read_image(source, page, gray=False), transform, frame)
    keep(target, encoded(255 - pixels if negative else pixels, "jpg"))


def write_crops(answer: Answer, folder: Path) -> None:
    """Write the hits of an answer as `index.crops` does."""
    from index.crops import CropWriter

    with CropWriter(folder) as writer:
        writer.add(answer)


def _scans(pair: Pair) -> tuple[Scan, Scan]:
    """Read a pair, no finer than what is drawn of it needs."""
    asked = max(pair.size_a) if pair.region is None else max(pair.region.width, pair.region.height)
    enlarged = _LONGEST / asked
    sizes = [
        max(_LONGEST, math.ceil(max(size) * factor))
        for size, factor in ((pair.size_a, enlarged), (pair.size_b, enlarged / pair.match.scale))
    ]
    return read_image(pair.a, pair.page_a, long_side=sizes[0]), read_image(pair.b, pair.page_b, long_side=sizes[1])


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
