"""Pictures on a page: known from zones, or told from type by what they look like."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from index.annotations import Zone
from index.pictures import look_like_pictures, pictures_on
from index.store import Index
from matcher.errors import InputError
from matcher.types import Region
from tests.conftest import PLACE, page_with, picture

pytestmark = pytest.mark.compiled


@pytest.fixture
def page(tmp_path):
    """An index of one page: a picture among lines of type."""
    file = tmp_path / "page.png"
    cv2.imwrite(str(file), page_with(picture("camera", PLACE[2]), 1))
    with Index.create(tmp_path / "page.calque") as index:
        index.add([file], workers=0)
        yield index


def test_pictures_look_otherwise_than_type(page):
    (record,) = page.images()
    boxes = np.array([[*PLACE[:2], PLACE[2], PLACE[2]], [40, 40, 600, 180], [0, 700, 700, 200], [10, 5, 20, 10]], float)
    assert look_like_pictures(page, record, boxes).tolist() == [True, False, False, False]
    assert len(look_like_pictures(page, record, boxes[:0])) == 0


def test_zones_of_pictures_are_known(page):
    (record,) = page.images()
    box = Region(1, 2, 30, 40)
    page.set_regions("alto", {record.id: [Zone("initial", box), Zone("text", Region(0, 0, 9, 9))]})
    assert pictures_on(page, record.id).tolist() == [box.as_list()]


def test_a_page_that_has_gone_is_told(page, tmp_path):
    (record,) = page.images()
    (tmp_path / "page.png").unlink()
    with pytest.raises(InputError, match=r"page\.png"):
        look_like_pictures(page, record, np.array([[0.0, 0, 10, 10]]))
