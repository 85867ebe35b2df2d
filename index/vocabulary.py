"""Visual words and binary signatures.

A descriptor is replaced by its nearest visual word (Sivic & Zisserman, ICCV 2003) and by 64 bits that say on
which side of the word's median it lies along 64 directions (Hamming embedding: Jégou, Douze & Schmid, ECCV 2008).
Words are found through a two-level quantiser: they are grouped into cells, and only the cells nearest to a descriptor
are searched.
"""

from __future__ import annotations

import hashlib
from dataclasses import astuple, dataclass, replace
from functools import cache, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped] # has no types

from index import _kernels as kernels
from index._heaps import require_ending_heaps
from index.durable import replacing
from matcher.errors import CorruptIndex, InputError
from matcher.selection import PictureNetwork
from matcher.significance import SHIPPED_LAW, Law

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

__all__ = ["MEDIAN_STEP", "WORD_STEP", "Vocabulary", "bundled_vocabulary", "one_blas_thread"]

_BUNDLED = Path(__file__).parent / "data" / "rootsift-65k.h5"
_FORMAT = 2
_FORMATS = (1, _FORMAT)
"""Those that are read; the first has no law of chance."""

_ARRAYS = ("words", "cells", "cell_offsets", "projection", "medians", "likeness")
WORD_STEP = 1 / 512
"""Unit of `Vocabulary.words` that are whole numbers: RootSIFT components of words are below 0.5."""

MEDIAN_STEP = 1 / 256
"""Unit of `Vocabulary.medians`: medians of projections lie within ±0.5."""


