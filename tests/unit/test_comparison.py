"""Two images side by side: the map between them is the one that one was made from the other with."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from index.comparison import compare
from matcher.errors import InputError
from matcher.types import Region
from tests.conftest import page_with, picture

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from matcher.types import Match

pytestmark = pytest.mark.compiled


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a photograph of 480 × 320 pixels, and images that show nothing of it."""
    made = tmp_path_factory.mktemp("images")
    cv2.imwrite(str(made / "coffee.png"), picture("coffee", 480))
    cv2.imwrite(str(made / "blank.png"), np.full((300, 400), 240, np.uint8))
    cv2.imwrite(str(made / "dot.png"), np.zeros((1, 1), np.uint8))
    cv2.imwrite(str(made / "type.png"), page_with(np.full((1, 1), 235, np.uint8), 1))
    cv2.imwrite(str(made / "chelsea.png"), picture("chelsea", 480))
    return made


def laid(pixels: NDArray[np.uint8], matrix: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return a sheet of 900 × 900 pixels on which `matrix` (3, 3) puts the photograph."""
    return cv2.warpPerspective(pixels, matrix, (900, 900), flags=cv2.INTER_AREA, borderValue=230)


def placing(scale: float, rotation: float, mirrored: bool = False) -> NDArray[np.float64]:
    """Return the map that puts the photograph's middle on the sheet's."""
    c, s = scale * math.cos(math.radians(rotation)), scale * math.sin(math.radians(rotation))
    flip = np.diag([-1.0 if mirrored else 1.0, 1.0, 1.0])
    return np.array([[c, -s, 450], [s, c, 450], [0, 0, 1]]) @ flip @ [[1, 0, -239.5], [0, 1, -159.5], [0, 0, 1]]


def error(match: Match, matrix: NDArray[np.float64]) -> float:
    """Return by how many pixels the match is off, at most, over the photograph."""
    places = np.array([[x, y, 1.0] for x in (0, 240, 480) for y in (0, 160, 320)])
    true = places @ matrix.T
    return float(np.linalg.norm(match.transform.apply(places[:, :2]) - true[:, :2] / true[:, 2:], axis=1).max())


@pytest.mark.parametrize("scale", [0.6, 1.0, 1.5])
@pytest.mark.parametrize("rotation", [0, 37, 90, 180, -135])
def test_position_size_and_rotation(folder, tmp_path, scale, rotation):
    matrix = placing(scale, rotation)
    cv2.imwrite(str(tmp_path / "sheet.png"), laid(picture("coffee", 480), matrix))
    (match,) = compare(folder / "coffee.png", tmp_path / "sheet.png")
    assert error(match, matrix) < 1.5
    assert match.relation == "same"
    assert abs((match.rotation - rotation + 180) % 360 - 180) < 0.3
    assert match.scale == pytest.approx(scale, rel=0.005)
    assert match.log_false_alarms < -20


@pytest.mark.parametrize("relation", ["same", "mirrored", "inverted", "mirrored+inverted"])
def test_relations(folder, tmp_path, relation):
    matrix = placing(0.9, -20, "mirrored" in relation)
    pixels = picture("coffee", 480)
    sheet = laid(255 - pixels if "inverted" in relation else pixels, matrix)
    cv2.imwrite(str(tmp_path / "sheet.png"), sheet)
    (match,) = compare(folder / "coffee.png", tmp_path / "sheet.png")
    assert match.relation == relation
    assert error(match, matrix) < 1.5
    assert match.rotation == pytest.approx(-20, abs=0.3)
    others = tuple({"same", "mirrored", "inverted", "mirrored+inverted"} - {relation})
    assert compare(folder / "coffee.png", tmp_path / "sheet.png", relations=others) == []


def test_slight_perspective(folder, tmp_path):
    matrix = placing(1.2, 10)
    matrix[2, :2] = [5e-5, -2.5e-5]
    matrix /= matrix[2, 2]
    cv2.imwrite(str(tmp_path / "sheet.png"), laid(picture("coffee", 480), matrix))
    (match,) = compare(folder / "coffee.png", tmp_path / "sheet.png")
    assert error(match, matrix) < 2
    # Perspective has to be paid for, so it comes out a little less than it is.
    assert match.transform.matrix[2, :2] == pytest.approx(matrix[2, :2], rel=0.4)


def test_a_region_is_found_where_it_lies(folder, tmp_path):
    matrix = placing(0.9, 15)
    cv2.imwrite(str(tmp_path / "sheet.png"), laid(picture("coffee", 480), matrix))
    region = Region(150, 60, 200, 180)
    (match,) = compare(folder / "coffee.png", tmp_path / "sheet.png", region)
    true = np.column_stack([region.corners(), np.ones(4)]) @ matrix.T
    assert np.abs(match.polygon - true[:, :2]).max() < 2
    assert region.contains(match.query_points).all()


def test_every_place_is_found(folder, tmp_path):
    pixels = picture("coffee", 480)
    sheet = np.full((1000, 1100), 230, np.uint8)
    places = ((20, 30), (560, 200), (100, 600))
    for x, y in places:
        sheet[y : y + pixels.shape[0], x : x + pixels.shape[1]] = pixels
    cv2.imwrite(str(tmp_path / "sheet.png"), sheet)
    matches = compare(folder / "coffee.png", tmp_path / "sheet.png")
    assert sorted(tuple(np.round(match.polygon[0]).astype(int).tolist()) for match in matches) == sorted(places)
    alarms = [match.log_false_alarms for match in matches]
    assert alarms == sorted(alarms)


def test_a_photograph_is_found_on_a_printed_page(collection, photograph):
    page = collection.page("a/camera.jpg")
    (match,) = compare(photograph, page)
    x, y, width, height = collection.boxes["a/camera.jpg"]
    centre = match.transform.apply(np.array([[249.5, 249.5]]))[0]
    assert centre == pytest.approx([x + width / 2 - 0.5, y + height / 2 - 0.5], abs=2)
    assert match.rotation == pytest.approx(2, abs=0.3)
    assert compare(photograph, collection.page("b/coins.jpg")) == []


@pytest.mark.parametrize("other", ["blank", "dot", "type", "chelsea"])
def test_unlike_images_do_not_match_either_way(folder, other):
    assert compare(folder / "coffee.png", folder / f"{other}.png") == []
    assert compare(folder / f"{other}.png", folder / "coffee.png") == []


def test_what_cannot_be_compared_is_named(folder, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_text("no picture")
    coffee = folder / "coffee.png"
    for a, b in ((broken, coffee), (coffee, broken)):
        with pytest.raises(InputError, match=r"broken\.png"):
            compare(a, b)
    with pytest.raises(InputError, match=r"coffee\.png.*outside the image"):
        compare(coffee, coffee, Region(1000, 0, 10, 10))
    with pytest.raises(InputError, match=r"coffee\.png.*page"):
        compare(coffee, coffee, page_b=5)
