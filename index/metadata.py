"""Tables of metadata: read whatever a spreadsheet or a library system writes, and find the images that a row means."""

from __future__ import annotations

import codecs
import csv
import io
import re
import unicodedata
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from index.items import explained
from matcher.errors import InputError
from matcher.images import IMAGE_SUFFIXES, printable

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Sequence

    from index.catalogue import ImageRecord

__all__ = ["KEY_COLUMNS", "Matched", "Row", "Table", "match", "read_table"]

KEY_COLUMNS = ("path", "file", "filename", "image", "name", "identifier", "id")
"""Headings, in any case, of the column that says which image a row is about; the first of these that there is."""

_DELIMITERS = ",;\t|"
_SAMPLE = 50
"""Rows by which the delimiter is told."""
_BEGINNING = 512
"""Bytes by which UTF-16 without a mark is told: of Latin letters every other byte is zero."""
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_SPREADSHEETS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
"""What the files of Excel and LibreOffice begin with."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row: its line in the file, counted from 1, the image that it is about, what all its columns say."""

    line: int
    key: str
    values: dict[str, str]


@dataclass(frozen=True, slots=True)
class Table:
    """A table that was read: its file, its rows, and a line for each row that cannot be used."""

    path: Path
    rows: tuple[Row, ...]
    problems: tuple[str, ...]


