"""``python -m benchmarks.groups``: every reuse in the image sets together, held against what is known.

One index holds the pages, the books of *Alice*, the magazines, and the pictures that the magazines are asked for.

**Pairs.** Every two members of a group are a pair. It is judged by the queries that the truth has at either place:
right when one of them names the other place, or both name the same third, wrong when one judges the other place wrong
or they name nothing in common. What no query lies on, or what the truth marks as unsure, is unknown: these pairs are
counted, and listed with ``--list`` to be looked at, but are neither right nor wrong. Recall is the share of the pairs
that the truth names that lie in one group. The truth of the magazines names one page for each picture; on dev, all
others were looked at, and show it too.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import replace
from itertools import combinations, product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2

from benchmarks.datasets import load
from benchmarks.runner import arguments, machine, report, table
from index.answers import Query
from index.collating import parted
from index.evaluation import TOUCHING, Found, judge
from index.groups import groups
from index.links import Links, find_links
from index.search import search
from index.store import Index
from matcher.errors import CalqueError
from matcher.types import Region

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.datasets import Dataset, Place, TruthQuery
    from index.groups import Group, Member

__all__ = ["Pair", "figures", "judged", "main"]

_SETS = ("pages", "alice", "magazine")
_TIMED = 32
"""Images asked to time a batch search."""


class Pair(NamedTuple):
    """Two members of a group, the verdict on them, and the part and the name of the query that judged them."""

    group: int
    a: Found
    b: Found
    verdict: str
    part: str
    query: str


def _found(dataset: Dataset, member: Member) -> Found:
    name = str(Path(member.image.path).relative_to(dataset.root.resolve()))
    return Found(name, 0.0, member.false_alarms, member.region.as_list())


def _on(found: Found, place: Place) -> bool:
    if found.image != place.image:
        return False
    return place.region is None or found.region is None or Region(*found.region).iou(place.region) >= TOUCHING


def _place(place: Place) -> Found:
    return Found(place.image, 0.0, None, None if place.region is None else place.region.as_list())


def judged(dataset: Dataset, found: Sequence[Group]) -> Iterator[Pair]:
    """Yield every pair of members of each group, judged."""
    queries: dict[str, list[TruthQuery]] = defaultdict(list)
    for query in dataset.queries:
        queries[query.place.image].append(query)
    for group in found:
        members = [_found(dataset, member) for member in group.members]
        for a, b in combinations(members, 2):
            ours, theirs = ([q for q in queries[one.image] if _on(one, q.place)] for one in (a, b))
            yield _judged(group.number, a, b, ours, theirs, frozenset(dataset.images))


def _judged(
    group: int, a: Found, b: Found, ours: list[TruthQuery], theirs: list[TruthQuery], listed: frozenset[str]
) -> Pair:
    verdicts = [(judge(query, b), query) for query in ours if b.image in listed]
    verdicts += [(judge(query, a), query) for query in theirs if a.image in listed]
    for one, other in product(ours, theirs):
        # Neither names the other, for the truth does not ask one book about itself: what both name tells.
        doubtful = any(_on(b, place) for place in one.unsure) or any(_on(a, place) for place in other.unsure)
        if one.positives and other.positives and not doubtful:
            shared = any(_on(_place(p), q) for p in one.positives for q in other.positives)
            verdicts.append(("right" if shared else "wrong" if one.complete and other.complete else "unjudged", one))
    for wanted in ("right", "wrong"):
        by = next((query for verdict, query in verdicts if verdict == wanted), None)
        if by is not None:
            return Pair(group, a, b, wanted, by.part, by.id)
    return Pair(group, a, b, "unknown", "", "")


def figures(dataset: Dataset, found: Sequence[Group], pairs: Sequence[Pair], part: str) -> dict[str, dict[str, Any]]:
    """Return precision and recall of the pairs of one part (``all``: of both), set by set."""
    where: dict[str, list[tuple[int, Found]]] = defaultdict(list)
    for group in found:
        for member in group.members:
            one = _found(dataset, member)
            where[one.image].append((group.number, one))
    result = {}
    for name in ("all", *_SETS):

        def counted(image: str, asked: str, name: str = name) -> bool:
            return name in ("all", image.split("/")[0]) and part in ("all", asked)

        wanted: dict[frozenset[tuple[str, str]], bool] = {}
        for query in dataset.queries:
            if not counted(query.place.image, query.part):
                continue
            ours = {number for number, one in where[query.place.image] if _on(one, query.place)}
            for place in query.positives:
                theirs = {number for number, one in where[place.image] if _on(one, place)}
                key = frozenset([(p.image, str(p.region)) for p in (query.place, place)])
                wanted[key] = wanted.get(key, False) or bool(ours & theirs)
        verdicts = Counter(p.verdict for p in pairs if p.verdict != "unknown" and counted(p.a.image, p.part))
        right, wrong = verdicts["right"], verdicts["wrong"]
        result[name] = {
            "to find": len(wanted),
            "recall": sum(wanted.values()) / len(wanted) if wanted else None,
            "right": right,
            "wrong": wrong,
            "precision": right / (right + wrong) if right + wrong else None,
            "groups with wrong": len({p.group for p in pairs if p.verdict == "wrong" and counted(p.a.image, p.part)}),
            "unknown": sum(p.verdict == "unknown" and name in ("all", p.a.image.split("/")[0]) for p in pairs),
        }
    return result


def _known(dataset: Dataset) -> Dataset:
    """Return the sets with what is known of them: of the magazines, the page that each picture is on, but no other."""
    queries = [replace(query, complete=query.groups[0] != "magazine") for query in dataset.queries]
    return replace(dataset, queries=tuple(queries))


def _indexed(dataset: Dataset, path: Path) -> None:
    """Bring the index at `path` up to date with all images but the distractors, and those that are asked for."""
    images = {image for image in dataset.images if not image.startswith("various/")}
    images |= {query.place.image for query in dataset.queries}
    with Index.open(path, writable=True) if path.exists() else Index.create(path) as index:
        index.add([dataset.path(image) for image in sorted(images)])


def _batch_seconds(index: Index) -> float:
    """Return the seconds that an image takes in a batch search."""
    records = list(index.images())
    some = records[:: max(1, len(records) // _TIMED)]
    queries = [Query(str(record.id), Path(record.path), None, record.page) for record in some]
    list(search(index, queries[:1]))  # loads the vocabulary and the compiled kernels
    start = time.perf_counter()
    list(search(index, queries))
    return (time.perf_counter() - start) / len(queries)


def main(words: Sequence[str] | None = None) -> int:
    """Run the benchmark on the command-line arguments `words`, return the exit status."""
    parser = arguments("Measure groups on the image sets with ground truth.", dataset=False)
    parser.add_argument("--part", choices=("dev", "test", "all"), default="test", help="which truth (default: test)")
    parser.add_argument("--index", type=Path, metavar="PATH", help="keep the index there and use it again")
    parser.add_argument("--max-false-alarms", type=float, default=1e-3, metavar="F")
    parser.add_argument("--collate", action="store_true", help="also part copies by collation, and measure again")
    parser.add_argument("--list", action="store_true", help="list wrong and unknown pairs")
    options = parser.parse_args(words)
    cv2.setNumThreads(1)
    try:
        with tempfile.TemporaryDirectory(prefix="calque-benchmark-") as folder:
            path = options.index or Path(folder) / "all.calque"
            dataset = _known(load("all"))
            _indexed(dataset, path)
            with Index.open(path) as index, Links(path) as links:
                each = _batch_seconds(index)
                start = time.perf_counter()
                asked = find_links(index, links)
                seconds = time.perf_counter() - start
                if asked.failed:
                    raise CalqueError(f"{len(asked.failed)} images could not be asked, first: {asked.failed[0]}")
                start = time.perf_counter()
                found = groups(index, links, max_false_alarms=options.max_false_alarms)
                grouping = time.perf_counter() - start
                start = time.perf_counter()
                collated = parted(index, found.groups) if options.collate else None
                collating = time.perf_counter() - start
    except CalqueError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    measured = {"links": _measured(dataset, found.groups, options.part, listed=options.list)}
    if collated is not None:
        measured["collated"] = _measured(dataset, collated, options.part, listed=options.list)
    about = machine()
    costs = {
        "images asked": asked.images,
        "seconds an image": seconds / asked.images if asked.images else None,
        "in a batch search": each,
        "grouping, seconds": grouping,
        "collating, seconds": collating if options.collate else None,
        "groups": len(found.groups),
        "members": sum(len(group.members) for group in found.groups),
        "furniture": found.furniture,
        "links cut": found.contradictions,
    }
    print(f"groups, part {options.part}; {about}\n")
    rows = [{"": f"{by}, {name}", **values} for by, sets in measured.items() for name, values in sets.items()]
    print(f"{table(rows)}\n\n{table([{'': '', **costs}])}")
    report({"part": options.part, "machine": about, "figures": measured, "costs": costs}, options.json)
    return 0


def _measured(dataset: Dataset, found: Sequence[Group], part: str, *, listed: bool) -> dict[str, dict[str, Any]]:
    """Return the figures of groups; list pairs that are not right, if asked for."""
    pairs = list(judged(dataset, found))
    for pair in pairs:
        if listed and pair.verdict != "right" and part in ("all", pair.part or part):
            places = " - ".join(f"{one.image} {_plain(one)}" for one in (pair.a, pair.b))
            print(f"{pair.verdict}: group {pair.group}, {places}")
    return figures(dataset, found, pairs, part)


def _plain(found: Found) -> list[int]:
    return [round(edge) for edge in found.region or ()]


if __name__ == "__main__":
    raise SystemExit(main())
