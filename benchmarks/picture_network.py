"""The recipe of the network that tells pictures from type (`matcher.selection`), part of `benchmarks.train_universal`.

It learns from the annotated zones of early printed pages, from images that are all picture, and from magazines, whose
pages nobody has annotated: there a linear teacher, fitted to the early pages, points out what is type beyond doubt.
Everything read is of part ``dev``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from index.settings import Settings
from matcher.images import read_image
from matcher.selection import PictureNetwork, surroundings
from matcher.sift import Sift

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from matcher.types import Features

__all__ = ["fit_network"]

_WORK_SIZE = Settings("", "").work_size
_KINDS = ("text", "illustration", "ornament", "initial")
_DRAWN = (500, 500, 300, 400)
"""Features drawn of a page, by kind."""

_WEIGHTS = (1.0, 1.0, 1.5, 1.5)
_PICTURE, _PICTURE_DRAWN, _PICTURE_WEIGHT = 1, 100, 0.5
_MAGAZINE_DRAWN, _MAGAZINE_WEIGHT = 250, 1.5
_CERTAIN = 0.25
"""What the teacher gives less to on a magazine's page, and no picture known is printed at, is type."""


class _Seen(NamedTuple):
    """All features of one page: what `surroundings` needs, and their places in pixels of the page."""

    work: tuple[NDArray, NDArray, NDArray, NDArray]
    places: NDArray[np.float32]


class _Lesson(NamedTuple):
    columns: NDArray[np.float32]
    picture: NDArray[np.bool_]
    weight: NDArray[np.float64]


def fit_network(
    pages: Path, magazine: Path, pictures: Iterable[Path], magazines: Iterable[Path], seed: int = 0
) -> NDArray[np.float32]:
    """Fit the network.

    Parameters
    ----------
    pages : Path
        Folder of the annotated pages, with ``layout.json``.
    magazine : Path
        Folder of the magazines, with ``groundtruth.json``: where pictures are printed.
    pictures : iterable of Path
        Images that are all picture.
    magazines : iterable of Path
        Magazine pages that may be learnt from.
    seed : int

    Returns
    -------
    float32, shape (w,)
        A `PictureNetwork`, packed.
    """
    rng = np.random.default_rng(seed)
    annotated = [page for page in json.loads((pages / "layout.json").read_text("utf-8")) if page["part"] == "dev"]
    mean, directions = _components([_see(pages / page["image"]) for page in annotated[::6]], rng)

    def columns(seen: _Seen, which: NDArray[np.intp]) -> NDArray[np.float32]:
        return surroundings(*seen.work, mean, directions)[which]

    def drawn(of: NDArray[np.intp], many: int) -> NDArray[np.intp]:
        return rng.choice(of, many, replace=False) if len(of) > many else of

    lessons = []
    for page in annotated:
        seen = _see(pages / page["image"])
        kinds = _kinds(page, seen.places)
        for kind in range(len(_KINDS)):
            which = drawn(np.flatnonzero(kinds == kind), _DRAWN[kind])
            lessons.append(_lesson(columns(seen, which), kind > 0, _WEIGHTS[kind]))
    for path in pictures:
        seen = _see(path)
        which = drawn(np.arange(len(seen.places)), _PICTURE_DRAWN)
        if len(which):
            lessons.append(_lesson(columns(seen, which), True, _PICTURE_WEIGHT))
    teacher = LogisticRegression(C=0.01, max_iter=500)
    early = _joined(lessons)
    teacher.fit(early.columns, early.picture, sample_weight=early.weight)
    printed = _printed(magazine)
    for path in magazines:
        seen = _see(path)
        if not len(seen.places):
            continue
        inside = _inside(seen.places, printed.get(str(path.relative_to(magazine)), []))
        every = columns(seen, np.arange(len(seen.places)))
        type_ = (teacher.predict_proba(every)[:, 1] < _CERTAIN) & ~inside
        for which, picture in ((type_, False), (inside, True)):
            chosen = drawn(np.flatnonzero(which), _MAGAZINE_DRAWN)
            lessons.append(_lesson(every[chosen], picture, _MAGAZINE_WEIGHT))
    return _fitted(_joined(lessons), mean, directions, seed).packed()


