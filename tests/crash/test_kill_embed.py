"""Kill `calque embed` at every step of its writes, and go on: nothing is half there, nothing is done twice."""

from __future__ import annotations

import shutil
import signal
from typing import TYPE_CHECKING

import numpy as np
import pytest

from index.embedding import embed
from index.store import Index
from index.vectors import VECTORS, vectors_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Calque

pytestmark = pytest.mark.compiled

# The first transaction of vectors enters the model, the second the vectors.
CASES = ["vectors.before_commit", "vectors.in_transaction:2", "vectors.committed"]


@pytest.mark.parametrize("fault", CASES)
def test_a_killed_run_goes_on(scans_index: Path, calque: Calque, tmp_path: Path, fault: str) -> None:
    path = tmp_path / "i.calque"
    shutil.copytree(scans_index, path)
    words = ("embed", path, "--model", "structure", "--workers", "0", "--format", "json")
    assert calque(*words, env={"CALQUE_FAULT": fault}).returncode == -signal.SIGKILL
    with Index.open(path) as opened:
        assert opened.check(deep=True) == []
        before = len(vectors_of(opened))
        assert before == (8 if fault == "vectors.committed" else 0)
        assert embed(opened, "structure", workers=0).vectors == 8 - before
        found = vectors_of(opened)
        assert len(found) == 8
        # Those of a run that nobody killed.
        shutil.rmtree(path / VECTORS)
        embed(opened, "structure", workers=0)
        np.testing.assert_array_equal(vectors_of(opened).gather(), found.gather())
    assert not list(path.rglob("*.partial"))
