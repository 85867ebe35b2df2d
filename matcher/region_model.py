"""The small network of calque in torch, which finds regions: as it is trained. OpenCV runs what comes of it.

A U-Net of plain residual blocks: five halvings, a pyramid back up to a quarter of the size. From the quarter-size map
it says the class of each pixel; from there and from the sixteenth-size map, for small and for large things, the box
that a pixel lies in, by its distances to the four edges (FCOS, Tian et al. 2019). For single pixels there is
`matcher.pixel_model`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = [
    "COARSE",
    "FINE",
    "STRIDE",
    "RegionModel",
    "Residual",
    "convolution",
    "parameters",
    "start_from",
    "take_convolutions",
]

FINE = 4
COARSE = 16
"""Pixels for each cell of the two maps that find boxes."""

STRIDE = 32
"""Sides of what a network looks at are multiples of this."""

_WIDTHS = (16, 32, 64, 104, 152)
"""Channels at 1/2, 1/4, 1/8, 1/16 and 1/32 of the size."""

_DEPTHS = (0, 1, 2, 3, 3)
"""Residual blocks at each."""

_BOXES = re.compile(r"^(small|large)\.said\.")
"""Names of the weights that say boxes, too: their last five rows."""

_SAYING = re.compile(r"(^classes\.1|said)\.")
"""Names of the weights that say classes and kinds."""

_RARE = -4.0
"""Logit that a cell lies in a region, before anything is learned: they are rare."""


def convolution(
    wide: int, out: int, size: int = 3, stride: int = 1, dilation: int = 1, *, normed: bool, active: bool = True
) -> nn.Sequential:
    """Return a convolution, normalised if asked, with what makes it bend."""
    padding = dilation * ((size - 1) // 2)
    layers: list[nn.Module] = [
        nn.Conv2d(wide, out, size, stride, padding, dilation=dilation, bias=not normed),
        nn.BatchNorm2d(out) if normed else nn.Identity(),
    ]
    return nn.Sequential(*layers, nn.ReLU(True)) if active else nn.Sequential(*layers)


class Residual(nn.Module):
    """Two convolutions beside the identity."""

    def __init__(self, width: int, dilation: int = 1, *, normed: bool) -> None:
        super().__init__()
        self.first = convolution(width, width, dilation=dilation, normed=normed)
        self.second = convolution(width, width, dilation=dilation, normed=normed, active=False)

    def forward(self, maps: Tensor) -> Tensor:
        return functional.relu(maps + self.second(self.first(maps)))


class _Boxes(nn.Module):
    """Which kind of region a cell lies in, if any, how near its middle, and where the edges are."""

    def __init__(self, width: int, kinds: int, *, normed: bool) -> None:
        super().__init__()
        self.shared = convolution(width, width, normed=normed)
        self.said = nn.Conv2d(width, kinds + 1 + 4, 1)
        with torch.no_grad():
            cast("Tensor", self.said.bias)[:kinds] = _RARE

    def forward(self, maps: Tensor) -> Tensor:
        return cast("Tensor", self.said(self.shared(maps)))


class _Pyramid(nn.Module):
    """Down and up again, to a quarter of the size."""

    def __init__(self, *, normed: bool, whole: bool) -> None:
        super().__init__()
        self.stem = convolution(3, _WIDTHS[0], size=5, stride=2, normed=normed)
        self.down = nn.ModuleList()
        for before, width, depth in zip(_WIDTHS, _WIDTHS[1:], _DEPTHS[1:], strict=False):
            deepest = width == _WIDTHS[-1]
            blocks = [Residual(width, dilation=2 if deepest and i else 1, normed=normed) for i in range(depth)]
            self.down.append(nn.Sequential(convolution(before, width, stride=2, normed=normed), *blocks))
        self.whole: nn.Module | None = None
        if whole:
            width = _WIDTHS[-1]
            self.whole = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, width, 1), nn.ReLU(True))
        pairs = list(zip(_WIDTHS[:0:-1], _WIDTHS[-2:0:-1], strict=False))
        self.lower = nn.ModuleList([nn.Conv2d(deep, width, 1) for deep, width in pairs])
        self.up = nn.ModuleList([Residual(width, normed=normed) for _, width in pairs])

    def climbed(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the map at 1/4 on the way down, and those at 1/16 and at 1/8 on the way up."""
        maps = self.stem(2 * pixels - 1)
        levels = []
        for stage in self.down:
            maps = stage(maps)
            levels.append(maps)
        if self.whole is not None:
            maps = maps + self.whole(maps)
        coarse = maps
        for level, lower, up in zip(levels[-2:0:-1], self.lower, self.up, strict=False):
            maps = up(level + _doubled(lower(maps)))
            if level is levels[2]:
                coarse = maps
        return levels[0], coarse, maps

    def quarter(self, fine: Tensor, maps: Tensor) -> Tensor:
        """Return the map at 1/4 on the way up."""
        return cast("Tensor", self.up[-1](fine + _doubled(self.lower[-1](maps))))


