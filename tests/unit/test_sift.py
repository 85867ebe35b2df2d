"""Features lie where the picture has them, and mirrored or negative copies need no second extraction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from matcher.images import Scan
from matcher.sift import Sift, inverted, mirrored, root_sift
from matcher.types import Region
from tests.conftest import picture

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from matcher.types import Features


def scan(pixels: NDArray[np.uint8], scale_x: float = 1.0, scale_y: float = 1.0) -> Scan:
    height, width = pixels.shape
    return Scan(np.ascontiguousarray(pixels), round(width * scale_x), round(height * scale_y), scale_x, scale_y)


def blob(x: float, y: float, sigma: float = 5.0) -> NDArray[np.uint8]:
    """Return a light round blob at (`x`, `y`), the one thing on an image of 160 × 120 pixels."""
    rows, columns = np.mgrid[0:120, 0:160]
    return (40 + 190 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))).astype(np.uint8)


def share_found_again(features: Features, others: Features) -> float:
    """Return the share of `features` that `others` has at the same place, size and angle, with a like descriptor."""
    apart = np.linalg.norm(features.points[:, None] - others.points, axis=2)
    turned = np.abs((features.angles[:, None] - others.angles + 180) % 360 - 180)
    grown = np.abs(np.log2(features.sizes[:, None] / others.sizes))
    likeness = features.descriptors @ others.descriptors.T
    return float(((apart < 0.5) & (turned < 10) & (grown < 0.3) & (likeness > 0.94)).any(axis=1).mean())


@pytest.fixture(scope="module")
def photograph() -> NDArray[np.uint8]:
    return picture("camera", 400)


def test_root_sift_has_unit_length_and_leaves_its_argument_alone():
    raw = np.random.default_rng(0).integers(0, 200, (5, 128)).astype(np.float32)
    before = raw.copy()
    rooted = root_sift(raw)
    assert np.linalg.norm(rooted, axis=1) == pytest.approx(1, abs=1e-5)
    assert rooted**2 * raw.sum(axis=1, keepdims=True) == pytest.approx(raw, rel=1e-4)
    assert (raw == before).all()
    assert (root_sift(np.zeros((1, 128))) == 0).all()


def test_features_are_whole(photograph):
    features = Sift().extract(scan(photograph))
    assert len(features) > 300
    assert (features.width, features.height) == photograph.shape[::-1]
    assert ((features.angles >= 0) & (features.angles < 360)).all()
    assert (features.sizes > 0).all()
    assert np.linalg.norm(features.descriptors, axis=1) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("sigma", [2.0, 5.0, 10.0])
@pytest.mark.parametrize(("x", "y"), [(80, 60), (70.5, 40.5), (90.3, 61.8)])
def test_a_blob_is_found_in_its_place(x, y, sigma):
    features = Sift().extract(scan(blob(x, y, sigma)))
    nearest = features.points[np.linalg.norm(features.points - [x, y], axis=1).argmin()]
    assert nearest == pytest.approx([x, y], abs=0.1)


def test_places_and_sizes_are_those_of_the_original():
    plain, scaled = (Sift().extract(scan(blob(70, 50), *scales)) for scales in ((1.0, 1.0), (2.0, 3.0)))
    assert scaled.points == pytest.approx((plain.points + 0.5) * [2, 3] - 0.5, abs=1e-3)
    assert scaled.sizes == pytest.approx(plain.sizes * np.sqrt(6), rel=1e-5)
    assert (scaled.width, scaled.height) == (320, 360)


@pytest.mark.parametrize(
    ("change", "variant"),
    [
        (lambda pixels: pixels[:, ::-1], mirrored),
        (lambda pixels: 255 - pixels, inverted),
        (lambda pixels: 255 - pixels[:, ::-1], lambda features: inverted(mirrored(features))),
    ],
    ids=["mirrored", "inverted", "both"],
)
def test_variants_of_features_are_the_features_of_the_variant(photograph, change, variant):
    features, changed = Sift().extract(scan(photograph)), Sift().extract(scan(change(photograph)))
    assert share_found_again(variant(features), changed) > 0.85
    assert share_found_again(features, changed) < 0.05


@pytest.mark.parametrize("variant", [mirrored, inverted])
def test_twice_is_not_at_all(photograph, variant):
    features = Sift().extract(scan(photograph))
    twice = variant(variant(features))
    assert (twice.descriptors == features.descriptors).all()
    assert twice.points == pytest.approx(features.points, abs=1e-3)
    assert np.abs((twice.angles - features.angles + 180) % 360 - 180).max() < 1e-3


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (7, 7), (8, 8), (8, 300), (20, 20), (300, 200)])
@pytest.mark.parametrize("value", [0, 128, 255])
def test_nothing_is_found_where_there_is_nothing(shape, value):
    features = Sift().extract(scan(np.full(shape, value, np.uint8)))
    assert len(features) == 0
    assert features.descriptors.shape == (0, 128)
    assert len(mirrored(features)) == len(inverted(features)) == 0


def test_tiny_images_with_something_on_them_do_no_harm():
    noise = np.random.default_rng(0).integers(0, 256, (12, 12)).astype(np.uint8)
    for height, width in ((1, 12), (8, 8), (9, 12), (12, 12)):
        features = Sift().extract(scan(noise[:height, :width]))
        assert np.isfinite(features.points).all()


def test_keypoints_stay_inside_the_mask(photograph):
    mask = np.zeros(photograph.shape, dtype=np.bool_)
    mask[100:300, 150:250] = True
    everywhere, features = Sift().extract(scan(photograph)), Sift().extract(scan(photograph), mask)
    assert 0 < len(features) < len(everywhere)
    column, row = np.round(features.points).astype(int).T
    assert mask[row, column].mean() > 0.98  # OpenCV rounds its own, slightly shifted coordinates


def test_the_strongest_are_kept(photograph):
    everything, some = Sift().extract(scan(photograph)), Sift(100).extract(scan(photograph))
    assert len(some) == 100
    strength = np.sort(everything.responses * everything.sizes)[::-1]
    assert (some.responses * some.sizes).min() == pytest.approx(strength[99], rel=1e-5)


@pytest.mark.parametrize(("region", "most"), [(Region(60, 80, 300, 290), 40), (Region(3.5, 100, 250.2, 120.9), 10_000)])
def test_what_is_framed_is_what_would_be_found_there(photograph, region, most):
    shown = scan(photograph, 1.5, 1.25)
    everything = Sift(50).unweighted().extract(shown)
    inside = everything.take(region.contains(everything.points))
    strongest = np.sort(np.argsort(-(inside.responses * inside.sizes), kind="stable")[:most])
    expected, framed = inside.take(strongest), Sift(50).framed(shown, region, most)
    assert 0 < len(framed) == len(expected) <= most
    for name in ("points", "sizes", "angles", "responses", "descriptors"):
        assert (getattr(framed, name) == getattr(expected, name)).all()


def test_nothing_is_framed_where_there_is_nothing(photograph):
    assert len(Sift().framed(scan(photograph), Region(-50, -50, 20, 20), 100)) == 0
    assert len(Sift().framed(scan(np.zeros((5, 5), np.uint8)), Region(0, 0, 5, 5), 100)) == 0


def test_signature_names_what_changes_descriptors():
    assert Sift(10).signature == Sift(None).signature
    assert Sift(contrast=0.02).signature != Sift().signature


def test_a_faint_image_has_features_all_the_same(photograph):
    faint = cv2.convertScaleAbs(photograph, alpha=0.15, beta=20)
    whole, framed = Sift().extract(scan(faint)), Sift().framed(scan(faint), Region(0, 0, 400, 400), 10_000)
    assert len(whole) > 300
    # The same places as in full light, and what is there looks the same.
    light = Sift(contrast=0.01).extract(scan(photograph))
    apart = np.linalg.norm(whole.points[:, None] - light.points[None], axis=2)
    near = apart.min(axis=1) < 1
    alike = (whole.descriptors[near] * light.descriptors[apart[near].argmin(axis=1)]).sum(axis=1)
    assert near.mean() > 0.7
    assert np.median(alike) > 0.9
    assert len(framed) == len(whole)


def test_what_is_faint_adds_little_to_an_image(photograph):
    noise = np.random.default_rng(0).normal(128, 6, (600, 600)).clip(0, 255).astype(np.uint8)
    assert len(Sift().extract(scan(noise))) <= 1000


def test_contrast_is_a_threshold(photograph):
    faint = cv2.convertScaleAbs(photograph, alpha=0.3, beta=100)
    assert len(Sift(contrast=0.004).extract(scan(faint))) > len(Sift().extract(scan(faint)))
    assert len(Sift(contrast=0.01).extract(scan(photograph))) > len(Sift().extract(scan(photograph)))
