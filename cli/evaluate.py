"""``calque evaluate``: how well searches of a collection agree with what is known of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.options import format_option, index_argument, quiet_option, threads_option
from cli.output import one_line, write_json, write_record, write_rows
from cli.progress import Progress

if TYPE_CHECKING:
    from cli.output import Format

__all__ = ["evaluate"]

_FIGURES = {
    "queries": "queries",
    "positives": "right answers to find",
    "map": "mean average precision",
    "recall_at_1": "first answer right",
    "recall_zero_wrong": "found before the first wrong answer of any query",
    "located": "located (IoU 0.5)",
    "absent": "right answers not in the index",
}
_COLUMNS = ["false_alarms", "right", "wrong", "unjudged", "precision", "recall"]


@click.command()
@index_argument
@click.option(
    "--truth",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Ground truth, JSON; without it, what has been judged (calque judge) is the truth.",
)
@click.option("--part", metavar="NAME", help="Only queries of this part of the ground truth, such as dev or test.")
@threads_option
@format_option
@quiet_option
def evaluate(index: Path, truth: Path | None, part: str | None, threads: int | None, form: Format, quiet: bool) -> int:
    """Ask INDEX what is known, and measure the answers: mean average precision, precision and recall.

    Ranking figures judge images: an image counts once, with its best hit. Precision and recall judge hits with at
    most so many expected false alarms; a hit is right where it touches a right place. Of judged pairs only what is
    judged counts: other hits are unjudged, neither right nor wrong.

    A ground truth looks like {"queries": [{"image": "p12.jpg", "region": [310, 420, 500, 640], "positives":
    [{"image": "p90.jpg", "region": null}]}]}; images are named as in the index or by path, relative to the file. A
    query may also have an "id", a "page", a "part", lists "different" and "unsure" of places that are wrong or not to
    be scored, and a list "ignore" of images; "complete": false beside "queries" says that answers that are not listed
    are not to be scored. Exit status: 0 done, 1 some queries failed, 2 wrong usage or failure.

    \b
    Examples:
      calque evaluate scans.calque
      calque evaluate scans.calque --truth groundtruth.json --part test --format json
    """
    from index.store import Index
    from index.truth import evaluate_index, judged_truth, read_truth

    with Index.open(index) as opened, Progress("queries", quiet=quiet) as progress:
        known = judged_truth(opened) if truth is None else read_truth(truth)
        folder = None if truth is None else truth.parent
        figures = evaluate_index(opened, known, folder, part=part, threads=threads, progress=progress.update)
    for failure in figures["failed"]:
        click.echo(one_line(f"calque: query {failure['query']}: {failure['error']}"), err=True)
    _write(figures, form)
    return 1 if figures["failed"] else 0


def _write(figures: dict[str, Any], form: Format) -> None:
    """Write all figures as JSON; as CSV those at each threshold; as a table both what sums up and these."""
    if form in ("json", "jsonl"):
        write_json(figures, line=form == "jsonl")
        return
    if form == "table":
        write_record({title: figures[name] for name, title in _FIGURES.items()}, form)
        click.echo()
    write_rows(figures["thresholds"], _COLUMNS, form)
