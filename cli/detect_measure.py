"""``calque detect measure``: how large the things are that were found."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.detect_apply import is_index
from cli.options import format_option
from cli.output import write_rows
from cli.resolution_options import resolution_options

if TYPE_CHECKING:
    from cli.output import Format

__all__ = ["measure"]

_SUMMARY = [
    *("label", "things", "unit", "area_sum", "area_median"),
    *("length_least", "length_median", "length_greatest", "ratio_median", "resolution_from"),
]


@click.command()
@click.argument("regions", type=click.Path(path_type=Path), metavar="INDEX|REGIONS")
@click.option(
    "--label", "labels", multiple=True, metavar="NAME", help="Only things of this class; several may be given."
)
@click.option(
    "--min-score", type=click.FloatRange(0, 1), default=0.0, metavar="S", help="Only what is so sure or more, 0 to 1."
)
@resolution_options
@click.option(
    "--scale-bar",
    nargs=2,
    type=(str, click.FloatRange(min=0, min_open=True)),
    metavar="LABEL MM",
    help="Class of the scale bars or rulers on the images, and how long they are in millimetres.",
)
@click.option(
    "--histogram", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.png", help="Draw the sizes."
)
@click.option("--each", is_flag=True, help="A row for each thing, in the table, too; else it sums up each class.")
@format_option
def measure(
    regions: Path,
    labels: tuple[str, ...],
    min_score: float,
    dpi: float | None,
    dpi_key: str | None,
    believe_file: bool,
    scale_bar: tuple[str, float] | None,
    histogram: Path | None,
    each: bool,
    form: Format,
) -> int:
    """Measure what was found: areas, lengths, widths, ratios, in pixels, and in millimetres where these are known.

    REGIONS are JSON Lines of `calque detect`, a COCO file, or a folder of YOLO's. An outline is measured where there is
    one, else the box; length and width are those of the smallest rectangle around it. Resolution is what --dpi,
    --dpi-key or a scale bar say, else the head of each file, but for 72 and 96 dpi, which programs write that do not
    know it: every row tells where it is from. As csv, json and jsonl every thing is a row.

    Exit status: 0 done, 1 nothing to measure, 2 wrong usage or failure.

    \b
    Examples:
      calque detect measure scans.calque --label stamp --histogram stamps.png
      calque detect measure found.jsonl --dpi 300 --format csv > sizes.csv
      calque detect measure herbarium.json --scale-bar ruler 100
    """
    from contextlib import ExitStack

    from index.detection_files import seen_images
    from index.detection_measures import (
        MEASURE_COLUMNS,
        MeasureSettings,
        draw_histogram,
        measure_images,
        regions_of_file,
        summed_up,
    )
    from index.store import Index

    if sum(one is not None for one in (dpi, dpi_key, scale_bar)) > 1:
        raise click.UsageError("--dpi, --dpi-key and --scale-bar say the same thing; give one of them")
    settings = MeasureSettings(labels, min_score, dpi, dpi_key, believe_file, scale_bar)
    with ExitStack() as stack:
        if is_index(str(regions)):
            images = seen_images(stack.enter_context(Index.open(regions)))
        else:
            images = regions_of_file(regions)
        rows = list(measure_images(images, settings))
    if form == "table" and not each:
        write_rows(summed_up(rows), _SUMMARY, form)
    else:
        write_rows(rows, list(MEASURE_COLUMNS), form)
    if histogram is not None and rows:
        draw_histogram(histogram, rows)
        click.echo(f"calque: sizes drawn in {histogram}", err=True)
    unknown = sum(row["length_mm"] is None for row in rows)
    if unknown:
        click.echo(f"calque: of {unknown} of {len(rows)} things the resolution is not known", err=True)
    if not rows:
        click.echo("calque: nothing to measure", err=True)
    return 0 if rows else 1
