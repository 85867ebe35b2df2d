"""Detectors and damage maps trained, measured and applied through the command line, on images that were made for it."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from cli.main import calque

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Networks so small are slower on several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def run(*words: object) -> Any:
    """Run ``calque WORDS…`` in this process."""
    return CliRunner().invoke(calque, [*map(str, words)], standalone_mode=False, catch_exceptions=False)


@pytest.fixture(scope="module")
def annotated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A COCO file of pages with red discs, among them a name with blanks and an image that is none."""
    folder = tmp_path_factory.mktemp("annotated")
    images, annotations = [], []
    for number in range(8):
        rng = np.random.default_rng(number)
        page = np.full((150, 120, 3), 225, np.uint8)
        for row in range(20, 140, 12):
            cv2.putText(page, "calque finds", (8, row), cv2.FONT_HERSHEY_PLAIN, 0.8, (40, 40, 40), 1)
        x, y = (int(value) for value in rng.integers(30, 90, 2))
        if number:
            cv2.circle(page, (x, y), 18, (190, 30, 30), -1)
            annotations.append({"id": number, "image_id": number, "category_id": 1, "bbox": [x - 18, y - 18, 37, 37]})
        name = f"livre é {number // 2}_{number}.png"
        Image.fromarray(page).save(folder / name, dpi=(300, 300))
        images.append({"id": number, "file_name": name, "width": 120, "height": 150})
    (folder / "broken.jpg").write_text("no picture")
    images.append({"id": 99, "file_name": "broken.jpg", "width": 10, "height": 10})
    document = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "disc"}]}
    path = folder / "discs.json"
    path.write_text(json.dumps(document))
    return path


