"""``python -m benchmarks.costs``: what indexing and searching cost in time and bytes, each beside its target.

The index of many images is made through the store's own interface by an encoder that makes pages up: each takes as many
features as a real page has, drawn one by one out of all features of the real pages, with some signature bits flipped
and the place moved. So the words are as unevenly used as on real pages, while no two pages show the same picture.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from benchmarks.datasets import load
from benchmarks.runner import arguments, ask, machine, report, table
from index.answers import Query
from index.encoding import EncodedImage, Encoder
from index.keypoints import packed, unpacked
from index.store import Index
from matcher.errors import CalqueError, InputError, MissingDependency

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from benchmarks.datasets import Dataset
    from index.annotations import Zone
    from index.settings import Settings

__all__ = ["MadeUpPages", "forget", "main"]

_FLIPPED_BITS = 6
_MOVED = 0.03  # of the page's long side


class MadeUpPages:
    """An encoder that pays no heed to the file: see the head of this module.

    Parameters
    ----------
    pages : sequence of EncodedImage
        The real pages to draw from.
    settings : Settings
        What they were made with.
    """

    def __init__(self, pages: Sequence[EncodedImage], settings: Settings) -> None:
        self._pages = pages
        self._settings = settings
        self._random = np.random.default_rng(0)
        self._pool = {
            name: np.concatenate([getattr(page, name) for page in pages])
            for name in ("words", "signatures", "geometry")
        }

    def __call__(self, settings: Settings) -> MadeUpPages:
        """Return the encoder itself: all processes being this one, it is its own factory."""
        return self

    def encode(self, path: Path, page: int, zones: Sequence[Zone] = ()) -> EncodedImage:
        """Return a page that was never printed."""
        model = self._pages[int(self._random.integers(len(self._pages)))]
        drawn = self._random.integers(len(self._pool["words"]), size=len(model))
        drawn = drawn[np.argsort(self._pool["words"][drawn], kind="stable")]
        bits = self._random.integers(64, size=(len(drawn), _FLIPPED_BITS), dtype=np.uint64)
        flips = np.bitwise_xor.reduce(np.uint64(1) << bits, axis=1)
        sizes = np.array([[model.width, model.height]])
        frame = unpacked(self._pool["geometry"][drawn], sizes, self._settings.work_size)
        frame[:, :2] += self._random.uniform(-_MOVED, _MOVED, (len(drawn), 2)) * sizes.max()
        return EncodedImage(
            words=self._pool["words"][drawn],
            signatures=self._pool["signatures"][drawn] ^ flips,
            geometry=packed(
                frame[:, :2],
                np.exp2(frame[:, 2]),
                np.rad2deg(frame[:, 3]),
                sizes,
                self._settings.work_size,
                self._settings.geometry_bits,
            ),
            width=model.width,
            height=model.height,
        )


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    return [a / b for a, b in zip(ours, theirs, strict=True)]


def _row(what: str, values: Sequence[float], target: float | None, unit: str) -> dict[str, Any]:
    middle = float(np.median(values))
    return {
        "": what,
        "median": middle,
        "least": float(min(values)),
        "most": float(max(values)),
        "n": len(values),
        "target": "" if target is None else f"≤ {target:g}",
        "unit": unit,
        "met": "" if target is None else ("yes" if middle <= target else "NO"),
    }


def _start_worker() -> None:
    cv2.setNumThreads(1)


def _decode(path: str, long_side: int) -> NDArray:
    image = cv2.imread(path, cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise InputError(f"{path}: OpenCV cannot read this file; leave it out of the comparison")
    factor = min(1.0, long_side / max(image.shape))
    if factor < 1:
        image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return np.asarray(image)


def _sift(image: NDArray) -> int:
    return len(cv2.SIFT.create().detectAndCompute(image, None)[0])


def _decode_and_sift(path: str, long_side: int) -> int:
    return _sift(_decode(path, long_side))


def _sift_seconds(jobs: Sequence[tuple[str, int]]) -> float:
    """Return the seconds that SIFT takes on images that are decoded already."""
    return sum(_timed(partial(_sift, _decode(*job))) for job in jobs)


def _reference(jobs: Sequence[tuple[str, int]], processes: int) -> None:
    with multiprocessing.get_context("spawn").Pool(processes, _start_worker) as pool:
        pool.starmap(_decode_and_sift, jobs, chunksize=4)


def _sift_alone(jobs: Sequence[tuple[str, int]]) -> float:
    """Return the seconds that SIFT alone takes on one core while no other is busy."""
    with multiprocessing.get_context("spawn").Pool(1, _start_worker) as pool:
        return pool.apply(_sift_seconds, (jobs,))


def _index(path: Path, files: Sequence[Path], processes: int) -> tuple[float, dict[str, Any]]:
    """Return the seconds that indexing took, and what the index says of itself."""
    with Index.create(path) as index:
        seconds = _timed(lambda: index.add(files, workers=processes))
    with Index.open(path) as index:  # closing has emptied the catalogue's journal
        return seconds, index.info()


def indexing(dataset: Dataset, folder: Path, images: int, rounds: int) -> tuple[list[dict[str, Any]], Path]:
    """Index real pages, against decoding and OpenCV's SIFT on as many processes, turn about.

    Returns
    -------
    list of dict, Path
        The rows of the table, and the last index made.
    """
    files = [dataset.path(image) for image in dataset.images[:: max(1, len(dataset.images) // images)]]
    processes = len(os.sched_getaffinity(0))
    ours, theirs, alone = [], [], []
    for number in range(rounds):
        path = folder / f"pages{number}.calque"
        seconds, info = _index(path, files, processes)
        jobs = [(str(file), info["settings"]["work_size"]) for file in files]
        ours.append(seconds / len(files))
        theirs.append(_timed(partial(_reference, jobs, processes)) / len(files))
        alone.append(_sift_alone(jobs) / len(files))
    return [
        _row("indexing, of decode + OpenCV SIFT", _ratios(ours, theirs), 1.25, "×"),
        _row(
            f"indexing on {processes} cores, of SIFT alone on one",
            _ratios(ours, alone),
            round(1 / (0.9 * processes), 3),
            "×",
        ),
        _row("indexing", ours, None, "s/image"),
        _row("SIFT alone on one core", alone, None, "s/image"),
        _row("decode + OpenCV SIFT", theirs, None, "s/image"),
        _row("bytes per feature", [info["bytes"] / info["features"]], 16, "B"),
        _row("KB per page", [info["bytes"] / len(files) / 1000], 120, "KB"),
    ], path


def _made_up(folder: Path, count: int, pages: Sequence[EncodedImage]) -> Path:
    """Return an index of `count` pages that were never printed; their files hold nothing but their number."""
    files = folder / f"files{count}"
    files.mkdir()
    for number in range(count):
        (files / f"{number}.jpg").write_text(str(number))
    path = folder / f"made-up-{count}.calque"
    with Index.create(path) as index:
        index.add([files], workers=0, encoder_factory=MadeUpPages(pages, index.settings))
    return path


def adding(indexes: Sequence[Path], extra: Sequence[Path]) -> list[dict[str, Any]]:
    """Add single images to a small and a large index, turn about."""
    seconds: dict[Path, list[float]] = {path: [] for path in indexes}

    def add(path: Path, file: Path) -> None:
        with Index.open(path, writable=True) as index:
            index.add([file], workers=0)

    for path in indexes:
        add(path, extra[0])  # loads what is loaded once
    for file in extra[1:]:
        for path, times in seconds.items():
            times.append(_timed(partial(add, path, file)))
    small, large = seconds.values()
    return [
        _row("adding one image, small index", small, None, "s"),
        _row("adding one image, large index", large, None, "s"),
        _row("adding one image, large of small", _ratios(large, small), 1.1, "×"),
    ]


def forget(index: Path) -> None:
    """Ask the system to drop the index from its cache, as after a reboot."""
    for file in index.rglob("*"):
        if file.is_file():
            handle = os.open(file, os.O_RDONLY)
            try:
                os.fsync(handle)
                os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(handle)


def command_line(large: Path, image: Path, rounds: int) -> list[dict[str, Any]]:
    """Time the command itself, each time in a new process."""
    calque = shutil.which("calque", path=Path(sys.executable).parent) or shutil.which("calque")
    if calque is None:
        raise MissingDependency("the command calque is not installed; run: pip install -e .")

    def run(*words: str) -> Callable[[], object]:
        return partial(subprocess.run, [calque, *words], capture_output=True, check=False)

    run("search", str(large), str(image))()  # numba's cache
    cold = []
    for _ in range(rounds):
        forget(large)
        cold.append(_timed(run("search", str(large), str(image))))
    return [
        _row("calque --help", [_timed(run("--help")) for _ in range(rounds + 2)], 0.25, "s"),
        _row("calque search, cold, large index", cold, 2.5, "s"),
    ]


def querying(large: Path, dataset: Dataset) -> list[dict[str, Any]]:
    """Ask a batch of the large index."""
    queries = [Query(q.id, dataset.path(q.place.image), q.place.region) for q in dataset.queries]
    answers = list(ask(large, [queries[0], *queries], max_false_alarms=1.0))[1:]
    bare = [1000 * (a.seconds - a.extraction) for a in answers]
    return [
        _row("query in a batch, extraction left out", bare, 60, "ms"),
        _row("query in a batch, whole", [1000 * a.seconds for a in answers], None, "ms"),
    ]


def main(words: Sequence[str] | None = None) -> int:
    """Run the benchmark on the command-line arguments `words`, return the exit status."""
    parser = arguments("Measure what indexing and searching cost.", dataset=False)
    parser.add_argument("--images", type=int, default=60, metavar="N", help="real pages to index (default: 60)")
    parser.add_argument("--large", type=int, default=10_000, metavar="N", help="pages of the large index")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="repetitions (default: 3)")
    options = parser.parse_args(words)
    cv2.setNumThreads(1)
    try:
        dataset = load("blocks", "test")
        with tempfile.TemporaryDirectory(prefix="calque-benchmark-") as name:
            folder = Path(name)
            rows, path = indexing(dataset, folder, options.images, options.rounds)
            with Index.open(path) as index:
                encoder = Encoder(index.settings, index.vocabulary)
            pages = [encoder.encode(dataset.path(image), 0) for image in dataset.images[:: len(dataset.images) // 40]]
            small, large = (_made_up(folder, count, pages) for count in (10, options.large))
            extra = [dataset.path(image) for image in dataset.images[1:8]]
            rows += adding([small, large], extra)
            rows += command_line(large, dataset.path(dataset.images[0]), options.rounds)
            rows += querying(large, dataset)
    except CalqueError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    about = machine()
    print(f"{about}; large index: {options.large} images\n\n{table(rows)}")
    report({"machine": about, "large": options.large, "costs": rows}, options.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
