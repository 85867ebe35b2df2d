"""What is known of images besides their features: metadata, zones of the page, a person's judgements of pairs."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING, Literal

import numpy as np

from index._sqlite import from_sql, to_sql
from matcher.types import Region

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from index._sqlite import Database

__all__ = ["KINDS", "LAYOUT", "Annotations", "Judgement", "Verdict", "Zone"]

KINDS = ("illustration", "ornament", "initial", "text", "other")
"""The kinds of zones that there are; a source's own word for one is its label."""

LAYOUT = "layout"
"""Origin of the zones that a segmenter has found."""

Verdict = Literal["same", "different", "unsure"]


@dataclass(frozen=True, slots=True)
class Zone:
    """A part of a page of which the kind is known.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    box : Region
        In pixels of the original image.
    label : str
        What the source calls it.
    score : float or None
        How sure the source is, 0 to 1.
    origin : str
        Where it is from: ``alto``, ``page``, ``coco``, ``layout``, ``user``.
    polygon : tuple of (x, y) or None
        Its outline in pixels, where that is more than the box.
    id : int
        Its number in the index; 0 before it is stored.
    """

    kind: str
    box: Region
    label: str = ""
    score: float | None = None
    origin: str = "user"
    polygon: tuple[tuple[float, float], ...] | None = None
    id: int = field(default=0, compare=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"a zone is one of {', '.join(KINDS)}, not {self.kind!r}")

    def outline(self) -> NDArray[np.float64]:
        """Return the polygon, or the corners of the box where there is none, shape (n, 2)."""
        return self.box.corners() if self.polygon is None else np.array(self.polygon, np.float64)

    def scaled(self, x: float, y: float) -> Zone:
        """Return the zone on an image `x` times as wide and `y` times as high."""
        box = Region(self.box.x * x, self.box.y * y, self.box.width * x, self.box.height * y)
        polygon = self.polygon and tuple((px * x, py * y) for px, py in self.polygon)
        return replace(self, box=box, polygon=polygon)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a person says of two pictures. It names images, not catalogue ids, and so outlives their removal.

    Attributes
    ----------
    name_a, page_a, region_a : str, int, Region or None
        One picture: name of the image, page, box in its pixels (None: all of it).
    name_b, page_b, region_b : str, int, Region or None
        The other picture.
    verdict : {'same', 'different', 'unsure'}
    note, author : str
    time : str
        ISO 8601, UTC; the time of storing if left empty.
    id : int
        Its number in the index; 0 before it is stored.
    """

    name_a: str
    page_a: int
    region_a: Region | None
    name_b: str
    page_b: int
    region_b: Region | None
    verdict: Verdict
    note: str = ""
    author: str = ""
    time: str = ""
    id: int = 0


class Annotations:
    """The annotations in a catalogue. Changes happen inside a transaction of its database only."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def metadata(self, image_id: int) -> dict[str, str]:
        """Return what is known of an image, by key, in the order in which keys were first given."""
        return dict(self._db.rows("SELECT key, value FROM metadata WHERE image_id = ? ORDER BY rowid", image_id))

    def all_metadata(self) -> Iterator[tuple[int, dict[str, str]]]:
        """Yield the id and the metadata of each image that has any, ascending by id."""
        rows = self._db.rows("SELECT image_id, key, value FROM metadata ORDER BY image_id, rowid")
        for image_id, group in groupby(rows, key=lambda row: row[0]):
            yield image_id, {key: value for _, key, value in group}

    def set_metadata(self, image_id: int, values: Mapping[str, str]) -> None:
        """Note `values` of an image, beside or instead of earlier ones of the same keys; an empty one is forgotten."""
        for key, value in values.items():
            if value:
                self._db.change(
                    "INSERT INTO metadata (image_id, key, value) VALUES (?, ?, ?) "
                    "ON CONFLICT (image_id, key) DO UPDATE SET value = excluded.value",
                    *(image_id, _storable(key), _storable(value)),
                )
            else:
                self._db.change("DELETE FROM metadata WHERE image_id = ? AND key = ?", image_id, _storable(key))

    def regions(self, image_id: int) -> list[Zone]:
        """Return the zones known of an image, in the order in which they were entered."""
        rows = self._db.rows(
            "SELECT kind, x, y, width, height, label, score, origin, polygon, id FROM regions "
            "WHERE image_id = ? ORDER BY id",
            image_id,
        )
        return [
            Zone(kind, Region(*box), label, score, origin, polygon and tuple(map(tuple, json.loads(polygon))), number)
            for kind, *box, label, score, origin, polygon, number in rows
        ]

    def all_regions(self) -> Iterator[tuple[int, list[Zone]]]:
        """Yield the id and the zones, without their outlines, of each image that has any, ascending by id."""
        rows = self._db.rows(
            "SELECT image_id, kind, x, y, width, height, label, score, origin, id FROM regions ORDER BY image_id, id"
        )
        for image_id, group in groupby(rows, key=lambda row: row[0]):
            yield (
                image_id,
                [
                    Zone(kind, Region(*box), label, score, origin, None, number)
                    for _, kind, *box, label, score, origin, number in group
                ],
            )

    def set_regions(self, image_id: int, origin: str, zones: Iterable[Zone]) -> None:
        """Let `zones` be all that `origin` says of an image; what other origins say of it stays."""
        self._db.change("DELETE FROM regions WHERE image_id = ? AND origin = ?", image_id, origin)
        for zone in zones:
            self._db.change(
                "INSERT INTO regions (image_id, kind, x, y, width, height, label, score, origin, polygon) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                *(image_id, zone.kind, *zone.box.as_list(), _storable(zone.label), zone.score, origin),
                json.dumps(zone.polygon) if zone.polygon else None,
            )

    def note(self, image_id: int, metadata: Mapping[str, str], zones: Sequence[Zone]) -> None:
        """Note what a source says of an image: as `set_metadata`, and as `set_regions` for each origin in `zones`."""
        self.set_metadata(image_id, metadata)
        for origin in dict.fromkeys(zone.origin for zone in zones):
            self.set_regions(image_id, origin, [zone for zone in zones if zone.origin == origin])

    def judgements(self) -> list[Judgement]:
        """Return all judgements, in the order in which they were given."""
        rows = self._db.rows(
            "SELECT name_a, page_a, region_a, name_b, page_b, region_b, verdict, note, author, time, id "
            "FROM judgements ORDER BY id"
        )
        return [
            Judgement(from_sql(name_a), page_a, _box(box_a), from_sql(name_b), page_b, _box(box_b), *rest)
            for name_a, page_a, box_a, name_b, page_b, box_b, *rest in rows
        ]

    def add_judgement(self, judgement: Judgement) -> int:
        """Enter a judgement and return its id."""
        return self._db.change(
            "INSERT INTO judgements "
            "(name_a, page_a, region_a, name_b, page_b, region_b, verdict, note, author, time) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, coalesce(nullif(?, ''), strftime('%Y-%m-%dT%H:%M:%SZ')))",
            *(to_sql(judgement.name_a), judgement.page_a, _box_text(judgement.region_a)),
            *(to_sql(judgement.name_b), judgement.page_b, _box_text(judgement.region_b)),
            *(judgement.verdict, _storable(judgement.note), _storable(judgement.author), judgement.time),
        )

    def remove_judgement(self, judgement_id: int) -> None:
        """Forget a judgement."""
        self._db.change("DELETE FROM judgements WHERE id = ?", judgement_id)

    def move(self, old_id: int, new_id: int, x: float, y: float) -> None:
        """Let an image take over all that is known of its earlier state; it is `x` times as wide, `y` times as high.

        Neither id need be in the catalogue before the transaction ends.
        """
        self._db.change("UPDATE metadata SET image_id = ? WHERE image_id = ?", new_id, old_id)
        zones = [zone.scaled(x, y) for zone in self.regions(old_id)]
        self._db.change("DELETE FROM regions WHERE image_id = ?", old_id)
        self.note(new_id, {}, zones)


def _storable(text: str) -> str:
    """Return `text` without what SQLite cannot store: halves of surrogate pairs, which JSON and file names may hold."""
    return text.encode(errors="replace").decode()


def _box(text: str | None) -> Region | None:
    return None if text is None else Region(*json.loads(text))


def _box_text(box: Region | None) -> str | None:
    return None if box is None else json.dumps(box.as_list())
