"""From the SOURCE arguments of the command line to the pages that are to be indexed."""

from __future__ import annotations

import codecs
import os
import posixpath
import re
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import TYPE_CHECKING

from index.iiif import is_address, is_manifest
from index.items import Pending, SourceFailure, SourceItem, explained, local_path
from index.mets import mets_pages
from index.zones import children, coco_pages, is_coco, read_json, read_xml, xml_zones, zones_on
from matcher.errors import CalqueError, InputError
from matcher.images import IMAGE_SUFFIXES, PAGED_SUFFIXES, page_count, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from index.iiif import Library
    from index.mets import MetsPage
    from index.zones import PageZones

__all__ = ["SourceFailure", "SourceItem", "expand", "expand_all", "explained"]

_LIST_SUFFIXES = frozenset({".txt", ".lst"})
_INDEX_SUFFIX = ".calque"

Found = SourceItem | Pending | SourceFailure


def expand(
    sources: Sequence[str | os.PathLike[str]], skipped: Counter[str] | None = None
) -> Iterator[SourceItem | SourceFailure]:
    """Yield the pages that `sources` hold on disk: as `expand_all`, but nothing is fetched."""
    for item in expand_all(sources, skipped):
        if not isinstance(item, Pending):
            yield item


def expand_all(
    sources: Sequence[str | os.PathLike[str]], skipped: Counter[str] | None = None, library: Library | None = None
) -> Iterator[Found]:
    """Yield the pages that `sources` hold, in the order given, folders in natural order (``p9`` before ``p10``).

    Parameters
    ----------
    sources
        Image files; PDF and TIFF files, of which each page is an item; folders, searched recursively and through
        symbolic links; list files (``.txt``, ``.lst``: one path a line, relative to the list file's folder, a line that
        starts with ``#`` is a comment); IIIF manifests and collections, files or addresses; METS, ALTO and PAGE
        documents and COCO files, whose images are found from what they say.
    skipped
        If given, counts what is passed over in folders: files by lower-case suffix (``""``: without one),
        ``"hidden"`` files and folders, ``".calque"`` indexes.
    library
        What reads manifests and fetches; without it they are failures.

    Yields
    ------
    SourceItem, Pending or SourceFailure
        A file that is reached twice is yielded once. Pages are counted only when their turn comes, and only of the
        formats that may have several; other files are not opened. Manifests are fetched at once, their pictures not.
    """
    walk = _Walk(Counter() if skipped is None else skipped, library)
    for source in sources:
        yield from walk.source(os.fspath(source).replace(os.sep, "/"), lists=True)


