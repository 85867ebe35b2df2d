"""Pairs between the features of two images, found by networks that look at both at once.

LightGlue (Lindenberger, Sarlin & Pollefeys, ICCV 2023) lets the features of two images attend to each other before they
are paired; LighterGlue (Potje et al., 2024) is a smaller one for XFeat. Each knows one kind of features.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from matcher.errors import MissingDependency
from matcher.weights import digest_of, find_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from matcher.types import Features

    Pairs = tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]

__all__ = ["LightGlue", "LighterGlue"]

_KNOWN = {"aliked-n16rot": "aliked", "disk": "disk", "sift": "sift"}
"""Extractors, by the name that kornia has for the LightGlue of their features."""

_LAYERS = 9
_RENAMED = {
    f"{kind}_attn.{layer}.": f"transformers.{layer}.{kind}_attn."
    for kind in ("self", "cross")
    for layer in range(_LAYERS)
}
"""Its authors' names of LightGlue's layers, and kornia's."""


class LighterGlue:
    """LighterGlue for XFeat, an ONNX file of three layers that OpenCV runs.

    Raises
    ------
    MissingDependency
        If its weights are not there, or cannot be read.
    """

    features = "xfeat"

    def __init__(self) -> None:
        self._path = find_weights("lighterglue")
        try:
            self._net = cv2.dnn.readNetFromONNX(str(self._path))
        except cv2.error as error:
            raise MissingDependency(f"{self._path} cannot be read as a network; fetch it again") from error
        self._lock = threading.Lock()

    @property
    def signature(self) -> str:
        """Name, version and the hash of the weights."""
        return f"lighterglue-1(weights={digest_of(self._path)[:12]})"

    def pairs(self, query: Features, image: Features) -> Pairs:
        """Return rows of `query`, ascending, those of `image` that they pair with, and how sure each pair is, 0 to 1.

        Keypoints lie in pixels of images of the sizes that the features name.
        """
        if min(len(query), len(image)) < 2:
            return _no_pairs()
        inputs = {
            "kpts0": _centred(query)[None],
            "kpts1": _centred(image)[None],
            "desc0": query.descriptors[None],
            "desc1": image.descriptors[None],
        }
        with self._lock:
            for name, values in inputs.items():
                self._net.setInput(values, name)
            matches, scores = self._net.forward(["matches", "scores"])
        return _sorted(np.reshape(matches, (-1, 2)), np.ravel(scores))


class LightGlue:
    """LightGlue for the features of an extractor, built by kornia.

    Parameters
    ----------
    features : str
        Name of the extractor: ``aliked-n16rot``, ``disk`` or ``sift``.

    Raises
    ------
    MissingDependency
        If its weights are not there, or are another network's.
    """

    def __init__(self, features: str) -> None:
        import torch
        from kornia import feature

        from matcher.networks import device, fill

        torch.set_num_threads(1)  # as extractors do
        self.features = features
        self._name = f"lightglue-{_KNOWN[features]}"
        made: Any = feature.LightGlue
        self._device = device()
        # Without a name kornia fetches no weights of its own.
        module = made(None, **{**made.features[_KNOWN[features]], "weights": None})
        fill(module, self._name, _RENAMED)
        self._module = module.eval().requires_grad_(False).to(self._device)

    @property
    def signature(self) -> str:
        """Name, version and the hash of the weights."""
        return f"{self._name}-1(weights={digest_of(find_weights(self._name))[:12]})"

    def pairs(self, query: Features, image: Features) -> Pairs:
        """Return pairs as `LighterGlue.pairs` does."""
        import torch

        if min(len(query), len(image)) < 2:
            return _no_pairs()
        with torch.inference_mode():
            found = self._module({"image0": self._tensors(query), "image1": self._tensors(image)})
        return _sorted(found["matches"][0].cpu().numpy(), found["scores"][0].cpu().numpy())

    def _tensors(self, features: Features) -> dict[str, Any]:
        import torch

        arrays = {
            "keypoints": features.points,
            "descriptors": features.descriptors,
            "scales": features.sizes,
            "oris": np.deg2rad(features.angles),
            "image_size": np.array([features.width, features.height], dtype=np.float32),
        }
        return {name: torch.tensor(values[None], device=self._device) for name, values in arrays.items()}


def _centred(features: Features) -> NDArray[np.float32]:
    """Return keypoints from the image's centre, in halves of its longer side."""
    size = np.array([features.width, features.height], dtype=np.float32)
    centred: NDArray[np.float32] = ((features.points - size / 2) / (size.max() / 2)).astype(np.float32)
    return centred


def _sorted(matches: NDArray, scores: NDArray) -> Pairs:
    order = np.argsort(matches[:, 0], kind="stable")
    rows, columns = matches[order].T.astype(np.intp)
    return rows, columns, scores[order].astype(np.float64)


def _no_pairs() -> Pairs:
    nothing = np.zeros(0, dtype=np.intp)
    return nothing, nothing, np.zeros(0)
