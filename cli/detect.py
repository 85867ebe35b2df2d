"""``calque detect``: what things are in pictures; and the commands that go with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.lazy import CommandTable, LazyGroup

if TYPE_CHECKING:
    import click

__all__ = ["DETECT_COMMANDS", "detect"]

_APPLY = "apply"

DETECT_COMMANDS: CommandTable = {
    _APPLY: ("cli.detect_apply", "What is done where no command is named."),
    "train": ("cli.detect_train", "Train a detector for classes of one's own."),
    "export": ("cli.detect_files", "Write what is on the images of an index: COCO, YOLO, IIIF, Label Studio, tables."),
    "import": ("cli.detect_files", "Take what such a file says of images for right."),
    "evaluate": ("cli.detect_evaluate", "Measure a detector on what is annotated, and draw its errors."),
    "measure": ("cli.detect_measure", "Measure things: areas, lengths, ratios, in millimetres where known."),
}
"""Commands by name; a SOURCE that is called like one is written with its folder: ``./export``."""


class _Detect(LazyGroup):
    """A group that does `_APPLY` with words that do not begin with the name of a command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the name before words that do not begin with one."""
        if args[:1] not in (["--help"], ["-h"]) and (not args or args[0] not in self.table):
            args = [_APPLY, *args]
        return super().parse_args(ctx, args)

    def get_help(self, ctx: click.Context) -> str:
        """Return the help of `_APPLY` and the list of the other commands."""
        return "\n\n".join([self._applying(ctx).rstrip(), self._listing(ctx).rstrip()])

    def _applying(self, ctx: click.Context) -> str:
        command = self.get_command(ctx, _APPLY)
        assert command is not None
        inner = ctx.__class__(
            command,
            info_name=ctx.info_name,
            parent=ctx.parent,
            terminal_width=ctx.terminal_width,
            max_content_width=ctx.max_content_width,
            help_option_names=ctx.help_option_names,
        )
        return command.get_help(inner)

    def _listing(self, ctx: click.Context) -> str:
        formatter = ctx.make_formatter()
        listed = [(name, line) for name, (_, line) in self.table.items() if name != _APPLY]
        if listed:
            with formatter.section("Commands"):
                formatter.write_dl(listed)
        return formatter.getvalue()


detect = _Detect("detect", table=DETECT_COMMANDS)
