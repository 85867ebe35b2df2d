"""Pictures for a classifier: whole images or regions of them, read and embedded, in processes where that helps."""

from __future__ import annotations

from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from index.embedding import cuts
from index.vectors import WHOLE
from index.workers import Failed, attempt, default_workers, mapped
from matcher.embedding import embedded
from matcher.folds import small_print
from matcher.registry import embedder_named

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from matcher.embedding import Embedder
    from matcher.types import Region

__all__ = ["Seen", "Subject", "picture_of", "pictures_of", "read_pictures", "see"]

_FEW = 8
"""Pages that are read before processes would have started."""


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
    boxes = [WHOLE if box is None else tuple(box.as_list()) for box in subject.boxes]
    return cuts(subject.path, subject.page, boxes, long_side)


def picture_of(path: Path, page: int, region: Region | None, long_side: int) -> NDArray[np.uint8]:
    """Return one picture, as of `pictures_of`."""
    (picture,) = pictures_of(Subject(path, page, (region,)), long_side)
    return picture


def read_pictures(
    subjects: Sequence[Subject],
    long_side: int,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[Subject, list[NDArray[np.uint8]] | Failed]]:
    """Yield each subject with its pictures, as of `pictures_of`, or why there are none, in their order.

    Parameters
    ----------
    subjects : sequence of Subject
    long_side : int
    workers, progress
        As of `see`.
    """
    with closing(mapped(_reading, (long_side,), subjects, _processes(workers, subjects))) as outcomes:
        for done, outcome in enumerate(outcomes, start=1):
            yield outcome
            if progress is not None:
                progress(done, len(subjects))


def see(
    subjects: Sequence[Subject],
    embedder: Embedder,
    name: str = "",
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[Subject, Seen | Failed]]:
    """Yield each subject with what the embedder makes of it, or why there is nothing, in their order.

    Parameters
    ----------
    subjects : sequence of Subject
    embedder : Embedder
    name : str
        By which worker processes may make an embedder like it; without, or where it likes several pictures at a time,
        they only read.
    workers : int, optional
        Processes, by default one for each core; 0 does all in this one.
    progress : callable, optional
        Called as ``progress(done, total)``.
    """
    with closing(_outcomes(subjects, embedder, name, _processes(workers, subjects))) as found:
        for done, (subject, seen) in enumerate(found, start=1):
            yield subject, seen
            if progress is not None:
                progress(done, len(subjects))


def _processes(workers: int | None, subjects: Sequence[Subject]) -> int:
    if len(subjects) < _FEW:
        return 0
    return default_workers() if workers is None else workers


def _outcomes(
    subjects: Sequence[Subject], embedder: Embedder, name: str, workers: int
) -> Generator[tuple[Subject, Seen | Failed], None, None]:
    if embedder.at_once == 1 and name and workers:
        yield from mapped(_seeing, (name,), subjects, workers)
    else:
        with closing(mapped(_reading, (embedder.long_side,), subjects, workers)) as read:
            yield from _together(embedder, read)


def _together(
    embedder: Embedder, read: Iterable[tuple[Subject, list[NDArray[np.uint8]] | Failed]]
) -> Iterator[tuple[Subject, Seen | Failed]]:
    """Embed the pictures of several subjects at a time; one whose pictures cannot be is a failure of its own."""
    source = iter(read)
    while batch := list(islice(source, embedder.at_once)):
        pictures = [picture for _, cut in batch if not isinstance(cut, Failed) for picture in cut]
        vectors = attempt(lambda many: embedded(embedder, many), pictures)
        start = 0
        for subject, cut in batch:
            if isinstance(cut, Failed):
                yield subject, cut
                continue
            rows = vectors if isinstance(vectors, Failed) else vectors[start : start + len(cut)]
            if isinstance(rows, Failed):
                rows = attempt(lambda many: embedded(embedder, many), cut)
            start += len(cut)
            yield subject, rows if isinstance(rows, Failed) else Seen(rows, _prints(cut))


def _prints(pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    return np.stack([small_print(picture) for picture in pictures])


def _reading(long_side: int) -> Callable[[Subject], list[NDArray[np.uint8]]]:
    return lambda subject: pictures_of(subject, long_side)


def _seeing(name: str) -> Callable[[Subject], Seen]:
    """Return the function that sees a subject; runs in a worker process."""
    embedder = embedder_named(name)

    def look(subject: Subject) -> Seen:
        pictures = pictures_of(subject, embedder.long_side)
        return Seen(embedded(embedder, pictures), _prints(pictures))

    return look
