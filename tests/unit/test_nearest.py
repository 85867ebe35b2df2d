"""The nearest of many vectors, by cells and by looking at all of them, whatever was removed or is not asked for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING
from unittest.mock import patch

import numpy as np
import pytest

import index.nearest
from index.nearest import CELLS_SUFFIX, Nearest
from index.vector_files import Rows
from index.vector_writing import VectorWriter
from index.vectors import Vectors, vectors_in
from matcher.embedding import unit
from matcher.feedback import FEW, direction

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 24
COUNT = 1200


class Held:
    """Stands for `index.vectors.Living`: all images of these numbers are there."""

    def __init__(self, image_ids: np.ndarray) -> None:
        self.image_ids = image_ids

    def among(self, rows: Rows) -> np.ndarray:
        return np.isin(rows.image_ids, self.image_ids)


def clustered(count: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(1).standard_normal((40, SIZE))
    return unit(centres[random.integers(0, 40, count)] + 0.5 * random.standard_normal((count, SIZE)))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory):
    """A folder with 1,200 vectors in one file that has cells, and 50 in one that has none."""
    folder = tmp_path_factory.mktemp("nearest")
    vectors = np.concatenate([clustered(COUNT, 2), clustered(50, 3)])
    with (
        patch.object(index.vector_writing, "EXACT", 1000),
        patch.object(index.nearest, "_LEAST_ROWS", 500),
        VectorWriter(folder) as writer,
    ):
        model = writer.model("made up", "made-up-1()", SIZE)
        for ids in (np.arange(COUNT), np.arange(COUNT, COUNT + 50)):
            writer.enter(model, Rows(ids, np.zeros((len(ids), 4)), vectors[ids]))
            writer.merge(model, Held(np.arange(COUNT + 50)))
    assert len(list(folder.rglob(f"*{CELLS_SUFFIX}"))) == 1
    return SimpleNamespace(folder=folder, model=model, vectors=vectors)


def opened(written, image_ids: np.ndarray) -> Vectors:
    return vectors_in(written.folder, written.model, Held(image_ids))


def in_cells(vectors: Vectors) -> Nearest:
    with patch.object(index.nearest, "EXACT", 0), patch.object(index.nearest, "_LEAST_ROWS", 500):
        return Nearest(vectors)


def test_all_of_few_are_compared(written):
    vectors = opened(written, np.arange(COUNT + 50))
    for query in clustered(5, 4):
        numbers, likeness = Nearest(vectors).search(query, 10)
        expected = np.argsort(-(written.vectors @ query), kind="stable")[:10]
        assert vectors.image_ids[numbers].tolist() == expected.tolist()
        np.testing.assert_allclose(likeness, (written.vectors @ query)[expected], rtol=1e-5)


@pytest.mark.parametrize("share", [1.0, 0.6, 0.05])
def test_cells_find_nearly_all_of_what_is_there_and_asked_for(written, share):
    random = np.random.default_rng(5)
    vectors = opened(written, np.flatnonzero(random.random(COUNT + 50) < 0.9))
    among = random.random(len(vectors)) < share
    nearest, exact = in_cells(vectors), Nearest(vectors, exact=True)
    assert any(cells is not None for cells in nearest._cells)
    found = []
    for query in clustered(20, 6):
        numbers, likeness = nearest.search(query, 10, among)
        expected, _ = exact.search(query, 10, among)
        assert among[numbers].all()
        assert len(set(numbers.tolist())) == len(numbers) == min(10, among.sum())
        assert (np.diff(likeness) <= 0).all()
        found.append(len(set(numbers) & set(expected)) / len(expected))
    assert np.mean(found) >= 0.95


def test_nothing_is_asked_for(written):
    vectors = opened(written, np.arange(COUNT))
    for nearest in (in_cells(vectors), Nearest(vectors)):
        assert len(nearest.search(written.vectors[0], 5, np.zeros(len(vectors), bool))[0]) == 0
    assert len(Nearest(opened(written, np.empty(0, np.int64))).search(written.vectors[0], 5)[0]) == 0


def test_damaged_cells_only_cost_time(written, tmp_path: Path):
    (path,) = written.folder.rglob(f"*{CELLS_SUFFIX}")
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[:100])
        vectors = opened(written, np.arange(COUNT + 50))
        numbers, _ = in_cells(vectors).search(written.vectors[7], 1)
        assert vectors.image_ids[numbers].tolist() == [7]
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize("many", [1, 5, FEW])
def test_examples_lead_away_from_what_is_wrong(many):
    """Two kinds differ in one dimension, which is small beside what all differ in."""
    random = np.random.default_rng(0)
    kinds = random.random(600) < 0.5
    points = random.standard_normal((600, SIZE))
    points[:, 0] = np.where(kinds, 1.5, -1.5)
    points = unit(points)
    right, wrong = points[:300][kinds[:300]][:many], points[:300][~kinds[:300]][:many]
    alone = points[300:] @ direction(right[:1], right[:0], lambda: points[:300])
    taught = points[300:] @ direction(right, wrong, lambda: points[:300])

    def precision(likeness: np.ndarray) -> float:
        return float(kinds[300:][np.argsort(-likeness)[:20]].mean())

    assert precision(taught) >= precision(alone)
    if many == FEW:
        assert precision(taught) == 1