class RegionModel(_Pyramid):
    """Colour pixels in, classes and boxes out.

    ``forward`` takes float32 (n, 3, h, w), RGB from 0 to 1, sides multiples of 32, and returns logits of classes
    (n, classes, h/4, w/4), and for cells of 4 and of 16 pixels what `_Boxes` says: logits of the kinds, of nearness to
    the middle, and the logarithm of the distances left, up, right, down in cells; (n, kinds + 5, h/4, w/4) and
    (n, kinds + 5, h/16, w/16).

    Parameters
    ----------
    classes : int
        What a pixel may belong to, the background being the first.
    kinds : int
        The last so many of the classes come in boxes.
    normed : bool
        Whether batches are normalised. What starts from weights that were is trained without.
    whole : bool
        Whether the mean of the whole page is looked at, too: not where parts of pages are learned from.
    """

    def __init__(self, classes: int, kinds: int, *, normed: bool = False, whole: bool = False) -> None:
        super().__init__(normed=normed, whole=whole)
        quarter = _WIDTHS[1]
        self.classes = nn.Sequential(convolution(quarter, quarter, normed=normed), nn.Conv2d(quarter, classes, 1))
        self.small = _Boxes(quarter, kinds, normed=normed)
        self.large = _Boxes(_WIDTHS[3], kinds, normed=normed)

    def deep(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the maps at 1/4 on the way down and at 1/8 on the way up, and what is said of large boxes."""
        fine, coarse, maps = self.climbed(pixels)
        return fine, maps, self.large(coarse)

    def shallow(self, fine: Tensor, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is said of classes and of small boxes, from the first two that `deep` returns."""
        maps = self.quarter(fine, maps)
        return self.classes(maps), self.small(maps)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        fine, maps, large = self.deep(pixels)
        classes, small = self.shallow(fine, maps)
        return classes, small, large


def _doubled(maps: Tensor) -> Tensor:
    return functional.interpolate(maps, scale_factor=2.0, mode="nearest")


def parameters(model: nn.Module) -> int:
    """Return how many weights a model has."""
    return sum(weights.numel() for weights in model.parameters())


def start_from(model: RegionModel, weights: Sequence[tuple[NDArray, NDArray]]) -> None:
    """Give a model the weights of one that was trained for other classes, but what says which these are.

    Parameters
    ----------
    model : RegionModel
    weights : sequence of (array, array)
        Weight and bias of each convolution in the order in which they run: `matcher._onnx.convolutions` of an
        exported model, which has the normalisation of batches in them.

    Raises
    ------
    ValueError
        If they are not those of such a model.
    """
    shapes = [weight.shape for weight, _ in weights]
    if not shapes or len(shapes[-1]) != 4:
        raise ValueError("no convolutions at its end")
    kinds = max(1, shapes[-1][0] - 5)
    classes = next((shape[0] for shape in shapes[-3::-1] if shape[1:] == (_WIDTHS[1], 1, 1)), 1)
    known = RegionModel(classes, kinds, whole=(_WIDTHS[-1], _WIDTHS[-1], 1, 1) in shapes)
    take_convolutions(known, weights)
    told = known.state_dict()
    own = model.state_dict()
    for name, values in own.items():
        if name in told and told[name].shape == values.shape and not _SAYING.search(name):
            values.copy_(told[name])
        elif name in told and _BOXES.search(name):
            # Where the edges of a box are, and how well that is known, is the same for all kinds.
            values[-5:] = told[name][-5:]


def take_convolutions(model: nn.Module, weights: Sequence[tuple[NDArray, NDArray]]) -> None:
    """Give a model that does not normalise batches weight and bias of each convolution, in the order in which they run.

    Raises
    ------
    ValueError
        If it has others.
    """
    order = _in_order(model)
    if [tuple(one.weight.shape) for one in order] != [weight.shape for weight, _ in weights]:
        raise ValueError("its convolutions are not those of this network")
    with torch.no_grad():
        for one, (weight, bias) in zip(order, weights, strict=True):
            one.weight.copy_(torch.from_numpy(weight))
            cast("Tensor", one.bias).copy_(torch.from_numpy(bias))


def _in_order(model: nn.Module) -> list[nn.Conv2d]:
    """Return the convolutions of a model in the order in which they run."""
    order: list[nn.Conv2d] = []
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    hooks = [module.register_forward_pre_hook(lambda module, _: order.append(module)) for module in convolutions]
    with torch.no_grad():
        model(torch.zeros(1, 3, 2 * STRIDE, 2 * STRIDE))
    for hook in hooks:
        hook.remove()
    return order
