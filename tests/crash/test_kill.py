"""Kill the writer at every step of every write: what it had acknowledged is there, and nothing is half there."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks.crash import POINTS_OF
from index.faults import POINTS
from index.store import Index
from tests.crash import writer
from tests.crash.fake_encoder import BLANK, DEADLY, SETTINGS, UNREADABLE, FakeEncoder, encoded
from tests.crash.test_campaign import OPERATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from index.reports import AddReport

ROOT = Path(__file__).parents[2]

OLD = {f"old{i}.png": b"old %d" % i for i in range(7)}
NEW = {f"new{i}.png": b"new %d" % i for i in range(7)} | {"new7.png": BLANK}
CHANGED = {"old2.png": b"changed"}

Contents = dict[str, bytes]


def write(folder: Path, contents: Contents) -> None:
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[subprocess.Popen[str]]:
    """What forks the writers: a process of its own, for this one has threads."""
    command = [sys.executable, "-m", "tests.crash.writer", "serve"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        _servers.append(process)
        yield process
        _servers.remove(process)
        process.stdin.close()


_servers: list[subprocess.Popen[str]] = []


def run(*arguments: object, fault: str = "", file_limit: int | None = None) -> subprocess.CompletedProcess[str]:
    environment = {"CALQUE_FAULT": fault}
    if file_limit is not None:
        environment["CALQUE_FILE_LIMIT"] = str(file_limit)
    (process,) = _servers
    words = list(map(str, arguments))
    process.stdin.write(json.dumps([words, environment]) + "\n")
    process.stdin.flush()
    status, out, err = json.loads(process.stdout.readline())
    return subprocess.CompletedProcess(words, status, out, err)


def add(path: Path, folder: Path) -> AddReport:
    with Index.open(path, writable=True) as opened:
        return opened.add([folder], workers=0, encoder_factory=FakeEncoder)


def assert_sound(path: Path) -> Contents:
    """Check the index and all features in it; return what the catalogue lists, by name."""
    with Index.open(path) as opened:
        assert opened.check(deep=True) == []
        found = {}
        for record in opened.images():
            content = next(c for c in [*OLD.values(), *NEW.values(), *CHANGED.values()] if _digest(c) == record.digest)
            expected, got = encoded(content), opened.gather(record.id)
            for name in got._fields:
                np.testing.assert_array_equal(getattr(got, name), getattr(expected, name))
            assert (record.width, record.height) == (expected.width, expected.height)
            found[Path(record.name).name] = content
        return found


def _digest(content: bytes) -> bytes:
    import hashlib

    return hashlib.blake2b(content, digest_size=16).digest()


@pytest.fixture(scope="module")
def seven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an index of seven segments of one image each: the next image makes them merge."""
    base = tmp_path_factory.mktemp("seven")
    write(base / "scans", OLD)
    Index.create(base / "i.calque", SETTINGS).close()
    for scan in sorted((base / "scans").iterdir()):
        add(base / "i.calque", scan)
    with Index.open(base / "i.calque") as opened:
        assert len(opened.segments) == 7
    return base


@pytest.fixture
def base(seven: Path, tmp_path: Path) -> Path:
    """A copy of `seven` at the same path for the catalogue, whose paths are absolute: the folder is moved back."""
    saved = tmp_path / "saved"
    shutil.copytree(seven, saved, copy_function=shutil.copy2)
    yield seven
    shutil.rmtree(seven)
    shutil.copytree(saved, seven, copy_function=shutil.copy2)


