"""Detections as such: outlines of masks and back, areas, moves; and how they are kept in a catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as arrays

from index.catalogue import Catalogue, ImageRecord
from index.detections import USER
from index.settings import Settings
from matcher.detection import Detection, box_around, mask_of, polygons_of, surest_first
from matcher.types import Region, Transform

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SETTINGS = Settings(vocabulary="tiny", vocabulary_hash="0")
BOX = Region(10, 20, 30, 40)


def record(number: int, width: int = 100, height: int = 80) -> ImageRecord:
    return ImageRecord(number, "a.png", "/a.png", 0, number, 0, b"", width, height, 0, None)


@pytest.fixture
def catalogue(tmp_path: Path) -> Iterator[Catalogue]:
    Catalogue.create(tmp_path / "catalogue.sqlite", SETTINGS)
    opened = Catalogue(tmp_path / "catalogue.sqlite", writable=True)
    with opened.transaction():
        opened.add_image(record(1))
    yield opened
    opened.close()


@given(arrays.arrays(bool, arrays.array_shapes(min_dims=2, max_dims=2, max_side=4)))
def test_the_outlines_of_a_small_mask_give_it_back(mask):
    polygons = polygons_of(mask)
    assert bool(polygons) == mask.any()
    np.testing.assert_array_equal(mask_of(polygons, mask.shape), mask)


def test_a_mask_with_a_hole_has_two_outlines_and_the_area_of_its_pixels():
    mask = np.zeros((60, 80), bool)
    mask[10:50, 20:60] = True
    mask[20:40, 30:50] = False
    outer, inner = polygons_of(mask, 2.0, 3.0)
    assert sorted(map(tuple, outer.tolist())) == [(39.5, 29.5), (39.5, 149.5), (119.5, 29.5), (119.5, 149.5)]
    np.testing.assert_array_equal(mask_of((outer, inner), mask.shape, 2.0, 3.0), mask)
    assert Detection(BOX, "ring", 1.0, (outer, inner)).area == pytest.approx(mask.sum() * 6, rel=0.01)
    assert Detection(BOX, "box", 1.0).area == 1200


def test_specks_of_a_mask_are_left_out():
    mask = np.zeros((90, 90), bool)
    mask[5:75, 5:75] = True
    mask[85, 85] = True
    assert len(polygons_of(mask)) == 1


def test_a_detection_moves_with_its_image():
    quarter = Transform(np.array([[0.0, -1, 99], [1, 0, 0], [0, 0, 1]]))  # 100 pixels high, turned clockwise
    polygon = np.array([[10.0, 20], [40, 20], [40, 60]])
    moved = Detection(BOX, "x", 0.5, (polygon,), np.array([[10.0, 20]])).moved(quarter)
    assert moved.box == box_around(np.array([[79.0, 10], [79, 40], [39, 40]]))
    assert moved.landmarks is not None
    assert moved.landmarks.tolist() == [[79.0, 10.0]]
    assert Detection(BOX, "x", 0.5).moved(quarter).box == Region(39, 10, 40, 30)


def test_equal_scores_have_an_order_of_their_own():
    found = [Detection(Region(x, 0, 1, 1), label, 0.5) for x, label in ((2, "b"), (1, "b"), (3, "a"))]
    assert surest_first(found) == surest_first(found[::-1]) == [found[2], found[1], found[0]]


def test_what_was_looked_for_is_known_where_nothing_was_found(catalogue):
    detections = catalogue.detections
    assert detections.images() == set()
    with catalogue.transaction():
        detections.enter(1, "tiny-1()", [], min_score=0.3)
    assert detections.images() == {1}
    assert detections.looked_for(1, "tiny-1()") == {"": 0.3}
    assert detections.looked_for(1, "other-1()") == {}
    assert list(detections.all()) == []


def test_a_phrase_looked_for_leaves_others_alone(catalogue):
    detections = catalogue.detections
    polygon, points = np.array([[1.0, 2], [3, 4], [5, 7.04]]), np.array([[1.0, 2.0]])
    with catalogue.transaction():
        detections.enter(1, "m", [Detection(BOX, "dog", 0.51, (polygon,), points)], ["dog"], 0.1)
        detections.enter(1, "m", [Detection(BOX, "cat", 0.6)] * 2, ["cat"], 0.2)
        detections.enter(1, "m", [Detection(BOX, "cat", 0.7)], ["cat"], 0.2)
    dog, cat = detections.counting(1)
    assert (dog.detection.label, cat.detection.label, cat.detection.score) == ("dog", "cat", 0.7)
    np.testing.assert_allclose(dog.detection.polygons[0], polygon, atol=0.05)
    assert dog.detection.landmarks.tolist() == points.tolist()
    assert detections.looked_for(1, "m") == {"cat": 0.2, "dog": 0.1}


def test_a_person_is_right_about_what_she_speaks_of_whenever_the_detector_runs(catalogue):
    detections = catalogue.detections
    with catalogue.transaction():
        detections.enter(1, "m", [Detection(BOX, "dog", 0.5), Detection(BOX, "face", 0.9)])
        detections.enter(1, USER, [Detection(BOX, "cat", 1.0)], ["dog", "cat"])
    told = [(one.detection.label, one.origin) for one in detections.counting(1)]
    assert told == [("face", "m"), ("cat", USER)]
    with catalogue.transaction():
        detections.enter(1, "m", [Detection(BOX, "dog", 0.8)])
    assert [one.origin for _, known in detections.all() for one in known] == [USER]
    assert len(detections.of(1)) == 2


def test_of_a_changed_file_what_persons_said_stays_and_detectors_are_to_look_again(catalogue):
    polygon = np.array([[10.0, 20], [40, 20], [40, 60]])
    with catalogue.transaction():
        catalogue.detections.enter(1, "m", [Detection(BOX, "dog", 0.5)])
        catalogue.detections.enter(1, USER, [Detection(BOX, "cat", 1.0, (polygon,))], ["cat", "dog"])
        catalogue.add_image(record(2, 200, 240))
    (cat,) = catalogue.detections.of(2)
    assert cat.detection.box == Region(20, 60, 60, 120)
    assert catalogue.detections.looked_for(2, USER) == {"cat": 0.0, "dog": 0.0}
    assert catalogue.detections.looked_for(2, "m") == {}
    assert catalogue.detections.of(1) == []
