"""Learned features through the command line: a vocabulary, an index and searches, and what is said where they lack."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import cv2
import pytest

from index.store import Index
from tests.conftest import picture

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.conftest import Calque, Collection

SURE = 1e-3


@pytest.fixture(scope="module")
def environment(published_weights: Path) -> dict[str, str]:
    """Where weights are found, if what trains and extracts is installed."""
    for module in ("torch", "kornia", "faiss"):
        pytest.importorskip(module)
    if not (published_weights / "xfeat.pt").is_file():
        pytest.skip("no weights of XFeat")
    return {"CALQUE_MODELS": str(published_weights), "CALQUE_DEVICE": "cpu"}


@pytest.fixture(scope="module")
def vocabulary(
    environment: dict[str, str], collection: Collection, calque: Calque, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("vocabulary") / "fine.h5"
    words = ("--features", "xfeat", "--words", 256, "--no-calibrate")
    done = calque("train", path, collection.folder, *words, env=environment)
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture(scope="module")
def index(vocabulary: Path, environment: dict[str, str], collection: Collection, calque: Calque) -> Path:
    path = vocabulary.with_name("fine.calque")
    words = ("--features", "xfeat", "--vocabulary", vocabulary, "--workers", 2)
    done = calque("add", path, collection.folder.name, *words, cwd=collection.folder.parent, env=environment)
    assert done.returncode == 0, done.stderr
    return path


def best(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    hit: dict[str, Any] = json.loads(done.stdout)["hits"][0]
    assert hit["false_alarms"] < SURE
    return hit


def test_a_photograph_is_found_on_its_page(
    index: Path, environment: dict[str, str], photograph: Path, calque: Calque
) -> None:
    done = calque("search", index, photograph, "--format", "json", env=environment)
    hit = best(done)
    assert (hit["image"], hit["relation"]) == ("scans/a/camera.jpg", "same")
    assert "more false alarms than it claims" in done.stderr  # nobody measured


@pytest.mark.parametrize("framed", [False, True])
def test_a_mirrored_photograph_is_found(
    index: Path, environment: dict[str, str], calque: Calque, tmp_path: Path, framed: bool
) -> None:
    mirrored = tmp_path / "mirrored.png"
    cv2.imwrite(str(mirrored), picture("camera", 500)[:, ::-1])
    region = ("--region", "20,20,460,460") if framed else ()
    hit = best(calque("search", index, mirrored, *region, "--format", "json", env=environment))
    assert (hit["image"], hit["relation"]) == ("scans/a/camera.jpg", "mirrored")


def test_an_index_keeps_to_its_features(
    index: Path, environment: dict[str, str], collection: Collection, calque: Calque
) -> None:
    done = calque("add", index, collection.folder, "--features", "sift", env=environment)
    assert done.returncode == 2
    assert f"{index} is of xfeat features, not of sift" in done.stderr


def test_pages_read_by_workers_and_encoded_together_are_the_same(
    index: Path,
    vocabulary: Path,
    environment: dict[str, str],
    collection: Collection,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """As where there is a GPU: the workers read, this process extracts, three images of one size at a time."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("matcher.learned.at_once", lambda where: 3)
    (tmp_path / "no.jpg").write_bytes(b"no image")
    with Index.create(tmp_path / "together", {"layout": "calque"}, vocabulary) as made, Index.open(index) as alone:
        report = made.add([tmp_path / "no.jpg", collection.folder], workers=2)
        assert report.added == len(collection.boxes)
        assert [name for name, _ in report.failed] == [str(tmp_path / "no.jpg")]
        ours, theirs = list(made.images()), list(alone.images())
        assert [record.path for record in ours] == [record.path for record in theirs]
        for one, other in zip(ours, theirs, strict=True):
            mine, its = (opened.gather(record.id) for opened, record in ((made, one), (alone, other)))
            shared = sum((Counter(mine.words.tolist()) & Counter(its.words.tolist())).values())
            assert shared > 0.99 * max(len(mine.words), len(its.words))


def test_where_weights_are_missing_the_remedy_is_named(
    index: Path, environment: dict[str, str], photograph: Path, calque: Calque, tmp_path: Path
) -> None:
    nowhere = {**environment, "CALQUE_MODELS": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "TORCH_HOME": ""}
    for words in (("search", index, photograph), ("train", tmp_path / "v.h5", photograph, "--features", "xfeat")):
        done = calque(*words, env=nowhere)
        assert done.returncode == 2
        assert "the weights xfeat.pt are not here; put the file from https://github.com/verlab/" in done.stderr
        assert f"into {tmp_path}/calque/models, or into a folder named by CALQUE_MODELS" in done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "v.h5").exists()
