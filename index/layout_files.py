"""Layouts as other programs read them: JSON Lines, COCO, IIIF, ALTO, PAGE; and as pictures: crops and overlays."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image

from index.crops import crop_table, listed, write_png
from index.durable import replacing
from index.exports import Finding, Sheet, coco, file_stem, make_folder
from index.layout_journal import plain_region
from index.layouts import LONG_SIDE, surest
from index.page_files import write_page_files
from index.web_annotations import manifest
from matcher.images import read_image
from matcher.layout import CLASSES
from matcher.layout_drawings import outlined

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from index.items import SourceItem
    from index.layouts import PageLayout
    from matcher.layout import Layout, LayoutRegion

__all__ = ["CROP_COLUMNS", "FORMS", "Drawings", "document", "plain_page", "tabled", "write_layouts"]

FORMS = {"jsonl": "layouts.jsonl", "coco": "coco.json", "iiif": "manifest.json", "alto": "alto", "page": "page"}
"""The forms that layouts are written in, and the file or folder of each."""

CROP_COLUMNS = ("file", "image", "page", "region", "kind", "score")
"""Columns of ``crops.csv``."""


@dataclass(frozen=True, slots=True)
class Drawings:
    """What is drawn of each page into a folder: an overlay, every picture cut out, of regions that are sure enough.

    Attributes
    ----------
    folder : Path
        Holds the folders ``overlays`` and ``crops``, which are made.
    overlays, crops : bool
    min_score : float
    """

    folder: Path
    overlays: bool
    crops: bool
    min_score: float

    def __post_init__(self) -> None:
        for wanted, name in ((self.overlays, "overlays"), (self.crops, "crops")):
            if wanted:
                make_folder(self.folder / name)

    @property
    def told(self) -> str:
        """What is drawn, for a journal."""
        return json.dumps([self.overlays, self.crops, self.min_score])

    def draw(self, item: SourceItem, layout: Layout) -> None:
        """Draw a page, in the place of earlier drawings of it; `InputError` if it cannot be read."""
        layout = surest(layout, self.min_score)
        if self.overlays:
            scan = read_image(item.path, item.page, gray=False, long_side=LONG_SIDE)
            with replacing(self.folder / "overlays" / f"{_stem(item)}.jpg") as temporary:
                Image.fromarray(outlined(scan, layout)).save(temporary, "JPEG", quality=85)
        if self.crops:
            folder = self.folder / "crops"
            for old in folder.glob(f"{_stem(item)}-*.png"):
                old.unlink()
            if layout.pictures:
                pixels = read_image(item.path, item.page, gray=False).pixels
                for name, region in _crops(item, layout):
                    box = region.box
                    left, top = math.floor(max(box.x, 0)), math.floor(max(box.y, 0))
                    right, bottom = math.ceil(box.x + box.width), math.ceil(box.y + box.height)
                    write_png(folder / name, pixels[top:bottom, left:right])


def _stem(item: SourceItem) -> str:
    return file_stem(item.name, item.page, str(item.path))


def _crops(item: SourceItem, layout: Layout) -> Iterator[tuple[str, LayoutRegion]]:
    """Yield the file name and the region of each picture that lies on the page."""
    for number, region in enumerate(layout.pictures, start=1):
        if region.box.clipped(layout.width, layout.height) is not None:
            yield f"{_stem(item)}-{number:03d}-{region.kind}.png", region


def tabled(folder: Path, pages: Iterable[PageLayout]) -> Iterator[PageLayout]:
    """Pass pages on, and write the ``crops.csv`` that names the pictures that `Drawings` has cut out of them."""
    with crop_table(folder, CROP_COLUMNS) as table:
        for page in pages:
            for name, region in _crops(*page):
                box = listed([round(edge, 1) for edge in region.box.as_list()])
                values = (name, page.item.name, page.item.page, box, region.kind, region.score)
                table.writerow(dict(zip(CROP_COLUMNS, values, strict=True)))
            yield page


def plain_page(page: PageLayout) -> dict[str, Any]:
    """Return a layout in plain JSON types: ``image``, ``page``, ``width``, ``height``, ``regions``."""
    item, layout = page
    size = {"width": layout.width, "height": layout.height}
    return {"image": item.name, "page": item.page, **size, "regions": [plain_region(r) for r in layout.regions]}


def document(form: str, pages: Iterable[PageLayout], base_url: str) -> dict[str, Any]:
    """Return layouts as one document in the form ``coco`` or ``iiif``, of images that lie below `base_url`."""
    sheets, found = _findings(pages)
    return manifest(found, base_url, sheets) if form == "iiif" else coco(found, sheets, CLASSES[1:])


def write_layouts(folder: Path, form: str, pages: Iterable[PageLayout], base_url: str) -> Path:
    """Write layouts into a folder in one of `FORMS`, and return the path of the file or folder that holds them."""
    path = folder / FORMS[form]
    if form in ("alto", "page"):
        sheets, found = _findings(pages)
        write_page_files(path, form, found, sheets)
        return path
    make_folder(folder)
    with replacing(path) as temporary, temporary.open("w", encoding="ascii") as file:
        if form == "jsonl":
            file.writelines(json.dumps(plain_page(page)) + "\n" for page in pages)
        else:
            json.dump(document(form, pages, base_url), file, indent=1)
    return path


def _findings(pages: Iterable[PageLayout]) -> tuple[list[Sheet], list[Finding]]:
    sheets: list[Sheet] = []
    found: list[Finding] = []
    for item, layout in pages:
        sheet = Sheet(item.name, item.page, layout.width, layout.height, item.metadata, str(item.path))
        sheets.append(sheet)
        for region in layout.regions:
            values = {"score": round(float(region.score), 4)}
            found.append(Finding(sheet, region.outline(), region.kind, values, kind=region.kind))
    return sheets, found
