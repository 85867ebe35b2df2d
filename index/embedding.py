"""The images of an index, and the pictures on their pages, turned into vectors, in worker processes; resumable.

What has a vector already is left alone, so that whoever is interrupted, or killed, or adds images later, goes on.
"""

from __future__ import annotations

import math
import time
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from index.items import CHANGED, explained, has_changed
from index.memory import room_to_decode
from index.vector_files import Rows
from index.vector_writing import VectorWriter
from index.vectors import WHOLE, Living, vectors_in
from index.workers import Failed, attempt, default_workers, mapped
from index.zones import pixel_size
from matcher.embedding import embedded, reduced
from matcher.errors import CalqueError, InputError
from matcher.images import printable, read_image
from matcher.registry import embedder_named

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from index.catalogue import ImageRecord
    from index.contents import Contents
    from index.store import Index
    from index.vectors import StoredModel, Vectors
    from matcher.embedding import Embedder
    from matcher.images import Scan

    Box = tuple[float, ...]

__all__ = ["EmbedReport", "Units", "cuts", "embed", "missing_units", "reading", "together"]

_BATCH_IMAGES = 512
_BATCH_SECONDS = 60.0
"""Work that a power cut may cost."""


Made = TypeVar("Made", "NDArray[np.float32]", "list[str]")
"""What is made of several pictures: a vector, or a text, of each."""


class Units(NamedTuple):
    """An image, and the boxes on it that are to be embedded; all zero for the whole image."""

    record: ImageRecord
    boxes: tuple[Box, ...]


@dataclass(slots=True)
class EmbedReport:
    """What `embed` did.

    Attributes
    ----------
    signature : str
        Of the embedder.
    images, vectors : int
        Images looked at, and vectors entered, one for each image and region; all are safe on disk.
    known : int
        Images of which nothing was missing.
    failed : list of (str, str)
        Name and reason of images that could not be embedded.
    """

    signature: str
    images: int = 0
    vectors: int = 0
    known: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)


