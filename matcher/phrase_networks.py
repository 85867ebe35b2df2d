"""What a phrase says, found by networks of the transformers library that read: OWLv2, Grounding DINO, CLIPSeg.

OWLv2 (Minderer et al. 2023) and Grounding DINO (Liu et al. 2024) tell boxes; CLIPSeg (Lüddecke and Ecker 2022) tells
outlines: each part of what a phrase may mean.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import transformers

from matcher.detection import surest_first
from matcher.detection_networks import HubNetwork, boxes_on, distinct_boxes, outlined_thing
from matcher.errors import InputError
from matcher.images import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from matcher.detection import Detection
    from matcher.images import Scan

__all__ = ["ClipSeg", "GroundingDino", "Owl"]

_OVERLAP = 0.5
"""IoU from which on the less sure of two boxes of one phrase is left out."""
_LEAST_SHARE = 5e-4
"""Share of an image below which a part of a mask is a speck."""


class _Reader(HubNetwork, ABC):
    """A network that reads, with its tokenizer; parameters are those of `HubNetwork`."""

    labels: tuple[str, ...] | None = None
    _tokens: Any = None

    def tokens(self, texts: Sequence[str], longest: int) -> dict[str, NDArray[np.int64]]:
        """Return numbers for what texts say, and which of them count, int64 of shape (n, m)."""
        if self._tokens is None:
            try:
                self._tokens = transformers.AutoTokenizer.from_pretrained(self.folder, local_files_only=True)
            except Exception as error:  # whatever the library has against a folder
                reason = " ".join(str(error).split())[:300]
                raise InputError(
                    f"{printable(self.folder)}: its tokenizer cannot be loaded ({reason}); get the whole model"
                ) from error
        ready = self._tokens(
            list(texts), padding="max_length", max_length=longest, truncation=True, return_tensors="np"
        )
        return {name: np.asarray(value, np.int64) for name, value in ready.items()}

    def asked(self, phrases: Sequence[str]) -> list[str]:
        """Return the phrases, which there must be."""
        if not phrases:
            raise InputError(f"the detector {self.name!r} looks for what a phrase says; give one, such as umbrella")
        return list(phrases)

    @property
    def positions(self) -> int:
        """How many tokens it reads."""
        text = self.config.get("text_config") or {}
        return int(text.get("max_position_embeddings") or 16)

    def detect(self, scan: Scan, min_score: float | None = None, phrases: Sequence[str] = ()) -> list[Detection]:
        """Return what is on a scan."""
        return self.detect_all([scan], min_score, phrases)[0]

    @abstractmethod
    def detect_all(
        self, scans: Sequence[Scan], min_score: float | None = None, phrases: Sequence[str] = ()
    ) -> list[list[Detection]]:
        """Return what is on each of several scans."""


class Owl(_Reader):
    """What phrases say by OWLv2: see `matcher.detection.Detector`. Phrases do not know of each other."""

    usual_score = 0.2

    def __init__(self, name: str = "owlv2", model: str = "") -> None:
        super().__init__(name, model, "Owlv2ForObjectDetection", squared=True)

    def detect_all(
        self, scans: Sequence[Scan], min_score: float | None = None, phrases: Sequence[str] = ()
    ) -> list[list[Detection]]:
        """Return what is on each of several scans."""
        texts = self.asked(phrases)
        least = self.usual_score if min_score is None else min_score
        ready = self.preparation.prepare(scans)
        read = self.tokens(texts, self.positions)
        every = {name: np.tile(value, (len(scans), 1)) for name, value in read.items()}
        out = self.run(pixel_values=ready.pixels, **every)
        scores = out.logits.float().sigmoid().cpu().numpy()
        boxes = out.pred_boxes.float().cpu().numpy()
        found = []
        for scan, one, places in zip(scans, scores, boxes, strict=True):
            # It saw a square, with grey beside or below the image.
            side = max(scan.pixels.shape[:2])
            extent = (side / scan.pixels.shape[1], side / scan.pixels.shape[0])
            found.append(distinct_boxes(boxes_on(scan, one, places, texts, least, extent), _OVERLAP))
        return found


class GroundingDino(_Reader):
    """What phrases say by Grounding DINO: see `matcher.detection.Detector`. It reads one phrase at a time.

    A box is as sure as the surest word of its phrase. The network forgets which words belong together when it reads
    several phrases, and scores would depend on the company.
    """

    usual_score = 0.3

    def __init__(self, name: str = "grounding-dino", model: str = "") -> None:
        super().__init__(name, model, "GroundingDinoForObjectDetection")

    def detect_all(
        self, scans: Sequence[Scan], min_score: float | None = None, phrases: Sequence[str] = ()
    ) -> list[list[Detection]]:
        """Return what is on each of several scans."""
        least = self.usual_score if min_score is None else min_score
        ready = self.preparation.prepare(scans)
        found: list[list[Detection]] = [[] for _ in scans]
        for phrase in self.asked(phrases):
            # As it was taught: in lower case, with a full stop behind.
            read = self.tokens([f"{phrase.lower().rstrip('.')}."], int(self.config.get("max_text_len") or 256))
            used = int(read["attention_mask"].sum())
            every = {name: np.tile(value[:, :used], (len(scans), 1)) for name, value in read.items()}
            out = self.run(pixel_values=ready.pixels, pixel_mask=ready.mask, **every)
            # The first and the last token begin and end the text, the one before is the full stop.
            scores = out.logits.float().sigmoid()[..., 1 : max(2, used - 2)].amax(-1, keepdim=True).cpu().numpy()
            boxes = out.pred_boxes.float().cpu().numpy()
            for scan, one, places, told in zip(scans, scores, boxes, found, strict=True):
                told += distinct_boxes(boxes_on(scan, one, places, [phrase], least), _OVERLAP)
        return [surest_first(told) for told in found]


class ClipSeg(_Reader):
    """What phrases say by CLIPSeg, with outlines: see `matcher.detection.Detector`.

    It tells for each pixel how likely a phrase means it. A thing is a part of what is likelier than `min_score`, and as
    sure as the mean of the likeliest tenth of its pixels.
    """

    usual_score = 0.4

    def __init__(self, name: str = "clipseg", model: str = "") -> None:
        super().__init__(name, model, "CLIPSegForImageSegmentation")

    def detect_all(
        self, scans: Sequence[Scan], min_score: float | None = None, phrases: Sequence[str] = ()
    ) -> list[list[Detection]]:
        """Return what is on each of several scans."""
        texts = self.asked(phrases)
        least = self.usual_score if min_score is None else min_score
        read = self.tokens(texts, self.positions)
        ready = self.preparation.prepare(scans)
        found = []
        for scan, pixels in zip(scans, ready.pixels, strict=True):
            out = self.run(pixel_values=np.repeat(pixels[None], len(texts), axis=0), **read)
            likely = out.logits.float().sigmoid().cpu().numpy().reshape(len(texts), *out.logits.shape[-2:])
            parts = [part for text, map_ in zip(texts, likely, strict=True) for part in _parts(scan, map_, text, least)]
            found.append(surest_first(parts))
        return found


def _parts(scan: Scan, likely: NDArray[np.float32], text: str, least: float) -> list[Detection]:
    """Return the connected parts of what is likely enough on a map, shape (h, w), over all of a scan."""
    count, numbers = cv2.connectedComponents((likely >= max(least, 1e-6)).astype(np.uint8), connectivity=8)
    found = []
    for number in range(1, count):
        inside = numbers == number
        if inside.mean() >= _LEAST_SHARE:
            values = np.sort(likely[inside])
            found.append(outlined_thing(scan, inside, text, float(values[-max(1, len(values) // 10) :].mean())))
    return found
