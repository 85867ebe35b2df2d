"""Extractors by name and by signature: each mistake names its remedy, and any extractor runs through the pipeline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from skimage import data

from index.answers import Query
from index.asking import extract
from matcher.errors import InputError, MissingDependency, SettingsMismatch
from matcher.registry import EXTRACTORS, Backend, extractor_named, extractor_of
from matcher.sift import Sift
from matcher.types import Features, Region

if TYPE_CHECKING:
    from pathlib import Path

    from matcher.images import Scan
    from matcher.types import Relation

RELATIONS: tuple[Relation, ...] = ("same", "mirrored", "inverted", "mirrored+inverted")


@dataclass(frozen=True)
class Seeing:
    """SIFT that cannot say what a changed image gives but by looking at it."""

    inner: Sift

    @property
    def signature(self) -> str:
        return self.inner.signature

    def extract(self, scan: Scan, mask: object = None, pictures: object = None) -> Features:
        return self.inner.extract(scan)

    def unweighted(self) -> Seeing:
        return Seeing(self.inner.unweighted())

    def turned(self, features: Features, relation: Relation) -> None:
        return None


@pytest.fixture(scope="module")
def photograph(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("registry") / "astronaut.png"
    cv2.imwrite(str(path), cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2GRAY)[:, 40:500])
    return path


def test_an_extractor_is_found_by_the_signature_it_gives():
    for name in EXTRACTORS:
        if not EXTRACTORS[name].extra:
            made = extractor_named(name)
            assert extractor_of(made.signature).signature == made.signature


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(InputError, match="did you mean 'sift'"):
        extractor_named("shift")
    with pytest.raises(InputError, match="there are: sift"):
        extractor_named("zzzzzz")


@pytest.mark.parametrize("signature", ["rootsift-1(contrast=0.5)", "rootsift-2(contrast=0.04)", "nothing-1()", "?"])
def test_another_version_is_refused(signature):
    with pytest.raises(SettingsMismatch, match=r"use the calque (and the weights )?that made them"):
        extractor_of(signature)


def test_a_missing_package_is_named_with_its_extra():
    with pytest.raises(MissingDependency, match=r"no_such_package.*pip install 'calque\[learned\]'"):
        Backend("no_such_package.at_all:Thing", "learned").make()


@pytest.mark.parametrize("region", [None, Region(37, 61, 300, 270)])
def test_changed_pixels_give_what_permuted_descriptors_give(photograph, region):
    """Extracting again from the mirrored or negative image puts features where the search expects them."""
    query = Query("q", photograph, region)
    permuted = extract(query, Sift(), 1600, RELATIONS).features
    seen = extract(query, Seeing(Sift()), 1600, RELATIONS).features
    assert list(seen) == list(permuted) == list(RELATIONS)
    for relation in RELATIONS:
        one, other = permuted[relation], seen[relation]
        apart = np.linalg.norm(one.points[:, None] - other.points[None], axis=2)
        turned = np.abs((one.angles[:, None] - other.angles[None] + 180) % 360 - 180)
        alike = (apart < 0.6) & (turned < 6) & (one.descriptors @ other.descriptors.T > 0.95)
        assert alike.any(axis=1).mean() > (0.999 if relation == "same" else 0.8)
        rows, columns = np.nonzero(alike)
        assert np.abs((one.points[rows] - other.points[columns]).mean(axis=0)).max() < 0.05
