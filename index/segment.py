"""Immutable files of postings, read by mapping them into memory (docs/format.md).

A segment holds the features of up to 65,536 images twice: as postings sorted by (word, image), which a search walks
through, and as the words of each image, through which the postings of one image are gathered again.
"""

from __future__ import annotations

import mmap
import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from index._hdf5 import DATASETS, MAXIMUM_IMAGES, SMALL, DamagedSegment, Header, SegmentFile, read_header
from index.durable import replacing
from index.faults import reach

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from index.encoding import EncodedImage
    from index.settings import Settings

__all__ = ["MAXIMUM_IMAGES", "Segment", "StoredFeatures", "merge_segments", "write_segment"]

_BLOCK = 1 << 20
"""Features, or bytes, that a streamed pass holds in memory at a time."""


class StoredFeatures(NamedTuple):
    """Features of one image as stored: see `index.encoding.EncodedImage` for the units."""

    words: NDArray[np.uint16]
    signatures: NDArray[np.uint64]
    positions: NDArray[np.uint16]
    scales: NDArray[np.uint8]
    angles: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """One segment, mapped read-only. The attributes are its datasets; make one with `Segment.open`.

    Attributes
    ----------
    words : uint16, shape (w,)
        Distinct visual words, ascending.
    offsets : int64, shape (w + 1,)
        The postings of ``words[i]`` are ``offsets[i]:offsets[i + 1]``.
    images : uint16, shape (n,)
        Local image number of each posting, ascending within a word.
    signatures, positions, scales, angles : uint64 (n,), uint16 (n, 2), uint8 (n,), uint8 (n,)
        What each posting says of its feature.
    image_ids : int64, shape (m,)
        Catalogue ids of the images, ascending.
    image_steps : float32, shape (m,)
        Pixels per unit of position.
    image_sizes : int32, shape (m, 2)
        Width and height in pixels.
    image_offsets : int64, shape (m + 1,)
        Image `i` has the features ``image_offsets[i]:image_offsets[i + 1]`` of `image_words`.
    image_words : uint16, shape (n,)
        Words of each image, ascending.
    alive : bool, shape (m,)
        Which images have not been removed.
    """

    path: Path
    settings: Settings
    checksums: dict[str, int]
    n_bytes: int
    words: NDArray[np.uint16]
    offsets: NDArray[np.int64]
    images: NDArray[np.uint16]
    signatures: NDArray[np.uint64]
    positions: NDArray[np.uint16]
    scales: NDArray[np.uint8]
    angles: NDArray[np.uint8]
    image_ids: NDArray[np.int64]
    image_steps: NDArray[np.float32]
    image_sizes: NDArray[np.int32]
    image_offsets: NDArray[np.int64]
    image_words: NDArray[np.uint16]
    alive: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.image_ids)

    @property
    def name(self) -> str:
        """The file's name without its ending: a UUID."""
        return self.path.stem

    @property
    def n_features(self) -> int:
        """Number of postings."""
        return len(self.images)

    @classmethod
    def open(cls, path: Path, dead: Sequence[int] = ()) -> Segment:
        """Map a segment and check all of it but the postings, which are not read.

        Parameters
        ----------
        path : Path
            The file.
        dead : sequence of int
            Catalogue ids of the images removed from it.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        CorruptIndex
            If it is damaged.
        SettingsMismatch
            If a newer calque wrote it.
        """
        header = read_header(path)
        arrays = _map(path, header)
        faults = _damaged_checksums(arrays, header, SMALL) or _disorder(arrays)
        if faults:
            raise DamagedSegment(path, faults[0])
        alive = np.ones(len(arrays["image_ids"]), dtype=np.bool_)
        if len(dead):
            alive[np.isin(arrays["image_ids"], np.asarray(dead, dtype=np.int64))] = False
        alive.flags.writeable = False
        return cls(path, header.settings, header.checksums, header.n_bytes, alive=alive, **arrays)

    def among(self, image_ids: NDArray[np.int64]) -> Segment:
        """Return the segment with only those of its images alive that are among `image_ids`, too."""
        return replace(self, alive=self.alive & np.isin(self.image_ids, image_ids))

    def local(self, image_id: int) -> int:
        """Return the local number of a catalogue id; `KeyError` where this segment has no such image."""
        place = int(np.searchsorted(self.image_ids, image_id))
        if place == len(self) or self.image_ids[place] != image_id:
            raise KeyError(image_id)
        return place

    def gather(self, local: int) -> StoredFeatures:
        """Return the features of the image with local number `local`, sorted by word.

        Raises
        ------
        IndexError
            If there is no such image.
        CorruptIndex
            If the postings do not hold the words that the image is listed with.
        """
        from index._segment_kernels import postings_of_image  # numba takes long to import

        if not 0 <= local < len(self):
            raise IndexError(f"image number {local} of {len(self)}")
        words = self.image_words[self.image_offsets[local] : self.image_offsets[local + 1]]
        places = postings_of_image(self.words, self.offsets, self.images, words, local)
        if len(places) and places.min() < 0:
            raise DamagedSegment(self.path, f"postings of image {self.image_ids[local]} are missing")
        # Taking pairs as one number each is several times faster than taking rows.
        positions = self.positions.reshape(-1).view(np.uint32)[places].view(np.uint16).reshape(-1, 2)
        return StoredFeatures(words, self.signatures[places], positions, self.scales[places], self.angles[places])

    def verify(self, deep: bool = False) -> list[str]:
        """Return what is wrong with the file, nothing if all is well.

        Parameters
        ----------
        deep : bool
            Whether to read the postings too: every checksum, and that both orders list the same features.
        """
        arrays = {name: getattr(self, name) for name in DATASETS}
        header = Header(self.settings, {}, self.checksums, self.n_bytes)
        faults = _damaged_checksums(arrays, header, DATASETS if deep else SMALL) + _disorder(arrays)
        if not faults and deep:
            faults = self._disordered_postings()
        return faults

    def _disordered_postings(self) -> list[str]:
        per_image = np.diff(self.image_offsets)
        if self.n_features and int(self.images.max()) >= len(self):
            return [f"a posting names image number {int(self.images.max())} of {len(self)}"]
        if not np.array_equal(_counts(self.images, len(self)), per_image):
            return ["postings and images disagree about the number of features of an image"]
        for first, last in _runs(self.offsets, _BLOCK):
            start, stop = int(self.offsets[first]), int(self.offsets[last])
            words = np.repeat(self.words[first:last], np.diff(self.offsets[first : last + 1]))
            keys = words.astype(np.int64) << 16 | self.images[start:stop]
            if (np.diff(keys) < 0).any():
                return ["postings are not sorted by word and image"]
        for local in range(len(self)):
            words = self.image_words[self.image_offsets[local] : self.image_offsets[local + 1]]
            if (words[1:] < words[:-1]).any():
                return [f"words of image {self.image_ids[local]} are not ascending"]
        counts = _counts(self.image_words, 1 << 16)
        if not np.array_equal(counts[self.words], np.diff(self.offsets)):
            return ["postings and images disagree about the number of features of a word"]
        return []


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
    ids = np.array([image_id for image_id, _ in pairs], dtype=np.int64)
    encoded = [image for _, image in pairs]
    lengths = np.array([len(image.words) for image in encoded], dtype=np.int64)
    columns = {
        name: np.concatenate(
            [np.empty((0, *DATASETS[target].shape[1:]), DATASETS[target].dtype)]
            + [getattr(image, name) for image in encoded]
        )
        for name, target in (("words", "image_words"), *((name, name) for name in _COLUMNS))
    }
    # Images are in order already, so a stable sort by word sorts by (word, image).
    order = np.argsort(columns["words"], kind="stable")
    postings = {name: columns[name][order] for name in _COLUMNS}
    postings["images"] = np.repeat(np.arange(len(pairs), dtype=np.uint16), lengths)[order]
    _write(
        path,
        settings,
        ids,
        np.array([image.step for image in encoded], dtype=np.float32),
        np.array([(image.width, image.height) for image in encoded], dtype=np.int32).reshape(-1, 2),
        lengths,
        _counts(columns["words"], 1 << 16),
        iter([columns["words"]]),
        iter([postings]),
    )


