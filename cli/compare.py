"""``calque compare``: two images, no index."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.options import device_option, format_option, matcher_option, region_option
from cli.output import write_json, write_record, write_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cli.output import Format
    from matcher.collation import Collation
    from matcher.images import Scan
    from matcher.ink import Gap
    from matcher.types import Match, Region
    from matcher.verdict import Judgement

__all__ = ["compare"]

_COLUMNS = ["verdict", "relation", "rotation", "scale", "inliers", "false_alarms", "region", "polygon", "transform"]
_BLOCK_COLUMNS = ["block", "agreement", "deformation", "lines_met", "lines_met_back"]
_PICTURES = (".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


def _drawing(context: click.Context, parameter: click.Parameter, value: Path | None) -> Path | None:
    """Refuse a drawing's name before the work is done rather than after."""
    if value is not None and value.suffix.lower() not in _PICTURES:
        raise click.BadParameter(f"{str(value)!r} is no picture; give a name ending in {', '.join(_PICTURES)}")
    return value


@click.command()
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@region_option
@click.option(
    "--page-a", type=click.IntRange(min=0), default=0, show_default=True, metavar="N", help="Page of A, from 0."
)
@click.option(
    "--page-b", type=click.IntRange(min=0), default=0, show_default=True, metavar="N", help="Page of B, from 0."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    callback=_drawing,
    metavar="FILE",
    help="Picture of the surest match, B laid over A: A in red, B in cyan, agreement black. A .gif shows them in turn.",
)
@click.option(
    "--proof",
    type=click.Path(path_type=Path, dir_okay=False),
    callback=_drawing,
    metavar="FILE",
    help="Picture of A beside B with the place found and the inliers.",
)
@click.option(
    "--bench",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder for the bench of the surest match: overlay, blink, broken lines, ink, deformation, and a page of all.",
)
@matcher_option("--matcher", words="Find one on the other by a network that sees both at once")
@device_option
@format_option
def compare(
    a: Path,
    b: Path,
    region: Region | None,
    page_a: int,
    page_b: int,
    output: Path | None,
    proof: Path | None,
    bench: Path | None,
    matcher: str | None,
    form: Format,
) -> int:
    """Say whether image A, or what is inside its --region, is found again on image B, where, and from the same block.

    One answer for each place found, the surest first. The transform maps pixels of A to pixels of B. Each place is
    registered finely and judged: same block (plate, negative), copy, or unsure, with the evidence.
    Exit status: 0 found, 1 not found, 2 wrong usage or failure.

    \b
    Examples:
      calque compare block.jpg page.jpg
      calque compare p12.jpg p90.jpg --region 310,420,500,640 -o overlay.png
      calque compare first.tif second.tif --page-b 4 -o blink.gif --proof proof.png
      calque compare p12.jpg p90.jpg --region 310,420,500,640 --bench bench/
      calque compare photograph.jpg drawing.jpg --matcher lighterglue
    """
    from index.comparison import compare as compare_images

    matches = compare_images(a, b, region, page_a, page_b, matcher=matcher)
    answers = []
    if matches:
        scans = _scans(a, b, page_a, page_b)
        judged = [_judged(scans, match, region) for match in matches]
        answers = [_as_dict(match) | {"block": _block(*one)} for match, one in zip(matches, judged, strict=True)]
        if output is not None:
            _draw_overlay(output, scans, matches[0], region)
        if proof is not None:
            _draw_proof(proof, scans, matches[0], region)
        if bench is not None:
            from cli.bench import write_bench

            page = write_bench(bench, (str(a), str(b)), *judged[0])
            click.echo(f"bench: {page}", err=True)
    _write({"a": str(a), "b": str(b)}, answers, form)
    return 0 if matches else 1


def _as_dict(match: Match) -> dict[str, Any]:
    return {
        "verdict": "found",
        "relation": match.relation,
        "rotation": match.rotation,
        "scale": match.scale,
        "inliers": match.inliers,
        "false_alarms": max(10.0**match.log_false_alarms, sys.float_info.min),
        "region": match.region.as_list(),
        "polygon": match.polygon.tolist(),
        "transform": match.transform.matrix.tolist(),
    }


def _judged(scans: tuple[Scan, Scan], match: Match, region: Region | None) -> tuple[Collation, Judgement]:
    from matcher.collation import collate
    from matcher.verdict import judge

    collation = collate(*scans, match, region)
    return collation, judge(collation.evidence)


def _block(collation: Collation, judgement: Judgement) -> dict[str, Any]:
    """Return verdict and evidence on one block; what could not be measured is None."""
    from matcher.verdict import weigh_wear

    evidence, wear = collation.evidence, weigh_wear(collation)
    same = judgement.verdict == "same"
    return {
        "verdict": judgement.verdict,
        "reasons": list(judgement.reasons),
        "agreement": _number(evidence.agreement),
        "deformation": _number(evidence.deformation),
        "places": evidence.places,
        "resolution": evidence.resolution,
        "tonal": evidence.tonal,
        "lines_met": evidence.lines_met,
        "lines_met_back": evidence.lines_met_back,
        "coverage": list(evidence.coverage),
        "thickness": list(evidence.thickness),
        "lost_on_b": [_gap(collation, gap) for gap in collation.gaps_b[1]],
        "lost_on_a": [_gap(collation, gap) for gap in collation.gaps_a[1]],
        "printed_first": wear.earlier if same else None,
        "inked_more_lightly": wear.lighter,
    }


def _gap(collation: Collation, gap: Gap) -> dict[str, Any]:
    return {"kind": gap.kind, "region": [round(value, 1) for value in collation.place(gap).as_list()]}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _write(compared: dict[str, str], matches: Sequence[dict[str, Any]], form: Format) -> None:
    if form in ("json", "jsonl"):
        write_json({**compared, "found": bool(matches), "matches": list(matches)}, line=form == "jsonl")
        return
    rows = [_flat(match, form) for match in matches]
    if form == "csv":
        write_rows(rows, _COLUMNS + _BLOCK_COLUMNS, form)
    else:
        for row in rows or [{"verdict": "not found"}]:
            write_record(row, form)


def _flat(match: dict[str, Any], form: Format) -> dict[str, Any]:
    """Return a match with the verdict on its block as cells: the bare word for programs, a sentence for people."""
    from matcher.verdict import IN_WORDS

    block = match["block"]
    words = {name: block[name] for name in _BLOCK_COLUMNS[1:]}
    if form == "csv":
        return match | {"block": block["verdict"]} | words
    said = f"{IN_WORDS[block['verdict']]}: {'; '.join(block['reasons'])}"
    first = {"verdict": match["verdict"], "block": said}
    return first | {name: value for name, value in match.items() if name not in first} | words


def _scans(a: Path, b: Path, page_a: int, page_b: int) -> tuple[Scan, Scan]:
    from matcher.images import read_image

    return read_image(a, page_a), read_image(b, page_b)


def _draw_overlay(path: Path, scans: tuple[Scan, Scan], match: Match, region: Region | None) -> None:
    from PIL import Image

    from matcher.registration import blink_gif, overlay, register

    pair = register(*scans, match, region, long_side=1600)
    if path.suffix.lower() == ".gif":
        blink_gif(path, pair.query, pair.image)
    else:
        Image.fromarray(overlay(pair.query, pair.image, pair.valid)).save(path)


def _draw_proof(path: Path, scans: tuple[Scan, Scan], match: Match, region: Region | None) -> None:
    from PIL import Image

    from matcher.registration import side_by_side

    Image.fromarray(side_by_side(*scans, match, region)).save(path)
