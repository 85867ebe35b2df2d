"""Many readers beside one writer: does any of them see a half-made state, an error, or a wrong answer?

The writer adds files two at a time, each pair in one transaction, removes pairs, compacts. So an index that holds one
of a pair is half-made. Readers open the index, or refresh it, compare the features of every image with those that its
file gives, and search for pictures: found must be exactly what their state holds. Another process tries to write all
the while, and must be told who does.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # all others are forked

import json
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import cv2
import numpy as np

import index.adding
import index.merging
from benchmarks.crash_world import PICTURES, Content, Wrong, content_of, encoded
from benchmarks.runner import arguments, machine, report, table
from index.answers import Query
from index.search import search
from index.store import Index
from matcher.errors import IndexBusy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["main"]

_PAIRS = 12
_PRINTINGS = 40


def _name(pair: int, side: int, content: Content) -> str:
    """Return a name that says what a file shows."""
    return f"pair {pair:02d}/{side}-{content.picture}-{content.printing}.png"


def _content(name: str) -> Content:
    _, picture, printing = Path(name).stem.split("-")
    return Content(int(picture), int(printing))


def _write(folder: Path, random: np.random.Generator, counts: Counter[str]) -> None:
    """Add a pair, or remove one, or compact."""
    path, pair = folder / "i.calque", int(random.integers(_PAIRS))
    here = folder / "scans" / f"pair {pair:02d}"
    with Index.open(path, writable=True) as opened:
        if here.exists():
            opened.remove([here])
            for file in here.iterdir():
                file.unlink()
            here.rmdir()
            counts["removed pairs"] += 1
        else:
            here.mkdir(parents=True)
            for side in range(2):
                content = Content(int(random.integers(PICTURES)), int(random.integers(_PRINTINGS)))
                (folder / "scans" / _name(pair, side, content)).write_bytes(content_of(*content))
            opened.add([here], workers=0)
            counts["added pairs"] += 1
        if random.random() < 0.15:
            opened.compact()
            counts["compactions"] += 1


def _read(folder: Path, random: np.random.Generator, counts: Counter[str]) -> None:
    """Open the index, look at all that is in it, change to a later state, and look again."""
    with Index.open(folder / "i.calque") as opened:
        for _ in range(3):
            names = {record.id: record.path for record in opened.images()}
            pairs = Counter(Path(path).parent.name for path in names.values())
            if any(many != 2 for many in pairs.values()):
                raise Wrong(f"half of a pair is in: {pairs}")
            for image_id, path in names.items():
                got, expected = opened.gather(image_id), encoded(_content(path), opened.settings)
                if not all(np.array_equal(getattr(got, name), getattr(expected, name)) for name in got._fields):
                    raise Wrong(f"{path} has other features than its file")
            counts["states"] += 1
            counts["images"] += len(names)
            if names and random.random() < 0.2:
                _ask(folder, opened, random, set(names.values()))
                counts["searches"] += 1
            time.sleep(float(random.uniform(0, 0.2)))
            opened.refresh()


def _ask(folder: Path, opened: Index, random: np.random.Generator, held: set[str]) -> None:
    content = Content(int(random.integers(PICTURES)), int(random.integers(_PRINTINGS)))
    query = folder / f"query {os.getpid()}.png"
    query.write_bytes(content_of(*content))
    (answer,) = search(opened, [Query("", query)], max_false_alarms=1e-3, threads=1)
    found = {hit.path for hit in answer.hits}
    wanted = {path for path in held if _content(path).picture == content.picture}
    if found != wanted or answer.error:
        raise Wrong(f"finds {found}, should find {wanted} ({answer.error})")


def _intrude(folder: Path, random: np.random.Generator, counts: Counter[str]) -> None:
    """Try to write beside the writer."""
    time.sleep(float(random.uniform(0, 0.5)))
    try:
        Index.open(folder / "i.calque", writable=True).close()
        counts["came in between"] += 1
    except IndexBusy:
        counts["was told who writes"] += 1


def _process(
    work: Callable[[Path, np.random.Generator, Counter[str]], None], folder: Path, number: int, until: float
) -> NoReturn:
    """Do the same again and again in a child, then write what was counted; never returns."""
    counts: Counter[str] = Counter()
    wrong = ""
    random = np.random.default_rng(number)
    try:
        while time.monotonic() < until:
            try:
                work(folder, random, counts)
            except IndexBusy:
                if work is not _write:
                    raise
                counts["waited for the other"] += 1
    except BaseException as error:
        wrong = f"{type(error).__name__}: {error}"
    (folder / f"{work.__name__} {number}.json").write_text(json.dumps([counts, wrong]), encoding="utf-8")
    os._exit(0)


def main(words: Sequence[str] | None = None) -> int:
    """Run it; exit status 1 if anything was wrong."""
    parser = arguments(__doc__.partition("\n")[0], dataset=False)
    parser.add_argument("--readers", type=int, default=24, metavar="N", help="readers (default: 24)")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default: 10)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(words)
    cv2.setNumThreads(1)
    index.adding._BATCH_IMAGES = 2
    index.merging._FACTOR = 3
    with tempfile.TemporaryDirectory(prefix="calque-readers-") as made:
        folder = Path(made).resolve()
        with Index.create(folder / "i.calque") as opened:
            for picture in range(PICTURES):  # so that children need not
                for printing in range(_PRINTINGS):
                    encoded(Content(picture, printing), opened.settings)
        until = time.monotonic() + 60 * options.minutes
        tasks = [_write, _intrude, *[_read] * options.readers]
        children = []
        for number, work in enumerate(tasks):
            if (child := os.fork()) == 0:
                _process(work, folder, options.seed * 1000 + number, until)
            children.append(child)
        ends = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        totals: Counter[str] = Counter()
        wrong = [f"a child ended with {signal.Signals(-end).name if end < 0 else end}" for end in ends if end]
        for file in folder.glob("*.json"):
            counts, problem = json.loads(file.read_text(encoding="utf-8"))
            totals.update(counts)
            wrong += [f"{file.stem}: {problem}"] if problem else []
        with Index.open(folder / "i.calque") as opened:
            wrong += [problem.what for problem in opened.check(deep=True)]
    totals["wrong"] = len(wrong)
    rows = [{"what": what, "times": times} for what, times in sorted(totals.items())]
    print(table(rows), *wrong, sep="\n")
    told = {"readers": options.readers, "minutes": options.minutes, "seed": options.seed}
    report({"machine": machine(), **told, "counts": totals, "wrong": wrong}, options.json)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
