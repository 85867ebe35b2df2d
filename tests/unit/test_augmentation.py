"""Parts of annotated images: what is said of them lies where it is seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import matcher.painted_parts
import matcher.region_parts
from matcher.augmentation import Example, toned
from matcher.painted_parts import damage_laid_on, masked_part
from matcher.region_parts import evened, part_with, shape_of
from matcher.region_targets import IGNORED

if TYPE_CHECKING:
    from collections.abc import Iterator

SIDE = 128


@pytest.fixture(autouse=True, scope="module")
def _plain_tones() -> Iterator[None]:
    """Leave tones as they are, so that what is dark stays so."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matcher.region_parts, "toned", lambda pixels, rng: pixels)
        for module in (matcher.region_parts, matcher.painted_parts):
            patch.setattr(module, "relit", lambda pixels, rng, swapped=0.0: pixels)
        yield


def disc_page(radius: int = 22) -> Example:
    """Return a bright page with one dark disc, whose outline is known."""
    pixels = np.full((300, 240, 3), 230, np.uint8)
    cv2.circle(pixels, (130, 160), radius, (20, 20, 20), -1)
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    outline = np.array([130, 160]) + radius * np.column_stack([np.cos(angles), np.sin(angles)])
    return Example(pixels, np.zeros(1, np.int64), ((outline,),), np.ones(1, bool))


