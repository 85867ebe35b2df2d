"""Ground truth of a collection: from a file, or from what persons have judged; and how well a search agrees with it.

The form, as JSON::

    {"complete": true,
     "queries": [{"id": "q1", "image": "p12.jpg", "page": 0, "region": [x, y, width, height] or null,
                  "positives": [{"image": "p90.jpg", "page": 0, "region": null}, …],
                  "different": […], "unsure": […], "ignore": ["p13.jpg", …]}, …]}

Only ``image`` and ``positives`` must be there. ``positives`` are the right answers: all that there are, unless
``complete`` is false, where other answers are not judged. ``different`` are wrong answers, even beside a right one on
their page; places that are ``unsure`` and images to ``ignore`` are neither. An image is named as in the index, or by
its path, relative to the file. Beside the queries, ``unsure`` and ``different_blocks`` may list pairs of such places.
"""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from index.answers import Query
from index.evaluation import Found, Place, TruthQuery, evaluate
from index.judgements import Side, find_images, sides, standing
from index.search import search
from matcher.errors import InputError
from matcher.types import Region

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from index.store import Index

__all__ = ["evaluate_index", "judged_truth", "read_truth"]

_EVERYTHING = 1e300
"""As the greatest number of false alarms: whatever was verified at all, for ranking."""


def judged_truth(index: Index) -> dict[str, Any]:
    """Return what the judgements of an index that stand say, as ground truth (see above), which is not complete.

    What is the same as the same is the same: each picture judged so is a query for all others of its kind. Only images
    of the index are answers.
    """
    pictures = _Pictures()
    told: list[tuple[int, int, str]] = []
    for judgement in standing(index.judgements()):
        a, b = (pictures.number(side) for side in sides(judgement))
        told.append((a, b, judgement.verdict))
        if judgement.verdict == "same":
            pictures.join(a, b)
    places: list[dict[str, list[int]]] = [
        {"positives": pictures.others(n), "different": [], "unsure": []} for n in range(len(pictures.sides))
    ]
    for a, b, verdict in told:
        if verdict != "same":
            places[a][verdict].append(b)
            places[b][verdict].append(a)
    inside = {(record.name, record.page) for record in index.images()}
    queries = []
    for number, known in enumerate(places):
        answers = {
            key: [_as_dict(side) for side in map(pictures.sides.__getitem__, numbers) if side[:2] in inside]
            for key, numbers in known.items()
        }
        if answers["positives"] or answers["different"]:
            queries.append({"id": f"judged{number + 1:04d}", **_as_dict(pictures.sides[number]), **answers})
    return {"complete": False, "queries": queries}


class _Pictures:
    """The pictures of judgements, numbered, and which of them are the same."""

    def __init__(self) -> None:
        self.sides: list[Side] = []
        self._on: dict[tuple[str, int], list[int]] = {}
        self._kinds: list[list[int]] = []

    def number(self, side: Side) -> int:
        """Return the number of a picture, a new one if it has none."""
        there = self._on.setdefault((side.name, side.page), [])
        for number in there:
            if self.sides[number].is_at(side):
                return number
        there.append(len(self.sides))
        self.sides.append(side)
        self._kinds.append([there[-1]])
        return there[-1]

    def join(self, a: int, b: int) -> None:
        """Note that two pictures are the same."""
        if self._kinds[a] is not self._kinds[b]:
            joined = sorted(self._kinds[a] + self._kinds[b])
            for number in joined:
                self._kinds[number] = joined

    def others(self, number: int) -> list[int]:
        """Return the other pictures that are the same."""
        return [other for other in self._kinds[number] if other != number]


def _as_dict(side: Side) -> dict[str, Any]:
    return {"image": side.name, "page": side.page, "region": side.region and side.region.as_list()}


def read_truth(path: Path) -> dict[str, Any]:
    """Read a file of ground truth (see above).

    Raises
    ------
    InputError
        If it cannot be read, or is something else.
    """
    try:
        truth = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: no ground truth can be read ({error}); give a JSON file") from error
    if not isinstance(truth, dict) or not isinstance(truth.get("queries"), list) or not truth["queries"]:
        raise InputError(f'{path}: no ground truth: it has no "queries"; see calque evaluate --help')
    return truth


class _Asked(NamedTuple):
    truth: list[TruthQuery]
    queries: list[Query]
    absent: int


