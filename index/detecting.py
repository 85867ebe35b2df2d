"""What things are on many images, found in worker processes: on the images of an index, into it; on those of sources.

A detector that looks at several images at a time, such as a network that may run on a GPU, runs in this process, fed
by processes that read; any other runs in each of them.
"""

from __future__ import annotations

import math
import time
from collections import deque
from contextlib import closing
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from index.detections import ALL_LABELS
from index.iiif import Library
from index.items import CHANGED, Pending, SourceFailure, SourceItem, has_changed
from index.memory import room_to_decode
from index.sources import expand_all
from index.workers import Failed, attempt, default_workers, mapped
from matcher.detection import BatchDetector, detect_all, detections_at_once
from matcher.detectors import detector_named, outliner_named
from matcher.errors import InputError
from matcher.images import printable, read_image
from matcher.outlined import Outlined

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence

    from index.catalogue import ImageRecord
    from index.fetching import Fetcher
    from index.store import Index
    from matcher.detection import Detection, Detector
    from matcher.images import Scan

__all__ = ["LONG_SIDE", "Asked", "ImageDetections", "ask", "detect_in_index", "detect_in_sources"]

LONG_SIDE = 1600
"""Long side, in pixels, to which images are reduced before they are looked at."""

_SAFE_AFTER = 64
_SAFE_WITHIN = 5.0
"""Images looked at, or seconds, after which what was found is made safe in the index."""


class Asked(NamedTuple):
    """What is looked for: the detector by name, phrases if it takes any, how sure it must be (its usual if None)."""

    model: str
    phrases: tuple[str, ...] = ()
    min_score: float | None = None


class ImageDetections(NamedTuple):
    """An image of a source and what is on it; its size in pixels."""

    item: SourceItem
    width: int
    height: int
    found: list[Detection]


class _Task(NamedTuple):
    """An image to look at, the phrases to look for, and what an index has of the image, if it is one's."""

    path: Path
    page: int
    phrases: tuple[str, ...]
    record: ImageRecord | None = None


class _Seen(NamedTuple):
    """What is on an image, and its size in pixels."""

    width: int
    height: int
    found: list[Detection]


_Outcome = tuple[_Task, _Seen | Failed]


def ask(
    model: str, phrases: Sequence[str] = (), min_score: float | None = None, outliner: str = ""
) -> tuple[Asked, Detector]:
    """Return what is looked for, with the score filled in, and the detector, made once to see that it can be.

    `outliner`: a name for `matcher.detectors.outliner_named`, of what gives outlines to the boxes that it finds.

    Raises
    ------
    InputError
        If there is no such detector, it cannot be used, or does not take these phrases.
    MissingDependency
        If it needs a package or weights that are not there.
    """
    detector = detector_named(model)
    wanted = tuple(dict.fromkeys(phrase.strip() for phrase in phrases if phrase.strip()))
    if detector.labels is None and not wanted:
        raise InputError(f"the detector {model!r} looks for what a phrase says; give one, such as --phrase umbrella")
    if detector.labels is not None and wanted:
        raise InputError(
            f"the detector {model!r} knows classes, and looks for no phrase; leave out {wanted[0]!r}, or name one that "
            "does, such as owlv2"
        )
    if outliner:
        name = f"{model.partition(':')[0]}+{outliner.partition(':')[0]}"
        detector = Outlined(name, detector, outliner_named(outliner))
    return Asked(model, wanted, detector.usual_score if min_score is None else min_score), detector


def detect_in_index(
    index: Index,
    asked: Asked,
    detector: Detector,
    *,
    only: Collection[int] | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[ImageRecord, list[Detection]] | SourceFailure]:
    """Look at the images of an index, enter what is found, and yield each that was looked at, or why it could not be.

    An image on which the same detector has looked for the same before, down to the same score, is passed over: an
    interrupted run goes on.

    Parameters
    ----------
    index : Index
        Open for writing.
    asked : Asked
    detector : Detector
        As `ask` returns them.
    only : collection of int, optional
        Catalogue ids of the images to look at; all by default.
    workers : int, optional
        Processes, by default one for each core; 0 does all in this one.
    progress : callable, optional
        Called as ``progress(done, total)``.
    """
    least = 0.0 if asked.min_score is None else asked.min_score
    labels = asked.phrases or (ALL_LABELS,)
    known = index.looked_for(detector.signature)
    waiting: deque[tuple[ImageRecord, tuple[str, ...]]] = deque()
    for record in index.images():
        before = known.get(record.id, {})
        missing = tuple(label for label in labels if before.get(label, math.inf) > least)
        if missing and (only is None or record.id in only):
            waiting.append((record, missing))
    total = len(waiting)
    tasks = [
        _Task(Path(record.path), record.page, missing if asked.phrases else (), record) for record, missing in waiting
    ]
    with closing(_looked(tasks, asked, detector, workers)) as outcomes:
        for batch in _in_portions(outcomes):
            turn = [(*waiting.popleft(), task, seen) for task, seen in batch]
            for missing, group in groupby(turn, key=lambda one: one[1]):
                found = {record.id: seen.found for record, _, _, seen in group if isinstance(seen, _Seen)}
                index.set_detections(detector.signature, found, missing, least)
            for record, _, task, seen in turn:
                yield (record, seen.found) if isinstance(seen, _Seen) else _failure(record, task, seen)
            if progress is not None:
                progress(total - len(waiting), total)


