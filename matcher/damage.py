"""Maps of damage: the class of each pixel of an image of any size, by a network trained here, through OpenCV."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from matcher.errors import InputError
from matcher.images import printable
from matcher.looks import mean_of_looks
from matcher.tiles import blended
from matcher.trained import read_trained

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["DamageMapper", "classes_at"]


class DamageMapper:
    """Says of each pixel whether it is damaged, and how.

    Parameters
    ----------
    model : str
        Path of what `calque damage train` wrote.
    min_score : float, optional
        Chance from which on a pixel is damaged; by default the one that agreed best with what was kept from training.
    looks : int, optional
        Take only so many of the looks that it was measured with: faster, less sure.

    Raises
    ------
    InputError
        If it cannot be read, or is no such file.
    """

    def __init__(self, model: str, min_score: float | None = None, looks: int | None = None) -> None:
        data, self.card = read_trained(model)
        if self.card.what != "pixels":
            raise InputError(f"{printable(model)}: finds regions, not pixels; use it with: calque detect")
        try:
            self._net = cv2.dnn.readNetFromONNX(np.frombuffer(data, np.uint8))
        except cv2.error as error:
            raise InputError(f"{printable(model)}: damaged ({error.err}); get a fresh copy") from error
        self.min_score = self.card.min_score if min_score is None else min_score
        self.looks = self.card.looks[:looks]
        digest = hashlib.sha256(data).hexdigest()[:12]
        self.signature = f"{Path(model).stem}-{self.card.version}({digest}, {self.min_score:g}, {len(self.looks)})"

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, from 1 on."""
        return self.card.classes

    def bands(self, pixels: NDArray[np.uint8]) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Yield the chances of the classes of an image, RGB, band by band: see `matcher.tiles.blended`."""
        return blended(pixels, lambda tile: mean_of_looks(tile, self.looks, self._look))

    def map(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the class of each pixel of an image, RGB, as a number: 0 none.

        Besides the image and what is returned, only a band of it is held at a time.
        """
        classes = np.zeros(pixels.shape[:2], np.uint8)
        for top, chances in self.bands(pixels):
            classes[top : top + chances.shape[1]] = classes_at(chances, self.min_score)
        return classes

    def _look(self, tile: NDArray[np.uint8]) -> NDArray[np.float32]:
        self._net.setInput(cv2.dnn.blobFromImage(tile, 1 / 255))
        logits = self._net.forward("classes")[0]
        powers = np.exp(logits - logits.max(axis=0))
        return np.asarray(powers / powers.sum(axis=0), np.float32)


def classes_at(chances: NDArray[np.float32], min_score: float) -> NDArray[np.uint8]:
    """Return which class each pixel is of: the likeliest damage, where any is as likely as `min_score`; 0 elsewhere."""
    damaged = 1 - chances[0] >= min_score
    return np.where(damaged, chances[1:].argmax(axis=0) + 1, 0).astype(np.uint8)
