"""How what is on images is written: as rows, one document, or a folder; and how often there is what."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from cli.output import FORMATS, one_line, write_json, write_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from cli.output import Format
    from cli.progress import Progress
    from index.detection_files import SeenImage
    from index.detections import KnownDetection
    from index.items import SourceFailure

__all__ = ["DETECTION_FORMS", "Tally", "write_counts", "write_seen"]

_DOCUMENTS = ("coco", "iiif", "label-studio")
DETECTION_FORMS = (*FORMATS, *_DOCUMENTS, "yolo")
"""The forms in which what is on images is written."""

_COLUMNS = ["image", "page", "label", "score", "region"]
_ALL_COLUMNS = [*_COLUMNS, "origin", "polygons", "landmarks"]
_STEPS = tuple(step / 10 for step in range(1, 10))
_T = TypeVar("_T")


class Tally:
    """Counts images and what is on them, and tells failures on stderr."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.images = self.things = self.failed = 0

    def passed(self, found: Iterable[_T | SourceFailure]) -> Iterator[_T]:
        """Pass on what is no failure."""
        from index.items import SourceFailure

        for item in found:
            if isinstance(item, SourceFailure):
                self.failed += 1
                self.progress.message(one_line(f"calque: {item.name}: {item.reason}"))
            else:
                self.images += 1
                yield item

    def summary(self) -> str:
        """Return what was done."""
        return f"calque: {self.images} images looked at, {self.things} things found; {self.failed} failed"


def write_seen(
    images: Iterable[SeenImage], form: str, output: Path | None, base_url: str, *, pictures: bool = False
) -> None:
    """Write what is on images in one of `DETECTION_FORMS`, into a file or folder, or on stdout."""
    from index.detection_files import write_yolo
    from index.durable import replacing

    if form == "yolo":
        if output is None:
            raise click.UsageError("--format yolo writes a file for each image; give a folder with -o")
        click.echo(f"calque: classes in {write_yolo(output, images, pictures=pictures)}", err=True)
    elif output is None:
        _write(images, form, base_url)
    else:
        with replacing(output) as temporary, temporary.open("w", encoding="utf-8", errors="surrogateescape") as file:
            _write(images, form, base_url, file)


def _write(images: Iterable[SeenImage], form: str, base_url: str, file: Any = None) -> None:
    from index.detection_files import detection_document, detection_rows, plain_image

    if form in _DOCUMENTS:
        write_json(detection_document(form, images, base_url), file)
    elif form == "jsonl":
        for image in images:
            write_json(plain_image(image), file, line=True)
    elif form == "json":
        write_json([plain_image(image) for image in images], file)
    elif form == "csv":
        write_rows((row for image in images for row in detection_rows(image)), _ALL_COLUMNS, "csv", file)
    else:
        rows = [row for image in images if image.known for row in detection_rows(image)]
        plain = [{**row, "region": [round(edge) for edge in row["region"]]} for row in rows]
        if plain:
            write_rows(plain, _COLUMNS, "table", file)


def write_counts(known: Iterable[tuple[int, KnownDetection]], form: str, *, steps: bool) -> None:
    """Write how many things of each label there are, on how many images; with `steps` how many at each score.

    `known`: the number of its image with each thing.
    """
    scores: dict[str, list[float]] = defaultdict(list)
    images: dict[str, set[int]] = defaultdict(set)
    for number, one in known:
        scores[one.detection.label].append(one.detection.score)
        images[one.detection.label].add(number)
    often = Counter({label: len(found) for label, found in scores.items()})
    rows: list[dict[str, object]] = []
    for label, count in sorted(often.items(), key=lambda item: (-item[1], item[0])):
        row: dict[str, object] = {"label": label, "regions": count, "images": len(images[label])}
        for step in _STEPS if steps else ():
            row[f">={step:.1f}"] = sum(score >= step for score in scores[label])
        rows.append(row)
    columns = ["label", "regions", "images", *(f">={step:.1f}" for step in (_STEPS if steps else ()))]
    write_rows(rows, columns, cast("Format", form))
