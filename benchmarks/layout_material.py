"""What training pages for the layout network are made of: annotated pages, pictures, type faces; zones that move along.

A `Sheet` is a page with its zones, whose outlines follow every turn, crop and scaling. `gather` brings the material
together in one folder, as small as training needs it:

```
python -m benchmarks.layout_material /tmp/material --fonts /tmp/fonts
```
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from benchmarks.datasets import data_folder
from matcher.layout import CLASSES, PICTURES
from matcher.region_targets import IGNORED

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Cutting", "Material", "Sheet", "Target", "Zone", "gather"]

_MUSIC = "music"
_LONG_SIDES = {"pages": 1088, "pictures": 430}
"""Pixels of the long side of what is gathered."""


def gather(data: Path, fonts: Path, folder: Path) -> None:
    """Bring together the annotated pages of part ``dev``, loose pictures and type faces.

    Parameters
    ----------
    data : path
        The image sets: ``pages/layout.json`` and its images, ``various/``, ``alice/``.
    fonts : path
        As `benchmarks.layout_fonts` fetches them.
    folder : path
        Where to.
    """
    pages = [page for page in json.loads((data / "pages" / "layout.json").read_text("utf-8")) if page["part"] == "dev"]
    for page in pages:
        source = data / "pages" / page["image"]
        page["image"] = str(Path(page["image"]).with_suffix(".webp"))
        _reduced(source, folder / page["image"], _LONG_SIDES["pages"])
    (folder / "layout.json").write_text(json.dumps(pages), "utf-8")
    for name in ("various", "alice"):
        for source in sorted((data / name).rglob("*.[jp][pn]g")):
            _reduced(source, folder / "pictures" / f"{name}_{source.stem}.webp", _LONG_SIDES["pictures"])
    shutil.copytree(fonts, folder / "fonts", dirs_exist_ok=True)


def _reduced(source: Path, goal: Path, long_side: int) -> None:
    pixels = _rgb.__wrapped__(source)
    scale = min(1.0, long_side / max(pixels.shape[:2]))
    small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    goal.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(goal), cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_WEBP_QUALITY, 68])


class Zone(NamedTuple):
    """A part of a sheet: one of `CLASSES` or ``ignored``, and its outline, float32 (n, 2), in pixels."""

    kind: str
    outline: NDArray[np.float32]

    @property
    def box(self) -> NDArray[np.float32]:
        """Left, top, right, bottom."""
        return np.concatenate([self.outline.min(axis=0), self.outline.max(axis=0)])


class Target(NamedTuple):
    """What to say of a canvas: uint8 classes (h/step, w/step); boxes (n, 5): kind, left, top, right, bottom."""

    classes: NDArray[np.uint8]
    boxes: NDArray[np.float32]


class Cutting(NamedTuple):
    """A picture cut out of somewhere: RGB pixels, which of them belong to it, and its kind."""

    pixels: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    kind: str


@dataclass(frozen=True)
class Sheet:
    """A page, RGB, with its zones; those of pictures lie over those of text."""

    pixels: NDArray[np.uint8]
    zones: tuple[Zone, ...]

    @property
    def pictures(self) -> list[Zone]:
        """The zones that are pictures."""
        return [zone for zone in self.zones if zone.kind in PICTURES]

    @property
    def texts(self) -> list[Zone]:
        """The zones that are text."""
        return [zone for zone in self.zones if zone.kind == "text"]

    def warped(self, matrix: NDArray[np.float64], width: int, height: int, fill: tuple[int, int, int]) -> Sheet:
        """Return the sheet under an affine map (2, 3), on a canvas filled with a colour."""
        scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        pixels = self.pixels
        if scale < 0.7:  # INTER_AREA has no meaning in a warp: reduce first
            pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=how)
            shrink = np.array([pixels.shape[1] / self.pixels.shape[1], pixels.shape[0] / self.pixels.shape[0]])
            drawn = np.hstack([matrix[:, :2] / shrink, matrix[:, 2:]])
        else:
            drawn = matrix
        canvas = cv2.warpAffine(pixels, drawn, (width, height), flags=cv2.INTER_LINEAR, borderValue=fill)
        linear, shift = matrix[:, :2].T.astype(np.float32), matrix[:, 2].astype(np.float32)
        return Sheet(canvas, tuple(Zone(zone.kind, zone.outline @ linear + shift) for zone in self.zones))

    def with_pixels(self, pixels: NDArray[np.uint8]) -> Sheet:
        """Return the sheet with other pixels of the same size."""
        return replace(self, pixels=pixels)

    def target(self, step: int, least: float = 0.35) -> Target:
        """Return what the network should say, on a grid of `step` pixels.

        A picture of which less than `least` is on the canvas is not asked for, nor held against the network.
        """
        high, wide = self.pixels.shape[:2]
        classes = np.zeros((high // step, wide // step), np.uint8)
        boxes = []
        for zone in sorted(
            self.zones, key=lambda zone: (zone.kind in PICTURES, zone.kind == "ignored", -np.ptp(zone.outline))
        ):
            left, top, right, bottom = zone.box
            shown = [max(left, 0), max(top, 0), min(right, wide), min(bottom, high)]
            if shown[2] - shown[0] < 3 or shown[3] - shown[1] < 3:
                continue
            value = IGNORED if zone.kind == "ignored" else CLASSES.index(zone.kind)
            if zone.kind in PICTURES:
                area = (right - left) * (bottom - top)
                if (shown[2] - shown[0]) * (shown[3] - shown[1]) < least * area:
                    value = IGNORED
                else:
                    boxes.append([PICTURES.index(zone.kind), *shown])
            cv2.fillPoly(classes, [np.round(zone.outline / step - 0.5).astype(np.int32)], value)
        return Target(classes, np.array(boxes, np.float32).reshape(-1, 5))


class Material:
    """Annotated pages, cuttings from them, loose pictures and type faces, in one folder.

    Parameters
    ----------
    folder : path
        With ``layout.json`` and the page images that it names, ``pictures/`` and ``fonts/``; see `layout_training`.
    held_out : int
        Of the books of part ``dev``, each `held_out`-th is kept for validation; 0 keeps none.
    """

    def __init__(self, folder: Path, held_out: int = 0) -> None:
        self._folder = folder
        pages = [page for page in json.loads((folder / "layout.json").read_text("utf-8")) if page["part"] == "dev"]
        books = sorted({page["book"] for page in pages})
        kept = set(books[2::held_out]) if held_out else set()
        self.validation = [page for page in pages if page["book"] in kept]
        self.pages = [page for page in pages if page["book"] not in kept]
        self.pictures = sorted((folder / "pictures").iterdir())
        self.fonts = tuple(sorted((folder / "fonts").iterdir()))
        of_book = {book: sum(page["book"] == book for page in self.pages) for book in books}
        weights = np.array([of_book[page["book"]] ** -0.5 for page in self.pages])
        self._weights = weights / weights.sum()
        self._cuttings = {
            kind: [(page, zone) for page in self.pages for zone in page["zones"] if zone["type"] == kind]
            for kind in PICTURES
        }

    def page(self, rng: np.random.Generator) -> Sheet:
        """Return an annotated page; those of large books seldomer."""
        return self.sheet(self.pages[int(rng.choice(len(self.pages), p=self._weights))])

    def sheet(self, page: dict) -> Sheet:
        """Read an annotated page."""
        pixels = _rgb(self._folder / page["image"])
        scale = pixels.shape[0] / page["height"]
        return Sheet(pixels, tuple(Zone(_kind(zone), _outline(zone) * scale) for zone in page["zones"]))

    def cutting(self, kind: str, rng: np.random.Generator, *, thin: bool = False) -> Cutting:
        """Return a picture cut out of an annotated page; `thin`: one three times as wide as high or more."""
        found = self._cuttings[kind]
        if thin:
            found = [(page, zone) for page, zone in found if zone["bbox"][2] > 3 * zone["bbox"][3]]
        page, zone = found[int(rng.integers(len(found)))]
        sheet = self.sheet(page)
        outline = _outline(zone) * (sheet.pixels.shape[0] / page["height"])
        mask = np.zeros(sheet.pixels.shape[:2], np.uint8)
        cv2.fillPoly(mask, [np.round(outline).astype(np.int32)], 255)
        left, top = np.maximum(np.floor(outline.min(axis=0)).astype(int), 0)
        right, bottom = np.ceil(outline.max(axis=0)).astype(int) + 1
        return Cutting(sheet.pixels[top:bottom, left:right], mask[top:bottom, left:right], kind)

    def picture(self, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Return a loose picture: engraving, photograph, map; RGB."""
        return _rgb(self.pictures[int(rng.integers(len(self.pictures)))])


@lru_cache(maxsize=1024)
def _rgb(path: Path) -> NDArray[np.uint8]:
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    if pixels is None:
        raise FileNotFoundError(path)
    pixels.flags.writeable = False  # kept, and handed out again
    return np.asarray(pixels, np.uint8)


def _kind(zone: dict) -> str:
    """Return what a zone is to the network: music is no picture, stamps and damage are nothing to learn."""
    if zone["type"] != "other":
        return str(zone["type"])
    return "text" if _MUSIC in zone["label"].lower() else "ignored"


def _outline(zone: dict) -> NDArray[np.float32]:
    x, y, width, height = zone["bbox"]
    box = [[x, y], [x + width, y], [x + width, y + height], [x, y + height]]
    polygon = zone.get("polygon") or []
    return np.array(polygon if len(polygon) >= 3 else box, np.float32)


def main() -> None:
    """Gather from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--fonts", type=Path, required=True)
    asked = parser.parse_args()
    gather(data_folder(), asked.fonts, asked.folder)


if __name__ == "__main__":
    main()
