"""How well embedders tell likeness: the same picture in another edition, the same kind, technique, book; and feedback.

``python -m benchmarks.similarity [--part test] [--models palette structure vlad mobilenet …] [--queries N]``.
Sets and labels: `benchmarks.similarity_sets`. Feedback: a reader, played by the labels, says which of the twenty
answers shown are right, and asks again with all that was said so far (`matcher.feedback`); all labels count alike.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.datasets import PARTS, data_folder
from benchmarks.runner import arguments, machine, report, table
from benchmarks.similarity_sets import INSTANCES, LABELS, instances, labelled, pixels_of
from matcher.embedding import embedded
from matcher.feedback import direction
from matcher.registry import embedder_named

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from benchmarks.similarity_sets import Picture

    Vectors = Mapping[Picture, NDArray[np.float32]]

__all__ = ["main"]

_MODELS = ("palette", "structure", "vlad", "mobilenet")
_SHOWN = 20
_ROUNDS = (0, 1, 3, 5)


def _average_precision(right: NDArray[np.bool_], total: int) -> float:
    hits = np.flatnonzero(right)
    return float((np.arange(1, len(hits) + 1) / (hits + 1)).sum() / total)


def of_instances(vectors: Vectors, name: str, part: str, root: Path) -> dict[str, float]:
    """Return mAP, the share of questions whose first answer is right, and the share of right ones among ten."""
    pictures, truths = instances(name, part, root)
    rows = np.stack([vectors[picture] for picture in pictures])
    figures = []
    for truth in truths:
        counted = np.array([p != truth.asked and p not in truth.ignored for p in pictures])
        order = np.argsort(-(rows @ vectors[truth.asked])[counted], kind="stable")
        known = np.array([picture in truth.right for picture in pictures])[counted][order]
        total = len(truth.right)
        figures.append((_average_precision(known, total), float(known[0]), known[:10].sum() / min(10, total)))
    mean, first, ten = np.mean(figures, axis=0)
    return {"mAP": float(mean), "first": float(first), "found@10": float(ten)}


def of_labels(vectors: Vectors, name: str, part: str, root: Path) -> dict[str, float]:
    """Return mAP and precision@10 of every labelled picture asked for, the labels counting alike."""
    labels = labelled(name, part, root)
    rows = np.stack([vectors[picture] for picture in labels])
    told, files = np.array(list(labels.values())), np.array([picture.file for picture in labels])
    likeness = rows @ rows.T
    by_label: dict[str, list[tuple[float, float]]] = {}
    for number, label in enumerate(told):
        # Another zone of the same page says nothing of a book or a printer.
        counted = files != files[number] if name in ("books", "periods") else np.arange(len(told)) != number
        right = told[counted][np.argsort(-likeness[number][counted], kind="stable")] == label
        if right.any():
            figures = _average_precision(right, int(right.sum())), float(right[:10].mean())
            by_label.setdefault(str(label), []).append(figures)
    mean, ten = np.mean([np.mean(figures, axis=0) for figures in by_label.values()], axis=0)
    return {"mAP": float(mean), "precision@10": float(ten)}


def with_feedback(vectors: Vectors, name: str, part: str, root: Path, queries: int) -> dict[str, float]:
    """Return precision@20 after rounds of feedback, the labels that have enough pictures counting alike."""
    labels = labelled(name, part, root)
    rows, told = np.stack([vectors[picture] for picture in labels]), np.array(list(labels.values()))
    random = np.random.default_rng(0)
    large = [label for label in dict.fromkeys(told) if np.count_nonzero(told == label) > _SHOWN]
    by_label = []
    for label in large:
        asked = random.permutation(np.flatnonzero(told == label))[: max(1, queries // len(large))]
        by_label.append(np.mean([_session(rows, told == label, int(number)) for number in asked], axis=0))
    found = np.mean(by_label, axis=0)
    after = {f"after {done}": float(found[done]) for done in _ROUNDS}
    return {**after, "gain after 3": float(found[3] / found[0])}


def _session(rows: NDArray[np.float32], right: NDArray[np.bool_], asked: int) -> list[float]:
    """Return precision@20 before and after each round of judging what is shown; the query itself is never shown."""
    judged = {asked}
    wanted = rows[asked]
    found = []
    for _ in range(max(_ROUNDS) + 1):
        likeness = rows @ wanted
        likeness[asked] = -np.inf
        shown = np.argsort(-likeness, kind="stable")[:_SHOWN]
        found.append(float(right[shown].mean()))
        judged |= set(shown.tolist())
        numbers = np.array(sorted(judged))
        wanted = direction(rows[numbers[right[numbers]]], rows[numbers[~right[numbers]]], lambda: rows)
    return found


def _embedded(models: Sequence[str], pictures: Sequence[Picture], root: Path) -> dict[str, tuple[Vectors, float]]:
    """Return the vectors of all pictures, and CPU seconds for each, by model."""
    pixels = pixels_of(pictures, root)
    found: dict[str, tuple[Vectors, float]] = {}
    for model in models:
        embedder = embedder_named(model)
        begun = time.process_time()
        rows = embedded(embedder, list(pixels.values()))
        found[model] = dict(zip(pixels, rows, strict=True)), (time.process_time() - begun) / len(pixels)
    return found


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__ or "", dataset=False)
    parser.add_argument("--part", choices=PARTS[:2], default="test")
    parser.add_argument("--models", nargs="+", default=list(_MODELS))
    parser.add_argument("--queries", type=int, default=60, help="of each set of labels, for feedback")
    options = parser.parse_args()
    root, part = data_folder(), options.part
    wanted: dict[Picture, None] = {}
    for name in INSTANCES:
        pictures, truths = instances(name, part, root)
        wanted |= dict.fromkeys([*pictures, *(truth.asked for truth in truths)])
    for name in LABELS:
        wanted |= dict.fromkeys(labelled(name, part, root))
    results: dict[str, list[dict[str, Any]]] = {"instances": [], "labels": [], "feedback": []}
    for model, (vectors, seconds) in _embedded(options.models, list(wanted), root).items():
        cost = {"CPU ms a picture": seconds * 1000}
        for name in INSTANCES:
            row = {"model": model, "set": name, **of_instances(vectors, name, part, root), **cost}
            results["instances"].append(row)
        for name in LABELS:
            results["labels"].append({"model": model, "set": name, **of_labels(vectors, name, part, root)})
            row = {"model": model, "set": name, **with_feedback(vectors, name, part, root, options.queries)}
            results["feedback"].append(row)
    for title, rows in results.items():
        print(f"\n{title}, part {part}\n{table(rows)}")
    report({"machine": machine(), "options": vars(options), **results}, options.json)


if __name__ == "__main__":
    main()
