"""Classes of pictures learned from a few examples: a linear head on the vectors of any embedder.

Logistic regression, multinomial where classes exclude each other, one for each class where an image may have several.
How strongly it is held back is chosen by cross-validation, its scores become probabilities by `matcher.calibration`.
What it achieves is measured on folds that had no part in any of these choices (nested cross-validation; Varma & Simon,
2006).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped] # has no types

from matcher.calibration import METHODS, Calibration, Method, best_calibration, log_loss
from matcher.errors import InputError, SettingsMismatch
from matcher.folds import make_folds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

__all__ = [
    "KINDS",
    "Classifier",
    "Kind",
    "LearningSettings",
    "Validated",
    "cross_validate",
    "decided",
    "fit_head",
    "learn",
    "require_examples",
    "zero_shot",
]

Kind = Literal["binary", "multiclass", "multilabel"]
KINDS: tuple[Kind, ...] = ("binary", "multiclass", "multilabel")

_LEAST = 5
"""Examples of a class below which nothing is learned of it."""

_ABSENT = -30.0
"""Score of a class of which a fold has no example to learn from."""

_LIKELY = 0.5
"""Probability from which on an image has a class that excludes no other."""

_ITERATIONS = 2000


@dataclass(frozen=True, slots=True)
class LearningSettings:
    """How a classifier is learned.

    Attributes
    ----------
    strengths : tuple of float
        Inverse strengths of the L2 penalty among which cross-validation chooses.
    folds : int
        Of each cross-validation; fewer where a class is in fewer groups.
    balanced : bool
        Whether each class counts alike in learning, however many examples it has: on dev it told rare classes better
        everywhere, and the whole hardly worse.
    methods : tuple of str
        Calibrations among which is chosen, see `matcher.calibration.METHODS`.
    seed : int
        Orders what is alike.
    """

    strengths: tuple[float, ...] = (0.01, 0.1, 1.0, 10.0, 100.0)
    folds: int = 5
    balanced: bool = True
    methods: tuple[Method, ...] = METHODS
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.strengths or min(self.strengths) <= 0:
            raise ValueError(f"strengths must be positive, got {self.strengths}")
        if self.folds < 2:
            raise ValueError(f"folds must be at least 2, got {self.folds}")


@dataclass(frozen=True, slots=True)
class Classifier:
    """What tells the classes of images by their vectors.

    Attributes
    ----------
    classes : tuple of str
        Their names.
    kind : {'binary', 'multiclass', 'multilabel'}
        Whether they exclude each other, and are two or more; or may hold together.
    signature : str
        Of the embedder whose vectors it takes.
    weights : float32, shape (k, d)
    bias : float32, shape (k,)
    calibration : Calibration
    """

    classes: tuple[str, ...]
    kind: Kind
    signature: str
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    calibration: Calibration

    def __post_init__(self) -> None:
        count = len(self.classes)
        if self.weights.ndim != 2 or self.weights.shape[0] != count or self.bias.shape != (count,):
            raise ValueError(f"{count} classes, but weights {self.weights.shape} and bias {self.bias.shape}")
        if self.calibration.slopes.shape != (count,) or self.calibration.offsets.shape != (count,):
            raise ValueError(f"{count} classes, but a calibration of {self.calibration.slopes.shape}")

    @property
    def exclusive(self) -> bool:
        """Whether an image has just one of the classes."""
        return self.kind != "multilabel"

    def require(self, signature: str) -> None:
        """Raise `SettingsMismatch` if vectors of an embedder with this signature are not those that it learned on."""
        if signature != self.signature:
            raise SettingsMismatch(
                f"the model was trained on vectors of {self.signature}, but these are of {signature}; "
                "use that embedder with the same weights, or train the model again"
            )

    def scores(self, vectors: NDArray) -> NDArray[np.float64]:
        """Return logits, shape (n, k), of vectors of shape (n, d)."""
        return np.asarray(vectors, np.float64) @ self.weights.T.astype(np.float64) + self.bias

    def probabilities(self, vectors: NDArray) -> NDArray[np.float64]:
        """Return the probability of each class, shape (n, k), of vectors of shape (n, d)."""
        return self.calibration.probabilities(self.scores(vectors), self.exclusive)


class Validated(NamedTuple):
    """What a cross-validation found.

    Attributes
    ----------
    probabilities : float64, shape (n, k)
        Of each example, by what was learned without its fold.
    folds : int, shape (n,)
        The fold of each example.
    """

    probabilities: NDArray[np.float64]
    folds: NDArray[np.intp]


def decided(probabilities: NDArray, exclusive: bool) -> NDArray[np.bool_]:
    """Return which classes images are said to have, bool (n, k): the likeliest, or those that are likely."""
    if exclusive:
        return np.asarray(np.arange(probabilities.shape[1]) == probabilities.argmax(axis=1)[:, None])
    return np.asarray(probabilities >= _LIKELY)


def learn(
    vectors: NDArray,
    truth: NDArray[np.bool_],
    classes: Sequence[str],
    kind: Kind,
    signature: str,
    groups: NDArray[np.integer] | None = None,
    settings: LearningSettings | None = None,
    progress: Callable[[], None] | None = None,
) -> Classifier:
    """Learn a classifier.

    Parameters
    ----------
    vectors : float32, shape (n, d)
        Unit rows, of an embedder.
    truth : bool, shape (n, k)
        Which classes each image has: of a `kind` that is not multilabel, exactly one.
    classes : sequence of str
        Their names.
    kind : str
        One of `KINDS`.
    signature : str
        Of the embedder.
    groups : int, shape (n,), optional
        Images of one group are on one side of every fold; by default each is a group.
    settings : LearningSettings, optional
    progress : callable, optional
        Called after each fold.

    Raises
    ------
    InputError
        If there are fewer than five examples of a class, or of none of it; or all are of one group.
    """
    settings = settings or LearningSettings()
    groups = np.arange(len(truth)) if groups is None else groups
    require_examples(truth, classes, kind)
    folds = make_folds(truth, groups, settings.folds, classes, settings.seed)
    with _one_thread():
        return _learned(vectors, truth, classes, kind, signature, folds, settings, progress)


def _learned(
    vectors: NDArray,
    truth: NDArray[np.bool_],
    classes: Sequence[str],
    kind: Kind,
    signature: str,
    folds: NDArray[np.intp],
    settings: LearningSettings,
    progress: Callable[[], None] | None,
) -> Classifier:
    space = _Space(vectors)
    inside = space.inside(vectors)
    exclusive = kind != "multilabel"
    tried: list[tuple[float, int, NDArray[np.float64]]] = []
    scores = np.empty((len(settings.strengths), *truth.shape))
    for fold in range(folds.max() + 1):
        here = folds == fold
        for place, (weights, bias) in enumerate(_path(inside[~here], truth[~here], kind, settings)):
            scores[place, here] = inside[here] @ weights.T + bias
        if progress is not None:
            progress()
    for place in range(len(settings.strengths)):
        plain = Calibration.none(len(classes)).probabilities(scores[place], exclusive)
        loss = log_loss(plain, truth, exclusive, balanced=settings.balanced)
        tried.append((loss, place, scores[place]))
    _, best, out_of_fold = min(tried, key=lambda one: one[:2])
    calibration, _ = best_calibration(out_of_fold, truth, exclusive, folds, settings.methods)
    *_, (weights, bias) = _path(inside, truth, kind, settings, settings.strengths[: best + 1])
    return Classifier(tuple(classes), kind, signature, *space.outside(weights, bias), calibration)


def fit_head(
    vectors: NDArray,
    truth: NDArray[np.bool_],
    classes: Sequence[str],
    kind: Kind,
    signature: str,
    strength: float,
    settings: LearningSettings | None = None,
) -> Classifier:
    """Return a head of a given strength, of any number of examples, not calibrated; parameters as of `learn`."""
    with _one_thread():
        space = _Space(vectors)
        ((weights, bias),) = _path(space.inside(vectors), truth, kind, settings or LearningSettings(), (strength,))
    plain = Calibration.none(len(classes))
    return Classifier(tuple(classes), kind, signature, *space.outside(weights, bias), plain)


def cross_validate(
    vectors: NDArray,
    truth: NDArray[np.bool_],
    classes: Sequence[str],
    kind: Kind,
    groups: NDArray[np.integer] | None = None,
    settings: LearningSettings | None = None,
    progress: Callable[[], None] | None = None,
) -> Validated:
    """Tell the classes of each image by a classifier learned, with all its choices, without the image's fold.

    Parameters as of `learn`, which is called once for each fold.

    Raises
    ------
    InputError
        As of `learn`; the rest without a fold is held to fewer examples.
    """
    settings = settings or LearningSettings()
    groups = np.arange(len(truth)) if groups is None else groups
    require_examples(truth, classes, kind)
    folds = make_folds(truth, groups, settings.folds, classes, settings.seed)
    probabilities = np.empty(truth.shape)
    for fold in range(folds.max() + 1):
        here = folds == fold
        probabilities[here] = _learned_without(here, vectors, truth, classes, kind, groups, settings, progress)
    return Validated(probabilities, folds)


def zero_shot(
    images_signature: str, texts: Sequence[NDArray], classes: Sequence[str], kind: Kind, scale: float = 100.0
) -> Classifier:
    """Return a classifier that has learned from words alone (CLIP; Radford et al., ICML 2021).

    Parameters
    ----------
    images_signature : str
        Signature of the embedder, which sets texts and images into one space.
    texts : sequence of float32 arrays, each of shape (p, d)
        For each class the vectors of its descriptions, unit rows, whose mean stands for the class.
    classes : sequence of str
    kind : str
        One of `KINDS`.
    scale : float
        What cosines are multiplied by to be logits.
    """
    means = np.stack([np.asarray(rows, np.float64).mean(axis=0) for rows in texts])
    means /= np.linalg.norm(means, axis=1, keepdims=True).clip(1e-12)
    # Where classes may hold together each is likelier than not where it is nearer than the classes are on average.
    bias = np.zeros(len(classes))
    if kind == "multilabel":
        means = means - means.mean(axis=0)
    return Classifier(
        tuple(classes),
        kind,
        images_signature,
        (scale * means).astype(np.float32),
        bias.astype(np.float32),
        Calibration.none(len(classes)),
    )


@cache
def _controller() -> ThreadpoolController:
    # It knows the libraries that are loaded when it is made.
    import scipy.optimize  # noqa: F401
    import sklearn.linear_model  # noqa: F401

    return ThreadpoolController()


def _one_thread() -> AbstractContextManager[Any]:
    """Keep BLAS to one thread: in products as small as these, several wait for each other most of the time."""
    limited: AbstractContextManager[Any] = _controller().limit(limits=1, user_api="blas")
    return limited


def require_examples(truth: NDArray[np.bool_], classes: Sequence[str], kind: Kind) -> None:
    """Raise `InputError` for too few examples of a class, `ValueError` for a truth that is none; as of `learn`."""
    if truth.shape[1:] != (len(classes),):
        raise ValueError(f"truth {truth.shape} does not fit {len(classes)} classes")
    if kind != "multilabel" and len(classes) < 2:
        raise InputError(f"only one class, {classes[0] if classes else '-'!r}; label examples of another, too")
    if kind != "multilabel" and not (truth.sum(axis=1) == 1).all():
        raise ValueError("an image has not exactly one of classes that exclude each other")
    counts = [(int(column.sum()), f"of {name!r}") for name, column in zip(classes, truth.T, strict=True)]
    counts += [(len(truth) - there, f"that are not {what.removeprefix('of ')}") for there, what in counts]
    for there, what in counts:
        if there < _LEAST:
            raise InputError(f"{there} examples {what}; give at least {_LEAST}, or leave the class out")


def _learned_without(
    here: NDArray[np.bool_],
    vectors: NDArray,
    truth: NDArray[np.bool_],
    classes: Sequence[str],
    kind: Kind,
    groups: NDArray[np.integer],
    settings: LearningSettings,
    progress: Callable[[], None] | None,
) -> NDArray[np.float64]:
    """Return the probabilities of the examples `here` by what is learned from the others.

    What the others cannot be cross-validated for, for want of examples or groups of a class, is learned with the
    middle strength and not calibrated.
    """
    rest = ~here
    try:
        learned = learn(vectors[rest], truth[rest], classes, kind, "", groups[rest], settings, progress)
    except InputError:
        middle = settings.strengths[(len(settings.strengths) - 1) // 2]
        learned = fit_head(vectors[rest], truth[rest], classes, kind, "", middle, settings)
        if progress is not None:
            progress()
    return learned.probabilities(vectors[here])


class _Space:
    """The subspace that vectors span around their mean, scaled so that a component's variance is 1 on average.

    A penalised head lies in it, so that learning there is the same and, of a few long vectors, much quicker.
    """

    def __init__(self, vectors: NDArray) -> None:
        plain = np.asarray(vectors, np.float64)
        self.mean = plain.mean(axis=0)
        around = plain - self.mean
        self.scale = float(np.sqrt((around**2).mean())) or 1.0
        self.basis: NDArray[np.float64] | None = None
        if len(plain) < plain.shape[1]:
            _, sizes, rows = np.linalg.svd(around / self.scale, full_matrices=False)
            self.basis = rows[sizes > 1e-9 * max(float(sizes[0]), 1e-12)]

    def inside(self, vectors: NDArray) -> NDArray[np.float64]:
        """Return coordinates, shape (n, r)."""
        around: NDArray[np.float64] = (np.asarray(vectors, np.float64) - self.mean) / self.scale
        return around if self.basis is None else np.asarray(around @ self.basis.T)

    def outside(self, weights: NDArray, bias: NDArray) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return weights (k, d) and bias (k,) for the vectors themselves, from those for coordinates."""
        whole = weights if self.basis is None else weights @ self.basis
        whole = whole / self.scale
        return whole.astype(np.float32), (bias - whole @ self.mean).astype(np.float32)


