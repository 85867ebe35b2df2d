"""Train for what calque has not seen: stamps on real pages, cracks in real pictures; measure on others.

```
python -m benchmarks.detection_training stamps
python -m benchmarks.detection_training cracks --part dev --keep /tmp/cracks
python -m benchmarks.detection_training cracks --keep /tmp/cracks --trained
```

Stamps: 60 pages of part ``dev`` to learn from (of which calque keeps some to validate by), 40 pages of part ``test`` to
measure on; for choosing, with ``--part dev`` 40 others of ``dev``, and with ``--part books`` all of ``dev`` whose books
nothing is learned from, each stamped twice: of the other 40 most are of books that are learned from. Pages whose stamps
of libraries are marked are left out; to find one that was not is neither right nor wrong. Cracks: 12 photographs of
``various/`` (BSDS500) to learn from, 26 others to measure on. Minutes are those of the processor, in one thread, of
training, with the measures on what is kept for validation. What is learned from is the same for all parts:
``--trained`` measures on one the model that a run with ``--keep`` has left.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from PIL import Image

from benchmarks.damage_material import cracked, stamped
from benchmarks.datasets import data_folder
from benchmarks.runner import arguments, machine, report, table
from index.annotated import read_annotated
from index.average_precision import figures_of
from index.damage_training import DamageTraining, damage_figures, train_damage
from index.detection_training import DetectionTraining, matched_on, train_detector
from index.painted import find_painted, read_mask
from matcher.damage import DamageMapper
from matcher.detection import polygons_of
from matcher.images import read_image
from matcher.trained import TrainedDetector, read_trained

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["crack_folder", "stamp_folder"]

_LEARNED, _MEASURED = 60, 40
_STAMPS = (0, 1, 1, 2, 3)
"""Stamps on a page, each as likely."""

_PRINTS = (10, 11)
"""Pages of other books are stamped so many times: by these seeds beyond the first."""

_OF_LIBRARIES = {
    "bnf_fr_1728__btv1b84473026_f5": (56, 873, 96, 91),
    "bnf-fran_ais-8204__Fran_ais_8204_f11": (283, 664, 52, 52),
    "bnf-fran_ais-8204__Fran_ais_8204_f151": (449, 599, 52, 53),
    "bnf-fran_ais-8204__Fran_ais_8204_f17": (288, 607, 53, 55),
    "bnf-fran_ais-8204__Fran_ais_8204_f27": (444, 574, 52, 54),
    "bnf-fran_ais-8204__Fran_ais_8204_f83": (548, 298, 50, 53),
}
"""Stamps that are on the pages already, by the end of the page's name: left, top, width, height in pixels.

