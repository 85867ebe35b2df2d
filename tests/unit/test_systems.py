"""What other systems than the one that runs the tests do otherwise, as far as it can be told here."""

from __future__ import annotations

import errno
import importlib.util
import os
import pwd
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from click.shell_completion import BashComplete

import index.durable
import index.sources
import index.workers
from cli.main import calque
from index.durable import fsync_folder, replacing
from index.locks import WriterLock
from index.memory import bound_memory, huge_pages, physical_memory, room_to_decode
from index.sources import expand
from index.store import Index
from index.workers import WorkerPool, default_workers
from matcher.errors import IndexBusy
from tests.crash.fake_encoder import SETTINGS, FakeEncoder
from tests.unit.test_surface import PACKAGES, REPOSITORY, sources

if TYPE_CHECKING:
    from types import ModuleType


class FakeMsvcrt:
    """Locks of bytes as Windows has them: per open file, refused while another has the byte, gone when that closes."""

    LK_LOCK, LK_NBLCK = 1, 2

    def __init__(self) -> None:
        self.holders: dict[tuple[int, int], int] = {}
        self.waits = 0

    def locking(self, handle: int, mode: int, n_bytes: int) -> None:
        assert n_bytes == 1
        place = (os.fstat(handle).st_ino, os.lseek(handle, 0, os.SEEK_CUR))
        assert place[1] >= 1 << 30  # where the number of the holder stands nothing could be read any more
        holder = self.holders.get(place)
        if holder is not None and holder != handle and self._is_open(holder, place[0]):
            self.waits += mode == self.LK_LOCK
            if self.waits > 2:
                os.close(holder)  # the other has ended at last
            raise OSError(errno.EDEADLOCK, "Resource deadlock avoided")
        self.holders[place] = handle

    @staticmethod
    def _is_open(handle: int, inode: int) -> bool:
        try:
            return os.fstat(handle).st_ino == inode
        except OSError:
            return False


@pytest.fixture
def msvcrt() -> FakeMsvcrt:
    return FakeMsvcrt()


