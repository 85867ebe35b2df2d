"""What is on images in the forms that other programs read: COCO, YOLO, W3C annotations, Label Studio, tables.

`index.detection_imports` reads them again.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
from PIL import Image

from index.crops import crop_table, listed, write_png
from index.detections import USER
from index.durable import replacing
from index.exports import Finding, Sheet, coco, file_stem, make_folder, slug
from index.items import SourceFailure
from index.web_annotations import manifest
from matcher.detection import mask_of
from matcher.detection_drawings import drawn
from matcher.errors import InputError
from matcher.images import printable, read_image

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from index.detections import KnownDetection
    from index.store import Index
    from matcher.detection import Detection

__all__ = [
    "DOCUMENT_FORMS",
    "SeenImage",
    "cut_out",
    "detection_document",
    "detection_rows",
    "overlaid",
    "plain_image",
    "seen_images",
    "write_yolo",
]

LONG_SIDE = 1600
"""Pixels that the longer side of a drawing has at most."""

DOCUMENT_FORMS = ("coco", "iiif", "label-studio")
"""Forms in which what is on all images is one document of JSON."""

CROP_COLUMNS = ("file", "image", "page", "region", "label", "score", "origin")
"""Columns of the ``crops.csv`` of `cut_out`."""

_PER_CENT = 100.0


@dataclass(frozen=True, slots=True)
class SeenImage:
    """An image and what is known to be on it."""

    sheet: Sheet
    known: list[KnownDetection]


def seen_images(
    index: Index, only: Collection[int] | None = None, fits: Callable[[KnownDetection], bool] | None = None
) -> Iterator[SeenImage]:
    """Yield the images of an index, ascending by id, with the detections that count and that `fits` takes.

    Images on which nothing has been looked for are left out.
    """
    found = dict(index.all_detections())
    looked = index.images_looked_at()
    for record in index.images():
        if record.id in looked and (only is None or record.id in only):
            known = [one for one in found.get(record.id, ()) if fits is None or fits(one)]
            yield SeenImage(Sheet.of(record, index.metadata(record.id)), known)


def plain_image(image: SeenImage) -> dict[str, Any]:
    """Return an image in plain JSON types: ``image``, ``page``, ``width``, ``height``, ``regions``."""
    sheet = image.sheet
    regions = [_plain(one) for one in image.known]
    return {
        "image": sheet.name, "page": sheet.page, "width": sheet.width, "height": sheet.height, "regions": regions,
    }  # fmt: skip


def detection_rows(image: SeenImage) -> Iterator[dict[str, Any]]:
    """Yield each thing on an image as a row of a table; one without label if there is nothing."""
    place = {"image": image.sheet.name, "page": image.sheet.page}
    for one in image.known:
        values = _plain(one)
        for name in ("polygons", "landmarks"):
            values[name] = json.dumps(values[name]) if values[name] else None
        yield {**place, **values}
    if not image.known:
        yield place


def _plain(one: KnownDetection) -> dict[str, Any]:
    found = one.detection
    return {
        "id": one.id,
        "label": found.label,
        "score": round(found.score, 4),
        "region": [round(edge, 1) for edge in found.box.as_list()],
        "origin": one.origin,
        "polygons": [[[round(x, 1), round(y, 1)] for x, y in polygon.tolist()] for polygon in found.polygons],
        "landmarks": None
        if found.landmarks is None
        else [[round(x, 1), round(y, 1)] for x, y in found.landmarks.tolist()],
    }


def detection_document(form: str, images: Iterable[SeenImage], base_url: str) -> Any:
    """Return what is on images as one document of `DOCUMENT_FORMS`, in plain JSON types."""
    images = list(images)
    if form == "label-studio":
        return [_label_studio_task(image, base_url) for image in images]
    sheets = [image.sheet for image in images]
    found = [_finding(image.sheet, one) for image in images for one in image.known]
    return manifest(found, base_url, sheets) if form == "iiif" else coco(found, sheets)


def _finding(sheet: Sheet, one: KnownDetection) -> Finding:
    found = one.detection
    values: dict[str, Any] = {"score": round(found.score, 4), "origin": one.origin}
    if found.landmarks is not None:
        # COCO's own form of points: x, y, 2 for one that is seen.
        values["keypoints"] = [value for x, y in found.landmarks.tolist() for value in (round(x, 1), round(y, 1), 2)]
    return Finding(sheet, found.outline(), found.label, values, parts=found.polygons)


def _label_studio_task(image: SeenImage, base_url: str) -> dict[str, Any]:
    """Return a task of Label Studio: https://labelstud.io/guide/export#Label-Studio-JSON-format-of-annotated-tasks.

    What detectors found are predictions, of one model each; what a person said is an annotation.
    """
    sheet = image.sheet
    by_origin: dict[str, list[KnownDetection]] = {}
    for one in image.known:
        by_origin.setdefault(one.origin, []).append(one)
    task: dict[str, Any] = {
        "data": {"image": base_url.rstrip("/") + "/" + quote(sheet.name.lstrip("/"), errors="surrogateescape")},
        "meta": {"image": sheet.name, "page": sheet.page},
        "annotations": [],
        "predictions": [],
    }
    for origin, known in by_origin.items():
        result = [part for one in known for part in _label_studio_results(sheet, one)]
        if origin == USER:
            task["annotations"].append({"result": result})
        else:
            score = min(one.detection.score for one in known)
            task["predictions"].append({"model_version": origin, "score": round(score, 4), "result": result})
    return task


def _label_studio_results(sheet: Sheet, one: KnownDetection) -> Iterator[dict[str, Any]]:
    found = one.detection
    wide, high = _PER_CENT / sheet.width, _PER_CENT / sheet.height
    frame = {"original_width": sheet.width, "original_height": sheet.height, "image_rotation": 0}
    target = {"from_name": "label", "to_name": "image", **frame, "score": round(found.score, 4)}
    if not found.polygons:
        x, y, width, height = found.box.as_list()
        value = {"x": x * wide, "y": y * high, "width": width * wide, "height": height * high, "rotation": 0}
        yield {
            "id": f"calque-{one.id}",
            "type": "rectanglelabels",
            **target,
            "value": {**value, "rectanglelabels": [found.label]},
        }
    for number, polygon in enumerate(found.polygons, start=1):
        points = [[x * wide, y * high] for x, y in polygon.tolist()]
        yield {
            "id": f"calque-{one.id}-{number}",
            "type": "polygonlabels",
            **target,
            "value": {"points": points, "closed": True, "polygonlabels": [found.label]},
        }


def write_yolo(folder: Path, images: Iterable[SeenImage], *, pictures: bool = False) -> Path:
    """Write what is on images as YOLO's tools read it, and return the path of the ``data.yaml`` that names the classes.

    ``labels/NAME.txt`` has a line for each thing: the number of its class, the centre and the size of its box as
    shares of the image; ``images.csv`` tells which image each NAME is of.

    Parameters
    ----------
    folder : Path
        Made if need be; `InputError` if it cannot be.
    images : iterable of SeenImage
    pictures : bool
        Whether to put the images, too, into ``images/NAME.jpg``.
    """
    make_folder(folder / "labels")
    if pictures:
        make_folder(folder / "images")
    classes: dict[str, int] = {}
    with crop_table(folder, ("file", "image", "page"), "images.csv") as table:
        for image in images:
            sheet = image.sheet
            stem = file_stem(sheet.name, sheet.page, sheet.path)
            lines = [_yolo_line(sheet, one.detection, classes) for one in image.known]
            with replacing(folder / "labels" / f"{stem}.txt") as temporary:
                temporary.write_text("".join(lines), encoding="ascii")
            if pictures:
                pixels = read_image(sheet.path, sheet.page, gray=False).pixels
                with replacing(folder / "images" / f"{stem}.jpg") as temporary:
                    Image.fromarray(pixels).save(temporary, "JPEG", quality=95)
            table.writerow({"file": f"{stem}.txt", "image": sheet.name, "page": sheet.page})
    path = folder / "data.yaml"
    names = "".join(f"  {number}: {json.dumps(label)}\n" for label, number in classes.items())
    with replacing(path) as temporary:
        # JSON's texts are YAML's, too.
        temporary.write_text(f"path: .\ntrain: images\nval: images\nnames:\n{names or '  {}'}", encoding="ascii")
    return path


def _yolo_line(sheet: Sheet, found: Detection, classes: dict[str, int]) -> str:
    number = classes.setdefault(found.label, len(classes))
    x, y, width, height = found.box.as_list()
    shares = (
        (x + width / 2) / sheet.width,
        (y + height / 2) / sheet.height,
        width / sheet.width,
        height / sheet.height,
    )
    return f"{number} " + " ".join(f"{share:.6f}" for share in shares) + "\n"


def cut_out(folder: Path, images: Iterable[SeenImage]) -> Iterator[SourceFailure]:
    """Cut things out of their images into a folder, as PNG files, with a ``crops.csv`` that names them.

    What lies outside an outline is white. Yields the images that cannot be read.
    """
    make_folder(folder)
    with crop_table(folder, CROP_COLUMNS) as table:
        for image in images:
            sheet = image.sheet
            try:
                pixels = read_image(sheet.path, sheet.page, gray=False).pixels
            except InputError as error:
                yield SourceFailure(sheet.title, str(error).removeprefix(f"{printable(sheet.path)}: "))
                continue
            stem = file_stem(sheet.name, sheet.page, sheet.path)
            for number, one in enumerate(image.known, start=1):
                found = one.detection
                name = f"{stem}-{number:03d}-{slug(found.label)}.png"
                box = listed([round(edge, 1) for edge in found.box.as_list()])
                write_png(folder / name, _cut(pixels, found))
                values = (name, sheet.name, sheet.page, box, found.label, round(found.score, 4), one.origin)
                table.writerow(dict(zip(CROP_COLUMNS, values, strict=True)))


def _cut(pixels: NDArray[np.uint8], found: Detection) -> NDArray[np.uint8]:
    box = found.box
    left, top = math.floor(max(box.x, 0)), math.floor(max(box.y, 0))
    part = pixels[top : math.ceil(box.y + box.height), left : math.ceil(box.x + box.width)]
    if not found.polygons:
        return part
    inside = mask_of([polygon - (left, top) for polygon in found.polygons], part.shape[:2])
    return np.where(inside[..., None], part, np.uint8(255))


def overlaid(folder: Path, path: str | os.PathLike[str], page: int, name: str, found: Sequence[Detection]) -> Path:
    """Draw an image with what was found on it into a folder, in the place of an earlier drawing, and return its path.

    `InputError` if it cannot be read.
    """
    make_folder(folder)
    scan = read_image(path, page, gray=False, long_side=LONG_SIDE)
    target = folder / f"{file_stem(name, page, str(Path(path).resolve()))}.jpg"
    with replacing(target) as temporary:
        Image.fromarray(drawn(scan, found)).save(temporary, "JPEG", quality=85)
    return target
