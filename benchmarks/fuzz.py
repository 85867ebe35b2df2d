"""Damage every kind of file that calque reads, in thousands of ways, and look what its readers make of it.

A reader gives a result or one line that names the file (`CalqueError`). Whatever else it raises is a fault of calque's.
Readers run in children, as `calque add` has its workers do it: one that dies of a native decoder, or takes longer than
the limit, is counted and replaced. The parent does nothing but write files and count.

Inputs are made from small real files of every format: bytes flipped, numbers at their bounds, pieces cut out, doubled,
moved, the end cut off; entity bombs and deep nesting are among the files that are begun with.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import resource
import select
import signal
import struct
import sys
import tempfile
import time
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from benchmarks.fuzz_samples import samples
from benchmarks.runner import arguments, machine, report, table
from cli.search import read_queries
from index.detection_imports import read_detections
from index.iiif import Library
from index.judgements import read_decisions
from index.labels import read_labels
from index.layout_truth import read_layout_truth
from index.metadata import read_table
from index.segment import Segment
from index.sources import expand_all
from index.truth import read_truth
from index.vector_files import VectorFile
from index.vocabulary import Vocabulary
from index.where import parse
from index.zones import read_zones
from matcher.errors import CalqueError, InputError
from matcher.images import page_count, read_image

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["TARGETS", "Counts", "fuzz", "main", "mutated"]

_MEMORY = 4 << 30
_BATCH = 200
_PIXELS = 10**6
_EXTREME = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_WORDS = (
    b"-1",
    b"0",
    b"1e400",
    b"NaN",
    b"null",
    b'""',
    b"[]",
    b"{}",
    b"99999999999999999999",
    b"\x00",
    b"\xff\xfe",
    b"\xed\xa0\x80",
)


@dataclass(slots=True)
class Counts:
    """What became of the inputs of one target: `read`, `refused` in one line, `faults` by kind, `died`, `hung`."""

    inputs: int = 0
    read: int = 0
    refused: int = 0
    died: int = 0
    hung: int = 0
    faults: Counter[str] = field(default_factory=Counter)


class _Offline:
    """Stands for a fetcher where there is no network."""

    def document(self, address: str) -> Any:
        raise InputError(f"{address}: no network")


def _image(path: Path) -> None:
    for page in range(min(2, page_count(path))):
        read_image(path, page, gray=page == 0, long_side=100, max_pixels=_PIXELS)


def _source(path: Path) -> None:
    for _ in expand_all([path], Counter(), Library(_Offline(), 1600)):  # type: ignore[arg-type]
        pass


def _postings(path: Path) -> None:
    segment = Segment.open(path)
    segment.verify(deep=True)
    for local in range(min(2, len(segment))):
        segment.gather(local)


TARGETS: dict[str, Callable[[Path], object]] = {
    "image": _image,
    "source": _source,
    "zones": lambda path: list(read_zones(path)),
    "layout truth": read_layout_truth,
    "table": read_table,
    "labels": lambda path: read_labels([path]),
    "detections": read_detections,
    "truth": read_truth,
    "decisions": read_decisions,
    "queries": lambda path: list(read_queries(path)),
    "condition": lambda path: parse(path.read_bytes().decode(errors="replace")),
    "vocabulary": Vocabulary.load,
    "segment": _postings,
    "vectors": lambda path: VectorFile.open(path).verify(),
}
"""Readers by name; each takes a file."""


def mutated(content: bytes, random: np.random.Generator) -> bytes:
    """Return a damaged copy."""
    data = bytearray(content)
    for _ in range(int(random.integers(1, 6))):
        if not data:
            break
        # Half of the damage goes to the beginning, where it does most.
        place = int(random.integers(min(len(data), 400) if random.random() < 0.5 else len(data)))
        kind = int(random.integers(8))
        if kind == 0:
            data[place] ^= 1 << int(random.integers(8))
        elif kind == 1:
            size = int(random.choice([1, 2, 4]))
            number = int(random.choice(_EXTREME)) & ((1 << 8 * size) - 1)
            order = "<" if random.random() < 0.5 else ">"
            data[place : place + size] = struct.pack(f"{order}{ {1: 'B', 2: 'H', 4: 'I'}[size] }", number)
        elif kind == 2:
            del data[place : place + int(random.integers(1, 64))]
        elif kind == 3:
            piece = data[place : place + int(random.integers(1, 64))]
            data[place:place] = piece * int(random.integers(1, 8))
        elif kind == 4:
            other = int(random.integers(len(data)))
            data[place : place + 16] = data[other : other + 16]
        elif kind == 5:
            data[place:place] = _WORDS[int(random.integers(len(_WORDS)))]
        elif kind == 6:
            data[place : place + 4] = random.integers(0, 256, 4, np.uint8).tobytes()
        elif random.random() < 0.3:
            del data[place:]
    return bytes(data)


def fuzz(many: int, seed: int, seconds: float, targets: Sequence[str] = tuple(TARGETS)) -> dict[str, Counts]:
    """Give `many` inputs to the readers, as many to each sample of each of `targets`; a child may take `seconds`."""
    told = {target: Counts() for target in targets}
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory(prefix="calque-fuzz-") as made:
        folder = Path(made)
        known = samples(folder)
        turns = [(target, *sample) for target in targets for sample in known[target]]
        share = -(-many // len(turns))
        done = 0
        for number, (target, suffix, content) in enumerate(turns):
            for first in range(0, share, _BATCH):
                last = min(first + _BATCH, share, first + many - done)
                start = first
                while start < last:  # a child that died is replaced, and goes on behind what it died of
                    start = _child(folder, target, suffix, content, (seed, number), start, last, seconds, told[target])
                done += max(0, last - first)
            print(f"\r{done} of {many}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return told


def _child(
    folder: Path,
    target: str,
    suffix: str,
    content: bytes,
    seed: tuple[int, int],
    start: int,
    stop: int,
    seconds: float,
    counts: Counts,
) -> int:
    """Let a child read the inputs from `start` on; return the first that it has not read."""
    theirs, ours = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(theirs)
        _read(folder, target, suffix, content, seed, range(start, stop), ours)
    os.close(ours)
    outcomes = bytearray()
    hung = False
    while True:
        ready, _, _ = select.select([theirs], [], [], seconds)
        if not ready:
            hung = True
            os.kill(child, signal.SIGKILL)
            break
        if not (block := os.read(theirs, 1 << 16)):
            break
        outcomes += block
    os.close(theirs)
    _, status = os.waitpid(child, 0)
    lines = outcomes.decode(errors="replace").splitlines()
    for line in lines:
        counts.inputs += 1
        counts.read += line == "read"
        counts.refused += line == "refused"
        if line not in ("read", "refused"):
            counts.faults[line] += 1
    reached = start + len(lines)
    if reached >= stop:
        return stop
    counts.inputs += 1
    counts.hung += hung
    counts.died += not hung
    how = "hung" if hung else f"ended with {os.waitstatus_to_exitcode(status)}"
    print(f"\n{target} {suffix}, seed {seed}, input {reached}: {how}", file=sys.stderr)
    return reached + 1


def _read(
    folder: Path, target: str, suffix: str, content: bytes, seed: tuple[int, int], numbers: range, pipe: int
) -> None:
    """Read inputs one after the other, in a child, and tell the outcome of each; never returns."""
    present = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (present + _MEMORY, present + _MEMORY))
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 2)  # what native decoders have to say
    warnings.simplefilter("ignore")
    path = folder / f"input{suffix}"
    for number in numbers:
        # The first is whole.
        path.write_bytes(mutated(content, np.random.default_rng((*seed, number))) if number else content)
        try:
            TARGETS[target](path)
            outcome = "read"
        except CalqueError as error:
            outcome = "refused" if "\n" not in str(error) else "refused in several lines"
        except BaseException as error:
            place = error.__traceback__
            while (
                place is not None
                and place.tb_next is not None
                and "site-packages" not in place.tb_next.tb_frame.f_code.co_filename
            ):
                place = place.tb_next
            where = "" if place is None else f"{Path(place.tb_frame.f_code.co_filename).name}:{place.tb_lineno}"
            outcome = f"{type(error).__name__} in {where}: {str(error)[:60]!r} (input {number})".replace("\n", " ")
        os.write(pipe, f"{outcome}\n".encode())
    os._exit(0)


def main(words: Sequence[str] | None = None) -> int:
    """Run the campaign; exit status 1 if a reader raised what it should not, or a child hung."""
    parser = arguments(__doc__.partition("\n")[0], dataset=False)
    parser.add_argument("--inputs", type=int, default=100_000, metavar="N", help="inputs (default: 100,000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=20.0, help="what an input may take (default: 20)")
    parser.add_argument("--targets", default=",".join(TARGETS), help=f"readers (default: {','.join(TARGETS)})")
    options = parser.parse_args(words)
    start, cpu = time.monotonic(), sum(os.times()[:4])
    told = fuzz(options.inputs, options.seed, options.seconds, options.targets.split(","))
    rows = [
        {
            "reader": target,
            **{name: getattr(c, name) for name in ("inputs", "read", "refused")},
            "raised": c.faults.total(),
            "died": c.died,
            "hung": c.hung,
        }
        for target, c in told.items()
    ]
    columns = ("inputs", "read", "refused", "raised", "died", "hung")
    rows.append({"reader": "all", **{column: sum(int(str(row[column])) for row in rows) for column in columns}})
    print(table(rows))
    for target, counts in told.items():
        for fault, times in counts.faults.most_common(8):
            print(f"{target}: {times} × {fault}")
    seconds = {"seconds": time.monotonic() - start, "cpu_seconds": sum(os.times()[:4]) - cpu}
    faults = {target: dict(counts.faults) for target, counts in told.items()}
    report({"machine": machine(), "seed": options.seed, "rows": rows, "faults": faults, **seconds}, options.json)
    return 1 if rows[-1]["raised"] or rows[-1]["hung"] else 0


if __name__ == "__main__":
    sys.exit(main())
