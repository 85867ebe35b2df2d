"""RootSIFT keypoints and descriptors, and what a mirrored or negative copy of an image would have given.

OpenCV's SIFT (Lowe, IJCV 2004) with Hellinger normalisation (Arandjelović & Zisserman, CVPR 2012).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from operator import attrgetter
from typing import TYPE_CHECKING

import cv2
import numpy as np

from matcher.selection import select, weighted
from matcher.types import Features

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from matcher.images import Scan
    from matcher.selection import PictureFinder
    from matcher.types import Region, Relation

__all__ = ["Sift", "inverted", "mirrored", "root_sift"]

# OpenCV lays a descriptor out as index (y * 4 + x) * 8 + o. A mirrored patch reads its cells from right to left and
# its orientations backwards; a negative patch turns every gradient, and so its own frame, by half a turn.
_Y, _X, _O = np.meshgrid(np.arange(4), np.arange(4), np.arange(8), indexing="ij")
_MIRROR = (((3 - _Y) * 4 + _X) * 8 + (-_O) % 8).ravel()
_NEGATIVE = (((3 - _Y) * 4 + (3 - _X)) * 8 + _O).ravel()

_FAINT, _FEW, _MOST = 0.01, 500, 1000
"""OpenCV's contrast threshold where `Sift.contrast` finds fewer than `_FEW` keypoints, and how many are kept then: of
photographs taken in the dark or in mist, and of faded ones, there is else little or nothing (docs/ablations.md)."""

_SHIFT = 0.25
"""Pixels by which OpenCV's keypoints lie too far right and down: it doubles an image, but only halves coordinates."""


def root_sift(descriptors: NDArray) -> NDArray[np.float32]:
    """Return Hellinger-normalised descriptors of unit length.

    Parameters
    ----------
    descriptors : array, shape (n, 128)
        SIFT histograms, not negative.

    Returns
    -------
    float32, shape (n, 128)
    """
    root = descriptors.astype(np.float32)
    sums = root.sum(axis=1, keepdims=True)
    np.divide(root, sums, out=root, where=sums > 0)
    return np.sqrt(root, out=root)


@dataclass(frozen=True, slots=True)
class Sift:
    """RootSIFT extractor.

    Attributes
    ----------
    max_features : int or None
        Features kept per image, by strength, size and likeness to a picture; None keeps all.
    likeness : float32, shape (w,), or None
        Weights of `matcher.selection.picture_likeness`; None takes type for as good as pictures.
    contrast : float
        OpenCV's contrast threshold.
    """

    max_features: int | None = None
    likeness: NDArray[np.float32] | None = None
    contrast: float = 0.04

    @property
    def signature(self) -> str:
        """Name, version and parameters: features of equal signatures may be compared."""
        return f"rootsift-1(contrast={self.contrast})"

    def extract(
        self,
        scan: Scan,
        mask: NDArray[np.bool_] | None = None,
        pictures: PictureFinder | None = None,
    ) -> Features:
        """Return the features of a grey `scan`, in pixels of the original image.

        Parameters
        ----------
        scan : Scan
            A grey image, shape (h, w).
        mask : bool, shape (h, w), optional
            Where keypoints may lie.
        pictures : callable, optional
            Tells where a layout sees pictures, see `matcher.selection.select`.
        """
        keypoints: Sequence[cv2.KeyPoint] = ()
        raw: NDArray = np.zeros((0, 128), dtype=np.float32)
        if _has_pyramid(scan):
            allowed = None if mask is None else mask.astype(np.uint8) * 255
            detector = _detector(self.contrast)
            keypoints, described = detector.detectAndCompute(scan.pixels, allowed)
            if mask is None and len(keypoints) < _FEW:  # what a mask leaves of a page is little, but seldom faint
                keypoints = self._faint(scan)
                described = _described(scan, keypoints, detector)
            if keypoints:
                raw = described
        points, sizes, responses = _measured(keypoints)
        descriptors = root_sift(raw)
        chosen, weights = select(
            *(points, descriptors, sizes, responses, scan.pixels.shape),
            network=self.likeness,
            budget=self.max_features,
            pictures=pictures,
        )
        return _features(scan, [keypoints[k] for k in chosen], descriptors[chosen], weights[chosen])

    def framed(self, scan: Scan, region: Region, most: int) -> Features:
        """Return the `most` strongest features of a grey `scan` inside `region`, all of them taken for picture.

        They are those that `extract` of `unweighted` gives, but no others are described: that takes twice as long as
        finding them.
        """
        keypoints: Sequence[cv2.KeyPoint] = ()
        raw: NDArray = np.zeros((0, 128), dtype=np.float32)
        if _has_pyramid(scan):
            detector = _detector(self.contrast)
            keypoints = detector.detect(scan.pixels)
            if len(keypoints) < _FEW:
                keypoints = self._faint(scan)
            keypoints = _strongest(_inside(keypoints, scan, region), most)
            raw = _described(scan, keypoints, detector)
        return _features(scan, keypoints, root_sift(raw), np.ones(len(keypoints), np.float32))

    def _faint(self, scan: Scan) -> Sequence[cv2.KeyPoint]:
        """Return the strongest keypoints of an image on which there are few, however faint."""
        return _strongest(_detector(min(_FAINT, self.contrast)).detect(scan.pixels), _MOST)

    def unweighted(self) -> Sift:
        """Return this extractor for what is all picture: it keeps everything."""
        return replace(self, max_features=None, likeness=None)

    def turned(self, features: Features, relation: Relation) -> Features:
        """Return the features of the mirrored or negative image."""
        turned = mirrored(features) if "mirrored" in relation else features
        return inverted(turned) if "inverted" in relation else turned


