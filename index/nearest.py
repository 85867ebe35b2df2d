"""The nearest of many vectors: by looking at all of them, or, where they are many, at those in the nearest cells.

Up to `EXACT` numbers every vector is compared. Beyond, each large file of vectors has an inverted file beside it
(Jégou, Douze & Schmid, TPAMI 2011; faiss: Douze et al., 2024): vectors in eight bits a dimension by the cell of space
they lie in. What lies in the cells nearest to a query is compared by these, and the best are compared exactly. Files of
vectors never change, so neither do these; what is not there any more, or not asked for, is passed over as it is met.
Small files are always looked at whole: adding rebuilds nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import faiss
import numpy as np

from index.durable import replacing
from index.vector_files import SUFFIX, VectorFile

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from index.vectors import Vectors

_faiss: Any = faiss  # its own types miss half of it

__all__ = ["CELLS_SUFFIX", "EXACT", "Nearest", "has_cells", "write_cells"]

EXACT = 60_000_000
"""Numbers, vectors times dimensions, up to which every vector is compared: 100,000 of 600, eight milliseconds."""

CELLS_SUFFIX = ".ivf"
"""Ending of inverted files; the rest of the name is that of the file of vectors."""

_LEAST_ROWS = 8192
"""Rows of a file of vectors from which on it gets an inverted file."""

_ROWS_OF_CELL = 64
_TRAINING = 40
"""Rows in a cell on average, and how many of them the cells are learned from."""

_PROBED = 256
"""Cells looked at, for each file, of the thousand that the largest have. Of the ten nearest of 100,000 parts of
pictures 64 find 92.6 %, 256 99.1 %: near copies of one picture lie in many cells (`benchmarks.vectors`)."""

_EXACTLY = 10
"""Vectors compared exactly for each that is wanted."""

_SELECTIVE = 0.1
"""Share of a file's rows that are asked for up to which these are compared without its cells."""


def has_cells(file: VectorFile) -> bool:
    """Return whether a file of vectors is large enough for an inverted file beside it."""
    return len(file) >= _LEAST_ROWS


def write_cells(file: VectorFile) -> None:
    """Write the inverted file of a file of vectors, unless it is there."""
    path = _cells_of(file.path)
    if path.is_file():
        return
    rows, size = file.rows.vectors.shape
    cells = max(1, rows // _ROWS_OF_CELL)
    chosen = np.sort(np.random.default_rng(0).permutation(rows)[: cells * _TRAINING])
    coarse = _faiss.IndexFlatIP(size)
    inverted = _faiss.IndexIVFScalarQuantizer(
        coarse, size, cells, _faiss.ScalarQuantizer.QT_8bit, _faiss.METRIC_INNER_PRODUCT, False
    )
    inverted.cp.niter, inverted.cp.seed = 8, 1
    inverted.train(np.ascontiguousarray(file.rows.vectors[chosen]))
    for start in range(0, rows, _LEAST_ROWS):
        inverted.add(np.ascontiguousarray(file.rows.vectors[start : start + _LEAST_ROWS]))
    with replacing(path) as temporary:
        _faiss.write_index(inverted, str(temporary))


def _cells_of(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(SUFFIX) + CELLS_SUFFIX)


class Nearest:
    """Finds the nearest of the vectors of an index.

    Parameters
    ----------
    vectors : Vectors
    exact : bool
        Whether to compare all of them, however many there are.

    Attributes
    ----------
    vectors : Vectors
    """

    def __init__(self, vectors: Vectors, exact: bool = False) -> None:
        self.vectors = vectors
        # Where among all each living row of each file is.
        self._numbers = []
        for number, file in enumerate(vectors.files):
            here = vectors.places[:, 0] == number
            numbers = np.full(len(file), -1, np.int64)
            numbers[vectors.places[here, 1]] = np.flatnonzero(here)
            self._numbers.append(numbers)
        few = len(vectors) * vectors.model.size <= EXACT
        self._cells: list[Any] = [None if exact or few else _opened(file) for file in vectors.files]

    def search(
        self, query: NDArray[np.float32], top: int, among: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the nearest vectors.

        Parameters
        ----------
        query : float32, shape (d,)
            A direction; it need not be of unit length.
        top : int
            How many, at the most.
        among : bool, shape (n,), optional
            Which vectors count, by default all.

        Returns
        -------
        numbers : int64, shape (m,)
            Of the vectors, as in `Vectors`, the nearest first; of equal ones the smaller number.
        likeness : float32, shape (m,)
            Inner products with the query.
        """
        asked = np.ascontiguousarray(query, np.float32)
        found = [np.empty(0, np.int64)]
        likeness = [np.empty(0, np.float32)]
        for file, numbers, cells in zip(self.vectors.files, self._numbers, self._cells, strict=True):
            wanted = numbers >= 0
            if among is not None:
                wanted[wanted] = among[numbers[wanted]]
            rows, near = _nearest_of(file, cells, asked, top, wanted)
            found.append(numbers[rows])
            likeness.append(near)
        every, near = np.concatenate(found), np.concatenate(likeness)
        order = np.lexsort((every, -near))[:top]
        return every[order], near[order]


def _nearest_of(
    file: VectorFile, cells: Any, query: NDArray[np.float32], top: int, wanted: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the rows of a file nearest to a query, in no order, and their likeness to it."""
    vectors, count = file.rows.vectors, int(np.count_nonzero(wanted))
    if cells is None and count > _SELECTIVE * len(file):
        every = _products(vectors, query)
        every[np.logical_not(wanted)] = -np.inf
        rows = _largest(every, min(top, count))
        return rows, every[rows]
    if cells is None or count <= _SELECTIVE * len(file):
        rows = np.flatnonzero(wanted)
    else:
        bits = np.packbits(wanted, bitorder="little")
        chosen = _faiss.SearchParametersIVF(sel=_faiss.IDSelectorBitmap(bits), nprobe=_PROBED)
        _, (near,) = cells.search(query[None], min(count, _EXACTLY * top), params=chosen)
        rows = np.sort(near[near >= 0])
    likeness = _products(np.ascontiguousarray(vectors[rows]), query)
    best = _largest(likeness, min(top, len(rows)))
    return rows[best], likeness[best]


def _largest(values: NDArray[np.float32], many: int) -> NDArray[np.int64]:
    if many >= len(values):
        return np.arange(len(values))
    return np.argpartition(values, len(values) - many)[len(values) - many :]


def _products(vectors: NDArray[np.float32], query: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the inner products of rows with a query; in one pass over memory, which BLAS does not manage."""
    found = np.empty(len(vectors), np.float32)
    if len(vectors):
        pointers = (_faiss.swig_ptr(array) for array in (found, query, vectors))
        _faiss.fvec_inner_products_ny(*pointers, vectors.shape[1], len(vectors))
    return found


def _opened(file: VectorFile) -> Any:
    """Return the inverted file of a file of vectors, None if there is none."""
    path = _cells_of(file.path)
    if not has_cells(file) or not path.is_file():
        return None
    try:
        cells = _faiss.read_index(str(path), _faiss.IO_FLAG_MMAP | _faiss.IO_FLAG_READ_ONLY)
    except RuntimeError:  # damaged: it only makes things quicker
        return None
    return cells if (cells.ntotal, cells.d) == file.rows.vectors.shape else None
