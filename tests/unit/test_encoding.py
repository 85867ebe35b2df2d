"""From a page and what is known of it to what the index stores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from index.annotations import Zone
from index.encoding import Encoder
from index.keypoints import unpacked
from index.settings import Settings
from index.vocabulary import bundled_vocabulary
from matcher.types import Region
from tests.conftest import PLACE, page_with, picture

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.compiled

PAGE = Region(0, 0, 1440, 1920)


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A page of type with a photograph on it, scanned at twice the working size."""
    pixels = cv2.resize(page_with(picture("coins", PLACE[2]), 1), (1440, 1920), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(tmp_path / "page.png"), pixels)
    return tmp_path / "page.png"


def places(page: Path, *zones: Zone) -> np.ndarray:
    """Return where, in pixels of the page, features are stored."""
    vocabulary = bundled_vocabulary()
    settings = Settings(vocabulary.name, vocabulary.hash, vocabulary.features, work_size=960)
    encoded = Encoder(settings, vocabulary).encode(page, 0, zones)
    sizes = np.array([[encoded.width, encoded.height]])
    return unpacked(encoded.geometry, sizes, settings.work_size)[:, :2]


def test_text_is_left_out_and_pictures_in_it_are_not(page):
    box = Region(*(2.0 * value for value in (PLACE[0], PLACE[1], PLACE[2], 300)))
    everything = places(page)
    without = places(page, Zone("text", PAGE))
    assert len(without) == 0
    pictured = places(page, Zone("illustration", box), Zone("text", PAGE))
    assert len(pictured) > 100
    near = Region(box.x - 4, box.y - 4, box.width + 8, box.height + 8)
    assert near.contains(pictured).all()
    assert len(pictured) == pytest.approx(near.contains(everything).sum(), rel=0.05)


def test_outlines_count_and_other_zones_do_not(page):
    triangle = ((0.0, 0.0), (1440.0, 0.0), (0.0, 1920.0))
    half = places(page, Zone("text", PAGE, polygon=triangle))
    assert (half[:, 0] / 1440 + half[:, 1] / 1920 > 0.99).all()
    np.testing.assert_array_equal(places(page, Zone("other", PAGE)), places(page))
