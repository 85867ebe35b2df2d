"""Files that are either wholly there or not at all, even after a power cut or on a full disk."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from index.faults import reach
from matcher.errors import CalqueError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["TEMPORARY_SUFFIX", "fsync_folder", "naming_full_disk", "replacing", "replacing_folder"]

TEMPORARY_SUFFIX = ".partial"
"""Ending of the hidden files that are being written; those of a killed writer are swept by the next one."""

_FULL = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}


def fsync_folder(folder: Path) -> None:
    """Make the names in `folder` durable (on Windows folders cannot be synced, and need not be)."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def naming_full_disk(path: Path) -> Iterator[None]:
    """Turn the errors of a full disk into one that says where and what to do."""
    try:
        yield
    except (OSError, sqlite3.OperationalError) as error:
        full = error.errno in _FULL if isinstance(error, OSError) else _is_full(error)
        if not full:
            raise
        raise CalqueError(
            f"no space left to write {path}; the index is intact: free some space and run the same command again"
        ) from error


def _is_full(error: sqlite3.OperationalError) -> bool:
    # SQLite reports a file-size limit as a failed write, a full disk or quota as SQLITE_FULL.
    return error.sqlite_errorcode in {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR_WRITE,
        sqlite3.SQLITE_IOERR_SHMSIZE,
    }


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a hidden temporary path beside `path`; once the block ends well it becomes `path`, durably.

    The block writes the file and closes it. On any error the temporary file is removed and `path` left as it was.
    """
    temporary = path.with_name(f".{path.name}{TEMPORARY_SUFFIX}")
    try:
        with naming_full_disk(path):
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            reach("file.synced")
            os.replace(temporary, path)  # noqa: PTH105 - the one call whose name says that it is atomic
            reach("file.renamed")
            fsync_folder(path.parent)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


@contextmanager
def replacing_folder(folder: Path, mark: str) -> Iterator[Path]:
    """Yield a new hidden folder beside `folder`; once the block ends well it takes its place, durably, with all in it.

    An earlier `folder` goes, if it is empty or has a file `mark`, which tells what was written here before. On any
    error all is left as it was.

    Raises
    ------
    InputError
        If there is a folder with other things in it, or none can be made there.
    """
    folder = folder.resolve()
    temporary, old = (folder.with_name(f".{folder.name}{end}{TEMPORARY_SUFFIX}") for end in ("", ".old"))
    if folder.exists() and not (folder.is_dir() and ((folder / mark).is_file() or not any(folder.iterdir()))):
        raise InputError(f"{folder} is there, with other things in it; give another folder")
    try:
        with naming_full_disk(folder):
            for leftover in (temporary, old):
                shutil.rmtree(leftover, ignore_errors=True)
            try:
                temporary.mkdir(parents=True)
            except OSError as error:
                reason = f"{folder}: no folder can be made there ({error.strerror}); give another"
                raise InputError(reason) from error
            yield temporary
            for path in temporary.rglob("*"):
                if path.is_dir():
                    fsync_folder(path)
                else:
                    with path.open("rb+") as file:
                        os.fsync(file.fileno())
            if folder.exists():
                folder.rename(old)
            temporary.rename(folder)
            fsync_folder(folder.parent)
            shutil.rmtree(old, ignore_errors=True)
    except BaseException:
        if old.exists() and not folder.exists():
            old.rename(folder)
        shutil.rmtree(temporary, ignore_errors=True)
        raise
