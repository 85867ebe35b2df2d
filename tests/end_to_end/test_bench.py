"""`calque compare` as the bibliographer's bench: verdict on the block, evidence, pictures, page."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.conftest import page_with, picture

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Calque

pytestmark = pytest.mark.compiled

PICTURES = {
    "blink.gif",
    "deformation.png",
    "ink-difference.png",
    "line-breaks.png",
    "side-by-side.png",
    "two-colours.png",
}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A picture of lines, and a page on which it is printed with a piece broken off."""
    folder = tmp_path_factory.mktemp("prints")
    lines = cv2.Canny(picture("coffee", 760), 60, 120)
    cut = 255 - cv2.dilate(lines, np.ones((2, 2), np.uint8))
    cv2.rectangle(cut, (30, 30), (cut.shape[1] - 31, cut.shape[0] - 31), 0, 6)
    worn = cut.copy()
    cv2.circle(worn, (cut.shape[1] // 2, 30), 14, 255, -1)
    small = cv2.resize(worn, (380, round(380 * cut.shape[0] / cut.shape[1])), interpolation=cv2.INTER_AREA)
    first, second = folder / "cut & <first>.png", folder / "page.png"
    Image.fromarray(cut).save(first)
    Image.fromarray(page_with(np.asarray(small, np.uint8), 3)).save(second)
    return first, second


def test_the_bench_is_laid_and_the_verdict_told(pair: tuple[Path, Path], calque: Calque, tmp_path: Path) -> None:
    bench = tmp_path / "new" / "bench"
    done = calque("compare", *pair, "--bench", bench, "--format", "json")
    assert done.returncode == 0, done.stderr
    match = json.loads(done.stdout)["matches"][0]
    assert match["verdict"] == "found"
    block = match["block"]
    assert block["verdict"] == "same", block["reasons"]
    assert block["agreement"] > 0.75
    assert block["deformation"] < 0.005
    assert any(
        gap["kind"] == "broken"
        and abs(gap["region"][0] + gap["region"][2] / 2 - 380) < 30
        and abs(gap["region"][1] - 30) < 20
        for gap in block["lost_on_b"]
    )
    assert {path.name for path in bench.iterdir()} == PICTURES | {"bench.html"}
    page = (bench / "bench.html").read_text("utf-8")
    assert "same block" in page
    assert "cut &amp; &lt;first&gt;.png" in page
    assert "http" not in page
    assert set(re.findall(r'src="([^"]+)"', page)) == PICTURES
    for name in PICTURES:
        with Image.open(bench / name) as drawn:
            assert min(drawn.size) > 200


def test_the_verdict_stands_in_every_format(pair: tuple[Path, Path], calque: Calque) -> None:
    table = calque("compare", *pair).stdout
    assert re.search(r"^block +same block: ", table, re.MULTILINE)
    assert re.search(r"^verdict +found$", table, re.MULTILINE)
    (row,) = csv.DictReader(io.StringIO(calque("compare", *pair, "--format", "csv").stdout))
    assert (row["verdict"], row["block"]) == ("found", "same")
    assert float(row["agreement"]) > 0.75
    assert json.loads(calque("compare", *pair, "--format", "jsonl").stdout)["matches"][0]["block"]["verdict"] == "same"


def test_a_bench_where_a_file_lies_is_refused(pair: tuple[Path, Path], calque: Calque, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = calque("compare", *pair, "--bench", tmp_path / "file" / "bench")
    assert done.returncode == 2
    assert "give another folder" in done.stderr
    assert "Traceback" not in done.stderr
