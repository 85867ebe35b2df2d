"""Confusions and calibration drawn as SVG, which any browser shows and any size suits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.report_page import escaped

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["calibration_curve", "confusion_matrix", "confusion_of_labels"]

_HEAD = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" width="{w}" height="{h}" role="img" '
_FONT = 'font-family="Palatino, Georgia, DejaVu Serif, serif"'
_INK, _FAINT, _LINE, _RIGHT, _WRONG = "#2a2520", "#776e63", "#ddd5c7", (14, 99, 119), (179, 52, 28)
_PAPER = (255, 254, 251)
_LETTER = 7.4
"""Pixels that a letter takes on average, of the size that labels have."""


def confusion_matrix(classes: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """Return a picture of how often what (rows) was told as what (columns): right ones blue, wrong ones red."""
    size = max(30, min(64, 760 // max(1, len(classes))))
    left = 40 + min(240, round(_LETTER * max(map(len, classes))))
    top = 34 + min(190, round(0.72 * _LETTER * max(map(len, classes))))
    # Names stand aslant over their columns, and the last leans out to the right.
    wide, high = left + size * len(classes) + top, top + size * len(classes) + 16
    parts = [
        _HEAD.format(w=wide, h=high) + f'aria-label="Confusion matrix" {_FONT} font-size="14" fill="{_INK}">',
        f'<text x="{left - 12}" y="{top - 12}" text-anchor="end" font-style="italic" fill="{_FAINT}">'
        "is ↓ told →</text>",
    ]
    for row, (name, line) in enumerate(zip(classes, counts, strict=True)):
        middle = top + size * (row + 0.5)
        whole = sum(line)
        parts.append(f'<text x="{left - 12}" y="{middle + 5:.1f}" text-anchor="end">{_short(name)}</text>')
        across = left + size * (row + 0.5)
        turned = f'transform="translate({across:.1f} {top - 8}) rotate(-40)"'
        parts.append(f"<text {turned}>{_short(name)}</text>")
        for column, count in enumerate(line):
            share = count / whole if whole else 0.0
            colour = _mixed(_RIGHT if row == column else _WRONG, share)
            at, down = left + size * column, top + size * row
            told = f"{escaped(name)} told as {escaped(classes[column])}: {count} of {whole}"
            parts.append(
                f'<g><title>{told}</title><rect x="{at}" y="{down}" width="{size - 2}" height="{size - 2}" '
                f'fill="{colour}" stroke="{_LINE}"/>'
            )
            if count:
                ink = "#fff" if share > 0.5 else _INK
                parts.append(
                    f'<text x="{at + size / 2 - 1:.1f}" y="{down + size / 2 + 4:.1f}" text-anchor="middle" '
                    f'font-size="{13 if size > 34 else 11}" fill="{ink}">{count}</text>'
                )
            parts.append("</g>")
    return "".join(parts) + "</svg>"


def confusion_of_labels(classes: Sequence[str], counts: Sequence[Sequence[Sequence[int]]]) -> str:
    """Return a picture of classes that do not exclude each other: of each, right, missed and false as bars."""
    left = 30 + min(240, round(_LETTER * max(map(len, classes))))
    most = max(1, max(yes[0] + yes[1] + no[1] for no, yes in counts))
    wide, line = left + 560, 30
    high = line * len(classes) + 44
    parts = [
        _HEAD.format(w=wide, h=high) + f'aria-label="Right, missed and false" {_FONT} font-size="14" fill="{_INK}">'
    ]
    for start, colour, words in ((0, _RIGHT, "right"), (110, _LINE, "missed"), (230, _WRONG, "told, but not so")):
        fill = colour if isinstance(colour, str) else _mixed(colour, 1.0)
        parts.append(f'<rect x="{left + start}" y="8" width="13" height="13" fill="{fill}"/>')
        parts.append(f'<text x="{left + start + 19}" y="20" fill="{_FAINT}" font-style="italic">{words}</text>')
    for row, (name, (no, yes)) in enumerate(zip(classes, counts, strict=True)):
        y = 34 + line * row
        parts.append(f'<text x="{left - 12}" y="{y + 17}" text-anchor="end">{_short(name)}</text>')
        x = float(left)
        for count, fill in ((yes[1], _mixed(_RIGHT, 1.0)), (yes[0], _LINE), (no[1], _mixed(_WRONG, 1.0))):
            length = 480 * count / most
            parts.append(f'<rect x="{x:.1f}" y="{y}" width="{length:.1f}" height="22" fill="{fill}"/>')
            x += length
        parts.append(f'<text x="{x + 8:.1f}" y="{y + 16}" fill="{_FAINT}">{yes[1]} / {yes[0]} / {no[1]}</text>')
    return "".join(parts) + "</svg>"


def calibration_curve(bins: Sequence[Sequence[float]]) -> str:
    """Return a picture of how often answers are right (up) by how sure they are (across); areas tell how many."""
    side, edge = 320, 46
    most = max((count for _, _, count in bins), default=1)
    parts = [
        _HEAD.format(w=side + 2 * edge, h=side + 2 * edge)
        + f'aria-label="Calibration curve" {_FONT} font-size="13" fill="{_FAINT}">',
        f'<rect x="{edge}" y="{edge / 2}" width="{side}" height="{side}" fill="#fffefb" stroke="{_LINE}"/>',
        f'<path d="M{edge} {edge / 2 + side}L{edge + side} {edge / 2}" stroke="{_FAINT}" stroke-dasharray="4 4"/>',
    ]
    for tick in (0, 0.25, 0.5, 0.75, 1):
        x, y = edge + side * tick, edge / 2 + side * (1 - tick)
        parts.append(f'<text x="{x}" y="{edge / 2 + side + 18}" text-anchor="middle">{tick:g}</text>')
        parts.append(f'<text x="{edge - 8}" y="{y + 4}" text-anchor="end">{tick:g}</text>')
    points = [(edge + side * sure, edge / 2 + side * (1 - right), count) for sure, right, count in bins]
    way = "L".join(f"{x:.1f} {y:.1f}" for x, y, _ in points)
    if points:
        parts.append(f'<path d="M{way}" fill="none" stroke="{_mixed(_RIGHT, 1.0)}" stroke-width="1.5"/>')
    for (x, y, count), (sure, right, _) in zip(points, bins, strict=True):
        told = f"{count:.0f} answers, sure to {sure:.2f}, right {right:.2f}"
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{3 + 9 * (count / most) ** 0.5:.1f}" '
            f'fill="{_mixed(_RIGHT, 1.0)}" fill-opacity=".55"><title>{told}</title></circle>'
        )
    middle, low = edge + side / 2, edge / 2 + side + 38
    parts.append(f'<text x="{middle}" y="{low}" text-anchor="middle" font-style="italic">how sure</text>')
    parts.append(
        f'<text transform="translate(13 {edge / 2 + side / 2}) rotate(-90)" text-anchor="middle" '
        'font-style="italic">share right</text>'
    )
    return "".join(parts) + "</svg>"


def _short(name: str) -> str:
    return escaped(name if len(name) <= 32 else f"{name[:31]}…")


def _mixed(colour: tuple[int, int, int], share: float) -> str:
    """Return a colour laid on paper so densely."""
    amount = share**0.7
    return "#" + "".join(f"{round(p + (c - p) * amount):02x}" for c, p in zip(colour, _PAPER, strict=True))
