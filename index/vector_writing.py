"""The one writer of an index's vectors: what it enters is safe at once; files are merged as they come."""

from __future__ import annotations

import hashlib
import re
import uuid
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Self

import numpy as np

from index._sqlite import DatabaseFile
from index.durable import TEMPORARY_SUFFIX
from index.faults import reach
from index.locks import WriterLock
from index.merging import Load, bins, next_merge
from index.nearest import CELLS_SUFFIX, EXACT, has_cells, write_cells
from index.vector_files import SUFFIX, Rows, VectorFile, write_vectors
from index.vectors import VECTORS, VERSION, StoredModel, damaged_vectors, database_of, file_of, models_in
from matcher.errors import CalqueError, InputError, SettingsMismatch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

    from index.vectors import Living

__all__ = ["VectorWriter"]

_LOCK = "lock"
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS models (id INTEGER PRIMARY KEY, name TEXT NOT NULL, signature TEXT NOT NULL UNIQUE, "
    "size INTEGER NOT NULL, folder TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS files (name TEXT PRIMARY KEY, model INTEGER NOT NULL REFERENCES models (id), "
    "n_vectors INTEGER NOT NULL, n_bytes INTEGER NOT NULL) WITHOUT ROWID",
    f"PRAGMA user_version = {VERSION}",
)


