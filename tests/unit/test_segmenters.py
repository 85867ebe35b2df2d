"""Segmenters by name, what labels mean, the one without learning, kraken's, and how layouts are drawn."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from matcher.errors import InputError, MissingDependency
from matcher.images import Scan, read_image
from matcher.layout import CLASSES, Layout, LayoutRegion
from matcher.layout_classical import Classical
from matcher.layout_drawings import COLOURS, outlined
from matcher.layout_labels import kind_of_label
from matcher.layout_regions import layout_of_regions
from matcher.registry import SEGMENTERS, segmenter_named, usual_score
from matcher.types import Region
from tests.conftest import PLACE, class_at, page_with, picture

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Collection


def scan_of(gray: np.ndarray, scale: float = 1.0) -> Scan:
    pixels = cv2.cvtColor(gray, cv2.COLOR_GRAY2RGB)
    return Scan(pixels, round(gray.shape[1] * scale), round(gray.shape[0] * scale), scale, scale)


# Names


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("clasical", "no segmenter is called 'clasical'; did you mean 'classical'"),
        ("yolo:m.onnx", "no segmenter is called 'yolo'; there are: calque, classical"),
        ("classical:m.onnx", "takes no model of its own; leave out ':m.onnx'"),
        ("onnx", "needs a model; give its path: onnx:PATH"),
        ("onnx:", "needs a model; give its path: onnx:PATH"),
    ],
)
def test_a_wrong_name_says_what_to_give(name: str, says: str) -> None:
    for ask in (segmenter_named, usual_score):
        with pytest.raises(InputError, match=says):
            ask(name)


def test_every_segmenter_says_how_sure_it_must_be() -> None:
    assert next(iter(SEGMENTERS)) == "calque"
    assert 0 < usual_score("onnx:whatever.onnx") < 1
    assert usual_score("classical") == 0
    assert isinstance(segmenter_named("classical", 0.5), Classical)


@pytest.mark.parametrize(
    ("label", "kind"),
    [
        ("Picture", "illustration"),
        ("GraphicZone", "illustration"),
        ("GraphicZone-FigDesc", "text"),
        ("figure_caption", "text"),
        ("DropCapitalZone", "initial"),
        ("drop-capital", "initial"),
        ("Lettrine", "initial"),
        ("DecorationZone", "ornament"),
        ("headpiece", "ornament"),
        ("Page-header", "text"),
        ("List-item", "text"),
        ("MainZone", "text"),
        ("person", "other"),
        ("StampZone", "other"),
    ],
)
def test_labels_mean_kinds(label: str, kind: str) -> None:
    assert kind_of_label(label) == kind


# The one without learning


@pytest.mark.parametrize("scale", [1.0, 2.5])
@pytest.mark.parametrize("name", ["camera", "coins", "brick", "gravel"])
def test_a_picture_among_type_is_told_from_it(name: str, scale: float) -> None:
    pixels = picture(name, PLACE[2])
    scan = scan_of(page_with(pixels, 3), scale)
    layout = Classical().segment(scan)
    (region,) = layout.pictures
    left, top, _ = PLACE
    place = Region(left * scale, top * scale, pixels.shape[1] * scale, pixels.shape[0] * scale)
    assert region.kind == "illustration"
    assert region.box.iou(place) > 0.8
    inside = (place.x + place.width / 2, place.y + place.height / 2)
    assert class_at(layout, *inside) == "illustration"
    assert class_at(layout, 360 * scale, 120 * scale) == "text"


def test_a_page_of_type_alone_has_no_pictures() -> None:
    page = page_with(np.full((380, 380), 235, np.uint8), 4)
    layout = Classical().segment(scan_of(page))
    assert layout.pictures == ()
    assert {region.kind for region in layout.regions} == {"text"}


def test_shadows_at_the_edge_and_rules_are_no_pictures() -> None:
    page = page_with(np.full((380, 380), 235, np.uint8), 5)
    page[:, :25] = 20
    page[:12] = 20
    page[500:503, 100:600] = 30
    assert Classical().segment(scan_of(page)).pictures == ()


@pytest.mark.parametrize("value", [0, 127, 255])
@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (40, 900), (1200, 800)])
def test_empty_pages_of_any_size(shape: tuple[int, int], value: int) -> None:
    for pixels in (np.full(shape, value, np.uint8), np.full((*shape, 3), value, np.uint8)):
        layout = Classical().segment(Scan(pixels, shape[1], shape[0], 1.0, 1.0))
        assert (layout.width, layout.height) == shape[::-1]
        assert not layout.pictures


# Kraken's


def kraken_of(monkeypatch: pytest.MonkeyPatch, found: Any) -> list[Any]:
    """Stand in for kraken 7, of which `found` is what it finds; return what it was asked with."""
    asked: list[Any] = []

    class Model:
        @classmethod
        def load_model(cls, path: str | None) -> Model:
            if path is not None and path.endswith("bad.mlmodel"):
                raise ValueError("no segmentation models in it")
            asked.append(path)
            return cls()

        def predict(self, im: Any, config: Any) -> Any:
            asked.append(im.size)
            return found

    tasks, configs = ModuleType("kraken.tasks"), ModuleType("kraken.configs")
    tasks.SegmentationTaskModel = Model  # type: ignore[attr-defined]
    configs.SegmentationInferenceConfig = SimpleNamespace  # type: ignore[attr-defined]
    for module in (ModuleType("kraken"), tasks, configs):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr("matcher.layout_kraken.version", lambda name: "7.1.1")
    return asked


def outline(*points: tuple[int, int]) -> SimpleNamespace:
    return SimpleNamespace(boundary=list(points))


def test_regions_and_lines_of_kraken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = tmp_path / "model.safetensors"
    model.touch()
    triangle = outline((10, 10), (60, 10), (10, 80), (10, 10))
    found = SimpleNamespace(
        regions={"GraphicZone": [triangle], "StampZone": [outline((0, 0), (5, 0), (5, 5))]},
        lines=[outline((10, 100), (90, 100), (90, 110), (10, 110)), outline((3, 3), (3, 3))],
    )
    asked = kraken_of(monkeypatch, found)
    segmenter = segmenter_named(f"kraken:{model}")
    assert segmenter.signature == "kraken-1(7.1.1, model.safetensors)"
    layout = segmenter.segment(scan_of(np.full((120, 100), 255, np.uint8), scale=2))
    assert asked == [str(model), (100, 120)]
    illustration, text = sorted(layout.regions, key=lambda region: region.kind)
    assert (illustration.kind, text.kind) == ("illustration", "text")
    assert illustration.box.as_list() == pytest.approx([20.5, 20.5, 100, 140])
    assert illustration.polygon is not None
    assert illustration.polygon[1].tolist() == [120.5, 20.5]
    assert text.box.as_list() == pytest.approx([20.5, 200.5, 160, 20])


def test_lines_are_not_told_where_there_are_regions_of_text(monkeypatch: pytest.MonkeyPatch) -> None:
    square = outline((10, 10), (60, 10), (60, 80), (10, 80))
    kraken_of(monkeypatch, SimpleNamespace(regions={"MainZone": [square]}, lines=[square, square]))
    assert len(segmenter_named("kraken").segment(scan_of(np.full((120, 100), 255, np.uint8))).regions) == 1


def test_kraken_that_is_not_there_and_models_that_are_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kraken_of(monkeypatch, None)
    with pytest.raises(InputError, match=r"none\.mlmodel: no such file"):
        segmenter_named("kraken:none.mlmodel")
    bad = tmp_path / "bad.mlmodel"
    bad.touch()
    with pytest.raises(InputError, match="no segmentation model of kraken"):
        segmenter_named(f"kraken:{bad}")
    monkeypatch.setitem(sys.modules, "kraken.tasks", None)
    with pytest.raises(MissingDependency, match="pip install 'kraken>=7'"):
        segmenter_named("kraken")


# Drawings


def test_regions_are_drawn_where_they_are(collection: Collection) -> None:
    scan = read_image(collection.page("b/coins.jpg"), gray=False, long_side=480)
    box = Region(*collection.boxes["b/coins.jpg"])
    text = LayoutRegion("text", Region(40, 30, 640, 900), 0.75)
    layout = layout_of_regions([LayoutRegion("illustration", box, 0.5), text], scan.width, scan.height)
    drawn = outlined(scan, layout)
    assert drawn.shape == scan.pixels.shape
    corner = drawn[round(box.y / 2), round((box.x + box.width) / 2) - 20].astype(int)
    assert np.abs(corner - COLOURS["illustration"]).max() < 60
    outside = drawn[-5:, -5:].astype(int) - scan.pixels[-5:, -5:]
    assert np.abs(outside).max() == 0


def test_regions_beyond_the_edges_are_drawn_as_far_as_they_are_there() -> None:
    scan = scan_of(np.full((60, 40), 200, np.uint8))
    polygon = np.array([[-30.0, -30], [90, 10], [20, 300]])
    regions = [LayoutRegion(kind, Region(-30, -30, 120, 330), 1.0, polygon) for kind in CLASSES[1:]]
    drawn = outlined(scan, Layout(40, 60, tuple(regions), np.zeros((15, 10), np.uint8)))
    assert drawn.shape == (60, 40, 3)
