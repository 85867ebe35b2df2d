"""``calque damage train``: a map of damage from a few painted images."""

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

_COLUMNS = ["class", "true_pixels", "found_pixels", "iou", "precision", "recall"]


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@model_output_option
@click.option(
    "--masks",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Where masks lie.  [default: FOLDER/masks, or beside the images]",
)
@click.option(
    "--class",
    "classes",
    multiple=True,
    metavar="NAME",
    help="Name of a class; with several, in the order of their numbers in the masks.  [default: damage]",
)
@click.option(
    "--model",
    default="none",
    show_default=True,
    metavar="NAME[:PATH]",
    help="What is trained: none, the small network for pixels from nothing; calque:MODEL.onnx, from what this command "
    "has trained before.",
)
@click.option(
    "--long-side",
    type=click.IntRange(min=64),
    metavar="PX",
    help="Reduce larger images to this long side.  [default: take them as they are]",
)
@click.option(
    "--looks",
    type=click.IntRange(1, 8),
    default=4,
    show_default=True,
    metavar="N",
    help="How often the model looks at an image, turned by right angles and mirrored, as far as --turns and "
    "--mirrored let it: the mean of more looks is surer, and each takes its time.",
)
@training_options(1200, rate=4e-3, validation=0.25, turns="any", mirrored=True)
@device_option
@format_option
@quiet_option
def train(
    folder: Path,
    output: Path,
    masks: Path | None,
    classes: tuple[str, ...],
    model: str,
    long_side: int | None,
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
    """Learn a map of damage from the images of FOLDER that have a mask: a PNG of the same name, beside or in masks/.

    With one class whatever is painted is damage: opaque where the mask has transparency, else light. With several, a
    mask holds the numbers of classes (grey, or a palette): 0 none, 1 the first --class, 255 not known. Needs
    pip install 'calque[models]' to be trained, nothing more than calque to be applied. Part of the images, or the foot
    of the only one, is kept from training and measured by: intersection over union of pixels. Interrupted, the same
    command goes on.

    \b
    Examples:
      calque damage train cracks/ -o cracks.onnx --class crack
      calque damage train panel/ -o panel.onnx --class crack --class loss --steps 800
      calque damage apply cracks.onnx paintings/ -o mapped/ --overlay
    """
    from index.damage_training import DamageTraining, train_damage
    from index.painted import find_painted

    images = find_painted(folder, masks)
    settings = DamageTraining(
        model, long_side or 0, steps, batch, rate, seed, turns, mirrored, validation, patience, together, looks
    )
    with Progress("steps", total=steps, quiet=quiet) as progress:

        def told(line: str) -> None:
            if not quiet:
                progress.message(one_line(f"calque: {line}"))

        trained = train_damage(images, classes or ("damage",), output, settings, told=told, progress=progress.update)
    rows = [{"class": name, **figures} for name, figures in trained.figures.items()]
    if form in ("json", "jsonl"):
        write_json({"model": str(output), "classes": rows, **trained.course.summary()}, line=form == "jsonl")
    else:
        write_rows(rows, _COLUMNS, form)
    if not quiet:
        click.echo(f"calque: {output}: {trained.course.told()}", err=True)
    return 0
