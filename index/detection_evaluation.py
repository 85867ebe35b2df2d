"""How well a detector finds what is annotated, image by image: `calque detect evaluate`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from index.average_precision import figures_of
from index.detecting import LONG_SIDE
from index.detection_training import matched_on
from matcher.errors import CalqueError
from matcher.images import printable, read_image

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from index.annotated import AnnotatedImage
    from matcher.detection import Detection, Detector

__all__ = ["JudgedImage", "judge_images", "summed"]


@dataclass(frozen=True, slots=True)
class JudgedImage:
    """What was found on an annotated image.

    Attributes
    ----------
    image : AnnotatedImage
    found : tuple of Detection
        Everything, however unsure, class by class.
    right : tuple of bool
        Of each, whether it is a true thing, at an IoU of 0.5.
    counted : tuple of bool
        Of each, whether it counts: not what lies among things that are not told apart.
    missed : tuple of Detection
        True things that nothing sure enough was found of.
    min_score : float
        From which on a thing is sure enough.
    """

    image: AnnotatedImage
    found: tuple[Detection, ...]
    right: tuple[bool, ...]
    counted: tuple[bool, ...]
    missed: tuple[Detection, ...]
    min_score: float

    def shown(self) -> Iterator[tuple[Detection, bool]]:
        """Yield what is sure enough and counts, and whether it is right."""
        for one, right, counted in zip(self.found, self.right, self.counted, strict=True):
            if one.score >= self.min_score and counted:
                yield one, right

    @property
    def errors(self) -> int:
        """False ones and misses."""
        return len(self.missed) + sum(not right for _, right in self.shown())


def judge_images(
    detector: Detector, images: Sequence[AnnotatedImage], classes: Sequence[str], min_score: float | None = None
) -> Iterator[JudgedImage | tuple[str, str]]:
    """Yield of each image what a detector finds of the classes that are annotated, or its name and why it cannot.

    Parameters
    ----------
    detector : Detector
    images : sequence of AnnotatedImage
    classes : sequence of str
    min_score : float, optional
        From which on a thing is sure enough; by default as is usual for the detector.
    """
    least = detector.usual_score if min_score is None else min_score
    phrases = () if detector.labels is not None else tuple(classes)
    for image in images:
        try:
            scan = read_image(image.path, gray=False, long_side=LONG_SIDE)
            everything = detector.detect(scan, 0.0, phrases)
        except CalqueError as error:
            yield image.name, str(error).removeprefix(f"{printable(image.path)}: ")
            continue
        yield _judged(image, everything, classes, least)


def _judged(
    image: AnnotatedImage, everything: Sequence[Detection], classes: Sequence[str], least: float
) -> JudgedImage:
    found: list[Detection] = []
    right: list[bool] = []
    counted: list[bool] = []
    missed: list[Detection] = []
    for name in classes:
        told = [one for one in everything if one.label == name]
        page = matched_on(image, told, name)
        found += told
        right += page.right[0].tolist()
        counted += (page.counted[0] | page.right[0]).tolist()
        sure = [one for one in told if one.score >= least]
        caught = matched_on(image, sure, name).right[0]
        hits = [one for one, hit in zip(sure, caught, strict=True) if hit]
        missed += _left(
            [thing for thing in image.things if thing.label == name], sorted(hits, key=lambda one: -one.score)
        )
    return JudgedImage(image, tuple(found), tuple(right), tuple(counted), tuple(missed), least)


def _left(true: list[Detection], hits: Sequence[Detection]) -> list[Detection]:
    """Return the true things that hits, the surest first, do not take: each takes the one that it overlaps most."""
    free = list(true)
    for hit in hits:
        overlaps = [hit.box.iou(thing.box) for thing in free]
        # Of equally good ones the last, as average precision has it.
        best = len(overlaps) - 1 - int(np.argmax(overlaps[::-1]))
        free.pop(best)
    return free


def summed(judged: Sequence[JudgedImage], classes: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the figures of each class.

    Returns
    -------
    dict
        Of each class ``true``, ``found``, ``ap50``, ``ap50_95``, and of what is sure enough ``told``, ``right``,
        ``precision`` and ``recall`` (None where there is none).
    """
    figures: dict[str, dict[str, Any]] = {}
    for name in classes:
        pages = [matched_on(one.image, [thing for thing in one.found if thing.label == name], name) for one in judged]
        shown = [right for one in judged for thing, right in one.shown() if thing.label == name]
        true, right = sum(page.true for page in pages), sum(shown)
        figures[name] = {
            **figures_of(pages),
            "told": len(shown),
            "right": right,
            "precision": right / len(shown) if shown else None,
            "recall": right / true if true else None,
        }
    return figures
