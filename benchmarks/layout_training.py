"""Train the layout network that calque ships: the recipe, seeded. Needs torch; a GPU makes hours into minutes.

```
python -m benchmarks.layout_material /tmp/material --fonts FOLDER
python -m benchmarks.layout_training /tmp/material --steps 12000 -o /tmp/layout
```

Everything about a canvas follows from the seed and its number, so a run sees the same canvases whatever the number of
processes that draw them; the sums of a GPU differ in the last digits from run to run.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.layout_material import Material
from benchmarks.layout_model import LayoutModel
from benchmarks.layout_scans import scanned
from matcher.region_losses import LOSSES, assigned, average, losses
from matcher.region_model import COARSE, FINE, parameters

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Canvases", "Learner", "train"]

_LONG, _SHORT = 1024, 768
_POOL = 250
"""Batches kept to be learned from again, chosen at random: 13 GB at 16 canvases a batch."""

_CLASS_WEIGHTS = (1.0, 1.0, 2.0, 4.0, 4.0)
"""Of background, text, illustration, ornament, initial in the loss of pixels."""


class Canvases(Dataset[tuple[Tensor, ...]]):
    """Canvas `i` is drawn from the seed (`seed`, i); each eighth batch is landscape."""

    def __init__(self, material: Material, seed: int, batch: int, many: int) -> None:
        self._material, self._seed, self._batch, self._many = material, seed, batch, many

    def __len__(self) -> int:
        return self._many

    def __getitem__(self, number: int) -> tuple[Tensor, ...]:
        cv2.setNumThreads(1)
        wide = (number // self._batch) % 8 == 7
        size = (_LONG, _SHORT) if wide else (_SHORT, _LONG)
        sheet = scanned(self._material, np.random.default_rng([self._seed, number]), *size)
        target = sheet.target(FINE)
        arrays = [np.ascontiguousarray(sheet.pixels.transpose(2, 0, 1)), target.classes]
        for step in (FINE, COARSE):
            arrays += assigned(target.boxes, target.classes, step, sheet.pixels.shape[:2])
        return tuple(torch.from_numpy(array) for array in arrays)


class Learner:
    """Learns from each batch several times, averages the weights, writes ``layout.pt`` and ``log.jsonl``.

    Parameters
    ----------
    model : LayoutModel
    groups : list of dict
        What is learned, as AdamW takes it.
    say : callable
        From a batch to what the model says of it, and what it should say.
    out : path
        A folder.
    rate : float
        Highest learning rate; it rises for the share `warm` of the time, then falls as a cosine to the share `least`.
    again : int
        Each batch is learned from this many more times, drawn at random from the `kept` that are kept.
    keep : float
        Weight of the average at each step.
    every : int
        Batches from one line of the log to the next.
    """

    def __init__(
        self,
        model: LayoutModel,
        groups: list[dict[str, Any]],
        say: Callable[[tuple[Tensor, ...]], tuple[tuple[Tensor, Tensor, Tensor], tuple[Tensor, ...]]],
        out: Path,
        *,
        rate: float,
        warm: float,
        least: float,
        again: int,
        kept: int,
        keep: float,
        every: int,
        seed: int,
    ) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.mean = copy.deepcopy(model).eval()
        self._model, self._say, self._out = model, say, out
        self._optimizer = torch.optim.AdamW(groups, lr=rate)
        self._rate, self._warm, self._least = rate, warm, least
        self._again, self._kept, self._keep, self._every = again, kept, keep, every
        self._rng, self._began = np.random.default_rng(seed), time.monotonic()
        self._pool: list[tuple[Tensor, ...]] = []
        self._steps = self._learned = self._told = self._canvases = 0
        self._trained = [weights for group in groups for weights in group["params"]]
        self._sums = torch.zeros(len(LOSSES))

    def take(self, batch: tuple[Tensor, ...], done: float) -> None:
        """Learn from a new batch and some old ones, when the share `done` of the run lies behind."""
        fallen = 0.5 * (1 + math.cos(math.pi * min(done, 1)))
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate * min(1.0, done / self._warm) * (self._least + (1 - self._least) * fallen)
        self._pool.append(batch)
        self._steps += 1
        self._canvases += len(batch[0])
        for number in [len(self._pool) - 1, *self._rng.integers(len(self._pool), size=self._again).tolist()]:
            self._learn(self._pool[number])
        if len(self._pool) > self._kept:
            self._pool.pop(int(self._rng.integers(len(self._pool))))
        if self._steps % self._every == 0 or done >= 1:
            self._tell()

    def _learn(self, batch: tuple[Tensor, ...]) -> None:
        parts = losses(*self._say(batch), _CLASS_WEIGHTS)
        self._optimizer.zero_grad(set_to_none=True)
        parts.sum().backward()
        nn.utils.clip_grad_norm_(self._trained, 5.0)
        self._optimizer.step()
        self._learned += 1
        self._sums = self._sums.to(parts.device) + parts.detach()
        average(self.mean, self._model, min(self._keep, self._learned / (self._learned + 20)))

    def _tell(self) -> None:
        many, self._told = self._learned - self._told, self._learned
        means = {name: round(float(value) / many, 4) for name, value in zip(LOSSES, self._sums, strict=True)}
        rate = round(self._canvases / (time.monotonic() - self._began), 1)
        line = json.dumps({"step": self._steps, "learned": self._learned, **means, "canvases_per_second": rate})
        print(line, flush=True)
        with (self._out / "log.jsonl").open("a") as log:
            log.write(line + "\n")
        self._sums.zero_()
        torch.save(self.mean.state_dict(), self._out / "layout.new")
        (self._out / "layout.new").replace(self._out / "layout.pt")


def train(
    material: Material,
    out: Path,
    *,
    steps: int,
    minutes: float = math.inf,
    start: Path | None = None,
    batch: int = 16,
    again: int = 2,
    rate: float = 2e-3,
    seed: int = 1,
    processes: int = 16,
) -> LayoutModel:
    """Train a network; write its moving average and a log as it goes, see `Learner`.

    Parameters
    ----------
    material : Material
    out : path
        A folder.
    steps, batch : int
        Batches that are drawn, and canvases in each.
    minutes : float
        The run ends after these, or after `steps`, whichever comes first; the learning rate falls accordingly.
    start : path, optional
        Weights to begin with.
    again : int
        Each canvas is learned from this many more times, later: a GPU learns faster than processes draw.
    rate : float
        Highest learning rate.
    seed, processes : int
        Processes draw the canvases.
    """
    torch.manual_seed(seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = LayoutModel().to(device, memory_format=torch.channels_last)
    if start is not None:
        model.load_state_dict(torch.load(start, map_location=device, weights_only=True))
    print(f"{parameters(model) / 1e6:.2f} million weights, {device}", flush=True)

    def say(canvases: tuple[Tensor, ...]) -> tuple[tuple[Tensor, Tensor, Tensor], tuple[Tensor, ...]]:
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            return model(canvases[0].float() / 255), canvases[1:]

    decayed = [weights for weights in model.parameters() if weights.ndim > 1]
    plain = [weights for weights in model.parameters() if weights.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 0.02}, {"params": plain, "weight_decay": 0.0}]
    learner = Learner(
        model,
        groups,
        say,
        out,
        rate=rate,
        warm=0.02,
        least=0.01,
        again=again,
        kept=_POOL,
        keep=0.9995,
        every=100,
        seed=seed,
    )
    loader = DataLoader(
        Canvases(material, seed, batch, steps * batch),
        batch_size=batch,
        num_workers=processes,
        pin_memory=device == "cuda",
        prefetch_factor=4 if processes else None,
    )
    began = time.monotonic()
    for step, drawn in enumerate(loader, start=1):
        done = max(step / steps, (time.monotonic() - began) / (60 * minutes))
        pixels, *targets = (array.to(device, non_blocking=True) for array in drawn)
        learner.take((pixels.contiguous(memory_format=torch.channels_last), *targets), done)
        if done >= 1:
            break
    return learner.mean


def main() -> None:
    """Train from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("material", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=12000)
    parser.add_argument("--minutes", type=float, default=math.inf)
    parser.add_argument("--start", type=Path, help="weights to begin with")
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--held-out", type=int, default=0, help="keep each n-th book for validation")
    parser.add_argument("--processes", type=int, default=16)
    asked = parser.parse_args()
    material = Material(asked.material, asked.held_out)
    train(
        material,
        asked.out,
        steps=asked.steps,
        minutes=asked.minutes,
        start=asked.start,
        rate=asked.rate,
        batch=asked.batch,
        seed=asked.seed,
        processes=asked.processes,
    )


if __name__ == "__main__":
    main()
