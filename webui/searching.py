"""Searches whose address is the question, and what is found as files."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from index.answers import Answer, Query, answer_as_dict
from index.memory import give_back_memory
from index.search import search
from matcher.errors import InputError
from webui import questions, shapes
from webui.asked import Asked, address_of, asked_for
from webui.browsing import chosen, placed
from webui.contract import Call, Operation
from webui.exporting import KINDS, answer_file, crops_file
from webui.kept import Kept
from webui.problems import Refusal

if TYPE_CHECKING:
    from starlette.responses import Response

    from index.answers import Hit
    from matcher.types import Match, Region, Relation
    from webui.shelf import Snapshot

__all__ = [
    "OPERATIONS",
    "Answers",
    "address_of_search",
    "answered",
    "export_search",
    "nearest",
    "part_of",
    "search_index",
]

_KEPT_HITS = 20_000
"""Hits of all the answers that are kept: some 5 kB each."""


class Answers:
    """The answers that were given last: a list that is leafed through, compared or exported is searched for once."""

    def __init__(self) -> None:
        self._kept = Kept[Answer](_KEPT_HITS, lambda answer: 1 + len(answer.hits))
        self._last = Kept[tuple[object, ...]](_KEPT_HITS)  # the last question about a picture

    def get(self, key: tuple[object, ...]) -> Answer | None:
        """Return the answer to a question, if it is kept."""
        return self._kept.get(key)

    def put(self, key: tuple[object, ...], answer: Answer, picture: tuple[object, ...]) -> None:
        """Keep the answer to a question about `picture`."""
        self._kept.put(key, answer)
        self._last.put(picture, key)

    def match(self, picture: tuple[object, ...], path: str, page: int, place: Region | None) -> Match | None:
        """Return how a picture was found on an image, at `place` where that is told, if an answer says so."""
        answer = self.get(self._last.get(picture) or ())
        found = [] if answer is None else [hit.match for hit in answer.hits if (hit.path, hit.page) == (path, page)]
        return nearest(found, place)


def nearest(found: list[Match], place: Region | None) -> Match | None:
    """Return the match that lies at `place`, the surest where none is told; None where there is none there."""
    if place is None or not found:
        return found[0] if found else None
    best = max(found, key=lambda match: match.region.iou(place))
    return best if best.region.iou(place) > 0.3 else None


async def answered(call: Call, asked: questions.Asked) -> tuple[Snapshot, Asked, Answer]:
    """Return the answer to a question, from those that are kept if it is among them."""
    snapshot = await call.server.reading.run(call.server.shelf[call.index].snapshot)
    what = asked_for(call, snapshot, asked)
    relations = _relations(asked)
    key = (
        snapshot.name,
        snapshot.contents,
        what.key,
        (asked.where, snapshot.serial) if asked.where.strip() else None,
        asked.max_false_alarms,
        relations,
        asked.furniture,
    )
    answer = call.server.answers.get(key)
    if answer is None:
        only = None
        if asked.where.strip():
            only = await call.server.reading.run(chosen, snapshot, asked.where)
        with call.server.imaging.folder(what.picture) as folder:
            query = await what.query(call, folder)
            answer = await call.server.searching.run(
                partial(
                    _search,
                    snapshot,
                    query,
                    max_false_alarms=asked.max_false_alarms,
                    relations=relations,
                    only=only,
                    furniture=asked.furniture,
                )
            )
        # The file that was read may be a copy of ours: what it is a copy of is told.
        source = what.picture.source if what.upload is None else Path(what.name)
        answer = replace(answer, image=source, page=what.picture.page)
        call.server.answers.put(key, answer, (snapshot.name, snapshot.contents, *what.key))
    return snapshot, what, answer


def _search(snapshot: Snapshot, query: Query, **options: Any) -> Answer:
    (answer,) = search(snapshot.index, [query], **options)
    give_back_memory()
    if answer.error is not None:
        raise InputError(answer.error)
    return answer


async def search_index(call: Call, query: questions.SearchQuery) -> shapes.Answer:
    """Find a picture, or a part of one, on the images of an index."""
    snapshot, what, answer = await answered(call, query)
    return await call.server.reading.run(_told, snapshot, what, answer, query)


async def export_search(call: Call, query: questions.SearchExportQuery) -> Response:
    """Return what is found as a file."""
    snapshot, what, answer = await answered(call, query)
    most = query.top
    if query.form == "pictures":
        most = min(most or len(answer.hits), call.server.options.export_pictures)
    answer = replace(answer, id=what.name, hits=answer.hits[:most])
    if query.form == "pictures":
        return await crops_file(call, answer)
    return await call.server.reading.run(answer_file, call, snapshot, answer, query.form)


def _told(snapshot: Snapshot, what: Asked, answer: Answer, query: questions.SearchQuery) -> shapes.Answer:
    part = answer.hits[query.offset : query.offset + query.limit]
    values = answer_as_dict(replace(answer, hits=part))["hits"]
    return shapes.Answer(
        index=snapshot.name,
        address=address_of_search(snapshot, what, query),
        query=_question(what, query),
        seconds=round(answer.seconds, 4),
        total=len(answer.hits),
        offset=query.offset,
        limit=query.limit,
        hits=[
            told
            for hit, value in zip(part, values, strict=True)
            if (told := _hit(snapshot, what, hit, value)) is not None
        ],
    )


def _hit(snapshot: Snapshot, what: Asked, hit: Hit, values: dict[str, Any]) -> shapes.Hit | None:
    """Return a hit as it is told; None where its image has been removed since."""
    image = snapshot.ids.get((hit.path, hit.page))
    if image is None:
        return None
    record, place = snapshot.records[image], hit.match.region
    return shapes.Hit(
        **placed(snapshot, record, values),
        rank=hit.rank,
        score=values["score"],
        inliers=values["inliers"],
        polygon=values["polygon"],
        kind=None if hit.zone is None else cast("Any", hit.zone.kind),
        judgement=None if what.record is None else snapshot.ruling(what.record, what.region, record, place),
        comparison=address_of(snapshot, "comparison", **part_of(what), **{"with": image}, place=place),
    )


def address_of_search(snapshot: Snapshot, what: Asked, asked: questions.Asked) -> str:
    """Return the address of a search, without what is as it is by default."""
    relations = ",".join(_relations(asked))
    return address_of(
        snapshot,
        "search",
        **part_of(what),
        where=asked.where.strip(),
        max_false_alarms=asked.max_false_alarms if asked.max_false_alarms != 1 else None,
        relations=relations if len(_relations(asked)) < 4 else None,
        furniture=asked.furniture or None,
    )


def part_of(what: Asked) -> dict[str, object]:
    corners = ",".join(f"{number:g}" for corner in what.corners for number in corner)
    return {
        "image": None if what.record is None else what.record.id,
        "upload": what.upload,
        "region": None if corners else what.region,
        "polygon": corners,
    }


def _question(what: Asked, asked: questions.Asked) -> shapes.Question:
    return shapes.Question(
        image=None if what.record is None else what.record.id,
        upload=what.upload,
        name=what.name,
        title=what.title,
        page=what.picture.page,
        width=what.picture.width,
        height=what.picture.height,
        iiif=what.picture.address,
        region=None if what.region is None else what.region.as_list(),
        polygon=[list(corner) for corner in what.corners] or None,
        where=asked.where,
        max_false_alarms=asked.max_false_alarms,
        relations=list(_relations(asked)),
        furniture=asked.furniture,
    )


def _relations(asked: questions.Asked) -> tuple[Relation, ...]:
    told = tuple(dict.fromkeys(asked.relations.split(",")))
    if len(told) != len(asked.relations.split(",")):
        raise Refusal(422, "a relation is named twice")
    return cast("tuple[Relation, ...]", told)


_OF_INDEX = "/api/indexes/{index}"
OPERATIONS = (
    Operation(
        "GET", f"{_OF_INDEX}/search", search_index, "Find a picture, or a part of one", shapes.Answer,
        query=questions.SearchQuery, refusals=(422,),
    ),
    Operation(
        "GET", f"{_OF_INDEX}/search/export", export_search, "What is found, as a file", ",".join(KINDS.values()),
        query=questions.SearchExportQuery, refusals=(422,),
    ),
)  # fmt: skip
"""Routes of this module."""
