"""What a server was started with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from index.fetching import cache_folder
from index.workers import default_workers

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Options"]

_STATIC = Path(__file__).with_name("static")


@dataclass(frozen=True, slots=True)
class Options:
    """What a server was started with, and the bounds that it keeps.

    Attributes
    ----------
    folders : tuple of Path
        Below these, and nowhere else, something may be added; resolved.
    names : frozenset of str
        Names, besides addresses and ``localhost``, by which the server may be called.
    token : str or None
        What a client must know; None where everybody who reaches the server may use it.
    user_header : str or None
        Header in which a proxy tells the name of the user.
    proxies : frozenset of str
        Addresses of proxies, which are believed what they tell of who asks, and how.
    read_only : bool
        Whether nothing can be changed.
    addresses : bool
        Whether manifests may be fetched; `allow_private`: from private networks, too.
    rate : float
        Requests a second of one client, in the long run; 0 for no limit.
    upload_bytes, upload_pixels : int
        Largest upload.
    upload_seconds : float
        What a body may take to come.
    kept_seconds : float
        How long an upload that is not used is kept.
    export_pictures : int
        Pictures in a ZIP at the most.
    workers : int
        Processes that decode images, and threads that search.
    worker_bytes : int
        Memory that a decoding process may use.
    worker_seconds : float
        Time for one decoding.
    warm : bool
        Whether indexes are loaded and processes started before anybody asks for them.
    maps : mapping of str to Path
        Folders of maps that `calque map` has made, by the names of their indexes.
    cache, cache_bytes : Path, int
        Folder of pictures made once, and its bound.
    static : Path
        Folder of the built page.
    """

    folders: tuple[Path, ...] = ()
    names: frozenset[str] = frozenset()
    token: str | None = None
    user_header: str | None = None
    proxies: frozenset[str] = frozenset({"127.0.0.1", "::1"})
    read_only: bool = False
    addresses: bool = True
    allow_private: bool = False
    rate: float = 50.0
    upload_bytes: int = 64 << 20
    upload_pixels: int = 200_000_000
    upload_seconds: float = 120.0
    kept_seconds: float = 3600.0
    export_pictures: int = 500
    workers: int = field(default_factory=default_workers)
    worker_bytes: int = 3 << 30
    worker_seconds: float = 60.0
    warm: bool = True
    maps: Mapping[str, Path] = field(default_factory=dict)
    cache: Path = field(default_factory=lambda: cache_folder() / "web")
    cache_bytes: int = 2 << 30
    static: Path = _STATIC
