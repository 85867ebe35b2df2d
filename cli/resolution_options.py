"""Options that say how large a pixel is."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["resolution_options"]

_F = TypeVar("_F", bound="Callable[..., object]")


def resolution_options(command: _F) -> _F:
    """Add ``--dpi``, ``--dpi-key`` and ``--believe-file``."""
    command = click.option(
        "--believe-file",
        is_flag=True,
        help="Believe the resolution in the file's head, even 72 and 96 dpi, which programs write that do not know.",
    )(command)
    command = click.option(
        "--dpi-key",
        metavar="KEY",
        help="Entry of the images' metadata that says their resolution: 300, 300 dpi, 118 px/cm, 11.8 px/mm.",
    )(command)
    return click.option(
        "--dpi",
        type=click.FloatRange(min=0, min_open=True),
        metavar="N",
        help="Dots in an inch of all images.  [default: what their files say, if that can be believed]",
    )(command)
