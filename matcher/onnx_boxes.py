"""Detectors of others in ONNX files: YOLO, YOLOX, RT-DETR and DETR models, run, and their output made boxes.

What comes out tells which it is:

- ``[1, 4 + n, N]``: YOLOv8 and later; centre, size in pixels of the input, scores of n classes;
- ``[1, N, 5 + n]``: YOLOv5 and v7; the same with the score that there is anything (objectness) before those;
- the same with a row for each cell of the three grids, numbers relative to it: YOLOX (Ge et al. 2021), as published;
- ``[1, N, 6]``: YOLOv10 and others that choose among boxes themselves; corners in pixels, score, class;
- ``[1, Q, 4 + n]``: RT-DETR as Ultralytics exports it; centre and size as shares of the input, scores;
- ``[1, Q, n]`` or ``[1, Q, n + 1]`` with ``[1, Q, 4]``: RT-DETR (sigmoid) and DETR (softmax, the last is nothing) as
  Hugging Face exports them; centre and size as shares.

A YOLO model is given the page on a grey ground of the input's proportions (YOLOX in its upper left corner, blue before
green and red, 0 to 255), a DETR model the page stretched to it.
"""

from __future__ import annotations

import ast
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import cv2
import numpy as np

from matcher._onnx import describe
from matcher.errors import InputError, MissingDependency
from matcher.images import printable
from matcher.types import Region

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from matcher.images import Scan

__all__ = ["FoundBox", "OnnxBoxes", "queries_decoded"]

_SIDE = 640
"""Width and height of the input of a model that leaves them open and does not say."""
_GROUND = 114
_STRETCHED = ("queries", "detr")
"""Forms of output of models that pages are stretched for."""
_CELLS = "cells"
"""Form of output of YOLOX."""
_OVERLAP = 0.6
"""IoU from which on the less sure of two boxes of one class is left out."""
_STRIDES = (8, 16, 32)
"""Pixels of the input for each cell of YOLOX's grids, in the order of its rows."""


class FoundBox(NamedTuple):
    """A box in pixels of the original image, inside it; how sure, 0 to 1; the number of its class."""

    box: Region
    score: float
    number: int


class _Boxes(NamedTuple):
    """Detections: corners as shares of the input, shape (n, 4); scores and numbers of classes, shape (n,)."""

    corners: NDArray[np.floating]
    scores: NDArray[np.floating]
    classes: NDArray[np.int64]


class _Runner(Protocol):
    """What runs a model."""

    def run(self, inputs: Mapping[str, NDArray]) -> list[NDArray]:
        """Return what comes out."""


