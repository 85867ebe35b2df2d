"""The figures of `index.evaluation`, of whole image sets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from index.evaluation import CONFIDENT, TOUCHING, Found, average_precision, judge
from index.evaluation import evaluate as evaluate_queries

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.datasets import Dataset

__all__ = ["CONFIDENT", "TOUCHING", "Found", "average_precision", "evaluate", "judge"]


def evaluate(dataset: Dataset, answers: Mapping[str, Sequence[Sequence[Any]]]) -> dict[str, Any]:
    """Return the figures of one system on one set: see `index.evaluation.evaluate`.

    Raises
    ------
    ValueError
        If there are answers to a query that the set does not have.
    """
    if unknown := answers.keys() - {q.id for q in dataset.queries}:
        raise ValueError(f"answers to queries that {dataset.name} does not have: {sorted(unknown)[:3]}")
    return evaluate_queries(dataset.queries, answers)
