"""Merging in the background of an addition: a thread writes, whoever owns the catalogue enters what is written."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

    from index.catalogue import SegmentRecord
    from index.folder import Merge, SegmentFolder

__all__ = ["Compaction"]


class Compaction:
    """Keeps the segments few while images are added; one merge at a time is under way.

    Workers go on meanwhile, and so does the writer: merging is reading, sorting and writing, which wait for no lock.
    Leaving the ``with`` block gives up what is under way.
    """

    def __init__(self, files: SegmentFolder) -> None:
        self._files = files
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="compaction")
        self._stop = threading.Event()
        self._under_way: tuple[Merge, Future[SegmentRecord | None]] | None = None

    def __enter__(self) -> Compaction:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.shutdown(cancel_futures=True)
        if self._under_way is not None:
            self._files.give_up(self._under_way[0])

    def go_on(self) -> None:
        """Enter the merge that has been written, if one has, and begin the next; never waits.

        After a merge that failed none is begun: `finish` tells what was wrong with it.
        """
        if self._under_way is not None and self._under_way[1].done() and self._under_way[1].exception() is None:
            self._enter()
        if self._under_way is None:
            merge = self._files.next_merge()
            if merge is not None:
                self._under_way = merge, self._thread.submit(merge.write, self._going_on)

    def finish(self) -> None:
        """Do all merges that are due."""
        self.go_on()
        while self._under_way is not None:
            self._enter()
            self.go_on()

    def _enter(self) -> None:
        if self._under_way is not None:
            merge, written = self._under_way
            self._files.enter(merge, written.result())
            self._under_way = None

    def _going_on(self) -> None:
        if self._stop.is_set():
            raise CancelledError
