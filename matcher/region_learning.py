"""Train the small network for regions of one's own: it starts from what it knows of pages.

Needs torch. All that is drawn follows from the seed and the number of the step, so that a run that was broken off goes
on as if it had not been.
"""

from __future__ import annotations

import copy
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from matcher.errors import InputError
from matcher.images import Scan
from matcher.looks import ONE_LOOK
from matcher.networks import device
from matcher.region_losses import LOSSES, average, losses
from matcher.region_model import COARSE, FINE, STRIDE, RegionModel, start_from
from matcher.region_parts import evened, lies_on_paper, mistaken, part_with, shape_of, touch
from matcher.region_reading import Said
from matcher.region_targets import assigned
from matcher.trained import found_in_looks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from matcher.augmentation import Example
    from matcher.detection import Detection
    from matcher.looks import Look
    from matcher.schedule import Schedule

__all__ = ["AveragedLearner", "RegionLearner", "another_network", "exported"]

_THINGS = 0.5
"""Share of the parts that are drawn around a thing; the others are from anywhere."""

_GUESTS = (0.25, 0.35, 0.25, 0.15)
"""Shares of the parts on which no, one, two, three things of other images are laid down."""

_MISTAKES, _DECOYS = 0.15, (0.5, 0.35, 0.15)
"""Shares of the parts drawn around what was mistaken for a thing; and of those on which none, one, two of such are laid
down."""

_MINED, _ASKED, _EACH, _TAKEN = 8, 120, 4, 0.05
"""How often in a run it is asked what is mistaken, on how many images and how much of each at most; the least score."""

_TRIED = 400
"""Things of a class, at most, that are looked at whether they can be laid down, and of what shape they are."""

_CLIPPED = 5.0
"""Greatest norm of the gradient."""

_KEEP = 0.98
"""Weight of the average of the weights at each step."""

_MISTAKEN = "mistakes"
"""What a state calls what is mistaken for a thing."""

_BODY_NAMES = ("stem", "down", "lower", "up")
_BODY = 0.7
"""Learning rate of what is known of pages already, of that of what says the classes."""

_SHORT = ("avx512_bf16", "amx_bf16")
"""What processors call it that they multiply numbers of 16 bits, twice as many at a time."""


class AveragedLearner:
    """What all learners share: optimiser, average of the weights, state.

    Parameters
    ----------
    model : Module
    groups : sequence of (list of Parameter, float)
        What is learned, and at which share of the learning rate.
    schedule : Schedule
    """

    def __init__(
        self, model: nn.Module, groups: Sequence[tuple[list[nn.Parameter], float]], schedule: Schedule
    ) -> None:
        self.schedule, self.device = schedule, device()
        self._model = _laid_out(model, self.device).train()
        self._mean = copy.deepcopy(self._model).eval()
        told: list[dict[str, Any]] = [{"params": weights, "share": share} for weights, share in groups if weights]
        self._optimizer = torch.optim.AdamW(told, lr=schedule.rate, weight_decay=0.01)

    def _brief(self) -> torch.autocast:
        """Return within what the network is run: numbers of 16 bits where that is faster."""
        able = (
            getattr(torch.cpu, "get_capabilities", dict)() if self.device == "cpu" else {"cuda": self.device == "cuda"}
        )
        return torch.autocast(self.device, torch.bfloat16, enabled=any(able.get(name) for name in ("cuda", *_SHORT)))

    def _take_step(self, step: int, loss: Tensor) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = self.schedule.rate_at(step) * group["share"]
        self._optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self._model.parameters(), _CLIPPED)
        self._optimizer.step()
        average(self._mean, self._model, min(_KEEP, (step + 1) / (step + 10)))

    def state(self) -> dict[str, NDArray]:
        """Return all that a run goes on with: weights, their average, the optimiser's moments."""
        kept = {f"model.{name}": value for name, value in self._model.state_dict().items()}
        kept |= {f"mean.{name}": value for name, value in self._mean.state_dict().items()}
        for number, moments in self._optimizer.state_dict()["state"].items():
            kept |= {f"optimizer.{number}.{name}": value for name, value in moments.items()}
        return {name: np.ascontiguousarray(value.detach().cpu().numpy()) for name, value in kept.items()}

    def restore(self, state: dict[str, NDArray]) -> None:
        """Go on from a state; `ValueError` if it is of another network."""
        tensors = {name: torch.from_numpy(np.array(value)) for name, value in state.items()}
        try:
            for prefix, model in (("model.", self._model), ("mean.", self._mean)):
                told = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
                model.load_state_dict(told)
        except RuntimeError as error:
            raise ValueError("the state of another network") from error
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("optimizer."):
                _, number, what = name.split(".")
                moments.setdefault(int(number), {})[what] = value
        self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": moments})

    def best(self) -> dict[str, NDArray]:
        """Return the averaged weights."""
        return {name: value.detach().cpu().numpy().copy() for name, value in self._mean.state_dict().items()}

    def take_best(self, weights: dict[str, NDArray]) -> None:
        """Make these the weights, and their average."""
        for model in (self._mean, self._model):
            model.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in weights.items()})

    def _batch(self, draw: Callable[[np.random.Generator], tuple[NDArray, ...]], step: int) -> list[Tensor]:
        """Draw the parts of a step and return their arrays as tensors of the batch."""
        drawn = [draw(np.random.default_rng([self.schedule.seed, step, i])) for i in range(self.schedule.batch)]
        return [torch.from_numpy(np.stack(arrays)).to(self.device) for arrays in zip(*drawn, strict=True)]

    def _pixels(self, batch: Tensor) -> Tensor:
        return (batch.permute(0, 3, 1, 2).float() / 255).contiguous(memory_format=torch.channels_last)


