"""How well a classifier tells labelled pictures: by cross-validation, or on pictures that it has not learned from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from index.class_training import label_vectors, truth_of
from index.classifying import embedder_of
from index.labels import Example
from matcher.class_figures import class_figures
from matcher.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from index.classifiers import TrainedModel
    from index.items import SourceFailure
    from index.labels import Labels

__all__ = ["Evaluation", "evaluation_of", "measured"]

_COPY = 0.9999
"""Cosine from which on two vectors are of the same picture."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was told of labelled pictures, and what is true.

    Attributes
    ----------
    classes : tuple of str
    exclusive : bool
        Whether a picture has just one of the classes.
    examples : tuple of Example
    truth : bool, shape (n, k)
    probabilities : float, shape (n, k)
    told : mapping
        How it was measured, for the head of a report: plain words by name.
    failed : tuple of SourceFailure
        What could not be read.
    """

    classes: tuple[str, ...]
    exclusive: bool
    examples: tuple[Example, ...]
    truth: NDArray[np.bool_]
    probabilities: NDArray[np.floating]
    told: dict[str, str]
    failed: tuple[SourceFailure, ...] = ()

    def figures(self) -> dict[str, Any]:
        """Return all figures, as of `matcher.class_figures.class_figures`."""
        return class_figures(self.probabilities, self.truth, self.classes, self.exclusive)


def evaluation_of(model: TrainedModel, failed: tuple[SourceFailure, ...] = ()) -> Evaluation:
    """Return the cross-validation that was made when a model was trained.

    Raises
    ------
    InputError
        If it has learned from words alone.
    """
    known = model.examples
    if known is None:
        raise InputError("the model has learned from words, not from examples; give labelled images to measure it by")
    made = model.classifier

    examples = tuple(
        Example(name, Path(path), page, region, tuple(c for c, yes in zip(made.classes, row, strict=True) if yes))
        for name, path, page, region, row in zip(
            known.names, known.paths, known.pages, known.regions, known.truth.tolist(), strict=True
        )
    )
    folds = len(np.unique(known.folds))
    grouped, groups = model.told.get("grouped", "files"), model.told.get("groups", "?")
    told = {
        "embedder": made.signature,
        "measured": f"cross-validation in {folds} folds; everything was chosen without the fold it is measured on",
        "kept together": f"{grouped} and near-duplicates: {groups} groups",
        "calibration": made.calibration.method,
    }
    return Evaluation(made.classes, made.exclusive, examples, known.truth, known.probabilities, told, failed)


def measured(
    model: TrainedModel,
    labels: Labels,
    *,
    embedder: str | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Measure a model on labelled pictures; those that it was trained on, and copies of them, are left out.

    Parameters
    ----------
    model : TrainedModel
    labels : Labels
    embedder : str, optional
        As of `index.classifying.embedder_of`.
    workers, progress
        As of `index.subjects.see`.

    Raises
    ------
    InputError
        If a label is none of the model's classes, or all pictures were in its training.
    SettingsMismatch
        If the embedder is not that which it was trained on.
    """
    made = model.classifier
    unknown = [name for name in labels.classes if name not in made.classes]
    if unknown:
        raise InputError(f"the model knows no class {unknown[0]!r}; it knows: {', '.join(made.classes)}")
    if labels.multilabel and made.exclusive:
        raise InputError("pictures with several classes, or none, but the model tells just one of each")
    sees = embedder_of(model, embedder)
    seen = label_vectors(labels, embedder or model.embedder, sees, workers=workers, progress=progress)
    new = np.ones(len(seen.examples), np.bool_)
    if model.examples is not None:
        places = model.examples.places()
        known = model.examples.vectors.astype(np.float32)
        known /= np.linalg.norm(known, axis=1, keepdims=True).clip(1e-12)
        for place, example in enumerate(seen.examples):
            there = (str(example.path), example.page, example.region) in places
            new[place] = not there and float((known @ seen.vectors[place]).max(initial=-1)) < _COPY
    if not new.any():
        raise InputError(
            "the model was trained on all of these pictures; give others, or see: calque classify evaluate"
        )
    examples = tuple(one for one, keep in zip(seen.examples, new.tolist(), strict=True) if keep)
    told = {
        "embedder": made.signature,
        "measured": f"on {len(examples)} labelled pictures; {int((~new).sum())} that it was trained on are left out",
        "calibration": made.calibration.method,
    }
    return Evaluation(
        made.classes,
        made.exclusive,
        examples,
        truth_of(examples, made.classes),
        made.probabilities(seen.vectors[new]),
        told,
        seen.failed,
    )
