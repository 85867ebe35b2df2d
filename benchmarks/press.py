"""``python -m benchmarks.press``: photographs looked for where the press printed them, and the other way round.

Photographs are cropped, retouched, screened, printed on pages of text and scanned (benchmarks/press_print.py,
press_pages.py). Every edition, that is every point of the curves, prints all photographs once. Its pages are added to
one and the same collection of pages without them, and each photograph is asked for; then what a reader would frame on
each page is looked for in the archive of photographs.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from benchmarks.datasets import PARTS, Dataset, Place, TruthQuery, data_folder
from benchmarks.metrics import evaluate
from benchmarks.plots import Panel, plot_curves
from benchmarks.press_archive import choose, distinct, pictures_in
from benchmarks.press_collection import Collection, box_of
from benchmarks.press_print import Recipe
from benchmarks.runner import arguments, ask, build, found, machine, report, table
from index.answers import Query
from index.store import Index
from matcher.errors import CalqueError, InputError
from matcher.images import read_image
from matcher.types import Region, Transform

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.press_archive import Photograph
    from benchmarks.press_collection import Printing

__all__ = ["CASES", "CURVES", "TARGETS", "main", "measure"]

BASE = Recipe()
"""Half of the photograph, 85 lines to the inch, 300 pixels wide."""

CURVES: dict[str, tuple[Recipe, ...]] = {
    "kept": tuple(replace(BASE, kept=share) for share in (1.0, 0.7, 0.5, 0.35, 0.25, 0.15)),
    "lines": tuple(replace(BASE, lines=lines) for lines in (133, 110, 85, 65, 55, 45)),
    "width": tuple(replace(BASE, width=width) for width in (600, 450, 300, 200, 150)),
    "together": (
        *(Recipe(1.0, 133, 600), Recipe(0.7, 110, 450), BASE),
        *(Recipe(0.25, 65, 200), Recipe(0.15, 55, 150), Recipe(0.15, 45, 120), Recipe(0.1, 45, 100)),
    ),
}
"""Name of what is varied → the editions, easiest first; ``together`` worsens all three until little is left to see."""

TARGETS: tuple[tuple[Recipe, float], ...] = ((BASE, 0.97), (Recipe(kept=0.25, lines=65, width=200), 0.85))
"""Editions and the recall@1 that is aimed at."""

_COPY = Recipe(kept=0.7, lines=100, width=300, worked_over=False)
CASES: dict[str, Recipe] = {
    "upright": _COPY,
    **{
        change: replace(_COPY, change=change)
        for change in (
            *("mirrored", "negative", "mirrored negative", "turned"),
            *("recoloured", "redrawn outlines", "overlaid text"),
        )
    },
    "collage of four": replace(_COPY, change="collage", width=600),
    "2 % of the page": replace(_COPY, page_share=0.02),
}
"""Copies: name → edition, all compared with ``upright``."""

ANOTHER_PRINTING = "2 %, from another printing"
"""The case whose queries are not photographs but the same picture on another page, screened and scanned anew."""

_GROUPS = ("targets", *CURVES, "cases")
_AXES = {
    "kept": ("kept", "share of the photograph kept"),
    "lines": ("lines", "screen, lines per inch"),
    "width": ("width", "width on the page, px"),
    "together": ("width", "width, px; less kept and a coarser screen with it"),
}
_CURVES_DRAWN = {
    "photograph → page, recall@1": ("pages", "recall_at_1"),
    "photograph → page, at 1e-3": ("pages", "recall_confident"),
    "region → photograph, recall@1": ("photographs", "recall_at_1"),
    "region → photograph, at 1e-3": ("photographs", "recall_confident"),
}
_KEPT_FIGURES = (
    *("queries", "recall_at_1", "recall_confident", "confident_hits", "confident_wrong", "located"),
    *("wrong", "lost"),
)


@dataclass(frozen=True, slots=True)
class _Bench:
    """What all editions are measured with: the collection and the two indexes, without the printed pages."""

    collection: Collection
    archive: tuple[str, ...]
    plain: tuple[str, ...]
    archive_index: Path
    pages_index: Path
    scratch: Path
    workers: int | None


def measure(bench: _Bench, name: str, recipe: Recipe) -> dict[str, Any]:
    """Print one edition and look for everything on it, both ways.

    Returns
    -------
    dict
        ``pages`` and ``photographs``: figures of `benchmarks.metrics.evaluate` for photographs asked of the pages, and
        for regions of pages asked of the archive; ``printings``: resolution, screen and page of each.
    """
    folder = bench.collection.folder
    printings = bench.collection.edition(name, recipe)
    pages = sorted({printing.page for printing in printings})
    with tempfile.TemporaryDirectory(dir=bench.scratch) as index:
        path = _with_pages(
            bench.pages_index, Path(index) / "pages.calque", [folder / page for page in pages], bench.workers
        )
        queries = tuple(_photograph_query(printing, folder) for printing in printings)
        everything = Dataset(name, folder, (*pages, *bench.plain), queries)
        results: dict[str, Any] = {"recipe": asdict(recipe), "pages": _asked(everything, path)}
        if recipe.page_share is not None:
            others = bench.collection.edition(f"{name}, other printing", recipe, run=1)
            again = replace(everything, queries=tuple(map(_printing_query, others, printings)))
            results["other printing"] = _asked(again, path)
    back = Dataset(name, folder, bench.archive, tuple(_region_query(printing, printings) for printing in printings))
    results["photographs"] = _asked(back, bench.archive_index)
    results["printings"] = [{"photograph": p.photograph, "page": p.page, **p.facts} for p in printings]
    return results


def _with_pages(index: Path, copy: Path, pages: Sequence[Path], workers: int | None) -> Path:
    """Return a copy of an index to which `pages` have been added."""
    shutil.copytree(index, copy)
    with Index.open(copy, writable=True) as opened:
        added = opened.add(list(pages), workers=workers)
    if added.failed:
        raise CalqueError(f"{len(added.failed)} pages were not added, first: {added.failed[0]}")
    return copy


def _asked(dataset: Dataset, index: Path) -> dict[str, Any]:
    queries = [Query(q.id, dataset.path(q.place.image), q.place.region) for q in dataset.queries]
    answers = list(ask(index, queries))
    figures = evaluate(dataset, {answer.id: found(dataset, answer) for answer in answers})
    return {
        **{key: figures[key] for key in _KEPT_FIGURES},
        "ms_per_query": 1000 * float(np.median([answer.seconds for answer in answers])),
    }


def _photograph_query(printing: Printing, folder: Path) -> TruthQuery:
    """Ask where a photograph is printed: all of it, so that its frame is expected around what is printed."""
    name = f"photographs/{printing.photograph}"
    scan = read_image(folder / name)
    whole = Transform(printing.matrix).apply(Region(0, 0, scan.width, scan.height).corners())
    return _query(Place(name, None), Place(printing.page, box_of(whole)))


def _region_query(printing: Printing, all_: Iterable[Printing]) -> TruthQuery:
    """Ask which photograph is printed in a box around what is seen of it on a page; neighbours may be in it, too."""
    beside = {f"photographs/{p.photograph}" for p in all_ if p.page == printing.page and p is not printing}
    back = Transform(printing.matrix).inverse().apply(printing.box.corners())
    asked, wanted = Place(printing.page, printing.box), Place(f"photographs/{printing.photograph}", box_of(back))
    return _query(asked, wanted, beside)


def _printing_query(asked: Printing, wanted: Printing) -> TruthQuery:
    """Ask where the picture on one page is printed on another."""
    across = wanted.matrix @ np.linalg.inv(asked.matrix)
    box = box_of(Transform(across / across[2, 2]).apply(asked.box.corners()))
    return _query(Place(asked.page, asked.box), Place(wanted.page, box))


def _query(asked: Place, wanted: Place, ignored: Iterable[str] = ()) -> TruthQuery:
    name = f"{asked.image} {wanted.image}"
    return TruthQuery(name, asked, "all", (), (wanted,), frozenset([asked.image, *ignored]))


# ---------------------------------------------------------------------------------------------- all editions


def _label(recipe: Recipe) -> str:
    return f"{recipe.kept:.0%} kept, {recipe.lines:g} lines, {recipe.width} px"


def _editions(groups: Iterable[str]) -> dict[str, Recipe]:
    """Return the editions that `groups` need, by name, each once."""
    editions: dict[str, Recipe] = {}
    for group in groups:
        if group == "cases":
            editions |= CASES
        else:
            recipes = [recipe for recipe, _ in TARGETS] if group == "targets" else CURVES[group]
            editions |= {_label(recipe): recipe for recipe in recipes}
    return editions


def _prepared(
    collection: Collection, others: Iterable[Path], pages: int, scratch: Path, workers: int | None, layout: str
) -> _Bench:
    """Write the archive (the photographs and `others`) and pages without any photograph, and index both."""
    folder = collection.folder
    names = collection.photographs()
    for number, file in enumerate(others):
        name = f"photographs/other{number:04d}-{file.name}"
        (folder / name).write_bytes(file.read_bytes())
        names.append(name)
    plain = collection.plain_pages(pages)
    return _Bench(
        collection,
        tuple(names),
        tuple(plain),
        build(Dataset("archive", folder, tuple(names), ()), scratch, workers, layout).path,
        build(Dataset("pages", folder, tuple(plain), ()), scratch, workers, layout).path,
        scratch,
        workers,
    )


def _claimed(folder: Path, parameters: dict[str, Any]) -> None:
    """Note in `folder` what its files are made with; refuse one that holds others."""
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / "parameters.json"
    if note.exists() and json.loads(note.read_text(encoding="utf-8")) != parameters:
        raise InputError(f"{folder} holds a collection made with other parameters: name another folder, or delete it")
    note.write_text(json.dumps(parameters) + "\n", encoding="utf-8")


# ---------------------------------------------------------------------------------------------- what is shown


def _row(name: str, results: dict[str, Any]) -> dict[str, Any]:
    there, back = results["pages"], results["photographs"]
    return {
        "edition": name,
        "queries": there["queries"],
        "R@1": there["recall_at_1"],
        "R@1e-3": there["recall_confident"],
        "wrong": there["confident_wrong"],
        "IoU≥.5": there["located"],
        "ms": there["ms_per_query"],
        "back R@1": back["recall_at_1"],
        "R@1e-3 ": back["recall_confident"],
        "wrong ": back["confident_wrong"],
    }


def _tables(editions: dict[str, dict[str, Any]], groups: Iterable[str]) -> str:
    parts = []
    for group in groups:
        rows = [_row(name, editions[name]) for name in _editions([group])]
        if group == "targets":
            aims = {_label(recipe): aim for recipe, aim in TARGETS}
            rows = [{**row, "aim R@1": aims[row["edition"]]} for row in rows]
        if group == "cases":
            other = editions["2 % of the page"]["other printing"]
            rows.append({**dict.fromkeys(rows[0]), **_row(ANOTHER_PRINTING, {"pages": other, "photographs": other})})
            rows[-1].update(dict.fromkeys(("back R@1", "R@1e-3 ", "wrong ")))
        parts.append(f"{group}\n{table(rows)}")
    return "\n\n".join(parts)


def _panels(editions: dict[str, dict[str, Any]], groups: Iterable[str]) -> list[Panel]:
    panels = []
    for group in groups:
        if group not in CURVES:
            continue
        varied, axis = _AXES[group]
        values = [getattr(recipe, varied) for recipe in CURVES[group]]
        measured = [editions[_label(recipe)] for recipe in CURVES[group]]
        curves = {
            label: (values, [results[direction][figure] for results in measured])
            for label, (direction, figure) in _CURVES_DRAWN.items()
        }
        panels.append(Panel(axis, curves, reverse=True))
    return panels


# ---------------------------------------------------------------------------------------------- command


def _options(words: Sequence[str] | None) -> Any:
    parser = arguments("Measure how well press reproductions of photographs are found.", dataset=False, layout=True)
    parser.add_argument("--part", choices=PARTS, default="test", help="which sources (default: test)")
    parser.add_argument("--photographs", type=int, default=500, metavar="N", help="at most (default: 500)")
    parser.add_argument("--pages", type=int, default=2000, metavar="M", help="in the index, with and without (2000)")
    parser.add_argument("--only", default=",".join(_GROUPS), metavar="LIST", help=f"of {','.join(_GROUPS)}")
    parser.add_argument("--photographs-from", type=Path, action="append", metavar="DIR", help="folder of pictures")
    parser.add_argument("--pages-from", type=Path, action="append", metavar="DIR", help="folder of page scans")
    parser.add_argument("--workers", type=int, metavar="N", help="processes that index; one for each core by default")
    parser.add_argument("--seed", type=int, default=1912)
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep what is made there, and use it again")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the curves into this PNG file")
    options = parser.parse_args(words)
    options.groups = [group for group in options.only.split(",") if group]
    if unknown := set(options.groups) - set(_GROUPS):
        parser.error(f"nothing called {min(unknown)!r} to measure: choose of {', '.join(_GROUPS)}")
    if not 1 <= options.photographs <= options.pages:
        parser.error("--photographs must be 1 or more, and --pages as many or more")
    return options


def _sources(options: Any) -> tuple[list[Photograph], list[Path], list[Path]]:
    """Return the photographs, the other pictures of the archive, and the real pages, in an order of their own."""
    rng = np.random.default_rng(options.seed)
    pictures = options.photographs_from or [data_folder() / "various"]
    scans = options.pages_from or [
        data_folder() / "pages" / "images",
        *sorted((data_folder() / "magazine").glob("*/*-page-images")),
    ]
    archive = distinct(pictures_in(pictures, options.part))
    photographs = choose(archive, options.photographs, rng)
    taken = {photograph.file for photograph in photographs}
    pages = pictures_in(scans, options.part)
    return photographs, [f for f in archive if f not in taken], [pages[i] for i in rng.permutation(len(pages))]


def _measured(options: Any, folder: Path, scratch: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    photographs, others, pages = _sources(options)
    count = len(photographs)
    plain = options.pages - count
    about = {
        "part": options.part,
        "seed": options.seed,
        "photographs": count,
        "sources": len({photograph.file for photograph in photographs}),
        "archive": count + len(others),
        "pages": options.pages,
        "real pages": len(pages),
    }
    _claimed(folder, {key: about[key] for key in ("part", "seed", "photographs", "sources", "real pages")})
    start = time.monotonic()
    collection = Collection(folder, photographs, pages, options.seed)
    bench = _prepared(collection, others, plain, scratch, options.workers, options.layout)
    _tell(start, "pages without photographs indexed")
    results = {}
    for name, recipe in _editions(options.groups).items():
        results[name] = measure(bench, name, recipe)
        figures = results[name]["pages"]
        _tell(start, f"{name}: R@1 {figures['recall_at_1']:.3f}, at 1e-3 {figures['recall_confident']:.3f}")
    return about, results


def _tell(start: float, message: str) -> None:
    print(f"{time.monotonic() - start:6.0f} s  {message}", file=sys.stderr, flush=True)


def main(words: Sequence[str] | None = None) -> int:
    """Run the benchmark on the command-line arguments `words`, return the exit status."""
    options = _options(words)
    cv2.setNumThreads(1)
    keep = nullcontext(str(options.keep.resolve())) if options.keep else tempfile.TemporaryDirectory(prefix="calque-")
    try:
        with keep as folder, tempfile.TemporaryDirectory(prefix="calque-benchmark-") as scratch:
            about, editions = _measured(options, Path(folder), Path(scratch))
    except CalqueError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    if about["photographs"] < options.photographs:
        print(f"benchmarks: only {about['photographs']} photographs are to be had there", file=sys.stderr)
    computer = machine()
    print(f"press, {', '.join(f'{key} {value}' for key, value in about.items())}; {computer}\n")
    print(_tables(editions, options.groups))
    if options.plot is not None and (panels := _panels(editions, options.groups)):
        title = f"{about['photographs']} photographs, {about['pages']} pages, part {about['part']}"
        plot_curves(options.plot, panels, title)
    report({"about": about, "machine": computer, "editions": editions}, options.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
