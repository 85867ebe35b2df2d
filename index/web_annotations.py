"""Findings as W3C Web Annotations on the canvases of a IIIF manifest, which Mirador and other viewers open.

IIIF Presentation API 3.0: https://iiif.io/api/presentation/3.0/; Web Annotation Data Model:
https://www.w3.org/TR/annotation-model/.
"""

from __future__ import annotations

import json
import mimetypes
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import NAMESPACE_URL, uuid5

import numpy as np

from index.exports import by_sheet, readable
from index.iiif import CANVAS, CANVAS_HEIGHT, CANVAS_PART, CANVAS_WIDTH, MANIFEST, SERVICE
from matcher.types import Region

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from index.exports import Finding, Sheet

__all__ = ["DEFAULT_ADDRESS", "manifest"]

DEFAULT_ADDRESS = "http://localhost:8000/"
"""Where ``python -m http.server`` serves the folder that it is started in."""

_FRAGMENTS = "http://www.w3.org/TR/media-frags/"
_CONTEXT = "http://iiif.io/api/presentation/3/context.json"
_LAID_OUT = {MANIFEST, CANVAS, CANVAS_WIDTH, CANVAS_HEIGHT, CANVAS_PART, SERVICE}
_UPRIGHT = 1.0
"""A polygon whose corners are this near, in pixels, to those of its box needs no outline of its own."""