@given(st.integers(0, 10_000), st.sampled_from(["slight", "quarters", "any"]), st.booleans())
@settings(max_examples=40, deadline=None)
def test_boxes_and_cells_lie_where_things_are_seen(seed, turns, mirrored):
    rng = np.random.default_rng(seed)
    pixels, classes, boxes = part_with(disc_page(), rng, SIDE, on=0, turns=turns, mirrored=mirrored)
    dark = pixels.max(axis=2) < 90
    assert len(boxes) == 1
    _, left, top, right, bottom = boxes[0]
    inside = dark[max(0, round(top)) : round(bottom) + 1, max(0, round(left)) : round(right) + 1]
    assert inside.mean() > 0.6  # a disc fills 0.785 of the box around it
    ys, xs = np.nonzero(inside)
    assert np.ptp(xs) > 0.85 * (right - left) - 2
    assert np.ptp(ys) > 0.85 * (bottom - top) - 2
    cells = cv2.resize(dark.astype(np.float32), (SIDE // 4, SIDE // 4), interpolation=cv2.INTER_AREA)
    known = classes == 1
    assert known.any()
    assert cells[known].mean() > 0.7


def test_a_thing_of_another_page_is_laid_down_beside_what_is_there():
    blank = Example(np.full((300, 240, 3), 240, np.uint8), np.zeros(0, np.int64), (), np.zeros(0, bool))
    laid = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        pixels, classes, boxes = part_with(
            blank, rng, 160, on=None, turns="any", mirrored=False, guests=[(disc_page(), 0)]
        )
        for _, left, top, right, bottom in boxes:
            laid += 1
            middle = pixels[round((top + bottom) / 2), round((left + right) / 2)]
            assert middle.max() < 140
            assert classes[round((top + bottom) / 8), round((left + right) / 8)] == 1
    assert laid >= 12  # not on the black beside the page


def test_rare_shapes_are_drawn_as_often_as_common_ones():
    pixels = np.full((300, 240, 3), 230, np.uint8)
    bar = np.array([[20.0, 20], [120, 20], [120, 45], [20, 45]])
    turn = np.array([[0.8, -0.6], [0.6, 0.8]])
    bars = Example(pixels, np.zeros(2, np.int64), ((bar,), ((bar - 70) @ turn + 100,)), np.ones(2, bool))
    shapes = [shape_of(disc_page(radius), 0) for radius in (20, 22, 24, 21, 23, 22, 22, 22)]
    rare = [shape_of(bars, number) for number in (0, 1)]
    np.testing.assert_allclose(*rare, rtol=1e-4)  # however it lies
    chances = evened([*shapes, *rare])
    assert chances.sum() == pytest.approx(1)
    assert chances[-2:].sum() == pytest.approx(0.35, abs=0.03)  # two of ten, and one of two shapes
    np.testing.assert_allclose(evened([*shapes, None]), 1 / 9)


def test_what_is_cut_off_is_not_learned():
    example = disc_page()
    unsaid = 0
    for seed in range(60):
        _, classes, boxes = part_with(
            example, np.random.default_rng(seed), SIDE, on=None, turns="slight", mirrored=False
        )
        for _, left, top, right, bottom in boxes:
            assert (right - left) * (bottom - top) > 0.3 * 44**2 / 1.35**2
        unsaid += bool((classes == IGNORED).any())
    assert unsaid


def test_what_is_not_told_apart_is_not_learned():
    example = disc_page()
    crowd = Example(example.pixels, np.array([-1]), example.outlines, example.exact)
    _, classes, boxes = part_with(crowd, np.random.default_rng(1), SIDE, on=0, turns="slight", mirrored=False)
    assert not len(boxes)
    assert set(np.unique(classes)) == {0, IGNORED}


@pytest.mark.parametrize("seed", range(5))
def test_painted_pixels_turn_with_their_image(seed):
    pixels = np.full((200, 200, 3), 220, np.uint8)
    mask = np.zeros((200, 200), np.uint8)
    cv2.line(pixels, (20, 30), (180, 170), (10, 10, 10), 9)
    cv2.line(mask, (20, 30), (180, 170), 1, 9)
    part, classes = masked_part(
        pixels, mask, np.random.default_rng(seed), 96, centre=(100, 100), turns="any", mirrored=True
    )
    dark = part.max(axis=2) < 110
    on_image = classes != IGNORED
    both = (dark & (classes == 1) & on_image).sum()
    either = ((dark | (classes == 1)) & on_image).sum()
    assert both / either > 0.7


@pytest.mark.parametrize("depth", [-60, 50])
def test_damage_of_one_image_shows_on_another_as_it_does_there(depth):
    damage = np.zeros((64, 64), np.uint8)
    cv2.line(damage, (5, 10), (60, 50), 2, 5)
    rng = np.random.default_rng(1)
    other = np.clip(rng.normal(120, 3, (64, 64, 3)), 0, 255)
    other[damage > 0] += depth
    pixels = np.full((64, 64, 3), 90, np.uint8)
    pixels[:, 32:] = 0  # on black nothing is to be seen
    classes = np.zeros((64, 64), np.uint8)
    classes[:8] = IGNORED
    laid, told = damage_laid_on(pixels, classes, other.astype(np.uint8), damage, 1.0)
    inside = cv2.erode(damage, np.ones((3, 3), np.uint8)) > 0
    clear = inside & (np.arange(64) < 24)
    assert laid[clear].mean() == pytest.approx(90 * (120 + depth) / 120, rel=0.12)
    assert (told[clear & (classes == 0)] == 2).all()
    assert (told[(damage > 0) & (np.arange(64) > 44)] == IGNORED).all()
    assert (told[:8] == IGNORED).all()
    far = cv2.dilate(damage, np.ones((9, 9), np.uint8)) == 0
    np.testing.assert_array_equal(laid[far], pixels[far])


def test_parts_follow_from_their_seed():
    example = disc_page()
    drawn = [
        part_with(example, np.random.default_rng([7, 3]), SIDE, on=0, turns="any", mirrored=True) for _ in range(2)
    ]
    for one, other in zip(*drawn, strict=True):
        np.testing.assert_array_equal(one, other)


def test_tones_change_and_things_stay():
    pixels = disc_page().pixels
    seen = np.stack([toned(pixels, np.random.default_rng(seed)) for seed in range(30)])
    assert seen.dtype == np.uint8
    assert seen.shape == (30, *pixels.shape)
    disc, paper = seen[:, 155:165, 125:135].mean((1, 2, 3)), seen[:, 20:40, 20:40].mean((1, 2, 3))
    assert (paper - disc > 60).all()
    assert np.ptp(paper) > 30
