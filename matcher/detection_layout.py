"""The pictures and blocks of text of a page as things on it: any segmenter, asked as a detector is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matcher.detection import Detection, surest_first, takes_no_phrases
from matcher.layout import CLASSES
from matcher.registry import SEGMENTER, segmenter_named, usual_score

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matcher.images import Scan

__all__ = ["LayoutDetector"]

_LEAST = 0.02
"""How sure the segmenter is asked to be; what is less sure than is wanted is left out here."""


class LayoutDetector:
    """The regions that a segmenter finds: illustrations, ornaments, initials, text.

    Parameters
    ----------
    model : str
        A name for `matcher.registry.segmenter_named`.

    Raises
    ------
    InputError, MissingDependency
        As of `segmenter_named`.
    """

    labels: tuple[str, ...] | None = CLASSES[1:]

    def __init__(self, model: str = SEGMENTER) -> None:
        self._segmenter = segmenter_named(model, _LEAST)
        self.usual_score = usual_score(model)

    @property
    def signature(self) -> str:
        """Name, version, and the signature of the segmenter."""
        return f"layout-1({self._segmenter.signature})"

    def detect(self, scan: Scan, min_score: float | None = None, phrases: Sequence[str] = ()) -> list[Detection]:
        """Return what lies on `scan`: see `matcher.detection.Detector`."""
        takes_no_phrases("layout", phrases)
        least = self.usual_score if min_score is None else min_score
        return surest_first(
            Detection(region.box, region.kind, region.score, () if region.polygon is None else (region.polygon,))
            for region in self._segmenter.segment(scan).regions
            if region.score >= least
        )
