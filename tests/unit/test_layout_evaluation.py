"""Figures for layouts: against pycocotools, against plain counting of pixels, and the rules for what is not judged."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from index.annotations import Zone
from index.items import SourceFailure, SourceItem
from index.layout_evaluation import ANY_PICTURE, evaluate, judge_page, summary
from index.layout_truth import images_of, known_layout, read_layout_truth
from index.layouts import PageLayout
from index.zones import PageZones
from matcher.errors import InputError
from matcher.layout import CLASSES, PICTURES, Layout, LayoutRegion
from matcher.layout_regions import layout_of_regions
from matcher.types import Region

if TYPE_CHECKING:
    from pathlib import Path

SIZE = (200, 300)


def zone(kind: str, *box: float, polygon: object = None) -> Zone:
    return Zone(kind, Region(*box), polygon=polygon)


def layout(*regions: LayoutRegion) -> Layout:
    return layout_of_regions(regions, *SIZE)


def region(kind: str, score: float, *box: float) -> LayoutRegion:
    return LayoutRegion(kind, Region(*box), score)


def reference(pages: list[tuple[list[Zone], Layout]], kinds: tuple[str, ...]) -> tuple[float, float]:
    """Return AP50 and AP50:95 of one class as pycocotools has them; what is ``other`` is a crowd."""
    images = [{"id": number, "width": SIZE[0], "height": SIZE[1]} for number in range(1, len(pages) + 1)]
    true, found = [], []
    for number, (zones, given_layout) in enumerate(pages, start=1):
        for known in zones:
            if known.kind in (*kinds, "other"):
                box = known.box.as_list()
                crowd = int(known.kind == "other")
                place = {"id": len(true) + 1, "image_id": number, "category_id": 1, "bbox": box}
                true.append({**place, "area": known.box.area, "iscrowd": crowd})
        for told in given_layout.pictures:
            if told.kind in kinds:
                place = {"image_id": number, "category_id": 1, "bbox": told.box.as_list()}
                found.append({**place, "score": told.score})
    with redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {"images": images, "annotations": true, "categories": [{"id": 1, "name": "it"}], "info": {}}
        truth.createIndex()
        judged = COCOeval(truth, truth.loadRes(found), "bbox")
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    return judged.stats[1], judged.stats[0]


BOX = st.tuples(st.integers(0, 150), st.integers(0, 240), st.integers(10, 60), st.integers(10, 60))


@st.composite
def pages_with_truth(draw: st.DrawFn, others: bool) -> list[tuple[list[Zone], Layout]]:
    """Draw pages on which some of what is found lies near what is true."""
    pages = []
    for _ in range(draw(st.integers(1, 3))):
        zones = [zone(draw(st.sampled_from(PICTURES)), *draw(BOX)) for _ in range(draw(st.integers(0, 4)))]
        regions = []
        for known in zones + [zone("text", *draw(BOX)) for _ in range(draw(st.integers(0, 3)))]:
            for _ in range(draw(st.integers(0, 2))):
                shifts = draw(st.tuples(*[st.integers(-8, 8)] * 4))
                x, y, wide, high = (edge + shift for edge, shift in zip(known.box.as_list(), shifts, strict=True))
                kind = known.kind if known.kind in PICTURES else draw(st.sampled_from(PICTURES))
                # Distinct scores: which of equals comes first is nobody's business.
                score = draw(st.floats(0.01, 0.98)) + 1e-6 * len(regions) + 1e-4 * len(pages)
                regions.append(region(kind, score, x, y, max(wide, 2), max(high, 2)))
        if others:
            zones += [zone("other", *draw(BOX)) for _ in range(draw(st.integers(0, 2)))]
        pages.append((zones, layout(*regions)))
    return pages


@settings(deadline=None, max_examples=60)
@given(pages_with_truth(others=False))
def test_average_precision_is_that_of_pycocotools(pages: list[tuple[list[Zone], Layout]]) -> None:
    figures = summary(judge_page(*page) for page in pages)["classes"]
    for name in (*PICTURES, ANY_PICTURE):
        kinds = PICTURES if name == ANY_PICTURE else (name,)
        found = any(told.kind in kinds for _, given_layout in pages for told in given_layout.pictures)
        if not figures[name]["true"]:
            assert figures[name]["ap50"] is None
        elif not found:
            assert figures[name]["ap50"] == figures[name]["ap50_95"] == 0
        else:
            expected = reference(pages, kinds)
            assert (figures[name]["ap50"], figures[name]["ap50_95"]) == pytest.approx(expected, abs=1e-9)


@settings(deadline=None, max_examples=60)
@given(pages_with_truth(others=True))
def test_what_lies_in_other_zones_is_not_counted_as_pycocotools_ignores_crowds(
    pages: list[tuple[list[Zone], Layout]],
) -> None:
    figures = summary(judge_page(*page) for page in pages)["classes"][ANY_PICTURE]
    if figures["true"] and any(given_layout.pictures for _, given_layout in pages):
        assert figures["ap50"] == pytest.approx(reference(pages, PICTURES)[0], abs=1e-9)


def test_a_worked_example() -> None:
    """Two true pictures: one found, a false one surer than the other, which is found second best."""
    truth = [zone("illustration", 10, 10, 50, 50), zone("illustration", 100, 100, 50, 50)]
    found = layout(
        region("illustration", 0.9, 10, 10, 50, 50),
        region("illustration", 0.8, 10, 200, 50, 50),
        region("illustration", 0.7, 100, 100, 50, 40),  # IoU 0.8
    )
    figures = summary([judge_page(truth, found)])["classes"]["illustration"]
    # Precision 1 up to recall 0.5 (51 recalls), then 2/3.
    assert figures["ap50"] == pytest.approx((51 + 50 * 2 / 3) / 101)
    at_most_80 = (51 + 50 * 2 / 3) / 101
    assert figures["ap50_95"] == pytest.approx((7 * at_most_80 + 3 * 51 / 101) / 10)
    assert (figures["true"], figures["found"]) == (2, 3)


def test_pictures_are_taken_out_of_the_text_that_holds_them() -> None:
    truth = [zone("initial", 20, 20, 40, 40), zone("text", 0, 0, 200, 300)]
    figures = summary([judge_page(truth, known_layout(truth, *SIZE))])
    assert figures["pixel_iou"]["initial"] == pytest.approx(1, abs=0.05)
    assert figures["pixel_iou"]["text"] == pytest.approx(1, abs=0.01)
    assert figures["pixel_iou"]["illustration"] is None


def test_pixels_are_counted_as_plainly_as_can_be() -> None:
    random = np.random.default_rng(5)
    true = [zone("text", 0, 0, 100, 300), zone("illustration", 100, 0, 100, 150)]
    labels = random.integers(0, len(CLASSES), (800, 533)).astype(np.uint8)
    figures = summary([judge_page(true, Layout(*SIZE, (), labels))])["pixel_iou"]
    rows, columns = np.mgrid[:800, :533]
    x, y = (columns + 0.5) / 533 * 200, (rows + 0.5) / 800 * 300
    text, picture = x < 100, (x >= 100) & (y < 150)
    for name, mask in (("text", text), ("illustration", picture), ("background", ~(text | picture))):
        given_mask = labels == CLASSES.index(name)
        plain = (mask & given_mask).sum() / (mask | given_mask).sum()
        assert figures[name] == pytest.approx(plain, abs=0.005)


def test_pixels_of_other_zones_are_not_judged_but_those_of_pictures_in_them_are() -> None:
    truth = [zone("other", 0, 0, 200, 150), zone("initial", 0, 0, 100, 100), zone("text", 0, 150, 200, 150)]
    everything = [region("text", 1, 0, 100, 200, 200), region("initial", 1, 0, 0, 100, 100)]
    figures = summary([judge_page(truth, layout(*everything))])["pixel_iou"]
    assert figures["text"] == pytest.approx(1, abs=0.01)
    assert figures["initial"] == pytest.approx(1, abs=0.03)


def test_false_pictures_are_counted_on_pages_without_any() -> None:
    text_only = [zone("text", 10, 10, 100, 100), zone("other", 120, 120, 60, 60)]
    pages = [
        judge_page(text_only, layout()),
        judge_page(text_only, layout(region("ornament", 0.5, 125, 125, 40, 40))),  # a stamp: neither right nor wrong
        judge_page(text_only, layout(region("initial", 0.5, 10, 10, 20, 20), region("ornament", 0.4, 0, 200, 50, 50))),
        judge_page([zone("initial", 10, 10, 20, 20)], layout(region("initial", 0.5, 100, 100, 20, 20))),
    ]
    figures = summary(pages)["text_only"]
    assert figures == {
        "text_only": 3,
        "with_false_pictures": 1,
        "share": pytest.approx(1 / 3),
        "false_pictures": 2,
        "per_page": pytest.approx(2 / 3),
    }
    assert pages[3].false_pictures is None


def test_nothing_to_judge_gives_no_figures() -> None:
    figures = summary([])
    assert figures["pages"] == 0
    assert set(figures["pixel_iou"].values()) == {None}
    assert figures["classes"][ANY_PICTURE] == {"true": 0, "found": 0, "ap50": None, "ap50_95": None}
    assert figures["text_only"]["share"] is None


def test_agreement_tells_good_pages_from_bad_ones() -> None:
    truth = [zone("text", 0, 0, 200, 100), zone("illustration", 0, 150, 200, 100)]
    good = judge_page(truth, known_layout(truth, *SIZE)).agreement
    bad = judge_page(truth, layout()).agreement
    assert (good, bad) == (pytest.approx(1, abs=0.02), 0)
    assert judge_page([], layout()).agreement == 1


# Truths


def record(image: str, part: str = "dev", **others: object) -> dict[str, object]:
    known = {"type": "initial", "label": "DropCapitalZone", "bbox": [20, 20, 40, 40], "polygon": None}
    return {"image": image, "width": 200, "height": 300, "part": part, "zones": [known], **others}


def test_lists_of_pages(tmp_path: Path) -> None:
    path = tmp_path / "layout.json"
    path.write_text(json.dumps([record("a.jpg"), record("b.jpg", part="test"), record("c.jpg")]))
    assert [page.image for page in read_layout_truth(path)] == ["a.jpg", "b.jpg", "c.jpg"]
    (page,) = read_layout_truth(path, "test")
    (known,) = page.on(400, 600)
    assert (known.kind, known.box.as_list()) == ("initial", [40, 40, 80, 80])
    with pytest.raises(InputError, match="no part is called 'train'; there are: dev, test"):
        read_layout_truth(path, "train")


@pytest.mark.parametrize("content", ['[{"image": 3}]', "[3]", '[{"zones": 1}]', "["])
def test_damaged_lists_of_pages(content: str, tmp_path: Path) -> None:
    path = tmp_path / "layout.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"layout\.json"):
        read_layout_truth(path)


def test_a_truth_must_be_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no ALTO, PAGE or COCO file there"):
        read_layout_truth(tmp_path)
    coco = tmp_path / "coco.json"
    coco.write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    with pytest.raises(InputError, match="leave --part out"):
        read_layout_truth(coco, "test")
    (tmp_path / "bad.xml").write_text("<alto")
    with pytest.raises(InputError, match="damaged XML"):
        read_layout_truth(tmp_path)


def test_images_of_a_truth_and_pages_that_it_does_not_know(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    pages = [PageZones(tmp_path / "t.json", name, SIZE, (zone("initial", 1, 1, 9, 9),)) for name in ("a.jpg", "b.jpg")]
    there, missing = images_of(pages)
    assert there == tmp_path / "a.jpg"
    assert isinstance(missing, SourceFailure)
    assert missing.name == "b.jpg"
    unscored: list[SourceFailure] = []
    found = [
        PageLayout(SourceItem(name, tmp_path / name, 0, 0, 0), layout(region("initial", 1, 1, 1, 9, 9)))
        for name in ("a.jpg", "x/b.jpg", "c.jpg")
    ]
    figures = evaluate(found, pages, unscored.append)
    assert figures["pages"] == 2
    assert figures["classes"]["initial"]["ap50"] == 1
    assert figures["unscored"] == 1
    assert [failure.name for failure in unscored] == ["c.jpg"]
