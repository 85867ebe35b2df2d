"""Zones of pages from the files of other programs: ALTO (Library of Congress), PAGE (PRImA), COCO.

Each names an image and says what lies where on it, in units of its own; they are brought to the image's pixels by the
size that the file gives the page.
"""

from __future__ import annotations

import json
import math
import re
import warnings
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote
from xml.etree.ElementTree import ParseError

from defusedxml import ElementTree
from defusedxml.common import DefusedXmlException
from PIL import ExifTags, Image

from index.annotations import Zone
from index.items import SourceFailure, explained
from matcher.errors import InputError
from matcher.images import IMAGE_SUFFIXES, printable, read_image
from matcher.layout_labels import kind_of_label
from matcher.types import Region

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Sequence
    from xml.etree.ElementTree import Element

__all__ = [
    "PageZones",
    "ZoneFinder",
    "alto_pages",
    "children",
    "coco_pages",
    "file_zones",
    "is_coco",
    "page_xml_pages",
    "pixel_size",
    "read_json",
    "read_xml",
    "read_zones",
    "tag",
    "xml_zones",
    "zones_on",
]

_PIXELS = "pixel"
_PAGE_TYPES = {
    "TextRegion": "text",
    "ImageRegion": "illustration",
    "GraphicRegion": "illustration",
    "LineDrawingRegion": "illustration",
    "MapRegion": "illustration",
    "ChartRegion": "illustration",
}
"""Kinds of the regions of PAGE; all others are `other`."""


@dataclass(frozen=True, slots=True)
class PageZones:
    """What a file says of one image.

    Attributes
    ----------
    source : Path
        The file.
    image : str
        What it calls the image: a name, or a path; may be empty.
    size : (float, float) or None
        Width and height of the page in the units of `zones`; None if these are pixels of the image.
    zones : tuple of Zone
    """

    source: Path
    image: str
    size: tuple[float, float] | None
    zones: tuple[Zone, ...]

    def on(self, width: int, height: int) -> tuple[Zone, ...]:
        """Return the zones in pixels of an image of this size, without what lies beside it."""
        x, y = (width / self.size[0], height / self.size[1]) if self.size else (1.0, 1.0)
        found = []
        for zone in self.zones:
            scaled = zone.scaled(x, y)
            box = scaled.box.clipped(width, height)
            if box is not None:
                found.append(replace(scaled, box=box))
        return tuple(found)

    def beside(self) -> Path | None:
        """Return the image, if it lies where such files have theirs: beside them, a folder higher, or as named."""
        folder = self.source.parent
        name = _last(self.image)
        candidates = [folder / self.image, folder / name, folder.parent / name] if name else []
        if self.source.suffix.lower() == ".xml":  # one for each page, and often called as it
            stem = self.source.name.partition(".")[0]
            places = [place / stem for place in (folder, folder.parent)]
            candidates += [place.with_name(stem + suffix) for place in places for suffix in sorted(IMAGE_SUFFIXES)]
        for candidate in candidates:
            with suppress(OSError, ValueError):  # a name that no file can have
                if candidate.is_file():
                    return candidate
        return None


class ZoneFinder:
    """The zones of many files, by the images that they are of."""

    def __init__(self, pages: Iterable[PageZones]) -> None:
        self.pages = list(pages)
        self._by_path: dict[str, list[PageZones]] = defaultdict(list)
        self._by_name: dict[str, list[PageZones]] = defaultdict(list)
        for page in self.pages:
            if (beside := page.beside()) is not None:
                self._by_path[str(beside.resolve())].append(page)
            else:
                self._by_name[_stem(_last(page.image) or page.source.name)].append(page)

    def find(self, path: str, name: str) -> list[PageZones]:
        """Return what is said of an image: by its path, else by the end of its name without the suffix, if just one."""
        if found := self._by_path.get(path):
            return found
        named = self._by_name.get(_stem(_last(name)), [])
        origins = [zone.origin for page in named for zone in page.zones[:1]]
        return named if len(set(origins)) == len(origins) else []


def _last(path: str) -> str:
    return unquote(path).replace("\\", "/").rpartition("/")[2]


def _stem(name: str) -> str:
    start, _, suffix = name.rpartition(".")
    known = f".{suffix.lower()}" in {*IMAGE_SUFFIXES, ".xml", ".json"}
    return (start if start and known else name).casefold()


