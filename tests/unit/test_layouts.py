"""Layouts of many pages: order, journal, failures, pages that are fetched; and how findings of none are written."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from index.exports import Finding, Sheet, by_sheet, coco
from index.fetching import Fetcher
from index.items import SourceFailure, SourceItem
from index.layout_files import Drawings, document, plain_page, write_layouts
from index.layout_journal import LayoutJournal
from index.layouts import PageLayout, score_of, segment, signature_of, surest
from index.page_files import alto, page_xml
from index.web_annotations import manifest
from matcher.errors import CalqueError, InputError
from matcher.layout import Layout, LayoutRegion
from matcher.layout_regions import layout_of_regions
from matcher.types import Region
from tests.iiif_server import image_body, manifest3, service, serving

if TYPE_CHECKING:
    from tests.conftest import Collection

POLYGON = np.array([[10.25, 10], [60, 12.5], [10, 80]])


def page_layout(name: str = "scans/p.jpg", *scores: float, page: int = 0) -> PageLayout:
    kinds = ("illustration", "text", "ornament", "initial")
    regions = [
        LayoutRegion(kind, Region(10 + 100 * number, 20, 80, 90), score)
        for number, (kind, score) in enumerate(zip(kinds, scores, strict=False))
    ]
    return PageLayout(SourceItem(name, Path("/archive") / name, page, 10, 20), layout_of_regions(regions, 500, 300))


# The journal


def test_a_journal_gives_back_what_was_entered(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    region = LayoutRegion("ornament", Region(1.25, 2, 30, 40.5), 0.123456, POLYGON)
    layout = Layout(500, 300, (region,), random.integers(0, 5, (75, 125)).astype(np.uint8))
    item = SourceItem(os.fsdecode(b"a\xff.jpg"), tmp_path / os.fsdecode(b"a\xff.jpg"), 3, 10, 20)
    with LayoutJournal(tmp_path, "classical-1()") as journal:
        assert journal.layout(item) is None
        journal.enter(item, layout, "drawn so")
    with LayoutJournal(tmp_path, "classical-1()") as journal:
        again = journal.layout(item)
        assert again is not None
        assert (again.labels == layout.labels).all()
        (read,) = again.regions
        assert (read.kind, read.score, read.box.as_list()) == ("ornament", 0.1235, [1.2, 2, 30, 40.5])
        assert read.polygon is not None
        assert read.polygon.tolist() == np.round(POLYGON, 1).tolist()
        assert journal.drawn(item) == "drawn so"
        for page, size, changed in ((4, 10, 20), (3, 11, 20), (3, 10, 21)):
            other = SourceItem(item.name, item.path, page, size, changed)
            assert journal.layout(other) is None
            assert journal.drawn(other) == ""
        journal.enter(item, layout_of_regions((), 500, 300), "")
        replaced = journal.layout(item)
        assert replaced is not None
        assert replaced.regions == ()


def test_a_journal_of_another_model_or_where_nothing_can_be_written(tmp_path: Path) -> None:
    LayoutJournal(tmp_path / "out", "classical-1()").close()
    with pytest.raises(InputError, match=r"another run \(model classical-1\(\), now kraken-1\(\)\); delete it"):
        LayoutJournal(tmp_path / "out", "kraken-1()")
    (tmp_path / "file").touch()
    with pytest.raises(CalqueError, match="give another folder"):
        LayoutJournal(tmp_path / "file" / "out", "classical-1()")


# Many pages


def names(pages: list[PageLayout | SourceFailure]) -> list[str]:
    return [page.name if isinstance(page, SourceFailure) else page.item.name.rpartition("/")[2] for page in pages]


def test_pages_come_in_the_order_of_their_sources_whatever_is_known(collection: Collection, tmp_path: Path) -> None:
    sources = [collection.page(name) for name in ("a/camera.jpg", "b/coins.jpg", "b/coffee.jpg", "a/rocket.jpg")]
    told: list[tuple[int, int]] = []
    with LayoutJournal(tmp_path, signature_of("classical")) as journal:
        options = {"model": "classical", "journal": journal, "workers": 0}
        first = list(segment([sources[2], sources[0]], **options))
        again = list(segment([*sources, tmp_path / "none.jpg"], **options, progress=lambda *at: told.append(at)))
    assert names(again[:4]) == ["camera.jpg", "coins.jpg", "coffee.jpg", "rocket.jpg"]
    assert isinstance(again[4], SourceFailure)
    assert told == [(k, 5) for k in range(1, 6)]
    known = {page.item.name: page.layout.regions for page in first if isinstance(page, PageLayout)}
    for page in again[:4]:
        assert isinstance(page, PageLayout)
        if page.item.name in known:
            boxes = [region.box.as_list() for region in known[page.item.name]]
            assert np.abs(np.array(boxes) - [r.box.as_list() for r in page.layout.regions]).max() <= 0.05


def test_a_model_that_cannot_be_is_told_before_anything_is_read(tmp_path: Path) -> None:
    for model, says in (("zone", "did you mean 'zones'"), ("onnx:none", "no such file"), ("zones:none", "none")):
        with pytest.raises(InputError, match=says):
            next(iter(segment([tmp_path], model)))
        with pytest.raises(InputError, match=says):
            signature_of(model)


def test_pages_of_a_manifest_are_fetched(tmp_path: Path) -> None:
    with serving() as library:
        library.documents["/m.json"] = manifest3(library, image_body(library, "a", service=[service(library, "a")]))
        fetcher = Fetcher(tmp_path / "cache", pause=0.0, allow_private=True)
        pages = list(segment([f"{library.address}/m.json"], "classical", workers=0, fetcher=fetcher))
    (page,) = pages
    assert isinstance(page, PageLayout), page
    (canvas,) = document("iiif", [page], "http://localhost/")["items"]
    assert canvas["id"] == "https://library.org/book/canvas/1"
    assert (canvas["width"], canvas["height"]) == (1800, 1200)


def test_what_is_sure_enough() -> None:
    layout = page_layout("p.jpg", 0.9, 0.2, 0.5).layout
    assert [region.kind for region in surest(layout, 0.5).regions] == ["illustration", "ornament"]
    assert surest(layout, 0.0).regions == layout.regions
    assert score_of("zones:x") == score_of("classical") == 0


# Drawings


def test_crops_of_an_earlier_state_are_taken_away(collection: Collection, tmp_path: Path) -> None:
    page = collection.page("b/coins.jpg")
    item = SourceItem("coins.jpg", page, 0, 1, 1)
    drawings = Drawings(tmp_path, overlays=False, crops=True, min_score=0.4)
    (tmp_path / "crops" / "coins-keep.txt").touch()
    regions = [
        LayoutRegion("initial", Region(10, 10, 40, 30), 0.5),
        LayoutRegion("ornament", Region(-9, 5, 30, 20), 0.3),
    ]
    drawings.draw(item, layout_of_regions(regions, 720, 960))
    (crop,) = (tmp_path / "crops").glob("*.png")
    assert crop.name.endswith("-001-initial.png")
    drawings.draw(item, layout_of_regions((), 720, 960))
    assert [path.name for path in (tmp_path / "crops").iterdir()] == ["coins-keep.txt"]
    assert not (tmp_path / "overlays").exists()
    assert drawings.told != Drawings(tmp_path, overlays=False, crops=True, min_score=0.5).told


# What is written


def test_pages_without_regions_are_pages_all_the_same(tmp_path: Path) -> None:
    pages = [page_layout("a.jpg", 0.9), page_layout("b.jpg"), page_layout("b.jpg", 0.5, 0.4, page=1)]
    told = document("coco", pages, "http://localhost/")
    assert [(image["file_name"], image["page"]) for image in told["images"]] == [
        ("a.jpg", 0),
        ("b.jpg", 0),
        ("b.jpg", 1),
    ]
    assert [note["image_id"] for note in told["annotations"]] == [1, 3, 3]
    assert [item["name"] for item in told["categories"]] == ["text", "illustration", "ornament", "initial"]
    assert len(document("iiif", pages, "http://localhost/")["items"]) == 3
    assert len(list(write_layouts(tmp_path, "alto", pages, "").iterdir())) == 3
    lines = write_layouts(tmp_path, "jsonl", pages, "").read_text("ascii").splitlines()
    assert [json.loads(line) for line in lines] == [plain_page(page) for page in pages]
    assert document("coco", [], "")["images"] == []


def test_findings_of_an_image_may_be_none() -> None:
    sheet, other = Sheet("a.jpg", 0, 100, 100), Sheet("b.jpg", 0, 100, 100)
    found = Finding(other, Region(1, 1, 9, 9).corners(), "it")
    assert by_sheet([found], [sheet]) == [(sheet, []), (other, [found])]
    assert [image["file_name"] for image in coco([found], [sheet])["images"]] == ["a.jpg", "b.jpg"]
    assert [len(canvas["annotations"][0]["items"]) for canvas in manifest([found], sheets=[sheet])["items"]] == [0, 1]


@pytest.mark.parametrize(
    ("kind", "in_alto", "in_page"),
    [
        ("illustration", "Illustration", ("ImageRegion", None)),
        ("ornament", "Illustration", ("GraphicRegion", "decoration")),
        ("initial", "Illustration", ("TextRegion", "drop-capital")),
        ("text", "TextBlock", ("TextRegion", None)),
    ],
)
def test_kinds_in_alto_and_page(kind: str, in_alto: str, in_page: tuple[str, str | None]) -> None:
    sheet = Sheet("a.jpg", 0, 100, 100)
    found = Finding(sheet, Region(1, 1, 9, 9).corners(), kind, kind=kind)
    (block,) = alto(sheet, [found]).iter(in_alto)
    assert block.get("TAGREFS") == "tag1"
    (region,) = page_xml(sheet, [found]).iter(in_page[0])
    assert region.get("type") == in_page[1]
