"""The catalogue: which images, segments and failures an index has. The single source of truth about what is in."""

from __future__ import annotations

import os
import sqlite3
from collections import defaultdict
from dataclasses import astuple, dataclass, fields
from itertools import islice
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from index._sqlite import Database, from_sql, to_sql
from index.annotations import Annotations
from index.detections import Detections
from index.durable import replacing
from index.faults import reach
from index.settings import FORMAT_VERSION, Settings
from matcher.errors import CorruptIndex, SettingsMismatch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["Catalogue", "Failure", "ImageRecord", "SegmentRecord"]

_FIRST_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY NOT NULL) WITHOUT ROWID;
CREATE TABLE migrations (version INTEGER PRIMARY KEY, applied TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE segments (
    name TEXT PRIMARY KEY,
    n_images INTEGER NOT NULL,
    n_features INTEGER NOT NULL,
    n_bytes INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE images (
    id INTEGER PRIMARY KEY,
    name NOT NULL,
    path NOT NULL,
    page INTEGER NOT NULL,
    n_bytes INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    digest BLOB NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    n_features INTEGER NOT NULL,
    segment TEXT REFERENCES segments (name) DEFERRABLE INITIALLY DEFERRED,
    UNIQUE (path, page)
);
CREATE INDEX images_by_name ON images (name);
CREATE INDEX images_by_segment ON images (segment);
CREATE TABLE tombstones (
    image_id INTEGER PRIMARY KEY,
    segment TEXT NOT NULL REFERENCES segments (name) ON DELETE CASCADE
);
CREATE INDEX tombstones_by_segment ON tombstones (segment);
CREATE TABLE failures (
    name NOT NULL,
    page INTEGER NOT NULL,
    reason TEXT NOT NULL,
    time TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (name, page)
) WITHOUT ROWID;
"""

_MIGRATIONS: dict[int, tuple[str, ...]] = {
    2: (
        """CREATE TABLE metadata (
    image_id INTEGER NOT NULL REFERENCES images (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    UNIQUE (image_id, key)
)""",
        """CREATE TABLE regions (
    id INTEGER PRIMARY KEY,
    image_id INTEGER NOT NULL REFERENCES images (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    x REAL NOT NULL,
    y REAL NOT NULL,
    width REAL NOT NULL,
    height REAL NOT NULL,
    kind TEXT NOT NULL,
    label TEXT NOT NULL,
    score REAL,
    origin TEXT NOT NULL,
    polygon TEXT
)""",
        "CREATE INDEX regions_by_image ON regions (image_id)",
        """CREATE TABLE judgements (
    id INTEGER PRIMARY KEY,
    name_a NOT NULL,
    page_a INTEGER NOT NULL,
    region_a TEXT,
    name_b NOT NULL,
    page_b INTEGER NOT NULL,
    region_b TEXT,
    verdict TEXT NOT NULL CHECK (verdict IN ('same', 'different', 'unsure')),
    note TEXT NOT NULL,
    author TEXT NOT NULL,
    time TEXT NOT NULL
)""",
    ),
    3: (),  # concerns segments
    4: (
        """CREATE TABLE detections (
    id INTEGER PRIMARY KEY,
    image_id INTEGER NOT NULL REFERENCES images (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    origin TEXT NOT NULL,
    label TEXT NOT NULL,
    score REAL NOT NULL,
    x REAL NOT NULL,
    y REAL NOT NULL,
    width REAL NOT NULL,
    height REAL NOT NULL,
    polygons TEXT,
    landmarks TEXT
)""",
        "CREATE INDEX detections_by_image ON detections (image_id)",
        """CREATE TABLE detected (
    image_id INTEGER NOT NULL REFERENCES images (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    origin TEXT NOT NULL,
    label TEXT NOT NULL,
    min_score REAL NOT NULL,
    UNIQUE (image_id, origin, label)
)""",
    ),
}
"""Statements that lead from the version before to the version that is the key; new catalogues take these steps too."""


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image, or page of a file, of an index.

    Attributes
    ----------
    id : int
        Never used again, not even for a later state of the same file.
    name : str
        Path as found under the source that was given.
    path : str
        Absolute path; with `page`, what tells images apart.
    page : int
        Page of the file, from 0.
    n_bytes, mtime_ns : int
        Size and time of change of the file when it was added.
    digest : bytes
        Hash of the file's contents.
    width, height : int
        Size in pixels after the EXIF turn.
    n_features : int
        Number of features stored.
    segment : str or None
        Name of the segment that holds them; None for an image without features.
    """

    id: int
    name: str
    path: str
    page: int
    n_bytes: int
    mtime_ns: int
    digest: bytes
    width: int
    height: int
    n_features: int
    segment: str | None


@dataclass(frozen=True, slots=True)
class SegmentRecord:
    """One segment of an index: file name without ending, images and features in it (dead ones too), size in bytes."""

    name: str
    n_images: int
    n_features: int
    n_bytes: int


@dataclass(frozen=True, slots=True)
class Failure:
    """A source that could not be added, and why."""

    name: str
    page: int
    reason: str
    time: str


_IMAGE_COLUMNS = ", ".join(item.name for item in fields(ImageRecord))


def _image(row: tuple[Any, ...]) -> ImageRecord:
    return ImageRecord(row[0], from_sql(row[1]), from_sql(row[2]), *row[3:])


class Catalogue(Database):
    """An open catalogue. Changes happen inside ``with catalogue.transaction():`` only.

    Attributes
    ----------
    settings : Settings
        What the index was made with.
    annotations : Annotations
        What is known of the images besides their features.
    detections : Detections
        What things are on them.
    """

    def __init__(self, path: Path, writable: bool = False, still: bool = False) -> None:
        """Open the catalogue at `path`; a writer brings one of an older format up to date. `still`: as of `Database`.

        Raises
        ------
        FileNotFoundError
            If there is none.
        CorruptIndex
            If it is no catalogue or damaged.
        SettingsMismatch
            If it was made by a newer calque.
        """
        super().__init__(path, writable, still)
        self.annotations = Annotations(self)
        self.detections = Detections(self)
        try:
            with self.naming_errors():
                if not writable:
                    self.refresh()
                elif (version := self._format_version()) < FORMAT_VERSION:
                    self._migrate(version)
                self.settings = Settings.from_json(self._meta("settings"))
        except BaseException:
            self.close()
            raise

    @staticmethod
    def create(path: Path, settings: Settings) -> None:
        """Write an empty catalogue at `path`, wholly or not at all."""
        with replacing(path) as temporary:
            temporary.unlink(missing_ok=True)
            db = sqlite3.connect(temporary, isolation_level=None)
            db.execute("PRAGMA journal_mode = WAL")
            db.executescript(_FIRST_SCHEMA)
            for statements in _MIGRATIONS.values():
                for statement in statements:
                    db.execute(statement)
            values = {"format_version": FORMAT_VERSION, "settings": settings.to_json(), "next_id": 1}
            db.executemany("INSERT INTO meta VALUES (?, ?)", values.items())
            db.execute("INSERT INTO migrations (version) VALUES (?)", (FORMAT_VERSION,))
            db.close()
            reach("create.catalogue_written")

    def refresh(self) -> None:
        """Let a reader see the present state from now on; of an older format, what it lacks is seen as empty."""
        super().refresh()
        # Temporary tables of the transaction just begun: the next refresh rolls it back, and them too.
        for version in range(self._format_version() + 1, FORMAT_VERSION + 1):
            for statement in _MIGRATIONS[version]:
                self._db.execute(statement.replace("CREATE TABLE", "CREATE TEMP TABLE"))

    @property
    def format_version(self) -> int:
        """The version of the format that it has."""
        return self._format_version()

    def _format_version(self) -> int:
        version = int(self._meta("format_version"))
        if version > FORMAT_VERSION:
            raise SettingsMismatch(
                f"{self.path.parent} was made by a newer calque (format {version}, this one reads up to "
                f"{FORMAT_VERSION}); upgrade calque, or make a new index"
            )
        return version

    def _migrate(self, version: int) -> None:
        """Bring a catalogue of an older format up to date, wholly or not at all."""
        with self.transaction("migrate"):
            for step in range(version + 1, FORMAT_VERSION + 1):
                for statement in _MIGRATIONS[step]:
                    self.change(statement)
                self.change("INSERT INTO migrations (version) VALUES (?)", step)
            self._set_meta("format_version", FORMAT_VERSION)

    def _meta(self, key: str) -> Any:
        row = next(self.rows("SELECT value FROM meta WHERE key = ?", key), None)
        if row is None:
            raise CorruptIndex(f"{self.path} lacks the entry {key!r}; restore it from a copy")
        return row[0]

    def _set_meta(self, key: str, value: Any) -> None:
        self.change("UPDATE meta SET value = ? WHERE key = ?", value, key)

    # Reading

    @property
    def next_id(self) -> int:
        """The id that the next image gets."""
        return int(self._meta("next_id"))

    def segments(self) -> list[SegmentRecord]:
        """Return all segments, in the order of their names."""
        return [SegmentRecord(*row) for row in self.rows("SELECT * FROM segments ORDER BY name")]

    def dead(self) -> dict[str, list[int]]:
        """Return the ids of the removed images by segment, ascending."""
        return _grouped(self.rows("SELECT segment, image_id FROM tombstones ORDER BY image_id"))

    def ids_by_segment(self) -> dict[str, list[int]]:
        """Return the ids of all images with features by segment, ascending."""
        return _grouped(self.rows("SELECT segment, id FROM images WHERE segment IS NOT NULL ORDER BY id"))

    @property
    def n_images(self) -> int:
        """How many images are in; a tenth of the time that `counts` takes, which must read every row."""
        (images,) = next(self.rows("SELECT count(*) FROM images"))
        return int(images)

    def counts(self) -> tuple[int, int, int]:
        """Return the numbers of images, of their features, and of removed images not yet compacted away."""
        images, features = next(self.rows("SELECT count(*), coalesce(sum(n_features), 0) FROM images"))
        (dead,) = next(self.rows("SELECT count(*) FROM tombstones"))
        return images, features, dead

    def images(self) -> Iterator[ImageRecord]:
        """Yield all images, ascending by id."""
        return map(_image, self.rows(f"SELECT {_IMAGE_COLUMNS} FROM images ORDER BY id"))

    def image_ids(self) -> Iterator[int]:
        """Yield the ids of all images, ascending."""
        return (image_id for (image_id,) in self.rows("SELECT id FROM images ORDER BY id"))

    def image(self, image_id: int) -> ImageRecord | None:
        """Return an image by id."""
        return next(self._images("id = ?", image_id), None)

    def find(self, path: str, page: int) -> ImageRecord | None:
        """Return the image that is page `page` of the file at an absolute path."""
        return next(self._images("path = ? AND page = ?", to_sql(path), page), None)

    def named(self, name: str, page: int) -> ImageRecord | None:
        """Return the image called `name` that is page `page` of its file, the first one if there are several."""
        return next(self._images("name = ? AND page = ? ORDER BY id", to_sql(name), page), None)

    def neighbours(self, record: ImageRecord, many: int) -> list[ImageRecord]:
        """Return the images with features of the same folder, or document, that are nearest by id, at most `many`."""
        folder = PurePath(record.path).parent
        near = self._images(
            "id BETWEEN ? AND ? AND id != ? AND segment IS NOT NULL ORDER BY abs(id - ?), id",
            record.id - 4 * many, record.id + 4 * many, record.id, record.id,
        )  # fmt: skip
        return list(islice((other for other in near if PurePath(other.path).parent == folder), many))

    def matching(self, name: str, path: str) -> list[ImageRecord]:
        """Return the images called `name`, or whose file is `path` or lies in the folder `path`, ascending by id."""
        folder = path.rstrip(os.sep)
        # All that begins with the folder and a separator lies before the folder and the character after that.
        low, high = folder + os.sep, folder + chr(ord(os.sep) + 1)
        # A name that is no text is stored as bytes, also where the folder's own name is text.
        ranges = (to_sql(low), to_sql(high), os.fsencode(low), os.fsencode(high))
        where = "name = ? OR path = ? OR (path >= ? AND path < ?) OR (path >= ? AND path < ?) ORDER BY id"
        return list(self._images(where, to_sql(name), to_sql(path), *ranges))

    def _images(self, where: str, *values: Any) -> Iterator[ImageRecord]:
        return map(_image, self.rows(f"SELECT {_IMAGE_COLUMNS} FROM images WHERE {where}", *values))

    def failures(self) -> list[Failure]:
        """Return the sources that could not be added when they were last tried."""
        rows = self.rows("SELECT name, page, reason, time FROM failures ORDER BY name, page")
        return [Failure(from_sql(row[0]), *row[1:]) for row in rows]

    # Changing, inside a transaction

    def add_segment(self, record: SegmentRecord) -> None:
        """Enter a segment."""
        self.change("INSERT INTO segments VALUES (?, ?, ?, ?)", *astuple(record))

    def add_image(self, record: ImageRecord) -> None:
        """Enter an image, and forget that it failed before.

        It takes the place of the one with the same path and page, and takes over what is known of it.
        """
        old = self.find(record.path, record.page)
        if old is not None:
            scale = record.width / old.width, record.height / old.height
            self.annotations.move(old.id, record.id, *scale)
            self.detections.move(old.id, record.id, *scale)
            self.remove_image(old)
        values = list(astuple(record))
        values[1:3] = to_sql(record.name), to_sql(record.path)
        self.change(f"INSERT INTO images ({_IMAGE_COLUMNS}) VALUES ({', '.join('?' * len(values))})", *values)
        self.change("DELETE FROM failures WHERE name = ? AND page = ?", values[1], record.page)
        self._set_meta("next_id", max(self.next_id, record.id + 1))

    def touch_image(self, image_id: int, mtime_ns: int) -> None:
        """Note the time of change of a file whose contents are the same."""
        self.change("UPDATE images SET mtime_ns = ? WHERE id = ?", mtime_ns, image_id)

    def remove_image(self, record: ImageRecord) -> None:
        """Take an image out; its postings stay in their segment, marked dead."""
        self.change("DELETE FROM images WHERE id = ?", record.id)
        if record.segment is not None:
            self.change("INSERT INTO tombstones VALUES (?, ?)", record.id, record.segment)

    def add_failure(self, name: str, page: int, reason: str) -> None:
        """Note that a source could not be added."""
        self.change("INSERT OR REPLACE INTO failures (name, page, reason) VALUES (?, ?, ?)", to_sql(name), page, reason)

    def replace_segments(self, old: Iterable[str], new: SegmentRecord | None, died: Iterable[int] = ()) -> None:
        """Let `new` hold the living images of the segments `old`; without it the segments are only forgotten.

        `died` are the images that lie in `new` but were removed while it was written.
        """
        if new is not None:
            self.add_segment(new)
            for image_id in died:
                self.change("UPDATE tombstones SET segment = ? WHERE image_id = ?", new.name, image_id)
        for name in old:
            if new is not None:
                self.change("UPDATE images SET segment = ? WHERE segment = ?", new.name, name)
            self.change("DELETE FROM segments WHERE name = ?", name)

    def forget_images_of(self, segment: str) -> list[ImageRecord]:
        """Take out the images of a segment that is lost, and the segment; return them."""
        lost = list(self._images("segment = ? ORDER BY id", segment))
        self.change("DELETE FROM images WHERE segment = ?", segment)
        self.change("DELETE FROM segments WHERE name = ?", segment)
        return lost


def _grouped(rows: Iterator[tuple[Any, ...]]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for segment, image_id in rows:
        found[segment].append(image_id)
    return found
