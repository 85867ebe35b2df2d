"""``calque remove``: take images out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cli.options import format_option, index_argument
from cli.output import one_line, write_rows

if TYPE_CHECKING:
    from pathlib import Path

    from cli.output import Format

__all__ = ["remove"]


@click.command()
@index_argument
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@format_option
def remove(index: Path, names: tuple[str, ...], form: Format) -> int:
    """Take images out of INDEX and list them.

    NAME is an image as `calque search` and `calque info --images` call it, or the path of a file or a folder. The
    image files themselves are not touched; `calque compact` gives the space back. Exit status: 0 done, 1 some names
    are not in the index (the others are removed), 2 wrong usage or failure.

    \b
    Examples:
      calque remove scans.calque scans/p12.jpg
      calque remove scans.calque scans/blurred/
    """
    from index.store import Index

    with Index.open(index, writable=True) as opened:
        report = opened.remove(names)
    rows = [{"id": record.id, "image": record.name, "page": record.page} for record in report.removed]
    if rows or form != "table":
        write_rows(rows, ["id", "image", "page"], form)
    for name in report.missing:
        click.echo(one_line(f"calque: {name}: not in {index}; see calque info {index} --images"), err=True)
    return 1 if report.missing else 0
