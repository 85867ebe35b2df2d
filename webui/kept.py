"""What was worked out last, kept for whoever asks for it again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

__all__ = ["Kept"]

Value = TypeVar("Value")


def _one(value: object) -> int:
    return 1


class Kept(Generic[Value]):
    """Values by what was asked; the longest unused go. May be used by any thread.

    Parameters
    ----------
    most : int
        What the values that are kept may weigh together; the last one stays whatever it weighs.
    weight : callable, optional
        Returns what a value weighs; by default each weighs 1.
    """

    def __init__(self, most: int, weight: Callable[[Value], int] = _one) -> None:
        self._most = most
        self._weight = weight
        self._values: OrderedDict[Hashable, Value] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Value | None:
        """Return the value that was put there, if it is kept."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def put(self, key: Hashable, value: Value) -> None:
        """Keep a value, and forget others where there are too many."""
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            while len(self._values) > 1 and sum(map(self._weight, self._values.values())) > self._most:
                self._values.popitem(last=False)
