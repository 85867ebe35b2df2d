"""Networks as extractors: their keypoints lie where the picture has them, and all else is as with SIFT."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("kornia")

from kornia import feature  # noqa: E402
from skimage import data  # noqa: E402

from index.answers import Query  # noqa: E402
from index.asking import extract  # noqa: E402
from matcher.errors import CalqueError, InputError, MissingDependency, SettingsMismatch  # noqa: E402
from matcher.images import Scan  # noqa: E402
from matcher.learned import Learned  # noqa: E402
from matcher.networks import device, network  # noqa: E402
from matcher.registry import EXTRACTORS, Sight, extractor_named, extractor_of, name_in  # noqa: E402
from matcher.types import Region  # noqa: E402
from matcher.weights import WEIGHTS  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from matcher.registry import Extractor
    from matcher.types import Features

REAL = ("sift+featurebooster", "aliked-t16", "aliked-n16rot", "xfeat", "keynet-affnet-hardtfeat")
SIZES = {"keynet-affnet-hardtfeat": 120}  # pixels: it takes seconds for more
BUDGETS = {"keynet-affnet-hardtfeat": 150}
DIMENSIONS = {"xfeat": 64, "aliked-t16": 64}


@pytest.fixture(scope="module")
def models(published_weights: Path) -> Iterator[Path]:
    """The folder of published weights, which is where they are looked for."""
    yield from looking_in(published_weights)


@pytest.fixture
def own_models(tmp_path: Path) -> Iterator[Path]:
    """An empty folder, the only one in which weights are looked for."""
    folder = tmp_path / "models"
    folder.mkdir()
    yield from looking_in(folder)


def looking_in(folder: Path) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CALQUE_MODELS", str(folder))
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.delenv("TORCH_HOME", raising=False)
        network.cache_clear()
        yield folder
    network.cache_clear()


@cache
def photograph(side: int = 200) -> NDArray[np.uint8]:
    gray = cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2GRAY)[0:320, 60:420]
    return cv2.resize(gray, (side, round(side * 0.89)), interpolation=cv2.INTER_AREA)


def scan(pixels: NDArray[np.uint8], scale: float = 1.0) -> Scan:
    height, width = pixels.shape
    return Scan(np.ascontiguousarray(pixels), round(width * scale), round(height * scale), scale, scale)


def agreeing(one: Features, other: Features, matrix: NDArray[np.float64]) -> float:
    """Return the share of mutual nearest neighbours that `matrix` (2, 3) maps within 3 pixels of each other."""
    likeness = one.descriptors @ other.descriptors.T
    nearest = likeness.argmax(axis=1)
    mutual = np.flatnonzero(likeness.argmax(axis=0)[nearest] == np.arange(len(one)))
    laid = one.points[mutual] @ matrix[:, :2].T + matrix[:, 2]
    return float((np.linalg.norm(laid - other.points[nearest[mutual]], axis=1) < 3).mean())


@pytest.mark.parametrize("name", REAL)
def test_features_are_found_again_on_a_turned_copy(models: Path, name: str) -> None:
    pixels = photograph(SIZES.get(name, 200))
    height, width = pixels.shape
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), 8, 0.9)
    made = extractor_named(name, BUDGETS.get(name))
    one = made.extract(scan(pixels))
    other = made.extract(scan(cv2.warpAffine(pixels, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)))
    assert len(one) > 50
    assert one.descriptors.shape[1] == DIMENSIONS.get(name, 128)
    np.testing.assert_allclose(np.linalg.norm(one.descriptors, axis=1), 1, atol=1e-4)
    assert agreeing(one, other, matrix) > 0.35
    assert one.points.min() >= -0.5
    assert (one.points <= [width - 0.5, height - 0.5]).all()
    assert (one.sizes > 0).all()
    assert ((one.angles >= 0) & (one.angles < 360)).all()
    assert (one.responses > 0).all()


@pytest.mark.parametrize("name", REAL)
def test_a_signature_leads_back_to_its_extractor(models: Path, name: str) -> None:
    made = extractor_named(name)
    assert name_in(made.signature) == name
    assert extractor_of(made.signature) == made


@pytest.mark.parametrize("name", ["aliked-t16", "xfeat", "sift+featurebooster"])
def test_coordinates_are_the_original_image_s(models: Path, name: str) -> None:
    made = extractor_named(name)
    plain, scaled = made.extract(scan(photograph())), made.extract(scan(photograph(), 3.0))
    np.testing.assert_allclose(scaled.points, (plain.points + 0.5) * 3 - 0.5, rtol=1e-4)
    np.testing.assert_allclose(scaled.sizes, plain.sizes * 3, rtol=1e-4)
    if name != "sift+featurebooster":  # rounding decides some of what its network is told
        np.testing.assert_allclose(scaled.descriptors, plain.descriptors, atol=1e-4)


@pytest.mark.parametrize("name", ["aliked-t16", "xfeat", "sift+featurebooster"])
def test_a_budget_keeps_the_strongest_and_a_mask_what_it_allows(models: Path, name: str) -> None:
    everything, some = extractor_named(name).extract(scan(photograph())), extractor_named(name, 50)
    assert len(everything) > len(some.extract(scan(photograph()))) == 50
    mask = np.zeros(photograph().shape, dtype=np.bool_)
    mask[:, 100:] = True
    allowed = extractor_named(name).extract(scan(photograph()), mask)
    assert 0 < len(allowed) < len(everything)
    assert allowed.points[:, 0].min() > 98


@pytest.mark.parametrize("name", [*REAL[:2], "xfeat"])
@pytest.mark.parametrize("shape", [(1, 1), (5, 300), (33, 31)])
def test_pictures_of_any_size_are_taken(models: Path, name: str, shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    features = extractor_named(name).extract(scan(noise))
    assert features.descriptors.shape[0] == len(features)
    assert (features.points <= [shape[1] - 0.5, shape[0] - 0.5]).all()


@pytest.mark.parametrize("name", ["aliked-t16", "xfeat"])
@pytest.mark.parametrize("region", [None, Region(21, 13, 150, 140)])
def test_mirrored_and_negative_queries_come_from_changed_pixels(
    models: Path, name: str, region: Region | None, tmp_path: Path
) -> None:
    plain, changed = tmp_path / "plain.png", tmp_path / "changed.png"
    cv2.imwrite(str(plain), photograph())
    cv2.imwrite(str(changed), 255 - photograph()[:, ::-1])
    made = extractor_named(name)
    both = extract(Query("q", plain, region), made, 1600, ("same", "mirrored+inverted")).features["mirrored+inverted"]
    mirrored = None if region is None else Region(photograph().shape[1] - 1 - region.x - region.width, 13, 150, 140)
    seen = extract(Query("q", changed, mirrored), made, 1600, ("same",)).features["same"]
    assert agreeing(both, seen, np.eye(2, 3)) > 0.95


def test_orientations_turn_with_the_picture(models: Path) -> None:
    made, pixels = Learned("aliked-t16"), photograph()
    height, width = pixels.shape
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), -20, 1.0)  # clockwise
    turned = made.extract(scan(cv2.warpAffine(pixels, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)))
    upright = made.extract(scan(pixels))
    laid = upright.points @ matrix[:, :2].T + matrix[:, 2]
    near = np.linalg.norm(laid[:, None] - turned.points[None], axis=2) < 1
    near &= np.abs(upright.sizes[:, None] / turned.sizes[None] - 1) < 0.1
    rows, columns = np.nonzero(near)
    assert len(rows) > 50
    off = (turned.angles[columns] - upright.angles[rows] - 20 + 180) % 360 - 180
    assert np.mean(np.abs(off) < 26) > 0.8


@pytest.mark.parametrize("name", ["aliked-t16", "xfeat"])
def test_images_taken_together_give_what_each_gives_alone(models: Path, name: str) -> None:
    """To 1e-3 pixels and 1e-4 in a descriptor, and but for one feature in two hundred at the edge of the budget."""
    pixels = photograph()
    views = [pixels, pixels[:, ::-1], pixels[:-40], 255 - pixels, np.rot90(pixels, 2), pixels[:-41, ::-1]]
    made = Learned(name, 400)
    mask = np.zeros(views[1].shape, dtype=np.bool_)
    mask[:, 50:] = True
    sights = [Sight(scan(view), mask if number == 1 else None) for number, view in enumerate(views)]
    for alone, company in zip(map(made.extract, *zip(*sights, strict=True)), made.extract_all(sights, 4), strict=True):
        assert len(alone) > 50
        assert abs(len(alone) - len(company)) <= len(alone) // 200
        off = np.abs(alone.points[:, None] - company.points[None]).max(axis=2)
        off += np.abs(alone.descriptors[:, None] - company.descriptors[None]).max(axis=2) * 10
        same = off.min(axis=1) < 1e-3
        assert np.count_nonzero(~same) <= len(alone) // 200
        nearest = off.argmin(axis=1)[same]
        np.testing.assert_allclose(company.sizes[nearest], alone.sizes[same], rtol=1e-4)
        np.testing.assert_allclose(company.responses[nearest], alone.responses[same], rtol=1e-3)


def test_a_batch_too_large_for_the_memory_is_halved(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The GPU's memory is played here: whatever is larger than a batch of two runs out of it."""
    module = feature.XFeat
    detect, sizes = module.detectAndCompute, []

    def small(self: object, images: torch.Tensor) -> object:
        sizes.append(len(images))
        if len(images) > limit:
            raise torch.OutOfMemoryError
        return detect(self, images)

    monkeypatch.setattr(module, "detectAndCompute", small)
    made, sights = Learned("xfeat", 100), [Sight(scan(photograph(96)))] * 5
    limit = 2
    assert [len(features) for features in made.extract_all(sights, 5)] == [len(made.extract(scan(photograph(96))))] * 5
    assert sizes[:5] == [5, 2, 3, 1, 2]
    limit = 0
    with pytest.raises(CalqueError, match="too little memory for an image of 96 x 96 pixels; ask for --device cpu"):
        made.extract(scan(photograph(96)))


