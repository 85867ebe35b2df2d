"""The words and the HTML of `report.html`; everything that comes from outside is escaped here."""

from __future__ import annotations

import math
import os
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import quote

from cli import report_decisions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from index.annotations import Zone
    from matcher.types import Match, Region

__all__ = [
    "STYLE",
    "badges",
    "box",
    "chance",
    "contents",
    "escaped",
    "facts",
    "failure",
    "figure",
    "hit_card",
    "missing",
    "page_foot",
    "page_head",
    "power",
    "query_section",
]

STYLE = """
:root { --paper: #faf8f3; --card: #fffefb; --ink: #2a2520; --faint: #776e63; --line: #ddd5c7; --rubric: #b3341c;
  --deep: #0e6377; --safe: #3f6b3a; --doubt: #96690a; }
* { box-sizing: border-box; }
html { scroll-behavior: smooth; }
body { margin: 0; background: var(--paper); color: var(--ink); line-height: 1.5; font-size: 16px;
  font-family: "Iowan Old Style", "Palatino Linotype", Palatino, "URW Palladio L", "Book Antiqua", Georgia,
  "DejaVu Serif", serif; font-variant-numeric: oldstyle-nums; }
main, .top, footer { max-width: 1240px; margin: 0 auto; padding: 0 28px; }
.top { padding-top: 44px; border-bottom: 3px double var(--line); padding-bottom: 18px; }
.kicker { color: var(--rubric); font-style: italic; margin: 0; }
h1 { font-weight: 500; font-size: 38px; line-height: 1.15; margin: 2px 0 8px; letter-spacing: -.01em; }
.top p { margin: 0; color: var(--faint); max-width: 50em; }
details { margin: 20px 0 0; }
summary { cursor: pointer; color: var(--deep); }
table { border-collapse: collapse; width: 100%; margin: 12px 0; font-size: 15px; }
th { text-align: left; font-weight: 500; font-style: italic; color: var(--faint); }
th, td { border-bottom: 1px solid var(--line); padding: 4px 14px 4px 0; vertical-align: baseline; }
td.number, th.number { text-align: right; font-variant-numeric: lining-nums tabular-nums; }
a { color: var(--deep); text-decoration-thickness: 1px; text-underline-offset: 2px; }
.name { overflow-wrap: anywhere; }
.query { margin: 44px 0 56px; }
.asked { display: flex; gap: 24px; align-items: flex-end; border-bottom: 1px solid var(--ink); padding-bottom: 14px; }
.asked figure { margin: 0; }
.asked img { max-height: 170px; max-width: min(300px, 40vw); width: auto; height: auto; display: block;
  border: 1px solid var(--line); }
h2 { font-size: 25px; font-weight: 500; line-height: 1.2; margin: 0 0 4px; }
.asked p { margin: 0; color: var(--faint); }
.nothing { margin: 18px 0; padding: 22px 26px; border: 1px dashed var(--line); color: var(--faint);
  font-style: italic; }
.hit { display: grid; grid-template-columns: minmax(0, 1.9fr) minmax(270px, 1fr); gap: 26px; background: var(--card);
  border: 1px solid var(--line); border-top: 0; padding: 22px; }
.hit figure { margin: 0; }
.hit figure img { width: 100%; height: auto; display: block; border: 1px solid var(--line); background: #fff; }
figcaption { font-size: 13.5px; line-height: 1.35; color: var(--faint); font-style: italic; margin-top: 5px; }
h3 { margin: 0 0 8px; font-size: 19px; font-weight: 500; line-height: 1.25; }
h3 .rank { color: var(--rubric); margin-right: .35em; }
.badge { display: inline-block; border: 1px solid currentColor; border-radius: 2px; padding: 0 .5em; font-size: 14px;
  margin: 0 4px 4px 0; color: var(--deep); }
.badge.turned { color: var(--rubric); }
.sure { margin: 8px 0 10px; padding-left: 11px; border-left: 3px solid var(--safe); line-height: 1.4; }
.sure.likely, .sure.doubtful, .sure.weak { border-color: var(--doubt); }
.sure b { font-weight: 600; }
dl { display: grid; grid-template-columns: auto 1fr; gap: 1px 14px; margin: 0 0 14px; font-size: 15px; }
dt { font-style: italic; color: var(--faint); }
dd { margin: 0; font-variant-numeric: lining-nums; }
.close { grid-column: 1 / -1; display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 18px;
  align-items: start; }
.missing { padding: 18px; border: 1px dashed var(--line); color: var(--faint); font-style: italic; margin: 0; }
.failures td { color: var(--ink); }
footer { color: var(--faint); font-size: 14px; padding-top: 16px; padding-bottom: 44px;
  border-top: 3px double var(--line); }
@media (max-width: 860px) { .hit { grid-template-columns: minmax(0, 1fr); }
  .close { grid-template-columns: repeat(auto-fit, minmax(220px, 1fr)); } h1 { font-size: 30px; }
  .asked { flex-direction: column; align-items: flex-start; } main, .top, footer { padding-left: 16px;
  padding-right: 16px; } }
@media print { body { background: #fff; font-size: 11pt; } .hit { break-inside: avoid; } details { display: none; } }
"""

