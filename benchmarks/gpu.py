"""``python -m benchmarks.gpu FOLDER``: learned extraction on the processor and on a GPU, in batches of several sizes.

Takes the images of the folder that are commonest in size when filled up to what the networks want, as only images of
one size go through together. Times the whole extraction: several levels, orientations, choice of features. Then lays
what each way found beside what one image at a time gave, on the same device and on the processor. Needs no index, no
vocabulary and no more packages than the networks; weights are found by CALQUE_MODELS.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from cli.output import write_rows
from matcher.errors import CalqueError
from matcher.images import read_image
from matcher.learned import Learned
from matcher.networks import network
from matcher.registry import Sight

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matcher.images import Scan
    from matcher.types import Features

__all__ = ["beside", "main", "timed"]

_NEAR = 0.5
"""Pixels within which two keypoints of one size are the same."""

_STRIDE = 32
_BUDGET = 6400
"""Features kept of an image, as in an index."""


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="images, searched recursively")
    parser.add_argument("--features", nargs="+", default=["xfeat", "aliked-n16rot"], metavar="NAME")
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 4, 16], metavar="N")
    parser.add_argument("--images", type=int, default=32, metavar="N", help="images for each figure of a GPU")
    parser.add_argument(
        "--cpu-images", type=int, default=4, metavar="N", help="images for each figure of the processor"
    )
    parser.add_argument("--work-size", type=int, default=1600, metavar="PX")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured there, too")
    given = parser.parse_args()
    scans = alike(given.folder, given.work_size, given.images)
    sights = [Sight(scan) for scan in scans]
    print(f"{len(sights)} images of {' x '.join(map(str, scans[0].pixels.shape[::-1]))} pixels or nearly")
    rows: list[dict[str, Any]] = []
    few = sights[: given.cpu_images]
    for name in given.features:
        figures, slow = timed(name, "cpu", 1, few)
        rows.append({"features": name, "device": "cpu, 1 thread", "batch": 1, **figures})
        ways = [("cuda", batch, False) for batch in given.batches] + [("cuda", given.batches[-1], True)]
        if not torch.cuda.is_available():
            ways = [("cpu", batch, False) for batch in given.batches[1:]]
        alone: list[Features] = []
        for device, batch, tf32 in ways:
            torch.backends.cudnn.allow_tf32 = tf32
            figures, found = timed(name, device, batch, sights if device == "cuda" else few)
            alone = alone or (found if device == "cuda" else slow)
            against = {"one": beside(alone, found), "cpu": beside(slow, found)}
            device = f"{device}, tf32" if tf32 else device
            rows.append({"features": name, "device": device, "batch": batch, **figures, **_flat(against)})
    write_rows(rows, list(rows[-1]), "table")
    if given.json is not None:
        results = {"machine": _machine(), "images": len(sights), "size": scans[0].pixels.shape, "rows": rows}
        given.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def alike(folder: Path, work_size: int, many: int) -> list[Scan]:
    """Return images of a folder that are of one size when filled up, the commonest; over again if they are too few.

    Raises
    ------
    CalqueError
        If there are none.
    """
    groups: dict[tuple[int, ...], list[Scan]] = defaultdict(list)
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".tif", ".tiff"):
            scan = read_image(path, long_side=work_size)
            group = groups[tuple(-(-side // _STRIDE) for side in scan.pixels.shape)]
            group.append(scan)
            if len(group) == many:
                return group
    if not groups:
        raise CalqueError(f"{folder}: no images there; name a folder of scans")
    most = max(groups.values(), key=len)
    return [most[number % len(most)] for number in range(many)]


def timed(name: str, device: str, batch: int, sights: Sequence[Sight]) -> tuple[dict[str, Any], list[Features]]:
    """Return the seconds that it takes to extract, after a first time, and the features."""
    os.environ["CALQUE_DEVICE"] = device
    extractor = Learned(name, _BUDGET)
    wanted = torch.backends.cudnn.allow_tf32
    find = network(name, _BUDGET, device)
    torch.backends.cudnn.allow_tf32 = wanted  # a network that is made sets its own
    extractor.extract_all(sights[:batch], batch)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    found: list[Features] = []
    start = time.perf_counter()
    for first in range(0, len(sights), batch):
        found += extractor.extract_all(sights[first : first + batch], batch)
    seconds = time.perf_counter() - start  # features are on the processor: the GPU has done its work
    start = time.perf_counter()
    for first in range(0, len(sights), batch):
        find([sight.scan.pixels for sight in sights[first : first + batch]], batch)
    alone = time.perf_counter() - start
    memory = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else None
    return {
        "ms an image": 1000 * seconds / len(sights),
        "network, full size": 1000 * alone / len(sights),
        "images a second": len(sights) / seconds,
        "GiB of the GPU": memory,
        "kept": float(np.mean([len(features) for features in found])),
    }, found


def beside(ones: Sequence[Features], others: Sequence[Features]) -> dict[str, float]:
    """Return the share of features that two extractions of the same images share, and how far these differ at most.

    Returns
    -------
    dict
        ``shared``: share of the features of `ones` that the others have, too, within half a pixel and of the same size;
        ``descriptor``: the greatest distance of two descriptors of one feature, ``median`` the median.
    """
    shared, total = 0, 0
    apart: list[np.ndarray] = []
    for one, other in zip(ones, others, strict=False):  # the processor has seen the first few only
        total += len(one)
        order = np.argsort(other.points[:, 0], kind="stable")
        columns = other.points[order, 0]
        lows = np.searchsorted(columns, one.points[:, 0] - _NEAR)
        highs = np.searchsorted(columns, one.points[:, 0] + _NEAR)
        for row, (low, high) in enumerate(zip(lows, highs, strict=True)):
            near = order[low:high]
            far = np.abs(other.points[near] - one.points[row]).max(axis=1, initial=0)
            near = near[(far <= _NEAR) & np.isclose(other.sizes[near], one.sizes[row])]
            if len(near):
                shared += 1
                apart.append(np.linalg.norm(other.descriptors[near] - one.descriptors[row], axis=1).min(keepdims=True))
    every = np.concatenate(apart) if apart else np.array([np.nan])
    return {"shared": shared / max(1, total), "descriptor": float(every.max()), "median": float(np.median(every))}


def _flat(against: dict[str, dict[str, float]]) -> dict[str, float]:
    return {f"{name}: {key}": value for name, values in against.items() for key, value in values.items()}


def _machine() -> dict[str, Any]:
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"cores": len(os.sched_getaffinity(0)), "gpu": gpu, "torch": torch.__version__, "numpy": np.__version__}


if __name__ == "__main__":
    main()