# Networks whose weights are not to be had are filled with random ones.


def random_state(module: torch.nn.Module, seed: int = 0) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    state = module.state_dict()
    return {key: torch.randn_like(v) * 0.1 if v.is_floating_point() else v for key, v in state.items()}


def test_disk_is_loaded_by_name(own_models: Path) -> None:
    torch.save({"extractor": random_state(feature.DISK())}, own_models / WEIGHTS["disk"].file)
    features = extractor_named("disk", 40).extract(scan(photograph(96)))
    assert 0 < len(features) <= 40
    assert features.descriptors.shape[1] == 128


def test_hardnet_is_loaded_by_name(own_models: Path) -> None:
    modules: dict[str, torch.nn.Module] = {
        "hardnet": feature.HardNet(False),
        "keynet": feature.KeyNet(False),
        "affnet": feature.LAFAffNetShapeEstimator(False),
        "orinet": feature.OriNet(False),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("matcher.weights.WEIGHTS", {name: without_hash(name) for name in modules})
        for name, module in modules.items():
            torch.save({"state_dict": module.state_dict()}, own_models / WEIGHTS[name].file)
        features = extractor_named("keynet-affnet-hardnet", 20).extract(scan(photograph(80)))
        assert features.descriptors.shape[1] == 128


def without_hash(name: str) -> object:
    from dataclasses import replace

    return replace(WEIGHTS[name], sha256="", size=0)


def test_other_weights_are_another_extractor(own_models: Path) -> None:
    file = own_models / WEIGHTS["xfeat"].file
    torch.save(random_state(feature.XFeat().net), file)
    signature = extractor_named("xfeat").signature
    torch.save(random_state(feature.XFeat().net, seed=1), file)
    with pytest.raises(SettingsMismatch, match=r"xfeat-1\(weights=.*use the calque and the weights that made them"):
        extractor_of(signature)


@pytest.mark.parametrize("content", [b"", b"not weights", "of another network", "a list"])
def test_files_that_are_no_weights_are_named(own_models: Path, content: bytes | str) -> None:
    file = own_models / WEIGHTS["xfeat"].file
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save({"a": torch.zeros(3)} if content == "of another network" else [1, 2], file)
    with pytest.raises(MissingDependency, match=rf"{file}.*fetch it again"):
        extractor_named("xfeat").extract(scan(photograph()))


def test_nothing_in_a_file_of_weights_is_run(own_models: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "sprung",)

    torch.save({"state_dict": Trap()}, own_models / WEIGHTS["xfeat"].file)
    with pytest.raises(MissingDependency, match="cannot be read as weights"):
        extractor_named("xfeat").extract(scan(photograph()))
    assert not (tmp_path / "sprung").exists()


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALQUE_DEVICE", "cpu")
    assert device() == "cpu"
    monkeypatch.setenv("CALQUE_DEVICE", "tpu")
    with pytest.raises(InputError, match="must be auto, cpu or cuda"):
        device()
    if not torch.cuda.is_available():
        monkeypatch.setenv("CALQUE_DEVICE", "cuda")
        with pytest.raises(InputError, match="no GPU"):
            device()


def test_every_name_is_known_to_be_made(own_models: Path) -> None:
    for name in EXTRACTORS:
        made: Extractor = extractor_named(name, 10)
        assert made.unweighted() == extractor_named(name)
