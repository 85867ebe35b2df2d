"""The small network of calque in torch that says the class of each pixel, as it is trained: a U-Net for thin lines.

The network for regions ends in cells of four pixels and knows pages; cracks are one to five pixels broad and lie on
anything. So this one begins at half the size with more maps than four pixels have values, so that nothing is lost, goes
down to a sixteenth for what surrounds a line, and back up to half, where it says the classes of four pixels at a time
(Shi et al. 2016): as exact as at the full size, and four times as fast. It learns from nothing in minutes.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from matcher.region_model import Residual, convolution, take_convolutions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["PixelModel", "start_pixels_from"]

_WIDTHS = (24, 32, 48, 64)
"""Channels at 1/2, 1/4, 1/8 and 1/16 of the size."""

_SIDE = 2
"""Pixels of the sides of what is said at a time."""


class PixelModel(nn.Module):
    """Colour pixels in, the class of each out.

    ``forward`` takes float32 (n, 3, h, w), RGB from 0 to 1, sides multiples of 16, and returns logits
    (n, classes, h, w), the background being the first.

    Parameters
    ----------
    classes : int
    normed : bool
        Whether batches are normalised. What starts from weights that were is trained without.
    """

    def __init__(self, classes: int, *, normed: bool = True) -> None:
        super().__init__()
        pairs = list(pairwise(_WIDTHS))
        self.stem = nn.Sequential(convolution(3, _WIDTHS[0], 6, 2, normed=normed), Residual(_WIDTHS[0], normed=normed))
        self.down = nn.ModuleList(
            nn.Sequential(
                convolution(fine, coarse, stride=2, normed=normed),
                Residual(coarse, normed=normed),
                Residual(coarse, normed=normed),
            )
            for fine, coarse in pairs
        )
        self.lower = nn.ModuleList(convolution(coarse, fine, 1, normed=normed, active=False) for fine, coarse in pairs)
        self.up = nn.ModuleList(Residual(fine, normed=normed) for fine, _ in pairs)
        self.said = nn.Conv2d(_WIDTHS[0], classes * _SIDE**2, 3, padding=1)

    def forward(self, pixels: Tensor) -> Tensor:
        maps = self.stem(2 * pixels - 1)
        levels = []
        for down in self.down:
            levels.append(maps)
            maps = down(maps)
        for level, lower, up in zip(levels[::-1], reversed(self.lower), reversed(self.up), strict=True):
            maps = up(level + functional.interpolate(lower(maps), scale_factor=2.0, mode="nearest"))
        return functional.pixel_shuffle(self.said(maps), _SIDE)


def start_pixels_from(model: PixelModel, weights: Sequence[tuple[NDArray, NDArray]]) -> None:
    """Give a model the weights of one that was trained before, but, if it has other classes, what says which.

    Parameters
    ----------
    model : PixelModel
    weights : sequence of (array, array)
        Weight and bias of each convolution in the order in which they run: `matcher._onnx.convolutions`.

    Raises
    ------
    ValueError
        If they are not those of such a model.
    """
    last = weights[-1][0].shape if weights else ()
    if len(last) != 4 or last[0] % _SIDE**2:
        raise ValueError("no classes of pixels at its end")
    known = PixelModel(last[0] // _SIDE**2, normed=False)
    take_convolutions(known, weights)
    told, own = known.state_dict(), model.state_dict()
    with torch.no_grad():
        for name, values in own.items():
            if told[name].shape == values.shape:
                cast("Tensor", values).copy_(told[name])
