"""Local features found and described by networks (`matcher.networks`), in the form that the whole pipeline takes.

A network that gives its keypoints neither size nor orientation looks at an image at several sizes, which stand in for
the one, and the direction of the light around a keypoint stands in for the other: geometry needs both.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from matcher.networks import MODELS, Found, at_once, device, network
from matcher.registry import Sight
from matcher.selection import select, weighted
from matcher.types import Features
from matcher.weights import digest_of, find_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from matcher.images import Scan
    from matcher.selection import PictureFinder
    from matcher.types import Relation

__all__ = ["Learned"]

_MOST = 10_000
"""Keypoints of an image where no budget limits them."""

_DIAMETER = 16.0
"""Pixels that a keypoint without a size counts as, at the size at which it was found."""

_LIGHT = 8.0
"""Pixels (sigma) over which the gradient is smoothed whose direction stands in for an orientation."""


@dataclass(frozen=True, slots=True)
class Learned:
    """Extractor of the features of a network.

    Attributes
    ----------
    model : str
        A key of `matcher.networks.MODELS`.
    max_features : int or None
        Features kept per image, by strength, size and likeness to a picture; None keeps all that the network finds.
    likeness : float32, shape (w,), or None
        Weights of `matcher.selection.picture_likeness`; None takes type for as good as pictures. There are some for
        SIFT's descriptors only.
    """

    model: str
    max_features: int | None = None
    likeness: NDArray[np.float32] | None = None

    @property
    def signature(self) -> str:
        """Name, version and the hash of the weights."""
        hashes = "+".join(digest_of(find_weights(name))[:12] for name in MODELS[self.model].weights)
        return f"{self.model}-1(weights={hashes})"

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

        Raises
        ------
        MissingDependency
            If the weights are not there.
        """
        return self.extract_all([Sight(scan, mask, pictures)])[0]

    @property
    def at_once(self) -> int:
        """How many scans `extract_all` had best be given at a time: more than one where there is a GPU."""
        return at_once(device())

    def extract_all(
        self,
        sights: Sequence[Sight],
        together: int | None = None,
    ) -> list[Features]:
        """Return the features of several scans, each with what `extract` takes with it.

        `together` is how many of one size go through the network at a time, by default `at_once`. But for rounding
        the features do not depend on it.
        """
        find = network(self.model, self.max_features or _MOST, device())
        together = together or self.at_once
        each: Any = map if together == 1 else _threads().map  # a GPU waits for the rest of the work
        pixels: list[NDArray] = [sight.scan.pixels for sight in sights]
        found: list[list[Found]] = [[] for _ in sights]
        left = list(range(len(sights)))
        for _ in range(MODELS[self.model].levels):
            seen = find([pixels[number] for number in left], together)
            shapes = [sights[number].scan.pixels.shape for number in left]
            framed = each(_framed, seen, [pixels[number] for number in left], shapes)
            for number, one in zip(left, framed, strict=True):
                found[number].append(one)
            left = [number for number in left if min(pixels[number].shape) >= 64]
            for number in left:
                height, width = pixels[number].shape
                pixels[number] = cv2.resize(pixels[number], (width // 2, height // 2), interpolation=cv2.INTER_AREA)
        return list(each(self._features, sights, found))

    def _features(self, sight: Sight, found: list[Found]) -> Features:
        """Return the features of a scan, of what was found on it at each size."""
        scan, mask, pictures = sight
        points, responses, descriptors, sizes, angles = (np.concatenate(parts) for parts in zip(*found, strict=True))
        if mask is not None:
            column, row = np.round(points).astype(np.intp).T
            allowed = mask[row, column]
            points, sizes, angles = points[allowed], sizes[allowed], angles[allowed]
            responses, descriptors = responses[allowed], descriptors[allowed]
        chosen, weights = select(
            *(points, descriptors, sizes, responses, scan.pixels.shape),
            network=self.likeness,
            budget=self.max_features,
            pictures=pictures,
        )
        scale = np.array([scan.scale_x, scan.scale_y], dtype=np.float32)
        return Features(
            points=((points[chosen] + 0.5) * scale - 0.5).astype(np.float32),
            sizes=sizes[chosen] * np.sqrt(scale.prod()),
            angles=angles[chosen],
            responses=weighted(responses, weights)[chosen],
            descriptors=descriptors[chosen],
            width=scan.width,
            height=scan.height,
        )

    def unweighted(self) -> Learned:
        """Return this extractor for what is all picture: it keeps everything."""
        return replace(self, max_features=None, likeness=None)

    def turned(self, features: Features, relation: Relation) -> None:
        """Return None: a network must see the changed pixels."""
        return


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(thread_name_prefix="learned")


def _framed(found: Found, pixels: NDArray[np.uint8], shape: tuple[int, ...]) -> Found:
    """Lay what was found on `pixels` on an image of `shape`, with sizes and orientations where it has none."""
    sizes, angles = found.sizes, found.angles
    if sizes is None:
        sizes = np.full(len(found.points), _DIAMETER, dtype=np.float32)
    if angles is None:
        smooth = cv2.GaussianBlur(pixels.astype(np.float32), (0, 0), _LIGHT)
        across, down = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
        column, row = np.round(found.points).astype(np.intp).T
        angles = np.rad2deg(np.arctan2(down[row, column], across[row, column])) % 360
    ratio = np.array([shape[1] / pixels.shape[1], shape[0] / pixels.shape[0]], dtype=np.float32)
    points = (found.points + 0.5) * ratio - 0.5
    return Found(points, found.responses, found.descriptors, sizes * np.float32(np.sqrt(ratio.prod())), angles)
