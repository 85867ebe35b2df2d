"""Which of the matches on one image are told."""

from __future__ import annotations

import numpy as np
import pytest

from index.verification import distinct
from matcher.types import Match, Transform

SIDE = 400.0


def match(shift: tuple[float, float], points: np.ndarray, sure: float, bend: float = 0.0) -> Match:
    """Return a match of a square of `SIDE` pixels, moved by `shift`, whose evidence are `points` of the query."""
    matrix = np.array([[1.0, 0.0, shift[0]], [0.0, 1.0, shift[1]], [0.0, 0.0, 1.0]])
    corners = np.array([[0.0, 0.0], [SIDE, 0.0], [SIDE, SIDE], [0.0, SIDE]]) + shift
    found = (points + shift + bend).astype(np.float32)
    return Match(Transform(matrix), "same", 0.0, 1.0, corners, points.astype(np.float32), found, len(points), sure)


def spread(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    return np.random.default_rng(1).uniform((left, top), (right, bottom), (30, 2))


def test_the_rest_of_a_picture_on_bent_paper_is_no_second_one() -> None:
    whole, edge = match((100, 50), spread(0, 100, 400, 400), -30), match((100, 50), spread(0, 0, 400, 90), -6, 8.0)
    assert distinct([edge, whole]) == [whole]


@pytest.mark.parametrize("shift", [(100, 500), (140, 50)])
def test_a_second_impression_is_told_even_beside_the_first(shift: tuple[float, float]) -> None:
    first, second = match((100, 50), spread(0, 100, 400, 400), -30), match(shift, spread(0, 0, 400, 90), -20)
    assert distinct([second, first]) == [first, second]


def test_the_same_evidence_is_told_once() -> None:
    first, again = match((100, 50), spread(0, 0, 400, 400), -30), match((160, 50), spread(0, 0, 340, 400), -20)
    assert distinct([first, again]) == [first]
