"""``calque trace``: every picture of one collection looked for in another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from cli.exports import DOCUMENTS, export_options, exported, write_document
from cli.options import (
    device_option,
    format_option_of,
    quiet_option,
    require_one_place,
    scheduler_option,
    threads_option,
)
from cli.output import FORMATS, one_line, write_rows
from cli.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cli.output import Format
    from cli.report_groups import GroupReport
    from index.answers import Answer

__all__ = ["trace"]

_COLUMNS = [
    *("photo", "photo_page", "image", "page", "region", "relation", "rotation", "scale", "inliers"),
    *("false_alarms", "score"),
]


@click.command()
@click.argument("photos", type=click.Path(path_type=Path))
@click.argument("pages", type=click.Path(path_type=Path))
@click.option(
    "--max-false-alarms",
    type=click.FloatRange(min=0, min_open=True),
    default=1e-3,
    show_default=True,
    metavar="F",
    help="Leave out finds less sure than this: chance alone would give that many for each photograph.",
)
@click.option("--top", type=click.IntRange(min=1), metavar="N", help="At most this many finds a photograph.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Folder for a journal, so that an interrupted trace goes on, and for a report.html of everything found.",
)
@threads_option
@device_option
@scheduler_option
@export_options
@format_option_of((*FORMATS, *DOCUMENTS))
@quiet_option
def trace(
    photos: Path,
    pages: Path,
    max_false_alarms: float,
    top: int | None,
    output: Path | None,
    threads: int | None,
    scheduler: str | None,
    crops: Path | None,
    alto: Path | None,
    page_xml: Path | None,
    base_url: str,
    form: str,
    quiet: bool,
) -> int:
    """Look for every picture of PHOTOS on the images of PAGES.

    PHOTOS is an index, or a folder, a list, a file as `calque add` takes; PAGES is an index. A line for each find: the
    photograph, the page it is printed on, where, how, and how many such finds chance alone would give for one
    photograph. Photographs come in the order of their index or folder, the finds of each the surest first.

    With -o a journal keeps what has been answered: the same command run again, after an interruption or with more
    photographs, asks only for what is missing, and writes the table that an undisturbed run would have written. Exit
    status: 0 something was found, 1 nothing was found or some photographs could not be asked, 2 wrong usage or failure.

    \b
    Examples:
      calque trace archive.calque press.calque -o traced/ --format csv > traced.csv
      calque trace photographs/ press.calque --max-false-alarms 1e-6
      calque trace archive.calque press.calque -o traced/ --scheduler tcp://host:8786
    """
    require_one_place(scheduler, "--threads", threads)
    from contextlib import ExitStack

    from cli.report_groups import GroupReport
    from index.cluster import connected
    from index.exports import findings
    from index.store import Index
    from index.tracing import Journal, photos_of
    from index.tracing import trace as trace_photos

    asked, unusable = photos_of(photos)
    options: dict[str, Any] = {"max_false_alarms": max_false_alarms, "top": top}
    with ExitStack() as stack:
        index = stack.enter_context(Index.open(pages))
        progress = stack.enter_context(Progress("photographs", quiet=quiet))
        for failure in unusable:
            progress.message(one_line(f"calque: {failure.name}: {failure.reason}"))
        journal = None if output is None else stack.enter_context(Journal(output, index, **options))
        options |= {"threads": threads, "cluster": stack.enter_context(connected(scheduler))}
        answers = trace_photos(index, asked, journal, progress=progress.update, **options)
        report = (
            None if output is None else stack.enter_context(GroupReport(output, "Traced photographs", "photographs"))
        )
        tally = _Tally(len(unusable))
        found = exported(_reported(tally.counted(answers, progress), report), index, crops, alto, page_xml)
        if form in DOCUMENTS:
            write_document(form, findings(index, found), base_url)
        else:
            write_rows(_rows(found, form), _COLUMNS, cast("Format", form))
    if report is not None:
        click.echo(f"calque: report in {report.path}", err=True)
    click.echo(tally.summary(max_false_alarms), err=True)
    return 0 if tally.finds and not tally.failed else 1


class _Tally:
    """Counts what goes by, and tells failures on stderr."""

    def __init__(self, failed: int) -> None:
        self.photos = self.answered = self.finds = 0
        self.failed = failed

    def counted(self, answers: Iterable[Answer], progress: Progress) -> Iterator[Answer]:
        """Pass on the answers that are none of failures."""
        for answer in answers:
            self.photos += 1
            if answer.error is not None:
                self.failed += 1
                progress.message(one_line(f"calque: {answer.id}: {answer.error}"))
                continue
            self.answered += bool(answer.hits)
            self.finds += len(answer.hits)
            yield answer

    def summary(self, max_false_alarms: float) -> str:
        """Return what was found, and how much of it chance may have given."""
        chance = self.photos * max_false_alarms
        return (
            f"calque: {self.answered} of {self.photos} photographs found, at {self.finds} places; "
            f"chance alone is expected to give {chance:.2g} such finds at the most"
        )


def _reported(answers: Iterable[Answer], report: GroupReport | None) -> Iterator[Answer]:
    """Pass answers on, and draw what they found into the report if there is to be one."""
    from cli.report_groups import sheaf_of_answer

    for answer in answers:
        if report is not None and answer.hits:
            report.add(sheaf_of_answer(answer))
        yield answer


def _rows(answers: Iterable[Answer], form: str) -> Iterator[dict[str, Any]]:
    from index.answers import answer_as_dict

    for answer in answers:
        for hit in answer_as_dict(answer)["hits"]:
            box = [round(edge) for edge in hit["region"]] if form == "table" else hit["region"]
            yield {"photo": answer.id, "photo_page": answer.page, **hit, "region": box}
