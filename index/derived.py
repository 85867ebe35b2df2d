"""What is derived from an index and kept beside its catalogue: whether it is whole, and how it is made anew."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from index._sqlite import Database
from index.checksums import differing
from matcher.errors import CorruptIndex

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["DERIVED", "damaged_derived"]

DERIVED = {
    "links.sqlite": "delete it: calque groups finds all of it again",
    "words.sqlite": "delete it: calque find makes it again",
}
"""Names, in an index's folder, of databases that can be deleted, and what makes them again."""


def damaged_derived(folder: Path, deep: bool) -> Iterator[tuple[Path, str, str]]:
    """Yield the derived databases of the index in `folder` that are damaged, why, and what to do about it."""
    for name, remedy in DERIVED.items():
        path = folder / name
        if not path.is_file():
            continue
        try:
            with closing(Database(path)) as database:
                database.refresh()
                found = database.problems(deep)
                if deep and not found:
                    found = [text for _, text in differing(path, database.transactions)]
        except CorruptIndex as error:
            found = [str(error)]
        yield from ((path, text, remedy) for text in found)
