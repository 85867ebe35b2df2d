"""The layout network in torch: what is trained. `matcher.layout_network` runs what comes of it, without torch."""

from __future__ import annotations

from matcher.layout import CLASSES, PICTURES
from matcher.region_model import RegionModel

__all__ = ["LayoutModel"]


class LayoutModel(RegionModel):
    """The small network of calque, trained from nothing, with all that pages consist of."""

    def __init__(self) -> None:
        super().__init__(len(CLASSES), len(PICTURES), normed=True, whole=True)
