"""``calque detect train``: a detector for classes of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.options import device_option, format_option, quiet_option
from cli.output import one_line, write_json, write_rows
from cli.progress import Progress
from cli.training_options import model_output_option, training_options

if TYPE_CHECKING:
    from cli.output import Format
    from matcher.augmentation import Turns

__all__ = ["train"]

_COLUMNS = ["class", "true", "found", "ap50", "ap50_95"]


@click.command()
@click.argument("annotated", type=click.Path(path_type=Path), metavar="COCO.json|FOLDER")
@model_output_option
@click.option(
    "--model",
    default="calque",
    show_default=True,
    metavar="NAME[:PATH]",
    help="What is trained: calque, the small network, from what it knows of pages; calque:MODEL.onnx, from one that "
    "was trained before; none, the small network from nothing; transformers:FOLDER, a detector of transformers.",
)
@click.option(
    "--long-side",
    type=click.IntRange(min=64),
    default=1024,
    show_default=True,
    metavar="PX",
    help="Long side at which images are looked at; more for small things.",
)
@click.option(
    "--looks",
    type=click.IntRange(1, 3),
    default=3,
    show_default=True,
    metavar="N",
    help="How often the model looks at an image: as it is, larger, smaller; one upside down unless --turns slight. "
    "What these agree on is surer, and each takes its time.",
)
@training_options(400)
@device_option
@format_option
@quiet_option
def train(
    annotated: Path,
    output: Path,
    model: str,
    long_side: int,
    looks: int,
    steps: int,
    batch: int,
    rate: float,
    validation: float,
    patience: int,
    together: float,
    turns: Turns,
    mirrored: bool,
    seed: int,
    form: Format,
    quiet: bool,
) -> int:
    """Train a detector for what is annotated in a COCO file or a folder of YOLO's: stamps, labels, water stains.

    The small network learns on a processor in minutes from some dozen images, and needs
    pip install 'calque[models]' to be trained, nothing more than calque to be used: `calque detect SOURCE --model
    MODEL.onnx`. Part of the annotated documents is kept from training: average precision on these decides which
    weights are kept and when to stop, and is told class by class. Give images on which there is nothing, too: they
    teach what is none. Interrupted, the same command goes on. How to annotate, and what to expect:
    docs/detection-training.md.

    \b
    Examples:
      calque detect train stamps.json -o stamps.onnx
      calque detect train labels/ -o labels.onnx --long-side 1600 --steps 800
      calque detect train stamps.json -o detr.onnx --model transformers:rtdetr_r18vd/ --batch 2 --rate 5e-5
    """
    from index.annotated import read_annotated
    from index.detection_training import DetectionTraining, train_detector

    known = read_annotated(annotated)
    for name, reason in known.failures:
        click.echo(one_line(f"calque: {name}: {reason}"), err=True)
    settings = DetectionTraining(
        model, long_side, steps, batch, rate, seed, turns, mirrored, validation, patience, together, looks
    )
    with Progress("steps", total=steps, quiet=quiet) as progress:

        def told(line: str) -> None:
            if not quiet:
                progress.message(one_line(f"calque: {line}"))

        trained = train_detector(known, output, settings, told=told, progress=progress.update)
    rows = [{"class": name, **figures} for name, figures in trained.figures.items()]
    if form in ("json", "jsonl"):
        told_all = {
            "model": str(trained.path),
            "classes": rows,
            "learned": trained.learned,
            "validated": trained.validated,
            "min_score": round(trained.card.min_score, 4),
            **trained.course.summary(),
        }
        write_json(told_all, line=form == "jsonl")
    else:
        write_rows(rows, _COLUMNS, form)
    if not quiet:
        sure = f"tells what is {trained.card.min_score:.2f} sure or more"
        click.echo(f"calque: {output}: {trained.course.told()}; {sure}", err=True)
    return 1 if known.failures else 0