def embed(
    index: Index,
    model: str,
    *,
    regions: bool = False,
    only: frozenset[int] | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> EmbedReport:
    """Turn the images of an index into vectors, which are kept in its folder.

    Parameters
    ----------
    index : Index
        As it is open: images added meanwhile are for the next call.
    model : str
        A name for `matcher.registry.embedder_named`.
    regions : bool
        Whether to embed the pictures on pages, too, that the index knows of.
    only : set of int, optional
        Ids of the images to embed, by default all.
    workers : int, optional
        Processes, by default one for each core; 0 does all in this one. Where a network runs on a GPU they only read.
    progress : callable, optional
        Called as ``progress(done, total)``, in images.

    Raises
    ------
    InputError, MissingDependency
        If there is no such model, or it cannot be used.
    IndexBusy
        If another writes vectors of this index.
    CalqueError
        If the disk is full. Whatever the error: what was done until a minute before is in.
    """
    embedder = embedder_named(model)  # a model that cannot be used is told before anything is begun
    report = EmbedReport(embedder.signature)
    known = Living(index)
    with VectorWriter(index.path) as writer:
        stored = writer.model(model, embedder.signature, embedder.size)
        todo = list(missing_units(index, known, vectors_in(index.path, stored, known), regions, only))
        report.known = (len(known.image_ids) if only is None else len(only)) - len(todo)
        # What was changed since would give vectors of its new contents to what is in.
        changed = {units.record.id: units.record.name for units in todo if has_changed(units.record)}
        report.failed += [(name, CHANGED) for name in changed.values()]
        todo = [units for units in todo if units.record.id not in changed]
        workers = default_workers() if workers is None else workers
        batch = _Batch(writer, stored, known, report)
        with closing(_outcomes(embedder, model, todo, workers)) as outcomes:
            try:
                for done, (units, outcome) in enumerate(outcomes, start=1):
                    batch.take(units, outcome)
                    if progress is not None:
                        progress(done, len(todo))
            except (KeyboardInterrupt, CalqueError):
                batch.commit()
                raise
            batch.commit()
    return report


class _Batch:
    """Vectors that are to be entered together."""

    def __init__(self, writer: VectorWriter, model: StoredModel, known: Living, report: EmbedReport) -> None:
        self._writer = writer
        self._model = model
        self._known = known
        self._report = report
        self._done: list[tuple[Units, NDArray[np.float32]]] = []
        self._since = time.monotonic()

    def take(self, units: Units, outcome: NDArray[np.float32] | Failed) -> None:
        """Take what became of an image; now and then all that was taken is entered."""
        if isinstance(outcome, Failed):
            self._report.failed.append((units.record.name, outcome.reason))
        else:
            self._done.append((units, outcome))
        if len(self._done) >= _BATCH_IMAGES or time.monotonic() - self._since >= _BATCH_SECONDS:
            self.commit()

    def commit(self) -> None:
        """Make what was taken safe, and only then report it."""
        self._since = time.monotonic()
        if not self._done:
            return
        ids = np.repeat([units.record.id for units, _ in self._done], [len(units.boxes) for units, _ in self._done])
        boxes = np.array([box for units, _ in self._done for box in units.boxes], np.float64)
        self._writer.enter(self._model, Rows(ids, boxes, np.concatenate([vectors for _, vectors in self._done])))
        self._report.images += len(self._done)
        self._report.vectors += len(ids)
        self._done = []
        self._writer.merge(self._model, self._known)


def missing_units(
    index: Contents, known: Living, vectors: Vectors, regions: bool, only: frozenset[int] | None = None
) -> Iterator[Units]:
    """Yield the images of an index of which a vector is missing, with what is to be embedded of each."""
    there: dict[int, set[Box]] = {}
    for image_id, box in zip(vectors.image_ids.tolist(), vectors.boxes.tolist(), strict=True):
        there.setdefault(image_id, set()).add(tuple(box))
    for record in index.images():
        if only is not None and record.id not in only:
            continue
        wanted = [WHOLE, *(sorted(known.regions.get(record.id, ())) if regions else ())]
        boxes = tuple(box for box in wanted if box not in there.get(record.id, ()))
        if boxes:
            yield Units(record, boxes)


def cuts(path: Path, page: int, boxes: Sequence[Box], long_side: int) -> list[NDArray[np.uint8]]:
    """Read parts of a page, and reduce them.

    Parameters
    ----------
    path, page
        The page.
    boxes : sequence of (x, y, width, height)
        The parts, in pixels of the original; all zero for the whole page.
    long_side : int
        Pixels that the long side of each has at the most.

    Returns
    -------
    list of uint8 arrays, shape (h, w, 3)
        RGB.

    Raises
    ------
    InputError
        If the page cannot be read, or a part lies outside it.
    """
    size = None
    if any(map(any, boxes)):
        # As large as the smallest part needs to be seen at its full size, if that is known beforehand.
        size = pixel_size(path, page)
    small = min((max(box[2:]) for box in boxes if any(box)), default=0.0)
    if size is None:
        needed = long_side if not small else None
    else:
        needed = max(long_side, math.ceil(max(size) * min(1.0, long_side / small)))
    scan = read_image(path, page, gray=False, long_side=needed, room=room_to_decode)
    return [reduced(_cut(scan, box, path), long_side) for box in boxes]


def _cut(scan: Scan, box: Box, path: Path) -> NDArray[np.uint8]:
    if not any(box):
        return scan.pixels
    x, y, wide, high = box
    rows, columns = scan.pixels.shape[:2]
    left, top = max(0, round(x / scan.scale_x)), max(0, round(y / scan.scale_y))
    right = min(columns, max(left + 1, round((x + wide) / scan.scale_x)))
    bottom = min(rows, max(top + 1, round((y + high) / scan.scale_y)))
    if right <= left or bottom <= top:
        raise InputError(
            f"{printable(path)}: the region {x:g},{y:g},{wide:g},{high:g} lies outside the image of "
            f"{scan.width} x {scan.height} pixels"
        )
    return scan.pixels[top:bottom, left:right]


def _outcomes(
    embedder: Embedder, model: str, todo: Sequence[Units], workers: int
) -> Generator[tuple[Units, NDArray[np.float32] | Failed], None, None]:
    """Yield each image with the vectors of its units, in order."""
    if embedder.at_once > 1:
        with closing(mapped(reading, (embedder.long_side,), todo, workers)) as read:
            yield from together(partial(embedded, embedder), embedder.at_once, read)
    elif workers:
        yield from mapped(_embedding, (model,), todo, workers)
    else:
        for units in todo:
            yield units, attempt(_looking(embedder), units)


def together(
    make: Callable[[Sequence[NDArray[np.uint8]]], Made],
    at_once: int,
    read: Iterable[tuple[Units, list[NDArray[np.uint8]] | Failed]],
) -> Iterator[tuple[Units, Made | Failed]]:
    """Yield images with what is made of their pictures, `at_once` images at a time.

    An image of whose pictures nothing can be made is a failure of its own.
    """
    source = iter(read)
    while batch := list(islice(source, at_once)):
        pictures = [picture for _, cut in batch if not isinstance(cut, Failed) for picture in cut]
        made = attempt(make, pictures)
        start = 0
        for units, cut in batch:
            if isinstance(cut, Failed):
                yield units, cut
            elif isinstance(made, Failed):
                yield units, attempt(make, cut)
            else:
                yield units, made[start : start + len(cut)]
                start += len(cut)


def _embedding(model: str) -> Callable[[Units], NDArray[np.float32]]:
    """Return the function that embeds the units of an image; runs in a worker process."""
    return _looking(embedder_named(model))


def _looking(embedder: Embedder) -> Callable[[Units], NDArray[np.float32]]:
    read = reading(embedder.long_side)
    return lambda units: embedded(embedder, read(units))


def reading(long_side: int) -> Callable[[Units], list[NDArray[np.uint8]]]:
    """Return the function that reads the units of an image; runs in a worker process."""

    def read(units: Units) -> list[NDArray[np.uint8]]:
        record = units.record
        path = Path(record.path)
        try:
            now = path.stat()
        except OSError as error:
            raise InputError(explained(error)) from error
        if (now.st_size, now.st_mtime_ns) != (record.n_bytes, record.mtime_ns):
            raise InputError("it has changed since it was added; run calque add on it again")
        return cuts(path, record.page, units.boxes, long_side)

    return read
