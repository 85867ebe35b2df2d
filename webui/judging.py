"""What persons say of pairs of pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from index.annotations import Judgement
from index.exports import readable
from matcher.errors import InputError
from matcher.types import Region
from webui import questions, shapes
from webui.contract import Call, Operation
from webui.problems import no_such

if TYPE_CHECKING:
    from index.catalogue import ImageRecord
    from index.store import Index
    from webui.shelf import Snapshot

__all__ = ["OPERATIONS", "add_judgement", "judgements", "remove_judgement"]


async def judgements(call: Call, query: questions.JudgementsQuery) -> shapes.Judgements:
    """List the judgements that stand."""
    return await call.server.reading.run(_listed, call, query)


def _listed(call: Call, query: questions.JudgementsQuery) -> shapes.Judgements:
    snapshot = call.server.shelf[call.index].snapshot()
    found = [_told(snapshot, judgement) for judgement in snapshot.judgements]
    if query.image is not None:
        found = [judgement for judgement in found if query.image in (judgement.image_a, judgement.image_b)]
    return shapes.Judgements(found)


async def add_judgement(call: Call, body: questions.JudgementRequest) -> shapes.Judgement:
    """Keep a judgement."""
    return await call.server.writing.run(_add, call, body)


def _add(call: Call, body: questions.JudgementRequest) -> shapes.Judgement:
    holding = call.server.shelf[call.index]
    snapshot = holding.snapshot()
    a, b = snapshot.record(body.image_a), snapshot.record(body.image_b)
    judgement = Judgement(
        a.name,
        a.page,
        _region(body.region_a, a),
        b.name,
        b.page,
        _region(body.region_b, b),
        body.verdict,
        body.note,
        call.user or body.author,
    )

    def change(index: Index) -> Judgement:
        (number,) = index.add_judgements([judgement])
        return next(kept for kept in reversed(index.judgements()) if kept.id == number)

    kept = call.server.writer(call.index).change(change)
    return _told(holding.snapshot(), kept)


async def remove_judgement(call: Call) -> None:
    """Forget a judgement."""
    await call.server.writing.run(_remove, call)


def _remove(call: Call) -> None:
    number = call.path["judgement"]

    def change(index: Index) -> None:
        if number not in {judgement.id for judgement in index.judgements()}:
            raise no_such("judgement", number)
        index.remove_judgements([number])

    call.server.shelf[call.index]
    call.server.writer(call.index).change(change)


def _region(box: list[float] | None, record: ImageRecord) -> Region | None:
    if box is None:
        return None
    x, y, width, height = box
    inside = Region(x, y, width, height).clipped(record.width, record.height) if width > 0 and height > 0 else None
    if inside is None:
        raise InputError(f"region {box} is empty, or outside {record.name}")
    return inside


def _told(snapshot: Snapshot, judgement: Judgement) -> shapes.Judgement:
    return shapes.Judgement(
        id=judgement.id,
        image_a=snapshot.ids.get((judgement.name_a, judgement.page_a)),
        name_a=readable(judgement.name_a),
        page_a=judgement.page_a,
        region_a=None if judgement.region_a is None else judgement.region_a.as_list(),
        image_b=snapshot.ids.get((judgement.name_b, judgement.page_b)),
        name_b=readable(judgement.name_b),
        page_b=judgement.page_b,
        region_b=None if judgement.region_b is None else judgement.region_b.as_list(),
        verdict=judgement.verdict,
        note=judgement.note,
        author=judgement.author,
        time=judgement.time,
    )


_JUDGEMENTS = "/api/indexes/{index}/judgements"
OPERATIONS = (
    Operation(
        "GET", _JUDGEMENTS, judgements, "The judgements that stand", shapes.Judgements, query=questions.JudgementsQuery
    ),
    Operation(
        "POST", _JUDGEMENTS, add_judgement, "Say that two pictures are the same, or different", shapes.Judgement,
        body=questions.JudgementRequest, status=201, refusals=(409, 422), writes=True,
    ),
    Operation(
        "DELETE", f"{_JUDGEMENTS}/{{judgement}}", remove_judgement, "Forget a judgement", "", status=204,
        refusals=(409,), writes=True,
    ),
)  # fmt: skip
"""Routes of this module."""
