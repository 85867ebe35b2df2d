"""The last layers of an embedder's network trained on labelled pictures, before a head is learned on its vectors.

Few layers, a small rate, few rounds: some dozens of examples a class are not enough for more, and it can be done on a
processor. What is trained is kept with the classifier as arrays; the checkpoint that it began from stays as it is.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import cv2
import numpy as np
import torch
from torch.nn import functional

from matcher.calibration import best_calibration
from matcher.classification import Classifier, LearningSettings, Validated, fit_head, require_examples
from matcher.embedding import Embedder, embedded
from matcher.errors import InputError, SettingsMismatch
from matcher.folds import make_folds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from matcher.classification import Kind

__all__ = [
    "Trainable",
    "Tuned",
    "TunedClassifier",
    "TuningSettings",
    "learn_tuned",
    "trainable_names",
    "tune",
    "tuned_signature",
]

_STRENGTH = 1.0
"""Inverse strength of the penalty of the head, see `matcher.classification.LearningSettings`."""

_SHARPNESS = 16.0
"""What cosines of unit vectors are multiplied by while the network is trained, to be logits."""

_CUT, _TONE = 0.12, 0.15
"""How much, at most, pictures are cut at their edges and darkened or lightened while the network is trained."""


@runtime_checkable
class Trainable(Embedder, Protocol):
    """An embedder whose network can be trained further."""

    @property
    def network(self) -> torch.nn.Module:
        """The network, on the device it runs on."""

    def differentiable(self, pictures: Sequence[NDArray[np.uint8]]) -> torch.Tensor:
        """Return what `embed` returns, as a tensor through which gradients flow to the network's parameters."""


@dataclass(frozen=True, slots=True)
class TuningSettings:
    """How a network is trained further.

    Attributes
    ----------
    layers : int
        How many of its last layers.
    rounds : int
        How often each picture is seen.
    rate : float
        Of AdamW, at its highest; it falls to zero by a cosine.
    batch : int
        Pictures seen together.
    seed : int
    """

    layers: int = 1
    rounds: int = 12
    rate: float = 1e-4
    batch: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.layers, self.rounds, self.batch) < 1 or self.rate <= 0:
            raise ValueError(f"layers, rounds, batch and rate must be positive, got {self}")


class TunedClassifier(NamedTuple):
    """What `learn_tuned` returns: the classifier, its cross-validation, the parameters of the network by name, and the
    vectors of the examples by the network so trained."""

    classifier: Classifier
    validated: Validated
    parameters: dict[str, NDArray]
    vectors: NDArray[np.float32]


