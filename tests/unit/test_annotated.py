"""Annotations of others, and how documents are divided."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from index.annotated import document_of, held_documents, read_annotated, split
from index.masks import mask_of_runs
from index.painted import find_painted, read_mask
from matcher.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


def write_image(path: Path, size: tuple[int, int] = (80, 60), **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (200, 190, 180)).save(path, **options)
    return path


def test_coco_with_polygons_masks_crowds_and_a_missing_image(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    write_image(tmp_path / "images" / "a 1.jpg", exif=exif)  # seen upright it is 60 × 80
    mask = np.zeros((80, 60), bool)
    mask[10:30, 20:50] = True
    runs = np.diff(np.flatnonzero(np.concatenate([[True], np.diff(mask.T.ravel()), [True]]))).tolist()
    document = {
        "images": [
            {"id": 1, "file_name": "a 1.jpg", "width": 60, "height": 80},
            {"id": 2, "file_name": "gone.jpg", "width": 60, "height": 80},
        ],
        "categories": [{"id": 3, "name": "stain"}, {"id": 9, "name": "stamp"}, {"id": 11, "name": "unused"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 9, "bbox": [5, 5, 10, 8]},
            {"id": 2, "image_id": 1, "category_id": 3, "segmentation": {"size": [80, 60], "counts": runs}},
            {"id": 3, "image_id": 1, "category_id": 3, "segmentation": [[1, 1, 11, 1, 11, 21]], "iscrowd": 1},
            {"id": 4, "image_id": 1, "category_id": 3, "bbox": [5, 5, 0, 8]},
        ],
    }
    (tmp_path / "coco.json").write_text(json.dumps(document))
    found = read_annotated(tmp_path)
    assert found.classes == ("stain", "stamp")
    assert found.failures == (("gone.jpg", "not there"),)
    (image,) = found.images
    assert image.size == (60, 80)
    stamp, stain = image.things
    assert stamp.box.as_list() == [5, 5, 10, 8]
    assert stain.area == pytest.approx(mask.sum(), rel=0.02)
    assert stain.box.as_list() == pytest.approx([19.5, 9.5, 30, 20], abs=0.6)
    assert [crowd.label for crowd in image.crowds] == ["stain"]


def test_masks_of_runs_are_those_of_cocos_own_tools():
    tools = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(2)
    for shape in ((37, 51), (300, 7)):
        mask = rng.random(shape) < 0.4
        told = tools.encode(np.asfortranarray(mask.astype(np.uint8)))
        np.testing.assert_array_equal(mask_of_runs({"size": shape, "counts": told["counts"].decode()}), mask)
    with pytest.raises(ValueError, match="for a mask of"):
        mask_of_runs({"size": [4, 4], "counts": [3, 4]})


@pytest.mark.parametrize(
    "names",
    [
        "names: [stamp, 'shelf mark']",
        'names:\n  0: stamp  # round\n  1: "shelf mark"\nnc: 2',
        "names:\n- stamp\n- shelf mark\n",
        'names: {1: shelf mark, 0: "stamp"}',
    ],
)
def test_a_folder_of_yolos(tmp_path, names):
    write_image(tmp_path / "images" / "train" / "a.png", (100, 50))
    write_image(tmp_path / "images" / "val" / "b.png", (100, 50))
    write_image(tmp_path / "images" / "val" / "nothing.png", (100, 50))
    (tmp_path / "images" / "val" / "broken.jpg").write_text("no picture")
    for part, stem, text in (
        ("train", "a", "1 0.5 0.5 0.2 0.4\n\n0 0.1 0.1 0.3 0.1 0.3 0.5\n"),
        ("val", "b", "0 0.5 0.5 0.2 0.4 0.93\n"),
        ("val", "broken", "0 0.5 0.5 0.2 0.4\n"),
    ):
        (tmp_path / "labels" / part).mkdir(parents=True, exist_ok=True)
        (tmp_path / "labels" / part / f"{stem}.txt").write_text(text)
    (tmp_path / "data.yaml").write_text(f"path: .\ntrain: images/train\n{names}\n")
    found = read_annotated(tmp_path)
    assert found.classes == ("stamp", "shelf mark")
    assert [name for name, _ in found.failures] == ["images/val/broken.jpg"]
    things = {image.path.name: image.things for image in found.images}
    mark, stamp = things["a.png"]
    assert (mark.label, mark.box.as_list()) == ("shelf mark", pytest.approx([40, 15, 20, 20]))
    assert stamp.polygons[0].tolist() == [[10, 5], [30, 5], [30, 25]]
    assert things["nothing.png"] == ()
    learned, validated = split(found.images, 0.5, 1)
    assert [one.path.name for one in learned] == ["a.png"]
    assert {one.path.name for one in validated} == {"b.png", "nothing.png"}


@pytest.mark.parametrize(
    ("text", "said"), [("0 0.5 x 0.2 0.4", "line 1"), ("0 0.5 0.5 0.2", "3 numbers"), ("-1 0.5 0.5 0.2 0.4", "line 1")]
)
def test_a_line_that_is_none_of_yolos_is_told(tmp_path, text, said):
    write_image(tmp_path / "a.png")
    write_image(tmp_path / "b.png")
    (tmp_path / "a.txt").write_text(text)
    (tmp_path / "b.txt").write_text("0 0.5 0.5 0.2 0.4")
    ((name, reason),) = read_annotated(tmp_path).failures
    assert name.endswith("a.txt")
    assert said in reason


def test_what_is_no_annotation_is_refused(tmp_path):
    (tmp_path / "notes.json").write_text('{"images": []}')
    write_image(tmp_path / "a.png")
    for path, said in (
        (tmp_path / "notes.json", "not COCO"),
        (tmp_path / "a.png", "neither a COCO file"),
        (tmp_path, "no image with a text file"),
    ):
        with pytest.raises(InputError, match=said):
            read_annotated(path)


@given(
    st.dictionaries(st.text("abc", min_size=1, max_size=4), st.floats(0.25, 30), min_size=2, max_size=30),
    st.floats(0.05, 0.6),
    st.integers(0, 5),
)
def test_some_documents_are_kept_from_training_and_some_are_not(weights, share, seed):
    held = held_documents(weights, share, seed)
    assert 0 < len(held) < len(weights)
    assert held <= set(weights)


def test_pages_of_one_document_are_told_by_their_names():
    assert document_of("a/bpt6k123_f12.jpg") == document_of("a/bpt6k123_f9.jpg") == "a/bpt6k123"
    assert document_of("a/p_001.jpg") == document_of("a/p_002.jpg")
    assert document_of("MS-12 fol 3r.tif") == document_of("MS-12 fol 14v.tif")
    assert document_of("a/p_001.jpg") != document_of("b/p_001.jpg")


def test_masks_as_editors_leave_them(tmp_path):
    painted = np.zeros((60, 80), bool)
    painted[10:20, 30:40] = True
    forms = {
        "bilevel": Image.fromarray(painted),
        "grey": Image.fromarray(painted.astype(np.uint8) * 255),
        "one": Image.fromarray(painted.astype(np.uint8)),
        "deep": Image.fromarray(painted.astype(np.uint16) * 65535),
        "red": Image.fromarray(np.where(painted[..., None], [255, 0, 0], [0, 0, 0]).astype(np.uint8)),
        "layer": Image.fromarray(
            np.where(painted[..., None], [0, 0, 0, 255], [255, 255, 255, 0]).astype(np.uint8), "RGBA"
        ),
    }
    for name, picture in forms.items():
        write_image(tmp_path / "images" / f"{name}.jpg")
        (tmp_path / "masks").mkdir(exist_ok=True)
        picture.save(tmp_path / "masks" / f"{name}.png")
    write_image(tmp_path / "images" / "without.jpg")
    found = find_painted(tmp_path)
    assert {one.path.stem for one in found} == set(forms)
    for one in found:
        np.testing.assert_array_equal(read_mask(one.mask, (80, 60), ["crack"]), painted, err_msg=one.path.stem)
    with pytest.raises(InputError, match="80 × 60 pixels"):
        read_mask(found[0].mask, (60, 80), ["crack"])
    (tmp_path / "masks" / "grey.png").write_bytes(b"\x89PNG broken")
    with pytest.raises(InputError, match="no mask that can be read"):
        read_mask(tmp_path / "masks" / "grey.png", (80, 60), ["crack"])


def test_masks_with_several_classes_name_them_all(tmp_path):
    values = np.zeros((60, 80), np.uint8)
    values[:10], values[10:20], values[20:30] = 1, 2, 255
    Image.fromarray(values).save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png", (80, 60), ["crack", "loss"]), values)
    values[0, 0] = 7
    Image.fromarray(values).save(tmp_path / "m.png")
    with pytest.raises(InputError, match="numbers 7"):
        read_mask(tmp_path / "m.png", (80, 60), ["crack", "loss"])
