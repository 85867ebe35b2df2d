"""SIFT features described anew by FeatureBooster (Wang et al., CVPR 2023).

A small network changes each descriptor by what it knows of its keypoint and of all other features of the image.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from matcher.networks import device, state_of
from matcher.sift import Sift
from matcher.weights import digest_of, find_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from matcher.images import Scan
    from matcher.selection import PictureFinder
    from matcher.types import Features, Relation

__all__ = ["Boosted"]

_WEIGHTS = "featurebooster-sift"
_NORM_EPSILON = 1e-6


@dataclass(frozen=True, slots=True)
class Boosted:
    """SIFT extractor whose descriptors FeatureBooster has changed.

    Attributes
    ----------
    max_features : int or None
        As for `matcher.sift.Sift`, which finds, chooses and describes the features first.
    likeness : float32, shape (w,), or None
        As for `matcher.sift.Sift`.
    """

    max_features: int | None = None
    likeness: NDArray[np.float32] | None = None

    @property
    def signature(self) -> str:
        """Name, version and the hash of the weights."""
        return f"sift+featurebooster-1(weights={digest_of(find_weights(_WEIGHTS))[:12]})"

    def extract(
        self,
        scan: Scan,
        mask: NDArray[np.bool_] | None = None,
        pictures: PictureFinder | None = None,
    ) -> Features:
        """Return the features of a grey `scan`, in pixels of the original image; see `matcher.sift.Sift.extract`.

        Raises
        ------
        MissingDependency
            If the weights are not there.
        """
        found = Sift(self.max_features, self.likeness).extract(scan, mask, pictures)
        if len(found) == 0:
            return found
        where = device()
        middle, extent = np.array([found.width / 2, found.height / 2]), 0.7 * max(found.width, found.height)
        radii = found.sizes / np.sqrt(scan.scale_x * scan.scale_y) / 2
        # The network was taught angles within half a turn, against the clock.
        angles = np.deg2rad(180 - (found.angles + 180) % 360)
        geometry = np.column_stack([(found.points - middle) / extent, radii, angles]).astype(np.float32)
        with torch.inference_mode():
            described, laid = (torch.from_numpy(np.array(x)).to(where) for x in (found.descriptors, geometry))
            boosted = functional.normalize(_boost(_layers(where), described, laid)).cpu().numpy()
        return replace(found, descriptors=boosted)

    def unweighted(self) -> Boosted:
        """Return this extractor for what is all picture: it keeps everything."""
        return replace(self, max_features=None, likeness=None)

    def turned(self, features: Features, relation: Relation) -> None:
        """Return None: what the network has changed cannot be permuted."""
        return


@cache
def _layers(where: str) -> dict[str, torch.Tensor]:
    """Return the weights on the device `where`."""
    torch.set_num_threads(1)  # callers run beside each other
    return {key: value.to(where) for key, value in state_of(_WEIGHTS).items()}


def _boost(layers: dict[str, torch.Tensor], descriptors: torch.Tensor, geometry: torch.Tensor) -> torch.Tensor:
    """Return the changed descriptors, shape (n, d), of `descriptors` (n, 128) at `geometry` (n, 4)."""

    def linear(name: str, x: torch.Tensor) -> torch.Tensor:
        return functional.linear(x, layers[f"{name}.weight"], layers[f"{name}.bias"])

    def perceptron(name: str, x: torch.Tensor) -> torch.Tensor:
        """Apply the linear maps ``name.0``, ``name.2``, … with rectifiers between them."""
        x, step = linear(f"{name}.0", x), 2
        while f"{name}.{step}.weight" in layers:
            x, step = linear(f"{name}.{step}", functional.relu(x)), step + 2
        return x

    def norm(name: str, x: torch.Tensor) -> torch.Tensor:
        return functional.layer_norm(x, x.shape[-1:], layers[f"{name}.weight"], layers[f"{name}.bias"], _NORM_EPSILON)

    x = descriptors + perceptron("denc.encoder", descriptors) + perceptron("kenc.encoder", geometry)
    x = norm("layer_norm", x)
    block = 0
    while (name := f"attn_proj.layers.{block}") and f"{name}.attn.query.weight" in layers:
        # Attention without products of features (Zhai et al., 2021): one summary of all features for each component.
        shares = torch.softmax(linear(f"{name}.attn.key", x), dim=0)
        summary = (shares * linear(f"{name}.attn.value", x)).sum(dim=0)
        asked = torch.sigmoid(linear(f"{name}.attn.query", x))
        x = norm(f"{name}.attn.layer_norm", x + linear(f"{name}.attn.proj", asked * summary))
        x = norm(f"{name}.ffn.layer_norm", x + perceptron(f"{name}.ffn.mlp", x))
        block += 1
    return linear("final_proj", x)
