"""``calque groups``: every reuse in a collection."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from cli.exports import DOCUMENTS, base_url_option, write_document
from cli.options import (
    device_option,
    format_option_of,
    index_argument,
    quiet_option,
    require_one_place,
    scheduler_option,
    threads_option,
    where_option,
)
from cli.output import FORMATS, one_line, write_json, write_rows
from cli.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from cli.output import Format
    from index.groups import Group, Grouping

__all__ = ["groups"]

_COLUMNS = [
    *("group", "image", "page", "region", "reference", "relation", "rotation", "scale", "false_alarms", "metadata"),
]


@click.command()
@index_argument
@click.option(
    "--max-false-alarms",
    type=click.FloatRange(min=0, min_open=True, max=1),
    default=1e-3,
    show_default=True,
    metavar="F",
    help="Leave out links less sure than this: chance alone would give that many in one search.",
)
@click.option(
    "--furniture",
    is_flag=True,
    help="Group what many pages of one folder, or of one file, show at the same place, too: bindings, rulers, stamps, "
    "running titles.",
)
@click.option(
    "--collate",
    is_flag=True,
    help="Lay each member on its reference line by line, and part copies from impressions of one block; takes about a "
    "second for each.",
)
@where_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Folder for a report.html with the members of each group laid upon each other.",
)
@threads_option
@device_option
@scheduler_option
@base_url_option
@format_option_of((*FORMATS, "graphml", *DOCUMENTS))
@quiet_option
def groups(
    index: Path,
    max_false_alarms: float,
    furniture: bool,
    collate: bool,
    where: str | None,
    output: Path | None,
    threads: int | None,
    scheduler: str | None,
    base_url: str,
    form: str,
    quiet: bool,
) -> int:
    """Find everything in INDEX that is there more than once: the impressions of a block, the prints of a photograph.

    Every image that has not been asked yet is asked, and what it is found on is kept in the index's folder; run again
    after an addition, or after an interruption, only what is missing is asked. Then places on pages that show the same
    picture are grouped. What calque judge calls the same is joined, what it calls different is kept apart.

    Groups come the largest first. A table and CSV have a line for each member; the reference is the member that the
    others are laid on. Exit status: 0 groups were found, 1 none were found or some images could not be asked, 2 wrong
    usage or failure.

    \b
    Examples:
      calque groups scans.calque
      calque groups scans.calque -o groups/ --where "date<1520"
      calque groups woodcuts.calque --collate --format csv > blocks.csv
      calque groups scans.calque --max-false-alarms 1e-6 --format graphml > groups.graphml
      calque groups scans.calque --scheduler tcp://host:8786
    """
    require_one_place(scheduler, "--threads", threads)
    from index.cluster import connected
    from index.groups import FURNITURE
    from index.groups import groups as group_images
    from index.links import Links, find_links
    from index.store import Index

    with Index.open(index) as opened, Links(opened.path) as links:
        only = None if where is None else opened.select(where)
        with connected(scheduler) as cluster, Progress("images", quiet=quiet) as progress:
            asked = find_links(opened, links, threads=threads, cluster=cluster, progress=progress.update)
            for name, reason in asked.failed:
                progress.message(one_line(f"calque: {name}: {reason}"))
        pages = None if furniture else FURNITURE
        found = group_images(opened, links, max_false_alarms=max_false_alarms, furniture=pages, only=only)
        if collate:
            from index.collating import parted

            with Progress("groups", quiet=quiet) as progress:
                found = replace(found, groups=parted(opened, found.groups, progress.update))
        if output is not None:
            _report(found.groups, output, quiet)
        _write(found.groups, form, base_url)
        click.echo(_summary(found), err=True)
    return 0 if found.groups and not asked.failed else 1


def _summary(found: Grouping) -> str:
    members = sum(len(group.members) for group in found.groups)
    parts = [f"{len(found.groups)} groups of {members} pictures"]
    if found.furniture:
        parts.append(f"{found.furniture} places left out as furniture")
    if found.contradictions:
        parts.append(f"{found.contradictions} links cut, which surer ones contradict or do not bear out")
    return f"calque: {'; '.join(parts)}"


def _report(found: Sequence[Group], output: Path, quiet: bool) -> None:
    from cli.report_groups import GroupReport, sheaf_of_group

    with Progress("groups", total=len(found), quiet=quiet) as progress, GroupReport(output) as report:
        for done, group in enumerate(found, start=1):
            report.add(sheaf_of_group(group))
            progress.update(done)
    click.echo(f"calque: report in {report.path}", err=True)


def _write(found: Sequence[Group], form: str, base_url: str) -> None:
    from index.groups import group_as_dict, group_findings, group_graph

    if form == "graphml":
        from index.exports import graphml

        sys.stdout.writelines(graphml(*group_graph(found)))
    elif form in DOCUMENTS:
        write_document(form, group_findings(found), base_url)
    elif form == "json":
        write_json([group_as_dict(group) for group in found])
    elif form == "jsonl":
        for group in found:
            write_json(group_as_dict(group), line=True)
    elif found or form == "csv":
        write_rows(_rows(found, form), _COLUMNS[:-1] if form == "table" else _COLUMNS, cast("Format", form))


def _rows(found: Iterable[Group], form: str) -> Iterator[dict[str, Any]]:
    from index.groups import group_as_dict

    for group in found:
        values = group_as_dict(group)
        for member in values["members"]:
            box = [round(edge) for edge in member["region"]] if form == "table" else member["region"]
            yield {"group": values["group"], **member, "region": box}
