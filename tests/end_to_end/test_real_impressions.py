"""Woodblocks on real pages, through the real code: found where they are, the other way round too, and nowhere else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import pytest

from index.answers import Answer, Query
from index.search import search
from index.store import Index
from matcher.types import Region

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.compiled

BLOCKS = ("blk002", "blk021", "blk026")
"""An initial of 125 px, an ornament, an illustration in two editions; all of part dev."""


@pytest.fixture(scope="module")
def impressions(shared_data: Path) -> list[dict[str, Any]]:
    queries = json.loads((shared_data / "pages" / "blocks.json").read_text(encoding="utf-8"))["queries"]
    return [query for query in queries if query["block"] in BLOCKS and query["part"] == "dev"]


@pytest.fixture(scope="module")
def pages(
    shared_data: Path, impressions: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Index]:
    """The pages of the blocks and a few others."""
    root = shared_data / "pages"
    others = sorted((root / "images").iterdir())[::60]
    with Index.create(tmp_path_factory.mktemp("real") / "pages.calque") as index:
        report = index.add([*sorted({root / query["image"] for query in impressions}), *others], workers=0)
        assert not report.failed
        yield index


def ask(pages: Index, image: Path, region: Region | None) -> Answer:
    (answer,) = search(pages, [Query("q", image, region)], max_false_alarms=1e-3)
    assert answer.error is None
    return answer


def places(answer: Answer, own: str) -> dict[str, Region]:
    """Return the surest place on each page but the query's own."""
    found: dict[str, Region] = {}
    for hit in answer.hits:
        if Path(hit.image).name != own:
            found.setdefault(Path(hit.image).name, hit.match.region)
    return found


def test_every_impression_is_found_in_its_place_and_nothing_else(
    pages: Index, impressions: list[dict[str, Any]], shared_data: Path
) -> None:
    missed = 0
    for query in impressions:
        image = shared_data / "pages" / query["image"]
        found = places(ask(pages, image, Region(*query["region"])), image.name)
        expected = {Path(place["image"]).name: Region(*place["region"]) for place in query["positives"]}
        assert set(found) <= set(expected)
        missed += len(set(expected) - set(found))
        for name, region in found.items():
            assert region.iou(expected[name]) >= 0.5
    assert missed <= 2  # the worn initials of blk002 are the hardest of part dev


@pytest.mark.parametrize("relation", ["mirrored", "inverted", "mirrored+inverted"])
def test_copies_the_other_way_round_are_told_as_such(
    pages: Index, impressions: list[dict[str, Any]], shared_data: Path, tmp_path: Path, relation: str
) -> None:
    query = next(query for query in impressions if query["block"] == "blk026")
    x, y, width, height = (round(value) for value in query["region"])
    pixels = cv2.imread(str(shared_data / "pages" / query["image"]), cv2.IMREAD_GRAYSCALE)
    assert pixels is not None
    cut = pixels[y : y + height, x : x + width]
    cut = cut[:, ::-1] if "mirrored" in relation else cut
    cut = 255 - cut if "inverted" in relation else cut
    cv2.imwrite(str(tmp_path / "cut.png"), cut)
    hits = ask(pages, tmp_path / "cut.png", None).hits
    assert {Path(hit.image).name for hit in hits} == {
        Path(place["image"]).name for place in [query, *query["positives"]]
    }
    assert {hit.match.relation for hit in hits} == {relation}
    assert all(abs(hit.match.rotation) < 5 for hit in hits)
