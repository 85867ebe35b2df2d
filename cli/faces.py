"""``calque faces``: the faces of an index, where they are, cut out and averaged. Not whose they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.options import device_option, format_option, index_argument, quiet_option, where_option, workers_option
from cli.output import one_line, write_rows
from cli.progress import Progress

if TYPE_CHECKING:
    from cli.output import Format

__all__ = ["faces"]

_MODEL = "yunet"
_COLUMNS = ["image", "page", "score", "region", "height_share", "centre_x", "centre_y", "tilt"]


@click.command()
@index_argument
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Folder for the faces cut out, faces.csv, average.png and a page with all of them, faces.html.",
)
@where_option
@click.option(
    "--min-score", type=click.FloatRange(0, 1), metavar="S", help="Leave out faces less sure, 0 to 1.  [default: 0.7]"
)
@click.option(
    "--min-height",
    type=click.IntRange(min=1),
    default=24,
    show_default=True,
    metavar="PX",
    help="Leave out faces less high, in pixels of the scan: they have no features to align.",
)
@click.option(
    "--max-tilt",
    type=click.FloatRange(0, 180),
    metavar="DEG",
    help="Leave out faces that lean more, in degrees; all are turned upright.",
)
@click.option(
    "--size",
    "side",
    type=click.IntRange(32, 2048),
    default=256,
    show_default=True,
    metavar="PX",
    help="Width and height of a face cut out.",
)
@workers_option
@device_option
@format_option
@quiet_option
def faces(
    index: Path,
    output: Path | None,
    where: str | None,
    min_score: float | None,
    min_height: int,
    max_tilt: float | None,
    side: int,
    workers: int | None,
    form: Format,
    quiet: bool,
) -> int:
    """Find the faces on the images of INDEX: a table of their sizes, places and tilts.

    What has been looked at before is not looked at again: `calque detect INDEX --model yunet` does the same work.
    With -o each face is turned upright and cut out at one size, eyes and mouth where those of all others are; their
    average is that of the images that --where chooses.

    calque finds faces, and does not tell whose they are: see docs/detection.md for why.

    Exit status: 0 done, 1 there are no faces or some images failed, 2 wrong usage or failure.

    \b
    Examples:
      calque faces scans.calque -o faces/
      calque faces scans.calque -o soldiers/ --where "caption~soldat and date<1919" --max-tilt 20
      calque faces scans.calque --format csv > faces.csv
    """
    from cli.report_faces import write_page
    from index.detecting import ask, detect_in_index
    from index.detection_files import SeenImage, seen_images
    from index.face_files import face_row, write_faces
    from index.items import SourceFailure
    from index.store import Index
    from matcher.faces import FACE

    asked, detector = ask(_MODEL, (), min_score)
    least = asked.min_score or 0.0
    failed = 0
    with Index.open(index, writable=True) as opened:
        only = None if where is None else opened.select(where)
        with Progress("images", quiet=quiet) as progress:
            looked = detect_in_index(opened, asked, detector, only=only, workers=workers, progress=progress.update)
            for outcome in looked:
                if isinstance(outcome, SourceFailure):
                    failed += 1
                    progress.message(one_line(f"calque: {outcome.name}: {outcome.reason}"))
        images = list(seen_images(opened, only, lambda one: one.detection.label == FACE))
    chosen = []
    for image in images:
        kept = []
        for one in image.known:
            tilt = face_row(image, one)["tilt"]
            large = one.detection.box.height >= min_height and one.detection.score >= least
            if large and (max_tilt is None or tilt is None or abs(tilt) <= max_tilt):
                kept.append(one)
        if kept:
            chosen.append(SeenImage(image.sheet, kept))
    if output is None:
        rows = [face_row(image, one) for image in chosen for one in image.known]
    else:
        with Progress("images", total=len(chosen), quiet=quiet) as progress:
            written = write_faces(output, chosen, side, progress.update)
            for failure in written.failures:
                failed += 1
                progress.message(one_line(f"calque: {failure.name}: {failure.reason}"))
        rows = written.rows
        click.echo(f"calque: faces in {write_page(output, written)}", err=True)
    if form == "table":
        rows = [{**row, "region": [round(edge) for edge in row["region"]]} for row in rows]
    if rows or form != "table":
        write_rows(rows, _COLUMNS, form)
    looked_at = f"{len(images)} images looked at, {len(rows)} faces on {len(chosen)} of them; {failed} failed"
    click.echo(f"calque: {looked_at}", err=True)
    return 0 if rows and not failed else 1
