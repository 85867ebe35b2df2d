"""Every picture of one collection looked for in another, however long it takes.

A journal keeps what each photograph was found on. A photograph's answer is entered whole or not at all; whoever is
interrupted, or killed, runs the same command again, which asks only for what is missing and ends with the same table.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from index._sqlite import from_sql, to_sql
from index.annotations import Zone
from index.answers import Answer, Hit, Query, zone_as_dict
from index.journal import JournalFile
from index.search import search
from index.sources import SourceFailure, expand
from index.store import Index
from matcher.errors import InputError
from matcher.types import Match, Region, Transform

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from index.cluster import Cluster

__all__ = ["JOURNAL_FILE", "Journal", "Photo", "photos_of", "trace"]

JOURNAL_FILE = "trace.sqlite"
"""Name of the journal in the folder of a trace."""

_BATCH_SECONDS = 5.0
"""Work that an interruption may cost."""

_VERSION = 1
_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS answers (
    id INTEGER PRIMARY KEY, path NOT NULL, page INTEGER NOT NULL, n_bytes INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    seconds REAL NOT NULL, extraction REAL NOT NULL, UNIQUE (path, page))""",
    """CREATE TABLE IF NOT EXISTS hits (
    answer INTEGER NOT NULL REFERENCES answers (id) ON DELETE CASCADE, rank INTEGER NOT NULL, image NOT NULL,
    path NOT NULL, hit TEXT NOT NULL, query_points BLOB NOT NULL, image_points BLOB NOT NULL,
    PRIMARY KEY (answer, rank)) WITHOUT ROWID""",
    f"PRAGMA user_version = {_VERSION}",
)


class Photo(NamedTuple):
    """A picture to be traced: its name and file, and what tells whether the file is still the same."""

    name: str
    path: Path
    page: int
    n_bytes: int
    mtime_ns: int

    @property
    def query(self) -> Query:
        """The picture as a question."""
        return Query(self.name, self.path, None, self.page)


def photos_of(source: Path) -> tuple[list[Photo], list[SourceFailure]]:
    """Return the pictures of an index, or else of whatever `index.sources.expand` takes, and what cannot be used.

    Raises
    ------
    InputError
        If there is nothing of either.
    """
    photos: list[Photo] = []
    failures: list[SourceFailure] = []
    if (source / "catalogue.sqlite").exists():
        with Index.open(source) as index:
            photos = [Photo(r.name, Path(r.path), r.page, r.n_bytes, r.mtime_ns) for r in index.images()]
        return photos, failures
    for item in expand([source], Counter()):
        if isinstance(item, SourceFailure):
            failures.append(item)
        else:
            photos.append(Photo(item.name, item.path, item.page, item.size, item.mtime_ns))
    if not (photos or failures):
        raise InputError(
            f"{source}: no pictures there; name a folder, a list, a file or an index "
            "(of a IIIF manifest, make one first with calque add)"
        )
    return photos, failures


class Journal(JournalFile):
    """The journal in a folder, which is made if need be. Close it, or use it in a ``with`` block.

    Parameters
    ----------
    folder : Path
    index : Index
        The pages.
    max_false_alarms, top
        As of `index.search.search`.

    Raises
    ------
    InputError
        If the journal is of another index, of an earlier state of it, or was asked otherwise.
    CalqueError
        If the folder cannot be written.
    """

    def __init__(self, folder: Path, index: Index, *, max_false_alarms: float, top: int | None = None) -> None:
        ids = [record.id for record in index.images()]
        # Ids are never used twice: the same number of images up to the same last id is the same state.
        state = {"pages": str(index.path.resolve()), "images": len(ids), "last": max(ids, default=0)}
        job = {"version": _VERSION, **state, "max_false_alarms": max_false_alarms, "top": top}
        super().__init__(folder / JOURNAL_FILE, _SCHEMA, job, "trace")

    def missing(self, photos: Iterable[Photo]) -> list[Photo]:
        """Return those that have not been answered, or whose file has changed since."""
        rows = self._db.rows("SELECT path, page, n_bytes, mtime_ns FROM answers")
        known = {(from_sql(path), page): (n_bytes, mtime_ns) for path, page, n_bytes, mtime_ns in rows}
        return [p for p in photos if known.get((str(p.path), p.page)) != (p.n_bytes, p.mtime_ns)]

    def enter(self, answers: Iterable[tuple[Photo, Answer]]) -> None:
        """Enter answers without an error, in the place of earlier ones."""
        with self._db.transaction("trace"):
            for photo, answer in answers:
                path = to_sql(str(photo.path))
                self._db.change("DELETE FROM answers WHERE path = ? AND page = ?", path, photo.page)
                number = self._db.change(
                    "INSERT INTO answers (path, page, n_bytes, mtime_ns, seconds, extraction) "
                    "VALUES (?, ?, ?, ?, ?, ?)",
                    *(path, photo.page, photo.n_bytes, photo.mtime_ns, answer.seconds, answer.extraction),
                )
                for hit in answer.hits:
                    self._db.change(
                        "INSERT INTO hits VALUES (?, ?, ?, ?, ?, ?, ?)",
                        *(number, hit.rank, to_sql(hit.image), to_sql(hit.path), _told(hit)),
                        *(points.tobytes() for points in (hit.match.query_points, hit.match.image_points)),
                    )

    def answer(self, photo: Photo) -> Answer | None:
        """Return what a photograph was found on; None if it has not been answered."""
        key = to_sql(str(photo.path)), photo.page
        rows = self._db.rows("SELECT id, seconds, extraction FROM answers WHERE path = ? AND page = ?", *key)
        for number, seconds, extraction in rows:
            found = self._db.rows(
                "SELECT rank, image, path, hit, query_points, image_points FROM hits WHERE answer = ? ORDER BY rank",
                number,
            )
            hits = tuple(_hit(*row) for row in found)
            return Answer(photo.name, photo.path, None, seconds, hits, page=photo.page, extraction=extraction)
        return None


