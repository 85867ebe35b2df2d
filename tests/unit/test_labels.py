"""Labels from tables, folders and metadata: what is read, what is told of what cannot be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from index.labels import read_labels
from index.store import Index
from index.text_labels import model_of_words, read_text_labels
from matcher.errors import InputError
from matcher.types import Region

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Three folders with three small images each, called as classes."""
    for name in ("map", "photo graph", "Holzschnitt ü"):
        for number in range(3):
            path = tmp_path / "sorted" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((20, 30), 60 * number, np.uint8)).save(path)
    return tmp_path / "sorted"


def table(folder: Path, text: str) -> Path:
    path = folder / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_table_names_images_from_its_folder_pages_regions_and_groups(pictures):
    path = table(
        pictures,
        'Image;Page;Region;Class;Group\nmap/0.png;;;map;x\nmap/0.png;0;"1,2,10,12";initial;x\nmap/1.png;0;;map;y\n',
    )
    labels = read_labels([path])
    assert labels.problems == ()
    assert [(one.path.name, one.page, one.region, one.labels, one.group) for one in labels.examples] == [
        ("0.png", 0, None, ("map",), "x"),
        ("0.png", 0, Region(1, 2, 10, 12), ("initial",), "x"),
        ("1.png", 0, None, ("map",), "y"),
    ]
    assert (labels.kind, labels.classes, labels.grouped) == ("binary", ("initial", "map"), "column 'group'")
    assert labels.truth().tolist() == [[False, True], [True, False], [False, True]]


def test_several_classes_of_a_picture_make_it_multilabel(pictures):
    path = table(pictures, "file,label\nmap/0.png,map | engraving\nmap/1.png,map\nmap/2.png,\n")
    labels = read_labels([path])
    assert labels.kind == "multilabel"
    assert [one.labels for one in labels.examples] == [("engraving", "map"), ("map",), ()]
    lines = table(pictures, "file,label\nmap/0.png,map\nmap/0.png,engraving\n")
    assert read_labels([lines]).examples[0].labels == ("engraving", "map")


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("gone.png,0,,map", "line 3: 'gone.png' is no file"),
        ("map/1.png,two,,map", "line 3: page 'two' is no number"),
        ('map/1.png,0,"1,2,3",map', "line 3: region '1,2,3' is no box"),
        ('map/1.png,0,"1,2,-3,4",map', "line 3: region '1,2,-3,4' is no box"),
        ("map/1.png,0,,map,more,cells", "line 3: 6 values under 4 headings"),
        (",0,,map", "line 3: nothing in column 'image'"),
        ("map/1.png,0,,", "map/1.png: no class"),
    ],
)
def test_lines_that_cannot_be_used_are_named_and_left_out(pictures, row, problem):
    labels = read_labels([table(pictures, f"image,page,region,label\nmap/0.png,,,map\n{row}\n")])
    assert len(labels.examples) == 1
    assert len(labels.problems) == 1
    assert labels.problems[0].startswith(problem)


def test_folders_are_called_as_their_classes_together_or_one_by_one(pictures):
    (pictures / "map" / "notes.txt").write_text("no image")
    (pictures / "map" / "gone.jpg").symlink_to(pictures / "nowhere.jpg")
    labels = read_labels([pictures])
    assert labels.classes == ("Holzschnitt ü", "map", "photo graph")
    assert len(labels.examples) == 9
    assert [problem.rpartition("/")[2].split(":")[0] for problem in labels.problems] == ["gone.jpg"]
    assert labels.grouped == "files"
    named = read_labels([pictures / "map", pictures / "photo graph"])
    assert (named.classes, named.kind) == (("map", "photo graph"), "binary")


def test_folders_are_groups_where_each_class_is_in_three(pictures, tmp_path):
    rows = [
        f"{pictures}/{folder}/{number}.png,{'abc'[number]}" for folder in ("map", "photo graph", "Holzschnitt ü")
        for number in range(3)
    ]  # fmt: skip
    path = table(tmp_path, "image,label\n" + "\n".join(rows) + "\n")
    labels = read_labels([path])
    assert labels.grouped == "folders"
    assert len({one.group for one in labels.examples}) == 3
    assert read_labels([path], group="image").grouped == "images"


def test_the_metadata_of_an_index_are_labels(pictures, tmp_path):
    with Index.create(tmp_path / "x.calque") as index:
        index.add([pictures], workers=0)
        ids = [image.id for image in index.images()]
        index.set_metadata({ids[0]: {"kind": "map", "book": "a"}, ids[1]: {"kind": "x"}, ids[2]: {"book": "b"}})
    labels = read_labels([tmp_path / "x.calque"], label="kind", group="book")
    assert [(one.labels, one.group) for one in labels.examples] == [(("map",), "a"), (("x",), "")]
    chosen = read_labels([tmp_path / "x.calque"], label="kind", where="book = a")
    assert len(chosen.examples) == 1
    with pytest.raises(InputError, match="no image has 'sort' in its metadata; there are: book, kind"):
        read_labels([tmp_path / "x.calque"], label="sort")
    with pytest.raises(InputError, match="say with --label which key"):
        read_labels([tmp_path / "x.calque"])


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("image,kind\nmap/0.png,map\n", {}, "no column called label or labels or class"),
        ("image,label\nmap/0.png,map\n", {"group": "book"}, "no column called book.*name it with --group"),
        ("image,label\nmap/0.png,map\n", {"where": "a=1"}, "is no index"),
        ("picture,label\nmap/0.png,map\n", {}, "no column called path or file"),
        (
            "image,label\ngone.png,map\n",
            {},
            "no labelled image that can be used; the first problem: line 2: 'gone.png'",
        ),
    ],
)
def test_a_table_that_is_none_says_what_is_missing(pictures, text, options, message):
    with pytest.raises(InputError, match=message):
        read_labels([table(pictures, text)], **options)


def test_what_does_not_go_together_is_refused(pictures, tmp_path):
    with pytest.raises(InputError, match="no such table or folder of labels"):
        read_labels([tmp_path / "nowhere"])
    with pytest.raises(InputError, match="holds no folders called as classes"):
        read_labels([pictures / "map"])
    with pytest.raises(InputError, match="classes of folders are their names"):
        read_labels([pictures], label="kind")


def test_words_are_names_or_lines_of_a_file(tmp_path):
    names = read_text_labels("map, wood engraving")
    assert list(names) == ["map", "wood engraving"]
    assert "a wood engraving" in names["wood engraving"]
    path = tmp_path / "words.txt"
    path.write_text("# what there is\nmap = a map of a city\nmap = a chart\n\nphotograph\n", encoding="utf-8")
    assert read_text_labels(str(path))["map"] == ("a map of a city", "a chart")
    with pytest.raises(InputError, match="fewer than two classes"):
        read_text_labels("map")
    with pytest.raises(InputError, match="palette knows no words"):
        model_of_words(names, "palette")