"""The look of every page that calque writes."""

_SCALES = ((1e12, "a trillion"), (1e9, "a billion"), (1e6, "a million"), (1e3, "a thousand"))
_VERDICTS = (
    (1e-9, "certain", "Practically certain"),
    (1e-3, "safe", "Safe"),
    (0.1, "likely", "Likely"),
    (1.0, "doubtful", "Doubtful"),
    (math.inf, "weak", "Weak"),
)
_RELATIONS = {
    "same": "same way round",
    "mirrored": "mirrored",
    "inverted": "negative",
    "mirrored+inverted": "mirrored negative",
}


def escaped(value: object) -> str:
    """Escape `value` for HTML; bytes of file names that are no UTF-8 show as replacement characters."""
    return escape(os.fsencode(str(value)).decode("utf-8", "replace"))


def chance(false_alarms: float) -> tuple[str, str]:
    """Return a verdict and what `false_alarms`, the accidental matches expected in one search, means in words."""
    verdict = next(words for limit, _, words in _VERDICTS if false_alarms <= limit)
    if false_alarms > 1:
        return verdict, f"chance alone gives about {false_alarms:.3g} matches as good as this in every search"
    searches = 1 / max(false_alarms, 1e-300)
    for size, words in _SCALES:
        if searches >= size:
            more = "less than once" if size == _SCALES[0][0] else "about once"
            count = searches / size
            often = words if count < 1.5 or size == _SCALES[0][0] else f"{count:.0f} {words.split()[1]}"
            return verdict, f"chance alone would give such a match {more} in {often} searches like this one"
    return verdict, f"chance alone would give such a match about once in {searches:.0f} searches like this one"


def power(value: float) -> str:
    """Return a small number as HTML: 3 · 10⁻⁵, or plainly from 0.01 on."""
    if value >= 0.01:
        return f"{value:.2g}"
    if value < 1e-300:
        return "less than 10<sup>−300</sup>"
    exponent = math.floor(math.log10(value))
    lead = value / 10.0**exponent
    return f"10<sup>−{-exponent}</sup>" if lead < 1.05 else f"{lead:.1f} · 10<sup>−{-exponent}</sup>"


def box(region: Region) -> str:
    """Return the size and the place of a box in words."""
    return f"{region.width:.0f} × {region.height:.0f} px at {round(region.x)}, {round(region.y)}"


def _turn(rotation: float) -> str:
    if abs(rotation) < 0.5:
        return "upright"
    return f"turned {abs(rotation):.{0 if abs(rotation) >= 10 else 1}f}° {'' if rotation > 0 else 'anti'}clockwise"


def badges(relation: str, rotation: float) -> str:
    """Return how a picture was printed, at a glance: the same way round or not, turned or not."""
    turned = "" if relation == "same" else " turned"
    leaning = " turned" if abs(rotation) >= 45 else ""
    way = f'<span class="badge{turned}">{_RELATIONS[relation]}</span>'
    return f'{way}<span class="badge{leaning}">{_turn(rotation)}</span>'


def facts(match: Match, false_alarms: float, score: float, zone: Zone | None = None) -> str:
    """Return badges, verdict and figures of one match, and the picture of the page that it lies on, if one is known."""
    verdict, meaning = chance(false_alarms)
    kind = next(name for limit, name, _ in _VERDICTS if false_alarms <= limit)
    rows = [
        ("size", f"{match.scale:.2f} × the query’s"),
        ("place", box(match.region)),
        *([("on", f"{zone.kind} {zone.id}, {box(zone.box)}")] if zone is not None else []),
        ("inliers", f"{match.inliers}"),
        ("score", f"{score:.1f}"),
        ("false alarms", f"{power(false_alarms)} expected"),
    ]
    listed = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in rows)
    sure = f'<p class="sure {kind}"><b>{verdict}:</b> {meaning}.</p>'
    return f"<p>{badges(match.relation, match.rotation)}</p>{sure}<dl>{listed}</dl>"


