"""Classifiers for which an embedder's network is trained further, and their embedders brought back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from index.class_training import LabelledVectors, by_pages, grouped, trained_model, truth_of
from index.items import SourceFailure
from index.subjects import Subject, read_pictures
from index.workers import Failed
from matcher.classification import LearningSettings
from matcher.errors import InputError, MissingDependency, SettingsMismatch
from matcher.folds import small_print
from matcher.images import printable
from matcher.registry import embedder_named

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from index.classifiers import TrainedModel
    from index.labels import Example, Labels
    from matcher.embedding import Embedder
    from matcher.finetuning import Trainable

__all__ = ["train_tuned", "tuned_embedder"]


def train_tuned(
    labels: Labels,
    embedder: str,
    layers: int = 1,
    rounds: int = 12,
    settings: LearningSettings | None = None,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    fitting: Callable[[int, int], None] | None = None,
) -> tuple[TrainedModel, tuple[SourceFailure, ...]]:
    """Train the last layers of an embedder's network and a head on labelled pictures, for each fold anew.

    Parameters
    ----------
    labels : Labels
    embedder : str
        A name for `matcher.registry.embedder_named`, of one that can be trained.
    layers, rounds : int
        As of `matcher.finetuning.TuningSettings`.
    settings : LearningSettings, optional
    workers, progress
        As of `index.subjects.read_pictures`.
    fitting : callable, optional
        Called as ``fitting(done, total)``, in rounds of all trainings.

    Returns
    -------
    (TrainedModel, tuple of SourceFailure)
        The model, and the pictures that could not be read.

    Raises
    ------
    InputError
        If the embedder cannot be trained, or there are too few examples of a class, or all are of one group.
    """
    settings = settings or LearningSettings()
    sees = _trainable(embedder_named(embedder))
    from matcher.finetuning import TuningSettings, learn_tuned

    by_page = by_pages(labels)
    subjects = [Subject(*page, tuple(one.region for one in there)) for page, there in by_page.items()]
    examples: list[Example] = []
    pictures: list[NDArray[np.uint8]] = []
    failed: list[SourceFailure] = []
    for subject, found in read_pictures(subjects, sees.long_side, workers, progress):
        there = by_page[subject.path, subject.page]
        if isinstance(found, Failed):
            failed.append(SourceFailure(there[0].name, found.reason.removeprefix(f"{printable(subject.path)}: ")))
        else:
            examples += there
            pictures += found
    if not examples:
        raise InputError(f"no labelled image can be read; the first: {failed[0].name}: {failed[0].reason}")
    groups = grouped(labels, examples, np.stack([small_print(picture) for picture in pictures]))
    done = 0

    def fitted() -> None:
        nonlocal done
        done += 1
        if fitting is not None:
            fitting(done, rounds * (settings.folds + 1))

    learned = learn_tuned(
        sees,
        pictures,
        truth_of(examples, labels.classes),
        labels.classes,
        labels.kind,
        groups,
        TuningSettings(layers=layers, rounds=rounds),
        settings,
        fitted,
    )
    seen = LabelledVectors(
        embedder, learned.classifier.signature, tuple(examples), learned.vectors, groups, tuple(failed)
    )
    model = trained_model(labels, seen, learned.classifier, learned.validated, settings, learned.parameters)
    return model, seen.failed


def tuned_embedder(embedder: Embedder, parameters: Mapping[str, NDArray]) -> Embedder:
    """Return an embedder with the parameters that a model has trained.

    Raises
    ------
    SettingsMismatch
        If it is another embedder than that which was trained.
    """
    from matcher.finetuning import Tuned

    try:
        return Tuned(_trainable(embedder), parameters)
    except InputError as error:
        raise SettingsMismatch(f"{error}; but the model has trained one further: name that") from error


def _trainable(embedder: Embedder) -> Trainable:
    try:
        from matcher.finetuning import Trainable
    except ImportError as error:
        raise MissingDependency(
            f"{error.name} is not installed; install it with: pip install 'calque[models]'"
        ) from error
    if not isinstance(embedder, Trainable):
        raise InputError(f"{embedder.signature} has no network that can be trained further")
    return embedder
