"""Copies of an index that are taken while it is used, and bringing an index of an older format up to date.

A backup is an index: open it where it lies. It is one state of the original, however much that changes meanwhile. Taken
again into the same folder, only files that are not there yet are copied, and the state is replaced at once.
"""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack, closing, suppress
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from index._hdf5 import COMPACT_SINCE, read_header
from index._sqlite import Database
from index.checksums import sums_file
from index.contents import CATALOGUE, SEGMENTS
from index.durable import TEMPORARY_SUFFIX, fsync_folder, replacing
from index.intake import VOCABULARY_FILE
from index.locks import WriterLock
from index.settings import FORMAT_VERSION
from index.store import Index
from index.vectors import VECTORS, database_of, file_of, models_in
from matcher.errors import CalqueError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

__all__ = ["BackupReport", "backup", "formats", "upgrade"]


class BackupReport(NamedTuple):
    """What a backup did: images in it, files and bytes that were copied, files that were there already."""

    images: int
    copied: int
    n_bytes: int
    kept: int


def backup(path: Path, target: Path, progress: Callable[[int, int], None] | None = None) -> BackupReport:
    """Copy one state of an index, which others may read and write meanwhile, to the folder `target`.

    Parameters
    ----------
    path : Path
    target : Path
        An earlier backup of the same index, or a folder that is not there yet.
    progress : callable, optional
        Called as ``progress(done, total)``, in files.

    Raises
    ------
    InputError
        If `target` is something else.
    IndexBusy
        If another writes to `target`, or embeds.
    CalqueError
        If it cannot be written. An earlier backup there is intact then.
    """
    if target.resolve() == path.resolve():
        raise InputError(f"{target} is the index itself; name another folder")
    if target.exists() and not (target / CATALOGUE).is_file() and any(target.iterdir()):
        raise InputError(f"{target} is a folder with other things in it; name another one, or an earlier backup")
    try:
        (target / SEGMENTS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CalqueError(f"{target} cannot be written ({error.strerror}); give another folder") from error
    lock = WriterLock(target / "lock")
    try:
        report = _copied(path, target, progress)
    finally:
        lock.release()
    with Index.open(target, writable=True):  # which deletes what an earlier backup had, and notes checksums
        return report


def _copied(path: Path, target: Path, progress: Callable[[int, int], None] | None) -> BackupReport:
    with ExitStack() as stack:
        index = stack.enter_context(Index.open(path))
        # Files that are open can be read to their ends, whoever deletes them.
        files: list[tuple[str, BinaryIO]] = list(_files(stack, index, path))
        vectors = _vectors(stack, path)
        files += vectors.files if vectors is not None else []
        copied = n_bytes = kept = 0
        for done, (name, file) in enumerate(files, start=1):
            to, size = target / name, os.fstat(file.fileno()).st_size
            if name != VOCABULARY_FILE and to.is_file() and to.stat().st_size == size:
                kept += 1  # such files never change, and their names are never used again
            else:
                to.parent.mkdir(parents=True, exist_ok=True)
                with replacing(to) as temporary, temporary.open("wb") as copy:
                    shutil.copyfileobj(file, copy, 1 << 20)
                copied, n_bytes = copied + 1, n_bytes + size
            if progress is not None:
                progress(done, len(files))
        if vectors is not None:
            _put(vectors.database, database_of(target))
        # The catalogue comes last: with it the new state is there.
        _put(index.catalogue, target / CATALOGUE)
        return BackupReport(index.n_images, copied, n_bytes, kept)


def _files(stack: ExitStack, index: Index, path: Path) -> Iterator[tuple[str, BinaryIO]]:
    """Open the segments of the state that `index` has, and its own vocabulary."""
    own = path / VOCABULARY_FILE
    for file in [*(segment.path for segment in index.segments), *([own] if own.is_file() else [])]:
        try:
            yield file.relative_to(path).as_posix(), stack.enter_context(file.open("rb"))
        except FileNotFoundError as error:
            raise CalqueError(f"{path} has been compacted meanwhile; run the same command again") from error


class _OpenVectors(NamedTuple):
    database: Database
    files: Sequence[tuple[str, BinaryIO]]


def _vectors(stack: ExitStack, path: Path) -> _OpenVectors | None:
    """Open the vectors of an index, if it has any, while nobody writes them."""
    if not database_of(path).is_file():
        return None
    lock = WriterLock(path / VECTORS / "lock")
    try:
        database = stack.enter_context(closing(Database(database_of(path))))
        database.refresh()
        found = [
            (file_of(path, model, name), model)
            for model in models_in(database)
            for (name,) in database.rows("SELECT name FROM files WHERE model = ?", model.id)
        ]
        files = [(file.relative_to(path).as_posix(), stack.enter_context(file.open("rb"))) for file, _ in found]
    finally:
        lock.release()
    return _OpenVectors(database, files)


def _put(database: Database, target: Path) -> None:
    """Put a copy of the state that a reader has of a database into the place of an earlier one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    sums_file(target).unlink(missing_ok=True)
    with replacing(target) as temporary:
        temporary.unlink(missing_ok=True)
        database.copy_to(temporary)
        for end in ("-wal", "-shm"):  # of the earlier one: nobody writes to it
            with suppress(FileNotFoundError):
                target.with_name(f"{target.name}{end}").unlink()
    fsync_folder(target.parent)


def formats(path: Path) -> tuple[int, set[int]]:
    """Return the versions of the format that an index's catalogue and its segments have."""
    with Index.open(path) as index:
        return index.catalogue.format_version, {read_header(segment.path).version for segment in index.segments}


def upgrade(path: Path, copy: Path | None, progress: Callable[[int, int], None] | None = None) -> bool:
    """Bring an index of an older format up to date, its segments too; return whether there was anything to do.

    Parameters
    ----------
    path : Path
    copy : Path, optional
        Where a backup is taken first; none is taken without it.
    progress : callable, optional
        As of `backup`.
    """
    catalogue, segments = formats(path)
    # Since `COMPACT_SINCE` segments are as they are written now.
    if catalogue == FORMAT_VERSION and min(segments, default=FORMAT_VERSION) >= COMPACT_SINCE:
        return False
    if copy is not None:
        if copy.exists():
            raise InputError(f"{copy} is there already; name another folder for the backup")
        _copy_as_it_is(path, copy, progress)
    with Index.open(path, writable=True) as index:
        index.renew(COMPACT_SINCE)
    return True


def _copy_as_it_is(path: Path, copy: Path, progress: Callable[[int, int], None] | None) -> None:
    """Copy an index that nobody writes to meanwhile, without bringing the copy up to date."""
    lock = WriterLock(path / "lock")
    partial = copy.with_name(f".{copy.name}{TEMPORARY_SUFFIX}")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        (partial / SEGMENTS).mkdir(parents=True)
        with ExitStack() as stack:
            index = stack.enter_context(Index.open(path))
            files = list(_files(stack, index, path))
            for done, (name, file) in enumerate(files, start=1):
                with replacing(partial / name) as temporary, temporary.open("wb") as to:
                    shutil.copyfileobj(file, to, 1 << 20)
                if progress is not None:
                    progress(done, len(files))
            _put(index.catalogue, partial / CATALOGUE)
        os.replace(partial, copy)  # noqa: PTH105 - the one call whose name says that it is atomic
        fsync_folder(copy.absolute().parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        lock.release()
