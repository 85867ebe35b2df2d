"""One writer, many readers: writers exclude each other, readers neither wait nor see a half-made state."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import pytest

import index._hdf5
import index.adding
import index.merging
from index.folder import Merge, SegmentFolder
from index.segment import Segment
from index.store import Index
from index.workers import Failed, WorkerPool
from matcher.errors import CalqueError, CorruptIndex, IndexBusy, InputError, SettingsMismatch
from tests.crash.fake_encoder import BLANK, SETTINGS, FakeEncoder, encoded

if TYPE_CHECKING:
    from collections.abc import Callable

    from index.catalogue import SegmentRecord

ROOT = Path(__file__).parents[2]


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    folder.mkdir()
    for number in range(6):
        (folder / f"{number}.png").write_bytes(b"%d" % number)
    return folder


@pytest.fixture
def path(tmp_path: Path, scans: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An index of six images in three segments."""
    monkeypatch.setattr(index.adding, "_BATCH_IMAGES", 2)
    monkeypatch.setattr(SegmentFolder, "next_merge", lambda _: None)
    with Index.create(tmp_path / "i.calque", SETTINGS) as opened:
        assert opened.add([scans], workers=0, encoder_factory=FakeEncoder).added == 6
        assert len(opened.segments) == 3
    return tmp_path / "i.calque"


def features(opened: Index) -> dict[str, bytes]:
    return {Path(r.name).name: opened.gather(r.id).signatures.tobytes() for r in opened.images()}


EXPECTED = {f"{number}.png": encoded(b"%d" % number).signatures.tobytes() for number in range(6)}


def test_images_replaced_while_a_merge_is_under_way_are_dead_in_what_it_writes(
    tmp_path: Path, scans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index.adding, "_BATCH_IMAGES", 1)
    monkeypatch.setattr(index.merging, "_FACTOR", 6)
    replaced = threading.Event()
    write = Merge.write

    def slow(merge: Merge, going_on: Callable[[], None]) -> SegmentRecord | None:
        written = write(merge, going_on)
        assert replaced.wait(timeout=60)
        return written

    def progress(done: int, total: int, added: int, failed: int) -> None:
        if done == 2:
            replaced.set()

    with Index.create(tmp_path / "i.calque", SETTINGS) as opened:
        for scan in sorted(scans.iterdir())[:5]:
            opened.add([scan], workers=0, encoder_factory=FakeEncoder)
        before = {record.id for record in opened.images()}
        with Index.open(tmp_path / "i.calque") as reader:
            (scans / "1.png").write_bytes(b"changed")
            monkeypatch.setattr(Merge, "write", slow)
            sources = [scans / "5.png", scans / "1.png"]
            report = opened.add(sources, workers=0, encoder_factory=FakeEncoder, progress=progress)
            assert (report.added, report.replaced) == (1, 1)
            assert {record.id for record in reader.images()} == before
            assert reader.check(deep=True) == []
            assert features(reader).keys() < EXPECTED.keys()
        assert opened.check(deep=True) == []
        assert features(opened) == EXPECTED | {"1.png": encoded(b"changed").signatures.tobytes()}
        assert opened.info()["removed"] == 1
        assert sorted(len(segment) for segment in opened.segments) == [1, 6]
        assert opened.info()["leftover_bytes"] == 0


