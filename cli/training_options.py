"""Options that training a detector and training a damage map share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["model_output_option", "training_options"]

_F = TypeVar("_F", bound="Callable[..., object]")


model_output_option = click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="MODEL.onnx",
    help="The model. While it is trained, a folder MODEL.onnx.training beside it, with what an interrupted run goes "
    "on with.",
)


def training_options(
    steps: int, *, rate: float = 1e-3, validation: float = 0.2, turns: str = "slight", mirrored: bool = False
) -> Callable[[_F], _F]:
    """Return the decorator that adds them, with what is taken by default."""
    options = (
        click.option(
            "--steps",
            type=click.IntRange(min=1),
            default=steps,
            show_default=True,
            metavar="N",
            help="Batches to learn from, at most.",
        ),
        click.option(
            "--batch",
            type=click.IntRange(min=1),
            default=8,
            show_default=True,
            metavar="N",
            help="Parts of images in each.",
        ),
        click.option(
            "--rate",
            type=click.FloatRange(min=0, min_open=True),
            default=rate,
            show_default=True,
            metavar="R",
            help="Highest learning rate.",
        ),
        click.option(
            "--validation",
            type=click.FloatRange(0, 1, min_open=True, max_open=True),
            default=validation,
            show_default=True,
            metavar="SHARE",
            help="How much is kept from training to measure by, whole documents at a time.",
        ),
        click.option(
            "--patience",
            type=click.IntRange(min=1),
            default=4,
            show_default=True,
            metavar="N",
            help="Measure no more after so many measures, of eight in all, without a better one.",
        ),
        click.option(
            "--together",
            type=click.FloatRange(0, 0.9),
            default=0.4,
            show_default=True,
            metavar="SHARE",
            help="How many of the steps, the last ones, learn from what was kept to measure by, too; 0: none.",
        ),
        click.option(
            "--turns",
            type=click.Choice(["slight", "quarters", "any"]),
            default=turns,
            show_default=True,
            help="How far things may be turned against those that are learned from.",
        ),
        click.option(
            "--mirrored/--not-mirrored",
            default=mirrored,
            show_default=True,
            help="Whether things may be mirrored: not what bears letters.",
        ),
        click.option("--seed", type=int, default=1, show_default=True, metavar="N", help="Of all that is drawn."),
    )

    def added(command: _F) -> _F:
        for option in reversed(options):
            command = option(command)
        return command

    return added
