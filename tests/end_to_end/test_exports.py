"""What `calque search` gives out besides its hits: documents for other programs, crops, page files."""

from __future__ import annotations

import csv
import json
import os
from typing import TYPE_CHECKING

import cv2
import iiisight
import numpy as np
import pytest
from htrvx.schemas import Schemas, Validator
from lxml import etree
from PIL import Image

from matcher.types import Region
from tests.conftest import picture

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Calque, Collection

SURE = 1e-3
BYTES = os.fsdecode(b"caf\xe9 <b>&.jpg")


@pytest.fixture
def stranger(tmp_path: Path) -> Path:
    """A picture that is nowhere on the pages."""
    path = tmp_path / "stranger.png"
    Image.effect_noise((400, 400), 60).save(path)
    return path


def test_one_document_for_viewers_and_one_for_learners(
    scans_index: Path, photograph: Path, collection: Collection, calque: Calque
) -> None:
    asked = ("search", scans_index, photograph, "--max-false-alarms", SURE)
    seen = calque(*asked, "--format", "iiif", "--base-url", "https://example.org/x/")
    assert seen.returncode == 0, seen.stderr
    document = json.loads(seen.stdout)
    assert iiisight.lint(document).ok
    (canvas,) = document["items"]
    assert canvas["items"][0]["items"][0]["body"]["id"] == "https://example.org/x/scans/a/camera.jpg"
    (annotation,) = canvas["annotations"][0]["items"]
    fragment = annotation["target"]["selector"][0]["value"].removeprefix("xywh=")
    box = Region(*collection.boxes["a/camera.jpg"])
    assert Region(*map(float, fragment.split(","))).iou(box) > 0.8
    learned = json.loads(calque(*asked, "--format", "coco").stdout)
    assert [image["file_name"] for image in learned["images"]] == ["scans/a/camera.jpg"]
    assert Region(*learned["annotations"][0]["bbox"]).iou(box) > 0.8
    assert learned["categories"] == [{"id": 1, "name": str(photograph)}]


def test_an_address_that_iiif_does_not_want_is_refused(scans_index: Path, photograph: Path, calque: Calque) -> None:
    done = calque("search", scans_index, photograph, "--format", "iiif", "--base-url", "file:///scans")
    assert done.returncode == 2
    assert "http" in done.stderr


@pytest.mark.parametrize(("form", "holds"), [("iiif", "items"), ("coco", "annotations")])
def test_nothing_found_is_an_empty_document(
    scans_index: Path, stranger: Path, calque: Calque, form: str, holds: str
) -> None:
    done = calque("search", scans_index, stranger, "--max-false-alarms", SURE, "--format", form)
    assert done.returncode == 1
    assert json.loads(done.stdout)[holds] == []


def test_crops_and_page_files_lie_in_their_folders(
    scans_index: Path, photograph: Path, stranger: Path, calque: Calque, tmp_path: Path
) -> None:
    queries = tmp_path / "queries.jsonl"
    lines = [
        {"id": "../../x <1>.jpg", "image": str(photograph), "region": [100, 100, 300, 300]},
        {"image": "gone.jpg"},
        {"id": "stranger", "image": str(stranger)},
    ]
    queries.write_text("\n".join(map(json.dumps, lines)))
    folders = {name: tmp_path / name for name in ("crops", "alto", "page-xml")}
    options = [word for name, folder in folders.items() for word in (f"--{name}", folder)]
    done = calque("search", scans_index, "--queries", queries, "--max-false-alarms", SURE, *options)
    assert done.returncode == 1, done.stderr
    assert sorted(path.name for path in folders["crops"].iterdir()) == ["0001-x-1-jpg-001.png", "crops.csv"]
    (row,) = csv.DictReader((folders["crops"] / "crops.csv").open(encoding="utf-8"))
    assert (row["query"], row["image"], row["query_region"]) == (
        "../../x <1>.jpg",
        "scans/a/camera.jpg",
        "100,100,300,300",
    )
    with Image.open(folders["crops"] / row["file"]) as crop, Image.open(photograph) as whole:
        asked = whole.crop((100, 100, 400, 400)).convert("L").resize((200, 200))
        shown = crop.convert("L").resize((200, 200))
        assert abs(crop.width - crop.height) <= 1
        assert np.corrcoef(np.ravel(asked), np.ravel(shown))[0, 1] > 0.95
    for name, form in (("alto", "alto"), ("page-xml", "page")):
        (path,) = folders[name].iterdir()
        assert path.name.startswith("camera-")
        assert Validator(Schemas[form]).xmlschema.validate(etree.parse(path))


@pytest.mark.skipif(os.name != "posix", reason="file names are bytes on POSIX only")
def test_pages_of_many_page_files_and_names_that_are_no_text(calque: Calque, tmp_path: Path) -> None:
    """One folder holds a TIFF of two pages and a file whose name is no UTF-8; a page goes before the crops are made."""
    folder = tmp_path / "scans"
    folder.mkdir()
    sheets = [Image.fromarray(cv2.copyMakeBorder(picture(name, 400), 80, 80, 60, 60, 0)) for name in ("coins", "brick")]
    sheets[0].save(folder / "two pages.tif", save_all=True, append_images=sheets[1:])
    sheets[1].save(folder / BYTES)
    assert calque("add", "x.calque", "scans", "--workers", "0", cwd=tmp_path).returncode == 0
    grouped = calque("groups", "x.calque", "--format", "iiif", cwd=tmp_path)
    assert grouped.returncode == 0, grouped.stderr
    assert iiisight.lint(json.loads(grouped.stdout)).ok
    assert {canvas["label"]["none"][0] for canvas in json.loads(grouped.stdout)["items"]} == {
        "scans/two pages.tif, page 2",
        "scans/caf\ufffd <b>&.jpg",
    }
    (folder / BYTES).rename(folder / "gone")
    query = tmp_path / "brick.png"
    Image.fromarray(picture("brick", 400)).save(query)
    asked = ("search", "x.calque", "brick.png", "--max-false-alarms", SURE)
    done = calque(*asked, "--crops", "crops", "--format", "coco", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    images = json.loads(done.stdout)["images"]
    assert {(image["file_name"], image["page"]) for image in images} == {
        ("scans/two pages.tif", 1),
        (f"scans/{BYTES}", 0),
    }
    traced = calque("trace", "brick.png", "x.calque", "--format", "coco", cwd=tmp_path)
    assert json.loads(traced.stdout)["images"] == images
    table = (tmp_path / "crops" / "crops.csv").read_bytes()
    assert os.fsencode(BYTES) in table
    rows = {row["image"]: row for row in csv.DictReader(table.decode("latin-1").splitlines())}
    assert rows["scans/two pages.tif"]["file"]
    assert "no such file" in rows[os.fsencode(f"scans/{BYTES}").decode("latin-1")]["error"]
    shown = calque(*asked, "--format", "iiif", cwd=tmp_path)
    assert "scans/two%20pages.tif/canvas/2" in shown.stdout
    assert "scans/caf%E9%20%3Cb%3E%26.jpg/canvas/1" in shown.stdout
