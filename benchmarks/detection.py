"""``python -m benchmarks.detection``: what detection costs, and how well a detection stands for a box drawn by hand.

Speed: the detectors of the default install on the photographs and prints of ``various/``, processor time of one
thread. Regions: queries of the public sets whose region is what a detector sees on their page, beside the box that
somebody drew (woodblocks) or the whole picture (*Alice*, magazines), all asked of one index.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2

from benchmarks.datasets import PARTS, Place, data_folder, load
from benchmarks.metrics import evaluate
from benchmarks.runner import arguments, ask, found, indexed, machine, report, spread, table
from index.answers import Query
from index.detecting import LONG_SIDE
from index.detecting import ask as ask_detector
from index.region_queries import queries_of
from matcher.errors import CalqueError
from matcher.images import read_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from benchmarks.datasets import Dataset, TruthQuery
    from matcher.detection import Detection

__all__ = ["main", "measure_regions", "measure_speed"]

_DETECTORS = ("yolox-nano", "yunet")
_OVERLAP = 0.3
"""IoU with the box drawn by hand of a detection that somebody who looks for that block would take."""

_COLUMNS = {
    "queries": "queries",
    "unseen": "nothing seen",
    "positives": "to find",
    "map": "mAP",
    "recall_at_1": "R@1",
    "recall_confident": "R@1e-3",
    "confident_wrong": "wrong",
}


class _Kind(NamedTuple):
    """A way to choose what is asked for: which queries, which detector, which of what it sees; whether that is but a
    part of what the truth tells of."""

    title: str
    wanted: Callable[[TruthQuery], bool]
    model: str
    choose: Callable[[TruthQuery, list[Detection]], Detection | None]
    part: bool = False


def measure_speed(images: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """Return, by detector, milliseconds of processor time an image, reading it left out, and things found an image."""
    scans = [read_image(path, gray=False, long_side=LONG_SIDE) for path in images]
    figures = {}
    for name in _DETECTORS:
        _, detector = ask_detector(name)
        detector.detect(scans[0])  # the first pays for starting
        spent, things = [], 0
        for scan in scans:
            start = time.process_time()
            things += len(detector.detect(scan))
            spent.append(1000 * (time.process_time() - start))
        figures[name] = {"ms": spread(spent), "things": things / len(scans)}
    return figures


def _drawn(query: TruthQuery, things: list[Detection]) -> Detection | None:
    """Return the thing of the block's own kind that its box, drawn by hand, overlaps most."""
    box = query.place.region
    alike = [thing for thing in things if thing.label in query.groups and box is not None]
    best = max(alike, key=lambda thing: thing.box.iou(box), default=None)
    return best if best is not None and best.box.iou(box) >= _OVERLAP else None


def _surest_person(query: TruthQuery, things: list[Detection]) -> Detection | None:
    return next((thing for thing in things if thing.label == "person"), None)


_KINDS = (
    _Kind("woodblocks", lambda q: "blocks" in q.groups and bool(q.positives), "layout", _drawn),
    _Kind("Alice: the surest person", lambda q: "alice" in q.groups, "yolox-nano", _surest_person, True),
    _Kind("magazines: the surest person", lambda q: "magazine" in q.groups, "yolox-nano", _surest_person, True),
)


def measure_regions(dataset: Dataset, path: Path, kinds: Iterable[_Kind] = _KINDS) -> list[dict[str, Any]]:
    """Return, for each kind of question, the figures of asking as the set has it, and of asking for what is seen."""
    rows = []
    for kind in kinds:
        _, detector = ask_detector(kind.model)
        queries = [query for query in dataset.queries if kind.wanted(query)]
        if kind.part:
            # A person is found where it is in the picture, which the truth knows as a whole: only images are judged.
            queries = [
                replace(query, positives=tuple(Place(place.image, None) for place in query.positives))
                for query in queries
            ]
        by_hand, seen = [], []
        for query in queries:
            image = dataset.path(query.place.image)
            scan = read_image(image, gray=False, long_side=LONG_SIDE)
            thing = kind.choose(query, detector.detect(scan, 0.1 if kind.model == "yolox-nano" else None))
            if thing is not None:
                (asked,) = queries_of([thing], image)
                seen.append(Query(query.id, image, asked.region, 0, asked.outlines))
                by_hand.append(Query(query.id, image, query.place.region))
        some = [query for query in queries if query.id in {one.id for one in seen}]
        for title, asked_for, of in (
            (
                "as the set has it, all",
                [Query(q.id, dataset.path(q.place.image), q.place.region) for q in queries],
                queries,
            ),
            ("as the set has it, where something is seen", by_hand, some),
            (f"what {kind.model} sees", seen, some),
        ):
            answers = {answer.id: found(dataset, answer) for answer in ask(path, asked_for, threads=1)}
            part = type(dataset)(dataset.name, dataset.root, dataset.images, tuple(of))
            figures = evaluate(part, answers)
            figures["unseen"] = len(queries) - len(of)
            rows.append({"kind": kind.title, "asked": title, **figures})
    return rows


def main(words: Sequence[str] | None = None) -> int:
    """Run the benchmark on the command-line arguments `words`, return the exit status."""
    parser = arguments(
        "Measure detectors of the default install, and detections as queries.", dataset=False, layout=True
    )
    parser.add_argument("--part", choices=PARTS, default="test", help="which queries (default: test)")
    parser.add_argument("--images", type=int, default=100, metavar="N", help="images that speed is measured on")
    parser.add_argument("--only", choices=("speed", "regions"), help="measure just this")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the index in DIR, or use the one that is there")
    parser.add_argument("--workers", type=int, metavar="N", help="processes that index; one for each core by default")
    options = parser.parse_args(words)
    cv2.setNumThreads(1)
    about = machine()
    results: dict[str, Any] = {"machine": about, "part": options.part}
    print(f"{about}\n")
    try:
        if options.only != "regions":
            listed = sorted((data_folder() / "various").glob("*.jpg"))
            speed = measure_speed(listed[:: max(1, len(listed) // options.images)][: options.images])
            results["speed"] = speed
            plain = [
                {"": name, "ms, median": told["ms"]["median"], "95 %": told["ms"]["p95"], "things": told["things"]}
                for name, told in speed.items()
            ]
            print(table(plain) + "\n")
        if options.only != "speed":
            dataset = load("all", options.part)
            with indexed(dataset, options.keep, options.workers, options.layout) as built:
                rows = measure_regions(dataset, built.path)
            results["regions"] = rows
            shown = [
                {"": f"{row['kind']}; {row['asked']}"} | {title: row[key] for key, title in _COLUMNS.items()}
                for row in rows
            ]
            print(table(shown))
    except CalqueError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    report(results, options.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
