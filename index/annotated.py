"""Annotated images to learn from or to measure by: a COCO file, or a folder of YOLO's.

COCO: https://cocodataset.org/#format-data, with boxes, polygons or masks of runs. YOLO: images, and for each a text
file of the same name, in the same folder or in ``labels`` beside ``images``, with a line for each thing: the number of
its class, then centre, width and height, or a polygon, as shares of the image; the names of the classes in
``data.yaml``, ``classes.txt`` or ``obj.names``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from index.masks import mask_of_runs
from index.yolo import yolo_classes
from index.zones import is_coco, pixel_size, read_json
from matcher.detection import Detection, box_around, polygons_of
from matcher.errors import InputError
from matcher.images import IMAGE_SUFFIXES, printable

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from matcher.types import Region

__all__ = ["AnnotatedImage", "AnnotatedSet", "document_of", "held_documents", "read_annotated", "split"]

_PARTS = {"train": "train", "val": "val", "valid": "val"}
"""Folders of images, and what they are for."""

_LAST_NUMBER = re.compile(r"[\W_]*(?:p|pp|f|fol|page|image|img|scan|view|vue)?[\W_]*\d+[rv]?$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class AnnotatedImage:
    """An image and the things on it.

    Attributes
    ----------
    path : Path
    name : str
        As the annotations call it.
    size : (int, int)
        Width and height in pixels, after its EXIF turn.
    things : tuple of Detection
        Of score 1, in pixels.
    crowds : tuple of Detection
        Areas with things in them that are not told apart: neither right nor wrong.
    document : str
        What it belongs to: images of one document are not divided between training and validation.
    part : str
        ``train`` or ``val``, where the annotations say; else empty.
    """

    path: Path
    name: str
    size: tuple[int, int]
    things: tuple[Detection, ...]
    crowds: tuple[Detection, ...] = ()
    document: str = ""
    part: str = ""


@dataclass(frozen=True, slots=True)
class AnnotatedSet:
    """Annotated images, the classes of the things on them, and what could not be used.

    Attributes
    ----------
    images : tuple of AnnotatedImage
    classes : tuple of str
    failures : tuple of (str, str)
        Names and reasons.
    """

    images: tuple[AnnotatedImage, ...]
    classes: tuple[str, ...]
    failures: tuple[tuple[str, str], ...] = ()

    @property
    def digest(self) -> str:
        """Hexadecimal digits that stand for what is annotated, where, and the bytes of the images' sizes and names."""
        told = [
            [one.name, list(one.size), one.path.stat().st_size, one.part, [_plain(thing) for thing in one.things]]
            for one in self.images
        ]
        return hashlib.sha256(json.dumps([list(self.classes), told]).encode()).hexdigest()[:16]

    def counts(self) -> Counter[str]:
        """Return how many things there are of each class."""
        return Counter(thing.label for image in self.images for thing in image.things)


def _plain(thing: Detection) -> list[Any]:
    return [thing.label, thing.box.as_list(), [len(polygon) for polygon in thing.polygons]]


def read_annotated(path: str | os.PathLike[str]) -> AnnotatedSet:
    """Return the annotated images of a COCO file, or of a folder of YOLO's (or with one COCO file in it).

    Raises
    ------
    InputError
        If there is nothing of the kind, it is damaged, or none of its images is there.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{printable(path)}: no such file or folder; check the path")
    if path.is_dir():
        files = [file for file in sorted(path.glob("*.json")) if is_coco(read_json(file))]
        if len(files) > 1:
            raise InputError(f"{printable(path)}: holds {len(files)} COCO files; name one of them")
        found = _yolo(path) if not files else _coco(files[0])
    elif path.suffix.lower() == ".json":
        found = _coco(path)
    elif path.suffix.lower() in (".yaml", ".yml"):
        found = _yolo(path.parent)
    else:
        raise InputError(
            f"{printable(path)}: neither a COCO file (.json) nor a folder of YOLO's; see calque detect train"
        )
    if not found.images:
        reason = f"; {found.failures[0][0]}: {found.failures[0][1]}" if found.failures else ""
        raise InputError(f"{printable(path)}: none of its images can be used{reason}")
    return found


def document_of(name: str) -> str:
    """Return what an image belongs to, by its name: its folder, and its file's name without the page number."""
    folder, _, file = name.replace("\\", "/").rpartition("/")
    stem = file.rpartition(".")[0] or file
    return f"{folder}/{_LAST_NUMBER.sub('', stem)}"


