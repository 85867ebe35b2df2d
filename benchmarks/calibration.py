"""``python -m benchmarks.calibration``: are there as many hits by chance as `false_alarms` claims?

Pictures of one collection, and windows cut out of them at random, are looked for in the other collections, which share
none of them: every hit is a false alarm. One index holds all collections; each query searches those it has nothing to
do with.
"""

from __future__ import annotations

import math
import zlib
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
from scipy import stats

from benchmarks.datasets import load
from benchmarks.runner import arguments, indexed, machine, report, spread, table
from index.answers import Query
from index.search import search
from index.store import Index
from matcher.images import read_image
from matcher.types import Region

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.datasets import Dataset
    from index.answers import Answer

__all__ = ["main"]

_CLAIMS = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
_WINDOWS = (0.25, 0.8)
"""Sides of windows, in sides of their pictures."""


class _Asked(NamedTuple):
    collection: str
    query: Query


def queries(dataset: Dataset, part: str, many: int, seed: int) -> list[_Asked]:
    """Return whole pictures, then windows, of ``various/`` and of what the queries of a part show."""
    rng = np.random.default_rng(seed)
    places = {(q.place.image, q.place.region) for q in dataset.part(part).queries if q.positives}
    # The pictures of various/ have no part: their names decide, as for the benchmark of press reproductions.
    places |= {
        (image, None)
        for image in dataset.images
        if image.startswith("various/") and (zlib.crc32(Path(image).name.encode()) % 2 == 0) == (part == "dev")
    }
    ordered = sorted(places, key=str)
    asked = []
    for number in range(many):
        image, region = ordered[number % len(ordered)]
        path = dataset.path(image)
        if number >= len(ordered):
            if region is None:
                scan = read_image(path)
                region = Region(0, 0, scan.width, scan.height)
            region = _window(region, rng)
        asked.append(_Asked(image.split("/")[0], Query(f"{number}", path, region)))
    return asked


def _window(region: Region, rng: np.random.Generator) -> Region:
    share = rng.uniform(*_WINDOWS)
    width, height = max(16.0, region.width * share), max(16.0, region.height * share)
    x, y = rng.random(2) * np.maximum((region.width - width, region.height - height), 0)
    return Region(round(region.x + x), round(region.y + y), round(width), round(height))


def ask(path: Path, asked: Sequence[_Asked]) -> Iterator[tuple[str, Answer]]:
    """Yield the answers of the other collections to each query."""
    by_collection = defaultdict(list)
    for collection, query in asked:
        by_collection[collection].append(query)
    with Index.open(path) as index:
        ids = [(image.id, image.path) for image in index.images()]
        for collection, part in by_collection.items():
            only = frozenset(number for number, file in ids if f"/{collection}/" not in file)
            for answer in search(index, part, only=only):
                yield collection, answer


def rows(answers: Sequence[tuple[str, Answer]]) -> list[dict[str, Any]]:
    """Return, for each claim, the rate of hits observed beside it, with its 95 % interval."""
    alarms = np.array([hit.false_alarms for _, answer in answers for hit in answer.hits])
    made = []
    for claim in _CLAIMS:
        observed, expected = int((alarms <= claim).sum()), claim * len(answers)
        low = stats.chi2.ppf(0.025, 2 * observed) / 2 if observed else 0.0
        high = stats.chi2.ppf(0.975, 2 * observed + 2) / 2
        made.append(
            {
                "claimed a search": claim,
                "hits expected": expected,
                "hits observed": observed,
                "observed a search": observed / len(answers),
                "observed / claimed": observed / expected,
                "at least": low / expected,
                "at most": high / expected,
            }
        )
    return made


def main(words: Sequence[str] | None = None) -> int:
    """Run the benchmark on the command-line arguments `words`, return the exit status."""
    parser = arguments("Compare hits by chance with what was claimed.", dataset=False)
    parser.add_argument("--part", choices=("dev", "test"), default="test")
    parser.add_argument("--searches", type=int, default=2000, metavar="N")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the index in DIR, or use the one that is there")
    options = parser.parse_args(words)
    cv2.setNumThreads(1)
    dataset = load("all")
    with indexed(dataset, options.keep) as built:
        answers = list(
            ask(built.path, queries(dataset, options.part, options.searches, seed=zlib.crc32(b"calibration")))
        )
    about = machine()
    printed = rows(answers)
    print(f"part {options.part}: {len(answers)} searches for what is not there; {about}\n")
    print(table(printed))
    hits = sorted(
        (hit.false_alarms, answer.id, hit.image, str(answer.image)) for _, answer in answers for hit in answer.hits
    )
    for alarms, name, image, asked in hits:
        if alarms <= 0.01:
            print(f"query {name} of {asked} -> {image} at {alarms:.2g}")
    seconds = spread([answer.seconds - answer.extraction for _, answer in answers])
    report({"part": options.part, "machine": about, "claims": printed, "seconds": seconds, "hits": hits}, options.json)
    return 0 if all(math.isfinite(row["observed / claimed"]) for row in printed) else 1


if __name__ == "__main__":
    raise SystemExit(main())
