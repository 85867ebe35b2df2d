"""The writing half of an addition: what has been encoded is gathered into batches, each safe before it is reported."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from index.annotations import LAYOUT
from index.catalogue import ImageRecord
from index.compaction import Compaction
from index.faults import reach
from index.segment_writing import write_segment
from index.workers import Failed
from matcher.errors import CalqueError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from index.catalogue import Catalogue
    from index.encoding import EncodedImage
    from index.folder import SegmentFolder
    from index.intake import Encoded, Job, Plan
    from index.items import SourceItem
    from index.reports import AddReport

__all__ = ["Addition"]

_BATCH_IMAGES = 512
_BATCH_FEATURES = 1 << 20
_BATCH_SECONDS = 60.0
"""Work that a power cut may cost."""


class Addition:
    """One `Index.add`, as the index's one writer sees it.

    Attributes
    ----------
    report : AddReport
        What has been done so far; images in it are safe on disk.
    """

    def __init__(self, catalogue: Catalogue, files: SegmentFolder, plan: Plan, report: AddReport) -> None:
        self.report = report
        self._catalogue = catalogue
        self._files = files
        self._total = len(plan.jobs)
        failures = [(failure.name, 0, failure.reason) for failure in plan.failures]
        self._batch = _Batch(notes=plan.notes, failures=failures)
        report.unchanged = plan.unchanged

    def write(
        self,
        outcomes: Iterable[tuple[Job, Encoded | Failed]],
        progress: Callable[[int, int, int, int], None] | None,
    ) -> None:
        """Write the outcome of every job, merging segments meanwhile; see `Index.add` for `progress`.

        After Ctrl-C, or when a cluster is lost, too, all outcomes taken so far are in.
        """

        def tell(done: int) -> None:
            if progress is not None:
                failed = len(self.report.failed) + len(self._batch.failures)
                progress(done, self._total, self.report.added + self.report.replaced, failed)

        with Compaction(self._files) as compaction:
            try:
                for done, (job, outcome) in enumerate(outcomes, start=1):
                    self._batch.take(job, outcome)
                    if self._batch.is_due():
                        self._commit()
                        compaction.go_on()
                    tell(done)
            except (KeyboardInterrupt, CalqueError):
                self._commit()
                raise
            self._commit()
            tell(self._total)
            compaction.finish()

    def _commit(self) -> None:
        """Make the batch durable and then visible, and only then report it."""
        batch = self._batch
        if not batch:
            return
        first = self._catalogue.next_id
        stored = [(number, image) for number, (_, _, image) in enumerate(batch.images, first) if len(image.words)]
        with self._files.sweeping_on_error():
            write = partial(write_segment, items=stored, settings=self._catalogue.settings)
            segment = self._files.write(write) if stored else None
            reach("add.before_commit")
            with self._catalogue.transaction("add"):
                if segment is not None:
                    self._catalogue.add_segment(segment)
                batch.enter(self._catalogue, first, segment.name if segment is not None else None)
        reach("add.committed")
        self._batch = _Batch()
        replaced = sum(job.old is not None for job, _, _ in batch.images)
        self.report.replaced += replaced
        self.report.added += len(batch.images) - replaced
        self.report.unchanged += len(batch.touched)
        self.report.unsegmented += batch.unsegmented
        self.report.failed += [(name, reason) for name, _, reason in batch.failures]


@dataclass(slots=True)
class _Batch:
    """What the next transaction of an `add` will enter."""

    images: list[tuple[Job, bytes, EncodedImage]] = field(default_factory=list)
    touched: list[tuple[int, int]] = field(default_factory=list)
    notes: list[tuple[int, SourceItem]] = field(default_factory=list)
    failures: list[tuple[str, int, str]] = field(default_factory=list)
    unsegmented: list[tuple[str, str]] = field(default_factory=list)
    n_features: int = 0
    begun: float = field(default_factory=time.monotonic)

    def is_due(self) -> bool:
        """Return whether so much has come together that it should be made safe."""
        return (
            len(self.images) >= _BATCH_IMAGES
            or self.n_features >= _BATCH_FEATURES
            or time.monotonic() - self.begun >= _BATCH_SECONDS
        )

    def take(self, job: Job, outcome: Encoded | Failed) -> None:
        """Take the outcome of a job."""
        from matcher.images import printable

        if isinstance(outcome, Failed):
            reason = outcome.reason.removeprefix(f"{printable(job.item.path)}: ")
            self.failures.append((job.item.name, job.item.page, reason))
        elif outcome.image is not None:
            self.images.append((job, outcome.digest, outcome.image))
            if outcome.image.unsegmented:
                self.unsegmented.append((job.item.name, outcome.image.unsegmented))
            self.n_features += len(outcome.image.words)
        elif job.old is not None:
            self.touched.append((job.old.id, job.item.mtime_ns))
            self.notes.append((job.old.id, job.item))

    def enter(self, catalogue: Catalogue, first: int, segment: str | None) -> None:
        """Enter all in a transaction of `catalogue`: images as `first` and following, their features in `segment`."""
        for image_id, ((item, *_), digest, image) in enumerate(self.images, first):
            catalogue.add_image(_record(image_id, item, digest, image, segment))
            catalogue.annotations.note(image_id, item.metadata, item.zones)
            if image.zones is not None:
                catalogue.annotations.set_regions(image_id, LAYOUT, image.zones)
        for image_id, item in self.notes:
            catalogue.annotations.note(image_id, item.metadata, item.zones)
        for image_id, mtime_ns in self.touched:
            catalogue.touch_image(image_id, mtime_ns)
        for name, page, reason in self.failures:
            catalogue.add_failure(name, page, reason)

    def __bool__(self) -> bool:
        return bool(self.images or self.touched or self.notes or self.failures)


def _record(image_id: int, item: SourceItem, digest: bytes, image: EncodedImage, segment: str | None) -> ImageRecord:
    """Return the catalogue's entry for an image whose features, if it has any, are in `segment`."""
    return ImageRecord(
        id=image_id,
        name=item.name,
        path=str(item.path),
        page=item.page,
        n_bytes=item.size,
        mtime_ns=item.mtime_ns,
        digest=digest,
        width=image.width,
        height=image.height,
        n_features=len(image.words),
        segment=segment if len(image.words) else None,
    )
