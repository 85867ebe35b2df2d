"""Two pictures in one frame: how one lies on the other, and the pictures that show it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from index.comparison import compare
from webui import questions, shapes
from webui.asked import Asked, address_of, asked_for, box_of, side_of
from webui.browsing import shown
from webui.contract import Call, Operation
from webui.drawing import PICTURES, Pair, draw_pair, judge_pair, pair_frame
from webui.imaging import cached, picture_response, tag_of
from webui.problems import Refusal
from webui.searching import nearest, part_of

if TYPE_CHECKING:
    from starlette.responses import Response

    from index.catalogue import ImageRecord
    from matcher.types import Match, Region
    from webui.shelf import Snapshot

__all__ = ["OPERATIONS", "block_verdict", "compare_images", "compared_picture"]

_JUDGING_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class _Pairing:
    """What a request compares: what is looked for, the image it is looked for on, and how it was found there."""

    snapshot: Snapshot
    what: Asked
    record: ImageRecord
    place: Region | None
    match: Match | None

    @property
    def name(self) -> str:
        """Name, in the folder of the first picture, of what is made of the pair."""
        told = None if self.match is None else self.match.transform.matrix.round(6).tolist()
        state = (self.what.key, self.record.digest, self.record.page, told)
        return f"pair-{tag_of(*state)}"

    def pair(self) -> Pair:
        """Return it as decoding processes take it; `Refusal` (404) where nothing was found."""
        if self.match is None:
            raise Refusal(404, "the one is not found on the other: there is nothing to show")
        picture = self.what.picture
        return Pair(
            picture.source,
            picture.page,
            picture.size,
            Path(self.record.path),
            self.record.page,
            (self.record.width, self.record.height),
            self.match,
            self.what.region,
        )

    def address(self, what: str) -> str:
        """Return the address of something that is known of the pair."""
        parameters = {**part_of(self.what), "with": self.record.id, "place": self.place}
        return address_of(self.snapshot, what, **parameters)


async def _paired(call: Call, query: questions.ComparisonQuery) -> _Pairing:
    snapshot = await call.server.reading.run(call.server.shelf[call.index].snapshot)
    what = asked_for(call, snapshot, query)
    record = snapshot.record(query.with_)
    place = None if query.place is None else box_of(query.place)
    match = call.server.answers.match((snapshot.name, snapshot.contents, *what.key), record.path, record.page, place)
    if match is None:
        key = (what.key, record.digest, record.page)
        found = call.server.comparisons.get(key)
        if found is None:
            with call.server.imaging.folder(what.picture) as folder:
                asked = await what.query(call, folder)
                found = await call.server.searching.run(
                    partial(compare, asked.image, Path(record.path), asked.region, asked.page, record.page)
                )
            call.server.comparisons.put(key, found)
        match = nearest(found, place)
    return _Pairing(snapshot, what, record, place, match)


async def compare_images(call: Call, query: questions.ComparisonQuery) -> shapes.Comparison:
    """Lay an image on what is looked for."""
    pairing = await _paired(call, query)
    what, record, match = pairing.what, pairing.record, pairing.match
    known = shown(pairing.snapshot, record)
    told = {name: known[name] for name in ("name", "title", "page", "width", "height", "iiif", "metadata")}
    place = pairing.place if match is None else match.region
    a = side_of(pairing.snapshot, what)
    b = shapes.Side(image=record.id, upload=None, region=None if place is None else place.as_list(), **told)
    if match is None:
        return shapes.Comparison(pairing.snapshot.name, a, b, found=False)
    frame = pair_frame(what.picture.size, what.region)
    ruling = None
    if what.record is not None:
        ruling = pairing.snapshot.ruling(what.record, what.region, record, match.region)
    return shapes.Comparison(
        pairing.snapshot.name,
        a,
        b,
        found=True,
        relation=match.relation,
        rotation=match.rotation,
        scale=match.scale,
        inliers=match.inliers,
        false_alarms=max(10.0**match.log_false_alarms, sys.float_info.min),
        transform=match.transform.matrix.tolist(),
        polygon=match.polygon.tolist(),
        frame=shapes.Frame(frame.region.as_list(), frame.width, frame.height),
        pictures=shapes.Pictures(**{name: pairing.address(f"comparison/{name}") for name in PICTURES}),
        verdict=pairing.address("comparison/verdict"),
        judgement=ruling,
        points=shapes.Points(match.query_points.tolist(), match.image_points.tolist()),
    )


async def compared_picture(call: Call, query: questions.ComparisonQuery) -> Response:
    """Show a pair: one of the two, both in two colours, what differs, or the proof."""
    pairing = await _paired(call, query)
    pair, name = pairing.pair(), pairing.name
    etag = f"{name}-{call.path['picture']}"
    if (unchanged := cached(call, etag)) is not None:
        return unchanged
    with call.server.imaging.folder(pairing.what.picture) as folder:
        target = folder / name / f"{call.path['picture']}.jpg"
        if not target.exists():
            await call.server.imaging.make(pairing.what.picture, folder / name, draw_pair, pair, folder / name)
        content = target.read_bytes()
    return picture_response(content, etag)


async def block_verdict(call: Call, query: questions.ComparisonQuery) -> shapes.Verdict:
    """Judge whether a pair was printed from one block."""
    pair = (await _paired(call, query)).pair()
    told = await call.server.decoding.run(partial(call.server.decoders.do, _JUDGING_SECONDS, judge_pair, pair))
    return msgspec.convert(told, shapes.Verdict)


_COMPARISON = "/api/indexes/{index}/comparison"
OPERATIONS = (
    Operation(
        "GET", _COMPARISON, compare_images, "How one picture lies on another", shapes.Comparison,
        query=questions.ComparisonQuery, refusals=(422,),
    ),
    Operation(
        "GET", f"{_COMPARISON}/verdict", block_verdict, "One block, or a copy of it", shapes.Verdict,
        query=questions.ComparisonQuery, refusals=(422,),
    ),
    Operation(
        "GET", f"{_COMPARISON}/{{picture}}", compared_picture, "A picture of the pair, in one frame", "image/jpeg",
        query=questions.ComparisonQuery, refusals=(422,),
    ),
)  # fmt: skip
"""Routes of this module."""
