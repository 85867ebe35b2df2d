"""The guide to the Python interface: its blocks run as they stand, on generated scans."""

from __future__ import annotations

import ast
import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import networkx
import numpy as np
import pytest

import index.api
from index.api import Index, Query, Region, export, search, trace
from matcher.errors import InputError
from tests.conftest import page_with, picture

if TYPE_CHECKING:
    from tests.conftest import Collection

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "api.md"


def blocks(title: str) -> list[str]:
    """Return the Python of the section called `title`, block by block."""
    (section,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", GUIDE.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"^```python\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL)


def written(path: str, pixels: np.ndarray) -> None:
    Path(path).parent.mkdir(exist_ok=True)
    assert cv2.imwrite(path, pixels)


def run(title: str) -> dict[str, Any]:
    """Run a section of the guide, all its blocks in one namespace, and return that."""
    (imports,) = re.findall(r"^```python\n(from index\.api.*?)^```", GUIDE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    space: dict[str, Any] = {}
    for block in (imports, *blocks(title)):
        exec(compile(block, str(GUIDE), "exec"), space)
    return space


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_guide_names_all_that_there_is_and_no_more() -> None:
    text = GUIDE.read_text("utf-8")
    assert len(index.api.__all__) <= 16
    assert set(re.findall(r"^\| `(\w+)` \|", text, flags=re.MULTILINE)) == set(index.api.__all__)
    (imports,) = re.findall(r"^```python\n(from index\.api.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    names = [alias.name for node in ast.parse(imports).body for alias in getattr(node, "names", ())]
    assert sorted(names) == sorted(index.api.__all__)


def test_the_researcher_finds_her_photographs(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, (day, name) in enumerate([("1912-05-04", "camera"), ("1912-07-13", "coins"), ("1912-07-20", "brick")]):
        written(f"press/{day}.jpg", page_with(picture(name, 380), number))
    (desk / "press.csv").write_text("file,date\n1912-05-04,1912-05-04\n1912-07-13,1912-07-13\n1912-07-20,\n")
    for name in ("camera", "astronaut", "coins"):
        written(f"photographs/{name}.png", picture(name, 500))
    space = run("A researcher traces photographs in the press")
    assert [[hit.image for hit in answer.hits] for answer in space["answers"]] == [
        [],
        ["press/1912-05-04.jpg"],
        ["press/1912-07-13.jpg"],
    ]
    assert len(space["early"]) == 1
    assert (space["figures"]["queries"], space["figures"]["map"]) == (2, 1.0)
    assert len(list((desk / "crops").glob("*.png"))) == 2
    assert "https://library.example/scans/press/1912-05-04.jpg" in (desk / "traced.json").read_text()
    assert len(json.loads((desk / "traced-coco.json").read_text())["annotations"]) == 2
    assert len((desk / "traced.csv").read_text().splitlines()) == 3
    out = capsys.readouterr().out
    assert "every row is of a page\n1 pages before June 1912" in out
    assert "photographs/camera.png -> press/1912-05-04.jpg" in out


def test_the_bibliographer_matches_her_blocks(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, (page, name) in enumerate([("1538-a", "brick"), ("1560-b", "brick"), ("1560-c", "coins")]):
        written(f"books/{page}.jpg", page_with(picture(name, 380), number))
    space = run("A bibliographer matches woodblocks")
    assert [hit.image for hit in space["answer"].hits] == ["books/1538-a.jpg", "books/1560-b.jpg"]
    assert space["best"].region.iou(Region(150, 240, 380, 380)) > 0.8
    assert space["two_inks"].ndim == 3
    assert {space["first"].image.name, space["second"].image.name} == {"books/1538-a.jpg", "books/1560-b.jpg"}
    assert space["after"] == []
    assert len(networkx.read_graphml(desk / "groups.graphml")) == 0
    out = capsys.readouterr().out
    assert "group 1\n" in out
    assert "all is well" in out


def test_the_librarian_sorts_her_prints(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(24):
        random = np.random.default_rng(number)
        tones = random.integers(60, 200, (40, 50), dtype=np.uint8)
        kind, print_ = ("photograph", tones) if number % 2 else ("woodcut", np.where(tones > 130, 255, 0))
        large = np.kron(print_, np.ones((4, 4))).astype(np.uint8)
        folder = f"sorted/{kind}" if number < 16 else "prints"
        Path(folder).mkdir(parents=True, exist_ok=True)
        written(f"{folder}/{kind}-{number}.png", large)
    with Index.create("prints.calque", {"layout": ""}) as made:
        made.add(["prints"], workers=0)
    space = run("A librarian sorts prints")
    assert {one.target.name.split("/")[1].split("-")[0] == one.labels[0] for one in space["told"]} == {True}
    assert "4 woodcuts" in capsys.readouterr().out


@pytest.mark.parametrize(("form", "path"), [("pdf", "x.pdf"), ("graphml", "x.graphml")])
def test_a_form_that_cannot_be_is_named(
    scans_index: Path, collection: Collection, desk: Path, form: Any, path: str
) -> None:
    with Index.open(scans_index) as opened:
        answers = list(search(opened, [Query("q", collection.page("a/camera.jpg"))]))
        with pytest.raises(InputError, match=f"no form '{form}'"):
            export(opened, answers, form, path)
    assert not (desk / path).exists()


def test_what_is_not_in_the_index_any_more_is_not_exported(
    scans_index: Path, collection: Collection, desk: Path
) -> None:
    with Index.open(shutil.copytree(scans_index, "own.calque"), writable=True) as opened:
        answers = list(search(opened, [Query("q", collection.page("a/camera.jpg"))]))
        opened.remove(["scans/a/camera.jpg"])
        with pytest.raises(InputError, match=r"scans/a/camera\.jpg is not in own\.calque any more"):
            export(opened, answers, "coco", "found.json")


def test_what_cannot_be_traced_is_answered_with_its_error(scans_index: Path, desk: Path) -> None:
    (desk / "photographs").mkdir()
    (desk / "photographs" / "broken.png").write_bytes(b"no picture")
    with Index.open(scans_index) as opened:
        (broken,) = trace("photographs", opened)
        assert broken.error is not None
        (gone,) = trace("gone", opened)
        assert gone.error is not None
