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

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from index.exports import Finding, Sheet
    from matcher.types import Region

__all__ = ["DEFAULT_ADDRESS", "manifest"]

DEFAULT_ADDRESS = "http://localhost:8000/"
"""Where ``python -m http.server`` serves the folder that it is started in."""

_FRAGMENTS = "http://www.w3.org/TR/media-frags/"
_CONTEXT = "http://iiif.io/api/presentation/3/context.json"
MANIFEST, CANVAS, CANVAS_WIDTH, CANVAS_HEIGHT, SERVICE = (
    "iiif_manifest",
    "iiif_canvas",
    "iiif_canvas_width",
    "iiif_canvas_height",
    "iiif_service",
)
IIIF_KEYS = {MANIFEST, CANVAS, CANVAS_WIDTH, CANVAS_HEIGHT, SERVICE}
_UPRIGHT = 1.0
"""A polygon whose corners are this near, in pixels, to those of its box needs no outline of its own."""


def manifest(found: Iterable[Finding], address: str = DEFAULT_ADDRESS) -> dict[str, Any]:
    """Return findings as a manifest of the images they lie on, each canvas with a page of annotations.

    An image that came from a IIIF manifest keeps its canvas: its id, its size, its image service; coordinates are
    brought from the image's pixels to the canvas's. Any other image gets a canvas of its own.

    Parameters
    ----------
    found : iterable of Finding
        What lies wholly beyond the edges of its image is left out.
    address : str
        Where the folder that the images' names are relative to is served: what the ids of local images, their canvases
        and all annotations begin with. IIIF wants ``http`` or ``https``.

    Returns
    -------
    dict
        Plain JSON types. A manifest must have a canvas: without findings it is an empty collection.
    """
    base = address.rstrip("/") + "/"
    canvases = [_canvas(sheet, lying, base) for sheet, lying in by_sheet(found)]
    head = {"@context": _CONTEXT, "id": f"{base}manifest.json"}
    if not canvases:
        return {**head, "type": "Collection", "label": {"en": ["Nothing found"]}, "items": []}
    return {**head, "type": "Manifest", "label": {"en": ["Found pictures"]}, "items": canvases}


@dataclass(frozen=True, slots=True)
class _Canvas:
    """The canvas of a sheet, and how many of its units a pixel of the sheet is."""

    id: str
    width: int
    height: int
    x: float
    y: float

    @classmethod
    def of(cls, sheet: Sheet, base: str) -> _Canvas:
        known = sheet.metadata
        if CANVAS not in known:
            return cls(f"{_address(sheet.name, base)}/canvas/{sheet.page + 1}", sheet.width, sheet.height, 1.0, 1.0)
        width, height = int(known[CANVAS_WIDTH]), int(known[CANVAS_HEIGHT])
        return cls(known[CANVAS], width, height, width / sheet.width, height / sheet.height)

    def fragment(self, box: Region) -> str:
        """Return a box of the sheet as a media fragment in whole units of the canvas, at least one wide and high."""
        left, top = int(box.x * self.x), int(box.y * self.y)
        right = max(left + 1, round((box.x + box.width) * self.x))
        bottom = max(top + 1, round((box.y + box.height) * self.y))
        return f"xywh={left},{top},{right - left},{bottom - top}"

    def svg(self, outline: NDArray[np.float64]) -> str:
        """Return an outline on the sheet as an SVG document in units of the canvas."""
        corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in outline * (self.x, self.y))
        return f'<svg xmlns="http://www.w3.org/2000/svg"><polygon points="{corners}"/></svg>'


def _canvas(sheet: Sheet, lying: list[Finding], base: str) -> dict[str, Any]:
    canvas = _Canvas.of(sheet, base)
    own = f"{base}annotations/{uuid5(NAMESPACE_URL, canvas.id)}"
    size = {"width": canvas.width, "height": canvas.height}
    painting = {
        "id": f"{own}/image",
        "type": "Annotation",
        "motivation": "painting",
        "body": _image(sheet, base),
        "target": canvas.id,
    }
    annotations = [_annotation(f"{own}/found/{k}", canvas, item, base) for k, item in enumerate(lying, start=1)]
    drawn: dict[str, Any] = {
        "id": canvas.id,
        "type": "Canvas",
        "label": {"none": [sheet.title]},
        **size,
        "items": [{"id": f"{own}/images", "type": "AnnotationPage", "items": [painting]}],
        "annotations": [{"id": f"{own}/found", "type": "AnnotationPage", "items": annotations}],
    }
    told = {key: value for key, value in sheet.metadata.items() if key not in IIIF_KEYS}
    if told:
        drawn["metadata"] = [{"label": {"none": [key]}, "value": {"none": [value]}} for key, value in told.items()]
    if MANIFEST in sheet.metadata:
        drawn["partOf"] = [{"id": sheet.metadata[MANIFEST], "type": "Manifest"}]
    return drawn


def _image(sheet: Sheet, base: str) -> dict[str, Any]:
    """Return the picture that is painted on a canvas: from its image service, else the file itself."""
    service = sheet.metadata.get(SERVICE)
    if service is not None:
        served = [{"id": service, "type": "ImageService2", "profile": "level1"}]
        return {"id": f"{service}/full/full/0/default.jpg", "type": "Image", "format": "image/jpeg", "service": served}
    kind = mimetypes.guess_type(sheet.name)[0] or "application/octet-stream"
    size = {"width": sheet.width, "height": sheet.height}
    return {"id": _address(sheet.name, base), "type": "Image", "format": kind, **size}


def _annotation(own: str, canvas: _Canvas, finding: Finding, base: str) -> dict[str, Any]:
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
        "target": _target(canvas, finding),
    }


def _target(canvas: _Canvas, finding: Finding) -> dict[str, Any]:
    """Return the box of a finding on its canvas and, where it is no upright box, its exact outline."""
    fragment = {"type": "FragmentSelector", "conformsTo": _FRAGMENTS, "value": canvas.fragment(finding.box)}
    corners = finding.box.corners()
    outline = finding.outline
    upright = len(outline) == 4 and all(np.abs(corners - corner).max(axis=1).min() < _UPRIGHT for corner in outline)
    selectors = [fragment] if upright else [fragment, {"type": "SvgSelector", "value": canvas.svg(outline)}]
    source = {"id": canvas.id, "type": "Canvas"}
    return {
        "type": "SpecificResource",
        "source": source,
        "selector": selectors[0] if upright else selectors,
    }


def _part(source: Sheet, region: Region | None, base: str) -> dict[str, Any]:
    """Return a link to what was looked for: its canvas where it is an image of the index, else its file."""
    if source.width:
        canvas, kind = _Canvas.of(source, base), "Canvas"
    else:
        canvas, kind = _Canvas(_address(source.name, base), 0, 0, 1.0, 1.0), "Image"
    return {"id": canvas.id if region is None else f"{canvas.id}#{canvas.fragment(region)}", "type": kind}


def _address(name: str, base: str) -> str:
    """Return where a file is served, its bytes percent-encoded whatever they are."""
    return base + quote(os.fsencode(name.lstrip("/")))


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
