"""Train a detector for classes of one's own from annotated images: `calque detect train`."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np

from index.annotated import AnnotatedImage, split
from index.average_precision import Matched, figures_of, matched, shared_of
from index.durable import replacing
from index.learning import Course, Pace, run
from matcher._onnx import convolutions
from matcher.augmentation import Example
from matcher.errors import InputError
from matcher.images import Scan, printable, read_image
from matcher.layout_network import WEIGHTS
from matcher.looks import ONE_LOOK, region_looks
from matcher.registry import Backend, nearest_name
from matcher.schedule import Schedule
from matcher.score_calibration import best_threshold, calibrated, fitted
from matcher.trained import Card, with_card

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from index.annotated import AnnotatedSet
    from matcher.augmentation import Turns
    from matcher.detection import Detection
    from matcher.looks import Look
    from matcher.trained import What

__all__ = [
    "DetectionTraining",
    "Trained",
    "matched_on",
    "read_scan",
    "starting_weights",
    "train_detector",
]

_READ = 1600
"""Long side, in pixels, to which images are reduced before they are measured by, as when a detector is applied."""

_PART, _LEAST_PART, _CELL = 0.32, 160, 32
"""Sides of the parts that are learned from: share of the long side, at least so many pixels, multiples of these."""

_WORTH_A_LOOK = 0.05
"""Raw scores below are left out where scores are fitted to what is right."""

_KEPT = 1 << 30
"""Bytes of images that are kept in memory at the size that is learned from; more are read anew each time."""


@dataclass(frozen=True, slots=True)
class DetectionTraining:
    """How a detector is trained.

    Attributes
    ----------
    model : str
        ``calque``: the small network, from what it knows of pages; ``calque:PATH``: from one that was trained before;
        ``none``: the small network from nothing; ``transformers:PATH``: a detector in a folder of transformers.
    long_side : int
        Pixels of the long side of what is looked at.
    steps, batch, rate, seed
        As of `matcher.region_learning.Schedule`.
    turns, mirrored
        As of `matcher.augmentation.View.drawn`.
    validation : float
        Share of the things that is kept from training.
    patience : int
        Measures end after so many without a better one; there are eight in all.
    together : float
        Share of the steps, the last ones, that learn from what was kept for validation, too.
    looks : int
        How many looks at an image are taken, 1 to 3: see `matcher.looks.region_looks`.
    device : str
    """

    model: str = "calque"
    long_side: int = 1024
    steps: int = 400
    batch: int = 8
    rate: float = 1e-3
    seed: int = 1
    turns: Turns = "slight"
    mirrored: bool = False
    validation: float = 0.2
    patience: int = 4
    together: float = 0.4
    looks: int = 3


@dataclass(frozen=True, slots=True)
class Trained:
    """What was trained.

    Attributes
    ----------
    path : Path
    card : Card
    course : Course
    learned, validated : int
        Images, or parts of the only one, that were learned from, and that were kept from it.
    figures : dict
        Of each class on the latter, before they were learned from: of a detector ``true``, ``found``, ``ap50``,
        ``ap50_95``.
    """

    path: Path
    card: Card
    course: Course
    learned: int
    validated: int
    figures: dict[str, dict[str, Any]]


class _Detecting(Protocol):
    """A learner that finds things."""

    def learn(self, step: int) -> Mapping[str, float]: ...
    def state(self) -> dict[str, NDArray]: ...
    def restore(self, state: dict[str, NDArray]) -> None: ...
    def best(self) -> dict[str, NDArray]: ...
    def take_best(self, weights: dict[str, NDArray]) -> None: ...

    def take(self, examples: Sequence[Callable[[], Example]], things: Sequence[NDArray[np.int64]]) -> None:
        """Learn from these from now on."""

    def detect(self, scan: Scan, looks: Sequence[Look] = ...) -> list[Detection]:
        """Return what it finds on a scan, with raw scores, however unsure."""

    def export(self) -> bytes:
        """Return the network as an ONNX model."""


def train_detector(
    annotated: AnnotatedSet,
    out: Path,
    settings: DetectionTraining,
    *,
    told: Callable[[str], None],
    progress: Callable[[int, int], None],
) -> Trained:
    """Train a detector and write it, whole or not at all.

    Beside it lies, until it is written, a folder with what an interrupted run goes on with.

    Parameters
    ----------
    annotated : AnnotatedSet
    out : Path
        The model: an ONNX file.
    settings : DetectionTraining
    told, progress
        As of `index.learning.run`.

    Raises
    ------
    InputError
        If there is too little to learn from.
    MissingDependency
        If torch or safetensors is not installed.
    """
    learned, validated = split(annotated.images, settings.validation, settings.seed)
    if not any(one.things for one in learned):
        raise InputError("none of the images to learn from has anything annotated on it; annotate some")
    if not any(one.things for one in validated):
        raise InputError(
            "none of the images kept for validation has anything annotated on it; annotate more, or --seed"
        )
    classes = annotated.classes
    told(
        f"{len(learned)} images of {len({one.document for one in learned})} documents to learn from, "
        f"{len(validated)} of {len({one.document for one in validated})} kept to measure by"
    )
    learner, what = _learner(learned, classes, settings)
    looks = region_looks(settings.looks, settings.turns) if what == "regions" else ONE_LOOK
    folder = out.with_name(f"{out.name}.training")
    job = json.dumps({"annotated": annotated.digest, **asdict(settings)}, sort_keys=True)

    def measure() -> dict[str, float]:
        figures = _figures(_found(learner, validated), validated, classes)
        known = [one for one in figures.values() if one["ap50"] is not None]
        return {name: float(np.mean([one[name] for one in known])) for name in ("ap50_95", "ap50")}

    def settle() -> dict[str, Any]:
        found = _found(learner, validated, looks)
        calibration, min_score = _scale(found, validated, classes)
        return {"scale": [*calibration, min_score], "figures": _figures(found, validated, classes)}

    def join() -> None:
        learner.take(*_examples([*learned, *validated], classes, settings.long_side))

    course = run(
        *(learner, measure, folder, Pace.of(settings.steps, settings.together, settings.patience), job),
        settle=settle,
        join=join,
        told=told,
        progress=progress,
    )
    slope, offset, min_score = course.settled["scale"]
    figures = course.settled["figures"]
    card = Card(
        what,
        classes,
        settings.long_side,
        min_score,
        (slope, offset),
        {
            "annotated": annotated.digest,
            **asdict(settings),
            "taken": course.step,
            "best_step": course.best_step,
            "cpu_seconds": round(course.seconds, 1),
            "learned": len(learned),
            "validated": len(validated),
            "figures": figures,
        },
        looks,
    )
    with replacing(out) as temporary:
        temporary.write_bytes(with_card(learner.export(), card))
    shutil.rmtree(folder, ignore_errors=True)
    return Trained(out, card, course, len(learned), len(validated), figures)


def _learner(
    images: Sequence[AnnotatedImage], classes: Sequence[str], settings: DetectionTraining
) -> tuple[_Detecting, What]:
    """Return what learns, and what comes of it."""
    name, _, path = settings.model.partition(":")
    readers, things = _examples(images, classes, settings.long_side)
    if name == "transformers":
        learner = Backend("matcher.transformers_learning:TransformersLearner", "models").make(
            examples=readers,
            classes=classes,
            model=path,
            side=round(settings.long_side / _CELL) * _CELL,
            schedule=_schedule(settings),
        )
        return learner, "queries"
    learner = Backend("matcher.region_learning:RegionLearner", "models").make(
        examples=readers,
        things=things,
        classes=classes,
        long_side=settings.long_side,
        schedule=_schedule(settings),
        start=starting_weights(settings.model),
    )
    return learner, "regions"


def _examples(
    images: Sequence[AnnotatedImage], classes: Sequence[str], long_side: int
) -> tuple[list[Callable[[], Example]], list[NDArray[np.int64]]]:
    """Return what reads each image, and the kinds of its things; images stay in memory as far as there is room."""
    one_image = 3 * long_side * long_side
    kept = lru_cache(maxsize=max(16, _KEPT // one_image))(lambda number: _example(images[number], classes, long_side))
    kinds = [_kinds(one, classes) for one in images]
    return [partial(kept, number) for number in range(len(images))], kinds


def _kinds(image: AnnotatedImage, classes: Sequence[str]) -> NDArray[np.int64]:
    told = [classes.index(thing.label) for thing in image.things]
    return np.array([*told, *[-1] * len(image.crowds)], np.int64)


def _example(image: AnnotatedImage, classes: Sequence[str], long_side: int) -> Example:
    scan = read_scan(image.path, long_side)
    scale = np.array([scan.scale_x, scan.scale_y])
    everything = (*image.things, *image.crowds)
    outlines = tuple(
        tuple((np.asarray(polygon) + 0.5) / scale - 0.5 for polygon in (thing.polygons or (thing.box.corners(),)))
        for thing in everything
    )
    exact = np.array([bool(thing.polygons) for thing in everything], dtype=bool)
    return Example(scan.pixels, _kinds(image, classes), outlines, exact)


def read_scan(path: Path, long_side: int) -> Scan:
    """Return an image in colour at a long side of just so many pixels, enlarged where it is smaller."""
    scan = read_image(path, gray=False, long_side=long_side)
    factor = long_side / max(scan.pixels.shape[:2])
    if factor <= 1:
        return scan
    size = tuple(max(1, round(side * factor)) for side in scan.pixels.shape[1::-1])
    pixels = np.asarray(cv2.resize(scan.pixels, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    return Scan(pixels, scan.width, scan.height, scan.width / size[0], scan.height / size[1])


def _found(
    learner: _Detecting, images: Sequence[AnnotatedImage], looks: Sequence[Look] = ONE_LOOK
) -> list[list[Detection]]:
    return [learner.detect(read_image(one.path, gray=False, long_side=_READ), looks) for one in images]


def _figures(
    found: Sequence[Sequence[Detection]], images: Sequence[AnnotatedImage], classes: Sequence[str]
) -> dict[str, dict[str, Any]]:
    return {name: figures_of([matched_on(*pair, name) for pair in zip(images, found, strict=True)]) for name in classes}


def matched_on(image: AnnotatedImage, found: Sequence[Detection], label: str) -> Matched:
    """Match what was found of one class on an image to what is there."""
    true = [thing.box for thing in image.things if thing.label == label]
    crowd = [thing.box for thing in image.crowds if thing.label == label]
    told = [one for one in found if one.label == label]
    return matched(true, told, shared_of(told, crowd))


def _scale(
    found: Sequence[Sequence[Detection]], images: Sequence[AnnotatedImage], classes: Sequence[str]
) -> tuple[tuple[float, float], float]:
    """Return what makes scores chances to be right at an IoU of 0.5, and from which on to believe them."""
    pages = [matched_on(*pair, name) for name in classes for pair in zip(images, found, strict=True)]
    # Hardly anybody looks at what is less sure than this, and there is very much of it.
    scores = np.concatenate([page.scores for page in pages])
    right = np.concatenate([page.right[0] for page in pages])
    counted = np.concatenate([page.counted[0] | page.right[0] for page in pages]) & (scores >= _WORTH_A_LOOK)
    scores, right = scores[counted], right[counted]
    calibration = fitted(scores, right)
    return calibration, best_threshold(calibrated(scores, calibration), right, sum(page.true for page in pages))


def starting_weights(model: str) -> list[tuple[NDArray, NDArray]]:
    """Return the weights that the small network starts from: ``calque``, ``calque:PATH`` or ``none``.

    Raises
    ------
    InputError
        If there is no such network, or the file cannot be read.
    """
    name, _, given = model.partition(":")
    if name == "none":
        return []
    if name != "calque":
        raise nearest_name(name, dict.fromkeys(("calque", "none", "transformers")), "network to train")
    path = Path(given) if given else WEIGHTS
    try:
        return list(convolutions(path.read_bytes()))
    except OSError as error:
        raise InputError(f"{printable(path)}: cannot be read ({error.strerror}); check the path") from error
    except ValueError as error:
        raise InputError(
            f"{printable(path)}: no network to start from ({error}); name one that calque trained"
        ) from error


def _schedule(settings: DetectionTraining) -> Schedule:
    wanted = max(settings.long_side * _PART, min(settings.long_side, _LEAST_PART))
    side = max(_CELL, round(wanted / _CELL) * _CELL)
    return Schedule(
        settings.steps,
        settings.batch,
        side,
        settings.rate,
        settings.turns,
        settings.mirrored,
        settings.seed,
        Pace.of(settings.steps, settings.together, settings.patience).together,
    )
