"""Whole collections of printed pages, with the truth about them: which photograph lies where on which page.

Everything follows from one seed. What belongs to a photograph (its page, the place on it, the centre of the crop, the
screen's angle, resolution, skew, JPEG quality) is the same in every edition, so that editions differ by their recipe.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from benchmarks.press_pages import find_place, read_sheet, scanned, set_sheet
from benchmarks.press_print import collage, copied, screened
from cli.demo_print import jpeg
from matcher.errors import InputError
from matcher.types import Region, Transform

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from benchmarks.press_archive import Photograph
    from benchmarks.press_pages import Place, Sheet
    from benchmarks.press_print import Copy, Recipe

__all__ = ["Collection", "Printing", "box_of"]

_DPI = (100.0, 300.0)
_NARROWEST = 1.2
"""Inches that a printed picture is wide at the least: what bounds the resolution of a page with a picture of 200 px."""

_IN_COLLAGE = 4


@dataclass(frozen=True, slots=True)
class Printing:
    """One photograph on one page.

    Attributes
    ----------
    photograph : str
        File name in the collection's folder ``photographs``.
    page : str
        File, relative to the collection's folder.
    matrix : float64, shape (3, 3)
        From pixels of the photograph to pixels of the page.
    visible : float64, shape (4, 2)
        Corners of what is seen of it on the page.
    facts : dict
        Resolution, angle of the screen and the like.
    """

    photograph: str
    page: str
    matrix: NDArray[np.float64]
    visible: NDArray[np.float64]
    facts: dict[str, Any]

    @property
    def box(self) -> Region:
        """The upright box around what is seen."""
        return box_of(self.visible)

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {**asdict(self), "matrix": self.matrix.tolist(), "visible": self.visible.tolist()}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Printing:
        """Return what `as_dict` wrote."""
        return cls(**{**record, "matrix": np.array(record["matrix"]), "visible": np.array(record["visible"])})


class _Manner(NamedTuple):
    """How one page is printed and scanned, the recipe aside."""

    resolution: float  # 0 the coarsest that is possible, 1 the finest
    angle: float
    skew: float
    shine: float
    quality: int


def box_of(points: NDArray[np.float64]) -> Region:
    """Return the upright box around points, shape (n, 2)."""
    low, high = points.min(axis=0), points.max(axis=0)
    return Region(float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1]))


class Collection:
    """Photographs, pages without any, and editions: the photographs printed on pages after one recipe.

    Parameters
    ----------
    folder : Path
        Where files are written; what is there already is used again.
    photographs : sequence of Photograph
    pages : sequence of Path
        Real page scans; the first half of them may carry pictures, the second half stays without.
    seed : int
    """

    def __init__(self, folder: Path, photographs: Sequence[Photograph], pages: Sequence[Path], seed: int) -> None:
        self.folder = folder
        self._photographs = photographs
        self._seed = seed
        self._carriers, self._others = pages[: len(pages) // 2], pages[len(pages) // 2 :]
        self._names = [f"{i:04d}-{p.name}{_suffix(p)}" for i, p in enumerate(photographs)]

    def photographs(self) -> list[str]:
        """Write the photographs, return their names, relative to the folder."""
        names = [f"photographs/{name}" for name in self._names]
        for photograph, name in zip(self._photographs, names, strict=True):
            _once(self.folder / name, photograph.write)
        return names

    def plain_pages(self, count: int) -> list[str]:
        """Write `count` pages without a photograph, real ones first, then set ones; return their names."""

        def page(number: int) -> Callable[[Path], None]:
            def write(path: Path) -> None:
                rng = self._rng(number, "plain")
                real = number < len(self._others)
                sheet = read_sheet(self._others[number] if real else self._set_sheet("plain", number))
                manner = _manner(rng)
                laid, _ = self._bound(sheet, number, manner).askew(manner.skew)
                path.write_bytes(jpeg(scanned(laid.pixels, rng), manner.quality))

            return write

        names = [f"plain/{number:04d}.jpg" for number in range(count)]
        for number, name in enumerate(names):
            _once(self.folder / name, page(number))
        return names

    def edition(self, name: str, recipe: Recipe, run: int = 0) -> list[Printing]:
        """Print every photograph after `recipe`, on one page each, or several on one for a collage.

        Parameters
        ----------
        name : str
            The folder of the pages.
        recipe : Recipe
        run : int
            Another run prints the same crops on other pages, with another screen, and scans them otherwise.

        Raises
        ------
        InputError
            If the folder holds an edition after another recipe, or no page has room.
        """
        record = self.folder / f"{name}.json"
        if record.exists():
            known = json.loads(record.read_text(encoding="utf-8"))
            if known["recipe"] != asdict(recipe):
                raise InputError(f"{record}: another recipe; delete it, or keep the pages in another folder")
            return [Printing.from_dict(printing) for printing in known["printings"]]
        (self.folder / name).mkdir(parents=True, exist_ok=True)
        together = _IN_COLLAGE if recipe.change == "collage" else 1
        printings: list[Printing] = []
        for first in range(0, len(self._photographs), together):
            printings += self._printed(name, recipe, range(first, min(first + together, len(self._photographs))), run)
        text = json.dumps({"recipe": asdict(recipe), "printings": [p.as_dict() for p in printings]})
        record.write_text(text + "\n", encoding="utf-8")
        return printings

    # ------------------------------------------------------------------------------------------------

    def _rng(self, number: int, *purpose: object) -> np.random.Generator:
        return np.random.default_rng([self._seed, number, *" ".join(map(str, purpose)).encode()])

    def _set_sheet(self, kind: str, number: int) -> Path:
        path = self.folder / "sheets" / f"{kind}{number:04d}.png"
        _once(path, lambda path: Image.fromarray(set_sheet(self._rng(number, kind, "sheet"))).save(path, "PNG"))
        return path

    def _bound(self, sheet: Sheet, number: int, manner: _Manner) -> Sheet:
        """Return the sheet with the other side showing through, for half of all pages."""
        if manner.shine <= 0:
            return sheet
        return sheet.shown_through(read_sheet(self._carriers[number % len(self._carriers)]), manner.shine)

    def _sheets(self, number: int, run: int) -> Iterable[tuple[str, Path]]:
        """Yield the sheets on which a picture may be printed: for every other one a real page first."""
        if (number + run) % 2 == 0:
            yield "real", self._carriers[(number + 97 * run) // 2 % len(self._carriers)]
        for other in range(8):
            yield "set", self._set_sheet("text", number + (other + 8 * run) * len(self._photographs))

    def _printed(self, edition: str, recipe: Recipe, numbers: range, run: int) -> list[Printing]:
        """Print and scan one page with the photographs `numbers` on it."""
        first = numbers[0]
        manner = _manner(self._rng(first, "manner", run))
        rng = self._rng(first, "place", run)
        origin, sheet, copy, (hole, x, y) = self._carrier(recipe, numbers, run, rng)
        across, along = _printed_size(copy)
        sheet = sheet.cleared(hole, rng).captioned(
            x + across / 2, y + along + 26, across, int(rng.integers(12, 17)), rng
        )
        laid, skewed = self._bound(sheet, first + run, manner).askew(manner.skew)
        onto = skewed @ _laid(copy, x + across / 2, y + along / 2)
        width = copy.pixels.shape[1] / 2
        dpi = _DPI[0] * (min(_DPI[1], max(_DPI[0], width / _NARROWEST)) / _DPI[0]) ** manner.resolution
        patch = screened(copy, onto, dpi / recipe.lines, manner.angle + manner.skew, self._rng(first, "ink", run))
        page = f"{edition}/{first:04d}.jpg"
        scan = scanned(laid.printed(patch), self._rng(first, "scan", run))
        (self.folder / page).write_bytes(jpeg(scan, manner.quality))
        facts = {"sheet": origin, "dpi": round(dpi), "pitch": round(dpi / recipe.lines, 2), **manner._asdict()}
        share = box_of(Transform(onto).apply(_outline(copy))).area / (scan.shape[0] * scan.shape[1])
        return [
            Printing(
                self._names[number],
                page,
                onto @ matrix,
                Transform(onto).apply(visible),
                {**facts, "share of page": round(share, 4)},
            )
            for number, matrix, visible in zip(numbers, copy.matrices, copy.visible, strict=True)
        ]

    def _carrier(
        self, recipe: Recipe, numbers: range, run: int, rng: np.random.Generator
    ) -> tuple[str, Sheet, Copy, Place]:
        """Return the first sheet with room for the copy of some photographs, where it is from, the copy, the place."""
        pixels = [self._photographs[number].pixels() for number in numbers]
        for origin, path in self._sheets(numbers[0], run):
            sheet = read_sheet(path)
            copy = self._copy(sheet, recipe, pixels, numbers[0])
            across, along = _printed_size(copy)
            place = find_place(sheet, math.ceil(across), math.ceil(along), rng)
            if place is not None:
                return origin, sheet, copy, place
        raise InputError(f"no page has room for {self._names[numbers[0]]}, {across:.0f} x {along:.0f} pixels")

    def _copy(self, sheet: Sheet, recipe: Recipe, photographs: list[NDArray[np.uint8]], number: int) -> Copy:
        def made(width: int) -> Copy:
            rng = self._rng(number, "copy")
            if recipe.change == "collage":
                return collage(photographs, recipe, width, rng)
            return copied(photographs[0], recipe, width, rng)

        copy = made(recipe.width)
        if recipe.page_share is None:
            return copy
        area = recipe.page_share * sheet.pixels.size
        return made(round(recipe.width * math.sqrt(4 * area / (copy.pixels.shape[0] * copy.pixels.shape[1]))))


def _manner(rng: np.random.Generator) -> _Manner:
    return _Manner(
        resolution=float(rng.random()),
        angle=float(rng.uniform(0, 75)),
        skew=float(rng.uniform(-1.8, 1.8)),
        shine=float(rng.choice([0.0, rng.uniform(0.04, 0.14)])),
        quality=int(rng.integers(30, 61)),
    )


def _outline(copy: Copy) -> NDArray[np.float64]:
    high, wide = copy.pixels.shape[:2]
    return Region(-0.5, -0.5, wide, high).corners()


def _laid(copy: Copy, x: float, y: float) -> NDArray[np.float64]:
    """Return the map from a copy's pixels to the page: half as large, turned, its centre at (x, y)."""
    high, wide = copy.pixels.shape[:2]
    turn = math.radians(copy.turn)
    rotation = 0.5 * np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    matrix = np.eye(3)
    matrix[:2, :2] = rotation
    matrix[:2, 2] = np.array([x, y]) - rotation @ [(wide - 1) / 2, (high - 1) / 2]
    return matrix


def _printed_size(copy: Copy) -> tuple[float, float]:
    box = box_of(Transform(_laid(copy, 0, 0)).apply(_outline(copy)))
    return box.width, box.height


def _suffix(photograph: Photograph) -> str:
    return ".png" if photograph.is_piece else photograph.file.suffix.lower()


def _once(path: Path, write: Callable[[Path], object]) -> None:
    """Have `path` written, unless it is there; never half of it."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"draft-{path.name}")
    write(draft)
    draft.replace(path)
