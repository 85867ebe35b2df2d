"""The detections in a catalogue: what things detectors and persons see on images, beside the zones of their layout."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from matcher.detection import Detection
from matcher.types import Region, Transform

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from index._sqlite import Database

__all__ = ["ALL_LABELS", "USER", "Detections", "KnownDetection", "counting_detections", "facts_of_detections"]

USER = "user"
"""Origin of the detections that a person has entered or corrected."""

ALL_LABELS = ""
"""Stands for all that an origin knows, where it says what it has looked for."""

_DETECTOR = re.compile(r"-\d+\(")
"""What follows the name in a signature; those that it is made of may stand in its brackets."""

_COLUMNS = "image_id, id, origin, label, score, x, y, width, height, polygons, landmarks"


@dataclass(frozen=True, slots=True)
class KnownDetection:
    """A detection of an index: what was found, the signature of the detector or `USER`, its number in the index."""

    detection: Detection
    origin: str
    id: int = 0


class Detections:
    """The detections in a catalogue. Changes happen inside a transaction of its database only."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def of(self, image_id: int) -> list[KnownDetection]:
        """Return all that is known of an image, whether it counts or not, in the order in which it was entered."""
        rows = self._db.rows(f"SELECT {_COLUMNS} FROM detections WHERE image_id = ? ORDER BY id", image_id)
        return [_known(row) for row in rows]

    def counting(self, image_id: int) -> list[KnownDetection]:
        """Return what counts of an image: see `counting_detections`."""
        return counting_detections(self.of(image_id), self.looked_for(image_id, USER))

    def all(self, *, outlines: bool = True) -> Iterator[tuple[int, list[KnownDetection]]]:
        """Yield the id of each image on which something is known, ascending, and what counts of it.

        Without `outlines` only labels, scores and boxes, which is quicker.
        """
        told = dict(self.all_looked_for(USER))
        columns = _COLUMNS if outlines else _COLUMNS.replace("polygons, landmarks", "NULL, NULL")
        rows = self._db.rows(f"SELECT {columns} FROM detections ORDER BY image_id, id")
        for image_id, group in groupby(rows, key=lambda row: row[0]):
            yield image_id, counting_detections([_known(row) for row in group], told.get(image_id, ()))

    def images(self) -> set[int]:
        """Return the ids of the images on which anything has been looked for."""
        return {image_id for (image_id,) in self._db.rows("SELECT DISTINCT image_id FROM detected")}

    def looked_for(self, image_id: int, origin: str) -> dict[str, float]:
        """Return what an origin has looked for on an image, and down to which score; nothing where it has not."""
        rows = self._db.rows(
            "SELECT label, min_score FROM detected WHERE image_id = ? AND origin = ?", image_id, origin
        )
        return dict(rows)

    def all_looked_for(self, origin: str) -> Iterator[tuple[int, dict[str, float]]]:
        """Yield each image on which an origin has looked, ascending by id, and what `looked_for` returns of it."""
        rows = self._db.rows(
            "SELECT image_id, label, min_score FROM detected WHERE origin = ? ORDER BY image_id", origin
        )
        for image_id, group in groupby(rows, key=lambda row: row[0]):
            yield image_id, {label: least for _, label, least in group}

    def enter(
        self,
        image_id: int,
        origin: str,
        found: Iterable[Detection],
        labels: Sequence[str] = (ALL_LABELS,),
        min_score: float = 0.0,
    ) -> None:
        """Let `found` be all that `origin` says of `labels` on an image; what it says of others stays.

        `min_score`: how sure it had to be.
        """
        for label in labels:
            which = "image_id = ? AND origin = ?" + (" AND label = ?" if label != ALL_LABELS else "")
            values = (image_id, origin, label) if label != ALL_LABELS else (image_id, origin)
            self._db.change(f"DELETE FROM detections WHERE {which}", *values)
            self._db.change("INSERT OR REPLACE INTO detected VALUES (?, ?, ?, ?)", image_id, origin, label, min_score)
        for one in found:
            self._db.change(
                "INSERT INTO detections (image_id, origin, label, score, x, y, width, height, polygons, landmarks) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                *(image_id, origin, one.label, round(float(one.score), 4), *one.box.as_list()),
                json.dumps([_plain(polygon) for polygon in one.polygons]) if one.polygons else None,
                json.dumps(_plain(one.landmarks)) if one.landmarks is not None else None,
            )

    def move(self, old_id: int, new_id: int, x: float, y: float) -> None:
        """Let an image take over what persons say of its earlier state; it is `x` times as wide, `y` times as high.

        What detectors found goes with the earlier state: they are to look again.
        """
        told = self.looked_for(old_id, USER)
        if told:
            # Of coordinates of pixel centres; the edges of boxes are taken for such, as everywhere.
            scaled = Transform(np.diag([x, y, 1.0]))
            found = [known.detection.moved(scaled) for known in self.of(old_id) if known.origin == USER]
            self.enter(new_id, USER, found, list(told))


def counting_detections(known: Iterable[KnownDetection], told: Iterable[str]) -> list[KnownDetection]:
    """Return the detections of an image that count: of the labels that a person has `told` of, only the person's."""
    spoken = set(told)
    everything = ALL_LABELS in spoken
    return [one for one in known if one.origin == USER or not (everything or one.detection.label in spoken)]


def facts_of_detections(known: Iterable[KnownDetection], width: int, height: int) -> list[dict[str, str]]:
    """Return what conditions ask of the things on an image of this size (`index.where.THING_KEYS`)."""
    return [
        {
            "object": one.detection.label,
            "score": str(one.detection.score),
            "share": str(one.detection.box.area / (width * height)),
            "detector": _DETECTOR.split(one.origin)[0],
        }
        for one in known
    ]


def _known(row: tuple[Any, ...]) -> KnownDetection:
    _, number, origin, label, score, *box, polygons, landmarks = row
    outlines = tuple(np.array(polygon, np.float64) for polygon in json.loads(polygons or "[]"))
    points = None if landmarks is None else np.array(json.loads(landmarks), np.float64)
    return KnownDetection(Detection(Region(*box), label, score, outlines, points), origin, number)


def _plain(points: NDArray) -> list[list[float]]:
    plain: list[list[float]] = np.round(points, 1).tolist()
    return plain
