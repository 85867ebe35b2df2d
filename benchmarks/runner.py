"""What the benchmarks share: calque run through its Python interface, the machine named, times summed up."""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.datasets import NAMES, PARTS
from benchmarks.metrics import Found
from index.search import search
from index.store import Index
from matcher.errors import CalqueError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from benchmarks.datasets import Dataset
    from index.answers import Answer, Query

__all__ = [
    "EVERYTHING",
    "Built",
    "arguments",
    "ask",
    "build",
    "found",
    "indexed",
    "machine",
    "report",
    "resident",
    "spread",
    "table",
]

EVERYTHING = 1e300
"""As the greatest number of false alarms: whatever was verified at all, for ranking."""


@dataclass(frozen=True, slots=True)
class Built:
    """What it took to index a set: wall seconds (NaN if it was there) and bytes on disk, everything included."""

    path: Path
    images: int
    features: int
    size: int
    seconds: float

    def figures(self) -> dict[str, float]:
        """Return the costs for each image and each feature."""
        return {
            "images": self.images,
            "features": self.features,
            "features_per_image": self.features / self.images,
            "seconds_per_image_added": self.seconds / self.images,
            "bytes_per_image": self.size / self.images,
            "bytes_per_feature": self.size / self.features,
        }


def build(
    dataset: Dataset,
    folder: Path,
    workers: int | None = None,
    layout: str = "",
    vocabulary: Path | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Built:
    """Index a set in `folder`, its pages with the layout that a segmenter finds, unless that has been done.

    `vocabulary` and `settings` are as of `Index.create`.

    Raises
    ------
    CalqueError
        If an image could not be added: figures of a part of a set would mislead.
    """
    path, seconds = folder / f"{dataset.name}{'-' if layout else ''}{layout}.calque", math.nan
    if not path.exists():
        start = time.perf_counter()
        with Index.create(path, {"layout": layout, **(settings or {})}, vocabulary) as index:
            report = index.add([dataset.path(image) for image in dataset.images], workers=workers)
        seconds = time.perf_counter() - start
        if report.failed:
            raise CalqueError(f"{len(report.failed)} images of {dataset.name} were not added: {report.failed[0]}, …")
    with Index.open(path) as index:  # closing has emptied the catalogue's journal
        info = index.info()
    return Built(path, info["images"], info["features"], info["bytes"], seconds)


@contextmanager
def indexed(
    dataset: Dataset,
    kept: Path | None = None,
    workers: int | None = None,
    layout: str = "",
    vocabulary: Path | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Iterator[Built]:
    """Index a set as `build` does, for as long as the block lasts or in the folder `kept`, where it may be already."""
    with tempfile.TemporaryDirectory(prefix="calque-benchmark-") as folder:
        yield build(dataset, kept or Path(folder), workers, layout, vocabulary, settings)


def ask(
    path: Path, queries: Iterable[Query], *, threads: int | None = None, max_false_alarms: float = EVERYTHING
) -> Iterator[Answer]:
    """Yield the answers of an index, by default whatever their significance.

    Raises
    ------
    CalqueError
        If a query could not be answered.
    """
    with Index.open(path) as index:
        for answer in search(index, list(queries), max_false_alarms=max_false_alarms, threads=threads):
            if answer.error is not None:
                raise CalqueError(f"query {answer.id}: {answer.error}")
            yield answer


def found(dataset: Dataset, answer: Answer) -> list[Found]:
    """Return an answer's hits under the names that the truth uses."""
    names = {str(dataset.path(image)): image for image in dataset.images}
    return [
        Found(names[str(hit.image)], hit.score, hit.false_alarms, hit.match.region.as_list()) for hit in answer.hits
    ]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return the median, the 95th percentile, the mean and the number of `values`."""
    median, high = np.percentile(values, [50, 95])
    return {"median": float(median), "p95": float(high), "mean": float(np.mean(values)), "n": len(values)}


def machine() -> dict[str, Any]:
    """Return what the figures were measured on: processor, cores, Python, and the commit."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "commit": _commit(),
    }


def _commit() -> str:
    """Return the commit, and whether there are changes; where nothing tells it, what calque says it is."""
    root = Path(__file__).resolve().parents[1]

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "--short", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return f"calque {version('calque')}, not of a repository"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def resident() -> dict[str, float]:
    """Return this process's megabytes in memory: its own, and those of files that are mapped."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines())
    return {name: int(status[key].split()[0]) / 1000 for name, key in (("own", "RssAnon"), ("mapped", "RssFile"))}


def arguments(description: str, *, dataset: bool = True, layout: bool = False) -> argparse.ArgumentParser:
    """Return the parser of what all benchmarks understand, and of ``--layout`` where one indexes pages with it."""
    parser = argparse.ArgumentParser(description=description)
    if layout:
        words = "what finds the pictures of pages when they are indexed, such as calque; nothing by default"
        parser.add_argument("--layout", default="", metavar="NAME", help=words)
    if dataset:
        parser.add_argument("dataset", choices=NAMES)
        parser.add_argument("--part", choices=PARTS, default="test", help="which queries (default: test)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured there, too")
    return parser


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return `rows` as an aligned table; figures that are not known become a dash."""
    if not rows:
        return ""
    cells = [list(rows[0])] + [[_cell(value) for value in row.values()] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in cells
    )


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return (
        f"{value:.4g}"
        if isinstance(value, float) and abs(value) >= 10
        else (f"{value:.3f}" if isinstance(value, float) else str(value))
    )


def report(results: dict[str, Any], file: Path | None) -> None:
    """Write `results` as JSON to `file`, if there is to be one."""
    if file is not None:
        file.write_text(json.dumps(results, indent=1, default=str) + "\n", encoding="utf-8")
