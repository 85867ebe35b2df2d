"""What looks like a picture, or means what words say, learned from what readers call right and wrong. Not identity."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from index.memory import give_back_memory
from index.similar import Example, Likeness, Wanted, likeness_as_dict, similar
from index.vectors import stored_models
from matcher.errors import InputError
from matcher.registry import embedder_named
from webui import questions, shapes
from webui.asked import Asked, address_of, asked_for, box_of, side_of
from webui.browsing import chosen, readers_among, shown, title_of
from webui.contract import Call, Operation
from webui.exporting import KINDS, likeness_file
from webui.imaging import Picture, crop_address
from webui.kept import Kept
from webui.problems import Refusal
from webui.searching import part_of

if TYPE_CHECKING:
    from starlette.responses import Response

    from index.similar import Alike
    from matcher.embedding import Embedder
    from matcher.types import Region
    from webui.shelf import Snapshot

__all__ = ["OPERATIONS", "Embedders", "export_similar", "similar_images"]

_EMBEDDERS = 2
"""Models kept in memory, each some hundreds of megabytes."""

_NOTHING_ALIKE = 422


class Embedders:
    """The models that were asked last: to load one takes seconds. May be used by any thread."""

    def __init__(self) -> None:
        self._kept = Kept["Embedder"](_EMBEDDERS)
        self._lock = threading.Lock()

    def named(self, name: str) -> Embedder:
        """Return the embedder of a name."""
        with self._lock:  # or two who ask at once would load it twice
            made = self._kept.get(name)
            if made is None:
                made = embedder_named(name)
                self._kept.put(name, made)
            return made


@dataclass(frozen=True, slots=True)
class _Given:
    """An example that a reader has called right or wrong: an image of the index, or a part of it."""

    text: str
    image: int
    region: Region | None

    @classmethod
    def of(cls, text: str) -> _Given:
        image, _, box = text.partition(":")
        return cls(text, int(image), box_of(box) if box else None)

    def example(self, snapshot: Snapshot) -> Example:
        record = snapshot.record(self.image)
        return Example(Path(record.path), self.region, record.page)

    def told(self, snapshot: Snapshot) -> shapes.Example:
        record = snapshot.record(self.image)
        crop = _crop(snapshot, self.image, self.region)
        return shapes.Example(self.text, record.id, title_of(snapshot, record), crop)


async def similar_images(call: Call, query: questions.SimilarQuery) -> shapes.Likeness:
    """Find what is like a picture, an image or a part of one, words, a colour."""
    snapshot, what, found = await _found(call, query)
    return await call.server.reading.run(_told, snapshot, what, found, query)


async def export_similar(call: Call, query: questions.SimilarExportQuery) -> Response:
    """Return what is alike as a file."""
    _, what, found = await _found(call, query)
    return likeness_file(likeness_as_dict(found)["alike"], query.form, query.text or (what.name if what else "alike"))


async def _found(call: Call, query: questions.SimilarQuery) -> tuple[Snapshot, Asked | None, Likeness]:
    snapshot = await call.server.reading.run(call.server.shelf[call.index].snapshot)
    what = None
    if query.image is not None or query.upload is not None:
        what = asked_for(call, snapshot, query)
    right, wrong = ([_Given.of(text) for text in given] for given in (query.right, query.wrong))
    first = [] if what is None else [Example(what.picture.source, what.region, what.picture.page)]
    colour = query.colour
    wanted = Wanted(
        right=[*first, *(given.example(snapshot) for given in right)],
        wrong=[given.example(snapshot) for given in wrong],
        texts=[query.text] if query.text.strip() else [],
        language=query.language,
        colours=[] if colour is None else [(int(colour[:2], 16), int(colour[2:4], 16), int(colour[4:], 16))],
    )
    if not (wanted.right or wanted.texts or wanted.colours):
        raise Refusal(_NOTHING_ALIKE, "give image or upload, right, text or colour: what it is to be like")
    only = None
    if query.where.strip():
        only = frozenset(await call.server.reading.run(chosen, snapshot, query.where))
    ask = partial(
        similar,
        snapshot.index,
        wanted,
        model=query.model or await call.server.reading.run(_usual_model, snapshot, bool(wanted.texts), colour),
        top=query.limit,
        only=only,
        among=query.among,
        embedder=call.server.embedders.named,
    )
    return snapshot, what, await call.server.searching.run(_asked, ask)


def _asked(ask: partial[Likeness]) -> Likeness:
    try:
        return ask()
    finally:
        give_back_memory()


def _usual_model(snapshot: Snapshot, texts: bool, colour: str | None) -> str:
    """Return the model to ask where none is named: the first that understands what is asked."""
    names = [model.name for model in stored_models(snapshot.index.path)]
    if not names:
        raise InputError(f"{snapshot.name} has no vectors; make some with: calque embed {snapshot.name}.calque")
    if colour is not None:
        return next((name for name in names if name == "palette"), names[0])
    if texts:
        return next(iter(readers_among(names)), names[0])
    return names[0]


def _told(snapshot: Snapshot, what: Asked | None, found: Likeness, query: questions.SimilarQuery) -> shapes.Likeness:
    parts = {} if what is None else part_of(what)
    address = address_of(
        snapshot,
        "similar",
        **parts,
        model=query.model,
        text=query.text.strip(),
        language=query.language if query.text.strip() and query.language != "en" else None,
        colour=query.colour,
        among=query.among if query.among != "all" else None,
        where=query.where.strip(),
    )
    given = "&".join(f"{name}={one}" for name in ("right", "wrong") for one in getattr(query, name))
    right, wrong = (
        [_Given.of(text).told(snapshot) for text in texts if int(text.partition(":")[0]) in snapshot.records]
        for texts in (query.right, query.wrong)
    )
    return shapes.Likeness(
        index=snapshot.name,
        address=address + (("&" if "?" in address else "?") + given if given else ""),
        model=found.model,
        models=[model.name for model in stored_models(snapshot.index.path)],
        asked=None if what is None else side_of(snapshot, what),
        text=query.text.strip(),
        colour=query.colour,
        right=right,
        wrong=wrong,
        seconds=round(found.seconds, 4),
        alike=[told for one in found.alike if (told := _alike(snapshot, one)) is not None],
    )


def _alike(snapshot: Snapshot, one: Alike) -> shapes.Alike | None:
    """Return an answer as it is told; None where its image has been removed since."""
    image = snapshot.ids.get((one.path, one.page))
    if image is None:
        return None
    box = None if one.region is None else [round(edge, 3) for edge in one.region.as_list()]
    return shapes.Alike(
        **shown(snapshot, snapshot.records[image]),
        rank=one.rank,
        region=box,
        kind=one.kind,
        likeness=round(one.likeness, 4),
        crop=_crop(snapshot, image, one.region),
        example=f"{image}" if box is None else f"{image}:{','.join(f'{edge:g}' for edge in box)}",
    )


def _crop(snapshot: Snapshot, image: int, region: Region | None) -> str:
    record = snapshot.records[image]
    box = [0.0, 0.0, float(record.width), float(record.height)] if region is None else region.as_list()
    return crop_address(Picture.of(snapshot.name, record).address, box, record.width, record.height)


_SIMILAR = "/api/indexes/{index}/similar"
OPERATIONS = (
    Operation(
        "GET", _SIMILAR, similar_images, "What looks like a picture, or means what words say", shapes.Likeness,
        query=questions.SimilarQuery, refusals=(422,),
    ),
    Operation(
        "GET", f"{_SIMILAR}/export", export_similar, "What is alike, as a file",
        ",".join(KINDS[form] for form in ("csv", "jsonl")), query=questions.SimilarExportQuery, refusals=(422,),
    ),
)  # fmt: skip
"""Routes of this module."""
