"""What several test files need: sample pictures, a small collection of pages, the command line as a process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np
import pytest
from skimage import data

from matcher.layout import CLASSES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from matcher.layout import Layout

REPOSITORY = Path(__file__).resolve().parents[1]
PICTURES = ("camera", "coins", "brick", "astronaut", "chelsea", "coffee", "rocket", "gravel")
PAGE_SIZE = (720, 960)
PLACE = (150, 240, 380)  # left, top and long side of the picture on each page


class Calque(Protocol):
    """Runs ``calque`` as a process of its own."""

    def __call__(self, *words: object, **options: object) -> subprocess.CompletedProcess[str]: ...


@dataclass(frozen=True)
class Collection:
    """A folder of pages, each with one sample picture among lines of type."""

    folder: Path
    boxes: dict[str, list[int]]  # name of the page's file -> [x, y, width, height] of the picture on it

    def page(self, name: str) -> Path:
        return self.folder / name


def picture(name: str, long_side: int) -> NDArray[np.uint8]:
    """Return one of scikit-image's sample pictures, gray, shape (h, w)."""
    pixels = np.asarray(getattr(data, name)())
    gray = cv2.cvtColor(np.ascontiguousarray(pixels[..., :3]), cv2.COLOR_RGB2GRAY) if pixels.ndim == 3 else pixels
    factor = long_side / max(gray.shape)
    return cv2.resize(gray, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)


def page_with(pixels: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    """Return a page of words set in type, with `pixels` at `PLACE`."""
    random = np.random.default_rng(seed)
    width, height = PAGE_SIZE
    page = np.full((height, width), 235, np.uint8)
    for baseline in range(60, height - 30, 26):
        words = " ".join("".join(random.choice(list("abcdefghilmnorstu"), random.integers(2, 9))) for _ in range(11))
        cv2.putText(page, words, (50, baseline), cv2.FONT_HERSHEY_COMPLEX, 0.5, 40, 1, cv2.LINE_AA)
    left, top, _ = PLACE
    page[top - 12 : top + pixels.shape[0] + 12, left - 12 : left + pixels.shape[1] + 12] = 235
    page[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return page


def class_at(layout: Layout, x: float, y: float) -> str:
    """Return what a layout says of a place in pixels of the image."""
    high, wide = layout.labels.shape
    return CLASSES[layout.labels[int((y + 0.5) * high / layout.height), int((x + 0.5) * wide / layout.width)]]


@pytest.fixture(scope="session")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    """Eight pages, one for each of `PICTURES`, as JPEG files in two folders."""
    folder = tmp_path_factory.mktemp("collection") / "scans"
    boxes = {}
    for seed, name in enumerate(PICTURES):
        pixels = picture(name, PLACE[2])
        file = f"{'ab'[seed % 2]}/{name}.jpg"
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / file), page_with(pixels, seed), [cv2.IMWRITE_JPEG_QUALITY, 85])
        boxes[file] = [PLACE[0], PLACE[1], pixels.shape[1], pixels.shape[0]]
    return Collection(folder, boxes)


@pytest.fixture(scope="session")
def photograph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of the pictures as its archive has it: larger, turned by two degrees, not on a page."""
    pixels = picture("camera", 500)
    turn = cv2.getRotationMatrix2D((250, 250), 2.0, 1.0)
    path = tmp_path_factory.mktemp("archive") / "photograph.png"
    cv2.imwrite(str(path), cv2.warpAffine(pixels, turn, (500, 500), borderValue=128))
    return path


@pytest.fixture(scope="session")
def calque() -> Calque:
    """Return a function that runs ``calque WORDS…``; options as of `subprocess.run`, but `env` adds to what is, and
    what is None in it is taken away."""

    def run(*words: object, **options: object) -> subprocess.CompletedProcess[str]:
        asked = {**os.environ, "PYTHONPATH": str(REPOSITORY), **(options.pop("env", None) or {})}
        environment = {name: value for name, value in asked.items() if value is not None}
        command = [sys.executable, "-c", "from cli.main import main; main()", *map(str, words)]
        settings = {"capture_output": True, "text": True, "timeout": 300, **options}
        return subprocess.run(command, env=environment, check=False, **settings)

    return run


@pytest.fixture(scope="session")
def scans_index(collection: Collection, calque: Calque, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of `collection` (names such as ``scans/a/coins.jpg``), made by the command line; to be read only."""
    path = tmp_path_factory.mktemp("index") / "scans.calque"
    # With kernels compiled, whatever the tests run with: as plain Python it takes five minutes.
    compiled = {"NUMBA_DISABLE_JIT": None}
    done = calque("add", path, collection.folder.name, "--workers", "1", cwd=collection.folder.parent, env=compiled)
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images with ground truth, where there is one."""
    folder = Path(os.environ.get("CALQUE_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no test images at {folder}; set CALQUE_DATA")
    return folder


@pytest.fixture(scope="session")
def published_weights(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of the weights that are at hand, under the names that their authors gave them."""
    folder = tmp_path_factory.mktemp("weights")
    weights = shared_data / "weights"
    for path in (*weights.glob("*/*.p*"), *weights.glob("lighterglue/*.onnx")):
        shutil.copy(path, folder / path.name.replace("_rebuilt", ""))
    return folder
