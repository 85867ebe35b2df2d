"""``calque add --profile``: what is stored of an image is settled when its index is made."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from index.settings import PROFILES
from index.store import Index

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Calque, Collection

pytestmark = pytest.mark.compiled


def info(index: Path) -> dict[str, Any]:
    with Index.open(index) as opened:
        return opened.info()


@pytest.mark.parametrize("profile", ["small", "fine"])
def test_a_profile_decides_what_is_stored_and_pictures_are_found(
    profile: str, collection: Collection, photograph: Path, calque: Calque, tmp_path: Path
) -> None:
    page = collection.page("a/camera.jpg")
    index = tmp_path / "i.calque"
    done = calque("add", index, page, "--profile", profile, "--workers", 0, "--quiet")
    assert done.returncode == 0, done.stderr
    held = info(index)
    assert PROFILES[profile].items() <= held["settings"].items()
    assert held["features"] <= held["settings"]["max_features"]
    answer = json.loads(calque("search", index, photograph, "--format", "json").stdout)
    assert [hit["image"].endswith("camera.jpg") for hit in answer["hits"]] == [True]


def test_an_index_keeps_its_profile(collection: Collection, calque: Calque, tmp_path: Path) -> None:
    page, index = collection.page("a/camera.jpg"), tmp_path / "i.calque"
    assert calque("add", index, page, "--profile", "small", "--max-features", 200, "--workers", 0).returncode == 0
    settled = info(index)["settings"]
    assert (settled["max_features"], settled["geometry_bits"]) == (200, PROFILES["small"]["geometry_bits"])
    other = calque("add", index, page, "--profile", "fine", "--work-size", 1600)
    assert other.returncode == 2
    assert "was made with max_features=200, asked for max_features=12800" in other.stderr


def test_the_finest_features_are_a_profile(collection: Collection, calque: Calque, tmp_path: Path) -> None:
    page, index = collection.page("a/camera.jpg"), tmp_path / "i.calque"
    assert calque("add", index, page, "--features", "fine", "--workers", 0).returncode == 0
    assert PROFILES["fine"].items() <= info(index)["settings"].items()
    assert calque("add", index, page, "--features", "fine", "--quiet").returncode == 0
    other = calque("add", tmp_path / "j.calque", page, "--features", "fine", "--profile", "small")
    assert (other.returncode, other.stdout) == (2, "")
    assert "leave --profile small out" in other.stderr
    assert not (tmp_path / "j.calque").exists()