def read_zones(path: str | os.PathLike[str]) -> Iterator[PageZones | SourceFailure]:
    """Yield what the file `path`, or the files below the folder that it is, say of images.

    In a folder, what is damaged is told, and what is no file of zones passed over; a file that is named must be one.

    Raises
    ------
    InputError
        If there is no such file or folder, or the file is damaged or none of ALTO, PAGE and COCO.
    """
    path = Path(path)
    if not path.is_dir():
        found = file_zones(path)
        if found is None:
            raise InputError(f"{printable(path)}: neither ALTO, PAGE nor COCO; check which file this is")
        yield from found
        return
    for file in sorted(file for file in path.rglob("*") if file.suffix.lower() in (".xml", ".json")):
        try:
            yield from file_zones(file) or ()
        except InputError as error:
            yield SourceFailure(printable(file), str(error).removeprefix(f"{printable(file)}: "))


def file_zones(path: Path) -> list[PageZones] | None:
    """Return what a file says of images, None if it is none of ALTO, PAGE and COCO; `InputError` if it is damaged."""
    if path.suffix.lower() == ".json":
        document = read_json(path)
        return list(coco_pages(document, path)) if is_coco(document) else None
    return xml_zones(read_xml(path), path)


def xml_zones(root: Element, path: Path) -> list[PageZones] | None:
    """Return what an XML document that was read from `path` says of images, None if it is neither ALTO nor PAGE."""
    reader = {"alto": alto_pages, "PcGts": page_xml_pages}.get(tag(root))
    return None if reader is None else list(reader(root, path))


def zones_on(known: Sequence[PageZones], path: Path, page: int = 0) -> tuple[Zone, ...]:
    """Return what several files say of the image at `path`, in its pixels; nothing if it cannot be read."""
    size = pixel_size(path, page) if known else None
    return tuple(zone for told in known for zone in told.on(*size)) if size else ()


def pixel_size(path: Path, page: int) -> tuple[int, int] | None:
    """Return the size of an image after its EXIF turn; from its header, where it is one that Pillow vouches for."""
    with suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("error")
        with Image.open(path) as image:
            image.seek(page)
            turned = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
            return image.size[::-1] if turned else image.size
    with suppress(InputError):
        scan = read_image(path, page, long_side=64)
        return scan.width, scan.height
    return None


def read_xml(path: Path) -> Element:
    """Return the root of an XML file; `InputError` if it cannot be read, or has entities, which only attacks need."""
    try:
        root: Element = ElementTree.parse(path).getroot()
    except (OSError, ValueError) as error:
        if isinstance(error, DefusedXmlException):
            raise InputError(f"{printable(path)}: refused for its entities ({error}); expand them first") from error
        raise InputError(f"{printable(path)}: {explained(error)}") from error
    except (ParseError, LookupError) as error:
        raise InputError(f"{printable(path)}: damaged XML ({error}); get a fresh copy") from error
    return root


def read_json(path: Path) -> Any:
    """Return the document in a JSON file; `InputError` if it cannot be read."""
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{printable(path)}: {explained(error)}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{printable(path)}: damaged JSON ({error}); get a fresh copy") from error


def tag(element: Element) -> str:
    """Return the name of an element without its namespace, which differs from version to version."""
    return str(element.tag).rpartition("}")[2]


def children(element: Element, *names: str) -> Iterator[Element]:
    """Yield the elements of these names below an element, in the order of the document."""
    return (found for found in element.iter() if tag(found) in names)


def alto_pages(root: Element, source: Path) -> Iterator[PageZones]:
    """Yield the pages of an ALTO document, versions 1 to 4: https://www.loc.gov/standards/alto/."""
    unit = next((found.text or "" for found in children(root, "MeasurementUnit")), _PIXELS).strip()
    image = next((found.text or "" for found in children(root, "fileName")), "").strip()
    labels = {found.get("ID", ""): found.get("LABEL", "") for found in root.iter() if tag(found).endswith("Tag")}
    for page in children(root, "Page"):
        size = _number(page, "WIDTH"), _number(page, "HEIGHT")
        known = size if min(size) > 0 else None
        if known is None and unit != _PIXELS:
            raise InputError(f"{printable(source)}: measures in {unit}, but its page has no size; add it")
        zones: list[Zone] = []
        for block in children(page, "Illustration", "GraphicalElement", "ComposedBlock", "TextBlock"):
            told = [block.get("TYPE", ""), *(labels.get(tag_id, "") for tag_id in block.get("TAGREFS", "").split())]
            label = " ".join(filter(None, told))
            name = tag(block)
            otherwise = {"Illustration": "illustration", "TextBlock": "text"}.get(name, "other")
            if name == "ComposedBlock" and not label:
                continue  # it only groups others
            points = next(
                (found.get("POINTS", "") for shape in _own(block, "Shape") for found in _own(shape, "Polygon")), ""
            )
            box = tuple(_number(block, key) for key in ("HPOS", "VPOS", "WIDTH", "HEIGHT"))
            zones += _zone(kind_of_label(label, otherwise), label or name, "alto", _points(points), box)
        yield PageZones(source, image, known, tuple(zones))