def figure(picture: str, caption: str, alt: str, size: tuple[int, int]) -> str:
    """Return a figure that loads when it comes into view and opens large on a click; `caption` may be empty.

    `picture` is a path relative to the report, `size` its width and height in pixels.
    """
    link = quote(picture)
    below = f"<figcaption>{caption}</figcaption>" if caption else ""
    return (
        f'<figure><a href="{link}"><img src="{link}" alt="{escaped(alt)}" loading="lazy" width="{size[0]}" '
        f'height="{size[1]}"></a>{below}</figure>'
    )


def hit_card(
    rank: int, image: str, page: int, details: str, proof: str, close_ups: Iterable[str], attributes: str = ""
) -> str:
    """Return one hit: its proof and its facts, close-ups below; `attributes` are further ones of its element."""
    row = "".join(close_ups)
    closer = f'<div class="close">{row}</div>' if row else ""
    where = f"{escaped(image)}{f', page {page + 1}' if page else ''}"
    return (
        f'<article class="hit"{attributes}><div>{proof}</div><div>'
        f'<h3 class="name"><span class="rank">{rank}.</span>{where}</h3>{details}</div>{closer}</article>\n'
    )


def missing(reason: str) -> str:
    """Return what stands in the place of pictures that cannot be made."""
    return f'<p class="missing name">No picture: {escaped(reason)}</p>'


def query_section(
    anchor: str, name: str, image: str, region: Region | None, seconds: float, thumbnail: str, cards: Iterable[str]
) -> str:
    """Return one query with its hits."""
    hits = list(cards)
    found = f"{len(hits)} found" if hits else "nothing found"
    asked = "the whole picture" if region is None else f"the region of {box(region)}"
    source = f'<span class="name">{escaped(image)}</span>, ' if image != name else ""
    body = "".join(hits) or (
        '<p class="nothing">Nothing on these pages resembles it closely enough to be reported. That is an answer, '
        "not a proof: a print much smaller, coarser or more damaged than the query can escape.</p>"
    )
    return (
        f'<section class="query" id="{anchor}"><header class="asked">{thumbnail}<div>'
        f'<h2 class="name">{escaped(name)}</h2>'
        f"<p>{source}{asked}</p><p>{found} in {seconds:.2g} s</p></div></header>\n{body}</section>\n"
    )


def contents(rows: Iterable[tuple[str, str, int, float | None]]) -> str:
    """Return the table of queries: anchor, name, number of hits, least false alarms."""
    lines = [
        f'<tr><td class="name"><a href="#{anchor}">{escaped(name)}</a></td><td class="number">{hits}</td>'
        f'<td class="number">{"" if best is None else power(best)}</td></tr>\n'
        for anchor, name, hits, best in rows
    ]
    if len(lines) < 2:
        return ""
    return (
        f"<details{' open' if len(lines) <= 30 else ''}><summary>All {len(lines)} queries</summary><table><thead><tr>"
        '<th>query</th><th class="number">found</th><th class="number">false alarms expected, best</th></tr></thead>'
        f"<tbody>\n{''.join(lines)}</tbody></table></details>\n"
    )


def failure(rows: Iterable[tuple[str, str]]) -> str:
    """Return the section of queries that could not be answered: name and error."""
    lines = "".join(
        f'<tr><td class="name">{escaped(name)}</td><td class="name">{escaped(error)}</td></tr>\n'
        for name, error in rows
    )
    if not lines:
        return ""
    return (
        '<section class="query failures" id="failures"><header class="asked"><h2>Not answered</h2></header>'
        f"<table><thead><tr><th>query</th><th>reason</th></tr></thead><tbody>\n{lines}</tbody></table></section>\n"
    )


def page_head(queries: int, answered: int, hits: int, failures: int) -> str:
    """Return the top of the page, down to where the contents begin."""
    if queries == 0:
        summary = "No query was asked."
    elif queries == 1:
        summary = f"One query; {hits} found." if hits else "One query; nothing found."
    else:
        summary = f"{queries} queries; something found for {answered} of them, {hits} finds in all."
    failed = f' <a href="#failures">{failures} could not be answered.</a>' if failures else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="generator" content="calque">'
        f"<title>Found pictures</title><style>{STYLE}{report_decisions.STYLE}</style></head>\n"
        '<body><header class="top"><p class="kicker">calque</p><h1>Found pictures</h1>'
        f"<p>{summary}{failed}</p>\n"
    )


def page_foot() -> str:
    """Return the foot of the page, with the legend of the drawings."""
    return (
        "<footer><p>Frames: what was looked for, and where it lies; the square marks its top left corner. Dots and "
        "lines: details found on both. Overlay: the query printed in red, the find in cyan; what coincides is black, "
        "every difference is coloured. False alarms: how many matches as good as this one chance alone is expected to "
        f"produce in a search of this size.</p></footer>{report_decisions.saving()}</body></html>\n"
    )
