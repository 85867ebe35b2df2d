"""What `calque search` does with things: lists those that fit a condition, asks for those seen on a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cli.detect_apply import model_option, outline_option, phrase_option
from cli.detect_output import write_seen
from cli.options import POINT
from cli.output import one_line
from matcher.detectors import DETECTOR, OUTLINER, PHRASE_DETECTOR

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from index.answers import Query
    from index.store import Index
    from matcher.types import Region

__all__ = ["asked_at", "asked_of_things", "list_things", "thing_options"]


def thing_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--detect``, ``--phrase``, ``--model``, ``--outline``, ``--click`` and ``--min-score`` to a command."""
    options = [
        click.option("--detect", metavar="LABEL", help="Ask for each thing of this kind on IMAGE, such as person."),
        phrase_option,
        model_option,
        outline_option,
        click.option(
            "--click",
            "point",
            type=POINT,
            metavar="X,Y",
            help=f"Ask for the thing at this place, in pixels of IMAGE, inside its outline ({OUTLINER} by default).",
        ),
        click.option(
            "--min-score",
            type=click.FloatRange(0, 1),
            metavar="S",
            help="How sure --detect and --phrase must be, 0 to 1.  [default: what suits the detector]",
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def asked_of_things(
    index: Index,
    image: Path,
    page: int,
    label: str | None,
    phrases: Sequence[str],
    model: str | None,
    min_score: float | None,
    outliner: str | None,
) -> list[Query]:
    """Return a query for each thing of a label, or that a phrase says, on a picture; say so if there is none."""
    from index.detecting import ask
    from index.region_queries import queries_of, things_on
    from matcher.registry import nearest_name

    if label is not None and phrases:
        raise click.UsageError("give either --detect or --phrase")
    asked, detector = ask(model or (PHRASE_DETECTOR if phrases else DETECTOR), phrases, min_score, outliner or "")
    if label is not None and label not in (detector.labels or ()):
        raise nearest_name(label, dict.fromkeys(detector.labels or ()), f"class of {asked.model}")
    found = things_on(index, image, page, asked, detector)
    wanted = [thing for thing in found if label in (None, thing.label)]
    if not wanted:
        what = label or ", ".join(asked.phrases)
        click.echo(one_line(f"calque: {image}: no {what} seen on it; try a lower --min-score, or --region"), err=True)
    return queries_of(wanted, image, page)


def asked_at(image: Path, page: int, box: Region | None, point: Any, outliner: str | None) -> list[Query]:
    """Return the query for the thing in a box, or at a point, inside its outline."""
    from index.region_queries import pointed_at
    from matcher.detectors import outliner_named

    return pointed_at(image, page, outliner_named(outliner or OUTLINER), box, point)


def list_things(index: Path, where: str, crops: Path | None, form: str, base_url: str) -> int:
    """List the things on the images of an index for which a condition holds, and cut them out, if that is wanted."""
    from index.detection_files import cut_out
    from index.region_queries import regions_where
    from index.store import Index

    with Index.open(index) as opened:
        found = list(regions_where(opened, where))
        if crops is not None:
            for failure in cut_out(crops, found):
                click.echo(one_line(f"calque: {failure.name}: {failure.reason}"), err=True)
        write_seen(found, form, None, base_url)
    if not found:
        click.echo("calque: nothing found", err=True)
    return 0 if found else 1
