"""``python -m benchmarks.impressions``: second impressions of worn blocks, found and told from copies.

Blocks are made of the annotated cuts and the engravings of the image sets, or of any folder of line pictures
(``--folder``). `benchmarks.wear` inks, wears, prints, scans and re-cuts them. Three things are measured:

- **search**: a fair impression is asked for; are all others found, by size on a page 2,000 pixels high and by wear;
- **verdicts**: what `compare` says of a second impression, and of re-cuts by how far their lines are moved;
- **real**: what it says of impressions confirmed by eye, of different blocks, and of copies, on the real sets.

The same seed makes the same impressions. Parameters of calque are chosen on ``--part dev``.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from PIL import Image

from benchmarks.datasets import PARTS, Dataset, load
from benchmarks.impressions_pages import blocks_of_data, blocks_of_folder, choose, compose
from benchmarks.plots import Panel, plot_curves
from benchmarks.runner import arguments, ask, build, found, machine, report, table
from benchmarks.wear import SCANNERS, age, ink, press, recut, scan
from index.answers import Query
from index.comparison import compare
from index.settings import PROFILES
from matcher.collation import collate
from matcher.errors import CalqueError
from matcher.images import read_image
from matcher.types import Region
from matcher.verdict import judge

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from benchmarks.datasets import Place
    from benchmarks.impressions_pages import Block
    from benchmarks.metrics import Found
    from benchmarks.wear import Relief, Scanner

__all__ = ["Pull", "main", "measure_real", "measure_search", "measure_verdicts"]

SIZES = (60, 80, 100, 150, 200, 300)
WEARS = (0.0, 0.5, 1.0, 1.25, 1.5)
COMPARED = (100, 200, 300)
AMOUNTS = (0.005, 0.01, 0.02, 0.03)
USUAL_SIZE, USUAL_WEAR = 200, 0.5
EXPERIMENTS = ("search", "verdicts", "real")

_HEIGHT, _PER_PAGE = 2000, 5
_SURE, _SAME_PLACE = 1e-3, 0.3
_REENGRAVED = "/19551/"
"""The American edition of 1905 in ``alice``: engraved anew after Tenniel, without his mark, with other hatching."""

Carved = tuple["Block", "Relief"]
Answers = dict[str, int]


@dataclass(frozen=True, slots=True)
class Pull:
    """One impression on a page: of which block, how large and worn, where, by which scanner."""

    block: str
    size: int
    wear: float
    scanner: Scanner
    image: str
    place: Region


def _printed(carved: Relief, size: int, wear: float, rng: np.random.Generator) -> NDArray[np.float32]:
    return press(ink(age(carved, wear, rng), wear, rng), size, wear, rng)


def _write(path: Path, page: NDArray[np.float32], scanner: Scanner, rng: np.random.Generator) -> None:
    Image.fromarray(scan(page, scanner, rng)).save(path, "JPEG", quality=85)


def _pages(
    blocks: Sequence[Carved],
    size: int,
    wear: float,
    folder: Path,
    name: str,
    rng: np.random.Generator,
    height: int = _HEIGHT,
) -> Iterator[Pull]:
    """Print every block once, several on a page of type, and yield what was printed."""
    for start in range(0, len(blocks), _PER_PAGE):
        some = blocks[start : start + _PER_PAGE]
        printed = [_printed(carved, size, wear, rng) for _, carved in some]
        page, places = compose(printed, (7 * height // 10, height), rng)
        scanner = SCANNERS[start // _PER_PAGE % len(SCANNERS)]
        image = f"{name}-{start:03d}.jpg"
        _write(folder / image, page, scanner, rng)
        for (block, _), place in zip(some, places, strict=True):
            yield Pull(block.name, size, wear, scanner, image, place)


def measure_search(
    blocks: Sequence[Carved],
    rng: np.random.Generator,
    workers: int | None = None,
    settings: Mapping[str, Any] | None = None,
    height: int = _HEIGHT,
) -> dict[str, Any]:
    """Print every block in every condition on pages `height` pixels high, index them with some settings, ask for each
    block once, return recall by condition."""
    conditions = [(size, USUAL_WEAR) for size in SIZES] + [(USUAL_SIZE, wear) for wear in WEARS if wear != USUAL_WEAR]
    with tempfile.TemporaryDirectory(prefix="calque-impressions-") as temporary:
        folder = Path(temporary)
        pulls = [
            pull
            for size, wear in conditions
            for pull in _pages(blocks, size, wear, folder, f"size{size}-wear{wear}", rng, height)
        ]
        asked = list(_pages(blocks, 250, 0.2, folder, "query", rng, height))
        dataset = Dataset("impressions", folder, tuple(dict.fromkeys(pull.image for pull in pulls)), ())
        built = build(dataset, folder, workers, settings=settings)
        queries = [Query(pull.block, folder / pull.image, pull.place) for pull in asked]
        hits = {answer.id: found(dataset, answer) for answer in ask(built.path, queries, max_false_alarms=_SURE)}
    met = [any(_covers(hit, pull) >= _SAME_PLACE for hit in hits.get(pull.block, [])) for pull in pulls]
    wrong = sum(
        not any(_covers(hit, pull) > 0.1 for pull in pulls if pull.block == name)
        for name, answered in hits.items()
        for hit in answered
    )

    def recall(which: Iterable[bool]) -> float:
        chosen = [seen for seen, wanted in zip(met, which, strict=True) if wanted]
        return float(np.mean(chosen)) if chosen else float("nan")

    return {
        "blocks": len(blocks),
        "pages": built.images,
        "bytes_per_page": built.size / built.images,
        "size": {s: recall(p.size == s and p.wear == USUAL_WEAR for p in pulls) for s in SIZES},
        "wear": {w: recall(p.wear == w and p.size == USUAL_SIZE for p in pulls) for w in WEARS},
        "scanner": {s: recall(p.scanner == s for p in pulls) for s in SCANNERS},
        "hits": sum(map(len, hits.values())),
        "wrong": wrong,
    }


def _covers(hit: Found, pull: Pull) -> float:
    """Return the intersection over union of a hit with an impression, 0 on another page."""
    if hit.image != pull.image or hit.region is None:
        return 0.0
    return Region(*hit.region).iou(pull.place)


def _verdict(a: Path, b: Path, region: Region | None, place: Region | None) -> str:
    """Return what `compare` says of the block at `place` on `b`: a verdict, or ``not found``."""
    matches = [m for m in compare(a, b, region) if place is None or m.region.iou(place) >= 0.1]
    if not matches:
        return "not found"
    return judge(collate(read_image(a), read_image(b), matches[0], region).evidence).verdict


def _counted(verdicts: Iterable[str]) -> Answers:
    counted = Counter(verdicts)
    return {name: counted[name] for name in ("same", "unsure", "copy", "not found")}


def measure_verdicts(blocks: Sequence[Carved], rng: np.random.Generator) -> dict[str, dict[str, Answers]]:
    """Compare an impression of each block with another one and with impressions of re-cuts, return the verdicts.

    Both impressions stand in pieces of pages of type; wear is 0.2 to 0.6, scanners differ, B is 0.8 to 1.25 times
    as large.

    Returns
    -------
    dict
        Kind (``same block``, ``re-cut 1.0 %``…) → size → verdict → number.
    """
    kinds: dict[str, float | None] = {"same block": None} | {f"re-cut {100 * a:.1f} %": a for a in AMOUNTS}
    verdicts: dict[str, dict[str, list[str]]] = {kind: {str(size): [] for size in COMPARED} for kind in kinds}
    with tempfile.TemporaryDirectory(prefix="calque-impressions-") as temporary:
        first, second = Path(temporary) / "a.jpg", Path(temporary) / "b.jpg"
        for _, carved in blocks:
            cuts = {kind: carved if amount is None else recut(carved, amount, rng) for kind, amount in kinds.items()}
            for size in COMPARED:
                place = _piece(first, carved, size, rng)
                for kind, cut in cuts.items():
                    other = _piece(second, cut, round(size * rng.uniform(0.8, 1.25)), rng)
                    verdicts[kind][str(size)].append(_verdict(first, second, place, other))
    return {kind: {size: _counted(said) for size, said in by_size.items()} for kind, by_size in verdicts.items()}


def _piece(path: Path, carved: Relief, size: int, rng: np.random.Generator) -> Region:
    """Write a piece of a page with an impression, return where it stands."""
    cut = _printed(carved, size, float(rng.uniform(0.2, 0.6)), rng)
    page, places = compose([cut], (max(400, cut.shape[1] + 300), cut.shape[0] + 260), rng)
    _write(path, page, SCANNERS[rng.integers(len(SCANNERS))], rng)
    return places[0]


def measure_real(part: str, folder: Path | None = None) -> dict[str, Answers]:
    """Compare the pairs of ``blocks`` and ``alice`` whose truth is known by eye, each once, return the verdicts."""
    pairs: dict[str, list[tuple[Place, Place]]] = {
        "blocks, same": [],
        "blocks, different": [],
        "alice, same": [],
        "alice, engraved anew": [],
    }
    seen: set[frozenset[Any]] = set()
    blocks, alice = (load(name, part, folder) for name in ("blocks", "alice"))
    for dataset in (blocks, alice):
        for query in dataset.queries:
            for kind, places in (("same", query.positives), ("different", query.different)):
                for place in places:
                    ends = frozenset(
                        (end.image, end.region and tuple(end.region.as_list())) for end in (query.place, place)
                    )
                    anew = dataset is alice and any(_REENGRAVED in end.image for end in (query.place, place))
                    if ends not in seen:
                        seen.add(ends)
                        pairs[f"{dataset.name}, {'engraved anew' if anew else kind}"].append((query.place, place))
    return {
        kind: _counted(_verdict(blocks.path(a.image), blocks.path(b.image), a.region, b.region) for a, b in some)
        for kind, some in pairs.items()
    }


def _rows(results: dict[str, Any]) -> Iterator[str]:
    """Yield the tables of what was measured."""
    if "search" in results:
        search = results["search"]
        yield f"search: {search['blocks']} blocks on {search['pages']} pages, hits with false_alarms <= {_SURE:g}"
        for varied in ("size", "wear", "scanner"):
            yield table([{"": f"recall by {varied}"} | {str(k): v for k, v in search[varied].items()}])
        yield f"wrong: {search['wrong']} of {search['hits']} hits"
    for kind, by_size in results.get("verdicts", {}).items():
        yield table([{"": f"{kind}, {size} px", **said} for size, said in by_size.items()])
    if "real" in results:
        yield table([{"": kind, **said} for kind, said in results["real"].items()])


def _plot(path: Path, results: dict[str, Any]) -> None:
    panels = []
    if "search" in results:
        for varied, label, reverse in (("size", "longer side on the page, px", True), ("wear", "wear", False)):
            curve = results["search"][varied]
            panels.append(Panel(label, {"found": (list(curve), list(curve.values()))}, "search", reverse=reverse))
    if "verdicts" in results:
        curves = {}
        for size in next(iter(results["verdicts"].values())):
            said = [by_size[size] for by_size in results["verdicts"].values()]
            shares = [s["same"] / max(1, sum(s.values()) - s["not found"]) for s in said]
            curves[f"{size} px"] = ([0.0, *(100 * a for a in AMOUNTS)], shares)
        panels.append(Panel("lines moved by the copyist, % of the size", curves, "compare", "called the same block"))
    plot_curves(path, panels, "Impressions of worn blocks")


def main(words: Sequence[str] | None = None) -> int:
    """Run the benchmark on the command-line arguments `words`, return the exit status."""
    parser = arguments("Find second impressions of worn blocks and tell them from copies.", dataset=False)
    parser.add_argument("--part", choices=PARTS, default="test", help="which sources (default: test)")
    parser.add_argument("--folder", type=Path, action="append", metavar="DIR", help="line pictures; may be repeated")
    parser.add_argument("--blocks", type=int, default=40, metavar="N", help="blocks to print (default: 40)")
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    parser.add_argument("--only", choices=EXPERIMENTS, action="append", help="of what is measured; may be repeated")
    parser.add_argument("--profile", choices=PROFILES, default="standard", help="of the index that is searched")
    parser.add_argument(
        "--height", type=int, default=_HEIGHT, metavar="PX", help="of the pages searched (default: %(default)s)"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the curves into this PNG")
    parser.add_argument("--workers", type=int, metavar="N", help="processes that index; one for each core by default")
    options = parser.parse_args(words)
    wanted = options.only or [name for name in EXPERIMENTS if name != "real" or not options.folder]
    cv2.setNumThreads(1)
    results: dict[str, Any] = {}
    try:
        if {"search", "verdicts"} & set(wanted):
            rng = np.random.default_rng(options.seed)
            sources = blocks_of_folder(options.folder, options.part) if options.folder else blocks_of_data(options.part)
            blocks = choose(sources, options.blocks, rng)
            if "search" in wanted:
                rng, profile = np.random.default_rng([options.seed, 1]), PROFILES[options.profile]
                results["search"] = measure_search(blocks, rng, options.workers, profile, options.height)
            if "verdicts" in wanted:
                results["verdicts"] = measure_verdicts(blocks, np.random.default_rng([options.seed, 2]))
        if "real" in wanted:
            results["real"] = measure_real(options.part)
        if options.plot is not None and len(results) > ("real" in results):
            _plot(options.plot, results)
    except CalqueError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    about = machine()
    print(f"impressions, part {options.part}, seed {options.seed}, profile {options.profile}; {about}\n")
    print("\n\n".join(_rows(results)))
    settings = {"part": options.part, "seed": options.seed, "blocks": options.blocks}
    settings |= {"profile": options.profile, "height": options.height}
    report({**settings, "machine": about, **results}, options.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
