"""Detectors of the default install: YOLOX against a decoding written out here, YuNet, models by path."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from PIL import Image

from index.detecting import ask, detect_in_sources
from matcher.detection import Detection
from matcher.detection_drawings import colour_of, drawn
from matcher.detection_onnx import COCO_CLASSES, OnnxObjects
from matcher.detectors import DETECTORS, detector_named
from matcher.errors import InputError
from matcher.faces import YuNet, aligned_face, average_face
from matcher.images import Scan, read_image
from matcher.types import Region, Transform
from tests.onnx_models import NAMES, fixed, seeing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

LEAST, OVERLAP = 0.3, 0.45


@pytest.fixture
def weights(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CALQUE_MODELS", str(shared_data / "weights"))
    return shared_data / "weights"


def scan_of(pixels: NDArray, scale: float = 1.0) -> Scan:
    rows, columns = pixels.shape[:2]
    return Scan(pixels, round(columns * scale), round(rows * scale), scale, scale)


def plain(found: list[Detection]) -> list[tuple[str, float, list[float]]]:
    return [(one.label, one.score, one.box.as_list()) for one in found]


# YOLOX, decoded plainly


def cells(width: int, height: int) -> Iterator[tuple[int, int, int]]:
    for stride in (8, 16, 32):
        for row in range(height // stride):
            for column in range(width // stride):
                yield column, row, stride


def decoded(rows: NDArray, names: list[str], size: tuple[int, int], factor: float, image: tuple[int, int]) -> list:
    """Return label, score and box of each thing that raw rows of YOLOX mean, the surest first."""
    known = []
    for (column, row, stride), values in zip(cells(*size), rows.tolist(), strict=True):
        x, y, wide, high, anything, *classes = values
        best = max(range(len(classes)), key=lambda number: classes[number])
        score = anything * classes[best]
        if score > LEAST:
            cx, cy = (x + column) * stride / factor, (y + row) * stride / factor
            w, h = math.exp(wide) * stride / factor, math.exp(high) * stride / factor
            known.append((score, best, (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)))
    kept: list = []
    for score, best, box in sorted(known, key=lambda one: -one[0]):
        edges = Region(box[0], box[1], box[2] - box[0], box[3] - box[1])
        if all(best != other or edges.iou(region) <= OVERLAP for _, other, region in kept):
            kept.append((score, best, edges))
    told = []
    for score, best, region in kept:
        inside = region.clipped(*image)
        if inside is not None:
            told.append((names[best], score, inside.as_list()))
    return told


def same(found: list, expected: list, within: float) -> None:
    assert [label for label, *_ in found] == [label for label, *_ in expected]
    for (_, score, box), (_, wanted, edges) in zip(found, expected, strict=True):
        assert score == pytest.approx(wanted, abs=1e-3)
        assert box == pytest.approx(edges, abs=within)


def test_raw_output_of_yolox_is_decoded_cell_by_cell(tmp_path: Path) -> None:
    wide, high = 96, 64
    random = np.random.default_rng(3)
    rows = np.zeros((1, sum(1 for _ in cells(wide, high)), 5 + len(NAMES)), np.float32)
    rows[..., :2] = random.normal(0.5, 0.5, rows[..., :2].shape)
    rows[..., 2:4] = random.normal(0.3, 0.4, rows[..., 2:4].shape)
    rows[..., 4:] = random.random(rows[..., 4:].shape)
    found = OnnxObjects(str(fixed(tmp_path / "m.onnx", rows, size=(high, wide)))).detect(
        scan_of(np.zeros((300, 150, 3), np.uint8)), LEAST
    )
    expected = decoded(rows[0], NAMES, (wide, high), high / 300, (150, 300))
    assert len(expected) > 20
    expected.sort(key=lambda one: (-round(one[1], 4), one[0], one[2]))
    same(plain(found), expected, 1e-2)


def test_yolox_nano_sees_what_its_network_says(weights: Path, shared_data: Path) -> None:
    path = shared_data / "various" / "BSDS500__101085.jpg"
    pixels = cv2.imread(str(path))
    high, wide = pixels.shape[:2]
    factor = 416 / max(high, wide)
    sheet = np.full((416, 416, 3), 114, np.uint8)
    reduced = cv2.resize(pixels, (round(wide * factor), round(high * factor)), interpolation=cv2.INTER_AREA)
    sheet[: reduced.shape[0], : reduced.shape[1]] = reduced
    net = cv2.dnn.readNetFromONNX(str(weights / "yolox_nano" / "yolox_nano.onnx"))
    net.setInput(sheet.transpose(2, 0, 1)[None].astype(np.float32))
    expected = decoded(net.forward()[0], list(COCO_CLASSES), (416, 416), factor, (wide, high))
    found = detector_named("yolox-nano").detect(read_image(path, gray=False))
    assert [label for label, *_ in expected] == ["elephant"] * 3
    same(plain(found), expected, 0.75)


def test_yolox_exported_with_its_decoding_is_not_decoded_again(tmp_path: Path) -> None:
    rows = np.zeros((1, sum(1 for _ in cells(96, 64)), 5 + len(NAMES)), np.float32)
    rows[0, 0] = [48, 32, 24, 16, 1.0, 0.0, 0.0, 0.9, 0.0]
    found = OnnxObjects(str(fixed(tmp_path / "m.onnx", rows, size=(64, 96)))).detect(
        scan_of(np.zeros((64, 96, 3), np.uint8))
    )
    assert plain(found) == [("person", 0.9, [36.0, 24.0, 24.0, 16.0])]


def test_a_box_follows_its_image_when_that_is_resized_mirrored_or_turned(tmp_path: Path) -> None:
    """Through files: an EXIF turn, a larger copy and a mirrored one move the box by the same affine."""
    model = f"onnx:{seeing(tmp_path / 'm.onnx', shares=True)}"
    asked, detector = ask(model)
    page = np.full((300, 400, 3), 255, np.uint8)
    page[60:120, 100:260] = 0
    copies: dict[str, tuple[NDArray, Transform, int]] = {
        "plain": (page, Transform(np.eye(3)), 1),
        "mirrored": (page[:, ::-1], Transform(np.array([[-1.0, 0, 400], [0, 1, 0], [0, 0, 1]])), 1),
        "larger": (cv2.resize(page, (800, 900)), Transform(np.diag([2.0, 3.0, 1.0])), 1),
        # Stored lying on its side; orientation 6 says: turn it clockwise to see it.
        "turned": (np.rot90(page, 1), Transform(np.eye(3)), 6),
        "quarter": (np.rot90(page, -1), Transform(np.array([[0.0, -1, 300], [1, 0, 0], [0, 0, 1]])), 1),
        "huge": (cv2.resize(page, (4000, 3000)), Transform(np.diag([10.0, 10.0, 1.0])), 1),
    }
    for name, (pixels, _, orientation) in copies.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(np.ascontiguousarray(pixels)).save(tmp_path / f"{name}.png", exif=exif)
    wanted = Detection(Region(100, 60, 160, 60), "Picture", 0.9)
    for name, (_, transform, _) in copies.items():
        (image,) = detect_in_sources([tmp_path / f"{name}.png"], asked, detector, workers=0)
        (thing,) = image.found
        assert (thing.label, thing.score) == ("Picture", 0.9)
        box = wanted.moved(transform).box
        # The network has 96 × 64 pixels to see an image of any size with.
        step = max(image.width / 96, image.height / 64)
        assert thing.box.as_list() == pytest.approx(box.as_list(), abs=2 * step), name
        assert thing.box.iou(box) > 0.85, name


def test_a_detector_of_classes_takes_no_phrase(tmp_path: Path) -> None:
    path = fixed(tmp_path / "m.onnx", np.zeros((1, 8, 12), np.float32))
    with pytest.raises(InputError, match="looks for no phrase; leave out 'umbrella'"):
        OnnxObjects(str(path)).detect(scan_of(np.zeros((64, 96, 3), np.uint8)), phrases=["umbrella"])
    with pytest.raises(InputError, match="looks for no phrase"):
        ask(f"onnx:{path}", ["umbrella"])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("yolox-nan", "did you mean 'yolox-nano'"),
        ("yunet:x.onnx", "takes no model of its own; leave out ':x.onnx'"),
        ("onnx", "needs a model; give its path: onnx:PATH"),
        ("onnx:gone.onnx", "gone.onnx: no such file"),
    ],
)
def test_a_name_that_cannot_be_is_told_with_its_remedy(name: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        detector_named(name)


def test_signatures_say_name_and_weights(weights: Path) -> None:
    assert detector_named("yolox-nano").signature == "yolox-nano-1(yolox_nano.onnx, e8af074932d4)"
    assert detector_named("yunet").signature.startswith("yunet-1(104ee26c71d5, ")
    assert detector_named("layout").labels == ("text", "illustration", "ornament", "initial")
    assert set(DETECTORS) >= {"yolox-nano", "yunet", "layout", "onnx"}


# Faces


@pytest.fixture
def portrait(shared_data: Path) -> Scan:
    return read_image(shared_data / "various" / "BSDS500__302003.jpg", gray=False)


def test_a_face_and_its_landmarks_follow_their_image(weights: Path, portrait: Scan) -> None:
    yunet = YuNet()
    (face,) = yunet.detect(portrait)
    assert face.label == "face"
    right_eye, left_eye, nose, right_mouth, left_mouth = face.landmarks
    assert right_eye[0] < nose[0] < left_eye[0]  # the person's right is on our left
    assert max(right_eye[1], left_eye[1]) < nose[1] < min(right_mouth[1], left_mouth[1])
    assert face.box.contains(face.landmarks).all()
    pixels = portrait.pixels
    (mirrored,) = yunet.detect(scan_of(pixels[:, ::-1]))
    flip = Transform(np.array([[-1.0, 0, portrait.width - 1], [0, 1, 0], [0, 0, 1]]))
    assert mirrored.box.iou(face.moved(flip).box) > 0.8
    swapped = flip.apply(face.landmarks)[[1, 0, 2, 4, 3]]
    assert np.abs(mirrored.landmarks - swapped).max() < 0.1 * face.box.width
    (half,) = yunet.detect(scan_of(cv2.resize(pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), 2.0))
    assert half.box.iou(face.box) > 0.8
    (gray,) = yunet.detect(portrait.gray())
    assert gray.box.iou(face.box) > 0.8


def test_a_face_that_fills_its_image_is_found(weights: Path, portrait: Scan) -> None:
    (face,) = YuNet().detect(portrait)
    x, y, wide, high = (round(edge) for edge in face.box.as_list())
    close = portrait.pixels[max(0, y - high // 6) : y + high + high // 6, max(0, x - wide // 6) : x + wide + wide // 6]
    large = cv2.resize(close, None, fx=1500 / close.shape[0], fy=1500 / close.shape[0])
    (found,) = YuNet().detect(scan_of(large))
    assert found.box.area > 0.3 * large.shape[0] * large.shape[1]


def test_faces_are_brought_upright_to_one_place_and_size() -> None:
    """Coloured dots where the landmarks are come to lie at the same places, however the face is turned and large."""
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255)]
    shape = np.array([[0.341, 0.462], [0.656, 0.460], [0.500, 0.641], [0.370, 0.825], [0.631, 0.823]])
    places = []
    for degrees, size in ((0, 100), (35, 60), (-120, 400)):
        angle = math.radians(degrees)
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        points = ((shape - 0.5) * size) @ turn.T + 400
        pixels = np.full((800, 800, 3), 128, np.uint8)
        for (x, y), colour in zip(points, colours, strict=True):
            cv2.circle(pixels, (round(x), round(y)), max(3, size // 30), colour, cv2.FILLED)
        # Shown at half its size: landmarks are in pixels of the original.
        scan = scan_of(pixels, 2.0)
        face = aligned_face(scan, (points + 0.5) * 2 - 0.5, 128)
        assert face.shape == (128, 128, 3)
        rows = []
        for colour in colours:
            near = np.abs(face.astype(int) - colour).sum(axis=2)
            rows.append(np.argwhere(near == near.min()).mean(axis=0)[::-1])
        places.append(np.array(rows))
    assert np.abs(places[0] - places[1]).max() < 2
    assert np.abs(places[0] - places[2]).max() < 2
    assert places[0][2] == pytest.approx([63.5, 63.5 + 0.62 * 0.141 * 128], abs=2)


def test_the_average_face_is_of_tones_brought_to_one_level() -> None:
    """A dark and a pale print of one face weigh the same, and their average shows it with neither's tones."""
    face = np.zeros((64, 64, 3), np.uint8)
    face[20:44, 20:44] = np.random.default_rng(2).integers(0, 256, (24, 24, 1))
    dark, pale = (face * 0.3).astype(np.uint8), (face * 0.3 + 170).astype(np.uint8)
    both, one = average_face([dark, pale]), average_face([dark])
    assert np.abs(both.astype(int) - one).mean() < 2
    assert one[20:44, 20:44].std() > 1.9 * dark[20:44, 20:44].std()
    other = np.rot90(face)
    assert np.abs(average_face([face, other]).astype(int) - average_face([other, face])).max() == 0
    with pytest.raises(ValueError, match="of nothing"):
        average_face([])


# Drawings


def test_things_are_drawn_where_they_are() -> None:
    pixels = np.full((100, 200, 3), 255, np.uint8)
    ring = (
        np.array([[20.0, 20], [120, 20], [120, 80], [20, 80]]),
        np.array([[50.0, 40], [90, 40], [90, 60], [50, 60]]),
    )
    thing = Detection(Region(40, 40, 200, 120), "dog", 0.5, tuple(2 * part for part in ring), np.array([[360.0, 180]]))
    picture = drawn(scan_of(pixels, 2.0), [thing])
    assert picture[20, 70].tolist() == pytest.approx(list(colour_of("dog")), abs=60)
    assert (picture[30, 70] < 255).any(), "inside the outline it is tinted"
    assert (picture[50, 70] == 255).all(), "in its hole it is not"
    assert (picture[90, 180] < 255).any(), "a landmark"
    assert (picture[95, 20] == 255).all()
    assert colour_of("dog") == colour_of("dog") != colour_of("cat")
