"""A small index of pages with pictures in known places: all of them are found, as they lie, and nothing else."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING
from unittest.mock import patch

import cv2
import numpy as np
import pytest

import index.adding
from index.answers import Query, answer_as_dict
from index.folder import SegmentFolder
from index.search import search
from index.store import Index
from matcher.errors import InputError
from matcher.types import Region
from tests.conftest import page_with, picture

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from index.answers import Answer, Hit

pytestmark = pytest.mark.compiled

SIDE = 400  # long side of the pictures, in pixels


@dataclass(frozen=True)
class Print:
    """A picture as it lies on a page."""

    page: str
    picture: str
    centre: tuple[float, float]
    scale: float = 0.8
    rotation: float = 0.0
    relation: str = "same"

    @property
    def matrix(self) -> NDArray[np.float64]:
        """From pixels of the picture to pixels of the page, shape (2, 3)."""
        height, width = picture(self.picture, SIDE).shape
        c, s = (self.scale * f(math.radians(self.rotation)) for f in (math.cos, math.sin))
        linear = np.array([[c, -s], [s, c]]) @ np.diag([-1.0 if "mirrored" in self.relation else 1.0, 1.0])
        middle = np.array([(width - 1) / 2, (height - 1) / 2])
        return np.column_stack([linear, np.array(self.centre) - linear @ middle])


PRINTS = (
    Print("plain", "camera", (340, 420)),
    Print("quarter", "chelsea", (360, 450), 0.9, 90),
    Print("half", "coffee", (350, 460), 1.0, 180),
    Print("tilted", "astronaut", (350.5, 440.25), 1.1, 37),
    Print("mirrored", "rocket", (330, 420), 0.9, -12, "mirrored"),
    Print("negative", "coins", (360, 400), 1.0, 3, "inverted"),
    Print("both", "retina", (350, 430), 1.0, 0, "mirrored+inverted"),
    Print("twice", "gravel", (250, 250), 0.7),
    Print("twice", "gravel", (480, 700), 0.8, 20),
    Print("again", "camera", (350, 600), 0.6, -90),
)
ONCE = [place for place in PRINTS if place.picture not in ("camera", "gravel")]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pictures by themselves, as files."""
    folder = tmp_path_factory.mktemp("pictures")
    for name in {place.picture for place in PRINTS}:
        cv2.imwrite(str(folder / f"{name}.png"), picture(name, SIDE))
    cv2.imwrite(str(folder / "unrelated.png"), picture("immunohistochemistry", SIDE))
    cv2.imwrite(str(folder / "blank.png"), np.full((300, 400), 240, np.uint8))
    (folder / "broken.png").write_text("this is no picture")
    return folder


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten pages: those of `PRINTS`, and one of nothing but type."""
    folder = tmp_path_factory.mktemp("source") / "scans"
    folder.mkdir()
    for seed, name in enumerate(sorted({"type"} | {place.page for place in PRINTS})):
        page = page_with(np.full((1, 1), 235, np.uint8), seed)
        for place in (place for place in PRINTS if place.page == name):
            pixels = picture(place.picture, SIDE)
            if "inverted" in place.relation:
                pixels = 255 - pixels
            size = page.shape[::-1]
            white = cv2.warpAffine(np.full_like(pixels, 255), place.matrix, size, flags=cv2.INTER_AREA)
            page[cv2.dilate(white, np.ones((25, 25))) > 0] = 235
            laid = cv2.warpAffine(pixels, place.matrix, size, flags=cv2.INTER_AREA)
            page = np.where(white == 255, laid, page)
        cv2.imwrite(str(folder / f"{name}.jpg"), page, [cv2.IMWRITE_JPEG_QUALITY, 85])
    return folder


@pytest.fixture(scope="module")
def pages(scans: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    """An index of `scans` in one segment."""
    with Index.create(tmp_path_factory.mktemp("index") / "pages.calque") as made:
        with contextlib.chdir(scans.parent):
            report = made.add(["scans"], workers=0)
        assert (report.added, len(made.segments)) == (10, 1)
        yield made


def ask(where: Index, image: Path, region: Region | None = None, **options: object) -> Answer:
    (answer,) = search(where, [Query("q", image, region)], **options)
    assert answer.error is None
    return answer


def names(answer: Answer) -> list[str]:
    return [hit.image for hit in answer.hits]


def told(answer: Answer) -> dict[str, object]:
    """Return an answer as it is printed, less the time it took."""
    return {key: value for key, value in answer_as_dict(answer).items() if key != "seconds"}


def assert_lies_as(hit: Hit, place: Print, offset: tuple[float, float] = (0, 0)) -> None:
    """Hold a hit of a whole picture to the truth."""
    height, width = picture(place.picture, SIDE).shape
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=float)
    match, true = hit.match, corners @ place.matrix[:, :2].T + place.matrix[:, 2]
    assert (hit.image, hit.page) == (f"scans/{place.page}.jpg", 0)
    assert match.relation == place.relation
    assert np.abs(match.polygon - true).max() < 3
    assert np.abs(match.transform.apply(corners) - true).max() < 3
    assert abs((match.rotation - place.rotation + 180) % 360 - 180) < 0.7
    assert match.scale == pytest.approx(place.scale, rel=0.01)
    assert match.transform.mirrored == ("mirrored" in place.relation)
    assert np.abs(match.transform.apply(match.query_points) - match.image_points).max() < 8
    assert len(match.query_points) >= match.inliers > 10


@pytest.mark.parametrize("place", ONCE, ids=lambda place: place.page)
def test_a_picture_is_found_as_it_lies(pages, pictures, place):
    answer = ask(pages, pictures / f"{place.picture}.png")
    assert names(answer) == [f"scans/{place.page}.jpg"]
    assert_lies_as(answer.hits[0], place)
    assert answer.hits[0].false_alarms < 1e-6


def test_two_prints_on_one_page_are_two_hits(pages, pictures):
    answer = ask(pages, pictures / "gravel.png")
    assert names(answer) == ["scans/twice.jpg"] * 2
    by_height = sorted(answer.hits, key=lambda hit: hit.match.region.y)
    for hit, place in zip(by_height, (place for place in PRINTS if place.picture == "gravel"), strict=True):
        assert_lies_as(hit, place)


def test_prints_on_two_pages_are_ranked_by_score(pages, pictures):
    answer = ask(pages, pictures / "camera.png")
    assert sorted(names(answer)) == ["scans/again.jpg", "scans/plain.jpg"]
    assert [hit.rank for hit in answer.hits] == [1, 2]
    assert answer.hits[0].score >= answer.hits[1].score
    for place in PRINTS:
        if place.picture == "camera":
            assert_lies_as(next(hit for hit in answer.hits if hit.image == f"scans/{place.page}.jpg"), place)


def test_a_region_of_a_page_is_found_on_other_pages_and_its_own(pages, scans):
    plain, again = (place for place in PRINTS if place.picture == "camera")
    x, y = plain.centre
    region = Region(x - 100, y - 100, 200, 200)
    answer = ask(pages, scans / "plain.jpg", region)
    assert sorted(names(answer)) == ["scans/again.jpg", "scans/plain.jpg"]
    for hit in answer.hits:
        if hit.image == "scans/plain.jpg":
            true = region.corners()
        else:
            back = np.linalg.inv(plain.matrix[:, :2])
            true = (region.corners() - plain.matrix[:, 2]) @ back.T @ again.matrix[:, :2].T + again.matrix[:, 2]
        assert np.abs(hit.match.polygon - true).max() < 3
        assert region.contains(hit.match.query_points).all()


def test_a_region_may_reach_over_the_edge(pages, pictures):
    answer = ask(pages, pictures / "astronaut.png", Region(-100, -100, 5000, 5000))
    assert names(answer) == ["scans/tilted.jpg"]
    assert_lies_as(answer.hits[0], next(place for place in PRINTS if place.page == "tilted"))


def test_a_page_finds_itself_first(pages, scans):
    for name in ("type", "tilted"):
        hit = ask(pages, scans / f"{name}.jpg").hits[0]
        assert hit.image == f"scans/{name}.jpg"
        assert hit.match.transform.matrix == pytest.approx(np.eye(3), abs=0.5)
        assert hit.match.relation == "same"
        assert hit.match.scale == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("name", ["blank", "unrelated"])
def test_what_is_nowhere_is_not_found(pages, pictures, name):
    assert ask(pages, pictures / f"{name}.png").hits == ()


def test_queries_that_cannot_be_asked_are_answered_beside_the_others(pages, pictures):
    coins = pictures / "coins.png"
    queries = [
        Query("broken", pictures / "broken.png"),
        Query("good", coins),
        Query("outside", coins, Region(5000, 10, 20, 20)),
        Query("absent", pictures / "absent.png"),
        Query("no such page", coins, page=3),
        Query("good again", coins),
    ]
    answers = list(search(pages, queries))
    assert [answer.id for answer in answers] == [query.id for query in queries]
    for answer in answers:
        if answer.id.startswith("good"):
            assert answer.error is None
            assert names(answer) == ["scans/negative.jpg"]
        else:
            assert answer.error is not None
            assert "\n" not in answer.error
            assert str(answer.image) in answer.error
            assert answer.hits == ()
    assert "outside the image" in str(answers[2].error)
    assert "error" in answer_as_dict(answers[0])
    assert "error" not in answer_as_dict(answers[1])


def test_no_queries_have_no_answers(pages):
    assert list(search(pages, [])) == []


def test_top_gives_the_best(pages, pictures):
    everything, best = (ask(pages, pictures / "camera.png", top=top) for top in (None, 1))
    assert told(best)["hits"] == told(everything)["hits"][:1]
    assert told(ask(pages, pictures / "camera.png", top=10)) == told(everything)


def test_fewer_false_alarms_allowed_leave_the_surer_hits(pages, scans):
    everything = ask(pages, scans / "plain.jpg")
    assert all(hit.false_alarms <= 1 for hit in everything.hits)
    limit = everything.hits[-1].false_alarms / 10
    surer = ask(pages, scans / "plain.jpg", max_false_alarms=limit)
    assert [hit.image for hit in everything.hits if hit.false_alarms <= limit] == names(surer)
    assert len(surer.hits) < len(everything.hits)


def test_only_the_relations_asked_for_are_looked_for(pages, pictures):
    rocket = pictures / "rocket.png"
    assert ask(pages, rocket, relations=("same",)).hits == ()
    assert names(ask(pages, rocket, relations=("mirrored",))) == ["scans/mirrored.jpg"]


@pytest.mark.parametrize("wrong", [{"top": 0}, {"top": -1}, {"max_false_alarms": 0.0}, {"max_false_alarms": math.nan}])
def test_wrong_limits_are_refused(pages, pictures, wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        list(search(pages, [Query("q", pictures / "coins.png")], **wrong))


def questions(pictures: Path, scans: Path) -> list[Query]:
    whole = [Query(name, pictures / f"{name}.png") for name in ("camera", "gravel", "retina", "broken", "unrelated")]
    return [*whole, Query("region", scans / "plain.jpg", Region(240, 320, 200, 200))]


def test_answers_do_not_depend_on_threads_or_company(pages, pictures, scans):
    queries = questions(pictures, scans)
    alone = [told(answer) for query in queries for answer in search(pages, [query], threads=1)]
    assert [told(answer) for answer in search(pages, queries, threads=2)] == alone
    assert [told(answer) for answer in search(pages, iter(queries), threads=1)] == alone


def test_answers_do_not_depend_on_segments_and_leave_out_what_is_removed(pages, pictures, scans, tmp_path):
    queries = questions(pictures, scans)
    expected = [told(answer) for answer in search(pages, queries)]
    with (
        Index.create(tmp_path / "parts.calque") as parts,
        patch.object(index.adding, "_BATCH_IMAGES", 3),
        patch.object(SegmentFolder, "next_merge", lambda _: None),  # small segments would be merged at once
    ):
        with contextlib.chdir(scans.parent):
            parts.add(["scans"], workers=0)
        assert len(parts.segments) == 4
        assert [told(answer) for answer in search(parts, queries)] == expected
        parts.compact()
        assert len(parts.segments) == 1
        assert [told(answer) for answer in search(parts, queries)] == expected

        parts.remove(["scans/plain.jpg", "scans/negative.jpg"])
        for _ in range(2):
            assert names(ask(parts, pictures / "camera.png")) == ["scans/again.jpg"]
            assert ask(parts, pictures / "coins.png").hits == ()
            assert names(ask(parts, pictures / "rocket.png")) == ["scans/mirrored.jpg"]
            parts.compact()


def test_an_empty_index_has_no_hits(pictures, tmp_path):
    with Index.create(tmp_path / "empty.calque") as empty:
        assert ask(empty, pictures / "coins.png").hits == ()


def test_what_is_printed_everywhere_is_found_everywhere(tmp_path):
    """No cap: more images show the picture than any short list is long."""
    rng = np.random.default_rng(3)
    coins = cv2.resize(picture("coins", 256), (256, 202))
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(230):
        page = np.full((320, 320), rng.integers(120, 200), dtype=np.uint8)
        x, y = rng.integers(5, 60), rng.integers(5, 110)
        page[y : y + 202, x : x + 256] = coins
        cv2.imwrite(str(folder / f"{number:03}.png"), page)
    cv2.imwrite(str(tmp_path / "coins.png"), coins)
    with Index.create(tmp_path / "many.calque") as index:
        index.add([folder], workers=0)
        (answer,) = search(index, [Query("coins", tmp_path / "coins.png")])
    assert len({hit.image for hit in answer.hits}) == 230


def test_a_search_of_some_images_is_that_of_an_index_without_the_others(pages, pictures):
    chosen = frozenset(image.id for image in pages.images() if "again" in image.name or "tilted" in image.name)
    query = [Query("q", pictures / "camera.png")]
    (everything,), (some,), (none,) = (list(search(pages, query, only=only)) for only in (None, chosen, frozenset()))
    assert {hit.image for hit in everything.hits} > {hit.image for hit in some.hits}
    assert {hit.image for hit in some.hits} == {hit.image for hit in everything.hits if "again" in hit.image}
    assert none.hits == ()
