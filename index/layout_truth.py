"""What is known to lie where on pages, as a layout or to measure layouts by: COCO, PAGE, ALTO, lists of pages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from index.annotations import KINDS, Zone
from index.items import SourceFailure
from index.zones import PageZones, read_json, read_zones
from matcher.errors import InputError
from matcher.images import printable
from matcher.layout import LayoutRegion
from matcher.layout_regions import layout_of_regions
from matcher.types import Region

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Sequence

    from matcher.layout import Layout

__all__ = ["images_of", "known_layout", "read_layout_truth", "region_of"]


def read_layout_truth(path: str | os.PathLike[str], part: str | None = None) -> list[PageZones]:
    """Return the zones of pages that a file, or the files below a folder, know.

    Parameters
    ----------
    path : path
        An ALTO, PAGE or COCO file or a folder of such; or a JSON list of pages, ``{"image", "width", "height",
        "part", "zones": [{"type", "label", "bbox", "polygon"}]}``, whose images are named relative to it.
    part : str, optional
        Only pages of this part of a list of pages.

    Raises
    ------
    InputError
        If there is nothing of the kind, it is damaged, or it has no such part.
    """
    path = Path(path)
    if path.suffix.lower() == ".json" and not path.is_dir():
        document = read_json(path)
        if isinstance(document, list):
            return list(_pages(document, path, part))
    if part is not None:
        raise InputError(f"{printable(path)}: only lists of pages have parts; leave --part out")
    pages = []
    for page in read_zones(path):
        if isinstance(page, SourceFailure):
            raise InputError(f"{page.name}: {page.reason}")
        pages.append(page)
    if not pages:
        raise InputError(f"{printable(path)}: no ALTO, PAGE or COCO file there; check which folder this is")
    return pages


def images_of(truth: Iterable[PageZones]) -> Iterator[Path | SourceFailure]:
    """Yield the images that a truth is of, and those of them that cannot be found."""
    for page in truth:
        image = page.beside()
        reason = f"{printable(page.source)} knows it, but it is not there; name the SOURCE that holds it"
        yield SourceFailure(page.image, reason) if image is None else image


def region_of(zone: Zone) -> LayoutRegion:
    """Return a zone as a region; one of kind ``other`` as text, which is the only kind that it may be drawn as."""
    outline = None if zone.polygon is None else np.array(zone.polygon, np.float64)
    score = 1.0 if zone.score is None else zone.score
    return LayoutRegion("text" if zone.kind == "other" else zone.kind, zone.box, score, outline)


def known_layout(zones: Sequence[Zone], width: int, height: int) -> Layout:
    """Return the layout that zones, in pixels of an image of this size, amount to; what is ``other`` is left out."""
    return layout_of_regions((region_of(zone) for zone in zones if zone.kind != "other"), width, height)


def _pages(document: list[Any], source: Path, part: str | None) -> Iterator[PageZones]:
    parts = set()
    try:
        for record in document:
            parts.add(str(record.get("part", "")))
            if part not in (None, record.get("part")):
                continue
            zones = tuple(_zone(zone) for zone in record["zones"])
            yield PageZones(source, str(record["image"]), (float(record["width"]), float(record["height"])), zones)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{printable(source)}: not a list of pages with zones ({type(error).__name__}: {error}); see docs/layout.md"
        ) from error
    if part not in (None, *parts):
        raise InputError(f"{printable(source)}: no part is called {part!r}; there are: {', '.join(sorted(parts))}")


def _zone(record: dict[str, Any]) -> Zone:
    kind = str(record["type"])
    outline = record.get("polygon")
    polygon = tuple((float(x), float(y)) for x, y in outline) if outline and len(outline) > 2 else None
    box = Region(*map(float, record["bbox"]))
    return Zone(kind if kind in KINDS else "other", box, str(record.get("label", "")), polygon=polygon)
