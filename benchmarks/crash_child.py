"""The children of the campaign of crashes: forked from a warm parent, told what to do, and harmed while they do it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
import select
import signal
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest.mock import patch

from benchmarks.crash_world import EMBEDDER, World, Wrong, layouts_of, links_of
from index._hdf5 import _Sink
from index.annotations import Judgement
from index.embedding import embed
from index.store import Index
from index.tracing import Journal, photos_of, trace
from matcher.errors import CalqueError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["HANGS", "Harm", "Line", "Operation", "run"]

HANGS = 120.0
"""Seconds after which a child is taken to hang."""


class Operation(NamedTuple):
    """Something to be done to an index: `names` of files that it concerns, `argument` of what else it takes."""

    kind: str
    names: tuple[str, ...] = ()
    argument: str = ""


class Harm(NamedTuple):
    """What is done to a child: killed at a fault `point` (its n-th arrival) or after some `seconds`, its files limited
    to some `bytes`, or its n-th `call` of the system let fail."""

    point: str = ""
    seconds: float = HANGS
    bytes: int | None = None
    call: int | None = None


class Line(NamedTuple):
    """What a child has told: of which operation of its script, what, how many images, and when."""

    operation: int
    what: str
    many: int
    text: str
    time: float


def run(world: World, script: Sequence[Operation], harm: Harm, usual: dict[str, float]) -> list[Line]:
    """Let a child do `script`; return what it has told before it ended, or was killed."""
    theirs, ours = os.pipe()
    begun = time.monotonic()
    child = os.fork()
    if child == 0:
        os.close(theirs)
        _work(world, script, harm, ours)
    os.close(ours)
    told, ended = bytearray(), False
    while not ended:
        left = begun + harm.seconds - time.monotonic()
        ready, _, _ = select.select([theirs], [], [], max(0, left))
        if not ready:
            os.kill(child, signal.SIGKILL)
            break
        block = os.read(theirs, 1 << 16)
        told += block
        ended = not block
    while block := os.read(theirs, 1 << 16):
        told += block
    os.close(theirs)
    _, status = os.waitpid(child, 0)
    log = [Line(*json.loads(line)) for line in told.splitlines()]
    if not ended and harm.seconds == HANGS:
        raise Wrong(f"a child hangs in {script[log[-1].operation].kind}")
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) != signal.SIGKILL:
        raise Wrong(f"a child was ended by {signal.Signals(os.WTERMSIG(status)).name}")
    for first, last in pairwise(log):
        if last.what == "done" and first.operation == last.operation:
            start = next(line.time for line in log if line.operation == last.operation)
            usual[script[last.operation].kind] += 0.2 * (last.time - start - usual[script[last.operation].kind])
    return log


def _work(world: World, script: Sequence[Operation], harm: Harm, pipe: int) -> None:
    """Do `script`, in a child, and tell how it goes; never returns."""
    at = 0

    def tell(what: str, many: int = 0, text: str = "") -> None:
        os.write(pipe, json.dumps([at, what, many, text[:2000], time.monotonic()]).encode() + b"\n")

    status = 0
    try:
        os.environ["CALQUE_FAULT"] = harm.point
        if harm.bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (harm.bytes, harm.bytes))
        with _failing(harm.call) if harm.call is not None else contextlib.nullcontext():
            for at in range(len(script)):
                tell("begun")
                _do(world, script[at], tell)
                tell("done")
    except (CalqueError, OSError) as error:
        tell("refused", text=str(error))
    except BaseException as error:
        tell("broken", text=f"{type(error).__name__}: {error}")
        status = 1
    finally:
        os._exit(status)


@contextlib.contextmanager
def _failing(at: int) -> Iterator[None]:
    """Let one call that writes, syncs or renames fail: the `at`-th of them."""
    calls = 0

    def failing(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == at:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return function(*given, **named)

        return call

    def sinking(write: Callable[..., Any]) -> Callable[..., Any]:
        failing_write = failing(write)

        def call(sink: _Sink, data: Any) -> Any:
            try:
                return failing_write(sink, data)
            except OSError as error:
                sink._error = error  # as its own `write` does
                return len(data)

        return call

    with (
        patch.object(os, "fsync", failing(os.fsync)),
        patch.object(os, "replace", failing(os.replace)),
        patch.object(_Sink, "write", sinking(_Sink.write)),
    ):
        yield


def _do(world: World, operation: Operation, tell: Callable[..., None]) -> None:
    """Do one operation as a user's program would."""
    kind, names, argument = operation
    if kind == "create":
        Index.create(world.path).close()
        return
    if kind == "groups":
        links_of(world.path)
        return
    if kind == "embed":
        with Index.open(world.path) as opened:
            embed(opened, EMBEDDER, workers=0)
        return
    if kind == "segment":
        for _ in layouts_of(world.scans, world.folder / argument):
            pass
        return
    if kind == "trace":
        with (
            Index.open(world.path) as opened,
            Journal(world.folder / argument, opened, max_false_alarms=1e-3) as journal,
        ):
            photos, _ = photos_of(world.scans)
            for _ in trace(opened, photos, journal, max_false_alarms=1e-3, threads=1):
                pass
        return
    with Index.open(world.path, writable=True) as opened:
        if kind == "add":
            opened.add([world.scans / argument], workers=0, progress=lambda *counts: tell("progress", counts[2]))
        elif kind == "remove":
            opened.remove([world.scans / name for name in names])
        elif kind == "compact":
            opened.compact()
        elif kind == "note":
            ids = [record.id for name in names if (record := opened.find(world.scans / name)) is not None]
            opened.set_metadata({image_id: {"note": argument} for image_id in ids})
        elif kind == "judge":
            opened.add_judgements([Judgement("a", 0, None, "b", 0, None, "unsure")])