def _detector(contrast: float) -> cv2.SIFT:
    return cv2.SIFT.create(0, 3, contrast, 10, 1.6, cv2.CV_8U)


def _inside(keypoints: Sequence[cv2.KeyPoint], scan: Scan, region: Region) -> Sequence[cv2.KeyPoint]:
    """Return the keypoints inside a region, which is in pixels of the original."""
    points, _, _ = _measured(keypoints)
    return [keypoints[int(k)] for k in np.flatnonzero(region.contains(_placed(scan, points)))]


def _strongest(keypoints: Sequence[cv2.KeyPoint], most: int) -> Sequence[cv2.KeyPoint]:
    """Return at most so many keypoints, in their order."""
    _, sizes, responses = _measured(keypoints)
    chosen = np.argsort(-sizes * responses, kind="stable")[:most]
    return [keypoints[k] for k in np.sort(chosen)]


def _described(scan: Scan, keypoints: Sequence[cv2.KeyPoint], detector: cv2.SIFT) -> NDArray[np.float32]:
    """Return the descriptors of keypoints, shape (n, 128)."""
    # Where all lie on coarse levels OpenCV would leave out the finest, and blur the others a little otherwise.
    return np.asarray(detector.compute(scan.pixels, [*keypoints, _finest(scan)])[1][:-1], np.float32)


def _has_pyramid(scan: Scan) -> bool:
    """Tell whether an image has the few pixels that OpenCV's pyramid needs."""
    return bool(min(scan.pixels.shape) >= 8)


def _finest(scan: Scan) -> cv2.KeyPoint:
    """Return a keypoint of the finest level of the pyramid, level 1 of the doubled image, as OpenCV packs it."""
    height, width = scan.pixels.shape
    return cv2.KeyPoint(width / 2, height / 2, 2.0, 0.0, 0.0, 255 | 1 << 8)


def _measured(
    keypoints: Sequence[cv2.KeyPoint],
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return the places, shape (n, 2), the diameters and the strengths of keypoints."""
    points = np.asarray(cv2.KeyPoint.convert(keypoints), dtype=np.float32).reshape(-1, 2)
    # Attribute by attribute: five times faster than a row of numbers for each of some ten thousand keypoints.
    return points, _each(keypoints, "size"), _each(keypoints, "response")


def _each(keypoints: Sequence[cv2.KeyPoint], name: str) -> NDArray[np.float32]:
    return np.fromiter(map(attrgetter(name), keypoints), np.float32, len(keypoints))


def _placed(scan: Scan, points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return places of OpenCV's keypoints in pixels of the original."""
    scale = np.array([scan.scale_x, scan.scale_y], dtype=np.float32)
    return np.asarray((points - _SHIFT + 0.5) * scale - 0.5, np.float32)


def _features(
    scan: Scan, keypoints: Sequence[cv2.KeyPoint], descriptors: NDArray[np.float32], weights: NDArray[np.float32]
) -> Features:
    """Return keypoints of a scan as features in pixels of the original."""
    points, sizes, responses = _measured(keypoints)
    scale = np.array([scan.scale_x, scan.scale_y], dtype=np.float32)
    return Features(
        points=_placed(scan, points),
        sizes=sizes * np.sqrt(scale.prod()),
        angles=_each(keypoints, "angle") % 360,
        responses=weighted(responses, weights),
        descriptors=descriptors,
        width=scan.width,
        height=scan.height,
    )


def mirrored(features: Features) -> Features:
    """Return the features of the image with left and right exchanged."""
    points = features.points.copy()
    points[:, 0] = features.width - 1 - points[:, 0]
    return Features(
        points,
        features.sizes,
        (180 - features.angles) % 360,
        features.responses,
        features.descriptors[:, _MIRROR],
        features.width,
        features.height,
    )


def inverted(features: Features) -> Features:
    """Return the features of the image's negative."""
    return Features(
        features.points,
        features.sizes,
        (features.angles + 180) % 360,
        features.responses,
        features.descriptors[:, _NEGATIVE],
        features.width,
        features.height,
    )
