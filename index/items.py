"""What the SOURCE arguments come down to: pages to index, pages still to be fetched, and what cannot be used."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from matcher.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from index.annotations import Zone
    from index.catalogue import ImageRecord

__all__ = ["CHANGED", "Pending", "SourceFailure", "SourceItem", "digest_of", "explained", "has_changed", "local_path"]


CHANGED = "its file has changed since it was added; add it again"
"""Why a file is not looked at for an image that is in: see `has_changed`."""


@dataclass(frozen=True, slots=True)
class SourceItem:
    """One page to index.

    Attributes
    ----------
    name : str
        The path as found under the SOURCE that was given, as ``find SOURCE`` prints it, with ``/`` between its parts;
        of a page from a IIIF manifest, the id of its canvas.
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
    fetched : bool
        Whether the file is a copy of what can be fetched again.
    """

    name: str
    path: Path
    page: int
    size: int
    mtime_ns: int
    metadata: Mapping[str, str] = field(default_factory=dict)
    zones: tuple[Zone, ...] = ()
    fetched: bool = False


@dataclass(frozen=True, slots=True)
class SourceFailure:
    """A source, folder or file that cannot be used, and why, with the remedy."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Pending:
    """A page that is still to be fetched.

    Attributes
    ----------
    name : str
        As of a `SourceItem`.
    path : pathlib.Path
        The file that it will be kept in.
    fetch : callable
        Fetches it into that file; `InputError` if it cannot be had.
    metadata : mapping of str to str
    zones : callable
        Tells the zones of the page, given the file.
    """

    name: str
    path: Path
    fetch: Callable[[Path], None]
    metadata: Mapping[str, str] = field(default_factory=dict)
    zones: Callable[[Path], tuple[Zone, ...]] = lambda _: ()

    def here(self) -> SourceItem | None:
        """Return the page if it has been fetched already."""
        try:
            status = self.path.stat()
        except OSError:
            return None
        times = status.st_size, status.st_mtime_ns
        return SourceItem(self.name, self.path, 0, *times, self.metadata, self.zones(self.path), True)

    def fetched(self) -> SourceItem | SourceFailure:
        """Fetch the page."""
        try:
            self.fetch(self.path)
        except InputError as error:
            return SourceFailure(self.name, str(error))
        return self.here() or SourceFailure(self.name, f"{self.path} has vanished; run the same command again")


def explained(error: Exception) -> str:
    """Return what is wrong with a path, and the remedy."""
    if isinstance(error, FileNotFoundError):
        return "no such file or folder; check the path"
    if isinstance(error, PermissionError):
        return "permission denied; make it readable, and its folders too"
    if isinstance(error, RuntimeError):
        return "a symbolic link that leads back to itself; remove it"  # what pathlib raises before Python 3.13
    return f"cannot be opened ({getattr(error, 'strerror', None) or error}); check the path"


def digest_of(path: Path) -> bytes:
    """Return the hash of a file's contents, as the catalogue keeps it; `OSError` if it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest()


def has_changed(record: ImageRecord) -> bool:
    """Return whether the file of an image is there, and not what it was when the image was added."""
    path = Path(record.path)
    try:
        status = path.stat()
        same = (status.st_size, status.st_mtime_ns) == (record.n_bytes, record.mtime_ns)
        return not same and digest_of(path) != record.digest
    except OSError:
        return False


def local_path(href: str, folder: Path) -> Path | None:
    """Return the file that a link in a document of `folder` means, None if it is to be fetched."""
    scheme = urlsplit(href).scheme.lower()
    if scheme in ("http", "https"):
        return None
    if scheme == "file":
        return Path(unquote(urlsplit(href).path))
    plain = folder / href
    return plain if plain.exists() else folder / unquote(href)