SEGMENT_POINTS = ["segment.begun", "segment.half", "segment.written", "file.synced", "file.renamed"]
ADD_POINTS = [*SEGMENT_POINTS, "add.before_commit", "add.in_transaction", "add.committed"]
MERGE_POINTS = ["merge.before_commit", "merge.in_transaction", "merge.committed", "sweep.one_deleted"]
CREATE_CASES = ["create.catalogue_written", "file.synced", "file.renamed"]
ADD_CASES = [f"{point}:{n}" for point in ADD_POINTS for n in (1, 3)] + [*MERGE_POINTS, "sweep.one_deleted:3"]
COMPACT_CASES = [*SEGMENT_POINTS, *MERGE_POINTS, "compact.before_vacuum", "vacuum.done"]
REMOVE_CASES = ["remove.in_transaction", "remove.committed"]
REPAIR_CASES = ["repair.in_transaction", "sweep.one_deleted"]
TRIED_ELSEWHERE = [
    "migrate.in_transaction",  # tests/unit/test_migration.py
    *("vectors.before_commit", "vectors.in_transaction", "vectors.committed"),  # tests/crash/test_kill_embed.py
    *(point for operation in OPERATIONS for point in POINTS_OF[operation]),  # test_campaign.py
]


def test_every_fault_point_is_tried() -> None:
    cases = [*CREATE_CASES, *ADD_CASES, *COMPACT_CASES, *REMOVE_CASES, *REPAIR_CASES, *TRIED_ELSEWHERE]
    assert {case.partition(":")[0] for case in cases} == set(POINTS)


@pytest.mark.parametrize("fault", CREATE_CASES)
def test_kill_during_create(tmp_path: Path, fault: str) -> None:
    write(tmp_path / "scans", OLD)
    killed = run("add", tmp_path / "i.calque", tmp_path / "scans", 0, fault=fault)
    assert killed.returncode == -signal.SIGKILL
    assert "opened" not in killed.stdout
    again = run("add", tmp_path / "i.calque", tmp_path / "scans", 0)
    assert again.returncode == 0, again.stderr
    assert assert_sound(tmp_path / "i.calque") == OLD
    assert not list((tmp_path / "i.calque").glob(".*"))


@pytest.mark.parametrize("fault", ADD_CASES)
def test_kill_during_add(base: Path, fault: str) -> None:
    """Batches of three: the changed image and two new ones first, or as the order of names has it."""
    path = base / "i.calque"
    write(base / "scans", NEW | CHANGED)
    jobs = [*sorted(NEW), *CHANGED]
    killed = run("add", path, base / "scans", 0, fault=fault)
    assert killed.returncode == -signal.SIGKILL
    told = [int(line.split()[1]) for line in killed.stdout.splitlines() if line.startswith("added")]
    acknowledged = max(told, default=0)
    found = assert_sound(path)
    states = []
    for count in [*range(0, len(jobs), writer.BATCH), len(jobs)]:
        states.append(OLD | {name: (NEW | CHANGED)[name] for name in jobs[:count]})
        if count < acknowledged:
            states.clear()
    assert found in states
    report = add(path, base / "scans")
    assert report.failed == []
    assert assert_sound(path) == OLD | NEW | CHANGED
    with Index.open(path) as opened:
        assert opened.info()["leftover_bytes"] == 0


@pytest.mark.parametrize("fault", REMOVE_CASES)
def test_kill_during_remove(base: Path, fault: str) -> None:
    path = base / "i.calque"
    targets = [base / "scans" / "old1.png", base / "scans" / "old4.png"]
    killed = run("remove", path, *targets, fault=fault)
    assert killed.returncode == -signal.SIGKILL
    left = {name: content for name, content in OLD.items() if name not in ("old1.png", "old4.png")}
    assert assert_sound(path) == (left if fault == "remove.committed" else OLD)
    assert run("remove", path, *targets).returncode == 0
    assert assert_sound(path) == left


@pytest.mark.parametrize("fault", COMPACT_CASES)
def test_kill_during_compact(base: Path, fault: str) -> None:
    path = base / "i.calque"
    assert run("remove", path, base / "scans" / "old1.png").returncode == 0
    left = {name: content for name, content in OLD.items() if name != "old1.png"}
    killed = run("compact", path, fault=fault)
    assert killed.returncode == -signal.SIGKILL
    assert assert_sound(path) == left
    assert run("compact", path).returncode == 0
    assert assert_sound(path) == left
    with Index.open(path) as opened:
        assert len(opened.segments) == 1
        assert len(opened.segments[0]) == len(left)
        assert opened.info()["leftover_bytes"] == 0


