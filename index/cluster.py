"""The workers of a Dask cluster in the place of this machine's processes: `ClusterPool` does what `WorkerPool` does.

Only tasks and their results travel. Workers read the pictures and the index from a folder that they share with whoever
asks, and write nothing; what they have opened for one task they keep for the next. Dask gives the tasks of a lost
worker to another. One that loses several is treated as `index.workers` treats what kills its process: it gets a second
chance alone, and then is a failure.
"""

from __future__ import annotations

import hashlib
import logging
import pickle
import queue
import threading
import time
from contextlib import nullcontext, suppress
from importlib import metadata
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Self, TypeVar
from uuid import uuid4

from index.memory import keep_freed_memory
from index.workers import Failed, Killed, attempt, in_order
from matcher.errors import CalqueError, MissingDependency, SettingsMismatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path
    from types import TracebackType

__all__ = ["Cluster", "ClusterPool", "connected"]

Task = TypeVar("Task")
Result = TypeVar("Result")

_ALIKE = ("calque", "numpy", "numba", "opencv-contrib-python-headless")
"""Packages of which workers must have the same versions: what decides the last digit of an answer."""

_AHEAD = 4
"""Tasks sent for each thread of the cluster: the one it does, and others so that none waits for us."""

_LOOK = 2.0
"""Seconds between looks at which workers there are."""

_RERUN = "what is done is kept, and the same command goes on from there"


def connected(scheduler: str | None) -> AbstractContextManager[Cluster | None]:
    """Return the cluster of a scheduler, for a ``with`` block; None for this machine alone."""
    return nullcontext() if scheduler is None else Cluster(scheduler)


