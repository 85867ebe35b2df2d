"""``calque compare``: two images, no index."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.options import format_option, region_option
from cli.output import write_json, write_record, write_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cli.output import Format
    from matcher.types import Match, Region

__all__ = ["compare"]

_COLUMNS = ["verdict", "relation", "rotation", "scale", "inliers", "false_alarms", "region", "polygon", "transform"]
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
@format_option
def compare(
    a: Path,
    b: Path,
    region: Region | None,
    page_a: int,
    page_b: int,
    output: Path | None,
    proof: Path | None,
    form: Format,
) -> int:
    """Say whether image A, or what is inside its --region, is found again on image B, and where.

    One answer for each place found, the surest first. The transform maps pixels of A to pixels of B. Exit status:
    0 found, 1 not found, 2 wrong usage or failure.

    \b
    Examples:
      calque compare block.jpg page.jpg
      calque compare p12.jpg p90.jpg --region 310,420,500,640 -o overlay.png
      calque compare first.tif second.tif --page-b 4 -o blink.gif --proof proof.png
    """
    from index.comparison import compare as compare_images

    matches = compare_images(a, b, region, page_a, page_b)
    if matches and output is not None:
        _draw_overlay(output, _scans(a, b, page_a, page_b), matches[0], region)
    if matches and proof is not None:
        _draw_proof(proof, _scans(a, b, page_a, page_b), matches[0], region)
    _write({"a": str(a), "b": str(b)}, [_as_dict(match) for match in matches], form)
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


def _write(compared: dict[str, str], matches: Sequence[dict[str, Any]], form: Format) -> None:
    if form in ("json", "jsonl"):
        write_json({**compared, "found": bool(matches), "matches": list(matches)}, line=form == "jsonl")
    elif form == "csv":
        write_rows(matches, _COLUMNS, form)
    else:
        for match in matches or [{"verdict": "not found"}]:
            write_record(match, form)


def _scans(a: Path, b: Path, page_a: int, page_b: int) -> tuple[Any, Any]:
    from matcher.images import read_image

    return read_image(a, page_a), read_image(b, page_b)


def _draw_overlay(path: Path, scans: tuple[Any, Any], match: Match, region: Region | None) -> None:
    from PIL import Image

    from matcher.registration import blink_gif, overlay, register

    pair = register(*scans, match, region, long_side=1600)
    if path.suffix.lower() == ".gif":
        blink_gif(path, pair.query, pair.image)
    else:
        Image.fromarray(overlay(pair.query, pair.image, pair.valid)).save(path)


def _draw_proof(path: Path, scans: tuple[Any, Any], match: Match, region: Region | None) -> None:
    from PIL import Image

    from matcher.registration import side_by_side

    Image.fromarray(side_by_side(*scans, match, region)).save(path)
