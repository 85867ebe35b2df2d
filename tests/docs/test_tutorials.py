"""What the tutorials have one type works, in their order, on a small collection laid out as they say."""

from __future__ import annotations

import csv
import json
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import pytest
from click.testing import CliRunner

from cli.main import calque
from tests.conftest import page_with, picture
from tests.docs.test_docs import REPOSITORY, calls_of_calque

if TYPE_CHECKING:
    from tests.conftest import Collection

pytestmark = pytest.mark.compiled


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, collection: Collection, scans_index: Path) -> Path:
    """A folder with spaces and other scripts in its name: scans and their index, photographs, a catalogue."""
    desk = tmp_path / "my désk – 机"
    desk.mkdir()
    (desk / "scans").symlink_to(collection.folder)
    shutil.copytree(scans_index, desk / "scans.calque")  # so that adding the same is quick
    (desk / "photographs").mkdir()
    cv2.imwrite(str(desk / "photographs" / "camera.png"), picture("camera", 400))
    (desk / "again").mkdir()
    cv2.imwrite(str(desk / "again" / "coins.jpg"), page_with(picture("coins", 380), 99))
    (desk / "catalogue.csv").write_text("file,date\nb/coins.jpg,1538\na/brick.jpg,1560\n", encoding="utf-8")
    query = {"id": "q1", "image": "scans/b/coins.jpg", "region": [150, 240, 380, 300]}
    (desk / "queries.jsonl").write_text(json.dumps(query) + "\n", encoding="utf-8")
    monkeypatch.chdir(desk)
    return desk


def followed(name: str) -> dict[str, str]:
    """Type what a tutorial says; return what each call printed, by its words. All of them end well."""
    told: dict[str, str] = {}
    for words in calls_of_calque((REPOSITORY / "docs" / "tutorials" / name).read_text("utf-8")):
        if words[0] == "serve":
            continue
        target = words.index(">") if ">" in words else len(words)
        done = CliRunner().invoke(calque, words[:target])
        assert done.exit_code in ((0, 1) if words[0] == "doctor" else (0,)), (words, done.stderr, done.exception)
        if target < len(words):
            Path(words[-1]).write_text(done.stdout, encoding="utf-8")
        told[shlex.join(words)] = done.stdout
    return told


def test_photographs_in_the_press(desk: Path) -> None:
    told = followed("press.md")
    assert (desk / "proof" / "report.html").is_file()
    assert (desk / "traced" / "report.html").is_file()
    with (desk / "traced.csv").open(encoding="utf-8", newline="") as file:
        (found,) = csv.DictReader(file)
    assert "scans/a/camera.jpg" in found.values()
    assert "M. Dupont" in told["judge scans.calque --list"]
    assert len(json.loads((desk / "truth.json").read_text("utf-8"))["queries"]) >= 1


def test_woodblocks_in_early_books(desk: Path) -> None:
    told = followed("woodblocks.md")
    assert (desk / "found" / "report.html").is_file()
    assert (desk / "groups" / "report.html").is_file()
    assert len(list((desk / "bench").iterdir())) > 2
    assert "same" in next(text for words, text in told.items() if words.startswith("compare"))
    groups = (desk / "groups.csv").read_text("utf-8")
    assert "scans/b/coins.jpg" in groups
    assert "again/coins.jpg" in groups


def test_a_librarys_whole_collection(desk: Path) -> None:
    told = followed("library.md")
    assert json.loads(told["info scans.calque --format json"])["images"] == 8
    early = (desk / "early.csv").read_text("utf-8")
    assert "coins" in early
    assert "brick" not in early
    answer = json.loads((desk / "answers.jsonl").read_text("utf-8"))
    assert answer["id"] == "q1"
    assert answer["hits"]
    assert (desk / "backup" / "scans.calque" / "catalogue.sqlite").is_file()
