"""``calque doctor``: what of calque works here."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from cli.options import format_option
from cli.output import write_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.output import Format

__all__ = ["doctor"]

_FREE = 2 << 30
"""Bytes that a cache folder should have room for: the weights of one larger network."""


class _Finding(NamedTuple):
    """What was looked at, ``ok``, ``missing`` (needed for some commands only) or ``error``, and more of it."""

    what: str
    state: str
    detail: str
    remedy: str = ""


@click.command()
@format_option
def doctor(form: Format) -> int:
    """Say what of calque works on this machine: versions, optional parts, GPU, weights, cores, memory, disk, caches.

    Nothing is downloaded and nothing is changed. Optional parts that are missing are no fault.

    Exit status: 0 what every command needs is there, 1 some of it is not.

    \b
    Examples:
      calque doctor
      calque doctor --format json
    """
    found = [*_system(), *_packages(), *_graphics(), *_weights(), *_folders()]
    write_rows([finding._asdict() for finding in found], list(_Finding._fields), form)
    return 1 if any(finding.state == "error" for finding in found) else 0


def _system() -> Iterator[_Finding]:
    from importlib.metadata import version

    from index.memory import physical_memory
    from index.workers import default_workers

    yield _Finding("calque", "ok", version("calque"))
    yield _Finding("Python", "ok", f"{platform.python_version()} ({sys.executable})")
    yield _Finding("system", "ok", platform.platform())
    yield _Finding("cores", "ok", f"{default_workers()} that calque may use, of {os.cpu_count()}")
    yield _Finding("memory", "ok", f"{physical_memory() / (1 << 30):.1f} GiB")
    with sqlite3.connect(":memory:") as db:
        full_text = ("ENABLE_FTS5",) in db.execute("PRAGMA compile_options").fetchall()
    text = "" if full_text else "for calque find, use a Python whose SQLite has FTS5"
    yield _Finding("SQLite", "ok" if full_text else "missing", sqlite3.sqlite_version, text)


def _packages() -> Iterator[_Finding]:
    """Tell which packages are there, needed ones and those of each extra, by their metadata: nothing is imported."""
    import re
    from importlib.metadata import PackageNotFoundError, requires, version

    seen = set()
    for line in requires("calque") or ():
        requirement, _, marker = line.partition(";")
        extra = re.search(r"extra == [\'\"](\w+)", marker)
        name = re.split(r"[^\w.-]", requirement.strip())[0]
        if (extra and extra[1] in ("dev", "bench")) or name in seen:
            continue
        seen.add(name)
        part = f"{name} (extra {extra[1]})" if extra else name
        try:
            yield _Finding(part, "ok", version(name))
        except PackageNotFoundError:
            remedy = f"pip install 'calque[{extra[1]}]'" if extra else f"pip install '{requirement.strip()}'"
            yield _Finding(part, "missing" if extra else "error", "not installed", remedy)


def _graphics() -> Iterator[_Finding]:
    from matcher.devices import wanted_device

    try:
        import torch
    except ImportError:
        yield _Finding("GPU", "missing", "PyTorch is not installed", "pip install 'calque[learned]', if there is one")
        return
    if torch.cuda.is_available():
        yield _Finding("GPU", "ok", f"{torch.cuda.get_device_name()}, asked for: {wanted_device()}")
    else:
        yield _Finding("GPU", "missing", "none that PyTorch can use; networks run on the processor")


def _weights() -> Iterator[_Finding]:
    """Tell which weights lie where they are looked for; they are not read."""
    from matcher.weights import WEIGHTS, folders

    places = folders()
    for name, wanted in WEIGHTS.items():
        here = next((folder / wanted.file for folder in places if (folder / wanted.file).is_file()), None)
        if here is not None:
            whole = not wanted.size or here.stat().st_size == wanted.size
            yield _Finding(f"weights {name}", "ok" if whole else "error", str(here), "" if whole else "delete it")
        elif wanted.sha256:
            yield _Finding(
                f"weights {name}", "missing", f"{wanted.licence}; downloaded when first asked for", wanted.url
            )
        else:
            remedy = f"put {wanted.file} into a folder of CALQUE_MODELS; from {wanted.url}"
            yield _Finding(f"weights {name}", "missing", wanted.licence, remedy)


def _folders() -> Iterator[_Finding]:
    import tempfile

    from index.fetching import cache_folder
    from matcher.weights import folders

    named = {"cache of fetched files": cache_folder(), "folder of weights": folders()[-2]}
    for what, folder in {**named, "temporary files": Path(tempfile.gettempdir()), "this folder": Path.cwd()}.items():
        there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
        free = shutil.disk_usage(there).free
        writable = os.access(there, os.W_OK)
        state = "ok" if writable and free >= _FREE else "missing"
        remedy = (
            ""
            if state == "ok"
            else "make room, or name another folder"
            if writable
            else "ask for the right to write there"
        )
        yield _Finding(what, state, f"{folder}, {free / (1 << 30):.1f} GiB free", remedy)
