"""Train the last stage of the layout network further, on a processor alone: small boxes and the classes of pixels.

```
python -m benchmarks.layout_polishing /tmp/material --start /tmp/layout/layout.pt -o /tmp/polished --minutes 40
```

All below the map at a quarter of the size stays as it is, so its maps are made once for each canvas, kept, and learned
from several times.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import cv2
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from benchmarks.layout_material import Material
from benchmarks.layout_model import LayoutModel
from benchmarks.layout_training import Canvases, Learner

__all__ = ["polish"]

_POOL = 40
"""Batches whose maps are kept: 1.5 GB at 4 canvases a batch."""


def polish(
    material: Material,
    out: Path,
    *,
    start: Path,
    minutes: float,
    batch: int = 4,
    again: int = 3,
    rate: float = 5e-4,
    seed: int = 3,
    processes: int = 1,
) -> LayoutModel:
    """Train the last stage; write its moving average and a log as it goes, see `Learner`.

    Parameters
    ----------
    material : Material
    out, start : path
        A folder, and the weights to begin with.
    minutes : float
        How long.
    batch, again : int
        Canvases at a time, and how often each is learned from once more.
    rate : float
        Highest learning rate.
    seed, processes : int
        Processes draw the canvases.
    """
    torch.manual_seed(seed)
    model = LayoutModel().eval()  # statistics of batches stay as they are: these batches are too small for any
    model.load_state_dict(torch.load(start, map_location="cpu", weights_only=True))

    def say(kept: tuple[Tensor, ...]) -> tuple[tuple[Tensor, Tensor, Tensor], tuple[Tensor, ...]]:
        fine, maps, large, *targets = kept
        return (*model.shallow(fine, maps), large), tuple(targets)

    stages = (model.lower[-1], model.up[-1], model.classes, model.small)
    trained = [weights for stage in stages for weights in stage.parameters()]
    learner = Learner(
        model,
        [{"params": trained, "weight_decay": 0.01}],
        say,
        out,
        rate=rate,
        warm=1 / 30,
        least=0.02,
        again=again,
        kept=_POOL,
        keep=0.995,
        every=20,
        seed=seed,
    )
    began = time.monotonic()
    canvases = Canvases(material, seed, batch, 1_000_000)
    for pixels, *targets in DataLoader(canvases, batch_size=batch, num_workers=processes):
        done = (time.monotonic() - began) / (60 * minutes)
        with torch.no_grad():
            made = model.deep(pixels.float() / 255)
        learner.take((*made, *targets), done)
        if done >= 1:
            break
    return learner.mean


def main() -> None:
    """Polish from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("material", type=Path)
    parser.add_argument("--start", type=Path, required=True)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=40)
    parser.add_argument("--held-out", type=int, default=0)
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    polish(Material(asked.material, asked.held_out), asked.out, start=asked.start, minutes=asked.minutes)


if __name__ == "__main__":
    main()
