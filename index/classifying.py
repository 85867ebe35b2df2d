"""Classifiers of images: trained on labels, applied to an index or to scans, asked which images to label next."""

from __future__ import annotations

import hashlib
from contextlib import closing
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from index.classifiers import KnownExamples, TrainedModel
from index.items import Pending, SourceFailure
from index.regions import counting
from index.sources import expand_all
from index.subjects import Seen, Subject, see
from index.vectors import stored_models, vectors_of
from index.workers import Failed
from matcher.active_learning import suggested, uncertainty
from matcher.class_figures import class_figures
from matcher.classification import LearningSettings, cross_validate, decided, learn
from matcher.errors import InputError
from matcher.folds import joined, near_duplicates, numbered
from matcher.images import printable
from matcher.layout import PICTURES
from matcher.registry import embedder_named

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from numpy.typing import NDArray

    from index.fetching import Fetcher
    from index.labels import Example, Labels
    from index.store import Index
    from matcher.embedding import Embedder
    from matcher.types import Region

__all__ = [
    "Classified",
    "LabelledVectors",
    "Target",
    "classify",
    "embedder_of",
    "figures_of",
    "label_vectors",
    "noted",
    "suggest",
    "targets_of_index",
    "targets_of_sources",
    "train_classifier",
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


class Target(NamedTuple):
    """A picture to be classified: name, file, page, box on it (None: all of it), and the image's id in an index."""

    name: str
    path: Path
    page: int
    region: Region | None = None
    image_id: int | None = None


class Classified(NamedTuple):
    """A picture and what a model says of it.

    Attributes
    ----------
    target : Target
    labels : tuple of str
        The classes that it is said to have.
    probability : float
        Of the likeliest of them; of the likeliest class of all where there is none.
    probabilities : float64, shape (k,)
        Of each class.
    vector : float32, shape (d,)
    """

    target: Target
    labels: tuple[str, ...]
    probability: float
    probabilities: NDArray[np.float64]
    vector: NDArray[np.float32]

    def surest(self, classes: Sequence[str], least: float) -> Classified:
        """Return it without the labels that are less probable than `least`."""
        by_class = dict(zip(classes, self.probabilities.tolist(), strict=True))
        return self._replace(labels=tuple(name for name in self.labels if by_class[name] >= least))


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
    by_page: dict[tuple[Path, int], list[Example]] = {}
    for example in labels.examples:
        by_page.setdefault((example.path, example.page), []).append(example)
    subjects = [Subject(*page, tuple(one.region for one in there)) for page, there in by_page.items()]
    examples: list[Example] = []
    failed: list[SourceFailure] = []
    found: list[Seen] = []
    for subject, seen in see(subjects, sees, name, workers, progress):
        there = by_page[subject.path, subject.page]
        if isinstance(seen, Failed):
            failed.append(SourceFailure(there[0].name, seen.reason.removeprefix(f"{printable(subject.path)}: ")))
        else:
            examples += there
            found.append(seen)
    if not examples:
        raise InputError(f"no labelled image can be read; the first: {failed[0].name}: {failed[0].reason}")
    vectors = np.concatenate([seen.vectors for seen in found])
    if labels.grouped == "images":
        groups = np.arange(len(examples))
    else:
        told = numbered([("group", one.group) if one.group else ("file", str(one.path)) for one in examples])
        files = numbered([str(one.path) for one in examples])
        groups = joined(told, files, near_duplicates(np.concatenate([seen.prints for seen in found])))
    return LabelledVectors(embedder, sees.signature, tuple(examples), vectors, groups, tuple(failed))


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
    return TrainedModel(classifier, seen.embedder, told, examples)


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


def embedder_of(model: TrainedModel, name: str | None = None) -> Embedder:
    """Return the embedder that a model was trained on.

    Parameters
    ----------
    model : TrainedModel
    name : str, optional
        What it is called here, where that is not what it was called when the model was trained.

    Raises
    ------
    SettingsMismatch
        If the embedder that is found has another signature.
    """
    embedder = embedder_named(name or model.embedder)
    model.classifier.require(embedder.signature)
    return embedder


def targets_of_index(index: Index, *, regions: bool = False, where: str | None = None) -> list[Target]:
    """Return the images of an index, or with `regions` the pictures that it knows on them."""
    chosen = None if where is None else index.select(where)
    targets = []
    for record in index.images():
        if chosen is not None and record.id not in chosen:
            continue
        boxes: list[Region | None] = [None]
        if regions:
            boxes = [zone.box for zone in counting(index.regions(record.id)) if zone.kind in PICTURES]
        targets += [Target(record.name, Path(record.path), record.page, box, record.id) for box in boxes]
    return targets


def targets_of_sources(
    sources: Sequence[str | os.PathLike[str]],
    *,
    regions: bool = False,
    workers: int | None = None,
    fetcher: Fetcher | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Target | SourceFailure]:
    """Yield the pages of sources, or with `regions` the pictures that are found on them, and failures."""
    from index.fetching import Fetcher
    from index.iiif import Library
    from index.layouts import LONG_SIDE, score_of, segment, surest
    from matcher.registry import SEGMENTER

    if regions:
        least = score_of(SEGMENTER)
        for page in segment(sources, workers=workers, fetcher=fetcher, progress=progress):
            if isinstance(page, SourceFailure):
                yield page
                continue
            for region in surest(page.layout, least).pictures:
                yield Target(page.item.name, page.item.path, page.item.page, region.box)
        return
    with closing(fetcher or Fetcher()) as fetching:
        for item in expand_all(sources, library=Library(fetching, LONG_SIDE)):
            here = item.fetched() if isinstance(item, Pending) else item
            yield here if isinstance(here, SourceFailure) else Target(here.name, here.path, here.page)


def classify(
    model: TrainedModel,
    targets: Iterable[Target],
    embedder: Embedder,
    *,
    index: Index | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Classified | SourceFailure]:
    """Yield what a model says of each picture, in their order, and what could not be read.

    Parameters
    ----------
    model : TrainedModel
    targets : iterable of Target
    embedder : Embedder
        From `embedder_of`.
    index : Index, optional
        Whose images they are; vectors that it has are not made anew.
    workers, progress
        As of `index.subjects.see`.

    Raises
    ------
    SettingsMismatch
        If the embedder is not that which the model was trained on.
    """
    made = model.classifier
    made.require(embedder.signature)
    by_page: dict[tuple[Path, int], list[Target]] = {}
    for target in targets:
        by_page.setdefault((target.path, target.page), []).append(target)
    stored = _stored(index, by_page, embedder.signature)
    subjects = [
        Subject(*page, tuple(one.region for one in there)) for page, there in by_page.items() if page not in stored
    ]
    # What was trained further than its name says cannot be made by it in another process.
    name = "" if model.backbone else model.embedder
    fresh = see(subjects, embedder, name, workers, progress)
    for page, there in by_page.items():
        vectors: NDArray[np.float32] | Failed
        if (known := stored.get(page)) is not None:
            vectors = known
        else:
            _, seen = next(fresh)
            vectors = seen if isinstance(seen, Failed) else seen.vectors
        if isinstance(vectors, Failed):
            yield SourceFailure(there[0].name, vectors.reason.removeprefix(f"{printable(page[0])}: "))
            continue
        probabilities = made.probabilities(vectors)
        said = decided(probabilities, made.exclusive)
        for target, row, has, vector in zip(there, probabilities, said, vectors, strict=True):
            labels = tuple(name for name, yes in zip(made.classes, has.tolist(), strict=True) if yes)
            yield Classified(target, labels, float(row[has].max() if has.any() else row.max()), row, vector)


def noted(found: Iterable[Classified], key: str) -> dict[int, dict[str, str]]:
    """Return the metadata that says what images of an index were found to be, by their ids.

    Under `key` all labels of an image and of the pictures on it, parted by ``|``, and under ``KEY_probability`` the
    least of their probabilities; both empty, which is to be forgotten, where there is no label.
    """
    by_image: dict[int, list[Classified]] = {}
    for one in found:
        if one.target.image_id is not None:
            by_image.setdefault(one.target.image_id, []).append(one)
    values = {}
    for image_id, pictures in by_image.items():
        labels = sorted({name for one in pictures for name in one.labels})
        least = min((one.probability for one in pictures if one.labels), default=0.0)
        sure = f"{least:.4f}" if labels else ""
        values[image_id] = {key: "|".join(labels), f"{key}_probability": sure}
    return values


def suggest(model: TrainedModel, found: Sequence[Classified], many: int) -> list[tuple[Classified, float]]:
    """Return pictures that are worth labelling next, the most useful first, and how unsure the model is of each.

    Pictures that the model was trained on, and copies of them, are left out.
    """
    examples = model.examples
    places = set() if examples is None else examples.places()
    new = [one for one in found if (str(one.target.path), one.target.page, one.target.region) not in places]
    if not new:
        return []
    unsure = uncertainty(np.stack([one.probabilities for one in new]), model.classifier.exclusive)
    known = None if examples is None else examples.vectors.astype(np.float32)
    order = suggested(unsure, np.stack([one.vector for one in new]), many, known)
    return [(new[place], float(unsure[place])) for place in order.tolist()]


def _stored(
    index: Index | None, by_page: Mapping[tuple[Path, int], Sequence[Target]], signature: str
) -> dict[tuple[Path, int], NDArray[np.float32]]:
    """Return the vectors that an index has of all that is asked for on a page, by file and page."""
    if index is None or signature not in {model.signature for model in stored_models(index.path)}:
        return {}
    vectors = vectors_of(index, signature=signature)
    found = {}
    for page, there in by_page.items():
        numbers = []
        for target in there:
            box = None if target.region is None else target.region.as_list()
            number = None if target.image_id is None else vectors.find(target.image_id, box)
            if number is None:
                break
            numbers.append(number)
        else:
            found[page] = vectors.gather(np.array(numbers, np.intp))
    return found


def _digest(vectors: NDArray[np.float32], truth: NDArray[np.bool_]) -> str:
    """Return what tells training data from others, whatever the files were called."""
    digest = hashlib.sha256(np.ascontiguousarray(vectors).tobytes())
    digest.update(np.ascontiguousarray(truth).tobytes())
    return digest.hexdigest()
