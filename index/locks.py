"""One at a time, of writers and others: locks on files, which the system frees when their holders end, in any way."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from matcher.errors import CalqueError, IndexBusy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO
    from pathlib import Path

if sys.platform == "win32":
    import msvcrt
    from contextlib import suppress

    # Locked bytes cannot be read on Windows: lock one far behind the holder's number.
    _FAR = 1 << 30

    def _lock(file: FileIO) -> None:
        file.seek(_FAR)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

    def _wait(file: FileIO) -> None:
        file.seek(_FAR)
        while True:
            with suppress(OSError):  # LK_LOCK gives up after ten seconds
                msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
                return
else:
    import fcntl

    def _lock(file: FileIO) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _wait(file: FileIO) -> None:
        fcntl.flock(file, fcntl.LOCK_EX)


__all__ = ["WriterLock", "waiting_lock"]


class WriterLock:
    """The right to write to an index, held from creation to `release`."""

    def __init__(self, path: Path) -> None:
        """Take the lock on the file `path`, which is made if need be and stays.

        Raises
        ------
        IndexBusy
            If another process, or another writer in this one, holds it.
        """
        try:
            self._file = path.open("ab+", buffering=0)
        except PermissionError as error:
            raise CalqueError(f"{path.parent} cannot be written; check its permissions") from error
        try:
            _lock(self._file)
        except OSError as error:
            self._file.seek(0)
            holder = (self._file.read(20) or b"").decode(errors="replace").strip() or "unknown"
            self._file.close()
            raise IndexBusy(
                f"{path.parent} is being written by process {holder}; wait until it has ended, or stop it"
            ) from error
        self._file.seek(0)
        self._file.truncate()
        self._file.write(f"{os.getpid()}\n".encode())

    def release(self) -> None:
        """Let others write."""
        self._file.close()


@contextmanager
def waiting_lock(path: Path) -> Iterator[None]:
    """Hold the lock on the file `path`, which is made if need be and stays; wait for it as long as another holds it."""
    with path.open("ab", buffering=0) as file:
        _wait(file)
        yield
