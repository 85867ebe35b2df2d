"""Classifiers trained on labelled pictures: read, embedded, grouped, learned from, measured."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from importlib.metadata import version
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from index.classifiers import KnownExamples, TrainedModel
from index.items import SourceFailure
from index.store import Index
from index.subjects import Seen, Subject, read_pictures, see
from index.vectors import stored_models, vectors_of
from index.workers import Failed
from matcher.class_figures import class_figures
from matcher.classification import LearningSettings, cross_validate, learn
from matcher.errors import InputError
from matcher.folds import SIDE, joined, near_duplicates, numbered, small_print
from matcher.images import printable
from matcher.registry import embedder_named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from numpy.typing import NDArray

    from index.labels import Example, Labels
    from matcher.classification import Classifier, Validated
    from matcher.embedding import Embedder

__all__ = [
    "LabelledVectors",
    "by_pages",
    "figures_of",
    "grouped",
    "label_vectors",
    "train_classifier",
    "trained_model",
    "truth_of",
]


class LabelledVectors(NamedTuple):
    """Labelled pictures that could be read.

    Attributes
    ----------
    embedder, signature : str
        Name and signature of the embedder.
    examples : tuple of Example
    vectors : float32, shape (n, d)
    groups : int, shape (n,)
        Those of one document, folder or whatever the labels say, and near-duplicates, have the same number.
    failed : tuple of SourceFailure
    """

    embedder: str
    signature: str
    examples: tuple[Example, ...]
    vectors: NDArray[np.float32]
    groups: NDArray[np.intp]
    failed: tuple[SourceFailure, ...]


def label_vectors(
    labels: Labels,
    embedder: str,
    sees: Embedder | None = None,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> LabelledVectors:
    """Read labelled pictures and embed them.

    Parameters
    ----------
    labels : Labels
        From `index.labels.read_labels`.
    embedder : str
        A name for `matcher.registry.embedder_named`.
    sees : Embedder, optional
        The embedder itself, where it is other than the name says: trained further.
    workers, progress
        As of `index.subjects.see`.

    Raises
    ------
    InputError
        If none can be read, or there is no such embedder.
    """
    name = "" if sees is not None else embedder
    sees = sees or embedder_named(embedder)
    by_page = by_pages(labels)
    subjects = [Subject(*page, tuple(one.region for one in there)) for page, there in by_page.items()]
    examples: list[Example] = []
    failed: list[SourceFailure] = []
    found: list[Seen] = []
    known = {} if labels.index is None else _known(labels.index, by_page, sees.signature)
    if len(known) == len(by_page):
        outcomes = _with_prints(subjects, known, workers, progress)
    else:
        outcomes = see(subjects, sees, name, workers, progress)
    for subject, seen in outcomes:
        there = by_page[subject.path, subject.page]
        if isinstance(seen, Failed):
            failed.append(SourceFailure(there[0].name, seen.reason.removeprefix(f"{printable(subject.path)}: ")))
        else:
            examples += there
            found.append(seen)
    if not examples:
        raise InputError(f"no labelled image can be read; the first: {failed[0].name}: {failed[0].reason}")
    vectors = np.concatenate([seen.vectors for seen in found])
    groups = grouped(labels, examples, np.concatenate([seen.prints for seen in found]))
    return LabelledVectors(embedder, sees.signature, tuple(examples), vectors, groups, tuple(failed))


def by_pages(labels: Labels) -> dict[tuple[Path, int], list[Example]]:
    """Return the examples of labels by file and page."""
    found: dict[tuple[Path, int], list[Example]] = {}
    for example in labels.examples:
        found.setdefault((example.path, example.page), []).append(example)
    return found


def grouped(labels: Labels, examples: Sequence[Example], prints: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return the groups of examples that are not to be divided, shape (n,), given their `matcher.folds.small_print`."""
    if labels.grouped == "images":
        return np.arange(len(examples))
    told = numbered([("group", one.group) if one.group else ("file", str(one.path)) for one in examples])
    files = numbered([str(one.path) for one in examples])
    return joined(told, files, near_duplicates(prints))


