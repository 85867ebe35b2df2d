"""What persons say is on images, out of the files of other programs: COCO, YOLO, W3C annotations, Label Studio, tables.

`index.detection_files` writes all of these; whatever tools correct there is read again here.
"""

from __future__ import annotations

import csv
import json
import re
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import numpy as np

from index.detections import USER
from index.exports import file_stem
from index.iiif import CANVAS
from index.masks import outlines_of
from index.yolo import CLASS_FILES, yolo_classes
from index.zones import is_coco, read_json
from matcher.detection import Detection, box_around
from matcher.errors import InputError
from matcher.images import printable
from matcher.types import Region, Transform

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from index.catalogue import ImageRecord
    from index.store import Index

__all__ = ["Correction", "Told", "correct", "read_detections"]

_ROUNDED = 0.2
"""Pixels by which corners of a box may have been rounded."""
_CANVASES = ("Manifest", "Canvas", "AnnotationPage", "Collection")
_UPLOADED = re.compile(r"^[0-9a-f]{8}-")
"""What Label Studio puts before the names of uploaded files."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a file says of an image.

    Attributes
    ----------
    image : str
        What it calls the image: a name, a path, an address.
    page : int
    size : (float, float) or None
        Width and height of the image in the units of `found`; None if these are its pixels.
    found : tuple of Detection
    """

    image: str
    page: int
    size: tuple[float, float] | None
    found: tuple[Detection, ...]


@dataclass(frozen=True, slots=True)
class Correction:
    """What has been entered: images and things on them, the labels spoken of, names of images that are not in."""

    images: int
    things: int
    labels: tuple[str, ...]
    unknown: tuple[str, ...]


def correct(index: Index, told: Sequence[Told], labels: Iterable[str]) -> Correction:
    """Enter what a person says of images: of these labels, on these images, nothing else counts from now on.

    Parameters
    ----------
    index : Index
        Open for writing.
    told : sequence of Told
    labels : iterable of str
        What is spoken of, besides the labels of the things told.
    """
    named = dict.fromkeys([*labels, *(one.label for image in told for one in image.found)])
    spoken = tuple(label for label in named if label)
    finder = _ImageFinder(index)
    by_image: dict[int, list[Detection]] = {}
    unknown = []
    for image in told:
        record = finder.find(image.image, image.page)
        if record is None:
            unknown.append(f"{image.image}, page {image.page}" if image.page else image.image)
            continue
        by_image.setdefault(record.id, []).extend(_placed(image, record))
    if by_image and spoken:
        index.set_detections(USER, by_image, spoken)
    return Correction(len(by_image), sum(map(len, by_image.values())), spoken, tuple(unknown))


def _placed(image: Told, record: ImageRecord) -> Iterator[Detection]:
    """Yield what is told of an image in its pixels, as sure as a person is, without what lies beside it."""
    wide, high = (record.width, record.height) if image.size is None else image.size
    x, y = record.width / wide, record.height / high
    for one in image.found:
        box = Region(one.box.x * x, one.box.y * y, one.box.width * x, one.box.height * y)
        inside = box.clipped(record.width, record.height)
        if inside is not None:
            scaled = Transform(np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1.0]]))
            yield replace(one.moved(scaled), box=inside, score=1.0)


class _ImageFinder:
    """The images of an index by what files call them: name, path or canvas; else by the longest end of that which only
    one image has."""

    def __init__(self, index: Index) -> None:
        self._exact: dict[tuple[str, int], ImageRecord] = {}
        self._ends: dict[tuple[str, int], list[ImageRecord]] = defaultdict(list)
        metadata = index.all_metadata()
        for record in index.images():
            canvas = metadata.get(record.id, {}).get(CANVAS)
            for name in (record.name, record.path, *([canvas] if canvas else ())):
                self._exact[name, record.page] = record
            self._exact[file_stem(record.name, record.page, record.path), 0] = record
            for end in {*_ends(record.name), *_ends(_bare(record.name))}:
                self._ends[end, record.page].append(record)

    def find(self, name: str, page: int) -> ImageRecord | None:
        plain = unquote(name, errors="surrogateescape")
        for known in (name, plain):
            if (record := self._exact.get((known, page))) is not None:
                return record
        last = plain.replace("\\", "/").rpartition("/")[2]
        for end in (*_ends(plain), *_ends(_bare(plain)), *_ends(_UPLOADED.sub("", last))):
            found = self._ends.get((end, page), ())
            if len(found) == 1:
                return found[0]
        return None


