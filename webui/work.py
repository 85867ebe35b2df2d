"""Lines of work: so many threads, so many that may wait, and everybody else is sent away at once."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from webui.problems import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Line"]

Result = TypeVar("Result")


class Line:
    """Threads that do what blocks, for the one thread that answers requests.

    Parameters
    ----------
    name : str
        Of the threads.
    threads : int
    waiting : int
        How many may wait; who comes then is refused with 503 rather than kept.
    """

    def __init__(self, name: str, threads: int, waiting: int) -> None:
        self._pool = ThreadPoolExecutor(threads, name)
        self._room = threads + waiting
        self._inside = 0

    async def run(self, function: Callable[..., Result], *arguments: object) -> Result:
        """Return ``function(*arguments)``, called in one of the threads.

        Raises
        ------
        Refusal
            If too many wait already.
        """
        if self._inside >= self._room:
            raise Refusal(503, "the server has too much to do; try again in a moment", {"Retry-After": "2"})
        self._inside += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, function, *arguments)
        finally:
            self._inside -= 1

    def close(self) -> None:
        """Let the threads end, what waits undone."""
        self._pool.shutdown(wait=False, cancel_futures=True)
