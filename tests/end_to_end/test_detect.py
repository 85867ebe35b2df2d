"""``calque detect`` and what asks for things, through the command line, on pages whose pictures we have placed."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import cv2
import numpy as np
import pytest

from cli.main import calque as command_line
from index.detections import USER
from index.store import Index
from matcher.detection import Detection
from matcher.errors import CalqueError
from matcher.types import Region
from tests.conftest import PAGE_SIZE, PLACE
from tests.onnx_models import NAMES, fixed

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Collection

PICTURE = Region(150, 240, 380, 380)
WORDS = Region(360, 700, 180, 96)


class Done(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    def run(*words: object) -> Done:
        capsys.readouterr()
        try:
            status = command_line.main([str(word) for word in words], prog_name="calque", standalone_mode=False)
        except click.ClickException as error:
            return Done(2, "", error.format_message())
        except CalqueError as error:
            return Done(2, "", str(error))
        return Done(status, *capsys.readouterr())

    return run


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A detector that sees a person where the picture of each page is, and words below it."""
    wide, high = PAGE_SIZE
    rows = np.zeros((1, 12, 4 + len(NAMES)), np.float32)
    for row, box, scores in zip(rows[0], (PICTURE, WORDS), ((0, 0, 0.8, 0), (0, 0.4, 0, 0)), strict=False):
        centre = [(box.x + box.width / 2) / wide, (box.y + box.height / 2) / high]
        row[:] = [*centre, box.width / wide, box.height / high, *scores]
    return f"onnx:{fixed(tmp_path_factory.mktemp('model') / 'pages.onnx', rows)}"


@pytest.fixture
def index(scans_index: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(scans_index, tmp_path / "own.calque"))


