"""``calque classify suggest``: what to label next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.classify_options import embedder_option, model_argument, regions_option, targets_of
from cli.options import (
    allow_private_option,
    device_option,
    format_option,
    quiet_option,
    where_option,
    workers_option,
)
from cli.output import one_line, write_rows
from cli.progress import Progress

if TYPE_CHECKING:
    from cli.output import Format
    from index.classifying import Classified

__all__ = ["suggest"]


@click.command()
@model_argument
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="INDEX|SOURCE...")
@click.option("--top", type=click.IntRange(min=1), default=20, show_default=True, metavar="N", help="How many.")
@regions_option
@where_option
@embedder_option("The embedder of the model, where it is called otherwise here, such as clip:folder/.")
@workers_option
@allow_private_option
@device_option
@format_option
@quiet_option
def suggest(
    model: Path,
    sources: tuple[Path, ...],
    top: int,
    regions: bool,
    where: str | None,
    embedder: str | None,
    workers: int | None,
    allow_private: bool,
    form: Format,
    quiet: bool,
) -> int:
    """Name the pictures of an INDEX or of each SOURCE that a MODEL would learn most from, the first first.

    Those it is unsure of (uncertainty: one minus the margin between the two likeliest classes), far from each other
    and from what it was trained on. The label is what it takes each for: as CSV the list can be corrected, put below
    the old labels, and trained on.

    Exit status: 0 done, 1 nothing to suggest or some pictures could not be read, 2 wrong usage or failure.

    \b
    Examples:
      calque classify suggest technique.h5 scans.calque
      calque classify suggest technique.h5 scans/ --top 50 --format csv > next.csv
    """
    from index.classifiers import load_model
    from index.classifying import classify, embedder_of
    from index.classifying import suggest as suggest_next
    from index.items import SourceFailure

    trained = load_model(model)
    sees = embedder_of(trained, embedder)
    found: list[Classified] = []
    with (
        Progress("images", quiet=quiet) as progress,
        targets_of(sources, regions, where, workers, allow_private, progress) as (targets, failed, index),
    ):
        for one in classify(trained, targets, sees, index=index, workers=workers, progress=progress.update):
            if isinstance(one, SourceFailure):
                failed += 1
                progress.message(one_line(f"calque: {one.name}: {one.reason}"))
            else:
                found.append(one)
    chosen = suggest_next(trained, found, top)
    rows = [
        {
            "rank": rank,
            "image": one.target.name,
            "page": one.target.page,
            "region": None if one.target.region is None else one.target.region.as_list(),
            "label": "|".join(one.labels),
            "probability": round(one.probability, 4),
            "uncertainty": round(unsure, 4),
            "path": str(one.target.path),
        }
        for rank, (one, unsure) in enumerate(chosen, start=1)
    ]
    path = [] if form == "table" else ["path"]
    write_rows(rows, ["rank", "image", "page", "region", "label", "probability", "uncertainty", *path], form)
    return 1 if failed or not chosen else 0
