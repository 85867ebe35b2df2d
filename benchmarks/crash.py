"""Kill calque at any moment, again and again, and look whether anything that it had acknowledged is lost.

A child process works on an index (creates it, adds, removes, notes, merges, links, traces, segments) and tells what it
has been told is done. It is killed with SIGKILL: at a random moment, or at one of the fault points of `index.faults`.
Then the index is opened, every byte checked, everything compared with what was acknowledged; searches are asked whose
answers are known; long jobs are gone on with and compared. The same index is used, and killed, fifteen times over.

``--full`` limits the size of files instead, so that writes fail as on a full disk; ``--errors`` lets calls of the
system fail (EIO). None of it is a power cut: the system's cache outlives the process.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # children are forked: nothing may have started threads before

import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

import index.adding
import index.embedding
import index.links
import index.merging
import index.tracing
from benchmarks.crash_child import Harm, Line, Operation, run
from benchmarks.crash_world import PICTURES, World, Wrong
from benchmarks.runner import arguments, machine, report, table
from matcher.errors import CalqueError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.crash_world import Content

__all__ = ["HARMS", "POINTS_OF", "Campaign", "at_each_point", "campaign", "main"]

_SEGMENT = ("segment.begun", "segment.half", "segment.written", "file.synced", "file.renamed")
_MERGE = ("merge.before_commit", "merge.in_transaction", "merge.committed", "sweep.one_deleted")
POINTS_OF = {
    "create": ("create.catalogue_written", "file.synced", "file.renamed"),
    "add": (*_SEGMENT, "add.before_commit", "add.in_transaction", "add.committed", *_MERGE),
    "remove": ("remove.in_transaction", "remove.committed"),
    "compact": (*_SEGMENT, *_MERGE, "compact.before_vacuum", "vacuum.done"),
    "note": ("annotate.in_transaction",),
    "judge": ("annotate.in_transaction",),
    "groups": ("links.in_transaction", "links.sweep.in_transaction"),
    "trace": ("trace.in_transaction",),
    "segment": ("layout.in_transaction",),
    "embed": ("vectors.before_commit", "vectors.in_transaction", "vectors.committed", "file.synced", "file.renamed"),
}
"""Where each operation can be killed by name."""

HARMS = ("kill", "full", "errors")
"""What can be done to a child."""

_KILLS_OF_ONE_INDEX = 15
_SMALL: tuple[tuple[Any, str, int], ...] = (
    (index.adding, "_BATCH_IMAGES", 2),
    (index.merging, "_FACTOR", 3),
    (index.links, "_BATCH", 3),
    (index.embedding, "_BATCH_IMAGES", 3),
    (index.tracing, "_BATCH_SECONDS", 0),
)
"""Batches so small that a few images see them all."""


@dataclass(slots=True)
class Campaign:
    """What has been tried and what became of it.

    Attributes
    ----------
    harmed : Counter
        Children that were harmed, by (operation under way, fault point or kind of harm).
    untouched : int
        Children that came to an end before they could be.
    images : int
        Images whose addition was acknowledged.
    wrong : list of str
        What was lost, unopenable or wrong.
    """

    harmed: Counter[tuple[str, str]] = field(default_factory=Counter)
    untouched: int = 0
    images: int = 0
    searches: int = 0
    wrong: list[str] = field(default_factory=list)


def campaign(
    folder: Path,
    many: int,
    seed: int,
    kind: str = "kill",
    operations: Sequence[str] = tuple(POINTS_OF),
    told: Callable[[Campaign], None] = lambda _: None,
) -> Campaign:
    """Harm `many` children, and return what became of it.

    Parameters
    ----------
    folder : Path
        Where indexes are made; those that are found wrong stay there.
    many, seed : int
    kind : str
        One of `HARMS`.
    operations : sequence of str
        What is done besides creating, adding and removing.
    told : callable, optional
        Told how it goes, after each child.
    """
    done = Campaign()
    usual: dict[str, float] = defaultdict(lambda: 0.1)
    number = 0
    while sum(done.harmed.values()) < many and len(done.wrong) < 20:
        made = Path(tempfile.mkdtemp(dir=folder))
        world = World(made, np.random.default_rng((seed, number)))
        for trial in range(_KILLS_OF_ONE_INDEX):
            try:
                _trial(world, _script(world, trial, operations), partial(_harm, kind), usual, done)
            except (Wrong, CalqueError, OSError) as error:
                done.wrong.append(f"seed {seed}, index {number}, child {trial}: {error} ({made})")
                break
            told(done)
            if sum(done.harmed.values()) >= many:
                break
        else:
            shutil.rmtree(made)
        number += 1
    return done


def at_each_point(folder: Path, operations: Sequence[str]) -> Campaign:
    """Kill each of `operations` once at each of its fault points; `Wrong` if one is not reached."""
    done = Campaign()
    usual: dict[str, float] = defaultdict(float)
    world = World(Path(tempfile.mkdtemp(dir=folder)), np.random.default_rng(0))
    cases = [(operation, point) for operation in operations for point in POINTS_OF[operation]]
    for trial, (kind, point) in enumerate(cases):
        if kind == "create":
            world = World(Path(tempfile.mkdtemp(dir=folder)), np.random.default_rng(0))
        elif world.model is None or kind in ("compact", "embed"):
            world.change_files(6)
            first = [*([Operation("create")] if world.model is None else []), _addition(world, ".")]
            _settle(world, first, run(world, first, Harm(), usual))
        if kind not in ("compact", "embed"):
            world.change_files(3)
        names = tuple(sorted(world.model or {})[:2])
        script = [_addition(world, ".") if kind == "add" else Operation(kind, names, f"job {trial}")]
        _trial(world, script, lambda *_, point=point: Harm(point), usual, done)
        if not done.harmed[kind, point]:
            raise Wrong(f"{point} is not reached by {kind}")
    return done


def _trial(
    world: World,
    script: Sequence[Operation],
    harming: Callable[[np.random.Generator, Sequence[Operation], dict[str, float]], Harm],
    usual: dict[str, float],
    done: Campaign,
) -> None:
    """Let one child work, harm it, and look what has become of the index."""
    random = world.random
    harm = harming(random, script, usual)
    log = run(world, script, harm, usual)
    under_way, what = _settle(world, script, log)
    if what is None:
        done.untouched += 1
    else:
        done.harmed[under_way, harm.point.partition(":")[0] or what] += 1
    done.images += sum(line.many for line in log if line.what == "added")
    if world.model is None:
        return
    world.ask(2)
    done.searches += 2
    if random.random() < 0.5:
        world.sweep()
    last = script[-1]
    if under_way == last.kind or what is None:
        if last.kind == "groups":
            world.grouped()
        elif last.kind == "embed":
            world.embedded()
        elif last.kind == "trace":
            world.traced(world.folder / last.argument)
        elif last.kind == "segment":
            world.segmented(world.folder / last.argument)


def _script(world: World, trial: int, operations: Sequence[str]) -> list[Operation]:
    """Return what a child is to do, drawn at random."""
    random = world.random
    world.change_files(int(random.integers(1, 5)))
    script = [Operation("create")] if world.model is None else []
    held = sorted(world.model or {})
    quick = [kind for kind in ("compact", "note", "judge") if kind in operations]
    long = [kind for kind in ("groups", "trace", "segment", "embed") if kind in operations]
    for kind in random.choice(["add", "add", "remove", *quick], int(random.integers(1, 4))).tolist():
        if kind == "add":
            folder = f"Blatt {int(random.integers(PICTURES))}" if random.random() < 0.3 else "."
            addition = _addition(world, folder)
            script.append(addition) if addition.names else None
        elif kind in ("remove", "note"):
            names = random.permutation(held)[: int(random.integers(1, 4))].tolist()
            script.append(Operation(kind, tuple(names), f"note {trial}")) if names else None
            held = sorted(set(held) - set(names)) if kind == "remove" else held
        else:
            script.append(Operation(kind))
    if long and random.random() < 0.35:
        script.append(Operation(str(random.choice(long)), (), f"job {trial}"))
    return script or [_addition(world, ".")]


def _addition(world: World, folder: str) -> Operation:
    """Return the operation that adds one folder of a world, or all."""
    names = sorted(name for name in world.disk if folder in (".", name.partition("/")[0]))
    return Operation("add", tuple(names), folder)


def _harm(kind: str, random: np.random.Generator, script: Sequence[Operation], usual: dict[str, float]) -> Harm:
    if kind == "full":
        return Harm(bytes=int(2 ** random.uniform(8, 18)))
    if kind == "errors":
        return Harm(call=int(random.integers(1, 30)))
    if random.random() < 0.5:
        points = POINTS_OF[script[int(random.integers(len(script)))].kind]
        return Harm(f"{random.choice(points)}:{int(2 ** random.uniform(0, 2.5))}")
    return Harm(seconds=float(random.uniform(0, sum(usual[operation.kind] for operation in script))))


def _settle(world: World, script: Sequence[Operation], log: Sequence[Line]) -> tuple[str, str | None]:
    """Compare the index with all that it may be after what the child has told; note what it is.

    Returns
    -------
    under_way : str
        The kind of the operation that did not come to its end.
    what : str or None
        What kept it from that; None if all came to an end.
    """
    under_way, what = "", None
    notes, judged = dict(world.notes), world.judged
    options: list[tuple[dict[str, Content] | None, dict[str, str], int]]
    for number, operation in enumerate(script):
        lines = [line for line in log if line.operation == number]
        if any(line.what == "broken" for line in lines):
            raise Wrong(f"{operation.kind} broke: {lines[-1].text}")
        before = world.model, dict(notes), judged
        after = _after(world, operation, *before)
        if any(line.what == "done" for line in lines):
            world.model, notes, judged = after
            continue
        under_way = operation.kind
        refused = lines and lines[-1].what == "refused"
        what = "refused" if refused else "at random"
        if refused and "\n" in lines[-1].text:
            raise Wrong(f"{operation.kind} refused in several lines: {lines[-1].text}")
        acknowledged = max((line.many for line in lines if line.what == "progress"), default=0)
        options = _between(operation, before, after, acknowledged)
        break
    else:
        options = [(world.model, notes, judged)]
    exists = (world.path / "catalogue.sqlite").exists()
    if not exists:
        if not any(model is None for model, _, _ in options):
            raise Wrong("the index is gone")
        return under_way, what
    found = world.held(), *world.notes_held()
    if found not in [(model if model is not None else {}, *rest) for model, *rest in options]:
        raise Wrong(f"after {what} {under_way}: holds {found}, may hold {options}")
    world.model, world.notes, world.judged = found
    return under_way, what


_State = tuple["dict[str, Content] | None", dict[str, str], int]


def _after(world: World, operation: Operation, model: Any, notes: dict[str, str], judged: int) -> _State:
    """Return what the index holds after an operation."""
    kind, names, argument = operation
    if kind == "create":
        return {}, notes, judged
    if kind == "add":
        return model | {name: world.disk[name] for name in names}, notes, judged
    if kind == "remove":
        left = {name: content for name, content in model.items() if name not in names}
        return left, {name: note for name, note in notes.items() if name in left}, judged
    if kind == "note":
        return model, notes | {name: argument for name in names if name in model}, judged
    return model, notes, judged + (kind == "judge")


def _between(operation: Operation, before: _State, after: _State, acknowledged: int) -> list[_State]:
    """Return all that the index may hold while an operation is under way: an addition goes from batch to batch."""
    if operation.kind != "add":
        return [before, after]
    old, new = before[0] or {}, after[0] or {}
    jobs = [name for name in operation.names if old.get(name) != new[name]]
    return [
        (old | {name: new[name] for name in jobs[:many]}, *before[1:]) for many in range(acknowledged, len(jobs) + 1)
    ]


def main(words: Sequence[str] | None = None) -> int:
    """Run a campaign; exit status 1 if anything was wrong."""
    parser = arguments(__doc__.partition("\n")[0], dataset=False)
    parser.add_argument("--kills", type=int, default=1000, metavar="N", help="children killed (default: 1000)")
    parser.add_argument("--full", type=int, default=0, metavar="N", help="children that meet a full disk, after that")
    parser.add_argument(
        "--errors", type=int, default=0, metavar="N", help="children that meet an I/O error, after that"
    )
    each = f"kill these once at each of their fault points, before that: {','.join(POINTS_OF)}"
    parser.add_argument("--each-point", default="", metavar="OPERATION,…", help=each)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where indexes are made, and stay if anything is wrong with them")
    options = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="calque-crash-") as made:
        folder = options.folder or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        measured: dict[str, Any] = {"machine": machine(), "seed": options.seed}
        wrong = 0
        cv2.setNumThreads(1)
        for module, name, value in _SMALL:
            setattr(module, name, value)
        if options.each_point:
            print(f"at each point: {sum(at_each_point(folder, options.each_point.split(',')).harmed.values())} killed")
        for kind, many in zip(HARMS, (options.kills, options.full, options.errors), strict=True):
            if not many:
                continue
            start, cpu = time.monotonic(), sum(os.times()[:4])
            done = campaign(folder, many, options.seed, kind, told=_tell)
            seconds = {"seconds": time.monotonic() - start, "cpu_seconds": sum(os.times()[:4]) - cpu}
            print(file=sys.stderr)
            rows = [{"under way": under, "how": how, "times": n} for (under, how), n in sorted(done.harmed.items())]
            print(f"{kind}: {sum(done.harmed.values())} children, {done.untouched} untouched; "
                  f"{done.searches} searches; wrong: {len(done.wrong)}")  # fmt: skip
            print(table(rows), *done.wrong, sep="\n")
            measured[kind] = {"rows": rows, "wrong": done.wrong, "untouched": done.untouched, **seconds}
            measured[kind] |= {"searches": done.searches}
            wrong += len(done.wrong)
    report(measured, options.json)
    return 1 if wrong else 0


def _tell(done: Campaign) -> None:
    print(f"\r{sum(done.harmed.values())} harmed, {len(done.wrong)} wrong", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
