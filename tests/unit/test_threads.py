"""Threads that share work: in order, a bounded way ahead, and never waiting for each other."""

from __future__ import annotations

import threading

import pytest

from index.threads import Threads


def test_what_a_thread_maps_it_does_itself() -> None:
    """With as many mappers as threads, none would be left for their parts."""

    def whole(number: int) -> tuple[bool, int]:
        here = threading.get_ident()
        parts = list(threads.map(lambda part: (threading.get_ident(), number * part), range(4)))
        return {thread for thread, _ in parts} == {here}, sum(value for _, value in parts)

    with Threads(2) as threads:
        assert list(threads.map(whole, range(8))) == [(True, 6 * number) for number in range(8)]


def test_parts_of_the_caller_are_shared() -> None:
    meeting = threading.Barrier(2, timeout=30)
    with Threads(2) as threads:
        list(threads.map(lambda _: meeting.wait(), range(2)))  # one thread alone would wait in vain


def test_tasks_are_taken_only_so_far_ahead() -> None:
    taken = []

    def tasks():
        for number in range(20):
            taken.append(number)
            yield number

    with Threads(2) as threads:
        results = threads.ahead(lambda number: -number, tasks())
        assert next(results) == 0
        assert len(taken) == 4
        assert list(results) == [-number for number in range(1, 20)]


def test_an_error_reaches_the_caller_in_its_turn() -> None:
    with Threads(2) as threads:
        results = threads.ahead(lambda number: 1 // number, [1, 0, 1])
        assert next(results) == 1
        with pytest.raises(ZeroDivisionError):
            next(results)