def train_classifier(
    labels: Labels,
    seen: LabelledVectors,
    settings: LearningSettings | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> TrainedModel:
    """Train a classifier on labelled pictures, and cross-validate it.

    Parameters
    ----------
    labels : Labels
        From `index.labels.read_labels`.
    seen : LabelledVectors
        Of them, from `label_vectors`.
    settings : LearningSettings, optional
    progress : callable, optional
        Called as ``progress(done, total)``, in folds of all cross-validations.

    Raises
    ------
    InputError
        If there are too few examples of a class, or all of one group.
    """
    settings = settings or LearningSettings()
    done = 0

    def fitted() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, settings.folds * (settings.folds + 1))

    truth = truth_of(seen.examples, labels.classes)
    validated = cross_validate(seen.vectors, truth, labels.classes, labels.kind, seen.groups, settings, fitted)
    classifier = learn(seen.vectors, truth, labels.classes, labels.kind, seen.signature, seen.groups, settings, fitted)
    return trained_model(labels, seen, classifier, validated, settings)


def trained_model(
    labels: Labels,
    seen: LabelledVectors,
    classifier: Classifier,
    validated: Validated,
    settings: LearningSettings,
    backbone: Mapping[str, NDArray] | None = None,
) -> TrainedModel:
    """Return what was learned, with all that is kept beside it."""
    truth = truth_of(seen.examples, labels.classes)
    examples = KnownExamples(
        tuple(one.name for one in seen.examples),
        tuple(str(one.path) for one in seen.examples),
        tuple(one.page for one in seen.examples),
        tuple(one.region for one in seen.examples),
        truth,
        validated.probabilities.astype(np.float32),
        validated.folds.astype(np.int32),
        seen.groups.astype(np.int32),
        seen.vectors.astype(np.float16),
    )
    told: dict[str, Any] = {
        "calque": version("calque"),
        "digest": _digest(seen.vectors, truth),
        "grouped": labels.grouped,
        "groups": len(np.unique(seen.groups)),
        "settings": asdict(settings),
        "failed": len(seen.failed),
    }
    return TrainedModel(classifier, seen.embedder, told, examples, backbone or {})


def figures_of(model: TrainedModel) -> dict[str, Any]:
    """Return the figures of a model's cross-validation, as of `matcher.class_figures.class_figures`.

    Raises
    ------
    InputError
        If it has learned from words alone.
    """
    if model.examples is None:
        raise InputError("the model has learned from words, not from examples; give labelled images to measure it by")
    made = model.classifier
    return class_figures(model.examples.probabilities, model.examples.truth, made.classes, made.exclusive)


def truth_of(examples: Sequence[Example], classes: Sequence[str]) -> NDArray[np.bool_]:
    """Return which classes each example has, shape (n, k)."""
    return np.array([[name in example.labels for name in classes] for example in examples], np.bool_)


def _digest(vectors: NDArray[np.float32], truth: NDArray[np.bool_]) -> str:
    """Return what tells training data from others, whatever the files were called."""
    digest = hashlib.sha256(np.ascontiguousarray(vectors).tobytes())
    digest.update(np.ascontiguousarray(truth).tobytes())
    return digest.hexdigest()


def _known(
    path: Path, by_page: Mapping[tuple[Path, int], Sequence[Example]], signature: str
) -> dict[tuple[Path, int], NDArray[np.float32]]:
    """Return the vectors that an index has of the images of examples, by file and page."""
    with Index.open(path) as index:
        if signature not in {model.signature for model in stored_models(path)}:
            return {}
        vectors = vectors_of(index, signature=signature)
        found = {}
        for file, page in by_page:
            record = index.find(file, page)
            number = None if record is None else vectors.find(record.id)
            if number is not None:
                found[file, page] = vectors.gather(np.array([number], np.intp))
        return found


def _with_prints(
    subjects: Sequence[Subject],
    known: Mapping[tuple[Path, int], NDArray[np.float32]],
    workers: int | None,
    progress: Callable[[int, int], None] | None,
) -> Iterator[tuple[Subject, Seen | Failed]]:
    """Yield subjects with the vectors that are known, for which pictures are read small, to tell copies."""
    for subject, pictures in read_pictures(subjects, 4 * SIDE, workers, progress):
        if isinstance(pictures, Failed):
            yield subject, pictures
        else:
            prints = np.stack([small_print(picture) for picture in pictures])
            yield subject, Seen(known[subject.path, subject.page], prints)
