"""The report of a detector's errors: every image with what is false and what is missed drawn in; opens offline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PIL import Image

from cli import report_page
from cli.report_page import escaped
from index.durable import replacing
from index.exports import file_stem, make_folder
from matcher.images import read_image
from matcher.layout_drawings import Mark, marked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from index.detection_evaluation import JudgedImage
    from matcher.detection import Detection
    from matcher.images import Scan

__all__ = ["write_error_report"]

_SHOWN = 1000
"""Long side of the drawings, in pixels."""

_RIGHT, _FALSE, _MISSED = (0, 110, 60), (206, 30, 20), (200, 120, 0)

_STYLE = """
.sheaf { margin: 30px 0 40px; }
.sheaf h2 { font-size: 19px; }
.pages { display: grid; grid-template-columns: repeat(auto-fill, minmax(330px, 1fr)); gap: 22px; align-items: start; }
.pages figure { margin: 0; background: var(--card); border: 1px solid var(--line); padding: 12px; }
.pages img { display: block; width: 100%; height: auto; }
.right { color: #006e3c; } .false { color: #ce1e14; } .missed { color: #a86400; }
"""


def write_error_report(
    folder: Path, judged: Sequence[JudgedImage], figures: Mapping[str, Mapping[str, Any]], title: str
) -> Path:
    """Draw every image with an error into a folder, the worst first, and return the path of the page that shows them.

    Parameters
    ----------
    folder : Path
        Made if need be.
    judged : sequence of JudgedImage
    figures : mapping
        As of `index.detection_evaluation.summed`.
    title : str
    """
    make_folder(folder / "pictures")
    worst = sorted((one for one in judged if one.errors), key=lambda one: (-one.errors, one.image.name))
    cards = [_card(folder, one) for one in worst]
    good = len(judged) - len(worst)
    path = folder / "report.html"
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as page:
        page.write(
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="generator" '
            f'content="calque"><title>{escaped(title)}</title><style>{report_page.STYLE}{_STYLE}</style></head>\n'
            f'<body><header class="top"><p class="kicker">calque</p><h1>{escaped(title)}</h1>'
            f"<p>{len(judged)} images; {good} without an error, {len(worst)} with one or more, the worst first. "
            '<span class="right">Green</span>: right. <span class="false">Red</span>: false. '
            '<span class="missed">Ochre</span>: missed.</p>\n'
        )
        page.write(_table(figures))
        page.write("</header>\n<main>\n")
        page.write(f'<section class="sheaf"><div class="pages">{"".join(cards)}</div></section>\n')
        page.write(
            "</main><footer><p>A thing is right where its box overlaps a true one of its class by half of their union. "
            "AP50 ranks all that was found by how sure it is; the drawings show what is sure enough to be told."
            "</p></footer></body></html>\n"
        )
    return path


def _table(figures: Mapping[str, Mapping[str, Any]]) -> str:
    names = ("true", "told", "right", "precision", "recall", "ap50", "ap50_95")
    head = "".join(f'<th class="number">{escaped(name.replace("_", ":"))}</th>' for name in names)
    rows = []
    for label, told in figures.items():
        cells = "".join(f'<td class="number">{_cell(told[name])}</td>' for name in names)
        rows.append(f'<tr><td class="name">{escaped(label)}</td>{cells}</tr>\n')
    return f"<table><tr><th>class</th>{head}</tr>\n{''.join(rows)}</table>\n"


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def _card(folder: Path, one: JudgedImage) -> str:
    scan = read_image(one.image.path, gray=False, long_side=_SHOWN)
    name = f"{file_stem(one.image.name, 0, str(one.image.path))}.jpg"
    drawing = _drawn(scan, one)
    with replacing(folder / "pictures" / name) as temporary:
        Image.fromarray(drawing).save(temporary, "JPEG", quality=85)
    false = sum(not right for _, right in one.shown())
    words = f"{len(one.missed)} missed, {false} false, {sum(right for _, right in one.shown())} right"
    shown = report_page.figure(f"pictures/{name}", words, one.image.name, (drawing.shape[1], drawing.shape[0]))
    return f"{shown.replace('<figcaption>', f'<figcaption><b>{escaped(one.image.name)}</b><br>', 1)}\n"


def _drawn(scan: Scan, one: JudgedImage) -> NDArray[np.uint8]:
    marks = [_mark(thing, f"missed: {thing.label}", _MISSED) for thing in one.missed]
    for thing, right in one.shown():
        marks.append(_mark(thing, f"{thing.label} {thing.score:.2f}", _RIGHT if right else _FALSE))
    return marked(scan, marks)


def _mark(thing: Detection, words: str, colour: tuple[int, int, int]) -> Mark:
    return Mark((thing.box.corners(),), words, colour)
