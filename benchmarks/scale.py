"""``python -m benchmarks.scale``: searching, and keeping up, as an index grows to a million images.

Real images with ground truth lie among made-up ones (`benchmarks.scale_filling`), real queries are asked with their
features given, stage by stage; then 1,000 images are added and removed. What the machine can do at best stands beside
it: how fast it streams the very postings that a query must touch. ``--peers`` asks other systems the same.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import cv2
import numba as nb
import numpy as np

from benchmarks.costs import MadeUpPages, forget
from benchmarks.datasets import load
from benchmarks.metrics import Found, evaluate
from benchmarks.runner import arguments, build, machine, report, resident, spread, table
from benchmarks.scale_filling import Pool, fill, pool_of
from benchmarks.scale_peers import PEERS, measure_peer
from index import verification
from index.answers import Query
from index.asking import QUERY_FEATURES, extract
from index.encoding import EncodedImage
from index.search import _Searcher
from index.shortlist import ShortLister
from index.store import Index
from index.threads import Threads
from index.vocabulary import bundled_vocabulary
from index.workers import default_workers
from matcher.errors import CalqueError, InputError
from matcher.registry import extractor_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.datasets import Dataset
    from index.asking import Extracted
    from index.postings import SignedQuery
    from index.shortlist import Ballot

__all__ = ["main"]

_POOL_IMAGES = 225
_MORE = 1000
"""Images added and removed."""

_KEEPING = ("open_cold", "open_warm", "add_1000", "remove_1000", "compact")
_OPENED = 5
"""Times that an index is opened."""


def asked(dataset: Dataset, work_size: int) -> list[tuple[Query, Extracted]]:
    """Return the queries of a set with their features."""
    vocabulary = bundled_vocabulary()
    extractor = extractor_of(vocabulary.features, QUERY_FEATURES, vocabulary.likeness)
    queries = [Query(q.id, dataset.path(q.place.image), q.place.region) for q in dataset.queries]
    with ThreadPoolExecutor(default_workers()) as pool:
        features = pool.map(lambda query: extract(query, extractor, work_size, verification.RELATIONS), queries)
        return list(zip(queries, features, strict=True))


def filled(folder: Path, dataset: Dataset, size: int) -> tuple[Path, float]:
    """Return an index of `size` images, those of the set among them, and the seconds it took (NaN if it was there)."""
    path = folder / f"scale-{size}.calque"
    if path.exists():
        return path, float("nan")
    real = build(dataset, folder).path
    start = time.perf_counter()
    half = path.with_suffix(".partial")
    shutil.rmtree(half, ignore_errors=True)
    shutil.copytree(real, half)
    with Index.open(half, writable=True) as index:
        pool = _pool(folder, dataset, index)
        missing = size - index.info()["images"]
        if missing < 0:
            raise InputError(f"the real images alone are {size - missing}; ask for a larger size than {size}")
        fill(index, missing, pool)
    half.rename(path)
    return path, time.perf_counter() - start


def _pool(folder: Path, dataset: Dataset, index: Index) -> Pool:
    """Return the pool that made-up images are drawn from, made of images that no query of any part has to do with."""
    file = folder / "pool.npz"
    if not file.exists():
        whole = load(dataset.name, "all")
        related = {q.place.image for q in whole.queries} | {p.image for q in whole.queries for p in q.positives}
        related |= {image for q in whole.queries for image in q.ignored}
        free = [image for image in whole.images if image not in related]
        np.savez(file, **asdict(pool_of(index, [whole.path(i) for i in free[:: max(1, len(free) // _POOL_IMAGES)]])))
    with np.load(file) as arrays:
        return Pool(**arrays)


@contextmanager
def _watched(seconds: dict[str, list[float]], ballots: list[list[Ballot]]) -> Iterator[None]:
    """Note how long each stage takes, as the thread that waits for it sees it, and the ballots."""

    def timed(name: str, stage: Callable[..., Any]) -> Callable[..., Any]:
        def run(*words: Any) -> Any:
            start = time.perf_counter()
            result = stage(*words)
            seconds[name].append(time.perf_counter() - start)
            if name == "vote":
                ballots.append(result)
            return result

        return run

    stages = {name: timed(name, getattr(ShortLister, name)) for name in ("sign", "vote", "candidates")}
    furniture = timed("furniture", _Searcher._learn_furniture)
    with patch.multiple(ShortLister, **stages), patch.object(_Searcher, "_learn_furniture", furniture):
        yield


def searching(path: Path, dataset: Dataset, queries: Sequence[tuple[Query, Extracted]]) -> dict[str, Any]:
    """Ask the queries of an index; return quality and time by stage."""
    threads = default_workers()
    forget(path)
    with Index.open(path) as index, Threads(threads) as pool:
        searcher = _Searcher(index, index.vocabulary, pool, len(verification.RELATIONS), None, False)
        start = time.perf_counter()
        _answer(searcher, *queries[0])
        first = time.perf_counter() - start
        for query in queries[1:]:
            _answer(searcher, *query)  # what they touch is in memory from here on, as far as there is room
        searcher = _Searcher(index, index.vocabulary, pool, len(verification.RELATIONS), None, False)
        names = {str(dataset.path(image)): image for image in dataset.images}
        stages: dict[str, list[float]] = defaultdict(list)
        answers, voted, streamed, touched, alone = {}, {}, [], [], []
        for (query, features), truth in zip(queries, dataset.queries, strict=True):
            seconds: dict[str, list[float]] = defaultdict(list)
            ballots: list[list[Ballot]] = []
            with _watched(seconds, ballots):
                start = time.perf_counter()
                answer = _answer(searcher, query, features)
                whole = time.perf_counter() - start
            answers[query.id] = [
                Found(names.get(hit.image, hit.image), hit.score, hit.false_alarms, hit.match.region.as_list())
                for hit in answer.hits
            ]
            for name in ("sign", "vote", "candidates", "furniture"):
                stages[name].append(sum(seconds[name]))
            stages["verify"].append(whole - sum(map(sum, seconds.values())))
            stages["whole"].append(whole)
            lister = searcher._lister
            ranked = [index.image(int(lister._ids[i])).name for i in lister._ranked(ballots[0][0], 100)]
            voted[query.id] = next((names.get(n, n) for n in ranked if names.get(n, n) not in truth.ignored), "")
            signed = [ballot.signed for ballot in ballots[0]]
            start = time.perf_counter()
            touched.append(sum(pool.map(_streamed, product(signed, index.segments))))
            streamed.append(time.perf_counter() - start)
            plain = [ballots[0][0].variant]
            start = time.perf_counter()
            lister._ranked(lister.vote(plain, lister.sign(plain))[0], 100)
            alone.append(time.perf_counter() - start)
    figures = evaluate(dataset, answers)
    milliseconds = {name: spread([1000 * s for s in values]) for name, values in stages.items()}
    return {
        "recall_at_1": figures["recall_at_1"],
        "recall_confident": figures["recall_confident"],
        "confident_wrong": figures["confident_wrong"],
        "recall_at_1_of_votes": float(
            np.mean([voted[q.id] in {p.image for p in q.positives} for q in dataset.queries])
        ),
        "ms_first_query_after_reboot": 1000 * first,
        "ms": milliseconds,
        "ms_streaming": spread([1000 * s for s in streamed]),
        "ms_of_votes_as_it_is": spread([1000 * s for s in alone]),
        "megabytes_touched": float(np.median(touched)) / 1e6,
        "vote_of_streaming": float(np.median(np.array(stages["vote"]) / streamed)),
        "megabytes_resident": resident(),
    }


def _answer(searcher: _Searcher, query: Query, features: Extracted) -> Any:
    return searcher.answer(query, features, None, 1.0)  # what is asked for by default


def _streamed(piece: tuple[SignedQuery, Any]) -> int:
    """Read the signatures that a query must be compared with in a segment, and do nothing else; return the bytes."""
    signed, segment = piece
    row = np.searchsorted(segment.words, signed.words)
    row[row == len(segment.words)] = 0
    here = segment.words[row] == signed.words
    starts, stops = np.where(here, segment.offsets[row], 0), np.where(here, segment.offsets[row + 1], 0)
    _read(starts, stops, segment.signatures)
    return int((stops - starts).sum()) * 8


@nb.njit(
    nb.uint64(nb.int64[::1], nb.int64[::1], nb.types.Array(nb.uint64, 1, "C", readonly=True)), cache=True, nogil=True
)
def _read(starts, stops, signatures):  # type: ignore[no-untyped-def] # types: signature
    """Return something to which every signature of the lists contributes."""
    seen = np.uint64(0)
    for e in range(starts.size):
        for k in range(starts[e], stops[e]):
            seen ^= signatures[k]
    return seen


def keeping(path: Path, folder: Path, compacts: bool) -> dict[str, float]:
    """Open an index, cold and warm; add and remove images in a copy of it; return seconds."""

    def opened() -> float:
        start = time.perf_counter()
        Index.open(path).close()
        return time.perf_counter() - start

    cold = []
    for _ in range(_OPENED):
        forget(path)
        cold.append(opened())
    seconds = {"open_cold": float(np.median(cold)), "open_warm": float(np.median([opened() for _ in range(_OPENED)]))}
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        copy, files = Path(scratch) / "copy.calque", Path(scratch) / "more"
        # Segments never change, so that a copy can share them.
        shutil.copytree(path, copy, copy_function=partial(_shared, "segments"))
        files.mkdir()
        for number in range(_MORE):
            (files / f"{number}.jpg").write_text(str(number))
        with Index.open(copy, writable=True) as index:
            pages = MadeUpPages(_pages(index), index.settings)
            for name, work in (
                ("add_1000", partial(index.add, [files], workers=0, encoder_factory=pages)),
                ("remove_1000", partial(index.remove, [files])),
                ("compact", index.compact),
            ):
                if name != "compact" or compacts:
                    start = time.perf_counter()
                    work()
                    seconds[name] = time.perf_counter() - start
    return seconds


def _shared(folder: str, source: str, target: str) -> None:
    if Path(source).parent.name == folder:
        os.link(source, target)
    else:
        shutil.copy2(source, target)


def _pages(index: Index) -> list[EncodedImage]:
    """Return a few of an index's real images as their encoder made them."""
    records = [record for _, record in zip(range(400), index.images(), strict=False) if record.n_features][::10]
    pages = [(record, index.gather(record.id)) for record in records]
    return [EncodedImage(p.words, p.signatures, p.geometry, r.width, r.height) for r, p in pages]