def _in_portions(outcomes: Iterator[_Outcome]) -> Iterator[list[_Outcome]]:
    """Yield outcomes as many at a time as may be lost when the process is killed."""
    portion: list[_Outcome] = []
    begun = time.monotonic()
    for outcome in outcomes:
        portion.append(outcome)
        if len(portion) >= _SAFE_AFTER or time.monotonic() - begun >= _SAFE_WITHIN:
            yield portion
            portion, begun = [], time.monotonic()
    if portion:
        yield portion


def _failure(image: ImageRecord | SourceItem, task: _Task, seen: Failed) -> SourceFailure:
    title = f"{image.name}, page {image.page}" if image.page else image.name
    return SourceFailure(title, seen.reason.removeprefix(f"{printable(task.path)}: "))


def detect_in_sources(
    sources: Sequence[str | os.PathLike[str]],
    asked: Asked,
    detector: Detector,
    *,
    workers: int | None = None,
    fetcher: Fetcher | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[ImageDetections | SourceFailure]:
    """Yield what is on every image of `sources`, in their order, and what could not be used.

    Parameters are those of `detect_in_index`; `sources` as for `index.sources.expand_all`, `fetcher` fetches what
    manifests name.
    """
    from index.fetching import Fetcher

    with closing(fetcher or Fetcher()) as fetching:
        found = list(expand_all(sources, library=Library(fetching, LONG_SIDE)))
        waiting: deque[SourceItem | SourceFailure] = deque()

        def tasks() -> Iterator[_Task]:
            for item in found:
                page = item.fetched() if isinstance(item, Pending) else item
                waiting.append(page)
                if isinstance(page, SourceItem):
                    yield _Task(page.path, page.page, asked.phrases)

        def failed() -> Iterator[SourceFailure]:
            while waiting and isinstance(waiting[0], SourceFailure):
                yield waiting.popleft()  # type: ignore[misc]

        def in_turn() -> Iterator[ImageDetections | SourceFailure]:
            for task, seen in outcomes:
                yield from failed()
                item = waiting.popleft()
                assert isinstance(item, SourceItem)
                yield ImageDetections(item, *seen) if isinstance(seen, _Seen) else _failure(item, task, seen)
            yield from failed()

        with closing(_looked(tasks(), asked, detector, workers)) as outcomes:
            for done, one in enumerate(in_turn(), start=1):
                yield one
                if progress is not None:
                    progress(done, len(found))


def _looked(
    tasks: Iterable[_Task], asked: Asked, detector: Detector, workers: int | None
) -> Generator[_Outcome, None, None]:
    """Yield each task with what is on its image, in their order."""
    workers = default_workers() if workers is None else workers
    if not isinstance(detector, BatchDetector):
        yield from mapped(_looking, (asked,), tasks, workers)
        return
    # A network has the cores to itself but for one that reads ahead.
    with closing(mapped(_reading, (), tasks, min(workers, 1))) as read:
        while batch := list(islice(read, detections_at_once(detector))):
            for phrases, group in groupby(batch, key=lambda one: one[0].phrases):
                yield from _together(list(group), detector, phrases, asked.min_score)


def _together(
    batch: Sequence[tuple[_Task, Scan | Failed]], detector: Detector, phrases: Sequence[str], least: float | None
) -> Iterator[_Outcome]:
    """Yield tasks that look for the same with what is on their images, looked at together."""
    scans = [scan for _, scan in batch if not isinstance(scan, Failed)]
    outcome = attempt(lambda given: detect_all(detector, given, least, phrases), scans)
    found = iter(() if isinstance(outcome, Failed) else outcome)
    for task, scan in batch:
        if isinstance(scan, Failed):
            yield task, scan
        elif isinstance(outcome, Failed):
            yield task, outcome
        else:
            yield task, _Seen(scan.width, scan.height, next(found))


def _looking(asked: Asked) -> Callable[[_Task], _Seen]:
    """Return the function that does one task; runs in a worker process."""
    detector = detector_named(asked.model)

    def do(task: _Task) -> _Seen:
        scan = _read(task)
        return _Seen(scan.width, scan.height, detector.detect(scan, asked.min_score, task.phrases))

    return do


def _reading() -> Callable[[_Task], Scan]:
    """Return the function that only reads what is to be looked at; runs in a worker process."""
    return _read


def _read(task: _Task) -> Scan:
    if task.record is not None and has_changed(task.record):
        raise InputError(CHANGED)
    return read_image(task.path, task.page, gray=False, long_side=LONG_SIDE, room=room_to_decode)
