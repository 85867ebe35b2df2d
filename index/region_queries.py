"""Things on images as questions: the regions that fulfil a condition; what is seen on a picture as queries."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from index.answers import Query
from index.detecting import LONG_SIDE
from index.detection_files import SeenImage
from index.detections import facts_of_detections
from index.exports import Sheet
from index.where import THING_KEYS, facts_of, parse, select
from matcher.errors import InputError
from matcher.images import read_image

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Sequence

    from index.detecting import Asked
    from index.detections import KnownDetection
    from index.store import Index
    from matcher.detection import Detection, Detector, Outliner
    from matcher.types import Region

__all__ = ["fitting", "pointed_at", "queries_of", "regions_where", "things_on"]


def regions_where(index: Index, where: str) -> Iterator[SeenImage]:
    """Yield the images that fit a condition, ascending by id, each with the things for which the condition holds.

    Images without such a thing are left out.

    Raises
    ------
    InputError
        If it is no condition (`index.where`), names a key that nothing has, or nothing has been looked for.
    """
    condition = parse(where)
    if not index.images_looked_at():
        raise InputError(f"nothing has been looked for on the images of {index.path}; run: calque detect {index.path}")
    metadata = index.all_metadata()
    known = dict(index.all_detections())
    for record in select(condition, index.images(), metadata, index.things(condition) or {}):
        seen = known.get(record.id, [])
        facts = facts_of(
            condition, record, metadata.get(record.id, {}), facts_of_detections(seen, record.width, record.height)
        )
        fitting = [one for one, picked in zip(seen, condition.picked(facts), strict=True) if picked]
        if fitting:
            yield SeenImage(Sheet.of(record, metadata.get(record.id, {})), fitting)


def fitting(images: Iterable[SeenImage], things: str) -> Iterator[SeenImage]:
    """Yield images with those things of theirs for which a condition on things (`index.where.THING_KEYS`) holds.

    Raises
    ------
    InputError
        If it is no such condition.
    """
    condition = parse(things)
    if others := sorted(condition.keys - set(THING_KEYS)):
        raise InputError(f"{things!r} asks for {others[0]!r}; a condition on things has: {', '.join(THING_KEYS)}")
    for image in images:
        facts = facts_of_detections(image.known, image.sheet.width, image.sheet.height)
        yield SeenImage(
            image.sheet, [one for one, known in zip(image.known, facts, strict=True) if condition.test(known)]
        )


def things_on(
    index: Index | None, image: str | os.PathLike[str], page: int, asked: Asked, detector: Detector
) -> list[Detection]:
    """Return what a detector sees on a picture, the surest first: as an index knows it, or as it is found now.

    An index knows it if the same detector has looked for the same on the picture as it is now, down to the same score.

    Raises
    ------
    InputError
        If the picture cannot be read.
    """
    path = Path(image)
    known = None if index is None else _known(index, path, page, asked, detector)
    if known is not None:
        return known
    scan = read_image(path, page, gray=False, long_side=LONG_SIDE)
    return detector.detect(scan, asked.min_score, asked.phrases)


def _known(index: Index, path: Path, page: int, asked: Asked, detector: Detector) -> list[Detection] | None:
    """Return what an index knows to be on a picture that is in, None if it does not know."""
    record = index.unchanged(path, page)
    if record is None:
        return None
    sought = index.looked_for_on(record.id, detector.signature)
    least = asked.min_score or 0.0
    if not all(sought.get(label, 2.0) <= least for label in asked.phrases or ("",)):
        return None

    def counts(one: KnownDetection) -> bool:
        label, score = one.detection.label, one.detection.score
        return score >= least and (not asked.phrases or label in asked.phrases)

    found = [one.detection for one in index.detections(record.id) if counts(one)]
    return sorted(found, key=lambda one: -one.score)


def pointed_at(
    image: str | os.PathLike[str], page: int, outliner: Outliner, box: Region | None, point: tuple[float, float] | None
) -> list[Query]:
    """Return the query for the thing in a box, or at a point, of a picture, in pixels of it, inside its outline.

    Raises
    ------
    InputError
        If the picture cannot be read, or the point does not lie on it.
    """
    path = Path(image)
    scan = read_image(path, page, gray=False, long_side=LONG_SIDE)
    found = outliner.outline(scan, [] if box is None else [box], [] if point is None else [point])
    return [replace(query, id=str(path)) for query in queries_of(found, path, page)]


def queries_of(things: Sequence[Detection], image: str | os.PathLike[str], page: int = 0) -> list[Query]:
    """Return a query for each thing on a picture, called after its label and its number among those of that label.

    Where its outline is known, only what lies inside that is asked for.
    """
    numbers: dict[str, int] = {}
    asked = []
    for thing in things:
        numbers[thing.label] = numbers.get(thing.label, 0) + 1
        outlines = tuple(tuple((float(x), float(y)) for x, y in polygon.tolist()) for polygon in thing.polygons)
        asked.append(Query(f"{thing.label} {numbers[thing.label]}", Path(image), thing.box, page, outlines))
    return asked
