"""``similar.html``: what was asked for, and what is like it, in a page that opens offline and can be moved."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from cli.report_page import STYLE, box, escaped, figure, missing
from index.durable import naming_full_disk, replacing
from index.embedding import cuts
from index.exports import make_folder
from index.vectors import WHOLE
from matcher.errors import CalqueError

if TYPE_CHECKING:
    from index.similar import Alike, Example, Likeness, Wanted
    from index.store import Index
    from matcher.types import Region

__all__ = ["write_report"]

_SIDE = 480
_STYLE = """
.wanted { display: flex; flex-wrap: wrap; gap: 18px; align-items: flex-end; padding: 22px 0;
  border-bottom: 1px solid var(--ink); }
.wanted figure, .alike figure { margin: 0; }
.wanted img { max-height: 150px; max-width: 240px; width: auto; height: auto; border: 1px solid var(--line); }
.wanted .wrong img { outline: 2px solid var(--rubric); opacity: .75; }
.swatch { display: block; width: 90px; height: 90px; border: 1px solid var(--line); }
.wanted blockquote { margin: 0; font-size: 24px; font-style: italic; }
.alike { display: grid; grid-template-columns: repeat(auto-fill, minmax(210px, 1fr)); gap: 22px; margin: 26px 0; }
.alike article { background: var(--card); border: 1px solid var(--line); padding: 12px; display: flex;
  flex-direction: column; }
.alike figure { flex: 1; display: flex; align-items: center; justify-content: center; min-height: 150px; }
.alike img { max-width: 100%; max-height: 220px; width: auto; height: auto; display: block; }
.alike h3 { font-size: 15px; margin: 10px 0 2px; }
.alike p { margin: 0; font-size: 13.5px; color: var(--faint); }
.bar { height: 4px; background: var(--line); margin: 8px 0 6px; } .bar i { display: block; height: 4px;
  background: var(--deep); }
"""


def write_report(folder: Path, index: Index, wanted: Wanted, found: Likeness) -> Path:
    """Write the pictures of an answer, and the page that shows them, into a folder; return the page.

    A picture whose file has gone or cannot be read leaves a note in its place.

    Raises
    ------
    InputError
        If the folder cannot be made.
    CalqueError
        If the disk is full.
    """
    pictures = folder / "similar"
    make_folder(pictures)
    asked = []
    with naming_full_disk(pictures):
        for kind, examples in (("right", wanted.right), ("wrong", wanted.wrong)):
            for number, example in enumerate(examples, start=1):
                caption = "like this" if kind == "right" else "not this"
                path, page = _file(index, example)
                shown = _picture(pictures / f"{kind}-{number:03d}.jpg", path, page, example.region, caption)
                asked.append(f'<div class="{kind}">{shown}</div>')
        cards = [_card(pictures, one, found.alike[0].likeness) for one in found.alike]
    asked += [f"<blockquote>{escaped(text)}</blockquote>" for text in wanted.texts]
    asked += [
        f'<figure><span class="swatch" style="background:rgb({red},{green},{blue})"></span>'
        f"<figcaption>#{red:02x}{green:02x}{blue:02x}</figcaption></figure>"
        for red, green, blue in wanted.colours
    ]
    body = "".join(cards) or '<p class="nothing">Nothing is there that could be like it.</p>'
    target = folder / "similar.html"
    with replacing(target) as temporary:
        temporary.write_text(
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            '<meta name="generator" content="calque">'
            f"<title>Alike</title><style>{STYLE}{_STYLE}</style></head>\n"
            '<body><header class="top"><p class="kicker">calque</p><h1>Alike</h1>'
            f"<p>By the model {escaped(found.model)}, the nearest first. This is likeness, not identity: whether it is "
            "the same picture is for calque search to say.</p></header>\n"
            f'<main><section class="wanted">{"".join(asked)}</section>'
            f'\n<section class="alike">{body}</section></main>\n'
            "<footer><p>Likeness: cosine of the angle between vectors, 1 for equal ones. It can be compared within one "
            "answer only.</p></footer></body></html>\n",
            encoding="utf-8",
        )
    return target


def _file(index: Index, example: Example) -> tuple[Path, int]:
    record = None if example.image.exists() else index.named(str(example.image), example.page)
    return (example.image if record is None else Path(record.path)), example.page


def _card(pictures: Path, one: Alike, best: float) -> str:
    shown = _picture(pictures / f"{one.rank:04d}.jpg", Path(one.path), one.page, one.region, "", one.image)
    where = f"{escaped(one.image)}{f', page {one.page + 1}' if one.page else ''}"
    part = "" if one.region is None else f"<p>{escaped(one.kind or 'region')}, {box(one.region)}</p>"
    width = 100 * max(0.0, one.likeness) / best if best > 0 else 0
    return (
        f'<article>{shown}<div class="bar"><i style="width:{width:.0f}%"></i></div>'
        f'<h3 class="name"><span class="rank">{one.rank}.</span> {where}</h3>{part}'
        f"<p>likeness {one.likeness:.3f}</p></article>\n"
    )


def _picture(target: Path, path: Path, page: int, region: Region | None, caption: str, alt: str = "") -> str:
    """Write a small picture and return the HTML that shows it."""
    try:
        (pixels,) = cuts(path, page, [WHOLE if region is None else tuple(region.as_list())], _SIDE)
    except CalqueError as error:
        return missing(str(error))
    Image.fromarray(pixels).save(target, "JPEG", quality=84)
    size = (pixels.shape[1], pixels.shape[0])
    return figure(f"{target.parent.name}/{target.name}", caption, alt or caption, size)
