"""Flip bytes of an index, one at a time and anywhere: does `check --deep` find each, and what do readers do meanwhile?

An index of small pictures (`benchmarks.crash_world`) with everything that is kept: segments, catalogue, vectors, links,
words, a vocabulary of its own. One byte of one file is changed to another value; the check is asked, then a search;
then the byte is put back. A search that gives another answer than before, without an error, is counted as wrong.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from benchmarks.crash_world import EMBEDDER, World, links_of
from benchmarks.runner import arguments, machine, report, table
from index.answers import Query
from index.embedding import embed
from index.search import search
from index.store import Index
from index.vocabulary import bundled_vocabulary
from index.words import find_words
from matcher.errors import CalqueError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["campaign", "main", "whole_index"]

_SEGMENTS = 4


def whole_index(folder: Path, seed: int = 0, own_vocabulary: bool = True) -> World:
    """Return an index in `folder` that has all that an index can have."""
    world = World(folder, np.random.default_rng(seed))
    own = None
    if own_vocabulary:
        own = folder / "vocabulary.h5"
        bundled_vocabulary().save(own)
    Index.create(world.path, vocabulary=own).close()
    for _ in range(_SEGMENTS):
        world.change_files(5)
        with Index.open(world.path, writable=True) as opened:
            opened.add([world.scans], workers=0)
    world.model = dict(world.disk)
    with Index.open(world.path, writable=True) as opened:
        opened.set_metadata({record.id: {"note": f"plate {record.id}"} for record in opened.images()})
        opened.remove([next(opened.images()).id])
    links_of(world.path)
    find_words(world.path, "plate")
    with Index.open(world.path) as opened:
        embed(opened, EMBEDDER, workers=0)
    return world


def campaign(folder: Path, many: int, seed: int) -> dict[str, Counter[str]]:
    """Flip `many` bytes; return, for each kind of file, how many there were and what became of them."""
    world = whole_index(folder)
    random = np.random.default_rng(seed)
    # What is unlocked, empty or opened anew by each is none of an index's contents.
    files = [f for f in sorted(world.path.rglob("*")) if f.is_file() and f.stat().st_size and f.name != "lock"]
    files = [file for file in files if not file.name.endswith(("-wal", "-shm"))]
    query = next(iter(sorted(world.scans.rglob("*.png"))))
    before = _answer(world, query)
    told: dict[str, Counter[str]] = defaultdict(Counter)
    for _ in range(many):
        # Every file as often as any other, every byte of a file, too.
        path = files[int(random.integers(len(files)))]
        content = path.read_bytes()
        place = int(random.integers(len(content)))
        value = (content[place] + int(random.integers(1, 256))) % 256
        _write(path, content[:place] + bytes([value]) + content[place + 1 :])
        kind = path.name if path.suffix in (".sqlite", ".sums") else f"*{path.suffix}"
        kind = "vocabulary.h5" if path.name == "vocabulary.h5" else kind
        told[kind]["flipped"] += 1
        try:
            with Index.open(world.path, damaged=True) as opened:
                problems = opened.check(deep=True)
            told[kind]["found"] += bool(problems)
            told[kind]["named images"] += any(problem.images for problem in problems)
            if not problems:
                print(f"not found: {path.relative_to(world.path)} at {place} of {len(content)}", file=sys.stderr)
        except CalqueError:
            told[kind]["found"] += 1
        try:
            told[kind]["search wrong"] += _answer(world, query) != before
        except CalqueError:
            told[kind]["search refused"] += 1
        _write(path, content)
    with Index.open(world.path) as opened:
        assert not opened.check(deep=True)  # all has been put back
    return told


def _write(path: Path, content: bytes) -> None:
    """Put another file in the place of one: what is mapped of it stays as it is."""
    status = path.stat()
    beside = path.with_name(f"{path.name}.new")
    beside.write_bytes(content)
    os.utime(beside, ns=(status.st_atime_ns, status.st_mtime_ns))
    beside.replace(path)


def _answer(world: World, query: Path) -> list[tuple[Any, ...]]:
    with Index.open(world.path) as opened:
        (answer,) = search(opened, [Query("", query)], max_false_alarms=1e-3, threads=1)
        if answer.error is not None:
            raise CalqueError(answer.error)
        return [(hit.image, hit.score, hit.match.transform.matrix.tobytes()) for hit in answer.hits]


def main(words: Sequence[str] | None = None) -> int:
    """Run the campaign; exit status 1 if a byte was not found."""
    parser = arguments(__doc__.partition("\n")[0], dataset=False)
    parser.add_argument("--bytes", type=int, default=200, metavar="N", help="bytes flipped (default: 200)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(words)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory(prefix="calque-corruption-") as folder:
        told = campaign(Path(folder), options.bytes, options.seed)
    columns = ("flipped", "found", "named images", "search refused", "search wrong")
    rows = [{"file": kind, **{column: counts[column] for column in columns}} for kind, counts in sorted(told.items())]
    rows.append({"file": "all", **{column: sum(int(row[column]) for row in rows) for column in columns}})
    print(table(rows))
    report({"machine": machine(), "seed": options.seed, "rows": rows}, options.json)
    return 0 if rows[-1]["flipped"] == rows[-1]["found"] else 1


if __name__ == "__main__":
    sys.exit(main())