def _see(path: Path) -> _Seen:
    scan = read_image(path, long_side=_WORK_SIZE)
    features: Features = Sift().extract(scan)
    pixel = max(1.0, max(scan.width, scan.height) / _WORK_SIZE)
    work = ((features.points + 0.5) / np.float32(pixel), features.descriptors, features.sizes / pixel)
    return _Seen((*work, features.responses), features.points)


def _components(pages: list[_Seen], rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the mean and the first 16 principal components of descriptors."""
    some = np.concatenate([seen.work[1][rng.permutation(len(seen.places))[:2000]] for seen in pages])
    mean = some.mean(axis=0)
    _, _, directions = np.linalg.svd(some - mean, full_matrices=False)
    return mean, directions[:16]


def _kinds(page: dict[str, Any], places: NDArray[np.float32]) -> NDArray[np.int8]:
    """Return the number in `_KINDS` of what each place lies on, -1 for none of them."""
    column, row = np.round(places).astype(np.intp).T
    kinds = np.full(len(places), -1, dtype=np.int8)
    # Text zones often contain pictures, so pictures are painted over them.
    for number, kind in enumerate(_KINDS):
        mask = np.zeros((page["height"], page["width"]), dtype=np.uint8)
        for zone in page["zones"]:
            if zone["type"] == kind:
                cv2.fillPoly(mask, [np.round(zone["polygon"]).astype(np.int32)], 1)
        inside = mask[np.clip(row, 0, page["height"] - 1), np.clip(column, 0, page["width"] - 1)]
        kinds[inside > 0] = number
    return kinds


def _printed(magazine: Path) -> dict[str, list[list[float]]]:
    """Return the boxes of the pictures that are known to be printed on each magazine page."""
    boxes: dict[str, list[list[float]]] = {}
    for query in json.loads((magazine / "groundtruth.json").read_text("utf-8"))["queries"]:
        for place in query["positives"] if query["part"] == "dev" else ():
            if place["region"] is not None and min(place["region"][2:]) > 0:
                boxes.setdefault(place["image"], []).append(place["region"])
    return boxes


def _inside(places: NDArray[np.float32], boxes: list[list[float]]) -> NDArray[np.bool_]:
    inside = np.zeros(len(places), dtype=np.bool_)
    for x, y, width, height in boxes:
        inside |= ((places >= (x, y)) & (places < (x + width, y + height))).all(axis=1)
    return inside


def _lesson(columns: NDArray[np.float32], picture: bool, weight: float) -> _Lesson:
    return _Lesson(columns, np.full(len(columns), picture), np.full(len(columns), weight))


def _joined(lessons: list[_Lesson]) -> _Lesson:
    return _Lesson(*(np.concatenate(parts) for parts in zip(*lessons, strict=True)))


def _fitted(lesson: _Lesson, mean: NDArray[np.float32], directions: NDArray[np.float32], seed: int) -> PictureNetwork:
    centre, spread = lesson.columns.mean(axis=0), lesson.columns.std(axis=0) + 1e-6
    model = MLPClassifier((32,), alpha=0.1, batch_size=1024, max_iter=6, learning_rate_init=2e-3, random_state=seed)
    model.fit((lesson.columns - centre) / spread, lesson.picture, sample_weight=lesson.weight)
    (hidden, output), (hidden_bias, output_bias) = model.coefs_, model.intercepts_
    # The standardisation of the columns becomes part of the first layer.
    hidden = hidden / spread[:, None]
    return PictureNetwork(mean, directions, hidden, hidden_bias - centre @ hidden, np.append(output, output_bias))
