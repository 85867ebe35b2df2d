"""``calque classify``: classes of pictures learned from examples or words; a group of commands."""

from __future__ import annotations

import click

from cli.lazy import CommandTable, LazyGroup

__all__ = ["classify"]

_COMMANDS: CommandTable = {
    "train": ("cli.classify_train", "Learn classes from labelled pictures, or from words, into one file."),
    "apply": ("cli.classify_apply", "Say the class of every picture of an index or of scans."),
    "evaluate": ("cli.classify_evaluate", "Measure a model, or what labels teach, with a report to look at."),
    "suggest": ("cli.classify_suggest", "Name the pictures that are worth labelling next."),
}


@click.group(cls=LazyGroup, table=_COMMANDS)
def classify() -> None:
    """Learn classes of pictures from a few examples, and tell them everywhere: technique, function, title pages.

    A model is learned on the vectors of an embedder (docs/classification.md), from five examples a class upwards, and
    its probabilities are calibrated. LABELS are a table with a column of images and one of labels, folders called as
    their classes, or a key of an index's metadata.

    \b
    Examples:
      calque classify train labels.csv -o technique.h5
      calque classify apply technique.h5 scans.calque --write technique
      calque classify evaluate technique.h5 -o report/
      calque classify suggest technique.h5 scans.calque --top 20 > next.csv
    """
