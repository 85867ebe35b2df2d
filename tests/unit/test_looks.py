"""Several looks at an image: what is seen turned and mirrored is told of the image as it is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matcher.detection import Detection
from matcher.images import Scan
from matcher.looks import Look, agreed, mean_of_looks, pixel_looks, region_looks
from matcher.types import Region

LOOKS = st.builds(Look, st.just(1.0), st.integers(0, 3), st.booleans())


@settings(deadline=None)
@given(LOOKS, st.integers(8, 40), st.integers(8, 40), st.integers(0, 1000))
def test_a_thing_lies_where_it_was(look, high, wide, seed):
    rng = np.random.default_rng(seed)
    left, top = rng.integers(0, wide - 4), rng.integers(0, high - 4)
    pixels = np.zeros((high, wide, 3), np.uint8)
    pixels[top : top + 3, left : left + 4] = 255
    seen = look.scan(Scan(pixels, 2 * wide, 3 * high, 2.0, 3.0))
    assert seen.pixels.shape[0] * seen.scale_y == seen.height
    assert seen.pixels.shape[1] * seen.scale_x == seen.width
    rows, columns = np.nonzero(seen.pixels[..., 0])
    points = np.column_stack([columns, rows]).astype(float)
    scale = np.array([seen.scale_x, seen.scale_y])
    low, size = (points.min(axis=0) + 0.5) * scale - 0.5, np.ptp(points, axis=0) * scale + 1e-3
    outline = (points[[0, -1]] + 0.5) * scale - 0.5
    one = look.found(Detection(Region(*low, *size), "a", 0.5, (outline,)), (2 * wide, 3 * high))
    expected = np.array([left, top, left + 3, top + 2]) * [2, 3, 2, 3] + [0.5, 1, 0.5, 1]
    told = [one.box.x, one.box.y, one.box.x + one.box.width, one.box.y + one.box.height]
    np.testing.assert_allclose(told, expected, atol=0.01)
    assert sorted(one.polygons[0][:, 0]) == pytest.approx([expected[0], expected[2]], abs=0.01)
    maps = seen.pixels.transpose(2, 0, 1)
    np.testing.assert_array_equal(look.undone(maps), pixels.transpose(2, 0, 1))


def test_looks_of_what_does_not_care_agree():
    pixels = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    looks = pixel_looks(8, "any", True)
    assert len(set(looks)) == 8
    said = mean_of_looks(pixels, looks, lambda tile: tile.transpose(2, 0, 1).astype(np.float32))
    np.testing.assert_allclose(said, pixels.transpose(2, 0, 1), atol=1e-3)


def test_nothing_is_turned_that_must_not_be():
    assert pixel_looks(8, "slight", False) == (Look(),)
    assert pixel_looks(8, "slight", True) == (Look(), Look(mirrored=True))
    assert {look.quarters for look in region_looks(3, "slight")} == {0}
    assert {look.quarters for look in region_looks(3, "any")} == {0, 2}
    assert region_looks(1, "any") == (Look(),)


def test_looks_agree_on_the_mean_of_what_each_says():
    triangle = np.array([[10.0, 10], [30, 10], [30, 30]])
    first = [
        Detection(Region(10, 10, 20, 20), "a", 0.8, (triangle,)),
        Detection(Region(11, 10, 20, 20), "b", 0.3),
        Detection(Region(60, 60, 10, 10), "a", 0.6),
    ]
    second = [Detection(Region(14, 10, 20, 20), "a", 0.4), Detection(Region(11, 10, 20, 20), "a", 0.2)]
    one, alone, other = agreed([first, second])
    assert one.score == pytest.approx(0.6)
    assert one.box.as_list() == pytest.approx([10 + 4 / 3, 10, 20, 20])
    np.testing.assert_allclose(one.polygons[0], triangle + np.array([4 / 3, 0]))
    assert (alone.box.x, alone.score) == (60, pytest.approx(0.3))  # one look saw nothing there
    assert (other.label, other.score) == ("b", pytest.approx(0.15))
    assert agreed([first]) == first
    assert agreed([[], []]) == []
