"""The verified pairs of a collection: every image is asked once, and what it is found on is kept beside the catalogue.

``links.sqlite`` is derived: deleting it costs nothing but the time to ask again. What an image was found on is entered
whole or not at all, so that whoever is interrupted, or killed, goes on where it was. Images added later are asked
against all; those that were there before need not be asked again, for a link joins two images whichever was asked.
Catalogue ids are never used twice, so links of images that have been removed are known as such, and swept out.
"""

from __future__ import annotations

import math
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from index._sqlite import DatabaseFile
from index.answers import Query
from index.derived import DERIVED
from index.items import CHANGED, has_changed
from index.pictures import look_like_pictures, pictures_on
from index.places import overlaps
from index.search import search
from index.store import Index
from index.verification import RELATIONS
from index.workers import Failed
from matcher.errors import InputError
from matcher.types import Region

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from index.answers import Answer
    from index.catalogue import ImageRecord
    from index.cluster import Cluster

__all__ = ["LINK", "LINKS_FILE", "SPREAD", "Asked", "Links", "find_links", "spots"]

LINKS_FILE = "links.sqlite"
"""Name, in an index's folder, of the database of its links."""

SPREAD = 16
"""Parts across, and down, that the box of a link's evidence is divided into."""

LINK = np.dtype(
    [
        ("a", np.int64),
        ("b", np.int64),
        ("chance", np.float64),
        ("inliers", np.int32),
        ("relation", np.uint8),
        ("a_box", np.float64, 4),
        ("b_box", np.float64, 4),
        ("transform", np.float64, (3, 3)),
        ("spread", np.bool_, (SPREAD, SPREAD)),
    ]
)
"""One link: the image asked and the image found, false alarms expected for each image of an index, agreeing details,
number in `RELATIONS`, boxes of the agreeing evidence on both (x, y, width, height), map from `a` to `b`, and in which
parts of `a_box` (rows from the top) details agree."""

_VERSION = 1
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS asked (image INTEGER PRIMARY KEY, digest BLOB NOT NULL, log_chance REAL NOT NULL)",
    "CREATE TABLE IF NOT EXISTS links "
    "(a INTEGER NOT NULL, b INTEGER NOT NULL, chance REAL NOT NULL, link BLOB NOT NULL)",
    "CREATE INDEX IF NOT EXISTS links_by_a ON links (a)",
    "CREATE INDEX IF NOT EXISTS links_by_b ON links (b)",
    f"PRAGMA user_version = {_VERSION}",
)

_BATCH = 16
"""Images asked at a time: work that an interruption may cost."""

_SAME = 0.5
_NEIGHBOURS = 3
_REACH = 3.0
"""Agreements belong together up to this many times the usual distance of the third nearest."""

_GAP = 0.2
"""Gap between two spots, as a share of the longest of their sides, up to which they are one."""

_FINEST = 1000
"""Cells, along the longer side, in which agreements are gathered, at the most."""

_SPOT = 6
_SPOT_SHARE = 0.25
"""Agreements that a spot has at the least: altogether, and of those of the largest."""

_TELLING = 1e-2
"""False alarms, as a share of those allowed, up to which a match of a whole image says where to look again."""

_LOOKS = 12
"""Places on an image looked at again, at the most."""

_WHOLE = 0.5
"""Share of its image from which on a place fills it, and need not be looked at by itself."""

_COVERED = 0.4
"""Share of a place that the evidence must cover: else what agrees is a letter beside it."""


