"""The catalogue: transactions, snapshots, names of every kind, formats and folders that cannot be written."""

from __future__ import annotations

import math
import os
import sqlite3
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from index.catalogue import Catalogue, ImageRecord, SegmentRecord
from index.merging import Load, bins, next_merge
from index.settings import FORMAT_VERSION, Settings
from matcher.errors import CorruptIndex, SettingsMismatch
from matcher.sift import Sift
from tests.crash.fake_encoder import SETTINGS

ROOT = Path(__file__).parents[2]

IMAGE = ImageRecord(1, "scans/1.png", "/d/scans/1.png", 0, 100, 5, b"digest", 30, 20, 7, "one")
NAMES = ["with space.png", "Überraschung.png", "書.png", "quote'\".png", "100%_*?.png", "bytes\udcff.png"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    Catalogue.create(tmp_path / "catalogue.sqlite", SETTINGS)
    return tmp_path / "catalogue.sqlite"


def entered(path: Path, *images: ImageRecord) -> Catalogue:
    catalogue = Catalogue(path, writable=True)
    with catalogue.transaction():
        for name in sorted({image.segment for image in images} - {None}):
            catalogue.add_segment(SegmentRecord(name, 1, 7, 1000))
        for image in images:
            catalogue.add_image(image)
    return catalogue


def test_a_new_catalogue_is_one_empty_file(path: Path) -> None:
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    catalogue = Catalogue(path)
    assert catalogue.settings == SETTINGS
    assert catalogue.counts() == (0, 0, 0)
    assert catalogue.next_id == 1
    assert catalogue.problems(deep=True) == []


def test_an_image_is_found_by_id_path_and_name(path: Path) -> None:
    catalogue = entered(path, IMAGE, replace(IMAGE, id=2, page=1))
    assert catalogue.image(1) == IMAGE
    assert catalogue.image(3) is None
    assert catalogue.find("/d/scans/1.png", 1) == replace(IMAGE, id=2, page=1)
    assert catalogue.find("/d/scans/1.png", 2) is None
    assert [image.id for image in catalogue.matching("scans/1.png", "/elsewhere")] == [1, 2]
    assert catalogue.next_id == 3


def test_a_folder_is_all_below_it_and_nothing_beside(path: Path) -> None:
    paths = [
        "/d/a/1.png",
        "/d/a/b/2.png",
        "/d/a-b/3.png",
        "/d/a0/4.png",
        "/d/A/5.png",
        "/d/a/\udcff.png",
        "/d/a\udcff/7.png",
    ]
    catalogue = entered(path, *(replace(IMAGE, id=i, name=p, path=p) for i, p in enumerate(paths, 1)))
    assert [image.id for image in catalogue.matching("/d/a", "/d/a")] == [1, 2, 6]
    assert [image.id for image in catalogue.matching("/d/a\udcff", "/d/a\udcff")] == [7]
    assert len(catalogue.matching("/d", "/d")) == 7
    assert len(catalogue.matching("/", "/")) == 7


@pytest.mark.parametrize("name", NAMES)
def test_any_name_comes_back_as_it_was(path: Path, name: str) -> None:
    image = replace(IMAGE, name=f"s/{name}", path=f"/d/{name}")
    catalogue = entered(path, image)
    with catalogue.transaction():
        catalogue.add_failure(name, 3, "unreadable")
    assert catalogue.image(1) == image
    assert catalogue.find(f"/d/{name}", 0) == image
    assert [(failure.name, failure.page) for failure in catalogue.failures()] == [(name, 3)]


@pytest.mark.parametrize("folder", NAMES)
def test_the_index_itself_may_have_any_name(tmp_path: Path, folder: str) -> None:
    path = tmp_path / folder / "catalogue.sqlite"
    path.parent.mkdir()
    Catalogue.create(path, SETTINGS)
    entered(path, IMAGE).close()
    assert Catalogue(path).image(1) == IMAGE


def test_the_same_page_again_takes_the_place_of_the_old(path: Path) -> None:
    catalogue = entered(path, IMAGE)
    new = replace(IMAGE, id=2, digest=b"other", segment="two")
    with catalogue.transaction():
        catalogue.add_failure(IMAGE.name, 0, "unreadable")
        catalogue.add_segment(SegmentRecord("two", 1, 7, 1000))
        catalogue.add_image(new)
    assert list(catalogue.images()) == [new]
    assert catalogue.dead() == {"one": [1]}
    assert catalogue.failures() == []


def test_a_failed_transaction_changes_nothing(path: Path) -> None:
    catalogue = entered(path, IMAGE)
    with pytest.raises(KeyboardInterrupt), catalogue.transaction():
        catalogue.remove_image(IMAGE)
        raise KeyboardInterrupt
    assert list(catalogue.images()) == [IMAGE]
    assert catalogue.dead() == {}


def test_an_image_of_an_unknown_segment_cannot_be_entered(path: Path) -> None:
    catalogue = Catalogue(path, writable=True)
    with pytest.raises(CorruptIndex, match="FOREIGN KEY"), catalogue.transaction():
        catalogue.add_image(IMAGE)
    assert list(catalogue.images()) == []


def test_merging_moves_the_living_and_forgets_the_dead(path: Path) -> None:
    other = replace(IMAGE, id=2, path="/d/2.png", segment="two")
    catalogue = entered(path, IMAGE, other)
    with catalogue.transaction():
        catalogue.remove_image(IMAGE)
        catalogue.replace_segments(["one", "two"], SegmentRecord("three", 1, 7, 1000))
    assert list(catalogue.images()) == [replace(other, segment="three")]
    assert [segment.name for segment in catalogue.segments()] == ["three"]
    assert catalogue.dead() == {}
    assert catalogue.problems(deep=True) == []


def test_ids_are_never_used_again(path: Path) -> None:
    catalogue = entered(path, IMAGE, replace(IMAGE, id=2, page=1))
    with catalogue.transaction():
        for image in list(catalogue.images()):
            catalogue.remove_image(image)
        catalogue.replace_segments(["one"], None)
    catalogue.vacuum()
    catalogue.close()
    assert Catalogue(path).next_id == 3


def test_a_reader_sees_one_state_until_it_asks_for_another(path: Path) -> None:
    reader = Catalogue(path)
    writer = entered(path, IMAGE)
    writer.vacuum()
    assert list(reader.images()) == []
    reader.refresh()
    assert list(reader.images()) == [IMAGE]


def test_a_newer_format_is_refused_with_the_remedy(path: Path) -> None:
    db = sqlite3.connect(path)
    with db:
        db.execute("UPDATE meta SET value = ? WHERE key = 'format_version'", (FORMAT_VERSION + 1,))
    db.close()
    for writable in (False, True):
        with pytest.raises(SettingsMismatch, match=f"newer calque .format {FORMAT_VERSION + 1}.*upgrade"):
            Catalogue(path, writable)


@pytest.mark.parametrize("content", [b"", b"not a database" * 100])
def test_a_foreign_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "catalogue.sqlite").write_bytes(content)
    with pytest.raises(CorruptIndex, match=r"catalogue\.sqlite"):
        Catalogue(tmp_path / "catalogue.sqlite")