def page_xml_pages(root: Element, source: Path) -> Iterator[PageZones]:
    """Yield the pages of a PAGE document: https://github.com/PRImA-Research-Lab/PAGE-XML."""
    for page in children(root, "Page"):
        size = _number(page, "imageWidth"), _number(page, "imageHeight")
        zones: list[Zone] = []
        for region in page.iter():
            name = tag(region)
            if not name.endswith("Region"):
                continue
            custom = re.search(r"structure\s*\{[^}]*type:\s*([^;}]+)", region.get("custom", ""))
            label = " ".join(filter(None, [region.get("type", ""), custom[1].strip() if custom else ""]))
            otherwise = _PAGE_TYPES.get(name, "other")
            coords = next(_own(region, "Coords"), None)
            if coords is not None:
                points = _points(coords.get("points", ""))
                # Until 2010 points were elements of their own.
                points = points or [(_number(point, "x"), _number(point, "y")) for point in _own(coords, "Point")]
                zones += _zone(kind_of_label(label, otherwise), label or name, "page", points, None)
        yield PageZones(source, page.get("imageFilename", ""), size if min(size) > 0 else None, tuple(zones))


def is_coco(document: Any) -> bool:
    """Return whether a JSON document lists images and annotations as COCO does."""
    return isinstance(document, dict) and all(isinstance(document.get(key), list) for key in ("images", "annotations"))


def coco_pages(document: dict[str, Any], source: Path) -> Iterator[PageZones]:
    """Yield the images of a COCO document: https://cocodataset.org/#format-data; masks of runs give their box only."""
    try:
        categories = {item["id"]: str(item["name"]) for item in document.get("categories", ())}
        by_image: dict[object, list[Zone]] = defaultdict(list)
        for item in document["annotations"]:
            label = categories.get(item.get("category_id"), "")
            outline = item.get("segmentation")
            outline = outline[0] if isinstance(outline, list) and len(outline) == 1 else []
            points = list(zip(map(float, outline[::2]), map(float, outline[1::2]), strict=False))
            box = tuple(map(float, item["bbox"])) if item.get("bbox") else None
            score = item.get("score")
            for zone in _zone(kind_of_label(label), label, "coco", points, box):
                by_image[item["image_id"]].append(zone if score is None else replace(zone, score=float(score)))
        for image in document["images"]:
            size = float(image.get("width") or 0), float(image.get("height") or 0)
            name = str(image["file_name"])
            yield PageZones(source, name, size if min(size) > 0 else None, tuple(by_image.get(image["id"], ())))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{printable(source)}: not as COCO has it ({type(error).__name__}: {error})") from error


def _own(element: Element, name: str) -> Iterator[Element]:
    return (child for child in element if tag(child) == name)


def _number(element: Element, key: str) -> float:
    try:
        value = float(element.get(key, "0"))
    except ValueError:
        return 0.0
    return value if math.isfinite(value) else 0.0


def _points(text: str) -> list[tuple[float, float]]:
    """Return the points of ``x,y x,y`` or ``x y x y``: ALTO has had both."""
    numbers = [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", text)]
    return list(zip(numbers[::2], numbers[1::2], strict=False))


def _zone(
    kind: str, label: str, origin: str, points: list[tuple[float, float]], box: tuple[float, ...] | None
) -> Iterator[Zone]:
    """Yield the zone with this box, or else the box around its outline, if that has any size."""
    if (box is None or len(box) != 4 or min(box[2:]) <= 0) and points:
        xs, ys = zip(*points, strict=True)
        box = (min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys))
    if box is not None and len(box) == 4 and min(box[2:]) > 0:
        upright = len(points) == 4 and len({x for x, _ in points}) == len({y for _, y in points}) == 2
        polygon = tuple(points) if len(points) > 2 and not upright else None
        yield Zone(kind, Region(*box), label, None, origin, polygon)
