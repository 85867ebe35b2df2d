"""Arguments, options and messages that the commands of ``calque classify`` share."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.output import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from cli.progress import Progress
    from index.classifying import Target
    from index.items import SourceFailure
    from index.labels import Labels
    from matcher.classification import LearningSettings

__all__ = [
    "EMBEDDER",
    "embedder_option",
    "labels_options",
    "learning_options",
    "learning_settings",
    "model_argument",
    "read_labels_aloud",
    "regions_option",
    "say_failed",
    "targets_of",
]

EMBEDDER = "palette"
"""The embedder taken where none is named: it needs no weights."""

model_argument = click.argument("model", type=click.Path(path_type=Path, dir_okay=False))

regions_option = click.option(
    "--regions",
    is_flag=True,
    help="Pictures on pages instead of whole images: those an index knows, else those that are found on scans.",
)


def embedder_option(words: str, default: str | None = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return what adds ``--model`` to a command, explained by `words`."""
    return click.option(
        "--model", "embedder", default=default, show_default=default is not None, metavar="NAME", help=words
    )


def labels_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add what says how labels are read: ``--label``, ``--group``, ``--where``, ``--multilabel``."""
    for option in (
        click.option(
            "--multilabel", is_flag=True, help="A picture may have several classes, or none (told by the labels, else)."
        ),
        click.option("--where", metavar="CONDITION", help="Which images of an index, if LABELS is one."),
        click.option(
            "--group",
            metavar="NAME",
            help="What must not be parted between learning and testing: a column or key, folder, or image (nothing is "
            "kept together).  [default: the column group; else folders, where each class is in three; else files; and "
            "near-duplicates]",
        ),
        click.option(
            "--label",
            metavar="NAME",
            help="Column of the table, or key of the index's metadata, that says the class.  [default for a table: "
            "label, labels, class, classes, category]",
        ),
    ):
        function = option(function)
    return function


def learning_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add what says how is learned: ``--folds``, ``--balanced``, ``--calibration``."""
    for option in (
        click.option(
            "--calibration",
            type=click.Choice(["auto", "none", "temperature", "platt", "isotonic"]),
            default="auto",
            show_default=True,
            metavar="METHOD",
            help="How scores become probabilities: none, temperature, platt, isotonic; auto takes what is best out of "
            "fold among those for which there are enough examples.",
        ),
        click.option(
            "--balanced/--as-frequent",
            default=True,
            show_default=True,
            help="Count each class alike in learning, or by how many examples it has.",
        ),
        click.option(
            "--folds",
            type=click.IntRange(2, 20),
            default=5,
            show_default=True,
            metavar="N",
            help="Of cross-validation.",
        ),
    ):
        function = option(function)
    return function


def learning_settings(folds: int, balanced: bool, calibration: str) -> LearningSettings:
    """Return the settings that `learning_options` spell."""
    from typing import cast

    from matcher.calibration import METHODS, Method
    from matcher.classification import LearningSettings

    methods = METHODS if calibration == "auto" else (cast("Method", calibration),)
    return LearningSettings(folds=folds, balanced=balanced, methods=methods)


def read_labels_aloud(
    sources: Iterable[Path], label: str | None, group: str | None, where: str | None, multilabel: bool
) -> Labels:
    """Read labels, and tell on stderr what of them cannot be used."""
    from index.labels import read_labels

    labels = read_labels(list(sources), label=label, group=group, where=where, multilabel=multilabel)
    for problem in labels.problems:
        click.echo(one_line(f"calque: {problem}"), err=True)
    return labels


def say_failed(failed: Iterable[SourceFailure]) -> None:
    """Tell on stderr what could not be read."""
    for failure in failed:
        click.echo(one_line(f"calque: {failure.name}: {failure.reason}"), err=True)


@contextmanager
def targets_of(
    sources: tuple[Path, ...],
    regions: bool,
    where: str | None,
    workers: int | None,
    allow_private: bool,
    progress: Progress,
) -> Iterator[tuple[list[Target], int, Any]]:
    """Yield the pictures of an index or of scans, how many could not be had, and the index, if it is one."""
    from contextlib import ExitStack

    from index.classifying import targets_of_index, targets_of_sources
    from index.fetching import Fetcher
    from index.items import SourceFailure
    from index.labels import is_index
    from index.store import Index

    with ExitStack() as stack:
        if is_index(sources[0]):
            if len(sources) > 1:
                raise click.UsageError("name one index, or scans")
            index = stack.enter_context(Index.open(sources[0]))
            yield targets_of_index(index, regions=regions, where=where), 0, index
            return
        if where is not None:
            raise click.UsageError("--where asks the metadata of an index; name one")
        targets, failed = [], 0
        fetcher = Fetcher(allow_private=allow_private)
        found = targets_of_sources(
            [str(source) for source in sources],
            regions=regions,
            workers=workers,
            fetcher=fetcher,
            progress=progress.update,
        )
        for target in found:
            if isinstance(target, SourceFailure):
                failed += 1
                progress.message(one_line(f"calque: {target.name}: {target.reason}"))
            else:
                targets.append(target)
        yield targets, failed, None