All pages of both parts were looked at; these are the only ones, all on pages of ``test``."""

_PAINTED, _MAPPED = 12, 26
_READ = 1600


def _pages(part: str) -> list[dict[str, Any]]:
    """Return the pages of a part on which nobody has marked a stamp of a library."""
    known = json.loads((data_folder() / "pages" / "layout.json").read_text(encoding="utf-8"))
    return [
        page
        for page in known
        if page["part"] == part and not any("stamp" in zone["label"].lower() for zone in page["zones"])
    ]


def _drawn(part: str, seed: int, many: int, skip: int = 0) -> list[int]:
    """Return the numbers of so many pages, drawn at random, after so many."""
    return np.random.default_rng(seed).permutation(len(_pages(part)))[skip : skip + many].tolist()


def _of_other_books(seed: int) -> list[int]:
    """Return the numbers of the pages of ``dev`` whose books nothing is learned from."""
    pages = _pages("dev")
    learned = {pages[number]["book"] for number in _drawn("dev", seed, _LEARNED)}
    return [number for number, page in enumerate(pages) if page["book"] not in learned]


def stamp_folder(folder: Path, part: str, numbers: Sequence[int], seed: int) -> Path:
    """Write pages with stamps as JPEG, and ``stamps.json``, a COCO file of them; return its path.

    Parameters
    ----------
    folder : Path
    part : str
        ``dev`` or ``test``: whose pages.
    numbers : sequence of int
        Which of them.
    seed : int
    """
    root, pages = data_folder() / "pages", _pages(part)
    folder.mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number in numbers:
        page = pages[number]
        rng = np.random.default_rng([seed, number])
        made = stamped(read_image(root / page["image"], gray=False).pixels, rng, int(rng.choice(_STAMPS)))
        name = f"{number:03d}.jpg"
        Image.fromarray(made.pixels).save(folder / name, quality=90)
        high, wide = made.pixels.shape[:2]
        images.append({"id": number, "file_name": name, "width": wide, "height": high, "document": page["book"]})
        of_library = next((box for end, box in _OF_LIBRARIES.items() if Path(page["image"]).stem.endswith(end)), None)
        if of_library:
            crowd = {"id": len(annotations) + 1, "image_id": number, "category_id": 1, "iscrowd": 1}
            annotations.append({**crowd, "bbox": list(of_library)})
        for mask, (left, top, right, bottom) in zip(made.masks, made.boxes, strict=True):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": 1,
                    "bbox": [left, top, right - left, bottom - top],
                    "segmentation": [polygon.ravel().round(1).tolist() for polygon in polygons_of(mask)],
                    "iscrowd": 0,
                }
            )
    document = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "stamp"}]}
    path = folder / "stamps.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def crack_folder(folder: Path, part: str, many: int, seed: int) -> Path:
    """Write pictures with cracks and their masks into ``images`` and ``masks``; return the folder.

    Parameters
    ----------
    folder : Path
    part : str
        ``learned``, ``dev`` or ``test``: each of other photographs.
    many : int
    seed : int
    """
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    parts = ("learned", "dev", "test")
    files = sorted((data_folder() / "various").glob("**/BSDS500*.jpg"))
    order = np.random.default_rng(seed).permutation(len(files)).tolist()
    mine = [number for place, number in enumerate(order) if parts[place % 3] == part]
    for number in mine[:many]:
        file = files[number]
        # Twice as large: a scan of a painting has more pixels than details, and cracks broader than one.
        picture = cv2.resize(read_image(file, gray=False).pixels, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
        pixels, mask = cracked(np.asarray(picture, np.uint8), np.random.default_rng([seed, number]))
        Image.fromarray(pixels).save(folder / "images" / f"{file.stem}.png")
        Image.fromarray(mask * 255).save(folder / "masks" / f"{file.stem}.png")
    return folder


def _said(line: str) -> None:
    print(line, flush=True)


def _stamps(folder: Path, part: str, seed: int, asked: dict[str, Any] | None) -> dict[str, Any]:
    learned = folder / "learned"
    own = stamp_folder(learned, "dev", _drawn("dev", seed, _LEARNED), seed) if asked else learned / "stamps.json"
    annotated = read_annotated(own)
    if part == "books":
        numbers = _of_other_books(seed)
        files = [stamp_folder(folder / f"{part}{i}", "dev", numbers, seed + i) for i in _PRINTS]
    else:
        numbers = _drawn(part, seed, _MEASURED, _LEARNED if part == "dev" else 0)
        files = [stamp_folder(folder / part, part, numbers, seed)]
    truth = [image for file in files for image in read_annotated(file).images]
    path = folder / "stamps.onnx"
    if asked:
        train_detector(annotated, path, DetectionTraining(**asked), told=_said, progress=lambda *_: None)
    detector = TrainedDetector(str(path))
    found = [detector.detect(read_image(one.path, gray=False, long_side=_READ), 0.0) for one in truth]
    matches = [matched_on(*pair, "stamp") for pair in zip(truth, found, strict=True)]
    sure = detector.usual_score
    right = sum(int(page.right[0][page.scores >= sure].sum()) for page in matches)
    told = sum(int((page.scores >= sure).sum()) for page in matches)
    return {
        "learned_pages": len(annotated.images),
        "learned_things": sum(annotated.counts().values()),
        "measured_pages": len(truth),
        **figures_of(matches),
        "precision": right / told if told else None,
        "recall": right / sum(page.true for page in matches),
        "min_score": sure,
        **_course(path),
    }


def _course(path: Path) -> dict[str, Any]:
    """Return how a model was trained, by its own record."""
    known = read_trained(str(path))[1].trained
    return {
        "steps": known["taken"],
        "best_step": known["best_step"],
        "training_minutes": known["cpu_seconds"] / 60,
        "seed": known["seed"],
    }


def _cracks(folder: Path, part: str, seed: int, asked: dict[str, Any] | None) -> dict[str, Any]:
    learned = folder / "learned"
    painted = find_painted(crack_folder(learned, "learned", _PAINTED, seed) if asked else learned)
    truth = find_painted(crack_folder(folder / part, part, _MAPPED, seed))
    path = folder / "cracks.onnx"
    if asked:
        train_damage(painted, ["crack"], path, DamageTraining(**asked), told=_said, progress=lambda *_: None)
    mapper = DamageMapper(str(path))
    found: list[NDArray[np.uint8]] = []
    true: list[NDArray[np.uint8]] = []
    for one in truth:
        pixels = read_image(one.path, gray=False).pixels
        found.append(mapper.map(pixels))
        true.append(read_mask(one.mask, (pixels.shape[1], pixels.shape[0]), ["crack"]))
    each = [damage_figures([a], [b], ["crack"])["crack"]["iou"] for a, b in zip(found, true, strict=True)]
    near = np.ones((3, 3), np.uint8)
    loose = sum(int((a & cv2.dilate(b, near)).sum()) for a, b in zip(found, true, strict=True))
    caught = sum(int((b & cv2.dilate(a, near)).sum()) for a, b in zip(found, true, strict=True))
    return {
        "learned_pictures": len(painted),
        "measured_pictures": len(truth),
        **damage_figures(found, true, ["crack"])["crack"],
        "iou_median_picture": float(np.median([one for one in each if one is not None])),
        "precision_1px": loose / max(1, sum(int(a.sum()) for a in found)),
        "recall_1px": caught / max(1, sum(int(b.sum()) for b in true)),
        **_course(path),
    }


def main() -> None:
    """Measure from the command line."""
    parser = arguments(str(__doc__).partition("\n")[0], dataset=False)
    parser.add_argument("what", choices=("stamps", "cracks"))
    parser.add_argument("--part", choices=("dev", "books", "test"), default="test", help="whose pages are measured on")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=None)
    parser.add_argument("--together", type=float, default=None)
    parser.add_argument("--looks", type=int, default=None)
    parser.add_argument("--long-side", type=int, default=None, help="at which pages are looked at")
    parser.add_argument("--rate", type=float, default=None)
    parser.add_argument("--turns", choices=("slight", "quarters", "any"), default="any")
    parser.add_argument("--model", default=None, help="what is trained: calque or none")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where images and model are left")
    parser.add_argument("--trained", action="store_true", help="measure the model in the folder of --keep")
    parser.add_argument("--training-seed", type=int, default=None, help="of the training alone, not of the material")
    asked = parser.parse_args()
    if asked.part == "books" and asked.what == "cracks":
        parser.error("--part books is for stamps")
    if asked.trained and not asked.keep:
        parser.error("--trained needs --keep")
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    names = ("steps", "together", "looks", "rate", "model", "long_side", "turns")
    settings = {name: getattr(asked, name) for name in names if getattr(asked, name) is not None}
    with tempfile.TemporaryDirectory(prefix="calque-benchmark-") as temporary:
        folder = asked.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        does = _stamps if asked.what == "stamps" else _cracks
        own = asked.seed if asked.training_seed is None else asked.training_seed
        figures = does(folder, asked.part, asked.seed, None if asked.trained else {**settings, "seed": own})
    print(table([{"figure": name, asked.part: value} for name, value in figures.items()]))
    report({"machine": machine(), "what": asked.what, "part": asked.part, "settings": settings, **figures}, asked.json)


if __name__ == "__main__":
    main()
