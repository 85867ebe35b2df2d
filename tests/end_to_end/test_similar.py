"""``calque embed`` and ``calque similar`` on pages with pictures in known places."""

from __future__ import annotations

import csv
import io
import json
import shutil
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from cli.main import calque as group
from index.annotations import Zone
from index.store import Index
from matcher.errors import CalqueError
from matcher.types import Region
from tests.conftest import PICTURES, picture

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Collection

pytestmark = pytest.mark.compiled


def run(*words: object) -> Result:
    return CliRunner().invoke(group, [str(word) for word in words], standalone_mode=False)


def told(*words: object) -> dict:
    done = run(*words, "--format", "json")
    assert done.exception is None, done.exception
    return json.loads(done.stdout)


def refused(*words: object) -> str:
    done = run(*words)
    assert isinstance(done.exception, CalqueError), done.output
    return str(done.exception)


@pytest.fixture(scope="module")
def embedded(scans_index: Path, collection: Collection, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The index of pages, on each of which a person framed the picture, embedded with its regions."""
    path = tmp_path_factory.mktemp("embedded") / "i.calque"
    shutil.copytree(scans_index, path)
    with Index.open(path, writable=True) as opened:
        frames = {}
        for record in opened.images():
            box = collection.boxes[record.name.removeprefix("scans/")]
            frames[record.id] = [Zone("illustration", Region(*box))]
            opened.set_metadata({record.id: {"folder": record.name.split("/")[1]}})
            opened.set_regions("layout", {record.id: []})
        opened.set_regions("user", frames)
    for model in ("structure", "palette"):
        done = told("embed", path, "--model", model, "--regions", "--workers", 0, "--quiet")
        assert (done["images"], done["vectors"], done["failed"]) == (8, 16, 0)
        assert done["signature"].startswith(f"{model}-1(")
    return path


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_finds_the_page_it_is_on(embedded, tmp_path, name):
    cv2.imwrite(str(tmp_path / "asked.png"), picture(name, 300))
    found = told("similar", embedded, tmp_path / "asked.png", "--model", "structure", "--among", "regions")["alike"]
    assert found[0]["image"].endswith(f"{name}.jpg")
    assert (found[0]["kind"], len(found)) == ("illustration", 8)
    assert [one["rank"] for one in found] == list(range(1, 9))
    likeness = [one["likeness"] for one in found]
    assert likeness == sorted(likeness, reverse=True)


def test_what_is_asked_is_not_answered(embedded, collection):
    page = collection.page("a/camera.jpg")
    box = ",".join(map(str, collection.boxes["a/camera.jpg"]))
    whole = told("similar", embedded, page, "--model", "structure", "--top", 50)["alike"]
    assert len(whole) == 15
    assert not [one for one in whole if one["image"] == "scans/a/camera.jpg" and one["region"] is None]
    region = told("similar", embedded, page, "--region", box, "--model", "structure", "--top", 50)["alike"]
    assert not [one for one in region if one["image"] == "scans/a/camera.jpg" and one["region"] is not None]
    # The name that the index gives an image serves as well as a path.
    named = told("similar", embedded, "scans/a/camera.jpg", "--model", "structure", "--top", 50)["alike"]
    assert named == whole


def test_answers_can_be_narrowed(embedded, collection):
    words = ("similar", embedded, collection.page("a/camera.jpg"), "--model", "structure")
    assert {one["image"].split("/")[1] for one in told(*words, "--where", "folder=b")["alike"]} == {"b"}
    assert [one["region"] for one in told(*words, "--among", "images")["alike"]] == [None] * 7
    one_each = told(*words, "--one-per-document")["alike"]
    assert sorted(one["image"].split("/")[1] for one in one_each) == ["a", "b"]
    assert len(told(*words, "--top", 3)["alike"]) == 3
    nothing = run(*words, "--where", "folder=c")
    assert (nothing.return_value, nothing.stdout) == (1, "")


def test_examples_and_what_is_not_meant(embedded, collection):
    def rank(*words: object) -> int:
        found = told("similar", embedded, *words, "--model", "palette", "--among", "regions", "--top", 50)["alike"]
        return next(one["rank"] for one in found if one["image"].endswith("a/brick.jpg"))

    names = ["a/camera.jpg", "b/coins.jpg"]
    asked = [
        f"{collection.page(name)}#xywh={','.join(map(str, collection.boxes[name]))}" for name in [*names, "a/brick.jpg"]
    ]
    alone = rank("--positive", asked[0])
    assert rank("--positive", asked[0], "--negative", f"{collection.page('a/brick.jpg')}") >= alone
    both = told("similar", embedded, "--positive", asked[0], "--positive", asked[1], "--model", "palette")
    assert [one["image"].split("/")[-1] for one in both["asked"]["positive"]] == ["camera.jpg", "coins.jpg"]


def test_colours(embedded):
    found = told("similar", embedded, "--colour", "#ebebeb", "--model", "palette", "--among", "images")
    assert len(found["alike"]) == 8
    assert found["alike"][0]["likeness"] > 0.5
    assert "not asked by colours" in refused("similar", embedded, "--colour", "ebebeb", "--model", "structure")


def test_identity_first_and_likeness_after_it(embedded, collection, tmp_path):
    """A page of the index is found on itself: that image is not answered again as merely alike."""
    page = collection.page("a/camera.jpg")
    words = ("search", embedded, page, "--region", ",".join(map(str, collection.boxes["a/camera.jpg"])))
    found = told(*words, "--also", "similar:structure")
    assert [hit["image"] for hit in found["hits"]] == ["scans/a/camera.jpg"]
    assert "likeness" not in found["hits"][0]
    alike = found["similar"]["alike"]
    assert len(alike) == 10
    assert not [one for one in alike if one["image"] == "scans/a/camera.jpg"]
    assert "similar" not in told(*words)
    lines = run(*words, "--also", "similar:structure").stdout.splitlines()
    assert lines.index(f"alike by structure, not the same, as {page}:") == 3
    for wrong in (("--also", "similar:structure", "--format", "csv"), ("--also", "other")):
        assert run(*words, *wrong).exception is not None
    assert "say of which" in refused(*words, "--also", "similar")
    cv2.imwrite(str(tmp_path / "other.png"), np.full((200, 200), 200, np.uint8))
    nothing = run("search", embedded, tmp_path / "other.png", "--also", "similar:structure")
    assert (nothing.return_value, "nothing found" in nothing.stderr) == (1, True)


def test_tables_and_the_report(embedded, collection, tmp_path):
    words = ("similar", embedded, collection.page("a/camera.jpg"), "--model", "structure", "--top", 4)
    table = run(*words, "-o", tmp_path / "sous é")
    assert table.return_value == 0
    assert "alike by structure, not the same" in table.stderr
    assert table.stdout.splitlines()[0].split() == ["rank", "image", "page", "region", "kind", "likeness"]
    page = (tmp_path / "sous é" / "similar.html").read_text(encoding="utf-8")
    assert page.count("<article>") == 4
    assert "likeness, not identity" in page
    assert len(list((tmp_path / "sous é" / "similar").glob("*.jpg"))) == 5
    rows = list(csv.DictReader(io.StringIO(run(*words, "--format", "csv").stdout)))
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4"]


def test_mistakes_name_their_remedy(embedded, scans_index, tmp_path):
    assert "say of which: --model NAME" in refused("similar", embedded, tmp_path / "a.jpg")
    assert "it has those of structure, palette" in refused("similar", embedded, "a.jpg", "--model", "vlad")
    assert f"calque embed {scans_index} --model NAME" in refused("similar", scans_index, "a.jpg")
    assert "does not see words" in refused("similar", embedded, "--text", "a ship", "--model", "palette")
    assert "did you mean 'palette'" in refused("embed", embedded, "--model", "palete")
    (tmp_path / "text.jpg").write_text("no picture")
    assert "text.jpg" in refused("similar", embedded, tmp_path / "text.jpg", "--model", "palette")
    for words in ((), ("a.jpg", "b.jpg", "--region", "1,1,5,5"), ("--colour", "red")):
        assert run("similar", embedded, *words).exception is not None


def test_vectors_follow_the_index(embedded, collection, tmp_path):
    path, scans = tmp_path / "i.calque", tmp_path / "scans"
    shutil.copytree(embedded, path)
    shutil.copytree(collection.folder, scans)
    words = ("embed", path, "--model", "structure", "--regions", "--workers", 0)
    with Index.open(path, writable=True) as opened:
        opened.remove([collection.folder / "a"])
        assert opened.check(deep=True) == []
    found = told("similar", path, collection.page("b/coins.jpg"), "--model", "structure", "--top", 50)["alike"]
    assert {one["image"].split("/")[1] for one in found} == {"b"}
    assert told(*words)["known"] == 4
    gone = scans / "a" / "camera.jpg"
    with Index.open(path, writable=True) as opened:
        opened.add([gone, scans / "a" / "brick.jpg"], workers=0)
    gone.write_bytes(b"changed")
    done = run(*words, "--format", "json")
    assert done.return_value == 1
    assert (json.loads(done.stdout)["images"], json.loads(done.stdout)["failed"]) == (1, 1)
    assert "has changed since it was added" in done.stderr
    with Index.open(path, writable=True) as opened:
        opened.compact()
        assert opened.info()["vectors"]["palette"] == 8
    assert run("embed", path, "--forget", "palette").return_value == 0
    with Index.open(path) as opened:
        assert list(opened.info()["vectors"]) == ["structure"]
        assert opened.check(deep=True) == []


def test_words_find_by_a_model_that_sees_them(scans_index, tmp_path, monkeypatch):
    pytest.importorskip("transformers")
    from tests.checkpoints import write_checkpoint

    monkeypatch.setenv("CALQUE_DEVICE", "cpu")
    model = f"hf:{write_checkpoint('clip', tmp_path / 'tiny')}"
    path = tmp_path / "i.calque"
    shutil.copytree(scans_index, path)
    assert told("embed", path, "--model", model, "--workers", 0)["vectors"] == 8
    found = told("similar", path, "--text", "a ship in a storm", "--language", "fr")
    assert len(found["alike"]) == 8
    assert found["asked"]["texts"] == ["a ship in a storm"]
    assert np.isfinite([one["likeness"] for one in found["alike"]]).all()
    assert "there are no prompts in 'xx'" in refused("similar", path, "--text", "a ship", "--language", "xx")
    assert "are empty" in refused("similar", path, "--text", " ")
    # Other weights make other vectors: these cannot be compared.
    write_checkpoint("siglip", tmp_path / "tiny")
    assert "were made by transformers-1(kind=clip" in refused("similar", path, "--text", "a ship")
