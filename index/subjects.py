"""Pictures for an embedder: whole images or regions of them, read in worker processes, embedded in this one."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from index.workers import Failed, default_workers, mapped
from index.zones import pixel_size
from matcher.embedding import embedded, reduced
from matcher.errors import InputError
from matcher.folds import small_print
from matcher.images import printable, read_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from matcher.embedding import Embedder
    from matcher.types import Region

__all__ = ["Seen", "Subject", "picture_of", "pictures_of", "see"]

_FINEST = 3200
"""Pixels of the long side beyond which no page is read for what is small on it."""


class Subject(NamedTuple):
    """A page, and what is looked at on it: boxes in its pixels, None for all of it."""

    path: Path
    page: int
    boxes: tuple[Region | None, ...]


class Seen(NamedTuple):
    """What an embedder makes of a subject.

    Attributes
    ----------
    vectors : float32, shape (m, d)
        One for each box.
    prints : float32, shape (m, 1024)
        From `matcher.folds.small_print`.
    """

    vectors: NDArray[np.float32]
    prints: NDArray[np.float32]


def pictures_of(subject: Subject, long_side: int) -> list[NDArray[np.uint8]]:
    """Return what lies in each box of a subject, RGB, with a long side of at most `long_side` pixels.

    Raises
    ------
    InputError
        If the page cannot be read, or a box does not lie on it.
    """
    path, page, boxes = subject
    finest = long_side
    if any(box is not None for box in boxes):
        size = pixel_size(path, page)
        if size is None:
            raise InputError(f"{printable(path)}: cannot be read; get a fresh copy")
        needed = (long_side * max(size) / max(box.width, box.height) for box in boxes if box is not None)
        finest = max(long_side, min(_FINEST, round(max(needed))))
    scan = read_image(path, page, gray=False, long_side=finest)
    found = []
    for box in boxes:
        if box is None:
            found.append(reduced(scan.pixels, long_side))
            continue
        inside = box.clipped(scan.width, scan.height)
        if inside is None:
            shown = ",".join(f"{edge:g}" for edge in box.as_list())
            raise InputError(
                f"{printable(path)}: the region {shown} lies outside the image of {scan.width} × {scan.height} pixels"
            )
        left, top = int(inside.x / scan.scale_x), int(inside.y / scan.scale_y)
        right = max(left + 1, round((inside.x + inside.width) / scan.scale_x))
        bottom = max(top + 1, round((inside.y + inside.height) / scan.scale_y))
        left, top = min(left, scan.pixels.shape[1] - 1), min(top, scan.pixels.shape[0] - 1)
        found.append(reduced(scan.pixels[top:bottom, left:right], long_side))
    return found


def picture_of(path: Path, page: int, region: Region | None, long_side: int) -> NDArray[np.uint8]:
    """Return one picture, as of `pictures_of`."""
    (picture,) = pictures_of(Subject(path, page, (region,)), long_side)
    return picture


def see(
    subjects: Sequence[Subject],
    embedder: Embedder,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[Subject, Seen | Failed]]:
    """Yield each subject with what the embedder makes of it, or why it could not be read, in their order.

    Parameters
    ----------
    subjects : sequence of Subject
    embedder : Embedder
    workers : int, optional
        Processes that read, by default one for each core; 0 reads in this one. The embedder runs in this one.
    progress : callable, optional
        Called as ``progress(done, total)``.
    """
    # A few pages are read before a process would have started.
    workers = min(default_workers() if workers is None else workers, len(subjects) // 4)
    done = 0
    with closing(mapped(_prepared, (embedder.long_side,), subjects, workers)) as outcomes:
        for batch in _batches(outcomes, embedder.at_once):
            pictures = [picture for _, found in batch if not isinstance(found, Failed) for picture in found]
            vectors = embedded(embedder, pictures)
            prints = [small_print(picture) for picture in pictures]
            start = 0
            for subject, found in batch:
                done += 1
                if isinstance(found, Failed):
                    yield subject, found
                else:
                    rows = slice(start, start + len(found))
                    start += len(found)
                    yield subject, Seen(vectors[rows], np.stack(prints[rows]))
                if progress is not None:
                    progress(done, len(subjects))


def _batches(
    outcomes: Iterable[tuple[Subject, list[NDArray[np.uint8]] | Failed]], at_once: int
) -> Iterator[list[tuple[Subject, list[NDArray[np.uint8]] | Failed]]]:
    batch: list[tuple[Subject, list[NDArray[np.uint8]] | Failed]] = []
    waiting = 0
    for subject, found in outcomes:
        batch.append((subject, found))
        waiting += 0 if isinstance(found, Failed) else len(found)
        if waiting >= at_once:
            yield batch
            batch, waiting = [], 0
    if batch:
        yield batch


def _prepared(long_side: int) -> Callable[[Subject], list[NDArray[np.uint8]]]:
    return lambda subject: pictures_of(subject, long_side)
