"""Train the small network to say of each pixel whether it is damaged, from a few images on which that is painted.

Needs torch. As in `matcher.region_learning`, all that is drawn follows from the seed and the number of the step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from matcher.painted_parts import damage_laid_on, masked_part
from matcher.pixel_model import PixelModel, start_pixels_from
from matcher.region_learning import AveragedLearner, another_network, exported
from matcher.region_losses import pixel_losses

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from matcher.schedule import Schedule

__all__ = ["PixelLearner"]

_DAMAGED = 0.7
"""Share of the parts that are drawn around a damaged pixel; the others are from anywhere."""

_LAID, _STRENGTHS = 0.5, (0.6, 1.15)
"""Share of the parts on which damage of another part is laid, and how strong that may be of what it is."""

_WEIGHT = 2.0
"""Of damaged pixels in the loss: there are few."""

_OVERLAP = 4.0
"""Of how little the classes overlap in the loss: thin lines are judged by that."""

_PLACES = 20_000
"""Damaged pixels of an image and class that are remembered to be drawn around."""


class PixelLearner(AveragedLearner):
    """Learns the classes of pixels from parts of painted images.

    Parameters
    ----------
    images : sequence of (uint8, shape (h, w, 3); uint8, shape (h, w))
        RGB, and the class of each pixel: 0 none, `matcher.region_targets.IGNORED` where nothing is to be learned.
    classes : sequence of str
        Names of the classes from 1 on.
    schedule : Schedule
    start : sequence of (array, array)
        As of `matcher.pixel_model.start_pixels_from`; nothing to begin with nothing.
    """

    def __init__(
        self,
        images: Sequence[tuple[NDArray[np.uint8], NDArray[np.uint8]]],
        classes: Sequence[str],
        schedule: Schedule,
        start: Sequence[tuple[NDArray, NDArray]] = (),
    ) -> None:
        torch.manual_seed(schedule.seed)
        model = PixelModel(len(classes) + 1, normed=not start)
        if start:
            try:
                start_pixels_from(model, start)
            except ValueError as error:
                raise another_network(error) from error
        super().__init__(model, [(list(model.parameters()), 1.0)], schedule)
        self._weights = [1.0] + [_WEIGHT] * len(classes)
        self.take(images)

    def take(self, images: Sequence[tuple[NDArray[np.uint8], NDArray[np.uint8]]]) -> None:
        """Learn from these images from now on.

        Raises
        ------
        ValueError
            If nothing is painted on them.
        """
        self._images = images
        rng = np.random.default_rng(self.schedule.seed)
        self._places: list[list[tuple[int, NDArray[np.intp]]]] = []
        for kind in range(1, len(self._weights)):
            places = []
            for number, (_, mask) in enumerate(images):
                where = np.argwhere(mask == kind)
                if len(where):
                    chosen = rng.permutation(len(where))[:_PLACES] if len(where) > _PLACES else slice(None)
                    places.append((number, where[chosen, ::-1]))
            self._places.append(places)
        self._known = [kind for kind, places in enumerate(self._places) if places]
        if not self._known:
            raise ValueError("there is nothing to learn from")

    def learn(self, step: int) -> dict[str, float]:
        """Learn from one batch, and return the losses by name."""
        pixels, classes = self._batch(self._drawn, step)
        with self._brief():
            said = self._model(self._pixels(pixels))
        entropy, overlap = pixel_losses(said, classes, self._weights)
        self._take_step(step, entropy + _OVERLAP * overlap)
        return {"classes": float(entropy.detach()), "overlap": float(overlap.detach())}

    def _drawn(self, rng: np.random.Generator) -> tuple[NDArray, ...]:
        part = self._part(rng, rng.random() < _DAMAGED)
        if rng.random() < _LAID:
            part = damage_laid_on(*part, *self._part(rng, True), float(rng.uniform(*_STRENGTHS)))
        return part

    def _part(self, rng: np.random.Generator, damaged: bool) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        if damaged:
            places = self._places[self._known[int(rng.integers(len(self._known)))]]
            number, points = places[int(rng.integers(len(places)))]
            x, y = points[int(rng.integers(len(points)))] + rng.uniform(-0.35, 0.35, 2) * self.schedule.side
            high, wide = self._images[number][0].shape[:2]
        else:
            number = int(rng.integers(len(self._images)))
            high, wide = self._images[number][0].shape[:2]
            x, y = rng.uniform(0, wide), rng.uniform(0, high)
        centre = float(np.clip(x, 0, wide)), float(np.clip(y, 0, high))
        schedule = self.schedule
        return masked_part(
            *self._images[number], rng, schedule.side, centre=centre, turns=schedule.turns, mirrored=schedule.mirrored
        )

    def chances(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return what the averaged network says of an image, or part of one: the chance of each class.

        Parameters
        ----------
        pixels : uint8, shape (h, w, 3)
            Sides multiples of 32.

        Returns
        -------
        float32, shape (classes + 1, h, w)
        """
        with torch.no_grad(), self._brief():
            said = self._mean(self._pixels(torch.from_numpy(pixels)[None].to(self.device)))
        return np.asarray(said.float().softmax(dim=1)[0].cpu().numpy(), np.float32)

    def export(self) -> bytes:
        """Return the averaged network as an ONNX model for images of any size."""
        return exported(self._mean, ["classes"])
