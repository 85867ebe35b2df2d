"""``python -m benchmarks.calibration``: are there as many hits by chance as `false_alarms` claims?

Pictures of one collection, and windows cut out of them at random, are looked for in the other collections, which share
none of them: every hit is a false alarm. One index holds all collections; each query searches those it has nothing to
do with.
"""

from __future__ import annotations

import math
import zlib
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
from scipy import stats

from benchmarks.datasets import load
from benchmarks.runner import arguments, indexed, machine, report, spread, table
from index.answers import Query
from index.calibrating import window
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


_COLLECTIONS = ("alice", "magazine", "pages", "various")


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
            region = window(region, rng)
        asked.append(_Asked(image.split("/")[0], Query(f"{number}", path, region)))
    return asked


def some_of(dataset: Dataset, collections: Sequence[str], images: int | None) -> Dataset:
    """Return the images of some collections, at most so many, and what is asked of them."""
    own = [image for image in dataset.images if image.split("/")[0] in collections]
    if images is not None and images < len(own):
        own = [own[int(i)] for i in np.linspace(0, len(own) - 1, images)]
    asked = tuple(query for query in dataset.queries if query.place.image.split("/")[0] in collections)
    return replace(dataset, images=tuple(own), queries=asked)


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


def by_origin(answers: Sequence[tuple[str, Answer]]) -> list[dict[str, Any]]:
    """Return, for the queries from each collection and from all but ``various/``, observed / claimed at each claim."""
    chosen = {name: [pair for pair in answers if pair[0] == name] for name in sorted({name for name, _ in answers})}
    chosen["all but various"] = [pair for pair in answers if pair[0] != "various"]
    return [
        {"queries from": name, "searches": len(some)}
        | {f"{row['claimed a search']:g}": row["observed / claimed"] for row in rows(some)}
        for name, some in chosen.items()
        if some
    ]


def main(words: Sequence[str] | None = None) -> int:
    """Run the benchmark on the command-line arguments `words`, return the exit status."""
    parser = arguments("Compare hits by chance with what was claimed.", dataset=False)
    parser.add_argument("--part", choices=("dev", "test"), default="test")
    parser.add_argument("--searches", type=int, default=2000, metavar="N")
    parser.add_argument("--vocabulary", type=Path, metavar="FILE", help="by default the one that comes with calque")
    parser.add_argument(
        "--collections", default=",".join(_COLLECTIONS), metavar="LIST", help="which take part: %(default)s"
    )
    parser.add_argument("--images", type=int, metavar="N", help="of them at most, drawn evenly")
    parser.add_argument("--work-size", type=int, metavar="PX", help="long side at which they are indexed")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the index in DIR, or use the one that is there")
    options = parser.parse_args(words)
    cv2.setNumThreads(1)
    dataset = some_of(load("all"), options.collections.split(","), options.images)
    settings = {"work_size": options.work_size} if options.work_size else {}
    with indexed(dataset, options.keep, vocabulary=options.vocabulary, settings=settings) as built:
        answers = list(
            ask(built.path, queries(dataset, options.part, options.searches, seed=zlib.crc32(b"calibration")))
        )
    about = machine()
    printed = rows(answers)
    print(f"part {options.part}: {len(answers)} searches for what is not there; {about}\n")
    print(table(printed))
    apart = by_origin(answers)
    print(f"\nobserved / claimed, by where the queries are from\n{table(apart)}")
    hits = sorted(
        (hit.false_alarms, answer.id, hit.image, str(answer.image)) for _, answer in answers for hit in answer.hits
    )
    for alarms, name, image, asked in hits:
        if alarms <= 0.01:
            print(f"query {name} of {asked} -> {image} at {alarms:.2g}")
    seconds = spread([answer.seconds - answer.extraction for _, answer in answers])
    report(
        {"part": options.part, "machine": about, "claims": printed, "apart": apart, "seconds": seconds, "hits": hits},
        options.json,
    )
    return 0 if all(math.isfinite(row["observed / claimed"]) for row in printed) else 1


if __name__ == "__main__":
    raise SystemExit(main())
