"""What is on images, written for other programs and read again: corrections arrive as they were made."""

from __future__ import annotations

import csv
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as theirs

from cli.main import calque as command_line
from index.detection_files import detection_document, seen_images, write_yolo
from index.detection_imports import correct, read_detections
from index.detections import USER
from index.masks import coco_segmentation, mask_of_runs, outlines_of, runs_of, text_of_runs
from index.store import Index
from matcher.detection import Detection, polygons_of
from matcher.errors import CorruptIndex, InputError
from matcher.types import Region
from tests.crash.fake_encoder import SETTINGS, FakeEncoder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DOG, FACE = Region(3, 4, 8, 6), Region(1.5, 2, 9, 9)
LEAF = np.array([[2.0, 3], [12, 4], [9, 11], [3, 10]])
HOLE = np.array([[5.0, 5], [8, 5], [8, 8], [5, 8]])


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    """Three images: a dog and a face, a leaf with a hole, nothing; and one on which nothing was looked for."""
    for name in ("a/1 é.png", "a/2.png", "b/2.png", "c.png"):
        file = tmp_path / "scans" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(name.encode())
    opened = Index.create(tmp_path / "i.calque", SETTINGS)
    opened.add([tmp_path / "scans"], workers=0, encoder_factory=FakeEncoder)
    landmarks = np.array([[4.0, 5], [6, 5], [5, 6], [4, 7], [6, 7]])
    found = {
        1: [Detection(DOG, "dog", 0.8), Detection(FACE, "face", 0.9, landmarks=landmarks)],
        2: [Detection(Region(2, 3, 10, 8), "leaf", 0.7, (LEAF, HOLE))],
        3: [],
    }
    opened.set_detections("m-1()", found)
    yield opened
    with suppress(CorruptIndex):  # closed by the test
        opened.close()


def exported(index: Index, form: str, folder: Path) -> Path:
    """Write what is known as the command line does, and return the file or folder."""
    path = (
        folder / f"out{'' if form == 'yolo' else '.jsonl' if form == 'jsonl' else '.csv' if form == 'csv' else '.json'}"
    )
    words = ["detect", "export", str(index.path), "--format", form, "-o", str(path)]
    assert command_line.main(words, standalone_mode=False) == 0
    return path


def edges(box: Region) -> Any:
    return pytest.approx(box.as_list(), abs=0.6)


@pytest.mark.parametrize("form", ["coco", "yolo", "iiif", "csv", "label-studio", "jsonl", "json"])
def test_what_was_written_is_read_again(index: Index, form: str, tmp_path: Path) -> None:
    path = exported(index, form, tmp_path)
    told, listed = read_detections(path)
    if form == "label-studio":  # its annotators accept what was predicted
        assert set(listed) == {"dog", "face", "leaf"}
    done = correct(index, told, listed)
    assert (done.images, done.things, done.unknown) == (3, 3, ())
    assert set(done.labels) == {"dog", "face", "leaf"}
    dog, face = index.detections(1)
    assert (dog.origin, dog.detection.label, dog.detection.score) == (USER, "dog", 1.0)
    assert dog.detection.box.as_list() == edges(DOG)
    assert face.detection.box.as_list() == edges(FACE)
    (leaf,) = index.detections(2)
    assert leaf.detection.box.as_list() == edges(Region(2, 3, 10, 8))
    if form != "yolo":
        assert len(leaf.detection.polygons) == 2
        assert leaf.detection.area == pytest.approx(Detection(DOG, "", 1, (LEAF, HOLE)).area, rel=0.15)
        assert dog.detection.polygons == ()
    assert index.detections(3) == []


def test_a_correction_stays_when_the_detector_runs_again(index: Index, tmp_path: Path) -> None:
    path = exported(index, "coco", tmp_path)
    document = json.loads(path.read_text())
    names = {item["id"]: item["name"] for item in document["categories"]}
    dog, _, leaf = document["annotations"]
    assert names[dog["category_id"]] == "dog"
    document["annotations"] = [{**dog, "bbox": [5, 5, 4, 4], "segmentation": []}, leaf]  # the face was none
    path.write_text(json.dumps(document))
    correct(index, *read_detections(path))
    (known,) = index.detections(1)
    assert known.detection.box == Region(5, 5, 4, 4)
    index.set_detections("m-1()", {1: [Detection(FACE, "face", 0.95)], 3: [Detection(FACE, "bird", 0.6)]})
    assert [one.detection.label for one in index.detections(1)] == ["dog"]
    assert [one.detection.label for one in index.detections(3)] == ["bird"]  # no word was said of birds
    assert index.select("object=face") == set()


def test_labels_that_a_table_has_no_more_are_told(index: Index, tmp_path: Path) -> None:
    path = exported(index, "csv", tmp_path)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == ["dog", "face", "leaf", ""]
    for row in rows:
        row["label"] = row["label"].replace("dog", "cat")
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    told, listed = read_detections(path)
    correct(index, told, listed)
    assert [one.detection.label for one in index.detections(1)] == ["dog", "cat", "face"]
    correct(index, told, ["dog"])
    assert [one.detection.label for one in index.detections(1)] == ["cat", "face"]


