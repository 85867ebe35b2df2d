"""Detectors in ONNX: every form of output against a plain decoding, the page's way into the input and back, bad files.

The networks are those of `tests.onnx_models`.
"""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING

import cv2
import numpy as np
import onnx
import pytest

from matcher._onnx import describe
from matcher.errors import InputError, MissingDependency
from matcher.images import Scan
from matcher.layout_onnx import OnnxDetector
from matcher.registry import segmenter_named
from tests.onnx_models import NAMES, fixed, seeing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matcher.layout import Layout

KINDS = {"Picture": "illustration", "Text": "text", "Drop-Capital": "initial"}
LEAST, OVERLAP = 0.25, 0.6
Told = tuple[str, list[float], float]


def page(width: int, height: int, box: tuple[int, int, int, int], scale: float = 1.0) -> Scan:
    """Return a light page with a dark box, that stands for one `scale` times as large."""
    pixels = np.full((height, width, 3), 255, np.uint8)
    x, y, wide, high = box
    pixels[y : y + high, x : x + wide] = 0
    return Scan(pixels, round(width * scale), round(height * scale), scale, scale)


def found(layout: Layout) -> list[Told]:
    return [(region.kind, region.box.as_list(), region.score) for region in layout.regions]


# The plain decoding


def overlap(a: Sequence[float], b: Sequence[float]) -> float:
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    if wide <= 0 or high <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return wide * high / (sum(areas) - wide * high)


def expected(
    rows: list[tuple[list[float], list[float]]], width: int, height: int
) -> list[tuple[str, list[float], float]]:
    """Return what rows of (corners as shares of the page, scores of classes) amount to."""
    known = []
    for corners, scores in rows:
        best = max(range(len(scores)), key=lambda number: scores[number])
        if scores[best] > LEAST:
            known.append((scores[best], best, corners))
    kept: list[tuple[float, int, list[float]]] = []
    for score, best, corners in sorted(known, key=lambda one: -one[0]):
        if all(best != other or overlap(corners, box) <= OVERLAP for _, other, box in kept):
            kept.append((score, best, corners))
    told = []
    for score, best, corners in kept:
        if NAMES[best] in KINDS:
            left, top, right, bottom = (min(max(share, 0.0), 1.0) for share in corners)
            if right > left and bottom > top:
                box = [left * width, top * height, (right - left) * width, (bottom - top) * height]
                told.append((KINDS[NAMES[best]], box, score))
    return told


def centred(box: Sequence[float]) -> list[float]:
    x, y, wide, high = box
    return [x - wide / 2, y - high / 2, x + wide / 2, y + high / 2]


FORMS = ("yolo", "objectness", "chosen", "queries", "detr sigmoid", "detr softmax")


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("form", FORMS)
def test_each_form_of_output_is_decoded_as_a_plain_decoder_does(form: str, seed: int, tmp_path: Path) -> None:
    random = np.random.default_rng(seed)
    high, wide, many, classes = 96, 64, 40, len(NAMES)
    boxes = np.column_stack([random.uniform(0.1, 0.9, (many, 2)), random.uniform(0.05, 0.5, (many, 2))])
    scores = random.uniform(0, 1, (many, classes)) ** 2
    sides = np.array([wide, high, wide, high])
    rows: list[tuple[list[float], list[float]]] = []
    if form == "yolo":
        values = [np.hstack([boxes * sides, scores]).T[None]]
        rows = [(centred(box), list(told)) for box, told in zip(boxes, scores, strict=True)]
    elif form == "objectness":
        anything = random.uniform(0, 1, (many, 1))
        values = [np.hstack([boxes * sides, anything, scores])[None]]
        rows = [(centred(box), list(told)) for box, told in zip(boxes, anything * scores, strict=True)]
    elif form == "chosen":
        numbers = random.integers(0, classes, many)
        corners = np.array([centred(box) for box in boxes])
        values = [np.column_stack([corners * sides, scores[:, 0], numbers])[None]]
        rows = [
            (list(box), [score if k == number else -1.0 for k in range(classes)])
            for box, score, number in zip(corners, scores[:, 0], numbers, strict=True)
        ]
    elif form == "queries":
        values = [np.hstack([boxes, scores])[None]]
        rows = [(centred(box), list(told)) for box, told in zip(boxes, scores, strict=True)]
    else:
        raw = random.normal(0, 2, (many, classes + (form == "detr softmax")))
        values = [raw[None], boxes[None]][:: 1 if seed % 2 else -1]
        for box, told in zip(boxes, raw, strict=True):
            raised = np.exp(told)
            chances = raised[:-1] / raised.sum() if form == "detr softmax" else raised / (1 + raised)
            rows.append((centred(box), list(chances)))
    detector = OnnxDetector(str(fixed(tmp_path / "model.onnx", *values)))
    layout = detector.segment(page(wide, high, (10, 10, 20, 20), scale=5))
    wanted = sorted(expected(rows, 5 * wide, 5 * high), key=lambda one: -one[2])
    assert len(wanted) > 3
    assert [one[0] for one in found(layout)] == [one[0] for one in wanted]
    for one, other in zip(found(layout), wanted, strict=True):
        assert one[1] == pytest.approx(other[1], abs=0.05)
        assert one[2] == pytest.approx(other[2], abs=1e-3)


