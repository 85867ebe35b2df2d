"""How quickly, and how surely, the nearest of 100,000 vectors are found, added and removed.

``python -m benchmarks.vectors [--rows N] [--size D] [--data real|random] [--probed N ...]``

``real``: details (RootSIFT) of the pictures of ``various/``, a random part of those of one picture aggregated for each
vector and projected at random to the wanted size: many vectors of few pictures, as crops or prints of a block are.
``random``: points all over the sphere, which no method but comparing all can find one's way among.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import index.nearest
import index.vector_writing
from benchmarks.datasets import data_folder
from benchmarks.runner import arguments, machine, report, spread, table
from index.catalogue import ImageRecord
from index.nearest import Nearest
from index.store import Index
from index.vector_files import Rows
from index.vector_writing import VectorWriter
from index.vectors import Living, vectors_of
from matcher.embedding import unit
from matcher.embedding_vlad import Vlad
from matcher.images import read_image
from matcher.sift import Sift

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["main"]

_QUERIES = 200
_PART = 120
_BATCH = 4096
_MODEL = "benchmark"


def real(count: int, size: int) -> NDArray[np.float32]:
    """Return vectors of parts of real pictures."""
    random = np.random.default_rng(0)
    sift, vlad = Sift(1500), Vlad()
    paths = sorted((data_folder() / "various").glob("*.jpg"))
    found = [sift.extract(read_image(path, long_side=600)).descriptors for path in paths]
    found = [descriptors for descriptors in found if len(descriptors) >= _PART]
    projection = random.standard_normal((vlad.size, size)).astype(np.float32) / np.sqrt(size)
    rows = np.empty((count, size), np.float32)
    for number in range(count):
        details = found[random.integers(len(found))]
        part = random.permutation(len(details))[:_PART]
        rows[number] = unit(vlad.aggregate(details[part])[None])[0] @ projection
    return unit(rows)


def spherical(count: int, size: int) -> NDArray[np.float32]:
    """Return points all over the sphere."""
    return unit(np.random.default_rng(0).standard_normal((count, size), dtype=np.float32))


def _enter_images(opened: Index, count: int) -> None:
    """Enter images that have no features."""
    with opened._catalogue.transaction("add"):
        first = opened._catalogue.next_id
        for number in range(first, first + count):
            name = f"{number % 10}/{number}.png"
            opened._catalogue.add_image(ImageRecord(number, name, f"/scans/{name}", 0, 1, 1, b"0" * 16, 9, 9, 0, None))


def _searched(nearest: Nearest, queries: NDArray, top: int, among: NDArray | None = None) -> tuple[list[float], list]:
    times, found = [], []
    for query in queries:
        begun = time.perf_counter()
        numbers, _ = nearest.search(query, top, among)
        times.append((time.perf_counter() - begun) * 1000)
        found.append(set(numbers.tolist()))
    return times, found


def _row(what: str, nearest: Nearest, exact: Nearest, queries: NDArray, among: NDArray | None = None) -> dict[str, Any]:
    _searched(nearest, queries[:20], 10, among)  # the system has read the files
    begun = time.process_time()
    times, found = _searched(nearest, queries, 10, among)
    cpu = (time.process_time() - begun) * 1000 / len(queries)
    _, expected = _searched(exact, queries[:100], 10, among)
    recall = np.mean([len(a & b) / len(b) for a, b in zip(found, expected, strict=False)])
    figures = spread(times)
    return {
        "what": what,
        "CPU ms": cpu,
        "ms": figures["median"],
        "ms (95 %)": figures["p95"],
        "recall@10": float(recall),
    }


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__ or "", dataset=False)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--data", choices=("real", "random"), default="real")
    parser.add_argument("--probed", type=int, nargs="*", default=[index.nearest._PROBED])
    options = parser.parse_args()
    # Cells are measured beside comparing all, also where there are too few vectors for them.
    index.nearest.EXACT = index.vector_writing.EXACT = 0
    made = (real if options.data == "real" else spherical)(options.rows + _QUERIES + 100, options.size)
    vectors, queries, later = np.split(made, [options.rows, options.rows + _QUERIES])
    figures: dict[str, Any] = {}
    rows = []
    with (
        tempfile.TemporaryDirectory(prefix="calque-benchmark-") as folder,
        Index.create(Path(folder) / "i.calque", {"layout": ""}) as opened,
    ):
        _enter_images(opened, options.rows)
        known = Living(opened)
        begun = time.process_time()
        with VectorWriter(opened.path) as writer:
            model = writer.model(_MODEL, f"{_MODEL}-1()", options.size)
            for start in range(0, options.rows, _BATCH):
                ids = known.image_ids[start : start + _BATCH]
                writer.enter(model, Rows(ids, np.zeros((len(ids), 4)), vectors[start : start + _BATCH]))
                writer.merge(model, known)
        figures["CPU seconds to enter all"] = time.process_time() - begun
        figures["bytes"] = sum(f.stat().st_size for f in (opened.path / "vectors").rglob("*") if f.is_file())
        figures["files"] = len(vectors_of(opened).files)
        begun = time.perf_counter()
        stored = vectors_of(opened)
        nearest = Nearest(stored)
        figures["seconds to open"] = time.perf_counter() - begun
        exact = Nearest(stored, exact=True)
        rows.append(_row("every vector compared", exact, exact, queries))
        for probed in options.probed:
            index.nearest._PROBED = probed
            rows.append(_row(f"{probed} cells of each file", nearest, exact, queries))
        for share in (0.5, 0.01):
            among = np.random.default_rng(1).random(len(stored)) < share
            rows.append(_row(f"the same, {share:.0%} of the images asked for", nearest, exact, queries, among))
        begun = time.perf_counter()
        _enter_images(opened, len(later))
        known = Living(opened)
        ids = known.image_ids[-len(later) :]
        with VectorWriter(opened.path) as writer:
            writer.enter(model, Rows(ids, np.zeros((len(ids), 4)), later))
            writer.merge(model, known)
        figures["seconds to add 100"] = time.perf_counter() - begun
        nearest = Nearest(vectors_of(opened))
        first = [_first(nearest, vector) for vector in later]
        figures["of these found first by themselves"] = float(np.mean(np.array(first) == ids))
        gone = known.image_ids[:: max(1, options.rows // 1000)][:1000]
        begun = time.perf_counter()
        opened.remove(gone.tolist())
        after = vectors_of(opened)
        figures["seconds to remove 1,000, and open again"] = time.perf_counter() - begun
        nearest, exact = Nearest(after), Nearest(after, exact=True)
        rows.append(_row("after that", nearest, exact, queries))
        answered = {int(after.image_ids[n]) for query in vectors[:50] for n in nearest.search(query, 10)[0]}
        figures["removed ones answered"] = len(answered & set(gone.tolist()))
    print(table(rows))
    for name, value in figures.items():
        print(f"{name}: {value:.4g}" if isinstance(value, float) else f"{name}: {value}")
    report({"machine": machine(), "options": vars(options), "searches": rows, **figures}, options.json)


def _first(nearest: Nearest, vector: NDArray) -> int:
    """Return the id of the image whose vector is nearest."""
    numbers, _ = nearest.search(vector, 1)
    return int(nearest.vectors.image_ids[numbers[0]])


if __name__ == "__main__":
    main()
