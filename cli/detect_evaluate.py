"""``calque detect evaluate``: how well a detector finds what is annotated."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.options import device_option, format_option, quiet_option
from cli.output import one_line, write_json, write_rows
from cli.progress import Progress

if TYPE_CHECKING:
    from cli.output import Format

__all__ = ["evaluate"]

_COLUMNS = ["class", "true", "told", "right", "precision", "recall", "ap50", "ap50_95"]


@click.command()
@click.argument("model", metavar="MODEL.onnx|NAME[:PATH]")
@click.argument("truth", type=click.Path(path_type=Path), metavar="COCO.json|FOLDER")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Folder for report.html: every image with what is false and what is missed drawn in; opens offline.",
)
@click.option(
    "--min-score",
    type=click.FloatRange(0, 1),
    metavar="S",
    help="How sure a thing must be to count as told, 0 to 1; average precision takes all.  [default: what suits the "
    "detector]",
)
@device_option
@format_option
@quiet_option
def evaluate(model: str, truth: Path, output: Path | None, min_score: float | None, form: Format, quiet: bool) -> int:
    """Measure a detector, trained here or not, on what is annotated in a COCO file or a folder of YOLO's.

    For each class: true things; those told, and of these the right ones (boxes of IoU 0.5); precision and recall; and
    average precision as COCO defines it, at an IoU of 0.5, and the mean of 0.5 to 0.95. What lies in a crowd (COCO's
    iscrowd) is neither right nor wrong. A detector that takes phrases is asked for the names of the classes.

    Exit status: 0 done, 1 some images could not be measured on, 2 wrong usage or failure.

    \b
    Examples:
      calque detect evaluate stamps.onnx test.json -o errors/
      calque detect evaluate yolox-nano coco/ --format json
    """
    from cli.report_errors import write_error_report
    from index.annotated import read_annotated
    from index.detection_evaluation import JudgedImage, judge_images, summed
    from matcher.detectors import detector_named

    detector = detector_named(model)
    known = read_annotated(truth)
    failures = list(known.failures)
    judged: list[JudgedImage] = []
    with Progress("images", total=len(known.images), quiet=quiet) as progress:
        for done, one in enumerate(judge_images(detector, known.images, known.classes, min_score), start=1):
            if isinstance(one, JudgedImage):
                judged.append(one)
            else:
                failures.append(one)
            progress.update(done)
        for name, reason in failures:
            progress.message(one_line(f"calque: {name}: {reason}"))
    figures = summed(judged, known.classes)
    rows = [{"class": name, **told} for name, told in figures.items()]
    if form in ("json", "jsonl"):
        least = detector.usual_score if min_score is None else min_score
        told_all = {"model": detector.signature, "min_score": least, "images": len(judged), "classes": rows}
        write_json(told_all, line=form == "jsonl")
    else:
        write_rows(rows, _COLUMNS, form)
    if output is not None:
        path = write_error_report(output, judged, figures, f"{detector.signature.partition('(')[0]} on {truth.name}")
        click.echo(f"calque: errors in {path}", err=True)
    return 1 if failures else 0