def manifest(found: Iterable[Finding], address: str = DEFAULT_ADDRESS, sheets: Iterable[Sheet] = ()) -> dict[str, Any]:
    """Return findings as a manifest of the images they lie on, each canvas with a page of annotations.

    An image that came from a IIIF manifest keeps its canvas: its id, its size, its image service; coordinates are
    brought from the image's pixels to the canvas's units. Any other image gets a canvas of its own.

    Parameters
    ----------
    found : iterable of Finding
        What lies wholly beyond the edges of its image is left out.
    address : str
        Where the folder that the images' names are relative to is served: what the ids of local images, their canvases
        and all annotations begin with. IIIF wants ``http`` or ``https``.
    sheets : iterable of Sheet
        Images that have a canvas even if nothing was found on them.

    Returns
    -------
    dict
        Plain JSON types. A manifest must have a canvas: without any it is an empty collection.
    """
    base = address.rstrip("/") + "/"
    pictures: dict[str, list[tuple[_Place, list[Finding]]]] = {}
    for sheet, lying in by_sheet(found, sheets):
        place = _Place.of(sheet, base)
        pictures.setdefault(place.canvas, []).append((place, lying))
    canvases = [_canvas(group, base) for group in pictures.values()]
    head = {"@context": _CONTEXT, "id": f"{base}manifest.json"}
    if not canvases:
        return {**head, "type": "Collection", "label": {"en": ["Nothing found"]}, "items": []}
    return {**head, "type": "Manifest", "label": {"en": ["Found pictures"]}, "items": canvases}


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a sheet lies: the id and the size of its canvas, its corner there, units of the canvas for each pixel."""

    sheet: Sheet
    canvas: str
    width: int
    height: int
    corner: tuple[float, float] = (0.0, 0.0)
    scale: tuple[float, float] = (1.0, 1.0)

    @classmethod
    def of(cls, sheet: Sheet, base: str) -> _Place:
        known = sheet.metadata
        if CANVAS not in known:
            canvas = f"{_address(sheet.name, base)}/canvas/{sheet.page + 1}"
            return cls(sheet, canvas, sheet.width, sheet.height)
        width, height = (float(known.get(key, 0)) for key in (CANVAS_WIDTH, CANVAS_HEIGHT))
        if not (width and height):
            return cls(sheet, known[CANVAS], sheet.width, sheet.height)
        part = known.get(CANVAS_PART, f"0,0,{width},{height}")
        x, y, wide, high = (float(number) for number in part.split(","))
        scale = (wide / sheet.width, high / sheet.height)
        return cls(sheet, known[CANVAS], round(width), round(height), (x, y), scale)

    def fragment(self, box: Region) -> str:
        """Return a box of the sheet as a media fragment in whole units of the canvas, at least one wide and high."""
        left, top, right, bottom = self._placed(np.array([[box.x, box.y], [box.x + box.width, box.y + box.height]]))
        x, y = int(left), int(top)
        return f"xywh={x},{y},{max(1, round(right) - x)},{max(1, round(bottom) - y)}"

    def svg(self, outlines: Sequence[NDArray[np.float64]]) -> str:
        """Return outlines on the sheet as an SVG document in units of the canvas; what an odd number hold is inside."""
        drawn = []
        for outline in outlines:
            numbers = iter(self._placed(outline))
            corners = " L ".join(f"{x:.1f},{y:.1f}" for x, y in zip(numbers, numbers, strict=True))
            drawn.append(f"M {corners} Z")
        rule = ' fill-rule="evenodd"' if len(drawn) > 1 else ""
        # A path, not a polygon: Mirador draws no other shape.
        return f'<svg xmlns="http://www.w3.org/2000/svg"><path{rule} d="{" ".join(drawn)}"/></svg>'

    def target(self) -> str:
        """Return the canvas, or the part of it that the sheet fills."""
        whole = Region(0, 0, self.sheet.width, self.sheet.height)
        return f"{self.canvas}#{self.fragment(whole)}" if CANVAS_PART in self.sheet.metadata else self.canvas

    def _placed(self, points: NDArray[np.float64]) -> list[float]:
        placed: list[float] = (points * self.scale + self.corner).ravel().tolist()
        return placed


def _canvas(pictures: list[tuple[_Place, list[Finding]]], base: str) -> dict[str, Any]:
    """Return a canvas with the pictures on it, and what was found on these."""
    place = pictures[0][0]
    own = f"{base}annotations/{uuid5(NAMESPACE_URL, place.canvas)}"
    painted = [
        {
            "id": f"{own}/image/{number}",
            "type": "Annotation",
            "motivation": "painting",
            "body": body,
            "target": placed.target(),
        }
        for number, (placed, _) in enumerate(pictures, start=1)
        if (body := _image(placed.sheet, base)) is not None
    ]
    found = [(placed, finding) for placed, lying in pictures for finding in lying]
    annotations = [_annotation(f"{own}/found/{k}", *item, base) for k, item in enumerate(found, start=1)]
    metadata = place.sheet.metadata
    told = {key: value for key, value in metadata.items() if key not in _LAID_OUT}
    drawn: dict[str, Any] = {
        "id": place.canvas,
        "type": "Canvas",
        "label": {"none": [metadata.get("canvas_label") or place.sheet.title]},
        "width": place.width,
        "height": place.height,
        "items": [{"id": f"{own}/images", "type": "AnnotationPage", "items": painted}],
        "annotations": [{"id": f"{own}/found", "type": "AnnotationPage", "items": annotations}],
    }
    if told:
        drawn["metadata"] = [{"label": {"none": [key]}, "value": {"none": [value]}} for key, value in told.items()]
    if MANIFEST in metadata:
        drawn["partOf"] = [{"id": metadata[MANIFEST], "type": "Manifest"}]
    return drawn


def _image(sheet: Sheet, base: str) -> dict[str, Any] | None:
    """Return the picture that is painted on a canvas, None where only its library knows its address."""
    service = sheet.metadata.get(SERVICE)
    if service is not None:
        # Keys of version 2, which viewers of either version read; which one it is, the service itself tells them.
        served = [{"@id": service, "@type": "ImageService2", "profile": "level1"}]
        return {"id": f"{service}/full/max/0/default.jpg", "type": "Image", "format": "image/jpeg", "service": served}
    if CANVAS in sheet.metadata:
        return None
    kind = mimetypes.guess_type(sheet.name)[0] or "application/octet-stream"
    size = {"width": sheet.width, "height": sheet.height}
    return {"id": _address(sheet.name, base), "type": "Image", "format": kind, **size}


def _annotation(own: str, place: _Place, finding: Finding, base: str) -> dict[str, Any]:
    values = {"found": readable(finding.category), **finding.values}
    told = "; ".join(f"{name.replace('_', ' ')}: {_plain(value)}" for name, value in values.items())
    bodies: list[dict[str, Any]] = [
        {"type": "TextualBody", "value": told, "format": "text/plain", "language": "en", "purpose": "commenting"}
    ]
    if finding.source is not None:
        bodies.append(_part(finding.source, finding.source_region, base))
    return {
        "id": own,
        "type": "Annotation",
        "motivation": ["commenting", "linking"] if finding.source is not None else ["commenting"],
        "body": bodies,
        "target": _target(place, finding),
    }


def _target(place: _Place, finding: Finding) -> dict[str, Any]:
    """Return the box of a finding on its canvas and, where it is no upright box, its exact outline."""
    fragment = {"type": "FragmentSelector", "conformsTo": _FRAGMENTS, "value": place.fragment(finding.box)}
    corners = finding.box.corners()
    outline = finding.outline
    upright = (
        len(finding.outlines) == 1
        and len(outline) == 4
        and all(np.abs(corners - corner).max(axis=1).min() < _UPRIGHT for corner in outline)
    )
    selectors = [fragment] if upright else [fragment, {"type": "SvgSelector", "value": place.svg(finding.outlines)}]
    source = {"id": place.canvas, "type": "Canvas"}
    return {
        "type": "SpecificResource",
        "source": source,
        "selector": selectors[0] if upright else selectors,
    }


def _part(source: Sheet, region: Region | None, base: str) -> dict[str, Any]:
    """Return a link to what was looked for: its canvas where it is an image of the index, else its file."""
    known = source.width > 0
    place = _Place.of(source, base) if known else _Place(source, _address(source.name, base), 0, 0)
    address = place.canvas if region is None else f"{place.canvas}#{place.fragment(region)}"
    return {"id": address, "type": "Canvas" if known else "Image"}


def _address(name: str, base: str) -> str:
    """Return where a file is served, its bytes percent-encoded whatever they are."""
    return base + quote(os.fsencode(name.lstrip("/")))


def _plain(value: Any) -> str:
    """Return a value as people read it: a text as it is, numbers with seven digits."""

    def short(value: Any) -> Any:
        if isinstance(value, list):
            return [short(item) for item in value]
        return float(f"{value:.7g}") if isinstance(value, float) else value

    return value if isinstance(value, str) else json.dumps(short(value), ensure_ascii=False)
