"""What is kept when there is room for only so many features."""

from __future__ import annotations

import numpy as np
import pytest

from matcher.selection import choose, picture_likeness


def test_everything_is_kept_where_there_is_room():
    ones = np.ones(5)
    assert choose(ones, ones, ones, None).tolist() == choose(ones, ones, ones, 5).tolist() == [0, 1, 2, 3, 4]


def test_strong_large_and_picturelike_features_are_kept():
    sizes, responses = np.array([4.0, 4, 4, 8, 4, 1]), np.array([0.1, 0.2, 0.2, 0.1, 0.2, 0.9])
    likeness = np.array([1.0, 1, 0.1, 1, 0.9, 0.1])
    assert choose(sizes, responses, likeness, 3).tolist() == [1, 3, 4]
    assert choose(sizes, responses, likeness, 1).tolist() == [1]  # of equals the first


def test_there_may_be_nothing_to_choose_from():
    empty = np.zeros(0, dtype=np.float32)
    assert len(choose(empty, empty, empty, 3)) == 0
    likeness = picture_likeness(empty.reshape(0, 2), empty.reshape(0, 4), empty, empty, np.zeros(7, np.float32))
    assert likeness.shape == (0,)


def neighbourhoods() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the places of two crowds of features 600 pixels apart, which crowd each is of, and descriptors."""
    rng = np.random.default_rng(0)
    places = np.concatenate([rng.uniform(0, 200, (300, 2)), rng.uniform(800, 1000, (300, 2))]).astype(np.float32)
    crowd = np.repeat([0, 1], 300)
    # Each descriptor says little of its crowd: one in three says the contrary.
    says = np.where(rng.random(600) < 1 / 3, 1 - crowd, crowd)
    return places, crowd, np.eye(2, dtype=np.float32)[says]


def test_a_neighbourhood_is_judged_by_all_that_lies_in_it():
    places, crowd, descriptors = neighbourhoods()
    ones = np.ones(len(places), np.float32)
    weights = np.array([-1, 1, 0, 0, 0], np.float32)
    likeness = picture_likeness(places, descriptors, ones, ones, weights)
    assert ((likeness > 0) & (likeness < 1)).all()
    assert likeness[crowd == 1].min() > 0.5 > likeness[crowd == 0].max()


@pytest.mark.parametrize(("which", "constant"), [("sizes", -1), ("responses", -5)])
def test_size_and_strength_weigh_too(which, constant):
    places, crowd, descriptors = neighbourhoods()
    ones = np.ones(len(places), np.float32)
    values = {"sizes": ones, "responses": ones, which: np.where(crowd == 1, 8, 1).astype(np.float32)}
    weights = np.array([0, 0, which == "sizes", which == "responses", constant], np.float32)
    likeness = picture_likeness(places, descriptors, values["sizes"], values["responses"], weights)
    assert likeness[crowd == 1].min() > likeness[crowd == 0].max()


def test_weight_one_alone_decides_where_nothing_is_known():
    places, _, descriptors = neighbourhoods()
    ones = np.ones(len(places), np.float32)
    for constant in (-1, 1):
        likeness = picture_likeness(places, descriptors, ones, ones, np.array([0, 0, 0, 0, constant], np.float32))
        assert ((likeness > 0.5) == (constant > 0)).all()
