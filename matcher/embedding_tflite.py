"""MobileNetV2, a small network for weak machines, as TensorFlow Lite has it in eight bits.

Sandler et al., CVPR 2018; trained on ImageNet by Google. OpenCV's networks (5.0) do not read its eight-bit tensors.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter

from matcher.embedding import digest_of_files, unit, versioned
from matcher.errors import MissingDependency
from matcher.weights import digest_of, find_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["MobileNet"]

_FEATURES = 1280
_GRID = 7
_SIDE = 224
_POWER = 3.0


class MobileNet:
    """The last features of MobileNetV2, pooled by their generalised mean (Radenović, Tolias & Chum, TPAMI 2019).

    On dev it tells the same picture in another edition better than the plain mean, and kinds as well.

    Raises
    ------
    MissingDependency
        If its weights are not there.
    """

    def __init__(self) -> None:
        path = find_weights("mobilenet")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the memory that intermediate results take
                self._network = Interpreter(str(path), num_threads=1, experimental_preserve_all_tensors=True)
            self._network.allocate_tensors()
            self._input = self._network.get_input_details()[0]["index"]
            (self._output, zero), *_ = [
                (tensor["index"], tensor["quantization"][1])
                for tensor in self._network.get_tensor_details()
                if list(tensor["shape"]) == [1, _GRID, _GRID, _FEATURES]
            ]
        except (ValueError, RuntimeError) as error:
            raise MissingDependency(f"{path} cannot be read as a network ({error}); fetch it again") from error
        self._zero = float(zero)
        self.signature = versioned("mobilenet", 1, pool=_POWER, weights=digest_of_files({path: digest_of(path)}))
        self.size = _FEATURES
        self.at_once = 1
        self.long_side = 2 * _SIDE

    def embed(self, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """See `matcher.embedding.Embedder`."""
        return unit(np.array([self._vector(picture) for picture in pictures], np.float32).reshape(-1, _FEATURES))

    def _vector(self, picture: NDArray[np.uint8]) -> NDArray[np.float64]:
        square = cv2.resize(picture, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
        self._network.set_tensor(self._input, square[None])
        self._network.invoke()
        seen = self._network.get_tensor(self._output).reshape(-1, _FEATURES).astype(np.float64) - self._zero
        return np.asarray((np.maximum(seen, 0) ** _POWER).mean(axis=0) ** (1 / _POWER))
