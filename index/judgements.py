"""A person's judgements of pairs of pictures: which of them stand, what they oblige groups to, how files hold them.

Every judgement is kept; of those of one pair the last one given stands. Two judgements are of one pair when they name
the same images and pages, in either order, and their boxes overlap by half (intersection over union) or are both the
whole image.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from index.annotations import Judgement, Verdict
from matcher.errors import InputError
from matcher.types import Region

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from index.catalogue import ImageRecord
    from index.store import Index

__all__ = [
    "JudgedPair",
    "Side",
    "cannot_link",
    "find_images",
    "judgement_as_dict",
    "must_link",
    "named_as_indexed",
    "read_decisions",
    "sides",
    "standing",
]

_SAME_BOX = 0.5
_KEYS = {
    *("image_a", "page_a", "region_a", "image_b", "page_b", "region_b", "verdict", "note", "author", "time", "id"),
    "stands",
}
_EXAMPLE = '{"image_a": "a.jpg", "region_a": [x, y, w, h] or null, "image_b": "b.jpg", "verdict": "same"}'


class Side(NamedTuple):
    """One of the two pictures of a judgement: name of the image, page, box (None: all of it)."""

    name: str
    page: int
    region: Region | None

    def is_at(self, other: Side) -> bool:
        """Tell whether `other` means the same picture."""
        if (self.name, self.page) != (other.name, other.page):
            return False
        if self.region is None or other.region is None:
            return self.region is other.region
        return self.region.iou(other.region) >= _SAME_BOX


class JudgedPair(NamedTuple):
    """Two pictures of an index that a person has judged: images, and boxes in their pixels."""

    a: ImageRecord
    region_a: Region
    b: ImageRecord
    region_b: Region


def sides(judgement: Judgement) -> tuple[Side, Side]:
    """Return the two pictures of a judgement."""
    return (
        Side(judgement.name_a, judgement.page_a, judgement.region_a),
        Side(judgement.name_b, judgement.page_b, judgement.region_b),
    )


def standing(judgements: Iterable[Judgement]) -> list[Judgement]:
    """Return those of `judgements`, the oldest first, that no later one replaces, in their order."""
    by_images: dict[frozenset[tuple[str, int]], list[Judgement]] = {}
    for judgement in judgements:
        a, b = sides(judgement)
        rivals = by_images.setdefault(frozenset([(a.name, a.page), (b.name, b.page)]), [])
        rivals[:] = [old for old in rivals if not _same_pair(sides(old), (a, b))]
        rivals.append(judgement)
    kept = [judgement for rivals in by_images.values() for judgement in rivals]
    return sorted(kept, key=lambda judgement: judgement.id)


def _same_pair(pair: tuple[Side, Side], other: tuple[Side, Side]) -> bool:
    (a, b), (c, d) = pair, other
    return (a.is_at(c) and b.is_at(d)) or (a.is_at(d) and b.is_at(c))


def must_link(index: Index) -> list[JudgedPair]:
    """Return the pairs of pictures of `index` that are judged the same."""
    return _judged(index, "same")


def cannot_link(index: Index) -> list[JudgedPair]:
    """Return the pairs of pictures of `index` that are judged different."""
    return _judged(index, "different")


def _judged(index: Index, verdict: Verdict) -> list[JudgedPair]:
    meant = [sides(judgement) for judgement in standing(index.judgements()) if judgement.verdict == verdict]
    records = find_images(index, {(side.name, side.page) for pair in meant for side in pair})
    return [
        JudgedPair(records[a[:2]], _box_on(records[a[:2]], a.region), records[b[:2]], _box_on(records[b[:2]], b.region))
        for a, b in meant
        if a[:2] in records and b[:2] in records
    ]


def _box_on(record: ImageRecord, region: Region | None) -> Region:
    return Region(0, 0, record.width, record.height) if region is None else region


def find_images(
    index: Index, named: Collection[tuple[str, int]], folder: Path | None = None
) -> dict[tuple[str, int], ImageRecord]:
    """Return the images of `index` that names and pages mean: those called so, else those at these paths.

    Parameters
    ----------
    index : Index
    named : collection of (name, page)
    folder : Path, optional
        What paths are relative to; the current folder by default.
    """
    paths = {(str((folder or Path()).joinpath(name).resolve()), page): (name, page) for name, page in named}
    called: dict[tuple[str, int], ImageRecord] = {}
    placed: dict[tuple[str, int], ImageRecord] = {}
    for record in index.images():
        if (record.name, record.page) in named:
            called.setdefault((record.name, record.page), record)
        if (meant := paths.get((record.path, record.page))) is not None:
            placed[meant] = record
    return placed | called


def named_as_indexed(index: Index, judgements: Sequence[Judgement]) -> list[Judgement]:
    """Return `judgements` with images called as the index calls them, where they are in it.

    Others keep their name: a photograph that was searched for need not be in the index.
    """
    records = find_images(index, {side[:2] for judgement in judgements for side in sides(judgement)})

    def name(side: Side) -> str:
        return records[side[:2]].name if side[:2] in records else side.name

    named = []
    for judgement in judgements:
        a, b = sides(judgement)
        named.append(replace(judgement, name_a=name(a), name_b=name(b)))
    return named


def judgement_as_dict(judgement: Judgement) -> dict[str, Any]:
    """Return a judgement in the form that files hold and the command line prints."""
    return {
        "id": judgement.id,
        "image_a": judgement.name_a,
        "page_a": judgement.page_a,
        "region_a": None if judgement.region_a is None else judgement.region_a.as_list(),
        "image_b": judgement.name_b,
        "page_b": judgement.page_b,
        "region_b": None if judgement.region_b is None else judgement.region_b.as_list(),
        "verdict": judgement.verdict,
        "note": judgement.note,
        "author": judgement.author,
        "time": judgement.time,
    }


def read_decisions(path: Path) -> list[Judgement]:
    """Read a file of judgements, such as a report saves.

    Parameters
    ----------
    path : Path
        JSON Lines of the form of `judgement_as_dict`; ``id`` is passed over, what is missing takes its default. Blank
        lines are passed over.

    Raises
    ------
    InputError
        If the file cannot be read or a line is no judgement; nothing of it is then to be stored.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: the decisions cannot be read ({error}); give a file of JSON lines in UTF-8"
        ) from error
    return list(_decisions(text, path))


