"""Processes that decode pictures: what a hostile file can harm is one of them, for a while."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import signal
import threading
from typing import TYPE_CHECKING, Any, TypeVar, cast

from index.memory import bound_memory
from index.workers import Failed, attempt
from matcher.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

__all__ = ["Decoders"]

Result = TypeVar("Result")

_STARTING_SECONDS = 60.0
_ENDING_SECONDS = 2.0


class Decoders:
    """Processes that call functions, each within bounds of memory and time. May be used by any thread.

    They are started when they are first needed; one that dies, or is ended for taking too long, is replaced.

    Parameters
    ----------
    processes : int
    memory : int
        Bytes that a process may take besides what it has when it is ready.
    """

    def __init__(self, processes: int, memory: int) -> None:
        self.processes = max(1, processes)
        self._memory = memory
        # Forking a process that has threads may deadlock; spawning never does.
        self._context = multiprocessing.get_context("spawn")
        self._idle: queue.LifoQueue[_Process | None] = queue.LifoQueue()
        for _ in range(self.processes):
            self._idle.put(None)

    def prepare(self) -> None:
        """Begin to start all processes, in the background, so that who asks first need not wait for them."""
        for _ in range(self.processes):
            threading.Thread(target=self._start_one, name="preparing", daemon=True).start()

    def _start_one(self) -> None:
        with contextlib.suppress(InputError):  # told to whoever needs it
            self.do(_STARTING_SECONDS, _nothing)

    def do(self, seconds: float, function: Callable[..., Result], *arguments: object) -> Result:
        """Return ``function(*arguments)``, which must be picklable, as must what it returns.

        Raises
        ------
        InputError
            If it raises, takes more than `seconds`, or ends its process.
        """
        process = self._idle.get()
        try:
            if process is None:
                process = _Process(self._context, self._memory)
            answer = process.do(seconds, (function, arguments))
        except _Ended as ended:
            process = None
            raise InputError(str(ended)) from None
        finally:
            self._idle.put(process)
        if isinstance(answer, Failed):
            raise InputError(answer.reason)
        return cast("Result", answer)

    def close(self) -> None:
        """End the processes that are idle; the others end with this one."""
        ending = []
        with contextlib.suppress(queue.Empty):
            while True:
                process = self._idle.get_nowait()
                if process is not None:
                    process.let_go()
                    ending.append(process)
        for process in ending:
            process.stop(_ENDING_SECONDS)


def _nothing() -> None:
    """Do nothing."""


class _Ended(Exception):
    """A process is no more, and why."""


class _Process:
    def __init__(self, context: Any, memory: int) -> None:
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, memory), daemon=True)
        self._process.start()
        theirs.close()

    def do(self, seconds: float, task: tuple[Callable[..., Any], tuple[object, ...]]) -> Any:
        try:
            self._pipe.send(task)
            if not self._pipe.poll(seconds):
                self.stop()
                raise _Ended(f"reading this picture takes more than {seconds:.0f} s; convert it to another format")
            return self._pipe.recv()
        except (EOFError, OSError):
            self._process.join()
            code = self._process.exitcode
            self.stop()
            raise _Ended(f"the process that read this picture was ended (status {code}); convert the file") from None

    def let_go(self) -> None:
        """Let a process that is idle end by itself."""
        self._pipe.close()

    def stop(self, seconds: float = 0.0) -> None:
        """Wait so long for the process to end, then end it."""
        self._pipe.close()
        self._process.join(seconds)
        self._process.kill()
        self._process.join()


def _work(pipe: Connection, memory: int) -> None:
    """Do tasks until the parent closes the pipe or ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    import cv2

    import webui.drawing  # what tasks need, before the bound is set  # noqa: F401

    cv2.setNumThreads(1)
    bound_memory(memory)
    with contextlib.suppress(EOFError, OSError):  # the parent has gone
        while True:
            function, arguments = pipe.recv()
            pipe.send(attempt(lambda given, called=function: called(*given), arguments))  # type: ignore[misc]
