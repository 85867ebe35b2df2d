"""``python -m benchmarks.classification``: how well classes are told after so many examples, by embedder.

Examples are drawn from the books of the part `dev`, all of `test` is told: mean recall of the classes, the median of
several draws, and the lowest and highest. With ``--part dev`` the books of `dev` are halved instead, now one half is
told, now the other: by that settings are chosen. Below five examples a class, which `calque classify` refuses, and
where a draw cannot be cross-validated, the head has the strength in the middle. Then what the whole of the part
teaches: figures on `test`, beside those that nested cross-validation promised.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.class_sets import SETS, load_set
from benchmarks.datasets import data_folder
from benchmarks.plots import Panel, plot_curves
from benchmarks.runner import arguments, machine, report, table
from index.subjects import see
from index.workers import Failed
from matcher.class_figures import class_figures
from matcher.classification import LearningSettings, cross_validate, fit_head, learn
from matcher.errors import CalqueError, InputError
from matcher.folds import joined, make_folds, near_duplicates, numbered
from matcher.registry import embedder_named

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from benchmarks.class_sets import ClassSet
    from matcher.classification import Classifier

__all__ = ["main"]

_MODELS = ("palette", "structure", "vlad", "mobilenet")
_EXAMPLES = (1, 2, 3, 5, 10, 20, 50)
_LEAST = 5
_FIGURES = ("accuracy", "balanced_accuracy", "macro_f1", "ece", "brier")


def main(words: Sequence[str] | None = None) -> int:
    """Measure, and print a table."""
    parser = arguments(__doc__.split("\n")[0], dataset=False)
    parser.add_argument("--sets", default=",".join(SETS), help=f"of {', '.join(SETS)} (default: all)")
    parser.add_argument("--models", default=",".join(_MODELS), help=f"embedders (default: {','.join(_MODELS)})")
    parser.add_argument("--part", choices=("dev", "test"), default="test", help="what is told (default: test)")
    parser.add_argument("--draws", type=int, default=10, help="of examples (default: 10)")
    parser.add_argument("--examples", default=",".join(map(str, _EXAMPLES)), help="how many a class")
    parser.add_argument("--strengths", help="inverse strengths of the penalty to choose among (default: calque's)")
    parser.add_argument("--as-frequent", action="store_true", help="count classes by how many examples they have")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw the curves")
    parser.add_argument("--cache", type=Path, metavar="FOLDER", help="keep vectors there, and take them from there")
    options = parser.parse_args(words)
    settings = LearningSettings(balanced=not options.as_frequent)
    if options.strengths:
        strengths = tuple(float(value) for value in options.strengths.split(","))
        settings = LearningSettings(strengths=strengths, balanced=not options.as_frequent)
    host = machine()
    print(" · ".join(f"{name} {value}" for name, value in host.items()))
    results = [
        _measured(load_set(name, data_folder()), model, options, settings)
        for name in options.sets.split(",")
        for model in options.models.split(",")
    ]
    known = [one for one in results if one is not None]
    if options.plot is not None and known:
        _plot(options.plot, known)
    report({"machine": host, "part": options.part, "draws": options.draws, "results": known}, options.json)
    return 0 if known else 1


def _measured(
    pictures: ClassSet, model: str, options: argparse.Namespace, settings: LearningSettings
) -> dict[str, Any] | None:
    try:
        signature, vectors, prints, seconds = _vectors(pictures, model, options.cache)
    except CalqueError as error:
        print(f"\n{pictures.name}, {model}: left out: {error}")
        return None
    truth = pictures.truth()
    books = numbered([one.group for one in pictures.pictures])
    groups = joined(books, near_duplicates(prints))
    parts = np.array([one.part for one in pictures.pictures])
    pool, told = parts == "dev", parts == "test"
    if np.intersect1d(groups[pool], groups[told]).size:
        # Copies across the parts: what is told must not have been seen.
        told &= ~np.isin(groups, groups[pool])
    sides = [(pool, told)]
    if options.part == "dev":
        halves = np.full(len(parts), -1)
        halves[pool] = make_folds(truth[pool], groups[pool], 2, pictures.classes)
        sides = [(halves == 0, halves == 1), (halves == 1, halves == 0)]
    there = dict(zip(pictures.classes, truth[pool].sum(axis=0).tolist(), strict=True))
    print(f"\n{pictures.name}, {signature}: examples at hand {there}, told {int(told.sum())}, {seconds:.1f} CPU s")
    rows_of_table = []
    for many in (int(value) for value in options.examples.split(",")):
        figures = [
            _drawn(vectors, truth, pictures.classes, groups, *sides[seed % len(sides)], many, seed, settings, signature)
            for seed in range(options.draws)
        ]
        recalls = [one["balanced_accuracy"] for one in figures]
        rows_of_table.append(
            {
                "examples a class": many,
                "mean recall": float(np.median(recalls)),
                "least": min(recalls),
                "most": max(recalls),
                "accuracy": float(np.median([one["accuracy"] for one in figures])),
                "ece": float(np.median([one["ece"] for one in figures])),
                "ece uncalibrated": float(np.median([one["plain_ece"] for one in figures])),
            }
        )
    print(table(rows_of_table))
    if options.part == "dev":
        return {"set": pictures.name, "model": model, "signature": signature, "curve": rows_of_table}
    promised = _figures(
        cross_validate(
            vectors[pool], truth[pool], pictures.classes, "multiclass", groups[pool], settings
        ).probabilities,
        truth[pool],
        pictures.classes,
    )
    made = learn(vectors[pool], truth[pool], pictures.classes, "multiclass", signature, groups[pool], settings)
    kept = _figures(made.probabilities(vectors[told]), truth[told], pictures.classes)
    lines = [
        {"all examples": "cross-validation promised", **{name: promised[name] for name in _FIGURES}},
        {"all examples": f"{options.part} ({made.calibration.method})", **{name: kept[name] for name in _FIGURES}},
    ]
    print(table(lines))
    return {
        "set": pictures.name,
        "model": model,
        "signature": signature,
        "cpu_seconds": seconds,
        "pictures": len(parts),
        "told": int(told.sum()),
        "at_hand": there,
        "curve": rows_of_table,
        "promised": promised,
        "kept": kept,
        "calibration": made.calibration.method,
    }


def _vectors(
    pictures: ClassSet, model: str, cache: Path | None
) -> tuple[str, NDArray[np.float32], NDArray[np.float32], float]:
    """Return signature, vectors, small prints and the seconds of CPU that they took."""
    embedder = embedder_named(model)
    kept = None if cache is None else cache / f"{pictures.name}-{model.replace(':', '-').replace('/', '-')}.npz"
    if kept is not None and kept.is_file():
        with np.load(kept) as found:
            if str(found["signature"]) == embedder.signature:
                return embedder.signature, found["vectors"], found["prints"], float(found["seconds"])
    start = time.process_time()
    rows = []
    for subject, seen in see(pictures.subjects(), embedder, workers=0):
        if isinstance(seen, Failed):
            raise InputError(f"{subject.path}: {seen.reason}")
        rows.append(seen)
    seconds = time.process_time() - start
    vectors, prints = np.concatenate([one.vectors for one in rows]), np.concatenate([one.prints for one in rows])
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.savez(kept, signature=embedder.signature, vectors=vectors, prints=prints, seconds=seconds)
    return embedder.signature, vectors, prints, seconds


def _drawn(
    vectors: NDArray[np.float32],
    truth: NDArray[np.bool_],
    classes: Sequence[str],
    groups: NDArray[np.intp],
    pool: NDArray[np.bool_],
    told: NDArray[np.bool_],
    many: int,
    seed: int,
    settings: LearningSettings,
    signature: str,
) -> dict[str, Any]:
    """Return the figures of what is learned from so many examples of each class, or all if there are fewer."""
    random = np.random.default_rng(seed)
    chosen = np.concatenate(
        [random.permutation(np.flatnonzero(pool & truth[:, place]))[:many] for place in range(len(classes))]
    )
    middle = settings.strengths[(len(settings.strengths) - 1) // 2]
    made: Classifier
    try:
        if many < _LEAST:
            raise InputError("fewer than calque takes")
        made = learn(vectors[chosen], truth[chosen], classes, "multiclass", signature, groups[chosen], settings)
    except InputError:  # or all examples of a class are of one book
        made = fit_head(vectors[chosen], truth[chosen], classes, "multiclass", signature, middle, settings)
    figures = _figures(made.probabilities(vectors[told]), truth[told], classes)
    plain = made.scores(vectors[told])
    plain = np.exp(plain - plain.max(axis=1, keepdims=True))
    plain /= plain.sum(axis=1, keepdims=True)
    return {**figures, "plain_ece": class_figures(plain, truth[told], classes, True)["ece"]}


def _figures(probabilities: NDArray, truth: NDArray[np.bool_], classes: Sequence[str]) -> dict[str, Any]:
    return class_figures(probabilities, truth, classes, True)


def _plot(path: Path, results: Sequence[dict[str, Any]]) -> None:
    panels = []
    for name in dict.fromkeys(one["set"] for one in results):
        curves = {
            one["model"]: (
                [row["examples a class"] for row in one["curve"]],
                [row["mean recall"] for row in one["curve"]],
            )
            for one in results
            if one["set"] == name
        }
        panels.append(Panel("examples a class", curves, name, "mean recall of classes"))
    plot_curves(path, panels)


if __name__ == "__main__":
    sys.exit(main())