def evaluate_index(
    index: Index,
    truth: dict[str, Any],
    folder: Path | None = None,
    *,
    part: str | None = None,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Ask an index all queries of a ground truth, and measure the answers.

    Parameters
    ----------
    index : Index
    truth : dict
        As `read_truth` or `judged_truth` return it.
    folder : Path, optional
        What paths in it are relative to; the current folder by default.
    part : str, optional
        Only queries whose ``part`` is this.
    threads : int, optional
        As for `index.search.search`.
    progress : callable, optional
        Called as ``progress(done, total)``.

    Returns
    -------
    dict
        As of `index.evaluation.evaluate`, and ``failed``, the queries that could not be asked with their errors (they
        are left out of the figures), and ``absent``, the number of right answers whose image is not in the index
        (likewise).

    Raises
    ------
    InputError
        If the truth makes no sense, or asks nothing.
    """
    asked = _asked(index, truth, folder or Path(), part)
    if not asked.queries:
        raise InputError("there is nothing to evaluate: no query has an answer in the index; judge some pairs first")
    answers: dict[str, list[Found]] = {}
    failed: dict[str, str] = {}
    for done, answer in enumerate(search(index, asked.queries, max_false_alarms=_EVERYTHING, threads=threads), start=1):
        if answer.error is not None:
            failed[answer.id] = answer.error
        else:
            answers[answer.id] = [
                Found(_sheet(hit.image, hit.page), hit.score, hit.false_alarms, hit.match.region.as_list())
                for hit in answer.hits
            ]
        if progress is not None:
            progress(done, len(asked.queries))
    figures = evaluate([query for query in asked.truth if query.id not in failed], answers)
    errors = [{"query": name, "error": error} for name, error in failed.items()]
    return {**figures, "failed": errors, "absent": asked.absent}


def _asked(index: Index, truth: dict[str, Any], folder: Path, part: str | None) -> _Asked:
    """Bring a ground truth to the names of an index."""
    try:
        records = [_Record.of(record, number, truth) for number, record in enumerate(truth["queries"], start=1)]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"the ground truth makes no sense ({type(error).__name__}: {error}); see calque evaluate --help"
        ) from error
    records = [record for record in records if part is None or record.part == part]
    images = _Images(index, folder, {side[:2] for record in records for side in record.sides()})
    complete = bool(truth.get("complete", True))
    asked = _Asked([], [], sum(not images.has(side) for record in records for side in record.positives))
    for record in records:
        query = record.query(images, complete)
        if query.positives or query.different:
            asked.truth.append(query)
            place = record.place
            asked.queries.append(Query(record.id, images.path(place), place.region, place.page))
    if len({query.id for query in asked.truth}) < len(asked.truth):
        raise InputError("the ground truth has two queries of one id; give each its own")
    return asked


class _Record(NamedTuple):
    """One query of a ground truth, as it stands there."""

    id: str
    place: Side
    part: str
    positives: list[Side]
    different: list[Side]
    unsure: list[Side]
    ignore: list[Side]

    @classmethod
    def of(cls, record: dict[str, Any], number: int, truth: dict[str, Any]) -> _Record:
        place = _side(record)
        pairs = {
            key: [tuple(map(_side, pair)) for pair in truth.get(name, [])]
            for key, name in (("different", "different_blocks"), ("unsure", "unsure"))
        }
        paired = {
            key: [other for a, b in both for one, other in ((a, b), (b, a)) if one.is_at(place)]
            for key, both in pairs.items()
        }
        return cls(
            str(record.get("id", number)),
            place,
            str(record.get("part", "")),
            [_side(item) for item in record["positives"]],
            [*paired["different"], *map(_side, record.get("different", []))],
            [*paired["unsure"], *map(_side, record.get("unsure", []))],
            [Side(str(name), 0, None) for name in record.get("ignore", [])],
        )

    def sides(self) -> Iterator[Side]:
        yield self.place
        yield from chain(self.positives, self.different, self.unsure, self.ignore)

    def query(self, images: _Images, complete: bool) -> TruthQuery:
        """Return the query as it is judged: answers that are in the index, the query's own image left out."""
        own = images.key(self.place)

        def places(sides: Iterable[Side]) -> tuple[Place, ...]:
            return tuple(Place(images.key(side), side.region) for side in sides if images.has(side))

        return TruthQuery(
            id=self.id,
            place=Place(own, self.place.region),
            part=self.part,
            groups=(),
            positives=tuple(place for place in places(self.positives) if place.image != own),
            ignored=frozenset([own, *map(images.key, self.ignore)]),
            unsure=places(self.unsure),
            different=tuple(place for place in places(self.different) if place.image != own),
            complete=complete,
        )


class _Images:
    """Which images of an index a ground truth means."""

    def __init__(self, index: Index, folder: Path, named: set[tuple[str, int]]) -> None:
        self._folder = folder
        self._records = find_images(index, named, folder)

    def has(self, side: Side) -> bool:
        """Tell whether the index has an image."""
        return side[:2] in self._records

    def key(self, side: Side) -> str:
        """Return what tells an image apart from others in the figures."""
        record = self._records.get(side[:2])
        return _sheet(side.name, side.page) if record is None else _sheet(record.name, record.page)

    def path(self, side: Side) -> Path:
        """Return where an image is to be read."""
        record = self._records.get(side[:2])
        return self._folder / side.name if record is None else Path(record.path)


def _side(record: dict[str, Any]) -> Side:
    """Return a place of a ground truth; a box without area is one that nobody knows."""
    box, page = record.get("region"), record.get("page", 0)
    if isinstance(page, bool) or not isinstance(page, int) or page < 0:
        raise ValueError(f"page {page!r} is no page number, counted from 0")
    if box is None:
        return Side(str(record["image"]), page, None)
    x, y, width, height = map(float, box)
    return Side(str(record["image"]), page, Region(x, y, width, height) if width > 0 and height > 0 else None)


def _sheet(name: str, page: int) -> str:
    return f"{name}#page={page + 1}" if page else name