class RegionLearner(AveragedLearner):
    """Learns regions from parts of annotated images.

    Parameters
    ----------
    examples : sequence of callable
        Each returns an `Example` at the size that is learned from: it may be kept, or read anew.
    things : sequence of int64, shape (n,)
        Of each example the kinds of its things.
    classes : sequence of str
    long_side : int
        Pixels of the long side at which whole images are looked at.
    schedule : Schedule
    start : sequence of (array, array)
        As of `matcher.region_model.start_from`; nothing to begin with nothing.
    """

    def __init__(
        self,
        examples: Sequence[Callable[[], Example]],
        things: Sequence[NDArray[np.int64]],
        classes: Sequence[str],
        long_side: int,
        schedule: Schedule,
        start: Sequence[tuple[NDArray, NDArray]] = (),
    ) -> None:
        torch.manual_seed(schedule.seed)
        model = RegionModel(len(classes) + 1, len(classes))
        if start:
            try:
                start_from(model, start)
            except ValueError as error:
                raise another_network(error) from error
        known = list(model.named_parameters())
        body = [weights for name, weights in known if name.startswith(_BODY_NAMES)]
        heads = [weights for name, weights in known if not name.startswith(_BODY_NAMES)]
        super().__init__(model, [(body, _BODY if start else 1.0), (heads, 1.0)], schedule)
        self._classes, self._long_side = tuple(classes), long_side
        self._weights = [1.0] + [2.0] * len(classes)
        self._mistakes = np.zeros((0, 5), np.float32)
        self.take(examples, things)

    def take(self, examples: Sequence[Callable[[], Example]], things: Sequence[NDArray[np.int64]]) -> None:
        """Learn from these examples from now on.

        Raises
        ------
        ValueError
            If there is nothing on them.
        """
        self._examples = examples
        self._places = [
            [(i, int(j)) for i, kinds in enumerate(things) for j in np.flatnonzero(kinds == kind)]
            for kind in range(len(self._classes))
        ]
        self._places = [places for places in self._places if places]
        if not self._places:
            raise ValueError("there is nothing to learn from")
        rng = np.random.default_rng(self.schedule.seed)
        tried = [[places[i] for i in rng.permutation(len(places))[:_TRIED]] for places in self._places]
        fit = [[(i, j) for i, j in sorted(places) if lies_on_paper(examples[i](), j)] for places in tried]
        # Of a class that never lies on bare paper, what covers its ground is more likely than what lets it through.
        self._guests = [places or own for places, own in zip(fit, self._places, strict=True)]
        shapes = {(i, j): shape_of(examples[i](), j) for places in tried for i, j in places}
        self._chances = [evened([shapes.get(place) for place in places]) for places in self._places]
        self._guest_chances = [evened([shapes.get(place) for place in places]) for places in self._guests]

    def learn(self, step: int) -> dict[str, float]:
        """Learn from one batch, and return the losses by name."""
        if step and step % max(1, self.schedule.steps // _MINED) == 0:
            self._mistakes = self._mined(np.random.default_rng([self.schedule.seed, step]))
        pixels, *targets = self._batch(self._drawn, step)
        with self._brief():
            outputs = self._model(self._pixels(pixels))
        parts = losses(outputs, targets, self._weights)
        self._take_step(step, parts.sum())
        return dict(zip(LOSSES, parts.detach().tolist(), strict=True))

    def state(self) -> dict[str, NDArray]:
        return {**super().state(), _MISTAKEN: self._mistakes}

    def restore(self, state: dict[str, NDArray]) -> None:
        self._mistakes = np.asarray(state[_MISTAKEN], np.float32).reshape(-1, 5)
        super().restore({name: value for name, value in state.items() if name != _MISTAKEN})

    def _mined(self, rng: np.random.Generator) -> NDArray[np.float32]:
        """Return what is taken for things on images that are learned from: number of the example, box.

        What is round on the pages of a few books is learned soon not to be a stamp there; laid down on others, it is
        learned not to be one anywhere (hard negatives, Sung and Poggio 1998).
        """
        found = []
        for number in rng.permutation(len(self._examples))[:_ASKED].tolist():
            example = self._examples[number]()
            high, wide = example.pixels.shape[:2]
            true = [np.vstack(outlines) for outlines in example.outlines]
            told = self.detect(Scan(example.pixels, wide, high, 1.0, 1.0))
            corners = (one.box.corners()[[0, 2]] for one in told if one.score >= _TAKEN)
            wrong = [box for box in corners if not any(touch(box.ravel(), points) for points in true)]
            found += [[number, *box.ravel()] for box in wrong[:_EACH]]
        return np.array(found, np.float32).reshape(-1, 5)

    def _mistake(self, rng: np.random.Generator) -> tuple[Example, int]:
        number, *box = self._mistakes[int(rng.integers(len(self._mistakes)))].tolist()
        return mistaken(self._examples[int(number)](), np.array(box))

    def _drawn(self, rng: np.random.Generator) -> tuple[NDArray, ...]:
        on: int | None = None
        chance = rng.random()
        if chance < _THINGS:
            image, on = _thing(rng, self._places, self._chances)
            example = self._examples[image]()
        elif chance < _THINGS + _MISTAKES and len(self._mistakes):
            example, on = self._mistake(rng)
        else:
            example = self._examples[int(rng.integers(len(self._examples)))]()
        schedule = self.schedule
        many = int(rng.choice(len(_GUESTS), p=_GUESTS))
        drawn = [_thing(rng, self._guests, self._guest_chances) for _ in range(many)]
        guests = [(self._examples[i](), j) for i, j in drawn]
        if len(self._mistakes):
            guests = [self._mistake(rng) for _ in range(int(rng.choice(len(_DECOYS), p=_DECOYS)))] + guests
        pixels, classes, boxes = part_with(
            example,
            rng,
            schedule.side,
            on=on,
            turns=schedule.turns,
            mirrored=schedule.mirrored,
            guests=guests,
        )
        targets = [array for cell in (FINE, COARSE) for array in assigned(boxes, classes, cell, pixels.shape)]
        return (pixels, classes, *targets)

    def detect(self, scan: Scan, looks: Sequence[Look] = ONE_LOOK) -> list[Detection]:
        """Return what the averaged network finds on a scan, with raw scores, however unsure."""
        return found_in_looks(scan, looks, self._long_side, self._classes, self._say)

    def _say(self, pixels: NDArray[np.uint8]) -> Said:
        with torch.no_grad(), self._brief():
            said = self._mean(self._pixels(torch.from_numpy(pixels)[None].to(self.device)))
        return Said(*(output[0].float().cpu().numpy() for output in said))

    def export(self) -> bytes:
        """Return the averaged network as an ONNX model for images of any size."""
        return exported(self._mean, ["classes", "fine", "coarse"])


def _thing(
    rng: np.random.Generator, places: Sequence[Sequence[tuple[int, int]]], chances: Sequence[NDArray[np.float64]]
) -> tuple[int, int]:
    """Draw an example and a thing on it, each class as likely, and of a class each thing as its chances are."""
    kind = int(rng.integers(len(places)))
    return places[kind][int(rng.choice(len(places[kind]), p=chances[kind]))]


def another_network(error: ValueError) -> InputError:
    """Return the error that weights to start from are those of another network."""
    return InputError(f"the network to start from is another ({error}); name one that calque trained")


def _laid_out(model: nn.Module, device: str) -> nn.Module:
    """Return a network on a device, its maps laid out as convolutions are fastest."""
    moved: Any = model.to(device)
    return cast("nn.Module", moved.to(memory_format=torch.channels_last))


def exported(model: nn.Module, outputs: Sequence[str], side: int | None = None) -> bytes:
    """Return a network as an ONNX model for images of any size that is a multiple of 32, or squares of one `side`."""
    sides = {0: "n", 2: "h", 3: "w"}
    options: dict[str, Any] = {} if side else {"dynamic_axes": dict.fromkeys(("pixels", *outputs), sides)}
    high = wide = side or 2 * STRIDE
    plain = copy.deepcopy(model).to("cpu").eval()
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        # The exporter that follows wants a further package and gives OpenCV's reader nothing that it needs.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            plain,
            (torch.zeros(1, 3, high, wide),),
            path,
            dynamo=False,
            opset_version=17,
            input_names=["pixels"],
            output_names=list(outputs),
            **options,
        )
        return path.read_bytes()
