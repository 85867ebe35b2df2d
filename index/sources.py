"""From the SOURCE arguments of the command line to the pages that are to be indexed."""

from __future__ import annotations

import codecs
import os
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import TYPE_CHECKING

from matcher.errors import CalqueError
from matcher.images import IMAGE_SUFFIXES, PAGED_SUFFIXES, page_count, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from index.annotations import Zone

__all__ = ["SourceFailure", "SourceItem", "expand", "explained"]

_LIST_SUFFIXES = frozenset({".txt", ".lst"})
_INDEX_SUFFIX = ".calque"


@dataclass(frozen=True, slots=True)
class SourceItem:
    """One page to index.

    Attributes
    ----------
    name : str
        The path as found under the SOURCE that was given, as ``find SOURCE`` prints it, with ``/`` between its parts.
        Bytes of a file name that are not UTF-8 are surrogate escapes, as everywhere in Python (PEP 383).
    path : pathlib.Path
        Absolute, symbolic links resolved.
    page : int
        Counted from 0.
    size : int
        Bytes of the file.
    mtime_ns : int
        When the file was last changed, nanoseconds since 1970.
    metadata : mapping of str to str
        What the source says of the page.
    zones : tuple of Zone
        What the source knows of the page's parts.
    """

    name: str
    path: Path
    page: int
    size: int
    mtime_ns: int
    metadata: Mapping[str, str] = field(default_factory=dict)
    zones: tuple[Zone, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceFailure:
    """A source, folder or file that cannot be used, and why, with the remedy."""

    name: str
    reason: str


def expand(
    sources: Sequence[str | os.PathLike[str]], skipped: Counter[str] | None = None
) -> Iterator[SourceItem | SourceFailure]:
    """Yield the pages that `sources` hold, in the order given, folders in natural order (``p9`` before ``p10``).

    Parameters
    ----------
    sources
        Image files; PDF and TIFF files, of which each page is an item; folders, searched recursively and through
        symbolic links; list files (``.txt``, ``.lst``: one path a line, relative to the list file's folder, a line that
        starts with ``#`` is a comment).
    skipped
        If given, counts what is passed over in folders: files by lower-case suffix (``""``: without one),
        ``"hidden"`` files and folders, ``".calque"`` indexes.

    Yields
    ------
    SourceItem or SourceFailure
        A file that is reached twice is yielded once. Pages are counted only when their turn comes, and only of the
        formats that may have several; other files are not opened.
    """
    walk = _Walk(Counter() if skipped is None else skipped)
    for source in sources:
        yield from walk.source(os.fspath(source).replace(os.sep, "/"), lists=True)


class _Walk:
    """What one expansion remembers from source to source: the files and folders seen."""

    def __init__(self, skipped: Counter[str]) -> None:
        self._skipped = skipped
        self._seen: set[Path] = set()

    def source(self, name: str, *, lists: bool) -> Iterator[SourceItem | SourceFailure]:
        """Expand what a user named, which counts whatever its suffix; `lists` allows a list file."""
        suffix = Path(name).suffix.lower()
        if not name:
            yield SourceFailure(name, "an empty path; name a file or a folder")
        elif _is_address(name) or suffix == ".json":
            yield SourceFailure(name, "IIIF manifests are not supported yet; download the images and name their folder")
        elif suffix == _INDEX_SUFFIX:
            yield SourceFailure(name, "an index, not scans; name the folder of the scans")
        elif suffix not in _LIST_SUFFIXES or Path(name).is_dir():
            yield from self._found(name)
        elif lists:
            yield from self._listed(name)
        else:
            yield SourceFailure(name, "a list within a list; name it on the command line")

    def _listed(self, name: str) -> Iterator[SourceItem | SourceFailure]:
        try:
            text = Path(name).read_bytes().removeprefix(codecs.BOM_UTF8)
        except (OSError, ValueError) as error:
            yield SourceFailure(name, explained(error))
            return
        if b"\0" in text:
            yield SourceFailure(name, "not a list of paths; write one path a line, as plain text")
            return
        folder = name.rpartition("/")[0] + "/" if "/" in name else ""
        for line in text.splitlines():
            entry = os.fsdecode(line).strip()
            if entry and not entry.startswith("#"):
                apart = _is_address(entry) or Path(entry).is_absolute()
                yield from self.source(entry if apart else folder + entry, lists=False)

    def _found(self, name: str) -> Iterator[SourceItem | SourceFailure]:
        """Walk a file or a folder, by a stack of names: folders may nest deeper than calls."""
        try:
            pending = [(name, Path(name).resolve(strict=True))]
        except (OSError, RuntimeError, ValueError) as error:
            yield SourceFailure(name, explained(error))
            return
        while pending:
            current, path = pending.pop()
            try:
                if path.is_symlink():  # the folder it lies in is resolved already
                    path = path.resolve(strict=True)
                status = path.stat()
                if path in self._seen:
                    continue
                self._seen.add(path)
                if S_ISDIR(status.st_mode):
                    pending += self._children(current, path)
                elif S_ISREG(status.st_mode):
                    yield from _pages(current, path, status)
                else:
                    yield SourceFailure(current, "not a regular file; copy the image to a file first")
            except (OSError, RuntimeError) as error:
                yield SourceFailure(current, explained(error))

    def _children(self, name: str, folder: Path) -> list[tuple[str, Path]]:
        """Return what is worth a look in `folder`, the last in natural order first, and count the rest."""
        prefix = name if name.endswith("/") else f"{name}/"
        children = []
        for child in sorted(folder.iterdir(), key=lambda path: _natural(path.name), reverse=True):
            suffix = "hidden" if child.name.startswith(".") else child.suffix.lower()
            if suffix in IMAGE_SUFFIXES or (suffix not in ("hidden", _INDEX_SUFFIX) and child.is_dir()):
                children.append((prefix + child.name, child))
            else:
                self._skipped[suffix] += 1
        return children


def _is_address(name: str) -> bool:
    return re.match(r"https?:/", name, re.IGNORECASE) is not None


def _natural(name: str) -> tuple[list[str | int], str]:
    """Order `name` with its numbers as numbers and its letters whatever their case."""
    parts: list[str | int] = [*re.split(r"(\d+)", name.casefold())]
    parts[1::2] = [int(number) for number in parts[1::2]]
    return parts, name


def _pages(name: str, path: Path, status: os.stat_result) -> Iterator[SourceItem | SourceFailure]:
    pages = 1
    if Path(name).suffix.lower() in PAGED_SUFFIXES:
        try:
            pages = page_count(path)
        except CalqueError as error:
            yield SourceFailure(name, str(error).removeprefix(f"{printable(path)}: "))
            return
        if pages == 0:
            yield SourceFailure(name, "a document without pages; get a fresh copy")
    for page in range(pages):
        yield SourceItem(name, path, page, status.st_size, status.st_mtime_ns)


def explained(error: Exception) -> str:
    """Return what is wrong with a path, and the remedy."""
    if isinstance(error, FileNotFoundError):
        return "no such file or folder; check the path"
    if isinstance(error, PermissionError):
        return "permission denied; make it readable, and its folders too"
    if isinstance(error, RuntimeError):
        return "a symbolic link that leads back to itself; remove it"  # what pathlib raises before Python 3.13
    return f"cannot be opened ({getattr(error, 'strerror', None) or error}); check the path"
