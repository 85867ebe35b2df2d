"""Checksums beside a database: of its file, which SQLite itself does not guard, and of the files that it lists.

A database counts its transactions in its header (``PRAGMA application_id``). When its writer closes it, all that it
holds is in its file, and ``NAME.sums`` notes the count, and size and CRC-32 of every file. So a reader that finds the
same count can tell any byte that is not what was written; another count tells that a writer was killed, or others
were reading, when the file was last closed: the next writer notes new checksums.
"""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

from index.durable import replacing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["SUFFIX", "Sums", "differing", "note_sums", "noted", "read_sums", "sums_file"]

SUFFIX = ".sums"
"""Ending of the name of the file of checksums of a database."""

_FORMAT = "calque checksums"
_BLOCK = 1 << 20


class Sums(NamedTuple):
    """The number of transactions of a database, and size and CRC-32 of files, by their paths from its folder."""

    transactions: int
    files: dict[str, tuple[int, int]]


def sums_file(database: Path) -> Path:
    """Return the file that holds the checksums of a database."""
    return database.with_name(f"{database.name}{SUFFIX}")


def note_sums(database: Path, transactions: int, files: Iterable[Path]) -> None:
    """Note checksums of a database, at rest, and of `files` in its folder, which never change once they are written."""
    known = _readable(database)
    before = {} if known is None else known.files
    files_now = {database.name: _sum(database)}
    for path in files:
        name, size = path.relative_to(database.parent).as_posix(), path.stat().st_size
        old = before.get(name)
        files_now[name] = old if old is not None and old[0] == size else _sum(path)
    content = {"format": _FORMAT, "version": 1, "transactions": transactions, "files": files_now}
    with replacing(sums_file(database)) as temporary:
        temporary.write_text(_guarded(content), encoding="utf-8")


def noted(database: Path) -> int | None:
    """Return after how many transactions checksums were noted, None if they are not there or damaged."""
    known = _readable(database)
    return None if known is None else known.transactions


def _readable(database: Path) -> Sums | None:
    try:
        return read_sums(database)
    except ValueError:
        return None


def read_sums(database: Path) -> Sums | None:
    """Return the checksums of a database, None if there are none; `ValueError` if their file is damaged."""
    try:
        text = sums_file(database).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    content = json.loads(text)
    if not isinstance(content, dict) or _guarded({k: v for k, v in content.items() if k != "crc32"}) != text:
        raise ValueError("it is damaged")
    if content["format"] != _FORMAT or content["version"] != 1:
        return None  # of a newer calque
    return Sums(int(content["transactions"]), {name: (int(s), int(c)) for name, (s, c) in content["files"].items()})


def differing(database: Path, transactions: int, every: bool = True) -> Iterator[tuple[Path, str]]:
    """Yield what is not what was written, and why: the database itself, and the files noted beside it if `every`.

    Parameters
    ----------
    database : Path
    transactions : int
        As counted by a reader, which has the database open.
    every : bool
    """
    try:
        known = read_sums(database)
    except ValueError:
        yield sums_file(database), "the file of checksums is damaged"
        return
    log = database.with_name(f"{database.name}-wal")
    if known is None or known.transactions != transactions or (log.exists() and log.stat().st_size):
        return
    for name, wanted in known.files.items():
        path = database.parent / name
        if not (every or path == database):
            continue
        try:
            if _sum(path) != wanted:
                yield path, "checksum of the file differs"
        except FileNotFoundError:
            continue  # for its database to say


def _sum(path: Path) -> tuple[int, int]:
    """Return the size and the CRC-32 of a file."""
    size, checksum = 0, 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            size += len(block)
            checksum = zlib.crc32(block, checksum)
    return size, checksum


def _guarded(content: dict[str, Any]) -> str:
    """Return JSON that bears a checksum of itself."""
    checksum = zlib.crc32(json.dumps(content, sort_keys=True).encode())
    return json.dumps({**content, "crc32": checksum}, sort_keys=True, indent=1) + "\n"