def test_a_catalogue_that_is_rewritten_and_no_more_is_whole(base: Path) -> None:
    path = base / "i.calque"
    assert run("compact", path).returncode == 0
    assert run("compact", path, fault="vacuum.done").returncode == -signal.SIGKILL  # nothing was left to merge
    Index.open(path, writable=True).close()  # which puts the log into the file
    assert assert_sound(path) == OLD
    Index.open(path, writable=True).close()


@pytest.mark.parametrize("fault", REPAIR_CASES)
def test_kill_during_repair(base: Path, fault: str) -> None:
    path = base / "i.calque"
    segment = sorted((path / "segments").iterdir())[0]
    segment.write_bytes(segment.read_bytes()[:-1])
    killed = run("repair", path, fault=fault)
    assert killed.returncode == -signal.SIGKILL
    assert run("repair", path).returncode == 0
    left = assert_sound(path)
    assert len(left) == len(OLD) - 1
    assert add(path, base / "scans").added == 1
    assert assert_sound(path) == OLD


def test_worker_processes_end_with_a_killed_writer(base: Path) -> None:
    """The workers hold the other end of the output's pipe: this would time out if one lived on."""
    write(base / "scans", NEW)
    command = [sys.executable, "-m", "tests.crash.writer", "add", base / "i.calque", base / "scans", "2"]
    environment = os.environ | {"CALQUE_FAULT": "add.before_commit"}
    killed = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert assert_sound(base / "i.calque") == OLD


def test_a_worker_that_dies_costs_its_file_only(base: Path) -> None:
    harm = {"new2.png": DEADLY, "new5.png": UNREADABLE}
    write(base / "scans", NEW | harm)
    with Index.open(base / "i.calque", writable=True) as opened:
        report = opened.add([base / "scans"], workers=2, encoder_factory=FakeEncoder)
        failures = {Path(failure.name).name: failure.reason for failure in opened.failures()}
    assert report.added == len(NEW) - len(harm)
    assert set(failures) == set(harm)
    assert "SIGKILL" in failures["new2.png"]
    assert failures["new5.png"] == "cannot be read; get a fresh copy"
    assert assert_sound(base / "i.calque") == OLD | {name: c for name, c in NEW.items() if name not in harm}
    write(base / "scans", NEW)
    assert add(base / "i.calque", base / "scans").added == len(harm)
    with Index.open(base / "i.calque") as opened:
        assert opened.failures() == []


def test_interrupt_keeps_what_is_done(base: Path) -> None:
    write(base / "scans", NEW)

    def interrupt(done: int, total: int, added: int, failed: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with Index.open(base / "i.calque", writable=True) as opened, pytest.raises(KeyboardInterrupt):
        opened.add([base / "scans"], workers=0, progress=interrupt, encoder_factory=FakeEncoder)
    assert assert_sound(base / "i.calque") == OLD | {name: NEW[name] for name in sorted(NEW)[:5]}


@pytest.mark.parametrize("limit", [0, 1000, 5000, 9000, 20_000, 40_000])
def test_full_disk(base: Path, limit: int) -> None:
    """Whatever the step that finds no room, the error is one line, and what was acknowledged is there."""
    path = base / "i.calque"
    write(base / "scans", NEW | CHANGED)
    full = run("add", path, base / "scans", 0, file_limit=limit)
    assert full.returncode == 1
    assert len(full.stderr.splitlines()) == 1
    assert "no space left" in full.stderr
    told = [int(line.split()[1]) for line in full.stdout.splitlines() if line.startswith("added")]
    found = assert_sound(path)
    assert len(found) >= len(OLD) + max(told, default=0) - len(CHANGED)
    assert not list((path / "segments").glob(".*"))
    assert add(path, base / "scans").failed == []
    assert assert_sound(path) == OLD | NEW | CHANGED
