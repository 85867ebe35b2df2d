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

from index._columns import CompactColumns, OldColumns
from index._hdf5 import COMPACT_SINCE, MAXIMUM_IMAGES, DamagedSegment, Header, datasets, is_small, read_header

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from index._columns import Columns
    from index.settings import Settings

__all__ = ["BLOCK", "MAXIMUM_IMAGES", "Segment", "StoredFeatures", "runs"]

BLOCK = 1 << 20
"""Features, or bytes, that a streamed pass holds in memory at a time."""


class StoredFeatures(NamedTuple):
    """Features of one image as stored: see `index.encoding.EncodedImage`."""

    words: NDArray[np.uint16]
    signatures: NDArray[np.uint64]
    geometry: NDArray[np.unsignedinteger]

    @classmethod
    def none(cls, settings: Settings) -> StoredFeatures:
        """Return those of an image that has none, in an index of these settings."""
        kinds = datasets(settings)
        return cls(np.empty(0, np.uint16), *(np.empty(0, kinds[name].dtype) for name in cls._fields[1:]))


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """One segment, mapped read-only; make one with `Segment.open`.

    Attributes
    ----------
    words : uint16, shape (w,)
        Distinct visual words, ascending.
    offsets : int64, shape (w + 1,)
        The postings of ``words[i]`` are ``offsets[i]:offsets[i + 1]``.
    images : uint16, shape (n,)
        Local image number of each posting, ascending within a word.
    signatures : uint64, shape (n,)
        Binary signature of each posting; for its geometry see `geometry_at`.
    image_ids : int64, shape (m,)
        Catalogue ids of the images, ascending.
    image_sizes : int32, shape (m, 2)
        Width and height in pixels.
    alive : bool, shape (m,)
        Which images have not been removed.
    """

    path: Path
    header: Header
    _arrays: Mapping[str, NDArray[Any]]
    _columns: Columns
    alive: NDArray[np.bool_]
    words: NDArray[np.uint16]
    offsets: NDArray[np.int64]
    images: NDArray[np.uint16]
    signatures: NDArray[np.uint64]
    image_ids: NDArray[np.int64]
    image_sizes: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.image_ids)

    @property
    def name(self) -> str:
        """The file's name without its ending: a UUID."""
        return self.path.stem

    @property
    def settings(self) -> Settings:
        """What its features were made with."""
        return self.header.settings

    @property
    def n_bytes(self) -> int:
        """Size of the file."""
        return self.header.n_bytes

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
        faults = _damaged_checksums(arrays, header, deep=False) or _disorder(arrays)
        if faults:
            raise DamagedSegment(path, faults[0])
        alive = np.ones(len(arrays["image_ids"]), dtype=np.bool_)
        if len(dead):
            alive[np.isin(arrays["image_ids"], np.asarray(dead, dtype=np.int64))] = False
        alive.flags.writeable = False
        shown = ("words", "offsets", "images", "signatures", "image_ids", "image_sizes")
        compact = header.version >= COMPACT_SINCE
        columns = CompactColumns(arrays) if compact else OldColumns(arrays, header.settings.work_size)
        mapped = {name: arrays[name] for name in shown}
        mapped["offsets"] = mapped["offsets"].astype(np.int64, copy=False)  # stored in half the bytes
        mapped["offsets"].flags.writeable = False
        return cls(path, header, arrays, columns, alive, **mapped)

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
        words = self.words_of(local)
        places = postings_of_image(self.words, self.offsets, self.images, words, local)
        if len(places) and places.min() < 0:
            raise DamagedSegment(self.path, f"postings of image {self.image_ids[local]} are missing")
        return StoredFeatures(words, self.signatures[places], self.geometry_at(places))

    def geometry_at(self, places: NDArray[np.integer] | slice) -> NDArray[np.unsignedinteger]:
        """Return the geometry of the postings at `places`: see `index.keypoints`."""
        return self._columns.geometry_at(places)

    def words_of(self, local: int) -> NDArray[np.uint16]:
        """Return the words of the features of the image with local number `local`, ascending."""
        return self._columns.words_of(local)

    def packed_words_of(self, local: int) -> NDArray[np.uint8]:
        """Return these words as `index._columns.packed_words` packs them."""
        return self._columns.packed_words_of(local)

    def verify(self, deep: bool = False) -> list[str]:
        """Return what is wrong with the file, nothing if all is well.

        Parameters
        ----------
        deep : bool
            Whether to read the postings too: every checksum, and that both orders list the same features.
        """
        faults = _damaged_checksums(self._arrays, self.header, deep) + _disorder(self._arrays)
        if not faults and deep:
            faults = self._disordered_postings()
        return faults

    def _disordered_postings(self) -> list[str]:
        if self.n_features and int(self.images.max()) >= len(self):
            return [f"a posting names image number {int(self.images.max())} of {len(self)}"]
        for first, last in runs(self.offsets, BLOCK):
            start, stop = int(self.offsets[first]), int(self.offsets[last])
            words = np.repeat(self.words[first:last], np.diff(self.offsets[first : last + 1]))
            keys = words.astype(np.int64) << 16 | self.images[start:stop]
            if (np.diff(keys) < 0).any():
                return ["postings are not sorted by word and image"]
        of_images = _counts(self.images, len(self))
        of_words = np.zeros(1 << 16, dtype=np.int64)
        for local, image_id in enumerate(self.image_ids):
            words = self.words_of(local)
            if len(words) != of_images[local]:
                return [f"postings and images disagree about the number of features of image {image_id}"]
            if (words[1:] < words[:-1]).any():
                return [f"words of image {image_id} are not ascending"]
            np.add.at(of_words, words, 1)
        if not np.array_equal(of_words[self.words], np.diff(self.offsets)):
            return ["postings and images disagree about the number of features of a word"]
        return []


