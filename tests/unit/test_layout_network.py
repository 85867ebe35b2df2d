"""What the network says becomes regions; the network that is shipped finds pictures on pages made here."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

import matcher.layout_network
from cli.demo_pages import compose_page
from cli.demo_type import SERIF, Style
from matcher.errors import InputError
from matcher.images import Scan
from matcher.layout import CLASSES, PICTURES
from matcher.layout_network import LONG_SIDE, LayoutNetwork, understood
from matcher.region_reading import Said
from matcher.types import Region
from tests.conftest import class_at

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from matcher.layout import Layout

SURE, NEVER = 6.0, -12.0


def scan_of(pixels: NDArray[np.uint8]) -> Scan:
    return Scan(pixels, pixels.shape[1], pixels.shape[0], 1.0, 1.0)


class Saying:
    """What a network would say, put together box by box, on an image of 256 × 320 pixels."""

    def __init__(self, wide: int = 256, high: int = 320) -> None:
        self.size = (wide, high)
        self.classes = np.full((5, high // 4, wide // 4), NEVER, np.float32)
        self.classes[0] = 0
        self.fine = np.full((8, high // 4, wide // 4), NEVER, np.float32)
        self.coarse = np.full((8, high // 16, wide // 16), NEVER, np.float32)

    def paint(self, kind: str, left: int, top: int, right: int, bottom: int) -> None:
        self.classes[CLASSES.index(kind), top // 4 : bottom // 4, left // 4 : right // 4] = SURE

    def box(
        self, kind: str, left: int, top: int, right: int, bottom: int, sure: float = SURE, *, step: int = 4
    ) -> None:
        """Let the cell in the middle know a box."""
        maps = self.fine if step == 4 else self.coarse
        x, y = (left + right) // 2 // step, (top + bottom) // 2 // step
        maps[PICTURES.index(kind), y, x] = maps[3, y, x] = sure
        here = ((x + 0.5) * step, (y + 0.5) * step)
        distances = np.array([here[0] - left, here[1] - top, right - here[0], bottom - here[1]]) / step
        maps[4:, y, x] = np.log(distances)

    def layout(self, scale: float = 1.0, min_score: float = 0.3) -> Layout:
        width, height = (round(side * scale) for side in self.size)
        scan = Scan(np.zeros((8, 8), np.uint8), width, height, 1.0, 1.0)
        return understood(Said(self.classes, self.fine, self.coarse), self.size, scan, min_score)


@pytest.mark.parametrize(("kind", "step"), [("illustration", 16), ("ornament", 4), ("initial", 4)])
@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_a_box_comes_back_in_pixels_of_the_original(kind: str, step: int, scale: float) -> None:
    saying = Saying()
    saying.paint(kind, 64, 96, 144, 208)
    saying.box(kind, 64, 96, 144, 208, step=step)
    (found,) = saying.layout(scale).pictures
    assert found.kind == kind
    assert found.score > 0.95
    assert found.polygon is None
    np.testing.assert_allclose(found.box.as_list(), [64 * scale - 0.5, 96 * scale - 0.5, 80 * scale, 112 * scale], 1e-4)


def test_pictures_that_touch_stay_two_and_what_overlaps_is_one() -> None:
    saying = Saying()
    saying.paint("illustration", 32, 32, 224, 160)
    saying.box("illustration", 32, 32, 128, 160)
    saying.box("illustration", 128, 32, 224, 160)
    saying.box("illustration", 44, 40, 136, 160, 2.0)
    assert sorted(region.box.x for region in saying.layout().pictures) == pytest.approx([31.5, 127.5])


def test_a_part_of_a_picture_is_no_picture_but_an_initial_in_it_is() -> None:
    saying = Saying()
    saying.paint("illustration", 32, 32, 224, 224)
    saying.paint("initial", 64, 64, 96, 96)
    saying.box("illustration", 32, 32, 224, 224, step=16)
    saying.box("illustration", 100, 100, 164, 164, 3.0)
    saying.box("initial", 64, 64, 96, 96)
    assert sorted(region.kind for region in saying.layout().pictures) == ["illustration", "initial"]


def test_a_box_on_what_the_pixels_call_text_is_not_believed() -> None:
    saying = Saying()
    saying.paint("text", 32, 32, 224, 224)
    saying.box("illustration", 32, 32, 224, 224)
    layout = saying.layout()
    assert [region.kind for region in layout.regions] == ["text"]
    assert [class_at(layout, 100, 100), class_at(layout, 5, 5)] == ["text", "background"]


def test_min_score_leaves_out_what_is_less_sure() -> None:
    saying = Saying()
    saying.paint("ornament", 64, 96, 144, 208)
    saying.box("ornament", 64, 96, 144, 208, 0.0)  # half × half
    assert saying.layout(min_score=0.3).pictures == ()
    assert saying.layout(min_score=0.2).pictures[0].score == pytest.approx(0.25, abs=0.01)


def test_a_picture_that_fills_its_box_in_part_has_an_outline() -> None:
    saying = Saying()
    saying.paint("illustration", 64, 64, 192, 128)
    saying.paint("illustration", 64, 128, 96, 256)
    saying.box("illustration", 64, 64, 192, 256)
    (found,) = saying.layout().pictures
    assert found.polygon is not None
    area = cv2.contourArea(found.polygon.astype(np.float32))
    assert area == pytest.approx(128 * 64 + 32 * 128, rel=0.1)


@pytest.fixture(scope="module")
def page() -> tuple[NDArray[np.uint8], Region]:
    """A page of type in two columns with a drawing on it, and where that lies."""
    rng = np.random.default_rng(5)
    style = Style(columns=2, type_size=18, faces=SERIF, masthead="", running_head="The Weekly Lantern")
    ink, _ = compose_page(rng, style, [], size=(1100, 1500))
    box = Region(120, 400, 420, 360)
    noise = cv2.GaussianBlur(rng.standard_normal((360, 420)).astype(np.float32), (0, 0), 6)
    drawing = 128 + 90 * np.sin(np.cumsum(noise, axis=1) / 3 + 20 * cv2.GaussianBlur(noise, (0, 0), 20))
    ink = ink.copy()
    ink[380:790, 100:560] = 255
    ink[400:760, 120:540] = np.clip(drawing, 0, 255).astype(np.uint8)
    return np.dstack([ink, ink, np.clip(ink.astype(int) - 20, 0, 255).astype(np.uint8)]), box


@pytest.mark.parametrize("turn", [0, 1])
@pytest.mark.parametrize("scale", [0.6, 1.0, 2.0])
def test_the_picture_on_a_page_is_found_at_any_size_and_when_turned(
    page: tuple[NDArray[np.uint8], Region], turn: int, scale: float
) -> None:
    pixels, box = page
    if turn:
        box = Region(box.y, pixels.shape[1] - box.x - box.width, box.height, box.width)
        pixels = np.ascontiguousarray(np.rot90(pixels))
    pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    layout = LayoutNetwork().segment(scan_of(pixels))
    best = max(layout.pictures, key=lambda region: region.score)
    assert best.box.iou(Region(*(value * scale for value in box.as_list()))) > 0.7
    text = layout.labels == CLASSES.index("text")
    assert 0.3 < text.mean() < 0.9
    assert max(layout.labels.shape) == LONG_SIDE // 4


def test_gray_pages_and_slivers_have_layouts_and_the_same_page_has_the_same(
    page: tuple[NDArray[np.uint8], Region],
) -> None:
    network = LayoutNetwork()
    gray = np.ascontiguousarray(page[0][..., 0])
    first, second = network.segment(scan_of(gray)), network.segment(scan_of(gray))
    assert first.pictures
    np.testing.assert_array_equal(first.labels, second.labels)
    assert [region.box for region in first.regions] == [region.box for region in second.regions]
    for shape in ((1, 1), (3, 900), (2000, 2)):
        assert network.segment(scan_of(np.full(shape, 200, np.uint8))).labels.size


def test_damaged_weights_are_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "layout.onnx"
    broken.write_bytes(b"no network")
    monkeypatch.setattr(matcher.layout_network, "WEIGHTS", broken)
    monkeypatch.setattr(matcher.layout_network, "_loaded", type("Nothing", (), {})())
    with pytest.raises(InputError, match="layout network that belongs to calque is missing or damaged"):
        LayoutNetwork().segment(scan_of(np.zeros((64, 64, 3), np.uint8)))


def test_other_weights_are_another_version() -> None:
    """Indexes record the signature: whoever trains anew raises the version, and says so here."""
    weights = hashlib.sha256(matcher.layout_network.WEIGHTS.read_bytes()).hexdigest()
    assert (LayoutNetwork(0.3).signature, weights) == (
        "calque-layout-1(0.3)",
        "143bd5f67759433dd33b91de9d11dfb1924a74f0da651e1a9bdd56c03a5a8de9",
    )


def test_another_score_is_another_signature() -> None:
    assert LayoutNetwork(0.3).signature != LayoutNetwork(0.5).signature