def test_damage_inside_is_an_error_that_names_the_file(path: Path) -> None:
    entered(path, *(replace(IMAGE, id=i, path=f"/d/{i}", name="n" * 200) for i in range(1, 200))).close()
    data = bytearray(path.read_bytes())
    data[4096 * 3 :] = b"\xa5" * (len(data) - 4096 * 3)
    path.write_bytes(data)
    with pytest.raises(CorruptIndex, match=r"catalogue\.sqlite"):
        list(Catalogue(path).images())


def test_a_folder_that_cannot_be_written_can_be_read() -> None:
    """In a process without the rights of root, which may write anywhere; pytest's own folders are closed to it."""
    program = (
        "import os, sys; from pathlib import Path; from index.catalogue import Catalogue\n"
        "path = Path(sys.argv[1])\n"
        "if os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "assert not os.access(path.parent, os.W_OK)\n"
        "print([image.id for image in Catalogue(path).images()])\n"
    )

    def run(path: Path) -> subprocess.CompletedProcess[str]:
        path.parent.chmod(0o555)
        command = [sys.executable, "-c", program, str(path)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        path.parent.chmod(0o755)
        return done

    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "catalogue.sqlite"
        Catalogue.create(path, SETTINGS)
        entered(path, IMAGE).close()
        done = run(path)
        assert done.stdout == "[1]\n", done.stderr
        Path(f"{path}-wal").write_bytes(b"left behind")
        assert "is read-only and was copied or interrupted" in run(path).stderr


def test_settings_survive_and_differences_are_named() -> None:
    mine = Settings("v", "0", extractor="other-2")
    assert Settings.from_json(mine.to_json()) == mine
    mine.require(Settings("v", "0", extractor="other-2"), "x.calque")
    with pytest.raises(SettingsMismatch, match=r"x\.calque was made with work_size=1600, asked for work_size=800; use"):
        mine.require(replace(mine, work_size=800), "x.calque")


def test_the_default_extractor_is_the_one_there_is() -> None:
    assert Settings("v", "0").extractor == Sift().signature


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"vocabulary": "v", "vocabulary_hash": "0", "work_sise": 800},
            "unknown setting 'work_sise'; did you mean 'work_size'",
        ),
        ({"vocabulary": "v", "vocabulary_hash": "0", "zzz": 1}, "unknown setting 'zzz'; settings are: vocabulary, "),
        ({"vocabulary": "v"}, "'vocabulary_hash' is missing"),
        (
            {"vocabulary": "v", "vocabulary_hash": "0", "work_size": 0},
            "work_size must be a positive whole number, got 0",
        ),
        ({"vocabulary": "v", "vocabulary_hash": "0", "work_size": "big"}, "work_size must be .* got 'big'"),
    ],
)
def test_wrong_settings_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsMismatch, match=message):
        Settings.from_dict(values)


