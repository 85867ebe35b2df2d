"""Writing segments: from encoded images, and from the living images of other segments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from index._columns import packed_words
from index._hdf5 import MAXIMUM_IMAGES, DamagedSegment, SegmentFile, datasets
from index.durable import replacing
from index.faults import reach
from index.segment import BLOCK, runs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import DTypeLike, NDArray

    from index.encoding import EncodedImage
    from index.segment import Segment
    from index.settings import Settings

__all__ = ["merge_segments", "write_columns", "write_segment"]


def write_segment(path: Path, items: Iterable[tuple[int, EncodedImage]], settings: Settings) -> None:
    """Write encoded images to a new segment, wholly or not at all.

    Parameters
    ----------
    path : Path
        The file to write.
    items : iterable of (int, EncodedImage)
        Catalogue id and features of each image, at most 65,536 of them, ids ascending. All are held in memory.
    settings : Settings
        What the features were made with.

    Raises
    ------
    CalqueError
        If the disk is full; nothing is left behind.
    """
    pairs = list(items)
    encoded = [image for _, image in pairs]
    # Images are in order already, so a stable sort by word sorts by (word, image).
    words = _joined([image.words for image in encoded], np.uint16)
    order = np.argsort(words, kind="stable")
    numbers = np.repeat(np.arange(len(pairs), dtype=np.uint16), [len(image) for image in encoded])
    kinds = datasets(settings)
    postings = {
        name: _joined([getattr(image, name) for image in encoded], kinds[name].dtype)[order] for name in _COLUMNS
    }
    gaps = [packed_words(image.words) for image in encoded]
    write_columns(
        path,
        settings,
        np.array([image_id for image_id, _ in pairs], dtype=np.int64),
        np.array([(image.width, image.height) for image in encoded], dtype=np.int32).reshape(-1, 2),
        [len(packed) for packed in gaps],
        np.bincount(words, minlength=1 << 16),
        _blocks(iter(gaps)),
        iter([{"images": numbers[order], **postings}]),
    )


def merge_segments(path: Path, segments: Sequence[Segment], going_on: Callable[[], None] = lambda: None) -> None:
    """Write the living images of several segments to a new one, in memory bounded by a block and the images' number.

    Parameters
    ----------
    path : Path
        The file to write.
    segments : sequence of Segment
        Segments of equal settings with distinct living images.
    going_on : callable, optional
        Called before each block; what it raises ends the merge and leaves nothing behind.

    Raises
    ------
    CorruptIndex
        If a segment's large datasets do not match their checksums: damage must not be copied under new ones.
    CalqueError
        If the disk is full; nothing is left behind.
    """
    for segment in segments:
        going_on()
        segments[0].settings.require(segment.settings, segment.path)
        faults = segment.verify(deep=True)
        if faults:
            raise DamagedSegment(segment.path, faults[0])
    kept = [np.flatnonzero(segment.alive) for segment in segments]
    ids = np.concatenate([segment.image_ids[k] for segment, k in zip(segments, kept, strict=True)])
    order = np.argsort(ids, kind="stable")
    source = np.repeat(np.arange(len(segments)), [len(k) for k in kept])[order]
    local = np.concatenate(kept)[order]
    renumbered = [np.zeros(len(segment), dtype=np.uint16) for segment in segments]
    for which, numbers in enumerate(renumbered):
        mine = source == which
        numbers[local[mine]] = np.flatnonzero(mine)

    def words_of_images() -> Iterator[NDArray[np.uint8]]:
        return (segments[which].packed_words_of(old) for which, old in zip(source, local, strict=True))

    write_columns(
        path,
        segments[0].settings,
        ids[order],
        np.concatenate([segment.image_sizes[k] for segment, k in zip(segments, kept, strict=True)])[order],
        [len(packed) for packed in words_of_images()],
        np.sum([_living_words(segment) for segment in segments], axis=0),
        _blocks(words_of_images()),
        _merged_postings(segments, renumbered, going_on),
    )


_COLUMNS = ("signatures", "geometry")


def _joined(parts: Sequence[NDArray[Any]], dtype: DTypeLike) -> NDArray[Any]:
    return np.concatenate([np.empty(0, dtype), *parts], dtype=dtype, casting="no")


def _living_words(segment: Segment) -> NDArray[np.int64]:
    """Return how many features of living images each of the 65,536 words has."""
    totals = np.zeros(1 << 16, dtype=np.int64)
    totals[segment.words] = np.diff(segment.offsets)
    for local in np.flatnonzero(~segment.alive).tolist():
        np.subtract.at(totals, segment.words_of(local), 1)
    return totals


def _merged_postings(
    segments: Sequence[Segment], renumbered: Sequence[NDArray[np.uint16]], going_on: Callable[[], None]
) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield the living postings of all segments, block by block, sorted by word and new image number."""
    totals = np.zeros(1 << 16, dtype=np.int64)
    for segment in segments:
        totals[segment.words] += np.diff(segment.offsets)
    for first, last in runs(np.concatenate([[0], np.cumsum(totals)]), BLOCK):
        going_on()
        parts: dict[str, list[NDArray[Any]]] = {name: [] for name in ("images", *_COLUMNS)}
        keys = []
        for segment, number in zip(segments, renumbered, strict=True):
            low, high = np.searchsorted(segment.words, [first, last])
            span = slice(int(segment.offsets[low]), int(segment.offsets[high]))
            images = segment.images[span]
            keep = segment.alive[images]
            words = np.repeat(segment.words[low:high], np.diff(segment.offsets[low : high + 1]))[keep]
            images = number[images[keep]]
            keys.append(words.astype(np.uint32) << 16 | images)
            parts["images"].append(images)
            parts["signatures"].append(segment.signatures[span][keep])
            parts["geometry"].append(segment.geometry_at(span)[keep])
        order = np.argsort(np.concatenate(keys), kind="stable")
        yield {name: np.concatenate(arrays)[order] for name, arrays in parts.items()}