class OnnxBoxes:
    """A detector in an ONNX file, run by OpenCV, or by ``onnxruntime`` where OpenCV cannot and that is installed.

    Its classes are named by the file's metadata (``names``, as Ultralytics writes it) or by a JSON file beside it,
    of the same name with the suffix ``.json``: ``{"names": [...]}``, and where the model needs it the ``size`` of its
    input (width, height), the ``mean`` and the ``std`` of its colours (0 to 1; red, green, blue).

    Parameters
    ----------
    model : path
        The file.
    names : sequence of str, optional
        Its classes, where they are known.

    Attributes
    ----------
    names : list of str
        Its classes.
    file : str
        Name and hash of the file, for signatures.

    Raises
    ------
    InputError
        If it cannot be read, is no such model, or does not name its classes.
    MissingDependency
        If OpenCV cannot run it and ``onnxruntime`` is not installed.
    """

    def __init__(self, model: str | Path, names: Sequence[str] | None = None) -> None:
        self._path = Path(model)
        data = _bytes(self._path)
        try:
            described = describe(data)
        except ValueError as error:
            raise InputError(f"{printable(model)}: damaged, or no ONNX model ({error}); get a fresh copy") from error
        told = _sidecar(self._path) if names is None else {"names": names}
        self.names = _names(told.get("names", described.metadata.get("names")), self._path)
        (self._input, shape), *others = described.inputs.items()
        if others or len(shape) != 4 or shape[1] not in (3, None):
            raise InputError(
                f"{printable(model)}: takes no colour picture alone; export it with one input [1, 3, h, w]"
            )
        self._size = _size(shape, told.get("size"), described.metadata.get("imgsz"), self._path)
        self._runner, outputs = self._started(data)
        self._form = _form(outputs, len(self.names), self._path, self._size)
        # YOLOX was taught with bytes.
        unit = 1 / 255 if self._form == _CELLS and "std" not in told else 1.0
        self._mean, std = (_colours(told.get(key), key, self._path) for key in ("mean", "std"))
        self._std = std * unit
        self.file = f"{self._path.name}, {hashlib.sha256(data).hexdigest()[:12]}"

    def find(self, scan: Scan, min_score: float, overlap: float = _OVERLAP) -> list[FoundBox]:
        """Return the boxes on a scan of which the model is sure enough, the surest first.

        `overlap`: IoU from which on the less sure of two boxes of one class is left out.
        """
        blob, frame = self._blob(scan.pixels)
        outputs = self._runner.run({self._input: blob})
        boxes = _chosen(_decoded(outputs, self._form, len(self.names), self._size), min_score, overlap)
        shares = (boxes.corners * np.tile(self._size, 2) - np.tile(frame[:2], 2)) / np.tile(frame[2:], 2)
        return _placed(boxes._replace(corners=shares), scan)

    def _blob(self, pixels: NDArray[np.uint8]) -> tuple[NDArray, tuple[float, float, float, float]]:
        """Return a page as the model takes it, and where the page lies on it: left, top, width, height in pixels."""
        wide, high = self._size
        rows, columns = pixels.shape[:2]
        factor = min(wide / columns, high / rows)
        size = (
            self._size if self._form in _STRETCHED else (max(1, round(columns * factor)), max(1, round(rows * factor)))
        )
        reduced = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
        left, top = (0, 0) if self._form == _CELLS else ((wide - size[0]) // 2, (high - size[1]) // 2)
        sheet = np.full((high, wide, 3), _GROUND, np.uint8)
        sheet[top : top + size[1], left : left + size[0]] = reduced if reduced.ndim == 3 else reduced[..., None]
        values = (sheet.astype(np.float32) / 255 - self._mean) / self._std
        values = values[..., ::-1] if self._form == _CELLS else values
        return np.ascontiguousarray(values.transpose(2, 0, 1)[None], np.float32), (left, top, *size)

    def _started(self, data: bytes) -> tuple[_Runner, list[NDArray]]:
        """Return what runs the model, and what it gives for an empty page."""
        empty = {self._input: np.zeros((1, 3, self._size[1], self._size[0]), np.float32)}
        try:
            runner: _Runner = _ByOpenCV(data)
            return runner, runner.run(empty)
        except cv2.error as error:
            reason = " ".join(str(error.err or error).split())
        try:
            runner = _ByOnnxRuntime(data)
        except ImportError as error:
            raise MissingDependency(
                f"{printable(self._path)}: OpenCV cannot run it ({reason}); install: pip install onnxruntime"
            ) from error
        except Exception as error:  # whatever onnxruntime has against a model
            raise InputError(f"{printable(self._path)}: cannot be run ({error}); export it anew") from error
        return runner, runner.run(empty)


def queries_decoded(
    outputs: Sequence[NDArray], classes: int, scan: Scan, min_score: float, overlap: float
) -> list[FoundBox]:
    """Return the boxes on a scan that was stretched for a DETR model, from what it gives: see `OnnxBoxes.find`."""
    return _placed(_chosen(_decoded(outputs, "detr", classes, (1, 1)), min_score, overlap), scan)


def _placed(boxes: _Boxes, scan: Scan) -> list[FoundBox]:
    """Return boxes whose corners are shares of a scan in its own pixels."""
    found = []
    corners = np.clip(boxes.corners, 0, 1)
    for (left, top, right, bottom), score, number in zip(corners, boxes.scores, boxes.classes, strict=True):
        if right > left and bottom > top:
            x, y = float(left) * scan.width, float(top) * scan.height
            box = Region(x, y, float(right) * scan.width - x, float(bottom) * scan.height - y)
            found.append(FoundBox(box, round(float(score), 4), int(number)))
    return found


class _ByOpenCV:
    def __init__(self, data: bytes) -> None:
        self._net = cv2.dnn.readNetFromONNX(np.frombuffer(data, np.uint8))
        self._outputs = self._net.getUnconnectedOutLayersNames()

    def run(self, inputs: Mapping[str, NDArray]) -> list[NDArray]:
        for name, value in inputs.items():
            self._net.setInput(value, name)
        return [np.asarray(output, np.float32) for output in self._net.forward(self._outputs)]


class _ByOnnxRuntime:
    def __init__(self, data: bytes) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = cv2.getNumThreads()
        self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])

    def run(self, inputs: Mapping[str, NDArray]) -> list[NDArray]:
        return [np.asarray(output, np.float32) for output in self._session.run(None, dict(inputs))]


