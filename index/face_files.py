"""Faces of an index: cut out upright and all alike, with the table of their sizes and places, and their average.

Whose faces these are is not asked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from index.crops import crop_table, listed, write_png
from index.exports import file_stem, make_folder
from index.items import SourceFailure
from matcher.errors import InputError
from matcher.faces import FACE, aligned_face, average_face, has_face
from matcher.images import printable, read_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from index.detection_files import SeenImage
    from index.detections import KnownDetection

__all__ = ["FACE_COLUMNS", "FacesWritten", "face_row", "write_faces"]

FACE_COLUMNS = (
    *("file", "image", "page", "score", "region", "height_share", "centre_x", "centre_y", "tilt", "landmarks"),
    "detector",
)
"""Columns of ``faces.csv``."""

AVERAGE = "average.png"
"""Name of the average of all faces cut out."""


@dataclass(frozen=True, slots=True)
class FacesWritten:
    """What was written: a row of `FACE_COLUMNS` for each face; the average, if there is one; images that failed."""

    rows: list[dict[str, Any]]
    average: Path | None
    failures: list[SourceFailure]


def face_row(image: SeenImage, one: KnownDetection) -> dict[str, Any]:
    """Return what is told of a face: its place and size as shares of the image, and how it leans, in degrees clockwise.

    ``tilt`` is that of the line from eye to eye; None without landmarks.
    """
    found, sheet = one.detection, image.sheet
    box = found.box
    tilt = None
    if found.landmarks is not None and len(found.landmarks) > 1:
        across = found.landmarks[1] - found.landmarks[0]
        tilt = round(math.degrees(math.atan2(float(across[1]), float(across[0]))), 1)
    return {
        "image": sheet.name,
        "page": sheet.page,
        "score": round(found.score, 4),
        "region": [round(edge, 1) for edge in box.as_list()],
        "height_share": round(box.height / sheet.height, 4),
        "centre_x": round((box.x + box.width / 2) / sheet.width, 4),
        "centre_y": round((box.y + box.height / 2) / sheet.height, 4),
        "tilt": tilt,
        "landmarks": None if found.landmarks is None else np.round(found.landmarks, 1).tolist(),
        "detector": one.origin,
    }


def write_faces(
    folder: Path, images: Iterable[SeenImage], side: int, progress: Callable[[int], None] | None = None
) -> FacesWritten:
    """Cut faces out of images into ``FOLDER/faces``, with ``faces.csv`` and ``average.png`` beside.

    Parameters
    ----------
    folder : Path
        Made if need be. A face that was cut out before at this size is not cut out again.
    images : iterable of SeenImage
        Things on them that are no faces are passed over. Faces without landmarks, such as those that a person has
        drawn, are in the table only.
    side : int
        Pixels of each side of a face cut out.
    progress : callable, optional
        Called with the number of images done.

    Raises
    ------
    InputError
        If the folder cannot be made.
    """
    make_folder(folder / "faces")
    rows: list[dict[str, Any]] = []
    failures: list[SourceFailure] = []
    with crop_table(folder, FACE_COLUMNS, "faces.csv") as table:
        for done, image in enumerate(images, start=1):
            sheet, scan = image.sheet, None
            stem = file_stem(sheet.name, sheet.page, sheet.path)
            for one in (known for known in image.known if known.detection.label == FACE):
                row = {"file": "", **face_row(image, one)}
                if has_face(one.detection):
                    name = f"faces/{stem}-{one.id}.png"
                    pixels = _cut_before(folder / name, side)
                    if pixels is None:
                        try:
                            scan = scan or read_image(sheet.path, sheet.page, gray=False)
                        except InputError as error:
                            reason = str(error).removeprefix(f"{printable(sheet.path)}: ")
                            failures.append(SourceFailure(sheet.title, reason))
                            break
                        assert one.detection.landmarks is not None
                        pixels = aligned_face(scan, one.detection.landmarks, side)
                        write_png(folder / name, pixels)
                    row["file"] = name
                rows.append(row)
                table.writerow({**row, "region": listed(row["region"]), "landmarks": row["landmarks"] or ""})
            if progress is not None:
                progress(done)
    files = [folder / row["file"] for row in rows if row["file"]]
    if not files:
        return FacesWritten(rows, None, failures)
    write_png(folder / AVERAGE, average_face(face for file in files if (face := _cut_before(file, side)) is not None))
    return FacesWritten(rows, folder / AVERAGE, failures)


def _cut_before(path: Path, side: int) -> NDArray[np.uint8] | None:
    """Return a face that was cut out before at this size, None if there is none."""
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"), np.uint8)
    except OSError:
        return None
    return pixels if pixels.shape == (side, side, 3) else None
