"""Maps of damage of many images: masks, overlays, and how much of each image is damaged: `calque damage apply`."""

from __future__ import annotations

import csv
from collections import deque
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
from PIL import Image

from index.durable import replacing
from index.exports import file_stem, make_folder
from index.items import Pending, SourceFailure, SourceItem
from index.resolution import Resolution, resolution_of
from index.sources import expand_all
from matcher.errors import CalqueError
from matcher.images import printable, read_image
from matcher.measures import centre_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from matcher.damage import DamageMapper

__all__ = ["COLOURS", "IMAGE_COLUMNS", "REGION_COLUMNS", "DamageSettings", "map_damage"]

COLOURS = ((230, 30, 30), (255, 160, 0), (150, 40, 220), (0, 130, 230), (0, 150, 80), (230, 80, 160))
"""Red, green, blue of the classes, from 1 on; then over again."""

IMAGE_COLUMNS = (
    *("image", "page", "class", "pixels", "share", "regions", "length_px", "largest_px"),
    *("area_mm2", "length_mm", "dpi", "resolution_from"),
)
REGION_COLUMNS = (
    *("image", "page", "class", "region", "pixels", "share", "length_px", "width_px"),
    *("area_mm2", "length_mm", "width_mm"),
)
_SHOWN = 1600
"""Long side of overlays, in pixels."""

_TINT = 0.65


class DamageSettings(NamedTuple):
    """What is written of each image, and how.

    Attributes
    ----------
    overlays : bool
        Whether the damage is drawn on the image, too.
    least : int
        Pixels of the smallest region that counts; smaller ones are taken out of the mask, too.
    dpi : float or None
    key : str or None
    believe : bool
        As of `index.resolution.resolution_of`.
    """

    overlays: bool = False
    least: int = 8
    dpi: float | None = None
    key: str | None = None
    believe: bool = False


def map_damage(
    sources: Sequence[str],
    mapper: DamageMapper,
    folder: Path,
    settings: DamageSettings,
    progress: Callable[[int, int], None],
) -> Iterator[list[dict[str, Any]] | SourceFailure]:
    """Write masks, and yield of each image a row for each class, or why there is none.

    In `folder`: ``masks/``, PNG with a palette, 0 none, from 1 on the classes; ``overlays/``; ``regions.csv``, a row
    for each connected piece of damage.

    Raises
    ------
    CalqueError
        If the folder cannot be written.
    """
    make_folder(folder / "masks")
    if settings.overlays:
        make_folder(folder / "overlays")
    found = deque(expand_all(sources))
    total = len(found)
    with ExitStack() as stack:
        temporary = stack.enter_context(replacing(folder / "regions.csv"))
        file = stack.enter_context(temporary.open("w", encoding="utf-8", errors="surrogateescape", newline=""))
        table = csv.DictWriter(file, REGION_COLUMNS, lineterminator="\n")
        table.writeheader()
        for done in range(1, total + 1):
            item = found.popleft()
            page = item.fetched() if isinstance(item, Pending) else item
            if isinstance(page, SourceItem):
                try:
                    rows, regions = _mapped(page, mapper, folder, settings)
                except CalqueError as error:
                    yield SourceFailure(page.name, str(error).removeprefix(f"{printable(page.path)}: "))
                else:
                    table.writerows(regions)
                    yield rows
            else:
                yield page
            progress(done, total)


