"""Changes of an index: one thread for each, which opens it for writing for as long as there is something to do."""

from __future__ import annotations

import queue
import threading
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar, cast

from index.store import Index

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["Writer"]

Result = TypeVar("Result")
Change = tuple["Callable[[Index], Any]", "Future[Any]"]


class Writer:
    """Makes the changes of one index, one after the other.

    An index has one writer at a time, and adding may take hours: who adds lets others in by calling `make_waiting`
    whenever nothing is half done, so that a judgement need not wait for the last page.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: queue.SimpleQueue[Change] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def change(self, function: Callable[[Index], Result]) -> Result:
        """Return ``function(index)``, called with the index open for writing.

        Raises
        ------
        IndexBusy
            If another program is writing to it.
        """
        done: Future[Any] = Future()
        with self._lock:
            self._waiting.put((function, done))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=f"writing {self._path.name}", daemon=True)
                self._thread.start()
        return cast("Result", done.result())

    def make_waiting(self, index: Index) -> None:
        """Make the changes that wait, from within one that is being made."""
        with suppress(queue.Empty):
            while True:
                _make(*self._waiting.get_nowait(), index)

    def _work(self) -> None:
        while True:
            with self._lock:
                if self._waiting.empty():
                    self._thread = None
                    return
            try:
                with Index.open(self._path, writable=True) as index:
                    self.make_waiting(index)
            except BaseException as error:
                with suppress(queue.Empty):
                    while True:
                        self._waiting.get_nowait()[1].set_exception(error)


def _make(function: Callable[[Index], Any], done: Future[Any], index: Index) -> None:
    try:
        result = function(index)
    except BaseException as error:
        done.set_exception(error)
    else:
        done.set_result(result)
