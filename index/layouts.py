"""The layouts of many pages, found in worker processes; what a journal has of them is not looked for again."""

from __future__ import annotations

from collections import deque
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, Protocol

from index.iiif import Library
from index.items import Pending, SourceFailure, SourceItem
from index.layout_truth import known_layout, read_layout_truth
from index.sources import expand_all
from index.workers import Failed, default_workers, mapped
from index.zones import ZoneFinder, pixel_size, zones_on
from matcher.errors import InputError
from matcher.images import printable, read_image
from matcher.registry import SEGMENTER, SEGMENTERS, nearest_name, segmenter_named, usual_score

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from index.fetching import Fetcher
    from index.layout_files import Drawings
    from index.layout_journal import LayoutJournal
    from matcher.layout import Layout

__all__ = [
    "LEAST_SCORE",
    "LONG_SIDE",
    "MODELS",
    "PageLayout",
    "is_worth_keeping",
    "score_of",
    "segment",
    "signature_of",
    "surest",
]

LONG_SIDE = 1600
"""Long side, in pixels, to which pages are reduced before they are looked at."""

LEAST_SCORE = 0.02
"""How sure segmenters must be of a picture here, where they can be asked; `surest` leaves out what is less sure."""

_ZONES = "zones"
MODELS = (*SEGMENTERS, _ZONES)
"""What finds layouts, by name: a segmenter, or the files of other programs that tell them."""


class PageLayout(NamedTuple):
    """A page and what lies where on it."""

    item: SourceItem
    layout: Layout


class _Task(NamedTuple):
    """A page whose layout is to be found, unless it is `known`, and drawn, if that is asked for."""

    item: SourceItem
    known: Layout | None


class _Finder(Protocol):
    """What finds the layout of a page."""

    @property
    def signature(self) -> str:
        """What a journal records of where its layouts are from."""

    def find(self, item: SourceItem) -> Layout:
        """Return the layout of a page; `InputError` if it cannot be had."""


class _Seen:
    """Layouts by a segmenter of `matcher.registry.SEGMENTERS`."""

    def __init__(self, model: str) -> None:
        self._segmenter = segmenter_named(model, LEAST_SCORE)
        self.signature = self._segmenter.signature

    def find(self, item: SourceItem) -> Layout:
        return self._segmenter.segment(read_image(item.path, item.page, gray=False, long_side=LONG_SIDE))


class _Known:
    """Layouts from what the sources say of their pages, and files of zones, if any are named."""

    def __init__(self, path: str) -> None:
        self._zones = ZoneFinder(read_layout_truth(path) if path else ())
        self._where = f"by {path}" if path else "by its source; name a file or a folder: zones:PATH"
        self.signature = f"{_ZONES}({path})"

    def find(self, item: SourceItem) -> Layout:
        told = self._zones.find(str(item.path), item.name)
        size = pixel_size(item.path, item.page)
        if size is None:
            raise InputError(f"{printable(item.path)}: cannot be read; get a fresh copy")
        if not (told or item.zones):
            raise InputError(f"{printable(item.path)}: nothing is said of it {self._where}")
        return known_layout((*item.zones, *zones_on(told, item.path, item.page)), *size)


def _finder(model: str) -> _Finder:
    name, _, path = model.partition(":")
    if name == _ZONES:
        return _Known(path)
    if name not in SEGMENTERS:
        raise nearest_name(name, dict.fromkeys(MODELS), "segmenter")
    return _Seen(model)


def signature_of(model: str) -> str:
    """Return what a journal records of where layouts are from, for a `model` as of `segment`, which is tried."""
    return _finder(model).signature


def is_worth_keeping(model: str) -> bool:
    """Return whether a journal may keep what a `model` finds: not what files say, which may change unseen."""
    return model.partition(":")[0] != _ZONES


def score_of(model: str) -> float:
    """Return how sure a `model`, as of `segment`, usually is of what it is taken at its word for, 0 to 1."""
    return usual_score(model) if is_worth_keeping(model) else 0.0


