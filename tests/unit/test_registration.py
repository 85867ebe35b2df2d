"""Registration against images whose true map is known to a fraction of a pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from matcher.images import Scan
from matcher.registration import Frame, blink_gif, difference, overlay, register, side_by_side, warp
from matcher.types import Match, Region, Transform

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from matcher.types import Relation

# A perspective map from a query of 600 × 400 pixels onto a page of 1200 × 1600.
ONTO_PAGE = Transform(np.array([[0.9, 0.25, 180.0], [-0.2, 0.95, 320.0], [6e-5, 4e-5, 1.0]]))
MIRRORING = Transform(np.array([[-1.0, 0, 599.0], [0, 1, 0], [0, 0, 1]]))


def drawing(x: NDArray, y: NDArray) -> NDArray:
    """A smooth picture, defined at every real point of the query, with no translation that repeats it."""
    wave = np.sin(x / 19 + np.sin(y / 31)) + np.cos(y / 17 + x * y / 90_000)
    return 127.5 + 55 * wave


def scan_of(width: int, height: int, scale: tuple[float, float], to_query: Transform) -> Scan:
    """Sample the drawing as a scan of an original of `width` × `height`, `scale` original pixels a pixel."""
    wide, high = round(width / scale[0]), round(height / scale[1])
    columns, rows = np.meshgrid(np.arange(wide), np.arange(high))
    points = np.column_stack([(columns.ravel() + 0.5) * scale[0] - 0.5, (rows.ravel() + 0.5) * scale[1] - 0.5])
    x, y = to_query.apply(points).T
    pixels = np.round(drawing(x, y)).clip(0, 255).astype(np.uint8).reshape(high, wide)
    return Scan(pixels, width, height, *scale)


def match_by(transform: Transform, relation: Relation = "same", region: Region | None = None) -> Match:
    box = region or Region(0, 0, 600, 400)
    points = np.random.default_rng(5).uniform((box.x, box.y), (box.x + box.width, box.y + box.height), (40, 2))
    corners = transform.apply(box.corners())
    return Match(transform, relation, 0.0, 1.0, corners, points, transform.apply(points), 40, -20.0)


def query_scan(scale: tuple[float, float] = (1.0, 1.0)) -> Scan:
    return scan_of(600, 400, scale, Transform(np.eye(3)))


@pytest.mark.parametrize("scale", [(1.0, 1.0), (2.0, 2.0), (1.5, 1.6)])
def test_a_frame_over_a_region_is_the_same_as_a_crop(scale: tuple[float, float]) -> None:
    scan = query_scan(scale)
    frame = Frame(Region(120, 80, 240, 160), round(240 / scale[0]), round(160 / scale[1]))
    pixels, valid = warp(scan, Transform(np.eye(3)), frame)
    left, top = round(120 / scale[0]), round(80 / scale[1])
    assert valid.all()
    np.testing.assert_array_equal(pixels, scan.pixels[top : top + frame.height, left : left + frame.width])


@pytest.mark.parametrize("query_scale", [(1.0, 1.0), (1.5, 1.5)])
@pytest.mark.parametrize("page_scale", [(1.0, 1.0), (1.6, 1.5)])
@pytest.mark.parametrize("mirrored", [False, True])
def test_registers_to_a_tenth_of_a_pixel(
    query_scale: tuple[float, float], page_scale: tuple[float, float], mirrored: bool
) -> None:
    onto = Transform(ONTO_PAGE.matrix @ MIRRORING.matrix) if mirrored else ONTO_PAGE
    page = scan_of(1200, 1600, page_scale, onto.inverse())
    pair = register(query_scan(query_scale), page, match_by(onto, "mirrored" if mirrored else "same"), long_side=600)
    assert pair.valid.mean() > 0.95
    inner = (slice(40, 360), slice(40, 560))
    ours, theirs = pair.query[inner].astype(float), pair.image[inner].astype(float)
    # Least squares for the shift that is left: ours - theirs = gradient · shift.
    down, across = np.gradient(ours)
    shift = np.linalg.lstsq(np.column_stack([across.ravel(), down.ravel()]), (ours - theirs).ravel(), rcond=None)[0]
    assert np.abs(shift).max() < 0.1
    assert np.abs(ours - theirs).mean() < 2


def test_the_inverse_brings_the_query_onto_the_page() -> None:
    page = scan_of(1200, 1600, (1.0, 1.0), ONTO_PAGE.inverse())
    frame = Frame(Region(300, 400, 200, 150), 200, 150)
    pixels, valid = warp(query_scan(), ONTO_PAGE.inverse(), frame)
    assert valid.all()
    assert np.abs(pixels.astype(float) - page.pixels[400:550, 300:500]).mean() < 2


def test_marks_what_lies_beyond_the_scan_as_invalid() -> None:
    shifted = Transform(np.array([[1.0, 0, -100.0], [0, 1, 0], [0, 0, 1]]))
    _, valid = warp(query_scan(), shifted, Frame(Region(0, 0, 600, 400), 600, 400))
    assert not valid[:, :100].any()
    assert valid[:, 100:].all()


def test_what_lies_behind_the_horizon_is_invalid() -> None:
    tilted = Transform(np.array([[1.0, 0, 0], [0, 1, 0], [-1 / 400, 0, 1]]))
    _, valid = warp(query_scan(), tilted, Frame(Region(0, 0, 600, 100), 600, 100))
    assert valid[:, :200].all()
    assert not valid[:, 401:].any()


def test_averages_a_fine_screen_instead_of_aliasing_it() -> None:
    columns, rows = np.meshgrid(np.arange(1600), np.arange(1600))
    checkered = np.where((columns + rows) % 2, 255, 0).astype(np.uint8)
    pixels, _ = warp(
        Scan(checkered, 1600, 1600, 1.0, 1.0), Transform(np.eye(3)), Frame(Region(0, 0, 1600, 1600), 377, 377)
    )
    assert np.abs(pixels.astype(float) - 127.5).max() < 30


def test_turns_the_query_into_its_negative_when_the_find_is_one() -> None:
    query = query_scan()
    negative = Scan(255 - query.pixels, 600, 400, 1.0, 1.0)
    pair = register(query, negative, match_by(Transform(np.eye(3)), "inverted"))
    np.testing.assert_array_equal(pair.query, pair.image)
    np.testing.assert_array_equal(pair.query, 255 - query.pixels)


def line(column: int, tone: int = 20, paper: int = 230) -> NDArray[np.uint8]:
    picture = np.full((120, 160), paper, np.uint8)
    picture[:, column : column + 8] = tone
    return picture


def test_the_overlay_shows_differences_in_colour_and_coincidence_in_black() -> None:
    shared = line(20)
    ours, theirs = np.minimum(shared, line(60)), np.minimum(shared, line(100))
    sheet = overlay(ours, theirs)
    assert sheet[60, 24].tolist() == [0, 0, 0]
    assert sheet[60, 140].tolist() == [255, 255, 255]
    assert sheet[60, 64].tolist() == [255, 0, 0]
    assert sheet[60, 104].tolist() == [0, 255, 255]


def test_the_overlay_of_one_photograph_in_two_tones_is_grey() -> None:
    picture = query_scan().pixels
    crushed = (60 + 150 * (picture / 255.0) ** 1.4).astype(np.uint8)
    sheet = overlay(picture, crushed).astype(int)
    assert np.abs(sheet[..., 0] - sheet[..., 1]).mean() < 12


def test_the_overlay_greys_out_what_only_one_has() -> None:
    valid = np.ones((120, 160), bool)
    valid[:, 80:] = False
    sheet = overlay(line(20), line(20), valid)
    assert len(np.unique(sheet[:, 80:])) == 1
    assert 0 < sheet[0, 100, 0] < 255


def test_the_difference_ignores_exposure_but_not_a_broken_line() -> None:
    darker = line(70, tone=15, paper=150)
    assert difference(line(70), darker).max() < 60
    broken = darker.copy()
    broken[50:70] = 150
    apart = difference(line(70), broken)
    assert apart[52:68, 71:77].min() > 100
    assert apart[:30].max() < 60


def test_unequal_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        overlay(line(1), line(1)[1:])
    with pytest.raises(ValueError, match="shape"):
        difference(line(1), line(1)[1:])


def test_the_gif_shows_both_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "blink é.gif"
    blink_gif(path, line(20), line(90), milliseconds=400)
    with Image.open(path) as gif:
        assert (gif.n_frames, gif.info["duration"], gif.info["loop"]) == (2, 400, 0)
        first = np.array(gif.convert("L"))
        gif.seek(1)
        second = np.array(gif.convert("L"))
    np.testing.assert_array_equal(first, line(20))
    np.testing.assert_array_equal(second, line(90))
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_gif_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "blink.gif"
    path.write_bytes(b"before")
    with pytest.raises(TypeError):
        blink_gif(path, line(20).astype(complex), line(20).astype(complex))
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def is_red(sheet: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return (sheet[..., 0] > 170) & (sheet[..., 1] < 90) & (sheet[..., 2] < 90)


@pytest.mark.parametrize("scale", [(1.0, 1.0), (2.0, 1.6)])
def test_the_proof_frames_the_region_and_the_find_where_they_are(scale: tuple[float, float]) -> None:
    region = Region(100, 80, 300, 200)
    query = Scan(np.full((400, 600), 200, np.uint8), 600, 400, 1.0, 1.0)
    high, wide = round(1600 / scale[1]), round(1200 / scale[0])
    page = Scan(np.full((high, wide), 200, np.uint8), 1200, 1600, *scale)
    match = match_by(ONTO_PAGE, region=region)
    sheet = side_by_side(query, page, match, region, width=1400)
    assert sheet.shape[1] == 1400
    assert sheet.shape[0] <= 1.7 * 1400
    rows, columns = np.nonzero(is_red(sheet))
    left, right = columns < 700, columns >= 700
    # The query is drawn 670 pixels wide: 670/600 of its size; the page is as much wider than high as it is.
    assert np.ptp(columns[left]) == pytest.approx(300 * 670 / 600, abs=16)
    assert np.ptp(rows[left]) == pytest.approx(200 * 670 / 600, abs=16)
    box, drawn = match.region, 670 / 1200
    assert np.ptp(columns[right]) == pytest.approx(box.width * drawn, abs=16)
    assert np.ptp(rows[right]) == pytest.approx(box.height * drawn, abs=16)
    assert columns[right].min() == pytest.approx(710 + box.x * drawn, abs=16)


def test_a_small_find_is_shown_enlarged_as_well() -> None:
    query, page = query_scan(), Scan(np.full((1600, 1200, 3), 220, np.uint8), 1200, 1600, 1.0, 1.0)
    small = Transform(np.diag([0.3, 0.3, 1.0]))
    large = Transform(np.diag([1.8, 1.8, 1.0]))
    plain = len(side_by_side(query, page, match_by(large)))
    assert len(side_by_side(query, page, match_by(small))) > plain + 200
    assert len(side_by_side(query, page, match_by(small), close_up=False)) == plain


def test_the_proof_is_the_same_every_time() -> None:
    page = scan_of(1200, 1600, (1.0, 1.0), ONTO_PAGE.inverse())
    drawn = [side_by_side(query_scan(), page, match_by(ONTO_PAGE)) for _ in range(2)]
    np.testing.assert_array_equal(*drawn)
