"""Captions of the images of an index, or of the pictures on their pages, into its metadata; resumable."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from index.embedding import Units, reading, together
from index.vectors import WHOLE, Living
from index.workers import Failed, default_workers, mapped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from index.store import Index

    Pictures = Sequence[NDArray[np.uint8]]

__all__ = ["CAPTION", "CaptionReport", "CaptionWriter", "caption_images", "told_by"]

CAPTION = "caption"
"""Key of the metadata that captions are written to."""

_BATCH_SECONDS = 30.0
"""Work that an interruption may cost."""

_BETWEEN = "; "


class CaptionWriter(Protocol):
    """What tells in words what pictures show: `matcher.captioning.Captioner`."""

    @property
    def signature(self) -> str:
        """Name, version and parameters, a digest of the weights among them."""

    @property
    def at_once(self) -> int:
        """How many pictures it had best be given at a time."""

    @property
    def long_side(self) -> int:
        """Pixels of the long side to which pictures may be reduced beforehand."""

    def caption(self, pictures: Pictures) -> list[str]:
        """Return a caption of each picture."""


@dataclass(slots=True)
class CaptionReport:
    """What `caption_images` did.

    Attributes
    ----------
    captioned : int
        Images whose captions are safe on disk.
    known, kept : int
        Images that had the caption of this very model already, and those to which somebody else gave one.
    bare : int
        Images without pictures, where only these were asked for, or of which the model says nothing.
    failed : list of (str, str)
        Name and reason.
    """

    captioned: int = 0
    known: int = 0
    kept: int = 0
    bare: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)


def told_by(key: str) -> str:
    """Return the key of the metadata that says who wrote those of `key`: the signature of a model."""
    return f"{key}_by"


def caption_images(
    index: Index,
    writer: CaptionWriter,
    *,
    key: str = CAPTION,
    regions: bool = False,
    only: frozenset[int] | None = None,
    replace: bool = False,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> CaptionReport:
    """Caption the images of an index, and note in their metadata what is said and by which model.

    What this model has captioned is passed over, so that an interrupted run goes on; what another has, is captioned
    anew; what somebody else has written stays.

    Parameters
    ----------
    index : Index
        Open for writing.
    writer : CaptionWriter
    key : str
        Of the metadata.
    regions : bool
        Whether the pictures on pages are captioned, one after the other, rather than whole images.
    only : set of int, optional
        Ids of the images that are meant, by default all.
    replace : bool
        Whether to write over what somebody else has written.
    workers : int, optional
        Processes that read, by default one for each core; 0 uses none.
    progress : callable, optional
        Called as ``progress(done, total)``.
    """
    report = CaptionReport()
    todo = list(_missing(index, writer.signature, key, regions, only, replace, report))
    workers = default_workers() if workers is None else workers
    written: dict[int, dict[str, str]] = {}
    since = time.monotonic()

    def commit() -> None:
        nonlocal since
        since = time.monotonic()
        index.set_metadata(written)
        report.captioned += len(written)
        written.clear()

    try:
        with closing(mapped(reading, (writer.long_side,), todo, workers)) as read:
            for done, (units, captions) in enumerate(together(_said(writer), writer.at_once, read), start=1):
                if isinstance(captions, Failed):
                    report.failed.append((units.record.name, captions.reason))
                elif text := _BETWEEN.join(dict.fromkeys(filter(None, captions))):
                    written[units.record.id] = {key: text, told_by(key): writer.signature}
                else:
                    report.bare += 1
                if written and time.monotonic() - since >= _BATCH_SECONDS:
                    commit()
                if progress is not None:
                    progress(done, len(todo))
    finally:
        if written:
            commit()
    return report


def _missing(
    index: Index,
    signature: str,
    key: str,
    regions: bool,
    only: frozenset[int] | None,
    replace: bool,
    report: CaptionReport,
) -> Iterator[Units]:
    """Yield the images that are to be captioned, and count the others."""
    metadata: Mapping[int, Mapping[str, str]] = index.all_metadata()
    pictures = Living(index).regions if regions else {}
    for record in index.images():
        if only is not None and record.id not in only:
            continue
        known = metadata.get(record.id, {})
        author = known.get(told_by(key))
        if key in known and author is None and not replace:
            report.kept += 1
        elif key in known and author == signature:
            report.known += 1
        elif regions and record.id not in pictures:
            report.bare += 1
        else:
            yield Units(record, tuple(sorted(pictures[record.id])) if regions else (WHOLE,))


def _said(writer: CaptionWriter) -> Callable[[Pictures], list[str]]:
    """Return the function that captions any number of pictures, as many at a time as the writer likes."""

    def said(pictures: Pictures) -> list[str]:
        starts = range(0, len(pictures), writer.at_once)
        return [text for start in starts for text in writer.caption(pictures[start : start + writer.at_once])]

    return said
