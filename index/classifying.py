"""Classifiers applied to an index or to scans, and asked which images to label next."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from index.items import Pending, SourceFailure
from index.regions import counting
from index.sources import expand_all
from index.subjects import Subject, see
from index.vectors import stored_models, vectors_of
from index.workers import Failed
from matcher.active_learning import suggested, uncertainty
from matcher.classification import decided
from matcher.images import printable
from matcher.layout import PICTURES
from matcher.registry import embedder_named

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from index.classifiers import TrainedModel
    from index.fetching import Fetcher
    from index.store import Index
    from matcher.embedding import Embedder
    from matcher.types import Region

__all__ = [
    "Classified",
    "Target",
    "classify",
    "embedder_of",
    "noted",
    "suggest",
    "targets_of_index",
    "targets_of_sources",
]


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
    if model.backbone:
        from index.tuning import tuned_embedder

        embedder = tuned_embedder(embedder, model.backbone)
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
