"""From a file to what the index stores of it: read, extract, choose, quantise. Runs in worker processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["EncodedImage"]


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """One image's features as the index stores them, sorted by visual word.

    Attributes
    ----------
    words : uint16, shape (n,)
        Visual words, ascending.
    signatures : uint64, shape (n,)
        Binary signatures (Hamming embedding).
    positions : uint16, shape (n, 2)
        Fixed-point places: pixel = position * step - 0.5.
    scales : uint8, shape (n,)
        Keypoint diameter in pixels = 2 ** (scale / 16).
    angles : uint8, shape (n,)
        Orientation in degrees = angle * 360 / 256.
    step : float
        ``max(width, height) / 65535``.
    width, height : int
        Size of the original image in pixels.
    """

    words: NDArray[np.uint16]
    signatures: NDArray[np.uint64]
    positions: NDArray[np.uint16]
    scales: NDArray[np.uint8]
    angles: NDArray[np.uint8]
    step: float
    width: int
    height: int

    def __len__(self) -> int:
        return len(self.words)
