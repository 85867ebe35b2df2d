"""What was trained here and is applied here, without torch: a file of its own for each network, with all that it takes.

The file is an ONNX model. Its metadata has, under ``calque``, a `Card` as JSON; and ``names``, as Ultralytics writes
it, so that other programs can tell its classes.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import cv2
import numpy as np

from matcher._onnx import describe, with_metadata
from matcher.detection import Detection, surest_first, takes_no_phrases
from matcher.errors import InputError, SettingsMismatch
from matcher.images import printable
from matcher.looks import ONE_LOOK, Look, agreed
from matcher.onnx_boxes import OnnxBoxes
from matcher.region_reading import FINE, Said, boxes_said, distinct, outline_in, prepared, region_of, softmax
from matcher.score_calibration import calibrated

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from matcher.images import Scan

__all__ = [
    "QUERIES_OVERLAP",
    "Card",
    "TrainedDetector",
    "What",
    "calibrated",
    "card_of",
    "detections_said",
    "found_in_looks",
    "read_trained",
    "with_card",
    "with_scores",
]

QUERIES_OVERLAP = 0.7
"""IoU from which on the less sure of two boxes of one class is left out, of detectors that hardly say things twice."""

_KEY = "calque"
_VERSION = 1
What = Literal["regions", "pixels", "queries"]


@dataclass(frozen=True, slots=True)
class Card:
    """What a trained network says of itself.

    Attributes
    ----------
    what : str
        ``regions``: the small network, boxes and outlines; ``pixels``: the small network, a class for each pixel;
        ``queries``: a transformers detector, boxes.
    classes : tuple of str
    long_side : int
        Pixels of the long side of what it looks at; of ``pixels`` 0 where it looks at images as they are.
    min_score : float
        How sure it must be of a thing to tell it: where the F1 score was best on what was kept from training.
    calibration : (float, float)
        Slope and offset of the logit of its raw scores, fitted to what was kept from training (Platt 1999), so that of
        things of score 0.7 seven of ten are right.
    looks : tuple of Look
        How it looks at an image; what these say is averaged.
    trained : mapping
        For the record: digest of the training set and of the settings, seed, steps, what was measured.
    version : int
    """

    what: What
    classes: tuple[str, ...]
    long_side: int
    min_score: float
    calibration: tuple[float, float] = (1.0, 0.0)
    trained: dict[str, Any] = field(default_factory=dict)
    looks: tuple[Look, ...] = ONE_LOOK
    version: int = _VERSION


def with_card(model: bytes, card: Card) -> bytes:
    """Return an ONNX model that carries a card."""
    names = json.dumps(dict(enumerate(card.classes)))
    return with_metadata(model, {_KEY: json.dumps(asdict(card)), "names": names})


def card_of(model: bytes, name: str = "model") -> Card | None:
    """Return the card that an ONNX model carries, None if it has none.

    Raises
    ------
    InputError
        If it is no ONNX model, or the card is damaged.
    SettingsMismatch
        If a later calque made it.
    """
    try:
        told = describe(model).metadata.get(_KEY)
        if told is None:
            return None
        values = json.loads(told)
        if values["version"] > _VERSION:
            raise SettingsMismatch(f"{name}: trained by a later calque; bring this one up to date")
        known = {one.name for one in fields(Card)}
        classes, calibration = tuple(map(str, values.pop("classes"))), values.pop("calibration")
        slope, offset = map(float, calibration)
        looks = tuple(Look(*one) for one in values.pop("looks", ())) or ONE_LOOK
        kept = {key: value for key, value in values.items() if key in known}
        card = Card(classes=classes, calibration=(slope, offset), looks=looks, **kept)
        if card.what not in ("regions", "pixels", "queries") or not classes:
            raise ValueError(f"neither regions nor pixels of any class: {card.what!r}")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{name}: damaged, or no ONNX model ({error}); get a fresh copy") from error
    return card


def read_trained(path: str | Path) -> tuple[bytes, Card]:
    """Return a model that was trained here, and its card.

    Raises
    ------
    InputError
        If it cannot be read, or was not trained by calque.
    """
    name = printable(path)
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{name}: cannot be read ({error.strerror}); check the path") from error
    card = card_of(data, name)
    if card is None:
        raise InputError(f"{name}: no model that calque has trained; name one, or train one: calque detect train")
    return data, card


def detections_said(
    said: Said, size: tuple[int, int], scan: Scan, classes: Sequence[str], min_score: float
) -> list[Detection]:
    """Turn what the small network says into detections with raw scores, the surest first.

    Parameters
    ----------
    said : Said
    size : (int, int)
        Width and height of the image in what the network saw, without the padding.
    scan : Scan
        The image, for its size in original pixels.
    classes : sequence of str
        Names of the kinds.
    min_score : float
        How sure it must be of a thing, 0 to 1.
    """
    chances = softmax(said.classes)
    boxes, kinds, scores = boxes_said(said, size, chances[1:].sum(axis=0))
    kept = distinct(boxes, kinds, scores, min_score)
    mask = chances.argmax(axis=0) > 0
    step = np.array([scan.width / size[0], scan.height / size[1]])
    found = []
    for box, kind, score in zip(boxes[kept], kinds[kept], scores[kept], strict=True):
        region = region_of(box, step).clipped(scan.width, scan.height)
        if region is not None:
            outline = outline_in(mask, box)
            polygons = () if outline is None else (np.asarray(outline * FINE * step - 0.5),)
            found.append(Detection(region, classes[kind], float(score), polygons))
    return surest_first(found)


def found_in_looks(
    scan: Scan,
    looks: Sequence[Look],
    long_side: int,
    classes: Sequence[str],
    say: Callable[[NDArray[np.uint8]], Said],
) -> list[Detection]:
    """Return what the small network finds on a scan in several looks, with raw scores, however unsure.

    Parameters
    ----------
    scan : Scan
    looks : sequence of Look
    long_side : int
        Pixels of the long side of what it looks at, in a look of the usual size.
    classes : sequence of str
        Names of the kinds.
    say : callable
        The network: from RGB, uint8 (h, w, 3), sides multiples of 32.
    """
    found = []
    for look in looks:
        seen = look.scan(scan)
        pixels, wide, high = prepared(seen.pixels, round(long_side * look.size))
        told = detections_said(say(pixels), (wide, high), seen, classes, 0.0)
        found.append([look.found(one, (scan.width, scan.height)) for one in told])
    return agreed(found)


class _Finder(Protocol):
    """What finds things, with raw scores."""

    def find(self, scan: Scan) -> list[Detection]:
        """Return what is on `scan`, however unsure."""


class TrainedDetector:
    """What `calque detect train` has made, run by OpenCV.

    Parameters
    ----------
    model : str
        Path of the file.

    Raises
    ------
    InputError
        If it cannot be read, or is no such file.
    MissingDependency
        If OpenCV cannot run it, as it is one of others' networks, and ``onnxruntime`` is not installed.
    """

    def __init__(self, model: str) -> None:
        data, self.card = read_trained(model)
        if self.card.what == "pixels":
            raise InputError(f"{printable(model)}: maps pixels, and finds no regions; use it with: calque damage apply")
        self._finder: _Finder = (
            _Queries(model, self.card) if self.card.what == "queries" else _Small(data, self.card, model)
        )
        self._signature = f"{Path(model).stem}-{self.card.version}({hashlib.sha256(data).hexdigest()[:12]})"

    @property
    def signature(self) -> str:
        """Name, version and hash of the model."""
        return self._signature

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes."""
        return self.card.classes

    @property
    def usual_score(self) -> float:
        """How sure it must be of a thing to tell it."""
        return self.card.min_score

    def detect(self, scan: Scan, min_score: float | None = None, phrases: Sequence[str] = ()) -> list[Detection]:
        """Return what is on `scan`, the surest first; see `matcher.detection.Detector`."""
        takes_no_phrases(self._signature, phrases)
        least = self.usual_score if min_score is None else min_score
        return with_scores(self._finder.find(scan), self.card.calibration, least)


