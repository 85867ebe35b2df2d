"""``python -m benchmarks.variants DATASET``: queries mirrored, inverted and turned.

Each query is cut out of its page, changed, written to a file of its own and asked for as a whole image; ``upright`` is
the cut unchanged, so that everything is compared with like. The rotation to be reported follows from how the file was
made: it undoes the turn. Scans stand a little askew, hence the tolerance.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from benchmarks.datasets import load
from benchmarks.metrics import CONFIDENT, evaluate, judge
from benchmarks.runner import arguments, ask, build, found, machine, report, table
from index.answers import Query
from matcher.errors import CalqueError
from matcher.images import read_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from benchmarks.datasets import Dataset, TruthQuery
    from index.answers import Answer

__all__ = ["VARIANTS", "main", "measure"]

TOLERANCE = 10.0
"""Degrees by which a reported rotation may differ from the one expected."""


def _mirrored(image: NDArray) -> NDArray:
    return image[:, ::-1]


def _inverted(image: NDArray) -> NDArray:
    return 255 - image


def _turned(quarters: int) -> Callable[[NDArray], NDArray]:
    """Return a function that turns an image clockwise."""
    return lambda image: np.rot90(image, -quarters)


VARIANTS: dict[str, tuple[Callable[[NDArray], NDArray], str, float]] = {
    "upright": (np.asarray, "same", 0),
    "mirrored": (_mirrored, "mirrored", 0),
    "inverted": (_inverted, "inverted", 0),
    "mirrored+inverted": (lambda image: _mirrored(_inverted(image)), "mirrored+inverted", 0),
    "turned 90": (_turned(1), "same", -90),
    "turned 180": (_turned(2), "same", 180),
    "turned 270": (_turned(3), "same", 90),
}
"""Name → how to make the query, and the relation and rotation that its answers should report."""


def _cut(dataset: Dataset, query: TruthQuery) -> NDArray:
    scan = read_image(dataset.path(query.place.image))
    region = query.place.region
    if region is None:
        return scan.pixels
    left, top = max(0, round(region.x)), max(0, round(region.y))
    return scan.pixels[top : round(region.y + region.height), left : round(region.x + region.width)]


def _confident(dataset: Dataset, query: TruthQuery, answer: Answer) -> Iterator[tuple[str, float]]:
    """Yield relation and rotation of the best sure and right hit on each image."""
    seen = set()
    for hit, place in zip(answer.hits, found(dataset, answer), strict=True):
        if place.image not in seen and hit.false_alarms <= CONFIDENT and judge(query, place) == "right":
            seen.add(place.image)
            yield hit.match.relation, hit.match.rotation


def measure(dataset: Dataset) -> list[dict[str, Any]]:
    """Return one row of figures for each variant.

    ``recall`` is the share of right images hit with at most `CONFIDENT` false alarms, ``of upright`` the same relative
    to the unchanged queries; ``relation`` and ``rotation`` the shares of these hits that report the right one.
    """
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="calque-benchmark-") as name:
        folder = Path(name)
        built = build(dataset, folder)
        for variant, (change, relation, rotation) in VARIANTS.items():
            queries = []
            for number, query in enumerate(dataset.queries):
                file = folder / f"{number}.png"
                cv2.imwrite(str(file), np.ascontiguousarray(change(_cut(dataset, query))))
                queries.append(Query(query.id, file, None))
            answers = {answer.id: answer for answer in ask(built.path, queries)}
            figures = evaluate(dataset, {key: found(dataset, answer) for key, answer in answers.items()})
            told = [pose for query in dataset.queries for pose in _confident(dataset, query, answers[query.id])]
            off = [abs((turn - rotation + 180) % 360 - 180) for _, turn in told]
            recall = figures["recall_confident"]
            upright = rows[0]["recall"] if rows else recall
            rows.append(
                {
                    "": variant,
                    "mAP": figures["map"],
                    "recall": recall,
                    "of upright": recall / upright if upright else None,
                    "relation": sum(said == relation for said, _ in told) / len(told) if told else None,
                    "rotation": sum(angle <= TOLERANCE for angle in off) / len(off) if off else None,
                    "hits": figures["confident_hits"],
                    "wrong": figures["confident_wrong"],
                }
            )
    return rows


def main(words: Sequence[str] | None = None) -> int:
    """Run the benchmark on the command-line arguments `words`, return the exit status."""
    options = arguments("Measure mirrored, inverted and turned queries.").parse_args(words)
    try:
        rows = measure(load(options.dataset, options.part))
    except CalqueError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    about = machine()
    print(f"{options.dataset}, part {options.part}; {about}\n\n{table(rows)}")
    print("\ntarget: recall at least 0.95 of upright; relation and rotation right")
    report({"dataset": options.dataset, "part": options.part, "machine": about, "variants": rows}, options.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
