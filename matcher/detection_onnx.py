"""Objects by a detector in an ONNX file: YOLOX-nano by its name, a YOLO or DETR model of one's own by its path."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matcher.detection import Detection, surest_first, takes_no_phrases
from matcher.onnx_boxes import OnnxBoxes
from matcher.weights import find_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matcher.images import Scan

__all__ = ["COCO_CLASSES", "OnnxObjects", "yolox_nano"]

_OVERLAP = 0.45
"""IoU from which on the less sure of two boxes of one class is left out, as YOLOX's authors have it."""

# fmt: off
COCO_CLASSES = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant",
    "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard",
    "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli",
    "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet",
    "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink",
    "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)
# fmt: on
"""The 80 classes of COCO (https://cocodataset.org), in their order."""


class OnnxObjects:
    """Objects by a model in an ONNX file, as `matcher.onnx_boxes` runs it.

    Parameters
    ----------
    model : str
        Path of the file.
    name : str
        Name in the signature.
    names : sequence of str, optional
        The model's classes, where its file does not name them.
    usual_score : float
        By default as the tools of these detectors have it.

    Raises
    ------
    InputError
        If it cannot be read, is no such model, or does not name its classes.
    MissingDependency
        If OpenCV cannot run it and ``onnxruntime`` is not installed.
    """

    def __init__(
        self, model: str, name: str = "onnx", names: Sequence[str] | None = None, usual_score: float = 0.25
    ) -> None:
        self._boxes = OnnxBoxes(model, names)
        self._name = name
        self.usual_score = usual_score
        self.labels: tuple[str, ...] | None = tuple(self._boxes.names)

    @property
    def signature(self) -> str:
        """Name, version, file and hash of the model."""
        return f"{self._name}-1({self._boxes.file})"

    def detect(self, scan: Scan, min_score: float | None = None, phrases: Sequence[str] = ()) -> list[Detection]:
        """Return what is on `scan`: see `matcher.detection.Detector`."""
        takes_no_phrases(self._name, phrases)
        least = self.usual_score if min_score is None else min_score
        found = self._boxes.find(scan, least, _OVERLAP)
        return surest_first(Detection(box, self._boxes.names[number], score) for box, score, number in found)


def yolox_nano() -> OnnxObjects:
    """Return YOLOX-nano (Ge et al. 2021), taught the classes of COCO on photographs; `MissingDependency` without it."""
    return OnnxObjects(str(find_weights("yolox-nano")), "yolox-nano", COCO_CLASSES, usual_score=0.3)
