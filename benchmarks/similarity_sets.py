"""Pictures with labels, from the image sets: the same picture in another edition, and the same kind, technique, book.

Labels are those that the sets have: which picture or block it is, what annotators called a zone, and where it is from.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.datasets import load
from index.embedding import cuts
from index.vectors import WHOLE
from matcher.layout import PICTURES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from benchmarks.datasets import Dataset, Place

__all__ = ["INSTANCES", "LABELS", "LONG_SIDE", "Picture", "Truth", "instances", "labelled", "pixels_of"]

INSTANCES = ("alice", "blocks", "magazine")
LABELS = ("kinds", "techniques", "books", "periods", "printings")
LONG_SIDE = 800
"""Pixels of the long side at which pictures are kept; embedders reduce them further."""

_SAME = 0.5
_MANUSCRIPTS = ("medieval", "mss", "htrogene", "ciham", "htromance", "segmonto/examples")
"""What the names of the repositories have in them whose pages are manuscripts."""

_CENTURIES = {
    ("incunable", "_Verard"): "15th",
    ("gothique", "imprime-16e", "SETAF", "FaictzJCH"): "16th",
    ("imprime-17e",): "17th",
    ("imprime-18e",): "18th",
}
"""What the names of books have in them that were printed in a century; Vérard's books are of 1490 to 1503."""

_LEAST = 8
"""Pictures that a book has in a part, at the least, if it is a label."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture to embed: a file, named relative to the data folder, and a box on it; (0, 0, 0, 0) is all of it."""

    file: str
    box: tuple[float, ...] = WHOLE


@dataclass(frozen=True, slots=True)
class Truth:
    """A question: which picture is asked, which ones are right, and which do not count."""

    asked: Picture
    right: frozenset[Picture]
    ignored: frozenset[Picture]


def _picture(place: Place) -> Picture:
    return Picture(place.image, WHOLE if place.region is None else tuple(place.region.as_list()))


def _zones(root: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any], Picture]]:
    """Yield the page, the zone and the picture of each graphic zone that annotators drew."""
    for page in json.loads((root / "pages" / "layout.json").read_text(encoding="utf-8")):
        for zone in page["zones"]:
            if zone["type"] in PICTURES:
                yield page, zone, Picture(f"pages/{page['image']}", tuple(map(float, zone["bbox"])))


def instances(name: str, part: str, root: Path) -> tuple[list[Picture], list[Truth]]:
    """Return a collection of pictures, and questions of which picture is the same in another edition or book.

    `alice`: all pictures of four editions. `blocks`: all zones of all pages, right where the truth's box overlaps by
    half. `magazine`: the pictures as they stand on the pages, where the truth has a verified box, and all other zones.
    """
    dataset: Dataset = load(name, part, root)
    zones = [picture for _, _, picture in _zones(root)]
    if name == "blocks":
        truths = []
        for query in dataset.queries:
            if not query.positives:
                continue
            right = {
                zone
                for zone in zones
                for place in query.positives
                if zone.file == place.image and _overlap(zone.box, _picture(place).box) >= _SAME
            }
            asked = _picture(query.place)
            unsure = [place.image for place in query.unsure]
            ignored = {zone for zone in zones if zone.file in (asked.file, *unsure)} - right
            truths.append(Truth(asked, frozenset(right), frozenset(ignored)))
        return zones, [truth for truth in truths if truth.right]
    if name == "alice":
        pictures = [Picture(image) for image in dataset.images]
        return pictures, [
            Truth(
                _picture(query.place),
                frozenset(Picture(place.image) for place in query.positives),
                frozenset(map(Picture, query.ignored)),
            )
            for query in dataset.queries
        ]
    queries = [query for query in dataset.queries if query.positives[0].region is not None]
    printed = {_picture(query.positives[0]) for query in load(name, "all", root).queries}
    printed = {picture for picture in printed if picture.box != WHOLE}
    return [*sorted(printed, key=str), *zones], [
        Truth(_picture(query.place), frozenset(map(_picture, query.positives)) & printed, frozenset())
        for query in queries
    ]


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    wide = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    high = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(wide, 0) * max(high, 0)
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


def labelled(name: str, part: str, root: Path) -> dict[Picture, str]:
    """Return pictures with a label each.

    `kinds`: zones of pages, what annotators called them: illustration, ornament, initial. `techniques`: where a picture
    is from, which says how it was made: photographs, Tenniel's wood engravings, cuts in early printed books, drawn and
    painted decoration of manuscripts, illustrated magazines. `books`: zones of pages, the book, where it has eight.
    `periods`: zones of printed pages, the century. `printings`: Tenniel's pictures, which of four printings it is; all
    of them are in both parts, for nothing is chosen by them.
    """
    zones = [(page, zone, picture) for page, zone, picture in _zones(root) if page["part"] == part]
    if name == "kinds":
        return {picture: zone["type"] for _, zone, picture in zones}
    if name == "books":
        sizes = Counter(page["book"] for page, _, _ in zones)
        return {picture: page["book"] for page, _, picture in zones if sizes[page["book"]] >= _LEAST}
    if name == "periods":
        told = {picture: _century(page["book"]) for page, _, picture in zones}
        return {picture: century for picture, century in told.items() if century}
    if name == "printings":
        return {Picture(image): image.split("/")[2] for image in load("alice", "all", root).images}
    found = {
        picture: "manuscript" if any(sign in page["repo"].lower() for sign in _MANUSCRIPTS) else "early print"
        for page, _, picture in zones
    }
    for image in sorted(f"various/{path.name}" for path in (root / "various").glob("BSDS500__*")):
        found[Picture(image)] = "photograph"
    for image in load("alice", "all", root).images:
        found[Picture(image)] = "wood engraving"
    for query in load("magazine", part, root).queries:
        if query.positives[0].region is not None:
            found[_picture(query.positives[0])] = "magazine"
    whole = ("photograph", "wood engraving")  # of these sets, a half is of each part, told by the file's name
    return {p: label for p, label in found.items() if label not in whole or _half(p.file) == part}


def _century(book: str) -> str:
    """Return the century in which a book was printed, as its name tells; empty if it does not."""
    for signs, century in _CENTURIES.items():
        if any(sign in book for sign in signs):
            return century
    return ""


def _half(file: str) -> str:
    return ("dev", "test")[hashlib.sha256(file.encode()).digest()[0] % 2]


def pixels_of(pictures: Sequence[Picture], root: Path) -> dict[Picture, NDArray[np.uint8]]:
    """Return the pixels of pictures, each file read once."""
    by_file: dict[str, list[Picture]] = {}
    for picture in dict.fromkeys(pictures):
        by_file.setdefault(picture.file, []).append(picture)
    return {
        picture: cut
        for file, found in by_file.items()
        for picture, cut in zip(found, cuts(root / file, 0, [one.box for one in found], LONG_SIDE), strict=True)
    }