def _ends(name: str) -> Iterator[str]:
    """Yield a path, and what is left of it without its first folders, the longest first, in lower case."""
    parts = name.replace("\\", "/").strip("/").casefold().split("/")
    return ("/".join(parts[start:]) for start in range(len(parts)))


def _bare(name: str) -> str:
    """Return a path without the suffix of its file."""
    head, dot, suffix = name.rpartition(".")
    return head if dot and "/" not in suffix else name


def read_detections(path: Path) -> tuple[list[Told], list[str]]:
    """Return what a file, or a folder of YOLO's, says of images, and the labels that it lists beside those it uses.

    Raises
    ------
    InputError
        If it cannot be read, is damaged, or none of the forms that `index.detection_files` writes.
    """
    try:
        if path.is_dir():
            return _yolo(path)
        suffix = path.suffix.lower()
        if suffix == ".csv":
            return list(_table(path)), []
        if suffix in (".jsonl", ".ndjson"):
            lines = path.read_text(encoding="utf-8").splitlines()
            return [_plain(json.loads(line)) for line in lines if line.strip()], []
        document = read_json(path)
        if is_coco(document):
            return _coco(document)
        if isinstance(document, list):
            if all(isinstance(item, dict) and "regions" in item for item in document):
                return [_plain(item) for item in document], []
            return _label_studio(document)
        if isinstance(document, dict) and document.get("type") in (
            "Manifest",
            "Canvas",
            "AnnotationPage",
            "Collection",
        ):
            return list(_canvases(document)), []
    except OSError as error:
        raise InputError(f"{printable(path)}: cannot be read ({error.strerror}); check the path") from error
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{printable(path)}: not as it should be ({type(error).__name__}: {error}); compare it with what "
            "calque detect export writes"
        ) from error
    raise InputError(
        f"{printable(path)}: neither COCO, YOLO, W3C annotations, Label Studio nor a table of things; see "
        "docs/detection.md"
    )


def _thing(label: str, box: Sequence[Any] | None, polygons: Iterable[NDArray] = ()) -> Detection:
    outlines = tuple(np.asarray(polygon, np.float64) for polygon in polygons)
    region = Region(*map(float, box)) if box is not None else box_around(np.vstack(outlines))
    return Detection(region, label, 1.0, outlines)


def _coco(document: dict[str, Any]) -> tuple[list[Told], list[str]]:
    names = {item["id"]: str(item["name"]) for item in document.get("categories", ())}
    by_image: dict[object, list[Detection]] = defaultdict(list)
    for item in document["annotations"]:
        outlines = outlines_of(item.get("segmentation"))
        box = item.get("bbox")
        if outlines and box and _is_box(outlines, box):
            outlines = ()
        thing = _thing(names[item["category_id"]], box or None, outlines)
        points = np.array(item.get("keypoints") or (), np.float64).reshape(-1, 3)
        if len(points):
            thing = replace(thing, landmarks=points[:, :2])
        by_image[item["image_id"]].append(thing)
    told = []
    for image in document["images"]:
        size = (float(image["width"]), float(image["height"])) if image.get("width") and image.get("height") else None
        found = tuple(by_image.get(image["id"], ()))
        told.append(Told(str(image["file_name"]), int(image.get("page", 0)), size, found))
    return told, list(names.values())


def _is_box(outlines: Sequence[NDArray], box: Sequence[Any]) -> bool:
    """Tell whether outlines are but the corners of a box."""
    corners = Region(*map(float, box)).corners()
    return (
        len(outlines) == 1
        and len(outlines[0]) == 4
        and bool(np.abs(np.sort(outlines[0], 0) - np.sort(corners, 0)).max() < 0.2)
    )


def _plain(image: dict[str, Any]) -> Told:
    """Return what a line says that `index.detection_files.plain_image` made."""
    found = []
    for region in image["regions"]:
        thing = _thing(str(region["label"]), region["region"], region.get("polygons") or ())
        points = region.get("landmarks")
        found.append(thing if points is None else replace(thing, landmarks=np.array(points, np.float64)))
    size = (float(image["width"]), float(image["height"])) if image.get("width") and image.get("height") else None
    return Told(str(image["image"]), int(image.get("page", 0)), size, tuple(found))


