"""Labelled images: from a table, from folders that are called as their classes, or from the metadata of an index."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from index.contents import CATALOGUE
from index.items import SourceFailure
from index.metadata import read_table
from index.sources import expand
from index.store import Index
from matcher.errors import InputError
from matcher.images import printable
from matcher.types import Region

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from matcher.classification import Kind

__all__ = ["GROUP_COLUMN", "LABEL_COLUMNS", "Example", "Labels", "is_index", "read_labels"]

LABEL_COLUMNS = ("label", "labels", "class", "classes", "category")
"""Headings, in any case, of the column that says the class; the first of these that there is."""

GROUP_COLUMN = "group"
"""Heading of the column that says what must not be divided between learning and testing, where none is named."""

_SEPARATORS = re.compile(r"[|;]")
_FOLDERS = 3
"""Folders in which each class must be for folders to be groups."""


@dataclass(frozen=True, slots=True)
class Example:
    """A picture with its classes.

    Attributes
    ----------
    name : str
        As whoever labelled it calls it.
    path : pathlib.Path
        The file, absolute.
    page : int
        Page of the file, from 0.
    region : Region or None
        Box in pixels of the image; None for all of it.
    labels : tuple of str
        Its classes, sorted.
    group : str
        What it is a part of: a name that it shares with other examples; empty where nothing is told.
    """

    name: str
    path: Path
    page: int
    region: Region | None
    labels: tuple[str, ...]
    group: str = ""


@dataclass(frozen=True, slots=True)
class Labels:
    """What was read of labels.

    Attributes
    ----------
    examples : tuple of Example
    problems : tuple of str
        A line for each that cannot be used.
    grouped : str
        What the groups of examples are, in words.
    multilabel : bool
        Whether a picture may have several classes, or none.
    classes : tuple of str
        All that there are, sorted.
    index : pathlib.Path or None
        The index whose images they are of, if they are of one.
    """

    examples: tuple[Example, ...]
    problems: tuple[str, ...]
    grouped: str
    multilabel: bool
    classes: tuple[str, ...] = field(default=())
    index: Path | None = None

    @property
    def kind(self) -> Kind:
        """What has to be learned."""
        return "multilabel" if self.multilabel else "binary" if len(self.classes) == 2 else "multiclass"

    def truth(self) -> NDArray[np.bool_]:
        """Return which classes each example has, shape (n, k)."""
        return np.array([[name in example.labels for name in self.classes] for example in self.examples], np.bool_)


def is_index(path: Path) -> bool:
    """Return whether a path is an index."""
    return (path / CATALOGUE).is_file()


def read_labels(
    sources: Sequence[Path],
    *,
    label: str | None = None,
    group: str | None = None,
    where: str | None = None,
    multilabel: bool = False,
) -> Labels:
    """Read labelled images.

    Parameters
    ----------
    sources : sequence of paths
        One table, with a column of images, relative to it or to the working folder, and one of classes, several in a
        cell parted by ``|`` or ``;``; columns ``page`` (from 0), ``region`` (``x,y,width,height``) and ``group`` if
        there are; an image may stand in several lines. Or one index, of which `label` is a key of the metadata. Or
        folders: one that holds a folder for each class, or several, each called as its class.
    label : str, optional
        Heading of the column of classes, by default the first of `LABEL_COLUMNS`; for an index a key.
    group : str, optional
        A column, or key of metadata; ``folder``; or ``image``, each by itself. By default the column ``group`` of a
        table; else folders, where each class is in three of them; else files.
    where : str, optional
        Which images of an index.
    multilabel : bool
        Whether a picture may have several classes; it may, too, if one has.

    Raises
    ------
    InputError
        If there is no such thing, or nothing in it that can be used.
    """
    if not sources:
        raise InputError("no labels; name a table, an index, or folders called as their classes")
    first = Path(sources[0])
    indexed = is_index(first)
    if where is not None and not indexed:
        raise InputError(f"{printable(first)} is no index, whose metadata a condition could ask; leave --where out")
    problems: list[str] = []
    if indexed or first.is_file():
        if len(sources) > 1:
            raise InputError(f"{printable(first)} and others: give one table, one index, or folders only")
        found = _of_index(first, label, group, where, problems) if indexed else _of_table(first, label, group, problems)
    else:
        if label is not None:
            raise InputError("classes of folders are their names; leave --label out")
        found = _of_folders([Path(source) for source in sources], group, problems)
    labels = _labels(_united(found), problems, group, multilabel, printable(first))
    return replace(labels, index=first) if indexed else labels


def _labels(examples: list[Example], problems: list[str], group: str | None, multilabel: bool, source: str) -> Labels:
    multilabel = multilabel or any(len(example.labels) > 1 for example in examples)
    if not multilabel:
        problems += [f"{example.name}: no class" for example in examples if not example.labels]
        examples = [example for example in examples if example.labels]
    if not examples:
        first = f"; the first problem: {problems[0]}" if problems else ""
        raise InputError(f"{source}: no labelled image that can be used{first}")
    classes = tuple(sorted({name for example in examples for name in example.labels}))
    grouped = _told(group, examples)
    if group is None and not any(example.group for example in examples):
        folders: dict[str, set[str]] = {name: set() for name in classes}
        for example in examples:
            for name in example.labels:
                folders[name].add(str(example.path.parent))
        if classes and min(map(len, folders.values())) >= _FOLDERS:
            examples = [replace(example, group=str(example.path.parent)) for example in examples]
            grouped = "folders"
    return Labels(tuple(examples), tuple(problems), grouped, multilabel, classes)


def _told(group: str | None, examples: Iterable[Example]) -> str:
    if group == "image":
        return "images"
    if group == "folder":
        return "folders"
    return f"column {group or GROUP_COLUMN!r}" if any(example.group for example in examples) else "files"


def _of_table(path: Path, label: str | None, group: str | None, problems: list[str]) -> Iterator[Example]:
    table = read_table(path, None)
    problems += table.problems
    headings = list(table.rows[0].values) if table.rows else []
    name = printable(path)
    heading = _heading(headings, (label,) if label else LABEL_COLUMNS, "--label", name)
    grouping = group not in (None, "folder", "image")
    group_heading = (
        _heading(headings, (group,), "--group", name) if grouping and group else _find(headings, GROUP_COLUMN)
    )
    page_heading, region_heading = _find(headings, "page"), _find(headings, "region")
    for row in table.rows:
        try:
            file = _file(row.key, path.parent)
            page = _page(row.values.get(page_heading or "", ""))
            region = _region(row.values.get(region_heading or "", ""))
        except InputError as error:
            problems.append(f"line {row.line}: {error}")
            continue
        told = row.values.get(group_heading or "", "") if group in (None, group_heading) or grouping else ""
        yield Example(row.key, file, page, region, _classes(row.values.get(heading, "")), _grouped(group, file, told))


def _of_index(
    path: Path, label: str | None, group: str | None, where: str | None, problems: list[str]
) -> Iterator[Example]:
    if label is None:
        raise InputError(f"{printable(path)}: an index; say with --label which key of its metadata is the class")
    with Index.open(path) as index:
        chosen = None if where is None else index.select(where)
        metadata = index.all_metadata()
        known = {key for values in metadata.values() for key in values}
        for asked in (label, None if group in (None, "folder", "image") else group):
            if asked is not None and asked not in known:
                told = ", ".join(sorted(known)) or "none"
                raise InputError(f"{printable(path)}: no image has {asked!r} in its metadata; there are: {told}")
        for record in index.images():
            values = metadata.get(record.id, {})
            if (chosen is not None and record.id not in chosen) or label not in values:
                continue
            file = Path(record.path)
            told = values.get(group or GROUP_COLUMN, "")
            yield Example(record.name, file, record.page, None, _classes(values[label]), _grouped(group, file, told))


def _of_folders(folders: Sequence[Path], group: str | None, problems: list[str]) -> Iterator[Example]:
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"{printable(folder)}: no such table or folder of labels; check the path")
    if group not in (None, "folder", "image"):
        raise InputError(f"folders have no column {group!r}; groups of theirs are folder or image")
    named = folders
    if len(folders) == 1:
        named = sorted(child for child in folders[0].iterdir() if child.is_dir() and not child.name.startswith("."))
        if not named:
            raise InputError(
                f"{printable(folders[0])}: holds no folders called as classes; name the folders, or a table"
            )
    for folder in named:
        for item in expand([folder]):
            if isinstance(item, SourceFailure):
                problems.append(f"{item.name}: {item.reason}")
                continue
            yield Example(
                item.name, item.path, item.page, None, (folder.resolve().name,), _grouped(group, item.path, "")
            )


def _united(found: Iterable[Example]) -> list[Example]:
    """Return examples with all the classes that any line says of the same picture."""
    united: dict[tuple[Path, int, Region | None], Example] = {}
    for example in found:
        key = (example.path, example.page, example.region)
        before = united.get(key)
        labels = {*example.labels, *(before.labels if before else ())}
        united[key] = replace(before or example, labels=tuple(sorted(labels)))
    return list(united.values())


def _grouped(group: str | None, path: Path, told: str) -> str:
    if group == "folder":
        return str(path.parent)
    return "" if group == "image" else told


def _classes(cell: str) -> tuple[str, ...]:
    parts = (" ".join(part.split()) for part in _SEPARATORS.split(cell))
    return tuple(sorted({part for part in parts if part}))


def _file(name: str, folder: Path) -> Path:
    for start in (folder, Path()):
        try:
            path = (start / name).resolve()
            if path.is_file():
                return path
        except (OSError, RuntimeError, ValueError):
            continue
    raise InputError(f"{name!r} is no file; write it relative to the table, or its whole path")


def _page(text: str) -> int:
    if not text:
        return 0
    if not text.isdecimal():
        raise InputError(f"page {text!r} is no number; pages count from 0")
    return int(text)


def _region(text: str) -> Region | None:
    if not text:
        return None
    try:
        x, y, width, height = (float(part) for part in text.strip("[]").split(","))
        return Region(x, y, width, height)
    except ValueError as error:
        raise InputError(f"region {text!r} is no box; give x,y,width,height in pixels") from error


def _find(headings: Iterable[str], wanted: str) -> str | None:
    return next((heading for heading in headings if heading.casefold() == wanted.casefold()), None)


def _heading(headings: Sequence[str], wanted: Sequence[str], option: str, name: str) -> str:
    for heading in wanted:
        if (found := _find(headings, heading)) is not None:
            return found
    there = ", ".join(map(repr, headings)) or "nothing"
    raise InputError(f"{name}: no column called {' or '.join(wanted)}; it has {there}: name it with {option}")