class Cluster:
    """A Dask cluster. Close it, or use it in a ``with`` block.

    Parameters
    ----------
    scheduler : str
        Address of its scheduler, such as ``tcp://host:8786``.
    patience : float
        Seconds to wait for the scheduler, and for workers whenever there are none.

    Raises
    ------
    MissingDependency
        If dask.distributed is not installed.
    CalqueError
        If there is no scheduler, or there are no workers.
    SettingsMismatch
        If a worker has other versions of calque or of what it computes with.
    """

    def __init__(self, scheduler: str, patience: float = 300.0) -> None:
        try:
            from distributed import Client
        except ImportError as error:
            raise MissingDependency(
                f"{error.name or 'distributed'} is not installed; install it with: pip install 'calque[cluster]'"
            ) from error
        logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # what goes wrong is said once, by us
        self.scheduler = scheduler
        self._patience = patience

        def greeted() -> Client:
            return Client(scheduler, timeout=min(patience, 30), set_as_default=False, name="calque")

        try:
            try:
                self.client = greeted()
            except AssertionError:  # distributed wants to be greeted alone: somebody else's news may come along
                self.client = greeted()
        except (OSError, ValueError, TypeError) as error:
            raise CalqueError(
                f"no Dask scheduler answers at {scheduler} ({error}); "
                "start one with `dask scheduler`, and give the address that it prints"
            ) from error
        try:
            self._since = time.monotonic()
            while not self.threads():
                time.sleep(0.2)
            self._require_alike()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the cluster, whose workers stay."""
        with suppress(Exception):
            self.client.close(timeout=5)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def threads(self) -> int:
        """Return how many threads the workers have, 0 if there are none yet.

        Raises
        ------
        CalqueError
            If there have been none for longer than one is patient, or the scheduler is gone.
        """
        try:
            threads: int = sum(self.client.nthreads().values())
        except (OSError, ValueError, RuntimeError) as error:
            raise self.lost() from error
        if threads:
            self._since = time.monotonic()
        elif time.monotonic() - self._since > self._patience:
            raise CalqueError(
                f"the Dask scheduler at {self.scheduler} has no workers; start some with "
                f"`dask worker {self.scheduler} --nthreads 1`; {_RERUN}"
            )
        return threads

    def pool(
        self,
        prepare: Callable[..., Callable[[Task], Result]],
        arguments: tuple[Any, ...],
        file_of: Callable[[Task], Path | None],
    ) -> ClusterPool[Task, Result]:
        """Return a pool of its workers; see `ClusterPool`."""
        return ClusterPool(prepare, arguments, self, file_of)

    def lost(self) -> CalqueError:
        """Return the error that the scheduler is gone."""
        return CalqueError(f"the Dask scheduler at {self.scheduler} is gone; start it again; {_RERUN}")

    def _require_alike(self) -> None:
        ours = _versions()
        for worker, theirs in self.client.run(_versions, on_error="return").items():
            if isinstance(theirs, BaseException):
                raise SettingsMismatch(
                    f"worker {worker} cannot run calque ({type(theirs).__name__}: {theirs}); "
                    f"install calque {ours['calque']} in the environment that the workers start in"
                )
            _compare(worker, theirs, ours)


class ClusterPool(Generic[Task, Result]):
    """Workers of a cluster that each call ``prepare(*arguments)`` once and then what it returns on task after task.

    Parameters
    ----------
    prepare, arguments
        As of `index.workers.WorkerPool`. What has been prepared is kept by the worker, also for a later pool.
    cluster : Cluster
    file_of : callable
        Returns the file that a task needs, which whichever worker does it must see; None if it needs none.
    """

    def __init__(
        self,
        prepare: Callable[..., Callable[[Task], Result]],
        arguments: tuple[Any, ...],
        cluster: Cluster,
        file_of: Callable[[Task], Path | None],
    ) -> None:
        self._cluster = cluster
        self._file_of = file_of
        token = hashlib.blake2b(pickle.dumps((prepare, arguments)), digest_size=16).hexdigest()
        self._name = f"calque-{uuid4().hex}"
        # A task of its own, so that what is large in it goes to each worker once, and can be had again if lost.
        self._work = cluster.client.submit(
            _Work, prepare, arguments, token, _versions(), key=f"{self._name}-work", pure=False
        )
        self._under_way: dict[int, Any] = {}
        self._ended: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._threads = cluster.threads()
        self._looked = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(Exception):  # the scheduler may be gone
            self._cluster.client.cancel([*self._under_way.values(), self._work])
        self._under_way.clear()

    def map(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Result | Failed]]:
        """Yield each task with its result, in the order of the tasks, with a bounded number of them under way."""
        return in_order(self, tasks)

    @property
    def ahead(self) -> int:
        """See `index.workers.Crew`."""
        return max(1, self._threads) * _AHEAD

    def under_way(self) -> set[int]:
        """See `index.workers.Crew`."""
        return set(self._under_way)

    def has_room(self) -> bool:
        """See `index.workers.Crew`."""
        return True

    def hand(self, number: int, task: Task) -> None:
        """See `index.workers.Crew`."""
        key = f"{self._name}-{number}-{uuid4().hex[:8]}"
        future = self._cluster.client.submit(_do, self._work, self._file_of(task), task, key=key, pure=False)
        self._under_way[number] = future
        future.add_done_callback(lambda _: self._ended.put(number))

    def answers(self) -> Iterator[tuple[int, Result | Failed | Killed]]:
        """See `index.workers.Crew`."""
        if time.monotonic() - self._looked > _LOOK:
            self._threads, self._looked = self._cluster.threads(), time.monotonic()
        ended: list[int] = []
        with suppress(queue.Empty):
            ended.append(self._ended.get(timeout=_LOOK))
            while True:
                ended.append(self._ended.get_nowait())
        futures = {number: self._under_way.pop(number) for number in ended}
        # What is lost with its worker before it is here is done again meanwhile, and that may fail.
        awaited = {number: future for number, future in futures.items() if future.status not in ("error", "cancelled")}
        try:
            found = self._cluster.client.gather(awaited, errors="skip")
        except (OSError, RuntimeError) as error:
            raise self._cluster.lost() from error
        for number, future in futures.items():
            yield number, found[number] if future.status == "finished" else self._epitaph(future)

    def _epitaph(self, future: Any) -> Killed:
        """Return why a task killed its workers; raise what else has come in the way of it."""
        from distributed import KilledWorker

        if future.status != "error":
            raise self._cluster.lost()
        error = future.exception()
        if isinstance(error, KilledWorker):
            return Killed(
                f"{error.allowed_failures + 1} workers ended under it, the last at {error.last_worker.address} "
                "(too little memory, or a defect in a decoder?); convert the file, or give workers more memory"
            )
        if isinstance(error, CalqueError):
            raise error
        raise CalqueError(f"the cluster cannot do this ({type(error).__name__}: {error}); {_RERUN}") from error


class _Work(NamedTuple):
    """What workers prepare for a pool's tasks, known by a token, and the versions that it is to be done with."""

    prepare: Callable[..., Callable[[Any], Any]]
    arguments: tuple[Any, ...]
    token: str
    versions: dict[str, str]


class _Prepared(threading.local):
    """What a worker's thread has prepared."""

    token = ""
    function: Callable[[Any], Any] | None = None


_prepared = _Prepared()


def _do(work: _Work, file: Path | None, task: Any) -> Any:
    """Do a task; runs on a worker."""
    from distributed import get_worker

    here = get_worker().address
    if _prepared.token != work.token:
        _prepared.token, _prepared.function = "", None  # what was open is closed first
        _compare(here, _versions(), work.versions)
        keep_freed_memory()
        try:
            _prepared.function = work.prepare(*work.arguments)
        except CalqueError as error:
            raise CalqueError(f"worker {here}: {error}") from None
        _prepared.token = work.token
    if file is not None and not file.exists():
        return Failed(
            f"{file}: worker {here} sees no such file; it must lie in a folder that all workers share, by the same path"
        )
    assert _prepared.function is not None
    return attempt(_prepared.function, task)


def _versions() -> dict[str, str]:
    return {name: _version(name) for name in _ALIKE}


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:  # run from where it lies
        return "of no known version"


def _compare(worker: str, theirs: dict[str, str], ours: dict[str, str]) -> None:
    """Raise `SettingsMismatch` unless a worker has our versions."""
    for name, version in ours.items():
        if theirs[name] != version:
            raise SettingsMismatch(
                f"worker {worker} has {name} {theirs[name]}, but {version} is used here; "
                "start the workers in the same environment"
            )
