"""SSCD, a descriptor of copies, and other networks in TorchScript that turn a picture into a vector.

Pizzi et al., CVPR 2022: trained to find edited copies of a picture. Its authors publish
``sscd_disc_mixup.torchscript.pt`` (MIT) at https://github.com/facebookresearch/sscd-copy-detection.
**TorchScript is a program: loading such a file runs what is in it.** Only a file that you name is ever loaded.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch

from matcher.accelerator import device
from matcher.embedding import digest_of_files, unit, versioned
from matcher.errors import InputError
from matcher.weights import digest_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Sscd"]

_SIDE = 288
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_STD = np.array([0.229, 0.224, 0.225], np.float32)
_BATCH = 32


class Sscd:
    """A network in TorchScript that takes pictures of 288 by 288 pixels with ImageNet's mean and deviation.

    Parameters
    ----------
    model : str
        Path of the file, which is run: take it from whom you trust.

    Raises
    ------
    InputError
        If there is no such file, or it is no network that turns a picture into a vector.
    """

    def __init__(self, model: str) -> None:
        path = Path(model)
        if not path.is_file():
            raise InputError(f"{path}: no such file; give the path of a network in TorchScript: sscd:PATH")
        torch.set_num_threads(1)  # callers run beside each other
        try:
            self._network = torch.jit.load(str(path), map_location=device()).eval()  # type: ignore[no-untyped-call]
            self.size = int(self._seen([np.zeros((8, 8, 3), np.uint8)]).shape[1])
        except Exception as error:  # in many ways
            reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
            raise InputError(
                f"{path} is no network in TorchScript that turns pictures into vectors ({reason})"
            ) from error
        self.signature = versioned("sscd", 1, side=_SIDE, weights=digest_of_files({path: digest_of(path)}))
        self.long_side = 2 * _SIDE

    @property
    def at_once(self) -> int:
        """See `matcher.embedding.Embedder`."""
        return _BATCH if device() == "cuda" else 1

    def embed(self, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """See `matcher.embedding.Embedder`."""
        return unit(self._seen(pictures)) if len(pictures) else np.empty((0, self.size), np.float32)

    def _seen(self, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        shown = np.stack([cv2.resize(picture, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA) for picture in pictures])
        values = ((shown.astype(np.float32) / 255 - _MEAN) / _STD).transpose(0, 3, 1, 2)
        with torch.inference_mode():
            found = self._network(torch.from_numpy(np.ascontiguousarray(values)).to(device()))
        if found.ndim != 2:
            raise ValueError(f"it gives arrays of {found.ndim} dimensions, not vectors")
        return np.asarray(found.float().cpu().numpy())
