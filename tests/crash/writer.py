"""A writer for the crash tests to kill: ``python -m tests.crash.writer COMMAND INDEX [ARGUMENT...]``.

It prints what it acknowledges, a line at a time. CALQUE_FAULT says where it is killed, CALQUE_FILE_LIMIT how large
its files may grow: a disk that is full as far as it can tell. ``python -m tests.crash.writer serve`` does what a line
of JSON asks, again and again, each time in a child that it forks: nothing need be imported again.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import traceback
from pathlib import Path

import index.adding
from index.store import Index
from matcher.errors import CalqueError
from tests.crash.fake_encoder import SETTINGS, FakeEncoder

BATCH = 3


def acknowledge(*what: object) -> None:
    print(*what, flush=True)


def main(command: str, path: str, *arguments: str) -> None:
    index.adding._BATCH_IMAGES = BATCH
    if "CALQUE_FILE_LIMIT" in os.environ:
        limit = int(os.environ["CALQUE_FILE_LIMIT"])
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    exists = (Path(path) / "catalogue.sqlite").exists()
    damaged = command == "repair"
    with Index.open(path, writable=True, damaged=damaged) if exists else Index.create(path, SETTINGS) as opened:
        acknowledge("opened")
        if command == "add":
            sources, workers = arguments[:-1], int(arguments[-1])
            opened.add(
                sources,
                workers=workers,
                progress=lambda done, total, added, failed: acknowledge("added", added),
                encoder_factory=FakeEncoder,
            )
        elif command == "remove":
            opened.remove(arguments)
            acknowledge("removed", *arguments)
        elif command == "compact":
            opened.compact()
        elif command == "repair":
            opened.repair()
        acknowledge("done")


def serve() -> None:
    """Do what each line asks, ``[arguments, environment]``; answer ``[status, what it printed, and to stderr]``."""
    for line in sys.stdin:
        arguments, environment = json.loads(line)
        pipes = [os.pipe(), os.pipe()]  # no files, for these may be limited; what is printed is short
        child = os.fork()
        if child == 0:
            os.environ.update(environment)
            for number, (_, ours) in enumerate(pipes, start=1):
                os.dup2(ours, number)
            _end(arguments)
        for _, ours in pipes:
            os.close(ours)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        printed = [Path(f"/dev/fd/{theirs}").read_text(encoding="utf-8") for theirs, _ in pipes]
        for theirs, _ in pipes:
            os.close(theirs)
        print(json.dumps([status, *printed]), flush=True)


def _end(arguments: list[str]) -> None:
    """Do what is asked of a child, which is no more afterwards."""
    status = 1
    with contextlib.suppress(BaseException):
        try:
            main(*arguments)
            status = 0
        except CalqueError as error:
            print(error, file=sys.stderr)
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        serve()
    else:
        try:
            main(*sys.argv[1:])
        except CalqueError as error:
            sys.exit(str(error))
