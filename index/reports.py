"""What the operations on an index report."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from index.catalogue import ImageRecord

__all__ = ["AddReport", "Problem", "RemoveReport"]


@dataclass(slots=True)
class AddReport:
    """What an `add` did.

    Attributes
    ----------
    added, replaced : int
        Images entered, anew or in the place of an earlier state of the same file; all are safe on disk.
    unchanged : int
        Images that were in already.
    failed : list of (str, str)
        Name and reason of what could not be added.
    unsegmented : list of (str, str)
        Name of what was added without its layout, which was asked for, and why.
    skipped : Counter
        What was passed over in folders, by suffix: see `index.sources.expand`.
    """

    added: int = 0
    replaced: int = 0
    unchanged: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    unsegmented: list[tuple[str, str]] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class RemoveReport:
    """Images that a `remove` took out, and the targets that no image answered to."""

    removed: tuple[ImageRecord, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with an index, what to do about it, and the names of the images that it touches."""

    severity: Literal["error"]
    what: str
    remedy: str
    images: tuple[str, ...] = ()