def split(
    images: Sequence[AnnotatedImage], share: float, seed: int
) -> tuple[list[AnnotatedImage], list[AnnotatedImage]]:
    """Divide images into those to learn from and those to validate by, whole documents at a time.

    Parameters
    ----------
    images : sequence of AnnotatedImage
    share : float
        How much of the things, or of the images where there are few, is to be for validation. Where the annotations
        say which are for training and which for validation, they are heeded.
    seed : int

    Raises
    ------
    InputError
        If there are no two documents to divide, or nothing would be left to learn from.
    """
    told = [one for one in images if one.part == "val"]
    if told and len(told) < len(images):
        return [one for one in images if one.part != "val"], told
    documents: dict[str, list[AnnotatedImage]] = defaultdict(list)
    for one in images:
        documents[one.document].append(one)
    if len(documents) < 2 <= len(images):
        # One document only: its pages are divided, which flatters what is measured, but nothing else can be.
        documents = {one.name: [one] for one in images}
    if len(documents) < 2:
        raise InputError("one image cannot be both learned from and validated by; annotate at least two")
    weights = {name: sum(len(one.things) + 0.25 for one in pages) for name, pages in documents.items()}
    held = held_documents(weights, share, seed)
    learned = [one for name in documents if name not in held for one in documents[name]]
    return learned, [one for name in documents if name in held for one in documents[name]]


def held_documents(weights: Mapping[str, float], share: float, seed: int) -> set[str]:
    """Return which of two documents or more are kept from training, so that they have about a `share` of the weight."""
    order = sorted(weights, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())
    wanted, kept = share * sum(weights.values()), 0.0
    held = set[str]()
    for name in order:
        if len(held) < len(order) - 1 and kept < wanted and kept + weights[name] <= 1.6 * wanted:
            held.add(name)
            kept += weights[name]
    return held or {min(order, key=lambda name: (weights[name], name))}


def _coco(path: Path) -> AnnotatedSet:
    document = read_json(path)
    if not is_coco(document):
        raise InputError(
            f"{printable(path)}: not COCO: it has no lists of images and annotations; check which file it is"
        )
    failures: list[tuple[str, str]] = []
    try:
        names = {item["id"]: str(item["name"]) for item in document.get("categories", ())}
        by_image: dict[object, list[dict[str, Any]]] = defaultdict(list)
        for item in document["annotations"]:
            by_image[item["image_id"]].append(item)
        images = list(_coco_images(document["images"], by_image, names, path, failures))
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(f"{printable(path)}: not as COCO has it ({type(error).__name__}: {error})") from error
    used = [item["category_id"] for item in document["annotations"]]
    known = {one: names.get(one, str(one)) for one in [*names, *sorted(set(used) - set(names), key=str)]}
    # Of the 80 classes of a catalogue often only a few are used.
    classes = tuple(dict.fromkeys(name for number, name in known.items() if number in set(used)))
    return AnnotatedSet(tuple(images), classes, tuple(failures))


def _coco_images(
    listed: Iterable[dict[str, Any]],
    annotations: dict[object, list[dict[str, Any]]],
    names: dict[object, str],
    source: Path,
    failures: list[tuple[str, str]],
) -> Iterator[AnnotatedImage]:
    for image in listed:
        name = str(image["file_name"])
        path = _beside(source.parent, name)
        size = None if path is None else pixel_size(path, 0)
        if path is None or size is None:
            failures.append((name, "not there" if path is None else "cannot be read; get a fresh copy"))
            continue
        told = float(image.get("width") or size[0]), float(image.get("height") or size[1])
        scale = size[0] / told[0], size[1] / told[1]
        things: list[Detection] = []
        crowds: list[Detection] = []
        for item in annotations.get(image["id"], ()):
            label = names.get(item["category_id"], str(item["category_id"]))
            thing = _coco_thing(item, label, scale, size)
            if thing is not None:
                (crowds if item.get("iscrowd") else things).append(thing)
        document = str(image.get("document") or document_of(name))
        part = _PARTS.get(str(image.get("part", "")), "")
        yield AnnotatedImage(path, name, size, tuple(things), tuple(crowds), document, part)


