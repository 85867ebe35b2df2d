"""The index on disk: one writer, many readers, nothing acknowledged is ever lost.

A segment is written to a temporary file, synced and renamed; then one transaction of the catalogue makes its images
visible. Removing leaves tombstones in the catalogue; merging writes the living images of several segments to a new
one, and again one transaction puts it in their place. Whatever a killed writer leaves behind is thus unknown to the
catalogue, and the next writer sweeps it away. A reader maps the segments of one state of the catalogue; their files
may be deleted under it without harm.
"""

from __future__ import annotations

import os
from contextlib import closing, contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from index._hdf5 import REMEDY, DamagedSegment
from index.catalogue import Catalogue, Failure, ImageRecord
from index.durable import TEMPORARY_SUFFIX, fsync_folder, naming_full_disk
from index.faults import reach
from index.folder import SegmentFolder
from index.intake import (
    VOCABULARY_FILE,
    Batch,
    EncoderFactory,
    default_encoder,
    encode_all,
    fetched,
    plan,
    stored_vocabulary,
)
from index.locks import WriterLock
from index.reports import AddReport, Problem, RemoveReport
from index.segment import Segment, StoredFeatures, write_segment
from index.settings import Settings
from index.snapshot import faults, holdings, map_segments
from index.vocabulary import Vocabulary, bundled_vocabulary
from index.where import parse, select
from index.workers import default_workers
from matcher.errors import CalqueError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

    from index.annotations import Annotations, Judgement, Zone
    from index.fetching import Fetcher
    from index.zones import PageZones, ZoneFinder

__all__ = ["AddReport", "Index", "Problem", "RemoveReport"]

_CATALOGUE = "catalogue.sqlite"
_SEGMENTS = "segments"
_LOCK = "lock"
_OWN = {_SEGMENTS, _LOCK, VOCABULARY_FILE, "vectors"}
_OWN |= {f"{name}{end}" for name in (_CATALOGUE, "links.sqlite") for end in ("", "-wal", "-shm")}


