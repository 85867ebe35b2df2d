"""``faces.html``: all faces cut out, and their average; opens offline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.report_page import STYLE, escaped, figure
from index.durable import replacing

if TYPE_CHECKING:
    from pathlib import Path

    from index.face_files import FacesWritten

__all__ = ["write_page"]

_PAGE = "faces.html"
_SIDE = 128
_LARGE = 320
_STYLE = """
.faces { display: grid; grid-template-columns: repeat(auto-fill, minmax(128px, 1fr)); gap: 14px; margin: 26px 0; }
figure { margin: 0; } figcaption { color: var(--faint); font-size: 13px; line-height: 1.3; overflow-wrap: anywhere; }
img { display: block; max-width: 100%; height: auto; }
.average { margin: 26px 0; display: flex; gap: 26px; align-items: flex-end; flex-wrap: wrap; }
.average p { color: var(--faint); max-width: 32em; margin: 0; }
"""


def write_page(folder: Path, written: FacesWritten) -> Path:
    """Write the page into the folder of the faces, and return its path."""
    shown = [row for row in written.rows if row["file"]]
    with replacing(folder / _PAGE) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Faces</title>'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<style>{STYLE}{_STYLE}</style></head><body>"
            f'<header class="top"><p class="kicker">calque</p><h1>{len(shown)} faces</h1>'
            "<p>Each turned upright and brought to one size by its eyes, nose and mouth. Whose they are is not asked."
            "</p></header><main>"
        )
        if written.average is not None:
            size = (_LARGE, _LARGE)
            file.write(
                f'<div class="average">{figure(written.average.name, "", "average of all faces", size)}'
                f"<p>The average of all of them, their tones brought to one level first.</p></div>"
            )
        file.write('<div class="faces">')
        for row in shown:
            page = f", page {row['page'] + 1}" if row["page"] else ""
            file.write(figure(row["file"], f"{escaped(row['image'])}{page}", "face", (_SIDE, _SIDE)))
        file.write("</div></main></body></html>\n")
    return folder / _PAGE
