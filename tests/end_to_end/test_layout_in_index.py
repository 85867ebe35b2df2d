"""Indexes that know the layout of their pages, through the command line, with the network that is shipped."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from index.store import Index
from matcher.layout import PICTURES
from matcher.types import Region
from tests.conftest import PLACE, page_with, picture

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Calque, Collection


def test_pages_get_a_layout_and_pictures_do_not(
    scans_index: Path, collection: Collection, photograph: Path, calque: Calque, tmp_path: Path
) -> None:
    with Index.open(scans_index) as opened:
        assert opened.settings.layout
        found = 0
        for image in opened.images():
            zones = opened.regions(image.id)
            assert {zone.origin for zone in zones} == {"layout"}
            assert any(zone.kind == "text" for zone in zones)
            box = Region(*collection.boxes[image.name.removeprefix("scans/")])
            found += any(zone.kind in PICTURES and zone.box.iou(box) > 0.7 for zone in zones)
        assert found >= 7  # of 8
    assert calque("add", tmp_path / "i.calque", photograph).returncode == 0
    with Index.open(tmp_path / "i.calque") as opened:
        assert [opened.regions(image.id) for image in opened.images()] == [[]]


def test_every_picture_of_a_page_is_asked_at_once(scans_index: Path, collection: Collection, calque: Calque) -> None:
    page = collection.page("b/coins.jpg")
    done = calque("search", scans_index, page, "--each-region", "--format", "jsonl", "--max-false-alarms", 1e-3)
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    best = max(answers, key=lambda answer: Region(*answer["region"]).iou(Region(*collection.boxes["b/coins.jpg"])))
    (hit,) = best["hits"]
    assert hit["image"] == "scans/b/coins.jpg"
    zone = hit["zone"]
    assert best["id"] == f"{zone['kind']} {zone['id']}"
    assert (zone["box"], zone["origin"]) == ([round(edge, 1) for edge in best["region"]], "layout")
    assert 0 < zone["score"] <= 1
    table = calque("search", scans_index, page, "--each-region", "--format", "csv", "--max-false-alarms", 1e-3)
    assert (best["id"], best["id"]) in [
        (row["query"], row["zone"]) for row in csv.DictReader(io.StringIO(table.stdout))
    ]


def test_what_a_hit_lies_on_goes_into_reports_and_exports(
    scans_index: Path, collection: Collection, photograph: Path, calque: Calque, tmp_path: Path
) -> None:
    done = calque(
        *("search", scans_index, photograph, "--max-false-alarms", 1e-3, "--format", "coco", "-o", tmp_path / "report")
    )
    assert done.returncode == 0, done.stderr
    (annotation,) = json.loads(done.stdout)["annotations"]
    assert annotation["zone_kind"] == "illustration"
    assert Region(*annotation["zone_box"]).iou(Region(*collection.boxes["a/camera.jpg"])) > 0.7
    report = (tmp_path / "report" / "report.html").read_text("utf-8")
    assert f"<dt>on</dt><dd>illustration {annotation['zone']}," in report


def test_pages_of_type_share_nothing(calque: Calque, tmp_path: Path) -> None:
    folder = tmp_path / "type"
    folder.mkdir()
    blank = np.full((300, PLACE[2]), 235, np.uint8)
    for number in range(2):
        cv2.imwrite(str(folder / f"{number}.png"), page_with(blank, number))
    cv2.imwrite(str(folder / "2.png"), page_with(picture("brick", PLACE[2]), 3))
    index = tmp_path / "type.calque"
    assert calque("add", index, folder, "--workers", 1).returncode == 0
    asked = calque("search", index, folder / "0.png", "--format", "json")
    assert {hit["image"] for hit in json.loads(asked.stdout)["hits"]} <= {"type/0.png"}
    none = calque("search", index, folder / "0.png", "--each-region")
    assert (none.returncode, none.stdout) == (1, "")
    assert "0.png: no pictures on it; ask for all of it" in none.stderr


@pytest.mark.parametrize(("made", "asked"), [("--layout", "--no-layout"), ("--no-layout", "--layout")])
def test_whether_layouts_are_looked_for_is_settled(
    made: str, asked: str, photograph: Path, calque: Calque, tmp_path: Path
) -> None:
    index = tmp_path / "i.calque"
    assert calque("add", index, photograph, made).returncode == 0
    assert calque("add", index, photograph).returncode == 0
    refused = calque("add", index, photograph, asked)
    assert refused.returncode == 2
    assert f"leave {asked} out or make a new index" in refused.stderr


def test_each_region_is_asked_of_one_image(scans_index: Path, photograph: Path, calque: Calque, tmp_path: Path) -> None:
    queries = tmp_path / "q.jsonl"
    queries.write_text('{"image": "a.jpg"}\n')
    for words in (["--queries", queries], [photograph, "--region", "0,0,9,9"]):
        refused = calque("search", scans_index, *words, "--each-region")
        assert refused.returncode == 2
        assert "Usage" in refused.stderr
    gone = calque("search", scans_index, tmp_path / "gone.jpg", "--each-region")
    assert gone.returncode == 2
    assert "gone.jpg: no such file" in gone.stderr
