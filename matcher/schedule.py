"""How long and how fast networks are trained."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matcher.augmentation import Turns

__all__ = ["Schedule"]

_MULTIPLE = 32

_AGAIN = 0.5
"""Learning rate with which the second part of a run begins, of that of the first."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How a small network is trained.

    Attributes
    ----------
    steps : int
        Batches.
    batch : int
        Parts in each.
    side : int
        Pixels of the sides of a part, a multiple of 32.
    rate : float
        Highest learning rate; it rises for a twentieth of the steps, then falls as a cosine.
    turns : str
        As of `matcher.augmentation.View.drawn`.
    mirrored : bool
        Whether things may be mirrored, too.
    seed : int
    together : int
        How many of the steps, the last ones, learn from everything: the rate begins anew, half as high, and falls
        (Loshchilov and Hutter 2017).
    """

    steps: int = 400
    batch: int = 8
    side: int = 320
    rate: float = 1e-3
    turns: Turns = "slight"
    mirrored: bool = False
    seed: int = 1
    together: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 1 or self.side < _MULTIPLE or self.side % _MULTIPLE or self.rate <= 0:
            raise ValueError(f"steps, batch, side (a multiple of {_MULTIPLE}) and rate must be positive, got {self}")

    def rate_at(self, step: int) -> float:
        """Return the learning rate of a step, from 0."""
        alone = self.steps - self.together
        if step < alone:
            return self.rate * min(1.0, (step + 1) / (0.05 * alone)) * _fallen(step / alone)
        return self.rate * _AGAIN * _fallen((step - alone) / self.together)


def _fallen(done: float) -> float:
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done))
