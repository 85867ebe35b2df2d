"""The memory of processes: kept from page to page where pages are encoded, given back where others need it."""

from __future__ import annotations

import ctypes
import getpass
import os
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from index.locks import waiting_lock

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "bound_memory",
    "give_back_memory",
    "huge_pages",
    "keep_freed_memory",
    "physical_memory",
    "room_to_decode",
    "spare_memory",
]

_LARGE = 16_000_000
"""Pixels, to decode which takes some 80 MB, beyond which room is made first."""


def keep_freed_memory() -> None:
    """Let glibc keep up to 512 MB of freed memory: giving back every page's pyramids costs a quarter of the time."""
    trim_threshold, mmap_threshold = -1, -3  # malloc.h
    with suppress(AttributeError, OSError, TypeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(mmap_threshold, 32 << 20)
        mallopt(trim_threshold, 512 << 20)


def spare_memory() -> None:
    """Let glibc keep freed memory in two places only, not in one for each thread that ever searched."""
    arena_max = -8  # malloc.h
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(arena_max, 2)


def physical_memory() -> int:
    """Return how many bytes of memory this machine has; where that cannot be told, 16 GiB."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 16 << 30


def bound_memory(more: int) -> None:
    """Let this process have `more` bytes of addresses than now; where a system knows no such bound, none.

    What a damaged file asks for beyond that is a `MemoryError` of its own, instead of the end of a process that the
    system chooses.
    """
    with suppress(ImportError, OSError, ValueError):
        import resource

        present = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (present + more, present + more))


def give_back_memory() -> None:
    """Give freed memory back to the system: a search needs several hundred megabytes, a server that waits does not."""
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


@contextmanager
def huge_pages() -> Iterator[None]:
    """Let processes started in the block use huge pages, where glibc and Linux can: SIFT takes 5 % less time."""
    name = "GLIBC_TUNABLES"  # read when a process starts, so it cannot do this for itself
    before = os.environ.get(name)
    os.environ[name] = f"{before}:glibc.malloc.hugetlb=1" if before else "glibc.malloc.hugetlb=1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextmanager
def room_to_decode(pixels: int) -> Iterator[None]:
    """Make room in memory, where that many `pixels` are to be decoded inside the block.

    For large images, freed memory that was kept is given back, and of all of a user's processes on this machine only
    one decodes at a time. So it matters little to memory how many there are and how large the images.
    """
    if pixels < _LARGE:
        yield
        return
    give_back_memory()
    # The lock of a file is freed when its holder is killed, which happens to those who take too much memory.
    # A user by number: in a container it need not have a name.
    user = os.getuid() if hasattr(os, "getuid") else getpass.getuser()
    with waiting_lock(Path(tempfile.gettempdir()) / f"calque-{user}-decoding"):
        yield