def _mapped(
    item: SourceItem, mapper: DamageMapper, folder: Path, settings: DamageSettings
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    scan = read_image(item.path, item.page, gray=False, long_side=mapper.card.long_side or None)
    classes = mapper.map(scan.pixels)
    told = resolution_of(
        item.path,
        (scan.width, scan.height),
        dpi=settings.dpi,
        metadata=item.metadata,
        key=settings.key,
        believe=settings.believe,
    )
    rows, regions = [], []
    for kind, name in enumerate(mapper.classes, start=1):
        pieces = _pieces(classes, kind, settings.least, (scan.scale_x, scan.scale_y), told)
        regions += [
            {"image": item.name, "page": item.page, "class": name, "region": number, **piece}
            for number, piece in enumerate(pieces, start=1)
        ]
        rows.append({"image": item.name, "page": item.page, "class": name, **_sums(pieces, told)})
    stem = file_stem(item.name, item.page, str(item.path))
    with replacing(folder / "masks" / f"{stem}.png") as temporary:
        picture = Image.fromarray(classes, "P")
        picture.putpalette([0, 0, 0, *(value for kind in range(255) for value in COLOURS[kind % len(COLOURS)])])
        picture.save(temporary, "PNG")
    if settings.overlays:
        with replacing(folder / "overlays" / f"{stem}.jpg") as temporary:
            Image.fromarray(_overlaid(scan.pixels, classes)).save(temporary, "JPEG", quality=88, subsampling=0)
    return rows, regions


def _pieces(
    classes: NDArray[np.uint8], kind: int, least: int, scale: tuple[float, float], told: Resolution
) -> list[dict[str, Any]]:
    """Return the connected pieces of a class, the largest first, and take those that are too small out of `classes`."""
    many, labels, stats, _ = cv2.connectedComponentsWithStats((classes == kind).astype(np.uint8), connectivity=8)
    pixel = scale[0] * scale[1]
    per_x, per_y = 1 / scale[0], 1 / scale[1]
    pieces = []
    for number in np.argsort(-stats[1:, cv2.CC_STAT_AREA], kind="stable") + 1 if many > 1 else ():
        left, top, wide, high, area = stats[number].tolist()
        view = labels[top : top + high, left : left + wide] == number
        if area < least:
            classes[top : top + high, left : left + wide][view] = 0
            continue
        length = centre_line(view, per_x, per_y)
        piece: dict[str, Any] = {
            "pixels": round(area * pixel),
            "share": area / classes.size,
            "length_px": length,
            "width_px": area * pixel / length,
            "area_mm2": None,
            "length_mm": None,
            "width_mm": None,
        }
        if told.x is not None and told.y is not None:
            piece["area_mm2"] = area * pixel / (told.x * told.y)
            piece["length_mm"] = centre_line(view, per_x * told.x, per_y * told.y)
            piece["width_mm"] = piece["area_mm2"] / piece["length_mm"]
        pieces.append(piece)
    return pieces


def _sums(pieces: Sequence[dict[str, Any]], told: Resolution) -> dict[str, Any]:
    def total(key: str) -> float:
        return float(sum(piece[key] for piece in pieces))

    return {
        "pixels": sum(piece["pixels"] for piece in pieces),
        "share": total("share"),
        "regions": len(pieces),
        "length_px": total("length_px"),
        "largest_px": max((piece["pixels"] for piece in pieces), default=0),
        "area_mm2": total("area_mm2") if told.known else None,
        "length_mm": total("length_mm") if told.known else None,
        "dpi": told.dpi,
        "resolution_from": told.source,
    }


def _overlaid(pixels: NDArray[np.uint8], classes: NDArray[np.uint8], long_side: int = _SHOWN) -> NDArray[np.uint8]:
    """Draw damage on an image in the colour of its class, over the greyed image, at most `long_side` pixels long.

    Thin lines stay seen however far the image is reduced: a pixel is tinted by the most that lies in it.
    """
    factor = min(1.0, long_side / max(pixels.shape[:2]))
    size = tuple(max(1, round(side * factor)) for side in pixels.shape[1::-1])
    small = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.float32)
    grey = small @ np.array([0.299, 0.587, 0.114], np.float32)
    drawn = 0.5 * small + 0.5 * grey[..., None]
    for kind in range(1, int(classes.max()) + 1):
        share = cv2.resize((classes == kind).astype(np.float32), size, interpolation=cv2.INTER_AREA)
        alpha = (_TINT * np.clip(share / max(factor, 0.2), 0, 1))[..., None]
        drawn = drawn * (1 - alpha) + np.array(COLOURS[(kind - 1) % len(COLOURS)], np.float32) * alpha
    return np.clip(drawn + 0.5, 0, 255).astype(np.uint8)
