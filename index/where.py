"""The language of ``--where``: which images are meant, by what is known of them. Nothing in it is ever executed.

::

    date < 1920 and (title ~ 'vogue' or not publisher = "Condé Nast")

A comparison names a key, an operator and a value; ``not`` binds closer than ``and``, and that closer than ``or``.

- Keys are those of the metadata, whatever their case, and ``id``, ``image`` (or ``name``), ``path``, ``page``,
  ``width``, ``height``, ``features`` of the image itself; ``meta:height`` is metadata where both have the name.
- ``=``, ``!=``, ``<``, ``<=``, ``>``, ``>=`` compare numbers as numbers and dates as dates, where both sides are such,
  and otherwise text, whatever its case. ``~`` asks whether text contains text, ``!~`` whether it does not.
- Dates are ``1912``, ``1912-05``, ``1912-05-12``; a time of day behind them is passed over. They compare as precisely
  as the condition is: 12 May 1912 is ``date = 1912``.
- ``object``, ``score``, ``share`` (of the image that its box covers, 0 to 1) and ``detector`` are of the things seen on
  an image (`index.detections`), where things have been looked for: ``meta:object`` is metadata then. An image fits if
  one thing on it fulfils all such conditions together: ``object = umbrella and score > 0.6``. What follows ``also``
  may be another one: ``object = person and also object = dog and score > 0.5``. What ``not`` denies, nothing may
  fulfil: ``object = person and not object = dog`` is of images without a dog.
- What is not known is false: an image without the key, a year where a day is asked for, ``s. d.`` against 1920.
- Quotes, single or double, hold what has blanks or signs in it; a doubled quote within them stands for itself.
"""

from __future__ import annotations

import difflib
import operator
import re
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from matcher.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from index.catalogue import ImageRecord

    Test = Callable[[Mapping[str, str]], bool]

__all__ = ["OWN_KEYS", "THING_KEYS", "Condition", "facts_of", "parse", "select"]

OWN_KEYS: Mapping[str, Callable[[ImageRecord], object]] = {
    "id": attrgetter("id"),
    "image": attrgetter("name"),
    "name": attrgetter("name"),
    "path": attrgetter("path"),
    "page": attrgetter("page"),
    "width": attrgetter("width"),
    "height": attrgetter("height"),
    "features": attrgetter("n_features"),
}
"""What a condition may ask of an image itself."""

THING_KEYS = ("object", "score", "share", "detector")
"""What a condition may ask of a thing on an image."""

_METADATA = "meta:"
_ORDERS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_OPERATORS = (*_ORDERS, "~", "!~")
_TOKEN = re.compile(
    r"""(?P<quoted>'(?:[^']|'')*'|"(?:[^"]|"")*")|(?P<operator>[<>!]=|!~|==?|[<>~])|(?P<bracket>[()])"""
    r"""|(?P<word>[^\s<>!=~()'"]+)"""
)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_DATE = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:[T ].*)?)?)?", re.ASCII)
_DEEPEST = 50
"""Brackets within brackets; nobody writes more, and each costs a call."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition that was understood.

    Attributes
    ----------
    text : str
        As it was written.
    keys : frozenset of str
        The keys it names, casefolded.
    test : callable
        Tells whether it holds for a mapping of casefolded keys to values.
    picks : callable
        Tells whether, where it holds, a thing is one for which it does: takes what is known of image and thing.
    """

    text: str
    keys: frozenset[str]
    test: Test
    picks: Test

    @property
    def asks_of_things(self) -> bool:
        """Whether it names a key of things."""
        return not self.keys.isdisjoint(THING_KEYS)

    def picked(self, values: Mapping[str, str]) -> list[bool]:
        """Tell of each thing on an image, of which `facts_of` tells, whether the condition holds for it."""
        return [self.picks(view) for view in values.views()] if isinstance(values, _Facts) and values.things else []


class _Facts(dict[str, str]):
    """What is known of an image, and of the things on it; of one of them as if it were the image's, if one is chosen.

    Parameters
    ----------
    values : mapping
        Casefolded keys to values.
    things : sequence of mappings
        The same of each thing.
    """

    def __init__(self, values: Mapping[str, str], things: Sequence[Mapping[str, str]]) -> None:
        super().__init__(values)
        self._values = values
        self.things = things

    def views(self) -> Iterator[_Facts]:
        """Yield what is known of the image with each of its things; of the image alone if there are none."""
        for thing in self.things or ({},):
            view = _Facts({**self._values, **thing}, self.things)
            view._values = self._values
            yield view