def _form(outputs: Sequence[NDArray], classes: int, path: Path, size: tuple[int, int]) -> str:
    """Return which of the forms of output these are; `InputError` if none."""
    shapes = [output.shape for output in outputs]
    if len(shapes) == 2 and {3} == {len(shape) for shape in shapes}:
        scores, _ = _scores_and_boxes(outputs)
        if scores.shape[2] in (classes, classes + 1):
            return "detr"
    if len(shapes) == 1 and len(shapes[0]) == 3:
        _, rows, columns = shapes[0]
        if columns == 6 and rows <= 1000 and bool(np.all(outputs[0][..., 5] % 1 == 0)):
            return "chosen"
        if rows == 4 + classes and columns > rows:
            return "yolo"
        if columns == 5 + classes:
            # Centres in pixels of the input would reach over all of it.
            relative = float(np.abs(outputs[0][..., :2]).max()) < min(size) / 4
            return _CELLS if relative and rows == len(_grid(size)) else "objectness"
        if columns == 4 + classes:
            return "queries"
    raise InputError(
        f"{printable(path)}: gives {', '.join(map(str, shapes))}, which is neither a YOLO nor a DETR model of "
        f"{classes} classes; export it anew, or correct the names of its classes"
    )


def _decoded(outputs: Sequence[NDArray], form: str, classes: int, size: tuple[int, int]) -> _Boxes:
    """Return what comes out of a model as boxes."""
    pixels = np.tile(np.array(size, np.float32), 2)
    if form == "chosen":
        rows = outputs[0][0]
        return _Boxes(rows[:, :4] / pixels, rows[:, 4], rows[:, 5].astype(np.int64))
    if form == "detr":
        raw, boxes = _scores_and_boxes(outputs)
        return _best(boxes[0], _sigmoid(raw[0]) if raw.shape[2] == classes else _softmax(raw[0])[:, :-1])
    rows = outputs[0][0].T if form == "yolo" else outputs[0][0]
    if form == _CELLS:
        grid = _grid(size)
        centred = np.hstack([(rows[:, :2] + grid[:, :2]) * grid[:, 2:], np.exp(rows[:, 2:4]) * grid[:, 2:]])
        return _best(centred / pixels, rows[:, 4:5] * rows[:, 5:])
    if form == "queries":
        return _best(rows[:, :4], rows[:, 4:])
    scores = rows[:, 4:] if form == "yolo" else rows[:, 4:5] * rows[:, 5:]
    return _best(rows[:, :4] / pixels, scores)


