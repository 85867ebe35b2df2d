"""Folds of a cross-validation: a document, or copies of one picture, stay on one side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from matcher.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from numpy.typing import NDArray

__all__ = ["SIDE", "joined", "make_folds", "near_duplicates", "numbered", "small_print", "splittable"]

SIDE = 32
"""Rows and columns of what pictures are compared by."""

_AROUND = 2.0
"""Standard deviation, in cells of the small print, of the surroundings of a place."""

_FAINT = 3.0
"""Grey levels of contrast that are not worth evening out."""

_ALIKE = 0.7
"""Correlation of two small prints from which on they are of one picture: half of the pictures printed in two editions
reach it, none of 15,000 pairs of different pictures, and 6 of 31,000 pairs of pages of one magazine."""

_FLAT = 1.0
"""Grey levels of spread below which a picture has nothing to be compared by."""

_BLOCK = 2048


def small_print(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return what an image is compared with others by: its tones at 32 × 32, evened out, of length 1.

    From each tone the mean of its surroundings is taken, and their contrast is evened out: all pages of text are dark
    in the middle and light around, and the edge of a book's binding is stronger than all that is printed.

    Parameters
    ----------
    pixels : uint8, shape (h, w) or (h, w, 3)
        Grey or RGB.

    Returns
    -------
    float32, shape (1024,)
        All zero of an image that is one tone.
    """
    gray = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) if pixels.ndim == 3 else pixels
    small = cv2.resize(gray, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    small -= cv2.GaussianBlur(small, (0, 0), _AROUND)
    if float(small.std()) < _FLAT:
        return np.zeros(small.size, np.float32)
    small /= np.sqrt(cv2.GaussianBlur(small**2, (0, 0), _AROUND)) + _FAINT
    small -= small.mean()
    return np.asarray(small.ravel() / np.linalg.norm(small), np.float32)


def near_duplicates(prints: NDArray[np.float32], alike: float = _ALIKE) -> NDArray[np.intp]:
    """Return the number of the group of each image: those joined by near-duplicates have the same.

    Parameters
    ----------
    prints : float32, shape (n, 1024)
        From `small_print`.
    alike : float
        Least correlation of two prints of one picture.

    Returns
    -------
    int, shape (n,)
        From 0.
    """
    pairs: list[NDArray[np.intp]] = []
    for start in range(0, len(prints), _BLOCK):
        found = np.argwhere(prints[start : start + _BLOCK] @ prints.T >= alike)
        found[:, 0] += start
        pairs.append(found[found[:, 0] < found[:, 1]])
    return _components(np.concatenate(pairs) if pairs else np.empty((0, 2), np.intp), len(prints))


def numbered(names: Sequence[Hashable]) -> NDArray[np.intp]:
    """Return a number for each name, equal for equal ones, from 0 in the order in which they first appear."""
    known: dict[Hashable, int] = {}
    return np.array([known.setdefault(name, len(known)) for name in names], np.intp)


def joined(*groupings: NDArray[np.integer]) -> NDArray[np.intp]:
    """Return the finest groups in which whatever shares a group in any of `groupings`, each of shape (n,), is one."""
    count = len(groupings[0])
    pairs = []
    for grouping in groupings:
        _, first, place = np.unique(grouping, return_index=True, return_inverse=True)
        pairs.append(np.stack([np.arange(count), first[place.ravel()]], axis=1))
    return _components(np.concatenate(pairs), count)


def splittable(truth: NDArray[np.bool_], groups: NDArray[np.integer]) -> int:
    """Return how many folds groups can be spread over: of each class, in how many groups it is, or is not, at least."""
    return min(len(np.unique(groups[rows])) for column in truth.T for rows in (column, ~column) if rows.any())


def make_folds(
    truth: NDArray[np.bool_], groups: NDArray[np.integer], folds: int, classes: Sequence[str], seed: int = 0
) -> NDArray[np.intp]:
    """Spread groups of examples over folds so that each fold has about its share of each class.

    Groups go one by one, those with most examples of a class first, to the fold where they even classes out best, as in
    scikit-learn's ``StratifiedGroupKFold``, but for any number of classes an example.

    Parameters
    ----------
    truth : bool, shape (n, k)
        Which classes each example has.
    groups : int, shape (n,)
        Examples of one group come into one fold.
    folds : int
        How many; fewer if a class is in fewer groups.
    classes : sequence of str
        Names for the message.
    seed : int
        Orders groups that are alike.

    Returns
    -------
    int, shape (n,)
        The fold of each example, from 0.

    Raises
    ------
    InputError
        If a class has examples in one group only.
    """
    for name, column in zip(classes, truth.T, strict=True):
        if len(np.unique(groups[column])) < 2:
            raise InputError(
                f"all {int(column.sum())} examples of {name!r} are of one group (document, folder or copies of one "
                "picture), so nothing can be tested; add examples from elsewhere, or name other groups with --group"
            )
    folds = max(2, min(folds, splittable(truth, groups)))
    _, number = np.unique(groups, return_inverse=True)
    number = number.ravel()
    # Beside the classes, the number of examples itself is evened out.
    told = np.column_stack([truth, np.ones(len(truth), np.bool_)]).astype(np.float64)
    counts = np.zeros((number.max() + 1, told.shape[1]))
    np.add.at(counts, number, told)
    counts /= counts.sum(axis=0).clip(1)
    order = np.random.default_rng(seed).permutation(len(counts))
    order = order[np.argsort(-counts[order].max(axis=1), kind="stable")]
    shares = np.zeros((folds, told.shape[1]))
    placed = np.empty(len(counts), np.intp)
    for group in order:
        spread = []
        for fold in range(folds):
            shares[fold] += counts[group]
            spread.append((float(shares.std(axis=0).mean()), float(shares[fold].sum())))
            shares[fold] -= counts[group]
        placed[group] = min(range(folds), key=spread.__getitem__)
        shares[placed[group]] += counts[group]
    return placed[number]


def _components(pairs: NDArray[np.integer], count: int) -> NDArray[np.intp]:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], np.intp)