def _table(path: Path) -> Iterator[Told]:
    """Yield the images of a table with a row for each thing; a row without label is of an image with nothing on it."""
    found: dict[tuple[str, int], list[Detection]] = {}
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        rows = csv.DictReader(file)
        columns = rows.fieldnames or []
        if missing := {"image", "label", "region"} - set(columns):
            raise ValueError(f"no column {min(missing)}")
        for row in rows:
            things = found.setdefault((row["image"], int(row.get("page") or 0)), [])
            if row["label"]:
                thing = _thing(row["label"], row["region"].split(","), json.loads(row.get("polygons") or "[]"))
                points = json.loads(row.get("landmarks") or "null")
                things.append(thing if points is None else replace(thing, landmarks=np.array(points, np.float64)))
    for (image, page), things in found.items():
        yield Told(image, page, None, tuple(things))


def _label_studio(tasks: list[dict[str, Any]]) -> tuple[list[Told], list[str]]:
    """Return what tasks of Label Studio say: the last annotation that counts, predictions where there is none.

    Labels of predictions are spoken of, too: what of them is not in the annotation was taken out.
    """
    told = []
    labels: dict[str, None] = {}
    for task in tasks:
        given = [one for one in task.get("annotations", ()) if not one.get("was_cancelled")]
        predicted = [part for one in task.get("predictions", ()) if isinstance(one, dict) for part in one["result"]]
        results = given[-1]["result"] if given else predicted
        for part in predicted:
            labels.update(dict.fromkeys(_labels_in(part)))
        meta = task.get("meta") or {}
        name = str(meta.get("image") or next(value for value in task["data"].values() if isinstance(value, str)))
        told.append(Told(name, int(meta.get("page", 0)), (100.0, 100.0), tuple(_label_studio_things(results))))
    return told, list(labels)


def _labels_in(part: dict[str, Any]) -> list[str]:
    value = part.get("value") or {}
    return [str(label) for key in ("rectanglelabels", "polygonlabels") for label in value.get(key, ())]


def _label_studio_things(results: Iterable[dict[str, Any]]) -> Iterator[Detection]:
    """Yield boxes and polygons, in per cent; polygons of one thing, as calque wrote them, together."""
    parts: dict[str, list[NDArray]] = {}
    named: dict[str, str] = {}
    for number, part in enumerate(results):
        labels, value = _labels_in(part), part.get("value") or {}
        if not labels:
            continue
        if part["type"] == "polygonlabels":
            found = re.fullmatch(r"(calque-\d+)-\d+", str(part.get("id", "")))
            key = found[1] if found else f"{number}"
            parts.setdefault(key, []).append(np.array(value["points"], np.float64))
            named[key] = labels[0]
        elif part["type"] == "rectanglelabels":
            x, y, wide, high = (float(value[side]) for side in ("x", "y", "width", "height"))
            if turn := float(value.get("rotation") or 0):
                yield _turned(labels[0], (x, y, wide, high), turn, part)
            else:
                yield _thing(labels[0], (x, y, wide, high))
    for key, polygons in parts.items():
        yield _thing(named[key], None, polygons)


def _turned(label: str, box: tuple[float, float, float, float], degrees: float, part: dict[str, Any]) -> Detection:
    """Return a box that is turned clockwise around its upper left corner, as an outline."""
    x, y, wide, high = box
    across = float(part.get("original_width") or 1) / float(part.get("original_height") or 1)
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    # Shares of width and of height are no lengths that can be turned: all in heights.
    corners = np.array([[0, 0], [wide * across, 0], [wide * across, high], [0, high]]) @ turn.T
    return _thing(label, None, [corners / (across, 1) + (x, y)])


