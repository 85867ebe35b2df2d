"""``calque upgrade``: an index of an older format brought up to date."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.options import format_option, index_argument, quiet_option
from cli.output import write_record
from cli.progress import Progress

if TYPE_CHECKING:
    from cli.output import Format

__all__ = ["upgrade"]


@click.command()
@index_argument
@click.option(
    "--backup",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Where a copy of INDEX as it is goes first.  [default: beside it, called INDEX.formatN]",
)
@click.option("--no-backup", is_flag=True, help="Take no copy.")
@format_option
@quiet_option
def upgrade(index: Path, backup: Path | None, no_backup: bool, form: Format, quiet: bool) -> int:
    """Bring INDEX, which an older calque made, to the present format, with a copy of it as it was.

    Older indexes are read as they are, and brought up to date when they are written to; this does all of it at once,
    and is undone by putting the copy back. Answers do not change.

    \b
    Examples:
      calque upgrade scans.calque
      calque upgrade scans.calque --backup /backup/scans.old.calque
    """
    from index import backup as copying

    if no_backup and backup is not None:
        raise click.UsageError("--no-backup takes no copy; leave --backup out")
    before = copying.formats(index)
    copy = None if no_backup else backup or index.with_name(f"{index.name}.format{before[0]}")
    with Progress("files", quiet=quiet) as progress:
        changed = copying.upgrade(index, copy, progress.update)
    after = copying.formats(index)
    told = {"index": str(index), "format_before": before[0], "format": after[0], "upgraded": changed}
    write_record({**told, "backup": str(copy) if changed and copy is not None else None}, form)
    return 0
