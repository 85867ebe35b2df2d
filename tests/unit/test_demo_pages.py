"""The made-up collection: tone, geometry and the truth about where things are."""

from __future__ import annotations

import io
from itertools import islice
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from PIL import Image

from cli.demo_pages import Page, Plate, build_pages, compose_page, photograph
from cli.demo_print import bleed_through, crush, engrave, halftone, jpeg, paper, skew
from cli.demo_type import Style, prose
from matcher.types import Transform

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


def grey(name: str) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(photograph(name), cv2.COLOR_RGB2GRAY), np.uint8)


@pytest.mark.parametrize("screen", [halftone, engrave])
@pytest.mark.parametrize("tone", [30, 90, 128, 200, 240])
def test_a_screen_keeps_the_tone(screen: Callable[..., NDArray[np.uint8]], tone: int) -> None:
    printed = screen(np.full((200, 240), tone, np.uint8), 4.0, 45.0)
    assert printed.shape == (200, 240)
    assert printed.mean() == pytest.approx(tone, abs=3)
    assert np.isin(printed, [0, 255]).mean() > 0.3


def test_a_halftone_repeats_at_its_pitch_and_angle() -> None:
    printed = halftone(np.full((256, 256), 128, np.uint8), 8.0, 0.0).astype(float)
    spectrum = np.abs(np.fft.fft2(printed - printed.mean()))
    rows, columns = np.unravel_index(np.argsort(spectrum.ravel())[-4:], spectrum.shape)
    frequencies = {(min(r, 256 - r), min(c, 256 - c)) for r, c in zip(rows.tolist(), columns.tolist(), strict=True)}
    assert frequencies <= {(32, 32), (0, 32), (32, 0)}


def test_crush_squeezes_the_tones() -> None:
    ramp = np.arange(256, dtype=np.uint8)[None]
    crushed = crush(ramp, 40, 200)
    assert (crushed.min(), crushed.max()) == (40, 200)
    assert (np.diff(crushed[0].astype(int)) >= 0).all()


def test_skew_says_where_every_point_goes() -> None:
    page = np.full((400, 300), 255, np.float32)
    page[100:103, 200:203] = 0
    scan, matrix = skew(page, 3.0)
    weight = 255 - scan
    weight[(scan < 60) & (np.hypot(*(np.indices(scan.shape) - 100)) > 150)] = 0
    x, y = Transform(matrix).apply(np.array([[201.0, 101.0]]))[0]
    window = (slice(int(y) - 6, int(y) + 7), slice(int(x) - 6, int(x) + 7))
    rows, columns = np.indices(scan.shape)
    dark = 255 - scan[window]
    assert (dark * columns[window]).sum() / dark.sum() == pytest.approx(x, abs=0.1)
    assert (dark * rows[window]).sum() / dark.sum() == pytest.approx(y, abs=0.1)


def test_the_verso_shows_through_mirrored() -> None:
    verso = np.full((100, 100), 255, np.uint8)
    verso[:, :20] = 0
    page = bleed_through(np.full((100, 100), 200, np.float32), verso, 0.2)
    assert page[50, 5] == pytest.approx(200)
    assert page[50, 95] == pytest.approx(160, abs=1)


def test_paper_has_its_tone() -> None:
    sheet = paper((300, 200), np.random.default_rng(0), tone=210)
    assert sheet.shape == (300, 200)
    assert sheet.mean() == pytest.approx(210, abs=8)
    assert 1 < sheet.std() < 15


def test_jpeg_writes_a_smaller_file_at_lower_quality() -> None:
    picture = photograph("cat")
    low, high = jpeg(picture, 30), jpeg(picture, 90)
    assert len(low) < len(high)
    with Image.open(io.BytesIO(low)) as image:
        assert image.size == (picture.shape[1], picture.shape[0])


def test_prose_has_the_length_asked_for() -> None:
    words = prose(np.random.default_rng(0), 500)
    assert 500 <= len(words) < 700
    assert words[-1] == "¶"


@pytest.mark.parametrize("columns", [1, 2, 3, 4])
def test_a_page_is_filled_within_its_margins(columns: int) -> None:
    page, placements = compose_page(np.random.default_rng(4), Style(columns, running_head="Head"), [])
    ink = page < 128
    assert placements == []
    assert page.shape == (1400, 1000)
    assert not ink[:, :60].any()
    assert not ink[:, -60:].any()
    assert ink[1300:].any()
    assert 0.03 < ink.mean() < 0.2


@pytest.mark.parametrize(
    "plate",
    [
        Plate("pagoda"),
        Plate("pagoda", "mirrored"),
        Plate("pagoda", "inverted"),
        Plate("pagoda", turns=1),
        Plate("pagoda", "mirrored+inverted", turns=3, keep=0.7),
        Plate("coins", process="engraving", keep=1.0),
    ],
)
def test_the_truth_about_a_plate_is_exact(plate: Plate) -> None:
    page, (placement,) = compose_page(np.random.default_rng(7), Style(2), [plate])
    picture = grey(plate.picture)
    # Bring the print back onto the photograph by the stated map, and find the shift that is left.
    back = cv2.warpPerspective(
        page, placement.transform.matrix, picture.shape[::-1], flags=cv2.WARP_INVERSE_MAP | cv2.INTER_AREA
    )
    if "inverted" in plate.relation:
        back = 255 - back
    corners = placement.transform.inverse().apply(placement.visible)
    left, top = np.ceil(corners.min(axis=0) + 6).astype(int)
    right, bottom = np.floor(corners.max(axis=0) - 6).astype(int)
    ours, theirs = (
        cv2.GaussianBlur(image, (0, 0), 4)[top:bottom, left:right].astype(np.float32) for image in (picture, back)
    )
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.95
    # Least squares: theirs = gain · ours + offset + gradient · shift.
    down, across = np.gradient(ours)
    terms = np.column_stack([across.ravel(), down.ravel(), ours.ravel(), np.ones(ours.size)])
    fitted = np.linalg.lstsq(terms, theirs.ravel(), rcond=None)[0]
    assert np.hypot(*fitted[:2]) / fitted[2] < 0.2
    assert (placement.whole.min(axis=0) <= placement.visible.min(axis=0) + 1e-6).all()


@pytest.fixture(scope="module")
def first_pages() -> list[Page]:
    return list(islice(build_pages(), 3))


def test_the_collection_is_the_same_for_one_seed_only(first_pages: list[Page]) -> None:
    again, other = next(build_pages()), next(build_pages(seed=3))
    np.testing.assert_array_equal(first_pages[0].pixels, again.pixels)
    assert not np.array_equal(first_pages[0].pixels, other.pixels)


def test_pages_look_like_scans_of_print(first_pages: list[Page]) -> None:
    for page in first_pages:
        assert page.pixels.dtype == np.uint8
        assert 30 <= page.quality <= 60
        assert 150 < np.median(page.pixels) < 245
        assert (page.pixels < 100).mean() > 0.03
    assert [len(page.placements) for page in first_pages] == [1, 2, 0]
