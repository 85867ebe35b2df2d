"""Progress on stderr: how far, how fast, how long still."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Self, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Progress"]

_BAR = 24


class Progress:
    """A bar redrawn in place on a terminal; elsewhere a plain line every ten seconds; nothing when quiet.

    Parameters
    ----------
    unit : str
        What is counted, in the plural: ``images``.
    total : int, optional
        How many there will be, where known; `update` can tell it later.
    quiet : bool
        Say nothing but messages.
    stream : text stream, optional
        Where to; stderr by default.
    clock : callable
        Seconds that only grow.
    """

    def __init__(
        self,
        unit: str,
        *,
        total: int | None = None,
        quiet: bool = False,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._unit = unit
        self._total = total
        self._quiet = quiet
        self._stream = stream or sys.stderr
        self._clock = clock
        self._terminal = self._stream.isatty()
        self._pause = 0.1 if self._terminal else 10.0
        self._start = self._shown = clock()
        self._drawn = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._drawn:
            self._stream.write("\n")
            self._stream.flush()
            self._drawn = False

    def update(self, done: int, total: int | None = None) -> None:
        """Tell that `done` of `total` are through; draws only as often as a reader can follow."""
        self._total = total if total is not None else self._total
        now = self._clock()
        if self._quiet or now - self._shown < self._pause:
            return
        self._shown = now
        line = self._line(done, now - self._start)
        self._stream.write(f"\r\x1b[K{line}" if self._terminal else f"{line}\n")
        self._stream.flush()
        self._drawn = self._terminal

    def message(self, text: str) -> None:
        """Write a line of its own, also when quiet: a failure is no decoration."""
        self._stream.write(f"\r\x1b[K{text}\n" if self._drawn else f"{text}\n")
        self._stream.flush()
        self._drawn = False

    def _line(self, done: int, seconds: float) -> str:
        rate = done / seconds if seconds > 0 else 0.0
        speed = f"{rate:.1f} {self._unit}/s" if rate < 100 else f"{rate:.0f} {self._unit}/s"
        if not self._total:
            return f"{done} {self._unit}, {speed}"
        full = round(_BAR * min(done / self._total, 1.0))
        bar = f"[{'#' * full}{'.' * (_BAR - full)}] " if self._terminal else ""
        left = f", {_clock_time((self._total - done) / rate)} left" if rate > 0 else ""
        return f"{bar}{done}/{self._total} {self._unit}, {speed}{left}"


def _clock_time(seconds: float) -> str:
    minutes, rest = divmod(round(max(seconds, 0.0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