@pytest.mark.parametrize("shares", [False, True], ids=["yolo", "detr"])
@pytest.mark.parametrize(("width", "height"), [(64, 96), (400, 300), (200, 700), (30, 40)])
def test_boxes_come_back_to_where_they_are_on_the_page(width: int, height: int, shares: bool, tmp_path: Path) -> None:
    box = (round(0.2 * width), round(0.3 * height), round(0.5 * width), round(0.4 * height))
    detector = OnnxDetector(str(seeing(tmp_path / "model.onnx", shares=shares)))
    ((kind, place, score),) = found(detector.segment(page(width, height, box, scale=3)))
    assert (kind, score) == ("illustration", pytest.approx(0.9, abs=1e-3))
    pixel = 3 * max(width / 64, height / 96)
    assert place == pytest.approx([3 * edge for edge in box], abs=1.5 * pixel)


def test_grey_pages_and_open_sizes(tmp_path: Path) -> None:
    rows = np.array([[32, 48, 20, 30, 0.9, 0, 0, 0]] + [[0.0] * 8] * 9).T[None]
    path = fixed(tmp_path / "open.onnx", rows, size=("height", "width"))
    path.with_suffix(".json").write_text(json.dumps({"size": [64, 96], "mean": [0.5] * 3, "std": [0.5] * 3}))
    scan = page(64, 96, (0, 0, 5, 5))
    gray = Scan(scan.pixels[..., 0], 64, 96, 1.0, 1.0)
    ((_, box, _),) = found(OnnxDetector(str(path)).segment(gray))
    assert box == pytest.approx([22, 33, 20, 30], abs=0.05)


def test_the_size_that_ultralytics_notes(tmp_path: Path) -> None:
    rows = np.array([[160, 320, 32, 64, 0.9, 0, 0, 0]] + [[0.0] * 8] * 9).T[None]
    path = fixed(tmp_path / "open.onnx", rows, size=("height", "width"))
    model = onnx.load(path)
    model.metadata_props.add(key="imgsz", value="[640, 320]")
    onnx.save(model, path)
    ((_, box, _),) = found(OnnxDetector(str(path)).segment(page(32, 64, (0, 0, 5, 5))))
    assert box == pytest.approx([14.4, 28.8, 3.2, 6.4], abs=0.02)


# Names


def test_names_beside_the_model_come_before_those_in_it(tmp_path: Path) -> None:
    rows = np.array([[32, 48, 20, 30, 0.9, 0, 0, 0]] + [[0.0] * 8] * 9).T[None]
    path = fixed(tmp_path / "model.onnx", rows)
    before = OnnxDetector(str(path))
    path.with_suffix(".json").write_text(json.dumps({"names": {"0": "Vignette", "1": "a", "2": "b", "3": "c"}}))
    after = segmenter_named(f"onnx:{path}")
    kinds = [found(detector.segment(page(64, 96, (0, 0, 5, 5))))[0][0] for detector in (before, after)]
    assert kinds == ["illustration", "ornament"]
    assert before.signature != after.signature
    assert before.signature.startswith("onnx-1(model.onnx, ")


