"""``calque check``: is everything whole?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cli.options import format_option, index_argument
from cli.output import write_rows

if TYPE_CHECKING:
    from pathlib import Path

    from cli.output import Format
    from index.reports import Problem

__all__ = ["check"]


@click.command()
@index_argument
@click.option("--deep", is_flag=True, help="Read everything and compare checksums, too.")
@click.option(
    "--repair", is_flag=True, help="Forget the images whose files are damaged, so that they can be added again."
)
@format_option
def check(index: Path, deep: bool, repair: bool, form: Format) -> int:
    """Verify that every file of INDEX is there and whole, and that the catalogue and the files agree.

    Problems are listed with their remedy. With --repair they are mended, and the images to add again are listed on
    stderr. Exit status: 0 all is well, 1 something is or was damaged, 2 failure.

    \b
    Examples:
      calque check scans.calque
      calque check scans.calque --deep --format json
      calque check scans.calque --repair
    """
    from index.store import Index

    with Index.open(index, writable=repair, damaged=True) as opened:
        problems = opened.check(deep=deep or repair)
        lost = opened.repair() if repair and problems else []
    _write(problems, form)
    for record in lost:
        click.echo(f"calque: forgotten, add it again: {record.name}", err=True)
    if not problems:
        click.echo(f"calque: {index}: all is well", err=True)
    return 1 if problems else 0


def _write(problems: list[Problem], form: Format) -> None:
    rows = [{"severity": problem.severity, "what": problem.what, "remedy": problem.remedy} for problem in problems]
    if rows or form != "table":
        write_rows(rows, ["severity", "what", "remedy"], form)