def merge_segments(path: Path, segments: Sequence[Segment], alive: Sequence[NDArray[np.bool_]] | None = None) -> None:
    """Write the living images of several segments to a new one, in memory bounded by a block and the images' number.

    Parameters
    ----------
    path : Path
        The file to write.
    segments : sequence of Segment
        Segments of equal settings with distinct living images.
    alive : sequence of bool arrays, optional
        Which images of each to keep, by default ``segment.alive``.

    Raises
    ------
    CorruptIndex
        If a segment's large datasets do not match their checksums: damage must not be copied under new ones.
    CalqueError
        If the disk is full; nothing is left behind.
    """
    masks = [segment.alive for segment in segments] if alive is None else list(alive)
    for segment in segments:
        segments[0].settings.require(segment.settings, segment.path)
        faults = segment.verify(deep=True)
        if faults:
            raise DamagedSegment(segment.path, faults[0])
    kept = [np.flatnonzero(mask) for mask in masks]
    ids = np.concatenate([s.image_ids[k] for s, k in zip(segments, kept, strict=True)])
    order = np.argsort(ids, kind="stable")
    source = np.repeat(np.arange(len(segments)), [len(k) for k in kept])[order]
    local = np.concatenate(kept)[order]
    renumbered = [np.zeros(len(s), dtype=np.uint16) for s in segments]
    for which, numbers in enumerate(renumbered):
        mine = source == which
        numbers[local[mine]] = np.flatnonzero(mine)

    def column(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(s, name)[k] for s, k in zip(segments, kept, strict=True)])[order]

    def words_of_images() -> Iterator[NDArray[np.uint16]]:
        for which, old in zip(source, local, strict=True):
            bounds = segments[which].image_offsets
            yield segments[which].image_words[bounds[old] : bounds[old + 1]]

    lengths = np.concatenate([np.diff(s.image_offsets)[k] for s, k in zip(segments, kept, strict=True)])[order]
    counts = np.zeros(1 << 16, dtype=np.int64)
    for block in _blocks(words_of_images()):
        counts += _counts(block, 1 << 16)
    _write(
        path,
        segments[0].settings,
        ids[order],
        column("image_steps"),
        column("image_sizes"),
        lengths,
        counts,
        _blocks(words_of_images()),
        _merged_postings(segments, masks, renumbered),
    )


