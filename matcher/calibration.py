"""Probabilities that mean what they say: scores of a classifier mapped to shares of how often it is right.

Temperature scaling and its extension to a slope and an offset for each class are those of Guo et al., *On Calibration
of Modern Neural Networks*, ICML 2017; with two classes, or classes that do not exclude each other, the latter is
Platt's scaling (1999). Isotonic regression of each class: Zadrozny & Elkan, KDD 2002. Which one serves depends on how
many examples there are, so it is chosen by the log loss on examples that it was not fitted to.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = [
    "METHODS",
    "Calibration",
    "Method",
    "ReliabilityBin",
    "best_calibration",
    "brier_score",
    "calibration_error",
    "fit_calibration",
    "log_loss",
    "reliability",
]

Method = Literal["none", "temperature", "platt", "isotonic"]
METHODS: tuple[Method, ...] = ("none", "temperature", "platt", "isotonic")

_LEAST = {"none": 0, "temperature": 20, "platt": 50, "isotonic": 1000}
"""Examples below which a method is not tried: it would learn them by heart."""

_LEAST_OF_A_CLASS = 10
"""Examples with and without a class below which nothing is learned of that class alone."""

_SMALLEST = 1e-6
_BINS = 10
_MOST_SLOPE = 100.0


@dataclass(frozen=True, slots=True)
class Calibration:
    """A map from scores to probabilities.

    Attributes
    ----------
    method : {'none', 'temperature', 'platt', 'isotonic'}
    slopes, offsets : float64, shape (k,)
        What scores are multiplied by, and what is added then; all slopes are one number of a temperature.
    knots : tuple of float64 arrays of shape (m, 2)
        Of isotonic regression for each class: probability before, probability after, between which is interpolated.
    """

    method: Method
    slopes: NDArray[np.float64]
    offsets: NDArray[np.float64]
    knots: tuple[NDArray[np.float64], ...] = field(default=())

    @classmethod
    def none(cls, classes: int) -> Calibration:
        """Return the map that takes scores for what they are, logits of a softmax or of a logistic function each."""
        return cls("none", np.ones(classes), np.zeros(classes))

    def probabilities(self, scores: NDArray, exclusive: bool) -> NDArray[np.float64]:
        """Return probabilities, shape (n, k), from scores of that shape.

        Parameters
        ----------
        scores : float, shape (n, k)
            Logits.
        exclusive : bool
            Whether just one of the classes is right, so that a row sums to one.
        """
        plain = _squashed(np.asarray(scores, np.float64) * self.slopes + self.offsets, exclusive)
        if not self.knots:
            return plain
        mapped = np.stack(
            [np.interp(column, knot[:, 0], knot[:, 1]) for column, knot in zip(plain.T, self.knots, strict=True)],
            axis=1,
        )
        return mapped / mapped.sum(axis=1, keepdims=True) if exclusive else mapped


def fit_calibration(method: Method, scores: NDArray, truth: NDArray[np.bool_], exclusive: bool) -> Calibration:
    """Return a calibration fitted to scores and what is true.

    Parameters
    ----------
    method : str
        One of `METHODS`.
    scores : float, shape (n, k)
        Logits of examples that the classifier did not learn from.
    truth : bool, shape (n, k)
    exclusive : bool
        As of `Calibration.probabilities`.
    """
    from scipy.optimize import minimize

    scores = np.asarray(scores, np.float64)
    classes = scores.shape[1]
    if method == "temperature":

        def cooled(logarithm: NDArray) -> float:
            return log_loss(_squashed(scores * np.exp(logarithm[0]), exclusive), truth, exclusive)

        found = minimize(cooled, np.zeros(1), method="L-BFGS-B", bounds=[(-np.log(_MOST_SLOPE), np.log(_MOST_SLOPE))])
        return Calibration("temperature", np.full(classes, float(np.exp(found.x[0]))), np.zeros(classes))
    if method == "platt":
        targets = truth.astype(np.float64)
        if not exclusive:
            # Platt's targets keep a class that is told apart without an error from an infinite slope.
            positive = truth.sum(axis=0)
            targets = np.where(truth, (positive + 1) / (positive + 2), 1 / (len(truth) - positive + 2))

        def scaled(values: NDArray) -> tuple[float, NDArray]:
            slopes, offsets = values[:classes], values[classes:]
            probabilities = _squashed(scores * slopes + offsets, exclusive)
            error = (probabilities - targets) / (len(scores) if exclusive else scores.size)
            return _cross_entropy(probabilities, targets, exclusive), np.concatenate(
                [(error * scores).sum(axis=0), error.sum(axis=0)]
            )

        start = np.concatenate([np.ones(classes), np.zeros(classes)])
        bounds = [(0.0, _MOST_SLOPE)] * classes + [(None, None)] * classes
        found = minimize(scaled, start, jac=True, method="L-BFGS-B", bounds=bounds)
        return Calibration("platt", found.x[:classes], found.x[classes:])
    if method == "isotonic":
        plain = _squashed(scores, exclusive)
        knots = tuple(_isotonic(plain[:, c], truth[:, c]) for c in range(classes))
        return Calibration("isotonic", np.ones(classes), np.zeros(classes), knots)
    return Calibration.none(classes)


def best_calibration(
    scores: NDArray,
    truth: NDArray[np.bool_],
    exclusive: bool,
    folds: NDArray[np.integer],
    methods: Sequence[Method] = METHODS,
) -> tuple[Calibration, NDArray[np.float64]]:
    """Choose among methods by the log loss on examples that each was not fitted to.

    Another than none is chosen only if what it gains is more than the standard error of that: what a few examples say
    of confidence seldom holds for other books. A method that is the only one is taken at its word.

    Parameters
    ----------
    scores : float, shape (n, k)
        Logits of examples that the classifier did not learn from.
    truth : bool, shape (n, k)
    exclusive : bool
        As of `Calibration.probabilities`.
    folds : int, shape (n,)
        The fold of each example.
    methods : sequence of str
        Those to choose among; those for which there are too few examples are left out.

    Returns
    -------
    (Calibration, float64 of shape (n, k))
        The best, fitted to all examples; and the probabilities of each example by one fitted without its fold.
    """
    scarce = int(min(truth.sum(axis=0).min(), (~truth).sum(axis=0).min()))
    best: Method = "none"
    plain = probabilities = Calibration.none(scores.shape[1]).probabilities(scores, exclusive)
    gained = 0.0
    for method in methods:
        scarce_class = method in ("platt", "isotonic") and scarce < _LEAST_OF_A_CLASS
        if method == "none" or len(scores) < _LEAST[method] or scarce_class:
            continue
        fitted = np.empty(scores.shape)
        for fold in np.unique(folds):
            here = folds == fold
            calibration = fit_calibration(method, scores[~here], truth[~here], exclusive)
            fitted[here] = calibration.probabilities(scores[here], exclusive)
        gains = _losses(plain, truth, exclusive) - _losses(fitted, truth, exclusive)
        if len(methods) == 1 or gains.mean() > max(gained, float(gains.std() / len(gains) ** 0.5)):
            best, probabilities, gained = method, fitted, float(gains.mean())
    return fit_calibration(best, scores, truth, exclusive), probabilities


def log_loss(probabilities: NDArray, truth: NDArray[np.bool_], exclusive: bool, *, balanced: bool = False) -> float:
    """Return the mean negative logarithm of the probability of what is true, over examples, in nats.

    Of classes that do not exclude each other, also over classes. `balanced`: each class counts alike, and of classes
    that do not exclude each other having it as much as not.
    """
    if not balanced:
        return _cross_entropy(probabilities, truth.astype(np.float64), exclusive)
    kept = np.clip(probabilities, _SMALLEST, 1 - _SMALLEST)
    sides = [(-np.log(kept), truth)] if exclusive else [(-np.log(kept), truth), (-np.log(1 - kept), ~truth)]
    means = [losses[rows, place].mean() for losses, has in sides for place, rows in enumerate(has.T) if rows.any()]
    return float(np.mean(means))


def brier_score(probabilities: NDArray, truth: NDArray[np.bool_], exclusive: bool) -> float:
    """Return the mean squared difference between probabilities and what is true (Brier, 1950).

    Summed over classes that exclude each other, 0 to 2; else averaged over classes, 0 to 1.
    """
    squares = (probabilities - truth) ** 2
    return float(squares.sum(axis=1).mean() if exclusive else squares.mean())


class ReliabilityBin(NamedTuple):
    """Answers of like confidence: how sure they are on average, which share of them is right, how many there are."""

    confidence: float
    right: float
    answers: int


def reliability(
    probabilities: NDArray, truth: NDArray[np.bool_], exclusive: bool, bins: int = _BINS
) -> list[ReliabilityBin]:
    """Return how often answers are right, by how sure they are; bins without answers are left out.

    Parameters
    ----------
    probabilities : float, shape (n, k)
    truth : bool, shape (n, k)
    exclusive : bool
        Whether the answer is the class with the highest probability; else each class is an answer of its own.
    bins : int
        Of equal width, from 0 to 1.
    """
    if exclusive:
        answers = probabilities.argmax(axis=1)
        sure = probabilities.max(axis=1)
        right = truth[np.arange(len(truth)), answers]
    else:
        sure, right = probabilities.ravel(), truth.ravel()
    places = np.minimum((sure * bins).astype(int), bins - 1)
    found = []
    for place in range(bins):
        here = places == place
        if here.any():
            found.append(ReliabilityBin(float(sure[here].mean()), float(right[here].mean()), int(here.sum())))
    return found


def calibration_error(probabilities: NDArray, truth: NDArray[np.bool_], exclusive: bool, bins: int = _BINS) -> float:
    """Return the expected calibration error: how far, on average over answers, confidence is from the share right.

    Naeini, Cooper & Hauskrecht, AAAI 2015, with bins of equal width, see `reliability`.
    """
    rows = reliability(probabilities, truth, exclusive, bins)
    total = sum(row.answers for row in rows)
    return sum(row.answers * abs(row.confidence - row.right) for row in rows) / total if total else 0.0


def _squashed(scores: NDArray[np.float64], exclusive: bool) -> NDArray[np.float64]:
    if exclusive:
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))
    return np.asarray(1 / (1 + np.exp(-np.clip(scores, -500, 500))))


def _cross_entropy(probabilities: NDArray, targets: NDArray[np.float64], exclusive: bool) -> float:
    return float(_losses(probabilities, targets, exclusive).mean())


def _losses(probabilities: NDArray, targets: NDArray, exclusive: bool) -> NDArray[np.float64]:
    """Return the cross entropy of each example, of classes that do not exclude each other averaged over them."""
    kept = np.clip(probabilities, _SMALLEST, 1 - _SMALLEST)
    if exclusive:
        return np.asarray(-(targets * np.log(kept)).sum(axis=1))
    told = targets.astype(np.float64)
    return np.asarray(-(told * np.log(kept) + (1 - told) * np.log(1 - kept)).mean(axis=1))


def _isotonic(sure: NDArray[np.float64], right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the knots of the rising steps that fit best, never quite 0 nor 1: nobody has seen infinitely many."""
    from sklearn.isotonic import IsotonicRegression

    least = 1 / (len(sure) + 2)
    fitted = IsotonicRegression(y_min=least, y_max=1 - least, out_of_bounds="clip").fit(sure, right)
    return np.stack([fitted.X_thresholds_, fitted.y_thresholds_], axis=1).astype(np.float64)
