"""Every hit cut out of its page and brought into the frame of its query, as pictures for other programs."""

from __future__ import annotations

import csv
import math
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

from PIL import Image

from index.answers import answer_as_dict
from index.durable import replacing
from index.exports import make_folder, slug
from matcher.errors import CalqueError
from matcher.images import read_image
from matcher.registration import Frame, warp
from matcher.types import Region

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    import numpy as np
    from numpy.typing import NDArray

    from index.answers import Answer, Hit

__all__ = ["CROP_COLUMNS", "CropWriter", "crop", "crop_table", "listed", "write_png"]

CROP_COLUMNS = (
    *("file", "query", "query_image", "query_page", "query_region", "rank", "image", "page", "region"),
    *("relation", "rotation", "scale", "false_alarms", "score", "error"),
)
"""Columns of ``crops.csv``."""

_LONGEST = 2000
"""Pixels that the longer side of a crop has at most."""


class CropWriter:
    """Write the hits of answers, one after the other, into a folder: PNG files, and ``crops.csv``, which names them.

    A crop shows what a hit shows in the frame of its query, so that crops of one query, brought to one size, lie upon
    each other. It has the resolution of its page, but at most 2,000 pixels on its longer side, and the tones of its
    page, also where the hit is a negative. Files are named after number and id of the query and rank of the hit.

    Use it in a ``with`` block, at whose end ``crops.csv`` appears; files of the same names are replaced.

    Parameters
    ----------
    folder : Path
        Made if need be; `InputError` if it cannot be.
    """

    def __init__(self, folder: Path) -> None:
        make_folder(folder)
        self.folder = folder
        self._queries = 0
        self._open = ExitStack()

    def __enter__(self) -> Self:
        self._table = self._open.enter_context(crop_table(self.folder, CROP_COLUMNS))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)

    def add(self, answer: Answer) -> None:
        """Cut out the hits of one answer; one whose page cannot be read gets a line that says why, and no picture."""
        self._queries += 1
        stem = f"{self._queries:04d}-{slug(answer.id)}"
        asked = {"query": answer.id, "query_image": str(answer.image), "query_page": answer.page}
        if answer.region is not None:
            asked["query_region"] = listed(answer.region.as_list())
        for hit, values in zip(answer.hits, answer_as_dict(answer)["hits"], strict=True):
            row = {name: values[name] for name in CROP_COLUMNS if name in values}
            row |= {**asked, "file": f"{stem}-{hit.rank:03d}.png", "region": listed(values["region"])}
            try:
                pixels = crop(hit)
            except CalqueError as error:
                row |= {"file": "", "error": str(error)}
            else:
                write_png(self.folder / row["file"], pixels)
            self._table.writerow(row)


def crop(hit: Hit) -> NDArray[np.uint8]:
    """Return what a hit shows, in the frame of its query: uint8, shape (h, w) or (h, w, 3).

    Raises
    ------
    InputError
        If its page cannot be read.
    """
    match = hit.match
    corners = match.transform.inverse().apply(match.polygon)
    (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
    asked = Region(left, top, right - left, bottom - top)
    long_side = max(1, min(_LONGEST, math.ceil(max(asked.width, asked.height) * match.scale)))
    page = read_image(Path(hit.path), hit.page, gray=False)
    return warp(page, match.transform, Frame.over(asked, long_side))[0]


@contextmanager
def crop_table(folder: Path, columns: Sequence[str], name: str = "crops.csv") -> Iterator[csv.DictWriter[str]]:
    """Yield the writer of a table called `name`, which appears in `folder` once the block has ended well."""
    # Bytes of file names that are no UTF-8 are written as the bytes that they are.
    with (
        replacing(folder / name) as temporary,
        temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        yield writer


def write_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write a picture, uint8 of shape (h, w) or (h, w, 3), whole or not at all."""
    with replacing(path) as temporary:
        Image.fromarray(pixels).save(temporary, "PNG")


def listed(box: list[float]) -> str:
    """Return a box as a cell of a table: ``x,y,width,height``."""
    return ",".join(f"{edge:g}" for edge in box)
