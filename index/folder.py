"""The folder of segment files: each written whole before the catalogue knows it, swept once it no longer does."""

from __future__ import annotations

import uuid
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from index.catalogue import SegmentRecord
from index.durable import TEMPORARY_SUFFIX
from index.faults import reach
from index.merging import Load, bins, next_merge
from index.segment import Segment
from index.segment_writing import merge_segments
from matcher.errors import CalqueError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from index.catalogue import Catalogue

__all__ = ["SegmentFolder"]

_FREE_MERGE = 2 << 20
"""Features that an addition may merge however little it adds; beyond that it merges a few times what it adds."""


class SegmentFolder:
    """The segment files of an index, as its one writer handles them."""

    def __init__(self, path: Path, catalogue: Catalogue) -> None:
        self.path = path
        self._catalogue = catalogue

    def file(self, name: str) -> Path:
        """Return the path of a segment."""
        return self.path / f"{name}.h5"

    def write(self, write: Callable[[Path], None]) -> SegmentRecord:
        """Have a segment written under a new name; nobody sees it before it is in the catalogue."""
        name = uuid.uuid4().hex
        write(self.file(name))
        segment = Segment.open(self.file(name))
        return SegmentRecord(name, len(segment), segment.n_features, segment.n_bytes)

    def compact(self) -> None:
        """Merge everything into the fewest segments, without what has been removed."""
        for names in bins(self._loads()):
            self._merge(names)

    def tidy(self, added: int, before: set[str]) -> None:
        """Merge the segments made since `before`, then small ones: work bounded by the features just `added`."""
        for names in bins([load for load in self._loads() if load.name not in before]):
            self._merge(names)
        budget = max(_FREE_MERGE, 4 * added)
        while names := next_merge(self._loads(), budget):
            budget -= sum(load.n_features for load in self._loads() if load.name in names)
            self._merge(names)

    def _loads(self) -> list[Load]:
        """Return what each segment still holds."""
        dead = self._catalogue.dead()
        loads = []
        for record in self._catalogue.segments():
            gone = len(dead.get(record.name, ()))
            loads.append(Load(record.name, record.n_images - gone, record.n_features, gone > 0))
        return loads

    def _merge(self, names: Sequence[str]) -> None:
        """Put one segment with the living images of several into their place."""
        dead = self._catalogue.dead()
        old = [Segment.open(self.file(name), dead.get(name, ())) for name in names]
        living = any(segment.alive.any() for segment in old)
        with self.sweeping_on_error():
            new = self.write(lambda path: merge_segments(path, old)) if living else None
            reach("merge.before_commit")
            with self._catalogue.transaction("merge"):
                self._catalogue.replace_segments(names, new)
        reach("merge.committed")
        self.sweep()

    @contextmanager
    def sweeping_on_error(self) -> Iterator[None]:
        """Leave no file behind that an error in the block keeps out of the catalogue."""
        # Whether a transaction has come through is for the catalogue to say, not for where an interrupt struck.
        try:
            yield
        except BaseException:
            with suppress(CalqueError, OSError):
                self.sweep()
            raise

    def sweep(self) -> None:
        """Delete the files that the catalogue does not know: what was merged away, what a killed writer left."""
        known = {f"{record.name}.h5" for record in self._catalogue.segments()}
        for file in self.path.iterdir():
            if file.name not in known and file.name.endswith((".h5", TEMPORARY_SUFFIX)):
                with suppress(PermissionError):  # on Windows, a file that a reader has mapped: next time
                    file.unlink()
                reach("sweep.one_deleted")
