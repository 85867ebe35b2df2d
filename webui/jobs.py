"""What takes longer than a request: adding to an index, finding links for groups. With progress, and to be stopped."""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec
from httpcore import ConnectError
from starlette.responses import StreamingResponse

from index.fetching import Fetcher, NotPublic, askable
from index.iiif import is_address
from index.links import Links, find_links
from index.store import Index
from matcher.errors import CalqueError
from webui import questions, shapes
from webui.contract import Call, Operation
from webui.problems import Refusal, no_such, plain

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from webui.server import Server
    from webui.writing import Writer

__all__ = ["OPERATIONS", "Jobs", "add_job", "job", "job_events", "jobs", "stop_job"]

_KEPT = 100
_TOLD_FAILURES = 200
_WAITING = 20
_POLL_SECONDS = 0.25
_HEARTBEAT_SECONDS = 15.0


class _Cancelled(KeyboardInterrupt):
    """Stops an addition as Ctrl-C does: what has been encoded is still entered."""


@dataclass(slots=True)
class _Task:
    """A job, what it does, and whether it is asked to stop. Its thread changes `job`, everybody reads it."""

    job: shapes.Job
    work: Callable[[_Task], None]
    stop: threading.Event = field(default_factory=threading.Event)
    changes: int = 0

    def update(self, **values: object) -> None:
        for name, value in values.items():
            setattr(self.job, name, value)
        self.changes += 1

    def check(self) -> None:
        """Leave off here if it is asked to."""
        if self.stop.is_set():
            raise _Cancelled


class Jobs:
    """Jobs, done one after the other in a thread of their own; the last are remembered."""

    def __init__(self) -> None:
        self._tasks: dict[str, _Task] = {}
        self._pool = ThreadPoolExecutor(1, "jobs")

    def begin(self, job: shapes.Job, work: Callable[[_Task], None]) -> shapes.Job:
        """Queue a job; `Refusal` (503) if too many wait."""
        if sum(task.job.ended is None for task in self._tasks.values()) >= _WAITING:
            raise Refusal(503, f"{_WAITING} jobs wait already; try again when some are done", {"Retry-After": "60"})
        task = _Task(job, work)
        self._tasks[job.id] = task
        ended = [known for known, other in self._tasks.items() if other.job.ended is not None]
        for known in ended[: max(0, len(self._tasks) - _KEPT)]:
            del self._tasks[known]
        self._pool.submit(_run, task)
        return job

    def all(self) -> list[shapes.Job]:
        """Return the jobs, the latest first."""
        return [task.job for task in reversed(self._tasks.values())]

    def find(self, job: str) -> _Task:
        """Return a job's task; `Refusal` (404) if there is none."""
        if job not in self._tasks:
            raise no_such("job", job)
        return self._tasks[job]

    def close(self) -> None:
        """Ask all jobs to stop, and wait for the one that runs."""
        for task in self._tasks.values():
            task.stop.set()
        self._pool.shutdown(wait=True, cancel_futures=True)


def _run(task: _Task) -> None:
    state, message = "done", ""
    try:
        task.check()
        task.update(state="running", started=_now())
        task.work(task)
    except _Cancelled:
        state = "cancelled"
    except CalqueError as error:
        state, message = "failed", plain(str(error))
    except Exception as error:
        logging.getLogger("calque").exception("job %s", task.job.id)
        state, message = "failed", f"{type(error).__name__}: {error}"
    finally:
        task.update(state=state, message=message, ended=_now())


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _add(writer: Writer, source: str, fetcher: Fetcher, workers: int, task: _Task) -> None:
    def change(index: Index) -> None:
        def progress(done: int, total: int, added: int, failed: int) -> None:
            task.update(done=done, total=total, added=added, failed=failed)
            writer.make_waiting(index)
            task.check()

        report = index.add([source], workers=workers, progress=progress, fetcher=fetcher)
        told = [shapes.JobFailure(plain(name), plain(reason)) for name, reason in report.failed[:_TOLD_FAILURES]]
        task.update(added=report.added + report.replaced, failed=len(report.failed), failures=told)

    writer.change(change)


def _link(path: Path, task: _Task) -> None:
    def progress(done: int, total: int) -> None:
        task.update(done=done, total=total)
        task.check()

    with Index.open(path) as index, Links(path) as links:
        asked = find_links(index, links, threads=1, progress=progress)
    told = [shapes.JobFailure(plain(name), plain(reason)) for name, reason in asked.failed[:_TOLD_FAILURES]]
    task.update(failed=len(asked.failed), failures=told)


