"""The catalogue: which images, segments and failures an index has. The single source of truth about what is in.

One SQLite database in WAL mode, synced at every commit. Readers hold one read transaction and so see one state
of the index for as long as they like, without ever blocking the writer or being blocked.
"""

from __future__ import annotations

import os
import sqlite3
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from typing import TYPE_CHECKING, Any

from index.durable import naming_full_disk, replacing
from index.faults import reach
from index.settings import FORMAT_VERSION, Settings
from matcher.errors import CorruptIndex, SettingsMismatch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["Catalogue", "Failure", "ImageRecord", "SegmentRecord"]

_SCHEMA = """
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

_MIGRATIONS: dict[int, str] = {}
"""SQL that leads from the version before to the version that is the key; none yet, version 1 is the first."""


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


def _to_sql(name: str) -> str | bytes:
    """Return a path as text, or as its raw bytes where they are no valid text."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return os.fsencode(name)
    return name


def _from_sql(name: str | bytes) -> str:
    return name if isinstance(name, str) else os.fsdecode(name)


def _image(row: tuple[Any, ...]) -> ImageRecord:
    return ImageRecord(row[0], _from_sql(row[1]), _from_sql(row[2]), *row[3:])


class Catalogue:
    """An open catalogue. Changes happen inside ``with catalogue.transaction():`` only."""

    def __init__(self, path: Path, writable: bool = False) -> None:
        """Open the catalogue at `path`.

        Raises
        ------
        FileNotFoundError
            If there is none.
        CorruptIndex
            If it is no catalogue or damaged.
        SettingsMismatch
            If it was made by a newer calque.
        """
        self.path = path
        self.writable = writable
        if not path.is_file():
            raise FileNotFoundError(path)
        with self._naming_errors():
            self._db = _connect(path, writable)
            try:
                self.settings = self._check_format()
                if not writable:
                    self.refresh()
            except BaseException:
                self._db.close()
                raise

    @staticmethod
    def create(path: Path, settings: Settings) -> None:
        """Write an empty catalogue at `path`, wholly or not at all."""
        with replacing(path) as temporary:
            temporary.unlink(missing_ok=True)
            db = sqlite3.connect(temporary, isolation_level=None)
            db.execute("PRAGMA journal_mode = WAL")
            db.executescript(_SCHEMA)
            values = {"format_version": FORMAT_VERSION, "settings": settings.to_json(), "next_id": 1}
            db.executemany("INSERT INTO meta VALUES (?, ?)", values.items())
            db.execute("INSERT INTO migrations (version) VALUES (?)", (FORMAT_VERSION,))
            db.close()
            reach("create.catalogue_written")

    def _check_format(self) -> Settings:
        version = self._meta("format_version")
        if version > FORMAT_VERSION:
            raise SettingsMismatch(
                f"{self.path.parent} was made by a newer calque (format {version}, this one reads up to "
                f"{FORMAT_VERSION}); upgrade calque, or make a new index"
            )
        if version < FORMAT_VERSION:
            if not self.writable:
                raise SettingsMismatch(
                    f"{self.path.parent} has the older format {version}, this calque reads {FORMAT_VERSION}; "
                    "run calque compact on it once to bring it up to date"
                )
            with self.transaction():
                for step in range(version + 1, FORMAT_VERSION + 1):
                    self._db.execute(_MIGRATIONS[step])
                    self._db.execute("INSERT INTO migrations (version) VALUES (?)", (step,))
                self._set_meta("format_version", FORMAT_VERSION)
        return Settings.from_json(self._meta("settings"))

    def _meta(self, key: str) -> Any:
        row = next(self._rows("SELECT value FROM meta WHERE key = ?", key), None)
        if row is None:
            raise CorruptIndex(f"{self.path} lacks the entry {key!r}; restore it from a copy")
        return row[0]

    def _set_meta(self, key: str, value: Any) -> None:
        self._db.execute("UPDATE meta SET value = ? WHERE key = ?", (value, key))

    @contextmanager
    def _naming_errors(self) -> Iterator[None]:
        try:
            with naming_full_disk(self.path):
                yield
        except sqlite3.DatabaseError as error:
            raise CorruptIndex(
                f"{self.path} cannot be used as a catalogue ({error}); check its permissions, or restore it from a copy"
            ) from error

    def _rows(self, sql: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        with self._naming_errors():
            yield from self._db.execute(sql, values)

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def refresh(self) -> None:
        """Let a reader see the present state from now on."""
        if self._db.in_transaction:
            self._db.rollback()
        self._db.execute("BEGIN")
        self._db.execute("SELECT count(*) FROM meta").fetchone()  # the snapshot is taken by the first read

    @contextmanager
    def transaction(self, fault: str = "") -> Iterator[None]:
        """Make all changes of the block durable at its end, or none of them."""
        with self._naming_errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                reach(f"{fault}.in_transaction")
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def vacuum(self) -> None:
        """Give the space of deleted rows back to the disk."""
        with self._naming_errors():
            self._db.execute("VACUUM")

    def problems(self, deep: bool) -> list[str]:
        """Return what SQLite itself finds wrong, nothing if all is well."""
        found = [text for (text,) in self._rows("PRAGMA integrity_check" if deep else "PRAGMA quick_check")]
        loose = self._rows("PRAGMA foreign_key_check")
        return [text for text in found if text != "ok"] + [
            f"row {row} of {table} names unknown {parent}" for table, row, parent, _ in loose
        ]

    # Reading

    @property
    def next_id(self) -> int:
        """The id that the next image gets."""
        return int(self._meta("next_id"))

    def segments(self) -> list[SegmentRecord]:
        """Return all segments, in the order of their names."""
        return [SegmentRecord(*row) for row in self._rows("SELECT * FROM segments ORDER BY name")]

    def dead(self) -> dict[str, list[int]]:
        """Return the ids of the removed images by segment, ascending."""
        return _grouped(self._rows("SELECT segment, image_id FROM tombstones ORDER BY image_id"))

    def ids_by_segment(self) -> dict[str, list[int]]:
        """Return the ids of all images with features by segment, ascending."""
        return _grouped(self._rows("SELECT segment, id FROM images WHERE segment IS NOT NULL ORDER BY id"))

    def counts(self) -> tuple[int, int, int]:
        """Return the numbers of images, of their features, and of removed images not yet compacted away."""
        images, features = next(self._rows("SELECT count(*), coalesce(sum(n_features), 0) FROM images"))
        (dead,) = next(self._rows("SELECT count(*) FROM tombstones"))
        return images, features, dead

    def images(self) -> Iterator[ImageRecord]:
        """Yield all images, ascending by id."""
        return map(_image, self._rows(f"SELECT {_IMAGE_COLUMNS} FROM images ORDER BY id"))

    def image(self, image_id: int) -> ImageRecord | None:
        """Return an image by id."""
        return next(self._images("id = ?", image_id), None)

    def find(self, path: str, page: int) -> ImageRecord | None:
        """Return the image that is page `page` of the file at an absolute path."""
        return next(self._images("path = ? AND page = ?", _to_sql(path), page), None)

    def matching(self, name: str, path: str) -> list[ImageRecord]:
        """Return the images called `name`, or whose file is `path` or lies in the folder `path`, ascending by id."""
        folder = path.rstrip(os.sep)
        # All that begins with the folder and a separator lies before the folder and the character after that.
        low, high = folder + os.sep, folder + chr(ord(os.sep) + 1)
        # A name that is no text is stored as bytes, also where the folder's own name is text.
        ranges = (_to_sql(low), _to_sql(high), os.fsencode(low), os.fsencode(high))
        where = "name = ? OR path = ? OR (path >= ? AND path < ?) OR (path >= ? AND path < ?) ORDER BY id"
        return list(self._images(where, _to_sql(name), _to_sql(path), *ranges))

    def _images(self, where: str, *values: Any) -> Iterator[ImageRecord]:
        return map(_image, self._rows(f"SELECT {_IMAGE_COLUMNS} FROM images WHERE {where}", *values))

    def failures(self) -> list[Failure]:
        """Return the sources that could not be added when they were last tried."""
        rows = self._rows("SELECT name, page, reason, time FROM failures ORDER BY name, page")
        return [Failure(_from_sql(row[0]), *row[1:]) for row in rows]

    # Changing, inside a transaction

    def add_segment(self, record: SegmentRecord) -> None:
        """Enter a segment."""
        self._db.execute("INSERT INTO segments VALUES (?, ?, ?, ?)", astuple(record))

    def add_image(self, record: ImageRecord) -> None:
        """Enter an image, in the place of the one with the same path and page, and forget that it failed before."""
        old = self.find(record.path, record.page)
        if old is not None:
            self.remove_image(old)
        values = list(astuple(record))
        values[1:3] = _to_sql(record.name), _to_sql(record.path)
        self._db.execute(f"INSERT INTO images ({_IMAGE_COLUMNS}) VALUES ({', '.join('?' * len(values))})", values)
        self._db.execute("DELETE FROM failures WHERE name = ? AND page = ?", (values[1], record.page))
        self._set_meta("next_id", max(self.next_id, record.id + 1))

    def touch_image(self, image_id: int, mtime_ns: int) -> None:
        """Note the time of change of a file whose contents are the same."""
        self._db.execute("UPDATE images SET mtime_ns = ? WHERE id = ?", (mtime_ns, image_id))

    def remove_image(self, record: ImageRecord) -> None:
        """Take an image out; its postings stay in their segment, marked dead."""
        self._db.execute("DELETE FROM images WHERE id = ?", (record.id,))
        if record.segment is not None:
            self._db.execute("INSERT INTO tombstones VALUES (?, ?)", (record.id, record.segment))

    def add_failure(self, name: str, page: int, reason: str) -> None:
        """Note that a source could not be added."""
        self._db.execute(
            "INSERT OR REPLACE INTO failures (name, page, reason) VALUES (?, ?, ?)", (_to_sql(name), page, reason)
        )

    def replace_segments(self, old: Iterable[str], new: SegmentRecord | None) -> None:
        """Let `new` hold the living images of the segments `old`; without it the segments are only forgotten."""
        if new is not None:
            self.add_segment(new)
        for name in old:
            if new is not None:
                self._db.execute("UPDATE images SET segment = ? WHERE segment = ?", (new.name, name))
            self._db.execute("DELETE FROM segments WHERE name = ?", (name,))

    def forget_images_of(self, segment: str) -> list[ImageRecord]:
        """Take out the images of a segment that is lost, and the segment; return them."""
        lost = list(self._images("segment = ? ORDER BY id", segment))
        self._db.execute("DELETE FROM images WHERE segment = ?", (segment,))
        self._db.execute("DELETE FROM segments WHERE name = ?", (segment,))
        return lost


def _grouped(rows: Iterator[tuple[Any, ...]]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for segment, image_id in rows:
        found[segment].append(image_id)
    return found


def _connect(path: Path, writable: bool) -> sqlite3.Connection:
    """Return a connection; `immutable` where a folder cannot be written and SQLite thus cannot coordinate readers."""
    address = path.resolve().as_uri()
    if writable:
        db = sqlite3.connect(f"{address}?mode=rw", uri=True, isolation_level=None, timeout=60)
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("PRAGMA synchronous = FULL")
        return db
    if os.access(path.parent, os.W_OK):
        return sqlite3.connect(
            f"{address}?mode=ro", uri=True, isolation_level=None, timeout=60, check_same_thread=False
        )
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size:
        raise CorruptIndex(
            f"{path.parent} is read-only, but was copied or interrupted in the middle of a change; "
            "run calque check on it once where it can be written"
        )
    return sqlite3.connect(f"{address}?immutable=1", uri=True, isolation_level=None, check_same_thread=False)
