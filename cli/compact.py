"""``calque compact``: give back the space of what was removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cli.options import format_option, index_argument
from cli.output import write_record

if TYPE_CHECKING:
    from pathlib import Path

    from cli.output import Format

__all__ = ["compact"]


@click.command()
@index_argument
@format_option
def compact(index: Path, form: Format) -> int:
    """Rewrite INDEX without what was removed, in the fewest files.

    Searches go on meanwhile. It needs as much free space again as the index takes; an interruption loses nothing.

    \b
    Examples:
      calque compact scans.calque
    """
    from index.store import Index

    with Index.open(index, writable=True) as opened:
        before = opened.info()
        opened.compact()
        after = opened.info()
    write_record(
        {
            "index": str(index),
            "images": after["images"],
            "bytes_before": before["bytes"],
            "bytes": after["bytes"],
            "segments_before": before["segments"],
            "segments": after["segments"],
        },
        form,
    )
    return 0
