"""Where PyTorch is not installed all of calque works but the features of networks, which say what they need."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conftest import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Collection

WITHOUT = "import sys; sys.modules['torch'] = sys.modules['kornia'] = None; from cli.main import main; main()"


def calque_without_torch(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT, *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize("name", ["xfeat", "sift+featurebooster"])
def test_features_of_networks_name_the_extra(collection: Collection, tmp_path: Path, name: str) -> None:
    done = calque_without_torch("train", tmp_path / "x.h5", collection.folder, "--features", name)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("install it with: pip install 'calque[learned]'")
    assert not (tmp_path / "x.h5").exists()


def test_all_else_works(collection: Collection, tmp_path: Path) -> None:
    index = tmp_path / "a.calque"
    done = calque_without_torch("add", index, collection.page("a/camera.jpg"), "--features", "sift", "--workers", "0")
    assert done.returncode == 0, done.stderr
    done = calque_without_torch("search", index, collection.page("a/camera.jpg"))
    assert done.returncode == 0, done.stderr


def test_an_index_is_of_its_vocabulary_s_features(collection: Collection, tmp_path: Path) -> None:
    index = tmp_path / "a.calque"
    done = calque_without_torch("add", index, collection.folder, "--features", "xfeat")
    assert done.returncode == 2
    assert "is of sift features, not of xfeat; train one with: calque train FILE" in done.stderr
    assert not index.exists()
