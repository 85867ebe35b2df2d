"""Same block, copy or unsure: prints made with known maps, known hands and known losses."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from benchmarks.wear import SCANNERS, age, ink, press, recut, relief, scan
from matcher.collation import Collation, Evidence, collate
from matcher.collation_drawings import break_map, deformation_field, ink_difference, side_by_side, two_colours
from matcher.deformation import Displacements, ThinPlate, displaced, displacements, fit_paper, flatten
from matcher.images import Scan
from matcher.tones import filtered_like, ink_depth, standardised
from matcher.types import Match, Region, Transform
from matcher.verdict import judge, weigh_wear

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLEAR = Evidence(300, 0.001, 200, 0.9, 0.99, 0.99, (0.3, 0.3), (2.0, 2.0), False)


def woodcut(seed: int = 3) -> NDArray[np.uint8]:
    """Return a cut of 600 × 480 pixels: frame, contours, hatching; black on white."""
    random = np.random.default_rng(seed)
    sheet = np.full((600, 480), 255, np.uint8)
    cv2.rectangle(sheet, (20, 20), (460, 580), 0, 6)
    for _ in range(26):
        centre = tuple(int(v) for v in random.uniform((60, 60), (420, 540)))
        axes = tuple(int(v) for v in random.uniform(15, 70, 2))
        cv2.ellipse(sheet, centre, axes, float(random.uniform(0, 180)), 0, float(random.uniform(120, 360)), 0, 4)
    for y in range(380, 560, 8):
        cv2.line(sheet, (40, y), (200, y - 20), 0, 2, cv2.LINE_AA)
    return sheet


def match_of(shape: tuple[int, ...], matrix: NDArray | None = None) -> Match:
    """Return the match that `matrix` (None: the identity) makes of a whole picture."""
    transform = Transform(np.eye(3) if matrix is None else matrix)
    points = np.random.default_rng(1).uniform((0, 0), shape[1::-1], (30, 2))
    corners = transform.apply(Region(0, 0, shape[1], shape[0]).corners())
    return Match(transform, "same", 0.0, 1.0, corners, points, transform.apply(points), 30, -20.0)


def scan_of(pixels: NDArray[np.uint8]) -> Scan:
    return Scan(pixels, pixels.shape[1], pixels.shape[0], 1.0, 1.0)


def collated(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> Collation:
    """Collate two pictures of nearly one shape, laid corner on corner."""
    matrix = np.diag([b.shape[1] / a.shape[1], b.shape[0] / a.shape[0], 1.0])
    return collate(scan_of(a), scan_of(b), match_of(a.shape, matrix))


def pulled(block: NDArray[np.float32], size: int, seed: int, scanner: int = 0) -> NDArray[np.uint8]:
    """Return an impression, straight on its sheet."""
    random = np.random.default_rng(seed)
    sheet = press(ink(age(block, 0.2, random), 0.2, random), size, 0.2, random, degrees=0)
    pixels = scan(sheet, SCANNERS[scanner], random)
    return pixels if pixels.ndim == 2 else np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)


@pytest.mark.parametrize("scanner", range(3))
@pytest.mark.parametrize("size", [150, 300])
def test_impressions_of_one_block_are_called_the_same(size: int, scanner: int) -> None:
    block = relief(woodcut())
    collation = collated(pulled(block, size, 1), pulled(block, round(1.1 * size), 2, scanner))
    assert judge(collation.evidence).verdict == "same", collation.evidence


@pytest.mark.parametrize("amount", [0.01, 0.02, 0.03])
@pytest.mark.parametrize("size", [150, 300])
def test_a_cut_by_another_hand_is_never_called_the_same(size: int, amount: float) -> None:
    block = relief(woodcut())
    other = recut(block, amount, np.random.default_rng(7))
    collation = collated(pulled(block, size, 1), pulled(other, size, 2))
    assert judge(collation.evidence).verdict != "same", collation.evidence


def test_other_hatching_within_the_same_contours_is_a_copy_or_unsure() -> None:
    first, second = woodcut(), woodcut()
    for sheet, slope in ((first, 30), (second, -30)):
        for y in range(60, 360, 5):
            cv2.line(sheet, (40, y), (440, y + slope), 0, 1, cv2.LINE_AA)
    assert judge(collated(first, second).evidence).verdict != "same"
    assert judge(collated(first, first).evidence).verdict == "same"


def test_broken_lines_are_found_where_they_are_and_order_the_prints() -> None:
    whole, worn = woodcut(), woodcut()
    breaks = [(120, 20), (240, 20), (360, 20), (20, 150), (20, 300), (460, 200), (460, 330), (200, 580), (330, 580)]
    for x, y in breaks:
        cv2.circle(worn, (x, y), 9, 255, -1)
    collation = collated(whole, worn)
    boxes = [collation.place(gap) for gap in collation.gaps_b[1]]
    for x, y in breaks:
        assert any(b.x - 8 <= x <= b.x + b.width + 8 and b.y - 8 <= y <= b.y + b.height + 8 for b in boxes), (x, y)
    assert collation.gaps_a[1] == []
    wear = weigh_wear(collation)
    assert (wear.earlier, wear.lost_on_a, wear.lighter) == ("a", 0, None)
    assert weigh_wear(collated(worn, whole)).earlier == "b"
    assert weigh_wear(collated(whole, whole)).earlier is None


@pytest.mark.parametrize(
    ("changed", "verdict"),
    [
        ({}, "same"),
        ({"agreement": 0.72}, "unsure"),
        ({"agreement": 0.5}, "copy"),
        ({"agreement": 0.5, "tonal": True}, "unsure"),
        ({"deformation": 0.01, "tonal": True}, "copy"),
        ({"deformation": 0.0024}, "unsure"),
        ({"deformation": 0.004, "resolution": 100.0}, "same"),
        ({"places": 5}, "unsure"),
        ({"resolution": 40.0}, "unsure"),
        ({"agreement": math.nan, "deformation": math.nan}, "unsure"),
    ],
)
def test_the_evidence_makes_the_verdict(changed: dict[str, float], verdict: str) -> None:
    judgement = judge(replace(CLEAR, **changed))
    assert judgement.verdict == verdict
    assert judgement.reasons


@pytest.mark.parametrize("picture", [np.full((90, 120), 255, np.uint8), np.zeros((9, 9), np.uint8)])
def test_blank_and_tiny_pictures_are_unsure_and_drawn_all_the_same(picture: NDArray[np.uint8]) -> None:
    collation = collated(picture, picture)
    assert judge(collation.evidence).verdict == "unsure"
    for draw in (break_map, deformation_field, ink_difference, side_by_side, two_colours):
        drawn = draw(collation)
        assert drawn.dtype == np.uint8
        assert drawn.ndim == 3


def test_drawings_colour_what_only_one_has() -> None:
    worn = woodcut()
    cv2.circle(worn, (240, 20), 12, 255, -1)
    collation = collated(woodcut(), worn)
    sheet = break_map(collation).astype(int)
    red = (sheet[..., 0] - sheet[..., 2]) > 120
    blue = (sheet[..., 2] - sheet[..., 0]) > 120
    assert red[:, : sheet.shape[1] // 2].any()
    assert not red[:, sheet.shape[1] // 2 :].any()
    assert not blue.any()


def test_displacements_are_found_to_a_tenth_of_a_pixel() -> None:
    a = cv2.GaussianBlur(woodcut(), (0, 0), 1.2)
    field = np.zeros((*a.shape, 2))
    field[..., 0], field[..., 1] = 1.6, -0.7
    b, _ = displaced(a, -field, np.ones(a.shape, np.bool_))
    valid = np.ones(a.shape, np.bool_)
    found = displacements(standardised(a, valid, 20), standardised(b, valid, 20), valid, 60, 6)
    seen = found.information[:, 0, 0] > np.median(found.information[:, 0, 0]) / 2
    assert np.median(np.abs(found.shifts[seen, 0] - 1.6)) < 0.1
    seen = found.information[:, 1, 1] > np.median(found.information[:, 1, 1]) / 2
    assert np.median(np.abs(found.shifts[seen, 1] + 0.7)) < 0.1


def test_what_paper_does_is_taken_off() -> None:
    a = cv2.GaussianBlur(woodcut(), (0, 0), 1.2)
    y, x = np.indices(a.shape) / 600
    field = np.stack([6 * (x - 0.4) ** 2 + 3 * x * y, 4 * y**2 - 3 * x], axis=-1)
    valid = np.ones(a.shape, np.bool_)
    b, _ = displaced(a, -field, valid)
    flat = flatten(a, b, valid)
    assert flat is not None
    paper, left = flat
    assert np.percentile(left.lengths(), 75) < 0.25
    assert np.abs(paper.field() - field)[60:-60, 60:-60].mean() < 0.3


def test_a_polynomial_displacement_is_fitted_exactly_but_for_outliers() -> None:
    random = np.random.default_rng(2)
    points = random.uniform(0, 400, (150, 2))
    shifts = np.column_stack([1 + points[:, 0] / 200, (points[:, 1] / 200) ** 2])
    shifts[::15] += 20
    found = Displacements(points, shifts, np.tile(np.eye(2), (150, 1, 1)), 0)
    left = found.beyond(fit_paper(found, 2, (400, 400))).lengths()
    assert np.percentile(left, 85) < 0.5


def test_a_thin_plate_passes_through_its_points_and_keeps_affine_maps() -> None:
    random = np.random.default_rng(4)
    points, shifts = random.uniform(0, 300, (30, 2)), random.normal(0, 2, (30, 2))
    np.testing.assert_allclose(ThinPlate(points, shifts, (300, 300))(points), shifts, atol=1e-6)
    affine = points @ np.array([[0.01, 0.02], [-0.01, 0.0]]) + 1
    elsewhere = random.uniform(0, 300, (40, 2))
    stiff = ThinPlate(points, affine, (300, 300), 0.5)
    np.testing.assert_allclose(stiff(elsewhere), elsewhere @ np.array([[0.01, 0.02], [-0.01, 0.0]]) + 1, atol=1e-6)
    np.testing.assert_allclose(stiff.field()[200, 100], stiff(np.array([[100.0, 200.0]]))[0], atol=0.02)


def test_a_round_filter_undoes_blur_and_cannot_move_lines() -> None:
    valid = np.ones((600, 480), np.bool_)
    sharp = ink_depth(woodcut(), valid, 30)
    soft = cv2.GaussianBlur(sharp, (0, 0), 1.5)
    assert np.abs(filtered_like(soft, sharp, valid, 1.0) - soft).mean() < 0.2 * np.abs(sharp - soft).mean()
    moved = np.roll(sharp, 5, axis=0)
    assert np.abs(filtered_like(moved, sharp, valid, 1.0) - moved).mean() > 0.05
