"""Which features of an image are worth keeping when there is room for only so many.

A page of type carries several times more keypoints than the pictures on it, all alike. A small network tells, for each
feature, whether it lies on a picture or on type: from its descriptor, size and strength, and from what the features
around it are like on average, within one line of type up to several. On pages of books it has not seen, a tenth of
the features on type look as much like picture as nine tenths of those on woodcut initials (area under the ROC curve
0.96; illustrations 0.99).

Where much looks like type, the layout of the page, if there is one, is a second witness: the odds that a feature is on
a picture become so many times higher or lower as a layout is seldom wrong. Neither can lose a picture alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "LEAST_LIKENESS",
    "PictureFinder",
    "PictureNetwork",
    "choose",
    "picture_likeness",
    "select",
    "surroundings",
    "swayed",
    "weighted",
]

PictureFinder = Callable[[], NDArray[np.integer] | None]
"""Returns where a layout sees pictures, as their numbers from 1, else 0, on a grid over the whole image, or None if it
is no page."""

LEAST_LIKENESS = 0.1
"""Features less like a picture than this are not kept, but for the strongest few."""

_FEW = 300
"""Features that are kept of an image whatever they look like, if it has so many and no layout is known."""

_TYPE = 300
"""Features that look like type from which on an image may be a page, and its layout is worth looking for. Of a
hundred pages 99 have 800 and more, of twenty pictures 19 have fewer than 300 (docs/ablations.md)."""

_QUOTA = 800
"""Features of each picture of a page that are kept before any picture gets more: of small cuts beside large ones."""

_MISSED = 1 / 20
"""Share of pictures that a layout is taken to miss, and of its pictures that are none."""

_DIRECTIONS = 16
_HIDDEN = 32
_CELL = 16  # pixels
_REACHES = (16, 32, 64, 128)  # pixels: from less than a line of type to a paragraph
_SPREAD = 4.0  # brings projected descriptors to about unit variance
_NONE = 0.05  # features per cell, as good as none


class PictureNetwork(NamedTuple):
    """Weights of the network, a perceptron with one hidden layer.

    Attributes
    ----------
    mean : float32, shape (d,)
        Of descriptors.
    directions : float32, shape (16, d)
        Principal components of descriptors.
    hidden, hidden_bias : float32, shapes (c, 32), (32,)
        First layer, on the c columns of `surroundings`.
    output : float32, shape (33,)
        Second layer, the bias last.
    """

    mean: NDArray[np.float32]
    directions: NDArray[np.float32]
    hidden: NDArray[np.float32]
    hidden_bias: NDArray[np.float32]
    output: NDArray[np.float32]

    @classmethod
    def blank(cls, d: int) -> PictureNetwork:
        """Return a network of zeros for descriptors of `d` components."""
        own = _DIRECTIONS + 2
        columns = own + len(_REACHES) * (own + 1)
        shapes = [(d,), (_DIRECTIONS, d), (columns, _HIDDEN), (_HIDDEN,), (_HIDDEN + 1,)]
        return cls(*(np.zeros(shape, np.float32) for shape in shapes))

    @classmethod
    def unpacked(cls, weights: NDArray[np.float32], d: int) -> PictureNetwork:
        """Return the network that `packed` made `weights` of, for descriptors of `d` components."""
        blank = cls.blank(d)
        ends = np.cumsum([part.size for part in blank])
        if weights.shape != (ends[-1],):
            raise ValueError(f"weights of shape {weights.shape} are no network for {d} components, {(ends[-1],)} is")
        parts = np.split(weights, ends[:-1])
        return cls(*(part.reshape(like.shape) for part, like in zip(parts, blank, strict=True)))

    def packed(self) -> NDArray[np.float32]:
        """Return all weights, one after the other."""
        return np.concatenate([part.ravel() for part in self]).astype(np.float32)


def surroundings(
    points: NDArray[np.float32],
    descriptors: NDArray[np.float32],
    sizes: NDArray,
    responses: NDArray,
    mean: NDArray[np.float32],
    directions: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Return what the network sees of each feature.

    Parameters
    ----------
    points : float32, shape (n, 2)
        In pixels of the extracted image.
    descriptors : float32, shape (n, d)
        Unit-length descriptors.
    sizes, responses : shape (n,)
        Keypoint diameters in pixels of the extracted image, detector strengths.
    mean, directions : float32, shapes (d,), (16, d)
        See `PictureNetwork`.

    Returns
    -------
    float32, shape (n, c)
        The feature's own projections, size and strength; then, for each reach, their means over the neighbourhood and
        how many features it holds.
    """
    strength = np.log(100 * responses + 0.1)
    projected = (descriptors @ directions.T - directions @ mean) * _SPREAD
    own = np.column_stack([projected, np.log2(np.maximum(sizes, 0.1)), strength])
    column, row = (np.maximum(points, 0) // _CELL).astype(np.intp).T
    height, width = int(row.max()) + 1, int(column.max()) + 1
    cells = row * width + column
    sums = np.stack([np.bincount(cells, values, height * width) for values in (np.ones(len(own)), *own.T)], axis=1)
    maps = sums.astype(np.float32).reshape(height, width, -1)
    parts = [own]
    for reach in _REACHES:
        blurred = cv2.GaussianBlur(maps, (0, 0), reach / _CELL, borderType=cv2.BORDER_CONSTANT)
        near = blurred.reshape(height * width, -1)[cells]
        many = near[:, :1] + _NONE
        parts += [near[:, 1:] / many, np.log(many)]
    return np.concatenate(parts, axis=1).astype(np.float32)


def picture_likeness(
    points: NDArray[np.float32], descriptors: NDArray[np.float32], sizes: NDArray, responses: NDArray, weights: NDArray
) -> NDArray[np.float32]:
    """Return how much each feature looks like part of a picture rather than of type, 0 to 1.

    Parameters
    ----------
    points, descriptors, sizes, responses
        See `surroundings`.
    weights : float32, shape (w,)
        A `PictureNetwork`, packed.

    Returns
    -------
    float32, shape (n,)
    """
    if len(points) == 0:
        return np.zeros(0, dtype=np.float32)
    network = PictureNetwork.unpacked(weights, descriptors.shape[1])
    seen = surroundings(points, descriptors, sizes, responses, network.mean, network.directions)
    hidden = np.maximum(seen @ network.hidden + network.hidden_bias, 0)
    return np.asarray(1 / (1 + np.exp(-(hidden @ network.output[:-1] + network.output[-1]))), dtype=np.float32)


def weighted(responses: NDArray, likeness: NDArray) -> NDArray:
    """Return detector strengths that count type for less."""
    return np.asarray(responses * likeness)


def swayed(likeness: NDArray, on_picture: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return likenesses as they are after a layout has told which features lie on pictures, by Bayes' rule."""
    told = np.where(on_picture, (1 - _MISSED) / _MISSED, _MISSED / (1 - _MISSED))
    return np.asarray(told * likeness / (told * likeness + 1 - likeness), dtype=np.float32)


def select(
    points: NDArray[np.float32],
    descriptors: NDArray[np.float32],
    sizes: NDArray,
    responses: NDArray,
    shape: tuple[int, ...],
    *,
    network: NDArray | None,
    budget: int | None,
    pictures: PictureFinder | None,
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Return which features of an image to keep, ascending, and how much each of all looks like part of a picture.

    Parameters
    ----------
    points, descriptors, sizes, responses
        See `surroundings`.
    shape : (int, int)
        Rows and columns of the extracted image.
    network : float32, shape (w,), or None
        A `PictureNetwork`, packed; None takes type for as good as pictures.
    budget : int or None
        How many at most; None keeps all, of type too.
    pictures : callable or None
        Where a layout sees pictures. It is called only if the image may be a page, for layouts are dear.
    """
    likeness = np.ones(len(points), dtype=np.float32)
    if network is not None:
        likeness = picture_likeness(points, descriptors, sizes, responses, network)
    places = None
    if pictures is not None and (network is None or np.count_nonzero(likeness < 0.5) >= _TYPE):
        grid = pictures()
        if grid is not None:
            cells = ((points + 0.5) * (grid.shape[1] / shape[1], grid.shape[0] / shape[0])).astype(np.intp)
            column, row = np.clip(cells, 0, (grid.shape[1] - 1, grid.shape[0] - 1)).T
            places = grid[row, column]
            likeness = swayed(np.full_like(likeness, 0.5) if network is None else likeness, places > 0)
    return choose(sizes, responses, likeness, budget, places), likeness


def choose(
    sizes: NDArray, responses: NDArray, likeness: NDArray, budget: int | None, places: NDArray[np.integer] | None = None
) -> NDArray[np.intp]:
    """Return which features to keep, ascending.

    Parameters
    ----------
    sizes, responses, likeness : shape (n,)
        Keypoint diameters, detector strengths, and `picture_likeness` or ones.
    budget : int or None
        How many at most; None keeps all, of type too.
    places : int, shape (n,), optional
        Number of the picture that each lies on, 0 for none, where a layout is known.
    """
    if budget is None:
        return np.arange(len(sizes))
    best = np.argsort(-(sizes * weighted(responses, likeness)), kind="stable")
    pictures = likeness[best] >= LEAST_LIKENESS
    kept, others = best[pictures], best[~pictures]
    if places is None:
        return np.sort(np.concatenate([kept[:budget], others[: max(0, min(_FEW, budget) - len(kept))]]))
    first = (places[kept] > 0) & (_ranks(places[kept]) < _QUOTA)
    return np.sort(np.concatenate([kept[first], kept[~first]])[:budget])


def _ranks(places: NDArray[np.integer]) -> NDArray[np.intp]:
    """Return how many of the same number stand before each."""
    order = np.argsort(places, kind="stable")
    _, firsts, counts = np.unique(places[order], return_index=True, return_counts=True)
    ranks = np.empty(len(places), dtype=np.intp)
    ranks[order] = np.arange(len(places)) - np.repeat(firsts, counts)
    return ranks
