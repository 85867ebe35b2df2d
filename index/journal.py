"""A journal beside what a long job writes: what is done is kept, so that the same command run again goes on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from index._sqlite import DatabaseFile
from matcher.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["JournalFile"]


class JournalFile(DatabaseFile):
    """A SQLite file that belongs to one job. Close it, or use it in a ``with`` block.

    Parameters
    ----------
    path : Path
        Its folder is made if need be.
    schema : sequence of str
        Statements that make the job's tables where there are none.
    job : mapping of str to plain JSON types
        What the job is: a journal that was begun for another is refused.
    kind : str
        What jobs of this kind are called.

    Raises
    ------
    InputError
        If the journal is of another job.
    CalqueError
        If the folder cannot be written.
    """

    def __init__(self, path: Path, schema: Sequence[str], job: Mapping[str, Any], kind: str) -> None:
        super().__init__(path, "give another folder")
        try:
            self._claim(schema, job, kind)
        except BaseException:
            self.close()
            raise

    def _claim(self, schema: Sequence[str], job: Mapping[str, Any], kind: str) -> None:
        """Take the journal for this job, or refuse what is another's."""
        tables = ("CREATE TABLE IF NOT EXISTS asked (key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID", *schema)
        with self._db.transaction():
            for statement in tables:
                self._db.change(statement)
            known = {key: json.loads(value) for key, value in self._db.rows("SELECT key, value FROM asked")}
            if not known:
                for key, value in job.items():
                    self._db.change("INSERT INTO asked VALUES (?, ?)", key, json.dumps(value))
        for key, value in job.items():
            if known and known.get(key) != value:
                raise InputError(
                    f"{self._db.path} is of another {kind} ({key} {known.get(key)}, now {value}); "
                    "delete it to begin anew, or give another folder"
                )