_COLUMNS = ("signatures", "positions", "scales", "angles")


def _merged_postings(
    segments: Sequence[Segment], masks: Sequence[NDArray[np.bool_]], renumbered: Sequence[NDArray[np.uint16]]
) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield the living postings of all segments, block by block, sorted by word and new image number."""
    totals = np.zeros(1 << 16, dtype=np.int64)
    for segment in segments:
        totals[segment.words] += np.diff(segment.offsets)
    for first, last in _runs(np.concatenate([[0], np.cumsum(totals)]), _BLOCK):
        parts: dict[str, list[NDArray[Any]]] = {name: [] for name in ("images", *_COLUMNS)}
        keys = []
        for segment, mask, number in zip(segments, masks, renumbered, strict=True):
            low, high = np.searchsorted(segment.words, [first, last])
            span = slice(int(segment.offsets[low]), int(segment.offsets[high]))
            images = segment.images[span]
            keep = mask[images]
            words = np.repeat(segment.words[low:high], np.diff(segment.offsets[low : high + 1]))[keep]
            images = number[images[keep]]
            keys.append(words.astype(np.uint32) << 16 | images)
            parts["images"].append(images)
            for name in _COLUMNS:
                parts[name].append(getattr(segment, name)[span][keep])
        order = np.argsort(np.concatenate(keys), kind="stable")
        yield {name: np.concatenate(arrays)[order] for name, arrays in parts.items()}


def _write(
    path: Path,
    settings: Settings,
    ids: NDArray[np.int64],
    steps: NDArray[np.float32],
    sizes: NDArray[np.int32],
    lengths: NDArray[np.int64],
    word_counts: NDArray[np.int64],
    image_words: Iterator[NDArray[np.uint16]],
    postings: Iterator[dict[str, NDArray[Any]]],
) -> None:
    """Write a segment whose large datasets come in blocks."""
    if len(ids) > MAXIMUM_IMAGES:
        raise ValueError(f"{len(ids)} images, a segment holds at most {MAXIMUM_IMAGES}")
    if (np.diff(ids) <= 0).any():
        raise ValueError("image ids must be ascending")
    words = np.flatnonzero(word_counts)
    small = {
        "words": words,
        "offsets": np.concatenate([[0], np.cumsum(word_counts[words])]),
        "image_ids": ids,
        "image_steps": steps,
        "image_sizes": sizes,
        "image_offsets": np.concatenate([[0], np.cumsum(lengths)]),
    }
    with replacing(path) as temporary:
        reach("segment.begun")
        with SegmentFile(temporary, settings, len(words), int(lengths.sum()), len(ids)) as file:
            for name, array in small.items():
                file.append(name, array)
            for block in image_words:
                file.append("image_words", block)
            reach("segment.half")
            for columns in postings:
                for name, array in columns.items():
                    file.append(name, array)
        reach("segment.written")


def _map(path: Path, header: Header) -> dict[str, NDArray[Any]]:
    """Return read-only views of a mapped file's datasets."""
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    arrays = {}
    for name, (shape, offset) in header.layout.items():
        count = int(np.prod(shape))
        try:
            flat = (
                np.frombuffer(mapped, DATASETS[name].dtype, count, offset)
                if count
                else np.empty(0, DATASETS[name].dtype)
            )
        except ValueError as error:
            raise DamagedSegment(path, "it is cut short") from error
        arrays[name] = flat.reshape(shape)
        arrays[name].flags.writeable = False
    return arrays


