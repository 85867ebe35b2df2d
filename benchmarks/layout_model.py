"""The layout network in torch: what is trained. `matcher.layout_network` runs what comes of it, without torch.

A U-Net of plain residual blocks: five halvings, a pyramid back up to a quarter of the size. From the quarter-size map
it says the class of each pixel; from there and from the sixteenth-size map, for small and for large things, the box
that a pixel lies in, by its distances to the four edges (FCOS, Tian et al. 2019).
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from matcher.layout import CLASSES, PICTURES

__all__ = ["COARSE", "FINE", "LayoutModel", "parameters"]

FINE, COARSE = 4, 16
"""Pixels for each cell of the two maps that find boxes."""

_WIDTHS = (16, 32, 64, 104, 152)
"""Channels at 1/2, 1/4, 1/8, 1/16 and 1/32 of the size."""

_DEPTHS = (0, 1, 2, 3, 3)
"""Residual blocks at each."""


def _conv(wide: int, out: int, size: int = 3, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    padding = dilation * (size // 2)
    return nn.Sequential(
        nn.Conv2d(wide, out, size, stride, padding, dilation=dilation, bias=False), nn.BatchNorm2d(out), nn.ReLU(True)
    )


class _Residual(nn.Module):
    """Two convolutions beside the identity."""

    def __init__(self, width: int, dilation: int = 1) -> None:
        super().__init__()
        self.first = _conv(width, width, dilation=dilation)
        self.second = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation, bias=False), nn.BatchNorm2d(width)
        )

    def forward(self, maps: Tensor) -> Tensor:
        return functional.relu(maps + self.second(self.first(maps)))


class _Boxes(nn.Module):
    """Which kind of picture a cell lies in, if any, how near its middle, and where the edges are."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.shared = _conv(width, width)
        self.said = nn.Conv2d(width, len(PICTURES) + 1 + 4, 1)
        nn.init.constant_(self.said.bias[: len(PICTURES)], -4.0)  # pictures are rare: begin by saying so

    def forward(self, maps: Tensor) -> Tensor:
        return self.said(self.shared(maps))


class LayoutModel(nn.Module):
    """Colour pixels in, classes and boxes out.

    ``forward`` takes float32 (n, 3, h, w), RGB from 0 to 1, sides multiples of 32, and returns logits of classes
    (n, 5, h/4, w/4), and for cells of 4 and of 16 pixels what `_Boxes` says: logits of the three kinds of pictures, of
    nearness to the middle, and the logarithm of the distances left, up, right, down in cells; (n, 8, h/4, w/4) and
    (n, 8, h/16, w/16).
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = _conv(3, _WIDTHS[0], size=5, stride=2)
        self.down = nn.ModuleList()
        for before, width, depth in zip(_WIDTHS, _WIDTHS[1:], _DEPTHS[1:], strict=False):
            blocks = [_Residual(width, dilation=2 if width == _WIDTHS[-1] and i else 1) for i in range(depth)]
            self.down.append(nn.Sequential(_conv(before, width, stride=2), *blocks))
        self.whole = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(_WIDTHS[-1], _WIDTHS[-1], 1), nn.ReLU(True))
        pairs = list(zip(_WIDTHS[:0:-1], _WIDTHS[-2:0:-1], strict=False))
        self.lower = nn.ModuleList([nn.Conv2d(deep, width, 1) for deep, width in pairs])
        self.up = nn.ModuleList([_Residual(width) for _, width in pairs])
        self.classes = nn.Sequential(_conv(_WIDTHS[1], _WIDTHS[1]), nn.Conv2d(_WIDTHS[1], len(CLASSES), 1))
        self.small = _Boxes(_WIDTHS[1])
        self.large = _Boxes(_WIDTHS[3])

    def deep(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the maps at 1/4 on the way down and at 1/8 on the way up, and what is said of large boxes."""
        maps = self.stem(2 * pixels - 1)
        levels = []
        for stage in self.down:
            maps = stage(maps)
            levels.append(maps)
        maps = maps + self.whole(maps)
        large = maps
        for level, lower, up in zip(levels[-2:0:-1], self.lower, self.up, strict=False):
            maps = up(level + functional.interpolate(lower(maps), scale_factor=2.0, mode="nearest"))
            if level is levels[2]:
                large = maps
        return levels[0], maps, self.large(large)

    def shallow(self, fine: Tensor, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is said of classes and of small boxes, from the first two that `deep` returns."""
        maps = self.up[-1](fine + functional.interpolate(self.lower[-1](maps), scale_factor=2.0, mode="nearest"))
        return self.classes(maps), self.small(maps)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        fine, maps, large = self.deep(pixels)
        classes, small = self.shallow(fine, maps)
        return classes, small, large


def parameters(model: nn.Module) -> int:
    """Return how many weights a model has."""
    return sum(weights.numel() for weights in model.parameters())