class VectorWriter(DatabaseFile):
    """The right to write vectors of the index in a folder. Close it, or use it in a ``with`` block.

    Raises
    ------
    IndexBusy
        If another holds it.
    CalqueError
        If the folder cannot be written.
    SettingsMismatch
        If a newer calque wrote what is there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        remedy = "vectors are kept in the index's folder: ask for the right to write there, or copy the index"
        super().__init__(database_of(folder), remedy)
        try:
            self._lock = WriterLock(folder / VECTORS / _LOCK)
        except BaseException:
            super().close()
            raise
        try:
            self._db.require_whole("restore the folder from a copy, or delete it and embed again")
            ((version,),) = self._db.rows("PRAGMA user_version")
            if version > VERSION:
                raise SettingsMismatch(f"{self._db.path} was made by a newer calque; upgrade calque")
            with self._db.transaction():
                for statement in _SCHEMA:
                    self._db.change(statement)
            self.sweep()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the database and let others write."""
        files: list[Path] = []
        with suppress(CalqueError):  # where even the tables could not be made
            files = [file_of(self._folder, model, name) for model in models_in(self._db) for name in self._names(model)]
        self._db.seal(files)
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def model(self, name: str, signature: str, size: int) -> StoredModel:
        """Return the model with a signature; it is entered if it is not there."""
        for known in models_in(self._db):
            if known.signature == signature:
                return known
        slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[-40:]
        folder = f"{slug}-{hashlib.sha256(signature.encode()).hexdigest()[:8]}"
        with self._db.transaction("vectors"):
            number = self._db.change(
                "INSERT INTO models (name, signature, size, folder) VALUES (?, ?, ?, ?)", name, signature, size, folder
            )
        return StoredModel(number, name, signature, size, folder)

    def enter(self, model: StoredModel, rows: Rows) -> None:
        """Enter vectors, none of what has one already. Once this returns they are safe and visible."""
        if not len(rows.image_ids):
            return
        if rows.vectors.shape != (len(rows.image_ids), model.size) or not np.isfinite(rows.vectors).all():
            raise ValueError(f"vectors of {model.name} must be finite and of {model.size} dimensions")
        self._replace(model, (), [rows])

    def merge(self, model: StoredModel, known: Living) -> None:
        """Do the merges of files that are due, leaving out what is not `known` any more."""
        while names := next_merge(self._loads(model)):
            self._merged(model, names, known)
        self._write_cells(model)

    def compact(self, known: Living) -> None:
        """Merge everything into the fewest files, without what is not `known` any more."""
        for model in models_in(self._db):
            loads = []
            for name in self._names(model):
                alive = known.among(VectorFile.open(file_of(self._folder, model, name)).rows)
                loads.append(Load(name, int(alive.sum()), len(alive), not alive.all()))
            for names in bins(loads):
                self._merged(model, names, known)
            self._write_cells(model)
        self._db.vacuum()

    def forget(self, name: str) -> None:
        """Forget all vectors of the models called `name`; `InputError` if there are none."""
        found = [model for model in models_in(self._db) if model.name == name]
        if not found:
            names = dict.fromkeys(model.name for model in models_in(self._db))
            raise InputError(f"there are no vectors of {name!r}; there are: {', '.join(names) or 'none'}")
        with self._db.transaction("vectors"):
            for model in found:
                self._db.change("DELETE FROM files WHERE model = ?", model.id)
                self._db.change("DELETE FROM models WHERE id = ?", model.id)
        self.sweep()

    def repair(self) -> list[Path]:
        """Forget the files that are damaged, and return them: what they held can then be embedded again."""
        lost = [path for path, _ in damaged_vectors(self._folder, deep=True) if path.suffix == SUFFIX]
        with self._db.transaction("vectors"):
            for path in lost:
                self._db.change("DELETE FROM files WHERE name = ?", path.stem)
        self.sweep()
        return lost

    def sweep(self) -> None:
        """Delete the files that the database does not know: what was merged away, what a killed writer left."""
        models = models_in(self._db)
        known = {file_of(self._folder, model, name) for model in models for name in self._names(model)}
        for folder in (child for child in (self._folder / VECTORS).iterdir() if child.is_dir()):
            for file in list(folder.iterdir()):
                ours = file.name.endswith((SUFFIX, CELLS_SUFFIX, TEMPORARY_SUFFIX))
                if ours and file.with_suffix(SUFFIX) not in known:
                    with suppress(PermissionError):  # on Windows, a file that a reader has mapped: next time
                        file.unlink()
            if folder.name not in {model.folder for model in models}:
                with suppress(OSError):  # with other things in it
                    folder.rmdir()

    def _write_cells(self, model: StoredModel) -> None:
        """Write what is needed to look through many vectors quickly, once there are so many."""
        files = [VectorFile.open(file_of(self._folder, model, name)) for name in self._names(model)]
        if sum(map(len, files)) * model.size > EXACT:
            for file in files:
                if has_cells(file):
                    write_cells(file)

    def _names(self, model: StoredModel) -> list[str]:
        return [name for (name,) in self._db.rows("SELECT name FROM files WHERE model = ? ORDER BY name", model.id)]

    def _loads(self, model: StoredModel) -> list[Load]:
        rows = self._db.rows("SELECT name, n_vectors FROM files WHERE model = ? ORDER BY name", model.id)
        return [Load(name, n_vectors, n_vectors, False) for name, n_vectors in rows]

    def _merged(self, model: StoredModel, names: Sequence[str], known: Living) -> None:
        files = [VectorFile.open(file_of(self._folder, model, name)) for name in names]
        parts = []
        for file in files:
            alive = known.among(file.rows)
            parts.append(file.rows if alive.all() else file.rows.take(alive))
        self._replace(model, names, parts)
        self.sweep()

    def _replace(self, model: StoredModel, old: Iterable[str], parts: Sequence[Rows]) -> None:
        """Write a file of `parts`, if there is anything in them, and let it take the place of the files `old`."""
        name, count = uuid.uuid4().hex, sum(len(part.image_ids) for part in parts)
        path = file_of(self._folder, model, name)
        path.parent.mkdir(exist_ok=True)
        with self._sweeping_on_error():
            if count:
                write_vectors(path, model.signature, model.size, parts)
            reach("vectors.before_commit")
            with self._db.transaction("vectors"):
                for gone in old:
                    self._db.change("DELETE FROM files WHERE name = ?", gone)
                if count:
                    size = path.stat().st_size
                    self._db.change("INSERT INTO files VALUES (?, ?, ?, ?)", name, model.id, count, size)
        reach("vectors.committed")

    @contextmanager
    def _sweeping_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            with suppress(CalqueError, OSError):
                self.sweep()
            raise