class Index:
    """An index of images in a folder. Make one with `create` or `open`; close it, or use it in a ``with`` block."""

    def __init__(self, path: Path, catalogue: Catalogue, lock: WriterLock | None, damaged: bool) -> None:
        self.path = path
        self.settings: Settings = catalogue.settings
        self._catalogue = catalogue
        self._files = SegmentFolder(path / _SEGMENTS, catalogue)
        self._lock = lock
        self._damaged_allowed = damaged
        self._segments: list[Segment] | None = None
        self._damaged: dict[str, str] = {}

    @classmethod
    def create(
        cls,
        path: Path | str,
        settings: Settings | Mapping[str, Any] | None = None,
        vocabulary: Path | None = None,
    ) -> Index:
        """Make an empty index in the folder `path` and open it for writing.

        Parameters
        ----------
        path : Path or str
            The folder.
        settings : Settings or mapping, optional
            All settings, or those that differ from the defaults.
        vocabulary : Path, optional
            A vocabulary file, which is copied into the index, by default the vocabulary that comes with calque.

        Raises
        ------
        InputError
            If there is an index already, or a folder that holds other things.
        SettingsMismatch
            For a setting that there is not.
        """
        path = Path(path)
        own = None if vocabulary is None else Vocabulary.load(vocabulary)
        if not isinstance(settings, Settings):
            words = own or bundled_vocabulary()
            fixed = {"vocabulary": words.name, "vocabulary_hash": words.hash, "extractor": words.features}
            settings = Settings.from_dict({**(settings or {}), **fixed})
        with _explaining(path):
            path.mkdir(parents=True, exist_ok=True)
            for file in path.iterdir():
                if file.name not in _OWN and not file.name.startswith(f".{_CATALOGUE}"):
                    raise InputError(f"{path} is a folder with other things in it ({file.name}); choose another name")
            lock = WriterLock(path / _LOCK)
            try:
                if (path / _CATALOGUE).exists():
                    raise InputError(f"{path} is an index already; open it, or choose another name")
                (path / _SEGMENTS).mkdir(exist_ok=True)
                (path / VOCABULARY_FILE).unlink(missing_ok=True)  # a creation that was killed left it
                if own is not None:
                    own.save(path / VOCABULARY_FILE)
                Catalogue.create(path / _CATALOGUE, settings)
                fsync_folder(path.absolute().parent)
            finally:
                lock.release()
        return cls.open(path, writable=True)

    @classmethod
    def open(
        cls, path: Path | str, writable: bool = False, *, settings: Settings | None = None, damaged: bool = False
    ) -> Index:
        """Open the index in the folder `path`.

        Parameters
        ----------
        path : Path or str
            The folder.
        writable : bool
            Whether to become its one writer. Otherwise the index is seen as it is now until `refresh`.
        settings : Settings, optional
            If given, what the index must have been made with.
        damaged : bool
            Whether to leave out damaged segments, for `check` and `repair`, rather than refuse.

        Raises
        ------
        InputError
            If there is no index.
        IndexBusy
            If another writer is at work.
        SettingsMismatch
            If it was made by a newer calque, or with other settings.
        CorruptIndex
            If a file is damaged or missing.
        """
        path = Path(path)
        if not (path / _CATALOGUE).is_file():
            raise InputError(f"{path} is no index; make one with: calque add {path} SOURCE")
        with _explaining(path):
            lock = WriterLock(path / _LOCK) if writable else None
            try:
                index = cls(path, Catalogue(path / _CATALOGUE, writable), lock, damaged)
            except BaseException:
                if lock is not None:
                    lock.release()
                raise
        try:
            if settings is not None:
                index.settings.require(settings, path)
            if writable:
                index._files.sweep()
                for file in path.glob(f".{_CATALOGUE}{TEMPORARY_SUFFIX}*"):
                    file.unlink()  # a creation that was killed left it
            else:
                index._segments = index._mapped()
        except BaseException:
            index.close()
            raise
        return index

    def close(self) -> None:
        """Let go of the catalogue and of the writer's lock."""
        self._catalogue.close()
        self._segments = []
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Index:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Reading

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The vocabulary that the index was made with; `SettingsMismatch` if this calque does not have it."""
        return stored_vocabulary(self.path, self.settings)

    @property
    def calibrated(self) -> bool:
        """Whether the law of chance was measured with its vocabulary: that which comes with calque."""
        return not (self.path / VOCABULARY_FILE).is_file()

    @property
    def segments(self) -> Sequence[Segment]:
        """The segments, mapped; ``alive`` tells which of their images are in."""
        if self._segments is None:
            self._segments = self._mapped()
        return self._segments

    def refresh(self) -> None:
        """Let a reader see the index as it is now."""
        if self._lock is None:
            self._catalogue.refresh()
        self._segments = self._mapped()

    def image(self, image_id: int) -> ImageRecord:
        """Return the image with a catalogue id; `KeyError` if there is none."""
        record = self._catalogue.image(image_id)
        if record is None:
            raise KeyError(image_id)
        return record

    def neighbours(self, image_id: int, many: int) -> list[ImageRecord]:
        """Return the scans next to an image: of its folder or document, the nearest by id, at most `many`."""
        return self._catalogue.neighbours(self.image(image_id), many)

    def images(self) -> Iterator[ImageRecord]:
        """Yield all images, ascending by id."""
        return self._catalogue.images()

    def failures(self) -> list[Failure]:
        """Return the sources that could not be added when they were last tried."""
        return self._catalogue.failures()

    def metadata(self, image_id: int) -> dict[str, str]:
        """Return what is known of an image, by key."""
        return self._catalogue.annotations.metadata(image_id)

    def all_metadata(self) -> dict[int, dict[str, str]]:
        """Return what is known of all images, by id; those of which nothing is known are left out."""
        return dict(self._catalogue.annotations.all_metadata())

    def select(self, where: str) -> frozenset[int]:
        """Return the ids of the images for which a condition holds, such as ``date < 1920 and title ~ 'vogue'``.

        Raises
        ------
        InputError
            If it is no condition as `index.where` describes them, or names a key that no image has.
        """
        return frozenset(record.id for record in select(parse(where), self.images(), self.all_metadata()))

    def regions(self, image_id: int) -> list[Zone]:
        """Return the zones known of an image: what is a picture on it, what is text."""
        return self._catalogue.annotations.regions(image_id)

    def judgements(self) -> list[Judgement]:
        """Return what persons have said of pairs of pictures, the oldest first."""
        return self._catalogue.annotations.judgements()

    def gather(self, image_id: int) -> StoredFeatures:
        """Return the features of an image, sorted by word; `KeyError` if there is no such image."""
        name = self.image(image_id).segment
        for segment in self.segments:
            if segment.name == name:
                return segment.gather(segment.local(image_id))
        nothing = np.empty(0, np.uint8)
        return StoredFeatures(
            nothing.astype(np.uint16), nothing.astype(np.uint64), np.empty((0, 2), np.uint16), nothing, nothing
        )

    def info(self) -> dict[str, Any]:
        """Return what the index holds, in plain types."""
        return {"path": str(self.path), **holdings(self._catalogue, self._files), "settings": self.settings.to_dict()}

    def check(self, deep: bool = False) -> list[Problem]:
        """Return what is wrong with the index, nothing if all is well.

        Parameters
        ----------
        deep : bool
            Whether to read every byte and compare its checksum.
        """
        catalogue = self.path / _CATALOGUE
        return [
            *(
                Problem("error", f"{catalogue}: {text}", "restore it from a copy")
                for text in self._catalogue.problems(deep)
            ),
            *(Problem("error", f"{self._files.file(name)}: {text}", REMEDY) for name, text in self._faulty(deep)),
        ]

    def _faulty(self, deep: bool) -> Iterator[tuple[str, str]]:
        """Yield the names of segments and what is wrong with them."""
        return faults(self._catalogue, self.segments, self._damaged, deep)

    # Writing

    def add(
        self,
        sources: Sequence[str | os.PathLike[str]],
        *,
        workers: int | None = None,
        progress: Callable[[int, int, int, int], None] | None = None,
        encoder_factory: EncoderFactory | None = None,
        zones: ZoneFinder | None = None,
        fetcher: Fetcher | None = None,
    ) -> AddReport:
        """Bring the index up to date with `sources`: add what is new, replace what has changed.

        Parameters
        ----------
        sources : sequence of paths
            As for `index.sources.expand_all`.
        workers : int, optional
            Processes that encode, by default one per core; 0 encodes in this process.
        progress : callable, optional
            Called as ``progress(done, total, added, failed)``; `added` counts images that are safe on disk.
        encoder_factory : callable, optional
            Makes the encoder, in each process, by default that of `index.encoding`.
        zones : ZoneFinder, optional
            What is known of parts of the pages; `add_zones` notes it of pages that are in already.
        fetcher : Fetcher, optional
            Fetches what manifests name, by default politely and from public servers only.

        Raises
        ------
        CalqueError
            If the disk is full. Whatever the error: what has been reported as added is in.
        """
        from index.fetching import Fetcher  # who only searches need not load what fetches and reads XML
        from index.iiif import Library
        from index.zones import ZoneFinder

        self._require_writer()
        report = AddReport()
        fetcher, zones = fetcher or Fetcher(), zones or ZoneFinder(())
        library = Library(fetcher, self.settings.work_size)
        jobs, notes, report.unchanged, unusable = plan(sources, self._catalogue, report.skipped, library, zones)
        batch = Batch(notes=notes, failures=[(failure.name, 0, failure.reason) for failure in unusable])
        workers = default_workers() if workers is None else workers
        factory = encoder_factory or partial(default_encoder, self.path)
        features = 0
        before = {record.name for record in self._catalogue.segments()}

        def tell(done: int) -> None:
            if progress is not None:
                failed = len(report.failed) + len(batch.failures)
                progress(done, len(jobs), report.added + report.replaced, failed)

        ready = fetched(jobs, self._catalogue, zones)
        with closing(fetcher), closing(encode_all(ready, self.settings, factory, workers)) as outcomes:
            try:
                for done, (job, outcome) in enumerate(outcomes, start=1):
                    batch.take(job, outcome)
                    if batch.is_due():
                        features += self._commit(batch, report)
                        batch = Batch()
                    tell(done)
            except KeyboardInterrupt:
                self._commit(batch, report)
                raise
        features += self._commit(batch, report)
        batch = Batch()
        tell(len(jobs))
        self._segments = None
        self._files.tidy(features, before)
        return report

    def remove(self, targets: Iterable[int | str | Path]) -> RemoveReport:
        """Take images out: by catalogue id, by name, by path of their file, or by a folder that holds them.

        The report is made when the removal is safe on disk; the space is given back by `compact`.
        """
        self._require_writer()
        removed: dict[int, ImageRecord] = {}
        missing: list[str] = []
        for target in targets:
            if isinstance(target, int):
                record = self._catalogue.image(target)
                found = [] if record is None else [record]
            else:
                found = self._catalogue.matching(os.fspath(target), str(Path(target).resolve()))
            removed |= {record.id: record for record in found}
            if not found:
                missing.append(str(target))
        if removed:
            with self._catalogue.transaction("remove"):
                for record in removed.values():
                    self._catalogue.remove_image(record)
            self._segments = None
            reach("remove.committed")
        return RemoveReport(tuple(removed.values()), tuple(missing))

    def set_metadata(self, values: Mapping[int, Mapping[str, str]]) -> None:
        """Note metadata of images, by their ids, beside what is known of them; an empty value is forgotten."""
        with self._annotating() as annotations:
            for image_id, known in values.items():
                annotations.set_metadata(image_id, known)

    def set_regions(self, origin: str, zones: Mapping[int, Iterable[Zone]]) -> None:
        """Let `zones` be all that `origin` says of images, by their ids."""
        with self._annotating() as annotations:
            for image_id, found in zones.items():
                annotations.set_regions(image_id, origin, found)

    def add_zones(self, zones: ZoneFinder) -> list[PageZones]:
        """Note zones of images that are in; return those that are of none of them."""
        found: set[int] = set()
        with self._annotating() as annotations:
            for image in list(self.images()) if zones.pages else ():
                known = zones.find(image.path, image.name)
                found.update(map(id, known))
                annotations.note(image.id, {}, [zone for told in known for zone in told.on(image.width, image.height)])
        return [told for told in zones.pages if id(told) not in found]

    def add_judgements(self, judgements: Iterable[Judgement]) -> list[int]:
        """Enter judgements and return their ids."""
        with self._annotating() as annotations:
            return [annotations.add_judgement(judgement) for judgement in judgements]

    def remove_judgements(self, ids: Iterable[int]) -> None:
        """Forget judgements."""
        with self._annotating() as annotations:
            for judgement_id in ids:
                annotations.remove_judgement(judgement_id)

    @contextmanager
    def _annotating(self) -> Iterator[Annotations]:
        self._require_writer()
        with self._catalogue.transaction("annotate"):
            yield self._catalogue.annotations

    def compact(self) -> None:
        """Merge everything into the fewest segments, without what has been removed, and give the space back."""
        self._require_writer()
        self._segments = None
        self._files.compact()
        reach("compact.before_vacuum")
        self._catalogue.vacuum()

    def repair(self) -> list[ImageRecord]:
        """Forget the images whose segments are damaged, and return them: they can then be added again."""
        self._require_writer()
        lost: list[ImageRecord] = []
        for name in dict.fromkeys(name for name, _ in self._faulty(deep=True)):
            with self._catalogue.transaction("repair"):
                lost += self._catalogue.forget_images_of(name)
        self._segments = None
        self._files.sweep()
        return lost

    def _commit(self, batch: Batch, report: AddReport) -> int:
        """Make a batch durable and then visible, and only then report it; return its number of features."""
        if not batch:
            return 0
        first = self._catalogue.next_id
        stored = [(number, image) for number, (_, _, image) in enumerate(batch.images, first) if len(image.words)]
        with self._files.sweeping_on_error():
            segment = self._files.write(lambda path: write_segment(path, stored, self.settings)) if stored else None
            reach("add.before_commit")
            with self._catalogue.transaction("add"):
                if segment is not None:
                    self._catalogue.add_segment(segment)
                batch.enter(self._catalogue, first, segment.name if segment is not None else None)
        self._segments = None
        reach("add.committed")
        replaced = sum(job.old is not None for job, _, _ in batch.images)
        report.replaced += replaced
        report.added += len(batch.images) - replaced
        report.unchanged += len(batch.touched)
        report.failed += [(name, reason) for name, _, reason in batch.failures]
        return batch.n_features

    def _mapped(self) -> list[Segment]:
        """Map the segments of one state of the catalogue."""
        segments, damaged = map_segments(self._catalogue, self._files.file)
        if damaged and not self._damaged_allowed:
            name, text = next(iter(damaged.items()))
            raise DamagedSegment(self._files.file(name), text)
        self._damaged = damaged
        return segments

    def _require_writer(self) -> None:
        if self._lock is None:
            raise CalqueError(f"{self.path} is open for reading; open it with writable=True to change it")


@contextmanager
def _explaining(path: Path) -> Iterator[None]:
    """Turn the errors of a folder that cannot be used into one that names it."""
    try:
        with naming_full_disk(path):
            yield
    except OSError as error:
        raise CalqueError(
            f"{path} cannot be used as an index ({error.strerror}); check the path and permissions"
        ) from error