@pytest.fixture(scope="module")
def model(annotated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector of discs."""
    path = tmp_path_factory.mktemp("model") / "discs.onnx"
    done = run(
        *("detect", "train", annotated, "-o", path, "--steps", 24, "--batch", 4, "--long-side", 160),
        *("--validation", 0.3, "--rate", 3e-3, "--patience", 8, "--format", "json"),
    )
    assert done.return_value == 1, done.stderr  # one image could not be read
    assert "broken.jpg" in done.stderr
    told = json.loads(done.stdout)
    assert told["steps"] == 24
    losses = [line["kinds"] for line in told["log"]]
    assert min(losses[-3:]) < losses[0] / 2  # it has learned where discs are
    assert told["learned"] + told["validated"] == 8
    assert not path.with_name("discs.onnx.training").exists()
    return path


def test_a_trained_detector_is_applied_and_measured_without_torch(model: Path, annotated: Path, tmp_path: Path):
    done = run("detect", "evaluate", model, annotated, "-o", tmp_path / "errors", "--format", "json")
    assert done.return_value == 1
    (figures,) = json.loads(done.stdout)["classes"]
    assert figures["true"] == 7
    assert 0 <= figures["ap50_95"] <= figures["ap50"] <= 1
    page = (tmp_path / "errors" / "report.html").read_text()
    assert "http" not in page
    applied = run("detect", annotated.parent, "--model", model, "--min-score", 0, "--format", "jsonl")
    assert {region["label"] for line in applied.stdout.splitlines() for region in json.loads(line)["regions"]} == {
        "disc"
    }


def test_training_again_gives_the_same_detector(annotated: Path, tmp_path: Path):
    words = ("--steps", 2, "--batch", 2, "--long-side", 96, "--model", "none", "--validation", 0.3, "-q")
    for name in ("a.onnx", "b.onnx"):
        assert run("detect", "train", annotated, "-o", tmp_path / name, *words).return_value == 1
    nets = [cv2.dnn.readNetFromONNX(str(tmp_path / name)) for name in ("a.onnx", "b.onnx")]
    pixels = np.random.default_rng(1).random((1, 3, 96, 96), np.float32)
    said = []
    for net in nets:
        net.setInput(pixels)
        said.append(net.forward("classes"))
    np.testing.assert_allclose(said[0], said[1], atol=1e-5)


def test_sizes_are_told_in_millimetres_where_files_say_so(annotated: Path, tmp_path: Path):
    done = run("detect", "measure", annotated, "--histogram", tmp_path / "sizes.png", "--format", "csv")
    rows = list(csv.DictReader(done.stdout.splitlines()))
    assert len(rows) == 7
    assert {row["resolution_from"] for row in rows} == {
        "unknown: the PNG file says 300 dpi, which makes it 10 × 13 mm; give --dpi, or --believe-file"
    }
    done = run("detect", "measure", annotated, "--believe-file", "--format", "csv")
    (first, *_) = csv.DictReader(done.stdout.splitlines())
    assert float(first["length_mm"]) == pytest.approx(37 / 300 * 25.4, abs=0.01)
    assert first["resolution_from"] == "file (PNG): 300 dpi"
    with Image.open(tmp_path / "sizes.png") as picture:
        assert len(picture.getcolors(10_000)) > 3


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images with dark lines, and their masks."""
    folder = tmp_path_factory.mktemp("painted")
    (folder / "images").mkdir()
    (folder / "masks").mkdir()
    for number in range(3):
        rng = np.random.default_rng(number)
        pixels = np.clip(rng.normal(190, 6, (160, 180, 3)), 0, 255).astype(np.uint8)
        mask = np.zeros((160, 180), np.uint8)
        for _ in range(4):
            points = rng.integers(0, 160, (3, 2))
            cv2.polylines(pixels, [points], False, (50, 45, 40), 3)
            cv2.polylines(mask, [points], False, 255, 3)
        Image.fromarray(pixels).save(folder / "images" / f"panel {number}.png")
        Image.fromarray(mask).save(folder / "masks" / f"panel {number}.png")
    return folder


def test_damage_is_learned_mapped_and_measured(painted: Path, tmp_path: Path):
    path = tmp_path / "cracks.onnx"
    done = run(
        *("damage", "train", painted, "-o", path, "--class", "crack", "--steps", 24, "--batch", 2),
        *("--format", "json"),
    )
    assert done.return_value == 0, done.stderr
    (figures,) = json.loads(done.stdout)["classes"]
    assert figures["iou"] > 0.7
    (painted / "images" / "text.jpg").write_text("no picture")
    done = run("damage", "apply", path, painted / "images", "-o", tmp_path / "out", "--overlay", "--format", "csv")
    assert done.return_value == 1
    rows = list(csv.DictReader(done.stdout.splitlines()))
    assert [row["image"].rpartition("/")[2] for row in rows] == [f"panel {number}.png" for number in range(3)]
    for row, mask in zip(rows, sorted((tmp_path / "out" / "masks").iterdir()), strict=True):
        with Image.open(mask) as picture:
            values = np.asarray(picture)
        assert values.shape == (160, 180)
        assert int(row["pixels"]) == (values == 1).sum()
        assert float(row["share"]) == pytest.approx((values == 1).mean())
    pieces = list(csv.DictReader((tmp_path / "out" / "regions.csv").read_text().splitlines()))
    assert sum(int(piece["pixels"]) for piece in pieces) == sum(int(row["pixels"]) for row in rows)
    assert len(list((tmp_path / "out" / "overlays").iterdir())) == 3


def test_models_are_not_mistaken_for_each_other(model: Path, painted: Path, tmp_path: Path):
    from matcher.errors import InputError

    with pytest.raises(InputError, match="finds regions"):
        run("damage", "apply", model, painted / "images", "-o", tmp_path)
    (tmp_path / "other.onnx").write_bytes(b"no model")
    with pytest.raises(InputError, match="no ONNX model"):
        run("detect", "evaluate", tmp_path / "other.onnx", painted)


def test_a_transformers_detector_is_trained_and_applied(annotated: Path, tmp_path: Path):
    transformers = pytest.importorskip("transformers")
    backbone = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], layer_type="basic", out_features=["stage4"]
    )
    config = transformers.DetrConfig(
        use_timm_backbone=False,
        use_pretrained_backbone=False,
        backbone_config=backbone,
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        num_queries=6,
        num_labels=91,
    )
    transformers.DetrForObjectDetection(config).save_pretrained(tmp_path / "detr")
    path = tmp_path / "detr.onnx"
    done = run(
        *("detect", "train", annotated, "-o", path, "--model", f"transformers:{tmp_path / 'detr'}", "--steps", 2),
        *("--batch", 2, "--long-side", 128, "--rate", 1e-4, "--validation", 0.3, "--format", "json"),
    )
    assert done.return_value == 1, done.stderr
    applied = run("detect", annotated.parent, "--model", path, "--min-score", 0, "--format", "jsonl")
    assert applied.return_value == 1
    lines = [json.loads(line) for line in applied.stdout.splitlines()]
    assert len(lines) == 8
    assert {region["label"] for line in lines for region in line["regions"]} == {"disc"}
    missing = run  # a folder that is none of transformers is told
    from matcher.errors import InputError

    with pytest.raises(InputError, match="no folder of a transformers model"):
        missing("detect", "train", annotated, "-o", path, "--model", f"transformers:{tmp_path}", "-q")
