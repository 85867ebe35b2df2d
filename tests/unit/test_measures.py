"""Sizes of things, and who says how large a pixel is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from cli.main import calque
from index.resolution import by_metadata, of_file, resolution_of
from matcher.detection import Detection, polygons_of
from matcher.measures import centre_line, measured
from matcher.types import Region

if TYPE_CHECKING:
    from pathlib import Path


def test_a_turned_rectangle_is_measured_along_its_sides():
    corners = cv2.boxPoints(((100, 80), (90, 30), 33)).astype(np.float64)
    box = Region(*corners.min(axis=0), *np.ptp(corners, axis=0))
    sizes = measured(Detection(box, "label", 1.0, (corners,)))
    assert sizes.area == pytest.approx(2700, rel=1e-5)
    assert (sizes.length, sizes.width, sizes.ratio) == pytest.approx((90, 30, 3), rel=1e-4)
    assert sizes.perimeter == pytest.approx(240, rel=1e-5)
    plain = measured(Detection(Region(3, 4, 40, 10), "label", 1.0), 2.0, 4.0)
    assert plain == pytest.approx((50, 20, 2.5, 8, 45))


def test_holes_are_taken_out_of_areas():
    mask = np.zeros((60, 60), bool)
    mask[10:50, 10:50] = True
    mask[20:40, 20:40] = False
    sizes = measured(Detection(Region(9.5, 9.5, 40, 40), "stain", 1.0, polygons_of(mask)))
    assert sizes.area == pytest.approx(mask.sum(), rel=0.02)


@pytest.mark.parametrize("angle", [0, 20, 45, 90])
def test_the_centre_line_of_a_stroke_is_as_long_as_it(angle):
    mask = np.zeros((240, 240), np.uint8)
    turn = np.radians(angle)
    half = 80 * np.array([np.cos(turn), np.sin(turn)])
    start, stop = (np.round(np.array([120, 120]) + sign * half).astype(int).tolist() for sign in (-1, 1))
    cv2.line(mask, start, stop, 1, 5)
    assert centre_line(mask > 0) == pytest.approx(160, rel=0.09)  # steps of eight directions are a little too long
    assert centre_line(mask > 0, 10, 10) == pytest.approx(16, rel=0.09)


def test_of_nothing_the_centre_line_has_no_length():
    assert centre_line(np.zeros((9, 9), bool)) == 0


@pytest.mark.parametrize(
    ("dpi", "size", "known"),
    [
        ((300, 300), (2480, 3508), True),
        ((72, 72), (2480, 3508), False),
        ((96, 96), (800, 600), False),
        ((300, 300), (100, 140), False),  # a stamp of 8 mm
        ((10, 10), (9000, 9000), False),  # a wall
        (None, (2480, 3508), False),
    ],
)
def test_resolutions_that_programs_make_up_are_not_believed(tmp_path: Path, dpi, size, known):
    path = tmp_path / "scan.jpg"
    Image.new("L", (20, 20)).save(path, **({} if dpi is None else {"dpi": dpi}))
    told = of_file(path, size)
    assert told.known is known
    assert ("unknown" in told.source) is not known
    if dpi is not None:
        assert f"{dpi[0]} dpi" in told.source
        assert of_file(path, size, believe=True).dpi == pytest.approx(dpi[0], rel=0.01)


def test_resolutions_turn_with_their_image(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (30, 20)).save(tmp_path / "turned.tif", dpi=(300, 600), exif=exif)
    told = of_file(tmp_path / "turned.tif", (2000, 3000))
    assert (told.x, told.y) == pytest.approx((600 / 25.4, 300 / 25.4))
    assert told.source == "file (TIFF): 600 × 300 dpi"


def test_what_is_given_comes_first_and_metadata_has_units(tmp_path: Path):
    assert resolution_of(None, (10, 10), dpi=254).x == 10
    assert not resolution_of(None, (10, 10)).known
    for text, per_mm in (("300", 300 / 25.4), ("300 dpi", 300 / 25.4), ("118,1 px/cm", 11.81), ("11.8 px/mm", 11.8)):
        assert by_metadata({"scan": text}, "scan").x == pytest.approx(per_mm)
    for text in ("high", "300 lpi", "0 dpi"):
        assert not by_metadata({"scan": text}, "scan").known
    assert by_metadata({}, "scan").source == "unknown: its metadata has no scan"


def test_a_scale_bar_says_how_large_things_are(tmp_path: Path):
    line = {
        "image": "sheet.jpg",
        "page": 0,
        "width": 1000,
        "height": 800,
        "regions": [
            {"label": "ruler", "score": 0.9, "region": [100, 700, 500, 20]},
            {"label": "leaf", "score": 0.8, "region": [10, 10, 100, 50], "polygons": []},
            {"label": "leaf", "score": 0.1, "region": [10, 10, 100, 50], "polygons": []},
        ],
    }
    path = tmp_path / "found.jsonl"
    path.write_text(json.dumps(line) + "\n\n")
    words = ["detect", "measure", str(path), "--min-score", "0.5", "--scale-bar", "ruler", "100", "--format", "jsonl"]
    done = CliRunner().invoke(calque, words, standalone_mode=False, catch_exceptions=False)
    assert done.return_value == 0
    (row,) = map(json.loads, done.stdout.splitlines())
    assert (row["length_mm"], row["width_mm"], row["area_mm2"]) == (20, 10, 200)
    assert row["resolution_from"] == "scale bar: ruler, 500 px are 100 mm"
    path.write_text('{"image": 3}\n')
    from matcher.errors import InputError

    with pytest.raises(InputError, match="line 1"):
        CliRunner().invoke(calque, words, standalone_mode=False, catch_exceptions=False)
