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
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from index.catalogue import ImageRecord

    Test = Callable[[Mapping[str, str]], bool]

__all__ = ["OWN_KEYS", "Condition", "parse", "select"]

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
    """

    text: str
    keys: frozenset[str]
    test: Test


def parse(text: str) -> Condition:
    """Return the condition that `text` spells.

    Raises
    ------
    InputError
        If it spells none; the message tells the column, counted from 1, and what was expected there.
    """
    return _Parser(text).condition()


def select(
    condition: Condition, images: Iterable[ImageRecord], metadata: Mapping[int, Mapping[str, str]]
) -> Iterator[ImageRecord]:
    """Yield those of `images` for which `condition` holds, given the metadata of images by their ids.

    Raises
    ------
    InputError
        For a key that no image has; the message suggests the nearest.
    """
    _require_known(condition, dict.fromkeys(key for values in metadata.values() for key in values))
    own = {key: value for key, value in OWN_KEYS.items() if key in condition.keys}
    for record in images:
        values: dict[str, str] = {}
        for key, value in metadata.get(record.id, {}).items():  # of keys that differ in case only, the first counts
            values.setdefault(key.casefold(), value)
            values.setdefault(_METADATA + key.casefold(), value)
        if condition.test(values | {key: str(value(record)) for key, value in own.items()}):
            yield record


def _require_known(condition: Condition, metadata: Iterable[str]) -> None:
    spellings = {key.casefold(): key for key in (*metadata, *OWN_KEYS)}
    for key in sorted(condition.keys):
        if key.removeprefix(_METADATA) not in spellings:
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
        self._keys: set[str] = set()

    def condition(self) -> Condition:
        test = self._alternatives()
        if self._token.kind != "end":
            raise self._error("a '(' before this ')'" if self._token.is_bracket(")") else "'and' or 'or'")
        return Condition(self._text, frozenset(self._keys), test)

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
        tests = [self._factor()]
        while self._token.is_word("and"):
            self._take()
            tests.append(self._factor())
        return tests[0] if len(tests) == 1 else lambda values: all(test(values) for test in tests)

    def _factor(self) -> Test:
        negated = False
        while self._token.is_word("not"):
            self._take()
            negated = not negated
        test = self._group() if self._token.is_bracket("(") else self._comparison()
        return (lambda values: not test(values)) if negated else test

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
    return float(text) if _NUMBER.fullmatch(text.strip()) else None


def _date(text: str) -> tuple[int, ...]:
    found = _DATE.fullmatch(text.strip())
    return tuple(int(part) for part in found.groups() if part is not None) if found else ()
