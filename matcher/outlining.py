"""The outline of a thing that is pointed at, by a click or a box: Segment Anything (Kirillov et al. 2023)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch

from matcher.detection import Detection
from matcher.detection_networks import HubNetwork, outlined_thing, part_of, torch_device
from matcher.errors import InputError
from matcher.types import Region

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from matcher.images import Scan

__all__ = ["Sam"]


class Sam(HubNetwork):
    """Outlines by SAM: see `matcher.detection.Outliner`.

    Of the three masks that it proposes for a click, a part, a whole and what holds both, the one is taken that fits
    best by its own account; of a box there is but one.
    """

    def __init__(self, name: str = "sam", model: str = "") -> None:
        super().__init__(name, model, "SamModel")

    def outline(
        self, scan: Scan, boxes: Sequence[Region], points: Sequence[tuple[float, float]] = ()
    ) -> list[Detection]:
        """Return the thing in each of `boxes`, and the one at each of `points`, in pixels of the original image."""
        for x, y in points:
            if not (0 <= x < scan.width and 0 <= y < scan.height):
                raise InputError(f"the point {x:g},{y:g} lies outside the image of {scan.width} x {scan.height} pixels")
        ready = self.preparation.prepare([scan])
        ((rows, columns),) = ready.sizes
        step = np.array([columns / scan.width, rows / scan.height])
        where = torch_device()
        with torch.inference_mode():
            seen = self.network.get_image_embeddings(torch.from_numpy(ready.pixels).to(where))
        found = []
        for box in boxes:
            edges = np.array([[box.x, box.y], [box.x + box.width, box.y + box.height]]) * step
            prompt = {"input_boxes": edges.reshape(1, 1, 4)}
            found.append(self._thing(scan, seen, prompt, (rows, columns), ready.pixels.shape[2:], box))
        for x, y in points:
            at = (np.array([x, y]) + 0.5) * step
            prompt = {"input_points": at.reshape(1, 1, 1, 2)}
            pixel = Region(float(int(x)), float(int(y)), 1.0, 1.0)
            found.append(self._thing(scan, seen, prompt, (rows, columns), ready.pixels.shape[2:], pixel))
        return found

    def _thing(
        self,
        scan: Scan,
        seen: Any,
        prompt: dict[str, NDArray],
        size: tuple[int, int],
        sheet: tuple[int, ...],
        asked: Region,
    ) -> Detection:
        several = "input_points" in prompt
        where = torch_device()
        inputs = {name: torch.from_numpy(value).float().to(where) for name, value in prompt.items()}
        with torch.inference_mode():
            out = self.network(image_embeddings=seen, multimask_output=several, **inputs)
        masks = out.pred_masks.float().cpu().numpy().reshape(-1, *out.pred_masks.shape[-2:])
        fits = out.iou_scores.float().cpu().numpy().ravel()
        inside = part_of(masks[[int(fits.argmax())]], size, sheet)[0] > 0
        if several:
            inside = _at(inside, asked, scan)
        if not inside.any():
            return Detection(asked, "", 0.0, (asked.corners() - 0.5,))
        return outlined_thing(scan, inside, "", float(np.clip(fits.max(), 0, 1)))


def _at(inside: NDArray[np.bool_], pixel: Region, scan: Scan) -> NDArray[np.bool_]:
    """Return the part of a mask that the click is in, all of it where it is in none."""
    rows, columns = inside.shape
    _, numbers = cv2.connectedComponents(inside.astype(np.uint8), connectivity=8)
    here = numbers[int((pixel.y + 0.5) * rows / scan.height), int((pixel.x + 0.5) * columns / scan.width)]
    return np.asarray(numbers == here) if here else inside
