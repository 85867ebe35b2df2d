"""What happens to a file on its way into an index, up to the moment when it is written: planned, hashed, encoded."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import lru_cache, partial
from itertools import islice
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeVar

from index.items import digest_of
from index.workers import Failed, attempt, mapped
from matcher.errors import InputError, SettingsMismatch
from matcher.registry import extractor_of, images_at_once

if TYPE_CHECKING:
    import os
    from collections import Counter
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from index.annotations import Zone
    from index.catalogue import Catalogue, ImageRecord
    from index.cluster import Cluster
    from index.encoding import EncodedImage, Page
    from index.iiif import Library
    from index.items import Pending, SourceFailure, SourceItem
    from index.settings import Settings
    from index.vocabulary import Vocabulary
    from index.zones import ZoneFinder

__all__ = [
    "SECONDS",
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

Seen = TypeVar("Seen")

VOCABULARY_FILE = "vocabulary.h5"
"""Name, in an index's folder, of a vocabulary of its own."""

SECONDS = 600.0
"""What a worker process may take for one page by default: some hundred times what large ones take."""

_WINDOW = 4
"""Batches' worth of pages that are read before they are given to a GPU, so that more are of one size."""


class ImageEncoder(Protocol):
    """What turns a page into features: `index.encoding.Encoder`, or another in tests."""

    def encode(self, path: Path, page: int, zones: Sequence[Zone] = ()) -> EncodedImage:
        """Return the features of a page of which `zones` are known; `InputError` if it cannot be read."""

    def encode_all(self, pages: Sequence[Page]) -> list[EncodedImage]:
        """Return the features of pages that have been read; asked only where a GPU extracts them."""


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


class Encoded(NamedTuple, Generic[Seen]):
    """Hash of a file, and what was wanted of its page; None if the file has only been touched since it was added."""

    digest: bytes
    image: Seen | None


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
    jobs: Iterable[Job],
    settings: Settings,
    factory: EncoderFactory,
    workers: int,
    cluster: Cluster | None = None,
    seconds: float | None = SECONDS,
) -> Generator[tuple[Job, Encoded[EncodedImage] | Failed], None, None]:
    """Yield each job with its outcome, in order.

    From the workers of a cluster if there is one, or else from `workers` processes, or from this one if that is 0.
    Where networks extract on a GPU, these only read, and this process alone uses it. A process that takes more than
    `seconds` for a page is ended.
    """
    if cluster is not None:
        with cluster.pool(_encoding, (factory, settings), _file_of) as remote:
            yield from remote.map(jobs)
        return
    together = images_at_once(extractor_of(settings.extractor))
    prepare: Callable[..., Callable[[Job], Encoded]] = _encoding if together == 1 else _reading
    arguments = (factory, settings) if together == 1 else (settings,)
    with closing(mapped(prepare, arguments, jobs, workers, seconds)) as outcomes:
        yield from outcomes if together == 1 else _in_batches(outcomes, factory(settings), together)


def _file_of(job: Job) -> Path | None:
    return None if job.problem else job.item.path


def _encoding(factory: EncoderFactory, settings: Settings) -> Callable[[Job], Encoded[EncodedImage]]:
    """Return the function that does one job; runs in a worker process."""
    return _doing(factory(settings).encode)


def _reading(settings: Settings) -> Callable[[Job], Encoded[Page]]:
    """Return the function that only reads what is to be encoded; runs in a worker process."""
    from index.encoding import read_page

    return _doing(partial(read_page, settings))


def _doing(look: Callable[[Path, int, Sequence[Zone]], Seen]) -> Callable[[Job], Encoded[Seen]]:
    """Return the function that hashes the file of a job and, if it has changed, looks at its page."""
    from index.items import explained

    digest = lru_cache(maxsize=1)(_digest)  # a document's pages come one after the other

    def do(job: Job) -> Encoded[Seen]:
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
            return Encoded(found, look(item.path, item.page, item.zones))
        except InputError:
            if item.fetched:
                item.path.unlink(missing_ok=True)  # a damaged copy would be taken for good the next time
            raise

    return do


def _in_batches(
    outcomes: Iterator[tuple[Job, Encoded[Page] | Failed]], encoder: ImageEncoder, together: int
) -> Iterator[tuple[Job, Encoded[EncodedImage] | Failed]]:
    """Yield outcomes that hold pages with these encoded, by one thread, while others go on reading."""
    with ThreadPoolExecutor(1) as one:
        ahead: deque[Future[list[tuple[Job, Encoded[EncodedImage] | Failed]]]] = deque()
        while batch := list(islice(outcomes, _WINDOW * together)):
            ahead.append(one.submit(_encoded, encoder, batch))
            if len(ahead) > 1:
                yield from ahead.popleft().result()
        for last in ahead:
            yield from last.result()


def _encoded(
    encoder: ImageEncoder, batch: Sequence[tuple[Job, Encoded[Page] | Failed]]
) -> list[tuple[Job, Encoded[EncodedImage] | Failed]]:
    """Return outcomes with their pages encoded; a page that cannot be is a failure of its own."""
    pages = [outcome.image for _, outcome in batch if not isinstance(outcome, Failed) and outcome.image is not None]
    together = attempt(encoder.encode_all, pages)
    images: Iterator[EncodedImage | Failed]
    if isinstance(together, Failed):
        images = (attempt(lambda page: encoder.encode_all([page])[0], page) for page in pages)
    else:
        images = iter(together)

    def done(outcome: Encoded[Page] | Failed) -> Encoded[EncodedImage] | Failed:
        if isinstance(outcome, Failed):
            return outcome
        image = None if outcome.image is None else next(images)
        return image if isinstance(image, Failed) else Encoded(outcome.digest, image)

    return [(job, done(outcome)) for job, outcome in batch]


def _digest(path: Path, size: int, mtime_ns: int) -> bytes:
    """Return the hash of a file's contents; its size and time are there to tell its states apart in a cache."""
    return digest_of(path)
