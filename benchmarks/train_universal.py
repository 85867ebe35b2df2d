"""The recipe of the vocabulary that calque ships: ``python -m benchmarks.train_universal [-o FILE]``.

It reads only what parameters may be chosen on: pages, magazines and Alice pictures of part ``dev``, and ``various/``,
none of whose pictures is in any truth. First the weights that tell pictures from type (`matcher.selection`) are fitted
on the annotated zones of the pages; then the features that an index would keep are drawn from all the images and a
vocabulary is learnt from them. About 15 minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
from sklearn.linear_model import LogisticRegression

from benchmarks.datasets import data_folder
from index.settings import Settings
from index.training import collect, learn
from matcher.images import read_image
from matcher.sift import Sift

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from matcher.types import Features

__all__ = ["fit_likeness", "main", "training_images"]

_WORK_SIZE = Settings("", "").work_size
_PICTURES = ("illustration", "ornament", "initial")


class _Images(NamedTuple):
    paths: list[Path]
    budget: int
    """Descriptors drawn from each."""


def training_images(data: Path) -> list[_Images]:
    """Return the images that may be learnt from and how much of each."""
    layout = json.loads((data / "pages/layout.json").read_text(encoding="utf-8"))
    magazine = json.loads((data / "magazine/groundtruth.json").read_text(encoding="utf-8"))
    alice = json.loads((data / "alice/groundtruth.json").read_text(encoding="utf-8"))
    volumes = {query["image"].split("/")[0] for query in magazine["queries"] if query["part"] == "dev"}
    return [
        _Images([data / "pages" / page["image"] for page in layout if page["part"] == "dev"], 5000),
        _Images([data / "magazine" / name for name in magazine["database"] if name.split("/")[0] in volumes], 3000),
        _Images(
            sorted({data / "alice" / query["image"] for query in alice["queries"] if query["part"] == "dev"}), 1500
        ),
        _Images(sorted((data / "various").glob("*.jpg")), 2500),
    ]


def fit_likeness(data: Path, seed: int = 0) -> NDArray[np.float32]:
    """Fit the weights of `matcher.selection.picture_likeness` on annotated pages and on images that are all picture."""
    rng = np.random.default_rng(seed)
    extractor = Sift()
    rows, labels = [], []

    def draw(features: Features, of: NDArray[np.intp], many: int, label: int) -> None:
        picked = rng.choice(of, min(many, len(of)), replace=False) if len(of) else of
        part = features.take(picked)
        pixel = max(1.0, max(part.width, part.height) / _WORK_SIZE)
        columns = (part.descriptors, np.log2(part.sizes / pixel)[:, None], np.log(100 * part.responses + 0.1)[:, None])
        rows.append(np.concatenate(columns, axis=1))
        labels.append(np.full(len(picked), label))

    for page in json.loads((data / "pages/layout.json").read_text(encoding="utf-8")):
        if page["part"] == "dev":
            features = extractor.extract(read_image(data / "pages" / page["image"], long_side=_WORK_SIZE))
            kinds = _kinds(page, features)
            draw(features, np.flatnonzero(kinds == 0), 250, 0)
            draw(features, np.flatnonzero(kinds == 1), 400, 1)
    *_, alice, various = training_images(data)
    for path in (*alice.paths, *various.paths):
        features = extractor.extract(read_image(path, long_side=_WORK_SIZE))
        draw(features, np.arange(len(features)), 60, 1)
    model = LogisticRegression(C=1.0, max_iter=500, class_weight="balanced")
    model.fit(np.concatenate(rows), np.concatenate(labels))
    return np.concatenate([model.coef_[0], model.intercept_]).astype(np.float32)


def _kinds(page: dict[str, Any], features: Features) -> NDArray[np.int8]:
    """Return for each feature whether it lies on a picture (1), on type (0) or on neither (-1)."""
    column, row = np.round(features.points).astype(np.intp).T
    kinds = np.full(len(features), -1, dtype=np.int8)
    # Text zones often contain pictures, so pictures are painted over them.
    for label, wanted in ((0, ("text",)), (1, _PICTURES)):
        mask = np.zeros((page["height"], page["width"]), dtype=np.uint8)
        for zone in page["zones"]:
            if zone["type"] in wanted:
                cv2.fillPoly(mask, [np.round(zone["polygon"]).astype(np.int32)], 1)
        inside = mask[np.clip(row, 0, page["height"] - 1), np.clip(column, 0, page["width"] - 1)]
        kinds[inside > 0] = label
    return kinds


def _descriptors(data: Path, extractor: Sift) -> Iterator[NDArray[np.float32]]:
    for group in training_images(data):
        for number, path in enumerate(group.paths):
            yield collect(path, 0, extractor, group.budget, seed=number)


def main() -> None:
    """Train and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("index/data/rootsift-65k.h5"))
    parser.add_argument("--words", type=int, default=65536)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    start = time.monotonic()
    likeness = fit_likeness(data_folder())
    print(f"{time.monotonic() - start:.0f} s: weights of likeness to a picture", flush=True)
    extractor = Sift(Settings("", "").max_features, likeness)
    descriptors = np.concatenate(list(_descriptors(data_folder(), extractor)))
    print(f"{time.monotonic() - start:.0f} s: {len(descriptors)} descriptors", flush=True)
    vocabulary = learn(descriptors, options.words, options.output.stem, extractor.signature, likeness)
    vocabulary.save(options.output)
    size = options.output.stat().st_size
    print(f"{time.monotonic() - start:.0f} s: {options.output}, {size} bytes, hash {vocabulary.hash}")


if __name__ == "__main__":
    main()
