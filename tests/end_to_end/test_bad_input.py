"""Bad input: one clear line that names the file and the remedy, the right exit status, and nothing is lost."""

from __future__ import annotations

import json
import os
import resource
import shutil
import sqlite3
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Calque, Collection

SPOILED = ("empty.jpg", "text.jpg", "truncated.jpg", "bomb.png")


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def bomb() -> bytes:
    """Return a valid PNG file that announces 50,000 × 50,000 pixels in 100 bytes."""
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 0, 0, 0, 0)
    chunks = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(bytes(50_001))) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


@pytest.fixture(scope="module")
def spoiled(collection: Collection, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of files that cannot be read, and one page that can."""
    folder = tmp_path_factory.mktemp("bad") / "spoiled"
    folder.mkdir()
    page = collection.page("a/brick.jpg").read_bytes()
    contents = {"empty.jpg": b"", "text.jpg": b"Not a picture.\n" * 40, "truncated.jpg": page[: len(page) // 3]}
    for name, content in {**contents, "bomb.png": bomb(), "whole.jpg": page}.items():
        (folder / name).write_bytes(content)
    return folder


def assert_one_line_about(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """Assert exit status 2 and a single line on stderr that holds all `words`."""
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("calque: error: ")
    for word in words:
        assert word in line


def names_in(index: Path, calque: Calque) -> int:
    done = calque("check", index, "--deep")
    assert done.returncode == 0, done.stdout + done.stderr
    return int(json.loads(calque("info", index, "--format", "json").stdout)["images"])


def test_unreadable_files_are_listed_with_the_reason_and_the_rest_is_added(
    spoiled: Path, calque: Calque, tmp_path: Path
) -> None:
    index = tmp_path / "own.calque"
    done = calque("add", index, spoiled, "--workers", "1", "--format", "json")
    assert done.returncode == 1, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["added"], summary["failed"]) == (1, len(SPOILED))
    for name in SPOILED:
        (line,) = [line for line in done.stderr.splitlines() if name in line]
        assert len(line.split(name, 1)[1]) > 10, "no reason given"
    assert "Traceback" not in done.stderr
    assert names_in(index, calque) == 1


@pytest.mark.parametrize("name", SPOILED)
def test_a_query_that_cannot_be_read(name: str, spoiled: Path, scans_index: Path, calque: Calque) -> None:
    assert_one_line_about(calque("search", scans_index, spoiled / name), str(spoiled / name), ";")


def test_a_query_that_is_not_there(scans_index: Path, calque: Calque, tmp_path: Path) -> None:
    assert_one_line_about(calque("search", scans_index, tmp_path / "none.jpg"), str(tmp_path / "none.jpg"))


def test_a_comparison_with_an_unreadable_image(spoiled: Path, calque: Calque) -> None:
    assert_one_line_about(calque("compare", spoiled / "whole.jpg", spoiled / "text.jpg"), str(spoiled / "text.jpg"))


def test_a_region_outside_the_image(scans_index: Path, photograph: Path, calque: Calque) -> None:
    done = calque("search", scans_index, photograph, "--region", "5000,10,50,50")
    assert_one_line_about(done, str(photograph), "region", "500")


def test_an_index_that_is_not_there(photograph: Path, calque: Calque, tmp_path: Path) -> None:
    done = calque("search", tmp_path / "none.calque", photograph)
    assert_one_line_about(done, str(tmp_path / "none.calque"), "calque add")


def test_a_folder_that_is_no_index(photograph: Path, calque: Calque, tmp_path: Path) -> None:
    assert_one_line_about(calque("info", tmp_path), str(tmp_path))


def test_an_index_of_a_newer_format(scans_index: Path, photograph: Path, calque: Calque, tmp_path: Path) -> None:
    index = Path(shutil.copytree(scans_index, tmp_path / "newer.calque"))
    with sqlite3.connect(index / "catalogue.sqlite") as catalogue:
        catalogue.execute("UPDATE meta SET value = value + 1 WHERE key = 'format_version'")
    catalogue.close()
    for words in (["search", index, photograph], ["info", index], ["add", index, photograph]):
        assert_one_line_about(calque(*words), str(index), "newer", "upgrade")


@pytest.fixture
def without_rights() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run ``calque`` bound by the rights of files, also where the tests run as root."""
    drop: list[str] = []
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root may read everything, and there is no setpriv to give that up")
        drop = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"]

    def run(*words: object) -> subprocess.CompletedProcess[str]:
        command = [*drop, sys.executable, "-c", "from cli.main import main; main()", *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)

    return run


def test_a_folder_without_rights(
    without_rights: Callable[..., subprocess.CompletedProcess[str]],
    collection: Collection,
    calque: Calque,
    tmp_path: Path,
) -> None:
    folder, index = tmp_path / "scans", tmp_path / "own.calque"
    locked = folder / "locked"
    locked.mkdir(parents=True)
    shutil.copy(collection.page("a/camera.jpg"), folder / "open.jpg")
    shutil.copy(collection.page("a/camera.jpg"), folder / "closed\n.jpg")
    (folder / "closed\n.jpg").chmod(0)
    locked.chmod(0)
    try:
        done = without_rights("add", index, folder, "--workers", "1", "--format", "json")
    finally:
        locked.chmod(0o700)
    assert done.returncode == 1, done.stderr
    for name in (str(locked), r"closed\n.jpg"):
        (line,) = [line for line in done.stderr.splitlines() if name in line]
        assert "permission denied; make it readable" in line
    assert json.loads(done.stdout)["added"] == 1
    assert names_in(index, calque) == 1


def test_an_index_in_a_folder_without_rights(
    without_rights: Callable[..., subprocess.CompletedProcess[str]], photograph: Path, tmp_path: Path
) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(0o500)
    try:
        done = without_rights("add", locked / "own.calque", photograph)
    finally:
        locked.chmod(0o700)
    assert_one_line_about(done, str(locked), "ermission")


def test_a_full_disk_loses_nothing(scans_index: Path, collection: Collection, calque: Calque, tmp_path: Path) -> None:
    """A limit on the size of files stands for the full disk: writing beyond it fails in the same way."""
    index = Path(shutil.copytree(scans_index, tmp_path / "own.calque"))
    more = Path(shutil.copytree(collection.folder, tmp_path / "more"))
    segment = max(path.stat().st_size for path in (index / "segments").iterdir())

    def fill() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (segment // 4, segment // 4))

    # What measures the tests' coverage writes a file at the end, too, and would have the last word.
    done = calque("add", index, more, "--workers", "1", preexec_fn=fill, env={"COVERAGE_PROCESS_CONFIG": None})
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("calque: error: ")
    assert str(index) in done.stderr.splitlines()[-1]
    assert "free some space" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    before = len(collection.boxes)
    assert names_in(index, calque) == before
    assert calque("add", index, more, "--workers", "1").returncode == 0
    assert names_in(index, calque) == 2 * before
