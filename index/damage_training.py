"""Train a map of damage from a few images on which it is painted: `calque damage train`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from index.annotated import held_documents
from index.detection_training import Trained, starting_weights
from index.durable import replacing
from index.learning import Pace, run
from index.painted import read_mask
from index.zones import pixel_size
from matcher.damage import classes_at
from matcher.errors import InputError
from matcher.images import printable, read_image
from matcher.looks import mean_of_looks, pixel_looks
from matcher.region_targets import IGNORED
from matcher.registry import Backend
from matcher.schedule import Schedule
from matcher.tiles import blended
from matcher.trained import Card, with_card

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from index.painted import PaintedImage
    from matcher.augmentation import Turns

__all__ = ["DamageTraining", "damage_figures", "train_damage"]

_SIDE, _TILE, _OVERLAP = 192, 512, 64
"""Sides of the parts that are learned from, and of those that are measured by, and by how much these overlap."""

_BINS = 100
"""Thresholds that are tried."""

_MOST = 3 << 30
"""Bytes of images and masks that are kept in memory while they are learned from."""

Painted = tuple["NDArray[np.uint8]", "NDArray[np.uint8]"]
_Look = Callable[["NDArray[np.uint8]"], "NDArray[np.float32]"]


@dataclass(frozen=True, slots=True)
class DamageTraining:
    """How a map of damage is trained; most as of `index.detection_training.DetectionTraining`.

    Attributes
    ----------
    model : str
        ``none``: the small network for pixels from nothing; ``calque:PATH``: from one that was trained before.
    long_side : int
        Pixels of the long side to which larger images are reduced; 0 for none.
    looks : int
        How many looks at an image are taken, up to 8: see `matcher.looks.pixel_looks`.
    """

    model: str = "none"
    long_side: int = 0
    steps: int = 1200
    batch: int = 8
    rate: float = 4e-3
    seed: int = 1
    turns: Turns = "any"
    mirrored: bool = True
    validation: float = 0.25
    patience: int = 4
    together: float = 0.4
    looks: int = 4


def train_damage(
    images: Sequence[PaintedImage],
    classes: Sequence[str],
    out: Path,
    settings: DamageTraining,
    *,
    told: Callable[[str], None],
    progress: Callable[[int, int], None],
) -> Trained:
    """Train a map of damage and write it, whole or not at all.

    Parameters
    ----------
    images : sequence of PaintedImage
    classes : sequence of str
        Names of the classes from 1 on.
    out : Path
        The model: an ONNX file.
    settings : DamageTraining
    told, progress
        As of `index.learning.run`.

    Returns
    -------
    Trained
        Its figures of each class: ``true_pixels``, ``found_pixels``, ``iou``, ``precision``, ``recall``.

    Raises
    ------
    InputError
        If a file cannot be read, or there is too little to learn from.
    MissingDependency
        If torch or safetensors is not installed.
    """
    learned, validated = _divided(images, classes, settings)
    told(f"{len(learned)} images to learn from, {len(validated)} kept to measure by")
    pace = Pace.of(settings.steps, settings.together, settings.patience)
    schedule = Schedule(
        *(settings.steps, settings.batch, _SIDE, settings.rate, settings.turns, settings.mirrored, settings.seed),
        pace.together,
    )
    if not any(np.any((mask > 0) & (mask != IGNORED)) for _, mask in learned):
        raise InputError("nothing is painted on the images to learn from; paint more of them, or try another --seed")
    if not any(np.any((mask > 0) & (mask != IGNORED)) for _, mask in validated):
        raise InputError("nothing is painted on what is kept to measure by; paint more, or try another --seed")
    learner = Backend("matcher.pixel_learning:PixelLearner", "models").make(
        images=learned, classes=classes, schedule=schedule, start=starting_weights(settings.model)
    )
    digest = "-".join(one.digest for one in images)
    job = json.dumps({"painted": digest, "classes": list(classes), **asdict(settings)}, sort_keys=True)
    look: _Look = learner.chances
    looks = pixel_looks(settings.looks, settings.turns, settings.mirrored)

    def look_often(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return mean_of_looks(pixels, looks, look)

    def measure() -> dict[str, float]:
        return {"iou": _best(_histogram(validated, look))[1]}

    folder = out.with_name(f"{out.name}.training")

    def settle() -> dict[str, Any]:
        min_score, _ = _best(_histogram(validated, look_often))
        found = [_mapped(pixels, look_often, min_score) for pixels, _ in validated]
        return {"min_score": min_score, "figures": damage_figures(found, [mask for _, mask in validated], classes)}

    def join() -> None:
        learner.take([*learned, *validated])

    course = run(*(learner, measure, folder, pace, job), settle=settle, join=join, told=told, progress=progress)
    min_score, figures = course.settled["min_score"], course.settled["figures"]
    trained = {
        "painted": [one.digest for one in images],
        **asdict(settings),
        "taken": course.step,
        "best_step": course.best_step,
        "cpu_seconds": round(course.seconds, 1),
        "figures": figures,
    }
    card = Card("pixels", tuple(classes), settings.long_side, min_score, trained=trained, looks=looks)
    with replacing(out) as temporary:
        temporary.write_bytes(with_card(learner.export(), card))
    shutil.rmtree(folder, ignore_errors=True)
    return Trained(out, card, course, len(learned), len(validated), figures)


def _divided(
    images: Sequence[PaintedImage], classes: Sequence[str], settings: DamageTraining
) -> tuple[list[Painted], list[Painted]]:
    """Return what is learned from, and what is measured by: other documents, or the foot of the only image."""
    read = [_read(one, classes, settings.long_side) for one in images]
    if sum(pixels.nbytes + mask.nbytes for pixels, mask in read) > _MOST:
        raise InputError(f"{len(images)} images are more than {_MOST >> 30} GB; cut parts out of them, or --long-side")
    if len(images) == 1:
        pixels, mask = read[0]
        cut = round(len(mask) * (1 - settings.validation))
        if min(cut, len(mask) - cut) < 32:
            raise InputError(f"{printable(images[0].path)}: too small to be divided; paint another image")
        return [(pixels[:cut], mask[:cut])], [(pixels[cut:], mask[cut:])]
    weights: dict[str, float] = {}
    names = [one.document for one in images]
    if len(set(names)) < 2:
        names = [one.path.name for one in images]
    for name, (_, mask) in zip(names, read, strict=True):
        weights[name] = weights.get(name, 0.0) + float(np.count_nonzero((mask > 0) & (mask != IGNORED))) + 1.0
    held = held_documents(weights, settings.validation, settings.seed)
    pairs = list(zip(names, read, strict=True))
    return [one for name, one in pairs if name not in held], [one for name, one in pairs if name in held]


def _read(image: PaintedImage, classes: Sequence[str], long_side: int) -> Painted:
    size = pixel_size(image.path, 0)
    scan = read_image(image.path, gray=False, long_side=long_side or None)
    mask = read_mask(image.mask, size or (scan.width, scan.height), classes)
    high, wide = scan.pixels.shape[:2]
    if mask.shape != (high, wide):
        mask = _reduced(mask, (wide, high), len(classes))
    return scan.pixels, mask


def _reduced(mask: NDArray[np.uint8], size: tuple[int, int], many: int) -> NDArray[np.uint8]:
    """Return a smaller mask, in which lines stay that would fall between pixels: half covered is damaged."""
    import cv2

    smaller = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)
    for kind in (*range(1, many + 1), IGNORED):
        share = cv2.resize((mask == kind).astype(np.float32), size, interpolation=cv2.INTER_AREA)
        smaller[share >= 0.5] = kind
        smaller[(share < 0.5) & (smaller == kind)] = 0
    return np.asarray(smaller, np.uint8)


def _histogram(images: Sequence[Painted], look: _Look) -> NDArray[np.int64]:
    """Count the pixels that are damaged, and those that are not, by the chance that the network gives them."""
    counts = np.zeros((2, _BINS), np.int64)
    for pixels, mask in images:
        for top, chances in blended(pixels, look, _TILE, _OVERLAP):
            bins = np.minimum(((1 - chances[0]) * _BINS).astype(np.intp), _BINS - 1)
            truth = mask[top : top + len(bins)]
            for damaged in (0, 1):
                told = bins[(truth != IGNORED) & ((truth > 0) == bool(damaged))]
                counts[damaged] += np.bincount(told, minlength=_BINS)
    return counts


def _best(counts: NDArray[np.int64]) -> tuple[float, float]:
    """Return the chance from which on pixels agree best with the truth, and their intersection over union then."""
    wrong, right = counts[:, ::-1].cumsum(axis=1)[:, ::-1]
    ious = right / np.maximum(counts[1].sum() + wrong, 1)
    best = int(ious[1:].argmax()) + 1
    return best / _BINS, float(ious[best])


def _mapped(pixels: NDArray[np.uint8], look: _Look, min_score: float) -> NDArray[np.uint8]:
    return np.vstack([classes_at(chances, min_score) for _, chances in blended(pixels, look, _TILE, _OVERLAP)])


def damage_figures(
    found: Sequence[NDArray[np.uint8]], true: Sequence[NDArray[np.uint8]], classes: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Return how well maps agree with masks: of each class pixels, intersection over union, precision, recall."""
    figures: dict[str, dict[str, Any]] = {}
    for kind, name in enumerate(classes, start=1):
        there = here = both = 0
        for one, other in zip(found, true, strict=True):
            known = other != IGNORED
            there += int(np.count_nonzero((other == kind) & known))
            here += int(np.count_nonzero((one == kind) & known))
            both += int(np.count_nonzero((one == kind) & (other == kind) & known))
        figures[name] = {
            "true_pixels": there,
            "found_pixels": here,
            "iou": both / (there + here - both) if there + here else None,
            "precision": both / here if here else None,
            "recall": both / there if there else None,
        }
    return figures