def _canvases(node: dict[str, Any]) -> Iterator[Told]:
    """Yield what the annotations of a manifest, a canvas or a page of annotations say of each canvas."""
    if node.get("type") == "AnnotationPage":
        by_canvas: dict[str, list[Detection]] = defaultdict(list)
        for item in node.get("items", ()):
            for canvas, thing in _annotated(item):
                by_canvas[canvas].append(thing)
        for canvas, things in by_canvas.items():
            yield Told(_image_of(canvas), _page_of(canvas), None, tuple(things))
        return
    for item in node.get("items", ()):
        if item.get("type") == "Canvas":
            yield _of_canvas(item)
        elif item.get("type") in ("Manifest", "Collection"):
            yield from _canvases(item)
    if node.get("type") == "Canvas":
        yield _of_canvas(node)


def _of_canvas(canvas: dict[str, Any]) -> Told:
    things = [
        thing
        for page in canvas.get("annotations", ())
        for item in page.get("items", ())
        for _, thing in _annotated(item)
    ]
    identity = str(canvas["id"])
    size = float(canvas["width"]), float(canvas["height"])
    return Told(_image_of(identity), _page_of(identity), size, tuple(things))


def _image_of(canvas: str) -> str:
    """Return the address of the image that a canvas made by `index.web_annotations` is of; any other's own."""
    return re.sub(r"/canvas/\d+$", "", canvas)


def _page_of(canvas: str) -> int:
    found = re.search(r"/canvas/(\d+)$", canvas)
    return int(found[1]) - 1 if found else 0


def _annotated(item: dict[str, Any]) -> Iterator[tuple[str, Detection]]:
    """Yield canvas and thing of an annotation: its box or its outline, and what it is called."""
    label = next(filter(None, map(_called, _listed(item.get("body")))), "")
    target = item.get("target")
    if isinstance(target, str):
        canvas, _, fragment = target.partition("#")
        selectors: list[Any] = [{"value": fragment}]
    else:
        source = (target or {}).get("source", "")
        canvas = str(source.get("id", "") if isinstance(source, dict) else source)
        selectors = _listed((target or {}).get("selector"))
    box, polygons = None, []
    for selector in selectors:
        value = str(selector.get("value", ""))
        if found := re.search(r"xywh=(?:pixel:)?([-\d.]+),([-\d.]+),([-\d.]+),([-\d.]+)", value):
            box = [float(number) for number in found.groups()]
        for path in re.findall(r"<path[^>]*\sd=[\"']([^\"']+)", value):
            for closed in re.split(r"[Zz]", path):
                numbers = [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", closed)]
                if len(numbers) >= 6:
                    polygons.append(np.array(numbers[: len(numbers) // 2 * 2]).reshape(-1, 2))
    if label and (box or polygons):
        yield canvas, _thing(label, box, polygons)


def _called(body: Any) -> str:
    """Return the label in a body: of a tag its value, of what calque wrote what is behind ``found:``."""
    if not isinstance(body, dict) or body.get("type") != "TextualBody":
        return ""
    value = str(body.get("value", "")).strip()
    found = re.match(r"found: (.*?)(?:; score: |$)", value)
    return found[1] if found else value


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _yolo(folder: Path) -> tuple[list[Told], list[str]]:
    """Return what a folder of YOLO's says: text files in ``labels``, or in it, and the names of the classes."""
    names = yolo_classes(folder)
    if names is None:
        raise InputError(f"{printable(folder)}: does not name its classes; add data.yaml or classes.txt")
    files = sorted(
        file for file in (folder / "labels" if (folder / "labels").is_dir() else folder).rglob("*.txt")
        if file.name not in (*CLASS_FILES, "images.txt", "train.txt", "val.txt", "test.txt")
    )  # fmt: skip
    if not files:
        raise InputError(f"{printable(folder)}: no text files of YOLO's in it; check which folder this is")
    told = []
    for file in files:
        things = []
        for line in file.read_text(encoding="utf-8").splitlines():
            if not line.strip():
                continue
            number, *numbers = line.split()
            values = np.array(numbers, np.float64)
            if int(number) >= len(names):
                raise ValueError(f"{file.name}: class {number}, but there are names of {len(names)}")
            label = names[int(number)]
            if len(values) >= 6 and len(values) % 2 == 0:
                things.append(_thing(label, None, [values.reshape(-1, 2)]))
            else:
                x, y, wide, high = values[:4]
                things.append(_thing(label, (x - wide / 2, y - high / 2, wide, high)))
        told.append(Told(file.stem, 0, (1.0, 1.0), tuple(things)))
    return told, names
