"""Threads that share work, whose parts may be cut into pieces again without waiting for each other."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["Threads"]

T = TypeVar("T")
Task = TypeVar("Task")


class Threads(ThreadPoolExecutor):
    """A pool of threads. What one of them maps, it does by itself: if all waited for others, none would be left."""

    def __init__(self, threads: int) -> None:
        self._own = threading.local()
        self.many = threads
        super().__init__(threads, initializer=self._enter)

    def _enter(self) -> None:
        self._own.inside = True

    def map(
        self, fn: Callable[..., T], *iterables: Iterable[Any], timeout: float | None = None, chunksize: int = 1
    ) -> Iterator[T]:
        """Yield the results of `fn` in order, as `ThreadPoolExecutor.map` does."""
        if getattr(self._own, "inside", False):
            return map(fn, *iterables)
        return super().map(fn, *iterables, timeout=timeout, chunksize=chunksize)

    def ahead(self, work: Callable[[Task], T], tasks: Iterable[Task]) -> Iterator[T]:
        """Yield the results of `work` in order; two tasks for each thread are under way or done before their turn."""
        waiting = iter(tasks)
        begun: deque[Future[T]] = deque()
        try:
            while True:
                begun.extend(self.submit(work, task) for task in islice(waiting, 2 * self.many - len(begun)))
                if not begun:
                    return
                yield begun.popleft().result()
        finally:
            for future in begun:  # nobody waits for them any more
                future.cancel()
