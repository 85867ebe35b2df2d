"""``python -m benchmarks.extractors NAME...``: extractors of local features beside each other.

Each learns a vocabulary of its own from the same pictures of ``various/``, and with ``--calibrate`` its law of chance
from a third of them; then a sample of each image set is indexed and asked the same queries. Samples are drawn evenly
and named in the output: learned extractors take seconds an image, and what tells them apart on so few images is less
what is found than by how much.
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from benchmarks.datasets import Dataset, data_folder, load
from benchmarks.metrics import evaluate
from benchmarks.runner import EVERYTHING, arguments, found, machine, report, table
from index.answers import Query
from index.calibrating import calibrated, set_aside
from index.search import search
from index.store import Index
from index.training import train
from matcher.errors import CalqueError
from matcher.registry import EXTRACTORS

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main", "measure", "sample"]

_SETS = ("blocks", "alice", "magazine")
_SHIPPED = "sift+shipped"
"""SIFT with the vocabulary that comes with calque."""


def sample(dataset: Dataset, queries: int, distractors: int) -> Dataset:
    """Return `queries` of a set that have something to find, and their images among `distractors` others."""
    asked = _evenly([query for query in dataset.queries if query.positives], queries)
    needed = {query.place.image for query in asked} | {place.image for query in asked for place in query.positives}
    others = _evenly([image for image in dataset.images if image not in needed], distractors)
    kept = needed | set(others)
    return replace(dataset, queries=tuple(asked), images=tuple(image for image in dataset.images if image in kept))


def _evenly(items: Sequence[Any], count: int) -> list[Any]:
    if len(items) <= count:
        return list(items)
    return [items[int(i)] for i in np.linspace(0, len(items) - 1, count).round()] if count else []


def measure(dataset: Dataset, folder: Path, work_size: int, vocabulary: Path | None) -> dict[str, Any]:
    """Index a set in one process, ask its queries upright, return quality, time and bytes (without the vocabulary)."""
    path = folder / f"{dataset.name}.calque"
    start = time.process_time()
    with Index.create(path, {"work_size": work_size}, vocabulary) as index:
        failed = index.add([dataset.path(image) for image in dataset.images], workers=0).failed
    added = time.process_time() - start
    if failed:
        raise CalqueError(f"{failed[0]} could not be added")
    queries = [Query(q.id, dataset.path(q.place.image), q.place.region) for q in dataset.queries]
    with Index.open(path) as index:
        info = index.info()
        start = time.process_time()
        answers = list(search(index, queries, max_false_alarms=EVERYTHING, relations=("same",), threads=1))
        asked = time.process_time() - start
    figures = evaluate(dataset, {answer.id: found(dataset, answer) for answer in answers})
    right = {q.id: {place.image for place in q.positives} for q in dataset.queries}
    names = {str(dataset.path(image)): image for image in dataset.images}
    best = [
        max((hit.score for hit in answer.hits if names[hit.image] in right[answer.id]), default=0.0)
        for answer in answers
    ]
    size = info["bytes"] - (0 if vocabulary is None else vocabulary.stat().st_size)
    return {
        "images": info["images"],
        "queries": len(queries),
        "map": figures["map"],
        "recall_at_1": figures["recall_at_1"],
        "recall_confident": figures["recall_confident"],
        "confident_hits": figures["confident_hits"],
        "confident_wrong": figures["confident_wrong"],
        "median_score": float(np.median(best)),
        "lowest_score": float(np.min(best)),
        "cpu_seconds_per_image": added / info["images"],
        "cpu_seconds_per_query": asked / len(queries),
        "features_per_image": info["features"] / info["images"],
        "bytes_per_image": size / info["images"],
    }


def _vocabulary(name: str, words: int, pictures: int, calibrate: bool, cache: Path) -> Path | None:
    """Return the vocabulary file of an extractor, trained unless it is there already; None is the one shipped."""
    if name == _SHIPPED:
        return None
    path = cache / f"{name}-{words}-{pictures}{'-calibrated' if calibrate else ''}.h5"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        images = [str(image) for image in _evenly(sorted((data_folder() / "various").iterdir()), pictures)]
        learnt, kept = set_aside(images) if calibrate else (images, [])
        train(learnt, path, features=name, words=words)
        if calibrate:
            calibrated(path, kept)
    return path


def main(words: Sequence[str] | None = None) -> int:
    """Run the benchmark on the command-line arguments `words`, return the exit status."""
    parser = arguments("Measure extractors of local features.", dataset=False)
    parser.add_argument("names", nargs="+", metavar="NAME", help=f"of: {_SHIPPED}, {', '.join(EXTRACTORS)}")
    parser.add_argument("--sets", default=",".join(_SETS), help="image sets (default: %(default)s)")
    parser.add_argument("--part", choices=("dev", "test"), default="dev", help="which queries (default: dev)")
    parser.add_argument("--queries", type=int, default=12, metavar="N", help="of each set (default: 12)")
    parser.add_argument("--distractors", type=int, default=24, metavar="N", help="images beside (default: 24)")
    parser.add_argument("--work-size", type=int, default=1024, metavar="PX", help="long side (default: 1024)")
    parser.add_argument("--words", type=int, default=8192, metavar="N", help="of each vocabulary (default: 8192)")
    parser.add_argument("--pictures", type=int, default=80, metavar="N", help="to learn them from (default: 80)")
    parser.add_argument("--calibrate", action="store_true", help="measure what chance gives with each vocabulary, too")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "calque" / "benchmarks")
    options = parser.parse_args(words)
    cv2.setNumThreads(1)
    rows: list[dict[str, Any]] = []
    try:
        sets = [
            sample(load(name, options.part), options.queries, options.distractors) for name in options.sets.split(",")
        ]
        for name in options.names:
            vocabulary = _vocabulary(name, options.words, options.pictures, options.calibrate, options.cache)
            for dataset in sets:
                with tempfile.TemporaryDirectory(prefix="calque-benchmark-") as folder:
                    figures = measure(dataset, Path(folder), options.work_size, vocabulary)
                rows.append({"": f"{name}, {dataset.name}", **figures})
                print(table(rows[-1:]), file=sys.stderr, flush=True)
    except CalqueError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    about = machine()
    print(f"part {options.part}, long side {options.work_size}, {options.words} words; {about}\n")
    print(table(rows))
    report({"options": vars(options), "machine": about, "rows": rows}, options.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
