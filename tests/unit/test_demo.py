"""The demo's judge: it must not flatter."""

from __future__ import annotations

import numpy as np
import pytest

from cli.demo_pages import Page, build_pages
from cli.demo_truth import ASKED, NOWHERE, Expected, expected_for_photograph, expected_for_region, judge
from matcher.types import Match, Region, Relation, Transform

HERE = Expected("a.jpg", Region(100, 100, 200, 100), "same", 1.0)
THERE = Expected("b.jpg", Region(50, 60, 80, 90), "mirrored", 90.0)


def match_at(region: Region, relation: Relation = "same", rotation: float = 0.0) -> Match:
    none = np.empty((0, 2), np.float32)
    return Match(Transform(np.eye(3)), relation, rotation, 1.0, region.corners(), none, none, 9, -9.0)


def verdicts(*found: tuple[str, Match]) -> list[str]:
    return [finding.verdict for finding in judge([HERE, THERE], ((page, match, 1e-6) for page, match in found))]


def test_right_answers_are_right() -> None:
    both = ("b.jpg", match_at(Region(52, 60, 80, 92), "mirrored", 93.0)), ("a.jpg", match_at(HERE.region))
    assert verdicts(*both) == ["right", "right"]


def test_what_is_not_found_is_missed() -> None:
    assert verdicts() == ["missed", "missed"]


@pytest.mark.parametrize(
    ("page", "match"),
    [
        ("c.jpg", match_at(HERE.region)),
        ("b.jpg", match_at(HERE.region)),
        ("a.jpg", match_at(Region(100, 190, 200, 100))),
        ("a.jpg", match_at(HERE.region, "mirrored")),
        ("a.jpg", match_at(HERE.region, "inverted")),
        ("a.jpg", match_at(HERE.region, "same", 90.0)),
    ],
)
def test_another_page_place_relation_or_turn_is_wrong(page: str, match: Match) -> None:
    assert verdicts((page, match)) == ["wrong", "missed", "missed"]


def test_a_place_counts_once() -> None:
    assert verdicts(("a.jpg", match_at(HERE.region)), ("a.jpg", match_at(HERE.region))) == ["right", "again", "missed"]


def test_finding_what_is_nowhere_is_wrong() -> None:
    assert [finding.verdict for finding in judge([], [("a.jpg", match_at(HERE.region), 1e-9)])] == ["wrong"]


@pytest.fixture(scope="module")
def pages() -> list[Page]:
    return list(build_pages())


def test_the_truth_covers_every_relation(pages: list[Page]) -> None:
    places = {name: expected_for_photograph(pages, name) for name in (*ASKED, *NOWHERE)}
    assert all(places[name] for name in ASKED)
    assert not any(places[name] for name in NOWHERE)
    assert len(pages) == 32
    everything = [place for found in places.values() for place in found]
    assert {place.relation for place in everything} == {"same", "mirrored", "inverted"}
    assert sorted(round(place.rotation / 90) for place in everything if abs(place.rotation) > 5) == [-1]
    assert sum(len(found) > 1 for found in places.values()) >= 5


def test_a_cut_is_expected_where_it_was_cut_and_elsewhere(pages: list[Page]) -> None:
    box, places = expected_for_region(pages, "gazette/p01.jpg", "pagoda")
    assert [place.page for place in places] == ["gazette/p01.jpg", "review/p08.jpg"]
    assert places[0].region.iou(box) > 0.999
    assert places[0].rotation == pytest.approx(0, abs=1e-6)
    assert places[1].region.width < box.width
