"""``calque damage apply``: how much of each image is damaged, and where."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.options import format_option, quiet_option
from cli.output import one_line, write_rows
from cli.progress import Progress
from cli.resolution_options import resolution_options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.output import Format

__all__ = ["apply"]

_SHOWN = ["image", "page", "class", "share", "regions", "length_px", "area_mm2", "length_mm", "resolution_from"]


@click.command()
@click.argument("model", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="FOLDER",
    help="Folder for masks/, regions.csv with every piece of damage, and overlays/.",
)
@click.option("--overlay", is_flag=True, help="Draw the damage on every image into FOLDER/overlays.")
@click.option(
    "--min-score",
    type=click.FloatRange(0, 1),
    metavar="S",
    help="How likely a pixel must be to be damaged.  [default: what agreed best with what was kept from training]",
)
@click.option(
    "--looks",
    type=click.IntRange(min=1),
    metavar="N",
    help="Look only so often at each part of an image: faster, less sure.  [default: as often as it was trained to]",
)
@click.option(
    "--least",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    metavar="PX",
    help="Pixels of the smallest piece of damage that counts.",
)
@resolution_options
@format_option
@quiet_option
def apply(
    model: Path,
    sources: tuple[str, ...],
    output: Path,
    overlay: bool,
    min_score: float | None,
    looks: int | None,
    least: int,
    dpi: float | None,
    dpi_key: str | None,
    believe_file: bool,
    form: Format,
    quiet: bool,
) -> int:
    """Map the damage on each SOURCE by a MODEL of `calque damage train`.

    Masks are PNG with a palette, of the size of the image (or of --long-side of the training): 0 none, from 1 on the
    classes. For each image and class: the share of the image that is damaged, the number of pieces, and the length of
    their centre lines; in millimetres where the resolution is known, and who says so. Images of any size are looked at
    in tiles.

    Exit status: 0 done, 1 some inputs failed (the others are done), 2 wrong usage or failure.

    \b
    Examples:
      calque damage apply cracks.onnx paintings/ -o mapped/ --overlay
      calque damage apply cracks.onnx panel.tif -o mapped/ --dpi 600 --format csv > cracks.csv
    """
    from index.damage import IMAGE_COLUMNS, DamageSettings, map_damage
    from index.items import SourceFailure
    from matcher.damage import DamageMapper

    settings = DamageSettings(overlay, least, dpi, dpi_key, believe_file)
    mapper = DamageMapper(str(model), min_score, looks)
    counts = {"done": 0, "failed": 0}
    with Progress("images", quiet=quiet) as progress:

        def rows() -> Iterator[dict[str, Any]]:
            for found in map_damage(sources, mapper, output, settings, progress.update):
                if isinstance(found, SourceFailure):
                    counts["failed"] += 1
                    progress.message(one_line(f"calque: {found.name}: {found.reason}"))
                else:
                    counts["done"] += 1
                    yield from found

        write_rows(rows(), _SHOWN if form == "table" else list(IMAGE_COLUMNS), form)
    click.echo(f"calque: {counts['done']} images mapped into {output}; {counts['failed']} failed", err=True)
    return 1 if counts["failed"] or not counts["done"] else 0
