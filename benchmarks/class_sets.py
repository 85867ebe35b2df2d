"""Pictures with classes, out of the image sets: technique, kind of picture, kind of page; parts never share a book.

``technique.csv`` beside this file is ours: 232 pictures of ``various/`` labelled by eye, from small copies, for what
they look like in print; those in doubt, a quarter of the printed ones, were left out. Its groups are the e-books that
the pictures come from, and of these each lies in one part.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from index.metadata import read_table
from index.subjects import Subject
from matcher.layout import PICTURES
from matcher.types import Region

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["SETS", "ClassSet", "Labelled", "load_set"]

SETS = ("technique", "kind", "page")

_VOLUMES = {"21047": "dev", "22621": "dev", "22602": "test", "25064": "test"}
"""Volumes of ``magazine/`` and their parts."""

_MANUSCRIPTS = (
    *("cremma-medieval", "CREMMA-Medieval-LAT", "HTRomance-Project/", "HTRogene/", "CIHAM-HTR/", "HTR-MSS-15e"),
    "SegmOnto/examples",
)
"""What is in the names of the repositories whose pages are manuscripts, as looking at all of them shows."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A picture: its file, the box on it, its class, the book or volume that it is of, its part."""

    path: Path
    region: Region | None
    label: str
    group: str
    part: str


@dataclass(frozen=True, slots=True)
class ClassSet:
    """A set: its name, its pictures, its classes."""

    name: str
    pictures: tuple[Labelled, ...]
    classes: tuple[str, ...]

    def truth(self) -> NDArray[np.bool_]:
        """Return which class each picture has, shape (n, k)."""
        return np.array([[one.label == name for name in self.classes] for one in self.pictures], np.bool_)

    def subjects(self) -> list[Subject]:
        """Return the pictures as `index.subjects.see` takes them, one by one."""
        return [Subject(one.path, 0, (one.region,)) for one in self.pictures]


def load_set(name: str, root: Path) -> ClassSet:
    """Return a set of `SETS`, whose images lie below the data folder `root`."""
    pictures = tuple({"technique": _technique, "kind": _kind, "page": _page}[name](root))
    return ClassSet(name, pictures, tuple(sorted({one.label for one in pictures})))


def _technique(root: Path) -> Iterator[Labelled]:
    for row in read_table(Path(__file__).with_name("technique.csv")).rows:
        told = row.values
        yield Labelled(root / "various" / told["image"], None, told["label"], told["group"], told["part"])


def _kind(root: Path) -> Iterator[Labelled]:
    """Illustrations, ornaments and initials, as annotators boxed them on pages."""
    for page in json.loads((root / "pages" / "layout.json").read_text(encoding="utf-8")):
        whole = Region(0, 0, page["width"], page["height"])
        for zone in page["zones"]:
            x, y, width, height = map(float, zone["bbox"])
            if zone["type"] not in PICTURES or min(width, height) < 8:
                continue
            box = Region(x, y, width, height).clipped(whole.width, whole.height)
            if box is not None:
                yield Labelled(root / "pages" / page["image"], box, zone["type"], page["book"], page["part"])


def _page(root: Path) -> Iterator[Labelled]:
    """Pages of manuscripts, early prints, magazines."""
    for page in json.loads((root / "pages" / "layout.json").read_text(encoding="utf-8")):
        label = "manuscript" if any(name in page["repo"] for name in _MANUSCRIPTS) else "print"
        yield Labelled(root / "pages" / page["image"], None, label, page["book"], page["part"])
    truth = json.loads((root / "magazine" / "groundtruth.json").read_text(encoding="utf-8"))
    for image in truth["database"]:
        volume = image.split("/")[0]
        yield Labelled(root / "magazine" / image, None, "magazine", volume, _VOLUMES[volume])