def test_what_label_studio_gives_back_is_understood(index: Index, tmp_path: Path) -> None:
    """A turned box, an upload's name, a cancelled annotation; predictions that the annotator did not take."""
    kept = {"type": "rectanglelabels", "original_width": 200, "original_height": 100}
    record = index.image(1)
    turned = {"x": 50, "y": 10, "width": 20, "height": 20, "rotation": 90, "rectanglelabels": ["cat"]}
    tasks = [
        {
            "data": {"image": "/data/upload/1/0123abcd-1%20%C3%A9.png"},
            "annotations": [
                {"result": [{**kept, "value": {**turned, "rotation": 0}}], "was_cancelled": True},
                {"result": [{**kept, "value": turned}, {"type": "choices", "value": {"choices": ["x"]}}]},
            ],
            "predictions": [{"result": [{**kept, "value": {**turned, "rectanglelabels": ["dog"]}}]}],
        }
    ]
    tasks[0]["annotations"].reverse()  # the last one that counts is taken
    path = tmp_path / "tasks.json"
    path.write_text(json.dumps(tasks))
    correct(index, *read_detections(path))
    cat = next(one.detection for one in index.detections(1) if one.origin == USER)
    assert [one.detection.label for one in index.detections(1)] == ["face", "cat"]
    # Clockwise by 90°: 40 × 20 pixels of its 200 × 100 lie to the left and below the corner, 20 wide and 40 high.
    shares = np.array([(100 - 20) / 200, 10 / 100, 20 / 200, 40 / 100])
    expected = shares * [record.width, record.height, record.width, record.height]
    assert cat.box.as_list() == pytest.approx(expected.tolist(), abs=0.6)


def test_annotations_of_a_viewer_are_read_as_tags_on_canvases(index: Index, tmp_path: Path) -> None:
    page = {
        "type": "AnnotationPage",
        "items": [
            {
                "type": "Annotation",
                "motivation": "tagging",
                "body": [{"type": "TextualBody", "value": "cat", "purpose": "tagging"}],
                "target": "https://x.example/a/2.png#xywh=pixel:1,2,3,4",
            },
            {
                "type": "Annotation",
                "body": {"type": "TextualBody", "value": "leaf"},
                "target": {
                    "source": "https://x.example/b/2.png/canvas/1",
                    "selector": {"type": "SvgSelector", "value": '<svg><path d="M1,1 L5,1 L5,6 Z"/></svg>'},
                },
            },
            {"type": "Annotation", "body": {"type": "Dataset"}, "target": "https://x.example/b/2.png"},
        ],
    }
    path = tmp_path / "page.json"
    path.write_text(json.dumps(page))
    done = correct(index, *read_detections(path))
    assert (done.images, done.things, done.unknown) == (2, 2, ())
    names = {record.name: record.id for record in index.images()}
    user = [
        (name.removeprefix("scans/"), one.detection.label, one.detection.box.as_list())
        for name, number in names.items()
        for one in index.detections(number)
        if one.origin == USER
    ]
    assert [(name.rpartition("scans/")[2], label) for name, label, _ in user] == [
        ("a/2.png", "cat"),
        ("b/2.png", "leaf"),
    ]
    assert user[0][2] == [1, 2, 3, 4]


def test_images_that_are_not_in_are_told(index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "things.csv"
    rows = [f'{name},0,dog,"1,2,3,4"' for name in ("gone.png", "2.png", "c.png")]
    path.write_text("\n".join(["image,page,label,region", *rows]))
    index.close()
    words = ["detect", "import", str(index.path), str(path), "--labels", "cat, bird", "--format", "json"]
    assert command_line.main(words, standalone_mode=False) == 1
    out, err = capsys.readouterr()
    assert json.loads(out) == {"images": 1, "things": 1, "labels": ["cat", "bird", "dog"], "unknown": 2}
    assert err.count("passed over") == 2  # there are two images called 2.png


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("x.json", "{", "damaged JSON"),
        ("x.json", '{"a": 1}', "neither COCO, YOLO, W3C annotations, Label Studio nor a table"),
        ("x.csv", "image,label\n", "no column region"),
        ("x.csv", 'image,label,region\na.png,dog,"1,2,3"\n', "not as it should be"),
        ("x.json", '{"images": [], "annotations": [{"category_id": 1}]}', "not as it should be"),
        ("x.jsonl", "nonsense\n", "not as it should be"),
        ("gone.json", None, "no such file"),
    ],
)
def test_a_file_that_cannot_be_read_is_told(name: str, text: str | None, words: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=words):
        read_detections(tmp_path / name)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("data.yaml", "train: x\nnames: [a b, 'c']\nnc: 2\n"),
        ("data.yaml", "names:\n  0: a b\n  1: c\nval: y\n"),
        ("data.yaml", "names:\n- a b\n- c\n"),
        ("classes.txt", "a b\nc\n"),
    ],
)
def test_folders_of_yolo_s_tools_are_read(file: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / file).write_text(text)
    (tmp_path / "labels" / "x.txt").write_text("1 0.5 0.5 0.25 0.5\n0 0.1 0.1 0.5 0.1 0.5 0.5\n")
    (tmp_path / "labels" / "empty.txt").write_text("")
    (empty, told), names = read_detections(tmp_path)
    assert names == ["a b", "c"]
    assert (empty.image, empty.found) == ("empty", ())
    box, outline = told.found
    assert (box.label, box.box, outline.label) == ("c", Region(0.375, 0.25, 0.25, 0.5), "a b")
    assert len(outline.polygons[0]) == 3
    (tmp_path / "labels" / "x.txt").write_text("7 0.5 0.5 0.25 0.5\n")
    with pytest.raises(InputError, match=r"x\.txt: class 7, but there are names of 2"):
        read_detections(tmp_path)
    (tmp_path / file).unlink()
    with pytest.raises(InputError, match="does not name its classes"):
        read_detections(tmp_path)