class _Small:
    """The small network."""

    def __init__(self, data: bytes, card: Card, model: str) -> None:
        self._card = card
        try:
            self._net = cv2.dnn.readNetFromONNX(np.frombuffer(data, np.uint8))
        except cv2.error as error:
            raise InputError(f"{printable(model)}: damaged ({error.err}); get a fresh copy") from error

    def find(self, scan: Scan) -> list[Detection]:
        return found_in_looks(scan, self._card.looks, self._card.long_side, self._card.classes, self._say)

    def _say(self, pixels: NDArray[np.uint8]) -> Said:
        self._net.setInput(cv2.dnn.blobFromImage(pixels, 1 / 255))
        return Said(*(output[0] for output in self._net.forward(["classes", "fine", "coarse"])))


class _Queries:
    """A detector of transformers."""

    def __init__(self, model: str, card: Card) -> None:
        self._card = card
        self._boxes = OnnxBoxes(model, card.classes)

    def find(self, scan: Scan) -> list[Detection]:
        found = self._boxes.find(scan, 0.0, QUERIES_OVERLAP)
        return surest_first(Detection(box, self._card.classes[number], score) for box, score, number in found)


def with_scores(found: Sequence[Detection], calibration: tuple[float, float], min_score: float) -> list[Detection]:
    """Return detections with calibrated scores, those that are sure enough."""
    scores = calibrated(np.array([one.score for one in found]), calibration)
    return [replace(one, score=float(score)) for one, score in zip(found, scores, strict=True) if score >= min_score]
