"""``calque check``: is everything whole?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cli.options import format_option, index_argument
from cli.output import write_record, write_table

if TYPE_CHECKING:
    from pathlib import Path

    from cli.output import Format

__all__ = ["check"]


@click.command()
@index_argument
@click.option("--deep", is_flag=True, help="Read everything and compare checksums, too.")
@format_option
def check(index: Path, deep: bool, form: Format) -> int:
    """Verify that every file of INDEX is there and whole, and that the catalogue and the files agree.

    Exit status: 0 all is well, 1 something is damaged (each damage is named with its remedy), 2 failure.

    \b
    Examples:
      calque check scans.calque
      calque check scans.calque --deep --format json
    """
    from index.store import Index

    with Index.open(index) as opened:
        problems = opened.check(deep=deep)
    if form == "table":
        write_table([[problem] for problem in problems] or [["all is well"]])
    else:
        write_record({"index": str(index), "whole": not problems, "problems": list(problems)}, form)
    return 1 if problems else 0
