"""The segments of one state of the catalogue: mapped together, measured, and compared with what it says of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from index._hdf5 import DamagedSegment
from index.catalogue import SegmentRecord
from index.segment import Segment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from index.catalogue import Catalogue
    from index.folder import SegmentFolder

__all__ = ["faults", "holdings", "map_segments"]


def map_segments(catalogue: Catalogue, path_of: Callable[[str], Path]) -> tuple[list[Segment], dict[str, str]]:
    """Map all segments of one state of the catalogue; return also the names of those that cannot be, and why.

    A reader that finds a file gone looks whether a writer has merged it away meanwhile, and then takes the later state.
    """
    while True:
        records, dead = catalogue.segments(), catalogue.dead()
        segments: list[Segment] = []
        damaged: dict[str, str] = {}
        missing = False
        for record in records:
            try:
                segments.append(Segment.open(path_of(record.name), dead.get(record.name, ())))
            except FileNotFoundError:
                missing = True
                damaged[record.name] = "the file is missing"
            except DamagedSegment as error:
                damaged[record.name] = error.reason
        if missing and not catalogue.writable:
            catalogue.refresh()
            if catalogue.segments() != records:
                continue
        return segments, damaged


def holdings(catalogue: Catalogue, files: SegmentFolder) -> dict[str, Any]:
    """Return how much an index holds and what room it takes, of the folder that its folder of segments lies in."""
    images, features, dead = catalogue.counts()
    segments = catalogue.segments()
    sizes = {file: file.stat().st_size for file in files.path.parent.rglob("*") if file.is_file()}
    total = sum(sizes.values())
    known = {files.file(record.name) for record in segments}
    return {
        "images": images,
        "removed": dead,
        "features": features,
        "bytes": total,
        "bytes_per_feature": total / features if features else None,
        "bytes_per_image": total / images if images else None,
        "segments": len(segments),
        "leftover_bytes": sum(sizes[file] for file in sizes if file.parent == files.path and file not in known),
        "failures": len(catalogue.failures()),
    }


def faults(
    catalogue: Catalogue, segments: Sequence[Segment], damaged: Mapping[str, str], deep: bool
) -> Iterator[tuple[str, str]]:
    """Yield the names of segments and what is wrong with them: with their files, or with what the catalogue says."""
    mapped = {segment.name: segment for segment in segments}
    living = catalogue.ids_by_segment()
    for record in catalogue.segments():
        segment = mapped.get(record.name)
        if segment is None:
            yield record.name, damaged[record.name]
            continue
        for text in segment.verify(deep):
            yield record.name, text
        if SegmentRecord(segment.name, len(segment), segment.n_features, segment.n_bytes) != record:
            yield record.name, "the catalogue gives it another size"
        if segment.settings != catalogue.settings:
            yield record.name, "it was made with other settings than the index"
        if segment.image_ids[segment.alive].tolist() != living.get(record.name, []):
            yield record.name, "the catalogue gives it other images"