class Tuned:
    """An embedder with trained parameters in the place of its own; the embedder is not to be used beside it.

    Raises
    ------
    SettingsMismatch
        If its network has no parameters of these names and shapes.
    """

    def __init__(self, embedder: Trainable, parameters: Mapping[str, NDArray]) -> None:
        own = dict(embedder.network.named_parameters())
        for name, values in parameters.items():
            if name not in own or tuple(own[name].shape) != values.shape:
                raise SettingsMismatch(
                    f"{embedder.signature} has no parameters {name} of shape {values.shape}, which the model has "
                    "trained; use the checkpoint that it was trained from"
                )
        _put(embedder.network, parameters)
        self._embedder = embedder
        self.signature = tuned_signature(embedder.signature, parameters)
        self.size, self.at_once, self.long_side = embedder.size, embedder.at_once, embedder.long_side

    def embed(self, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Return a vector for each picture, as of `matcher.embedding.Embedder`."""
        return self._embedder.embed(pictures)


def tuned_signature(signature: str, parameters: Mapping[str, NDArray]) -> str:
    """Return the signature of an embedder with trained parameters."""
    digest = hashlib.sha256()
    for name in sorted(parameters):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(parameters[name]).tobytes())
    return f"{signature}+tuned({digest.hexdigest()[:16]})"


def trainable_names(embedder: Trainable, layers: int) -> list[str]:
    """Return the names of the parameters of the last layers of an embedder's network, and of all that comes after them.

    Layers are the members of the longest list of modules through which pictures go: the blocks of a transformer, the
    stages of a convolutional network. What pictures do not go through, such as a network of texts, is left alone.

    Raises
    ------
    InputError
        If it has no layers.
    """
    network = embedder.network
    wanted = {name: value.requires_grad for name, value in network.named_parameters()}
    try:
        network.requires_grad_(True)
        torch.autograd.backward(embedder.differentiable([np.full((32, 32, 3), 128, np.uint8)]).sum())
        used = [name for name, value in network.named_parameters() if value.grad is not None]
    finally:
        for name, value in network.named_parameters():
            value.grad = None
            value.requires_grad_(wanted[name])
    lists = [
        (len(module), name)
        for name, module in network.named_modules()
        if isinstance(module, torch.nn.ModuleList) and any(one.startswith(f"{name}.") for one in used)
    ]
    if not lists:
        raise InputError("the network has no list of layers of which the last could be trained; train a head alone")
    count, stack = max(lists, key=lambda one: one[0])
    inside = [place for place, name in enumerate(used) if name.startswith(f"{stack}.")]
    last = tuple(f"{stack}.{place}." for place in range(max(0, count - layers), count))
    # Parameters are listed in the order in which they are used: norms and projections after the layers come after them.
    return [*(name for name in used if name.startswith(last)), *used[max(inside) + 1 :]]


def tune(
    embedder: Trainable,
    pictures: Sequence[NDArray[np.uint8]],
    truth: NDArray[np.bool_],
    kind: Kind,
    settings: TuningSettings | None = None,
    progress: Callable[[], None] | None = None,
) -> dict[str, NDArray]:
    """Train the last layers of an embedder's network on labelled pictures, and leave the network as it was.

    Parameters
    ----------
    embedder : Trainable
    pictures : sequence of uint8, shape (h, w, 3)
    truth : bool, shape (n, k)
        Which classes each has.
    kind : str
        Whether classes exclude each other, see `matcher.classification.Kind`.
    settings : TuningSettings, optional
    progress : callable, optional
        Called after each round.

    Returns
    -------
    dict of str to float32 arrays
        The trained parameters by name.
    """
    settings = settings or TuningSettings()
    network = embedder.network
    names = set(trainable_names(embedder, settings.layers))
    before = {name: value.detach().clone() for name, value in network.named_parameters() if name in names}
    wanted = {name: value.requires_grad for name, value in network.named_parameters()}
    where = next(network.parameters()).device
    random = np.random.default_rng(settings.seed)
    torch.manual_seed(settings.seed)
    try:
        for name, value in network.named_parameters():
            value.requires_grad_(name in names)
        head = torch.nn.Linear(embedder.size, truth.shape[1]).to(where)
        trained = [value for name, value in network.named_parameters() if name in names]
        groups: list[dict[str, Any]] = [{"params": trained}, {"params": head.parameters(), "lr": 10 * settings.rate}]
        optimiser = torch.optim.AdamW(groups, lr=settings.rate, weight_decay=0.05)
        steps = settings.rounds * -(-len(pictures) // settings.batch)
        falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        targets = torch.as_tensor(truth.astype(np.float32), device=where)
        for _ in range(settings.rounds):
            order = random.permutation(len(pictures))
            for start in range(0, len(order), settings.batch):
                rows = order[start : start + settings.batch]
                vectors = embedder.differentiable([_varied(pictures[row], random) for row in rows])
                logits = _SHARPNESS * head(vectors)
                if kind == "multilabel":
                    loss = functional.binary_cross_entropy_with_logits(logits, targets[rows])
                else:
                    loss = functional.cross_entropy(logits, targets[rows])
                optimiser.zero_grad()
                torch.autograd.backward(loss)
                optimiser.step()
                falling.step()
            if progress is not None:
                progress()
        return {
            name: value.detach().float().cpu().numpy().copy()
            for name, value in network.named_parameters()
            if name in names
        }
    finally:
        with torch.no_grad():
            for name, value in network.named_parameters():
                if name in before:
                    value.copy_(before[name])
                value.requires_grad_(wanted[name])


def learn_tuned(
    embedder: Trainable,
    pictures: Sequence[NDArray[np.uint8]],
    truth: NDArray[np.bool_],
    classes: Sequence[str],
    kind: Kind,
    groups: NDArray[np.integer],
    tuning: TuningSettings | None = None,
    settings: LearningSettings | None = None,
    progress: Callable[[], None] | None = None,
) -> TunedClassifier:
    """Train a network's last layers and a head on its vectors; for each fold anew, so that figures are honest.

    Parameters as of `tune` and `matcher.classification.learn`; the head has one strength, and the calibration is
    fitted to the scores of the folds.

    Raises
    ------
    InputError
        If there are too few examples of a class, or all are of one group.
    """
    settings = settings or LearningSettings()
    require_examples(truth, classes, kind)
    folds = make_folds(truth, groups, settings.folds, classes, settings.seed)
    exclusive = kind != "multilabel"
    scores = np.empty(truth.shape)

    def learned(rows: NDArray[np.intp]) -> tuple[Classifier, dict[str, NDArray], NDArray[np.float32]]:
        parameters = tune(embedder, [pictures[row] for row in rows], truth[rows], kind, tuning, progress)
        with _swapped(embedder.network, parameters):
            vectors = embedded(embedder, pictures)
        signature = tuned_signature(embedder.signature, parameters)
        head = fit_head(vectors[rows], truth[rows], classes, kind, signature, _STRENGTH, settings)
        return head, parameters, vectors

    for fold in range(folds.max() + 1):
        here = folds == fold
        head, _, vectors = learned(np.flatnonzero(~here))
        scores[here] = head.scores(vectors[here])
    calibration, probabilities = best_calibration(scores, truth, exclusive, folds, settings.methods)
    head, parameters, vectors = learned(np.arange(len(truth)))
    made = Classifier(head.classes, kind, head.signature, head.weights, head.bias, calibration)
    return TunedClassifier(made, Validated(probabilities, folds), parameters, vectors)


def _varied(picture: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """Return a picture cut a little at its edges, and a little darker or lighter: not mirrored, which letters show."""
    high, wide = picture.shape[:2]
    top, bottom, left, right = random.uniform(0, _CUT, 4)
    part = picture[
        int(top * high) : max(int(top * high) + 1, high - int(bottom * high)),
        int(left * wide) : max(int(left * wide) + 1, wide - int(right * wide)),
    ]
    return np.asarray(cv2.convertScaleAbs(part, alpha=1 + random.uniform(-_TONE, _TONE)), np.uint8)


def _put(network: torch.nn.Module, parameters: Mapping[str, NDArray]) -> None:
    with torch.no_grad():
        for name, value in network.named_parameters():
            if name in parameters:
                value.copy_(torch.as_tensor(parameters[name], dtype=value.dtype, device=value.device))


@contextmanager
def _swapped(network: torch.nn.Module, parameters: Mapping[str, NDArray]) -> Iterator[None]:
    """Let a network have trained parameters for as long as the block lasts."""
    own = {
        name: value.detach().float().cpu().numpy().copy()
        for name, value in network.named_parameters()
        if name in parameters
    }
    _put(network, parameters)
    try:
        yield
    finally:
        _put(network, own)
