"""A few kills of the campaign of `benchmarks.crash`, with the real encoder, and one at each point of other writers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
OPERATIONS = ("note", "groups", "trace", "segment")  # the others: test_kill.py


def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    words = ["--kills", "4", "--full", "2", "--seed", "5", "--each-point", ",".join(OPERATIONS), "--folder", tmp_path]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.crash", *map(str, words)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "at each point: 5 killed" in done.stdout
    assert "kill: 4 children" in done.stdout
    assert "full: 2 children" in done.stdout