def write_columns(
    path: Path,
    settings: Settings,
    ids: NDArray[np.int64],
    sizes: NDArray[np.int32],
    lengths: Sequence[int],
    word_counts: NDArray[np.int64],
    image_words: Iterator[NDArray[np.uint8]],
    postings: Iterator[dict[str, NDArray[Any]]],
) -> None:
    """Write a segment whose large datasets come in blocks, wholly or not at all.

    Parameters
    ----------
    path, settings
        As of `write_segment`.
    ids, sizes : int64, shape (m,), int32, shape (m, 2)
        Catalogue ids, ascending, widths and heights of the images.
    lengths : sequence of int
        How many bytes of `image_words` each has.
    word_counts : int64, shape (65536,)
        Features of each word.
    image_words : iterator of uint8 arrays
        Words of the images, one after the other, as `packed_words` has them.
    postings : iterator of dicts
        ``images``, ``signatures`` and ``geometry``, sorted by word, then by image.
    """
    if len(ids) > MAXIMUM_IMAGES:
        raise ValueError(f"{len(ids)} images, a segment holds at most {MAXIMUM_IMAGES}")
    if (np.diff(ids) <= 0).any():
        raise ValueError("image ids must be ascending")
    if word_counts.sum() >= 1 << 32:
        raise ValueError(f"{word_counts.sum()} features, a segment holds less than 2^32")
    words = np.flatnonzero(word_counts)
    small = {
        "words": words,
        "offsets": np.concatenate([[0], np.cumsum(word_counts[words])]),
        "image_ids": ids,
        "image_sizes": sizes,
        "image_offsets": np.concatenate([[0], np.cumsum(lengths)]),
    }
    rows = {"w": len(words), "n": int(word_counts.sum()), "m": len(ids), "b": int(sum(lengths))}
    with replacing(path) as temporary:
        reach("segment.begun")
        with SegmentFile(temporary, settings, rows) as file:
            for name, array in small.items():
                file.append(name, array)
            for block in image_words:
                file.append("image_words", block)
            reach("segment.half")
            for columns in postings:
                for name, array in columns.items():
                    file.append(name, array)
        reach("segment.written")


def _blocks(parts: Iterator[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
    """Join small arrays to blocks worth writing."""
    block: list[NDArray[np.uint8]] = []
    size = 0
    for part in parts:
        block.append(part)
        size += len(part)
        if size >= BLOCK:
            yield np.concatenate(block)
            block, size = [], 0
    if block:
        yield np.concatenate(block)