def trace(
    index: Index,
    photos: Sequence[Photo],
    journal: Journal | None = None,
    *,
    max_false_alarms: float = 1.0,
    top: int | None = None,
    threads: int | None = None,
    cluster: Cluster | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Answer]:
    """Look for every photograph on the pages of an index.

    Parameters
    ----------
    index : Index
    photos : sequence of Photo
    journal : Journal, optional
        If given, all photographs that it lacks are asked before the first answer is given.
    max_false_alarms, top, threads, cluster
        As of `index.search.search`.
    progress : callable, optional
        Called as ``progress(done, total)``.

    Yields
    ------
    Answer
        One for each photograph, in their order.
    """
    asked = photos if journal is None else journal.missing(photos)
    queries = (photo.query for photo in asked)
    found = search(index, queries, max_false_alarms=max_false_alarms, top=top, threads=threads, cluster=cluster)

    if journal is None:
        for done, answer in enumerate(found, start=1):
            yield answer
            if progress is not None:
                progress(done, len(asked))
        return
    failed: dict[tuple[Path, int], Answer] = {}
    waiting: list[tuple[Photo, Answer]] = []
    entered = time.monotonic()
    try:
        for done, (photo, answer) in enumerate(zip(asked, found, strict=True), start=1):
            if answer.error is None:
                waiting.append((photo, answer))
            else:
                failed[photo.path, photo.page] = answer
            if time.monotonic() - entered >= _BATCH_SECONDS:
                journal.enter(waiting)
                waiting, entered = [], time.monotonic()
            if progress is not None:
                progress(done, len(asked))
    finally:
        journal.enter(waiting)
    for photo in photos:
        told = failed.get((photo.path, photo.page)) or journal.answer(photo)
        if told is not None:
            yield told


def _told(hit: Hit) -> str:
    """Return all of a hit but what has columns of its own; JSON keeps every bit of a number."""
    match = hit.match
    return json.dumps(
        {
            "page": hit.page,
            "score": hit.score,
            "false_alarms": hit.false_alarms,
            "transform": match.transform.matrix.tolist(),
            "relation": match.relation,
            "rotation": match.rotation,
            "scale": match.scale,
            "polygon": match.polygon.tolist(),
            "inliers": match.inliers,
            "log_false_alarms": match.log_false_alarms,
            "zone": None if hit.zone is None else zone_as_dict(hit.zone),
        }
    )


def _hit(rank: int, image: str | bytes, path: str | bytes, told: str, query_points: bytes, image_points: bytes) -> Hit:
    values = json.loads(told)
    match = Match(
        transform=Transform(np.array(values["transform"])),
        relation=values["relation"],
        rotation=values["rotation"],
        scale=values["scale"],
        polygon=np.array(values["polygon"]),
        query_points=np.frombuffer(query_points, np.float32).reshape(-1, 2),
        image_points=np.frombuffer(image_points, np.float32).reshape(-1, 2),
        inliers=values["inliers"],
        log_false_alarms=values["log_false_alarms"],
    )
    zone = values.get("zone")  # which earlier journals did not know
    if zone is not None:
        zone = Zone(zone["kind"], Region(*zone["box"]), score=zone["score"], origin=zone["origin"], id=zone["id"])
    place = from_sql(image), from_sql(path), values["page"]
    return Hit(rank, *place, values["score"], values["false_alarms"], match, zone)