class Links(DatabaseFile):
    """The links of the index in a folder. Close it, or use it in a ``with`` block.

    Raises
    ------
    CalqueError
        If the folder cannot be written.
    CorruptIndex
        If the file is no database of links.
    """

    def __init__(self, folder: Path) -> None:
        remedy = "links are kept in the index's folder: ask for the right to write there, or copy the index"
        super().__init__(folder / LINKS_FILE, remedy)
        self._db.require_whole(DERIVED[LINKS_FILE])
        with self._db.transaction():
            ((version,),) = self._db.rows("PRAGMA user_version")
            if version not in (0, _VERSION):  # of another calque: all of it can be found again
                self._db.change("DROP TABLE asked")
                self._db.change("DROP TABLE links")
            for statement in _SCHEMA:
                self._db.change(statement)

    def close(self) -> None:
        """Close the database."""
        self._db.seal()

    def asked(self) -> dict[int, float]:
        """Return the ids of the images asked, and log10 of the chance up to which their links were kept."""
        return dict(self._db.rows("SELECT image, log_chance FROM asked"))

    def enter(self, answers: Iterable[tuple[ImageRecord, NDArray]], log_chance: float) -> None:
        """Enter what images were found on, `LINK` arrays, and log10 of the chance up to which links are kept."""
        with self._db.transaction("links"):
            for image, found in answers:
                self._db.change("DELETE FROM links WHERE a = ?", image.id)
                for link in found:
                    a, b, chance = int(link["a"]), int(link["b"]), float(link["chance"])
                    self._db.change("INSERT INTO links VALUES (?, ?, ?, ?)", a, b, chance, link.tobytes())
                self._db.change("INSERT OR REPLACE INTO asked VALUES (?, ?, ?)", image.id, image.digest, log_chance)

    def sweep(self, living: Mapping[int, ImageRecord]) -> None:
        """Forget the images that are not among `living`, by id, or have become others there, and their links."""
        rows = self._db.rows("SELECT image, digest FROM asked UNION ALL SELECT DISTINCT b, NULL FROM links")
        gone = {
            image
            for image, digest in rows
            if image not in living or (digest is not None and digest != living[image].digest)
        }
        with self._db.transaction("links.sweep"):
            for image in gone:
                self._db.change("DELETE FROM asked WHERE image = ?", image)
                self._db.change("DELETE FROM links WHERE a = ? OR b = ?", image, image)

    def read(self, chance: float) -> NDArray:
        """Return the links with at most `chance` false alarms for each image of the index, `LINK`, surest first."""
        rows = self._db.rows("SELECT link FROM links WHERE chance <= ? ORDER BY chance, a, b, link", chance)
        return np.frombuffer(bytearray().join(link for (link,) in rows), LINK)


class Asked(NamedTuple):
    """What `find_links` did: images asked, and name and reason of those that could not be."""

    images: int
    failed: list[tuple[str, str]]


