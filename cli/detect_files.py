"""``calque detect export`` and ``import``: what is seen on images, to other programs and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.detect_output import DETECTION_FORMS, write_counts, write_seen
from cli.exports import base_url_option
from cli.options import format_option, index_argument, where_option
from cli.output import one_line, write_record

if TYPE_CHECKING:
    from cli.output import Format

__all__ = ["export", "import_"]


@click.command()
@index_argument
@click.option(
    "--format",
    "form",
    type=click.Choice(DETECTION_FORMS),
    default="coco",
    show_default=True,
    metavar="|".join(DETECTION_FORMS),
    help="How things are written; yolo is a folder.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="PATH", help="File, or folder; else stdout.")
@where_option
@click.option(
    "--things",
    metavar="CONDITION",
    help='Only things for which this holds, such as "object=person and score>0.5"; images without any stay.',
)
@click.option("--images", is_flag=True, help="With --format yolo: the images, too, for training.")
@click.option("--counts", is_flag=True, help="Tell how many things of each label there are at each score instead.")
@base_url_option
def export(
    index: Path,
    form: str,
    output: Path | None,
    where: str | None,
    things: str | None,
    images: bool,
    counts: bool,
    base_url: str,
) -> int:
    """Write what is known to be on the images of INDEX.

    COCO (boxes, polygons, masks of runs where there are holes), YOLO, a IIIF manifest with W3C annotations, tasks of
    Label Studio with predictions, CSV, JSON, JSON Lines. `calque detect import` reads each of them again. Images on
    which nothing has been looked for are left out.

    Exit status: 0 done, 1 there is nothing to write, 2 wrong usage or failure.

    \b
    Examples:
      calque detect export scans.calque > things.json
      calque detect export scans.calque --format label-studio --base-url https://library.example/ -o tasks.json
      calque detect export scans.calque --format yolo --images --things "score>0.6" -o dataset/
      calque detect export scans.calque --counts --things "detector=yunet"
    """
    from index.detection_files import seen_images
    from index.region_queries import fitting
    from index.store import Index

    if images and form != "yolo":
        raise click.UsageError("--images goes with --format yolo")
    if form == "yolo" and output is None and not counts:
        raise click.UsageError("--format yolo writes a file for each image; give a folder with -o")
    with Index.open(index) as opened:
        only = None if where is None else opened.select(where)
        found = list(seen_images(opened, only))
        if things is not None:
            found = list(fitting(found, things))
        if not found:
            click.echo(f"calque: nothing has been looked for there; run: calque detect {index}", err=True)
            return 1
        if counts:
            numbered = ((number, one) for number, image in enumerate(found) for one in image.known)
            write_counts(numbered, form if form in ("table", "json", "jsonl", "csv") else "table", steps=True)
        else:
            write_seen(found, form, output, base_url, pictures=images)
    return 0


@click.command("import")
@index_argument
@click.argument("path", type=click.Path(path_type=Path), metavar="FILE|FOLDER")
@click.option(
    "--labels",
    default="",
    metavar="LIST",
    help="Labels that FILE speaks of besides those in it, such as kite,bird where all of them were wrong.",
)
@format_option
def import_(index: Path, path: Path, labels: str, form: Format) -> int:
    """Take what FILE says of images of INDEX for right: COCO, W3C annotations, Label Studio, CSV, JSON (Lines).

    FOLDER is one of YOLO's. Of the labels that FILE speaks of, only what it says counts on its images from now on,
    also when a detector runs again; what it leaves out there is gone. Labels spoken of are those in FILE, those that
    COCO and YOLO list, those of Label Studio's predictions, and --labels. Other images and labels stay as they are.

    Images are found by their names or paths in INDEX, or by the last part of these where that is told apart.

    Exit status: 0 done, 1 some images are not in INDEX, 2 wrong usage or failure.

    \b
    Examples:
      calque detect import scans.calque corrected.json
      calque detect import scans.calque things.csv --labels kite
      calque detect import scans.calque dataset/
    """
    from index.detection_imports import correct, read_detections
    from index.store import Index

    told, listed = read_detections(path)
    named = [*listed, *(label.strip() for label in labels.split(",") if label.strip())]
    with Index.open(index, writable=True) as opened:
        done = correct(opened, told, named)
    for name in done.unknown:
        click.echo(one_line(f"calque: {name}: not in {index}, or its name is not told apart; passed over"), err=True)
    record = {"images": done.images, "things": done.things, "labels": list(done.labels), "unknown": len(done.unknown)}
    write_record(record, form)
    return 1 if done.unknown or not done.images else 0
