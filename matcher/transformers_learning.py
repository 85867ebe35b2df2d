"""Train a detector of transformers for classes of one's own: DETR and its kin, from a folder on this disk.

Needs torch and transformers. They look at whole images, stretched to a square, and have a loss of their own.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoModelForObjectDetection

from matcher.augmentation import stretched
from matcher.detection import Detection, surest_first
from matcher.errors import InputError
from matcher.images import printable
from matcher.looks import ONE_LOOK
from matcher.onnx_boxes import queries_decoded
from matcher.region_learning import AveragedLearner, exported
from matcher.trained import QUERIES_OVERLAP

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from matcher.augmentation import Example
    from matcher.images import Scan
    from matcher.looks import Look
    from matcher.schedule import Schedule

__all__ = ["TransformersLearner"]

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Colours that these detectors were taught with, where their folder does not say."""

_BACKBONE = 0.1
"""Learning rate of the backbone, of that of what follows, as DETR's authors have it."""


class _Plain(nn.Module):
    """A detector that takes colours from 0 to 1 and returns scores and boxes."""

    def __init__(self, model: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("mean", torch.tensor(mean)[None, :, None, None])
        self.register_buffer("std", torch.tensor(std)[None, :, None, None])

    def normalised(self, pixels: Tensor) -> Tensor:
        return (pixels - cast("Tensor", self.mean)) / cast("Tensor", self.std)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        said = self.model(pixel_values=self.normalised(pixels))
        return said.logits, said.pred_boxes


class TransformersLearner(AveragedLearner):
    """Learns with a detector of transformers.

    Parameters
    ----------
    examples : sequence of callable
        Each returns an `Example`.
    classes : sequence of str
    model : str
        Folder of the detector, in the hub's format.
    side : int
        Pixels of the sides of the square that images are stretched to.
    schedule : Schedule

    Raises
    ------
    InputError
        If the folder holds no such detector.
    """

    def __init__(
        self,
        examples: Sequence[Callable[[], Example]],
        classes: Sequence[str],
        model: str,
        side: int,
        schedule: Schedule,
    ) -> None:
        if not (Path(model) / "config.json").is_file():
            raise InputError(f"{printable(model)}: no folder of a transformers model (no config.json); check the path")
        torch.manual_seed(schedule.seed)
        named = dict(enumerate(classes))
        try:
            known: Any = AutoModelForObjectDetection.from_pretrained(
                model,
                id2label=named,
                label2id={name: number for number, name in named.items()},
                num_labels=len(classes),
                ignore_mismatched_sizes=True,
                local_files_only=True,
            )
        except (OSError, ValueError, RuntimeError, ImportError) as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"{printable(model)}: no detector that can be trained ({reason})") from error
        plain = _Plain(known, *_colours(Path(model)))
        backbone = [weights for name, weights in plain.named_parameters() if "backbone" in name]
        others = [weights for name, weights in plain.named_parameters() if "backbone" not in name]
        chosen = [[weights for weights in group if weights.requires_grad] for group in (backbone, others)]
        super().__init__(plain, [(chosen[0], _BACKBONE), (chosen[1], 1.0)], schedule)
        self._classes, self._side = tuple(classes), side
        self.take(examples, ())

    def take(self, examples: Sequence[Callable[[], Example]], things: Sequence[NDArray[np.int64]]) -> None:
        """Learn from these examples from now on; `things` are theirs, and not asked for here."""
        self._examples = examples

    def learn(self, step: int) -> dict[str, float]:
        """Learn from one batch, and return the loss."""
        drawn = [self._drawn(np.random.default_rng([self.schedule.seed, step, i])) for i in range(self.schedule.batch)]
        pixels = self._pixels(torch.from_numpy(np.stack([one for one, _ in drawn])).to(self.device))
        labels = [self._label(boxes) for _, boxes in drawn]
        plain = cast("_Plain", self._model)
        said: Any = plain.model(pixel_values=plain.normalised(pixels), labels=labels)
        self._take_step(step, said.loss)
        return {"loss": float(said.loss.detach())}

    def _drawn(self, rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        example = self._examples[int(rng.integers(len(self._examples)))]()
        return stretched(example, rng, self._side, self.schedule.mirrored)

    def _label(self, boxes: NDArray[np.float32]) -> dict[str, Tensor]:
        corners = torch.from_numpy(boxes[:, 1:]).to(self.device) / self._side
        centred = torch.cat([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], dim=1)
        return {"class_labels": torch.from_numpy(boxes[:, 0].astype(np.int64)).to(self.device), "boxes": centred}

    def detect(self, scan: Scan, looks: Sequence[Look] = ONE_LOOK) -> list[Detection]:
        """Return what the averaged network finds on a scan, in one look, with raw scores, however unsure."""
        size = (self._side, self._side)
        smaller = self._side < max(scan.pixels.shape[:2])
        how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        pixels = np.asarray(cv2.resize(scan.pixels, size, interpolation=how), np.uint8)
        with torch.no_grad():
            said = self._mean(self._pixels(torch.from_numpy(pixels)[None].to(self.device)))
        outputs = [output.float().cpu().numpy() for output in said]
        found = queries_decoded(outputs, len(self._classes), scan, 0.0, QUERIES_OVERLAP)
        return surest_first(Detection(box, self._classes[number], score) for box, score, number in found)

    def export(self) -> bytes:
        """Return the averaged network as an ONNX model for squares."""
        return exported(self._mean, ["logits", "pred_boxes"], side=self._side)


def _colours(folder: Path) -> tuple[Sequence[float], Sequence[float]]:
    """Return mean and deviation of the colours that a detector was taught with."""
    told = folder / "preprocessor_config.json"
    if told.is_file():
        try:
            values = json.loads(told.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(f"{printable(told)}: damaged JSON ({error}); get a fresh copy") from error
        if values.get("do_normalize", True) is False:
            return (0.0,) * 3, (1.0,) * 3
        return values.get("image_mean", _MEAN), values.get("image_std", _STD)
    return _MEAN, _STD