def test_yolo_s_images_are_written_upright_beside_their_labels(tmp_path: Path) -> None:
    pixels = np.full((30, 40, 3), 200, np.uint8)
    cv2.imwrite(str(tmp_path / "x.png"), pixels)
    opened = Index.create(tmp_path / "i.calque")
    with opened:
        opened.add([tmp_path / "x.png"], workers=0)
        opened.set_detections("m-1()", {1: [Detection(Region(10, 6, 20, 15), 'a "b": c', 0.5)]})
        write_yolo(tmp_path / "out", seen_images(opened), pictures=True)
        (label,) = (tmp_path / "out" / "labels").iterdir()
        assert label.read_text() == "0 0.500000 0.450000 0.500000 0.500000\n"
        assert cv2.imread(str(tmp_path / "out" / "images" / f"{label.stem}.jpg")).shape == pixels.shape
        (told,), names = read_detections(tmp_path / "out")
        assert names == ['a "b": c']
        assert correct(opened, [told], names).images == 1


# Masks as COCO has them


@given(arrays.arrays(bool, arrays.array_shapes(min_dims=2, max_dims=2, max_side=12)))
def test_runs_are_those_of_coco_s_own_tools(mask: np.ndarray) -> None:
    encoded = theirs.encode(np.asfortranarray(mask.astype(np.uint8)))
    runs = runs_of(mask)
    assert text_of_runs(runs).encode() == encoded["counts"]
    size = list(mask.shape)
    for counts in (runs, text_of_runs(runs), encoded["counts"]):
        np.testing.assert_array_equal(mask_of_runs({"size": size, "counts": counts}), mask)


@given(st.lists(st.integers(0, 100_000), min_size=1, max_size=8))
def test_long_runs_survive_their_text(runs: list[int]) -> None:
    total = sum(runs)
    if 0 < total < 200_000:
        mask = mask_of_runs({"size": [1, total], "counts": text_of_runs(runs)})
        assert mask.sum() == sum(runs[1::2])


def test_a_thing_with_a_hole_is_no_filled_polygon_for_coco() -> None:
    mask = np.zeros((30, 40), bool)
    mask[5:25, 5:35] = True
    mask[10:20, 15:25] = False
    segmentation, area = coco_segmentation(polygons_of(mask), 40, 30)
    assert isinstance(segmentation, dict)
    assert area == mask.sum()
    np.testing.assert_array_equal(mask_of_runs(segmentation), mask)
    assert len(outlines_of(segmentation)) == 2
    parts, area = coco_segmentation(polygons_of(mask[:, :10]), 40, 30)
    assert isinstance(parts, list)
    assert area == 100
    with pytest.raises(ValueError, match="runs of 5 pixels for a mask of 3 x 2"):
        outlines_of({"size": [2, 3], "counts": [2, 3]})


def test_what_is_exported_can_be_chosen(index: Index, capsys: pytest.CaptureFixture[str]) -> None:
    def told(*words: str) -> Any:
        capsys.readouterr()
        assert command_line.main(["detect", "export", str(index.path), *words], standalone_mode=False) == 0
        return capsys.readouterr().out

    document = json.loads(told("--things", "object=dog or object=leaf and score>0.75"))
    assert [item["score"] for item in document["annotations"]] == [0.8]
    assert len(document["images"]) == 3
    document = json.loads(told("--where", "object=face"))
    assert len(document["images"]) == 1
    assert document["annotations"][1]["keypoints"][:3] == [4.0, 5.0, 2]
    assert told("--counts", "--format", "csv").splitlines()[1] == "dog,1,1,1,1,1,1,1,1,1,1,0"
    with pytest.raises(InputError, match="asks for 'date'; a condition on things has: object, score"):
        told("--things", "date<1900")
    document = detection_document("iiif", seen_images(index), "https://x.example/")
    svg = document["items"][1]["annotations"][0]["items"][0]["target"]["selector"][1]["value"]
    assert svg.count(" Z") == 2
    assert 'fill-rule="evenodd"' in svg
