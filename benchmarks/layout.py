"""``python -m benchmarks.layout``: finders of pictures and text on pages beside each other.

Each sees the annotated pages of ``pages/layout.json`` and the pages of ``magazine/`` without pictures, at the size at
which pages are indexed. What is measured, and what is not judged, is said in `index.layout_evaluation`.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
from PIL import Image

from benchmarks.datasets import data_folder
from benchmarks.runner import arguments, machine, report, spread, table
from benchmarks.tesseract import Tesseract
from index.layout_evaluation import ANY_PICTURE, judge_page, summary
from index.layout_truth import known_layout, read_layout_truth
from index.layouts import LEAST_SCORE, LONG_SIDE, surest
from matcher.errors import CalqueError, InputError
from matcher.images import read_image
from matcher.layout import PICTURES
from matcher.layout_drawings import outlined
from matcher.registry import segmenter_named, usual_score

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from index.annotations import Zone
    from index.layout_evaluation import PageJudgement
    from matcher.images import Scan
    from matcher.layout import Segmenter

__all__ = ["main", "measure", "text_only_pages"]

_MODELS = ("calque", "classical", "tesseract")
_VOLUMES = {"dev": ("21047", "22621"), "test": ("22602", "25064")}
_WITH_PICTURES = {
    *("21047-page-images/f001.png", "21047-page-images/f005.png", "21047-page-images/f006.png"),
    *("21047-page-images/p002.png", "21047-page-images/p032-music.png"),
    *("22602-page-images/f001.png", "22602-page-images/f002.png"),
}
"""Pages of ``magazine/`` that have pictures, an initial, or music which its truth does not name: found by eye."""
_SHEET = (6, 4)
_CELL = (400, 560)


class _Page(NamedTuple):
    """A page and what is known of it; None of one that is known to have no pictures only."""

    name: str
    path: Path
    zones: tuple[Zone, ...] | None


@dataclass(frozen=True, slots=True)
class _Model:
    """A segmenter, asked for all it knows, and how sure it must be for what is taken for a picture."""

    name: str
    segmenter: Segmenter
    least: float

    @classmethod
    def named(cls, name: str) -> _Model:
        if name == "tesseract":
            return cls(name, Tesseract(), 0.0)
        return cls(name, segmenter_named(name, LEAST_SCORE), usual_score(name))


def text_only_pages(folder: Path, part: str) -> list[Path]:
    """Return the pages of ``magazine/`` without any picture, of the volumes of a part.

    The truth there names pictures that were published elsewhere, too, so a page that it does not name might still have
    some: those that have were found by eye.
    """
    root = folder / "magazine"
    truth = json.loads((root / "groundtruth.json").read_text("utf-8"))
    named = {place["image"] for query in truth["queries"] for place in query["positives"]}
    return [
        root / name
        for name in truth["database"]
        if name not in named and name.split("/")[0] in _VOLUMES[part] and name.split("/", 1)[1] not in _WITH_PICTURES
    ]


def _pages(folder: Path, part: str) -> list[_Page]:
    pages = []
    for known in read_layout_truth(folder / "pages" / "layout.json", part):
        path = known.beside()
        if path is None:
            raise InputError(f"{known.image}: not beside {known.source}; get the whole data set")
        size = read_image(path, long_side=64)
        pages.append(_Page(path.name, path, known.on(size.width, size.height)))
    return pages + [_Page("/".join(path.parts[-2:]), path, None) for path in text_only_pages(folder, part)]


def _sample(pages: Sequence[_Page], count: int | None) -> list[_Page]:
    """Return `count` pages, evenly drawn from those of each book, as names are: all by default."""
    ordered = sorted(pages, key=lambda page: page.name)
    if count is None or count >= len(ordered):
        return ordered
    return [ordered[int(i)] for i in np.linspace(0, len(ordered) - 1, count).round()]


def _seen(path: Path) -> Scan:
    return read_image(path, gray=False, long_side=LONG_SIDE)


def measure(model: _Model, pages: Sequence[_Page]) -> tuple[dict[str, Any], list[tuple[_Page, PageJudgement]]]:
    """Return the figures of a segmenter, and how it did on each annotated page."""
    judged: list[tuple[_Page, PageJudgement]] = []
    empty: list[PageJudgement] = []
    for page in pages:
        layout = model.segmenter.segment(_seen(page.path))
        judgement = judge_page(page.zones or (), layout, model.least)
        if page.zones is None:
            empty.append(judgement)
        else:
            judged.append((page, judgement))
    figures = summary(judgement for _, judgement in judged)
    return {**figures, "magazine": summary(empty)["text_only"]}, judged


def _seconds(model: _Model, pages: Sequence[_Page], threads: int) -> dict[str, float]:
    """Return how long a page takes, from the file to its regions, on so many cores."""
    cv2.setNumThreads(threads)
    try:
        model.segmenter.segment(_seen(pages[0].path))  # which loads what is loaded once
        taken = []
        for page in pages:
            start = time.perf_counter()
            model.segmenter.segment(_seen(page.path))
            taken.append(time.perf_counter() - start)
        return spread(taken)
    finally:
        cv2.setNumThreads(1)


def _row(name: str, figures: dict[str, Any], seconds: dict[int, dict[str, float]]) -> dict[str, Any]:
    kinds = figures["classes"]
    told = PICTURES[:1] if name == "tesseract" else PICTURES
    row: dict[str, Any] = {"": name}
    for kind in (*PICTURES, ANY_PICTURE):
        known = kind in (*told, ANY_PICTURE)
        row[f"{kind} AP50"] = kinds[kind]["ap50"] if known else None
        row[f"{kind} 50:95"] = kinds[kind]["ap50_95"] if known else None
    row["text IoU"] = figures["pixel_iou"]["text"]
    for heading, counts in (("pages", figures["text_only"]), ("magazine", figures["magazine"])):
        row[f"false, {heading}"] = f"{counts['with_false_pictures']} of {counts['text_only']}"
    for threads, taken in seconds.items():
        row[f"s, {threads} core{'s' if threads > 1 else ''}"] = f"{taken['median']:.2f} ({taken['p95']:.2f})"
    return row


def _beside_truth(model: _Model, page: _Page) -> NDArray[np.uint8]:
    """Draw what was found on a page beside what is known of it."""
    scan = _seen(page.path)
    known = known_layout(page.zones or (), scan.width, scan.height)
    found = surest(model.segmenter.segment(scan), model.least)
    return np.hstack([outlined(scan, found), outlined(scan, known)])


def _draw_worst(model: _Model, judged: Sequence[tuple[_Page, PageJudgement]], count: int, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    worst = sorted(judged, key=lambda one: one[1].agreement)[:count]
    for rank, (page, judgement) in enumerate(worst, start=1):
        path = folder / f"{model.name}-{rank:02d}-{Path(page.name).stem}.png"
        Image.fromarray(_beside_truth(model, page)).save(path)
        print(f"{path}: agreement {judgement.agreement:.3f}", file=sys.stderr)


def _draw_sheet(model: _Model, pages: Sequence[_Page], path: Path) -> None:
    """Draw varied pages with what was found on them, from the left in rows."""
    wide, high = _CELL
    sheet = np.full((_SHEET[1] * high, _SHEET[0] * wide, 3), 255, np.uint8)
    varied = _sample([page for page in pages if page.zones is not None], _SHEET[0] * _SHEET[1])
    for number, page in enumerate(varied):
        scan = _seen(page.path)
        drawn = outlined(scan, surest(model.segmenter.segment(scan), model.least))
        factor = min((wide - 8) / drawn.shape[1], (high - 8) / drawn.shape[0])
        small = cv2.resize(drawn, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        row, column = divmod(number, _SHEET[0])
        sheet[row * high : row * high + small.shape[0], column * wide : column * wide + small.shape[1]] = small
    Image.fromarray(sheet).save(path)


def main(words: Sequence[str] | None = None) -> int:
    """Run the benchmark on the command-line arguments `words`, return the exit status."""
    parser = arguments("Measure what finds pictures and text on pages.", dataset=False)
    parser.add_argument("--part", choices=("dev", "test"), default="test", help="which pages (default: test)")
    parser.add_argument(
        "--models", default=",".join(_MODELS), help="names as of calque segment, or tesseract (default: %(default)s)"
    )
    parser.add_argument("--pages", type=int, metavar="N", help="only N pages, evenly drawn")
    parser.add_argument("--timed", type=int, default=24, metavar="N", help="pages that are timed (default: 24)")
    parser.add_argument("--worst", type=int, default=0, metavar="N", help="draw the N worst pages of each model")
    parser.add_argument(
        "--overlays", type=Path, default=Path("overlays"), metavar="DIR", help="where (default: %(default)s)"
    )
    parser.add_argument("--sheet", type=Path, metavar="FILE", help="draw 24 varied pages as the first model sees them")
    options = parser.parse_args(words)
    cv2.setNumThreads(1)
    rows, results = [], {}
    try:
        pages = _sample(_pages(data_folder(), options.part), options.pages)
        models = [_Model.named(name) for name in options.models.split(",")]
        for model in models:
            figures, judged = measure(model, pages)
            timed = _sample([page for page in pages if page.zones is not None], options.timed)
            seconds = {threads: _seconds(model, timed, threads) for threads in (1, 2)} if timed else {}
            rows.append(_row(model.name, figures, seconds))
            results[model.name] = {"signature": model.segmenter.signature, **figures, "seconds": seconds}
            print(table(rows[-1:]), file=sys.stderr, flush=True)
            _draw_worst(model, judged, options.worst, options.overlays)
        if options.sheet is not None:
            _draw_sheet(models[0], pages, options.sheet)
    except CalqueError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    about = machine()
    print(f"part {options.part}, {len(pages)} pages, long side {LONG_SIDE}; {about}\n")
    print(table(rows))
    report({"options": vars(options), "machine": about, "models": results}, options.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