def test_a_model_without_names_says_where_to_give_them(tmp_path: Path) -> None:
    path = fixed(tmp_path / "model.onnx", np.zeros((1, 8, 40)), names=None)
    with pytest.raises(InputError, match=r"does not name its classes; name them in order in .*model\.json"):
        OnnxDetector(str(path))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "damaged JSON"),
        ("[1]", "not an object"),
        ('{"names": 3}', "names of its classes cannot be read"),
        ('{"names": []}', "names of its classes cannot be read"),
        ('{"names": ["a", "b", "c", "d"], "mean": [1]}', "mean is .1.; give three numbers"),
        ('{"names": ["a", "b", "c", "d"], "std": [0, 0, 0]}', "std is"),
    ],
)
def test_what_is_said_beside_a_model_must_be_right(text: str, says: str, tmp_path: Path) -> None:
    path = fixed(tmp_path / "model.onnx", np.zeros((1, 8, 40)))
    path.with_suffix(".json").write_text(text)
    with pytest.raises(InputError, match=says):
        OnnxDetector(str(path))


# Files that are no such models


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        segmenter_named(f"onnx:{tmp_path / 'none.onnx'}")


@pytest.mark.parametrize("content", [b"", b"not a model at all", b"\x3a\xff\xff\xff\x7f", bytes(range(256))])
def test_what_is_no_model(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"model\.onnx: damaged, or no ONNX model"):
        OnnxDetector(str(path))


def test_a_model_cut_off_anywhere_is_an_error_of_ours(tmp_path: Path) -> None:
    whole = fixed(tmp_path / "model.onnx", np.zeros((1, 8, 40))).read_bytes()
    path = tmp_path / "cut.onnx"
    for length in range(0, len(whole) - 1, 97):
        path.write_bytes(whole[:length])
        with pytest.raises((InputError, MissingDependency), match=r"cut\.onnx"):
            OnnxDetector(str(path))


def test_a_model_of_something_else_is_told_by_its_output(tmp_path: Path) -> None:
    path = fixed(tmp_path / "model.onnx", np.zeros((1, 1000)))
    with pytest.raises(InputError, match=r"gives \(1, 1000\), which is neither a YOLO nor a DETR model of 4 classes"):
        OnnxDetector(str(path))


def test_a_description_is_what_the_package_onnx_reads(tmp_path: Path) -> None:
    path = fixed(tmp_path / "model.onnx", np.zeros((1, 8, 40)), size=("height", 64))
    told = describe(path.read_bytes())
    assert told.inputs == {"images": (1, 3, None, 64)}
    assert told.outputs == {"output0": (1, 8, 40)}
    assert told.metadata == {"names": str(dict(enumerate(NAMES)))}


# Where OpenCV cannot


class _Unable:
    def __init__(self, data: bytes) -> None:
        raise cv2.error("unknown layer")


def test_without_onnxruntime_the_error_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fixed(tmp_path / "model.onnx", np.zeros((1, 8, 40)))
    monkeypatch.setattr("matcher.onnx_boxes._ByOpenCV", _Unable)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingDependency, match=r"OpenCV cannot run it.*pip install onnxruntime"):
        OnnxDetector(str(path))


def test_onnxruntime_is_asked_where_opencv_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in of the interface that is used: a session made of bytes, run with inputs by name."""
    path = fixed(tmp_path / "model.onnx", np.zeros((1, 8, 40)))
    rows = np.array([[32, 48, 20, 30, 0.9, 0, 0, 0]] + [[0.0] * 8] * 9, np.float32).T[None]

    class Session:
        def __init__(self, data: bytes, options: object, providers: list[str]) -> None:
            assert data == path.read_bytes()

        def run(self, outputs: None, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
            assert inputs["images"].shape == (1, 3, 96, 64)
            return [rows]

    monkeypatch.setattr("matcher.onnx_boxes._ByOpenCV", _Unable)
    stand_in = SimpleNamespace(SessionOptions=SimpleNamespace, InferenceSession=Session)
    monkeypatch.setitem(sys.modules, "onnxruntime", stand_in)
    ((kind, box, _),) = found(OnnxDetector(str(path)).segment(page(64, 96, (0, 0, 5, 5))))
    assert (kind, box) == ("illustration", pytest.approx([22, 33, 20, 30], abs=0.05))
