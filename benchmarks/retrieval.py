"""``python -m benchmarks.retrieval DATASET``: what is found, how surely, how fast, in how many bytes.

A fresh index is made in a temporary folder and asked every query of one part of the set, without a limit on false
alarms, so that the whole ranking is judged; the calibration figures then look at the hits with at most 1e-3.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2

from benchmarks.baselines import brute_force, visual_index
from benchmarks.datasets import Dataset, load
from benchmarks.metrics import evaluate
from benchmarks.runner import arguments, ask, found, indexed, machine, report, spread, table
from index.answers import Query
from matcher.errors import CalqueError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main", "measure_baseline", "measure_calque"]

_BASELINES = {"brute": brute_force, "pycolmap": visual_index}
_CACHE = Path.home() / ".cache" / "calque" / "benchmarks"

_COLUMNS = {
    "queries": "queries",
    "positives": "to find",
    "map": "mAP",
    "recall_at_1": "R@1",
    "recall_zero_wrong": "R@0 wrong",
    "recall_zero_wrong_per_query": "per query",
    "recall_confident": "R@1e-3",
    "confident_hits": "hits@1e-3",
    "confident_wrong": "wrong",
    "located": "IoU≥.5",
}


def measure_calque(
    dataset: Dataset, workers: int | None = None, kept: Path | None = None, layout: str = ""
) -> dict[str, Any]:
    """Index a set (in the folder `kept`, if given), ask its queries, return quality, time and bytes."""
    queries = [Query(q.id, dataset.path(q.place.image), q.place.region) for q in dataset.queries]
    with indexed(dataset, kept, workers, layout) as built:
        # The first query pays for loading the vocabulary and the compiled kernels: it is asked twice.
        answers = list(ask(built.path, [queries[0], *queries], threads=1))[1:]
    return {
        **evaluate(dataset, {answer.id: found(dataset, answer) for answer in answers}),
        **built.figures(),
        "ms_per_query": spread([1000 * a.seconds for a in answers]),
        "ms_per_query_without_extraction": spread([1000 * (a.seconds - a.extraction) for a in answers]),
    }


def measure_baseline(name: str, dataset: Dataset, cache: Path) -> dict[str, Any]:
    """Ask a baseline the queries of a set, or take its answers from `cache`, return quality and time."""
    outcome = _BASELINES[name](dataset, cache)
    return {
        **evaluate(dataset, outcome.answers),
        "ms_per_query_without_extraction": spread([1000 * s for s in outcome.seconds]),
    }


def _rows(systems: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for system, figures in systems.items():
        for group, values in {"all": figures, **figures["groups"]}.items():
            if values["queries"] or values["confident_hits"]:
                row = {"": f"{system}, {group}"} | {title: values[key] for key, title in _COLUMNS.items()}
                if system == "calque":
                    rows.append(row)
                else:
                    rows.append(row | dict.fromkeys(["R@1e-3", "hits@1e-3", "wrong"]))
    return rows


def _costs(systems: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for system, figures in systems.items():
        whole, bare = figures.get("ms_per_query", {}), figures["ms_per_query_without_extraction"]
        rows.append(
            {
                "": system,
                "s/image added": figures.get("seconds_per_image_added"),
                "ms/query": whole.get("median"),
                "p95": whole.get("p95"),
                "without extraction": bare["median"],
                "its p95": bare["p95"],
                "its mean": bare["mean"],
                "features/image": figures.get("features_per_image"),
                "bytes/image": figures.get("bytes_per_image"),
                "bytes/feature": figures.get("bytes_per_feature"),
            }
        )
    return rows


def main(words: Sequence[str] | None = None) -> int:
    """Run the benchmark on the command-line arguments `words`, return the exit status."""
    parser = arguments("Measure retrieval on an image set with ground truth.", layout=True)
    parser.add_argument("--with", dest="others", default="", metavar="LIST", help="baselines: brute,pycolmap")
    parser.add_argument("--cache", type=Path, default=_CACHE, metavar="DIR", help=f"answers of baselines ({_CACHE})")
    parser.add_argument("--workers", type=int, metavar="N", help="processes that index; one for each core by default")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the index in DIR, or use the one that is there")
    options = parser.parse_args(words)
    others = [name for name in options.others.split(",") if name]
    if unknown := set(others) - _BASELINES.keys():
        parser.error(f"no baseline called {min(unknown)!r}: choose of {', '.join(_BASELINES)}")
    cv2.setNumThreads(1)
    try:
        dataset = load(options.dataset, options.part)
        systems = {"calque": measure_calque(dataset, options.workers, options.keep, options.layout)}
        for name in others:
            systems[name] = measure_baseline(name, dataset, options.cache)
    except CalqueError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    about = machine()
    print(f"{options.dataset}, part {options.part}: {len(dataset.images)} images; {about}\n")
    print(table(_rows(systems)) + "\n")
    print(table(_costs(systems)))
    for wrong in systems["calque"]["wrong"]:
        print(f"wrong: {wrong['query']} -> {wrong['image']} {wrong['region']} at {wrong['false_alarms']:.1e}")
    report({"dataset": options.dataset, "part": options.part, "machine": about, "systems": systems}, options.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