def _coco_thing(
    item: dict[str, Any], label: str, scale: tuple[float, float], size: tuple[int, int]
) -> Detection | None:
    outline = item.get("segmentation") or []
    if isinstance(outline, dict):
        mask = mask_of_runs(outline)
        polygons = polygons_of(mask, size[0] / mask.shape[1], size[1] / mask.shape[0]) if mask.any() else ()
    else:
        flat = [np.array(part, np.float64).reshape(-1, 2) for part in outline if len(part) >= 6]
        polygons = tuple(points * scale for points in flat if np.ptp(points, axis=0).min() > 0)
    told = item.get("bbox")
    if told:
        x, y, wide, high = map(float, told)
        corners = np.array([[x, y], [x + wide, y + high]]) * scale
    elif polygons:
        corners = np.vstack(polygons)
    else:
        return None
    if np.ptp(corners, axis=0).min() <= 0:
        return None
    box = box_around(corners).clipped(*size)
    return None if box is None else Detection(box, label, 1.0, polygons)


def _beside(folder: Path, name: str) -> Path | None:
    last = name.replace("\\", "/").rpartition("/")[2]
    for place in (
        folder / name,
        folder / "images" / name,
        folder.parent / name,
        folder.parent / "images" / name,
        folder / last,
    ):
        if place.is_file():
            return place.resolve()
    return None


def _yolo(folder: Path) -> AnnotatedSet:
    names = yolo_classes(folder) or []
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file())
    labels = {file: _yolo_labels(file) for file in files}
    if not any(labels.values()):
        raise InputError(
            f"{printable(folder)}: no COCO file in it, and no image with a text file of YOLO's beside it or in labels/"
        )
    images, failures, largest = [], [], -1
    for file, told in labels.items():
        name = file.relative_to(folder).as_posix()
        size = pixel_size(file, 0)
        if size is None:
            failures.append((name, "cannot be read; get a fresh copy"))
            continue
        try:
            lines = [] if told is None else list(_yolo_things(told, size))
        except ValueError as error:
            failures.append((printable(told or file), f"not as YOLO has it ({error}); correct it"))
            continue
        largest = max([largest, *(number for number, _, _ in lines)])
        things = tuple(
            Detection(box, names[number] if number < len(names) else str(number), 1.0, polygons)
            for number, box, polygons in lines
        )
        part = next((part for word, part in _PARTS.items() if word in file.relative_to(folder).parts), "")
        images.append(AnnotatedImage(file.resolve(), name, size, things, (), document_of(file.name), part))
    classes = (*names, *(str(number) for number in range(len(names), largest + 1)))
    return AnnotatedSet(tuple(images), classes, tuple(failures))


def _yolo_labels(image: Path) -> Path | None:
    """Return the text file that belongs to an image."""
    parts = list(image.parts)
    places = [image.with_suffix(".txt")]
    if "images" in parts:
        last = len(parts) - 1 - parts[::-1].index("images")
        parts[last] = "labels"
        places.insert(0, Path(*parts).with_suffix(".txt"))
    return next((place for place in places if place.is_file()), None)


def _yolo_things(file: Path, size: tuple[int, int]) -> Iterator[tuple[int, Region, tuple[NDArray[np.float64], ...]]]:
    for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        try:
            kind, values = int(float(words[0])), np.array(words[1:], np.float64)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
        if (
            kind < 0
            or not (len(values) in (4, 5) or (len(values) >= 6 and len(values) % 2 == 0))
            or not np.isfinite(values).all()
        ):
            raise ValueError(f"line {number}: {len(values)} numbers after the class")
        polygons: tuple[NDArray[np.float64], ...] = ()
        if len(values) >= 6:
            points = values.reshape(-1, 2) * size
            corners, polygons = points, (points,)
        else:
            middle, half = values[:2], values[2:4] / 2  # a fifth would be how sure a detector was
            corners = np.array([middle - half, middle + half]) * size
        if np.ptp(corners, axis=0).min() <= 0:
            continue
        box = box_around(corners).clipped(*size)
        if box is not None:
            yield kind, box, polygons
