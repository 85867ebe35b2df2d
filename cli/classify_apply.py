"""``calque classify apply``: the class of every picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    from collections.abc import Iterator

    from cli.output import Format
    from index.classifying import Classified

__all__ = ["apply"]


@click.command()
@model_argument
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="INDEX|SOURCE...")
@regions_option
@where_option
@click.option(
    "--min-probability",
    type=click.FloatRange(0, 1),
    default=0.0,
    metavar="P",
    help="Leave out labels that are less probable; the picture is listed without.",
)
@click.option(
    "--write",
    "key",
    metavar="KEY",
    help="Note the labels in the metadata of the index's images under KEY, and the probability under KEY_probability.",
)
@embedder_option("The embedder of the model, where it is called otherwise here, such as clip:folder/.")
@workers_option
@allow_private_option
@device_option
@format_option
@quiet_option
def apply(
    model: Path,
    sources: tuple[Path, ...],
    regions: bool,
    where: str | None,
    min_probability: float,
    key: str | None,
    embedder: str | None,
    workers: int | None,
    allow_private: bool,
    form: Format,
    quiet: bool,
) -> int:
    """Say by a MODEL of `calque classify train` the class of every picture of an INDEX or of each SOURCE.

    Vectors that the index has of the model's embedder (calque embed) are taken from it. With --write they can be
    asked for by --where: technique=map and technique_probability>0.9. With --regions an image gets the labels of all
    its pictures, parted by |, and the least of their probabilities. What had a label under KEY and gets none now loses
    it.

    Exit status: 0 done, 1 nothing to classify or some pictures could not be read, 2 wrong usage or failure.

    \b
    Examples:
      calque classify apply technique.h5 scans.calque --write technique
      calque classify apply technique.h5 scans/ --format csv > technique.csv
      calque classify apply kind.h5 scans.calque --regions --min-probability 0.8 --format jsonl
    """
    from index.classifiers import load_model
    from index.classifying import classify, embedder_of
    from index.items import SourceFailure
    from index.labels import is_index

    if key is not None and not is_index(sources[0]):
        raise click.UsageError("--write notes labels in the metadata of an index; name one")
    trained = load_model(model)
    sees = embedder_of(trained, embedder)
    found: list[Classified] = []
    failed = 0

    def rows() -> Iterator[dict[str, Any]]:
        nonlocal failed
        for one in classify(trained, targets, sees, index=index, workers=workers, progress=progress.update):
            if isinstance(one, SourceFailure):
                failed += 1
                progress.message(one_line(f"calque: {one.name}: {one.reason}"))
                continue
            sure = one.surest(trained.classifier.classes, min_probability)
            found.append(sure)
            yield _row(sure, trained.classifier.classes, form)

    with (
        Progress("images", quiet=quiet) as progress,
        targets_of(sources, regions, where, workers, allow_private, progress) as (targets, lost, index),
    ):
        failed = lost
        flat = [] if form in ("json", "jsonl") else list(trained.classifier.classes)
        write_rows(rows(), ["image", "page", "region", "label", "probability", *flat], form)
        if key is not None:
            _note(sources[0], key, found)
    click.echo(f"calque: {len(found)} pictures classified; {failed} failed", err=True)
    return 1 if failed or not found else 0


def _row(one: Classified, classes: tuple[str, ...], form: str) -> dict[str, Any]:
    target = one.target
    by_class = dict(zip(classes, (round(float(value), 4) for value in one.probabilities), strict=True))
    row: dict[str, Any] = {
        "image": target.name,
        "page": target.page,
        "region": None if target.region is None else target.region.as_list(),
    }
    probability = round(one.probability, 4)
    if form in ("json", "jsonl"):
        return {**row, "labels": list(one.labels), "probability": probability, "probabilities": by_class}
    return {**by_class, **row, "label": "|".join(one.labels), "probability": probability}


def _note(path: Path, key: str, found: list[Classified]) -> None:
    """Note labels in an index's metadata, all in one transaction."""
    from index.classifying import noted
    from index.store import Index

    with Index.open(path, writable=True) as index:
        index.set_metadata(noted(found, key))
