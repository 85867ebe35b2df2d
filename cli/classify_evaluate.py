"""``calque classify evaluate``: how well classes are told."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

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
    from index.class_evaluation import Evaluation

__all__ = ["evaluate"]

_FIGURES = {
    "examples": "examples",
    "accuracy": "accuracy",
    "balanced_accuracy": "mean recall of classes",
    "macro_f1": "mean F1 of classes",
    "map": "mean average precision of classes",
    "ece": "expected calibration error",
    "brier": "Brier score",
    "log_loss": "log loss",
}
_COLUMNS = ["class", "examples", "precision", "recall", "f1", "average_precision"]


@click.command()
@click.argument("what", type=click.Path(path_type=Path), metavar="MODEL|LABELS")
@click.argument("labels", nargs=-1, type=click.Path(path_type=Path), metavar="[LABELS...]")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Write report.html there: confusions, each class, calibration, the surest errors with thumbnails.",
)
@embedder_option(
    f"What turns pictures into vectors, of labels alone; of a model, where its embedder is called otherwise here.  "
    f"[default of labels: {EMBEDDER}]"
)
@labels_options
@learning_options
@workers_option
@device_option
@format_option
@quiet_option
def evaluate(
    what: Path,
    labels: tuple[Path, ...],
    output: Path | None,
    embedder: str | None,
    label: str | None,
    group: str | None,
    where: str | None,
    multilabel: bool,
    folds: int,
    balanced: bool,
    calibration: str,
    workers: int | None,
    form: Format,
    quiet: bool,
) -> int:
    """Measure a MODEL, or what LABELS teach: figures on stdout, and with -o a page to look at.

    A MODEL alone: the cross-validation of its training; nothing is read but pictures for the report. A MODEL and
    LABELS: on labelled pictures, without those it was trained on and their copies. LABELS alone: cross-validation, as
    of `calque classify train`, without keeping a model.

    The report opens offline: figures, a picture of the confusions, precision, recall and F1 of each class, the
    calibration curve, and the errors that the model was surest of.

    Exit status: 0 done, 1 done without some of the pictures, 2 wrong usage or failure.

    \b
    Examples:
      calque classify evaluate technique.h5 -o report/
      calque classify evaluate technique.h5 others.csv --format json
      calque classify evaluate labels.csv --model structure -o report/
    """
    from index.class_evaluation import evaluation_of, measured
    from index.class_training import label_vectors, train_classifier
    from index.classifiers import is_model, load_model

    known = None
    if not is_model(what):
        known = read_labels_aloud((what, *labels), label, group, where, multilabel)
        settings = learning_settings(folds, balanced, calibration)
        with Progress("images", quiet=quiet) as progress:
            seen = label_vectors(known, embedder or EMBEDDER, workers=workers, progress=progress.update)
        with Progress("fits", quiet=quiet) as progress:
            trained = train_classifier(known, seen, settings, progress=progress.update)
        found = evaluation_of(trained, seen.failed)
    elif labels:
        model = load_model(what)
        known = read_labels_aloud(labels, label, group, where, multilabel)
        with Progress("images", quiet=quiet) as progress:
            found = measured(model, known, embedder=embedder, workers=workers, progress=progress.update)
    else:
        found = evaluation_of(load_model(what))
    say_failed(found.failed)
    if output is not None:
        from cli.report_classes import write_report

        title = what.name if known is None or labels else f"What {what.name} teaches"
        with Progress("pictures", quiet=quiet) as progress:
            page = write_report(found, output, title, progress.update)
        click.echo(f"calque: report in {page}", err=True)
    _write(found, form)
    return 1 if found.failed or (known is not None and known.problems) else 0


def _write(found: Evaluation, form: Format) -> None:
    """Write all figures as JSON; as CSV those of each class; as a table both these and what sums up."""
    figures = found.figures()
    if form in ("json", "jsonl"):
        write_json({**found.told, **figures}, line=form == "jsonl")
        return
    if form == "table":
        write_record({**found.told, **{title: figures[name] for name, title in _FIGURES.items()}}, form)
        click.echo()
    write_rows(figures["classes"], _COLUMNS, form)
