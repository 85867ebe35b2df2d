"""The words and the HTML of the bench: verdict, evidence and broken lines of two prints, beside their drawings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.report_page import STYLE, escaped, figure
from matcher.collation_drawings import longest_breaks
from matcher.verdict import IN_WORDS, weigh_wear

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matcher.collation import Collation
    from matcher.ink import Gap
    from matcher.verdict import Judgement

__all__ = ["page", "wear_in_words"]

_STYLE = (
    STYLE
    + """
.verdict { font-size: 24px; } .same { color: var(--safe); } .copy { color: var(--rubric); }
.unsure { color: var(--doubt); }
.bench { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 480px), 1fr)); gap: 26px;
  margin: 28px 0 44px; align-items: start; }
.bench figure { margin: 0; } .bench img { width: 100%; height: auto; border: 1px solid var(--line); background: #fff; }
.wide { grid-column: 1 / -1; }
"""
)

_FIGURES = {
    "two-colours.png": "Two colours: A in red ink, B in cyan, line laid on line. Black is common to both.",
    "blink.gif": "Blink: A and B in turn. What jumps has changed.",
    "line-breaks.png": "Line breaks: in red on A what B lacks, in blue on B what A lacks. The longest lines that are "
    "whole on one and broken on the other are framed and numbered.",
    "ink-difference.png": "Ink: red where A has more, blue where B has more, once their inking is levelled.",
    "deformation.png": "Deformation: how B’s lines lie off A’s beyond what paper does, much exaggerated. Arrows in "
    "disorder are measuring noise; whole figures that move together are another hand.",
    "side-by-side.png": "Side by side, B brought onto A at the resolution of the coarser scan.",
}
_WIDE = ("line-breaks.png", "side-by-side.png")


def page(names: Sequence[str], collation: Collation, judgement: Judgement, sizes: Mapping[str, tuple[int, int]]) -> str:
    """Return the page. `names`: of A and B; `sizes`: width and height of every picture, by its file's name."""
    figures = "".join(
        f'<div class="{"wide" if name in _WIDE else "narrow"}">'
        f"{figure(name, caption, caption.split(':')[0].split(',')[0], sizes[name])}</div>\n"
        for name, caption in _FIGURES.items()
    )
    reasons = "; ".join(judgement.reasons)
    wear = f"<p>{escaped(wear_in_words(collation))}</p>" if judgement.verdict == "same" else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="generator" content="calque">'
        f"<title>Two prints collated</title><style>{_STYLE}</style></head>\n"
        '<body><header class="top"><p class="kicker">calque</p><h1>Two prints collated</h1>'
        f'<p class="name">A: {escaped(names[0])}<br>B: {escaped(names[1])}</p></header>\n<main>'
        f'<section class="query"><p class="verdict {judgement.verdict}">{IN_WORDS[judgement.verdict]}</p>'
        f"<p>{escaped(reasons)}.</p>{wear}{_evidence(collation)}{_breaks(collation)}</section>\n"
        f'<section class="bench">{figures}</section></main>\n'
        "<footer><p>Same block: lines agree and nothing but paper has moved them. Copy: lines displaced by another "
        "hand, or cut with other lines. Unsure: the evidence lies between, or the scans are too coarse to tell.</p>"
        "</footer></body></html>\n"
    )


def wear_in_words(collation: Collation) -> str:
    """Return a sentence or two on which lines are broken in which impression, and what that suggests."""
    wear = weigh_wear(collation)
    if not wear.lost_on_a and not wear.lost_on_b:
        return "No line that is whole on one is broken on the other."
    there, back = _lines(wear.lost_on_b), _lines(wear.lost_on_a)
    told = f"{there} whole on A and broken or shortened on B, {back} the other way round."
    if wear.earlier is None:
        return f"{told} That does not order them."
    earlier, later = ("A", "B") if wear.earlier == "a" else ("B", "A")
    told += f" Breaks of a block only grow, which suggests that {earlier} was printed before {later}"
    if wear.lighter is not None and wear.lighter != wear.earlier:
        return f"{told}; but {later} is inked more lightly, which breaks lines, too."
    return f"{told}, unless {later} is a poorer pull."


def _lines(count: int) -> str:
    return "1 line is" if count == 1 else f"{count or 'no'} lines are"


def _evidence(collation: Collation) -> str:
    evidence = collation.evidence
    rows = [
        ("lines agree to", f"{evidence.agreement:.2f}"),
        ("displaced beyond paper", f"{100 * evidence.deformation:.2f} % of the size, at {evidence.places} places"),
        ("A’s lines met on B", f"{100 * evidence.lines_met:.1f} %"),
        ("B’s lines met on A", f"{100 * evidence.lines_met_back:.1f} %"),
        ("inked", f"{100 * evidence.coverage[0]:.0f} % of A, {100 * evidence.coverage[1]:.0f} % of B"),
        ("lines are thick", f"{evidence.thickness[0]:.1f} px on A, {evidence.thickness[1]:.1f} px on B, in A’s pixels"),
        ("resolved by", f"{evidence.resolution:.0f} px of the coarser scan"),
    ]
    return "<dl>" + "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in rows) + "</dl>"


def _breaks(collation: Collation) -> str:
    """Return the table of the lines that are framed on the map of line breaks."""
    rows = [
        *_rows(collation, "A", "B", collation.gaps_b[1]),
        *_rows(collation, "B", "A", collation.gaps_a[1]),
    ]
    if not rows:
        return ""
    return (
        "<table><thead><tr><th>line</th><th>whole on</th><th>broken on</th><th>where, in pixels of A</th></tr></thead>"
        f"<tbody>\n{''.join(rows)}</tbody></table>"
    )


def _rows(collation: Collation, whole: str, broken: str, gaps: list[Gap]) -> list[str]:
    rows = []
    for number, gap in enumerate(longest_breaks(gaps), start=1):
        box = collation.place(gap)
        where = f"{box.width:.0f} × {box.height:.0f} px at {box.x:.0f}, {box.y:.0f}"
        rows.append(f"<tr><td>{number}</td><td>{whole}</td><td>{broken}</td><td>{where}</td></tr>\n")
    return rows