@dataclass(slots=True)
class Matched:
    """Values by image id, and a line for each row that means no image, or more than one."""

    values: dict[int, dict[str, str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def read_table(path: str | os.PathLike[str], key: str | None = None) -> Table:
    """Read a table with one heading line: values separated by commas, semicolons, tabs or bars.

    Parameters
    ----------
    path
        The file: UTF-8 or UTF-16 with or without a mark at its beginning, otherwise taken as Windows-1252.
    key
        Heading of the column that names images, by default the first of `KEY_COLUMNS` that there is.

    Raises
    ------
    InputError
        If it cannot be read as a table, or has no such column.
    """
    path = Path(path)
    name = printable(path)
    lines = _lines(_text(path, name), name)
    _, headings = next(lines, (1, []))
    columns = [" ".join(heading.split()) or f"column {number}" for number, heading in enumerate(headings, 1)]
    repeated = [column for column in dict.fromkeys(columns) if columns.count(column) > 1]
    if repeated:
        raise InputError(f"{name}: has two columns called {repeated[0]!r}; rename one of them")
    place = _key_column(columns, key, name)
    rows, problems = [], []
    for line, cells in lines:
        values = dict(zip(columns, (cell.strip() for cell in cells), strict=False))
        if len(cells) > len(columns) and any(cells[len(columns) :]):
            problems.append(f"line {line}: {len(cells)} values under {len(columns)} headings; check its quotes")
        elif values.get(place):
            rows.append(Row(line, values[place], values))
        elif any(values.values()):
            problems.append(f"line {line}: nothing in column {place!r}; say which image it is about")
    return Table(path, tuple(rows), tuple(problems))


def match(table: Table, images: Iterable[ImageRecord]) -> Matched:
    """Find the images that the rows of `table` are about.

    A row's key is looked for as the name of an image or its absolute path; as a path from the table's folder or from
    the working folder; then as the end of a path (``b/12.jpg``, ``12.jpg``), also without its suffix (``12``); last
    without regard to case. The first way that finds anything counts; finding several files then is ambiguous. All
    pages of a file are meant.
    """
    finder = _Finder(images, table.path.parent)
    matched = Matched(problems=list(table.problems))
    taken: dict[str, int] = {}
    for row in table.rows:
        files = finder.find(row.key)
        if len(files) != 1:
            shown = ", ".join(finder.names[file] for file in sorted(files)[:3]) + (", …" if len(files) > 3 else "")
            reason = f"{len(files)} images: {shown}; write more of the path" if files else "no image"
            matched.problems.append(f"line {row.line}: {row.key!r} is the name of {reason}")
        elif (file := files.pop()) in taken:
            matched.problems.append(f"line {row.line}: {row.key!r} is in line {taken[file]} already; leave one of them")
        else:
            taken[file] = row.line
            matched.values.update(dict.fromkeys(finder.ids[file], row.values))
    return matched


class _Finder:
    """All images by whatever a table may call them."""

    def __init__(self, images: Iterable[ImageRecord], folder: Path) -> None:
        self._folders = (folder, Path())
        self.ids: dict[str, list[int]] = defaultdict(list)
        self.names: dict[str, str] = {}
        self._whole: dict[str, set[str]] = defaultdict(set)
        self._by_stem: dict[str, set[tuple[str, str]]] = defaultdict(set)
        for image in images:
            self.ids[image.path].append(image.id)
            if image.path not in self.names:
                self.names[image.path] = image.name
                for called in (_normal(image.name), _normal(image.path)):
                    self._whole[called].add(image.path)
                    self._by_stem[_stem(called).rpartition("/")[2].casefold()].add((called, image.path))

    def find(self, key: str) -> set[str]:
        """Return the paths of the files that `key` may mean, in the first way in which it means any."""
        wanted = _normal(key)
        if found := self._whole.get(wanted):
            return set(found)
        if found := {str(path) for path in self._below_folders(wanted) if str(path) in self.ids}:
            return found
        last = wanted.rpartition("/")[2]
        near = {pair for stem in {last, _stem(last)} for pair in self._by_stem.get(stem.casefold(), ())}
        for fold in (str, str.casefold):
            for ours, theirs in ((str, str), (_stem, str), (_stem, _stem)):
                ending = "/" + fold(theirs(wanted))
                if found := {path for called, path in near if ("/" + fold(ours(called))).endswith(ending)}:
                    return found
        return set()

    def _below_folders(self, wanted: str) -> Iterator[Path]:
        for folder in self._folders:
            with suppress(OSError, RuntimeError, ValueError):  # a key that is no path, a loop of links
                yield (folder / wanted).resolve()


def _normal(name: str) -> str:
    """Return a path with ``/`` between its parts, in the composed form of Unicode, without a leading ``./``."""
    return unicodedata.normalize("NFC", name).replace("\\", "/").removeprefix("./")


def _stem(name: str) -> str:
    """Return a path without its suffix, where it ends as names of images do."""
    start, dot, suffix = name.rpartition(".")
    return start if dot and f".{suffix.lower()}" in IMAGE_SUFFIXES else name


def _text(path: Path, name: str) -> str:
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        raise InputError(f"{name}: {explained(error)}") from error
    if content.startswith(_SPREADSHEETS):
        raise InputError(f"{name}: a spreadsheet, not a table of text; save it as CSV first")
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return content.decode(encoding, "replace")
    even, odd = (content[start:_BEGINNING:2].count(0) for start in (0, 1))
    if 8 * (even + odd) > len(content[:_BEGINNING]):
        text = content.decode("utf-16-le" if odd > even else "utf-16-be", "replace")
        if "\0" in text:
            raise InputError(f"{name}: not a table of text; save it as CSV first")
        return text
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")


def _lines(text: str, name: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the line number and the cells of each row that has any."""
    first, _, rest = text.partition("\n")
    told = re.fullmatch(r"sep=(.)", first.strip("\r"), re.IGNORECASE)  # what Excel understands and sometimes writes
    delimiter = told[1] if told else max(_DELIMITERS, key=lambda sign: _columns(text, sign))
    reader = csv.reader(io.StringIO(rest if told else text, newline=""), delimiter=delimiter)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num + bool(told), cells
    except csv.Error as error:
        raise InputError(
            f"{name}, line {reader.line_num + bool(told)}: {error}; check for a quote that is never closed"
        ) from error


def _columns(text: str, delimiter: str) -> tuple[bool, int]:
    """Return whether the first rows agree in their number of columns, and how many the headings are."""
    counts: list[int] = []
    with suppress(csv.Error):
        rows = islice(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), _SAMPLE)
        counts.extend(len(cells) for cells in rows if cells)
    headings = counts[0] if counts else 0
    return headings > 1 and set(counts) == {headings}, headings


def _key_column(columns: Sequence[str], key: str | None, name: str) -> str:
    folded = {column.casefold(): column for column in columns}
    wanted = KEY_COLUMNS if key is None else (key,)
    for heading in wanted:
        if heading.casefold() in folded:
            return folded[heading.casefold()]
    there = f"it has {', '.join(map(repr, columns))}" if columns else "it is empty"
    remedy = "say with --metadata-key which column names the images" if key is None else "give one of these"
    raise InputError(f"{name}: no column called {' or '.join(wanted)}; {there}: {remedy}")