def facts_of(
    condition: Condition,
    record: ImageRecord,
    metadata: Mapping[str, str],
    things: Sequence[Mapping[str, str]] | None = None,
) -> dict[str, str]:
    """Return what a condition is tested on: what is known of an image, and of things on it, where any were sought."""
    values: dict[str, str] = {}
    for key, value in metadata.items():  # of keys that differ in case only, the first counts
        if things is None or key.casefold() not in THING_KEYS:
            values.setdefault(key.casefold(), value)
        values.setdefault(_METADATA + key.casefold(), value)
    values |= {key: str(value(record)) for key, value in OWN_KEYS.items() if key in condition.keys}
    return values if things is None else _Facts(values, things)


def parse(text: str) -> Condition:
    """Return the condition that `text` spells.

    Raises
    ------
    InputError
        If it spells none; the message tells the column, counted from 1, and what was expected there.
    """
    return _Parser(text).condition()


def select(
    condition: Condition,
    images: Iterable[ImageRecord],
    metadata: Mapping[int, Mapping[str, str]],
    things: Mapping[int, Sequence[Mapping[str, str]]] | None = None,
) -> Iterator[ImageRecord]:
    """Yield those of `images` for which `condition` holds.

    Parameters
    ----------
    condition : Condition
    images : iterable of ImageRecord
    metadata : mapping
        What is known of images, by their ids.
    things : mapping, optional
        What is known of the things on images, as `THING_KEYS` name it, by the images' ids; None where nothing has been
        looked for.

    Raises
    ------
    InputError
        For a key that no image has; the message suggests the nearest.
    """
    known = dict.fromkeys(key for values in metadata.values() for key in values)
    _require_known(condition, known, () if things is None else THING_KEYS)
    for record in images:
        seen = None if things is None else things.get(record.id, ())
        if condition.test(facts_of(condition, record, metadata.get(record.id, {}), seen)):
            yield record


def _require_known(condition: Condition, metadata: Iterable[str], things: Sequence[str]) -> None:
    spellings = {key.casefold(): key for key in (*metadata, *OWN_KEYS, *things)}
    for key in sorted(condition.keys):
        if key.removeprefix(_METADATA) not in spellings:
            if key in THING_KEYS:
                raise InputError(f"nothing has been looked for on any image, so none has {key!r}; run: calque detect")
            near = difflib.get_close_matches(key, spellings, n=1)
            hint = f"did you mean {spellings[near[0]]!r}?" if near else f"there are: {', '.join(spellings.values())}"
            raise InputError(f"no image has {key!r}, which {condition.text!r} asks for; {hint}")


class _Token(NamedTuple):
    """A word, a quoted text, an operator or a bracket, and the column at which it begins, counted from 1."""

    kind: str
    text: str
    column: int

    def is_word(self, *words: str) -> bool:
        return self.kind == "word" and self.text.lower() in words

    def is_bracket(self, which: str) -> bool:
        return (self.kind, self.text) == ("bracket", which)


