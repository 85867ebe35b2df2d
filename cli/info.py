"""``calque info``: what an index holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cli.options import format_option, index_argument
from cli.output import write_record, write_rows

if TYPE_CHECKING:
    from pathlib import Path

    from cli.output import Format

__all__ = ["info"]

_IMAGE_COLUMNS = ["id", "image", "page", "width", "height", "features", "path"]


@click.command()
@index_argument
@click.option("--images", is_flag=True, help="List the images instead.")
@click.option("--failures", is_flag=True, help="List the inputs that could not be added instead, and why.")
@format_option
def info(index: Path, images: bool, failures: bool, form: Format) -> int:
    """Say what INDEX holds, what it was made with and how big it is.

    \b
    Examples:
      calque info scans.calque
      calque info scans.calque --images --format csv > images.csv
      calque info scans.calque --failures
    """
    from index.store import Index

    if images and failures:
        raise click.UsageError("give either --images or --failures")
    with Index.open(index) as opened:
        if images:
            rows = (
                {
                    "id": record.id,
                    "image": record.name,
                    "page": record.page,
                    "width": record.width,
                    "height": record.height,
                    "features": record.n_features,
                    "path": record.path,
                }
                for record in opened.images()
            )
            write_rows(rows, _IMAGE_COLUMNS, form)
        elif failures:
            columns = ["image", "page", "time", "reason"]
            found = opened.failures()
            write_rows(
                [{"image": f.name, "page": f.page, "time": f.time, "reason": f.reason} for f in found], columns, form
            )
        else:
            write_record(opened.info(), form)
    return 0
