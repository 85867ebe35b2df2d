"""A pool of processes that encode files, and that outlives any of them.

A file that crashes its process (a decoder's bug, too little memory), or that takes too long, costs that file, not the
job: each worker does
its tasks in turn, so the first one that it has not answered is the culprit. It gets a second chance with no other
task beside it, since a process killed for want of memory need not be the one that wanted it.
"""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import signal
import time
from collections import deque
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

from index.memory import bound_memory, huge_pages, keep_freed_memory, physical_memory
from matcher.errors import CalqueError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from types import TracebackType

__all__ = ["Crew", "Failed", "Killed", "WorkerPool", "attempt", "default_workers", "in_order", "mapped"]

Task = TypeVar("Task")
Result = TypeVar("Result")
GivenTask = TypeVar("GivenTask", contravariant=True)
GivenResult = TypeVar("GivenResult", covariant=True)

_QUEUED = 2
"""Tasks handed to a worker: the one it does and the next, so that it need not wait for the parent."""

_AHEAD = 8
"""Results kept per worker until their turn comes."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The outcome of a task that raised, or that killed its process."""

    reason: str


class Killed(NamedTuple):
    """What became of a task whose process ended: why, and whether the task is to blame as far as can be told."""

    reason: str
    blamed: bool = True


class Crew(Protocol[GivenTask, GivenResult]):
    """Processes that do tasks, which are known by their numbers, and that may die of one."""

    @property
    def ahead(self) -> int:
        """Tasks that may be open: under way, or done before their turn."""

    def under_way(self) -> set[int]:
        """Return the tasks that have been handed out and not answered."""

    def has_room(self) -> bool:
        """Return whether another task can be handed out."""

    def hand(self, number: int, task: GivenTask) -> None:
        """Hand out a task; there is room."""

    def answers(self) -> Iterator[tuple[int, GivenResult | Failed | Killed]]:
        """Wait for tasks to end and yield what became of them, if anything did."""


def in_order(crew: Crew[Task, Result], tasks: Iterable[Task]) -> Iterator[tuple[Task, Result | Failed]]:
    """Yield each task with its result from a crew, in the order of the tasks.

    A task to blame for the end of a process gets a second chance with no other beside it, and then is a failure.
    """
    source = enumerate(tasks)
    open_tasks: dict[int, Task] = {}
    results: dict[int, Result | Failed] = {}
    retry: deque[int] = deque()
    suspects: set[int] = set()
    turn = 0
    exhausted = False
    while True:
        # Tasks of a dead worker are repeated one at a time; a suspect has no other task under way beside it.
        tried = crew.under_way()
        while not (exhausted or retry or tried & suspects) and len(open_tasks) < crew.ahead and crew.has_room():
            try:
                number, task = next(source)
            except StopIteration:
                exhausted = True
                break
            open_tasks[number] = task
            crew.hand(number, task)
        if retry and not tried:
            number = retry.popleft()
            crew.hand(number, open_tasks[number])
        if turn in results:
            yield open_tasks.pop(turn), results.pop(turn)
            turn += 1
            continue
        if not open_tasks:
            return
        for number, answer in crew.answers():
            if not isinstance(answer, Killed):
                results[number] = answer
            elif answer.blamed and number in suspects:
                results[number] = Failed(answer.reason)
            else:
                if answer.blamed:
                    suspects.add(number)
                retry.append(number)


