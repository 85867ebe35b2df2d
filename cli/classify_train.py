"""``calque classify train``: classes learned from labelled pictures, or from words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.classify_options import (
    EMBEDDER,
    embedder_option,
    labels_options,
    learning_options,
    learning_settings,
    read_labels_aloud,
    say_failed,
)
from cli.options import device_option, format_option, quiet_option, workers_option
from cli.output import write_json, write_record, write_rows
from cli.progress import Progress

if TYPE_CHECKING:
    from cli.output import Format
    from index.classifiers import TrainedModel
    from index.items import SourceFailure
    from index.labels import Labels
    from matcher.classification import LearningSettings

__all__ = ["train"]

_CLASS_COLUMNS = ["class", "examples", "precision", "recall", "f1", "average_precision"]


@click.command()
@click.argument("labels", nargs=-1, type=click.Path(path_type=Path), metavar="[LABELS...]")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="MODEL",
    help="The file of the model; one that is there is replaced.",
)
@embedder_option("What turns pictures into vectors (docs/classification.md).", EMBEDDER)
@labels_options
@learning_options
@click.option(
    "--text-labels",
    metavar="WORDS",
    help="Learn from words instead, with a model of images and text: names parted by commas, or a file of lines such "
    "as: map = a map of a city.",
)
@click.option(
    "--fine-tune",
    "layers",
    type=click.IntRange(min=1),
    metavar="N",
    help="Train the last N layers of the embedder's network, too (transformers models), for each fold anew: hours on a "
    "processor if the network is not small.",
)
@workers_option
@device_option
@format_option
@quiet_option
def train(
    labels: tuple[Path, ...],
    output: Path,
    embedder: str,
    label: str | None,
    group: str | None,
    where: str | None,
    multilabel: bool,
    folds: int,
    balanced: bool,
    calibration: str,
    text_labels: str | None,
    layers: int | None,
    workers: int | None,
    form: Format,
    quiet: bool,
) -> int:
    """Learn classes from LABELS into a MODEL, one file, and say how well they were told in cross-validation.

    LABELS are a table (CSV, any delimiter) with a column image, file, path or the like and a column label, several
    labels of a picture parted by | or ;, and if there are columns page (from 0), region (x,y,width,height) and group;
    or folders, one that holds a folder for each class or several, each called as its class; or an index, with --label
    KEY. Five examples a class are the least.

    The figures are of nested cross-validation: everything is chosen without the fold on which it is measured, and
    pages of a file, whatever else --group says, and near-duplicates are on one side of every fold.

    Lines and pictures that cannot be used are named on stderr and left out. Exit status: 0 done, 1 done without some
    of them, 2 wrong usage or failure; an interrupted training leaves no file.

    \b
    Examples:
      calque classify train labels.csv -o technique.h5
      calque classify train sorted/ -o motifs.h5 --model structure --group image
      calque classify train scans.calque --label technique -o technique.h5 --where "technique_probability=1"
      calque classify train --text-labels "photograph,engraving,map" --model clip:model/ -o technique.h5
    """
    if text_labels is not None:
        return _from_words(labels, output, embedder, text_labels, multilabel, form)
    if not labels:
        raise click.UsageError("name LABELS: a table, folders, or an index with --label; or give --text-labels")
    from index.class_training import figures_of, label_vectors, train_classifier

    settings = learning_settings(folds, balanced, calibration)
    _require_folder(output)
    known = read_labels_aloud(labels, label, group, where, multilabel)
    if layers is not None:
        trained, failed = _tuned(known, embedder, layers, settings, workers, quiet)
    else:
        with Progress("images", quiet=quiet) as progress:
            seen = label_vectors(known, embedder, workers=workers, progress=progress.update)
        failed = seen.failed
        with Progress("fits", quiet=quiet) as progress:
            trained = train_classifier(known, seen, settings, progress=progress.update)
    say_failed(failed)
    trained.save(output)
    figures = figures_of(trained)
    made = trained.classifier
    head: dict[str, Any] = {
        "model": str(output),
        "embedder": made.signature,
        "kind": made.kind,
        "examples": figures["examples"],
        "groups": trained.told["groups"],
        "kept_together": known.grouped,
        "calibration": made.calibration.method,
        **{name: figures[name] for name in ("accuracy", "balanced_accuracy", "macro_f1", "map", "ece", "brier")},
    }
    _write(head, figures["classes"], form)
    return 1 if failed or known.problems else 0


def _tuned(
    known: Labels, embedder: str, layers: int, settings: LearningSettings, workers: int | None, quiet: bool
) -> tuple[TrainedModel, tuple[SourceFailure, ...]]:
    from index.tuning import train_tuned

    with Progress("images", quiet=quiet) as progress, Progress("rounds", quiet=quiet) as rounds:
        return train_tuned(
            known,
            embedder,
            layers,
            settings=settings,
            workers=workers,
            progress=progress.update,
            fitting=rounds.update,
        )


def _from_words(
    labels: tuple[Path, ...], output: Path, embedder: str, words: str, multilabel: bool, form: Format
) -> int:
    from index.text_labels import model_of_words, read_text_labels

    if labels:
        raise click.UsageError(
            "--text-labels learns from words alone; leave LABELS out, and evaluate the model on them"
        )
    _require_folder(output)
    model = model_of_words(read_text_labels(words), embedder, multilabel)
    model.save(output)
    made = model.classifier
    head = {"model": str(output), "embedder": made.signature, "kind": made.kind, "classes": list(made.classes)}
    write_record(head, form)
    return 0


def _require_folder(output: Path) -> None:
    """Refuse what could not be written before anything is learned."""
    from matcher.errors import InputError

    if not output.absolute().parent.is_dir():
        raise InputError(f"{output}: there is no folder {output.parent}; make it, or name another file")


def _write(head: dict[str, Any], classes: list[dict[str, Any]], form: Format) -> None:
    """Write all as JSON; as CSV the classes; as a table both."""
    if form in ("json", "jsonl"):
        write_json({**head, "classes": classes}, line=form == "jsonl")
        return
    if form == "table":
        write_record(head, form)
        click.echo()
    write_rows(classes, _CLASS_COLUMNS, form)
