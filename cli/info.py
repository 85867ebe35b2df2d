"""``calque info``: what an index holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cli.options import format_option, index_argument, where_option
from cli.output import write_record, write_rows

if TYPE_CHECKING:
    from pathlib import Path

    from cli.output import Format
    from index.catalogue import ImageRecord
    from index.store import Index

__all__ = ["info"]

_OWN_COLUMNS = ["id", "image", "page", "width", "height", "features", "path"]


@click.command()
@index_argument
@click.option("--images", is_flag=True, help="List the images instead, with their metadata.")
@where_option
@click.option("--failures", is_flag=True, help="List the inputs that could not be added instead, and why.")
@format_option
def info(index: Path, images: bool, where: str | None, failures: bool, form: Format) -> int:
    """Say what INDEX holds, what it was made with and how big it is.

    The list of images has a column for each key of their metadata; as JSON each image has an object "metadata", and
    "zones" with what is known of its parts.

    CONDITION compares keys of the metadata, or image, path, page, width, height, with =, !=, <, <=, >, >= and ~
    (contains): numbers as numbers, dates (1912, 1912-05, 1912-05-12) as dates, else text whatever its case. Join with
    and, or, not and brackets; quote what has blanks in it. An image without the key does not fit.

    \b
    Examples:
      calque info scans.calque
      calque info scans.calque --images --format csv > images.csv
      calque info scans.calque --images --where "date<1920 and title~'vogue'"
      calque info scans.calque --failures
    """
    from index.store import Index

    if images and failures:
        raise click.UsageError("give either --images or --failures")
    if where is not None and not images:
        raise click.UsageError("--where chooses among images; give --images too")
    with Index.open(index) as opened:
        if images:
            _write_images(opened, where, form)
        elif failures:
            columns = ["image", "page", "time", "reason"]
            found = opened.failures()
            write_rows(
                [{"image": f.name, "page": f.page, "time": f.time, "reason": f.reason} for f in found], columns, form
            )
        else:
            write_record(opened.info(), form)
    return 0


def _write_images(index: Index, where: str | None, form: Format) -> None:
    chosen = None if where is None else index.select(where)
    records = (record for record in index.images() if chosen is None or record.id in chosen)
    metadata = index.all_metadata()
    if form in ("json", "jsonl"):
        rows = (_own(record) | _known(index, record, metadata.get(record.id, {})) for record in records)
        write_rows(rows, (), form)
        return
    keys = dict.fromkeys(key for values in metadata.values() for key in values)
    # Named as conditions name it: metadata may have a "height" that is no image's height in pixels.
    headings = {key: f"meta:{key}" if key in _OWN_COLUMNS else key for key in keys}
    flat = (
        _own(record) | {headings[key]: value for key, value in metadata.get(record.id, {}).items()}
        for record in records
    )
    write_rows(flat, [*_OWN_COLUMNS, *headings.values()], form)


def _own(record: ImageRecord) -> dict[str, object]:
    values = (record.id, record.name, record.page, record.width, record.height, record.n_features, record.path)
    return dict(zip(_OWN_COLUMNS, values, strict=True))


def _known(index: Index, record: ImageRecord, metadata: dict[str, str]) -> dict[str, object]:
    zones = [
        {"kind": z.kind, "label": z.label, "score": z.score, "origin": z.origin, "region": z.box.as_list()}
        for z in index.regions(record.id)
    ]
    return {"metadata": metadata, "zones": zones}