def loads(*sizes: int, features: int = 10) -> list[Load]:
    return [Load(f"s{number}", size, size * features, False) for number, size in enumerate(sizes)]


def test_eight_segments_of_like_size_are_merged() -> None:
    assert next_merge(loads(*[1] * 7, 64, 64)) == []
    assert len(next_merge(loads(*[1] * 8, 64, 64))) == 8
    assert len(next_merge(loads(*[600] * 20))) == 20
    assert next_merge(loads(*[40_000] * 20)) == []
    assert len(next_merge(loads(*[10_000] * 8))) == 6  # more than these do not fit into one


@given(st.lists(st.tuples(st.integers(1, 3000), st.integers(1, 40)), min_size=1, max_size=30))
@example([(1, 5000)])
@example([(512, 2000)])
@settings(deadline=None, max_examples=20)
def test_segments_stay_few_and_each_image_is_copied_seldom(additions: list[tuple[int, int]]) -> None:
    """Seven of each power of eight, and those that are full; whatever the sizes of the batches."""
    sizes: list[int] = []
    copied = 0
    for batch, times in additions:
        for _ in range(times):
            sizes.append(batch)
            while names := next_merge(loads(*sizes)):
                merged = [sizes[int(name[1:])] for name in names]
                copied += sum(merged)
                sizes = [size for number, size in enumerate(sizes) if f"s{number}" not in names] + [sum(merged)]
    n = sum(sizes)
    assert n == sum(batch * times for batch, times in additions)
    powers = math.floor(math.log(n, 8)) + 1
    assert len(sizes) <= 7 * min(powers, 5) + n // 32_768
    assert copied <= min(powers, 6) * n


def test_compaction_packs_and_then_rests() -> None:
    packed = bins(loads(60_000, 5_000, 3_000, 65_536, 500, 1))
    sizes = {load.name: load.n_images for load in loads(60_000, 5_000, 3_000, 65_536, 500, 1)}
    after = [sum(sizes[name] for name in group) for group in packed]
    after += [size for name, size in sizes.items() if not any(name in group for group in packed)]
    assert sum(after) == sum(sizes.values())
    assert max(after) <= 65_536
    assert len(after) == 3
    assert bins(loads(*after)) == []
    assert bins([Load("s", 5, 50, True)]) == [["s"]]
