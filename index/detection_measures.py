"""How large things are, of an index or of a file of regions: `calque detect measure`."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from index.annotated import read_annotated
from index.detection_files import SeenImage
from index.detections import KnownDetection
from index.durable import replacing
from index.exports import Sheet
from index.resolution import Resolution, by_scale_bar, resolution_of
from matcher.detection import Detection
from matcher.errors import InputError
from matcher.images import printable
from matcher.measures import measured
from matcher.types import Region

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

__all__ = ["MEASURE_COLUMNS", "MeasureSettings", "draw_histogram", "measure_images", "regions_of_file", "summed_up"]

MEASURE_COLUMNS = (
    *("image", "page", "label", "score", "region", "outline"),
    *("area_px", "length_px", "width_px", "ratio", "perimeter_px", "share"),
    *("area_mm2", "length_mm", "width_mm", "perimeter_mm", "dpi", "resolution_from"),
)


@dataclass(frozen=True, slots=True)
class MeasureSettings:
    """Which things are measured, and by what resolution.

    Attributes
    ----------
    labels : collection of str
        All if there are none.
    min_score : float
    dpi, key, believe
        As of `index.resolution.resolution_of`.
    bar : (str, float) or None
        Label of the scale bars on the images, and how many millimetres long they are.
    """

    labels: Collection[str] = ()
    min_score: float = 0.0
    dpi: float | None = None
    key: str | None = None
    believe: bool = False
    bar: tuple[str, float] | None = None


def regions_of_file(path: Path) -> Iterator[SeenImage]:
    """Yield the images of a file of regions: JSON Lines of `calque detect`, COCO, or a folder of YOLO's.

    Raises
    ------
    InputError
        If it is none of these, or damaged.
    """
    if path.suffix.lower() != ".jsonl":
        for image in read_annotated(path).images:
            sheet = Sheet(image.name, 0, *image.size, {}, str(image.path))
            yield SeenImage(sheet, [KnownDetection(thing, "", 0) for thing in image.things])
        return
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                told = json.loads(line)
                known = [_known(region) for region in told["regions"]]
                beside = [place for place in (Path(told["image"]), path.parent / told["image"]) if place.is_file()]
                size = int(told["width"]), int(told["height"])
                sheet = Sheet(told["image"], int(told.get("page", 0)), *size, {}, str(beside[0]) if beside else "")
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise InputError(
                    f"{printable(path)}: line {number} is none of calque detect ({type(error).__name__}: {error})"
                ) from error
            yield SeenImage(sheet, known)


def _known(told: dict[str, Any]) -> KnownDetection:
    polygons = tuple(np.array(polygon, np.float64).reshape(-1, 2) for polygon in told.get("polygons") or ())
    thing = Detection(Region(*map(float, told["region"])), str(told["label"]), float(told["score"]), polygons)
    return KnownDetection(thing, str(told.get("origin", "")), 0)


def measure_images(images: Iterable[SeenImage], settings: MeasureSettings) -> Iterator[dict[str, Any]]:
    """Yield a row of `MEASURE_COLUMNS` for each thing that is asked for."""
    for image in images:
        things = [one.detection for one in image.known]
        sheet = image.sheet
        told = _resolution(image, things, settings)
        for thing in things:
            bar = settings.bar is not None and thing.label == settings.bar[0]
            if bar or thing.score < settings.min_score or (settings.labels and thing.label not in settings.labels):
                continue
            pixels = measured(thing)
            row: dict[str, Any] = dict.fromkeys(MEASURE_COLUMNS)
            row |= {
                "image": sheet.name,
                "page": sheet.page,
                "label": thing.label,
                "score": round(thing.score, 4),
                "region": [round(edge, 1) for edge in thing.box.as_list()],
                "outline": "mask" if thing.polygons else "box",
                "area_px": round(pixels.area, 1),
                "length_px": round(pixels.length, 2),
                "width_px": round(pixels.width, 2),
                "ratio": round(pixels.ratio, 3),
                "perimeter_px": round(pixels.perimeter, 2),
                "share": pixels.area / (sheet.width * sheet.height),
                "dpi": told.dpi,
                "resolution_from": told.source,
            }
            if told.x is not None and told.y is not None:
                real = measured(thing, told.x, told.y)
                row |= {
                    "area_mm2": round(real.area, 3),
                    "length_mm": round(real.length, 3),
                    "width_mm": round(real.width, 3),
                    "perimeter_mm": round(real.perimeter, 3),
                }
            yield row


def _resolution(image: SeenImage, things: Sequence[Detection], settings: MeasureSettings) -> Resolution:
    sheet = image.sheet
    if settings.bar is not None:
        label, millimetres = settings.bar
        bars = [thing for thing in things if thing.label == label]
        if not bars:
            return Resolution(None, None, f"unknown: there is no {label} on the image")
        surest = max(bars, key=lambda thing: thing.score)
        return by_scale_bar(measured(surest).length, millimetres, label)
    path = Path(sheet.path) if sheet.path and Path(sheet.path).is_file() else None
    size = (sheet.width, sheet.height)
    return resolution_of(
        path, size, dpi=settings.dpi, metadata=sheet.metadata, key=settings.key, believe=settings.believe
    )


def summed_up(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return of each label how many things there are, and of their sizes the least, the median, the greatest.

    In millimetres where these are known of all of them, else in pixels; who says the resolution, and of how many.
    """
    summary = []
    for label in sorted({row["label"] for row in rows}):
        mine = [row for row in rows if row["label"] == label]
        unit, square = ("mm", "mm2") if all(row["length_mm"] is not None for row in mine) else ("px", "px")
        lengths = np.array([row[f"length_{unit}"] for row in mine], np.float64)
        areas = np.array([row[f"area_{square}"] for row in mine], np.float64)
        sources = Counter(row["resolution_from"] for row in mine)
        summary.append(
            {
                "label": label,
                "things": len(mine),
                "unit": unit,
                "area_sum": float(areas.sum()),
                "area_median": float(np.median(areas)),
                "length_least": float(lengths.min()),
                "length_median": float(np.median(lengths)),
                "length_greatest": float(lengths.max()),
                "ratio_median": float(np.median([row["ratio"] for row in mine])),
                "resolution_from": "; ".join(f"{source} ({count})" for source, count in sources.most_common()),
            }
        )
    return summary


