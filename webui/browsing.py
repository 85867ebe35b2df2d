"""Indexes and their images: lists, sorted and filtered; facets; one image with what is known of it."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from index.exports import readable
from index.vectors import stored_models
from index.where import OWN_KEYS, THING_KEYS, parse
from index.where import select as select_images
from index.words import find_words
from webui import questions, shapes
from webui.contract import Call, Operation
from webui.imaging import Picture, crop_address, thumbnail_address
from webui.kept import Kept
from webui.maps import map_address
from webui.problems import Refusal, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from index.catalogue import ImageRecord
    from index.detections import KnownDetection
    from webui.shelf import Holding, Snapshot

__all__ = [
    "OPERATIONS",
    "Listings",
    "chosen",
    "facets",
    "failures",
    "image",
    "images",
    "index",
    "indexes",
    "placed",
    "readers_among",
    "shown",
    "title_of",
]

_SORTED_BY = ("id", "name", "page", "width", "height", "features")
_TITLES = ("title", "Title", "label")
_OF_PLACE = ("region", "relation", "rotation", "scale", "false_alarms", "transform")
_KEPT = 16
_THINGS = "object"
"""What conditions call the things on images."""

_READERS = ("clip", "openclip", "siglip", "hf")
_FACETS = 50
"""Fields told of at once at the most."""


class Listings:
    """The last lists that were asked for: who goes on to the next page need not wait for the first."""

    def __init__(self) -> None:
        self._kept = Kept[list[int]](_KEPT)

    def ids(self, snapshot: Snapshot, where: str, text: str, sort: str) -> list[int]:
        """Return the ids of the images that fit, in order."""
        key = (snapshot.name, snapshot.serial, where, text, sort)
        found = self._kept.get(key)
        if found is None:
            found = _ordered(snapshot, chosen(snapshot, where, text), sort)
            self._kept.put(key, found)
        return found


def chosen(snapshot: Snapshot, where: str = "", text: str = "") -> list[int]:
    """Return the ids of the images that fit a condition and contain words (`index.words`), ascending.

    Raises
    ------
    InputError
        If `where` is no condition, or `text` only says what must not be there.
    """
    ids = list(snapshot.records)
    if where.strip():
        condition = parse(where)
        things = snapshot.index.things(condition)
        records = select_images(condition, snapshot.records.values(), snapshot.metadata, things)
        ids = [record.id for record in records]
    if text.strip():
        found = {hit.image for hit in find_words(snapshot.index.path, text)}
        ids = [image for image in ids if image in found]
    return ids


def shown(snapshot: Snapshot, record: ImageRecord) -> dict[str, Any]:
    """Return what every picture of an index is shown with, as `shapes.Folded` has it."""
    address = Picture.of(snapshot.name, record).address
    return {
        "id": record.id,
        "name": readable(record.name),
        "page": record.page,
        "title": title_of(snapshot, record),
        "width": record.width,
        "height": record.height,
        "metadata": dict(snapshot.metadata.get(record.id, {})),
        "iiif": address,
        "thumbnail": thumbnail_address(address),
    }


def placed(snapshot: Snapshot, record: ImageRecord, values: dict[str, Any]) -> dict[str, Any]:
    """Return what every place that was found is told with, as `shapes.Place` has it, but its judgement.

    Parameters
    ----------
    snapshot : Snapshot
    record : ImageRecord
        The image that it lies on.
    values : dict
        What the command line tells of it.
    """
    known = shown(snapshot, record)
    return {
        "image": known.pop("name"),
        **known,
        **{name: values[name] for name in _OF_PLACE},
        "crop": crop_address(known["iiif"], values["region"], record.width, record.height),
    }


def title_of(snapshot: Snapshot, record: ImageRecord) -> str:
    """Return how an image is called in a list: by its title where it has one, else by its name."""
    known = snapshot.metadata.get(record.id, {})
    return next((known[key] for key in _TITLES if known.get(key)), readable(record.name))


async def indexes(call: Call) -> shapes.Indexes:
    """List the indexes."""
    return shapes.Indexes([await call.server.reading.run(_index, call, holding) for holding in call.server.shelf])


async def index(call: Call) -> shapes.Index:
    """Return what an index holds."""
    return await call.server.reading.run(_index, call, call.server.shelf[call.index])


def readers_among(models: Sequence[str]) -> list[str]:
    """Return the models that may be asked in words, by their names; what others of the hub understand is not known."""
    return [name for name in models if name.partition(":")[0] in _READERS]


def _index(call: Call, holding: Holding) -> shapes.Index:
    snapshot = holding.snapshot()
    return shapes.Index(
        name=holding.name,
        images=len(snapshot.records),
        features=sum(record.n_features for record in snapshot.records.values()),
        fields=snapshot.fields,
        ready=holding.ready,
        calibrated=snapshot.index.calibrated,
        judgements=len(snapshot.judgements),
        extractor=snapshot.index.settings.extractor,
        work_size=snapshot.index.settings.work_size,
        models=(models := [model.name for model in stored_models(holding.path)]),
        readers=readers_among(models),
        map=f"{map_address(holding.name)}/index.html" if holding.name in call.server.options.maps else None,
    )


async def images(call: Call, query: questions.ImagesQuery) -> shapes.Images:
    """List images of an index."""
    return await call.server.reading.run(_images, call, query)


def _images(call: Call, query: questions.ImagesQuery) -> shapes.Images:
    snapshot = call.server.shelf[call.index].snapshot()
    ids = call.server.listings.ids(snapshot, query.where, query.text, query.sort)
    told = [_image(snapshot, snapshot.records[image]) for image in ids[query.offset : query.offset + query.limit]]
    return shapes.Images(len(ids), query.offset, query.limit, told)


def _image(snapshot: Snapshot, record: ImageRecord) -> shapes.Image:
    return shapes.Image(**shown(snapshot, record), features=record.n_features)


async def image(call: Call) -> shapes.ImageDetail:
    """Return one image with what is known of it."""
    return await call.server.reading.run(_detail, call)


def _detail(call: Call) -> shapes.ImageDetail:
    snapshot = call.server.shelf[call.index].snapshot()
    record = snapshot.record(call.path["image"])
    ids = list(snapshot.records)
    before, after = bisect_left(ids, record.id) - 1, bisect_right(ids, record.id)
    zones = [
        shapes.Zone(
            kind=cast("Any", zone.kind),
            box=zone.box.as_list(),
            polygon=None if zone.polygon is None else [list(corner) for corner in zone.polygon],
            label=zone.label,
            score=zone.score,
            origin=zone.origin,
        )
        for zone in snapshot.index.regions(record.id)
    ]
    return shapes.ImageDetail(
        **shown(snapshot, record),
        features=record.n_features,
        regions=zones,
        things=[_thing(known) for known in snapshot.index.detections(record.id)],
        previous=ids[before] if before >= 0 else None,
        next=ids[after] if after < len(ids) else None,
    )


def _thing(known: KnownDetection) -> shapes.Thing:
    found = known.detection
    outline = np.round(found.outline(), 1).tolist() if found.polygons else None
    return shapes.Thing(found.label, found.box.as_list(), outline, found.score, known.origin)


async def facets(call: Call, query: questions.FacetsQuery) -> shapes.Facets:
    """Count the values of fields among the images that fit."""
    return await call.server.reading.run(_facets, call, query)


def _facets(call: Call, query: questions.FacetsQuery) -> shapes.Facets:
    snapshot = call.server.shelf[call.index].snapshot()
    fields = [*snapshot.fields, *([_THINGS] if snapshot.labels else [])]
    for name in query.field:
        if name not in fields:
            raise Refusal(422, f"no image has a field {name!r}; there are: {', '.join(fields) or 'none'}")
    ids = call.server.listings.ids(snapshot, query.where, query.text, "id")
    wanted = list(dict.fromkeys(query.field))[:_FACETS] or fields[:_FACETS]
    counted: dict[str, Counter[str]] = {name: Counter() for name in wanted if name in snapshot.fields}
    for number in ids:
        for name, value in snapshot.metadata.get(number, {}).items():
            if name in counted:
                counted[name][value] += 1
    told = [_facet("metadata", name, _key(name), values, query.limit) for name, values in counted.items()]
    if _THINGS in wanted and snapshot.labels:
        seen = Counter(label for number in ids for label in snapshot.labels.get(number, ()))
        told.insert(0, _facet("things", _THINGS, _THINGS, seen, query.limit))
    return shapes.Facets(len(ids), told)


def _facet(of: Literal["metadata", "things"], name: str, key: str, values: Counter[str], limit: int) -> shapes.Facet:
    most = sorted(values.items(), key=lambda item: (-item[1], item[0]))[:limit]
    told = [shapes.FacetValue(value, many, f"{key} = {_quoted(value)}") for value, many in most]
    return shapes.Facet(of, name, len(values), values.total(), told)


async def failures(call: Call) -> shapes.Failures:
    """List what could not be added."""
    snapshot = call.server.shelf[call.index].snapshot()
    found = await call.server.reading.run(snapshot.index.failures)
    return shapes.Failures([shapes.Unreadable(plain(one.name), one.page, plain(one.reason), one.time) for one in found])


def _ordered(snapshot: Snapshot, ids: list[int], sort: str) -> list[int]:
    field, descending = sort.removeprefix("-"), sort.startswith("-")
    if field in _SORTED_BY:
        value = OWN_KEYS[field]
        keys: list[Any] = [_by_number(str(value(snapshot.records[image]))) for image in ids]
    elif field in snapshot.fields:
        keys = [_by_number(snapshot.metadata.get(image, {}).get(field, "")) for image in ids]
    else:
        known = ", ".join([*_SORTED_BY, *snapshot.fields])
        raise Refusal(422, f"nothing is sorted by {field!r}; there are: {known}")
    told = [place for place in range(len(ids)) if keys[place]]
    untold = [place for place in range(len(ids)) if not keys[place]]
    told.sort(key=keys.__getitem__, reverse=descending)
    return [ids[place] for place in told + untold]


def _by_number(text: str) -> Sequence[tuple[int, str]]:
    """Return a key that sorts text as people do, p2 before p10; an empty one for what is not known."""
    parts = re.split(r"(\d{1,18})", text.casefold()) if text else []
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _key(field: str) -> str:
    taken = field.casefold() in (*OWN_KEYS, *THING_KEYS)
    return _quoted(f"meta:{field}" if taken else field)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


_OF_INDEX = "/api/indexes/{index}"
OPERATIONS = (
    Operation("GET", "/api/indexes", indexes, "The indexes", shapes.Indexes),
    Operation("GET", _OF_INDEX, index, "What an index holds", shapes.Index),
    Operation(
        "GET", f"{_OF_INDEX}/images", images, "Images: sorted, filtered, page by page", shapes.Images,
        query=questions.ImagesQuery, refusals=(422,),
    ),
    Operation(
        "GET", f"{_OF_INDEX}/facets", facets, "How often each value of metadata occurs", shapes.Facets,
        query=questions.FacetsQuery, refusals=(422,),
    ),
    Operation("GET", f"{_OF_INDEX}/images/{{image}}", image, "One image, its metadata and zones", shapes.ImageDetail),
    Operation("GET", f"{_OF_INDEX}/failures", failures, "What could not be added", shapes.Failures),
)  # fmt: skip
"""Routes of this module."""
