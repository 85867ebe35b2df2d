"""Kraken's segmentation (https://kraken.re) as a segmenter: its own model, or another, by path.

Kraken finds lines of text and, where its model has learnt some, regions, whose kinds are what their names mean
(`matcher.layout_labels`). It gives outlines without a score: all are 1.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from matcher.errors import InputError, MissingDependency
from matcher.images import printable
from matcher.layout import CLASSES, Layout, LayoutRegion
from matcher.layout_labels import kind_of_label
from matcher.layout_regions import layout_of_regions
from matcher.types import Region

if TYPE_CHECKING:
    from collections.abc import Iterable

    from matcher.images import Scan

__all__ = ["Kraken"]


class Kraken:
    """Finds what a model of kraken finds.

    Parameters
    ----------
    model : str, optional
        Path of a segmentation model; by default the one that comes with kraken, which finds text only.

    Raises
    ------
    InputError
        If the model cannot be read.
    MissingDependency
        If kraken 7 or later is not installed.
    """

    def __init__(self, model: str | None = None) -> None:
        try:
            from kraken.configs import SegmentationInferenceConfig
            from kraken.tasks import SegmentationTaskModel
        except ImportError as error:
            raise MissingDependency(
                f"kraken 7 or later is needed ({error}); install it beside calque with: pip install 'kraken>=7'"
            ) from error
        if model is not None and not Path(model).is_file():
            raise InputError(f"{printable(model)}: no such file; check the path")
        try:
            self._model = SegmentationTaskModel.load_model(model)
        except Exception as error:  # kraken's loaders raise whatever theirs do
            raise InputError(f"{printable(model or 'kraken')}: no segmentation model of kraken ({error})") from error
        self._settings = SegmentationInferenceConfig()
        self._name = f"{version('kraken')}, {Path(model).name if model else 'blla'}"

    @property
    def signature(self) -> str:
        """Name, version of kraken and model."""
        return f"kraken-1({self._name})"

    def segment(self, scan: Scan) -> Layout:
        """Return what lies where on `scan`; its lines of text where the model finds no regions of text."""
        found = self._model.predict(Image.fromarray(scan.pixels), self._settings)
        regions = [
            region
            for label, outlines in found.regions.items()
            if (kind := kind_of_label(label)) in CLASSES
            for region in _regions(kind, (outline.boundary for outline in outlines), scan)
        ]
        if not any(region.kind == "text" for region in regions):
            regions += _regions("text", (line.boundary for line in found.lines), scan)
        return layout_of_regions(regions, scan.width, scan.height)


def _regions(kind: str, outlines: Iterable[object], scan: Scan) -> list[LayoutRegion]:
    """Return outlines in pixels of `scan` as regions; what has no extent is left out."""
    regions = []
    for outline in outlines:
        points = (np.asarray(outline, np.float64).reshape(-1, 2) + 0.5) * (scan.scale_x, scan.scale_y) - 0.5
        if len(points) and (span := np.ptp(points, axis=0)).min() > 0:
            low = points.min(axis=0)
            regions.append(LayoutRegion(kind, Region(*map(float, (*low, *span))), polygon=points))
    return regions
