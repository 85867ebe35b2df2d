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
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from index.adding import Addition
from index.catalogue import Catalogue, ImageRecord
from index.checksums import SUFFIX as SUMS
from index.contents import CATALOGUE, RESTORE, SEGMENTS, Contents
from index.detections import ALL_LABELS
from index.durable import TEMPORARY_SUFFIX, fsync_folder, naming_full_disk
from index.faults import reach
from index.intake import (
    SECONDS,
    VOCABULARY_FILE,
    EncoderFactory,
    default_encoder,
    encode_all,
    fetched,
    plan,
)
from index.locks import WriterLock
from index.regions import signature_of
from index.reports import AddReport, Problem, RemoveReport
from index.settings import Settings
from index.vector_writing import VectorWriter
from index.vectors import VECTORS, Living, database_of
from index.vocabulary import Vocabulary, bundled_vocabulary
from index.workers import default_workers
from matcher.errors import CalqueError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

    from index.annotations import Annotations, Judgement, Zone
    from index.cluster import Cluster
    from index.fetching import Fetcher
    from index.zones import PageZones, ZoneFinder
    from matcher.detection import Detection

__all__ = ["AddReport", "Index", "Problem", "RemoveReport"]

_LOCK = "lock"
_OWN = {SEGMENTS, _LOCK, VOCABULARY_FILE, VECTORS}
_OWN |= {f"{name}{end}" for name in (CATALOGUE, "links.sqlite", "words.sqlite") for end in ("", "-wal", "-shm", SUMS)}


class Index(Contents):
    """An index of images in a folder. Make one with `create` or `open`; close it, or use it in a ``with`` block."""

    def __init__(self, path: Path, catalogue: Catalogue, lock: WriterLock | None, damaged: bool) -> None:
        super().__init__(path, catalogue, damaged)
        self._lock = lock

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
            All settings, or those that differ from the defaults; in a mapping, ``layout`` may be a segmenter's name.
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
            settings = replace(settings, layout=signature_of(settings.layout))
        with _explaining(path):
            path.mkdir(parents=True, exist_ok=True)
            for file in path.iterdir():
                if file.name not in _OWN and not file.name.startswith(f".{CATALOGUE}"):
                    raise InputError(f"{path} is a folder with other things in it ({file.name}); choose another name")
            lock = WriterLock(path / _LOCK)
            try:
                if (path / CATALOGUE).exists():
                    raise InputError(f"{path} is an index already; open it, or choose another name")
                (path / SEGMENTS).mkdir(exist_ok=True)
                (path / VOCABULARY_FILE).unlink(missing_ok=True)  # a creation that was killed left it
                if own is not None:
                    own.save(path / VOCABULARY_FILE)
                Catalogue.create(path / CATALOGUE, settings)
                fsync_folder(path.absolute().parent)
            finally:
                lock.release()
        return cls.open(path, writable=True)

    @classmethod
    def open(
        cls,
        path: Path | str,
        writable: bool = False,
        *,
        settings: Settings | None = None,
        damaged: bool = False,
        state: tuple[int, int] | None = None,
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
        state : (int, int), optional
            If given, the `state` that the index must have, and which nobody changes while it is open: so it can be read
            on other machines, too, by way of a network's folder.

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
        if not (path / CATALOGUE).is_file():
            raise InputError(f"{path} is no index; make one with: calque add {path} SOURCE")
        with _explaining(path):
            lock = WriterLock(path / _LOCK) if writable else None
            try:
                index = cls(path, Catalogue(path / CATALOGUE, writable, state is not None), lock, damaged)
            except BaseException:
                if lock is not None:
                    lock.release()
                raise
        try:
            if settings is not None:
                index.settings.require(settings, path)
            if state not in (None, index.state):
                raise CalqueError(f"{path} has been changed meanwhile; run the same command again")
            if writable:
                if not damaged:
                    index._catalogue.require_whole(RESTORE)
                index._files.sweep()
                for file in path.glob(f".*{TEMPORARY_SUFFIX}*"):
                    file.unlink()  # a writer that was killed left it
            else:
                index._segments = index._mapped()
        except BaseException:
            index.close()
            raise
        return index

    def close(self) -> None:
        """Let go of the catalogue and of the writer's lock."""
        if self._lock is None:
            self._catalogue.close()
        else:
            own = self.path / VOCABULARY_FILE
            self._catalogue.seal([*self._files.listed(), *([own] if own.is_file() else [])])
        self._segments = []
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Index:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

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
        cluster: Cluster | None = None,
        seconds: float | None = SECONDS,
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
        cluster : Cluster, optional
            Whose workers encode, rather than processes of this machine; they must see `sources` by the same paths.
        seconds : float, optional
            What a process of this machine may take for one page, which fails if it takes more; None for any time.

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
        workers = default_workers() if workers is None else workers
        factory = encoder_factory or partial(default_encoder, self.path.absolute())
        planned = plan(sources, self._catalogue, report.skipped, library, zones)
        ready = fetched(planned.jobs, self._catalogue, zones)
        try:
            with (
                closing(fetcher),
                closing(encode_all(ready, self.settings, factory, workers, cluster, seconds)) as outcomes,
            ):
                Addition(self._catalogue, self._files, planned, report).write(outcomes, progress)
        finally:
            self._segments = None
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

    def set_detections(
        self,
        origin: str,
        found: Mapping[int, Iterable[Detection]],
        labels: Sequence[str] = (ALL_LABELS,),
        min_score: float = 0.0,
    ) -> None:
        """Let `found` be all that `origin` says of `labels` on images, by their ids (`index.detections`)."""
        self._require_writer()
        with self._catalogue.transaction("detections"):
            for image_id, detections in found.items():
                self._catalogue.detections.enter(image_id, origin, detections, labels, min_score)

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
        if database_of(self.path).is_file():
            with VectorWriter(self.path) as writer:
                writer.compact(Living(self))

    def renew(self, version: int) -> None:
        """Write segments of formats before `version` anew, each by itself."""
        self._require_writer()
        self._segments = None
        self._files.renew(version)

    def rebuild(
        self,
        *,
        workers: int | None = None,
        progress: Callable[[int, int, int, int], None] | None = None,
        encoder_factory: EncoderFactory | None = None,
    ) -> AddReport:
        """Encode the images whose segments are damaged again, from their files, where these are still there.

        What is known of them is kept. `repair` then forgets the others. For the parameters see `add`.
        """
        from index.repairing import rebuild

        self._require_writer()
        damaged = dict.fromkeys(name for name, _ in self._faulty(deep=True))
        try:
            return rebuild(self.path, self._catalogue, self._files, damaged, workers, progress, encoder_factory)
        finally:
            self._segments = None

    def repair(self) -> list[ImageRecord]:
        """Forget the images whose segments are damaged, and return them: they can then be added again.

        Of vectors, what is damaged is forgotten, too: it can be embedded again. What SQLite finds whole of a catalogue
        whose checksum differs is kept.
        """
        self._require_writer()
        lost: list[ImageRecord] = []
        self._catalogue.reindex()
        for name in dict.fromkeys(name for name, _ in self._faulty(deep=True)):
            with self._catalogue.transaction("repair"):
                lost += self._catalogue.forget_images_of(name)
        self._segments = None
        self._files.sweep()
        if database_of(self.path).is_file():
            with VectorWriter(self.path) as writer:
                writer.repair()
        return lost

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