def _damaged_checksums(arrays: dict[str, NDArray[Any]], header: Header, names: Iterable[str]) -> list[str]:
    return [f"checksum of {name} differs" for name in names if _crc(arrays[name]) != header.checksums[name]]


def _crc(array: NDArray[Any]) -> int:
    return zlib.crc32(array.data) if array.size else 0


def _disorder(arrays: dict[str, NDArray[Any]]) -> list[str]:
    """Return what is out of range or order in the small datasets, so that no loop over them leaves its arrays."""
    faults = []
    n, m = len(arrays["images"]), len(arrays["image_ids"])
    if m > MAXIMUM_IMAGES:
        faults.append(f"{m} images, a segment holds at most {MAXIMUM_IMAGES}")
    for name, least in (("offsets", 1), ("image_offsets", 0)):
        offsets = arrays[name]
        if offsets[0] != 0 or offsets[-1] != n or (np.diff(offsets) < least).any():
            faults.append(f"{name} do not rise from 0 to {n}")
    faults += [f"{name} are not ascending" for name in ("words", "image_ids") if _falls(arrays[name])]
    steps = arrays["image_steps"]
    if not (np.isfinite(steps).all() and (steps > 0).all()):
        faults.append("image_steps are not positive")
    return faults


def _counts(array: NDArray[np.uint16], size: int) -> NDArray[np.int64]:
    """Return `np.bincount` of an array too large to be widened at once."""
    counts = np.zeros(size, dtype=np.int64)
    for start in range(0, len(array), _BLOCK):
        counts += np.bincount(array[start : start + _BLOCK], minlength=size)
    return counts


def _falls(array: NDArray[Any]) -> bool:
    return bool((array[1:] <= array[:-1]).any())


def _runs(offsets: NDArray[np.int64], size: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of rows that hold at most `size` things together, or one row that holds more."""
    first, rows = 0, len(offsets) - 1
    while first < rows:
        last = int(np.searchsorted(offsets, offsets[first] + size, side="right")) - 1
        last = min(max(last, first + 1), rows)
        yield first, last
        first = last


def _blocks(parts: Iterator[NDArray[np.uint16]]) -> Iterator[NDArray[np.uint16]]:
    """Join small arrays to blocks worth writing."""
    block: list[NDArray[np.uint16]] = []
    size = 0
    for part in parts:
        block.append(part)
        size += len(part)
        if size >= _BLOCK:
            yield np.concatenate(block)
            block, size = [], 0
    if block:
        yield np.concatenate(block)
