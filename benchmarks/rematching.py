"""``python -m benchmarks.rematching NAME``: how many cells a matcher makes agree on images that share nothing.

What queries of one collection show is laid by the matcher on images of the others, which share nothing with it; how the
number of cells that agree falls off is what `matcher.rematching.PAIR_LAWS` holds.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

from benchmarks.calibration import queries
from benchmarks.datasets import load
from benchmarks.runner import arguments, machine, report, table
from index.rematching import Rematcher
from matcher.errors import CalqueError
from matcher.registry import MATCHERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = ["main"]

_TAIL = 0.2
"""Share of the pairs of images from which on the fall of the tail is measured."""


class _Pair(NamedTuple):
    query: str
    image: str
    count: int


def laid(matcher: Rematcher, part: str, many: int, each: int, seed: int) -> Iterator[_Pair]:
    """Yield how many cells agree, for `many` queries, on `each` images of other collections."""
    rng = np.random.default_rng(seed)
    dataset = load("all")
    pool: dict[str, list[Path]] = defaultdict(list)
    for number in rng.permutation(len(dataset.images)):
        image = dataset.images[number]
        pool[image.split("/")[0]].append(dataset.path(image))
    for images in pool.values():
        del images[each * 3 :]  # few, so that what is found on them can be kept
    asked = queries(dataset, part, 4 * many, seed)
    for number in rng.permutation(len(asked))[:many]:
        collection, query = asked[number]
        others = [path for name, images in pool.items() if name != collection for path in images]
        (variant,) = matcher.variants(query, ("same",)) or (None,)
        for place in rng.permutation(len(others))[:each] if variant is not None else ():
            found = matcher.lay(variant, others[place])
            yield _Pair(str(query.image), str(others[place]), 0 if found is None else found.match.inliers)


def fall(counts: Sequence[int]) -> dict[str, float]:
    """Return where the tail of some counts begins, and over how many cells it falls by e (the mean excess)."""
    ordered = np.sort(counts)
    usual = float(ordered[int((1 - _TAIL) * len(ordered))])
    beyond = ordered[ordered > usual] - usual
    step = float(beyond.mean()) if len(beyond) else 0.0
    return {"usual": usual, "share": float((ordered > usual).mean()), "step": step}


def main(words: Sequence[str] | None = None) -> int:
    """Run the benchmark on the command-line arguments `words`, return the exit status."""
    parser = arguments("Measure what a matcher makes of images that share nothing.", dataset=False)
    parser.add_argument("name", choices=list(MATCHERS))
    parser.add_argument("--part", choices=("dev", "test"), default="dev", help="which queries (default: dev)")
    parser.add_argument("--queries", type=int, default=60, metavar="N", help="how many (default: 60)")
    parser.add_argument("--each", type=int, default=8, metavar="N", help="images for each (default: 8)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(words)
    cv2.setNumThreads(1)
    try:
        matcher = Rematcher(options.name, 1600)
        pairs = list(laid(matcher, options.part, options.queries, options.each, options.seed))
    except CalqueError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    counts = [pair.count for pair in pairs]
    about = machine()
    tails: list[dict[str, Any]] = []
    for least in (4, 6, 8, 10, 12, 15, 20, 30):
        seen = sum(count >= least for count in counts)
        claimed = None if matcher.law is None else 10.0 ** matcher.law.log_tail(least)
        tails.append({"cells": least, "pairs": seen, "share": seen / len(counts), "law": claimed})
    print(f"{options.name}, part {options.part}: {len(pairs)} pairs of images; {fall(counts)}; {about}\n")
    print(table(tails))
    for pair in sorted(pairs, key=lambda pair: -pair.count)[:5]:
        print(f"{pair.count} cells: {pair.query} -> {pair.image}")
    report({"machine": about, "tails": tails, "pairs": pairs, **fall(counts)}, options.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