def find_links(
    index: Index,
    links: Links,
    *,
    max_false_alarms: float = 1.0,
    threads: int | None = None,
    cluster: Cluster | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Asked:
    """Ask the images of an index that have not been asked before, and enter what they are found on.

    Parameters
    ----------
    index : Index
    links : Links
    max_false_alarms : float
        As of `index.search.search`; images asked with fewer are asked again.
    threads : int, optional
        By default one per core.
    cluster : Cluster, optional
        Whose workers ask, an image for each thread of theirs; they must see the index and its images by the same paths.
    progress : callable, optional
        Called as ``progress(done, total)``.
    """
    records = {record.id: record for record in index.images()}
    links.sweep(records)
    log_chance = math.log10(max_false_alarms / max(1, len(records)))
    asked = links.asked()
    todo = [record for record in records.values() if asked.get(record.id, -math.inf) < log_chance]
    outcomes = _outcomes(index, todo, max_false_alarms, threads, cluster)
    failed: list[tuple[str, str]] = []
    done = 0
    while batch := list(islice(outcomes, _BATCH)):
        links.enter([(record, found) for record, found in batch if not isinstance(found, Failed)], log_chance)
        failed += [(record.name, found.reason) for record, found in batch if isinstance(found, Failed)]
        done += len(batch)
        if progress is not None:
            progress(done, len(todo))
    return Asked(len(todo), failed)


def _outcomes(
    index: Index,
    todo: Sequence[ImageRecord],
    max_false_alarms: float,
    threads: int | None,
    cluster: Cluster | None,
) -> Iterator[tuple[ImageRecord, NDArray | Failed]]:
    """Yield the images with their links, `LINK` arrays, in order."""
    if cluster is not None:
        arguments = index.path.absolute(), index.state, max_false_alarms
        with cluster.pool(_asking, arguments, lambda record: Path(record.path)) as pool:
            yield from pool.map(todo)
        return
    asking = _Asking(index, max_false_alarms, threads)
    for start in range(0, len(todo), _BATCH):
        yield from asking.answers(todo[start : start + _BATCH])


def _asking(folder: Path, state: tuple[int, int], max_false_alarms: float) -> Callable[[ImageRecord], NDArray]:
    """Open an index and return what asks one of its images; runs on a worker."""
    asking = _Asking(Index.open(folder, state=state), max_false_alarms, 1)

    def ask(record: ImageRecord) -> NDArray:
        ((_, found),) = asking.answers([record])
        if isinstance(found, Failed):
            raise InputError(found.reason)
        return found

    return ask


class _Asking:
    """Asks images, and then by themselves the places on them that others seem to show too.

    A whole page of type proves little about a small cut on it: the more there is to compare, the more agrees by chance.
    And where type is cut large, letters agree with letters. So what does not fill its image is linked by what is found
    of it alone, and what looks like type is not linked at all, unless a layout says that it is a picture.
    """

    def __init__(self, index: Index, max_false_alarms: float, threads: int | None) -> None:
        self._index = index
        self._ids = {(record.path, record.page): record.id for record in index.images()}
        self._limit = max_false_alarms
        self._threads = threads

    def answers(self, batch: Sequence[ImageRecord]) -> list[tuple[ImageRecord, NDArray | Failed]]:
        """Return the images with their links, `LINK` arrays."""
        found: dict[int, list[NDArray]] = {}
        again: list[tuple[ImageRecord, bool, NDArray[np.float64]]] = []
        # What was changed since would be asked for its new contents, and noted of those that are in.
        changed = [record for record in batch if has_changed(record)]
        failed = {record.id: Failed(CHANGED) for record in changed}
        for record, answer in self._asked([(record, None) for record in batch if record.id not in failed]):
            try:
                if answer.error is not None:
                    raise InputError(answer.error)
                links, places, known = self._of_whole(record, self._links(record.id, answer))
            except InputError as error:
                failed[record.id] = Failed(str(error))
                continue
            found[record.id] = [links]
            again += [(record, known, place) for place in places]
        asked = self._asked([(record, _grown(box, record)) for record, _, box in again])
        for (record, known, place), (_, answer) in zip(again, asked, strict=True):
            links = self._links(record.id, answer)
            links = links[_areas(links["a_box"]) >= _COVERED * _areas(place)]
            # Type repeats itself on a page, a block cannot be printed twice at once.
            times = Counter([record.id, *links["b"].tolist()])
            if known or sum(count > 1 for count in times.values()) < 2:
                found[record.id].append(links)
        return [(image, failed.get(image.id) or np.concatenate(found[image.id])) for image in batch]

    def _asked(self, what: Sequence[tuple[ImageRecord, Region | None]]) -> Iterator[tuple[ImageRecord, Answer]]:
        queries = [Query("", Path(record.path), region, record.page) for record, region in what]
        # What is furniture is for `index.groups` to say, which sees how many pages show it, and where.
        answers = search(self._index, queries, max_false_alarms=self._limit, furniture=True, threads=self._threads)
        for (record, _), answer in zip(what, answers, strict=True):
            yield record, answer

    def _links(self, asking: int, answer: Answer) -> NDArray:
        """Return what an image, or a place on it, was found on, as links, the surest first."""
        rows = []
        for hit in answer.hits:
            match, other = hit.match, self._ids[hit.path, hit.page]
            chance, relation = hit.false_alarms / len(self._ids), RELATIONS.index(match.relation)
            for spot in spots(match.query_points):
                ours, theirs = _box(match.query_points[spot]), _box(match.image_points[spot])
                if other == asking and overlaps(ours, theirs[None])[0]:
                    continue  # it finds itself
                spread = _spread(match.query_points[spot], ours)
                rows.append((asking, other, chance, len(spot), relation, ours, theirs, match.transform.matrix, spread))
        return np.array(rows, LINK)

    def _of_whole(self, record: ImageRecord, links: NDArray) -> tuple[NDArray, list[NDArray[np.float64]], bool]:
        """Sort what a whole image was found on.

        Returns
        -------
        links : `LINK` array
            Those that fill the image.
        places : list of float64 arrays (4,)
            Where to look again.
        known : bool
            Whether a layout says that these are pictures.
        """
        zones = pictures_on(self._index, record.id)
        telling = links["a_box"][links["chance"] * len(self._ids) <= _TELLING * self._limit]
        places: list[NDArray[np.float64]] = []
        for box in zones if len(zones) else telling:
            apart = not places or bool((overlaps(box, np.array(places)) < _SAME).all())
            if apart and not _fills(box, record):
                places.append(box)
        filling = links[[_fills(box, record) for box in links["a_box"]]]
        if len(zones):
            return filling, places[:_LOOKS], True
        boxes = np.concatenate([filling["a_box"], np.reshape(places, (-1, 4))])
        like = look_like_pictures(self._index, record, boxes)
        filling, like = filling[like[: len(filling)]], like[len(filling) :]
        return filling, [place for place, chosen in zip(places, like, strict=True) if chosen][:_LOOKS], False


def _spread(points: NDArray[np.float32], box: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return in which parts of `box` there are points, bool (rows, columns)."""
    columns, rows = np.minimum((points - box[:2]) / box[2:] * SPREAD, SPREAD - 1).astype(np.intp).T
    found = np.zeros((SPREAD, SPREAD), np.bool_)
    found[rows, columns] = True
    return found


def _areas(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(boxes[..., 2] * boxes[..., 3])


def _fills(box: NDArray[np.float64], record: ImageRecord) -> bool:
    return bool(_areas(box) >= _WHOLE * record.width * record.height)


def _grown(box: NDArray[np.float64], record: ImageRecord) -> Region | None:
    """Return a place with what lies close around it: evidence ends where features end."""
    more = 0.05 * float(box[2:].max()) + 4
    return Region(*(box[:2] - more), *(box[2:] + 2 * more)).clipped(record.width, record.height)


def _box(points: NDArray[np.float32]) -> NDArray[np.float64]:
    low = points.min(axis=0).astype(np.float64)
    return np.concatenate([low, np.maximum(points.max(axis=0) - low, 1.0)])


def spots(points: NDArray[np.float32]) -> list[NDArray[np.intp]]:
    """Return which of the places of agreement belong together; what agrees here and there by chance belongs to none.

    A match of two whole pages may rest on two pictures that both show, and now and then on a detail far from either.

    Parameters
    ----------
    points : float32, shape (n, 2)
        Inliers of one match on one of its images.

    Returns
    -------
    list of int arrays
        Rows of `points`, the largest spot first.
    """
    if len(points) < _SPOT:
        return [np.arange(len(points))]
    sample = points[:: max(1, len(points) // 400)]
    distances = np.linalg.norm(sample[:, None] - points[None], axis=2)
    usual = float(np.median(np.partition(distances, _NEIGHBOURS, axis=1)[:, _NEIGHBOURS]))
    places = points - points.min(axis=0)
    side = max(_REACH / 2 * usual, float(places.max()) / _FINEST, 1.0)
    column, row = (places / side).astype(np.intp).T
    cells = np.zeros((row.max() + 1, column.max() + 1), np.uint8)
    cells[row, column] = 1
    _, numbers = cv2.connectedComponents(cv2.dilate(cells, np.ones((3, 3))), connectivity=8)
    found = _joined(points, [np.flatnonzero(numbers[row, column] == n) for n in range(1, numbers.max() + 1)])
    least = max(_SPOT, _SPOT_SHARE * max(map(len, found)))
    return sorted((spot for spot in found if len(spot) >= least), key=len, reverse=True) or [np.arange(len(points))]


def _joined(points: NDArray[np.float32], found: list[NDArray[np.intp]]) -> list[NDArray[np.intp]]:
    """Return spots with those made one whose gap is small beside them: a picture has empty places too."""
    done: list[NDArray[np.intp]] = []
    for spot in sorted(found, key=len, reverse=True):
        near = [other for other in done if _gap(_box(points[spot]), _box(points[other])) <= _GAP]
        done = [other for other in done if not any(other is one for one in near)]
        done.append(np.sort(np.concatenate([spot, *near])))
    return done


def _gap(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return how far two boxes are apart, as a share of the longest of their sides."""
    apart = np.maximum(np.maximum(a[:2], b[:2]) - np.minimum(a[:2] + a[2:], b[:2] + b[2:]), 0)
    return float(apart.max() / max(a[2:].max(), b[2:].max()))