@pytest.fixture(scope="module")
def seen(scans_index: Path, model: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index in which things have been looked for; to be read only."""
    path = Path(shutil.copytree(scans_index, tmp_path_factory.mktemp("seen") / "seen.calque"))
    command_line.main(["detect", str(path), "--model", model, "--workers", "0", "-q"], standalone_mode=False)
    return path


def test_things_are_kept_in_the_index_and_not_looked_for_again(
    index: Path, model: str, run: Callable[..., Done], tmp_path: Path
) -> None:
    first = run("detect", index, "--model", model, "--format", "json", "--overlays", tmp_path / "drawn", "--workers", 1)
    assert first.status == 0
    assert json.loads(first.out) == [
        {"label": "Text", "regions": 8, "images": 8},
        {"label": "person", "regions": 8, "images": 8},
    ]
    assert "8 images looked at, 16 things found; 0 failed" in first.err
    assert len(list((tmp_path / "drawn").glob("*.jpg"))) == 8
    again = run("detect", index, "--model", model, "--counts", "--format", "csv", "--workers", 0)
    assert "0 images looked at" in again.err
    assert again.out.splitlines()[2] == "person,8,8,8,8,8,8,8,8,8,8,0"
    lower = run("detect", index, "--model", model, "--min-score", 0.1, "--workers", 0)
    assert "8 images looked at" in lower.err
    higher = run("detect", index, "--model", model, "--min-score", 0.5, "--format", "json", "--workers", 0)
    assert "0 images looked at" in higher.err
    assert json.loads(higher.out) == [{"label": "person", "regions": 8, "images": 8}]


def test_an_interrupted_run_goes_on_with_what_is_missing(
    index: Path, model: str, run: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("index.detecting._SAFE_AFTER", 3)
    looked = []

    def counting(self: Any, scan: Any, *rest: Any) -> list[Detection]:
        looked.append(scan)
        if len(looked) == 5:
            raise KeyboardInterrupt
        return []

    with monkeypatch.context() as patched:
        patched.setattr("matcher.detection_onnx.OnnxObjects.detect", counting)
        assert run("detect", index, "--model", model, "--workers", 0).status == 130
    done = run("detect", index, "--model", model, "--workers", 0)
    assert "5 images looked at" in done.err


def test_a_file_that_changed_is_told_and_the_others_are_done(
    collection: Collection, run: Callable[..., Done], model: str, tmp_path: Path
) -> None:
    shutil.copytree(collection.folder / "a", tmp_path / "ä scans")
    index = tmp_path / "i.calque"
    assert run("add", index, tmp_path / "ä scans", "--no-layout", "--workers", 0).status == 0
    changed, gone, *_ = sorted((tmp_path / "ä scans").iterdir())
    cv2.imwrite(str(changed), np.zeros((50, 50), np.uint8))
    gone.unlink()
    done = run("detect", index, "--model", model, "--workers", 0)
    assert done.status == 1
    assert "has changed since it was added; add it again" in done.err
    assert "2 images looked at, 4 things found; 2 failed" in done.err


def test_ugly_sources_are_told_and_the_others_written(
    collection: Collection, run: Callable[..., Done], model: str, tmp_path: Path
) -> None:
    folder = tmp_path / "mes scans é"
    shutil.copytree(collection.folder / "b", folder)
    (folder / "text.jpg").write_text("no picture")
    (folder / "cut.jpg").write_bytes((folder / "coins.jpg").read_bytes()[:2000])
    done = run("detect", folder, "--model", model, "--workers", 0, "-o", tmp_path / "things.jsonl")
    assert (done.status, done.out) == (1, "")
    images = [json.loads(line) for line in (tmp_path / "things.jsonl").read_text().splitlines()]
    assert len(images) == 4
    assert {(region["label"], region["score"]) for image in images for region in image["regions"]} == {
        ("person", 0.8),
        ("Text", 0.4),
    }
    assert images[0]["regions"][0]["region"] == pytest.approx(PICTURE.as_list(), abs=1)
    for name in ("text.jpg", "cut.jpg"):
        assert name in done.err
    assert "2 failed" in done.err


def test_conditions_choose_images_by_one_thing_on_them(seen: Path, run: Callable[..., Done]) -> None:
    with Index.open(shutil.copytree(seen, seen.with_name("told.calque")), writable=True) as opened:
        opened.set_metadata({1: {"object": "a book", "score": "12"}})
        opened.set_detections("x-1()", {2: [Detection(WORDS, "dog", 0.6), Detection(PICTURE, "dog", 0.3)]})
        everything = frozenset(range(1, 9))
        for where, expected in {
            "object=person": everything,
            "object=person and score>0.5": everything,
            "object=text and score>0.5": set(),  # a person is that sure, no words are
            "object=person and object=text": set(),  # no one thing is both
            "object=person and also object=text and score<0.5": everything,
            "object=person and also object=text and score>0.5": set(),
            "object=dog": {2},
            "not object=dog": everything - {2},
            "object=person and not object=dog": everything - {2},
            "object=person and not (object=dog and score>0.7)": everything,
            "object=dog and score<0.5 and share>0.2": {2},
            "object=dog and score>0.5 and share>0.2": set(),
            "object=dog or object=person and id=3": {2, 3},
            "detector=x": {2},
            "detector=onnx and object~per": everything,
            "meta:object~book": {1},
            "object~book": set(),
        }.items():
            assert opened.select(where) == expected, where


def test_where_nothing_was_looked_for_object_is_metadata(scans_index: Path) -> None:
    with Index.open(scans_index) as opened, pytest.raises(CalqueError, match=r"nothing has been looked for.*detect"):
        opened.select("object=dog")
    with Index.open(shutil.copytree(scans_index, scans_index.with_name("books.calque")), writable=True) as opened:
        opened.set_metadata({1: {"object": "a book"}})
        assert opened.select("object='a book'") == {1}


def test_things_that_fit_are_listed_and_cut_out(seen: Path, run: Callable[..., Done], tmp_path: Path) -> None:
    done = run("search", seen, "--where", "object=person and image~coins", "--format", "jsonl", "--crops", tmp_path)
    assert done.status == 0
    (image,) = done.rows
    assert image["image"] == "scans/b/coins.jpg"
    assert [region["label"] for region in image["regions"]] == ["person"]
    with (tmp_path / "crops.csv").open() as file:
        (row,) = csv.DictReader(file)
    crop = cv2.imread(str(tmp_path / row["file"]))
    assert crop.shape[:2] == pytest.approx((380, 380), abs=2)
    coco = json.loads(run("search", seen, "--where", "score<0.5", "--format", "coco").out)
    assert len(coco["annotations"]) == 8
    nothing = run("search", seen, "--where", "object=person and score>0.9")
    assert (nothing.status, nothing.out) == (1, "")
    both = run("search", seen, "--where", "image~coins and object=text and also object=person", "--format", "jsonl")
    assert [region["label"] for region in both.rows[0]["regions"]] == ["person", "Text"]


def test_a_thing_seen_on_a_picture_is_found_again(
    seen: Path, model: str, collection: Collection, run: Callable[..., Done], tmp_path: Path
) -> None:
    """The detection is the region asked for: hits are those of the box drawn by hand."""
    page = collection.page("b/coins.jpg")
    told = run("search", seen, page, "--detect", "person", "--model", model, "--format", "jsonl")
    drawn = run("search", seen, page, "--region", ",".join(map(str, PICTURE.as_list())), "--format", "jsonl")
    assert told.status == drawn.status == 0
    (by_detector,), (by_hand,) = told.rows, drawn.rows
    assert by_detector["id"] == "person 1"
    assert [hit["image"] for hit in by_detector["hits"]] == [hit["image"] for hit in by_hand["hits"]]
    # A picture that is not in is looked at now; two labels' things are told apart.
    copy = tmp_path / "copy.png"
    cv2.imwrite(str(copy), cv2.imread(str(page)))
    again = run("search", seen, copy, "--detect", "person", "--model", model, "--format", "jsonl")
    assert [hit["image"] for hit in again.rows[0]["hits"]] == ["scans/b/coins.jpg"]
    none = run("search", seen, copy, "--detect", "Text", "--min-score", 0.5, "--model", model)
    assert none.status == 1
    assert "no Text seen on it" in none.err


def test_details_outside_an_outline_do_not_vote(seen: Path, collection: Collection) -> None:
    from index.answers import Query
    from index.region_queries import queries_of
    from index.search import search

    left, top, side = PLACE
    page = collection.page("b/coins.jpg")
    half = np.array([[left, top], [left + side / 2, top], [left + side / 2, top + side], [left, top + side]])
    (query,) = queries_of([Detection(PICTURE, "half", 1.0, (half,))], page)
    with Index.open(seen) as opened:
        whole, part = search(opened, [Query("all", page, PICTURE), query])
    (everywhere,), (within,) = whole.hits, part.hits
    assert within.image == everywhere.image
    assert everywhere.match.query_points[:, 0].max() > left + 0.8 * side
    assert within.match.query_points[:, 0].max() < left + (0.5 + 0.03) * side
    assert 0.3 < within.match.inliers / everywhere.match.inliers < 0.7


class _Pointing:
    """An outliner that draws around the left half of what it is shown, or of the picture where it is pointed at."""

    signature = "half-1()"

    def outline(self, scan: Any, boxes: Any, points: Any = ()) -> list[Detection]:
        assert scan.pixels.ndim == 3
        drawn = []
        for box in [*boxes, *(PICTURE for x, y in points if PICTURE.contains(np.array([[x, y]])).all())]:
            half = Region(box.x, box.y, box.width / 2, box.height)
            drawn.append(Detection(half, "", 0.9, (half.corners(),)))
        return drawn


def test_what_is_pointed_at_is_asked_for_inside_its_outline(
    index: Path, model: str, collection: Collection, run: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("matcher.detectors.outliner_named", "index.detecting.outliner_named"):
        monkeypatch.setattr(place, lambda name: _Pointing())
    page = collection.page("b/coins.jpg")
    words = ("search", index, page, "--format", "json")
    by_click = json.loads(run(*words, "--click", "300,400").out)
    by_box = json.loads(run(*words, "--region", "150,240,380,380", "--outline", "sam").out)
    assert by_click["region"] == by_box["region"] == [150, 240, 190, 380]
    assert by_click["hits"] == by_box["hits"] != []
    by_label = json.loads(run(*words, "--detect", "person", "--model", model, "--outline", "sam").out)[0]
    whole = json.loads(run(*words, "--detect", "person", "--model", model).out)[0]
    assert by_label["region"] == whole["region"]
    assert by_label["hits"][0]["inliers"] < 0.7 * whole["hits"][0]["inliers"]
    done = run("detect", index, "--model", model, "--outline", "sam:x", "--workers", 0)
    assert done.status == 0
    assert "16 things found" in done.err
    listed = run("search", index, "--where", "object=person and detector=onnx+sam and image~coins", "--format", "jsonl")
    (region,) = listed.rows[0]["regions"]
    assert region["polygons"] == [[[150, 240], [340, 240], [340, 620], [150, 620]]]
    assert region["region"] == pytest.approx(PICTURE.as_list(), abs=1)


def test_what_is_seen_on_a_picture_is_what_others_are_like(
    index: Path, model: str, collection: Collection, run: Callable[..., Done]
) -> None:
    assert run("embed", index, "--model", "structure", "--workers", 0, "-q").status == 0
    words = ("similar", index, collection.page("b/coins.jpg"), "--format", "json")
    seen = json.loads(run(*words, "--detect", "person", "--detector", model).out)
    drawn = json.loads(run(*words, "--region", "150,240,380,380").out)
    assert seen["asked"]["positive"][0]["region"] == pytest.approx(PICTURE.as_list(), abs=1)
    assert [row["image"] for row in seen["alike"]] == [row["image"] for row in drawn["alike"]]
    done = run(*words, "--detect", "Picture", "--detector", model)
    assert done.status == 1
    assert "no Picture seen on it" in done.err
    assert "leave --region out" in run(*words, "--detect", "person", "--region", "1,2,3,4").err
    assert "give one of them" in run(*words, "--detector", model).err


def test_what_a_search_finds_is_the_same_whether_things_were_looked_for_or_not(
    scans_index: Path, seen: Path, photograph: Path, run: Callable[..., Done]
) -> None:
    answers = [run("search", path, photograph, "--format", "json") for path in (scans_index, seen)]
    plain = [json.loads(answer.out) | {"seconds": 0} for answer in answers]
    assert plain[0] == plain[1]
    assert plain[0]["hits"]


def test_what_persons_say_counts_for_conditions(seen: Path) -> None:
    with Index.open(shutil.copytree(seen, seen.with_name("corrected.calque")), writable=True) as opened:
        opened.set_detections(USER, {1: [Detection(PICTURE, "cat", 1.0)]}, ["person", "cat"])
        assert opened.select("object=cat and detector=user") == {1}
        assert opened.select("object=person") == frozenset(range(2, 9))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["detect"], "Missing argument"),
        (["detect", "INDEX", "elsewhere/"], "name one INDEX"),
        (["detect", "INDEX", "-o", "x"], "calque detect export"),
        (["detect", "elsewhere/", "--where", "a=1"], "--where asks for what an INDEX knows"),
        (["detect", "elsewhere/", "--format", "yolo"], "give a folder with -o"),
        (["detect", "elsewhere/", "--counts", "--format", "coco"], "--counts writes figures"),
        (["detect", "INDEX", "--model", "yolox-nan"], "did you mean 'yolox-nano'"),
        (["search", "INDEX"], "or --where alone to list things"),
        (["search", "INDEX", "a.jpg", "--model", "yunet"], "are of --detect and --phrase"),
        (["search", "INDEX", "a.jpg", "--detect", "x", "--phrase", "y"], "give either --detect or --phrase"),
        (["search", "INDEX", "a.jpg", "--detect", "x", "--each-region"], "leave --queries and regions out"),
        (["search", "INDEX", "a.jpg", "--click", "1,2", "--region", "1,2,3,4"], "--click says where"),
        (["search", "INDEX", "a.jpg", "--outline", "sam"], "say which: --region, --click"),
        (["search", "INDEX", "a.jpg", "--click", "x"], "no place; give X,Y"),
        (["search", "INDEX", "a.jpg", "--click", "1,2", "--each-region"], "leave --queries and --each-region out"),
        (["search", "INDEX", "--where", "object=x", "-o", "y"], "listed on stdout"),
        (["search", "INDEX", "--where", "object=x and also"], "expected a key"),
    ],
)
def test_what_does_not_go_together_is_told(seen: Path, run: Callable[..., Done], words: list[str], told: str) -> None:
    done = run(*(seen if word == "INDEX" else word for word in words))
    assert done.status == 2
    assert told in done.err


def test_faces_are_cut_out_alike_and_averaged(
    shared_data: Path, run: Callable[..., Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALQUE_MODELS", str(shared_data / "weights"))
    scans = tmp_path / "scans"
    scans.mkdir()
    portrait = cv2.imread(str(shared_data / "various" / "BSDS500__302003.jpg"))
    turn = cv2.getRotationMatrix2D((160, 240), -30, 1.0)  # clockwise
    cv2.imwrite(str(scans / "upright.png"), portrait)
    cv2.imwrite(str(scans / "leaning.png"), cv2.warpAffine(portrait, turn, (321, 481), borderValue=(90, 90, 90)))
    cv2.imwrite(str(scans / "empty.png"), np.full((200, 200, 3), 128, np.uint8))
    index, out = tmp_path / "i.calque", tmp_path / "faces"
    assert run("add", index, scans, "--no-layout", "--workers", 0).status == 0
    done = run("faces", index, "-o", out, "--workers", 0, "--size", 128, "--format", "json")
    assert done.status == 0
    leaning, upright = sorted(json.loads(done.out), key=lambda row: row["image"])
    assert (leaning["tilt"] - upright["tilt"]) == pytest.approx(30, abs=8)
    assert 0.4 < upright["height_share"] < 0.7
    assert "3 images looked at, 2 faces on 2 of them; 0 failed" in done.err
    faces = [cv2.imread(str(out / row["file"])) for row in (upright, leaning)]
    assert {face.shape for face in faces} == {(128, 128, 3)}
    middle = [face[30:100, 30:100].astype(float).ravel() for face in faces]
    alike = np.corrcoef(*middle)[0, 1]
    lying = cv2.warpAffine(faces[1], cv2.getRotationMatrix2D((64, 64), -30, 1.0), (128, 128))
    assert alike > 0.6, "turned upright, they are the same picture"
    assert alike > np.corrcoef(middle[0], lying[30:100, 30:100].ravel())[0, 1] + 0.15
    average = cv2.imread(str(out / "average.png"))
    assert np.corrcoef(average[30:100, 30:100].ravel(), middle[0])[0, 1] > 0.8
    assert "faces.html" in done.err
    assert (out / "faces.html").read_text("utf-8").count("<figure>") == 3
    with (out / "faces.csv").open() as file:
        assert [row["file"] for row in csv.DictReader(file)] == [upright["file"], leaning["file"]][::-1]
    chosen = run("faces", index, "--max-tilt", 15, "--format", "json")
    assert [row["image"] for row in json.loads(chosen.out)] == [upright["image"]]
    none = run("faces", index, "--where", "image~empty")
    assert (none.status, none.out) == (1, "")
