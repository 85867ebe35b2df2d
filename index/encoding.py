"""From a file to what the index stores of it: read, extract, choose, quantise. Runs in worker processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from index.keypoints import packed
from matcher.images import read_image
from matcher.registry import extractor_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from index.annotations import Zone
    from index.settings import Settings
    from index.vocabulary import Vocabulary
    from matcher.images import Scan
    from matcher.registry import Extractor
    from matcher.types import Features

__all__ = ["EncodedImage", "Encoder", "encode"]


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
    """

    words: NDArray[np.uint16]
    signatures: NDArray[np.uint64]
    geometry: NDArray[np.unsignedinteger]
    width: int
    height: int

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


class Encoder:
    """Reads, extracts and encodes one image after another with the settings of an index."""

    def __init__(self, settings: Settings, vocabulary: Vocabulary) -> None:
        cv2.setNumThreads(1)  # one process per core does better than threads within
        self._settings = settings
        self._vocabulary = vocabulary
        self._extractor = extractor_of(vocabulary.features, settings.max_features, vocabulary.likeness)

    def encode(self, path: Path, page: int, zones: Sequence[Zone] = ()) -> EncodedImage:
        """Return what is stored of a page of which `zones` are known; `InputError` if it cannot be read."""
        scan = read_image(path, page, long_side=self._settings.work_size)
        return encode(self._extractor.extract(scan, _outside_text(scan, zones)), self._vocabulary, self._settings)

    @staticmethod
    def features(extractor: Extractor, path: Path, page: int, work_size: int) -> Features:
        """Return the features of a page at the size at which it is indexed."""
        return extractor.extract(read_image(path, page, long_side=work_size))


def _outside_text(scan: Scan, zones: Sequence[Zone]) -> NDArray[np.bool_] | None:
    """Return where on a scan pictures may be: not on text, unless text zones hold pictures, too. None: anywhere."""
    if not any(zone.kind == "text" for zone in zones):
        return None
    allowed = np.ones(scan.pixels.shape, dtype=np.uint8)
    scale = np.array([scan.scale_x, scan.scale_y])
    for kinds, allow in ((("text",), 0), (("illustration", "ornament", "initial"), 1)):
        for zone in (zone for zone in zones if zone.kind in kinds):
            outline = zone.box.corners() if zone.polygon is None else np.array(zone.polygon)
            cv2.fillPoly(allowed, [np.round((outline + 0.5) / scale - 0.5).astype(np.int32)], allow)
    return allowed > 0
