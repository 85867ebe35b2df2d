"""Making anew what a damaged index can be made of again: the images of lost segments, from their files."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from index.adding import Addition
from index.annotations import LAYOUT
from index.detections import USER
from index.intake import EncoderFactory, Job, Plan, default_encoder, encode_all
from index.items import SourceItem
from index.reports import AddReport
from index.workers import default_workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from index.annotations import Annotations
    from index.catalogue import Catalogue, ImageRecord
    from index.folder import SegmentFolder

__all__ = ["rebuild"]


def rebuild(
    path: Path,
    catalogue: Catalogue,
    files: SegmentFolder,
    damaged: Iterable[str],
    workers: int | None = None,
    progress: Callable[[int, int, int, int], None] | None = None,
    encoder_factory: EncoderFactory | None = None,
) -> AddReport:
    """Encode the images of damaged segments again, from their files as they are now, wherever these are still there.

    Each takes over its name and what is known of it, as a changed file does.

    Parameters
    ----------
    path : Path
        The index's folder.
    catalogue : Catalogue
    files : SegmentFolder
    damaged : iterable of str
        The names of the segments.
    workers, progress, encoder_factory
        As of `index.store.Index.add`.
    """
    names = set(damaged)
    lost = [record for record in catalogue.images() if record.segment in names]
    jobs = list(_jobs(lost, catalogue.annotations))
    report = AddReport()
    factory = encoder_factory or partial(default_encoder, path.absolute())
    workers = default_workers() if workers is None else workers
    with (
        files.leaving_out(names),
        closing(encode_all(jobs, catalogue.settings, factory, workers)) as outcomes,
    ):
        Addition(catalogue, files, Plan(list(jobs), [], 0, []), report).write(outcomes, progress)
    return report


def _jobs(lost: Iterable[ImageRecord], annotations: Annotations) -> Iterator[Job]:
    for record in lost:
        path = Path(record.path)
        try:
            status = path.stat()
        except OSError:
            continue
        zones = tuple(zone for zone in annotations.regions(record.id) if zone.origin not in (LAYOUT, USER))
        # Nothing old is named: the same file is to be looked at again.
        item = SourceItem(record.name, path, record.page, status.st_size, status.st_mtime_ns, zones=zones)
        yield Job(item, None)