def segment(
    sources: Sequence[str | os.PathLike[str]],
    model: str = SEGMENTER,
    *,
    journal: LayoutJournal | None = None,
    drawings: Drawings | None = None,
    workers: int | None = None,
    fetcher: Fetcher | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[PageLayout | SourceFailure]:
    """Yield the layout of every page of `sources`, in their order, and what could not be used.

    Layouts have all that the model has any reason for, down to `LEAST_SCORE`: see `surest` and `score_of`.

    Parameters
    ----------
    sources : sequence of paths
        As for `index.sources.expand_all`.
    model : str
        A name for `matcher.registry.segmenter_named`; or ``zones`` or ``zones:PATH``, for what the sources, or the
        files there that `index.layout_truth.read_layout_truth` takes, say of the pages.
    journal : LayoutJournal, optional
        Keeps layouts. What it has of an unchanged file is not looked for again.
    drawings : Drawings, optional
        What is drawn of each page, where it is not there already.
    workers : int, optional
        Processes, by default one for each core; 0 does all in this one.
    fetcher : Fetcher, optional
        Fetches what manifests name.
    progress : callable, optional
        Called as ``progress(done, total)``.

    Raises
    ------
    InputError, MissingDependency
        If there is no such model, or it cannot be used.
    """
    from index.fetching import Fetcher

    _finder(model)  # a model that cannot be used is told before anything is begun
    with closing(fetcher or Fetcher()) as fetching:
        found = list(expand_all(sources, library=Library(fetching, LONG_SIDE)))
        waiting: deque[SourceItem | SourceFailure | None] = deque()
        tasks = _tasks(found, waiting, journal, drawings)
        workers = default_workers() if workers is None else workers
        with closing(mapped(_prepared, (model, drawings), tasks, workers)) as outcomes:
            for done, page in enumerate(_in_turn(outcomes, waiting, journal, drawings), start=1):
                yield page
                if progress is not None:
                    progress(done, len(found))


def surest(layout: Layout, min_score: float) -> Layout:
    """Return a layout without the regions that are less sure than `min_score`."""
    return replace(layout, regions=tuple(region for region in layout.regions if region.score >= min_score))


def _tasks(
    found: Iterable[SourceItem | Pending | SourceFailure],
    waiting: deque[SourceItem | SourceFailure | None],
    journal: LayoutJournal | None,
    drawings: Drawings | None,
) -> Iterator[_Task]:
    """Yield what is to be done, and note in `waiting` every page in turn, None for one that is to be done."""
    for item in found:
        page = item.fetched() if isinstance(item, Pending) else item
        known = None
        if isinstance(page, SourceItem):
            known = journal.layout(page) if journal is not None else None
            if known is None or (drawings is not None and journal is not None and journal.drawn(page) != drawings.told):
                waiting.append(None)
                yield _Task(page, known)
                continue
        waiting.append(page)


def _in_turn(
    outcomes: Iterable[tuple[_Task, Layout | Failed]],
    waiting: deque[SourceItem | SourceFailure | None],
    journal: LayoutJournal | None,
    drawings: Drawings | None,
) -> Iterator[PageLayout | SourceFailure]:
    """Yield pages in the order of their sources: those `waiting`, and those that come out of the work."""

    def kept() -> Iterator[PageLayout | SourceFailure]:
        while waiting and (page := waiting[0]) is not None:
            waiting.popleft()
            if isinstance(page, SourceFailure):
                yield page
            elif journal is not None and (layout := journal.layout(page)) is not None:
                yield PageLayout(page, layout)

    for (item, _), outcome in outcomes:
        yield from kept()
        waiting.popleft()
        if isinstance(outcome, Failed):
            yield SourceFailure(_title(item), outcome.reason.removeprefix(f"{printable(item.path)}: "))
            continue
        if journal is not None:
            journal.enter(item, outcome, drawings.told if drawings is not None else "")
        yield PageLayout(item, outcome)
    yield from kept()


def _title(item: SourceItem) -> str:
    return f"{item.name}, page {item.page}" if item.page else item.name


def _prepared(model: str, drawings: Drawings | None) -> Callable[[_Task], Layout]:
    """Return the function that does one task; runs in a worker process."""
    finder = _finder(model)

    def do(task: _Task) -> Layout:
        layout = finder.find(task.item) if task.known is None else task.known
        if drawings is not None:
            drawings.draw(task.item, layout)
        return layout

    return do
