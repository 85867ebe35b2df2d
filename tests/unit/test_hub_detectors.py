"""Each family of networks of the transformers library, end to end, as tiny networks in the hub's form.

Randomly filled, they see what is not there; but what they see must come to lie where they saw it, however large the
image is and whichever way it is turned, and be as many things as they told of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from index.detecting import Asked, ask, detect_in_sources
from matcher.detection import BatchDetector, detect_all, mask_of
from matcher.detectors import DETECTORS, OUTLINERS, detector_named, outliner_named
from matcher.errors import InputError, MissingDependency
from matcher.images import Scan
from matcher.types import Region

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from matcher.detection_networks import HubNetwork  # noqa: E402
from matcher.hub import HUB_MODELS, model_folder  # noqa: E402
from matcher.hub_images import Preparation, preparation_of  # noqa: E402
from tests.hub_models import LABELS, MAKERS, SIDE, made  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from matcher.detection import Detection

QUERIES = 7
CLOSED = ("detr", "deformable-detr", "rt-detr", "mask2former")
OPEN = ("owlv2", "grounding-dino", "clipseg")
PHRASES = ("umbrella", "a red dog")


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny network of each family, in a folder of the family's name."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("networks")
    for name in MAKERS:
        made(name, folder / name)
    torch.set_num_threads(before)
    return folder


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def noise(rows: int, columns: int, scale: float = 1.0) -> Scan:
    pixels = np.random.default_rng(1).integers(0, 256, (rows, columns, 3)).astype(np.uint8)
    return Scan(pixels, round(columns * scale), round(rows * scale), scale, scale)


def flat(rows: int, columns: int, scale: float = 1.0) -> Scan:
    return Scan(np.full((rows, columns, 3), 128, np.uint8), round(columns * scale), round(rows * scale), scale, scale)


def phrases_of(name: str) -> tuple[str, ...]:
    return PHRASES if name in OPEN else ()


def seen(networks: Path, name: str, scan: Scan, least: float) -> list[Detection]:
    return detector_named(f"{name}:{networks / name}").detect(scan, least, phrases_of(name))


# As Hugging Face's own code has it


def test_images_are_prepared_as_the_hub_prepares_them(networks: Path) -> None:
    from transformers.models.detr.image_processing_pil_detr import DetrImageProcessorPil
    from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

    scans = [noise(90, 120), noise(70, 40), noise(200, 30)]
    for kind, name in ((DetrImageProcessorPil, "detr"), (SamImageProcessorPil, "sam")):
        theirs = kind.from_pretrained(networks / name)(images=[scan.pixels for scan in scans], return_tensors="np")
        ours = preparation_of(networks / name).prepare(scans)
        # Pillow's bytes, once normalised: a level of difference is 0.02.
        np.testing.assert_allclose(ours.pixels, theirs["pixel_values"], atol=0.02)
        if "pixel_mask" in theirs:
            np.testing.assert_array_equal(ours.mask, theirs["pixel_mask"])


@pytest.mark.parametrize(
    ("name", "module", "processor"),
    [
        ("detr", "detr.image_processing_pil_detr", "DetrImageProcessorPil"),
        ("rt-detr", "rt_detr.image_processing_pil_rt_detr", "RTDetrImageProcessorPil"),
        ("deformable-detr", "deformable_detr.image_processing_pil_deformable_detr", "DeformableDetrImageProcessorPil"),
    ],
)
def test_boxes_are_those_of_the_hub_s_own_code(networks: Path, name: str, module: str, processor: str) -> None:
    from importlib import import_module

    kind = getattr(import_module(f"transformers.models.{module}"), processor)
    theirs = kind.from_pretrained(networks / name)
    network = transformers.AutoModelForObjectDetection.from_pretrained(networks / name).eval()
    scan = noise(90, 120, 2.0)
    least = 0.1
    inputs = theirs(images=[scan.pixels], return_tensors="pt")
    with torch.inference_mode():
        out = network(**{key: value for key, value in inputs.items() if key != "pixel_mask" or name != "rt-detr"})
    size = torch.tensor([[scan.height, scan.width]])
    (expected,) = theirs.post_process_object_detection(out, threshold=least, target_sizes=size)
    found = seen(networks, name, scan, least)
    assert len(found) == len(expected["scores"]) > 0

    def told(labels: list[str], scores: list[float], corners: list[list[float]]) -> np.ndarray:
        rows = [
            (LABELS.index(label), score, *corner) for label, score, corner in zip(labels, scores, corners, strict=True)
        ]
        return np.array(sorted(rows, key=lambda row: (round(row[1], 2), row[0], round(row[2]), round(row[3]))))

    boxes = expected["boxes"].clamp(min=0).minimum(torch.tensor([scan.width, scan.height] * 2)).tolist()
    theirs_told = told([LABELS[n] for n in expected["labels"].tolist()], expected["scores"].tolist(), boxes)
    edges = [[b.x, b.y, b.x + b.width, b.y + b.height] for b in (one.box for one in found)]
    ours_told = told([one.label for one in found], [one.score for one in found], edges)
    np.testing.assert_allclose(ours_told[:, 1], theirs_told[:, 1], atol=0.02)
    np.testing.assert_allclose(ours_told[:, 2:], theirs_told[:, 2:], atol=3)


# Numbers


@pytest.mark.parametrize(
    ("name", "count"),
    [("detr", QUERIES), ("deformable-detr", QUERIES * len(LABELS)), ("rt-detr", QUERIES * len(LABELS))],
)
def test_there_are_as_many_boxes_as_the_network_tells_of(networks: Path, name: str, count: int) -> None:
    found = seen(networks, name, noise(90, 120), 0.0)
    assert len(found) == count
    assert {one.label for one in found} <= set(LABELS)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    middle = found[len(found) // 2].score
    assert len(seen(networks, name, noise(90, 120), middle + 1e-4)) == sum(one.score > middle for one in found)


@pytest.mark.parametrize("name", ["owlv2", "grounding-dino"])
def test_boxes_of_one_phrase_do_not_overlap_much(networks: Path, name: str) -> None:
    found = seen(networks, name, noise(90, 120), 0.0)
    assert {one.label for one in found} == set(PHRASES)
    for number, one in enumerate(found):
        for other in found[:number]:
            assert one.label != other.label or one.box.iou(other.box) < 0.5


def test_phrases_are_told_apart_and_do_not_know_of_each_other(networks: Path) -> None:
    for name in OPEN:
        detector = detector_named(f"{name}:{networks / name}")
        together = detector.detect(noise(90, 120), 0.3, PHRASES)
        for phrase in PHRASES:
            alone = detector.detect(noise(90, 120), 0.3, [phrase])
            assert [one.box.as_list() for one in together if one.label == phrase] == [
                pytest.approx(one.box.as_list(), abs=0.1) for one in alone
            ], name


# Places


@pytest.mark.parametrize("name", [*CLOSED, *OPEN])
def test_things_keep_their_places_on_an_image_of_another_size(networks: Path, name: str) -> None:
    """What a network makes of a flat image depends on nothing but its shape: boxes must be the same shares of it."""
    least = 0.3 if name == "clipseg" else 0.05
    small = seen(networks, name, flat(48, 64), least)
    for scan in (flat(48, 64, 5.0), flat(480, 640, 1.5)):
        factor = scan.width / 64
        large = seen(networks, name, scan, least)
        assert len(large) == len(small) > 0
        for one, other in zip(small, large, strict=True):
            assert other.label == one.label
            assert other.score == pytest.approx(one.score, abs=1e-3)
            assert other.box.as_list() == pytest.approx(
                [edge * factor for edge in one.box.as_list()], abs=0.02 * factor
            )
            assert len(other.polygons) == len(one.polygons)


@pytest.mark.parametrize("name", ["rt-detr", "clipseg", "owlv2"])
def test_an_image_stored_on_its_side_is_seen_upright(networks: Path, name: str, tmp_path: Path) -> None:
    upright = noise(48, 64).pixels
    Image.fromarray(upright).save(tmp_path / "upright.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.ascontiguousarray(np.rot90(upright, 1))).save(tmp_path / "turned.png", exif=exif)
    asked, detector = ask(f"{name}:{networks / name}", phrases_of(name), 0.05)
    assert isinstance(detector, BatchDetector)
    images = [tmp_path / "upright.png", tmp_path / "turned.png"]
    first, second = detect_in_sources(images, asked, detector, workers=0)
    assert (second.width, second.height) == (64, 48)
    assert [(one.label, one.score, one.box) for one in first.found] == [
        (one.label, one.score, one.box) for one in second.found
    ]
    assert first.found


def test_boxes_lie_on_their_image_though_the_network_saw_a_square(networks: Path) -> None:
    """OWLv2 sees an image with grey beside or below it: of a box there, only what is on the image is told."""
    for scan in (noise(40, 100), noise(100, 40)):
        found = seen(networks, "owlv2", scan, 0.0)
        assert found
        for one in found:
            x, y, wide, high = one.box.as_list()
            assert 0 <= x < x + wide <= scan.width + 1e-6
            assert 0 <= y < y + high <= scan.height + 1e-6


@pytest.mark.parametrize("name", ["mask2former", "clipseg"])
def test_an_outline_fits_its_box(networks: Path, name: str) -> None:
    scan = noise(90, 120, 2.0)
    found = seen(networks, name, scan, 0.05 if name == "mask2former" else 0.3)
    assert found
    for one in found:
        rows, columns = np.nonzero(mask_of(one.polygons, (scan.height, scan.width)))
        box = Region(columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)
        assert one.box.as_list() == pytest.approx(box.as_list(), abs=6)
        assert 0 < one.area <= one.box.area


def test_parts_of_what_a_phrase_means_are_things_of_their_own() -> None:
    from matcher.phrase_networks import _parts

    likely = np.zeros((40, 60), np.float32)
    likely[5:15, 10:20] = 0.9
    likely[25:35, 30:55] = 0.6
    likely[30, 2] = 0.95  # a speck
    one, other = sorted(_parts(flat(80, 120, 1.0), likely, "dog", 0.5), key=lambda part: -part.score)
    assert one.box.as_list() == [20, 10, 20, 20]
    assert other.box.as_list() == [60, 50, 50, 20]
    assert (one.score, other.score) == (pytest.approx(0.9), pytest.approx(0.6))


# Several at a time


@pytest.mark.parametrize("name", [*CLOSED, *OPEN])
def test_several_images_at_a_time_are_seen_as_each_by_itself(networks: Path, name: str) -> None:
    detector = detector_named(f"{name}:{networks / name}")
    scans = [noise(48, 64), flat(48, 64), noise(48, 64, 3.0)]
    together = detect_all(detector, scans, 0.3, phrases_of(name))
    for scan, found in zip(scans, together, strict=True):
        alone = detector.detect(scan, 0.3, phrases_of(name))
        assert [(one.label, pytest.approx(one.score, abs=1e-3)) for one in alone] == [
            (one.label, one.score) for one in found
        ]


# Outlines of what is pointed at


def test_what_is_pointed_at_has_an_outline_on_the_image(networks: Path) -> None:
    scan = noise(90, 120, 2.0)
    sam = outliner_named(f"sam:{networks / 'sam'}")
    in_box, at_click = sam.outline(scan, [Region(20, 20, 100, 80)], [(50.0, 60.0)])
    for thing in (in_box, at_click):
        assert thing.label == ""
        assert 0 <= thing.score <= 1
        assert thing.polygons
        assert thing.box.clipped(scan.width, scan.height) == thing.box
    with pytest.raises(InputError, match="500,60 lies outside the image of 240 x 180"):
        sam.outline(scan, [], [(500.0, 60.0)])


def test_a_mask_comes_to_lie_where_the_image_was(networks: Path) -> None:
    """SAM sees an image with nothing beside or below it, and its masks are a quarter as large."""
    from matcher.detection_networks import outlined_thing, part_of

    masks = np.full((1, 16, 16), -5, np.float32)
    masks[0, 4:8, 2:12] = 5  # of 64 × 64 pixels of which the upper 48 rows are image: rows 16 to 32, columns 8 to 48
    part = part_of(masks, (48, 64), (SIDE, SIDE))
    assert part.shape == (1, 24, 32)
    thing = outlined_thing(flat(480, 640), part[0] > 0, "", 1.0)
    assert thing.box.as_list() == pytest.approx([80, 160, 400, 160], abs=21)


# What goes wrong


@pytest.mark.parametrize("name", OPEN)
def test_without_a_phrase_nothing_can_be_looked_for(networks: Path, name: str) -> None:
    with pytest.raises(InputError, match="looks for what a phrase says; give one"):
        ask(f"{name}:{networks / name}")
    with pytest.raises(InputError, match="looks for what a phrase says; give one"):
        detector_named(f"{name}:{networks / name}").detect(noise(48, 64))


@pytest.mark.parametrize("name", CLOSED)
def test_phrases_are_refused_where_classes_are_known(networks: Path, name: str) -> None:
    with pytest.raises(InputError, match="looks for no phrase"):
        detector_named(f"{name}:{networks / name}").detect(noise(48, 64), phrases=["dog"])


def test_a_missing_model_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALQUE_MODELS", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in HUB_MODELS:
        with pytest.raises(MissingDependency, match=r"hf download .*CALQUE_MODELS"):
            model_folder(name)
    with pytest.raises(InputError, match="no folder of a model"):
        detector_named(f"transformers:{tmp_path / 'gone'}")
    assert set(HUB_MODELS) <= {*DETECTORS, *OUTLINERS}


@pytest.mark.parametrize(
    "place",
    ["{short}", "{owner}--{short}", "{owner}/{short}", "hub/hub/models--{owner}--{short}/snapshots/abc"],
)
def test_a_model_is_found_where_its_user_has_put_it(
    place: str, networks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALQUE_MODELS", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    owner, short = HUB_MODELS["rt-detr"].repository.split("/")
    folder = tmp_path / place.format(owner=owner, short=short)
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.symlink_to(networks / "rt-detr")
    if "snapshots" in place:
        (folder.parents[1] / "refs").mkdir()
        (folder.parents[1] / "refs" / HUB_MODELS["rt-detr"].revision).write_text("abc")
    assert detector_named("rt-detr").labels == LABELS


def test_a_folder_that_is_no_such_model_is_told(networks: Path, tmp_path: Path) -> None:
    wrong = HubNetwork("mask2former", str(networks / "clipseg"), "Mask2FormerForUniversalSegmentation")
    with pytest.raises(InputError, match=r"is no Mask2FormerForUniversalSegmentation: .* has no weights for"):
        _ = wrong.network
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config\.json: cannot be read"):
        detector_named(f"detr:{tmp_path}")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="no weights there"):
        detector_named(f"detr:{tmp_path}")


def test_old_and_new_descriptions_of_sizes_are_understood(tmp_path: Path) -> None:
    def read(text: str) -> Preparation:
        (tmp_path / "preprocessor_config.json").write_text(text)
        return preparation_of(tmp_path)

    assert read('{"size": 800, "max_size": 1333}').prepare([flat(60, 80)]).sizes == [(800, 1066)]
    assert read('{"size": 800, "max_size": 1333}').prepare([flat(30, 80)]).sizes == [(500, 1333)]
    assert read('{"size": 32}').prepare([flat(30, 80)]).sizes == [(32, 32)]
    assert read('{"do_resize": false}').prepare([flat(30, 80)]).sizes == [(30, 80)]
    assert read('{"size": {"shortest_edge": 30, "longest_edge": 60}, "size_divisor": 32}').prepare(
        [flat(30, 80)]
    ).pixels.shape == (1, 3, 32, 64)
    (tmp_path / "processor_config.json").write_text('{"image_processor": {"size": {"height": 20, "width": 40}}}')
    (tmp_path / "preprocessor_config.json").unlink()
    assert preparation_of(tmp_path).prepare([flat(30, 80)]).sizes == [(20, 40)]
    with pytest.raises(InputError, match="cannot be used"):
        read('{"size": {"height": "tall", "width": 3}}')


def test_what_is_asked_for_is_told_with_its_usual_score(networks: Path) -> None:
    asked, detector = ask(f"owlv2:{networks / 'owlv2'}", [" umbrella ", "umbrella", "", "dog"])
    assert asked == Asked(f"owlv2:{networks / 'owlv2'}", ("umbrella", "dog"), detector.usual_score)