def default_workers() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Worker:
    """One process, the pipe to it and what it has been handed, oldest first."""

    def __init__(self, context: Any, prepare: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self.pipe, theirs = context.Pipe()
        self.tasks: deque[int] = deque()
        self.ready = False
        self.begun = 0.0
        """When it began the first of its tasks, on the monotonic clock."""
        self.process = context.Process(target=_work, args=(theirs, prepare, arguments), daemon=True)
        with _interrupts_blocked(), huge_pages():
            self.process.start()
        theirs.close()

    def stop(self) -> None:
        self.pipe.close()
        self.process.terminate()
        self.process.join()

    def kill(self) -> None:
        self.pipe.close()
        self.process.kill()  # what hangs in a decoder may be deaf
        self.process.join()


class WorkerPool(Generic[Task, Result]):
    """Processes that each call ``prepare(*arguments)`` once and then the function it returns on task after task.

    `prepare`, tasks and results must be picklable. Leaving the ``with`` block stops the processes. A task that takes
    more than `seconds`, if they are given, fails, and its process is ended.
    """

    def __init__(
        self,
        prepare: Callable[..., Callable[[Task], Result]],
        arguments: tuple[Any, ...],
        workers: int,
        seconds: float | None = None,
    ) -> None:
        self._seconds = seconds
        self._prepare = prepare
        self._arguments = arguments
        self._wanted = max(1, workers)
        # Forking a process that has threads (numba, OpenCV, a web server) may deadlock; spawning never does.
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker] = []

    def __enter__(self) -> WorkerPool[Task, Result]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.stop()
        self._workers.clear()

    def map(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Result | Failed]]:
        """Yield each task with its result, in the order of the tasks, with a bounded number of them under way."""
        return in_order(self, tasks)

    @property
    def ahead(self) -> int:
        """See `Crew`."""
        return self._wanted * _AHEAD

    def under_way(self) -> set[int]:
        """See `Crew`."""
        return {number for worker in self._workers for number in worker.tasks}

    def has_room(self) -> bool:
        """See `Crew`."""
        return self._idle() is not None

    def hand(self, number: int, task: Task) -> None:
        """See `Crew`."""
        worker = self._idle()
        assert worker is not None
        if not worker.tasks:
            worker.begun = time.monotonic()
        worker.tasks.append(number)
        with contextlib.suppress(OSError):  # the pipe of a dead worker; its end is noticed when it is next read
            worker.pipe.send((number, task))

    def answers(self) -> Iterator[tuple[int, Result | Failed | Killed]]:
        """See `Crew`."""
        busy = {worker.pipe: worker for worker in self._workers if worker.tasks}
        answering = wait(list(busy), self._patience(busy.values()))
        for worker in [worker for worker in busy.values() if worker.pipe not in answering]:
            if self._left(worker) <= 0:
                yield from self._give_up(worker)
        for pipe in answering:
            worker = busy[pipe]
            try:
                number, answer = worker.pipe.recv()
            except (EOFError, OSError):
                yield from self._bury(worker)
                continue
            worker.begun = time.monotonic()
            if number is not None:
                worker.tasks.remove(number)
                yield number, answer
            elif answer is not None:
                raise answer
            else:
                worker.ready = True

    def _left(self, worker: _Worker) -> float:
        """Return the seconds that a worker still has for its present task; starting takes as long as it takes."""
        if self._seconds is None or not worker.ready:
            return math.inf
        return worker.begun + self._seconds - time.monotonic()

    def _patience(self, workers: Iterable[_Worker]) -> float | None:
        left = min(map(self._left, workers), default=math.inf)
        return None if left == math.inf else max(0.0, left)

    def _give_up(self, worker: _Worker) -> Iterator[tuple[int, Failed | Killed]]:
        """End a worker whose present task takes too long, and yield its tasks."""
        self._workers.remove(worker)
        worker.kill()
        first, *others = worker.tasks
        yield first, Failed(f"takes more than {self._seconds:.0f} s to read; convert it, or allow it more time")
        for number in others:
            yield number, Killed("", blamed=False)

    def _bury(self, worker: _Worker) -> Iterator[tuple[int, Killed]]:
        """Take out a worker that has died, and yield its tasks: the first of them is what it died of."""
        worker.process.join()
        self._workers.remove(worker)
        if not worker.ready:
            raise CalqueError(
                f"a worker process could not start (exit status {worker.process.exitcode}), see its message "
                "above; a script that adds images must do so under: if __name__ == '__main__'"
            )
        for place, number in enumerate(worker.tasks):
            yield number, Killed(_epitaph(worker.process.exitcode), blamed=place == 0)

    def _idle(self) -> _Worker | None:
        """Return the worker with the fewest tasks, a new one if that is better, None if all have enough."""
        best = min(self._workers, key=lambda worker: len(worker.tasks), default=None)
        if (best is None or best.tasks) and len(self._workers) < self._wanted:
            best = _Worker(self._context, self._prepare, self._arguments)
            self._workers.append(best)
        return best if best is not None and len(best.tasks) < _QUEUED else None


def mapped(
    prepare: Callable[..., Callable[[Task], Result]],
    arguments: tuple[Any, ...],
    tasks: Iterable[Task],
    workers: int,
    seconds: float | None = None,
) -> Generator[tuple[Task, Result | Failed], None, None]:
    """Yield each task with its result, in their order, from a pool of `workers`, or from this process if that is 0.

    `seconds` bounds what a task of a worker may take.
    """
    if workers:
        with WorkerPool(prepare, arguments, workers, seconds) as pool:
            yield from pool.map(tasks)
        return
    function = prepare(*arguments)
    for task in tasks:
        yield task, attempt(function, task)


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Keep Ctrl-C from the processes started meanwhile: it reaches the parent too, which stops them in its own time."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _epitaph(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        hint = "too little memory?" if name == "SIGKILL" else "a defect in a decoder?"
        return f"the process that read it was ended by {name} ({hint}); convert the file, or use fewer workers"
    return f"the process that read it ended with status {exit_code}; convert the file to another format"


def attempt(function: Callable[[Task], Result], task: Task) -> Result | Failed:
    """Return ``function(task)``, or why it failed."""
    try:
        return function(task)
    except CalqueError as error:
        return Failed(str(error))
    except Exception as error:
        return Failed(f"{type(error).__name__}: {error}")


def _work(pipe: Connection, prepare: Callable[..., Callable[[Any], Any]], arguments: tuple[Any, ...]) -> None:
    """Answer tasks until the parent closes the pipe or ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # One process per core: threads inside would only contend.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = "1"
    keep_freed_memory()
    with contextlib.suppress(EOFError, OSError):  # the parent has gone
        try:
            import cv2

            cv2.setNumThreads(1)
            function = prepare(*arguments)
        except Exception as error:
            pipe.send((None, error))
            return
        bound_memory(physical_memory())
        pipe.send((None, None))
        while True:
            number, task = pipe.recv()
            pipe.send((number, attempt(function, task)))
