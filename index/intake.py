"""What happens to a file on its way into an index, up to the moment when it is written: planned, hashed, encoded."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, Protocol

from index.workers import Failed, WorkerPool, attempt
from matcher.errors import InputError, SettingsMismatch

if TYPE_CHECKING:
    import os
    from collections import Counter
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from pathlib import Path

    from index.annotations import Zone
    from index.catalogue import Catalogue, ImageRecord
    from index.cluster import Cluster, ClusterPool
    from index.encoding import EncodedImage
    from index.iiif import Library
    from index.items import Pending, SourceFailure, SourceItem
    from index.settings import Settings
    from index.vocabulary import Vocabulary
    from index.zones import ZoneFinder

__all__ = [
    "VOCABULARY_FILE",
    "Encoded",
    "EncoderFactory",
    "ImageEncoder",
    "Job",
    "Plan",
    "default_encoder",
    "encode_all",
    "fetched",
    "plan",
    "stored_vocabulary",
]

VOCABULARY_FILE = "vocabulary.h5"
"""Name, in an index's folder, of a vocabulary of its own."""


class ImageEncoder(Protocol):
    """What turns a page into features: `index.encoding.Encoder`, or another in tests."""

    def encode(self, path: Path, page: int, zones: Sequence[Zone] = ()) -> EncodedImage:
        """Return the features of a page of which `zones` are known; `InputError` if it cannot be read."""


class EncoderFactory(Protocol):
    """Something picklable that makes an encoder, called once in each worker process."""

    def __call__(self, settings: Settings) -> ImageEncoder:
        """Return an encoder for `settings`."""


class Job(NamedTuple):
    """A page to encode, what the index holds of it already, and why it cannot be encoded, if it could not be had."""

    item: SourceItem
    old: ImageRecord | None
    problem: str = ""


class Plan(NamedTuple):
    """What brings an index up to date with some sources.

    Attributes
    ----------
    jobs : list of Job or Pending
        Pages to encode; some are still to be fetched.
    notes : list of (int, SourceItem)
        Ids of images that are in as they are, with what a source says of them.
    unchanged : int
        How many pages are in as they are.
    failures : list of SourceFailure
    """

    jobs: list[Job | Pending]
    notes: list[tuple[int, SourceItem]]
    unchanged: int
    failures: list[SourceFailure]


class Encoded(NamedTuple):
    """Hash of a file, and a page's features; None if the file has only been touched since it was added."""

    digest: bytes
    image: EncodedImage | None


def stored_vocabulary(folder: Path, settings: Settings) -> Vocabulary:
    """Return the vocabulary of the index in `folder`: its own, or the one that comes with calque.

    Raises
    ------
    SettingsMismatch
        If that is not the one that the index was made with.
    """
    from index.vocabulary import Vocabulary, bundled_vocabulary

    own = folder / VOCABULARY_FILE
    found = Vocabulary.load(own) if own.is_file() else bundled_vocabulary()
    if found.hash != settings.vocabulary_hash:
        raise SettingsMismatch(
            f"{folder} was made with vocabulary {settings.vocabulary} ({settings.vocabulary_hash[:12]}), but "
            f"{own if own.is_file() else 'the one of this calque'} is {found.name} ({found.hash[:12]}); "
            "use the calque that made it, or make a new index"
        )
    return found


def default_encoder(folder: Path, settings: Settings) -> ImageEncoder:
    """Return the encoder of scans for the index in `folder`."""
    from index.encoding import Encoder  # only worker processes need it

    return Encoder(settings, stored_vocabulary(folder, settings))


def plan(
    sources: Sequence[str | os.PathLike[str]],
    catalogue: Catalogue,
    skipped: Counter[str],
    library: Library,
    zones: ZoneFinder,
) -> Plan:
    """Return what brings `catalogue` up to date with `sources`, of whose pages `zones` may know something.

    A page of the same path, number, size and time of change is taken to be unchanged. `skipped` is filled as by
    `index.sources.expand_all`.
    """
    from index.items import Pending, SourceFailure
    from index.sources import expand_all  # OpenCV takes long to import

    made = Plan([], [], 0, [])
    unchanged = 0
    for item in expand_all(sources, skipped, library):
        if isinstance(item, SourceFailure):
            made.failures.append(item)
            continue
        if isinstance(item, Pending):
            made.jobs.append(item)
            continue
        old = catalogue.find(str(item.path), item.page)
        if old is None or (old.n_bytes, old.mtime_ns) != (item.size, item.mtime_ns):
            made.jobs.append(Job(_zoned(item, zones), old))
            continue
        unchanged += 1
        if item.metadata or item.zones:
            made.notes.append((old.id, item))
    return made._replace(unchanged=unchanged)


def fetched(jobs: Iterable[Job | Pending], catalogue: Catalogue, zones: ZoneFinder) -> Iterator[Job]:
    """Yield the jobs, those that are pending once they have been fetched."""
    from index.items import SourceFailure, SourceItem

    for job in jobs:
        if isinstance(job, Job):
            yield job
            continue
        item = job.fetched()
        if isinstance(item, SourceFailure):
            yield Job(SourceItem(item.name, job.path, 0, 0, 0), None, item.reason)
        else:
            yield Job(_zoned(item, zones), catalogue.find(str(item.path), item.page))


def _zoned(item: SourceItem, zones: ZoneFinder) -> SourceItem:
    """Return `item` with what `zones` knows of it, too."""
    from index.zones import zones_on

    known = zones.find(str(item.path), item.name)
    return replace(item, zones=(*item.zones, *zones_on(known, item.path, item.page))) if known else item


def encode_all(
    jobs: Iterable[Job], settings: Settings, factory: EncoderFactory, workers: int, cluster: Cluster | None = None
) -> Generator[tuple[Job, Encoded | Failed], None, None]:
    """Yield each job with its outcome, in order.

    From the workers of a cluster if there is one, or else from `workers` processes, or from this one if that is 0.
    """
    with ExitStack() as stack:
        pool: WorkerPool[Job, Encoded] | ClusterPool[Job, Encoded]
        if cluster is not None:
            pool = stack.enter_context(cluster.pool(_encoding, (factory, settings), _file_of))
            yield from pool.map(jobs)
        elif workers == 0:
            function = _encoding(factory, settings)
            yield from ((job, attempt(function, job)) for job in jobs)
        else:
            pool = stack.enter_context(WorkerPool(_encoding, (factory, settings), workers))
            yield from pool.map(jobs)


def _file_of(job: Job) -> Path | None:
    return None if job.problem else job.item.path


def _encoding(factory: EncoderFactory, settings: Settings) -> Callable[[Job], Encoded]:
    """Return the function that does one job; runs in a worker process."""
    from index.items import explained

    encoder = factory(settings)
    digest = lru_cache(maxsize=1)(_digest)  # a document's pages come one after the other

    def encode(job: Job) -> Encoded:
        item, old, problem = job
        if problem:
            raise InputError(problem)
        # The hash is taken first: should the file change meanwhile, the next add will find another.
        try:
            found = digest(item.path, item.size, item.mtime_ns)
        except OSError as error:
            raise InputError(explained(error)) from error
        if old is not None and old.digest == found:
            return Encoded(found, None)
        try:
            return Encoded(found, encoder.encode(item.path, item.page, item.zones))
        except InputError:
            if item.fetched:
                item.path.unlink(missing_ok=True)  # a damaged copy would be taken for good the next time
            raise

    return encode


def _digest(path: Path, size: int, mtime_ns: int) -> bytes:
    """Return the hash of a file's contents; its size and time are there to tell its states apart in a cache."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest()
