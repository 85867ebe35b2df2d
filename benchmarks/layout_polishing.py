"""Train the last stage of the layout network further, on a processor alone: small boxes and the classes of pixels.

```
python -m benchmarks.layout_polishing /tmp/material --start /tmp/layout/layout.pt -o /tmp/polished --minutes 40
```

All below the map at a quarter of the size stays as it is, so its maps are made once for each canvas, kept, and learned
from several times.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from benchmarks.layout_material import Material
from benchmarks.layout_model import LayoutModel
from benchmarks.layout_training import Canvases, average, losses

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
    """Train the last stage; write ``layout.pt``, its moving average, and ``log.jsonl``.

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
        Highest learning rate; it falls as a cosine.
    seed, processes : int
        Processes draw the canvases.
    """
    torch.manual_seed(seed)
    out.mkdir(parents=True, exist_ok=True)
    model = LayoutModel().eval()  # statistics of batches stay as they are: these batches are too small for any
    model.load_state_dict(torch.load(start, map_location="cpu", weights_only=True))
    mean = copy.deepcopy(model)
    stages = (model.lower[-1], model.up[-1], model.classes, model.small)
    trained = [weights for stage in stages for weights in stage.parameters()]
    optimizer = torch.optim.AdamW(trained, lr=rate, weight_decay=0.01)
    canvases = Canvases(material, seed, batch, 1_000_000)
    pool: list[tuple[Tensor, ...]] = []
    rng, began, learned, sums = np.random.default_rng(seed), time.monotonic(), 0, torch.zeros(5)
    for step, (pixels, *targets) in enumerate(DataLoader(canvases, batch_size=batch, num_workers=processes), start=1):
        done = (time.monotonic() - began) / (60 * minutes)
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, done * 30) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(done, 1))))
        with torch.no_grad():
            pool.append((*model.deep(pixels.float() / 255), *targets))
        for number in [len(pool) - 1, *rng.integers(len(pool), size=again).tolist()]:
            fine, maps, large, *wanted = pool[number]
            classes, small = model.shallow(fine, maps)
            parts = losses((classes, small, large), tuple(wanted))
            optimizer.zero_grad(set_to_none=True)
            parts.sum().backward()
            nn.utils.clip_grad_norm_(trained, 5.0)
            optimizer.step()
            learned += 1
            sums += parts.detach()
            average(mean, model, min(0.995, learned / (learned + 20)))
        if len(pool) > _POOL:
            pool.pop(int(rng.integers(len(pool))))
        if step % 20 == 0 or done >= 1:
            means = [round(float(value) / (20 * (1 + again)), 4) for value in sums]
            with (out / "log.jsonl").open("a") as log:
                names = ("classes", "overlap", "kinds", "boxes", "quality")
                log.write(json.dumps({"step": step, "learned": learned, **dict(zip(names, means, strict=True))}) + "\n")
            sums.zero_()
            torch.save(mean.state_dict(), out / "layout.new")
            (out / "layout.new").replace(out / "layout.pt")
        if done >= 1:
            break
    return mean


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
