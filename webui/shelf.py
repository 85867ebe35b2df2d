"""The indexes that a server shows, side by side: each is open once, warm, and seen again as soon as it has changed."""

from __future__ import annotations

import logging
import threading
import weakref
from functools import cached_property
from itertools import chain, count, islice
from pathlib import Path
from typing import TYPE_CHECKING

from index._sqlite import state_of
from index.answers import Query
from index.contents import CATALOGUE
from index.judgements import Side, sides, standing
from index.memory import give_back_memory
from index.search import search
from index.store import Index
from matcher.errors import CalqueError, InputError
from matcher.types import Region
from webui.problems import no_such

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from index.annotations import Judgement, Verdict
    from index.catalogue import ImageRecord

__all__ = ["Holding", "Shelf", "Snapshot", "names_of"]

_RESERVED = "uploads"
"""Not a name of an index: it has a meaning in the addresses of pictures."""


class Snapshot:
    """One state of an index. What is derived from it is worked out once, when it is first asked for.

    Attributes
    ----------
    name : str
        What the index is called in addresses.
    index : Index
        Open for reading; closed when nobody uses this snapshot any more.
    serial : int
        Which state of the index this is, counted since the server was started.
    records : dict of int to ImageRecord
        The images by their ids, ascending.
    """

    def __init__(self, name: str, path: Path, serial: int) -> None:
        self.name = name
        self.serial = serial
        self.index = Index.open(path)
        weakref.finalize(self, self.index.close)
        self.records: dict[int, ImageRecord] = {record.id: record for record in self.index.images()}
        self.metadata: Mapping[int, Mapping[str, str]] = self.index.all_metadata()

    @cached_property
    def contents(self) -> tuple[object, ...]:
        """What two states have in common if searches of all of their images answer the same."""
        return (len(self.records), next(reversed(self.records), 0), *(one.name for one in self.index.segments))

    @cached_property
    def fields(self) -> list[str]:
        """The fields of metadata that images have, in the order in which they are met."""
        return list(dict.fromkeys(field for values in self.metadata.values() for field in values))

    @cached_property
    def labels(self) -> Mapping[int, frozenset[str]]:
        """What things are seen on images, by their ids; those on which there are none are left out."""
        seen = self.index.all_detections()
        return {image: frozenset(one.detection.label for one in found) for image, found in seen}

    @cached_property
    def ids(self) -> dict[tuple[str, int], int]:
        """The ids of images by path and page, as hits name them, and by name and page, as judgements do."""
        by_name = {(record.name, record.page): record.id for record in reversed(self.records.values())}
        return by_name | {(record.path, record.page): record.id for record in self.records.values()}

    @cached_property
    def judgements(self) -> list[Judgement]:
        """The judgements that stand."""
        return standing(self.index.judgements())

    @cached_property
    def _rulings(self) -> dict[frozenset[tuple[str, int]], list[Judgement]]:
        found: dict[frozenset[tuple[str, int]], list[Judgement]] = {}
        for judgement in self.judgements:
            found.setdefault(frozenset(side[:2] for side in sides(judgement)), []).append(judgement)
        return found

    def record(self, image: int) -> ImageRecord:
        """Return an image; `Refusal` (404) if there is none."""
        try:
            return self.records[image]
        except KeyError:
            raise no_such("image", image, f"{self.name} has no such id") from None

    def ruling(
        self, a: ImageRecord, region_a: Region | None, b: ImageRecord, region_b: Region | None
    ) -> Verdict | None:
        """Return what a person has said of two pictures, in either order."""
        first, second = Side(a.name, a.page, region_a), Side(b.name, b.page, region_b)
        for judgement in self._rulings.get(frozenset([first[:2], second[:2]]), ()):
            one, other = sides(judgement)
            if (first.is_at(one) and second.is_at(other)) or (first.is_at(other) and second.is_at(one)):
                return judgement.verdict
        return None


class Holding:
    """One index on the shelf. May be used by any thread."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.path = path
        self.ready = False
        self._lock = threading.Lock()
        self._state = self._seen()  # before it is read: what changes meanwhile is then seen the next time
        self._snapshot = Snapshot(name, path, 0)

    def snapshot(self) -> Snapshot:
        """Return the present state of the index."""
        state = self._seen()
        if state != self._state:
            with self._lock:
                if state != self._state:
                    self._snapshot = Snapshot(self.name, self.path, self._snapshot.serial + 1)
                    self._state = state
        return self._snapshot

    def warm(self) -> None:
        """Load what a first search would otherwise wait for: the vocabulary, the segments, the compiled loops."""
        snapshot = self.snapshot()
        for record in islice(snapshot.records.values(), 3):
            query = Query("warming", Path(record.path), Region(0, 0, record.width, record.height), record.page)
            (answer,) = search(snapshot.index, [query], top=1)
            if answer.error is None:
                break
        give_back_memory()
        self.ready = True

    def _seen(self) -> object:
        """Return what tells a later state of the catalogue from an earlier one."""
        return state_of(self.path / CATALOGUE)


def names_of(paths: Sequence[Path]) -> list[str]:
    """Return what indexes are called; `InputError` if one is given twice."""
    names: list[str] = []
    known: set[Path] = set()
    for path in paths:
        resolved = path.resolve()
        if resolved in known:
            raise InputError(f"{path} is given twice; name each index once")
        known.add(resolved)
        stem = resolved.stem or "index"
        taken = {*names, _RESERVED}
        numbered = (f"{stem}-{number}" for number in count(2))
        names.append(next(name for name in chain([stem], numbered) if name not in taken))
    return names


class Shelf:
    """Indexes by name: that of their folder, without its suffix, numbered where two have the same.

    Raises
    ------
    CalqueError
        If one of them cannot be opened.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        named = zip(names_of(paths), paths, strict=True)
        self._held: dict[str, Holding] = {name: Holding(name, path.resolve()) for name, path in named}
        self._closing = False
        self._warming = threading.Thread(target=self._warm, name="warming", daemon=True)

    def __iter__(self) -> Iterator[Holding]:
        return iter(self._held.values())

    def __getitem__(self, name: str) -> Holding:
        """Return an index; `Refusal` (404) if there is none of this name."""
        if name not in self._held:
            raise no_such("index", name, f"there are: {', '.join(self._held)}")
        return self._held[name]

    def warm(self) -> None:
        """Begin to warm all indexes, in the background."""
        self._warming.start()

    def close(self) -> None:
        """Leave off warming."""
        self._closing = True
        if self._warming.is_alive():
            self._warming.join()

    def _warm(self) -> None:
        for holding in self:
            if self._closing:
                return
            try:
                holding.warm()
            except CalqueError as error:
                logging.getLogger("calque").warning("%s: %s", holding.path, error)