def test_a_merge_that_fails_stops_nothing_and_is_told_in_the_end(
    path: Path, scans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment = next((path / "segments").iterdir())
    data = bytearray(segment.read_bytes())
    data[data.index(Segment.open(segment).signatures.tobytes())] ^= 1
    segment.write_bytes(data)
    monkeypatch.undo()
    monkeypatch.setattr(index.adding, "_BATCH_IMAGES", 1)
    monkeypatch.setattr(index.merging, "_FACTOR", 4)
    for number in (6, 7, 8):
        (scans / f"{number}.png").write_bytes(b"%d" % number)
    with Index.open(path, writable=True) as opened:
        with pytest.raises(CorruptIndex, match="checksum of signatures differs"):
            opened.add([scans], workers=0, encoder_factory=FakeEncoder)
        assert len(list(opened.images())) == 9
        assert opened.info()["leftover_bytes"] == 0


def test_an_interruption_gives_up_the_merge_under_way(path: Path, scans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(index.adding, "_BATCH_IMAGES", 1)
    monkeypatch.setattr(index.merging, "_FACTOR", 4)
    interrupted = threading.Event()
    write = Merge.write

    def slow(merge: Merge, going_on: Callable[[], None]) -> SegmentRecord | None:
        assert interrupted.wait(timeout=60)
        return write(merge, going_on)

    def progress(done: int, total: int, added: int, failed: int) -> None:
        if done == 2:
            interrupted.set()
            raise KeyboardInterrupt

    monkeypatch.setattr(Merge, "write", slow)
    for number in (6, 7, 8):
        (scans / f"{number}.png").write_bytes(b"%d" % number)
    with Index.open(path, writable=True) as opened:
        with pytest.raises(KeyboardInterrupt):
            opened.add([scans], workers=0, encoder_factory=FakeEncoder, progress=progress)
        assert len(list(opened.images())) == 8
        assert opened.check(deep=True) == []
        assert opened.info()["leftover_bytes"] == 0


def test_a_second_writer_is_told_who_the_first_is(path: Path) -> None:
    program = "import sys; from index.store import Index; Index.open(sys.argv[1], writable=True)"
    with Index.open(path, writable=True):
        with pytest.raises(IndexBusy, match=f"process {os.getpid()};"):
            Index.open(path, writable=True)
        other = subprocess.run(
            [sys.executable, "-c", program, str(path)], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert f"IndexBusy: {path} is being written by process {os.getpid()};" in other.stderr
    Index.open(path, writable=True).close()


def test_creating_at_the_same_time_leaves_one_index(path: Path) -> None:
    with pytest.raises(InputError, match="is an index already"):
        Index.create(path, SETTINGS)
    with Index.open(path, writable=True), pytest.raises(IndexBusy):
        Index.create(path, SETTINGS)
    with Index.open(path) as opened:
        assert features(opened) == EXPECTED


def test_a_reader_keeps_its_state_through_a_compaction(path: Path) -> None:
    with Index.open(path) as reader, Index.open(path, writable=True) as writer:
        gone = {Path(writer.image(number).name).name for number in (2, 3)}
        writer.remove([2, writer.image(3).path])
        writer.compact()
        assert len(list((path / "segments").iterdir())) == 1
        assert features(reader) == EXPECTED
        assert reader.check(deep=True) == []
        reader.refresh()
        assert features(reader) == {name: value for name, value in EXPECTED.items() if name not in gone}
        assert len(reader.segments) == 1


def test_a_reader_that_comes_between_catalogue_and_files_tries_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The segments are merged away after the reader has read their names, before it maps the first."""
    with Index.open(path, writable=True) as writer:
        original = Segment.open
        calls = Counter[str]()

        def merged_meanwhile(file: Path, dead: tuple[int, ...] = ()) -> Segment:
            calls["open"] += 1
            if calls["open"] == 1:
                writer.compact()
            return original(file, dead)

        monkeypatch.setattr(Segment, "open", merged_meanwhile)
        with Index.open(path) as reader:
            assert features(reader) == EXPECTED
            assert len(reader.segments) == 1


def test_a_reader_that_hdf5_tells_nothing_of_a_deleted_file_tries_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HDF5 opens a file, then asks for its state by its name: an error without a number if it was deleted between."""
    with Index.open(path, writable=True) as writer:
        original = h5py.File
        last = writer.segments[-1].path

        def deleted_while_opened(file: Path, *words: object, **options: object) -> h5py.File:
            if file != last:
                return original(file, *words, **options)
            monkeypatch.setattr(index._hdf5.h5py, "File", original)
            writer.compact()
            raise OSError("Unable to synchronously open file (can't retrieve stat info for file)")

        monkeypatch.setattr(index._hdf5.h5py, "File", deleted_while_opened)
        with Index.open(path) as reader:
            assert features(reader) == EXPECTED
            assert len(reader.segments) == 1


def test_reading_goes_on_while_a_writer_holds_a_transaction(path: Path) -> None:
    with Index.open(path, writable=True) as writer, writer._catalogue.transaction():
        writer._catalogue.remove_image(writer.image(1))
        with Index.open(path) as reader:
            assert features(reader) == EXPECTED


def test_readers_cannot_write(path: Path, scans: Path) -> None:
    with Index.open(path) as reader:
        for change in (lambda: reader.add([scans]), lambda: reader.remove([1]), reader.compact, reader.repair):
            with pytest.raises(CalqueError, match="writable=True"):
                change()


def test_a_missing_segment_is_named_and_can_be_repaired(path: Path, scans: Path) -> None:
    with Index.open(path) as opened:
        lost = opened.segments[0]
        names = {Path(opened.image(int(i)).name).name for i in lost.image_ids}
    lost.path.unlink()
    assert_repairable(path, scans, lost, names, "the file is missing")


@pytest.mark.parametrize("harm", ["truncated", "flipped"])
def test_a_damaged_segment_is_named_and_can_be_repaired(path: Path, scans: Path, harm: str) -> None:
    with Index.open(path) as opened:
        lost = opened.segments[0]
        names = {Path(opened.image(int(i)).name).name for i in lost.image_ids}
    data = bytearray(lost.path.read_bytes())
    if harm == "truncated":
        del data[len(data) // 2 :]
    else:
        data[data.index(lost.words.tobytes())] ^= 1
    replacement = lost.path.with_name("other")
    replacement.write_bytes(data)
    replacement.replace(lost.path)  # not in place: `lost` is still mapped
    assert_repairable(path, scans, lost, names, "truncated" if harm == "truncated" else "checksum of words differs")


def assert_repairable(path: Path, scans: Path, lost: Segment, names: set[str], reason: str) -> None:
    with pytest.raises(CorruptIndex, match=f"{lost.name}.*calque check --repair"):
        Index.open(path)
    with Index.open(path, damaged=True) as opened:
        problems = opened.check()
        assert len(problems) == 1
        assert lost.name in problems[0].what
        assert reason in problems[0].what
        assert "calque check --repair" in problems[0].remedy
    with Index.open(path, writable=True, damaged=True) as opened:
        assert {Path(record.name).name for record in opened.repair()} == names
        assert opened.check(deep=True) == []
        assert opened.add([scans], workers=0, encoder_factory=FakeEncoder).added == len(names)
    with Index.open(path) as opened:
        assert features(opened) == EXPECTED


def test_a_flipped_posting_is_found_by_a_deep_check_and_never_merged(path: Path) -> None:
    with Index.open(path) as opened:
        segment = opened.segments[0]
        data = bytearray(segment.path.read_bytes())
        data[data.index(segment.signatures.tobytes())] ^= 1
    replacement = segment.path.with_name("other")
    replacement.write_bytes(data)
    replacement.replace(segment.path)
    with Index.open(path, writable=True, damaged=True) as opened:
        assert opened.check() == []
        assert [problem.what for problem in opened.check(deep=True)] == [
            f"{segment.path}: checksum of signatures differs"
        ]
        with pytest.raises(CorruptIndex, match="checksum of signatures differs"):
            opened.compact()
        assert len(list(opened.images())) == 6


def test_what_is_no_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none is no index; make one with: calque add"):
        Index.open(tmp_path / "none")
    (tmp_path / "photographs").mkdir()
    (tmp_path / "photographs" / "1.png").write_bytes(b"1")
    with pytest.raises(InputError, match=r"other things in it \(1\.png\)"):
        Index.create(tmp_path / "photographs", SETTINGS)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CalqueError, match="file cannot be used as an index"):
        Index.create(tmp_path / "file", SETTINGS)


def test_other_settings_are_refused(path: Path) -> None:
    for writable in (False, True):
        with pytest.raises(SettingsMismatch, match=f"max_features={SETTINGS.max_features}, asked for max_features=10"):
            Index.open(path, writable, settings=replace(SETTINGS, max_features=10))
    Index.open(path, writable=True).close()


def test_touched_files_are_unchanged_and_blank_ones_are_in(path: Path, scans: Path) -> None:
    os.utime(scans / "1.png", ns=(5, 5))
    (scans / "2.png").write_bytes(BLANK)
    with Index.open(path, writable=True) as opened:
        report = opened.add([scans, scans / "0.png"], workers=0, encoder_factory=FakeEncoder)
        assert (report.added, report.replaced, report.unchanged, report.failed) == (0, 1, 5, [])
        (blank,) = (record for record in opened.images() if record.n_features == 0)
        assert all(len(column) == 0 for column in opened.gather(blank.id))
        touched = opened._catalogue.find(str(scans / "1.png"), 0)
        assert touched is not None
        assert touched.mtime_ns == 5


def test_progress_counts_only_what_is_safe(path: Path, scans: Path) -> None:
    for number in range(6, 11):
        (scans / f"{number}.png").write_bytes(b"%d" % number)
    told: list[tuple[int, int, int, int]] = []

    def progress(done: int, total: int, added: int, failed: int) -> None:
        with Index.open(path) as reader:
            assert reader.info()["images"] == 6 + added
        told.append((done, total, added, failed))

    with Index.open(path, writable=True) as opened:
        opened.add([scans, scans / "none.png"], workers=0, progress=progress, encoder_factory=FakeEncoder)
    assert told == [(1, 5, 0, 1), (2, 5, 2, 1), (3, 5, 2, 1), (4, 5, 4, 1), (5, 5, 4, 1), (5, 5, 5, 1)]


def refuses(*_: object) -> None:
    raise CorruptIndex("no vocabulary; install it")


def squares() -> object:
    return square


def square(number: int) -> int:
    if number == 3:
        raise ZeroDivisionError("three")
    if number in (5, 6):
        os._exit(number)
    while number == 9:
        time.sleep(1)  # as a decoder may that goes in circles
    return number * number


def test_pool_keeps_order_and_survives_its_workers() -> None:
    with WorkerPool(squares, (), 2, seconds=4) as pool:
        outcomes = list(pool.map(range(30)))
    assert [task for task, _ in outcomes] == list(range(30))
    failed = {task: outcome.reason for task, outcome in outcomes if isinstance(outcome, Failed)}
    assert failed.keys() == {3, 5, 6, 9}
    assert failed[9] == "takes more than 4 s to read; convert it, or allow it more time"
    assert failed[3] == "ZeroDivisionError: three"
    assert "status 5" in failed[5]
    assert all(outcome == task * task for task, outcome in outcomes if task not in failed)


def test_pool_that_cannot_start_says_why() -> None:
    with WorkerPool(refuses, (), 1) as pool, pytest.raises(CorruptIndex, match="no vocabulary; install it"):
        list(pool.map(range(3)))
    with WorkerPool(os._exit, (4,), 1) as pool, pytest.raises(CalqueError, match="could not start"):
        list(pool.map(range(3)))


def test_pool_takes_no_more_tasks_than_it_can_hold() -> None:
    taken = 0

    def tasks():  # type: ignore[no-untyped-def]
        nonlocal taken
        for number in range(100, 1000):
            taken += 1
            yield number

    with WorkerPool(squares, (), 1) as pool:
        results = pool.map(tasks())
        next(results)
        assert taken < 20