class _Walk:
    """What one expansion remembers from source to source: the files and folders seen."""

    def __init__(self, skipped: Counter[str], library: Library | None) -> None:
        self._skipped = skipped
        self._library = library
        self._seen: set[Path] = set()

    def source(self, name: str, *, lists: bool) -> Iterator[Found]:
        """Expand what a user named, which counts whatever its suffix; `lists` allows a list file."""
        suffix = Path(name).suffix.lower()
        if not name:
            yield SourceFailure(name, "an empty path; name a file or a folder")
        elif is_address(name):
            if self._library is None:
                yield SourceFailure(name, "nothing here fetches; download it and name the file")
            else:
                yield from self._unseen(self._library.expand(name))
        elif suffix in (".json", ".xml") and not Path(name).is_dir():
            yield from self._document(name, suffix)
        elif suffix == _INDEX_SUFFIX:
            yield SourceFailure(name, "an index, not scans; name the folder of the scans")
        elif suffix not in _LIST_SUFFIXES or Path(name).is_dir():
            yield from self._found(name)
        elif lists:
            yield from self._listed(name)
        else:
            yield SourceFailure(name, "a list within a list; name it on the command line")

    def _document(self, name: str, suffix: str) -> Iterator[Found]:
        """Expand a file that says of images where they are and what is on them."""
        path = Path(name)
        try:
            if suffix == ".json":
                document = read_json(path)
                if is_coco(document):
                    yield from self._described(name, list(coco_pages(document, path)))
                elif is_manifest(document) and self._library is not None:
                    yield from self._unseen(self._library.expand_document(document, name))
                else:
                    yield SourceFailure(
                        name, "neither a IIIF manifest or collection nor COCO; check which file this is"
                    )
                return
            root = read_xml(path)
            mets = next(children(root, "mets"), None)  # a repository may wrap it in an answer of its own
            if mets is not None:
                for page in mets_pages(mets):
                    yield from self._mets_page(name, page)
            elif (zones := xml_zones(root, path)) is not None:
                yield from self._described(name, zones)
            else:
                yield SourceFailure(name, "neither METS, ALTO nor PAGE; check which file this is")
        except InputError as error:
            yield SourceFailure(name, str(error).removeprefix(f"{printable(path)}: "))
        except (OSError, ValueError) as error:  # what is neither an address nor a name that a file can have
            yield SourceFailure(name, f"has a link that leads nowhere ({error}); correct it")

    def _described(self, name: str, pages: list[PageZones]) -> Iterator[Found]:
        """Expand the images that a file's zones are of."""
        for page in pages:
            image = page.beside()
            if image is None:
                yield SourceFailure(
                    name, f"its image {page.image!r} is not beside it; name the folder of the images too"
                )
            else:
                for item in self._found(_beside(name, image)):
                    yield replace(item, zones=zones_on([page], item.path)) if isinstance(item, SourceItem) else item

    def _mets_page(self, name: str, page: MetsPage) -> Iterator[Found]:
        folder = Path(name).parent
        zones: list[PageZones] = []
        if page.alto:
            try:
                zones = self._alto(page.alto, folder)
            except InputError as error:
                yield SourceFailure(page.alto, str(error))  # its image is worth having without
        image = local_path(page.image, folder)
        if image is not None:
            for item in self._found(_beside(name, image)):
                if isinstance(item, SourceItem):
                    yield replace(item, metadata=page.metadata, zones=zones_on(zones, item.path))
                else:
                    yield item
        elif self._library is None:
            yield SourceFailure(page.image, "nothing here fetches; download it and name the file")
        else:
            yield from self._unseen([self._library.picture(page.image, page.metadata, partial(zones_on, zones))])

    def _alto(self, link: str, folder: Path) -> list[PageZones]:
        path = local_path(link, folder)
        if path is None:
            if self._library is None:
                raise InputError(f"{link}: nothing here fetches; download it")
            path = self._library.text(link)
        return xml_zones(read_xml(path), path) or []

    def _unseen(self, found: Iterable[Found]) -> Iterator[Found]:
        for item in found:
            if isinstance(item, SourceFailure):
                yield item
            elif item.path not in self._seen:
                self._seen.add(item.path)
                yield item

    def _listed(self, name: str) -> Iterator[Found]:
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
                apart = is_address(entry) or Path(entry).is_absolute()
                yield from self.source(entry if apart else folder + entry, lists=False)

    def _found(self, name: str) -> Iterator[Found]:
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


def _beside(name: str, path: Path) -> str:
    """Return the name of a file as found from the source `name`, which led to it."""
    start = posixpath.dirname(name)
    try:
        relative = os.path.relpath(path, start or ".").replace(os.sep, "/")
    except ValueError:  # on another drive
        return path.as_posix()
    return posixpath.normpath(posixpath.join(start, relative))


def _natural(name: str) -> tuple[list[str | int], str]:
    """Order `name` with its numbers as numbers and its letters whatever their case."""
    parts: list[str | int] = [*re.split(r"(\d+)", name.casefold())]
    parts[1::2] = [int(number) for number in parts[1::2]]
    return parts, name


def _pages(name: str, path: Path, status: os.stat_result) -> Iterator[Found]:
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