def _grid(size: tuple[int, int]) -> NDArray[np.float32]:
    """Return column, row and stride of each cell of YOLOX's grids on an input of width and height `size`."""
    wide, high = size
    cells = [
        (column, row, stride)
        for stride in _STRIDES
        for row in range(high // stride)
        for column in range(wide // stride)
    ]
    return np.array(cells, np.float32).reshape(-1, 3)


def _scores_and_boxes(outputs: Sequence[NDArray]) -> tuple[NDArray, NDArray]:
    """Return which is which: boxes have four columns, and only they are shares, should there be four classes, too."""
    first, second = outputs
    swapped = first.shape[2] == 4 and (second.shape[2] != 4 or (first.min() >= 0 and first.max() <= 1))
    return (second, first) if swapped else (first, second)


def _sigmoid(values: NDArray) -> NDArray:
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * values))  # which does not overflow


def _softmax(values: NDArray) -> NDArray:
    raised = np.exp(values - values.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def _best(centred: NDArray, scores: NDArray) -> _Boxes:
    """Return each box with its best class, its corners from centre and size."""
    half = centred[:, 2:] / 2
    corners = np.hstack([centred[:, :2] - half, centred[:, :2] + half])
    classes = scores.argmax(axis=1)
    return _Boxes(corners, scores[np.arange(len(scores)), classes], classes)


def _chosen(boxes: _Boxes, min_score: float, overlap: float) -> _Boxes:
    """Return the boxes that are sure enough, and of those of one class that overlap the surest."""
    corners = boxes.corners.astype(np.float64)
    upright = np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]])
    kept = cv2.dnn.NMSBoxesBatched(upright.tolist(), boxes.scores.tolist(), boxes.classes.tolist(), min_score, overlap)
    chosen = np.asarray(kept, np.intp).ravel()
    return _Boxes(boxes.corners[chosen], boxes.scores[chosen], boxes.classes[chosen])


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{printable(path)}: no such file; check the path") from error
    except OSError as error:
        raise InputError(f"{printable(path)}: cannot be read ({error.strerror}); check the path") from error


def _sidecar(path: Path) -> dict[str, Any]:
    beside = path.with_suffix(".json")
    if not beside.is_file():
        return {}
    try:
        told = json.loads(_bytes(beside))
    except ValueError as error:
        raise InputError(f"{printable(beside)}: damaged JSON ({error}); correct it") from error
    if not isinstance(told, dict):
        raise InputError(f'{printable(beside)}: not an object such as {{"names": ["Picture", "Text"]}}; correct it')
    return told


def _names(told: Any, path: Path) -> list[str]:
    """Return the names of the classes, from a list or from what numbers stand for, or the text of either."""
    where = f'name them in order in {printable(path.with_suffix(".json"))}: {{"names": [...]}}'
    if told is None:
        raise InputError(f"{printable(path)}: does not name its classes; {where}")
    try:
        value = ast.literal_eval(told) if isinstance(told, str) else told
        names = [value[key] for key in sorted(value, key=int)] if isinstance(value, dict) else list(value)
        if not names or not all(isinstance(name, str) for name in names):
            raise ValueError("no names")
    except (ValueError, TypeError, SyntaxError) as error:
        raise InputError(f"{printable(path)}: the names of its classes cannot be read ({error}); {where}") from error
    return names


def _size(shape: Sequence[int | None], told: Any, exported: str | None, path: Path) -> tuple[int, int]:
    """Return width and height of the input: as the model fixes them, else as is said beside it or in it."""
    high, wide = shape[2:]
    if high and wide:
        return wide, high
    try:
        if told is None and exported is not None:
            told = list(reversed(ast.literal_eval(exported)))  # height, width
        width, height = (int(side) for side in (told or (_SIDE, _SIDE)))
        if min(width, height) < 32:
            raise ValueError("too small")
    except (ValueError, TypeError, SyntaxError) as error:
        raise InputError(f"{printable(path)}: {told!r} is no size of its input ({error}); give [640, 640]") from error
    return width, height


def _colours(told: Any, key: str, path: Path) -> NDArray:
    values = np.array([0.0 if key == "mean" else 1.0] * 3 if told is None else told, np.float32)
    if values.shape != (3,) or (key == "std" and values.min() <= 0):
        raise InputError(f"{printable(path.with_suffix('.json'))}: {key} is {told!r}; give three numbers")
    return values
