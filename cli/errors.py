"""What a person reads when something goes wrong: one line that names the thing and the remedy."""

from __future__ import annotations

import errno
import sqlite3

import click

from cli.output import one_line
from matcher.errors import CalqueError

__all__ = ["explain"]

_NO_ROOM = "make room on the disk and run the same command again; nothing that was reported as done is lost"
_NO_RIGHT = "ask for the right to use it, or give another path"
_REMEDIES = {
    errno.ENOSPC: _NO_ROOM,
    errno.EDQUOT: _NO_ROOM,
    errno.EFBIG: _NO_ROOM,
    errno.EACCES: _NO_RIGHT,
    errno.EPERM: _NO_RIGHT,
    errno.EROFS: "give a path on a disk that can be written",
    errno.ENOENT: "check the spelling of the path",
    errno.EMFILE: "raise the number of open files allowed (ulimit -n)",
}


def explain(error: BaseException) -> str:
    """Return the line, or for wrong usage the few lines, that the command line prints for `error`.

    Parameters
    ----------
    error : BaseException
        What a command raised.

    Returns
    -------
    str
        Beginning with ``calque: error:``, or for wrong usage with the command's usage.
    """
    if isinstance(error, click.UsageError) and error.ctx is not None:
        # Click raises an error without words when a command is called bare: it then carries the help itself.
        if type(error).__name__ == "NoArgsIsHelpError":
            return error.ctx.get_help()
        advice = f"(see {error.ctx.command_path} --help)"
        return f"{error.ctx.get_usage()}\ncalque: error: {_line(error.format_message())} {advice}"
    return f"calque: error: {_line(_reason(error))}"


def _reason(error: BaseException) -> str:
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, CalqueError):
        return str(error)
    if isinstance(error, OSError) and error.errno in _REMEDIES:
        what = f"{error.filename}: {error.strerror}" if error.filename is not None else str(error)
        return f"{what}; {_REMEDIES[error.errno]}"
    if isinstance(error, sqlite3.OperationalError) and "full" in str(error):
        return f"the catalogue could not be written: {error}; {_NO_ROOM}"
    if isinstance(error, MemoryError):
        return "not enough memory; use fewer --workers, or a machine with more"
    return (
        f"unexpected {type(error).__name__}: {error} "
        "(run it again with CALQUE_DEBUG=1 in the environment for the traceback, and report it, please)"
    )


def _line(text: str) -> str:
    return one_line(" ".join(text.split()))
