"""What the benchmarks say of the machine that they ran on."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from benchmarks.runner import machine


@pytest.mark.parametrize("error", [FileNotFoundError("git"), subprocess.CalledProcessError(128, ["git"])])
def test_a_copy_without_its_history_still_reports(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(subprocess, "run", run)
    assert machine()["commit"].startswith("calque ")


def test_the_commit_is_told() -> None:
    asked = ["git", "rev-parse", "--short", "HEAD"]
    try:
        commit = subprocess.run(asked, capture_output=True, text=True, check=True, cwd=__file__.rpartition("/")[0])
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("tests run from a copy without its history")
    assert machine()["commit"].removesuffix("+changes") == commit.stdout.strip()
