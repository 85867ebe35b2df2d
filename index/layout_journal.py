"""The layouts of pages that have been found, so that an interrupted `index.layouts.segment` goes on."""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from index._sqlite import to_sql
from index.journal import JournalFile
from matcher.layout import Layout, LayoutRegion
from matcher.types import Region

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from index.items import SourceItem

__all__ = ["JOURNAL_FILE", "LayoutJournal", "plain_region"]

JOURNAL_FILE = "layouts.sqlite"
"""Name of the journal in the folder of what is written."""

_VERSION = 1
_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS layouts (
    path NOT NULL, page INTEGER NOT NULL, n_bytes INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, drawn TEXT NOT NULL,
    width INTEGER NOT NULL, height INTEGER NOT NULL, regions TEXT NOT NULL,
    rows INTEGER NOT NULL, columns INTEGER NOT NULL, labels BLOB NOT NULL, PRIMARY KEY (path, page)) WITHOUT ROWID""",
)


class LayoutJournal(JournalFile):
    """The layouts of pages in a folder.

    Parameters
    ----------
    folder : Path
        Made if need be.
    model : str
        What finds the layouts, as `index.layouts.signature_of` tells it.

    Raises
    ------
    InputError
        If the journal there is of another model.
    CalqueError
        If the folder cannot be written.
    """

    def __init__(self, folder: Path, model: str) -> None:
        super().__init__(folder / JOURNAL_FILE, _SCHEMA, {"version": _VERSION, "model": model}, "run")

    def layout(self, item: SourceItem) -> Layout | None:
        """Return the layout of a page; None if it is not known, or the file has changed since."""
        for width, height, regions, rows, columns, labels in self._rows(
            "width, height, regions, rows, columns, labels", item
        ):
            grid = np.frombuffer(zlib.decompress(labels), np.uint8).reshape(rows, columns)
            return Layout(width, height, tuple(_region(known) for known in json.loads(regions)), grid)
        return None

    def drawn(self, item: SourceItem) -> str:
        """Return what has been drawn of a page, as `enter` was told."""
        return next((told for (told,) in self._rows("drawn", item)), "")

    def enter(self, item: SourceItem, layout: Layout, drawn: str) -> None:
        """Enter the layout of a page, in the place of an earlier one; `drawn` says what has been drawn of it."""
        with self._db.transaction("layout"):
            self._db.change(
                "INSERT OR REPLACE INTO layouts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                *(to_sql(str(item.path)), item.page, item.size, item.mtime_ns, drawn, layout.width, layout.height),
                json.dumps([plain_region(region) for region in layout.regions]),
                *(*layout.labels.shape, zlib.compress(layout.labels.tobytes())),
            )

    def _rows(self, columns: str, item: SourceItem) -> Iterator[tuple[Any, ...]]:
        where = "path = ? AND page = ? AND n_bytes = ? AND mtime_ns = ?"
        values = (to_sql(str(item.path)), item.page, item.size, item.mtime_ns)
        return self._db.rows(f"SELECT {columns} FROM layouts WHERE {where}", *values)


def plain_region(region: LayoutRegion) -> dict[str, Any]:
    """Return a region in plain JSON types: ``kind``, ``box``, ``score``, ``polygon``."""
    polygon = None if region.polygon is None else np.round(region.polygon, 1).tolist()
    box = [round(float(edge), 1) for edge in region.box.as_list()]
    return {"kind": region.kind, "box": box, "score": round(float(region.score), 4), "polygon": polygon}


def _region(known: dict[str, Any]) -> LayoutRegion:
    polygon = None if known["polygon"] is None else np.array(known["polygon"], np.float64)
    return LayoutRegion(known["kind"], Region(*known["box"]), known["score"], polygon)
