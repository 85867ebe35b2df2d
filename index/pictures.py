"""Where the pictures of a page are: what a layout says, else what its details look like."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from index.regions import counting
from matcher.images import read_image
from matcher.layout import PICTURES
from matcher.registry import extractor_of
from matcher.selection import picture_likeness
from matcher.types import Region

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from index.catalogue import ImageRecord
    from index.store import Index

__all__ = ["look_like_pictures", "pictures_on"]

_LIKE = 0.5
"""Likeness to a picture, on average, of the details of a place that is one (chosen on dev: of places found again there,
woodcuts and initials have 0.56 and more, three quarters of those of type less than 0.45)."""


def pictures_on(index: Index, image_id: int) -> NDArray[np.float64]:
    """Return the boxes of the zones of an image that are pictures, float64 (n, 4)."""
    boxes = [zone.box.as_list() for zone in counting(index.regions(image_id)) if zone.kind in PICTURES]
    return np.array(boxes, np.float64).reshape(-1, 4)


def look_like_pictures(index: Index, record: ImageRecord, boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which places on an image look like pictures rather than like type.

    Parameters
    ----------
    index : Index
    record : ImageRecord
        The image, which is read.
    boxes : float64, shape (n, 4)
        The places; all of them do where the index's vocabulary cannot tell.

    Raises
    ------
    InputError
        If the image cannot be read.
    """
    vocabulary = index.vocabulary
    if not len(boxes) or not len(vocabulary.likeness):
        return np.ones(len(boxes), dtype=np.bool_)
    scan = read_image(Path(record.path), record.page, long_side=index.settings.work_size)
    features = extractor_of(vocabulary.features, None, None).extract(scan)
    step = np.array([scan.scale_x, scan.scale_y], np.float32)
    sizes = features.sizes / np.sqrt(step.prod())
    points = (features.points + 0.5) / step - 0.5
    likeness = picture_likeness(points, features.descriptors, sizes, features.responses, vocabulary.likeness)
    inside = (Region(*box).contains(features.points) for box in boxes.tolist())
    return np.array([bool(here.any()) and float(likeness[here].mean()) >= _LIKE for here in inside])
