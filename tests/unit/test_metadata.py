"""Tables of metadata as spreadsheets and libraries write them, and which images their rows mean."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.catalogue import ImageRecord
from index.metadata import Table, match, read_table
from matcher.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

TABLE = "file,Date,Titre\na.jpg,1912,Élégance\nb.jpg,1913,\n"


def image(number: int, name: str, path: str = "", page: int = 0) -> ImageRecord:
    return ImageRecord(number, name, path or f"/scans/{name}", page, 1, 1, b"", 10, 10, 1, None)


def table(folder: Path, text: str | bytes, key: str | None = None) -> Table:
    path = folder / "table.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_table(path, key)


@pytest.mark.parametrize(
    "content",
    [
        TABLE.encode(),
        TABLE.encode("utf-8-sig"),
        TABLE.encode("utf-16"),
        TABLE.encode("utf-16-be"),
        TABLE.encode("utf-16-le"),
        TABLE.encode("cp1252"),
        TABLE.replace("\n", "\r\n").encode(),
        TABLE.replace("\n", "\r").encode(),
        TABLE.replace(",", ";").encode(),
        TABLE.replace(",", "\t").encode(),
        TABLE.replace(",", "|").encode(),
        ("sep=;\n" + TABLE.replace(",", ";")).encode(),
        ("\n\n" + TABLE + ",,\n\n").encode(),
        TABLE.replace("Titre", " Titre ,").replace("b.jpg,1913,", "b.jpg,1913").encode(),
        b'"file","Date","Titre"\n"a.jpg","1912","\xc3\x89l\xc3\xa9gance"\n"b.jpg","1913",""\n',
    ],
)
def test_any_sane_encoding_and_delimiter(tmp_path: Path, content: bytes) -> None:
    read = table(tmp_path, content)
    assert [row.key for row in read.rows] == ["a.jpg", "b.jpg"]
    assert [row.values["Date"] for row in read.rows] == ["1912", "1913"]
    assert read.rows[0].values["Titre"] == "Élégance"
    assert read.problems == ()


def test_cells_may_hold_delimiters_quotes_and_lines(tmp_path: Path) -> None:
    read = table(tmp_path, 'file;note\na.jpg;"one, two; ""three""\nand four"\nb.jpg;five\n')
    assert [row.values["note"] for row in read.rows] == ['one, two; "three"\nand four', "five"]
    assert [row.line for row in read.rows] == [3, 4]


def test_odd_rows_are_told_and_cost_nothing_else(tmp_path: Path) -> None:
    read = table(tmp_path, "file,date\na.jpg,1912\nb.jpg,1913,12,May\n,1914\nc.jpg\n")
    assert [row.key for row in read.rows] == ["a.jpg", "c.jpg"]
    assert read.problems == (
        "line 3: 4 values under 2 headings; check its quotes",
        "line 4: nothing in column 'file'; say which image it is about",
    )


@pytest.mark.parametrize(
    ("content", "key", "message"),
    [
        (b"", None, "it is empty"),
        (
            b"title,date\nx,1912\n",
            None,
            "no column called path or .* has 'title', 'date': say with --metadata-key",
        ),
        (b"title,date\nx,1912\n", "shelfmark", "no column called shelfmark; it has 'title', 'date': give one of these"),
        (b"file,date,date\nx,1,2\n", None, "two columns called 'date'"),
        (b"PK\x03\x04...", None, "a spreadsheet, not a table of text; save it as CSV"),
        (b"\x00\x00\x00\x01" * 20, None, "not a table of text"),
        (b'file,date\n"a,1\n' + b"x" * 200_000, None, "line .*never closed"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, content: bytes, key: str | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        table(tmp_path, content, key)


def test_a_missing_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder; check the path"):
        read_table(tmp_path / "none.csv")


IMAGES = [
    image(1, "scans/a/p1.jpg"),
    image(2, "scans/b/p1.jpg"),
    image(3, "scans/b/p2.JPG"),
    image(4, "scans/vol.pdf", page=0),
    image(5, "scans/vol.pdf", page=1),
    image(6, "scans/Überschrift 1.png"),
    image(7, "https://example.org/m1/canvas/f12", "/cache/0a1b.jpg"),
    image(8, "scans/btv1b.f3.jpg"),
]


@pytest.mark.parametrize(
    ("key", "ids"),
    [
        ("scans/a/p1.jpg", {1}),
        ("./scans/a/p1.jpg", {1}),
        ("/scans/scans/a/p1.jpg", {1}),
        ("a/p1.jpg", {1}),
        ("a\\p1.jpg", {1}),
        ("b/p1", {2}),
        ("b/p1.tif", {2}),
        ("p2.JPG", {3}),
        ("p2.jpg", {3}),
        ("P2", {3}),
        ("vol.pdf", {4, 5}),
        ("vol", {4, 5}),
        ("U\u0308berschrift 1.png", {6}),
        ("überschrift 1", {6}),
        ("https://example.org/m1/canvas/f12", {7}),
        ("f12", {7}),
        ("btv1b.f3", {8}),
        ("p1.jpg", set()),
        ("p3.jpg", set()),
        ("1.jpg", set()),
        ("a", set()),
        ("x\0y", set()),
        ("/", set()),
    ],
)
def test_which_images_a_row_means(tmp_path: Path, key: str, ids: set[int]) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([["id", "date"], [key, "1912"]])
    matched = match(table(tmp_path, text.getvalue()), IMAGES)
    assert matched.values.keys() == ids
    assert len(matched.problems) == (0 if ids else 1)
    assert all(values == {"id": key, "date": "1912"} for values in matched.values.values())


def test_rows_that_mean_none_or_several_are_told(tmp_path: Path) -> None:
    matched = match(table(tmp_path, "file,n\np1.jpg,1\np3.jpg,2\na/p1.jpg,3\nscans/a/p1.jpg,4\n"), IMAGES)
    assert matched.values == {1: {"file": "a/p1.jpg", "n": "3"}}
    assert matched.problems == [
        "line 2: 'p1.jpg' is the name of 2 images: scans/a/p1.jpg, scans/b/p1.jpg; write more of the path",
        "line 3: 'p3.jpg' is the name of no image",
        "line 5: 'scans/a/p1.jpg' is in line 4 already; leave one of them",
    ]


def test_paths_may_be_relative_to_the_table(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    images = [image(1, "p1.jpg", str(tmp_path.resolve() / "p1.jpg")), image(2, "x/p1.jpg", "/elsewhere/x/p1.jpg")]
    path = tmp_path / "x" / "table.csv"
    path.write_text("file\n../p1.jpg\n")
    assert match(read_table(path), images).values.keys() == {1}


@given(
    st.lists(
        st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=2, max_size=4),
        min_size=1,
    )
)
def test_any_cells_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, cells: list[list[str]]) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([["id", "a", "b", "c"], *cells])
    folder = tmp_path_factory.mktemp("any")
    try:
        read = table(folder, text.getvalue())
    except InputError:
        return
    assert len(match(read, IMAGES).problems) <= len(cells)
