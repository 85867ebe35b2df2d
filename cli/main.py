"""The ``calque`` command: a table of commands, each imported only when it is called."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import click

from cli.lazy import CommandTable, LazyGroup

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["COMMANDS", "Commands", "calque", "main"]

COMMANDS: CommandTable = {
    "add": ("cli.add", "Put images, folders, lists, PDFs into an index; creates it."),
    "search": ("cli.search", "Find a picture, or many, on the images of an index."),
    "push": ("cli.push", "Keep the vectors of an index on a Qdrant server, too."),
    "caption": ("cli.caption", "Tell in words what images show, to be found by words."),
    "find": ("cli.find", "Find images by words in their names, metadata and captions."),
    "groups": ("cli.groups", "Find everything in an index that is there more than once."),
    "map": ("cli.map", "Show a collection as a map of thumbnails that opens offline."),
    "trace": ("cli.trace", "Look for every picture of a collection in another."),
    "compare": ("cli.compare", "Compare two images: verdict, transform, drawn proof."),
    "embed": ("cli.embed", "Turn images into vectors, so that what is alike lies near."),
    "similar": ("cli.similar", "Find what looks like a picture, or like what words or a colour say."),
    "segment": ("cli.segment", "Find illustrations, ornaments, initials and text on pages."),
    "faces": ("cli.faces", "Cut faces out of the images of an index, all alike, and average them."),
    "detect": ("cli.detect", "Find objects, faces or what a phrase says in pictures, and keep where they are."),
    "classify": ("cli.classify", "Learn classes of pictures from a few examples, and tell them everywhere."),
    "damage": ("cli.damage", "Map cracks, losses, corrosion, pixel by pixel; learn them from a few images."),
    "judge": ("cli.judge", "Say that two pictures are the same or different, and keep it."),
    "evaluate": ("cli.evaluate", "Measure searches against what is known or judged."),
    "info": ("cli.info", "Say what an index holds, how it was made, how big it is."),
    "check": ("cli.check", "Verify that every file of an index is whole."),
    "backup": ("cli.backup", "Copy an index while it is in use."),
    "upgrade": ("cli.upgrade", "Bring an index of an older format up to date, with a copy."),
    "remove": ("cli.remove", "Take images or folders out of an index."),
    "compact": ("cli.compact", "Rewrite an index without what was removed."),
    "train": ("cli.train", "Train a vocabulary for an unusual collection."),
    "serve": ("webui.command", "Show indexes on a page in the browser: draw a box, see where else it is."),
    "doctor": ("cli.doctor", "Say what of calque works on this machine, and what is missing."),
    "demo": ("cli.demo", "Do the whole job on real images, offline."),
}
_GOES_ON = ("add", "judge", "remove", "compact", "groups", "trace", "embed", "detect", "faces", "caption")
_INTERRUPTED = 130


class Commands(LazyGroup):
    """All commands."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command and return its exit status."""
        try:
            status = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            # Whoever read the results has had enough (`| head`): nothing failed, and nothing more can be said.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        except KeyboardInterrupt:
            goes_on = ctx.invoked_subcommand in _GOES_ON
            advice = "; the index is valid, run the same command again to go on" if goes_on else ""
            click.echo(f"\ncalque: interrupted{advice}", err=True)
            return _INTERRUPTED
        return status


@click.group(
    cls=Commands,
    table=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit status: 0 found or done, 1 nothing found or some inputs failed, 2 wrong usage or failure.",
)
@click.version_option(package_name="calque", message="%(prog)s %(version)s")
def calque() -> None:
    """Find a picture again in collections of scans.

    Where it is (page and region), how sure (false alarms expected by chance), how it was printed (upright, turned,
    mirrored, inverted), with the proof.

    \b
    Examples:
      calque add scans.calque scans/
      calque search scans.calque scans/p12.jpg --region 310,420,500,640 -o proof/
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit status; errors become one line on stderr.

    Parameters
    ----------
    arguments : sequence of str, optional
        The words after ``calque``; those of the process by default.
    """
    try:
        status = calque.main(arguments, prog_name="calque", standalone_mode=False)
    except click.Abort:
        status = _INTERRUPTED
    except Exception as error:
        if os.environ.get("CALQUE_DEBUG"):
            raise
        # Not at the top: a command that goes well needs no error messages.
        from cli.errors import explain

        click.echo(explain(error), err=True)
        status = 2
    sys.exit(status)
