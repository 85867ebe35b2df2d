"""A run of training: it measures itself now and then, keeps the best, stops when that gets no better, goes on.

At the end it may learn from what it was measured by, too: few images are annotated, and a quarter more of them teach
more than knowing exactly how good the very last weights are.

What is learned is the learner's affair (`matcher.region_learning`, `matcher.pixel_learning`, …). What a run goes on
with lies in one file, written whole or not at all.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from index.durable import replacing
from index.exports import make_folder
from matcher.errors import InputError, MissingDependency
from matcher.images import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["Course", "Learner", "Pace", "run"]

_MEASURES = 8
"""A run measures itself so many times."""

_CHECKPOINT = "checkpoint.safetensors"
_LOG = "log.jsonl"
_BEST = "best."


class Learner(Protocol):
    """What learns."""

    def learn(self, step: int) -> Mapping[str, float]:
        """Take a step, which is a function of its number alone, and return its losses by name."""

    def state(self) -> dict[str, NDArray]:
        """Return all that a run goes on with."""

    def restore(self, state: dict[str, NDArray]) -> None:
        """Go on from a state; `ValueError` if it is not of this network."""

    def best(self) -> dict[str, NDArray]:
        """Return what is kept of the network when it is better than before."""

    def take_best(self, weights: dict[str, NDArray]) -> None:
        """Go back to what was kept, and on from there."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a run is.

    Attributes
    ----------
    steps : int
        At most.
    every : int
        Steps from one measure to the next.
    patience : int
        Measures end when so many in turn were no better than the best.
    together : int
        How many of the steps, the last ones, learn from everything, and are not measured.
    """

    steps: int
    every: int
    patience: int
    together: int = 0

    def __post_init__(self) -> None:
        if min(self.steps, self.every, self.patience) < 1 or not 0 <= self.together < self.steps:
            raise ValueError(f"steps, every and patience must be positive, together less than steps, got {self}")

    @classmethod
    def of(cls, steps: int, together: float, patience: int) -> Pace:
        """Return the pace of so many steps, of which a share, the last ones, learn from everything."""
        last = min(steps - 1, round(steps * together))
        return cls(steps, max(1, (steps - last) // _MEASURES), patience, last)


@dataclass(slots=True)
class Course:
    """How a run went.

    Attributes
    ----------
    step : int
        Steps taken.
    best : float
        The best measure.
    best_step : int
        When that was.
    seconds : float
        Of the processor, in this process, over all sittings.
    log : list of dict
        ``step``, the mean losses since the line before, what was measured, ``cpu_seconds``.
    settled : dict
        What was found out of the best weights before everything was learned from, in plain JSON types.
    """

    step: int = 0
    best: float = -1.0
    best_step: int = 0
    seconds: float = 0.0
    log: list[dict[str, Any]] = field(default_factory=list)
    settled: dict[str, Any] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """Return it in plain JSON types."""
        return {
            "steps": self.step,
            "best_step": self.best_step,
            "cpu_seconds": round(self.seconds, 1),
            "log": self.log,
        }

    def told(self) -> str:
        """Return it in words."""
        return f"{self.step} steps, the best after {self.best_step}, {self.seconds / 60:.1f} minutes of processor"


def run(
    learner: Learner,
    measure: Callable[[], Mapping[str, float]],
    folder: Path,
    pace: Pace,
    job: str,
    *,
    settle: Callable[[], dict[str, Any]] = dict,
    join: Callable[[], None] = lambda: None,
    told: Callable[[str], None],
    progress: Callable[[int, int], None],
) -> Course:
    """Train; afterwards the learner is as good as it was at its best, or has gone on from there with everything.

    Parameters
    ----------
    learner : Learner
    measure : callable
        Returns how good it is on what is kept from training; what decides comes first.
    folder : Path
        For the file that an interrupted run goes on with and a log; made if need be.
    pace : Pace
    job : str
        Stands for all that the run depends on: a folder of another job is refused.
    settle : callable
        Called when the learner has its best weights, for `Course.settled`; never empty.
    join : callable
        Makes the learner learn from everything, from now on.
    told : callable
        Called with a line for each measure.
    progress : callable
        Called as ``progress(steps, of)``.

    Raises
    ------
    InputError
        If the folder holds a run of another job, or a damaged one.
    MissingDependency
        If safetensors is not installed.
    """
    make_folder(folder)
    course, best = _resumed(learner, folder / _CHECKPOINT, job)
    if course.step:
        told(f"goes on at step {course.step} of {pace.steps}")
    alone = pace.steps - pace.together
    since = time.process_time()
    while not course.settled and course.step < alone and not _tired(course, pace):
        losses = _learned(learner, course, alone, pace, progress)
        measured = dict(measure())
        value = float(next(iter(measured.values())))
        # Strictly better: where nothing is found yet, the first weights are as good as any.
        if value > course.best:
            course.best, course.best_step, best = value, course.step, learner.best()
        since = _marked(course, since, losses, measured)
        _keep(learner, best, course, folder, job)
        told(_line(course.log[-1]))
    if course.settled:
        join()
    else:
        if best:
            learner.take_best(best)
        course.settled = settle()
        if pace.together:
            course.step = alone
            join()
            told(f"learns from everything in the last {pace.together} steps")
    while course.step < pace.steps and pace.together:
        losses = _learned(learner, course, pace.steps, pace, progress)
        since = _marked(course, since, losses, {})
        _keep(learner, {}, course, folder, job)
        told(_line(course.log[-1]))
    return course


def _learned(
    learner: Learner, course: Course, stop: int, pace: Pace, progress: Callable[[int, int], None]
) -> dict[str, float]:
    """Learn up to the next mark, or to a step, and return the mean losses."""
    sums: dict[str, float] = {}
    first = course.step
    while course.step == first or (course.step % pace.every and course.step < stop):
        for name, value in learner.learn(course.step).items():
            sums[name] = sums.get(name, 0.0) + value
        course.step += 1
        progress(course.step, pace.steps)
    losses = {name: round(value / (course.step - first), 4) for name, value in sums.items()}
    if not all(np.isfinite(list(losses.values()))):
        raise InputError(f"the losses have left all bounds at step {course.step}; try a lower --rate")
    return losses


def _marked(course: Course, since: float, losses: Mapping[str, float], measured: Mapping[str, float]) -> float:
    """Write a line of the log, count the time since a mark, and return the new mark."""
    now = time.process_time()
    course.seconds += now - since
    values = {name: round(value, 4) for name, value in measured.items()}
    course.log.append({"step": course.step, **losses, **values, "cpu_seconds": round(course.seconds, 1)})
    return now


def _tired(course: Course, pace: Pace) -> bool:
    return course.step - course.best_step >= pace.patience * pace.every and course.best > 0


def _line(line: Mapping[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in line.items())


def _keep(learner: Learner, best: dict[str, NDArray], course: Course, folder: Path, job: str) -> None:
    from safetensors.numpy import save

    tensors = {**learner.state(), **{_BEST + name: value for name, value in best.items()}}
    # A scalar has no shape to be stored by.
    shaped = {name: np.atleast_1d(np.ascontiguousarray(value)) for name, value in tensors.items()}
    scalars = [name for name, value in tensors.items() if value.ndim == 0]
    told = {"job": job, "course": json.dumps(asdict(course)), "scalars": json.dumps(scalars)}
    with replacing(folder / _CHECKPOINT) as temporary:
        temporary.write_bytes(save(shaped, told))
    with replacing(folder / _LOG) as temporary, temporary.open("w", encoding="ascii") as file:
        file.writelines(json.dumps(line) + "\n" for line in course.log)


def _resumed(learner: Learner, path: Path, job: str) -> tuple[Course, dict[str, NDArray]]:
    """Return how far a run is, and the best weights; the learner goes on from there."""
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise MissingDependency(
            "safetensors is not installed; install it with: pip install 'calque[models]'"
        ) from error
    if not path.exists():
        return Course(), {}
    remedy = "delete the folder to begin anew"
    try:
        with safe_open(path, "np") as file:
            told = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        if told.get("job") != job:
            raise InputError(
                f"{printable(path)}: of a run with other annotations or settings; {remedy}, or give another -o"
            )
        for name in json.loads(told["scalars"]):
            tensors[name] = tensors[name].reshape(())
        course = Course(**json.loads(told["course"]))
        learner.restore({name: value for name, value in tensors.items() if not name.startswith(_BEST)})
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{printable(path)}: damaged ({error}); {remedy}") from error
    return course, {name.removeprefix(_BEST): value for name, value in tensors.items() if name.startswith(_BEST)}
