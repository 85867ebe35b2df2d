"""A volume bound in a marbled cover, a colour chart on every scan: its pages are not found by that."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from index.answers import Query
from index.furniture import furniture_of
from index.search import search
from index.store import Index
from index.verification import Stored
from matcher.geometry import Signed
from matcher.types import Region
from tests.conftest import PICTURES, page_with, picture

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

BINDING = Region(610, 0, 110, 960)


def scan(pixels: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
    """Return a page with a picture, on a marbled cover and a few pixels from where the last one lay."""
    page = page_with(pixels, number)
    cover = picture("gravel", 960)[:, : int(BINDING.width)]
    cover = np.roll(cover, number % 3, axis=0)
    page[: cover.shape[0], int(BINDING.x) :] = cover[: page.shape[0]]
    rng = np.random.default_rng(number)
    return np.clip(page + rng.normal(0, 4, page.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight scans of different pages, the first and the last of which show the same picture."""
    folder = tmp_path_factory.mktemp("volume")
    shown = [*(name for name in PICTURES if name != "gravel"), PICTURES[0]]
    for number, name in enumerate(shown):
        cv2.imwrite(str(folder / f"p{number}.png"), scan(picture(name, 380 - 60 * (number == 7)), number))
    return folder


@pytest.fixture(scope="module")
def indexed(volume: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    with Index.create(tmp_path_factory.mktemp("index") / "volume.calque") as made:
        assert made.add([volume], workers=0).added == 8
        yield made


def found(index: Index, query: Query, **options: object) -> set[str]:
    (answer,) = search(index, [query], max_false_alarms=1e-3, **options)
    return {hit.image.rpartition("/")[2] for hit in answer.hits}


@pytest.mark.compiled
def test_pages_are_not_found_by_what_is_on_every_scan(indexed, volume):
    assert found(indexed, Query("q", volume / "p3.png")) == {"p3.png"}
    assert len(found(indexed, Query("q", volume / "p3.png"), furniture=True)) == 8


@pytest.mark.compiled
def test_what_else_they_share_is_found(indexed, volume):
    query = Query("q", volume / "p0.png")
    (answer,) = search(indexed, [query], max_false_alarms=1e-3)
    (hit,) = (hit for hit in answer.hits if hit.image.endswith("p7.png"))
    assert not BINDING.contains(hit.match.image_points).any()
    assert hit.match.scale == pytest.approx(320 / 380, abs=0.01)


@pytest.mark.compiled
def test_who_frames_it_finds_it(indexed, volume):
    assert len(found(indexed, Query("q", volume / "p3.png", Region(620, 200, 100, 400)))) == 8


@pytest.mark.compiled
def test_copies_of_a_picture_are_no_furniture(tmp_path):
    folder = tmp_path / "photographs"
    folder.mkdir()
    for number in range(8):
        noise = np.random.default_rng(number).normal(0, 3, picture("coins", 500).shape)
        pixels = np.clip(picture("coins", 500) + noise, 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{number}.jpg"), pixels, [cv2.IMWRITE_JPEG_QUALITY, 50 + 5 * number])
    with Index.create(tmp_path / "photographs.calque") as index:
        index.add([folder], workers=0)
        assert len(found(index, Query("q", folder / "3.jpg"))) == 8


def stored(points: NDArray, words: NDArray, signatures: NDArray) -> Stored:
    frame = np.column_stack([points, np.full((len(points), 2), 1.0)])
    order = np.argsort(words, kind="stable")
    return Stored(Signed(frame[order], words[order].astype(np.uint16), signatures[order]), 1.0)


def volume_of(features: int, pages: int, shared: int, rng: np.random.Generator) -> list[Stored]:
    """Return pages of random features, the first `shared` of which lie on the left of all of them, within 10 pixels."""
    common = np.column_stack([rng.uniform(0, 60, shared), rng.uniform(0, 1000, shared)])
    words, signatures = rng.integers(0, 60_000, shared), rng.integers(0, 1 << 63, shared, dtype=np.uint64)
    made = []
    for _ in range(pages):
        own = np.column_stack([rng.uniform(200, 1000, features), rng.uniform(0, 1000, features)])
        points = np.concatenate([common + rng.uniform(-5, 5, 2), own])
        made.append(
            stored(
                points,
                np.concatenate([words, rng.integers(0, 60_000, features)]),
                np.concatenate([signatures, rng.integers(0, 1 << 63, features, dtype=np.uint64)]),
            )
        )
    return made


@pytest.mark.parametrize(("pages", "told"), [(2, False), (3, True), (9, True)])
def test_it_takes_two_neighbours_to_tell(pages, told):
    one, *others = volume_of(600, pages, 150, np.random.default_rng(2))
    furniture = furniture_of(one, others)
    assert bool(furniture) == told
    held = furniture.holds(one.signed.frame[:, :2])
    left = one.signed.frame[:, 0] < 80
    assert (held[left].mean() > 0.9) == told
    assert not held[one.signed.frame[:, 0] > 240].any()
    assert len(furniture.cleared(one).signed.frame) == (~held).sum()


def test_an_image_may_have_no_features_or_no_neighbours():
    nothing = stored(np.zeros((0, 2)), np.zeros(0, np.int64), np.zeros(0, np.uint64))
    (one,) = volume_of(50, 1, 20, np.random.default_rng(3))
    for image, others in ((nothing, [one, one, one]), (one, []), (one, [nothing] * 4), (nothing, [])):
        assert not furniture_of(image, others)
