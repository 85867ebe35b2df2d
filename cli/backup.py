"""``calque backup``: a copy of an index that is in use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.options import format_option, index_argument, quiet_option
from cli.output import write_record
from cli.progress import Progress

if TYPE_CHECKING:
    from cli.output import Format

__all__ = ["backup"]


@click.command()
@index_argument
@click.argument("target", type=click.Path(path_type=Path))
@format_option
@quiet_option
def backup(index: Path, target: Path, form: Format, quiet: bool) -> int:
    """Copy INDEX to the folder TARGET, as it is now, while others search it and add to it.

    The copy is an index itself: to restore it, copy it back, or use it where it lies. Taken again into the same TARGET,
    only what is new is copied. Links between images and the words of `calque find` are left out: `calque groups` and
    `calque find` make them again. The images themselves are not copied.

    \b
    Examples:
      calque backup scans.calque /backup/scans.calque
      calque backup scans.calque /backup/scans.calque --quiet --format json
      calque check /backup/scans.calque --deep
    """
    from index import backup as copying

    with Progress("files", quiet=quiet) as progress:
        done = copying.backup(index, target, progress.update)
    write_record({"index": str(index), "backup": str(target), **_told(done)}, form)
    return 0


def _told(done: tuple[int, int, int, int]) -> dict[str, int]:
    return dict(zip(("images", "files_copied", "bytes_copied", "files_kept"), done, strict=True))
