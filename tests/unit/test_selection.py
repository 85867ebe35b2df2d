"""What is kept when there is room for only so many features."""

from __future__ import annotations

import numpy as np
import pytest

from matcher.selection import LEAST_LIKENESS, PictureNetwork, choose, picture_likeness, surroundings


def test_everything_is_kept_where_there_is_room():
    ones = np.ones(5)
    assert choose(ones, ones, ones, None).tolist() == choose(ones, ones, ones, 5).tolist() == [0, 1, 2, 3, 4]


def test_strong_large_and_picturelike_features_are_kept():
    sizes, responses = np.array([4.0, 4, 4, 8, 4, 1]), np.array([0.1, 0.2, 0.2, 0.1, 0.2, 0.9])
    likeness = np.array([1.0, 1, 0.1, 1, 0.9, 0.1])
    assert choose(sizes, responses, likeness, 3).tolist() == [1, 3, 4]
    assert choose(sizes, responses, likeness, 1).tolist() == [1]  # of equals the first


def test_type_is_left_out_but_for_a_few():
    likeness = np.concatenate([np.full(500, 0.9), np.full(2000, LEAST_LIKENESS / 2)])
    ones = np.ones(len(likeness))
    assert choose(ones, ones, likeness, 400).tolist() == list(range(400))
    assert choose(ones, ones, likeness, 2000).tolist() == list(range(500))
    only_type = likeness[500:]
    assert len(choose(ones[500:], ones[500:], only_type, 2000)) == 300
    assert len(choose(ones[500:], ones[500:], only_type, 100)) == 100


def test_there_may_be_nothing_to_choose_from():
    empty = np.zeros(0, dtype=np.float32)
    assert len(choose(empty, empty, empty, 3)) == 0
    likeness = picture_likeness(empty.reshape(0, 2), empty.reshape(0, 4), empty, empty, np.zeros(7, np.float32))
    assert likeness.shape == (0,)


def random_network(d: int) -> PictureNetwork:
    rng = np.random.default_rng(1)
    blank = PictureNetwork.blank(d)
    return PictureNetwork(*(rng.normal(size=part.shape).astype(np.float32) for part in blank))


def test_a_network_is_the_same_packed_and_unpacked():
    network = random_network(8)
    again = PictureNetwork.unpacked(network.packed(), 8)
    for part, other in zip(network, again, strict=True):
        np.testing.assert_array_equal(part, other)
    with pytest.raises(ValueError, match="no network for 9 components"):
        PictureNetwork.unpacked(network.packed(), 9)


def crowds() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the places of two crowds of features 800 pixels apart, which crowd each is of, and descriptors."""
    rng = np.random.default_rng(0)
    places = np.concatenate([rng.uniform(0, 200, (300, 2)), rng.uniform(1000, 1200, (300, 2))]).astype(np.float32)
    crowd = np.repeat([0, 1], 300)
    # Each descriptor says little of its crowd: one in three says the contrary.
    says = np.where(rng.random(600) < 1 / 3, 1 - crowd, crowd)
    return places, crowd, np.eye(16, dtype=np.float32)[says]


def test_surroundings_tell_what_lies_around():
    places, crowd, descriptors = crowds()
    ones = np.ones(len(places), np.float32)
    seen = surroundings(places, descriptors, ones, ones, np.zeros(16, np.float32), np.eye(16, dtype=np.float32))
    own, widest = seen[:, 1], seen[:, -19:-1][:, 1]  # the second component, alone and averaged over the widest reach
    assert ((own > 0) != (crowd == 1)).mean() > 0.3
    assert widest[crowd == 1].min() > widest[crowd == 0].max()


@pytest.mark.parametrize("column", [1, 16, 17])
def test_likeness_weighs_what_the_network_says(column):
    """A network that looks at one column's mean over the widest reach: second component, size, strength."""
    places, crowd, descriptors = crowds()
    sizes = np.where(crowd == 1, 8, 2).astype(np.float32)
    blank = PictureNetwork.blank(16)
    np.fill_diagonal(blank.directions, 1)
    last = len(blank.hidden) - 19 + column
    blank.hidden[last, 0], blank.hidden[last, 1] = 1, -1
    blank.output[:2] = 1, -1
    likeness = picture_likeness(places, descriptors, sizes, sizes / 10, blank.packed())
    assert ((likeness > 0) & (likeness < 1)).all()
    assert likeness[crowd == 1].min() > likeness[crowd == 0].max()
