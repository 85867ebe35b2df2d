"""Results on stdout: a table for people; JSON, JSON Lines and CSV for programs."""

from __future__ import annotations

import csv
import json
import sys
from typing import TYPE_CHECKING, Literal, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["FORMATS", "Format", "one_line", "write_json", "write_record", "write_rows", "write_table"]

Format = Literal["table", "json", "jsonl", "csv"]
FORMATS: tuple[Format, ...] = ("table", "json", "jsonl", "csv")


def one_line(text: str) -> str:
    """Return `text` with whatever is not printable escaped.

    A line feed or an escape sequence in a file name must not break a message or a table, nor reach the terminal.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def write_json(value: object, stream: TextIO | None = None, *, line: bool = False) -> None:
    """Write one JSON value, indented, or on one line and flushed where `line`.

    Plain ASCII, so that file names that are no valid UTF-8 survive.
    """
    out = stream or sys.stdout
    out.write(json.dumps(value, indent=None if line else 2) + "\n")
    if line:
        out.flush()


def write_rows(
    rows: Iterable[Mapping[str, object]], columns: Sequence[str], form: Format, stream: TextIO | None = None
) -> None:
    """Write `rows` in the format `form`, the keys in `columns` in that order (JSON takes every key).

    Parameters
    ----------
    rows : iterable of mappings
        One result each.
    columns : sequence of str
        Headings of the table and of the CSV.
    form : {'table', 'json', 'jsonl', 'csv'}
        CSV has full precision and a box as ``x,y,width,height``; a table rounds.
    stream : text stream, optional
        Where to; stdout by default.
    """
    if form == "json":
        write_json([dict(row) for row in rows], stream)
    elif form == "jsonl":
        for row in rows:
            write_json(dict(row), stream, line=True)
    elif form == "csv":
        # The csv module ends lines with \r\n by default, which other tools of the shell stumble over.
        writer = csv.writer(stream or sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_exact(row.get(column)) for column in columns] for row in rows)
    else:
        write_table([[row.get(column) for column in columns] for row in rows], columns, stream)


def write_record(record: Mapping[str, object], form: Format, stream: TextIO | None = None) -> None:
    """Write one result of named values: as JSON an object, as a table a line for each value."""
    if form == "table":
        write_table([[name.replace("_", " "), value] for name, value in record.items()], None, stream)
    elif form == "csv":
        write_rows([record], list(record), form, stream)
    else:
        write_json(dict(record), stream, line=form == "jsonl")


def write_table(
    rows: Sequence[Sequence[object]], headings: Sequence[str] | None = None, stream: TextIO | None = None
) -> None:
    """Write aligned columns two blanks apart, numbers to the right; nothing is cut off.

    Parameters
    ----------
    rows : sequence of sequences
        The cells; None shows as ``-``.
    headings : sequence of str, optional
        The first line.
    stream : text stream, optional
        Where to; stdout by default.
    """
    lines = [[_rounded(cell) for cell in row] for row in rows]
    if headings is not None:
        lines.insert(0, [heading.replace("_", " ") for heading in headings])
    if not lines:
        return
    columns = range(len(lines[0]))
    widths = [max(len(line[i]) for line in lines) for i in columns]
    numeric = [headings is not None and all(isinstance(row[i], int | float | None) for row in rows) for i in columns]
    out = stream or sys.stdout
    for line in lines:
        cells = (line[i].rjust(widths[i]) if numeric[i] else line[i].ljust(widths[i]) for i in columns)
        out.write("  ".join(cells).rstrip() + "\n")


def _exact(value: object) -> object:
    if isinstance(value, list | tuple):
        return ",".join(str(_exact(item)) for item in value)
    return json.dumps(value) if isinstance(value, dict | bool) else value


def _rounded(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        value += 0.0  # which turns -0 into 0
        return f"{value:.0f}" if abs(value) >= 1e4 else f"{value:.4g}"
    if isinstance(value, list | tuple):
        nested = any(isinstance(item, list | tuple) for item in value)
        return ("; " if nested else ",").join(_rounded(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {_rounded(item)}" for key, item in value.items())
    return one_line(str(value))
