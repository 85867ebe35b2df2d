"""The folder of segment files: each written whole before the catalogue knows it, swept once it no longer does."""

from __future__ import annotations

import uuid
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from index._hdf5 import read_header
from index.catalogue import SegmentRecord
from index.durable import TEMPORARY_SUFFIX
from index.faults import reach
from index.merging import Load, bins, next_merge
from index.segment import Segment
from index.segment_writing import merge_segments
from matcher.errors import CalqueError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from index.catalogue import Catalogue

__all__ = ["Merge", "SegmentFolder"]


@dataclass(frozen=True, slots=True)
class Merge:
    """Segments to be put into one: `names`, mapped with those of their images alive that were so when it was begun."""

    names: Sequence[str]
    segments: Sequence[Segment]
    target: Path

    def write(self, going_on: Callable[[], None] = lambda: None) -> SegmentRecord | None:
        """Write the merged segment, if anything in it is alive; `going_on` is called now and then, and may raise."""
        if not any(segment.alive.any() for segment in self.segments):
            return None
        merge_segments(self.target, self.segments, going_on)
        return _measured(self.target)


class SegmentFolder:
    """The segment files of an index, as its one writer handles them."""

    def __init__(self, path: Path, catalogue: Catalogue) -> None:
        self.path = path
        self._catalogue = catalogue
        self._begun: set[str] = set()
        self._left_out: frozenset[str] = frozenset()

    def file(self, name: str) -> Path:
        """Return the path of a segment."""
        return self.path / f"{name}.h5"

    def listed(self) -> list[Path]:
        """Return the files of the segments that the catalogue lists, but for those that are missing."""
        files = (self.file(record.name) for record in self._catalogue.segments())
        return [file for file in files if file.is_file()]

    def write(self, write: Callable[[Path], None]) -> SegmentRecord:
        """Have a segment written under a new name; nobody sees it before it is in the catalogue."""
        path = self._new()
        write(path)
        return _measured(path)

    def compact(self) -> None:
        """Merge everything into the fewest segments, without what has been removed."""
        for names in bins(self._loads()):
            merge = self.begin(names)
            with self.sweeping_on_error():
                self.enter(merge, merge.write())

    def renew(self, version: int) -> None:
        """Write the segments of formats before `version` anew."""
        for record in self._catalogue.segments():
            if read_header(self.file(record.name)).version < version:
                merge = self.begin([record.name])
                with self.sweeping_on_error():
                    self.enter(merge, merge.write())

    def next_merge(self) -> Merge | None:
        """Begin the merge that is due, if there is one."""
        names = next_merge(self._loads())
        return self.begin(names) if names else None

    def begin(self, names: Sequence[str]) -> Merge:
        """Map segments that are to be merged. Until the merge is entered or given up, `sweep` leaves its file alone."""
        dead = self._catalogue.dead()
        merge = Merge(names, [Segment.open(self.file(name), dead.get(name, ())) for name in names], self._new())
        self._begun.add(merge.target.stem)
        return merge

    def enter(self, merge: Merge, new: SegmentRecord | None) -> None:
        """Put what a merge has written into the place of what it merged."""
        reach("merge.before_commit")
        gone = {image_id for ids in self._catalogue.dead().values() for image_id in ids}
        died = [i for segment in merge.segments for i in segment.image_ids[segment.alive].tolist() if i in gone]
        with self._catalogue.transaction("merge"):
            self._catalogue.replace_segments(merge.names, new, died)
        reach("merge.committed")
        self.give_up(merge)

    def give_up(self, merge: Merge) -> None:
        """Let go of a merge; what it has written is deleted unless it has been entered."""
        self._begun.discard(merge.target.stem)
        self.sweep()

    def _new(self) -> Path:
        return self.file(uuid.uuid4().hex)

    def _loads(self) -> list[Load]:
        """Return what each segment still holds."""
        dead = self._catalogue.dead()
        loads = []
        for record in self._catalogue.segments():
            if record.name in self._left_out:
                continue
            gone = len(dead.get(record.name, ()))
            loads.append(Load(record.name, record.n_images - gone, record.n_features, gone > 0))
        return loads

    @contextmanager
    def leaving_out(self, names: Iterable[str]) -> Iterator[None]:
        """Merge none of some segments, which are damaged, in the block."""
        self._left_out = frozenset(names)
        try:
            yield
        finally:
            self._left_out = frozenset()

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
        known = {record.name for record in self._catalogue.segments()} | self._begun
        for file in self.path.iterdir():
            name = file.name.removeprefix(".").removesuffix(TEMPORARY_SUFFIX)
            if name.endswith(".h5") and name.removesuffix(".h5") not in known:
                with suppress(PermissionError):  # on Windows, a file that a reader has mapped: next time
                    file.unlink()
                reach("sweep.one_deleted")


def _measured(path: Path) -> SegmentRecord:
    segment = Segment.open(path)
    return SegmentRecord(segment.name, len(segment), segment.n_features, segment.n_bytes)
