"""Which detectors there are, by name, each imported when it is asked for.

A detector is known by its signature, ``NAME-VERSION(PARAMETERS)``, which an index records beside what it has found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from matcher.errors import InputError
from matcher.registry import Backend, nearest_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matcher.detection import Detector

__all__ = ["DETECTOR", "DETECTORS", "PHRASE_DETECTOR", "detector_named"]

DETECTOR = "yolox-nano"
"""The one taken where none is named."""

PHRASE_DETECTOR = "owlv2"
"""The one taken where none is named, but a phrase."""

DETECTORS: Mapping[str, Backend] = {
    "yolox-nano": Backend("matcher.detection_onnx:yolox_nano"),
    "yunet": Backend("matcher.faces:YuNet"),
    "layout": Backend("matcher.detection_layout:LayoutDetector"),
    "onnx": Backend("matcher.detection_onnx:OnnxObjects"),
}
"""What finds things in pictures, by the name that ``--model`` takes."""

_WITH_MODEL: Mapping[str, bool] = {"onnx": True, "layout": False}
"""Detectors whose name may be followed by ``:PATH`` of a model, and whether it must be."""


def detector_named(name: str) -> Detector:
    """Return a detector by its name.

    Parameters
    ----------
    name : str
        A key of `DETECTORS`; of those that run models of others followed by the path of one: ``onnx:PATH``.

    Raises
    ------
    InputError
        If there is none of that name, or its model cannot be used.
    MissingDependency
        If it needs a package or weights that are not there.
    """
    known, colon, model = name.partition(":")
    if known not in DETECTORS:
        raise nearest_name(known, DETECTORS, "detector")
    if colon and known not in _WITH_MODEL:
        raise InputError(f"the detector {known!r} takes no model of its own; leave out {colon + model!r}")
    if not model and _WITH_MODEL.get(known):
        raise InputError(f"the detector {known!r} needs a model; give its path: {known}:PATH")
    made: Detector = DETECTORS[known].make(**({"model": model} if model else {}))
    return made
