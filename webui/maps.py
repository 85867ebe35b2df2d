"""Maps of collections, which `calque map` has made: their folders, served as they are beside the indexes."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from matcher.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

__all__ = ["map_address", "named_maps", "require_maps"]

_FILES = ("index.html", "data.js", "map.js")


def map_address(index: str) -> str:
    """Return the address below which the map of an index lies."""
    return f"/maps/{quote(index)}"


def named_maps(given: Collection[str], indexes: Collection[str]) -> dict[str, str]:
    """Return the folders of maps by the names of their indexes.

    Parameters
    ----------
    given : collection of str
        ``FOLDER``, where there is one index, or ``INDEX=FOLDER``.
    indexes : collection of str
        Names of the indexes that are served.

    Raises
    ------
    InputError
        If it is not told whose map one is.
    """
    found: dict[str, str] = {}
    for one in given:
        name, equals, folder = one.partition("=")
        if not equals or name not in indexes:
            if len(indexes) != 1:
                raise InputError(f"--map {one}: say whose map it is: INDEX=FOLDER, INDEX one of {', '.join(indexes)}")
            (name,) = indexes
            folder = one
        if name in found:
            raise InputError(f"--map {one}: {name} has a map already; give one for each index")
        found[name] = folder
    return found


def require_maps(maps: Mapping[str, Path], indexes: Collection[str]) -> None:
    """Check that there is a map in each folder, of an index that is served; `InputError` if not."""
    for name, folder in maps.items():
        if name not in indexes:
            raise InputError(f"{folder} is said to be the map of {name}, which is not served")
        if not all((folder / file).is_file() for file in _FILES):
            raise InputError(f"{folder} is no map; make one: calque map {name}.calque -o {folder}")
