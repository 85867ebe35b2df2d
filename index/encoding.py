"""From a file to what the index stores of it: read, segment, extract, choose, quantise. Runs in worker processes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from index.keypoints import packed
from index.memory import room_to_decode
from index.regions import Pictures, segmenter_of, zones_of
from matcher.images import read_image
from matcher.layout import PICTURES
from matcher.registry import Sight, extract_all, extractor_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from index.annotations import Zone
    from index.settings import Settings
    from index.vocabulary import Vocabulary
    from matcher.images import Scan
    from matcher.layout import Segmenter
    from matcher.types import Features

__all__ = ["EncodedImage", "Encoder", "Page", "encode", "read_page"]


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """One image's features as the index stores them, sorted by visual word.

    Attributes
    ----------
    words : uint16, shape (n,)
        Visual words, ascending.
    signatures : uint64, shape (n,)
        Binary signatures (Hamming embedding).
    geometry : uint32 or uint64, shape (n,)
        Places, diameters and orientations: see `index.keypoints`.
    width, height : int
        Size of the original image in pixels.
    zones : tuple of Zone or None
        What a segmenter found on the page, nothing if it is none; None if none has looked.
    unsegmented : str
        Why none has looked, where one should have.
    """

    words: NDArray[np.uint16]
    signatures: NDArray[np.uint64]
    geometry: NDArray[np.unsignedinteger]
    width: int
    height: int
    zones: tuple[Zone, ...] | None = None
    unsegmented: str = ""

    def __len__(self) -> int:
        return len(self.words)


def encode(features: Features, vocabulary: Vocabulary, settings: Settings) -> EncodedImage:
    """Quantise `features` for storage with the vocabulary of an index of these settings.

    Parameters
    ----------
    features : Features
    vocabulary : Vocabulary
    settings : Settings

    Returns
    -------
    EncodedImage
    """
    words = vocabulary.assign(features.descriptors)[:, 0]
    order = np.argsort(words, kind="stable")
    words = words[order]
    signatures = vocabulary.signatures(vocabulary.project(features.descriptors[order]), words)
    return EncodedImage(
        words=words.astype(np.uint16),
        signatures=signatures,
        geometry=packed(
            features.points[order],
            features.sizes[order],
            features.angles[order],
            np.array([[features.width, features.height]]),
            settings.work_size,
            settings.geometry_bits,
        ),
        width=features.width,
        height=features.height,
    )


class Page(NamedTuple):
    """A page that has been read, in colour if a segmenter is to see it, and the zones known of it."""

    image: Scan
    zones: Sequence[Zone]


def read_page(settings: Settings, path: Path, page: int, zones: Sequence[Zone] = ()) -> Page:
    """Read a page as an index with `settings` wants it; `InputError` if it cannot be read."""
    image = read_image(path, page, gray=not settings.layout, long_side=settings.work_size, room=room_to_decode)
    return Page(image, zones)


class Encoder:
    """Reads, extracts and encodes images with the settings of an index."""

    def __init__(self, settings: Settings, vocabulary: Vocabulary) -> None:
        cv2.setNumThreads(1)  # one process per core does better than threads within
        self._settings = settings
        self._vocabulary = vocabulary
        self._extractor = extractor_of(vocabulary.features, settings.max_features, vocabulary.likeness)
        self._segmenter = segmenter_of(settings.layout) if settings.layout else None

    def encode(self, path: Path, page: int, zones: Sequence[Zone] = ()) -> EncodedImage:
        """Return what is stored of a page of which `zones` are known; `InputError` if it cannot be read.

        An image that the segmenter fails on is stored as if there were none; `EncodedImage.unsegmented` says why.
        """
        return self.encode_all([read_page(self._settings, path, page, zones)])[0]

    def encode_all(self, pages: Sequence[Page]) -> list[EncodedImage]:
        """Return what is stored of several pages; networks on a GPU look at them together."""
        segmenter = self._segmenter
        looks = [None if segmenter is None else _Looking(segmenter, image, zones) for image, zones in pages]
        sights: list[Sight] = []
        for (image, zones), looking in zip(pages, looks, strict=True):
            scan = image if looking is None else image.gray()
            sights.append(Sight(scan, _outside_text(scan, zones), None if looking is None else looking.pictures))
        encoded = [
            encode(features, self._vocabulary, self._settings) for features in extract_all(self._extractor, sights)
        ]
        return [
            image if looking is None else replace(image, zones=looking.found, unsegmented=looking.problem)
            for image, looking in zip(encoded, looks, strict=True)
        ]


class _Looking:
    """Looks for the pictures on one page when the extractor asks for them: zones `found`, or the `problem` with it."""

    def __init__(self, segmenter: Segmenter, colour: Scan, given: Sequence[Zone]) -> None:
        self._segmenter = segmenter
        self._colour = colour
        self._given = given
        self.found: tuple[Zone, ...] = ()
        self.problem = ""

    def pictures(self) -> NDArray[np.integer] | None:
        """Return where they are, as `matcher.selection.select` wants it."""
        try:
            self.found = zones_of(self._segmenter.segment(self._colour))
        except Exception as error:  # a page is worth more than its layout, whatever a network makes of it
            self.problem = f"{type(error).__name__}: {error}"
            return None
        return Pictures((*self._given, *self.found), self._colour.width, self._colour.height).grid


def _outside_text(scan: Scan, zones: Sequence[Zone]) -> NDArray[np.bool_] | None:
    """Return where on a scan pictures may be: not on text, unless text zones hold pictures, too. None: anywhere."""
    if not any(zone.kind == "text" for zone in zones):
        return None
    allowed = np.ones(scan.pixels.shape, dtype=np.uint8)
    scale = np.array([scan.scale_x, scan.scale_y])
    for kinds, allow in ((("text",), 0), (PICTURES, 1)):
        for zone in (zone for zone in zones if zone.kind in kinds):
            cv2.fillPoly(allowed, [np.round((zone.outline() + 0.5) / scale - 0.5).astype(np.int32)], allow)
    return allowed > 0
