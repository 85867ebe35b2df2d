"""What is looked for: an image of an index or an upload, or a part of either, as requests name it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from index.answers import Query
from index.exports import readable
from matcher.errors import InputError
from matcher.types import Region
from webui import shapes
from webui.browsing import title_of
from webui.drawing import masked
from webui.imaging import Picture, tag_of
from webui.problems import Refusal

if TYPE_CHECKING:
    from pathlib import Path

    from index.catalogue import ImageRecord
    from webui import questions
    from webui.contract import Call
    from webui.shelf import Snapshot

__all__ = ["Asked", "address_of", "asked_for", "box_of", "side_of"]


@dataclass(frozen=True, slots=True)
class Asked:
    """A picture, or part of one, that is looked for.

    Attributes
    ----------
    picture : Picture
    record : ImageRecord or None
        The image of the index that it is, None for an upload.
    name, title : str
        What it is called, and how it is shown.
    region : Region or None
        Part that is meant: for a polygon the box around it.
    corners : tuple of (x, y)
        Of the polygon, empty where none was given.
    upload : str or None
        Id of the upload that it is.
    """

    picture: Picture
    record: ImageRecord | None
    name: str
    title: str
    region: Region | None
    corners: tuple[tuple[float, float], ...]
    upload: str | None

    @property
    def key(self) -> tuple[object, ...]:
        """What two that mean the same have in common."""
        return self.picture.key, self.region, self.corners

    async def query(self, call: Call, folder: Path) -> Query:
        """Return it as a question for a search; for a polygon a masked copy is made in `folder`."""
        source, page = self.picture.source, self.picture.page
        if self.corners:
            target = folder / f"mask-{tag_of(self.corners)}.png"
            if not target.exists():
                await call.server.imaging.make(self.picture, target, masked, source, page, self.corners, target)
            source, page = target, 0
        return Query(self.name, source, self.region, page)


def asked_for(call: Call, snapshot: Snapshot, part: questions.Part) -> Asked:
    """Return what a request looks for.

    Raises
    ------
    Refusal
        If it names nothing, or too much, or something that is not there.
    """
    if (part.image is None) == (part.upload is None):
        raise Refusal(422, "give one of image and upload: what is looked for")
    if part.region is not None and part.polygon is not None:
        raise Refusal(422, "give one of region and polygon")
    record: ImageRecord | None = None
    if part.upload is not None:
        held = call.server.uploads.find(part.upload, call.owner)
        picture, name, title = held.picture, held.name, held.name
    else:
        record = snapshot.record(part.image or 0)
        picture, name = Picture.of(snapshot.name, record), readable(record.name)
        title = title_of(snapshot, record)
    corners: tuple[tuple[float, float], ...] = ()
    region = None if part.region is None else box_of(part.region)
    if part.polygon is not None:
        numbers = [float(number) for number in part.polygon.split(",")]
        corners = tuple(zip(numbers[::2], numbers[1::2], strict=True))
        low, high = ([side(values) for values in zip(*corners, strict=True)] for side in (min, max))
        region = _region(low[0], low[1], high[0] - low[0], high[1] - low[1])
    if region is not None:
        region = region.clipped(picture.width, picture.height)
        if region is None:
            raise InputError(f"the region lies outside the picture, which is {picture.width} x {picture.height} pixels")
    return Asked(picture, record, name, title, region, corners, part.upload)


def side_of(snapshot: Snapshot, what: Asked) -> shapes.Side:
    """Return what is looked for as `shapes.Side` tells it."""
    picture, record = what.picture, what.record
    return shapes.Side(
        image=None if record is None else record.id,
        upload=what.upload,
        name=what.name,
        title=what.title,
        page=picture.page,
        width=picture.width,
        height=picture.height,
        region=None if what.region is None else what.region.as_list(),
        iiif=picture.address,
        metadata={} if record is None else dict(snapshot.metadata.get(record.id, {})),
    )


def box_of(text: str) -> Region:
    """Return the box that ``x,y,width,height`` spells; `Refusal` if it is empty."""
    return _region(*(float(number) for number in text.split(",")))


def _region(x: float, y: float, width: float, height: float) -> Region:
    if not (width > 0 and height > 0):
        raise Refusal(422, "a region has a width and a height above 0")
    return Region(x, y, width, height)


def address_of(snapshot: Snapshot, what: str, **parameters: object) -> str:
    """Return the address of something of an index, with the parameters that are not None or empty."""
    told = {name: _text(value) for name, value in parameters.items() if value not in (None, "")}
    query = urlencode(told, safe=",") if told else ""
    return f"/api/indexes/{quote(snapshot.name)}/{what}{query and '?'}{query}"


def _text(value: object) -> str:
    if isinstance(value, Region):
        return ",".join(f"{edge:.6g}" if abs(edge) < 1e5 else f"{edge:.0f}" for edge in value.as_list())
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)
