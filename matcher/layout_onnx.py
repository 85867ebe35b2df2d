"""Detectors of others as segmenters: a YOLO, RT-DETR or DETR model in an ONNX file that is named by its path."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matcher.layout import CLASSES, Layout, LayoutRegion
from matcher.layout_labels import kind_of_label
from matcher.layout_regions import layout_of_regions
from matcher.onnx_boxes import OnnxBoxes

if TYPE_CHECKING:
    from matcher.images import Scan

__all__ = ["OnnxDetector"]


class OnnxDetector:
    """A detector in an ONNX file (`matcher.onnx_boxes`) whose classes are kinds of regions.

    These are what the names of its classes mean (`matcher.layout_labels`); other classes are left out.

    Parameters
    ----------
    model : str
        Path of the file.
    min_score : float
        How sure a box must be to be a region, 0 to 1; by default as the tools of these detectors have it.

    Raises
    ------
    InputError
        If it cannot be read, is no such model, or does not name its classes.
    MissingDependency
        If OpenCV cannot run it and ``onnxruntime`` is not installed.
    """

    def __init__(self, model: str, min_score: float = 0.25) -> None:
        self._boxes = OnnxBoxes(model)
        self._min_score = min_score
        self._kinds = [kind_of_label(name) for name in self._boxes.names]

    @property
    def signature(self) -> str:
        """Name, version, file and hash of the model, what its classes are taken for, and how sure it must be."""
        return f"onnx-1({self._boxes.file}, {'/'.join(self._kinds)}, {self._min_score:g})"

    def segment(self, scan: Scan) -> Layout:
        """Return what lies where on `scan`."""
        regions = [
            LayoutRegion(self._kinds[number], box, score)
            for box, score, number in self._boxes.find(scan, self._min_score)
            if self._kinds[number] in CLASSES
        ]
        return layout_of_regions(regions, scan.width, scan.height)