async def add_job(call: Call, body: questions.JobRequest) -> shapes.Job:
    """Begin a job."""
    server = call.server
    holding = server.shelf[body.index]
    job = shapes.Job(secrets.token_urlsafe(12), body.kind, body.index, body.source, created=_now())
    if body.kind == "groups":
        if body.source is not None:
            raise Refusal(422, "groups are found in the whole index: give no source")
        return server.jobs.begin(job, partial(_link, holding.path))
    if body.source is None:
        raise Refusal(422, "source: what is to be added?")
    source = await server.reading.run(_allowed, server, body.source)
    fetcher = Fetcher(allow_private=server.options.allow_private)
    work = partial(_add, server.writer(body.index), source, fetcher, server.options.workers)
    return server.jobs.begin(job, work)


def _allowed(server: Server, source: str) -> str:
    """Return a source that may be added: a folder below those allowed, or the address of a manifest."""
    options = server.options
    if is_address(source):
        if not options.addresses:
            raise Refusal(403, "this server fetches no manifests")
        _require_askable(source, options.allow_private)
        return source
    known = ", ".join(map(str, options.folders)) or "none; start calque serve with --allow FOLDER"
    refused = Refusal(403, f"{source!r} is not below a folder that may be added; there are: {known}")
    try:
        path = Path(source).resolve()
    except (OSError, ValueError):
        raise refused from None
    if "\0" in source or not any(path.is_relative_to(folder) for folder in options.folders):
        raise refused
    if not path.is_dir():
        raise Refusal(422, f"{source!r} is no folder; add the folder that holds it")
    return str(path)


def _require_askable(address: str, allow_private: bool) -> None:
    """Refuse the address of a server that may not be asked; whither it leads in turn, `Fetcher` watches."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme.lower() == "https" else 80)
    except ValueError as error:
        raise Refusal(422, f"{address!r} is no address ({error})") from error
    try:
        askable(host, port, allow_private)
    except NotPublic as error:
        raise Refusal(403, str(error)) from error
    except ConnectError as error:
        raise Refusal(422, str(error)) from error


async def jobs(call: Call) -> shapes.Jobs:
    """List the jobs, the latest first."""
    return shapes.Jobs(call.server.jobs.all())


async def job(call: Call) -> shapes.Job:
    """Return how far a job is."""
    return call.server.jobs.find(call.path["job"]).job


async def stop_job(call: Call) -> shapes.Job:
    """Ask a job to stop."""
    task = call.server.jobs.find(call.path["job"])
    task.stop.set()
    if task.job.state == "waiting":
        task.update(state="cancelled", ended=_now())
    return task.job


async def job_events(call: Call) -> StreamingResponse:
    """Tell how far a job is, whenever that changes, as server-sent events."""
    task = call.server.jobs.find(call.path["job"])
    return StreamingResponse(_events(call, task), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def _events(call: Call, task: _Task) -> AsyncIterator[bytes]:
    seen, silent = -1, 0.0
    while not await call.request.is_disconnected():
        if task.changes != seen:
            seen, silent = task.changes, 0.0
            yield b"data: " + msgspec.json.encode(task.job) + b"\n\n"
        elif silent >= _HEARTBEAT_SECONDS:
            silent = 0.0
            yield b": still there\n\n"
        if task.job.ended is not None and task.changes == seen:
            return
        await asyncio.sleep(_POLL_SECONDS)
        silent += _POLL_SECONDS


OPERATIONS = (
    Operation("GET", "/api/jobs", jobs, "The jobs, the latest first", shapes.Jobs),
    Operation(
        "POST", "/api/jobs", add_job, "Add a folder or a manifest, or find groups", shapes.Job,
        body=questions.JobRequest, status=202, refusals=(404, 422), writes=True,
    ),
    Operation("GET", "/api/jobs/{job}", job, "How far a job is", shapes.Job),
    Operation("GET", "/api/jobs/{job}/events", job_events, "How far a job is, as it goes on", "text/event-stream"),
    Operation("DELETE", "/api/jobs/{job}", stop_job, "Stop a job", shapes.Job, status=202, writes=True),
)  # fmt: skip
"""Routes of this module."""
