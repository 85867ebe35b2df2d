"""``python -m benchmarks.furniture``: what whole pages are found by.

Every page and every magazine page is asked for among all of them, with and without what every scan of a volume shows
and, where the index knows the layout of its pages (``--layout``), what is on no picture.
Two pages of one volume share blocks now and then (the truth knows some), bindings, charts and running titles always.
The sheet shows hits drawn at random, to be judged by eye.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

from benchmarks.datasets import load
from benchmarks.metrics import CONFIDENT
from benchmarks.runner import arguments, indexed, machine, report, table
from index.answers import Query
from index.search import search
from index.store import Index

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from benchmarks.datasets import Dataset
    from index.answers import Hit

__all__ = ["main"]

_TILE = 420  # pixels: height of a page on the sheet
_INSIDE = 0.5  # share of the evidence that lies in the box of a block that is known to be on both pages


class _Found(NamedTuple):
    asked: str
    image: str
    same_volume: bool
    known: bool
    hit: Hit


def volumes(dataset: Dataset) -> dict[str, str]:
    """Return the volume of each page: the book of an early print, the folder of a magazine."""
    layout = json.loads((dataset.root / "pages" / "layout.json").read_text("utf-8"))
    books = {f"pages/{page['image']}": page["book"] for page in layout}
    return books | {image: image.split("/")[1] for image in dataset.images if image.startswith("magazine/")}


def ask(dataset: Dataset, path: Path, furniture: bool) -> list[_Found]:
    """Return what is found of each page on the other pages with at most `CONFIDENT` false alarms."""
    volume = volumes(dataset)
    names = {str(dataset.path(image)): image for image in dataset.images}
    pages = [image for image in dataset.images if image in volume]
    found = []
    with Index.open(path) as index:
        only = frozenset(image.id for image in index.images() if names[image.name] in volume)
        queries = [Query(page, dataset.path(page)) for page in pages]
        for answer in search(index, queries, only=only, max_false_alarms=CONFIDENT, furniture=furniture):
            for hit in answer.hits:
                image = names[hit.image]
                if image != answer.id:
                    same = volume[image] == volume[answer.id]
                    found.append(_Found(answer.id, image, same, _is_known(dataset, answer.id, image, hit), hit))
    return found


def _is_known(dataset: Dataset, asked: str, image: str, hit: Hit) -> bool:
    """Tell whether the truth knows one block on both pages, where the hit lies."""
    places = (place for query in dataset.queries if query.place.image == asked for place in query.positives)
    boxes = [place.region for place in places if place.image == image and place.region is not None]
    return any(box.contains(hit.match.image_points).mean() >= _INSIDE for box in boxes)


def row(name: str, found: Sequence[_Found]) -> dict[str, Any]:
    """Return the counts of hits."""
    return {
        "": name,
        "hits": len(found),
        "in one volume": sum(one.same_volume for one in found),
        "pairs of pages": len({frozenset((one.asked, one.image)) for one in found}),
        "in one volume, not in the truth": len(
            {frozenset((one.asked, one.image)) for one in found if one.same_volume and not one.known}
        ),
    }


def sheet(dataset: Dataset, found: Sequence[_Found], many: int, seed: int = 0) -> NDArray[np.uint8]:
    """Return a picture of hits within volumes that the truth does not know, drawn at random: query and page, with
    the places that agree."""
    unknown = [one for one in found if one.same_volume and not one.known]
    chosen = np.random.default_rng(seed).permutation(len(unknown))[:many]
    tiles = []
    for number in chosen:
        one = unknown[number]
        sides = zip((one.asked, one.image), (one.hit.match.query_points, one.hit.match.image_points), strict=True)
        halves = []
        for image, points in sides:
            pixels = cv2.imread(str(dataset.path(image)))
            factor = _TILE / pixels.shape[0]
            small = cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
            for x, y in points * factor:
                cv2.circle(small, (round(float(x)), round(float(y))), 4, (0, 0, 255), 2)
            halves.append(small)
        tiles.append(np.hstack(halves))
    width = max(tile.shape[1] for tile in tiles) + 8
    padded = [
        cv2.copyMakeBorder(tile, 4, 4, 4, width - tile.shape[1] - 4, cv2.BORDER_CONSTANT, value=(255, 255, 255))
        for tile in tiles
    ]
    padded += [np.full_like(padded[0], 255)] * (-len(padded) % 4)
    return np.vstack([np.hstack(padded[first : first + 4]) for first in range(0, len(padded), 4)])


def main(words: Sequence[str] | None = None) -> int:
    """Run the benchmark on the command-line arguments `words`, return the exit status."""
    parser = arguments("Count what whole pages are found by.", dataset=False, layout=True)
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the index in DIR, or use the one that is there")
    parser.add_argument("--sheet", type=Path, metavar="FILE", help="picture of hits to be judged by eye")
    parser.add_argument("--sample", type=int, default=24, metavar="N", help="hits on the sheet")
    options = parser.parse_args(words)
    cv2.setNumThreads(1)
    dataset = load("all")
    with indexed(dataset, options.keep, layout=options.layout) as built:
        kept = ask(dataset, built.path, furniture=True)
        without = ask(dataset, built.path, furniture=False)
    rows = [row("with furniture", kept), row("without", without)]
    about = machine()
    print(f"{len(volumes(dataset))} pages asked for among each other; {about}\n")
    print(table(rows))
    if options.sheet is not None and without:
        cv2.imwrite(str(options.sheet), sheet(dataset, without, options.sample))
    hits = [(one.asked, one.image, one.same_volume, one.known, one.hit.false_alarms) for one in without]
    report({"machine": about, "counts": rows, "hits": hits}, options.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