def _row(size: int, figures: dict[str, Any]) -> dict[str, Any]:
    stages = figures["ms"]
    return {
        "images": size,
        "R@1": figures["recall_at_1"],
        "of votes": figures["recall_at_1_of_votes"],
        "R@1e-3": figures["recall_confident"],
        "wrong": figures["confident_wrong"],
        "ms p50": stages["whole"]["median"],
        "p95": stages["whole"]["p95"],
        **{name: stages[name]["median"] for name in ("sign", "vote", "candidates", "verify", "furniture")},
        "streaming": figures["ms_streaming"]["median"],
        "×": figures["vote_of_streaming"],
        "first ms": figures["ms_first_query_after_reboot"],
    }


def _costs(size: int, figures: dict[str, Any]) -> dict[str, Any]:
    keeping = figures["seconds"]
    return {
        "images": size,
        "features": figures["features"],
        "B/feature": figures["bytes_per_feature"],
        "GB": figures["bytes"] / 1e9,
        "own MB": figures["megabytes_resident"]["own"],
        "mapped MB": figures["megabytes_resident"]["mapped"],
        "s to fill": figures["seconds_to_fill"],
        **{name.replace("_", " "): keeping.get(name) for name in _KEEPING},
    }


def _beside(size: int, figures: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of calque's votes and of the peers."""
    ours = {
        "": f"{size} calque, votes",
        "R@1 of votes": figures["recall_at_1_of_votes"],
        "ms p50": figures["ms_of_votes_as_it_is"]["median"],
        "s to fill": figures["seconds_to_fill"],
        "MB": figures["bytes"] / 1e6,
    }
    return [ours] + [
        {
            "": f"{size} {name}",
            "R@1 of votes": figures[name]["recall_at_1_of_votes"],
            "ms p50": figures[name]["ms"]["median"],
            "s to fill": figures[name]["seconds_to_fill"],
            "MB": figures[name]["megabytes"],
        }
        for name in PEERS
        if name in figures
    ]


def main(words: Sequence[str] | None = None) -> int:
    """Run the benchmark on the command-line arguments `words`, return the exit status."""
    parser = arguments("Measure searching and keeping up as an index grows.", dataset=False)
    parser.add_argument("folder", type=Path, help="where indexes are kept: 16 GB for a million images")
    parser.add_argument("--sizes", default="10000,100000", metavar="LIST", help="images (default: 10000,100000)")
    parser.add_argument("--part", choices=("dev", "test"), default="test", help="which queries (default: test)")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="ask every Nth query only")
    parser.add_argument("--compact", type=int, default=100_000, metavar="N", help="compact up to this size")
    parser.add_argument("--peers", default="", metavar="LIST", help=f"others to ask: {','.join(PEERS)}")
    parser.add_argument("--peers-to", type=int, default=100_000, metavar="N", help="ask them up to this size")
    options = parser.parse_args(words)
    sizes = [int(size) for size in options.sizes.split(",")]
    peers = [name for name in options.peers.split(",") if name]
    if unknown := set(peers) - PEERS.keys():
        parser.error(f"no peer called {min(unknown)!r}: choose of {', '.join(PEERS)}")
    cv2.setNumThreads(1)
    results: dict[int, dict[str, Any]] = {}
    try:
        dataset = load("all", options.part)
        dataset = replace(dataset, queries=dataset.queries[:: options.every])
        options.folder.mkdir(parents=True, exist_ok=True)
        indexes = {size: filled(options.folder, dataset, size) for size in sizes}
        with Index.open(indexes[sizes[0]][0]) as index:
            queries = asked(dataset, index.settings.work_size)
        for size, (path, seconds) in indexes.items():
            with Index.open(path) as index:
                info = index.info()
            results[size] = {key: info[key] for key in ("features", "bytes", "bytes_per_feature", "segments")}
            results[size]["seconds_to_fill"] = seconds
            results[size] |= searching(path, dataset, queries)
            results[size]["seconds"] = keeping(path, options.folder, size <= options.compact)
            print(f"{size} images: done", file=sys.stderr)
            if peers and size <= options.peers_to:
                with Index.open(path) as index:
                    known = _pool(options.folder, dataset, index), index.vocabulary, index.settings
                for name in peers:
                    results[size][name] = measure_peer(name, size, dataset, queries, *known)
                    print(f"{size} images: {name} done", file=sys.stderr)
    except CalqueError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    about = machine()
    print(f"{len(queries)} queries of part {options.part}; {about}\n")
    print(table([_row(size, figures) for size, figures in results.items()]) + "\n")
    print(table([_costs(size, figures) for size, figures in results.items()]) + "\n")
    print(table([row for size, figures in results.items() for row in _beside(size, figures)]))
    report({"part": options.part, "machine": about, "sizes": results}, options.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