class _Parser:
    """Reads a condition from left to right, one method for each level of binding."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._split()
        self._next = 0
        self._depth = 0
        self._denied = 0
        self._keys: set[str] = set()
        self._picking: list[Test] = []

    def condition(self) -> Condition:
        test = self._of_one_thing(self._alternatives())
        if self._token.kind != "end":
            raise self._error("a '(' before this ')'" if self._token.is_bracket(")") else "'and' or 'or'")
        picking = tuple(self._picking)
        return Condition(self._text, frozenset(self._keys), test, lambda values: any(pick(values) for pick in picking))

    def _split(self) -> list[_Token]:
        tokens = []
        at = 0
        while (at := at + len(self._text[at:]) - len(self._text[at:].lstrip())) < len(self._text):
            found = _TOKEN.match(self._text, at)
            if found is None:
                what = "this quote is never closed" if self._text[at] in "'\"" else f"{self._text[at]!r} means nothing"
                raise InputError(f"{self._text!r}, column {at + 1}: {what}")
            kind, text = str(found.lastgroup), found[0]
            if kind == "quoted":
                text = text[1:-1].replace(text[0] * 2, text[0])
            tokens.append(_Token(kind, text, at + 1))
            at = found.end()
        return [*tokens, _Token("end", "", len(self._text) + 1)]

    @property
    def _token(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        self._next += 1
        return self._tokens[self._next - 1]

    def _error(self, expected: str) -> InputError:
        found = repr(self._token.text) if self._token.kind != "end" else "the end"
        return InputError(f"{self._text!r}, column {self._token.column}: expected {expected}, not {found}")

    def _alternatives(self) -> Test:
        tests = [self._requirements()]
        while self._token.is_word("or"):
            self._take()
            tests.append(self._requirements())
        return tests[0] if len(tests) == 1 else lambda values: any(test(values) for test in tests)

    def _requirements(self) -> Test:
        others: list[Test] = []
        tests = [self._factor()]
        while self._token.is_word("and"):
            self._take()
            if self._token.is_word("also") and self._tokens[self._next + 1].kind != "operator":
                self._take()
                others.append(_all_of(tests))
                tests = []
            tests.append(self._factor())
        # What stands before the last `also` is of things of its own; what follows it may yet be joined by an `or`.
        last = _all_of(tests)
        return _all_of([*map(self._of_one_thing, others), self._of_one_thing(last)]) if others else last

    def _of_one_thing(self, test: Test) -> Test:
        """Return the test whether there is a thing on the image, or the image has none, for which `test` holds."""
        if not self._denied:
            self._picking.append(test)

        def holds(values: Mapping[str, str]) -> bool:
            return any(map(test, values.views())) if isinstance(values, _Facts) else test(values)

        return holds

    def _factor(self) -> Test:
        negated = False
        while self._token.is_word("not"):
            self._take()
            negated = not negated
        self._denied += negated
        test = self._group() if self._token.is_bracket("(") else self._comparison()
        denied = self._of_one_thing(test) if negated else test
        self._denied -= negated
        return (lambda values: not denied(values)) if negated else test

    def _group(self) -> Test:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._error(f"at most {_DEEPEST} brackets within each other")
        self._take()
        test = self._alternatives()
        if not self._token.is_bracket(")"):
            raise self._error("')'")
        self._take()
        self._depth -= 1
        return test

    def _comparison(self) -> Test:
        if self._token.kind not in ("word", "quoted") or self._token.is_word("and", "or"):
            raise self._error("a key, such as date")
        key = self._take().text.casefold()
        if self._token.kind != "operator":
            raise self._error(f"one of {' '.join(_OPERATORS)}")
        sign = self._take().text.replace("==", "=")
        if self._token.kind not in ("word", "quoted"):
            raise self._error("a value")
        value = self._take().text
        self._keys.add(key)
        holds = _containing(sign, value) if "~" in sign else _comparing(sign, value)
        return lambda values: key in values and holds(values[key])


def _all_of(tests: Sequence[Test]) -> Test:
    fixed = tuple(tests)
    return fixed[0] if len(fixed) == 1 else lambda values: all(test(values) for test in fixed)


def _containing(sign: str, wanted: str) -> Callable[[str], bool]:
    wanted = wanted.casefold()
    return lambda value: (wanted in value.casefold()) is (sign == "~")


def _comparing(sign: str, wanted: str) -> Callable[[str], bool]:
    order = _ORDERS[sign]
    number, date, text = _number(wanted), _date(wanted), wanted.casefold()

    def holds(value: str) -> bool:
        if number is not None and (other := _number(value)) is not None:
            return order(other, number)
        if date and (known := _date(value)):
            # A date that is less precise than asked for is neither before nor after it, unless the rest decides.
            shared = min(len(known), len(date))
            return (len(known) >= len(date) or known != date[:shared]) and order(known[:shared], date[:shared])
        if sign in ("=", "!=") or (number is None and not date):
            return order(value.casefold().strip(), text)
        return False

    return holds


def _number(text: str) -> float | None:
    text = text.strip()  # of separators, too, that float() does not pass over
    return float(text) if _NUMBER.fullmatch(text) else None


def _date(text: str) -> tuple[int, ...]:
    found = _DATE.fullmatch(text.strip())
    return tuple(int(part) for part in found.groups() if part is not None) if found else ()
