"""The benchmark of layouts: its pages, what Tesseract says, the table."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from benchmarks import layout as benchmark
from benchmarks.tesseract import Tesseract
from matcher.images import Scan

if TYPE_CHECKING:
    from pathlib import Path

HOCR = """<div class='ocr_page' id='page_1' title='image "page.bmp"; bbox 0 0 400 600; ppageno 0'>
<div class='ocr_carea' id='block_1_1' title="bbox 20 30 380 90"><p class='ocr_par' title="bbox 20 30 380 90"></p></div>
<div class='ocr_photo' id='block_1_2' title="bbox 50 100 350 400"></div>
<div class='ocr_separator' id='block_1_3' title="bbox 20 500 380 502"></div>
<div class='ocr_photo' id='block_1_4' title="bbox 50 100 50 400"></div></div>"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder of three annotated pages and a magazine's page without pictures."""
    images = tmp_path / "pages" / "images"
    images.mkdir(parents=True)
    known = []
    for number, kinds in enumerate((("illustration", "text"), ("text",), ("initial",))):
        page = np.full((300, 200), 255, np.uint8)
        page[50:150, 40:160] = np.random.default_rng(number).integers(0, 120, (100, 120))
        cv2.imwrite(str(images / f"p{number}.png"), page)
        zones = [{"type": kind, "label": "", "bbox": [40, 50, 120, 100], "polygon": None} for kind in kinds]
        size = {"width": 200, "height": 300}
        known.append({"image": f"images/p{number}.png", **size, "part": "test", "zones": zones})
    (tmp_path / "pages" / "layout.json").write_text(json.dumps(known))
    magazine = tmp_path / "magazine" / "22602" / "22602-page-images"
    magazine.mkdir(parents=True)
    names = [f"22602/22602-page-images/{name}.png" for name in ("f001", "p001", "p002")]
    for name in names:
        cv2.imwrite(str(tmp_path / "magazine" / name), np.full((300, 200), 255, np.uint8))
    truth = {"database": [*names, "21047/x.png"], "queries": [{"positives": [{"image": names[1]}]}]}
    (tmp_path / "magazine" / "groundtruth.json").write_text(json.dumps(truth))
    return tmp_path


def test_pages_without_pictures_are_those_that_neither_truth_nor_eye_names(folder: Path) -> None:
    root = folder / "magazine"
    assert benchmark.text_only_pages(folder, "test") == [root / "22602/22602-page-images/p002.png"]
    assert benchmark.text_only_pages(folder, "dev") == [root / "21047/x.png"]


def test_blocks_of_tesseract_are_regions() -> None:
    scan = Scan(np.full((600, 400, 3), 255, np.uint8), 800, 1200, 2.0, 2.0)
    regions = [(region.kind, region.box.as_list()) for region in Tesseract.regions(HOCR, scan)]
    assert regions == [("text", [40, 60, 720, 120]), ("illustration", [100, 200, 600, 600])]


def test_the_benchmark_from_end_to_end(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CALQUE_DATA", str(folder))
    files = {name: tmp_path / name for name in ("figures.json", "sheet.png", "worst")}
    words = ["--models", "classical", "--timed", "1", "--worst", "2", "--overlays", str(files["worst"])]
    words += ["--json", str(files["figures.json"]), "--sheet", str(files["sheet.png"])]
    assert benchmark.main(words) == 0
    assert "part test, 4 pages" in capsys.readouterr().out
    figures = json.loads(files["figures.json"].read_text())["models"]["classical"]
    assert figures["pages"] == 3
    assert figures["text_only"]["text_only"] == figures["magazine"]["text_only"] == 1
    assert set(figures["seconds"]) == {"1", "2"}
    assert len(list(files["worst"].glob("classical-0?-p?.png"))) == 2
    assert cv2.imread(str(files["sheet.png"])).shape == (2240, 2400, 3)


def test_a_model_that_is_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALQUE_DATA", str(folder))
    assert benchmark.main(["--models", "clasical"]) == 2
