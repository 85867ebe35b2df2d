"""``calque check``: is everything whole?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cli.options import format_option, index_argument, quiet_option, workers_option
from cli.output import one_line, write_rows
from cli.progress import Progress

if TYPE_CHECKING:
    from pathlib import Path

    from cli.output import Format
    from index.reports import Problem

__all__ = ["check"]

_SHOWN = 3


@click.command()
@index_argument
@click.option("--deep", is_flag=True, help="Read everything and compare checksums, too.")
@click.option(
    "--repair",
    is_flag=True,
    help="Encode the images of damaged files again, from the images themselves where they are still there.",
)
@workers_option
@format_option
@quiet_option
def check(index: Path, deep: bool, repair: bool, workers: int | None, form: Format, quiet: bool) -> int:
    """Verify that every file of INDEX is there and whole, and that the catalogue and the files agree.

    Problems are listed with their remedy, and with the images that they touch (all of them in JSON). With --deep any
    byte is found that is not what was written. With --repair problems are mended: what is known of the images is kept,
    and those that are to be added again are listed on stderr; see docs/reliability.md.

    Exit status: 0 all is well, 1 something is or was damaged, 2 failure.

    \b
    Examples:
      calque check scans.calque
      calque check scans.calque --deep --format json
      calque check scans.calque --repair
    """
    from index.store import Index

    with Index.open(index, writable=repair, damaged=True) as opened:
        problems = opened.check(deep=deep or repair)
        if repair and problems:
            with Progress("images", quiet=quiet) as progress:
                report = opened.rebuild(workers=workers, progress=lambda done, total, *_: progress.update(done, total))
            for name, reason in report.failed:
                click.echo(one_line(f"calque: {name}: {reason}"), err=True)
            if report.added:
                click.echo(f"calque: {report.added} images encoded again", err=True)
            for record in opened.repair():
                click.echo(one_line(f"calque: forgotten, add it again: {record.name}"), err=True)
    _write(problems, form)
    if not problems:
        click.echo(f"calque: {index}: all is well", err=True)
    return 1 if problems else 0


def _write(problems: list[Problem], form: Format) -> None:
    rows: list[dict[str, object]] = [
        {"severity": problem.severity, "what": problem.what, "remedy": problem.remedy} for problem in problems
    ]
    for row, problem in zip(rows, problems, strict=True):
        row["images"] = _some(problem.images) if form in ("table", "csv") else list(problem.images)
    if rows or form != "table":
        write_rows(rows, ["severity", "what", "remedy", "images"], form)


def _some(names: tuple[str, ...]) -> str:
    """Return the first of the images that something touches, and how many there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
