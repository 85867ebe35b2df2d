"""The recipe of the vocabulary that calque ships: ``python -m benchmarks.train_universal [-o FILE]``.

It reads only what parameters may be chosen on: pages, magazines and Alice pictures of part ``dev``, and ``various/``,
none of whose pictures is in any truth. First the network that tells pictures from type is fitted
(`benchmarks.picture_network`); then the features that an index would keep are drawn from all the images and a
vocabulary is learnt from them. About 25 minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from benchmarks.datasets import data_folder
from benchmarks.picture_network import fit_network
from index.settings import Settings
from index.training import collect, learn
from matcher.sift import Sift

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["main", "training_images"]


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
    data = data_folder()
    _, magazines, alice, various = training_images(data)
    likeness = fit_network(data / "pages", data / "magazine", [*alice.paths, *various.paths], magazines.paths)
    print(f"{time.monotonic() - start:.0f} s: the network that tells pictures from type", flush=True)
    extractor = Sift(Settings("", "").max_features, likeness)
    descriptors = np.concatenate(list(_descriptors(data, extractor)))
    print(f"{time.monotonic() - start:.0f} s: {len(descriptors)} descriptors", flush=True)
    vocabulary = learn(descriptors, options.words, options.output.stem, extractor.signature, likeness)
    vocabulary.save(options.output)
    size = options.output.stat().st_size
    print(f"{time.monotonic() - start:.0f} s: {options.output}, {size} bytes, hash {vocabulary.hash}")


if __name__ == "__main__":
    main()
