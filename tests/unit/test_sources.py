"""SOURCE arguments become pages in a fixed order, and whatever is wrong with one of them is said, not raised."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from index.sources import SourceFailure, SourceItem, expand

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in the temporary folder, so that names may be relative."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def image(path: str | Path) -> Path:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 5), 99, np.uint8)).save(path)
    return path


def names(*sources: str | Path) -> list[str]:
    found = list(expand(sources))
    assert all(isinstance(item, SourceItem) for item in found), found
    return [item.name for item in found]


def failure(*sources: str | Path) -> SourceFailure:
    (only,) = expand(sources)
    assert isinstance(only, SourceFailure), only
    assert "\n" not in only.reason
    return only


def test_an_image_with_what_tells_whether_it_changed(here: Path) -> None:
    image("scan.jpg")
    os.utime("scan.jpg", ns=(1, 1_700_000_000_123_456_789))
    (item,) = expand(["scan.jpg"])
    size = Path("scan.jpg").stat().st_size
    assert item == SourceItem("scan.jpg", here.resolve() / "scan.jpg", 0, size, 1_700_000_000_123_456_789)


def test_a_named_file_counts_whatever_its_suffix() -> None:
    image("scan.png").rename("scan.dat")
    assert names("scan.dat") == ["scan.dat"]


def test_folders_are_searched_in_natural_order() -> None:
    for name in ("p10.png", "p9.png", "P1.png", "b/2.png", "b/10.png", "b/c/1.JPG", "a b/é.tiff"):
        image(f"scans/{name}")
    expected = ["a b/é.tiff", "b/2.png", "b/10.png", "b/c/1.JPG", "P1.png", "p9.png", "p10.png"]
    assert names("scans") == [f"scans/{name}" for name in expected]
    assert names("scans/") == [f"scans/{name}" for name in expected]
    assert names("./scans") == [f"./scans/{name}" for name in expected]
    assert names(Path("scans").resolve()) == [f"{Path('scans').resolve()}/{name}" for name in expected]


def test_sources_keep_their_order_and_files_come_once(here: Path) -> None:
    for name in ("s/1.png", "s/2.png", "t/3.png"):
        image(name)
    Path("t/link.png").symlink_to(here / "s/1.png")
    assert names("t/3.png", "s", "t", "./s/../s/1.png") == ["t/3.png", "s/1.png", "s/2.png"]
    assert names("t") == ["t/3.png", "t/link.png"]
    (_, linked) = expand(["t"])
    assert isinstance(linked, SourceItem)
    assert linked.path == here.resolve() / "s/1.png"


def test_what_is_passed_over_is_counted() -> None:
    for name in ("s/1.png", "s/.hidden.png", "s/.cache/2.png", "s/old.calque/3.png", "s/dir.txt/4.png"):
        image(name)
    for name in ("s/a.xml", "s/b.XML", "s/README", "s/list.txt"):
        Path(name).touch()
    skipped: Counter[str] = Counter()
    assert [item.name for item in expand(["s"], skipped)] == ["s/1.png", "s/dir.txt/4.png"]
    assert skipped == {"hidden": 2, ".calque": 1, ".xml": 2, "": 1, ".txt": 1}


def test_links_that_go_round_in_circles(here: Path) -> None:
    image("s/a/1.png")
    Path("s/a/up").symlink_to(here / "s", target_is_directory=True)
    Path("s/b").symlink_to("a", target_is_directory=True)
    Path("s/self.png").symlink_to("self.png")
    Path("s/gone.png").symlink_to("nowhere.png")
    found = list(expand(["s"]))
    assert [item.name for item in found] == ["s/a/1.png", "s/gone.png", "s/self.png"]
    assert [type(item) for item in found] == [SourceItem, SourceFailure, SourceFailure]


def test_folders_nested_deeper_than_calls_may_be(here: Path) -> None:
    depth = 1200
    for _ in range(depth):
        Path("d").mkdir()
        os.chdir("d")
    image("1.png")
    os.chdir(here)
    try:
        assert names("d") == ["d/" * depth + "1.png"]
    finally:  # step by step, since pytest would clean up by calls that nest as deep
        os.chdir("d/" * depth)
        Path("1.png").unlink()
        for _ in range(depth):
            os.chdir("..")
            Path("d").rmdir()


def test_a_list_of_paths(here: Path) -> None:
    for name in ("lists/one.png", "two words.png", "three/4.png", "lists/#5.png"):
        image(name)
    lines = ["# a comment", "", "one.png", f"  {here}/two words.png  ", "../three", "./#5.png", "one.png"]
    expected = ["lists/one.png", f"{here}/two words.png", "lists/../three/4.png", "lists/./#5.png"]
    for ending in ("\n", "\r\n"):
        Path("lists/all.txt").write_bytes(b"\xef\xbb\xbf" + ending.join(lines).encode())
        assert names("lists/all.txt") == expected
    Path("here.LST").write_text("three\n")
    assert names("here.LST") == ["three/4.png"]


def test_bad_lists() -> None:
    Path("outer.txt").write_text("inner.txt\nmissing.png\nhttps://example.org/manifest\n")
    Path("inner.txt").touch()
    found = list(expand(["outer.txt"]))
    assert [(item.name, isinstance(item, SourceFailure)) for item in found] == [
        ("inner.txt", True),
        ("missing.png", True),
        ("https://example.org/manifest", True),
    ]
    assert list(expand(["inner.txt"])) == []
    image("picture.png").rename("picture.txt")
    assert "not a list of paths" in failure("picture.txt").reason
    assert "no such file" in failure("missing.lst").reason


def test_pages() -> None:
    Path("s").mkdir()
    for name in ("1.tif", "2.pdf", "3.gif", "4.TIFF"):
        pages = [Image.fromarray(np.full((20, 30), 50 * n, np.uint8)) for n in range(3)]
        pages[0].save(f"s/{name}", save_all=True, append_images=pages[1:])
    found = [(item.name, item.page) for item in expand(["s"]) if isinstance(item, SourceItem)]
    assert found == [(f"s/{n}", page) for n in ("1.tif", "2.pdf") for page in range(3)] + [("s/3.gif", 0)] + [
        ("s/4.TIFF", page) for page in range(3)
    ]


def test_files_are_opened_only_where_pages_must_be_counted_and_then_in_turn() -> None:
    Path("s").mkdir()
    for name in ("1.jpg", "2.png", "3.gif"):
        Path("s", name).write_bytes(b"not an image at all")
    Path("s/4.tif").write_bytes(b"II*\0damaged")
    Path("s/5.pdf").write_bytes(b"%PDF-damaged")
    Path("s/6.tif").touch()
    found = expand(["s"])
    assert [next(found).name for _ in range(3)] == ["s/1.jpg", "s/2.png", "s/3.gif"]
    Path("s/4.tif").unlink()  # not looked at yet
    reasons = [item.reason for item in found if isinstance(item, SourceFailure)]
    assert [reason.split()[0] for reason in reasons] == ["no", "damaged,", "empty"]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("missing", "no such file or folder"),
        ("missing.jpg", "no such file or folder"),
        ("http://example.org/iiif/manifest.json", "nothing here fetches"),
        ("https://example.org/iiif/manifest", "nothing here fetches"),
        ("manifest.json", "no such file"),
        ("photos.calque", "an index, not scans"),
        ("", "an empty path"),
        ("nul\0byte.jpg", "cannot be opened"),
        ("x" * 300, "cannot be opened"),
        ("pipe", "not a regular file"),
    ],
)
def test_sources_that_cannot_be_used(source: str, reason: str) -> None:
    Path("photos.calque").mkdir()
    os.mkfifo("pipe")
    assert failure(source).name == source
    assert failure(source).reason.startswith(reason)


def test_one_bad_source_spares_the_others() -> None:
    image("1.png")
    found = list(expand(["missing", "1.png"]))
    assert [type(item) for item in found] == [SourceFailure, SourceItem]


def test_names_that_are_not_utf8() -> None:
    raw = b"s/caf\xe9 \xff.png"
    image("s/other.png").rename(os.fsdecode(raw))
    Path(os.fsdecode(b"s/bad\xe9.tif")).touch()
    broken, item = expand(["s"])
    assert isinstance(item, SourceItem)
    assert os.fsencode(item.name) == raw
    assert item.path.stat().st_size == item.size
    assert broken == SourceFailure(os.fsdecode(b"s/bad\xe9.tif"), "empty file (0 bytes); get a fresh copy")
    Path("list.txt").write_bytes(raw + b"\n")
    assert [os.fsencode(name) for name in names("list.txt")] == [raw]


def test_a_folder_without_rights(monkeypatch: pytest.MonkeyPatch) -> None:
    script = (
        "import os\nfrom index.sources import expand\n"
        "if os.geteuid() == 0: os.setuid(65534)\n"  # root may read everything: look as somebody else
        "for item in expand(['s']): print(item.name, getattr(item, 'reason', 'found'))"
    )
    with tempfile.TemporaryDirectory() as folder:  # pytest's own is closed to others as a whole
        Path(folder).chmod(0o755)
        monkeypatch.chdir(folder)
        image("s/closed/1.png")
        image("s/open/2.png")
        Path("s/closed").chmod(0)
        done = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            check=False,
        )
        Path("s/closed").chmod(0o700)
        monkeypatch.undo()
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.startswith("s/closed permission denied")
    assert second == "s/open/2.png found"
