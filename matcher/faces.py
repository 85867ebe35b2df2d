"""Faces: where they are and how they lie (YuNet: Wu, Peng and Yu 2023), faces cut out upright, the average of many.

Nothing here tells whose face it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from matcher.detection import Detection, surest_first, takes_no_phrases
from matcher.types import Region
from matcher.weights import digest_of, find_weights

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from matcher.images import Scan

__all__ = ["FACE", "YuNet", "aligned_face", "average_face", "has_face", "levelled"]

FACE = "face"
"""The only label that there is."""

_SIDES = (1280, 320)
"""Long sides at which an image is looked at: a face is found if it is some 10 to 300 pixels high there."""
_OVERLAP = 0.3
"""IoU from which on the less sure of two boxes is left out, as OpenCV has it."""
_MOST = 5000

_TEMPLATE = np.array([[0.341, 0.462], [0.656, 0.460], [0.500, 0.641], [0.370, 0.825], [0.631, 0.823]])
"""Where the landmarks of an aligned face lie, as shares of its side, before it is drawn smaller to show the head."""
_HEAD = 0.62
"""Part of the side that the face takes up: the rest shows hair, chin and collar."""
_BRIGHTNESS, _CONTRAST, _FLAT = 128.0, 45.0, 8.0
"""Mean and deviation of a face's tones when faces are averaged, and the least deviation that is not grain."""


class YuNet:
    """Faces, and the landmarks of each, by the detector YuNet as OpenCV runs it.

    Raises
    ------
    MissingDependency
        If its weights are not there and cannot be downloaded.
    """

    usual_score = 0.7
    labels: tuple[str, ...] | None = (FACE,)

    def __init__(self) -> None:
        path = find_weights("yunet")
        self.signature = f"yunet-1({digest_of(path)[:12]}, {'/'.join(map(str, _SIDES))})"
        loud = cv2.utils.logging.getLogLevel()
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)  # OpenCV 5 warns that it chooses no target
        try:
            self._net = cv2.FaceDetectorYN.create(str(path), "", (320, 320), 0.5, _OVERLAP, _MOST)
        finally:
            cv2.utils.logging.setLogLevel(loud)

    def detect(self, scan: Scan, min_score: float | None = None, phrases: Sequence[str] = ()) -> list[Detection]:
        """Return the faces on `scan`: see `matcher.detection.Detector`."""
        takes_no_phrases("yunet", phrases)
        least = self.usual_score if min_score is None else min_score
        self._net.setScoreThreshold(max(least, 1e-3))
        pixels = scan.pixels if scan.pixels.ndim == 3 else np.repeat(scan.pixels[..., None], 3, axis=2)
        sides = sorted({min(side, max(pixels.shape[:2])) for side in _SIDES}, reverse=True)
        found = [face for side in sides for face in self._looked(pixels, side, scan)]
        kept: list[Detection] = []
        for face in surest_first(found):
            if all(face.box.iou(other.box) < _OVERLAP for other in kept):
                kept.append(face)
        return kept

    def _looked(self, pixels: NDArray[np.uint8], side: int, scan: Scan) -> Iterator[Detection]:
        """Yield the faces seen at a long side."""
        rows, columns = pixels.shape[:2]
        factor = side / max(rows, columns)
        size = max(1, round(columns * factor)), max(1, round(rows * factor))
        reduced = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA) if factor < 1 else pixels
        self._net.setInputSize(size)
        _, faces = self._net.detect(np.ascontiguousarray(reduced[..., ::-1]))
        scale = np.array([scan.width / size[0], scan.height / size[1]])
        for row in np.zeros((0, 15)) if faces is None else faces.astype(np.float64):
            x, y, width, height = (row[:4] * np.tile(scale, 2)).tolist()
            box = Region(x, y, width, height).clipped(scan.width, scan.height) if min(width, height) > 0 else None
            if box is not None:
                points = row[4:14].reshape(5, 2)
                yield Detection(box, FACE, round(float(row[14]), 4), landmarks=(points + 0.5) * scale - 0.5)


def has_face(detection: Detection) -> bool:
    """Return whether a detection has the five landmarks of a face."""
    return detection.landmarks is not None and len(detection.landmarks) == 5


def aligned_face(scan: Scan, landmarks: NDArray, side: int = 256) -> NDArray[np.uint8]:
    """Return a face turned upright and brought to one size: its landmarks lie where those of others do.

    Parameters
    ----------
    scan : Scan
    landmarks : float64, shape (5, 2)
        As of `matcher.detection.Detection`.
    side : int
        Pixels of the result.

    Returns
    -------
    uint8, shape (side, side, 3), or (side, side) of a grey scan

    Notes
    -----
    The similarity that brings the landmarks nearest to those of the template in least squares (Umeyama 1991). What
    lies beyond the edges of the scan repeats its last pixels.
    """
    target = ((_TEMPLATE - 0.5) * _HEAD + 0.5) * side - 0.5
    step = np.array([scan.scale_x, scan.scale_y])
    source = (landmarks + 0.5) / step - 0.5
    centre, goal = source.mean(axis=0), target.mean(axis=0)
    # With complex numbers a similarity is a product: the best one is a projection.
    a = (source - centre) @ np.array([1, 1j])
    b = (target - goal) @ np.array([1, 1j])
    turn = np.vdot(a, b) / max(np.vdot(a, a).real, 1e-12)
    matrix = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    affine = np.column_stack([matrix, goal - matrix @ centre])
    # Shrunk a lot, pixels are to be averaged, which the warp does not do.
    pixels, factor = scan.pixels, 2 * abs(turn)
    if factor < 1:
        rows, columns = pixels.shape[:2]
        size = max(1, round(columns * factor)), max(1, round(rows * factor))
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
        grown = np.array([columns / size[0], rows / size[1]])
        # original = (reduced + 0.5) * grown - 0.5
        affine[:, 2] += affine[:, :2] @ (0.5 * grown - 0.5)
        affine[:, :2] *= grown
    return np.asarray(
        cv2.warpAffine(pixels, affine, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8
    )


def levelled(face: NDArray) -> NDArray[np.float64]:
    """Return a face, shape (side, side, 3), with the brightness and the contrast that all faces get.

    Averaged as they are, dark prints would only dim and pale ones only wash out. The tones around the features count,
    not those of hats and grounds.
    """
    side = face.shape[0]
    edge = round(side * (1 - _HEAD) / 2)
    middle = face[edge : side - edge, edge : side - edge].astype(np.float64)
    factor = _CONTRAST / max(float(middle.std()), _FLAT)
    return np.asarray((face - middle.mean()) * factor + _BRIGHTNESS)


def average_face(faces: Iterable[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Return the mean of faces of one size, each `levelled` first, and so itself; `ValueError` if there are none."""
    total: NDArray[np.float64] | None = None
    count = 0
    for face in faces:
        total = levelled(face) if total is None else total + levelled(face)
        count += 1
    if total is None:
        raise ValueError("there is no average of nothing")
    return np.clip(np.round(levelled(total / count)), 0, 255).astype(np.uint8)