def _path(
    inside: NDArray[np.float64],
    truth: NDArray[np.bool_],
    kind: Kind,
    settings: LearningSettings,
    strengths: Sequence[float] | None = None,
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return weights (k, r) and bias (k,) of each strength, each begun where the one before ended."""
    strengths = settings.strengths if strengths is None else strengths
    # The penalty of a component counts as much whatever their number.
    scaled = [strength / max(1, inside.shape[1]) for strength in strengths]
    if kind == "multilabel":
        columns = [_logistic(inside, column.astype(np.intp), scaled, settings) for column in truth.T]
        return [
            (np.concatenate([column[place][0] for column in columns]), np.concatenate([c[place][1] for c in columns]))
            for place in range(len(strengths))
        ]
    labels = truth.argmax(axis=1)
    there = np.unique(labels)
    found = []
    if len(there) == 1:
        fitted = [(np.zeros((1, inside.shape[1])), np.zeros(1))] * len(strengths)
    else:
        fitted = _logistic(inside, np.searchsorted(there, labels), scaled, settings)
    for weights, bias in fitted:
        if len(there) == 2:  # one logit, shared out between the two
            weights, bias = np.concatenate([-weights, weights]) / 2, np.concatenate([-bias, bias]) / 2
        whole, level = np.zeros((truth.shape[1], inside.shape[1])), np.full(truth.shape[1], _ABSENT)
        whole[there], level[there] = weights, bias
        found.append((whole, level))
    return found


def _logistic(
    inside: NDArray[np.float64], labels: NDArray[np.intp], strengths: Sequence[float], settings: LearningSettings
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return coefficients and intercept for each strength; of one class alone, what says it always."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    if labels.min() == labels.max():
        level = np.array([-_ABSENT if labels[0] else _ABSENT])
        return [(np.zeros((1, inside.shape[1])), level)] * len(strengths)
    model = LogisticRegression(
        max_iter=_ITERATIONS, warm_start=True, class_weight="balanced" if settings.balanced else None
    )
    found = []
    for strength in strengths:
        model.set_params(C=strength)
        with warnings.catch_warnings():
            # What has not quite settled is judged by cross-validation like the rest.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(inside, labels)
        found.append((model.coef_.copy(), model.intercept_.copy()))
    return found