def draw_histogram(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Draw how many things of each label have which length and which area, as a PNG file, whole or not at all."""
    labels = sorted({row["label"] for row in rows})
    wide, high, margin = 460, 260, 56
    sheet = Image.new("RGB", (2 * wide, high * len(labels)), "white")
    pen = ImageDraw.Draw(sheet)
    fonts = ImageFont.load_default(15), ImageFont.load_default(12)
    for line, label in enumerate(labels):
        mine = [row for row in rows if row["label"] == label]
        known = all(row["length_mm"] is not None for row in mine)
        for column, what in enumerate(("length", "area")):
            unit = {("length", True): "mm", ("area", True): "mm2"}.get((what, known), "px")
            values = np.array([row[f"{what}_{unit}"] for row in mine], np.float64)
            corner = (column * wide + margin, line * high + 34)
            size = (wide - margin - 18, high - 34 - 48)
            words = f"square {unit.removesuffix('2')}" if what == "area" else unit
            title = f"{label}: {what} of {len(mine)}, {words}"
            _bars(pen, corner, size, values, title, fonts)
    with replacing(path) as temporary:
        sheet.save(temporary, "PNG")


def _bars(
    pen: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    size: tuple[int, int],
    values: np.ndarray,
    title: str,
    fonts: tuple[Any, Any],
) -> None:
    left, top = corner
    wide, high = size
    bins = int(np.clip(np.sqrt(len(values)) * 2, 4, 30))
    counts, edges = np.histogram(values, bins, (0, max(float(values.max()), 1e-9)))
    most = max(1, int(counts.max()))
    pen.text((left, top - 8), title, fill="#2a2520", font=fonts[0], anchor="lb")
    for step in sorted({0, most // 2, most}):
        y = top + high - high * step / most
        pen.line((left, y, left + wide, y), fill="#ddd5c7")
        pen.text((left - 6, y), str(step), fill="#776e63", font=fonts[1], anchor="rm")
    for number, count in enumerate(counts.tolist()):
        first, last = left + wide * number / bins, left + wide * (number + 1) / bins
        if count:
            pen.rectangle((first + 1, top + high - high * count / most, last - 1, top + high), fill="#0e6377")
    for share in (0.0, 0.5, 1.0):
        words = f"{edges[0] + (edges[-1] - edges[0]) * share:.4g}"
        pen.text((left + wide * share, top + high + 6), words, fill="#776e63", font=fonts[1], anchor="mt")
    median = float(np.median(values))
    x = left + wide * median / edges[-1]
    pen.line((x, top, x, top + high), fill="#b3341c", width=2)
    pen.text((min(x + 4, left + wide - 90), top), f"median {median:.4g}", fill="#b3341c", font=fonts[1], anchor="lt")