@dataclass(frozen=True, slots=True, eq=False)
class Vocabulary:
    """A visual vocabulary.

    Attributes
    ----------
    name : str
        Name for people.
    features : str
        Signature of the extractor whose descriptors it quantises.
    words : uint8 or float16, shape (k, d)
        Words, those of one cell side by side: in steps of 1/512, or as they are where components may be negative.
    cells : float32, shape (c, d)
        Centres of the cells.
    cell_offsets : int64, shape (c + 1,)
        The words of cell `i` are ``words[cell_offsets[i]:cell_offsets[i + 1]]``.
    projection : float32, shape (64, d)
        Directions of the signature bits.
    medians : int8, shape (k, 64)
        Medians of the projections of each word's descriptors, in steps of 1/256.
    likeness : float32, shape (w,)
        The network that tells pictures from type, see `matcher.selection.PictureNetwork`; empty where there is none.
    law : Law or None
        How many cells of unrelated images agree, where that has been measured (`index.calibrating`).
    """

    name: str
    features: str
    words: NDArray[np.uint8] | NDArray[np.float16]
    cells: NDArray[np.float32]
    cell_offsets: NDArray[np.int64]
    projection: NDArray[np.float32]
    medians: NDArray[np.int8]
    likeness: NDArray[np.float32]
    law: Law | None = None

    def __len__(self) -> int:
        return len(self.words)

    def centres(self) -> NDArray[np.float32]:
        """Return the words as descriptors, shape (k, d)."""
        step = WORD_STEP if self.words.dtype == np.uint8 else 1.0
        return self.words.astype(np.float32) * np.float32(step)

    @property
    def supposed_law(self) -> Law:
        """Its law of chance, that of the vocabulary that comes with calque where none was measured."""
        return self.law or SHIPPED_LAW

    @property
    def hash(self) -> str:
        """SHA-256 of all that decides words and signatures, as 64 hexadecimal digits."""
        digest = hashlib.sha256(f"{self.features} {self.words.shape}".encode())
        for array in (self.words, self.cells, self.cell_offsets, self.projection, self.medians, self.likeness):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def assign(self, descriptors: NDArray[np.float32], words: int = 1, probes: int = 5) -> NDArray[np.int32]:
        """Return the nearest words of each descriptor.

        Parameters
        ----------
        descriptors : float32, shape (n, d)
            Unit-length descriptors.
        words : int
            How many words for each.
        probes : int
            How many of the nearest cells to look through.

        Returns
        -------
        int32, shape (n, words)
            Nearest first; -1 where the probed cells hold too few words.
        """
        n = len(descriptors)
        probes = min(probes, len(self.cells))
        best = np.full((n, words), np.inf, dtype=np.float32)
        chosen = np.full((n, words), -1, dtype=np.int32)
        if n == 0:
            return chosen
        # Squared distances up to the descriptor's own length, which is one.
        with one_blas_thread():
            to_cells = (self.cells**2).sum(axis=1) - 2 * (descriptors @ self.cells.T)
        rows, bounds = np.empty(n * probes, dtype=np.int32), np.empty(len(self.cells) + 1, dtype=np.int64)
        kernels.probes_by_cell(to_cells, probes, rows, bounds)
        columns, step, lengths = _by_component(self)
        kernels.nearest_words(descriptors, rows, bounds, columns, step, lengths, self.cell_offsets, best, chosen)
        return chosen

    def project(self, descriptors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the projections, shape (n, 64), that the signature bits are read from."""
        with one_blas_thread():
            return np.asarray(descriptors @ self.projection.T)

    def signatures(self, projections: NDArray[np.float32], words: NDArray[np.integer]) -> NDArray[np.uint64]:
        """Return 64-bit signatures.

        Parameters
        ----------
        projections : float32, shape (n, 64)
            From `project`.
        words : int, shape (n,)
            The word of each, not negative.
        """
        signatures = np.empty(len(words), dtype=np.uint64)
        kernels.sign(projections, self.medians, words.astype(np.int32), MEDIAN_STEP, signatures)
        return signatures

    def save(self, path: Path) -> None:
        """Write the vocabulary to an HDF5 file, wholly or not at all."""
        with replacing(path) as temporary, h5py.File(temporary, "w", track_order=True) as file:
            file.attrs["format"] = _FORMAT
            file.attrs["name"] = self.name
            file.attrs["features"] = self.features
            file.attrs["hash"] = self.hash
            if self.law is not None:
                file.attrs["law"] = np.array(astuple(self.law))
                file.attrs["law_hash"] = _law_hash(self.law)
            for array in _ARRAYS:
                file.create_dataset(
                    array, data=getattr(self, array), compression="gzip", shuffle=True, track_times=False
                )

    @classmethod
    def load(cls, path: Path) -> Vocabulary:
        """Read a vocabulary.

        Raises
        ------
        InputError
            If there is no such file, or it is no vocabulary of this calque's format.
        CorruptIndex
            If its contents do not match their hash.
        """
        if not path.is_file():
            raise InputError(f"{path}: no such vocabulary; train one with: calque train {path} SOURCE...")
        try:
            require_ending_heaps(path)
            with h5py.File(path, "r") as file:
                if file.attrs.get("format") not in _FORMATS:
                    raise InputError(f"{path} is not a vocabulary of format {_FORMAT}; train one with this calque")
                arrays = {array: file[array][()] for array in _ARRAYS}
                law = Law(*map(float, file.attrs["law"])) if "law" in file.attrs else None
                vocabulary = cls(str(file.attrs["name"]), str(file.attrs["features"]), **arrays, law=law)
                whole = law is None or file.attrs["law_hash"] == _law_hash(law)
                intact = whole and vocabulary.hash == file.attrs["hash"]
        except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
            raise InputError(
                f"{path} cannot be read as a vocabulary ({error}); train one with: calque train"
            ) from error
        if not intact:
            raise CorruptIndex(f"{path} is damaged: its contents do not match their hash; install or train it again")
        if vocabulary.likeness.size:
            try:
                PictureNetwork.unpacked(vocabulary.likeness, vocabulary.words.shape[1])
            except ValueError as error:
                raise InputError(f"{path} was trained by an older calque ({error}); train it again") from error
        for array in arrays.values():
            array.flags.writeable = False
        return vocabulary


def _law_hash(law: Law) -> str:
    return hashlib.sha256(np.array(astuple(law)).tobytes()).hexdigest()


@lru_cache(maxsize=2)
def _by_component(vocabulary: Vocabulary) -> tuple[NDArray[np.uint8] | NDArray[np.float32], float, NDArray[np.float32]]:
    """Return the words of each cell component by component, one cell after the other, their unit, squared lengths."""
    whole = vocabulary.words.dtype == np.uint8
    words = vocabulary.words if whole else vocabulary.centres()
    columns = np.empty(words.size, dtype=words.dtype)
    size = words.shape[1]
    for first, last in pairwise(vocabulary.cell_offsets.tolist()):
        columns[first * size : last * size] = words[first:last].T.ravel()
    return columns, WORD_STEP if whole else 1.0, (vocabulary.centres() ** 2).sum(axis=1)


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


def one_blas_thread() -> AbstractContextManager[Any]:
    """Keep BLAS to one thread: its products are small here, and the callers run beside each other."""
    limited: AbstractContextManager[Any] = _controller().limit(limits=1, user_api="blas")
    return limited


@cache
def bundled_vocabulary() -> Vocabulary:
    """Return the universal vocabulary that comes with calque (docs/vocabulary.md says how it was trained)."""
    return replace(Vocabulary.load(_BUNDLED), law=SHIPPED_LAW)
