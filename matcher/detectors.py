"""Which detectors there are, by name, each imported when it is asked for.

A detector is known by its signature, ``NAME-VERSION(PARAMETERS)``, which an index records beside what it has found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matcher.errors import InputError
from matcher.registry import Backend, nearest_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matcher.detection import Detector, Outliner

__all__ = ["DETECTOR", "DETECTORS", "OUTLINER", "OUTLINERS", "PHRASE_DETECTOR", "detector_named", "outliner_named"]

DETECTOR = "yolox-nano"
"""The one taken where none is named."""

PHRASE_DETECTOR = "owlv2"
"""The one taken where none is named, but a phrase."""

DETECTORS: Mapping[str, Backend] = {
    "yolox-nano": Backend("matcher.detection_onnx:yolox_nano"),
    "yunet": Backend("matcher.faces:YuNet"),
    "layout": Backend("matcher.detection_layout:LayoutDetector"),
    "onnx": Backend("matcher.detection_onnx:OnnxObjects"),
    "trained": Backend("matcher.trained:TrainedDetector"),
    **{
        name: Backend("matcher.detection_networks:ObjectNetwork", "models", (("name", name),))
        for name in ("detr", "rt-detr", "deformable-detr", "transformers")
    },
    "mask2former": Backend("matcher.detection_networks:MaskNetwork", "models"),
    "owlv2": Backend("matcher.phrase_networks:Owl", "models"),
    "grounding-dino": Backend("matcher.phrase_networks:GroundingDino", "models"),
    "clipseg": Backend("matcher.phrase_networks:ClipSeg", "models"),
}
"""What finds things in pictures, by the name that ``--model`` takes."""

OUTLINER = "sam"
"""The one taken where none is named."""

OUTLINERS: Mapping[str, Backend] = {"sam": Backend("matcher.outlining:Sam", "models")}
"""What finds the outline of the thing at a point or in a box, by the name that ``--outline`` takes."""

_TRAINED, _FILE = "trained", ".onnx"

_WITH_MODEL: Mapping[str, bool] = {
    "onnx": True,
    "trained": True,
    "transformers": True,
    **dict.fromkeys(
        ("layout", "detr", "rt-detr", "deformable-detr", "mask2former", "owlv2", "grounding-dino", "clipseg", "sam"),
        False,
    ),
}
"""Detectors whose name may be followed by ``:PATH`` of a model, and whether it must be."""


def detector_named(name: str) -> Detector:
    """Return a detector by its name.

    Parameters
    ----------
    name : str
        A key of `DETECTORS`; of those that run models of others followed by the path of one: ``onnx:PATH``,
        ``transformers:PATH``, ``owlv2`` or ``owlv2:PATH``. The path of a model that was trained here may stand alone:
        ``stamps.onnx``.

    Raises
    ------
    InputError
        If there is none of that name, or its model cannot be used.
    MissingDependency
        If it needs a package or weights that are not there.
    """
    if name.endswith(_FILE) and name.partition(":")[0] not in DETECTORS:
        name = f"{_TRAINED}:{name}"
    made: Detector = _made(name, DETECTORS, "detector")
    return made


def outliner_named(name: str) -> Outliner:
    """Return an outliner by its name, a key of `OUTLINERS`, and the path of a model; errors are as of a detector."""
    made: Outliner = _made(name, OUTLINERS, "outliner")
    return made


def _made(name: str, backends: Mapping[str, Backend], kind: str) -> Any:
    known, colon, model = name.partition(":")
    if known not in backends:
        raise nearest_name(known, backends, kind)
    if colon and known not in _WITH_MODEL:
        raise InputError(f"the {kind} {known!r} takes no model of its own; leave out {colon + model!r}")
    if not model and _WITH_MODEL.get(known):
        raise InputError(f"the {kind} {known!r} needs a model; give its path: {known}:PATH")
    return backends[known].make(**({"model": model} if model else {}))