@pytest.fixture
def locks(monkeypatch: pytest.MonkeyPatch, msvcrt: FakeMsvcrt) -> ModuleType:
    """`index.locks` as it is on Windows."""
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setitem(sys.modules, "msvcrt", msvcrt)
    spec = importlib.util.spec_from_file_location("locks_of_windows", REPOSITORY / "index" / "locks.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_one_writer_on_windows_and_who_it_is_can_be_read(locks: Any, tmp_path: Path) -> None:
    path = tmp_path / "scans é.calque" / "lock"
    path.parent.mkdir()
    first = locks.WriterLock(path)
    assert path.read_text("ascii") == f"{os.getpid()}\n"
    with pytest.raises(IndexBusy, match=rf"scans é.calque is being written by process {os.getpid()}; wait"):
        locks.WriterLock(path)
    first.release()
    locks.WriterLock(path).release()


def test_waiting_goes_on_on_windows_where_one_call_gives_up(locks: Any, msvcrt: FakeMsvcrt, tmp_path: Path) -> None:
    path = tmp_path / "lock"
    other = os.open(path, os.O_CREAT | os.O_RDWR)
    os.lseek(other, 1 << 30, os.SEEK_SET)
    msvcrt.locking(other, msvcrt.LK_NBLCK, 1)
    with locks.waiting_lock(path):
        assert msvcrt.waits == 3


def test_an_index_that_may_not_be_written_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(Exception, match="cannot be written; check its permissions"):
        WriterLock(tmp_path / "lock")


def test_folders_are_not_synced_where_they_cannot_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(index.durable, "os", SimpleNamespace(name="nt"))  # without anything to open a folder with
    fsync_folder(tmp_path)


def test_what_is_replaced_is_closed_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Windows moves no file that is open."""
    path = tmp_path / "é 1.bin"
    replace = os.replace

    def strict(source: Path, target: Path) -> None:
        opened = {handle.resolve() for handle in Path("/proc/self/fd").iterdir()}
        assert not opened & {source, target}
        replace(source, target)

    monkeypatch.setattr(os, "replace", strict)
    for content in (b"1", b"2"):
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    assert path.read_bytes() == b"2"


def test_segments_that_a_reader_holds_are_swept_the_next_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Windows deletes no file that is mapped."""
    for number in range(4):
        (tmp_path / f"{number}.png").write_bytes(b"%d" % number)
    folder = tmp_path / "scans.calque" / "segments"
    with Index.create(tmp_path / "scans.calque", SETTINGS) as opened:
        opened.add([tmp_path / "0.png", tmp_path / "1.png"], workers=0, encoder_factory=FakeEncoder)
        opened.add([tmp_path / "2.png", tmp_path / "3.png"], workers=0, encoder_factory=FakeEncoder)
        opened.remove([1])
        held = set(folder.glob("*.h5"))
        with monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", _refusing(held, Path.unlink))
            opened.compact()
            assert held < set(folder.glob("*.h5"))
        assert opened.n_images == 3
    with Index.open(tmp_path / "scans.calque", writable=True) as opened:
        opened.compact()
        assert not held & set(folder.glob("*.h5"))
        assert opened.n_images == 3


def _refusing(held: set[Path], unlink: Any) -> Any:
    def refused(path: Path, missing_ok: bool = False) -> None:
        if path in held:
            raise PermissionError(errno.EACCES, "The process cannot access the file because it is being used")
        unlink(path, missing_ok=missing_ok)

    return refused


def test_names_on_another_drive_are_told_whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    image = tmp_path / "p 1.png"
    image.write_bytes(b"1")
    mets = tmp_path / "METS.xml"
    mets.write_text(
        '<mets xmlns="http://www.loc.gov/METS/" xmlns:xlink="http://www.w3.org/1999/xlink"><fileSec><fileGrp>'
        '<file ID="f" MIMETYPE="image/png"><FLocat LOCTYPE="URL" xlink:href="p%201.png"/></file></fileGrp></fileSec>'
        '<structMap TYPE="PHYSICAL"><div TYPE="page" ORDER="1"><fptr FILEID="f"/></div></structMap></mets>',
        encoding="utf-8",
    )

    def apart(path: object, start: object) -> str:
        raise ValueError("path is on mount 'D:', start on mount 'C:'")

    monkeypatch.setattr(index.sources.os.path, "relpath", apart)
    (found,) = expand([mets])
    assert found.name == image.as_posix()


def test_machines_that_cannot_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    assert default_workers() == (os.cpu_count() or 1)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert default_workers() == 1
    monkeypatch.delattr(os, "sysconf")
    assert physical_memory() == 16 << 30
    monkeypatch.setitem(sys.modules, "resource", None)  # importing it fails
    bound_memory(1)
    with huge_pages():
        assert os.environ["GLIBC_TUNABLES"].endswith("glibc.malloc.hugetlb=1")
    assert "GLIBC_TUNABLES" not in os.environ
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.check=0")
    with huge_pages():
        assert os.environ["GLIBC_TUNABLES"] == "glibc.malloc.check=0:glibc.malloc.hugetlb=1"
    assert os.environ["GLIBC_TUNABLES"] == "glibc.malloc.check=0"


def test_a_user_without_a_name_decodes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In a container that is run as some number."""

    def unknown(number: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with room_to_decode(50_000_000):
        assert [path.name for path in tmp_path.iterdir()] == [f"calque-{os.getuid()}-decoding"]


INHERITED: list[int] = []
"""What a forked process would have from its parent."""


def started_how(_: object) -> tuple[list[int], int]:
    """Say, in a worker, what it has of its parent, and who that is."""
    return INHERITED, os.getppid()


def answering(function: Any) -> Any:
    return function


def test_workers_are_spawned_whatever_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "INHERITED", [1])
    monkeypatch.setattr(index.workers, "signal", SimpleNamespace())  # no `pthread_sigmask` on Windows
    with WorkerPool(answering, (started_how,), 1) as pool:
        ((_, told),) = list(pool.map([0]))
    assert told == ([], os.getpid())


@pytest.mark.parametrize("path", sources(*PACKAGES))
def test_nothing_forks(path: str) -> None:
    text = (REPOSITORY / path).read_text("utf-8")
    contexts = set(re.findall(r"get_context\(([^)]*)\)", text))
    assert contexts <= {'"spawn"'}
    assert not re.search(r"os\.fork|ProcessPoolExecutor\((?![^)]*mp_context)|multiprocessing\.(Process|Pool)\(", text)


@pytest.mark.parametrize(
    ("words", "at", "wanted"),
    [
        ("calque sea", 1, "search"),
        ("calque classify ap", 2, "apply"),
        ("calque search --form", 2, "--format"),
        ("calque search --format js", 3, "jsonl"),
        ("calque detect train --tu", 3, "--turns"),
    ],
)
def test_shells_complete(words: str, at: int, wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(at))
    told = BashComplete(calque, {}, "calque", "_CALQUE_COMPLETE").complete().splitlines()
    assert f"plain,{wanted}" in told


@pytest.mark.parametrize("words", ["calque info ", "calque search a.calque ", "calque compare a.jpg "])
def test_shells_complete_paths(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(words.count(" ")))
    told = BashComplete(calque, {}, "calque", "_CALQUE_COMPLETE").complete().splitlines()
    assert {line.partition(",")[0] for line in told} <= {"file", "dir"}
    assert told
