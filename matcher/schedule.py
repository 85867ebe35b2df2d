"""How long and how fast networks are trained."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matcher.augmentation import Turns

__all__ = ["Schedule"]

_MULTIPLE = 32


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
    """

    steps: int = 400
    batch: int = 8
    side: int = 320
    rate: float = 1e-3
    turns: Turns = "slight"
    mirrored: bool = False
    seed: int = 1

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 1 or self.side < _MULTIPLE or self.side % _MULTIPLE or self.rate <= 0:
            raise ValueError(f"steps, batch, side (a multiple of {_MULTIPLE}) and rate must be positive, got {self}")

    def rate_at(self, step: int) -> float:
        """Return the learning rate of a step, from 0."""
        done = step / self.steps
        return (
            self.rate
            * min(1.0, (step + 1) / (0.05 * self.steps))
            * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))
        )
