"""The words and the HTML of the report of groups and of traces; everything that comes from outside is escaped here."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from cli import report_decisions, report_page
from cli.report_page import escaped

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from matcher.types import Region

__all__ = ["contents", "facts", "page_foot", "page_head", "picture", "section", "stack"]

_STYLE = """
.sheaf { margin: 34px 0 42px; content-visibility: auto; contain-intrinsic-size: auto 460px; }
.sheaf > header { border-bottom: 1px solid var(--ink); padding-bottom: 6px; margin-bottom: 16px; display: flex;
  gap: 14px; align-items: baseline; flex-wrap: wrap; }
.sheaf > header p { margin: 0; color: var(--faint); }
.prints { display: grid; grid-template-columns: repeat(auto-fill, minmax(215px, 1fr)); gap: 18px; align-items: start; }
.print { background: var(--card); border: 1px solid var(--line); padding: 12px; margin: 0; }
.print.reference { border-color: var(--rubric); }
.stack { position: relative; display: block; isolation: isolate; background: #fff; border: 1px solid var(--line); }
.stack img { display: block; width: 100%; height: auto; }
.stack .under { display: none; position: absolute; inset: 0; height: 100%; }
body[data-view=half] .stack .under, body[data-view=difference] .stack .under { display: block; }
body[data-view=half] .stack .under { opacity: .5; }
body[data-view=difference] .stack .under { mix-blend-mode: difference; }
body[data-view=difference] .stack:has(.under) { filter: invert(1) grayscale(1); }
.print h3 { font-size: 15.5px; margin: 9px 0 4px; }
.print dl { font-size: 13.5px; margin: 4px 0 0; gap: 0 10px; }
.print .badge { font-size: 13px; }
.views { display: flex; gap: 16px; flex-wrap: wrap; margin: 14px 0 0; color: var(--faint); }
.views label { color: var(--deep); cursor: pointer; }
.all { columns: 4 220px; font-size: 14.5px; padding-left: 1.2em; }
"""

_VIEWS = """
<p class="views" role="radiogroup" aria-label="How pictures are shown">Show
<label><input type="radio" name="view" value="" checked> each by itself</label>
<label><input type="radio" name="view" value="half"> half through to the reference</label>
<label><input type="radio" name="view" value="difference"> what differs from the reference</label></p>
<script>document.addEventListener("change", (event) => {
  if (event.target.name === "view") document.body.dataset.view = event.target.value; });</script>
"""


def page_head(title: str, summary: str) -> str:
    """Return the top of the page, down to where the contents begin."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="generator" content="calque">'
        f"<title>{escaped(title)}</title><style>{report_page.STYLE}{report_decisions.STYLE}{_STYLE}</style></head>\n"
        f'<body><header class="top"><p class="kicker">calque</p><h1>{escaped(title)}</h1>'
        f"<p>{escaped(summary)}</p>\n{_VIEWS}"
    )


def contents(rows: Iterable[tuple[str, str, int]]) -> str:
    """Return the list of sections: anchor, title, number of pictures."""
    lines = [f'<li><a href="#{anchor}">{escaped(title)}</a> ({count})</li>\n' for anchor, title, count in rows]
    if len(lines) < 2:
        return ""
    return f'<details><summary>All {len(lines)}</summary><ol class="all">\n{"".join(lines)}</ol></details>\n'


def section(anchor: str, title: str, told: str, pictures: Iterable[str]) -> str:
    """Return one group, or one photograph with its finds."""
    return (
        f'<section class="sheaf" id="{anchor}"><header><h2 class="name">{escaped(title)}</h2>'
        f'<p>{escaped(told)}</p></header><div class="prints">{"".join(pictures)}</div></section>\n'
    )


def picture(title: str, shown: str, details: str, *, page: str | None, decidable: str) -> str:
    """Return one picture: `shown` as of `stack`, its facts, a link to its page, the attribute to judge it by."""
    name = escaped(title) if page is None else f'<a href="{escaped(page)}">{escaped(title)}</a>'
    kind = "" if decidable else " reference"
    return f'<article class="print{kind}"{decidable}>{shown}<h3 class="name">{name}</h3>{details}</article>\n'


def stack(own: str, reference: str, alt: str, size: tuple[int, int]) -> str:
    """Return a picture that loads when it comes into view, and the reference with it; paths relative to the report."""
    dimensions = f'loading="lazy" width="{size[0]}" height="{size[1]}"'
    under = "" if own == reference else f'<img class="under" src="{quote(reference)}" alt="" {dimensions}>'
    return f'<a class="stack" href="{quote(own)}"><img src="{quote(own)}" alt="{escaped(alt)}" {dimensions}>{under}</a>'


def facts(region: Region, metadata: Mapping[str, str], match: tuple[str, float, float, float] | None) -> str:
    """Return badges and figures of one picture; `match`: as of `cli.report_groups.Print`."""
    rows = [("place", report_page.box(region))]
    if match is None:
        badges = '<p><span class="badge turned">reference</span></p>'
    else:
        relation, rotation, scale, false_alarms = match
        badges = f"<p>{report_page.badges(relation, rotation)}</p>"
        rows += [("size", f"{scale:.2f} × the reference’s"), ("false alarms", report_page.power(false_alarms))]
    rows += [(escaped(key), escaped(value)) for key, value in metadata.items()]
    listed = "".join(f"<dt>{key}</dt><dd>{value}</dd>" for key, value in rows)
    return f"{badges}<dl>{listed}</dl>"


def page_foot() -> str:
    """Return the foot of the page, with the bar that saves what was judged."""
    return (
        "<footer><p>All pictures of a group are drawn in the frame of its reference: what coincides lies at the same "
        "place. False alarms: how many matches as good as this one chance alone is expected to produce in one search "
        f"of this size.</p></footer>{report_decisions.saving()}</body></html>\n"
    )