def _map(path: Path, header: Header) -> dict[str, NDArray[Any]]:
    """Return read-only views of a mapped file's datasets."""
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    arrays = {}
    for name, (shape, offset) in header.layout.items():
        dtype = datasets(header.settings, header.version)[name].dtype
        count = int(np.prod(shape))
        try:
            flat = np.frombuffer(mapped, dtype, count, offset) if count else np.empty(0, dtype)
        except ValueError as error:
            raise DamagedSegment(path, "it is cut short") from error
        arrays[name] = flat.reshape(shape)
        arrays[name].flags.writeable = False
    return arrays


def _damaged_checksums(arrays: Mapping[str, NDArray[Any]], header: Header, deep: bool) -> list[str]:
    """Return which datasets, the small ones only unless `deep`, are not what was written."""
    kinds = datasets(header.settings, header.version)
    names = [name for name, kind in kinds.items() if deep or is_small(kind)]
    return [f"checksum of {name} differs" for name in names if _crc(arrays[name]) != header.checksums[name]]


def _crc(array: NDArray[Any]) -> int:
    return zlib.crc32(array.data) if array.size else 0


def _disorder(arrays: Mapping[str, NDArray[Any]]) -> list[str]:
    """Return what is out of range or order in the small datasets, so that no loop over them leaves its arrays."""
    faults = []
    m = len(arrays["image_ids"])
    if m > MAXIMUM_IMAGES:
        faults.append(f"{m} images, a segment holds at most {MAXIMUM_IMAGES}")
    for name, least, into in (("offsets", 1, "images"), ("image_offsets", 0, "image_words")):
        offsets, end = arrays[name].astype(np.int64), len(arrays[into])
        if offsets[0] != 0 or offsets[-1] != end or (np.diff(offsets) < least).any():
            faults.append(f"{name} do not rise from 0 to {end}")
    faults += [f"{name} are not ascending" for name in ("words", "image_ids") if _falls(arrays[name])]
    if (arrays["image_sizes"] < 1).any():
        faults.append("image_sizes are not positive")
    steps = arrays.get("image_steps", np.ones(1))
    if not (np.isfinite(steps).all() and (steps > 0).all()):
        faults.append("image_steps are not positive")
    return faults


def _counts(array: NDArray[np.uint16], size: int) -> NDArray[np.int64]:
    """Return `np.bincount` of an array too large to be widened at once."""
    counts = np.zeros(size, dtype=np.int64)
    for start in range(0, len(array), BLOCK):
        counts += np.bincount(array[start : start + BLOCK], minlength=size)
    return counts


def _falls(array: NDArray[Any]) -> bool:
    return bool((array[1:] <= array[:-1]).any())


def runs(offsets: NDArray[np.int64], size: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of rows that hold at most `size` things together, or one row that holds more."""
    first, rows = 0, len(offsets) - 1
    while first < rows:
        last = int(np.searchsorted(offsets, offsets[first] + size, side="right")) - 1
        last = min(max(last, first + 1), rows)
        yield first, last
        first = last
