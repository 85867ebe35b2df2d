"""A detector of boxes whose things get outlines by another network."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matcher.detection import Detection, Detector, Outliner
    from matcher.images import Scan

__all__ = ["Outlined"]


class Outlined:
    """What a detector finds, in its boxes and as sure as it is, with the outlines that an outliner draws.

    Things that have outlines already keep them.

    Parameters
    ----------
    name : str
        Names of the two, for signatures.
    detector : Detector
    outliner : Outliner
    """

    at_once = 1

    def __init__(self, name: str, detector: Detector, outliner: Outliner) -> None:
        self._detector = detector
        self._outliner = outliner
        self.signature = f"{name}-1({detector.signature}, {outliner.signature})"
        self.labels = detector.labels
        self.usual_score = detector.usual_score

    def detect(self, scan: Scan, min_score: float | None = None, phrases: Sequence[str] = ()) -> list[Detection]:
        """Return what is on a scan: see `matcher.detection.Detector`."""
        found = self._detector.detect(scan, min_score, phrases)
        bare = [one for one in found if not one.polygons]
        drawn = iter(self._outliner.outline(scan, [one.box for one in bare]) if bare else ())
        return [one if one.polygons else replace(one, polygons=next(drawn).polygons) for one in found]

    def detect_all(
        self, scans: Sequence[Scan], min_score: float | None = None, phrases: Sequence[str] = ()
    ) -> list[list[Detection]]:
        """Return what is on each of several scans."""
        return [self.detect(scan, min_score, phrases) for scan in scans]
