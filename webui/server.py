"""All that a running server holds."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from index.workers import default_workers
from matcher.types import Match
from webui.browsing import Listings
from webui.decoders import Decoders
from webui.grouping import Groupings
from webui.imaging import Folders, Imaging
from webui.jobs import Jobs
from webui.kept import Kept
from webui.likening import Embedders
from webui.searching import Answers
from webui.shelf import Shelf
from webui.uploads import Uploads
from webui.work import Line
from webui.writing import Writer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from webui.options import Options

__all__ = ["Server"]

_COMPARISONS = 200
"""Kept of pictures that no search has brought together."""


class Server:
    """What requests are answered with.

    Parameters
    ----------
    paths : sequence of Path
        The indexes.
    options : Options
    version : str
        Of calque.

    Attributes
    ----------
    reading, searching, decoding, writing : Line
        Threads that look things up, that search, that wait for decoders, that change indexes.
    """

    def __init__(self, paths: Sequence[Path], options: Options, version: str) -> None:
        self.options = options
        self.version = version
        self.shelf = Shelf(paths)
        self.reading = Line("reading", 4, 256)
        self.searching = Line("searching", default_workers(), 64)
        self.decoding = Line("decoding", options.workers, 512)
        self.writing = Line("writing", 4, 64)
        self.decoders = Decoders(options.workers, options.worker_bytes)
        self.imaging = Imaging(
            self.decoders, self.decoding, Folders(options.cache, options.cache_bytes), options.worker_seconds
        )
        self.uploads = Uploads(options)
        self.listings = Listings()
        self.answers = Answers()
        self.embedders = Embedders()
        self.comparisons = Kept[list[Match]](_COMPARISONS)
        self.groupings = Groupings()
        self.jobs = Jobs()
        self._writers: dict[str, Writer] = {}
        self._lock = threading.Lock()

    def writer(self, index: str) -> Writer:
        """Return who makes the changes of an index."""
        with self._lock:
            if index not in self._writers:
                self._writers[index] = Writer(self.shelf[index].path)
            return self._writers[index]

    def close(self) -> None:
        """Stop what is under way and let go of everything."""
        for line in (self.reading, self.searching, self.decoding, self.writing):
            line.close()
        self.shelf.close()
        self.jobs.close()
        self.decoders.close()
        self.uploads.close()