def _decisions(text: str, path: Path) -> Iterator[Judgement]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield _decision(json.loads(line))
        except (ValueError, TypeError) as error:
            raise InputError(f"{path}, line {number}: {error}; a decision looks like {_EXAMPLE}") from error


def _decision(values: Any) -> Judgement:
    if not isinstance(values, dict):
        raise ValueError("no JSON object")
    if unknown := sorted(set(values) - _KEYS):
        raise ValueError(f"unknown key {unknown[0]!r}")
    verdict: Any = values.get("verdict")
    if verdict not in get_args(Verdict):
        raise ValueError(f"verdict {verdict!r} is none of {', '.join(get_args(Verdict))}")
    for key in ("image_a", "image_b"):
        name = values.get(key)
        if not isinstance(name, str) or not name or "\0" in name:
            raise ValueError(f"{key} {name!r} is no name of an image")
    for key in ("page_a", "page_b"):
        page = values.get(key, 0)
        if isinstance(page, bool) or not isinstance(page, int) or page < 0:
            raise ValueError(f"{key} {page!r} is no page number, counted from 0")
    note, author, time = (values.get(key) or "" for key in ("note", "author", "time"))
    if not all(isinstance(text, str) for text in (note, author, time)):
        raise ValueError("note, author and time are texts")
    return Judgement(
        values["image_a"],
        values.get("page_a", 0),
        _region(values.get("region_a"), "region_a"),
        values["image_b"],
        values.get("page_b", 0),
        _region(values.get("region_b"), "region_b"),
        verdict,
        note,
        author,
        time,
    )


def _region(box: Any, key: str) -> Region | None:
    if box is None:
        return None
    if not isinstance(box, list) or len(box) != 4:
        raise ValueError(f"{key} {box!r} is no [x, y, width, height]")
    return Region(*(float(edge) for edge in box))
