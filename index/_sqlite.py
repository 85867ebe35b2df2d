"""A SQLite database whose readers see one state for as long as they like, and whose errors name the file.

WAL mode, synced at every commit. Readers hold one read transaction, without ever blocking the writer or being blocked.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self

from index.checksums import differing, note_sums, noted
from index.durable import naming_full_disk
from index.faults import reach
from matcher.errors import CalqueError, CorruptIndex

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from types import TracebackType

__all__ = ["Database", "DatabaseFile", "from_sql", "state_of", "to_sql"]


def to_sql(name: str) -> str | bytes:
    """Return a path as text, or as its raw bytes where they are no valid text."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return os.fsencode(name)
    return name


def from_sql(name: str | bytes) -> str:
    """Return the path that `to_sql` wrote."""
    return name if isinstance(name, str) else os.fsdecode(name)


def state_of(database: Path) -> tuple[tuple[int, ...], ...]:
    """Return what tells a later state of a SQLite file from an earlier one: of the file, and of its journal."""
    found = []
    for file in (database, database.with_name(f"{database.name}-wal")):
        with suppress(FileNotFoundError):
            status = file.stat()
            if status.st_size:  # readers leave empty journals behind
                found.append((status.st_ino, status.st_size, status.st_mtime_ns))
    return tuple(found)


class Database:
    """An open database. Changes happen inside ``with database.transaction():`` only, of one thread; any may ask."""

    def __init__(self, path: Path, writable: bool = False, still: bool = False) -> None:
        """Open the database at `path`; `FileNotFoundError` if there is none, `CorruptIndex` if it is something else.

        `still` promises that nobody changes it: then a reader asks no one, which on a network's folder it cannot.
        """
        self.path = path
        self.writable = writable
        if not path.is_file():
            raise FileNotFoundError(path)
        with self.naming_errors():
            self._db = _connect(path, writable, still)

    @contextmanager
    def naming_errors(self) -> Iterator[None]:
        """Turn SQLite's errors into ones that name the file and the remedy."""
        try:
            with naming_full_disk(self.path):
                yield
        except sqlite3.DatabaseError as error:
            raise CorruptIndex(
                f"{self.path} cannot be used as a catalogue ({error}); check its permissions, or restore it from a copy"
            ) from error

    def rows(self, sql: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        """Yield what a query finds."""
        with self.naming_errors():
            yield from self._db.execute(sql, values)

    def change(self, sql: str, *values: Any) -> int:
        """Execute a statement inside a transaction; return the row id of what was last inserted."""
        return self._db.execute(sql, values).lastrowid or 0

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    @property
    def transactions(self) -> int:
        """How many transactions have changed it, as far as 32 bits can tell."""
        ((count,),) = self._db.execute("PRAGMA application_id")
        return int(count)

    def seal(self, files: Iterable[Path] = ()) -> None:
        """Close what has been written to, and note checksums of it and of `files` beside it, if it can be done now."""
        try:
            count = self.transactions
            self._db.execute("PRAGMA busy_timeout = 0")  # where others read, they are not waited for
            ((busy, _, _),) = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error:
            busy = True
        self.close()
        # What has been acknowledged is safe without them.
        with suppress(OSError, CalqueError):
            if not (busy or noted(self.path) == count):
                note_sums(self.path, count, files)

    def require_whole(self, remedy: str) -> None:
        """Refuse what is to be written to if its file is not what its last writer left; `CorruptIndex`."""
        for path, text in differing(self.path, self.transactions, every=False):
            raise CorruptIndex(f"{path} is damaged ({text}); {remedy}")

    def refresh(self) -> None:
        """Let a reader see the present state from now on."""
        if self._db.in_transaction:
            self._db.rollback()
        self._db.execute("BEGIN")
        self._db.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # the snapshot is taken by the first read

    @contextmanager
    def transaction(self, fault: str = "") -> Iterator[None]:
        """Make all changes of the block durable at its end, or none of them."""
        with self.naming_errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute(f"PRAGMA application_id = {(self.transactions + 1) % (1 << 31)}")
                reach(f"{fault}.in_transaction")
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def vacuum(self) -> None:
        """Give the space of deleted rows back to the disk."""
        # Counted beforehand: whoever is killed in between must not leave other bytes under a count that is noted.
        with self.transaction():
            pass
        with self.naming_errors():
            self._db.execute("VACUUM")
        reach("vacuum.done")

    def copy_to(self, path: Path) -> None:
        """Write the state that this reader sees to a new database."""
        with self.naming_errors(), closing(sqlite3.connect(path)) as copy:
            self._db.backup(copy)

    def reindex(self) -> None:
        """Make all its indexes anew from its tables."""
        with self.transaction():
            self.change("REINDEX")

    def problems(self, deep: bool) -> list[str]:
        """Return what SQLite itself finds wrong, nothing if all is well."""
        found = [text for (text,) in self.rows("PRAGMA integrity_check" if deep else "PRAGMA quick_check")]
        loose = self.rows("PRAGMA foreign_key_check")
        return [text for text in found if text != "ok"] + [
            f"row {row} of {table} names unknown {parent}" for table, row, parent, _ in loose
        ]


class DatabaseFile:
    """What keeps its tables in a database of its own. Close it, or use it in a ``with`` block.

    File and folder are made if need be; `remedy` tells what to do if they cannot be written, a `CalqueError`.
    """

    def __init__(self, path: Path, remedy: str) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(path, timeout=60)) as db:
                db.execute("PRAGMA journal_mode = WAL")
        except (OSError, sqlite3.OperationalError) as error:
            raise CalqueError(f"{path} cannot be written ({error}); {remedy}") from error
        self._db = Database(path, writable=True)

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _connect(path: Path, writable: bool, still: bool) -> sqlite3.Connection:
    """Return a connection; `immutable` where a folder cannot be written and SQLite thus cannot coordinate readers."""
    address = path.resolve().as_uri()
    if writable:
        db = sqlite3.connect(f"{address}?mode=rw", uri=True, isolation_level=None, timeout=60, check_same_thread=False)
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("PRAGMA synchronous = FULL")
        return db
    if os.access(path.parent, os.W_OK) and not still:
        return sqlite3.connect(
            f"{address}?mode=ro", uri=True, isolation_level=None, timeout=60, check_same_thread=False
        )
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size:
        raise CorruptIndex(
            f"{path.parent} is being changed, or is read-only and was copied or interrupted in the middle of a change; "
            "wait until it is done, or run calque check on it once where it can be written"
        )
    return sqlite3.connect(f"{address}?immutable=1", uri=True, isolation_level=None, check_same_thread=False)
