"""How a segment lays its features out in columns: at present, and in formats 1 and 2, which are still read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from index.keypoints import packed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["Columns", "CompactColumns", "OldColumns", "packed_words"]


class Columns(Protocol):
    """What a segment says of features, whatever its format."""

    def geometry_at(self, places: NDArray[np.integer] | slice) -> NDArray[np.unsignedinteger]:
        """Return the geometry, see `index.keypoints`, of postings."""

    def words_of(self, local: int) -> NDArray[np.uint16]:
        """Return the words of the features of an image, ascending."""

    def packed_words_of(self, local: int) -> NDArray[np.uint8]:
        """Return them as `packed_words`."""


class CompactColumns:
    """The present format: geometry is one number, words are gaps."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._geometry, self._bounds, self._words = (
            arrays[name] for name in ("geometry", "image_offsets", "image_words")
        )

    def geometry_at(self, places: NDArray[np.integer] | slice) -> NDArray[np.unsignedinteger]:
        chosen: NDArray[np.unsignedinteger] = self._geometry[places]
        return chosen

    def words_of(self, local: int) -> NDArray[np.uint16]:
        gaps = self.packed_words_of(local)
        return np.cumsum(gaps, dtype=np.uint16)[gaps < _LONG]

    def packed_words_of(self, local: int) -> NDArray[np.uint8]:
        gaps: NDArray[np.uint8] = self._words[self._bounds[local] : self._bounds[local + 1]]
        return gaps


_LONG = 255
"""Byte that lengthens a gap and is followed by the rest of it."""


def packed_words(words: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Return ascending words as gaps, a byte each: the first from 0; what exceeds 254 as bytes of 255 before.

    Parameters
    ----------
    words : uint16, shape (n,)

    Returns
    -------
    uint8, shape (b,)
        The cumulative sum at the bytes below 255 gives the words again.
    """
    gaps = np.diff(np.concatenate([[0], words.astype(np.int64)]))
    ends = np.cumsum(gaps // _LONG + 1)
    packed = np.full(ends[-1] if len(ends) else 0, _LONG, np.uint8)
    packed[ends - 1] = gaps % _LONG
    return packed


class OldColumns:
    """Formats 1 and 2, in which a place took 4 bytes, scale and angle 1 each, and a word 2."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]], work_size: int) -> None:
        self._arrays = arrays
        self._work_size = work_size

    def geometry_at(self, places: NDArray[np.integer] | slice) -> NDArray[np.unsignedinteger]:
        """Return the geometry of postings, in 64 bits, to which nothing is lost."""
        arrays = self._arrays
        images = arrays["images"][places]
        return packed(
            arrays["positions"][places] * arrays["image_steps"][images].astype(np.float64)[:, None] - 0.5,
            np.exp2(arrays["scales"][places] / 16),
            arrays["angles"][places] * (360 / 256),
            arrays["image_sizes"][images],
            self._work_size,
            64,
        )

    def words_of(self, local: int) -> NDArray[np.uint16]:
        """Return the words of the features of an image, ascending."""
        bounds = self._arrays["image_offsets"]
        words: NDArray[np.uint16] = self._arrays["image_words"][bounds[local] : bounds[local + 1]]
        return words

    def packed_words_of(self, local: int) -> NDArray[np.uint8]:
        """Return them as they are written now."""
        return packed_words(self.words_of(local))
