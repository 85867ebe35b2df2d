"""Objects by networks of the transformers library: DETR and its kin tell boxes, Mask2Former tells outlines.

DETR (Carion et al. 2020), Deformable DETR (Zhu et al. 2021), RT-DETR (Zhao et al. 2024), Mask2Former (Cheng et al.
2022), and whatever else of the hub is a model for object detection: a folder, named by its path.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
import transformers

from matcher.detection import Detection, box_around, polygons_of, surest_first, takes_no_phrases
from matcher.devices import wanted_device
from matcher.errors import InputError
from matcher.hub import model_folder, model_json, weights_digest
from matcher.hub_images import preparation_of
from matcher.images import printable
from matcher.types import Region

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from matcher.images import Scan

__all__ = [
    "HubNetwork",
    "MaskNetwork",
    "ObjectNetwork",
    "boxes_on",
    "distinct_boxes",
    "labels_of",
    "outlined_thing",
    "part_of",
    "torch_device",
]

_BATCH = 8
"""Images that a GPU looks at together."""
_NOTHING_LAST = ("detr", "yolos", "table-transformer")
"""Kinds of models whose last class is that there is nothing; all others score each class by itself."""
_MOST = 300
"""Things told of an image at the most."""


def torch_device() -> str:
    """Return the device that networks run on, ``cpu`` or ``cuda``; `InputError` if there is no such device."""
    wanted = wanted_device()
    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise InputError("there is no GPU that PyTorch can use; ask for the device cpu or auto")
    return "cuda" if there and wanted != "cpu" else "cpu"


class HubNetwork:
    """A network in a folder of the hub's form, with what it says of itself. Loaded when it is first needed.

    Parameters
    ----------
    name : str
        Name of the detector: a key of `matcher.hub.HUB_MODELS` where no path is given.
    model : str
        Path of the folder.
    kind : str
        The class of transformers that it is loaded as.

    Raises
    ------
    InputError
        If it cannot be used.
    MissingDependency
        If it is not there.
    """

    def __init__(self, name: str, model: str, kind: str, *, squared: bool = False) -> None:
        self.name = name
        self.folder = model_folder(name, model)
        self.config = model_json(self.folder, "config.json")
        self.preparation = preparation_of(self.folder, squared=squared)
        self.signature = f"{name}-1({self.config.get('model_type', '')}, {weights_digest(self.folder)})"
        self._kind = kind
        self._loaded: Any = None

    @property
    def at_once(self) -> int:
        """How many images `detect_all` had best be given at a time: more than one where there is a GPU."""
        return _BATCH if torch_device() == "cuda" else 1

    @property
    def network(self) -> Any:
        """The network, on the device that is wanted."""
        if self._loaded is None:
            kind = getattr(transformers, self._kind)
            loud, bars = transformers.logging.get_verbosity(), transformers.logging.is_progress_bar_enabled()
            transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
            transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
            try:
                made, told = kind.from_pretrained(
                    self.folder, local_files_only=True, use_safetensors=True, output_loading_info=True
                )
            except Exception as error:  # whatever the library has against a folder
                reason = " ".join(str(error).split())[:300]
                raise InputError(
                    f"{printable(self.folder)}: cannot be loaded as {self._kind} ({type(error).__name__}: {reason}); "
                    "check which model this is"
                ) from error
            finally:
                transformers.logging.set_verbosity(loud)
                if bars:
                    transformers.logging.enable_progress_bar()  # type: ignore[no-untyped-call]
            # The library fills with chance what is missing, and only warns.
            if missing := sorted(told["missing_keys"]):
                raise InputError(
                    f"{printable(self.folder)}: is no {self._kind}: it has no weights for {missing[0]}, and "
                    f"{len(missing) - 1} more; check which model this is"
                )
            self._loaded = made.eval().to(torch_device())
        return self._loaded

    def run(self, **inputs: NDArray) -> Any:
        """Return what comes out of the network, as the library has it; inputs that it does not take are left out."""
        where = torch_device()
        known = inspect.signature(self.network.forward).parameters
        with torch.inference_mode():
            return self.network(
                **{name: torch.from_numpy(value).to(where) for name, value in inputs.items() if name in known}
            )


class ObjectNetwork(HubNetwork):
    """Objects by DETR or its kin: see `matcher.detection.Detector`; parameters are those of `HubNetwork`."""

    usual_score = 0.5

    def __init__(self, name: str = "transformers", model: str = "") -> None:
        super().__init__(name, model, "AutoModelForObjectDetection")
        self.labels: tuple[str, ...] | None = labels_of(self)

    def detect(self, scan: Scan, min_score: float | None = None, phrases: Sequence[str] = ()) -> list[Detection]:
        """Return what is on a scan."""
        return self.detect_all([scan], min_score, phrases)[0]

    def detect_all(
        self, scans: Sequence[Scan], min_score: float | None = None, phrases: Sequence[str] = ()
    ) -> list[list[Detection]]:
        """Return what is on each of several scans."""
        takes_no_phrases(self.name, phrases)
        least = self.usual_score if min_score is None else min_score
        ready = self.preparation.prepare(scans)
        out = self.run(pixel_values=ready.pixels, pixel_mask=ready.mask)
        logits = out.logits.float()
        if self.config.get("model_type") in _NOTHING_LAST:
            scores = logits.softmax(-1)[..., :-1]
            scores = scores.masked_fill(scores < scores.amax(-1, keepdim=True), -1)  # a box is of one class
        else:
            scores = logits.sigmoid()
        return [
            boxes_on(scan, one.cpu().numpy(), boxes.float().cpu().numpy(), self.labels or (), least)
            for scan, one, boxes in zip(scans, scores, out.pred_boxes, strict=True)
        ]


class MaskNetwork(HubNetwork):
    """Objects with their outlines by Mask2Former: see `matcher.detection.Detector`."""

    usual_score = 0.5

    def __init__(self, name: str = "mask2former", model: str = "") -> None:
        super().__init__(name, model, "Mask2FormerForUniversalSegmentation")
        self.labels: tuple[str, ...] | None = labels_of(self)

    def detect(self, scan: Scan, min_score: float | None = None, phrases: Sequence[str] = ()) -> list[Detection]:
        """Return what is on a scan."""
        return self.detect_all([scan], min_score, phrases)[0]

    def detect_all(
        self, scans: Sequence[Scan], min_score: float | None = None, phrases: Sequence[str] = ()
    ) -> list[list[Detection]]:
        """Return what is on each of several scans.

        A thing's score is that of its class times the mean of its mask's pixels, as the authors have it.
        """
        takes_no_phrases(self.name, phrases)
        least = self.usual_score if min_score is None else min_score
        ready = self.preparation.prepare(scans)
        out = self.run(pixel_values=ready.pixels, pixel_mask=ready.mask)
        classes = out.class_queries_logits.float().softmax(-1)[..., :-1].cpu().numpy()
        masks = out.masks_queries_logits.float().cpu().numpy()
        return [
            self._things(scan, scores, part_of(mask, size, ready.pixels.shape[2:]), least)
            for scan, scores, mask, size in zip(scans, classes, masks, ready.sizes, strict=True)
        ]

    def _things(self, scan: Scan, classes: NDArray, masks: NDArray, least: float) -> list[Detection]:
        """Return the things of which scores, shape (q, n), and masks, shape (q, h, w), above 0 inside, are sure."""
        found = []
        labels = self.labels or ()
        for query, number in zip(*np.nonzero(classes >= least), strict=True):
            inside = masks[query] > 0
            if not inside.any():
                continue
            score = float(classes[query, number]) * float(_sigmoid(masks[query][inside]).mean())
            if score >= least:
                found.append(outlined_thing(scan, inside, labels[number], score))
        return surest_first(found)[:_MOST]


def labels_of(network: HubNetwork) -> tuple[str, ...]:
    """Return the names of the classes of a network, in their order; `InputError` if it does not name them."""
    named = network.config.get("id2label")
    if not isinstance(named, dict) or not named:
        raise InputError(f"{printable(network.folder / 'config.json')}: does not name its classes (id2label); add them")
    numbers = {int(number): str(label) for number, label in named.items()}
    return tuple(numbers.get(number, f"LABEL_{number}") for number in range(max(numbers) + 1))


def boxes_on(
    scan: Scan,
    scores: NDArray,
    boxes: NDArray,
    labels: Sequence[str],
    least: float,
    extent: tuple[float, float] = (1.0, 1.0),
) -> list[Detection]:
    """Return the boxes of which a network is sure, on their image, the surest first.

    Parameters
    ----------
    scan : Scan
    scores : float, shape (q, n)
        Of each box and class.
    boxes : float, shape (q, 4)
        Centre, width and height, as shares of what the network saw.
    labels : sequence of str
    least : float
    extent : (float, float)
        Width and height of what the network saw, as shares of the image's, where that was filled up.
    """
    found = []
    for query, number in zip(*np.nonzero(scores >= least), strict=True):
        x, y, wide, high = boxes[query].astype(np.float64) * (*extent, *extent)
        if not (wide > 0 and high > 0):
            continue
        box = Region(
            float(x - wide / 2) * scan.width, float(y - high / 2) * scan.height,
            float(wide) * scan.width, float(high) * scan.height,
        ).clipped(scan.width, scan.height)  # fmt: skip
        if box is not None:
            found.append(Detection(box, labels[number], round(float(scores[query, number]), 4)))
    return surest_first(found)[:_MOST]


def distinct_boxes(found: Iterable[Detection], overlap: float) -> list[Detection]:
    """Return detections, the surest first, without those that overlap a surer one of the same label by this IoU."""
    kept: list[Detection] = []
    for one in surest_first(found):
        if all(one.label != other.label or one.box.iou(other.box) < overlap for other in kept):
            kept.append(one)
    return kept


def outlined_thing(scan: Scan, inside: NDArray, label: str, score: float) -> Detection:
    """Return a thing with the outline of a mask, bool of shape (h, w), over all of a scan, that is not empty."""
    rows, columns = inside.shape
    polygons = polygons_of(inside, scan.width / columns, scan.height / rows)
    box = box_around(np.vstack(polygons) + 0.5).clipped(scan.width, scan.height)
    assert box is not None  # pixels of the mask lie on the image
    return Detection(box, label, round(score, 4), polygons)


def part_of(masks: NDArray, size: tuple[int, int], sheet: tuple[int, ...]) -> NDArray[np.float32]:
    """Return the part of masks, shape (q, h, w), over a `sheet` of rows and columns that an image of a `size` fills.

    They are brought to half of that size, at most, without which an outline would have steps.
    """
    rows, columns = max(1, size[0] // 2), max(1, size[1] // 2)
    wide, high = sheet[1] * columns / size[1], sheet[0] * rows / size[0]
    parts = []
    for mask in masks.astype(np.float32):
        grown = cv2.resize(mask, (max(1, round(wide)), max(1, round(high))), interpolation=cv2.INTER_LINEAR)
        parts.append(grown[:rows, :columns])
    return np.stack(parts) if parts else np.zeros((0, rows, columns), np.float32)


def _sigmoid(values: NDArray) -> NDArray:
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * values))  # which does not overflow
