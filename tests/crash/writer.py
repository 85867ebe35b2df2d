"""A writer for the crash tests to kill: ``python -m tests.crash.writer COMMAND INDEX [ARGUMENT...]``.

It prints what it acknowledges, a line at a time. CALQUE_FAULT says where it is killed, CALQUE_FILE_LIMIT how large
its files may grow: a disk that is full as far as it can tell.
"""

from __future__ import annotations

import os
import resource
import sys
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
    with Index.open(path, writable=True) if exists else Index.create(path, SETTINGS) as opened:
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
        acknowledge("done")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except CalqueError as error:
        sys.exit(str(error))
