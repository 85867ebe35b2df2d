"""Arguments and options that several commands share, so that they mean and are called the same everywhere."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.output import FORMATS
from matcher.devices import DEVICES
from matcher.registry import MATCHERS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "POINT",
    "REGION",
    "allow_private_option",
    "device_option",
    "format_option",
    "format_option_of",
    "index_argument",
    "matcher_option",
    "quiet_option",
    "region_option",
    "require_one_place",
    "scheduler_option",
    "threads_option",
    "where_option",
    "workers_option",
]


class _RegionType(click.ParamType):
    """A box typed as ``X,Y,WIDTH,HEIGHT`` in pixels of the image."""

    name = "region"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the `matcher.types.Region` that `value` spells."""
        # Commands import what computes only when they run: their --help stays quick.
        from matcher.types import Region

        if isinstance(value, Region):
            return value
        try:
            x, y, width, height = (float(part) for part in str(value).split(","))
            return Region(x, y, width, height)
        except ValueError:
            self.fail(f"{value!r} is no box; give X,Y,WIDTH,HEIGHT in pixels, such as 310,420,500,640", param, ctx)


REGION = _RegionType()


class _PointType(click.ParamType):
    """A place typed as ``X,Y`` in pixels of the image."""

    name = "point"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the two numbers that `value` spells."""
        try:
            x, y = (float(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is no place; give X,Y in pixels, such as 310,420", param, ctx)
        return x, y


POINT = _PointType()


def _use_device(context: click.Context, param: click.Parameter, value: str | None) -> None:
    """Tell this process and those that it starts (`matcher.networks.device`)."""
    if value is not None:
        os.environ["CALQUE_DEVICE"] = value


device_option = click.option(
    "--device",
    type=click.Choice(DEVICES),
    callback=_use_device,
    expose_value=False,
    help="Where networks run; auto takes a GPU if there is one.  [default: CALQUE_DEVICE, else auto]",
)

workers_option = click.option(
    "--workers", type=click.IntRange(min=0), metavar="N", help="Processes; one for each core by default, 0 uses none."
)

threads_option = click.option(
    "--threads", type=click.IntRange(min=1), metavar="N", help="Threads; one for each core by default."
)

allow_private_option = click.option(
    "--allow-private", is_flag=True, help="Let manifests name servers on this machine and in private networks."
)

scheduler_option = click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Let the workers of a Dask cluster do it, such as tcp://host:8786; they must see the same folders "
    "(docs/cluster.md).",
)


def require_one_place(scheduler: str | None, option: str, value: int | None) -> None:
    """Refuse an option that says how this machine is to work where a cluster is to."""
    if scheduler is not None and value is not None:
        raise click.UsageError(f"with --scheduler the cluster's workers do it; leave {option} out")


index_argument = click.argument("index", type=click.Path(path_type=Path))

quiet_option = click.option("--quiet", "-q", is_flag=True, help="No progress on stderr, only failures.")

where_option = click.option(
    "--where",
    metavar="CONDITION",
    help="Only images whose metadata fits, such as \"date<1920 and title~'vogue'\"; see `calque info --help`.",
)

region_option = click.option(
    "--region", type=REGION, metavar="X,Y,W,H", help="Look only for what is inside this box, in pixels of the query."
)


def matcher_option(*names: str, words: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return what adds an option that names a matcher to a command."""
    help_ = f"{words}: {', '.join(MATCHERS)}; needs the extra learned (docs/features.md)."
    return click.option(*names, type=click.Choice(list(MATCHERS)), metavar="NAME", help=help_)


def format_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--format`` to a command."""
    return format_option_of(FORMATS)(function)


def format_option_of(forms: Sequence[str]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return what adds ``--format`` with the choices `forms` to a command."""
    return click.option(
        "--format",
        "form",
        type=click.Choice(forms),
        default="table",
        show_default=True,
        metavar="|".join(forms),
        help="How results are written on stdout.",
    )
