"""``--where``: numbers, dates and text compare as what they are; errors point at the column; nothing is executed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from index.store import Index
from index.where import parse
from matcher.errors import InputError
from tests.crash.fake_encoder import SETTINGS, FakeEncoder, encoded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VALUES = {
    "date": "1912-05-12",
    "year": "1912",
    "title": "Vogue, l'élégance",
    "height": "9.5",
    "shelf mark": "Rés. 12 (3)",
    "no date": "s. d.",
    "time": "1912-05-12T08:30:00Z",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("date<1920", True),
        ("date<1912", False),
        ("date<=1912", True),
        ("date=1912", True),
        ("date = 1912-05", True),
        ("date=1912-06", False),
        ("date>1912-05-11", True),
        ("date < '1912-05-13'", True),
        ("time = 1912-05-12", True),
        ("year<1912-05", False),  # it may be, or not: not known
        ("year>1912-05", False),
        ("year=1912-05", False),
        ("year!=1912-05", False),
        ("year<1913-05", True),
        ("year!=1913-05", True),
        ("year==1912.0", True),
        ("height<10", True),  # as text it would not be
        ("height>=9.50", True),
        ("height = 95e-1", True),
        ('"no date"<1920', False),
        ('"no date"!=1920', True),
        ("'no date'='S. D.'", True),
        ("title~'VOGUE'", True),
        ("title!~vogue", False),
        ("title~'L''ÉLÉ'", True),
        ("title < 'w'", True),
        ("'shelf mark'~\"(3)\"", True),
        ("TITLE~vogue", True),
        ("title=vogue", False),
        ("missing=1", False),
        ("missing!=1", False),
        ("not missing=1", True),
        ("not not year=1912", True),
        ("year=1 or year=1912 and title~x", False),
        ("(year=1912 or year=1) and title~vogue", True),
        ("not year=1 and not (title~x or height>10)", True),
        ("title~and", False),
        ("year=1912 AND NOT title~'or'", True),
    ],
)
def test_conditions(text: str, expected: bool) -> None:
    assert parse(text).test(VALUES) is expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"column 1: expected a key, such as date, not the end"),
        ("date", r"'date', column 5: expected one of = != < .* not the end"),
        ("date 1920", r"column 6: expected one of .* not '1920'"),
        ("date <", r"column 7: expected a value, not the end"),
        ("date < and", None),
        ("date < 1920 title~x", r"column 13: expected 'and' or 'or', not 'title'"),
        ("(date < 1920", r"column 13: expected '\)', not the end"),
        ("date < 1920)", r"column 12: expected a '\(' before this '\)'"),
        ("title ~ 'vogue", r"column 9: this quote is never closed"),
        ("date ! 1920", r"column 6: '!' means nothing"),
        ("date < 1920 and", r"column 16: expected a key"),
        ("and", r"column 1: expected a key, such as date, not 'and'"),
        ("()", r"column 2: expected a key"),
        ("(" * 60 + "a=1" + ")" * 60, r"column 51: expected at most 50 brackets"),
        ("a = '('b", r"column 8: expected 'and'"),
    ],
)
def test_errors_point_at_the_column(text: str, message: str | None) -> None:
    if message is None:
        parse(text)
    else:
        with pytest.raises(InputError, match=message):
            parse(text)


@given(st.text(st.sampled_from("ab19'\"()<>=!~ -:") | st.characters(), max_size=30))
def test_any_text_is_understood_or_refused(text: str) -> None:
    try:
        condition = parse(text)
    except InputError:
        return
    assert condition.test(dict.fromkeys(condition.keys, "1912")) in (True, False)


@example("0\x1f", "")
@given(st.text(), st.text(max_size=5))
def test_any_value_can_be_quoted(value: str, key: str) -> None:
    quoted = "'" + value.replace("'", "''") + "'"
    condition = parse(f'"{key.replace(chr(34), chr(34) * 2)}" = {quoted}')
    assert condition.test({key.casefold(): value}) or value.strip() != value


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_compare_as_numbers(left: float, right: float) -> None:
    assert parse(f"n < {right!r}").test({"n": repr(left)}) == (left < right)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    for name in "abc":
        (tmp_path / f"{name}.png").write_bytes(name.encode())
    with Index.create(tmp_path / "i.calque", SETTINGS) as made:
        made.add([tmp_path / f"{name}.png" for name in "abc"], workers=0, encoder_factory=FakeEncoder)
        made.set_metadata({1: {"Date": "1538", "height": "9"}, 2: {"date": "1560"}})
        yield made


def test_an_index_selects_by_metadata_and_by_the_images_own(index: Index) -> None:
    assert index.select("date<1550") == {1}
    assert index.select("date<1600 and not image~'b.png'") == {1}
    assert index.select("not date<1550") == {2, 3}
    assert index.select(f"width={encoded(b'c').width}") == {3}
    assert index.select("height<50") == set()
    assert index.select("meta:height<50") == {1}
    assert index.select("page=0") == {1, 2, 3}


def test_a_key_that_no_image_has_is_refused_with_the_nearest(index: Index) -> None:
    with pytest.raises(InputError, match=r"no image has .dates., which .dates<1550. asks for; did you mean .[Dd]ate"):
        index.select("dates<1550")
    with pytest.raises(InputError, match=r"there are: [Dd]ate, height, id, "):
        index.select("xyzzy=1")
